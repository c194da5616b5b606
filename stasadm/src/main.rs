//! Gives this host its NVMe-oF identity: NQN, ID and symbolic name.

use std::process::ExitCode;

fn main() -> ExitCode {
    stasadm::main()
}
