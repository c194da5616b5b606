//! Reads the configuration files like the daemons, and collects their complaints.

use std::io;
use std::path::{Path, PathBuf};

use libstas::conf::{Complaint, StacConf, StafConf, stacd, stafd, sys};
use libstas::core::configured::{ConfigView, Defaults};
use libstas::daemon::conf_file::ConfFile;
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Purpose};
use stas_cli::client::Daemon;

use super::finding::{Finding, FindingLevel};

/// The files of the daemons.
pub(super) const STAFD_CONF: &str = "/etc/stas/stafd.conf";
pub(super) const STACD_CONF: &str = "/etc/stas/stacd.conf";

/// A configuration file by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sys,
    Of(Daemon),
}

impl Kind {
    /// The kind of a file, by its name: `stacd.conf`, `stacd.conf.new`, `stacd-test.conf`.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        let kinds = [("stafd", Self::Of(Daemon::Stafd)), ("stacd", Self::Of(Daemon::Stacd)), ("sys", Self::Sys)];
        kinds.into_iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, kind)| kind)
    }
}

/// The settings of a daemon's own file.
#[derive(Debug)]
pub(super) enum Conf {
    Stafd(Box<StafConf>),
    Stacd(Box<StacConf>),
}

impl Conf {
    pub(super) fn view(&self) -> ConfigView<'_> {
        match self {
            Self::Stafd(conf) => ConfigView::from(&**conf),
            Self::Stacd(conf) => ConfigView::from(&**conf),
        }
    }

    pub(super) fn defaults<'a>(&'a self, host_nqn: &'a str) -> Defaults<'a> {
        match self {
            Self::Stafd(conf) => Defaults { parameters: &conf.parameters, host_nqn, subsysnqn: DISCOVERY_NQN },
            Self::Stacd(conf) => Defaults { parameters: &conf.parameters, host_nqn, subsysnqn: "" },
        }
    }

    /// What the connections of the file are for.
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Self::Stafd(_) => Purpose::Discovery,
            Self::Stacd(_) => Purpose::Io,
        }
    }
}

/// A daemon's own file that was read.
#[derive(Debug)]
pub(super) struct OwnFile {
    pub(super) path: PathBuf,
    pub(super) conf: Conf,
    pub(super) content: Vec<u8>,
}

impl OwnFile {
    /// The daemon whose file it is.
    pub(super) fn daemon(&self) -> Daemon {
        match self.conf {
            Conf::Stafd(_) => Daemon::Stafd,
            Conf::Stacd(_) => Daemon::Stacd,
        }
    }
}

/// Reads a daemon's own file. `None` if it is missing or cannot be read.
pub(super) fn own_file(path: &Path, daemon: Daemon, findings: &mut Vec<Finding>) -> Option<OwnFile> {
    let file = match ConfFile::read(path) {
        Ok(Some(file)) => file,
        Ok(None) => {
            let text = format!(
                "{} does not exist: the daemon uses the last good configuration, else the defaults",
                path.display()
            );
            findings.push(Finding::new(FindingLevel::Note, text));
            return None;
        }
        Err(error) => {
            findings.push(unreadable(path, &error));
            return None;
        }
    };
    let name = path.display().to_string();
    let (conf, complaints) = match daemon {
        Daemon::Stafd => {
            let (conf, complaints) = stafd::parse(&file.content, &name);
            (Conf::Stafd(Box::new(conf)), complaints)
        }
        Daemon::Stacd => {
            let (conf, complaints) = stacd::parse(&file.content, &name);
            (Conf::Stacd(Box::new(conf)), complaints)
        }
    };
    complain(&complaints, findings);
    report_access(path, &file, findings);
    Some(OwnFile { path: path.to_owned(), conf, content: file.content })
}

/// Reads sys.conf and the files that it names. `None` if the host has no valid identity.
pub(super) fn identity(path: &Path, findings: &mut Vec<Finding>) -> Option<HostIdentity> {
    let file = match ConfFile::read(path) {
        Ok(file) => file,
        Err(error) => {
            findings.push(unreadable(path, &error));
            return None;
        }
    };
    let content = file.as_ref().map(|file| file.content.clone()).unwrap_or_default();
    let (conf, complaints) = sys::parse(&content, &path.display().to_string());
    complain(&complaints, findings);
    if let Some(file) = &file {
        report_access(path, file, findings);
    }
    let exposed = std::cell::RefCell::new(Vec::new());
    let value = |name: &str| -> io::Result<Option<String>> {
        let file = ConfFile::read(Path::new(name))?;
        if let Some(file) = &file {
            report_access(Path::new(name), file, &mut exposed.borrow_mut());
        }
        Ok(file.map(|file| file.text()))
    };
    let identity = conf.identity(value);
    findings.append(&mut exposed.take());
    match identity {
        Ok((identity, complaints)) => {
            complain(&complaints, findings);
            Some(identity)
        }
        Err(error) => {
            findings.push(Finding::new(FindingLevel::Error, error.to_string()));
            None
        }
    }
}

fn complain(complaints: &[Complaint], findings: &mut Vec<Finding>) {
    findings.extend(complaints.iter().map(Finding::from));
}

/// Reports a file that the daemons cannot read, or that has a secret and is readable by users other than root.
fn report_access(path: &Path, file: &ConfFile, findings: &mut Vec<Finding>) {
    findings.extend(file.denial(path).map(|text| Finding::new(FindingLevel::Error, text)));
    findings.extend(file.exposure(path).map(|text| Finding::new(FindingLevel::Warning, text)));
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; try again with sudo",
        _ => "; the daemon keeps the last good configuration",
    };
    Finding::new(FindingLevel::Error, format!("cannot read {}: {error}{hint}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn texts(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_kind_of_a_file_is_in_its_name() {
        for (name, kind) in [
            ("/etc/stas/stafd.conf", Some(Kind::Of(Daemon::Stafd))),
            ("stacd.conf.new", Some(Kind::Of(Daemon::Stacd))),
            ("./sys-test.conf", Some(Kind::Sys)),
            ("/etc/hosts", None),
            ("/", None),
        ] {
            assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
        }
    }

    #[test]
    fn the_complaints_are_those_of_the_daemons_with_the_file_and_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stacd.conf");
        fs::write(&path, "[Global]\nkatoo=3\n[Controllers]\ncontroller=transport=tcp;trsvcid=4420;nqn=nqn.a\n")
            .unwrap();
        let mut findings = Vec::new();
        let own = own_file(&path, Daemon::Stacd, &mut findings).unwrap();
        assert!(matches!(own.conf, Conf::Stacd(_)));
        let lines = texts(&findings);
        let place = path.display();
        assert!(lines[0].starts_with(&format!("warning: {place}:2: ")) && lines[0].contains("kato"), "{lines:?}");
        assert!(lines[1..].iter().any(|line| line.starts_with(&format!("error: {place}:4: "))), "{lines:?}");
    }

    #[test]
    fn a_secret_that_users_can_read_is_reported_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let (sys, key) = (directory.path().join("sys.conf"), directory.path().join("hostkey"));
        let id = "id=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e";
        fs::write(&sys, format!("[Host]\nnqn=nqn.2014-08.org.example:a\n{id}\nkey=file://{}\n", key.display()))
            .unwrap();
        fs::write(&key, "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:\n").unwrap();
        for (mode, count) in [(0o600, 0), (0o640, 1), (0o644, 1)] {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let mut findings = Vec::new();
            assert!(identity(&sys, &mut findings).is_some());
            assert_eq!(findings.len(), count, "{findings:?}");
            for line in texts(&findings) {
                let command = format!("`chmod 600 {}`", key.display());
                assert!(line.starts_with("warning: ") && line.contains(&command) && !line.contains("ia6z"), "{line}");
            }
        }
    }

    #[test]
    fn a_file_that_root_cannot_read_without_capabilities_is_an_error_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stacd.conf");
        fs::write(&path, "[Controllers]\n").unwrap();
        if std::os::unix::fs::chown(&path, Some(65534), Some(65534)).is_err() {
            return eprintln!("skipped: only root can give a file to another user");
        }
        for (group, mode, is_readable) in
            [(65534, 0o600, false), (65534, 0o640, false), (65534, 0o644, true), (0, 0o640, true), (0, 0o600, false)]
        {
            std::os::unix::fs::chown(&path, Some(65534), Some(group)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let mut findings = Vec::new();
            assert!(own_file(&path, Daemon::Stacd, &mut findings).is_some());
            assert_eq!(findings.is_empty(), is_readable, "{group} {mode:o} {findings:?}");
            for line in texts(&findings) {
                assert!(line.starts_with("error: ") && line.contains("`chown root "), "{line}");
            }
        }
    }

    #[test]
    fn a_missing_file_is_a_note_an_unreadable_one_and_a_host_without_identity_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut findings) = (directory.path().join("stafd.conf"), Vec::new());
        assert!(own_file(&path, Daemon::Stafd, &mut findings).is_none());
        fs::create_dir(&path).unwrap();
        assert!(own_file(&path, Daemon::Stafd, &mut findings).is_none());
        fs::write(directory.path().join("sys.conf"), "[Host]\nnqn=file:///nonexistent/hostnqn\n").unwrap();
        assert!(identity(&directory.path().join("sys.conf"), &mut findings).is_none());
        let levels: Vec<FindingLevel> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [FindingLevel::Note, FindingLevel::Error, FindingLevel::Error], "{findings:?}");
    }
}
