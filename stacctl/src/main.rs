//! Shows which I/O controllers stacd manages, and the state of their connections.

use std::process::ExitCode;

fn main() -> ExitCode {
    stacctl::main()
}
