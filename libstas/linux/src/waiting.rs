//! Lets each daemon know whether the other one waits for connections, and how urgent they are.
//!
//! A daemon that waits for a connection, or for the probe before it, holds two shared locks on a file: on the first
//! byte, and on the byte that stands for the urgency of its next connection. These are open file description locks,
//! which the kernel releases with the process. The other daemon checks for such locks. If the file cannot be locked,
//! this daemon assumes that the other one waits for a connection that is not more urgent.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use stas_core::trust::Urgency;

/// The number of connections for which this daemon waits, and the lock on the file.
#[derive(Debug)]
pub(super) struct Waiting {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    urgency: Option<Urgency>,
    file: Option<File>,
}

/// One pending connection, or the probe before it. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct WaitGuard(Arc<Waiting>);

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.count -= 1;
        if state.count == 0 {
            // Without a lock there is nothing to release.
            let _ = self.0.file(&mut state).and_then(|file| set(file, libc::F_UNLCK, ANYTHING));
        }
    }
}

impl Waiting {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, state: Mutex::default() })
    }

    /// Starts to wait for one more connection.
    pub(super) fn enter(self: &Arc<Self>) -> WaitGuard {
        let mut state = self.state();
        state.count += 1;
        if state.count == 1 {
            // If this fails, the other daemon probes less than it could.
            let _ = self.file(&mut state).and_then(|file| set(file, libc::F_RDLCK, ANYTHING));
        }
        WaitGuard(self.clone())
    }

    /// True while another daemon waits for a connection, or if that cannot be determined.
    pub(super) fn others_wait(&self) -> bool {
        self.file(&mut self.state()).and_then(|file| is_locked(file, ANYTHING)).unwrap_or(true)
    }

    /// Sets the urgency of the connection that this daemon makes next; `None`: it waits for none.
    pub(super) fn wait_for(&self, urgency: Option<Urgency>) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.urgency, urgency);
        if before == urgency {
            return;
        }
        // If this fails, the other daemon does not let this one go first.
        let _ = self.file(&mut state).and_then(|file| {
            urgency.map_or(Ok(()), |urgency| set(file, libc::F_RDLCK, byte_of(urgency)))?;
            before.map_or(Ok(()), |before| set(file, libc::F_UNLCK, byte_of(before)))
        });
    }

    /// True while the other daemon waits for a connection that is more urgent than the next one of this daemon.
    pub(super) fn more_urgent_waits(&self) -> bool {
        let mut state = self.state();
        let own = byte_of(state.urgency.unwrap_or(Urgency::Last));
        let urgent = ANYTHING.end..own.start;
        !urgent.is_empty() && self.file(&mut state).and_then(|file| is_locked(file, urgent)).unwrap_or(false)
    }

    fn file<'a>(&self, state: &'a mut State) -> io::Result<&'a File> {
        match &mut state.file {
            Some(file) => Ok(file),
            none => {
                let mut options = File::options();
                options.create(true).truncate(false).read(true).write(true).mode(0o600);
                Ok(none.insert(options.open(&self.path)?))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The byte that is locked while a daemon waits for anything.
const ANYTHING: Range<u8> = 0..1;

/// The byte that is locked while a daemon waits for a connection of that urgency.
fn byte_of(urgency: Urgency) -> Range<u8> {
    let at = ANYTHING.end + urgency.index();
    at..at + 1
}

fn lock_of(kind: libc::c_int, bytes: &Range<u8>) -> libc::flock {
    // The constants are small enough for the narrow fields.
    let (start, len) = (bytes.start.into(), bytes.len() as i64);
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: len, l_pid: 0 }
}

fn set(file: &File, kind: libc::c_int, bytes: Range<u8>) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock_of(kind, &bytes)))?;
    Ok(())
}

/// True if another open file holds a lock on these bytes that conflicts with an exclusive one.
fn is_locked(file: &File, bytes: Range<u8>) -> io::Result<bool> {
    let mut found = lock_of(libc::F_WRLCK, &bytes);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(found.l_type != libc::F_UNLCK as i16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_daemon_sees_that_the_other_one_waits_and_not_that_itself_does() {
        let dir = TempDir::new().unwrap();
        let [stafd, stacd] = [0, 1].map(|_| Waiting::new(dir.path().join("waiting")));
        assert!(!stafd.others_wait() && !stacd.others_wait());
        let entries = [stafd.enter(), stafd.enter()];
        assert!(stacd.others_wait() && !stafd.others_wait());
        let [first, second] = entries;
        drop(first);
        assert!(stacd.others_wait());
        drop(second);
        assert!(!stacd.others_wait());
        let _entry = stafd.enter();
        assert!(stacd.others_wait());
    }

    #[test]
    fn a_daemon_sees_whether_the_other_one_waits_for_something_more_urgent() {
        let dir = TempDir::new().unwrap();
        let urgencies = || [None].into_iter().chain(Urgency::ALL.map(Some));
        let [stafd, stacd] = [0, 1].map(|_| Waiting::new(dir.path().join("waiting")));
        for (own, other) in urgencies().flat_map(|own| urgencies().map(move |other| (own, other))) {
            stafd.wait_for(own);
            stacd.wait_for(other);
            let is_more_urgent = other.is_some_and(|other| other < own.unwrap_or(Urgency::Last));
            assert_eq!(stafd.more_urgent_waits(), is_more_urgent, "{own:?} beside {other:?}");
            assert!(!stafd.others_wait(), "{own:?} beside {other:?}: it has announced no wait");
        }
        stafd.wait_for(None);
        stacd.wait_for(Some(Urgency::ALL[0]));
        let _entry = stacd.enter();
        assert!(stafd.more_urgent_waits() && stafd.others_wait());
        drop(stacd);
        assert!(stafd.others_wait(), "its entry keeps it");
        drop(_entry);
        assert!(!stafd.more_urgent_waits() && !stafd.others_wait(), "the locks end with the process");
    }

    #[test]
    fn a_file_that_cannot_be_locked_counts_as_a_daemon_that_waits() {
        let waiting = Waiting::new("/nonexistent/waiting".into());
        let _entry = waiting.enter();
        waiting.wait_for(Some(Urgency::Last));
        assert!(waiting.others_wait() && !waiting.more_urgent_waits());
    }
}
