//! Replaces a file so that nobody sees half of it, even if the program is killed meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for another run that writes into the same folder.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Replaces a file as a whole: a reader sees the old or the new content. A link to a file is replaced, not its target.
///
/// # Errors
/// Fails if it cannot be written, or is not a file: /dev/null must not be replaced by a file.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|old| !old.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = temporary(file).ok_or(io::ErrorKind::InvalidInput)?;
    let _locked = lock(folder)?;
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

/// Locks a folder until the returned file is dropped: two runs at the same time would share the name of the new file.
///
/// # Errors
/// Fails if the lock is held for longer than [`LOCK_WAIT`]. The folder may belong to another user, whose programs could
/// otherwise block this one for ever.
fn lock(folder: &Path) -> io::Result<File> {
    const INTERVAL: Duration = Duration::from_millis(10);
    let file = File::open(folder)?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            // Not every file system can lock a folder.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => thread::sleep(INTERVAL),
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "another program holds a lock on {} for more than {} s; `lslocks` shows the program: end it",
                    folder.display(),
                    LOCK_WAIT.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
        }
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

    #[test]
    fn a_lock_that_another_program_holds_ends_in_an_error_that_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (file, lock) = (folder.path().join("x.prom"), File::open(folder.path()).unwrap());
        lock.lock().unwrap();
        let (sender, result) = std::sync::mpsc::channel();
        let path = file.clone();
        std::thread::spawn(move || sender.send(replace(&path, b"new")));
        let error = result.recv_timeout(2 * LOCK_WAIT).unwrap().unwrap_err().to_string();
        assert!(error.contains(&format!("lock on {}", folder.path().display())), "{error}");
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
