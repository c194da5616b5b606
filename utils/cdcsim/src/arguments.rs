//! The command line of cdcsim.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::control::Request;
use crate::world::Type;

/// What to begin with.
const EXAMPLES: &str = "\
Begin with
  cdcsim run --verbose
and in another terminal
  cdcsim ctl add disk --nqn klingons --address 192.0.2.1:4420
  cdcsim ctl zone add all --host '*' --member disk
  nvme discover -t tcp -a 127.0.0.1 -s 8009
  cdcsim ctl hosts
  cdcsim ctl zone remove all --member disk        (an event for each host)
  cdcsim ctl fault --seconds 30 silent connect    (hosts that connect get no answer)";

/// Simulate an NVMe/TCP discovery controller: zones, events, registrations, and faults on demand.
///
/// cdcsim is a discovery controller for tests. The Linux kernel connects to it as to a centralized discovery controller
/// (CDC, TP8010) or a direct one. A TOML file, or commands while it runs, define what each host sees; a change sends an
/// event to the hosts that it affects. It needs no privileges and works in any network namespace.
///
#[derive(Debug, Parser)]
#[command(name = "cdcsim", version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// The subcommand with its arguments.
    #[command(subcommand)]
    pub command: Command,
    /// The control socket [default: cdcsim.sock in $XDG_RUNTIME_DIR, /run or /tmp]
    #[arg(long, global = true, value_name = "PATH", env = "CDCSIM_CONTROL", hide_env_values = true)]
    pub control: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the simulator until it is stopped
    Run(Run),
    /// Control a running simulator
    Ctl {
        /// The output format
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
        /// What
        #[command(subcommand)]
        request: Request,
    },
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a person
    Text,
    /// JSON for a program
    Json,
}

/// How to run it.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// A TOML file with the controller, its members and its zones
    pub file: Option<PathBuf>,
    /// Where to listen, such as 192.0.2.1:8009; may be given again [default: what the file says, or port 8009 of all
    /// addresses]
    #[arg(short, long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// The controller's NQN [default: what the file says, or the well-known one]
    #[arg(long)]
    pub nqn: Option<String>,
    /// Its type [default: what the file says, or cdc]
    #[arg(long = "type", value_enum)]
    pub dctype: Option<Type>,
    /// Announce it by mDNS under this name (TP8009)
    #[arg(long, value_name = "NAME")]
    pub announce: Option<String>,
    /// Log connections and commands
    #[arg(short, long)]
    pub verbose: bool,
}
