//! The state that all connections share.

mod identity;
mod page;
mod register;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use identity::{EVENT_REQUESTS, Identity, TRANSFER_MAX, Type, VERSION};
pub use page::PageRequest;
pub use register::{HOSTS_MAX, Host, Registered};

use crate::fault::Faults;
use crate::zoning::Zoning;

/// The highest controller ID that is used (NVMe Base 2.0, 3.1.2: FFF0h and above are reserved).
const CNTLID_MAX: u16 = 0xffef;

/// The discovery controller behind all connections.
#[derive(Clone, Debug)]
pub struct World {
    /// Its identity and capabilities.
    pub identity: Identity,
    /// The active faults.
    pub faults: Faults,
    /// All hosts that have ever connected, by NQN.
    pub hosts: BTreeMap<String, Host>,
    zoning: Zoning,
    /// Counts the changes of all pages. A new host starts with this number.
    generation: u64,
    next_cntlid: u16,
}

impl World {
    /// Creates a controller with these members and zones, and without hosts. The first change of a page has the number
    /// `generation` + 1.
    #[must_use]
    pub fn new(identity: Identity, zoning: Zoning, generation: u64) -> Self {
        Self { identity, faults: Faults::default(), hosts: BTreeMap::new(), zoning, generation, next_cntlid: 1 }
    }

    /// The members and zones.
    #[must_use]
    pub fn zoning(&self) -> &Zoning {
        &self.zoning
    }

    /// Changes members and zones. Increments the generation of each host whose page has changed, and returns these
    /// hosts.
    ///
    /// # Errors
    /// Returns the error of `change`; then nothing has changed.
    pub fn rezone<E>(&mut self, change: impl FnOnce(&mut Zoning) -> Result<(), E>) -> Result<BTreeSet<String>, E> {
        let mut zoning = self.zoning.clone();
        change(&mut zoning)?;
        let before = std::mem::replace(&mut self.zoning, zoning);
        let sees_the_same = |host: &&String| before.seen_by(host).eq(self.zoning.seen_by(host));
        let concerned: BTreeSet<String> = self.hosts.keys().filter(|host| !sees_the_same(host)).cloned().collect();
        self.generation += 1;
        for (_, host) in self.hosts.iter_mut().filter(|(nqn, _)| concerned.contains(*nqn)) {
            host.generation += 1;
        }
        Ok(concerned)
    }

    /// The record of a host, created on first use; `None` if there are too many.
    pub fn host(&mut self, nqn: &str, now: Duration) -> Option<&mut Host> {
        if !self.hosts.contains_key(nqn) && self.hosts.len() >= HOSTS_MAX {
            return None;
        }
        let generation = self.generation;
        Some(self.hosts.entry(nqn.to_owned()).or_insert_with(|| Host::new(generation, now)))
    }

    /// Returns the next controller ID, which was not used recently.
    pub fn give_cntlid(&mut self) -> u16 {
        let given = self.next_cntlid;
        self.next_cntlid = if given >= CNTLID_MAX { 1 } else { given + 1 };
        given
    }

    /// Sets the next controller ID.
    pub fn count_cntlid_from(&mut self, cntlid: u16) {
        self.next_cntlid = cntlid.clamp(1, CNTLID_MAX);
    }

    /// Forgets all hosts and zones, as after a restart without saved state.
    pub fn forget(&mut self) {
        self.hosts.clear();
        self.zoning = Zoning::default();
        self.generation = 0;
    }
}
