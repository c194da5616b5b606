//! The saved state of stacd: which source listed which I/O controller.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::configured::SavedNames;
use libstas::core::ownership::Instance;
use libstas::core::secured::Secured;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;
use serde::{Deserialize, Serialize};

use super::hostnqn_change::HostNqnChange;
use super::{Connector, IocClaim};

/// One I/O controller that a page listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedClaim {
    /// The I/O controller, with the address that stacd connects to.
    pub ioc: Tid,
    /// The log entry.
    pub entry: Entry,
}

/// One discovery controller and the I/O controllers of its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSource {
    /// The discovery controller, with the address that stafd connects to.
    pub dc: Tid,
    /// The I/O controllers that its page listed.
    pub claims: Vec<SavedClaim>,
    /// True if more than an announcement listed the discovery controller.
    #[serde(default)]
    pub trusted: bool,
}

/// One I/O controller that a boot table has listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBoot {
    /// The I/O controller, with the address that stacd connects to.
    pub ioc: Tid,
    /// The record of the table that lists it.
    pub record: String,
}

/// The saved state of stacd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Which page listed which I/O controllers.
    pub sources: Vec<SavedSource>,
    /// All I/O controllers that stacd manages.
    pub members: BTreeSet<Tid>,
    /// The I/O controllers that the configuration listed.
    #[serde(default)]
    pub configured: BTreeSet<Tid>,
    /// The last known addresses of configured host names.
    pub names: SavedNames,
    /// The lines whose host name has several addresses, or that are connected at several: the used address, then the
    /// others at which they are connected.
    #[serde(default, skip_serializing_if = "SavedNames::is_empty")]
    pub chosen_addresses: SavedNames,
    /// The host NQN at the time.
    #[serde(default)]
    pub host_nqn: String,
    /// I/O controllers that the firmware's boot tables have listed, with the records.
    #[serde(default)]
    pub boot: Vec<SavedBoot>,
    /// I/O controllers that were connected while the host had another NQN.
    #[serde(default)]
    pub renamed: BTreeSet<Tid>,
    /// I/O controllers whose last connection was encrypted.
    #[serde(default)]
    pub encrypted: BTreeSet<Tid>,
    /// How the configuration secures the controllers that it lists.
    #[serde(default)]
    pub secured: Secured,
    /// The connections that stacd owns. Missing in the state of earlier versions: there `members` is used.
    #[serde(default)]
    pub instances: Option<Vec<Instance>>,
}

impl Saved {
    /// Makes the state shorter: of the announced discovery controllers that list the same I/O controller, only the first
    /// is saved with it. The others list it again when their pages are read.
    pub fn drop_repeated(&mut self) {
        let mut seen = BTreeSet::new();
        for source in self.sources.iter_mut().filter(|source| !source.trusted) {
            source.claims.retain(|claim| seen.insert(claim.ioc.clone()));
        }
    }
}

impl Connector {
    /// The state to be saved.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let mut sources: BTreeMap<&Tid, Vec<SavedClaim>> = BTreeMap::new();
        let is_member = |tid: &Tid| self.reconciler.fleet.has(tid) || self.reconciler.restored.contains(tid);
        // An announced discovery controller may list any number of controllers that are refused. If these were saved,
        // the state could become too large to be saved at all.
        let is_saved = |dc: &Tid, ioc: &Tid| is_member(ioc) || !self.stafd.is_untrusted_or_unknown(dc);
        for (id, ioc, claim) in self.reconciler.sources.lasting(is_member) {
            if let (SourceId::Page(dc), IocClaim::Entry(entry)) = (id, claim)
                && is_saved(dc, ioc)
            {
                let claim = SavedClaim { ioc: ioc.clone(), entry: (**entry).clone() };
                sources.entry(dc).or_default().push(claim);
            }
        }
        let boot = self.nbft.listed().iter();
        let boot = boot.map(|(ioc, record)| SavedBoot { ioc: ioc.clone(), record: record.clone() });
        // Controllers that the audit removes are not saved as members: the next run judges them again.
        let audited: BTreeSet<Tid> = self.reconciler.fleet.unclaimed().into_iter().map(|(tid, _)| tid).collect();
        let members = self
            .reconciler
            .fleet
            .tids()
            .filter(|tid| !audited.contains(*tid))
            .chain(&self.reconciler.restored)
            .cloned();
        Saved {
            sources: sources
                .into_iter()
                .map(|(dc, claims)| SavedSource {
                    dc: dc.clone(),
                    claims,
                    trusted: !self.stafd.is_untrusted_or_unknown(dc),
                })
                .collect(),
            members: members.collect(),
            instances: self.reconciler.fleet.instances(&self.reconciler.restored),
            configured: self.reconciler.saved_configured(),
            names: self.reconciler.configured.saved(),
            chosen_addresses: self.reconciler.configured.chosen_addresses(),
            boot: boot.collect(),
            host_nqn: self.hostnqn_change.host_nqn().to_owned(),
            renamed: self.hostnqn_change.before().clone(),
            encrypted: self.reconciler.fleet.encrypted().cloned().collect(),
            secured: self.reconciler.secured.clone(),
        }
    }

    /// Restores the saved state. A controller that was no longer listed when it was saved counts as listed until its
    /// source omits it again: the connection that proved its absence is over.
    pub(super) fn restore(&mut self, saved: Saved) {
        for SavedSource { dc, claims, trusted } in saved.sources {
            if trusted {
                self.stafd.restore_trusted(dc.clone());
            }
            let names = claims.into_iter().map(|claim| (claim.ioc, IocClaim::Entry(Box::new(claim.entry)))).collect();
            self.reconciler.sources.restore(SourceId::Page(dc), names);
        }
        self.reconciler.was_configured = saved.configured;
        self.reconciler.secured = saved.secured;
        self.nbft.restore(saved.boot.into_iter().map(|SavedBoot { ioc, record }| (ioc, record)).collect());
        self.hostnqn_change = HostNqnChange::restore(saved.host_nqn, saved.renamed);
        self.reconciler.fleet.restore(saved.instances, &saved.members);
        self.reconciler.restored = saved.members;
        self.reconciler.fleet.restore_encrypted(saved.encrypted);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fake_host::{dc, entry, io};

    use super::*;

    #[test]
    fn repeated_claims_of_announced_discovery_controllers_are_left_out() {
        let source = |address: &str, trusted: bool, nqns: &[&str]| SavedSource {
            dc: dc(address),
            claims: nqns
                .iter()
                .map(|nqn| SavedClaim { ioc: io("192.0.2.9", nqn), entry: entry("192.0.2.9", nqn) })
                .collect(),
            trusted,
        };
        let mut saved = Saved {
            sources: vec![
                source("192.0.2.1", false, &["a", "b"]),
                source("192.0.2.2", true, &["a", "c"]),
                source("192.0.2.3", false, &["b", "c"]),
                source("192.0.2.4", true, &["c"]),
            ],
            ..Saved::default()
        };
        saved.drop_repeated();
        let left: Vec<Vec<&str>> = saved
            .sources
            .iter()
            .map(|source| source.claims.iter().map(|claim| claim.ioc.subsysnqn.as_str()).collect())
            .collect();
        assert_eq!(left, [vec!["a", "b"], vec!["a", "c"], vec!["c"], vec!["c"]]);
    }
}
