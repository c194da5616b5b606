//! mDNS, host names and probes: requests of the daemons to the network, whose answers are untrusted.
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
//! A daemon trusts stas-net no more than the network: it checks each report again. A missing report proves nothing.

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
