//! The command line, and what must be there before anything starts.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// The kernel's door to NVMe-oF; it is there when the module nvme_fabrics is.
const FABRICS: &str = "/dev/nvme-fabrics";

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration file.
    pub conf_file: PathBuf,
    /// Log to the journal.
    pub syslog: bool,
    /// Trace on, whatever the configuration says.
    pub tron: bool,
}

/// What a daemon is called and what its `--help` teaches.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// `stafd` or `stacd`.
    pub name: &'static str,
    /// One line.
    pub what: &'static str,
    /// What it does, for whom, and where to look next.
    pub more: &'static str,
    /// The configuration file unless `-f` names another.
    pub conf_file: &'static str,
}

impl Arguments {
    /// Reads the command line; `--help`, `--version` and mistakes end the process.
    #[must_use]
    pub fn parse(about: &About) -> Self {
        Self::of(&command(about).get_matches())
    }

    fn of(matches: &clap::ArgMatches) -> Self {
        Self {
            conf_file: matches.get_one::<PathBuf>("conf-file").cloned().unwrap_or_default(),
            syslog: matches.get_flag("syslog"),
            tron: matches.get_flag("tron"),
        }
    }
}

/// The command line as clap sees it.
#[must_use]
pub fn command(about: &About) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new(about.name)
        .display_name("nvme-stas")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about.what)
        .after_help(about.more)
        .disable_version_flag(true)
        .arg(
            Arg::new("conf-file")
                .short('f')
                .long("conf-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .default_value(about.conf_file)
                .help("Read the configuration from FILE; without such a file, every setting has its default"),
        )
        .arg(flag("syslog").short('s').help("Log to the journal instead of stdout (the service does)"))
        .arg(flag("tron").help("Trace on: log every step, until a reload or the tools' `troff` says otherwise"))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version, then exit"),
        )
}

/// Why a daemon cannot start at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Missing {
    /// Not root.
    #[error("{0} needs root privileges: it connects storage. Start it with `systemctl start {0}`")]
    Root(&'static str),
    /// No module.
    #[error(
        "{FABRICS} does not exist: the kernel's NVMe-oF modules are not loaded. Load them with `modprobe nvme_tcp` (or nvme_rdma, nvme_fc), which brings nvme_fabrics along"
    )]
    Fabrics,
}

/// Sees that we are root and that the kernel can do NVMe-oF.
///
/// # Errors
/// The first thing that is missing.
pub fn check_host(name: &'static str) -> Result<(), Missing> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Missing::Root(name));
    }
    if !std::path::Path::new(FABRICS).exists() {
        return Err(Missing::Fabrics);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ABOUT: About = About { name: "stafd", what: "Finds.", more: "More.", conf_file: "/etc/stas/stafd.conf" };

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        command(&ABOUT).try_get_matches_from(line).map(|matches| Arguments::of(&matches))
    }

    #[test]
    fn the_command_line_of_nvme_stas_is_understood() {
        let plain = parse(&["stafd"]).unwrap();
        let expected = Arguments { conf_file: "/etc/stas/stafd.conf".into(), syslog: false, tron: false };
        assert_eq!(plain, expected);
        let full = parse(&["stafd", "-s", "--tron", "-f", "/x"]).unwrap();
        assert_eq!(full, Arguments { conf_file: "/x".into(), syslog: true, tron: true });
        assert_eq!(parse(&["stafd", "--syslog", "--tron", "--conf-file=/x"]).unwrap(), full);
    }

    #[test]
    fn the_version_is_that_of_the_project() {
        for option in ["-v", "--version"] {
            let answer = parse(&["stafd", option]).unwrap_err();
            assert_eq!(answer.kind(), clap::error::ErrorKind::DisplayVersion);
            assert_eq!(answer.to_string(), concat!("nvme-stas ", env!("CARGO_PKG_VERSION"), "\n"));
        }
    }

    #[test]
    fn a_mistake_is_named() {
        assert!(parse(&["stafd", "--no-such"]).unwrap_err().to_string().contains("--no-such"));
    }
}
