//! The saved state: read at start, written by its own thread.
//!
//! The file contains JSON: `{"kind": ..., "version": ..., "boot": ..., "conf": ..., "state": ...}`. `conf` is the text
//! of the daemon's configuration without its secrets. The file is replaced atomically (a new file is written and
//! synced, then renamed, then the directory is synced). A file that cannot be used is renamed and reported; the daemon
//! starts without it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest saved state in bytes, both when it is written and when it is read. 64 discovery controllers with 1,024
/// entries each take 25 MiB.
const STATE_MAX: usize = 32 << 20;
/// Minimum time between two writes of a file. The daemons save their state less often than that (`SAVE_PACE`).
const PACE: Duration = Duration::from_millis(200);
/// First and longest back-off after a failed write.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The saved state of one daemon.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    /// What the file contains, for the log: `state`.
    what: &'static str,
    kind: &'static str,
    version: u32,
    boot: String,
}

/// The whole file.
#[derive(Serialize)]
struct EncodedFile<'a, T> {
    kind: &'a str,
    version: u32,
    boot: &'a str,
    conf: &'a str,
    state: &'a T,
}

/// The part of the file that says whether its state can be used.
#[derive(Deserialize)]
struct HeadPart {
    kind: String,
    version: u32,
    boot: String,
}

/// The part of the file with the state.
#[derive(Deserialize)]
struct StatePart<T> {
    state: T,
}

/// The part of the file with the configuration.
#[derive(Deserialize)]
struct ConfPart {
    kind: String,
    boot: String,
    #[serde(default)]
    conf: Option<String>,
}

/// The saved configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedConf {
    /// There is no saved state of this boot.
    Nothing,
    /// The saved state is damaged, or its version did not save the configuration.
    Unknown,
    /// Text of the configuration without its secrets.
    Text(String),
}

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it is of kind {0:?}")]
    Kind(String),
    #[error("its version is {0}, which this program does not know")]
    Version(u32),
    #[error("it is from before the last boot")]
    Boot,
}

/// Finds the daemon's own directory in a list by systemd: separated by colons, sorted by name, and including the
/// directory that both daemons share.
fn own_directory(list: &str, kind: &str) -> Option<PathBuf> {
    list.split(':').map(PathBuf::from).find(|directory| directory.file_name().is_some_and(|name| name == kind))
}

impl StateFile {
    /// The daemon's file: `state.json` in the directory KIND of RUNTIME_DIRECTORY, or in `/run/KIND` if systemd did not
    /// set it.
    #[must_use]
    pub fn of_daemon(kind: &'static str, version: u32) -> Self {
        let directory = own_directory(&std::env::var("RUNTIME_DIRECTORY").unwrap_or_default(), kind)
            .unwrap_or_else(|| Path::new("/run").join(kind));
        if let Err(error) = fs::create_dir_all(&directory) {
            tracing::warn!(
                "cannot make {}: {error}; after a restart the daemon has no saved state",
                directory.display()
            );
        }
        Self::of_daemon_in(&directory, kind, version)
    }

    /// As [`StateFile::of_daemon`], in another directory.
    #[must_use]
    pub fn of_daemon_in(directory: &Path, kind: &'static str, version: u32) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::new(directory, kind, version, boot.trim())
    }

    fn new(directory: &Path, kind: &'static str, version: u32, boot: &str) -> Self {
        Self { path: directory.join("state.json"), what: "state", kind, version, boot: boot.to_owned() }
    }

    /// The file `name` beside the saved state, for data that no decision needs. `what` is its content, for the log.
    #[must_use]
    pub fn beside(&self, name: &str, what: &'static str, version: u32) -> Self {
        Self { path: self.path.with_file_name(name), what, version, ..self.clone() }
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the saved state. `None` if there is none that can be used: at the first start, or if the file is invalid,
    /// which is then renamed and reported.
    #[must_use]
    pub fn load<T: DeserializeOwned>(&self) -> Option<T> {
        match self.read() {
            Ok(state) => state,
            Err(why) => {
                let aside = self.path.with_extension("json.bad");
                let (what, path) = (self.what, self.path.display());
                match fs::rename(&self.path, &aside) {
                    Ok(()) => {
                        tracing::error!(
                            "starting without the saved {what} {path}: {why}. It is now {}",
                            aside.display()
                        )
                    }
                    Err(error) => {
                        tracing::error!(
                            "starting without the saved {what} {path}: {why}. It cannot be set aside: {error}"
                        )
                    }
                }
                None
            }
        }
    }

    /// Reads the file as a stream, twice: first its head, then its state. Neither the text nor a tree of all its values
    /// is kept in memory.
    fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, LoadError> {
        let Some(mut file) = self.open()? else { return Ok(None) };
        let head: HeadPart = from_stream(&file)?;
        if head.kind != self.kind {
            return Err(LoadError::Kind(head.kind));
        }
        if head.version != self.version {
            return Err(LoadError::Version(head.version));
        }
        // Times and instance numbers of an earlier boot mean nothing now.
        if head.boot != self.boot {
            return Err(LoadError::Boot);
        }
        file.rewind()?;
        Ok(Some(from_stream::<StatePart<T>>(&file)?.state))
    }

    /// Opens the file for reading. `None` if it does not exist. An error if it is not a file of at most [`STATE_MAX`]
    /// bytes.
    fn open(&self) -> io::Result<Option<File>> {
        // Opening a pipe without a writer would block the daemon.
        let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if metadata.len() > STATE_MAX as u64 {
            let text = format!("it has {} bytes, at most {STATE_MAX} are read", metadata.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(Some(file))
    }

    /// Reads the saved configuration. Does not change the file, even if it is invalid.
    #[must_use]
    pub fn saved_conf(&self) -> SavedConf {
        let file = match self.open() {
            Ok(Some(file)) => file,
            Ok(None) => return SavedConf::Nothing,
            Err(_) => return SavedConf::Unknown,
        };
        match from_stream::<ConfPart>(&file) {
            Ok(kept) if kept.kind != self.kind => SavedConf::Unknown,
            Ok(kept) if kept.boot != self.boot => SavedConf::Nothing,
            Ok(ConfPart { conf: Some(text), .. }) => SavedConf::Text(text),
            Ok(_) | Err(_) => SavedConf::Unknown,
        }
    }

    /// Encodes the state for [`Saver::save`]. `conf` is the configuration without its secrets.
    ///
    /// # Errors
    /// Fails if the state cannot be written as JSON (a map whose keys are not strings).
    pub fn encode<T: Serialize>(&self, state: &T, conf: &str) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&EncodedFile { kind: self.kind, version: self.version, boot: &self.boot, conf, state })
    }

    /// As [`StateFile::encode`]. If the result is longer than 32 MiB, `shorten` is called with the number of
    /// excess bytes, and the state is encoded once more.
    ///
    /// # Errors
    /// Fails if the state cannot be written as JSON (a map whose keys are not strings).
    pub fn encode_shortened<T: Serialize>(
        &self,
        mut state: T,
        conf: &str,
        shorten: impl FnOnce(&mut T, usize),
    ) -> serde_json::Result<Vec<u8>> {
        let bytes = self.encode(&state, conf)?;
        match bytes.len().checked_sub(STATE_MAX) {
            None | Some(0) => Ok(bytes),
            Some(excess) => {
                shorten(&mut state, excess);
                self.encode(&state, conf)
            }
        }
    }

    /// Removes the file.
    fn discard(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces the file atomically: after a crash it has the old or the new content.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// Reads a value from the file's present position. A file that grows meanwhile is read up to [`STATE_MAX`] bytes.
fn from_stream<T: DeserializeOwned>(file: &File) -> serde_json::Result<T> {
    serde_json::from_reader(BufReader::new(file.take(STATE_MAX as u64)))
}

/// Writes states on its own thread. Only the newest waiting state is written, and a hanging disk blocks no caller.
#[derive(Clone, Debug)]
pub struct Saver(Arc<Shared>);

/// What the callers share with the writer thread.
#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

/// The work of the writer thread.
#[derive(Debug, Default)]
struct Pending {
    /// The newest state that is not written yet.
    waiting: Option<Vec<u8>>,
    /// True while the thread writes.
    writing: bool,
    /// True if the process is about to end: the thread no longer pauses.
    end_wait: bool,
}

impl Saver {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn start(file: StateFile) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let work = Arc::clone(&shared);
        std::thread::Builder::new().name("state".to_owned()).spawn(move || work.write_states(&file))?;
        Ok(Self(shared))
    }

    /// Queues a state, in place of an older one that is still waiting. Returns at once.
    ///
    /// A state of more than 32 MiB is not written, and the file is removed: without a state the next start
    /// removes no controller that it has not seen listed, but with an older state it might.
    pub fn save(&self, bytes: Vec<u8>) {
        self.0.lock().waiting = Some(bytes);
        self.0.changed.notify_all();
    }

    /// Waits until all is written, at most for `limit`. Returns true if it is.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        let mut pending = self.0.lock();
        pending.end_wait = true;
        self.0.changed.notify_all();
        let waited =
            self.0.changed.wait_timeout_while(pending, limit, |pending| pending.waiting.is_some() || pending.writing);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_states(&self, file: &StateFile) {
        let mut failures = 0u32;
        let mut too_large = false;
        loop {
            let bytes = self.take();
            let result = if bytes.len() <= STATE_MAX { file.replace(&bytes) } else { file.discard() };
            too_large = log_if_too_large(file, bytes.len(), too_large);
            self.put_back(bytes, result.is_err());
            match result {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("the {} is saved again in {}", file.what, file.path.display());
                    }
                    failures = 0;
                    self.pause(PACE);
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(
                            "cannot save the {} in {}: {error}. Retrying; until then a restart begins with an older one",
                            file.what,
                            file.path.display()
                        );
                    }
                    failures = failures.saturating_add(1);
                    self.pause((BACKOFF.0 * 2u32.saturating_pow(failures.min(16) - 1)).min(BACKOFF.1));
                }
            }
        }
    }

    /// Waits for a state, and takes it out of the queue.
    fn take(&self) -> Vec<u8> {
        let mut pending = self.lock();
        loop {
            if let Some(bytes) = pending.waiting.take() {
                pending.writing = true;
                return bytes;
            }
            pending = self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a write has ended. If it failed, queues its state again, unless a newer state is waiting.
    fn put_back(&self, bytes: Vec<u8>, failed: bool) {
        let mut pending = self.lock();
        pending.writing = false;
        if failed && pending.waiting.is_none() {
            pending.waiting = Some(bytes);
        }
        self.changed.notify_all();
    }

    /// Waits for this time, or only 50 ms if the process is about to end.
    fn pause(&self, length: Duration) {
        let end = Instant::now() + length;
        let mut pending = self.lock();
        while !pending.end_wait {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            pending = match self.changed.wait_timeout(pending, left) {
                Ok((pending, _)) => pending,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        // Even without pauses, the thread must not spin on a disk that refuses writes.
        drop(pending);
        std::thread::sleep(length.min(Duration::from_millis(50)));
    }
}

/// Logs once that a state is too large to be saved. `before` is true if the previous state was too large. Returns
/// whether this one is.
fn log_if_too_large(file: &StateFile, bytes: usize, before: bool) -> bool {
    let too_large = bytes > STATE_MAX;
    if too_large && !before {
        tracing::error!(
            "the state has {} MiB, and at most {} are saved in {}: a restart begins without a state and keeps \
             all connections. Connect fewer discovery controllers, or exclude some",
            bytes >> 20,
            STATE_MAX >> 20,
            file.path.display()
        );
    }
    too_large
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use log_lines::LogLines;

    type State = BTreeMap<String, u32>;

    fn file(directory: &tempfile::TempDir) -> StateFile {
        StateFile::new(directory.path(), "stafd", 1, "boot-1")
    }

    #[test]
    fn a_state_that_is_too_long_is_shortened_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::of_daemon_in(directory.path(), "stacd", 1);
        let unchanged = |_: &mut Vec<String>, excess: usize| panic!("shortened by {excess}");
        assert!(file.encode_shortened(vec!["x".to_owned()], "", unchanged).unwrap().len() < 1000);
        let mut called_with = 0;
        let text = "x".repeat(STATE_MAX);
        let shorten = |state: &mut Vec<String>, excess: usize| {
            called_with = excess;
            state.truncate(1);
        };
        let bytes = file.encode_shortened(vec!["x".to_owned(), text.clone()], "", shorten).unwrap();
        assert!(bytes.len() < 1000 && called_with > 0 && called_with < 1000, "{called_with}");
    }

    #[test]
    fn the_directory_that_both_daemons_share_holds_no_state() {
        let own = |list| own_directory(list, "stafd");
        assert_eq!(own("/run/nvme-stas:/run/stafd"), Some(PathBuf::from("/run/stafd")));
        assert_eq!(own("/run/test/stafd"), Some(PathBuf::from("/run/test/stafd")));
        assert_eq!(own("/run/nvme-stas"), None);
        assert_eq!(own(""), None);
    }

    fn state(number: u32) -> State {
        State::from([("number".into(), number)])
    }

    fn write(file: &StateFile, number: u32) {
        file.replace(&file.encode(&state(number), "").unwrap()).unwrap();
    }

    #[test]
    fn a_saved_state_is_restored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        assert_eq!(file.load::<State>(), None);
        write(&file, 1);
        write(&file, 2);
        assert_eq!(file.load::<State>(), Some(state(2)));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_configuration_is_saved_with_the_state_of_this_boot() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        assert_eq!(file.saved_conf(), SavedConf::Nothing);
        file.replace(&file.encode(&state(1), "[Global]\n").unwrap()).unwrap();
        assert_eq!(file.saved_conf(), SavedConf::Text("[Global]\n".into()));
        let text = fs::read_to_string(file.path()).unwrap();
        for (content, expected) in [
            (text.replace("boot-1", "boot-0"), SavedConf::Nothing),
            (text.replace("stafd", "stacd"), SavedConf::Unknown),
            (text[..text.len() / 2].to_owned(), SavedConf::Unknown),
            // A version that did not save the configuration.
            (r#"{"kind":"stafd","version":1,"boot":"boot-1","state":{"number":1}}"#.into(), SavedConf::Unknown),
        ] {
            fs::write(file.path(), &content).unwrap();
            assert_eq!(file.saved_conf(), expected, "{content}");
            assert_eq!(fs::read_to_string(file.path()).unwrap(), content);
        }
        assert_eq!(file.load::<State>(), Some(state(1)));
    }

    #[test]
    fn a_half_written_file_of_a_crash_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        write(&file, 1);
        fs::write(directory.path().join("state.json.new"), b"{\"kind\":\"sta").unwrap();
        assert_eq!(file.load::<State>(), Some(state(1)));
        write(&file, 2);
        assert_eq!(file.load::<State>(), Some(state(2)));
    }

    #[test]
    fn what_cannot_be_understood_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        let good = String::from_utf8(file.encode(&state(1), "").unwrap()).unwrap();
        let bad = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("stafd", "stacd"),
            good.replace("boot-1", "boot-0"),
            good.replace("\"number\":1", "\"number\":[]"),
            "\0\u{fffd}".repeat(100),
        ];
        for content in bad {
            fs::write(file.path(), &content).unwrap();
            assert_eq!(file.load::<State>(), None, "{content}");
            assert!(!file.path().exists());
            assert_eq!(fs::read_to_string(directory.path().join("state.json.bad")).unwrap(), content);
        }
    }

    #[test]
    fn a_directory_in_its_place_is_not_fatal() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        fs::create_dir(file.path()).unwrap();
        assert_eq!(file.load::<State>(), None);
        write(&file, 1);
        assert_eq!(file.load::<State>(), Some(state(1)));
    }

    #[test]
    fn a_pipe_in_its_place_blocks_no_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        nix::unistd::mkfifo(file.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(file.saved_conf(), SavedConf::Unknown);
        assert_eq!(file.load::<State>(), None);
        assert!(!file.path().exists() && directory.path().join("state.json.bad").exists());
    }

    #[test]
    fn a_file_beyond_the_bound_is_set_aside_and_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        write(&file, 1);
        let longer = OpenOptions::new().write(true).open(file.path()).unwrap();
        longer.set_len(STATE_MAX as u64 + 1).unwrap();
        assert_eq!(file.saved_conf(), SavedConf::Unknown);
        let log = LogLines::start();
        assert_eq!(file.load::<State>(), None);
        assert!(log.text().contains("at most 33554432 are read"), "{}", log.text());
        assert!(!file.path().exists());
    }

    #[test]
    fn a_state_beyond_the_bound_is_not_written_and_no_older_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        write(&file, 1);
        let saver = Saver::start(file.clone()).unwrap();
        saver.save(vec![b' '; STATE_MAX + 1]);
        assert!(saver.finish(Duration::from_secs(10)));
        assert!(!file.path().exists());
        saver.save(file.encode(&state(2), "").unwrap());
        assert!(saver.finish(Duration::from_secs(10)));
        assert_eq!(file.load::<State>(), Some(state(2)));
    }

    #[test]
    fn the_last_of_many_saved_states_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        let saver = Saver::start(file.clone()).unwrap();
        for number in 0..1000 {
            saver.save(file.encode(&state(number), "").unwrap());
        }
        assert!(saver.finish(Duration::from_secs(10)));
        assert_eq!(file.load::<State>(), Some(state(999)));
    }

    #[test]
    fn a_full_disk_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = directory.path().join("run");
        let file = StateFile::new(&runtime, "stafd", 1, "boot-1");
        let saver = Saver::start(file.clone()).unwrap();
        saver.save(file.encode(&state(1), "").unwrap());
        assert!(!saver.finish(Duration::from_millis(50)), "there is no directory to write to");
        fs::create_dir(&runtime).unwrap();
        assert!(saver.finish(Duration::from_secs(10)));
        assert_eq!(file.load::<State>(), Some(state(1)));
    }

    proptest! {
        #[test]
        fn no_content_is_fatal(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let directory = tempfile::tempdir().unwrap();
            let file = file(&directory);
            fs::write(file.path(), content).unwrap();
            prop_assert_eq!(file.load::<State>(), None);
        }
    }
}
