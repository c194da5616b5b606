//! Browsing for discovery controllers announced by mDNS: requests of stafd's core to the browser, and its events.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use stas_nvme::announcement::{ServiceOffer, TxtError};

/// Maximum number of endpoints that are recorded of one service. Further addresses of the service are ignored.
pub const ENDPOINTS_PER_SERVICE: usize = 16;

/// A request to the browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BrowseCommand {
    /// Starts browsing. If the browser runs already, it queries all services again.
    Start,
    /// Stops browsing.
    Stop,
    /// The network interfaces have changed.
    NetworkChanged,
    /// A service does not answer: verify that it is still announced (RFC 6762, 10.4). If it is not,
    /// [`BrowseEvent::Gone`] follows within about 10 s.
    Reconfirm(String),
}

/// An address and an interface where a service is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The index of the interface on which the announcement was received.
    pub interface: u32,
    /// The announced address.
    pub address: IpAddr,
}

/// An event of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrowseEvent {
    /// A service is announced, or its announcement has changed.
    Announced {
        /// The full name of the service, which is unique. Untrusted text from the network.
        service: String,
        /// The content of the TXT record, or why it cannot be used.
        offer: Result<ServiceOffer, TxtError>,
        /// Where it is announced; at most [`ENDPOINTS_PER_SERVICE`] endpoints.
        endpoints: Vec<Endpoint>,
    },
    /// A service sent a goodbye, or its announcement expired.
    Gone(String),
    /// The browser was restarted: it reports all services again.
    Restarted,
    /// The browser does not run at present. Until [`BrowseEvent::Restarted`], no announcement can be received, and no
    /// absence of one proves anything.
    Interrupted,
}
