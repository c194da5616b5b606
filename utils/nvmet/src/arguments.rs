//! The command line of nvmet.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::listing::Format;

/// Configure the Linux kernel's NVMe-oF target (nvmet): create the ports, subsystems and namespaces of a TOML file,
/// and remove them again.
///
/// Only what this tool created is ever changed or removed. `create` may be run again at any time: it changes only what
/// differs.
#[derive(Debug, Parser)]
#[command(name = "nvmet", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// The subcommand with its arguments.
    #[command(subcommand)]
    pub command: Command,
    /// Print the steps as lines for a shell and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for
    /// tests)
    #[arg(long, global = true, value_name = "DIR")]
    pub configfs: Option<PathBuf>,
    /// The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]
    #[arg(long, global = true, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or change the target so that it matches a TOML file
    Create {
        /// The TOML file [default: ./nvmet.conf, or the built-in one of that name]
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// First remove everything that earlier `create` commands made
        #[arg(short, long)]
        delete: bool,
    },
    /// Remove everything that `create` made, and unload the modules that it loaded
    Clean,
    /// Show all ports, subsystems, namespaces and hosts, including those that other tools created
    Ls {
        /// The output format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Export a subsystem on a port
    Link(Export),
    /// Stop exporting a subsystem on a port; hosts lose this path at once
    Unlink(Export),
}

/// Which subsystem on which port.
#[derive(Debug, Args)]
pub struct Export {
    /// The number of the port
    #[arg(short, long)]
    pub port: u16,
    /// The NQN of the subsystem
    #[arg(short, long, value_name = "NQN")]
    pub subsystem: String,
}
