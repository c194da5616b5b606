//! A limit on the memory that the log pages of announced discovery controllers take together.
//!
//! mDNS is unauthenticated: any host can announce discovery controllers with the longest page each. A page that does
//! not fit is a failed read, never an empty page: the last one is kept, and it is read again later. Pages of discovery
//! controllers that are not connected are dropped to make room. The log pages of trusted discovery controllers are not
//! limited and do not count.

use libstas::core::{HostEffect, Level, LogRecord};
use libstas::nvme::Tid;
use libstas::nvme::log_page::{LogPage, Subtype};

use super::wire::{ANNOUNCED_PAGES_MAX, ReadFailure};
use super::{Context, Finder};

/// Approximate size in memory in bytes of a listed referral beside its entry.
const REFERRAL: usize = 1024;

/// The size in memory of a page and its referrals, in bytes.
pub(super) fn size(page: &LogPage) -> usize {
    let referrals = page.entries.iter().filter(|entry| entry.subtype == Subtype::REFERRAL).count();
    page.memory() + referrals * REFERRAL
}

/// The page of another announced discovery controller, in memory.
#[derive(Clone, Copy, Debug)]
struct Held {
    size: usize,
    may_be_dropped: bool,
}

/// Which of the `others` to drop so that a new page fits beside them: their positions, the largest page first. `None`
/// if it does not fit. A page that is no larger than the page that it replaces always fits. Sizes in bytes.
fn make_room(new: usize, replaced: usize, others: &[Held]) -> Option<Vec<usize>> {
    let total = others.iter().map(|held| held.size).fold(new, usize::saturating_add);
    let mut excess = total.saturating_sub(ANNOUNCED_PAGES_MAX);
    if new <= replaced {
        return Some(Vec::new());
    }
    let mut droppable: Vec<usize> =
        others.iter().enumerate().filter(|(_, held)| held.may_be_dropped).map(|(at, _)| at).collect();
    let size_of = |at: &usize| others.get(*at).map_or(0, |held| held.size);
    droppable.sort_by_key(|at| std::cmp::Reverse(size_of(at)));
    let mut dropped = Vec::new();
    for at in droppable {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(size_of(&at));
        dropped.push(at);
    }
    (excess == 0).then_some(dropped)
}

impl Finder {
    /// Returns the page if it fits beside those of the other announced discovery controllers.
    pub(super) fn with_room(
        &mut self,
        ctx: &mut Context<'_>,
        tid: &Tid,
        page: LogPage,
    ) -> Result<LogPage, ReadFailure> {
        if !self.reconciler.fleet.is_announced_only(tid) {
            return Ok(page);
        }
        // The fleet learns only at the next reconciliation that a trusted source lists a controller.
        let trusted = self.listed_by_more_than_announcements();
        let is_limited = |dc: &Tid| self.reconciler.fleet.is_announced_only(dc) && !trusted.contains(dc);
        if !is_limited(tid) {
            return Ok(page);
        }
        let replaced = self.dcs.get(tid).map_or(0, |dc| dc.page_size);
        let (others, held): (Vec<Tid>, Vec<Held>) = self
            .dcs
            .iter()
            .filter(|(other, dc)| *other != tid && dc.page.is_some() && is_limited(other))
            .map(|(other, dc)| {
                let is_in_use = dc.connection.is_some() || dc.poll_valid_until.is_some();
                (other.clone(), Held { size: dc.page_size, may_be_dropped: !is_in_use })
            })
            .unzip();
        let dropped = make_room(size(&page), replaced, &held).ok_or(ReadFailure::NoRoom)?;
        for dc in dropped.into_iter().filter_map(|at| others.get(at)) {
            self.drop_page(ctx, dc);
        }
        Ok(page)
    }

    /// Drops the page of a discovery controller that is not connected. This proves no absence, and its referrals stay
    /// listed, as after a restart whose saved state had no room for the page.
    fn drop_page(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        (dc.page, dc.page_size) = (None, 0);
        // stacd may still use entries of this page, so a later removal must be signalled.
        dc.was_removed = true;
        let text = "its last log page is dropped: this discovery controller is not connected, and the log pages of \
                    connected discovery controllers that only mDNS announces need the memory. The controllers that \
                    the page lists are kept until it is read again";
        ctx.log(LogRecord { level: Level::Info, tid: Some(tid.clone()), ctrl: None, text: text.to_owned() });
        ctx.host(HostEffect::Save);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_is_taken_if_and_only_if_it_fits(
            new in 0..2 * ANNOUNCED_PAGES_MAX,
            replaced in 0..2 * ANNOUNCED_PAGES_MAX,
            others in proptest::collection::vec((0..ANNOUNCED_PAGES_MAX / 2, any::<bool>()), 0..8),
        ) {
            let held: Vec<Held> = others.iter().map(|&(size, may_be_dropped)| Held { size, may_be_dropped }).collect();
            let firm: usize = held.iter().filter(|held| !held.may_be_dropped).map(|held| held.size).sum();
            let all: usize = held.iter().map(|held| held.size).sum();
            let Some(dropped) = make_room(new, replaced, &held) else {
                prop_assert!(new > replaced && firm + new > ANNOUNCED_PAGES_MAX);
                return Ok(());
            };
            prop_assert!(dropped.iter().all(|at| held[*at].may_be_dropped));
            let freed: usize = dropped.iter().map(|at| held[*at].size).sum();
            prop_assert!(new <= replaced || all - freed + new <= ANNOUNCED_PAGES_MAX);
            if new <= replaced || all + new <= ANNOUNCED_PAGES_MAX {
                prop_assert!(dropped.is_empty(), "nothing is dropped without need");
            }
            let unique: BTreeSet<usize> = dropped.iter().copied().collect();
            prop_assert_eq!(unique.len(), dropped.len());
        }
    }
}
