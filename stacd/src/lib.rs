//! stacd, the connector: makes the kernel's I/O controllers match the discovery log pages and the configuration.

pub mod api;
pub mod connector;
pub mod shell;
