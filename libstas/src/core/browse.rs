//! Browsing for announced discovery controllers: what stafd's core asks for, and what it hears.

use std::net::IpAddr;

use crate::nvme::announcement::{Offer, Unfit};

/// So many places of one service are heard: a discovery controller with more addresses than this on all networks of
/// a host together is unheard of.
pub const SPOTS: usize = 16;

/// What is asked of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Browse. What is there is asked for anew, also when it browses already.
    Start,
    /// Stop to browse.
    Stop,
    /// The network interfaces have changed.
    NetworkChanged,
    /// That service does not answer: find out whether it is still announced (RFC 6762, 10.4). If it is not, it is
    /// [`Heard::Gone`] within 10 s or so.
    Reconfirm(String),
}

/// Where a service is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The number of the interface that the announcement came in by.
    pub interface: u32,
    /// The address that it names.
    pub address: IpAddr,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A service is announced, in this way from now on.
    Announced {
        /// Its full name, which tells it from all others. A stranger's words.
        service: String,
        /// What it offers.
        offer: Result<Offer, Unfit>,
        /// Where, [`SPOTS`] at most.
        spots: Vec<Spot>,
    },
    /// A service took its leave, or its announcement expired.
    Gone(String),
    /// The browser started afresh: who is still there is heard again.
    Afresh,
}
