//! The subcommands and options. The options are those of nvme-stas 2, and `-o`.

use clap::{ArgAction, Args, Parser, Subcommand};
use stas_cli::listing::Ls;
use stas_cli::output::OutputArgs;
use stas_cli::watch::Watch;
use stas_cli::why::Why;

use crate::alert::Alert;
use crate::metrics::Metrics;
use crate::tree::Tree;

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
    /// The subcommand.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Switch trace on: the daemon logs every step (root only)
    Tron,
    /// Switch trace off (root only)
    Troff,
    /// Show the state of the daemon and of its controllers
    Status(OutputArgs),
    /// List the I/O controllers
    Ls(Ls),
    /// Print each change of the I/O controllers, until interrupted
    ///
    /// Prints a line when a controller is added or removed, or changes its state, with the cause.
    Watch(Watch),
    /// Show the history of one controller
    ///
    /// Shows what happened to the controller and when, even if it has been removed since. Then shows which source lists
    /// it, its state, and the next step. The daemon keeps the last 64 events of each controller across restarts.
    Why(Why),
    /// Show interfaces, discovery controllers, subsystems and the paths to them as a picture
    ///
    /// The interface of a path is the one that it is bound to, else the one that has the source address of its
    /// connection. Discovery controllers are shown if stafd runs.
    Tree(Tree),
    /// Print metrics, in the text format of OpenMetrics
    ///
    /// Prints the counters of stacd and stafd since their start, and the present numbers of controllers and paths. A
    /// daemon that is not running is shown as down.
    Metrics(Metrics),
    /// Wait until subsystems have a live connection
    ///
    /// Returns as soon as each of the subsystems has a live connection. Also waits for stacd to start. After the
    /// timeout the exit status is 1, and what is missing is printed with its state and the reason.
    Wait(Wait),
    /// Report wanted subsystems that have no path
    ///
    /// Prints a line when a wanted subsystem has had no connected path for S seconds, and when it has one again or is
    /// no longer wanted. Listens to stacd until interrupted. stas-alert.service runs it; see ALERTS.
    Alert(Alert),
}

/// What is waited for, and how long.
#[derive(Debug, Args)]
pub struct Wait {
    /// NQN of a subsystem
    #[arg(value_name = "NQN", required = true)]
    pub nqns: Vec<String>,
    /// Longest wait in seconds; 0 checks once
    #[arg(long, value_name = "S", default_value_t = 90)]
    pub timeout: u32,
}
