//! Replaces files atomically: a reader sees either the old or the new content, even after a power failure.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use libstas::daemon::conf_file::broken_link_error;
use nix::fcntl::OFlag;

/// Every user may read the identity: tools without privileges need it.
const READABLE: u32 = 0o644;

/// Longest wait for another run: it holds the lock for a moment only.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A lock file while it is locked. Dropping it deletes the file.
///
/// Only its owner may open the file. Every user can open the directory or sys.conf for reading, and a program that has a
/// file open can lock it: such a lock would keep this host from getting its identity, and the daemons from starting.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf) -> io::Result<Self> {
        const INTERVAL: Duration = Duration::from_millis(10);
        let mut options = OpenOptions::new();
        // A FIFO in its place must not block: with read access it does not.
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
                        "another program has locked {} for more than {} s; `lslocks` shows the program: end it",
                        path.display(),
                        LOCK_WAIT.as_secs()
                    );
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
            }
        }
    }
}

impl Drop for Lock {
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

/// A file and its directory.
pub(crate) struct AtomicFile {
    file: PathBuf,
    directory: PathBuf,
}

impl AtomicFile {
    /// Resolves a path through symbolic links. Creates missing directories.
    ///
    /// # Errors
    /// Also fails if a link in the path is broken: its file system may not be mounted yet, and a new file in its place
    /// would give the host another identity.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match broken_link_error(path) {
                Some(broken) => return Err(broken),
                None => std::path::absolute(path)?,
            },
            file => file?,
        };
        let directory = file.parent().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        fs::create_dir_all(&directory)?;
        Ok(Self { file, directory })
    }

    /// The absolute path of the file, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Locks the file for changes until the returned lock is dropped.
    ///
    /// At boot the host NQN and the host ID are created at the same time, and both change sys.conf.
    ///
    /// # Errors
    /// Also fails if another program holds the lock for longer than [`LOCK_WAIT`].
    pub(crate) fn lock(&self) -> io::Result<Lock> {
        let mut name = OsString::from(".");
        name.push(self.file.file_name().ok_or(io::ErrorKind::IsADirectory)?);
        name.push(".lock");
        Lock::take(self.directory.join(name))
    }

    /// The content, or `None` if the file does not exist.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            content => content.map(Some),
        }
    }

    /// Replaces the file. The new file has the same permissions as the old one; a first one is readable by everyone.
    pub(crate) fn replace(&self, content: &str) -> io::Result<()> {
        let mut new = tempfile::Builder::new().prefix(".stasadm-").tempfile_in(&self.directory)?;
        new.write_all(content.as_bytes())?;
        let mode = match fs::metadata(&self.file) {
            Ok(old) => {
                let ours = new.as_file().metadata()?;
                if (old.uid(), old.gid()) != (ours.uid(), ours.gid()) {
                    fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
                }
                old.permissions().mode() & 0o777
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => READABLE,
            Err(error) => return Err(error),
        };
        new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        new.as_file().sync_all()?;
        new.persist(&self.file)?;
        File::open(&self.directory)?.sync_all()
    }
}
