//! Reading the files: what a missing and what an unreadable one means (design, policy 13).
//!
//! | file | at start | at a reload |
//! |---|---|---|
//! | missing | every setting has its default, one line says so | the same: the administrator removed it |
//! | unreadable, a pipe, or a link to what is not there | the daemon does not start | an error names it, what was read last stays in force |
//! | host NQN or ID missing | the daemon does not start | an error, the host stays who it is |
//! | host NQN or ID changed | | takes a restart, and a line says so |
//!
//! The firmware's boot tables are read with them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

use super::boot_tables::BootFiles;
use crate::conf::{Complaint, sys};
use crate::host::nbft::TABLES;
use crate::nvme::HostIdentity;
use crate::nvme::nbft::BootTables;

/// Who this host is.
pub const SYS_CONF: &str = "/etc/stas/sys.conf";

/// A configuration is at most this long in bytes; more is not one.
const SIZE_MAX: u64 = 16 << 20;

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file is there and cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody knows who this host is.
    #[error(transparent)]
    Identity(#[from] sys::IdentityError),
}

/// A parser of a daemon's own file: the text and the name for complaints in, settings and complaints out.
pub type Parse<C> = fn(&[u8], &str) -> (C, Vec<Complaint>);

/// The files of one daemon, and what they said when they could be read last.
#[derive(Clone, Debug)]
pub struct Files<C> {
    path: PathBuf,
    sys: PathBuf,
    parse: Parse<C>,
    conf: C,
    identity: Arc<HostIdentity>,
    boot: BootFiles,
}

impl<C: Clone> Files<C> {
    /// Reads them for the first time. What is wrong in them is logged.
    ///
    /// # Errors
    /// A file cannot be read, or does not say who this host is.
    pub fn read(path: &Path, sys: &Path, parse: Parse<C>) -> Result<Self, ConfigurationError> {
        let conf = read_conf(path, parse)?;
        let boot = BootFiles::read(Path::new(TABLES));
        let identity = Arc::new(HostIdentity { boot_ids: boot.tables().host_ids(), ..read_identity(sys)? });
        Ok(Self { path: path.to_owned(), sys: sys.to_owned(), parse, conf, identity, boot })
    }

    /// Reads them again; what cannot be read stays as it was.
    pub fn read_again(&mut self) {
        match read_conf(&self.path, self.parse) {
            Ok(conf) => self.conf = conf,
            Err(error) => tracing::error!("{error}; what it said before stays in force"),
        }
        match read_identity(&self.sys) {
            Ok(identity) => self.identity = self.keep_identity(identity),
            Err(error) => tracing::error!("{error}; what was known before stays in force"),
        }
        self.boot.read_again();
        let boot_ids = self.boot.tables().host_ids();
        if boot_ids != self.identity.boot_ids {
            self.identity = Arc::new(HostIdentity { boot_ids, ..(*self.identity).clone() });
        }
    }

    /// A host does not become another one while it runs: the kernel's connections bear its NQN and its ID.
    fn keep_identity(&self, new: HostIdentity) -> Arc<HostIdentity> {
        let now = &self.identity;
        for (what, before, after) in [("NQN", &now.nqn, &new.nqn), ("ID", &now.id, &new.id)] {
            if before != after {
                tracing::warn!("the host {what} has changed from {before} to {after}: this takes a restart");
            }
        }
        let kept = HostIdentity { nqn: now.nqn.clone(), id: now.id.clone(), boot_ids: now.boot_ids.clone(), ..new };
        if kept == **now { Arc::clone(now) } else { Arc::new(kept) }
    }

    /// What the daemon's own file said.
    #[must_use]
    pub fn conf(&self) -> &C {
        &self.conf
    }

    /// Who this host is.
    #[must_use]
    pub fn identity(&self) -> Arc<HostIdentity> {
        Arc::clone(&self.identity)
    }

    /// What the firmware's boot tables say.
    #[must_use]
    pub fn boot_tables(&self) -> Arc<BootTables> {
        self.boot.tables()
    }
}

fn read_conf<C>(path: &Path, parse: Parse<C>) -> Result<C, ConfigurationError> {
    let (conf, complaints) = parse(&read_or_empty(path)?, &path.display().to_string());
    complain(&complaints);
    Ok(conf)
}

fn read_identity(path: &Path) -> Result<HostIdentity, ConfigurationError> {
    let (conf, complaints) = sys::parse(&read_or_empty(path)?, &path.display().to_string());
    complain(&complaints);
    let value = |file: &str| match read_file(Path::new(file)) {
        Ok(content) => Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => Err(error.to_string()),
    };
    let (identity, complaints) = conf.identity(value)?;
    complain(&complaints);
    Ok(identity)
}

/// The content of a configuration file; a missing one is an empty one.
fn read_or_empty(path: &Path) -> Result<Vec<u8>, ConfigurationError> {
    match read_file(path) {
        Ok(Some(content)) => Ok(content),
        Ok(None) => {
            tracing::info!("{} does not exist: every setting has its default", path.display());
            Ok(Vec::new())
        }
        Err(error) => Err(ConfigurationError::Unreadable { path: path.to_owned(), error }),
    }
}

fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // A pipe that nobody writes to would hold up the daemon for ever.
    let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return leads_nowhere(path).map_or(Ok(None), Err),
        Err(error) => return Err(error),
    };
    if file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, not a file"));
    }
    let mut content = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > SIZE_MAX {
        let text = format!("it is longer than {} MiB", SIZE_MAX >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(content))
}

/// The error for a file that is missing because a link on the way to it leads nowhere: a file system that is not mounted,
/// say. The administrator has not removed anything then.
fn leads_nowhere(path: &Path) -> Option<io::Error> {
    let broken = path.ancestors().find(|place| place.is_symlink() && !place.exists())?;
    let text = format!("the link {} leads to what is not there", broken.display());
    Some(io::Error::new(io::ErrorKind::NotFound, text))
}

/// Logs what a parser found wrong, each as loud as it is meant.
fn complain(complaints: &[Complaint]) {
    for complaint in complaints {
        if complaint.error {
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
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::conf::{StafConf, stafd};

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
            Files::read(&self.path("stafd.conf"), &self.path("sys.conf"), stafd::parse)
        }
    }

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let files = Etc::new().read().unwrap();
        assert_eq!(*files.conf(), stafd::parse(b"", "").0);
        assert_eq!(files.identity().nqn, "nqn.2014-08.org.nvmexpress:uuid:1");
    }

    #[test]
    fn a_daemon_does_not_start_on_what_it_cannot_read() {
        let etc = Etc::new();
        fs::create_dir(etc.path("stafd.conf")).unwrap();
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("stafd.conf"), "{error}");
    }

    #[test]
    fn a_host_without_a_name_is_told_how_to_get_one() {
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
        let error = read_or_empty(Path::new("/dev/zero")).unwrap_err().to_string();
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

    #[test]
    fn a_link_that_leads_nowhere_is_no_file_that_was_removed() {
        let etc = Etc::new();
        etc.put("stafd.conf", "[Global]\ntron=true\n");
        let mut files = etc.read().unwrap();
        fs::remove_file(etc.path("stafd.conf")).unwrap();
        symlink("/nonexistent/stafd.conf", etc.path("stafd.conf")).unwrap();
        files.read_again();
        assert!(files.conf().tron);
        let error = etc.read().unwrap_err().to_string();
        assert!(error.contains("leads to what is not there"), "{error}");

        symlink("/nonexistent", etc.path("folder")).unwrap();
        assert!(read_file(&etc.path("folder/stafd.conf")).is_err());
        assert!(read_file(&etc.path("no-folder/stafd.conf")).unwrap().is_none());
    }

    #[test]
    fn a_pipe_in_place_of_a_file_holds_up_nobody() {
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
