//! Replaces files atomically: a reader sees either the old or the new content, even after a power failure.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use libstas::daemon::conf_file::broken_link_error;
use stas_cli::lock_file::LockFile;

/// Every user may read the identity: tools without privileges need it.
const READABLE: u32 = 0o644;

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
    /// As [`LockFile::acquire_for`].
    pub(crate) fn lock(&self) -> io::Result<LockFile> {
        LockFile::acquire_for(&self.file)
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
