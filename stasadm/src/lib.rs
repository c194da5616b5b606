//! The tool that gives a host its NVMe-oF identity.
//!
//! | module | what it is about |
//! |---|---|
//! | [`arguments`] | what can be done |
//! | `host_id` | the host ID: the kernel's, else the one that goes with the host NQN |
//! | `host_uuid` | the UUID that the host NQN is made of, always the same for the same host |
//! | `change` | what a command does to sys.conf, and to the file that holds the value |
//! | `boot_table` | showing the firmware's boot table |
//! | `place` | files that are replaced as a whole |

pub mod arguments;
mod boot_table;
mod change;
mod host_id;
mod host_uuid;
mod place;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

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
    let conf_file = &arguments.conf_file;
    match command {
        Command::Hostnqn(target) => {
            change(conf_file, || Ok(Change::set("nqn", new_hostnqn(Path::new("/")), target.file)))
        }
        Command::Hostid(target) => change(conf_file, || {
            Ok(Change::set("id", host_id::of(Path::new("/"), conf_file).0.to_string(), target.file))
        }),
        Command::SetSymname(symname) => {
            change(conf_file, || Change::set_symname(&symname.symname, symname.target.file))
        }
        Command::ClearSymname => change(conf_file, || Ok(Change::clear("symname"))),
        Command::Nbft(which) => boot_table::show(&which),
    }
}

fn change(conf_file: &Path, make: impl FnOnce() -> Result<Change, Failure>) -> ExitCode {
    let done = match nix::unistd::geteuid().is_root() {
        true => make().and_then(|change| change.apply(conf_file)),
        false => Err(Failure::Unprivileged(conf_file.to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("stasadm: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The NQN of the host whose files are below `root`.
fn new_hostnqn(root: &Path) -> String {
    let (uuid, source) = host_uuid::of(root);
    if let Some(warning) = source.warning() {
        eprintln!("stasadm: {warning}");
    }
    host_uuid::nqn(&uuid)
}
