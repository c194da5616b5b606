//! An NVMe/TCP discovery controller in user space, with zones and faults under the control of a test. Hosts see a
//! centralized discovery controller (CDC, TP8010).
//!
//! | module | role |
//! |---|---|
//! | [`pdu`] | NVMe/TCP: bytes to PDUs, PDUs to bytes |
//! | [`command`] | submission queue entries to commands, completions to bytes |
//! | [`connection`] | one connection: a state machine, bytes in, bytes out |
//! | [`zoning`] | which host sees which members, and which hosts a change affects |
//! | [`world`] | what all connections share: the controller's identity, the zones, the hosts, the faults |
//! | [`fault`] | faults on demand |
//! | [`simulator`] | all connections and the control requests: one pure machine |
//! | [`control`] | the requests of `cdcsim ctl` |
//! | [`configuration`] | the TOML file |
//! | [`shell`] | sockets: the only part with I/O |
//! | [`arguments`] | the command line |
//!
//! Everything but the shell takes the time as an argument and performs no I/O.

// No clock, files, sockets or threads: see clippy.toml.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod arguments;
pub mod command;
pub mod configuration;
pub mod connection;
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod control;
pub mod fault;
pub mod pdu;
#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]
pub mod shell;
pub mod simulator;
pub mod world;
pub mod zoning;
