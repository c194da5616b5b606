//! Delays each removal until the sources are quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Time;
use stas_nvme::Tid;

/// A removal waits until no source has changed for this long.
pub const DEBOUNCE: Duration = Duration::from_millis(500);
/// A removal waits at most this long while it is proved without a break: sources may never become quiet.
const DEBOUNCE_AT_MOST: Duration = Duration::from_secs(5);

/// The removals that wait for quiet sources.
#[derive(Clone, Debug, Default)]
pub struct Debounce {
    /// The last change of a source. `None`: none has changed yet.
    last: Option<Time>,
    /// The controllers whose removal is proved, and since when.
    proved: BTreeMap<Tid, Time>,
}

impl Debounce {
    /// Notes that a source has changed.
    pub fn restart(&mut self, now: Time) {
        self.last = Some(now);
    }

    /// Returns those of the controllers whose removal is proved now that have waited long enough. `proved` names all of
    /// them: a controller that is missing there waits anew when its removal is proved again.
    pub fn ready(&mut self, now: Time, proved: &BTreeSet<&Tid>) -> BTreeSet<Tid> {
        self.proved.retain(|tid, _| proved.contains(tid));
        for tid in proved {
            self.proved.entry((*tid).clone()).or_insert(now);
        }
        let is_over = |since: Time| self.end(since).is_none_or(|end| end <= now);
        self.proved.iter().filter(|(_, since)| is_over(**since)).map(|(tid, _)| tid.clone()).collect()
    }

    /// When the next removal that still waits will have waited long enough.
    #[must_use]
    pub fn next_ready(&self, now: Time) -> Option<Time> {
        self.proved.values().filter_map(|since| self.end(*since)).filter(|end| *end > now).min()
    }

    fn end(&self, since: Time) -> Option<Time> {
        self.last.map(|last| (last + DEBOUNCE).min(since + DEBOUNCE_AT_MOST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stas_nvme::{TidParts, Transport};

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time(Duration::from_millis(milliseconds))
    }

    fn tids() -> [Tid; 3] {
        ["a", "b", "c"].map(|nqn| Tid::new(TidParts { subsysnqn: nqn.into(), ..TidParts::none(Transport::Tcp) }))
    }

    #[test]
    fn a_removal_waits_for_half_a_second_of_quiet() {
        let [a, ..] = &tids();
        let mut debounce = Debounce::default();
        assert_eq!(debounce.ready(at(0), &BTreeSet::from([a])).len(), 1, "nothing has changed yet");
        debounce.restart(at(100));
        assert!(debounce.ready(at(100), &BTreeSet::from([a])).is_empty());
        assert_eq!(debounce.next_ready(at(100)), Some(at(600)));
        assert!(debounce.ready(at(599), &BTreeSet::from([a])).is_empty());
        assert_eq!(debounce.ready(at(600), &BTreeSet::from([a])).len(), 1);
        assert_eq!(debounce.next_ready(at(600)), None);
    }

    proptest! {
        /// Any changes and proofs: no removal is done earlier than 0.5 s after the last change, unless it was proved
        /// for 5 s without a break; and the announced time is right.
        #[test]
        fn no_removal_waits_for_a_shorter_or_longer_time(
            steps in prop::collection::vec((1_u64..700, any::<bool>(), prop::collection::vec(any::<bool>(), 3)), 1..100)
        ) {
            let tids = tids();
            let mut debounce = Debounce::default();
            let (mut now, mut last) = (0, None);
            let mut since = [None; 3];
            for (wait, changes, proved) in steps {
                now += wait;
                if changes {
                    debounce.restart(at(now));
                    last = Some(now);
                }
                let named = tids.iter().zip(&proved).filter(|(_, proved)| **proved).map(|(tid, _)| tid).collect();
                let over = debounce.ready(at(now), &named);
                let mut next: Option<u64> = None;
                for ((tid, proved), since) in tids.iter().zip(proved).zip(&mut since) {
                    *since = proved.then(|| since.unwrap_or(now));
                    let end = since.map(|since| last.map_or(0, |last| (last + 500).min(since + 5000)));
                    prop_assert_eq!(over.contains(tid), end.is_some_and(|end| end <= now));
                    next = next.into_iter().chain(end.filter(|end| *end > now)).min();
                }
                prop_assert_eq!(debounce.next_ready(at(now)), next.map(at));
            }
        }
    }
}
