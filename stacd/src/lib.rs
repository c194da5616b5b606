//! stacd, the connector: makes the kernel's I/O controllers match what the discovery log pages and the
//! configuration name.

pub mod api;
pub mod connector;
pub mod shell;
