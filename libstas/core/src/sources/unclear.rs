//! The entries of a page that yield no controller, and how long they keep other controllers listed.
//!
//! Controllers that such an entry may mean by its NQN or address stay listed as long as the entry exists, even if they
//! had readable entries beside it: the damage may have moved from one entry to another. A damaged entry may also
//! replace an entry that it does not resemble at all: until the damaged entry was seen in two settled pages, the page
//! proves no absence.

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

/// In which pages an entry was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The number of settled pages that contained it, one after the other.
    pages: u8,
    /// When the last of these pages was read.
    last_counted: Option<Time>,
    /// How many entries of the page are equal to it.
    number: usize,
}

impl Seen {
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
    /// The entries that are compared by their address. The key is the IP address; `None`: addresses of another kind.
    by_address: BTreeMap<Option<IpAddr>, Vec<Unclear>>,
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
    /// Takes the unclear entries of a new page. `settled` is when it was read, if its connection had settled by then.
    ///
    /// Entries count as new ones, even if the page before had equal ones, if there are more of them now, or if the page
    /// lists a controller that the page before did not list (`lists_new`): the earlier entry may be that controller's,
    /// and readable now.
    pub(super) fn replace(&mut self, unclear: Vec<Unclear>, settled: Option<Time>, lists_new: bool) {
        let mut before = std::mem::take(&mut self.entries);
        self.nqns = unclear.iter().map(|entry| entry.subnqn.clone()).filter(|nqn| !nqn.is_empty()).collect();
        let mut numbers: BTreeMap<Unclear, usize> = BTreeMap::new();
        for entry in unclear {
            *numbers.entry(entry).or_default() += 1;
        }
        let is_any_new = lists_new
            || numbers.iter().any(|(entry, number)| before.get(entry).is_none_or(|seen| seen.number < *number));
        self.by_address.clear();
        for (entry, number) in numbers {
            let seen = before.remove(&entry).filter(|_| !is_any_new).unwrap_or_default();
            if !entry.traddr.is_empty() {
                self.by_address.entry(ip_of(&entry.traddr)).or_default().push(entry.clone());
            }
            self.entries.insert(entry, Seen { number, ..seen }.counted(settled));
        }
    }

    /// A page was received that proves nothing: the entries of the next page need not be those of the last one.
    pub(super) fn interrupt(&mut self) {
        self.entries.values_mut().for_each(|seen| *seen = Seen::default());
    }

    /// True without unclear entries.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when an entry may mean that controller by its NQN or address.
    pub(super) fn may_mean(&self, tid: &Tid) -> bool {
        if self.nqns.contains(&tid.subsysnqn) {
            return true;
        }
        if self.by_address.is_empty() {
            return false;
        }
        self.by_address.get(&ip_of(&tid.traddr)).into_iter().flatten().any(|entry| entry.is_at(tid))
    }

    /// True while a damaged entry may mean any controller.
    pub(super) fn may_mean_any(&self) -> bool {
        self.entries.iter().any(|(entry, seen)| entry.is_damaged && seen.pages < PERMANENT_AFTER)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
