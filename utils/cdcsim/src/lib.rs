//! A discovery controller for NVMe/TCP in user space: what a centralized discovery controller (CDC, TP8010) looks like
//! to a host, with zones and faults at the command of a test.
//!
//! | module | role |
//! |---|---|
//! | [`pdu`] | NVMe/TCP: bytes to PDUs, PDUs to bytes |
//! | [`command`] | submission queue entries to commands, completions to bytes |
//! | [`connection`] | one connection: a state machine, bytes in, bytes out |
//! | [`zoning`] | who sees what, and whom a change concerns |
//! | [`world`] | what all connections share: the controller's identity, the zones, the hosts, the faults |
//! | [`fault`] | what goes wrong on demand |
//! | [`simulator`] | all connections and what is asked for over the control socket: one pure machine |
//! | [`control`] | the requests of `cdcsim ctl` |
//! | [`configuration`] | the TOML file |
//! | [`shell`] | sockets: the only part that touches the world |
//! | [`arguments`] | the command line |
//!
//! Everything but the shell takes the time as an argument and performs no I/O.

pub mod arguments;
pub mod command;
pub mod configuration;
pub mod connection;
pub mod control;
pub mod fault;
pub mod pdu;
pub mod shell;
pub mod simulator;
pub mod world;
pub mod zoning;
