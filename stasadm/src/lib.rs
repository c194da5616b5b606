//! The command-line tool for the NVMe-oF identity and the configuration of a host.
//!
//! | module | role |
//! |---|---|
//! | [`arguments`] | the command line |
//! | `host_id` | the host ID: that of the kernel's connections, otherwise the one in the host NQN |
//! | `host_uuid` | the UUID for the host NQN, always the same for the same host |
//! | `change` | changes sys.conf, and the file that contains the value |
//! | `configured` | the value that sys.conf sets already |
//! | `check` | checks the configuration files, and asks the daemons what a reload would do |
//! | `boot_table` | shows the firmware's boot table |
//! | `atomic_file` | replaces files atomically |

pub mod arguments;
mod atomic_file;
mod boot_table;
mod change;
mod check;
mod configured;
mod host_id;
mod host_uuid;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, Command};
use change::{Change, Failure};
use libstas::conf::sys::Needed;

/// The whole program. Exit status: 0 after success, 1 after a failure, 2 for a mistake on the command line. That of
/// `check` says how serious the complaints are.
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
            let file = target.file.clone();
            let new = || new_hostnqn(Path::new("/"), configured::is_lost(file.as_deref()).unwrap_or(false));
            change(conf_file, || set("nqn", conf_file, Needed::Nqn, target.file, new))
        }
        Command::Hostid(target) => {
            let new = || host_id::of(Path::new("/"), conf_file).0.to_string();
            change(conf_file, || set("id", conf_file, Needed::Id, target.file, new))
        }
        Command::SetSymname(symname) => {
            change(conf_file, || Change::set_symname(&symname.symname, symname.target.file))
        }
        Command::ClearSymname => change(conf_file, || Ok(Change::clear("symname"))),
        Command::Check(what) => check::run(conf_file, &what),
        Command::Nbft(which) => boot_table::show(&which),
    }
}

/// Sets a key: to the configured value if `file` is missing, otherwise to a new one.
fn set(
    key: &'static str,
    conf_file: &Path,
    needed: Needed,
    file: Option<PathBuf>,
    new: impl FnOnce() -> String,
) -> Result<Change, Failure> {
    let configured = configured::value(conf_file, needed, file.as_deref())?;
    Ok(Change::set(key, configured.unwrap_or_else(new), file))
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

/// The NQN for the host with the root directory `root`. If `is_lost` (the file of the NQN is missing or empty) and all
/// connections of stafd and stacd have the same NQN, returns that one.
fn new_hostnqn(root: &Path, is_lost: bool) -> String {
    if let Some(nqn) = is_lost.then(|| host_id::kernels_nqn(root)).flatten() {
        eprintln!("stasadm: the NQN is that of the connections of stafd and stacd: {nqn}");
        return nqn;
    }
    let (uuid, source) = host_uuid::of(root);
    if let Some(warning) = source.warning() {
        eprintln!("stasadm: {warning}");
    }
    host_uuid::nqn(&uuid)
}
