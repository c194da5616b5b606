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
/// Approximate maximum of the memory for all lines together, in bytes. Any host can announce discovery controllers,
/// which list thousands of controllers: lines about these are dropped first, the oldest line first.
const ALL_LINES_MAX: usize = 16 << 20;
/// Approximate size in memory of a line without its text, in bytes.
const LINE_OVERHEAD: usize = 72;

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
    /// Number of the last comparison ([`History::compare`]).
    round: u64,
    lines: LineIndex,
}

/// The size of all lines together, and an index of the controllers by their oldest line.
#[derive(Debug, Default)]
struct LineIndex {
    /// The size of all lines in memory, in bytes.
    size: usize,
    /// The number of lines that were ever written.
    written: u64,
    /// The controllers that depend on mDNS alone and have lines, by the number of their oldest line.
    announced: BTreeMap<u64, Tid>,
    /// All other controllers that have lines, likewise.
    trusted: BTreeMap<u64, Tid>,
}

/// A line with its number. Later lines have greater numbers.
#[derive(Debug)]
struct Line {
    number: u64,
    entry: HistoryEntry,
}

impl Line {
    fn size(&self) -> usize {
        LINE_OVERHEAD + self.entry.text.len()
    }
}

#[derive(Debug, Default)]
struct Record {
    lines: VecDeque<Line>,
    /// True if the controller does not depend on mDNS alone. False until it is listed.
    is_trusted: bool,
    /// `None` while it is not listed.
    status: Option<Status>,
    ctrl: Option<CtrlRef>,
    /// Start of the present state.
    since: Timestamp,
    /// Its state when the last run of the daemon ended; `None` once its state in this run is known.
    before: Option<Before>,
    /// Number of the comparison in which it was listed last, or that preceded its last line.
    round: u64,
    /// True if its last line was written since its last change of state: that line is the cause of the next change.
    has_news: bool,
    /// Why it is being removed or kept; empty in other states.
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

    /// The last line since the last change of state; empty if there is none. A second call returns nothing.
    fn take_news(&mut self) -> String {
        let last = self.lines.back().filter(|_| std::mem::take(&mut self.has_news));
        last.map(|line| line.entry.text.clone()).unwrap_or_default()
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
        let last_line = self.take_news();
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
        let record = records.add(tid, Timestamp::now(), masked(&logged.text).into_owned());
        record.round = record.round.max(round);
        record.has_news = true;
        drop(records);
        self.0.changed.notify_one();
    }

    /// Compares the states with those of the last call, and returns the changes. `source` says which source lists a
    /// controller, `reason` why it is not connected or is kept.
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
        for Listed { tid, status, ctrl, announced_only } in listed {
            records.classify(tid, !announced_only);
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
            let last_line = record.take_news();
            let cause = match old {
                None => source(tid),
                Some(_) if last_line.is_empty() => reason(tid).unwrap_or_default(),
                Some(_) => last_line,
            };
            record.removal = match status {
                Status::Removing | Status::Kept => cause.clone(),
                _ => String::new(),
            };
            if old.is_none() {
                let restarted = if is_restart { "the daemon was started again; " } else { "" };
                records.add(tid, now, format!("{restarted}listed: {cause}"));
                records.classify(tid, !announced_only);
            }
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
        self.lock()
            .of
            .get(tid)
            .map(|record| record.lines.iter().map(|line| line.entry.clone()).collect())
            .unwrap_or_default()
    }
}

impl Records {
    /// Adds a line about a controller. Returns its record.
    fn add(&mut self, tid: &Tid, at: Timestamp, mut text: String) -> &mut Record {
        let end = (0..=LINE_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.filter(|end| *end < text.len()).unwrap_or(text.len()));
        text.shrink_to_fit();
        let record = self.of.entry(tid.clone()).or_default();
        while record.lines.len() >= LINES {
            self.lines.drop_oldest(tid, record);
        }
        self.lines.add(tid, record, HistoryEntry { at, text });
        while self.lines.size > ALL_LINES_MAX
            && let Some(oldest) = self.lines.first_to_drop()
            && let Some(record) = self.of.get_mut(&oldest)
        {
            self.lines.drop_oldest(&oldest, record);
        }
        self.of.entry(tid.clone()).or_default()
    }

    /// Remembers whether a controller depends on mDNS alone.
    fn classify(&mut self, tid: &Tid, is_trusted: bool) {
        if let Some(record) = self.of.get_mut(tid).filter(|record| record.is_trusted != is_trusted) {
            self.lines.unlist(record);
            record.is_trusted = is_trusted;
            self.lines.list(tid, record);
        }
    }

    fn remove(&mut self, tid: &Tid) {
        if let Some(record) = self.of.remove(tid) {
            self.lines.unlist(&record);
            self.lines.size -= record.lines.iter().map(Line::size).sum::<usize>();
        }
    }

    /// Drops the controllers that were removed first, if there are too many: those that depend on mDNS alone before the
    /// others.
    fn forget_old(&mut self) {
        let surplus = self.of.values().filter(|record| record.is_removed()).count().saturating_sub(REMOVED);
        if surplus == 0 {
            return;
        }
        let removed = self.of.iter().filter(|(_, record)| record.is_removed());
        let mut oldest: Vec<(bool, u64, Tid)> =
            removed.map(|(tid, record)| (record.is_trusted, record.round, tid.clone())).collect();
        oldest.sort_unstable();
        for (.., tid) in oldest.iter().take(surplus) {
            self.remove(tid);
        }
    }
}

impl LineIndex {
    fn add(&mut self, tid: &Tid, record: &mut Record, entry: HistoryEntry) {
        self.written += 1;
        let line = Line { number: self.written, entry };
        self.size += line.size();
        record.lines.push_back(line);
        if record.lines.len() == 1 {
            self.list(tid, record);
        }
    }

    /// Drops the oldest line of a controller.
    fn drop_oldest(&mut self, tid: &Tid, record: &mut Record) {
        self.unlist(record);
        self.size -= record.lines.pop_front().map_or(0, |line| line.size());
        self.list(tid, record);
    }

    /// The controller with the oldest line of those that depend on mDNS alone, or else of all.
    fn first_to_drop(&self) -> Option<Tid> {
        self.announced.values().next().or_else(|| self.trusted.values().next()).cloned()
    }

    /// The index that lists a controller, by its trust.
    fn class_of(&mut self, record: &Record) -> &mut BTreeMap<u64, Tid> {
        if record.is_trusted { &mut self.trusted } else { &mut self.announced }
    }

    /// Adds a controller to the index. Call it when its oldest line or its trust has changed, after
    /// [`LineIndex::unlist`].
    fn list(&mut self, tid: &Tid, record: &Record) {
        if let Some(line) = record.lines.front() {
            self.class_of(record).insert(line.number, tid.clone());
        }
    }

    /// Removes a controller from the index.
    fn unlist(&mut self, record: &Record) {
        if let Some(line) = record.lines.front() {
            self.class_of(record).remove(&line.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
        let listed = listed.iter().map(|(tid, status, ctrl)| Listed {
            tid,
            status: *status,
            ctrl: *ctrl,
            announced_only: false,
        });
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

    fn is_consistent(history: &History) {
        let records = history.lock();
        let size: usize = records.of.values().flat_map(|record| &record.lines).map(Line::size).sum();
        assert_eq!(records.lines.size, size);
        assert!(size <= ALL_LINES_MAX, "{size}");
        for (class, is_trusted) in [(&records.lines.announced, false), (&records.lines.trusted, true)] {
            let of = records.of.iter().filter(|(_, record)| record.is_trusted == is_trusted);
            let fronts = of.filter_map(|(tid, record)| Some((record.lines.front()?.number, tid.clone())));
            assert_eq!(*class, fronts.collect());
        }
    }

    /// Any host can announce discovery controllers that list thousands of controllers, each with its failed attempts.
    #[test]
    fn lines_about_announced_controllers_are_dropped_first_and_the_oldest_first() {
        let history = History::default();
        let trusted = tid("nqn.trusted");
        let announced: Vec<Tid> = (0..1000).map(|number| tid(&format!("nqn.{number}"))).collect();
        let listed = |tid, announced_only| Listed { tid, status: Status::Waiting, ctrl: None, announced_only };
        let all = announced.iter().map(|tid| listed(tid, true)).chain([listed(&trusted, false)]);
        history.compare(all, |_| "x".into(), |_| None);
        for _ in 0..LINES - 1 {
            note(&history, &trusted, "connected");
        }
        for round in 0..40 {
            announced.iter().for_each(|tid| note(&history, tid, &format!("{round} {}", "x".repeat(LINE_MAX))));
        }
        is_consistent(&history);
        assert_eq!(history.of(&trusted).len(), LINES, "lines about trusted controllers are kept");
        let of_each: Vec<usize> = announced.iter().map(|tid| history.of(tid).len()).collect();
        assert!(of_each.iter().all(|number| (14..=16).contains(number)), "{of_each:?}");
        let of_one = history.of(&announced[7]);
        assert!(of_one.last().is_some_and(|line| line.text.starts_with("39 ")), "the newest lines stay");
        assert!(history.lock().lines.size > ALL_LINES_MAX - 2 * LINE_MAX, "nothing is dropped without need");
        // Lines about trusted controllers have the same limit.
        let all = announced.iter().map(|tid| listed(tid, false));
        history.compare(all, |_| "x".into(), |_| None);
        announced.iter().for_each(|tid| note(&history, tid, &"y".repeat(LINE_MAX)));
        is_consistent(&history);
    }

    #[test]
    fn the_cause_of_a_change_is_known_although_lines_are_dropped() {
        let history = History::default();
        let tids: Vec<Tid> = (0..300).map(|number| tid(&format!("nqn.{number}"))).collect();
        let listed = |status| tids.iter().map(move |tid| Listed { tid, status, ctrl: None, announced_only: true });
        history.compare(listed(Status::Queued), |_| "x".into(), |_| None);
        for _ in 0..LINES {
            tids.iter().for_each(|tid| note(&history, tid, &"x".repeat(LINE_MAX)));
        }
        tids.iter().for_each(|tid| note(&history, tid, "connection refused"));
        let changes = history.compare(listed(Status::Waiting), |_| "x".into(), |_| None);
        assert_eq!(changes.len(), 300);
        assert!(changes.iter().all(|change| change.cause == "connection refused"));
        is_consistent(&history);
    }

    proptest! {
        /// Lines, comparisons and removals in any order.
        #[test]
        fn the_index_of_lines_is_exact(
            steps in proptest::collection::vec((0..40_usize, 0..4_u8, any::<bool>()), 0..300),
        ) {
            let history = History::default();
            let tids: Vec<Tid> = (0..40).map(|number| tid(&format!("nqn.{number}"))).collect();
            for (number, step, announced_only) in steps {
                let status = Status::Waiting;
                match step {
                    0 | 1 => note(&history, &tids[number], &"x".repeat(100 * number)),
                    _ => {
                        let listed = tids.iter().skip(number).step_by(usize::from(step));
                        let listed = listed.map(|tid| Listed { tid, status, ctrl: None, announced_only });
                        drop(history.compare(listed, |_| "x".into(), |_| None));
                    }
                }
                is_consistent(&history);
            }
        }
    }
}
