//! stafd's shell: carries the finder's effects out on the real host and bus.

pub mod nvme_cli;
