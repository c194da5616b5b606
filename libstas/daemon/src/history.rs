//! What happened to each controller: the last lines of the log about it, and its changes of state.
//!
//! The last removed controllers are kept, too, up to a limit. [`saved`] keeps all of it over a restart of the daemon.

pub mod saved;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use stas_core::CtrlRef;
use stas_core::effect::LogRecord;
use stas_core::fleet::{Listed, Status};
use stas_nvme::Tid;
use stas_nvme::secret::masked;

/// Maximum number of lines about one controller. The oldest ones are dropped.
const LINES: usize = 64;
/// Longest line in bytes. It may quote what other hosts send.
const LINE_MAX: usize = 1024;
/// Maximum number of controllers that are no longer listed.
const REMOVED: usize = 256;

/// One line of the log about a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
}

/// A change of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The controller.
    pub tid: Tid,
    /// Its connection; the last one if the controller was removed.
    pub ctrl: Option<CtrlRef>,
    /// Its state before; `None` if it was not listed.
    pub old: Option<Status>,
    /// Its state now; `None` if it is no longer listed.
    pub new: Option<Status>,
    /// The cause. For a new controller: the source that lists it. Empty if nothing is known beyond the states.
    pub cause: String,
}

/// The histories of a daemon's controllers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    records: Mutex<Records>,
    /// Notified when there is something new to save.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Records {
    of: BTreeMap<Tid, Record>,
    /// Number of the last comparison.
    round: u64,
}

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<HistoryEntry>,
    /// `None` while it is not listed.
    status: Option<Status>,
    ctrl: Option<CtrlRef>,
    /// Start of the present state.
    since: Timestamp,
    /// Its state when the last run of the daemon ended; `None` once its state in this run is known.
    before: Option<Before>,
    /// The comparison in which it was listed last, or the round of its last line.
    round: u64,
    /// The last line since its last change of state.
    last_line: String,
    /// Why it is being removed.
    removal: String,
}

/// The state of a listed controller when the last run of the daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Before {
    status: Status,
    ctrl: Option<CtrlRef>,
    since: Timestamp,
}

impl Record {
    /// True for a removed controller. False for a controller that the last run listed: it is listed again as soon as
    /// its source is known.
    fn is_removed(&self) -> bool {
        self.status.is_none() && self.before.is_none()
    }

    fn add(&mut self, at: Timestamp, mut text: String) {
        let end = (0..=LINE_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.filter(|end| *end < text.len()).unwrap_or(text.len()));
        while self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(HistoryEntry { at, text });
    }

    /// The start of the present state. If the last run of the daemon ended in the same state, that state has continued.
    fn start(&mut self, now: Timestamp, status: Status, ctrl: Option<CtrlRef>) -> Timestamp {
        // Before a restarted daemon uses an existing connection again, the controller is queued.
        let may_continue = status == Status::Queued;
        match self.before.take() {
            Some(before) if (before.status, before.ctrl) == (status, ctrl) => before.since,
            Some(before) if may_continue => {
                self.before = Some(before);
                now
            }
            _ => now,
        }
    }

    /// The cause of a removal that is complete.
    fn removed(&mut self) -> String {
        let last_line = std::mem::take(&mut self.last_line);
        let cause = std::mem::take(&mut self.removal);
        if cause.is_empty() { last_line } else { cause }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a line of the log, if it is about a controller.
    pub fn note(&self, logged: &LogRecord) {
        let Some(tid) = &logged.tid else { return };
        let mut records = self.lock();
        let round = records.round;
        let record = records.of.entry(tid.clone()).or_default();
        record.round = record.round.max(round);
        let text = masked(&logged.text);
        record.add(Timestamp::now(), text.clone().into_owned());
        record.last_line = text.into_owned();
        drop(records);
        self.0.changed.notify_one();
    }

    /// Compares the states with those of the last call. `source` says which source lists a controller, `reason` why it
    /// is not connected or is kept.
    pub fn compare<'a>(
        &self,
        listed: impl Iterator<Item = Listed<'a>>,
        source: impl Fn(&Tid) -> String,
        reason: impl Fn(&Tid) -> Option<String>,
    ) -> Vec<StateChange> {
        let mut records = self.lock();
        records.round += 1;
        let round = records.round;
        let mut changes = Vec::new();
        for Listed { tid, status, ctrl } in listed {
            if let Some(record) = records.of.get_mut(tid)
                && (record.status, record.ctrl) == (Some(status), ctrl)
            {
                record.round = round;
                continue;
            }
            let record = records.of.entry(tid.clone()).or_default();
            let now = Timestamp::now();
            let is_restart = record.status.is_none() && record.before.is_some();
            record.since = record.start(now, status, ctrl);
            let old = record.status.replace(status);
            (record.ctrl, record.round) = (ctrl, round);
            let last_line = std::mem::take(&mut record.last_line);
            let cause = match old {
                None => {
                    let source = source(tid);
                    let restarted = if is_restart { "the daemon was started again; " } else { "" };
                    record.add(now, format!("{restarted}listed: {source}"));
                    source
                }
                Some(_) if last_line.is_empty() => reason(tid).unwrap_or_default(),
                Some(_) => last_line,
            };
            record.removal = match status {
                Status::Removing | Status::Kept => cause.clone(),
                _ => String::new(),
            };
            changes.push(StateChange { tid: tid.clone(), ctrl, old, new: Some(status), cause });
        }
        for (tid, record) in records.of.iter_mut().filter(|(_, record)| record.round < round) {
            let Some(old) = record.status.take() else { continue };
            (record.since, record.before) = (Timestamp::now(), None);
            let cause = record.removed();
            changes.push(StateChange { tid: tid.clone(), ctrl: record.ctrl, old: Some(old), new: None, cause });
        }
        records.forget_old();
        drop(records);
        if !changes.is_empty() {
            self.0.changed.notify_one();
        }
        changes
    }

    /// When the present state of a listed controller began, as far as the daemon knows.
    #[must_use]
    pub fn since(&self, tid: &Tid) -> Option<Timestamp> {
        self.lock().of.get(tid).filter(|record| record.status.is_some()).map(|record| record.since)
    }

    /// The controllers with a history, each with its last connection and its state; `None` if it is no longer listed.
    #[must_use]
    pub fn controllers(&self) -> Vec<(Tid, Option<CtrlRef>, Option<Status>)> {
        self.lock().of.iter().map(|(tid, record)| (tid.clone(), record.ctrl, record.status)).collect()
    }

    /// The history of a controller, the oldest line first.
    #[must_use]
    pub fn of(&self, tid: &Tid) -> Vec<HistoryEntry> {
        self.lock().of.get(tid).map(|record| record.lines.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Records {
    /// Drops the controllers that were removed first, if there are too many.
    fn forget_old(&mut self) {
        let surplus = self.of.values().filter(|record| record.is_removed()).count().saturating_sub(REMOVED);
        if surplus == 0 {
            return;
        }
        let removed = self.of.iter().filter(|(_, record)| record.is_removed());
        let mut oldest: Vec<(u64, Tid)> = removed.map(|(tid, record)| (record.round, tid.clone())).collect();
        oldest.sort_unstable();
        for (_, tid) in oldest.iter().take(surplus) {
            self.of.remove(tid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stas_core::Level;
    use stas_nvme::{TidParts, Transport};

    pub(super) const CTRL: CtrlRef = CtrlRef { device: 3, inode: 7 };

    pub(super) fn tid(nqn: &str) -> Tid {
        Tid::new(TidParts { subsysnqn: nqn.into(), ..TidParts::none(Transport::Tcp) })
    }

    pub(super) fn note(history: &History, tid: &Tid, text: &str) {
        history.note(&LogRecord { level: Level::Info, tid: Some(tid.clone()), ctrl: None, text: text.into() });
    }

    /// The changes, each as `OLD -> NEW: CAUSE`.
    fn compare(history: &History, listed: &[(&Tid, Status, Option<CtrlRef>)]) -> Vec<String> {
        let listed = listed.iter().map(|(tid, status, ctrl)| Listed { tid, status: *status, ctrl: *ctrl });
        let changes = history.compare(listed, |_| "line 3".into(), |_| Some("refused".into()));
        let word = |status: Option<Status>| status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        changes.iter().map(|change| format!("{} -> {}: {}", word(change.old), word(change.new), change.cause)).collect()
    }

    #[test]
    fn each_change_is_reported_once_with_its_cause() {
        let (history, tid) = (History::default(), tid("nqn.a"));
        assert_eq!(compare(&history, &[(&tid, Status::Queued, None)]), ["none -> queued: line 3"]);
        assert!(compare(&history, &[(&tid, Status::Queued, None)]).is_empty());
        assert_eq!(compare(&history, &[(&tid, Status::Waiting, None)]), ["queued -> waiting: refused"]);
        note(&history, &tid, "connected: nvme3");
        assert_eq!(
            compare(&history, &[(&tid, Status::Connected, Some(CTRL))]),
            ["waiting -> connected: connected: nvme3"]
        );
        note(&history, &tid, "disconnecting: edited");
        assert_eq!(
            compare(&history, &[(&tid, Status::Removing, Some(CTRL))]),
            ["connected -> leaving: disconnecting: edited"]
        );
        note(&history, &tid, "disconnected and removed");
        assert_eq!(compare(&history, &[]), ["leaving -> none: disconnecting: edited"]);
        assert!(compare(&history, &[]).is_empty());
        assert_eq!(history.controllers(), [(tid.clone(), Some(CTRL), None)]);
        let lines: Vec<String> = history.of(&tid).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["listed: line 3", "connected: nvme3", "disconnecting: edited", "disconnected and removed"]);
    }

    #[test]
    fn another_device_in_the_same_state_is_a_change() {
        let (history, tid) = (History::default(), tid("nqn.a"));
        compare(&history, &[(&tid, Status::Connected, Some(CTRL))]);
        let other = CtrlRef { device: 4, inode: 8 };
        assert_eq!(compare(&history, &[(&tid, Status::Connected, Some(other))]), ["connected -> connected: refused"]);
    }

    #[test]
    fn the_number_of_lines_and_of_removed_controllers_is_bounded() {
        let history = History::default();
        let stays = tid("nqn.stays");
        for number in 0..1000 {
            note(&history, &stays, &number.to_string());
            let gone = tid(&format!("nqn.{number}"));
            compare(&history, &[(&stays, Status::Connected, Some(CTRL)), (&gone, Status::Queued, None)]);
        }
        compare(&history, &[(&stays, Status::Connected, Some(CTRL))]);
        let lines = history.of(&stays);
        assert_eq!((lines.len(), lines.last().map(|line| line.text.as_str())), (LINES, Some("999")));
        let removed: Vec<_> = history.controllers().into_iter().filter(|(.., status)| status.is_none()).collect();
        assert_eq!(removed.len(), REMOVED);
        assert!(removed.iter().any(|(gone, ..)| *gone == tid("nqn.999")));
    }
}
