//! The entries of a page that yield no controller, and how long they keep other controllers listed.
//!
//! Controllers that such an entry may mean by its NQN or address stay listed as long as the entry exists. A controller
//! that the same page lists by a readable entry is not meant by the address of the unclear entry. A damaged entry may
//! also replace an entry that it does not resemble at all: until the damaged entry was seen in two settled pages, the
//! page proves no absence.

use std::collections::{BTreeMap, BTreeSet};

use super::DOUBT;
use crate::Time;
use stas_nvme::Tid;
use stas_nvme::log_page::Unclear;

/// The number of settled pages with the same damaged entry that show that the damage is permanent.
const SIGHTINGS: u8 = 2;

/// Maximum number of entries without an NQN. A page with more of them proves nothing.
const NAMELESS: usize = 64;

/// In how many settled pages an unclear entry was seen, when last, and which controllers readable entries of the same
/// pages list at its address.
#[derive(Clone, Debug, Default)]
struct Sighted {
    times: u8,
    last: Option<Time>,
    beside: BTreeSet<Tid>,
}

impl Sighted {
    /// Counts a page; `settled` is when it was read, if its connection had settled by then. Two pages read shortly
    /// after each other count once.
    fn again<'a>(mut self, settled: Option<Time>, beside: impl Iterator<Item = &'a Tid>) -> Self {
        self.beside.extend(beside.cloned());
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
}

/// True when too many entries of a page have no readable NQN.
pub(super) fn is_illegible(unclear: &BTreeSet<Unclear>) -> bool {
    unclear.iter().filter(|entry| entry.subnqn.is_empty()).count() > NAMELESS
}

impl UnclearEntries {
    /// Takes the unclear entries of a new page and the controllers that its other entries list. `settled` is when it
    /// was read, if its connection had settled by then.
    pub(super) fn replace<'a>(
        &mut self,
        unclear: BTreeSet<Unclear>,
        settled: Option<Time>,
        listed: impl Iterator<Item = &'a Tid> + Clone,
    ) {
        let mut before = std::mem::take(&mut self.entries);
        let sighted = |entry: Unclear| {
            let beside = listed.clone().filter(|tid| entry.is_at(tid));
            let sighted = before.remove(&entry).unwrap_or_default().again(settled, beside);
            (entry, sighted)
        };
        self.nqns = unclear.iter().map(|entry| entry.subnqn.clone()).filter(|nqn| !nqn.is_empty()).collect();
        self.entries = unclear.into_iter().map(sighted).collect();
    }

    /// True when an entry may mean that controller by its NQN or address.
    pub(super) fn may_mean(&self, tid: &Tid) -> bool {
        let is_there = |(entry, sighted): (&Unclear, &Sighted)| entry.is_at(tid) && !sighted.beside.contains(tid);
        self.nqns.contains(&tid.subsysnqn) || self.entries.iter().any(is_there)
    }

    /// True while a damaged entry may mean any controller.
    pub(super) fn spreads(&self) -> bool {
        self.entries.iter().any(|(entry, sighted)| entry.is_damaged && sighted.times < SIGHTINGS)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
