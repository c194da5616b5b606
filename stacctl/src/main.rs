//! Looks into stacd: which I/O controllers it keeps, and how their connections are.

use std::process::ExitCode;

fn main() -> ExitCode {
    stacctl::main()
}
