//! The entries of a page that yield no controller, and how long they keep other controllers listed.
//!
//! Controllers that such an entry may mean by its NQN or address stay listed as long as the entry exists. A controller
//! that the same page lists by a readable entry is not meant by the address of the unclear entry. A damaged entry may
//! also replace an entry that it does not resemble at all: until the damaged entry was seen in two settled pages, the
//! page proves no absence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::DOUBT;
use crate::Time;
use stas_nvme::log_page::Unclear;
use stas_nvme::{Tid, tid};

/// The number of settled pages with the same damaged entry that show that the damage is permanent.
const PERMANENT_AFTER: u8 = 2;

/// Maximum number of entries that are compared by their address, because their NQN is missing or damaged. A page with
/// more of them proves nothing.
const WITHOUT_NQN: usize = 64;

/// Maximum number of controllers in [`UnclearEntries::with_own_entry`]: those of two pages of maximum length.
const WITH_OWN_ENTRY: usize = 32_768;

/// In which pages an entry was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The number of settled pages that contained it.
    pages: u8,
    /// When the last of these pages was read.
    last_counted: Option<Time>,
    /// The number of the page in which it was first seen. It has been in every page since.
    first_page: u64,
    /// How many entries of the page are equal to it.
    number: usize,
}

impl Seen {
    fn first_in(page: u64) -> Self {
        Self { pages: 0, last_counted: None, first_page: page, number: 0 }
    }

    /// Counts a page; `settled` is when it was read, if its connection had settled by then. Two pages read shortly
    /// after each other count once.
    fn counted(mut self, settled: Option<Time>) -> Self {
        if let Some(read) = settled.filter(|read| self.last_counted.is_none_or(|last| last + DOUBT <= *read)) {
            self.pages = self.pages.saturating_add(1);
            self.last_counted = Some(read);
        }
        self
    }
}

/// The unclear entries of the newest page of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct UnclearEntries {
    entries: BTreeMap<Unclear, Seen>,
    nqns: BTreeSet<String>,
    /// The entries that are compared by their address, each with the number of the page in which it was first seen. The
    /// key is the IP address; `None`: addresses of another kind.
    by_address: BTreeMap<Option<IpAddr>, Vec<(Unclear, u64)>>,
    /// The controllers that a readable entry lists at the address of an unclear entry, each with the number of the last
    /// page that listed it. The unclear entry does not mean them.
    with_own_entry: BTreeMap<Tid, u64>,
    /// The number of the newest page.
    page: u64,
}

/// True when too many entries of a page are compared by their address.
pub(super) fn has_too_many(unclear: &[Unclear]) -> bool {
    let by_address = unclear.iter().filter(|entry| entry.subnqn.is_empty() || !entry.traddr.is_empty());
    by_address.collect::<BTreeSet<_>>().len() > WITHOUT_NQN
}

fn ip_of(traddr: &str) -> Option<IpAddr> {
    tid::parse_ip(traddr).map(|(ip, _)| ip)
}

impl UnclearEntries {
    /// Takes the unclear entries of a new page and the controllers that its other entries list. `settled` is when it
    /// was read, if its connection had settled by then.
    ///
    /// An entry is a new one, even if the page before had an equal one, if there are more of them now, or if a controller
    /// at its address is newly listed: the earlier entry may be that controller's, and readable now.
    pub(super) fn replace<'a>(
        &mut self,
        unclear: Vec<Unclear>,
        settled: Option<Time>,
        listed: impl Iterator<Item = &'a Tid>,
    ) {
        self.page += 1;
        let page = self.page;
        let mut before = std::mem::take(&mut self.entries);
        self.nqns = unclear.iter().map(|entry| entry.subnqn.clone()).filter(|nqn| !nqn.is_empty()).collect();
        let mut numbers: BTreeMap<Unclear, usize> = BTreeMap::new();
        for entry in unclear {
            *numbers.entry(entry).or_default() += 1;
        }
        let addresses: BTreeSet<Option<IpAddr>> =
            numbers.keys().filter(|entry| !entry.traddr.is_empty()).map(|entry| ip_of(&entry.traddr)).collect();
        // Without such an address, the address of no listed controller is parsed: a page may list thousands.
        let is_at_unclear_address = |tid: &Tid| !addresses.is_empty() && addresses.contains(&ip_of(&tid.traddr));
        let listed: Vec<&Tid> = listed.filter(|tid| is_at_unclear_address(tid)).collect();
        let was_listed = |tid: &Tid| self.with_own_entry.get(tid).is_some_and(|last| last + 1 == page);
        let newly_listed = listed.iter().filter(|tid| !was_listed(tid));
        let with_new: BTreeSet<Option<IpAddr>> = newly_listed.map(|tid| ip_of(&tid.traddr)).collect();
        self.by_address.clear();
        for (entry, number) in numbers {
            let is_new_at = !entry.traddr.is_empty() && with_new.contains(&ip_of(&entry.traddr));
            let seen = before.remove(&entry).filter(|seen| number <= seen.number && !is_new_at);
            let seen = Seen { number, ..seen.unwrap_or_else(|| Seen::first_in(page)).counted(settled) };
            if !entry.traddr.is_empty() {
                self.by_address.entry(ip_of(&entry.traddr)).or_default().push((entry.clone(), seen.first_page));
            }
            self.entries.insert(entry, seen);
        }
        self.with_own_entry.retain(|tid, _| is_at_unclear_address(tid));
        self.with_own_entry.extend(listed.into_iter().map(|tid| (tid.clone(), page)));
        if self.with_own_entry.len() > WITH_OWN_ENTRY {
            self.with_own_entry.retain(|_, listed| *listed == page);
        }
    }

    /// True when an entry may mean that controller by its NQN or address.
    pub(super) fn may_mean(&self, tid: &Tid) -> bool {
        if self.nqns.contains(&tid.subsysnqn) {
            return true;
        }
        if self.by_address.is_empty() {
            return false;
        }
        let has_own_entry = |first_page: u64| self.with_own_entry.get(tid).is_some_and(|listed| first_page <= *listed);
        let mut there = self.by_address.get(&ip_of(&tid.traddr)).into_iter().flatten();
        there.any(|(entry, first_page)| !has_own_entry(*first_page) && entry.is_at(tid))
    }

    /// True while a damaged entry may mean any controller.
    pub(super) fn may_mean_any(&self) -> bool {
        self.entries.iter().any(|(entry, seen)| entry.is_damaged && seen.pages < PERMANENT_AFTER)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
