//! What can be asked. The options are those of nvme-stas 2, and `-o`.

use clap::{ArgAction, Parser, Subcommand};
use stas_cli::output::{Listing, OutputArgs};

/// Show what stacd, the connector daemon, keeps connected
///
/// stacd connects the host to the NVMe-oF subsystems that its configuration and the log pages list. This tool shows
/// these I/O controllers, the state of their connections, and why a controller is not connected.
#[derive(Debug, Parser)]
#[command(
    name = "stacctl",
    bin_name = "stacctl",
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
    /// What to ask.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A subcommand: what the daemon is asked or told.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Switch trace on: the daemon logs every step (root only)
    Tron,
    /// Switch trace off (root only)
    Troff,
    /// Show the state of the daemon and of its controllers
    Status(OutputArgs),
    /// List the I/O controllers
    Ls(Listing),
}
