//! The timers of a core: one table with one deadline.
//!
//! Two deadlines are not in this table, because they are computed from several values that change independently: when a
//! log page is to be read again ([`Sources::deadline`](super::sources::Sources::deadline)), and when an announcement
//! expires (stafd). Each daemon adds them where it computes its own deadline.

use std::collections::BTreeMap;

use super::effect::Portal;
use super::{OpId, Time};
use stas_nvme::Tid;

/// What is due. Of the timers that are due at the same time, each part of the core (fleet, connect queue, host names,
/// daemon) handles its own, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Fleet: the next attempt to connect a member, after its back-off or penalty.
    Retry(Tid),
    /// Fleet: the next attempt to disconnect a member, 2 s after the kernel refused it.
    RetryDisconnect(Tid),
    /// Fleet: the next snapshot, after 10 s at the latest, or 100 or 500 ms after a kernel event.
    Snapshot,
    /// Fleet: a snapshot has taken longer than 10 s.
    SnapshotAnswer,
    /// Fleet: a check for storage in use has taken longer than 30 s.
    UseAnswer,
    /// Fleet: all waiting members are retried, 100 ms after a change of the network.
    RetryAll,
    /// Fleet: a disconnect has taken longer than 30 s.
    Disconnect(OpId),
    /// Fleet: the next step of a change of DH-HMAC-CHAP secrets, each second while a connection is lost.
    Rotate,
    /// Connect queue: a probe has taken longer than 10 s.
    ProbeAnswer(Portal),
    /// Connect queue: a write to /dev/nvme-fabrics has taken longer than 90 s.
    WriteAnswer,
    /// Host names: the next look-up of a name, after 60 s or its back-off.
    LookUp(String),
    /// Host names: a look-up has taken longer than 30 s.
    LookUpAnswer(String),
    /// stafd: the next read of a log page, after the back-off of the last one.
    Read(Tid),
    /// stafd: a log page was not read within 400 ms after it had changed, or after the connection was lost.
    StalePage(Tid),
    /// stafd: the second read of a log page, 28 s after the connection came up.
    SecondRead(Tid),
    /// stafd: the next attempt to register this host, after the back-off of the last one.
    Register(Tid),
    /// stafd: a read has taken longer than 60 s.
    ReadAnswer(Tid),
    /// stafd: the end of a poll, 40 s (the first time 2 s) after it began.
    PollEnds(Tid),
    /// Both daemons: removals that wait for quiet sources, for proof, or for a replacement.
    Removals,
    /// stafd: disconnecting all controllers at stop has taken longer than 5 s.
    Stop,
    /// stacd: the next request for all log pages, after the back-off of the last one.
    FetchAll,
}

/// Timers by key: setting a timer again moves it.
#[derive(Clone, Debug)]
pub struct Timers<K: Ord + Clone> {
    at: BTreeMap<K, Time>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets or moves a timer.
    pub fn set(&mut self, key: K, at: Time) {
        self.at.insert(key, at);
    }

    /// Sets a timer unless it is set already: later events must not postpone this deadline.
    pub fn set_once(&mut self, key: K, at: Time) {
        self.at.entry(key).or_insert(at);
    }

    /// Sets a timer, or moves it forward: later events must not postpone this deadline.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        let before = self.at.get(&key).copied();
        self.at.insert(key, before.map_or(at, |before| before.min(at)));
    }

    /// Cancels a timer.
    pub fn cancel(&mut self, key: &K) {
        self.at.remove(key);
    }

    /// Cancels the timers for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.at.retain(|key, _| keep(key));
    }

    /// When a timer is due.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Time> {
        self.at.get(key).copied()
    }

    /// Removes and returns the timers that are due, the earliest first.
    pub fn due(&mut self, now: Time) -> Vec<K> {
        let mut due: Vec<(Time, K)> =
            self.at.iter().filter(|(_, at)| **at <= now).map(|(key, at)| (*at, key.clone())).collect();
        due.sort();
        due.into_iter()
            .map(|(_, key)| {
                self.at.remove(&key);
                key
            })
            .collect()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.at.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn due_timers_are_returned_once_earliest_first() {
        let mut timers = Timers::default();
        timers.set("b", at(2));
        timers.set("a", at(3));
        timers.set("c", at(9));
        assert_eq!(timers.deadline(), Some(at(2)));
        assert_eq!(timers.due(at(3)), ["b", "a"]);
        assert!(timers.due(at(3)).is_empty());
        assert_eq!(timers.deadline(), Some(at(9)));
    }

    #[test]
    fn set_moves_a_timer_and_set_once_does_not() {
        let mut timers = Timers::default();
        timers.set("a", at(5));
        timers.set_once("a", at(9));
        assert_eq!(timers.get(&"a"), Some(at(5)));
        timers.set("a", at(7));
        assert_eq!(timers.get(&"a"), Some(at(7)));
        timers.cancel(&"a");
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn set_earlier_moves_a_timer_only_forward() {
        let mut timers = Timers::default();
        for (to, expected) in [(5, 5), (9, 5), (3, 3)] {
            timers.set_earlier("a", at(to));
            assert_eq!(timers.get(&"a"), Some(at(expected)), "{to}");
        }
    }
}
