//! What all connections share.

mod identity;
mod page;
mod register;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use identity::{EVENT_REQUESTS, Identity, TRANSFER_MAX, Type, VERSION};
pub use page::Seat;
pub use register::{HOSTS_MAX, Host, Registered};

use crate::fault::Faults;
use crate::zoning::Zoning;

/// The controller IDs that may be given out (NVMe Base 2.0, 3.1.2: FFF0h and above are reserved).
const CNTLID_MAX: u16 = 0xffef;

/// The discovery controller behind all connections.
#[derive(Clone, Debug)]
pub struct World {
    /// Who it is.
    pub identity: Identity,
    /// What goes wrong.
    pub faults: Faults,
    /// The hosts that it has ever seen, by NQN.
    pub hosts: BTreeMap<String, Host>,
    zoning: Zoning,
    /// Counts the changes of anybody's page; a host that comes for the first time begins with it.
    generation: u64,
    next_cntlid: u16,
}

impl World {
    /// A controller that knows these members and zones, and no host. The first change of a page is number
    /// `generation` + 1.
    #[must_use]
    pub fn new(identity: Identity, zoning: Zoning, generation: u64) -> Self {
        Self { identity, faults: Faults::default(), hosts: BTreeMap::new(), zoning, generation, next_cntlid: 1 }
    }

    /// Members and zones.
    #[must_use]
    pub fn zoning(&self) -> &Zoning {
        &self.zoning
    }

    /// Changes members and zones. Returns the hosts whose page is another one now; each of them is one generation on.
    ///
    /// # Errors
    /// Those of the change; nothing has changed then.
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

    /// The record of a host, made if it comes for the first time; `None` if there are too many.
    pub fn host(&mut self, nqn: &str, now: Duration) -> Option<&mut Host> {
        if !self.hosts.contains_key(nqn) && self.hosts.len() >= HOSTS_MAX {
            return None;
        }
        let generation = self.generation;
        Some(self.hosts.entry(nqn.to_owned()).or_insert_with(|| Host::new(generation, now)))
    }

    /// A controller ID that nobody has had for long.
    pub fn give_cntlid(&mut self) -> u16 {
        let given = self.next_cntlid;
        self.next_cntlid = if given >= CNTLID_MAX { 1 } else { given + 1 };
        given
    }

    /// The next controller IDs count from here.
    pub fn count_cntlid_from(&mut self, cntlid: u16) {
        self.next_cntlid = cntlid.clamp(1, CNTLID_MAX);
    }

    /// It knows nothing of hosts and zones any more, as after a restart without memory.
    pub fn forget(&mut self) {
        self.hosts.clear();
        self.zoning = Zoning::default();
        self.generation = 0;
    }
}
