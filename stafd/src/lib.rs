//! stafd, the finder: finds discovery controllers, keeps a connection to each, reads its discovery log page and
//! publishes it.

// No clock, files, sockets or threads: see clippy.toml.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod api;
pub mod finder;
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod shell;
