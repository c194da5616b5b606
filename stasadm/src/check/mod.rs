//! Checks the configuration files like the daemons, changes nothing.
//!
//! | module | role |
//! |---|---|
//! | `finding` | one line of the answer, and the exit status |
//! | `files` | reads the files with the parsers of the daemons |
//! | `host` | what the configuration needs from the host |
//! | `reload` | asks the daemons what a reload would do |
//! | `terminal` | the terminals on which `systemctl reload` waits |

mod files;
mod finding;
mod host;
mod reload;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libstas::core::configured::Review;
use libstas::linux::Roots;
use stas_cli::client::Daemon;
use stas_cli::output::print;

use crate::arguments::Check;
use files::{Kind, OwnFile, STACD_CONF, STAFD_CONF};
use finding::{Finding, FindingLevel, status, summary};
use host::Host;

/// The whole command.
pub(crate) fn run(sys_conf: &Path, what: &Check) -> ExitCode {
    if let Some(daemon) = what.reload {
        tell_of_reload(daemon);
        return ExitCode::SUCCESS;
    }
    let files = match wanted(sys_conf, &what.files) {
        Ok(files) => files,
        Err(unknown) => {
            eprintln!(
                "stasadm: {}: a file to check is named stafd…, stacd… or sys…, which says whose it is",
                unknown.display()
            );
            return ExitCode::from(2);
        }
    };
    let Checked { findings, plans } = check(sys_conf, &files, &what.files);
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    text += &format!("{}\n{plans}", summary(&findings));
    match print(&text) {
        Ok(()) => status(&findings),
        Err(error) => {
            eprintln!("stasadm: cannot write the answer: {error}");
            ExitCode::from(2)
        }
    }
}

/// The files to check, with their kinds; the error is a file whose name does not say its kind.
fn wanted(sys_conf: &Path, files: &[PathBuf]) -> Result<Vec<(Kind, PathBuf)>, PathBuf> {
    if files.is_empty() {
        return Ok(vec![
            (Kind::Sys, sys_conf.to_owned()),
            (Kind::Of(Daemon::Stafd), STAFD_CONF.into()),
            (Kind::Of(Daemon::Stacd), STACD_CONF.into()),
        ]);
    }
    let kind = |path: &PathBuf| Some((Kind::of(path)?, path.clone()));
    files.iter().map(|path| kind(path).ok_or_else(|| path.clone())).collect()
}

/// The result of a check.
struct Checked {
    findings: Vec<Finding>,
    /// What a reload of each daemon would do, in lines.
    plans: String,
}

/// Checks the files, then the host. `named` are the files that the user named: these must exist.
fn check(sys_conf: &Path, files: &[(Kind, PathBuf)], named: &[PathBuf]) -> Checked {
    let (mut findings, mut plans) = (Vec::new(), String::new());
    for path in named.iter().filter(|path| !path.exists()) {
        findings.push(Finding::new(FindingLevel::Error, format!("{} does not exist", path.display())));
    }
    let present = |path: &PathBuf| !named.contains(path) || path.exists();
    let sys = files.iter().find(|(kind, path)| *kind == Kind::Sys && present(path));
    let identity = match sys {
        Some((_, path)) => files::identity(path, &mut findings),
        // The options of the connections need the identity. Complaints about sys.conf are not part of this check.
        None => files::identity(sys_conf, &mut Vec::new()),
    };
    let mut own: Vec<OwnFile> = Vec::new();
    for (kind, path) in files.iter().filter(|(_, path)| present(path)) {
        if let Kind::Of(daemon) = kind {
            own.extend(files::own_file(path, *daemon, &mut findings));
        }
    }
    let host = Host::look(&Roots::default(), &mut findings);
    for own in &own {
        let addresses = host::addresses(own);
        let host_nqn = identity.as_ref().map(|identity| identity.nqn.as_str()).unwrap_or_default();
        let review = Review::of(&own.conf.view(), &own.conf.defaults(host_nqn), &addresses);
        findings.extend(review.left_out.iter().map(|left_out| {
            Finding::at(&own.path, left_out.line, format!("controller= is not connected: {}", left_out.reason))
        }));
        findings.extend(host::unresolved_exclusions(own, &addresses));
        findings.extend(host.check(own, &review, identity.as_ref()));
        plans += &reload::plan(own, &addresses);
    }
    Checked { findings, plans }
}

/// Prints the complaints about a daemon's own file on the terminals on which its reload is awaited. Looks up no names.
fn tell_of_reload(daemon: Daemon) {
    let path = match daemon {
        Daemon::Stafd => STAFD_CONF,
        Daemon::Stacd => STACD_CONF,
    };
    let mut findings = Vec::new();
    files::own_file(Path::new(path), daemon, &mut findings);
    if findings.is_empty() {
        return;
    }
    let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    terminal::write_to_waiting(Path::new("/"), daemon.name(), &lines);
}
