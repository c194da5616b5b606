//! stacd, the connector: makes the kernel's I/O controllers match the discovery log pages and the configuration.

// No clock, no files, no sockets, no threads: clippy.toml lists what is refused.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod api;
pub mod connector;
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod shell;
