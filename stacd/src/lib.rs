//! stacd, the connector: makes the kernel's I/O controllers match the discovery log pages and the configuration.

// No clock, files, sockets or threads: see clippy.toml.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod api;
pub mod connector;
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod shell;
