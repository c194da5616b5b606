//! Lets each daemon know whether the other one waits for connections.
//!
//! A daemon that waits for a connection holds a shared lock on a file (an open file description lock, which the kernel
//! releases with the process). The other daemon checks for such a lock. If a file cannot be locked, the other daemon is
//! assumed to wait.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The number of connections for which this daemon waits, and the lock on the file.
#[derive(Debug)]
pub(super) struct Waiting {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
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
            let _ = self.0.file(&mut state).and_then(|file| set(file, libc::F_UNLCK));
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
            let _ = self.file(&mut state).and_then(|file| set(file, libc::F_RDLCK));
        }
        WaitGuard(self.clone())
    }

    /// True while another daemon waits for a connection, or if that cannot be determined.
    pub(super) fn others_wait(&self) -> bool {
        self.file(&mut self.state()).and_then(is_locked).unwrap_or(true)
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

fn whole_file(kind: libc::c_int) -> libc::flock {
    // The constants are small enough for the narrow fields.
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind)))?;
    Ok(())
}

/// True if another open file holds a lock that conflicts with an exclusive one.
fn is_locked(file: &File) -> io::Result<bool> {
    let mut found = whole_file(libc::F_WRLCK);
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
    fn a_file_that_cannot_be_locked_counts_as_a_daemon_that_waits() {
        let waiting = Waiting::new("/nonexistent/waiting".into());
        let _entry = waiting.enter();
        assert!(waiting.others_wait());
    }
}
