//! The command-line client of stacd.
//!
//! [`arguments`] defines the command line; `ask` answers it by calls to the daemon; `wait` waits for connections;
//! [`tree`] draws them; [`metrics`] prints metrics; [`alert`] reports subsystems without a path. `replace`
//! writes the files of the last two.

pub mod alert;
pub mod arguments;
mod ask;
pub mod metrics;
mod replace;
pub mod tree;
mod wait;

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
    Daemon::Stacd.ask(async |connection| ask::answer(&connection, command).await)
}
