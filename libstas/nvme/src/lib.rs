//! Values and wire formats of NVMe-oF, pure: no I/O, no clock.

// No clock, files, sockets or threads: see clippy.toml.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod admin;
pub mod aen;
pub mod announcement;
pub mod connect;
pub mod dim;
pub mod identify;
pub mod log_page;
pub mod nbft;
pub mod secret;
pub mod security;
pub mod shown;
pub mod supported;
pub mod sysfs_address;
pub mod tid;
pub mod wire;

pub use connect::{HostIdentity, Parameters, Purpose};
pub use secret::Secret;
pub use shown::shown;
pub use tid::{Tid, TidParts, Transport};

/// The well-known NQN to which every discovery controller answers (NVMe Base 2.0, 4.5).
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
/// Longest NQN in bytes (NVMe Base 2.0, 4.5).
pub const NQN_MAX: usize = 223;
