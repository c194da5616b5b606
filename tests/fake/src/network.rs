//! Short constructors for network interfaces and mDNS announcements.

use libstas::core::Interface;
use libstas::core::browse::{BrowseEvent, Endpoint};
use libstas::nvme::announcement::offer;

/// An interface that is up and has these addresses.
///
/// # Panics
/// Panics if one of them is not an IP address.
#[must_use]
pub fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Interface { index, name: name.into(), mac: Vec::new(), up: true, addresses }
}

/// The announcement of a discovery service (NVMe/TCP, port 8009) at that address, received on the interface with that
/// index.
///
/// # Panics
/// Panics if it is not an IP address.
#[must_use]
pub fn announced(service: &str, interface: u32, traddr: &str) -> BrowseEvent {
    let endpoints = vec![Endpoint { interface, address: traddr.parse().unwrap() }];
    BrowseEvent::Announced { service: service.into(), offer: offer(8009, [("p", Some(b"tcp".as_slice()))]), endpoints }
}
