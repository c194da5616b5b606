//! stacd's shell: carries the connector's effects out on the real host and bus.

pub mod stafd_client;
