//! The cdcsim program.

use std::process::ExitCode;

use cdcsim::arguments::{Cli, Command};
use cdcsim::shell;
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let control = cli.control.unwrap_or_else(shell::default_control);
    let result = match cli.command {
        Command::Run(run) => shell::serve(&run, &control),
        Command::Ctl { output, request } => shell::ask(&control, &request, output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cdcsim: {error}");
            ExitCode::FAILURE
        }
    }
}
