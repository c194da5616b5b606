//! What stafd knows and keeps across restarts.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::CtrlRef;
use libstas::core::configured::SavedNames;
use libstas::core::ownership::Instance;
use libstas::core::sources::SourceId;
use libstas::nvme::log_page::LogPage;
use libstas::nvme::nbft::BootController;
use libstas::nvme::{Parameters, Tid};
use serde::{Deserialize, Serialize};

use super::discovery_controller::DiscoveryController;
use super::{Effect, Finder, Removed, SavedAnnounced, extend};

/// One discovery controller in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDc {
    /// The discovery controller, by the address that stafd connects.
    pub dc: Tid,
    /// Its newest page.
    pub page: Option<LogPage>,
    /// Discovery controllers that it has referred to, and of which it is not proved that it no longer does.
    #[serde(default)]
    pub referrals: Vec<Tid>,
    /// A boot table names it. An older version did not say: then it may.
    #[serde(default = "may_be_booted")]
    pub booted: bool,
}

fn may_be_booted() -> bool {
    true
}

/// The saved state of stafd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its discovery controllers.
    pub dcs: Vec<SavedDc>,
    /// What it gave up.
    pub removed: Vec<Removed>,
    /// Whom the configuration named.
    #[serde(default)]
    pub configured: BTreeSet<Tid>,
    /// The last addresses of configured names.
    pub names: SavedNames,
    /// What was found by mDNS and is kept.
    #[serde(default)]
    pub announced: Vec<SavedAnnounced>,
    /// Discovery controllers that have aged out, with the referrals of each removed one that stay while they are live.
    #[serde(default)]
    pub aged_out: Vec<(Tid, BTreeSet<Tid>)>,
    /// What the firmware's boot tables have said.
    #[serde(default)]
    pub boot: Vec<BootController>,
    /// Connections without a keep-alive timeout: polls that are under way.
    #[serde(default)]
    pub polls: Vec<CtrlRef>,
    /// Discovery controllers whose last connection was encrypted.
    #[serde(default)]
    pub encrypted: BTreeSet<Tid>,
    /// The connections that are stafd's. Earlier versions do not have it: `dcs` tells then.
    #[serde(default)]
    pub instances: Option<Vec<Instance>>,
}

impl Finder {
    /// What is to be saved.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            dcs: self.dcs.iter().map(|(dc, known)| self.saved_dc(dc, known)).chain(self.leaving()).collect(),
            removed: self.removed.values().cloned().collect(),
            configured: self.reconciler.saved_configured(),
            names: self.reconciler.configured.saved(),
            announced: self.announced.saved(),
            aged_out: self.saved_aged_out(),
            boot: self.booted.controllers().to_vec(),
            polls: self.polls().chain(self.old_polls.iter().copied()).collect(),
            encrypted: self.reconciler.fleet.encrypted().cloned().collect(),
            instances: self.reconciler.fleet.instances(),
        }
    }

    /// Those that have aged out, removed or not, with what is spared of their referrals.
    fn saved_aged_out(&self) -> Vec<(Tid, BTreeSet<Tid>)> {
        let aged_out: BTreeSet<&Tid> = self.aged_out.iter().chain(self.announced.aged()).collect();
        let with_spared = |dc: &Tid| {
            let page = SourceId::Page(dc.clone());
            let spared =
                self.reconciler.sources.claimed_by(&page).filter(|_| self.reconciler.sources.has_aged_out(&page));
            (dc.clone(), spared.cloned().collect())
        };
        aged_out.into_iter().map(with_spared).collect()
    }

    fn polls(&self) -> impl Iterator<Item = CtrlRef> {
        let polls = self.reconciler.fleet.inventory().iter().filter(|kernel| kernel.kato == Some(0));
        polls.map(|kernel| kernel.ctrl).filter(|ctrl| !self.reconciler.fleet.holders(*ctrl).is_empty())
    }

    /// A connection without keep-alive is never taken over, for it looks like one of `nvme discover`; those that this
    /// daemon itself has made before this run are ended.
    pub(super) fn end_old_polls(&mut self, out: &mut Vec<Effect>) {
        if self.old_polls.is_empty() || !self.reconciler.fleet.has_looked() {
            return;
        }
        let mut host = Vec::new();
        for ctrl in std::mem::take(&mut self.old_polls) {
            if self.reconciler.fleet.inventory().get(ctrl).is_some() {
                self.reconciler.fleet.end_old_poll(ctrl, &mut host);
            }
        }
        extend(out, host);
    }

    /// Those that were given up, and are not disconnected yet: whoever comes after sees to that.
    fn leaving(&self) -> impl Iterator<Item = SavedDc> {
        let leaving = self.reconciler.fleet.tids().filter(|dc| !self.dcs.contains_key(*dc));
        leaving.map(|dc| SavedDc { dc: dc.clone(), page: None, referrals: Vec::new(), booted: false })
    }

    fn saved_dc(&self, dc: &Tid, known: &DiscoveryController) -> SavedDc {
        let id = SourceId::Page(dc.clone());
        SavedDc {
            dc: dc.clone(),
            page: known.page.clone(),
            referrals: self.reconciler.sources.claimed_by(&id).cloned().collect(),
            booted: self.booted.record_of(dc).is_some(),
        }
    }

    /// Takes back what was saved: pages are from before, and so are the referrals. One that the newest page no longer
    /// lists counts as listed until its source says so again: the connection on which that was said is history.
    ///
    /// An older version told some spellings of one controller apart: what it saved of them is merged.
    pub(super) fn restore(&mut self, saved: Saved) {
        self.announced.restore(saved.announced);
        self.booted.restore(saved.boot);
        for SavedDc { dc, page, referrals, booted } in saved.dcs {
            if booted {
                self.was_booted.insert(dc.clone());
            }
            if let Some(page) = &page {
                let mut names: BTreeMap<_, _> = self.referrals(&dc, page).names;
                names.extend(referrals.into_iter().map(|referred| (referred, Parameters::default())));
                self.reconciler.sources.remember(SourceId::Page(dc.clone()), names);
            }
            let known = self.dcs.entry(dc).or_default();
            known.page = page.or(known.page.take());
        }
        for (dc, spared) in saved.aged_out {
            if !spared.is_empty() {
                let page = SourceId::Page(dc.clone());
                self.reconciler
                    .sources
                    .remember(page.clone(), spared.into_iter().map(|tid| (tid, Parameters::default())).collect());
                self.reconciler.sources.give_up(&page, true);
            }
            self.aged_out.insert(dc);
        }
        self.reconciler.was_configured = saved.configured;
        self.old_polls = saved.polls;
        self.reconciler.fleet.restore_encrypted(saved.encrypted);
        self.reconciler.restored = self.dcs.keys().cloned().collect::<BTreeSet<_>>();
        self.reconciler.fleet.restore(saved.instances, &self.reconciler.restored);
        self.removed = saved.removed.into_iter().map(|removed| (removed.dc.clone(), removed)).collect();
    }
}
