//! The tool that gives a host its NVMe-oF identity.
//!
//! | module | what it is about |
//! |---|---|
//! | [`arguments`] | what can be done |
//! | `host_uuid` | the UUID that the host NQN is made of, always the same for the same host |
//! | `change` | what a command does to sys.conf, and to the file that holds the value |
//! | `place` | files that are replaced as a whole |

pub mod arguments;
mod change;
mod host_uuid;
mod place;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use uuid::Uuid;

use arguments::{Arguments, Command};
use change::{Change, Failure};

/// The whole program: 0 when it is done, 1 when it cannot be done, 2 when the command line has a mistake.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(command) = arguments.command else {
        eprint!("{}", Arguments::command().render_help());
        return ExitCode::FAILURE;
    };
    match run(&arguments.conf_file, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("stasadm: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(conf_file: &Path, command: Command) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Unprivileged(conf_file.to_owned()));
    }
    change_for(command)?.apply(conf_file)
}

fn change_for(command: Command) -> Result<Change, Failure> {
    match command {
        Command::Hostnqn(target) => {
            let (uuid, source) = host_uuid::of(Path::new("/"));
            if source == host_uuid::Source::Random {
                eprintln!("stasadm: this host has no machine ID and no UUID in its firmware: the NQN is random");
            }
            Ok(Change::set("nqn", format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}"), target.file))
        }
        Command::Hostid(target) => Ok(Change::set("id", Uuid::new_v4().to_string(), target.file)),
        Command::SetSymname(symname) => Change::set_symname(&symname.symname, symname.target.file),
        Command::ClearSymname => Ok(Change::clear("symname")),
    }
}
