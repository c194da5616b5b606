//! Looks into stafd: which discovery controllers it keeps, and what their log pages say.

use std::process::ExitCode;

fn main() -> ExitCode {
    stafctl::main()
}
