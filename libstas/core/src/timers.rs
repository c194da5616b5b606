//! One table of timers with one deadline.

use std::collections::BTreeMap;

use super::Time;

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

    /// Sets a timer unless it is set already: a deadline that later events must not push away.
    pub fn set_once(&mut self, key: K, at: Time) {
        self.at.entry(key).or_insert(at);
    }

    /// Cancels a timer.
    pub fn cancel(&mut self, key: &K) {
        self.at.remove(key);
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
}
