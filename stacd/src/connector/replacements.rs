//! Newly listed controllers, and the removals that wait for them.
//!
//! If the address of a discovery controller is edited, or a page lists a subsystem at another address, both daemons see
//! an old and a new controller. The old one is removed when the new one is connected, so that storage has its new path
//! before it loses the old one. After [`REPLACEMENT_LIMIT`] the old one is removed in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::core::Time;
use libstas::nvme::Tid;

/// Longest wait of a removal, because the new controller, or stafd after a start, may never answer.
pub(super) const REPLACEMENT_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct NewDc {
    since: Time,
    read: bool,
}

/// The listed controllers, each with the time since when it is listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Replacements {
    dcs: BTreeMap<Tid, NewDc>,
    iocs: BTreeMap<Tid, Time>,
    /// I/O controllers whose removal waits, and since when.
    waiting: BTreeMap<Tid, Time>,
}

impl Replacements {
    /// stafd publishes a discovery controller; `read` says whether stafd has read its log page.
    pub(super) fn shows(&mut self, now: Time, dc: &Tid, read: bool) {
        self.dcs.entry(dc.clone()).or_insert(NewDc { since: now, read }).read = read;
    }

    /// Forgets the discovery controllers that stafd no longer publishes.
    pub(super) fn keep(&mut self, shown: impl Fn(&Tid) -> bool) {
        self.dcs.retain(|dc, _| shown(dc));
    }

    /// Takes the I/O controllers that are listed now.
    pub(super) fn lists<'a>(&mut self, now: Time, listed: impl Iterator<Item = &'a Tid>) {
        let before = std::mem::take(&mut self.iocs);
        self.iocs = listed.map(|ioc| (ioc.clone(), before.get(ioc).copied().unwrap_or(now))).collect();
    }

    /// True while the removal of an I/O controller has to wait. `is_settled` says whether everything that a discovery
    /// controller lists is connected, `is_connected` whether an I/O controller is.
    pub(super) fn must_wait(
        &mut self,
        now: Time,
        removed: &Tid,
        is_settled: impl Fn(&Tid) -> bool,
        is_connected: impl Fn(&Tid) -> bool,
    ) -> bool {
        let is_new = |since: Time| since + REPLACEMENT_LIMIT > now;
        let dc_awaited = |(dc, new): (&Tid, &NewDc)| is_new(new.since) && !(new.read && is_settled(dc));
        let ioc_awaited =
            |(ioc, since): (&Tid, &Time)| is_new(*since) && may_replace(ioc, removed) && !is_connected(ioc);
        // Measured from the first wait: a stream of new controllers must not delay the removal forever.
        let since = *self.waiting.entry(removed.clone()).or_insert(now);
        is_new(since) && (self.dcs.iter().any(dc_awaited) || self.iocs.iter().any(ioc_awaited))
    }

    /// Forgets the waiting removals, except those of these controllers.
    pub(super) fn forget_waits(&mut self, is_kept: impl Fn(&Tid) -> bool) {
        self.waiting.retain(|ioc, _| is_kept(ioc));
    }
}

/// True for another path to the same subsystem, as the same host.
fn may_replace(new: &Tid, old: &Tid) -> bool {
    new != old && new.subsysnqn == old.subsysnqn && new.host_nqn == old.host_nqn
}
