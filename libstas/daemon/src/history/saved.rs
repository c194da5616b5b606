//! The histories in a file beside the saved state: they survive a restart of the daemon.
//!
//! No decision depends on this file. It is small, and replaced atomically like the saved state. A file that cannot be
//! used is set aside, and the daemon starts without it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Before, History, LINES, Record, Records};
use crate::state::{Saver, StateFile};
use stas_core::CtrlRef;
use stas_core::fleet::Status;
use stas_nvme::Tid;

/// Must change when the format changes incompatibly.
const VERSION: u32 = 1;
/// Approximate maximum size of all saved histories in bytes. Of the removed controllers, those that were removed first
/// are left out first.
const HISTORY_MAX: usize = 4 << 20;
/// Approximate size of a record without its lines, and of a line without its text, in bytes.
const OVERHEAD: (usize, usize) = (512, 16);
/// Minimum time between two saves: a kill loses the lines of this time.
const PACE: Duration = Duration::from_secs(2);

/// The content of the file.
#[derive(Default, Serialize, Deserialize)]
struct Saved<'a> {
    controllers: Vec<SavedRecord<'a>>,
}

/// The history of one controller.
#[derive(Serialize, Deserialize)]
struct SavedRecord<'a> {
    tid: Cow<'a, Tid>,
    ctrl: Option<CtrlRef>,
    /// The state in one word; `None` if it is not listed.
    state: Option<Cow<'a, str>>,
    /// Start of this state, in seconds since 1970.
    since: i64,
    /// True if it does not depend on mDNS alone. Earlier versions did not save it.
    #[serde(default = "true_if_missing")]
    trusted: bool,
    /// Time and text of each line, the oldest first.
    lines: Vec<(i64, Cow<'a, str>)>,
}

fn true_if_missing() -> bool {
    true
}

/// The file in which a daemon's histories are saved.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    history: History,
    file: StateFile,
    saver: Saver,
}

impl HistoryFile {
    /// Restores the histories from the file beside the saved state, and begins to save them there. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// Fails if no thread can be started.
    pub fn start(state_file: &StateFile) -> io::Result<(History, Self)> {
        let file = state_file.beside("history.json", "history", VERSION);
        let history = History::restored(file.load().unwrap_or_default());
        let this = Self { history: history.clone(), saver: Saver::start(file.clone())?, file };
        tokio::spawn(this.clone().keep());
        Ok((history, this))
    }

    /// Saves the histories whenever they have changed.
    async fn keep(self) {
        loop {
            self.history.0.changed.notified().await;
            self.save();
            tokio::time::sleep(PACE).await;
        }
    }

    fn save(&self) {
        match self.history.encode(&self.file) {
            Ok(bytes) => self.saver.save(bytes),
            Err(error) => tracing::error!("the history cannot be written as JSON: {error}"),
        }
    }

    /// Saves the histories for the last time. Waits for this limit; returns true if they are saved.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        self.save();
        self.saver.finish(limit)
    }
}

impl History {
    fn restored(saved: Saved<'_>) -> Self {
        let history = Self::default();
        let mut records = history.lock();
        for saved in saved.controllers {
            saved.restore(&mut records);
        }
        records.forget_old();
        drop(records);
        history
    }

    fn encode(&self, file: &StateFile) -> serde_json::Result<Vec<u8>> {
        file.encode(&self.lock().saved(HISTORY_MAX), "")
    }
}

impl Records {
    /// The histories that together have at most that many bytes, about. Those of controllers that depend on mDNS alone
    /// are left out first, then those of removed controllers.
    fn saved(&self, bytes: usize) -> Saved<'_> {
        let mut all: Vec<(&Tid, &Record)> = self.of.iter().collect();
        all.sort_by_key(|(_, record)| (!record.is_trusted, record.is_removed(), Reverse(record.round)));
        let mut size = 0;
        let fits = all.into_iter().take_while(|(_, record)| {
            size += OVERHEAD.0 + record.lines.iter().map(|line| OVERHEAD.1 + line.entry.text.len()).sum::<usize>();
            size <= bytes
        });
        let is_first = self.round == 0;
        Saved { controllers: fits.map(|(tid, record)| SavedRecord::of(tid, record, is_first)).collect() }
    }
}

impl<'a> SavedRecord<'a> {
    /// `is_first`: before the first comparison of this run.
    fn of(tid: &'a Tid, record: &'a Record, is_first: bool) -> Self {
        // The daemon can be killed before it knows whether the state of the last run continues: until then that state is
        // saved again. After the first comparison, a controller that is not listed is saved as removed: otherwise its
        // record would never be deleted.
        let before = record.before.as_ref().filter(|_| is_first || record.status.is_some());
        let (status, ctrl, since) = match before {
            Some(before) => (Some(before.status), before.ctrl, before.since),
            None => (record.status, record.ctrl, record.since),
        };
        let lines = record.lines.iter().map(|line| &line.entry);
        Self {
            tid: Cow::Borrowed(tid),
            ctrl,
            state: status.map(|status| Cow::Owned(status.to_string())),
            since: since.as_second(),
            trusted: record.is_trusted,
            lines: lines.map(|line| (line.at.as_second(), Cow::Borrowed(&*line.text))).collect(),
        }
    }

    fn restore(self, records: &mut Records) {
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
        let (ctrl, since) = (self.ctrl, time(self.since));
        let status = self.state.and_then(|word| Status::ALL.into_iter().find(|status| status.to_string() == word));
        let before = status.map(|status| Before { status, ctrl, since });
        let record = Record { ctrl, since, before, is_trusted: self.trusted, ..Record::default() };
        records.remove(&self.tid);
        records.of.insert(self.tid.clone().into_owned(), record);
        let surplus = self.lines.len().saturating_sub(LINES);
        for (at, text) in self.lines.into_iter().skip(surplus) {
            records.add(&self.tid, time(at), text.into_owned());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use stas_core::fleet::Listed;
    use tempfile::TempDir;

    use super::super::tests::{self, CTRL, tid};
    use super::*;

    fn file(directory: &TempDir) -> StateFile {
        StateFile::of_daemon_in(directory.path(), "stacd", 1).beside("history.json", "history", VERSION)
    }

    fn note(history: &History, nqn: &str, text: &str) {
        tests::note(history, &tid(nqn), text);
    }

    fn list(history: &History, listed: &[(&str, Status, Option<CtrlRef>)]) {
        let tids: Vec<_> = listed.iter().map(|(nqn, status, ctrl)| (tid(nqn), *status, *ctrl)).collect();
        let listed =
            tids.iter().map(|(tid, status, ctrl)| Listed { tid, status: *status, ctrl: *ctrl, announced_only: false });
        history.compare(listed, |_| "line 3".into(), |_| None);
    }

    fn texts(history: &History, nqn: &str) -> Vec<String> {
        history.of(&tid(nqn)).into_iter().map(|line| line.text).collect()
    }

    /// The history after a restart of the daemon.
    fn restarted(history: &History) -> History {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        fs::write(file.path(), history.encode(&file).unwrap()).unwrap();
        History::restored(file.load().unwrap())
    }

    #[test]
    fn the_story_goes_on_after_a_restart() {
        let history = History::default();
        list(&history, &[("a", Status::Queued, None), ("gone", Status::Queued, None)]);
        note(&history, "a", "connected: nvme3");
        note(&history, "gone", "removed from stacd.conf");
        list(&history, &[("a", Status::Connected, Some(CTRL))]);
        let since = history.since(&tid("a")).unwrap().as_second();

        let history = restarted(&history);
        let known = [(tid("a"), Some(CTRL), None), (tid("gone"), None, None)];
        assert_eq!(history.controllers(), known);
        assert_eq!(texts(&history, "a"), ["listed: line 3", "connected: nvme3"]);
        assert_eq!(texts(&history, "gone"), ["listed: line 3", "removed from stacd.conf"]);
        list(&history, &[("a", Status::Queued, None)]);
        list(&history, &[("a", Status::Connected, Some(CTRL))]);
        let again = "the daemon was started again; listed: line 3";
        assert_eq!(texts(&history, "a"), ["listed: line 3", "connected: nvme3", again]);
        assert_eq!(history.since(&tid("a")).unwrap().as_second(), since, "the connection is the same");
        assert_eq!(texts(&restarted(&history), "gone").len(), 2);
    }

    /// A daemon can be killed at any time, also before it uses its connections again.
    #[test]
    fn the_story_goes_on_after_two_restarts_in_a_row() {
        let steps: [&[(&str, Status, Option<CtrlRef>)]; 2] =
            [&[("a", Status::Queued, None)], &[("a", Status::Connected, Some(CTRL))]];
        for number_of_steps in 0..=steps.len() {
            let history = History::default();
            list(&history, &[("a", Status::Connected, Some(CTRL))]);
            history.lock().of.get_mut(&tid("a")).unwrap().since = Timestamp::UNIX_EPOCH;
            let history = restarted(&history);
            note(&history, "a", "a line before the first comparison");
            steps.iter().take(number_of_steps).for_each(|listed| list(&history, listed));
            let history = restarted(&history);
            steps.iter().for_each(|listed| list(&history, listed));
            assert_eq!(history.since(&tid("a")), Some(Timestamp::UNIX_EPOCH), "killed after {number_of_steps} steps");
        }
    }

    #[test]
    fn a_state_that_is_not_that_of_the_last_run_begins_anew() {
        let other = CtrlRef { inode: 8, ..CTRL };
        for (status, ctrl) in [(Status::Connected, Some(other)), (Status::Reconnecting, Some(CTRL))] {
            let history = History::default();
            list(&history, &[("a", Status::Connected, Some(CTRL))]);
            history.lock().of.get_mut(&tid("a")).unwrap().since = Timestamp::UNIX_EPOCH;
            let history = restarted(&history);
            list(&history, &[("a", status, ctrl)]);
            list(&history, &[("a", Status::Connected, Some(CTRL))]);
            assert_ne!(history.since(&tid("a")), Some(Timestamp::UNIX_EPOCH), "{status}");
        }
    }

    /// A queued controller may still get the connection of the last run.
    #[test]
    fn any_state_but_queued_ends_the_state_of_the_last_run() {
        for status in [Status::Connecting, Status::Waiting, Status::GivenUp, Status::Excluded, Status::Unresolved] {
            let history = History::default();
            list(&history, &[("a", Status::Connected, Some(CTRL))]);
            let history = restarted(&history);
            list(&history, &[("a", Status::Queued, None)]);
            list(&history, &[("a", status, None)]);
            history.lock().of.get_mut(&tid("a")).unwrap().since = Timestamp::UNIX_EPOCH;
            let history = restarted(&history);
            list(&history, &[("a", status, None)]);
            assert_eq!(history.since(&tid("a")), Some(Timestamp::UNIX_EPOCH), "{status}");
        }
    }

    #[test]
    fn what_the_last_run_listed_is_kept_until_its_source_is_known_and_no_longer() {
        let history = History::default();
        let nqns: Vec<String> = (0..1000).map(|number| format!("nqn.{number}")).collect();
        list(&history, &nqns.iter().map(|nqn| (nqn.as_str(), Status::Waiting, None)).collect::<Vec<_>>());
        let history = restarted(&history);
        list(&history, &[]);
        assert_eq!(history.controllers().len(), 1000, "stafd has not answered yet");
        assert!(restarted(&history).controllers().len() < 1000, "nothing is kept for ever");
    }

    #[test]
    fn the_file_is_bounded_and_leaves_removed_controllers_out_first() {
        let history = History::default();
        let line = "x".repeat(2 * super::super::LINE_MAX);
        for number in 0..200 {
            let nqn = format!("nqn.{number}");
            (0..2 * LINES).for_each(|_| note(&history, &nqn, &line));
            list(&history, &[("stays", Status::Waiting, None), (&nqn, Status::Waiting, None)]);
        }
        list(&history, &[("stays", Status::Waiting, None)]);
        let directory = tempfile::tempdir().unwrap();
        let bytes = history.encode(&file(&directory)).unwrap().len();
        assert!(bytes > HISTORY_MAX / 2 && bytes < HISTORY_MAX, "{bytes}");
        let restored = restarted(&history);
        assert!(!texts(&restored, "stays").is_empty() && !texts(&restored, "nqn.199").is_empty());
        assert!(texts(&restored, "nqn.0").is_empty());
    }

    /// Any host can announce discovery controllers, which list thousands of controllers.
    #[test]
    fn announced_controllers_displace_no_history_of_others() {
        let history = History::default();
        let compare = |trusted: &[&str], announced: &[Tid]| {
            let listed = |tid, announced_only| Listed { tid, status: Status::Waiting, ctrl: None, announced_only };
            let tids: Vec<Tid> = trusted.iter().map(|nqn| tid(nqn)).collect();
            let trusted = tids.iter().map(|tid| listed(tid, false));
            let announced = announced.iter().map(|tid| listed(tid, true));
            history.compare(trusted.chain(announced), |_| "line 3".into(), |_| None);
        };
        compare(&["zz-listed", "zz-removed"], &[]);
        compare(&["zz-listed"], &[]);
        for number in 0..300 {
            compare(&["zz-listed"], &[tid(&format!("removed-{number}"))]);
        }
        let many: Vec<Tid> = (0..HISTORY_MAX / OVERHEAD.0).map(|number| tid(&format!("listed-{number}"))).collect();
        compare(&["zz-listed"], &many);
        let restored = restarted(&history);
        for history in [&history, &restored] {
            assert_eq!(texts(history, "zz-listed"), ["listed: line 3"]);
            assert_eq!(texts(history, "zz-removed"), ["listed: line 3"]);
        }
        assert!(restored.controllers().len() < many.len());
    }

    #[test]
    fn no_secret_is_saved() {
        let history = History::default();
        note(&history, "a", "odd: DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:");
        let directory = tempfile::tempdir().unwrap();
        let text = String::from_utf8(history.encode(&file(&directory)).unwrap()).unwrap();
        assert!(text.contains("odd: ***") && !text.contains("ia6z"), "{text}");
    }

    #[tokio::test]
    async fn a_change_is_saved_soon_and_the_last_one_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let state_file = StateFile::of_daemon_in(directory.path(), "stacd", 1);
        let (history, saved) = HistoryFile::start(&state_file).unwrap();
        note(&history, "a", "first");
        let path = directory.path().join("history.json");
        while !fs::read_to_string(&path).is_ok_and(|text| text.contains("first")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        note(&history, "a", "last");
        assert!(saved.finish(Duration::from_secs(10)));
        let (history, _) = HistoryFile::start(&state_file).unwrap();
        assert_eq!(texts(&history, "a"), ["first", "last"]);
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside_and_saving_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("history.json"), "{\"kind\": \"stacd\"").unwrap();
        let (history, saved) = HistoryFile::start(&StateFile::of_daemon_in(directory.path(), "stacd", 1)).unwrap();
        assert!(history.controllers().is_empty() && directory.path().join("history.json.bad").exists());
        note(&history, "a", "new");
        assert!(saved.finish(Duration::from_secs(10)));
        assert!(fs::read_to_string(directory.path().join("history.json")).unwrap().contains("new"));
    }

    proptest! {
        #[test]
        fn any_saved_values_are_bounded_and_saved_again(
            seconds: i64,
            word in "[a-z ]{0,12}",
            lines in proptest::collection::vec((any::<i64>(), ".{0,40}"), 0..200),
        ) {
            let lines: Vec<_> = lines.into_iter().map(|(at, text)| (at, Cow::Owned(text))).collect();
            let record = SavedRecord {
                tid: Cow::Owned(tid("a")),
                ctrl: Some(CTRL),
                state: Some(Cow::Owned(word)),
                since: seconds,
                trusted: true,
                lines,
            };
            let history = History::restored(Saved { controllers: vec![record] });
            prop_assert!(history.of(&tid("a")).len() <= LINES);
            prop_assert_eq!(history.controllers(), restarted(&history).controllers());
        }
    }
}
