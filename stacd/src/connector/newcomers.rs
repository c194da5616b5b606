//! Discovery controllers that stafd has just begun to show.
//!
//! One that is edited in place, its address or its interface, is another one to both daemons: the old one goes, the new
//! one comes. What only the old one named is let go when the new one has been read and what it names is connected, so
//! that storage has its new path before it loses the old one.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::core::Time;
use libstas::nvme::Tid;

/// Removals wait no longer than this: the new one may never answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Newcomer {
    since: Time,
    read: bool,
}

/// Whom this stafd shows, and since when.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers {
    shown: BTreeMap<Tid, Newcomer>,
    held_since: Option<Time>,
}

impl Newcomers {
    /// stafd shows that one; `read` says whether it has a log page of it.
    pub(super) fn shows(&mut self, now: Time, dc: &Tid, read: bool) {
        self.shown.entry(dc.clone()).or_insert(Newcomer { since: now, read }).read = read;
    }

    /// stafd shows these and no others.
    pub(super) fn keep(&mut self, shown: impl Fn(&Tid) -> bool) {
        self.shown.retain(|dc, _| shown(dc));
    }

    /// True while removals are to wait. `is_settled` says whether all that a discovery controller names is connected.
    pub(super) fn hold(&mut self, now: Time, is_settled: impl Fn(&Tid) -> bool) -> bool {
        let awaited =
            |(dc, newcomer): (&Tid, &Newcomer)| newcomer.since + PATIENCE > now && !(newcomer.read && is_settled(dc));
        // New ones without end must not put off removals without end.
        let waits = self.held_since.is_none_or(|since| since + PATIENCE > now) && self.shown.iter().any(awaited);
        self.held_since = waits.then(|| self.held_since.unwrap_or(now));
        waits
    }

    /// Nothing is to be removed.
    pub(super) fn release(&mut self) {
        self.held_since = None;
    }
}
