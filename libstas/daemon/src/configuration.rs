//! Reads the configuration files, and handles missing and unreadable ones.
//!
//! | file | at start | at a reload |
//! |---|---|---|
//! | missing | the last good configuration of this boot, from the saved state and without its secrets; a line says so. If nothing was saved, every setting has its default. If what was saved cannot be read, [`UNKNOWN`] | the last good configuration stays in force, a line says so |
//! | empty | every setting has its default | the same |
//! | unreadable, a pipe, or a dangling link | as if missing; without a saved configuration the daemon does not start | as if missing |
//! | sys.conf missing | every value has its default | if it existed before in this run, the last good values stay in force, a line says so |
//! | the host's DH-HMAC-CHAP secret malformed or unreadable | controllers without a secret of their own are not connected | the last good one stays in force |
//! | host NQN or ID missing | the daemon does not start | an error, the host keeps its NQN and ID |
//! | host NQN or ID changed | | the new value takes effect after a restart; a log line says so |
//!
//! A file may be missing by accident: the package manager deletes it when it purges another package that owned it, or
//! its file system is not mounted. An empty file is intentional. So only an empty file is an empty configuration.
//!
//! The firmware's boot tables are read together with the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::boot_tables::BootFiles;
use super::conf_file::ConfFile;
use super::state::SavedConf;
use stas_core::conf::redact::{UNKNOWN, without_secrets};
use stas_core::conf::{Complaint, sys};
use stas_core::daemon_core::Settings;
use stas_linux::nbft::TABLES;
use stas_nvme::nbft::BootTables;
use stas_nvme::secret::WITHHELD;
use stas_nvme::{HostIdentity, Secret};

/// Path of the file with the host's identity.
pub const SYS_CONF: &str = "/etc/stas/sys.conf";

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file exists, but cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the read.
        error: io::Error,
    },
    /// The host has no valid identity.
    #[error(transparent)]
    Identity(#[from] sys::IdentityError),
}

/// Parser of a daemon's own file. Takes the text and the file's name for complaints.
pub type Parse<C> = fn(&[u8], &str) -> (C, Vec<Complaint>);

/// The configuration files of one daemon, and their last readable content.
#[derive(Clone, Debug)]
pub struct Files<C> {
    path: PathBuf,
    sys: PathBuf,
    parse: Parse<C>,
    conf: C,
    /// Text of the configuration in force, without its secrets.
    text: String,
    identity: Arc<HostIdentity>,
    /// True if the file with the host's identity existed at the start or at a reload.
    has_sys: bool,
    boot: BootFiles,
}

impl<C: Clone + Default + PartialEq> Files<C> {
    /// Reads the files for the first time, and logs their errors. `saved` applies if the daemon's own file is missing
    /// or cannot be read.
    ///
    /// # Errors
    /// [`ConfigurationError`] if a file cannot be read and its content was not saved, or if the host has no valid
    /// identity.
    pub fn read(path: &Path, sys: &Path, parse: Parse<C>, saved: SavedConf) -> Result<Self, ConfigurationError> {
        let InForce { conf, text } = match read_conf(path, parse) {
            Ok(Some(read)) => read,
            Ok(None) => match saved {
                SavedConf::Nothing => {
                    log_default(path);
                    InForce { conf: C::default(), text: String::new() }
                }
                SavedConf::Unknown => {
                    log_unknown(path);
                    InForce { conf: parse(UNKNOWN.as_bytes(), "").0, text: UNKNOWN.to_owned() }
                }
                SavedConf::Text(text) => from_saved(path, parse, text, &format!("{} does not exist", path.display())),
            },
            Err(error) => match saved {
                SavedConf::Text(text) => from_saved(path, parse, text, &error.to_string()),
                SavedConf::Nothing | SavedConf::Unknown => return Err(error),
            },
        };
        let boot = BootFiles::read(Path::new(TABLES));
        let identity = Arc::new(HostIdentity { boot_ids: boot.tables().host_ids(), ..read_identity(sys)? });
        let has_sys = sys.exists();
        Ok(Self { path: path.to_owned(), sys: sys.to_owned(), parse, conf, text, identity, has_sys, boot })
    }

    /// Reads the files again. The content of a file that cannot be read stays in force.
    pub fn read_again(&mut self) {
        match read_conf(&self.path, self.parse) {
            Ok(Some(InForce { conf, text })) => (self.conf, self.text) = (conf, text),
            Ok(None) if self.conf == C::default() => log_default(&self.path),
            Ok(None) if self.text == UNKNOWN => log_unknown(&self.path),
            Ok(None) => tracing::warn!(
                "{} does not exist: the last good configuration stays in force. {}",
                self.path.display(),
                how_to_empty(&self.path)
            ),
            Err(error) => tracing::error!("{error}; the last good configuration stays in force"),
        }
        let exists = self.sys.exists();
        if self.has_sys && !exists {
            // A default may be less secure than what was configured.
            tracing::warn!(
                "{} does not exist: the last good values stay in force. To have the defaults: `touch {}`, and reload",
                self.sys.display(),
                self.sys.display()
            );
        } else {
            match read_identity(&self.sys) {
                Ok(identity) => self.identity = self.keep_identity(identity),
                Err(error) => tracing::error!("{error}; the last good values stay in force"),
            }
        }
        self.has_sys |= exists;
        self.boot.read_again();
        let boot_ids = self.boot.tables().host_ids();
        if boot_ids != self.identity.boot_ids {
            self.identity = Arc::new(HostIdentity { boot_ids, ..(*self.identity).clone() });
        }
    }

    /// Keeps the host NQN and host ID of the start: the kernel's connections were made with them. Keeps the secret if
    /// the new one cannot be used.
    fn keep_identity(&self, new: HostIdentity) -> Arc<HostIdentity> {
        let now = &self.identity;
        for (what, before, after) in [("NQN", &now.nqn, &new.nqn), ("ID", &now.id, &new.id)] {
            if before != after {
                tracing::warn!(
                    "the host {what} has changed from {before} to {after}: the new value takes effect after a restart"
                );
            }
        }
        let is_unusable = new.key.as_ref().is_some_and(Secret::is_withheld);
        let key = if is_unusable && now.key.is_some() { now.key.clone() } else { new.key };
        let kept =
            HostIdentity { nqn: now.nqn.clone(), id: now.id.clone(), boot_ids: now.boot_ids.clone(), key, ..new };
        if kept == **now { Arc::clone(now) } else { Arc::new(kept) }
    }

    /// The configuration in force.
    #[must_use]
    pub fn conf(&self) -> &C {
        &self.conf
    }

    /// The content of the configuration files in force.
    #[must_use]
    pub fn settings(&self) -> Settings<C> {
        Settings { conf: self.conf.clone(), identity: self.identity() }
    }

    /// Text of the configuration in force, without its secrets, for the saved state.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The host's identity. NQN and ID are those of the start.
    #[must_use]
    pub fn identity(&self) -> Arc<HostIdentity> {
        Arc::clone(&self.identity)
    }

    /// The firmware's boot tables in force.
    #[must_use]
    pub fn boot_tables(&self) -> Arc<BootTables> {
        self.boot.tables()
    }
}

/// A configuration and its text without secrets.
struct InForce<C> {
    conf: C,
    text: String,
}

/// Reads and parses a configuration file. `None` if it does not exist.
fn read_conf<C>(path: &Path, parse: Parse<C>) -> Result<Option<InForce<C>>, ConfigurationError> {
    let Some(file) = read_file(path).map_err(unreadable(path))? else { return Ok(None) };
    let (conf, complaints) = parse(&file.content, &path.display().to_string());
    complain(&complaints);
    Ok(Some(InForce { conf, text: without_secrets(&file.content) }))
}

/// Uses the saved configuration because of `why`. Its complaints are not logged again.
fn from_saved<C: Default + PartialEq>(path: &Path, parse: Parse<C>, text: String, why: &str) -> InForce<C> {
    let conf = parse(text.as_bytes(), &path.display().to_string()).0;
    if text == UNKNOWN {
        log_unknown(path);
    } else if conf == C::default() {
        tracing::info!("{why}: every setting has its default, as before");
    } else {
        let secrets = if text.contains(WITHHELD) {
            " Secrets are not saved: a controller that needs one is not connected until the file is back."
        } else {
            ""
        };
        let empty = how_to_empty(path);
        tracing::warn!("{why}: the last good configuration, from the saved state, stays in force.{secrets} {empty}");
    }
    InForce { conf, text }
}

/// The configuration is [`UNKNOWN`].
fn log_unknown(path: &Path) {
    tracing::warn!(
        "{} does not exist, and the saved state does not say what was in it: until the file is back, nothing is \
         disconnected, and mDNS is not used. {}",
        path.display(),
        how_to_empty(path)
    );
}

fn log_default(path: &Path) {
    tracing::info!("{} does not exist: every setting has its default", path.display());
}

/// Tells the administrator how to make an empty configuration.
fn how_to_empty(path: &Path) -> String {
    let unit = path.file_stem().unwrap_or_default().display();
    format!("To have an empty one: `touch {} && systemctl reload {unit}`", path.display())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> ConfigurationError {
    |error| ConfigurationError::Unreadable { path: path.to_owned(), error }
}

fn read_identity(path: &Path) -> Result<HostIdentity, ConfigurationError> {
    let content = read_file(path).map_err(unreadable(path))?.map(|file| file.content).unwrap_or_default();
    let (conf, complaints) = sys::parse(&content, &path.display().to_string());
    complain(&complaints);
    let value = |file: &str| -> io::Result<_> { Ok(read_file(Path::new(file))?.map(|file| file.text())) };
    let (identity, complaints) = conf.identity(value)?;
    complain(&complaints);
    Ok(identity)
}

/// Reads a file, and warns if users may read a secret in it.
fn read_file(path: &Path) -> io::Result<Option<ConfFile>> {
    let file = ConfFile::read(path)?;
    if let Some(exposure) = file.as_ref().and_then(|file| file.exposure(path)) {
        tracing::warn!("{exposure}");
    }
    Ok(file)
}

/// Logs a parser's complaints as errors or warnings.
fn complain(complaints: &[Complaint]) {
    for complaint in complaints {
        if complaint.severity.is_error() {
            tracing::error!("{complaint}");
        } else {
            tracing::warn!("{complaint}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use log_lines::LogLines;
    use stas_core::conf::{StafConf, stafd};

    struct Etc(tempfile::TempDir);

    impl Etc {
        fn new() -> Self {
            let etc = Self(tempfile::tempdir().unwrap());
            etc.put(
                "sys.conf",
                "[Host]\nnqn=nqn.2014-08.org.nvmexpress:uuid:1\nid=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e\n",
            );
            etc
        }

        fn put(&self, name: &str, content: &str) {
            fs::write(self.0.path().join(name), content).unwrap();
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn read(&self) -> Result<Files<StafConf>, ConfigurationError> {
            self.read_with(SavedConf::Nothing)
        }

        fn read_with(&self, saved: SavedConf) -> Result<Files<StafConf>, ConfigurationError> {
            Files::read(&self.path("stafd.conf"), &self.path("sys.conf"), stafd::parse, saved)
        }
    }

    #[test]
    fn without_a_file_and_a_saved_configuration_every_setting_has_its_default() {
        let files = Etc::new().read().unwrap();
        assert_eq!(*files.conf(), StafConf::default());
        assert_eq!(files.text(), "");
        assert_eq!(files.identity().nqn, "nqn.2014-08.org.nvmexpress:uuid:1");
    }

    const CONF: &str = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\nexclude=traddr=192.0.2.2\n";

    #[test]
    fn a_file_that_vanished_before_a_start_leaves_its_last_good_configuration_in_force() {
        let etc = Etc::new();
        etc.put("stafd.conf", CONF);
        let before = etc.read().unwrap();
        let saved = || SavedConf::Text(before.text().to_owned());
        fs::remove_file(etc.path("stafd.conf")).unwrap();

        let log = LogLines::start();
        let files = etc.read_with(saved()).unwrap();
        assert_eq!(files.conf(), before.conf());
        assert_eq!(files.text(), before.text(), "and it is saved again");
        let said = log.text();
        assert!(said.contains("does not exist: the last good configuration"), "{said}");
        let command = format!("`touch {} && systemctl reload stafd`", etc.path("stafd.conf").display());
        assert!(said.contains(&command), "{said}");

        etc.put("stafd.conf", "");
        assert_eq!(*etc.read_with(saved()).unwrap().conf(), StafConf::default(), "empty means empty");
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        fs::create_dir(etc.path("stafd.conf")).unwrap();
        assert_eq!(etc.read_with(saved()).unwrap().conf(), before.conf(), "unreadable");
    }

    #[test]
    fn a_saved_configuration_has_no_secrets_and_the_log_says_what_that_means() {
        let etc = Etc::new();
        etc.put("stafd.conf", &CONF.replace("192.0.2.1\n", &format!("192.0.2.1;dhchap-secret={KEY}\n")));
        let mut files = etc.read().unwrap();
        assert!(!files.text().contains("ia6z"), "{}", files.text());
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        files.read_again();
        let secret = |files: &Files<StafConf>| files.conf().controllers[0].parameters.dhchap_secret.clone().unwrap();
        assert_eq!(secret(&files).reveal(), KEY, "what runs keeps its secrets");

        let log = LogLines::start();
        let files = etc.read_with(SavedConf::Text(files.text().to_owned())).unwrap();
        assert!(secret(&files).is_withheld());
        assert!(log.text().contains("a controller that needs one is not connected"), "{}", log.text());
    }

    #[test]
    fn a_vanished_file_of_which_nothing_was_saved_proves_nothing() {
        let etc = Etc::new();
        let files = etc.read_with(SavedConf::Unknown).unwrap();
        assert!(files.conf().lost_line.is_some());
        assert!(etc.read_with(SavedConf::Text(files.text().to_owned())).unwrap().conf().lost_line.is_some());
        assert_eq!(*etc.read_with(SavedConf::Text(String::new())).unwrap().conf(), StafConf::default());
    }

    #[test]
    fn a_daemon_does_not_start_on_what_it_cannot_read() {
        let etc = Etc::new();
        fs::create_dir(etc.path("stafd.conf")).unwrap();
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("stafd.conf"), "{error}");
    }

    #[test]
    fn the_error_for_a_host_without_an_nqn_names_the_remedy() {
        let etc = Etc::new();
        etc.put(
            "sys.conf",
            &format!("[Host]\nnqn=file://{}\nid=file:///etc/nvme/hostid\n", etc.path("none").display()),
        );
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("stasadm"), "{error}");
    }

    #[test]
    fn a_device_is_not_read_for_ever() {
        let error = read_file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("16 MiB"), "{error}");
    }

    #[test]
    fn a_reload_takes_what_is_new() {
        let etc = Etc::new();
        let mut files = etc.read().unwrap();
        etc.put("stafd.conf", "[Global]\ntron=true\n");
        files.read_again();
        assert!(files.conf().tron);
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        files.read_again();
        assert!(files.conf().tron, "a file that vanished takes nothing back");
        etc.put("stafd.conf", "");
        files.read_again();
        assert!(!files.conf().tron, "the administrator took it back");
    }

    #[test]
    fn what_cannot_be_read_at_a_reload_stays_in_force() {
        let etc = Etc::new();
        etc.put("stafd.conf", "[Global]\ntron=true\n");
        let mut files = etc.read().unwrap();
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        fs::create_dir(etc.path("stafd.conf")).unwrap();
        fs::remove_file(etc.path("sys.conf")).unwrap();
        etc.put("sys.conf", "[Host]\nnqn=nonsense\nid=\n");
        files.read_again();
        assert!(files.conf().tron);
        assert_eq!(files.identity().nqn, "nqn.2014-08.org.nvmexpress:uuid:1");
    }

    const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

    /// Otherwise the next connection would be made without the secret.
    #[test]
    fn a_secret_of_the_host_that_cannot_be_used_any_more_stays_in_force() {
        let is_key = |files: &Files<StafConf>| files.identity().key.as_ref().is_some_and(|key| key.reveal() == KEY);
        let etc = Etc::new();
        etc.put("hostkey", KEY);
        let without = fs::read_to_string(etc.path("sys.conf")).unwrap();
        let sys = format!("{without}key=file://{}\n", etc.path("hostkey").display());
        etc.put("sys.conf", &sys);
        let mut files = etc.read().unwrap();
        assert!(is_key(&files));
        etc.put("hostkey", "DHHC-1:00:ia6z");
        files.read_again();
        assert!(is_key(&files), "half-written");
        assert!(etc.read().unwrap().identity().key.as_ref().is_some_and(Secret::is_withheld), "at a start");
        fs::remove_file(etc.path("sys.conf")).unwrap();
        let log = LogLines::start();
        files.read_again();
        assert!(is_key(&files), "sys.conf is missing");
        let touch = format!("To have the defaults: `touch {}`", etc.path("sys.conf").display());
        assert!(log.text().contains(&touch), "{}", log.text());
        etc.put("sys.conf", &without);
        fs::remove_file(etc.path("hostkey")).unwrap();
        etc.put("sys.conf", &sys);
        files.read_again();
        assert_eq!(files.identity().key, None, "the administrator took it back");
    }

    #[test]
    fn a_broken_link_is_no_file_that_was_removed() {
        let etc = Etc::new();
        etc.put("stafd.conf", "[Global]\ntron=true\n");
        let mut files = etc.read().unwrap();
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        symlink("/nonexistent/stafd.conf", etc.path("stafd.conf")).unwrap();
        files.read_again();
        assert!(files.conf().tron);
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("is broken: its target /nonexistent/stafd.conf does not exist; mount"), "{error}");

        symlink("/nonexistent", etc.path("folder")).unwrap();
        assert!(read_file(&etc.path("folder/stafd.conf")).is_err());
        assert!(read_file(&etc.path("no-folder/stafd.conf")).unwrap().is_none());
    }

    #[test]
    fn a_file_with_a_secret_that_others_can_read_is_reported_at_each_load() {
        use std::fs::Permissions;
        let etc = Etc::new();
        etc.put("hostkey", KEY);
        let sys = format!(
            "{}key=file://{}\n",
            fs::read_to_string(etc.path("sys.conf")).unwrap(),
            etc.path("hostkey").display()
        );
        let contents = [
            ("stafd.conf", format!("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;dhchap-secret={KEY}\n")),
            ("stafd.conf", format!("# dhchap-secret={KEY}\n")),
            ("sys.conf", format!("{}key={KEY}\n", fs::read_to_string(etc.path("sys.conf")).unwrap())),
            ("hostkey", KEY.to_owned()),
        ];
        for (name, content) in contents {
            etc.put("sys.conf", &sys);
            etc.put("stafd.conf", "");
            etc.put(name, &content);
            for path in ["stafd.conf", "sys.conf", "hostkey"] {
                fs::set_permissions(etc.path(path), Permissions::from_mode(0o600)).unwrap();
            }
            for (mode, readers) in
                [(0o600, None), (0o400, None), (0o640, Some("its group")), (0o644, Some("every user"))]
            {
                fs::set_permissions(etc.path(name), Permissions::from_mode(mode)).unwrap();
                let log = LogLines::start();
                let mut files = etc.read().unwrap();
                files.read_again();
                let said = log.text();
                let warnings = said.lines().filter(|line| line.contains("contains a secret")).count();
                assert_eq!(warnings, if readers.is_some() { 2 } else { 0 }, "{name} {mode:o}: {said}");
                assert!(
                    readers.is_none_or(|readers| said.contains(&format!("{mode:04o} lets {readers} read it"))),
                    "{said}"
                );
                assert!(
                    readers.is_none_or(|_| said.contains(&format!("`chmod 600 {}`", etc.path(name).display()))),
                    "{said}"
                );
                assert!(!said.contains("GodOr4S"), "{said}");
            }
        }
        etc.put("stafd.conf", "[Global]\ntron=true\n");
        fs::set_permissions(etc.path("stafd.conf"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(etc.path("hostkey"), Permissions::from_mode(0o600)).unwrap();
        let log = LogLines::start();
        etc.read().unwrap();
        assert!(!log.text().contains("contains a secret"), "{}", log.text());
    }

    #[test]
    fn a_pipe_in_place_of_a_file_does_not_block() {
        let etc = Etc::new();
        nix::unistd::mkfifo(&etc.path("stafd.conf"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("it is a pipe"), "{error}");
    }

    #[test]
    fn a_host_does_not_become_another_one_but_its_symbolic_name_may_change() {
        let etc = Etc::new();
        let mut files = etc.read().unwrap();
        let before = files.identity();
        files.read_again();
        assert!(Arc::ptr_eq(&before, &files.identity()));
        etc.put(
            "sys.conf",
            "[Host]\nnqn=nqn.2014-08.org.nvmexpress:uuid:2\nid=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e\nsymname=blue\n",
        );
        files.read_again();
        assert_eq!(files.identity().nqn, before.nqn);
        assert_eq!(files.identity().symname.as_deref(), Some("blue"));
    }
}
