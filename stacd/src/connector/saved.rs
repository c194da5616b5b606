//! What stacd knows and keeps across restarts: who named which I/O controller.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::configured::SavedNames;
use libstas::core::ownership::Instance;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;
use serde::{Deserialize, Serialize};

use super::renamed::Renamed;
use super::{Connector, Named};

/// One I/O controller that a page named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedClaim {
    /// The I/O controller, by the address that stacd connects.
    pub ioc: Tid,
    /// The log entry.
    pub entry: Entry,
}

/// One discovery controller and whom its page named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSource {
    /// The discovery controller, by the address that stafd connects.
    pub dc: Tid,
    /// Whom it named.
    pub claims: Vec<SavedClaim>,
}

/// One I/O controller that a boot table has named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBoot {
    /// The I/O controller, by the address that stacd connects.
    pub ioc: Tid,
    /// By which record.
    pub record: String,
}

/// The saved state of stacd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Who named whom.
    pub sources: Vec<SavedSource>,
    /// All I/O controllers that are stacd's.
    pub members: BTreeSet<Tid>,
    /// Whom the configuration named.
    #[serde(default)]
    pub configured: BTreeSet<Tid>,
    /// The last addresses of configured names.
    pub names: SavedNames,
    /// The NQN of this host.
    #[serde(default)]
    pub host_nqn: String,
    /// I/O controllers that the firmware's boot tables have named, with the records.
    #[serde(default)]
    pub boot: Vec<SavedBoot>,
    /// What it connected while it had another NQN.
    #[serde(default)]
    pub renamed: BTreeSet<Tid>,
    /// I/O controllers whose last connection was encrypted.
    #[serde(default)]
    pub encrypted: BTreeSet<Tid>,
    /// The connections that are stacd's. Earlier versions do not have it: `members` tells then.
    #[serde(default)]
    pub instances: Option<Vec<Instance>>,
}

impl Connector {
    /// What is to be saved.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let mut sources: BTreeMap<&Tid, Vec<SavedClaim>> = BTreeMap::new();
        for (id, ioc, named) in self.reconciler.sources.claims() {
            if let (SourceId::Page(dc), Named::Entry(entry)) = (id, named) {
                let claim = SavedClaim { ioc: ioc.clone(), entry: (**entry).clone() };
                sources.entry(dc).or_default().push(claim);
            }
        }
        let boot = self.booted.named().iter();
        let boot = boot.map(|(ioc, record)| SavedBoot { ioc: ioc.clone(), record: record.clone() });
        // What the audit removes is no I/O controller of stacd: the next run decides anew.
        let audited: BTreeSet<Tid> = self.reconciler.fleet.unclaimed().into_iter().map(|(tid, _)| tid).collect();
        let members = self
            .reconciler
            .fleet
            .tids()
            .filter(|tid| !audited.contains(*tid))
            .chain(&self.reconciler.restored)
            .cloned();
        Saved {
            sources: sources.into_iter().map(|(dc, claims)| SavedSource { dc: dc.clone(), claims }).collect(),
            members: members.collect(),
            instances: self.reconciler.fleet.instances(),
            configured: self.reconciler.saved_configured(),
            names: self.reconciler.configured.saved(),
            boot: boot.collect(),
            host_nqn: self.renamed.host_nqn().to_owned(),
            renamed: self.renamed.before().clone(),
            encrypted: self.reconciler.fleet.encrypted().cloned().collect(),
        }
    }

    /// Takes back what was saved. What was no longer listed when it was saved counts as listed until its source says
    /// so again: the connection on which that was said is history.
    pub(super) fn restore(&mut self, saved: Saved) {
        for SavedSource { dc, claims } in saved.sources {
            let names = claims.into_iter().map(|claim| (claim.ioc, Named::Entry(Box::new(claim.entry)))).collect();
            self.reconciler.sources.remember(SourceId::Page(dc), names);
        }
        self.reconciler.was_configured = saved.configured;
        self.booted.restore(saved.boot.into_iter().map(|SavedBoot { ioc, record }| (ioc, record)).collect());
        self.renamed = Renamed::restore(saved.host_nqn, saved.renamed);
        self.reconciler.fleet.restore(saved.instances, &saved.members);
        self.reconciler.restored = saved.members;
        self.reconciler.fleet.restore_encrypted(saved.encrypted);
    }
}
