//! The code that the daemons and tools share.
//!
//! | module | what it is about | may use |
//! |---|---|---|
//! | [`nvme`] | values and wire formats of NVMe-oF | nothing |
//! | [`conf`] | configuration files to typed settings | nvme |
//! | [`core`] | what both daemons decide with: pure state machines | conf, nvme |
//! | [`host`] | Linux: the kernel's NVMe host, network, names | core, conf, nvme |
//! | [`bus`] | D-Bus names, wire types and proxies | nvme |
//! | [`daemon`] | the shell that both daemons share | all of the above |
//! | [`cli`] | what the command-line tools share | bus, nvme |
//!
//! The pure modules never use sockets, files, the clock or an async runtime.

pub mod bus;
pub mod cli;
pub mod conf;
pub mod core;
pub mod daemon;
pub mod host;
mod log_lines;
pub mod nvme;
