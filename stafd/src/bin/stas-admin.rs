//! Executes the admin commands of stafd on discovery controllers: stafd itself does not have the capability for them.

use std::io;
use std::process::ExitCode;

use libstas::linux::Roots;
use libstas::linux::admin::program;

fn main() -> ExitCode {
    match program::serve(io::stdin(), io::stdout(), &Roots::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stas-admin: {error}");
            ExitCode::FAILURE
        }
    }
}
