//! Replaces a file so that nobody sees half of it, even if the program is killed meanwhile.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use stas_cli::lock_file::LockFile;

/// Replaces a file as a whole: a reader sees the old or the new content. A link to a file is replaced, not its target.
///
/// # Errors
/// Fails if it cannot be written, or is not a file: /dev/null must not be replaced by a file.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|old| !old.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let new = temporary(file).ok_or(io::ErrorKind::InvalidInput)?;
    let _locked = lock(file)?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&new, content).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Locks a file for its replacement: two runs at the same time would share the name of the new file.
///
/// # Errors
/// Fails if another program holds the lock for too long. It goes on without a lock if the lock file cannot be opened or
/// locked for another reason: not every file system can lock a file.
fn lock(file: &Path) -> io::Result<Option<LockFile>> {
    match LockFile::acquire_for(file) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        locked => Ok(locked.ok()),
    }
}

/// The name of the file while it is written. It is always the same: a run that was killed leaves at most this file, and
/// the next run replaces it. The collector of node_exporter reads only files whose names end in .prom.
fn temporary(file: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(file.file_name()?);
    name.push(".new");
    Some(file.with_file_name(name))
}

/// Creates a file that everybody may read. A link of this name is not followed: the folder may belong to another user.
fn write_new(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.write_all(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use stas_cli::lock_file::LOCK_WAIT;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_can_be_read_by_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nvme-stas.prom");
        for text in ["a long first text\n", "short\n"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
        assert!(replace(&folder.path().join("missing/x.prom"), b"").is_err());
    }

    #[test]
    fn the_next_run_replaces_what_a_killed_run_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = || {
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
        };
        // Killed before the rename: the file that it wrote is found by its name, whatever its name is.
        write_new(&temporary(&at("x.prom")).unwrap(), b"half a").unwrap();
        assert_eq!(names().len(), 1);
        replace(&at("x.prom"), b"new").unwrap();
        assert_eq!(names(), ["x.prom".to_owned()].into());
        // A link in its place is replaced, and not followed.
        std::fs::write(at("other"), "old").unwrap();
        std::os::unix::fs::symlink("other", temporary(&at("x.prom")).unwrap()).unwrap();
        replace(&at("x.prom"), b"newer").unwrap();
        assert_eq!(names(), ["other".to_owned(), "x.prom".to_owned()].into());
        assert_eq!(std::fs::read_to_string(at("other")).unwrap(), "old");
        // A rename that fails leaves no file either.
        std::fs::create_dir(at("y.prom")).unwrap();
        assert!(replace(&at("y.prom"), b"new").is_err());
        assert_eq!(names().len(), 3);
    }

    #[test]
    fn runs_at_the_same_time_never_show_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.prom");
        let texts = ["a".repeat(100_000), "b".repeat(100_000)];
        std::thread::scope(|scope| {
            let writers = texts.each_ref().map(|text| {
                let file = &file;
                scope.spawn(move || (0..50).for_each(|_| replace(file, text.as_bytes()).unwrap()))
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                let read = std::fs::read_to_string(&file).unwrap_or_else(|_| texts[0].clone());
                assert!(texts.contains(&read), "{} bytes", read.len());
            }
        });
    }

    /// Every user may open the folder and the file for reading, and lock what is open.
    #[test]
    fn a_lock_that_every_user_can_hold_blocks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.prom");
        std::fs::write(&file, b"old").unwrap();
        let held = [folder.path(), &file].map(|path| File::open(path).unwrap());
        held.iter().for_each(|held| held.lock().unwrap());
        replace(&file, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn a_lock_that_another_run_holds_ends_in_an_error_that_names_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.prom");
        let lock = LockFile::acquire_for(&file).unwrap();
        let (sender, result) = std::sync::mpsc::channel();
        let path = file.clone();
        std::thread::spawn(move || sender.send(replace(&path, b"new")));
        let error = result.recv_timeout(2 * LOCK_WAIT).unwrap().unwrap_err().to_string();
        assert!(error.contains("/.x.prom.lock (waited 5 s)"), "{error}");
        assert!(!file.exists());
        drop(lock);
        replace(&file, b"new").unwrap();
    }

    #[test]
    fn only_a_regular_file_or_a_link_to_one_is_replaced() {
        use std::os::unix::fs::{FileTypeExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), "old").unwrap();
        for (link, target) in [("to-pipe", "pipe"), ("to-null", "/dev/null"), ("to-file", "file"), ("to-nothing", "x")]
        {
            symlink(target, at(link)).unwrap();
        }
        for name in ["pipe", "folder", "to-pipe", "to-null"] {
            assert_eq!(replace(&at(name), b"new").unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(std::fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert!(at("to-null").is_symlink());
        for name in ["to-file", "to-nothing"] {
            replace(&at(name), b"new").unwrap();
            assert!(!at(name).is_symlink());
            assert_eq!(std::fs::read_to_string(at(name)).unwrap(), "new");
        }
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "old");
    }
}
