//! The subcommands and options. The options are those of nvme-stas 2, and `-o`.

use clap::{ArgAction, Args, Parser, Subcommand};
use libstas::nvme::{DISCOVERY_NQN, Transport};
use stas_cli::listing::Ls;
use stas_cli::output::{Listing, OutputArgs};
use stas_cli::watch::Watch;
use stas_cli::why::Why;

/// Show what stafd, the discovery daemon, knows
///
/// stafd finds NVMe-oF discovery controllers, stays connected to them and reads their log pages. This tool shows
/// these controllers, the state of their connections, and their log pages.
#[derive(Debug, Parser)]
#[command(
    name = "stafctl",
    bin_name = "stafctl",
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
    /// Show the state of the daemon and of its controllers, with their log pages
    Status(OutputArgs),
    /// List the discovery controllers
    Ls(Ls),
    /// Print each change of the discovery controllers, until interrupted
    ///
    /// Prints a line when a controller is added or removed, or changes its state, with the cause.
    Watch(Watch),
    /// Show the history of one controller
    ///
    /// Shows what happened to the controller and when, even if it has been removed since. Then shows which source lists
    /// it, its state, and the next step. The daemon keeps the last 64 events of each controller across restarts.
    Why(Why),
    /// Show the log page of one discovery controller
    Dlp(Controller),
    /// Show the log pages of all discovery controllers
    ///
    /// Fails if the log pages together are longer than 16 MiB. Then use dlp for one discovery controller at a time.
    Adlp(Listing),
}

/// One discovery controller.
#[derive(Debug, Args)]
pub struct Controller {
    /// Transport: tcp, rdma, fc or loop
    #[arg(short, long, value_name = "TRTYPE", default_value_t = Transport::Tcp)]
    pub transport: Transport,
    /// Address of the controller
    #[arg(short = 'a', long, value_name = "TRADDR")]
    pub traddr: String,
    /// Service ID of the controller, for tcp and rdma its port [default: 8009 for tcp, 4420 for rdma, else none]
    #[arg(short = 's', long, value_name = "TRSVCID")]
    pub trsvcid: Option<String>,
    /// Source address that the host connects from, if the connection is bound to one
    #[arg(short = 'w', long, value_name = "TRADDR", default_value = "", hide_default_value = true)]
    pub host_traddr: String,
    /// Interface that the host connects through, if the connection is bound to one
    #[arg(short = 'f', long, value_name = "IFACE", default_value = "", hide_default_value = true)]
    pub host_iface: String,
    /// Host NQN that the host connects with [default: that of sys.conf]
    #[arg(short = 'q', long, value_name = "NQN", alias = "host-nqn")]
    pub hostnqn: Option<String>,
    /// NQN of the controller
    #[arg(short = 'n', long, value_name = "NQN", default_value = DISCOVERY_NQN)]
    pub nqn: String,
    /// In which format.
    #[command(flatten)]
    pub output: OutputArgs,
}
