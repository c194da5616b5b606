//! A lock that a tool holds while it replaces a file.
//!
//! Every user can open a folder or a configuration file for reading, and a program that has a file open can lock it. So
//! the lock is a separate file `.NAME.lock`, created with mode 0600 and deleted when the lock is released. A killed run
//! leaves it; the next run uses it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

/// Longest wait for another run: it holds the lock for a moment only.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A lock file while it is locked. Dropping it deletes the file.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    _file: File,
}

impl LockFile {
    /// Locks `.NAME.lock` beside the file, and waits up to [`LOCK_WAIT`] for other runs that do the same.
    ///
    /// # Errors
    /// Fails if the lock file cannot be made, or is a link. [`io::ErrorKind::WouldBlock`]: another program held the
    /// lock all the time.
    pub fn acquire_for(file: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(file.file_name().ok_or(io::ErrorKind::IsADirectory)?);
        name.push(".lock");
        Self::take(file.with_file_name(name))
    }

    fn take(path: PathBuf) -> io::Result<Self> {
        const INTERVAL: Duration = Duration::from_millis(10);
        let mut options = OpenOptions::new();
        // If a FIFO is in its place, opening it for reading and writing does not block.
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let begin = Instant::now();
        loop {
            let file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path)? => return Ok(Self { path, _file: file }),
                // The run that held the lock has deleted the file.
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => thread::sleep(INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    let text = format!(
                        "another program holds the lock {} (waited {} s); `lslocks` shows the program: end it, then \
                         repeat this command",
                        path.display(),
                        LOCK_WAIT.as_secs()
                    );
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // If it cannot be deleted, the next run uses it.
        let _ = fs::remove_file(&self.path);
    }
}

/// True if that path leads to this open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_may_open_the_lock_file_and_a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let lock = LockFile::acquire_for(&at("file")).unwrap();
        assert_eq!(fs::metadata(at(".file.lock")).unwrap().permissions().mode() & 0o777, 0o600);
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        std::os::unix::fs::symlink("other", at(".file.lock")).unwrap();
        assert!(LockFile::acquire_for(&at("file")).is_err());
        assert!(!at("other").exists());
    }

    #[test]
    fn one_run_at_a_time_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (file, count) = (folder.path().join("file"), folder.path().join("count"));
        fs::write(&count, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _locked = LockFile::acquire_for(&file).unwrap();
                        let before: u32 = fs::read_to_string(&count).unwrap().parse().unwrap();
                        fs::write(&count, (before + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&count).unwrap(), "160");
    }
}
