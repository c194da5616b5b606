//! What stafd knows and keeps across restarts.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::configured::SavedNames;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;
use libstas::nvme::log_page::LogPage;
use serde::{Deserialize, Serialize};

use super::discovery_controller::DiscoveryController;
use super::{Finder, Removed, SavedAnnounced};

/// One discovery controller in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDc {
    /// Which.
    pub dc: Tid,
    /// Its newest page.
    pub page: Option<LogPage>,
}

/// The saved state of stafd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its discovery controllers.
    pub dcs: Vec<SavedDc>,
    /// What it gave up.
    pub removed: Vec<Removed>,
    /// The last addresses of configured names.
    pub names: SavedNames,
    /// What was found by mDNS and is kept.
    #[serde(default)]
    pub announced: Vec<SavedAnnounced>,
}

impl Finder {
    /// What is to be saved.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            dcs: self.dcs.iter().map(|(dc, known)| SavedDc { dc: dc.clone(), page: known.page.clone() }).collect(),
            removed: self.removed.values().cloned().collect(),
            names: self.configured.saved(),
            announced: self.announced.saved(),
        }
    }

    /// Takes back what was saved: pages are from before, and so are the referrals in them.
    pub(super) fn restore(&mut self, saved: Saved) {
        self.announced.restore(saved.announced);
        for SavedDc { dc, page } in saved.dcs {
            if let Some(page) = &page {
                let names: BTreeMap<_, _> = self.referrals(&dc, page);
                self.sources.remember(SourceId::Page(dc.clone()), names);
            }
            self.dcs.insert(dc, DiscoveryController::remembered(page));
        }
        self.restored = self.dcs.keys().cloned().collect::<BTreeSet<_>>();
        self.removed = saved.removed.into_iter().map(|removed| (removed.dc.clone(), removed)).collect();
    }
}
