//! The command line, and the requirements on the host that are checked before the start.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// The kernel's device for NVMe-oF connections. It exists while the module nvme_fabrics is loaded.
const FABRICS: &str = "/dev/nvme-fabrics";

/// Options of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `-f`: path of the daemon's configuration file.
    pub conf_file: PathBuf,
    /// `--syslog`: log to the journal. False: log to stdout.
    pub syslog: bool,
    /// `--tron`: trace at start, whatever the configuration says.
    pub tron: bool,
}

/// Name of a daemon and texts of its `--help`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// `stafd` or `stacd`.
    pub name: &'static str,
    /// Description in one line.
    pub what: &'static str,
    /// What the daemon does, for which users, and where to read more.
    pub more: &'static str,
    /// Default of `-f`.
    pub conf_file: &'static str,
}

impl Arguments {
    /// Reads the command line. `--help`, `--version` and errors end the process.
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

/// The command line for clap.
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
                .help("Read the configuration from FILE. If it is missing or unreadable, the last configuration of this boot applies. If there is none, a missing file means the defaults, and with an unreadable one the daemon does not start"),
        )
        .arg(flag("syslog").short('s').help("Log to the journal instead of stdout (the service does)"))
        .arg(flag("tron").help("Log every step (trace), until the next reload or `troff` of stafctl or stacctl"))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version, then exit"),
        )
}

/// Why a daemon cannot start on this host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Missing {
    /// The process does not run as root. Contains the daemon's name.
    #[error("{0} needs root privileges: it connects storage. Start it with `systemctl start {0}`")]
    Root(&'static str),
    /// `/dev/nvme-fabrics` does not exist: the kernel's NVMe-oF modules are not loaded.
    #[error(
        "{FABRICS} does not exist: the kernel's NVMe-oF modules are not loaded. Load them with `modprobe nvme_tcp` (or nvme_rdma, nvme_fc), which also loads nvme_fabrics"
    )]
    Fabrics,
}

/// Checks that the process runs as root and that the kernel supports NVMe-oF.
///
/// # Errors
/// The first requirement that is not met.
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
