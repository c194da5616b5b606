//! The command-line client of stafd.
//!
//! [`arguments`] defines the command line; `ask` answers it by calls to the daemon.

pub mod arguments;
mod ask;
mod host_nqn;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use stas_cli::client::Daemon;

use arguments::Arguments;

/// The whole program. Exit status: 0 after an answer, 1 without one, 2 for a mistake on the command line.
#[must_use]
pub fn main() -> ExitCode {
    let Some(command) = Arguments::parse().command else {
        eprint!("{}", Arguments::command().render_help());
        return ExitCode::FAILURE;
    };
    Daemon::Stafd.ask(async |connection| ask::answer(&connection, command).await)
}
