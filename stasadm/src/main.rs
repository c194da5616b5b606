//! Sets the NVMe-oF identity of this host: NQN, ID and symbolic name.

use std::process::ExitCode;

fn main() -> ExitCode {
    stasadm::main()
}
