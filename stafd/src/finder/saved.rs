//! The saved state of stafd.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use libstas::core::CtrlRef;
use libstas::core::configured::SavedNames;
use libstas::core::ownership::Instance;
use libstas::core::secured::Secured;
use libstas::core::sources::SourceId;
use libstas::nvme::log_page::LogPage;
use libstas::nvme::nbft::BootController;
use libstas::nvme::security::{Requirement, Tls};
use libstas::nvme::{Parameters, Tid};
use serde::{Deserialize, Serialize};

use super::discovery_controller::DiscoveryController;
use super::{Context, Finder, Removed, SavedAnnounced, page_room};

/// One discovery controller in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDc {
    /// The discovery controller, with the address that stafd connects to.
    pub dc: Tid,
    /// Its newest page.
    pub page: Option<LogPage>,
    /// The discovery controllers that it has referred to and whose absence is not proved.
    #[serde(default)]
    pub referrals: Vec<Tid>,
    /// Those of `referrals` that may only be connected with encryption.
    #[serde(default)]
    pub encrypted_only: BTreeSet<Tid>,
    /// True if a boot table lists it. Earlier versions did not save it: then it may be true.
    #[serde(default = "true_if_missing")]
    pub booted: bool,
    /// True if its removal must be signalled although no page shows that it was ever read: it was removed earlier and
    /// is wanted again, or its page was too long to be saved.
    #[serde(default = "true_if_missing")]
    pub signal_removal: bool,
    /// True if it was removed earlier, and was listed by another source than announcements then.
    #[serde(default = "true_if_missing")]
    pub was_trusted: bool,
}

/// The default for keys that earlier versions did not save: true is the safe value.
fn true_if_missing() -> bool {
    true
}

/// The saved state of stafd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The discovery controllers that stafd manages.
    pub dcs: Vec<SavedDc>,
    /// The discovery controllers that it removed.
    pub removed: Vec<Removed>,
    /// The discovery controllers that the configuration listed.
    #[serde(default)]
    pub configured: BTreeSet<Tid>,
    /// The last known addresses of configured host names.
    pub names: SavedNames,
    /// The lines whose host name has several addresses, or that are connected at several: the used address, then the
    /// others at which they are connected.
    #[serde(default, skip_serializing_if = "SavedNames::is_empty")]
    pub chosen_addresses: SavedNames,
    /// The discovery controllers found by mDNS.
    #[serde(default)]
    pub announced: Vec<SavedAnnounced>,
    /// Discovery controllers that have aged out, each with those of its referrals that are kept while they are live.
    #[serde(default)]
    pub aged_out: Vec<(Tid, BTreeSet<Tid>)>,
    /// The records of the firmware's boot tables.
    #[serde(default)]
    pub boot: Vec<BootController>,
    /// Discovery controllers whose page was read with the entries of all ports.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub all_ports: BTreeSet<Tid>,
    /// Connections without a keep-alive timeout: polls under way.
    #[serde(default)]
    pub polls: Vec<CtrlRef>,
    /// Discovery controllers whose last connection was encrypted.
    #[serde(default)]
    pub encrypted: BTreeSet<Tid>,
    /// How the configuration secures the controllers that it lists.
    #[serde(default)]
    pub secured: Secured,
    /// The connections that stafd owns. Missing in the state of earlier versions: there `dcs` is used.
    #[serde(default)]
    pub instances: Option<Vec<Instance>>,
}

impl Saved {
    /// Makes the state at least `excess` bytes of JSON shorter, by leaving out pages: the longest first. A page that is
    /// not saved proves no absence, and the discovery controllers that it refers to stay in `referrals`.
    pub fn drop_pages(&mut self, mut excess: usize) {
        let length = |page: &LogPage| serde_json::to_vec(page).map_or(0, |json| json.len());
        let lengths = self.dcs.iter().enumerate().filter_map(|(at, saved)| Some((length(saved.page.as_ref()?), at)));
        let mut longest_first: Vec<(usize, usize)> = lengths.collect();
        longest_first.sort_unstable_by_key(|(length, _)| Reverse(*length));
        for (length, at) in longest_first {
            if excess == 0 {
                return;
            }
            if let Some(saved) = self.dcs.get_mut(at) {
                saved.page = None;
                // stacd may still use entries of this page, so a later removal must be signalled.
                saved.signal_removal = true;
                excess = excess.saturating_sub(length);
            }
        }
    }
}

impl Finder {
    /// The state to be saved.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let trusted = self.listed_by_more_than_announcements();
        let dcs = self.dcs.iter().map(|(dc, known)| self.saved_dc(dc, known, &trusted));
        Saved {
            dcs: dcs.chain(self.being_removed()).collect(),
            removed: self.removed.values().cloned().collect(),
            configured: self.reconciler.saved_configured(),
            names: self.reconciler.configured.saved(),
            chosen_addresses: self.reconciler.configured.chosen_addresses(),
            announced: self.announced.saved(),
            aged_out: self.saved_aged_out(),
            boot: self.nbft.controllers().to_vec(),
            all_ports: self.dcs.iter().filter(|(_, known)| known.lists_all_ports).map(|(dc, _)| dc.clone()).collect(),
            polls: self.polls().chain(self.old_polls.iter().copied()).collect(),
            encrypted: self.reconciler.fleet.encrypted().cloned().collect(),
            secured: self.reconciler.secured.clone(),
            instances: self.reconciler.fleet.instances(&self.reconciler.restored),
        }
    }

    /// The controllers that have aged out, removed or not, with their spared referrals.
    fn saved_aged_out(&self) -> Vec<(Tid, BTreeSet<Tid>)> {
        let aged_out: BTreeSet<&Tid> = self.aged_out.iter().chain(self.announced.aged()).collect();
        let with_spared = |dc: &Tid| {
            let page = SourceId::Page(dc.clone());
            let spared = self.lasting_referrals(&page).filter(|_| self.reconciler.sources.has_aged_out(&page));
            (dc.clone(), spared.cloned().collect())
        };
        aged_out.into_iter().map(with_spared).collect()
    }

    /// The targets of a page's referrals, and earlier targets that are not removed yet.
    fn lasting_referrals<'a>(&'a self, page: &'a SourceId) -> impl Iterator<Item = &'a Tid> {
        let is_member = |dc: &Tid| self.reconciler.fleet.has(dc) || self.dcs.contains_key(dc);
        self.reconciler.sources.lasting_of(page, is_member)
    }

    fn polls(&self) -> impl Iterator<Item = CtrlRef> {
        let polls = self.reconciler.fleet.inventory().iter().filter(|kernel| kernel.kato == Some(0));
        polls.map(|kernel| kernel.ctrl).filter(|ctrl| !self.reconciler.fleet.holders(*ctrl).is_empty())
    }

    /// Disconnects polls of the previous run. Connections without keep-alive are never adopted, because they look like
    /// those of `nvme discover`.
    pub(super) fn end_old_polls(&mut self, ctx: &mut Context<'_>) {
        if self.old_polls.is_empty() || !self.reconciler.fleet.has_snapshot() {
            return;
        }
        for ctrl in std::mem::take(&mut self.old_polls) {
            if self.reconciler.fleet.inventory().get(ctrl).is_some() {
                self.reconciler.fleet.end_old_poll(ctx, ctrl);
            }
        }
    }

    /// Controllers that were removed but are not disconnected yet: the next run finishes that.
    fn being_removed(&self) -> impl Iterator<Item = SavedDc> {
        let removed = self.reconciler.fleet.tids().filter(|dc| !self.dcs.contains_key(*dc));
        removed.map(|dc| SavedDc {
            dc: dc.clone(),
            page: None,
            referrals: Vec::new(),
            encrypted_only: BTreeSet::new(),
            booted: false,
            signal_removal: false,
            was_trusted: false,
        })
    }

    fn saved_dc(&self, dc: &Tid, known: &DiscoveryController, trusted: &BTreeSet<Tid>) -> SavedDc {
        let id = SourceId::Page(dc.clone());
        // An announced discovery controller may refer to any number of discovery controllers that are refused. If these
        // were saved, the state could become too large to be saved at all.
        let fleet = &self.reconciler.fleet;
        let saves_all = trusted.contains(dc) || !fleet.is_announced_only(dc);
        let is_saved = |tid: &Tid| saves_all || fleet.has(tid) || self.dcs.contains_key(tid);
        let referrals: Vec<Tid> = self.lasting_referrals(&id).filter(|tid| is_saved(tid)).cloned().collect();
        SavedDc {
            dc: dc.clone(),
            page: known.page.clone(),
            referrals,
            encrypted_only: self
                .reconciler
                .sources
                .claims_of(&id)
                .filter(|(tid, parameters)| is_saved(tid) && parameters.tls.is_some_and(Tls::is_required))
                .map(|(tid, _)| tid.clone())
                .collect(),
            booted: self.nbft.record_of(dc).is_some() || self.was_booted.contains(dc),
            signal_removal: known.was_removed,
            was_trusted: known.was_trusted,
        }
    }

    /// Restores the saved state. Pages and referrals are stale. A referral that the newest page no longer lists counts
    /// as listed until its source omits it again: the connection that proved its absence is over.
    ///
    /// Earlier versions treated some spellings of one controller as different: their saved states are merged.
    pub(super) fn restore(&mut self, saved: Saved) {
        self.announced.restore(saved.announced);
        self.nbft.restore(saved.boot);
        for SavedDc { dc, page, referrals, encrypted_only, booted, signal_removal, was_trusted } in saved.dcs {
            if booted {
                self.was_booted.insert(dc.clone());
            }
            // Without a page the referrals are known, too: a long page may not have been saved.
            if page.is_some() || !referrals.is_empty() {
                let mut names: BTreeMap<_, _> =
                    page.as_ref().map(|page| self.referrals(&dc, page).names).unwrap_or_default();
                for referred in referrals {
                    let tls = encrypted_only.contains(&referred).then_some(Tls::Required(Requirement::Listed));
                    names.entry(referred).or_default().secure_like(&Parameters { tls, ..Parameters::default() });
                }
                self.reconciler.sources.restore(SourceId::Page(dc.clone()), names);
            }
            let known = self.dcs.entry(dc).or_default();
            known.page = page.or(known.page.take());
            known.page_size = known.page.as_ref().map_or(0, page_room::size);
            known.was_removed |= signal_removal;
            known.was_trusted |= was_trusted;
        }
        for dc in &saved.all_ports {
            if let Some(known) = self.dcs.get_mut(dc) {
                known.lists_all_ports = true;
            }
        }
        for (dc, spared) in saved.aged_out {
            if !spared.is_empty() {
                let page = SourceId::Page(dc.clone());
                self.reconciler
                    .sources
                    .restore(page.clone(), spared.into_iter().map(|tid| (tid, Parameters::default())).collect());
                self.reconciler.sources.retire(&page, true);
            }
            self.aged_out.insert(dc);
        }
        self.reconciler.was_configured = saved.configured;
        self.reconciler.secured = saved.secured;
        self.old_polls = saved.polls;
        self.reconciler.fleet.restore_encrypted(saved.encrypted);
        self.reconciler.restored = self.dcs.keys().cloned().collect::<BTreeSet<_>>();
        self.reconciler.fleet.restore(saved.instances, &self.reconciler.restored);
        self.removed = saved.removed.into_iter().map(|removed| (removed.dc.clone(), removed)).collect();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fake_host::entry;
    use libstas::nvme::{TidParts, Transport};

    use super::*;

    fn tid(number: usize) -> Tid {
        Tid::new(TidParts { traddr: format!("192.0.2.{number}"), ..TidParts::none(Transport::Tcp) })
    }

    fn dc(number: usize, entries: usize) -> SavedDc {
        let page = LogPage { entries: vec![entry("192.0.2.7", "nqn.a"); entries], ..LogPage::default() };
        SavedDc {
            dc: tid(number),
            page: Some(page),
            referrals: vec![tid(99)],
            encrypted_only: BTreeSet::new(),
            booted: false,
            signal_removal: false,
            was_trusted: false,
        }
    }

    #[test]
    fn the_longest_pages_are_left_out_until_the_state_is_short_enough() {
        let mut saved = Saved { dcs: vec![dc(1, 2), dc(2, 50), dc(3, 40), dc(4, 1)], ..Saved::default() };
        let length = |saved: &Saved| serde_json::to_vec(saved).unwrap().len();
        let before = length(&saved);
        let longest = length(&Saved { dcs: vec![dc(2, 50)], ..Saved::default() });
        saved.drop_pages(longest);
        assert!(length(&saved) <= before - longest);
        let kept: Vec<bool> = saved.dcs.iter().map(|dc| dc.page.is_some()).collect();
        assert_eq!(kept, [true, false, false, true]);
        assert!(saved.dcs.iter().all(|dc| dc.referrals == [tid(99)]), "referrals stay");
        saved.drop_pages(0);
        assert!(saved.dcs[0].page.is_some());
    }
}
