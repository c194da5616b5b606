//! The register of hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use stas_nvme::dim::Registration;

/// Maximum number of hosts. Further hosts are refused as busy.
pub const HOSTS_MAX: usize = 65_536;

/// The record of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// GENCTR of its page.
    pub generation: u64,
    /// The time of its first connection, since the start.
    pub since: Duration,
    /// Its registration, if it has registered.
    pub registered: Option<Registered>,
    /// Number of commands by name and of events, on all its connections.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A registration (TP8010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The registered data.
    pub registration: Registration,
    /// Number of registrations, including updates.
    pub times: u64,
    /// The address of the host's connection.
    pub from: String,
}

impl Host {
    /// Creates the record of a host at its first connection.
    #[must_use]
    pub fn new(generation: u64, since: Duration) -> Self {
        Self { generation, since, registered: None, counts: BTreeMap::new() }
    }

    /// Counts a command or an event.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
