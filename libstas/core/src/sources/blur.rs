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
const SIGHTINGS: u8 = 2;

/// Maximum number of entries that are compared by their address, because their NQN is missing or damaged. A page with
/// more of them proves nothing.
const NAMELESS: usize = 64;

/// Maximum number of controllers remembered that were listed beside such entries: those of two pages of maximum length.
const REMEMBERED: usize = 32_768;

/// When an entry was seen.
#[derive(Clone, Copy, Debug)]
struct Sighted {
    /// In how many settled pages.
    times: u8,
    /// The time of the last of these.
    last: Option<Time>,
    /// The number of the page in which it was first seen. It has been in every page since.
    first: u64,
}

impl Sighted {
    fn first_in(page: u64) -> Self {
        Self { times: 0, last: None, first: page }
    }

    /// Counts a page; `settled` is when it was read, if its connection had settled by then. Two pages read shortly
    /// after each other count once.
    fn again(mut self, settled: Option<Time>) -> Self {
        if let Some(read) = settled.filter(|read| self.last.is_none_or(|last| last + DOUBT <= *read)) {
            self.times = self.times.saturating_add(1);
            self.last = Some(read);
        }
        self
    }
}

/// The unclear entries of the newest page of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct UnclearEntries {
    entries: BTreeMap<Unclear, Sighted>,
    nqns: BTreeSet<String>,
    /// Those that are compared by their address, and the page in which each was first seen, by IP address; `None`:
    /// addresses of another kind.
    at: BTreeMap<Option<IpAddr>, Vec<(Unclear, u64)>>,
    /// The controllers that were listed beside an entry at their address, each with the number of the last page that
    /// listed it.
    beside: BTreeMap<Tid, u64>,
    /// The number of the newest page.
    page: u64,
}

/// True when too many entries of a page are compared by their address.
pub(super) fn is_illegible(unclear: &BTreeSet<Unclear>) -> bool {
    unclear.iter().filter(|entry| entry.subnqn.is_empty() || !entry.traddr.is_empty()).count() > NAMELESS
}

fn ip_of(traddr: &str) -> Option<IpAddr> {
    tid::parse_ip(traddr).map(|(ip, _)| ip)
}

impl UnclearEntries {
    /// Takes the unclear entries of a new page and the controllers that its other entries list. `settled` is when it
    /// was read, if its connection had settled by then.
    pub(super) fn replace<'a>(
        &mut self,
        unclear: BTreeSet<Unclear>,
        settled: Option<Time>,
        listed: impl Iterator<Item = &'a Tid>,
    ) {
        self.page += 1;
        let page = self.page;
        let mut before = std::mem::take(&mut self.entries);
        self.at.clear();
        self.nqns = unclear.iter().map(|entry| entry.subnqn.clone()).filter(|nqn| !nqn.is_empty()).collect();
        for entry in unclear {
            let sighted = before.remove(&entry).unwrap_or_else(|| Sighted::first_in(page)).again(settled);
            if !entry.traddr.is_empty() {
                self.at.entry(ip_of(&entry.traddr)).or_default().push((entry.clone(), sighted.first));
            }
            self.entries.insert(entry, sighted);
        }
        let at = &self.at;
        let is_beside = |tid: &Tid| !at.is_empty() && at.contains_key(&ip_of(&tid.traddr));
        self.beside.retain(|tid, _| is_beside(tid));
        self.beside.extend(listed.filter(|tid| is_beside(tid)).map(|tid| (tid.clone(), page)));
        if self.beside.len() > REMEMBERED {
            self.beside.retain(|_, listed| *listed == page);
        }
    }

    /// True when an entry may mean that controller by its NQN or address.
    pub(super) fn may_mean(&self, tid: &Tid) -> bool {
        if self.nqns.contains(&tid.subsysnqn) {
            return true;
        }
        if self.at.is_empty() {
            return false;
        }
        let has_own_entry = |first: u64| self.beside.get(tid).is_some_and(|listed| first <= *listed);
        let mut there = self.at.get(&ip_of(&tid.traddr)).into_iter().flatten();
        there.any(|(entry, first)| !has_own_entry(*first) && entry.is_at(tid))
    }

    /// True while a damaged entry may mean any controller.
    pub(super) fn spreads(&self) -> bool {
        self.entries.iter().any(|(entry, sighted)| entry.is_damaged && sighted.times < SIGHTINGS)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
