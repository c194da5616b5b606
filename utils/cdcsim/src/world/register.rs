//! What the controller knows of hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::nvme::dim::Registration;

/// So many hosts are remembered; the next one is told that the controller is busy.
pub const HOSTS_MAX: usize = 65_536;

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// GENCTR of the page that it reads.
    pub generation: u64,
    /// When it came first, as time since the start.
    pub since: Duration,
    /// What it told of itself.
    pub registered: Option<Registered>,
    /// How many commands of each name it has sent, on all its connections, and how many events it got.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A registration (TP8010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it told.
    pub told: Registration,
    /// How often it was told, updates too.
    pub times: u64,
    /// The address that the connection came from.
    pub from: String,
}

impl Host {
    /// A host at its first connection.
    #[must_use]
    pub fn new(generation: u64, since: Duration) -> Self {
        Self { generation, since, registered: None, counts: BTreeMap::new() }
    }

    /// Counts something.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
