//! mDNS, host names and probes: what the daemons must ask of the network, and what the network may answer anything to.
//!
//! The program stas-net does this work, in a process without privileges. systemd starts one process for each connection
//! to [`SOCKET`]. The first record of a connection gives the process its one task ([`wire::Role`]). The process ends
//! with its connection.
//!
//! | module | what it is about |
//! |---|---|
//! | [`wire`] | the records between a daemon and stas-net, and their limits |
//! | [`client`] | the daemons' side: asks for addresses and probes |
//! | [`browser`] | stafd's side: asks for announcements |
//! | [`names`] | resolves host names in this process; for stas-net and for commands, not for daemons |
//!
//! The modules that send and receive on the network belong to the program, so that no daemon can call them.
//!
//! A daemon treats stas-net as it treats the network: whatever it says is checked again, and its absence proves
//! nothing.

use std::future::pending;

use tokio::time::{Instant, sleep_until};

pub mod browser;
pub mod client;
mod link;
pub mod names;
pub mod wire;

/// The socket on which systemd starts stas-net. Only root may connect to it.
pub const SOCKET: &str = "/run/nvme-stas/net.socket";

/// Sleeps until `moment`. `None`: forever.
pub async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
