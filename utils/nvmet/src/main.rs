//! The nvmet program.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser as _;
use nvmet::arguments::{Cli, Command};
use nvmet::command::{CommandError, Session};
use nvmet::paths::Paths;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it on purpose.
        Err(CommandError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvmet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), CommandError> {
    let paths = Paths::new(cli.configfs.as_deref(), cli.record.as_deref());
    let mut output = io::stdout().lock();
    let mut session = Session::new(paths, cli.dry_run, &mut output);
    match &cli.command {
        Command::Create { file, delete } => session.create(file.as_deref(), *delete),
        Command::Clean => session.clean(),
        Command::Ls { output } => session.ls(*output),
        Command::Link(export) => session.link(export.port, &export.subsystem),
        Command::Unlink(export) => session.unlink(export.port, &export.subsystem),
    }
}
