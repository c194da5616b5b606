//! `metrics`: what both daemons count, as OpenMetrics text.

mod text;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use libstas::bus::metrics::{PATHS_CONNECTED, PATHS_WANTED, Sample, UP};
use libstas::bus::{DebugProxy, Dict, StacProxy, key};
use libstas::nvme::shown;
use stas_cli::client::{Daemon, Failure};
use stas_cli::listing::is_wanted;
use zbus::Connection;

/// The options of `metrics`.
#[derive(Clone, Debug, Args)]
pub struct Metrics {
    /// Write them to this file, which is replaced as a whole, instead of standard output
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Asks both daemons. A daemon that is not running is shown as down; it is no failure.
pub(crate) async fn metrics(connection: &Connection, what: &Metrics) -> Result<String, Failure> {
    let mut samples = of_daemon(Daemon::Stacd, DebugProxy::of_stacd(connection).await).await?;
    samples.extend(of_daemon(Daemon::Stafd, DebugProxy::of_stafd(connection).await).await?);
    let listed = async { StacProxy::new(connection).await?.list_controllers(true).await };
    match listed.await.map_err(|error| Daemon::Stacd.failure(error)) {
        Ok(listed) => samples.extend(subsystems(&listed)),
        Err(Failure::NotRunning(_)) => {}
        Err(failure) => return Err(failure),
    }
    let text = text::text(&samples);
    match &what.write {
        None => Ok(text),
        Some(file) => {
            replace(file, &text).map_err(|error| Failure::File { file: file.display().to_string(), error })?;
            Ok(String::new())
        }
    }
}

async fn of_daemon(daemon: Daemon, debug: zbus::Result<DebugProxy<'_>>) -> Result<Vec<Sample>, Failure> {
    let asked = async { debug?.metrics().await };
    let (up, mut samples) = match asked.await.map_err(|error| daemon.failure(error)) {
        Ok(samples) => (1.0, samples),
        Err(Failure::NotRunning(_)) => (0.0, Vec::new()),
        Err(failure) => return Err(failure),
    };
    samples.push(Sample::new(UP, &[], up));
    for sample in &mut samples {
        sample.labels.insert("daemon".to_owned(), daemon.name().to_owned());
    }
    Ok(samples)
}

/// The number of wanted and of connected paths of each subsystem.
fn subsystems(listed: &[Dict]) -> Vec<Sample> {
    let value = |path: &Dict, key: &str| path.get(key).cloned().unwrap_or_default();
    let mut paths: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for path in listed {
        let state = value(path, "state");
        if !is_wanted(&state) {
            continue;
        }
        // Names that look the same are counted together: they would be one series.
        let (wanted, connected) = paths.entry(visible(&value(path, key::SUBSYSNQN))).or_default();
        *wanted += 1;
        *connected += u32::from(state == "connected");
    }
    let samples = paths.into_iter().flat_map(|(nqn, (wanted, connected))| {
        let sample = |name, value: u32| Sample::new(name, &[(key::SUBSYSNQN, &nqn)], value.into());
        [sample(PATHS_WANTED, wanted), sample(PATHS_CONNECTED, connected)]
    });
    samples.collect()
}

/// Replaces a file as a whole: a reader sees the old or the new content. A link to a file is replaced, not its target.
///
/// # Errors
/// If it cannot be written, or is not a file: /dev/null must not be replaced by a file.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|old| !old.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = temporary(file).ok_or(io::ErrorKind::InvalidInput)?;
    // Two runs at the same time would share the name. Not every file system can lock a folder.
    let lock = File::open(folder)?;
    let _ = lock.lock();
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&new, text).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
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
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
    new.set_permissions(Permissions::from_mode(0o644))?;
    new.write_all(text.as_bytes())
}

/// A text as the value of a label, before its quotes and backslashes are escaped.
fn visible(text: &str) -> String {
    shown(text).into_owned()
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
            replace(&file, text).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
        assert!(replace(&folder.path().join("missing/x.prom"), "").is_err());
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
        write_new(&temporary(&at("x.prom")).unwrap(), "half a").unwrap();
        assert_eq!(names().len(), 1);
        replace(&at("x.prom"), "new").unwrap();
        assert_eq!(names(), ["x.prom".to_owned()].into());
        // A link in its place is replaced, and not followed.
        std::fs::write(at("other"), "old").unwrap();
        std::os::unix::fs::symlink("other", temporary(&at("x.prom")).unwrap()).unwrap();
        replace(&at("x.prom"), "newer").unwrap();
        assert_eq!(names(), ["other".to_owned(), "x.prom".to_owned()].into());
        assert_eq!(std::fs::read_to_string(at("other")).unwrap(), "old");
        // A rename that fails leaves no file either.
        std::fs::create_dir(at("y.prom")).unwrap();
        assert!(replace(&at("y.prom"), "new").is_err());
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
                scope.spawn(move || (0..50).for_each(|_| replace(file, text).unwrap()))
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                let read = std::fs::read_to_string(&file).unwrap_or_else(|_| texts[0].clone());
                assert!(texts.contains(&read), "{} bytes", read.len());
            }
        });
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
            assert_eq!(replace(&at(name), "new").unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(std::fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert!(at("to-null").is_symlink());
        for name in ["to-file", "to-nothing"] {
            replace(&at(name), "new").unwrap();
            assert!(!at(name).is_symlink());
            assert_eq!(std::fs::read_to_string(at(name)).unwrap(), "new");
        }
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "old");
    }

    #[test]
    fn a_path_that_is_not_wanted_does_not_count() {
        let path = |nqn: &str, state: &str| {
            Dict::from([("subsysnqn", nqn), ("state", state)].map(|(a, b)| (a.to_owned(), b.to_owned())))
        };
        let listed =
            [path("nqn.a", "connected"), path("nqn.a", "waiting"), path("nqn.a", "kept"), path("nqn.b", "excluded")];
        let samples = subsystems(&listed);
        assert_eq!(
            samples,
            [
                Sample::new(PATHS_WANTED, &[("subsysnqn", "nqn.a")], 2.0),
                Sample::new(PATHS_CONNECTED, &[("subsysnqn", "nqn.a")], 1.0),
            ]
        );
        let alike = subsystems(&[path("nqn.\u{202e}", "waiting"), path("nqn.\\u{202e}", "connected")]);
        assert_eq!(alike.iter().map(|sample| sample.value).collect::<Vec<_>>(), [2.0, 1.0]);
    }
}
