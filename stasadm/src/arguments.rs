//! The subcommands and options. The options are those of nvme-stas 2.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use libstas::linux::nbft::TABLES;
use stas_cli::client::Daemon;
use stas_cli::output::Format;

/// Give this host its NVMe-oF identity, check the configuration, and show what it booted from
///
/// The identity is in sys.conf, or in files that sys.conf names. The daemons read it when they start. A reload applies
/// a new symbolic name and a new key.
#[derive(Debug, Parser)]
#[command(
    name = "stasadm",
    bin_name = "stasadm",
    display_name = "nvme-stas",
    version,
    disable_version_flag = true,
    disable_help_subcommand = true,
    infer_long_args = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// Print the version, then exit
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    version: Option<bool>,
    /// The configuration file to change
    #[arg(short, long, value_name = "FILE", default_value = "/etc/stas/sys.conf")]
    pub conf_file: PathBuf,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set the host NQN
    ///
    /// The NQN is derived from the machine ID, or without one from the UUID in the firmware, so the same host always
    /// gets the same NQN. A host that has neither gets a random NQN. The existing NQN is replaced: targets then see
    /// another host. But if the FILE of `--file` is missing or empty, the first of these is used: the NQN that sys.conf
    /// sets; the NQN of the connections of stafd and stacd, if all have the same; the derived NQN.
    Hostnqn(Target),
    /// Set the host ID
    ///
    /// The host ID is that of an existing connection with this host NQN. If there is none, it is the UUID in the host
    /// NQN. If the NQN contains none, it is random. The kernel accepts only one host ID for each host NQN. If the FILE
    /// of `--file` is missing or empty, it gets the ID that sys.conf sets.
    Hostid(Target),
    /// Set the symbolic name, which the host tells to discovery controllers
    SetSymname(Symname),
    /// Remove the symbolic name
    ClearSymname,
    /// Check the configuration files, and show what a reload would do
    ///
    /// Reads the files like the daemons and prints what they would complain about, with the line and the valid form.
    /// Looks up all host names, and checks interfaces, source addresses, the options of this kernel, the registry of
    /// owners, and whether other users can read secrets. Then asks the running daemons what a reload would connect,
    /// disconnect and keep, and why. Changes nothing.
    Check(Check),
    /// Show the boot table (NBFT)
    ///
    /// The firmware of a host that boots over NVMe-oF provides this table. stafd connects the discovery controllers in
    /// it. The subsystems in it stay connected whatever stacd's configuration says. Root privileges are needed to read
    /// it.
    Nbft(BootTable),
}

/// What is checked.
#[derive(Debug, Args)]
pub struct Check {
    /// File to check; its name begins with stafd, stacd or sys [default: sys.conf and both files of the daemons]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// As a reload of this daemon (stafd or stacd): check only its own file, look up no names, and print the complaints
    /// on the terminals on which `systemctl reload` waits
    #[arg(long, value_name = "DAEMON", conflicts_with = "files")]
    pub reload: Option<Daemon>,
}

/// Where the value goes.
#[derive(Debug, Args)]
pub struct Target {
    /// Write the value to FILE, and refer to it in sys.conf; by default the value itself is written into sys.conf
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Which boot table, and how it is shown.
#[derive(Debug, Args)]
pub struct BootTable {
    /// The table, or a folder with tables
    #[arg(short, long, value_name = "PATH", default_value = TABLES)]
    pub path: PathBuf,
    /// Format of the answer
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// A symbolic name.
#[derive(Debug, Args)]
pub struct Symname {
    /// The name: at most 256 bytes, and without spaces if it goes to a file of its own
    #[arg(value_name = "NAME")]
    pub symname: String,
    /// Where it goes.
    #[command(flatten)]
    pub target: Target,
}
