//! Answers stacd whether a block device is opened exclusively, or whether it can be read: stacd itself may not open
//! block devices.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use libstas::linux::usage::exclusive;

fn main() -> ExitCode {
    match exclusive::serve(io::stdin(), io::stdout(), Path::new("/dev")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stas-in-use: {error}");
            ExitCode::FAILURE
        }
    }
}
