//! Which subsystems have had no path for too long. It reads no clock and no bus: the caller passes the time and what
//! stacd lists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::bus::{Dict, key};
use serde_json::json;
use stas_cli::listing::is_wanted;
use stas_cli::table;
use tokio::time::Instant;

/// If more subsystems than this are remembered in `had_path`, those that stacd does not list are forgotten.
const HAD_PATH_MAX: usize = 65_536;

/// What stacd lists of a subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Paths {
    /// I/O can use at least one path.
    Some,
    /// No path is connected.
    None {
        /// The state of each one, with its reason.
        lines: Vec<String>,
        /// True if only announced discovery controllers list them.
        announced_only: bool,
    },
}

/// The start or the end of an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The subsystem has had no path for the whole time. The state of each one, with its reason.
    Down(Vec<String>),
    /// It has a path again.
    Up,
    /// No path to it is wanted any more.
    NotWanted,
}

/// The subsystems, and which of them are down.
#[derive(Debug)]
pub(crate) struct Outages {
    after: Duration,
    /// The subsystems for which [`Change::Down`] was the last change.
    down: BTreeSet<String>,
    /// Since when a subsystem has had no path, or one that is down is not wanted any more.
    since: BTreeMap<String, Instant>,
    /// The subsystems that have had a path. Any host can announce any number of subsystems that do not exist.
    had_path: BTreeSet<String>,
    /// True while the list is that of a running stacd.
    known: bool,
}

impl Outages {
    /// `down`: the subsystems that were down when the last run ended.
    pub(crate) fn new(after: Duration, down: BTreeSet<String>) -> Self {
        Self { after, had_path: down.clone(), down, since: BTreeMap::new(), known: false }
    }

    /// The subsystems that are down.
    pub(crate) fn down(&self) -> &BTreeSet<String> {
        &self.down
    }

    /// stacd is not running: the connections stay as they are, and nothing is known about them.
    pub(crate) fn suspend(&mut self) {
        self.known = false;
    }

    /// Takes in what stacd lists. Returns the changes, each with the NQN.
    pub(crate) fn update(&mut self, now: Instant, listed: &[Dict]) -> Vec<(String, Change)> {
        self.known = true;
        let mut subsystems = subsystems(listed);
        let known: BTreeSet<String> = subsystems.keys().chain(&self.down).cloned().collect();
        self.since.retain(|nqn, _| known.contains(nqn));
        let with_path = subsystems.iter().filter(|(_, paths)| **paths == Paths::Some);
        self.had_path.extend(with_path.map(|(nqn, _)| nqn.clone()));
        // Below the limit nothing is forgotten: after a start of stacd, the list is incomplete for a moment.
        if self.had_path.len() > HAD_PATH_MAX {
            self.had_path.retain(|nqn| known.contains(nqn));
        }
        let had_path = &self.had_path;
        subsystems
            .retain(|nqn, paths| !matches!(paths, Paths::None { announced_only: true, .. }) || had_path.contains(nqn));
        let mut changes = Vec::new();
        for nqn in known {
            let change = match (self.down.contains(&nqn), subsystems.remove(&nqn)) {
                (true, Some(Paths::Some)) => Change::Up,
                // After a start of stacd the list is complete only when stafd has answered.
                (true, None) if self.is_over(now, &nqn) => Change::NotWanted,
                (false, Some(Paths::None { lines, .. })) if self.is_over(now, &nqn) => Change::Down(lines),
                (true, None) | (false, Some(Paths::None { .. })) => continue,
                (true, Some(Paths::None { .. })) | (false, _) => {
                    self.since.remove(&nqn);
                    continue;
                }
            };
            self.since.remove(&nqn);
            match change {
                Change::Down(_) => self.down.insert(nqn.clone()),
                Change::Up | Change::NotWanted => self.down.remove(&nqn),
            };
            changes.push((nqn, change));
        }
        changes
    }

    /// When the list must be looked at again although stacd signals nothing.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.values().min().filter(|_| self.known).map(|since| *since + self.after)
    }

    /// True if this has lasted long enough. It begins now if it has not begun.
    fn is_over(&mut self, now: Instant, nqn: &str) -> bool {
        now >= *self.since.entry(nqn.to_owned()).or_insert(now) + self.after
    }
}

/// The subsystems to which at least one path is wanted.
fn subsystems(listed: &[Dict]) -> BTreeMap<String, Paths> {
    let value = |path: &Dict, key: &str| path.get(key).cloned().unwrap_or_default();
    let mut subsystems: BTreeMap<String, Paths> = BTreeMap::new();
    let wanted = |path: &&Dict| is_wanted(&value(path, "state")) && !value(path, key::SUBSYSNQN).is_empty();
    for path in listed.iter().filter(wanted) {
        let none = Paths::None { lines: Vec::new(), announced_only: true };
        let paths = subsystems.entry(value(path, key::SUBSYSNQN)).or_insert(none);
        match paths {
            _ if value(path, "state") == "connected" => *paths = Paths::Some,
            Paths::None { lines, announced_only } => {
                lines.push(table::controller_line(&json!(path)));
                *announced_only &= value(path, key::TRUST) == "announced-dc";
            }
            Paths::Some => {}
        }
    }
    // A path that is no longer wanted can do I/O as long as it is kept.
    for path in listed.iter().filter(|path| value(path, "state") == "kept") {
        if let Some(paths) = subsystems.get_mut(&value(path, key::SUBSYSNQN)) {
            *paths = Paths::Some;
        }
    }
    subsystems
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    /// Subsystems with the states of their paths: `a: connected waiting, b: kept`.
    fn list(text: &str) -> Vec<Dict> {
        let subsystems = text.split(", ").filter_map(|subsystem| subsystem.split_once(": "));
        let path = |nqn: &str, state: &str| {
            Dict::from([("subsysnqn", nqn), ("state", state)].map(|(key, value)| (key.to_owned(), value.to_owned())))
        };
        subsystems.flat_map(|(nqn, states)| states.split(' ').map(move |state| path(nqn, state))).collect()
    }

    /// Each step: seconds since the start, what stacd lists (`-`: it is not running), the changes.
    fn play(down: &[&str], steps: &[(u64, &str, &str)]) {
        let begin = Instant::now();
        let mut outages = Outages::new(AFTER, down.iter().map(|nqn| (*nqn).to_owned()).collect());
        for (seconds, listed, expected) in steps {
            let now = begin + Duration::from_secs(*seconds);
            let mut changes = Vec::new();
            match *listed {
                "-" => outages.suspend(),
                listed => changes = outages.update(now, &list(listed)),
            }
            let word = |change: &Change| match change {
                Change::Down(_) => "down",
                Change::Up => "up",
                Change::NotWanted => "not wanted",
            };
            let changes: Vec<String> = changes.iter().map(|(nqn, change)| format!("{nqn} {}", word(change))).collect();
            assert_eq!(changes.join(", "), *expected, "after {seconds} s of {steps:?}");
        }
    }

    #[test]
    fn a_subsystem_without_a_path_is_reported_once_and_again_when_it_is_back() {
        let down = "a: reconnecting waiting, b: connected";
        play(
            &[],
            &[
                (0, down, ""),
                (29, down, ""),
                (30, down, "a down"),
                (90, down, ""),
                (91, "a: connected waiting", "a up"),
            ],
        );
    }

    #[test]
    fn what_was_only_announced_is_reported_after_it_had_a_path_and_not_before() {
        let mut outages = Outages::new(AFTER, BTreeSet::new());
        let begin = Instant::now();
        let mut update = |seconds: u64, trust: &[&str], state: &str| -> usize {
            let path = |trust: &&str| {
                let pairs = [("subsysnqn", "a"), ("state", state), (key::TRUST, *trust)];
                Dict::from(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())))
            };
            let listed: Vec<Dict> = trust.iter().map(path).collect();
            outages.update(begin + Duration::from_secs(seconds), &listed).len()
        };
        assert_eq!(update(0, &["announced-dc", "announced-dc"], "waiting"), 0);
        assert_eq!(update(100, &["announced-dc", "announced-dc"], "waiting"), 0);
        assert_eq!(update(200, &["announced-dc", "configured-dc"], "waiting"), 0);
        assert_eq!(update(230, &["announced-dc", "configured-dc"], "waiting"), 1, "another source lists it");
        assert_eq!(update(240, &["announced-dc"], "connected"), 1, "it is back");
        assert_eq!(update(250, &["announced-dc"], "waiting"), 0);
        assert_eq!(update(280, &["announced-dc"], "waiting"), 1, "it had a path");
    }

    #[test]
    fn an_outage_counts_from_the_loss_of_the_last_path() {
        play(&[], &[(0, "a: connected waiting", ""), (50, "a: waiting waiting", ""), (79, "a: waiting", "")]);
        play(&[], &[(0, "a: waiting", ""), (20, "a: connected", ""), (40, "a: waiting", ""), (69, "a: waiting", "")]);
        play(&[], &[(40, "a: waiting", ""), (70, "a: waiting", "a down")]);
    }

    #[test]
    fn only_a_wanted_subsystem_can_be_down_and_a_kept_path_is_a_path() {
        for listed in ["a: kept", "a: leaving", "a: excluded", "a: waiting kept", ""] {
            play(&[], &[(0, listed, ""), (100, listed, "")]);
        }
        for state in ["unresolved", "given up", "queued", "connecting", "reconnecting"] {
            let path = [("subsysnqn", "a"), ("state", state)].map(|(key, value)| (key.to_owned(), value.to_owned()));
            let listed = [Dict::from(path)];
            let mut outages = Outages::new(AFTER, BTreeSet::new());
            let now = Instant::now();
            assert!(outages.update(now, &listed).is_empty());
            assert_eq!(outages.update(now + AFTER, &listed).len(), 1, "{state}");
        }
    }

    #[test]
    fn what_is_down_and_not_wanted_for_as_long_has_ended() {
        play(&["a"], &[(0, "", ""), (29, "", ""), (30, "", "a not wanted"), (90, "", "")]);
        play(&["a"], &[(0, "", ""), (10, "a: waiting", ""), (20, "", ""), (49, "", ""), (50, "", "a not wanted")]);
        play(&["a"], &[(0, "a: connected", "a up")]);
    }

    #[test]
    fn while_stacd_is_stopped_nothing_is_reported() {
        play(&["b"], &[(0, "a: waiting", ""), (10, "-", ""), (100, "a: waiting, b: waiting", "a down")]);
        play(&["b"], &[(0, "a: waiting, b: waiting", ""), (10, "-", ""), (100, "a: connected, b: connected", "b up")]);
        let (mut outages, now) = (Outages::new(AFTER, BTreeSet::new()), Instant::now());
        outages.update(now, &list("a: waiting"));
        assert_eq!(outages.deadline(), Some(now + AFTER));
        outages.suspend();
        assert_eq!(outages.deadline(), None);
    }
}
