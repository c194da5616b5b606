//! Shows which discovery controllers stafd manages, and their log pages.

use std::process::ExitCode;

fn main() -> ExitCode {
    stafctl::main()
}
