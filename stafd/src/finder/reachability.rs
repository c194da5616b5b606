//! The discovery controllers that are reachable by referrals.
//!
//! A chain of referrals must begin at a discovery controller that a source other than a log page lists. Discovery
//! controllers that only refer to each other are removed: otherwise each would keep the other forever. The length of a
//! chain is limited: a discovery controller that refers to itself, under a new NQN with each page, would fill the host
//! with connections.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::member::Want;
use libstas::core::sources::{SourceId, Verdict};
use libstas::core::{Level, LogRecord, Time};
use libstas::nvme::Tid;

use super::{Context, Finder};

/// Maximum number of referrals in a chain.
const MAX_DEPTH: usize = 8;

/// The result of following all referrals.
#[derive(Debug, Default)]
pub(super) struct Reachability {
    /// Members that no chain reaches from a source other than log pages.
    pub(super) unreachable: BTreeSet<Tid>,
    /// Members that age out, or are reached only from a member that ages out: their removal proves nothing about live
    /// controllers.
    pub(super) ages_out: BTreeSet<Tid>,
    /// Controllers of [`Finder::aged_out`] that a chain reaches again from a source other than log pages.
    pub(super) rooted: BTreeSet<Tid>,
}

impl Finder {
    /// Leaves out new controllers beyond the maximum chain length. Existing controllers are kept at any distance.
    pub(super) fn leave_out_too_deep(&mut self, ctx: &mut Context<'_>, news: &mut Vec<(Tid, Want)>) {
        self.refers_too_deep = false;
        let is_new = |(tid, want): &(Tid, Want)| want.listed_by.is_some() && !self.dcs.contains_key(tid);
        if !news.iter().any(is_new) {
            return;
        }
        let within = self.within_max_depth();
        let all = std::mem::take(news).into_iter();
        let (far, near): (Vec<_>, Vec<_>) = all.partition(|new| is_new(new) && !within.contains(&new.0));
        *news = near;
        self.refers_too_deep = far.iter().any(|(_, want)| !want.trust.is_announced_only());
        for (tid, _) in far {
            self.log_max_depth(ctx, &tid);
        }
    }

    /// The verdict of the sources on a discovery controller. For an unreachable controller, the pages of other
    /// unreachable controllers do not count: they would keep each other forever. Unclear entries do not keep a
    /// controller that was only announced, because any number of controllers can be announced and withdrawn.
    pub(super) fn verdict(&self, now: Time, tid: &Tid, unreachable: &BTreeSet<Tid>) -> Verdict {
        let counts = |id: &SourceId| !(unreachable.contains(tid) && is_page_of(id, unreachable));
        let may_be_meant = !self.reconciler.fleet.is_announced_only(tid);
        let verdict = self.reconciler.sources.verdict_of(tid, now, self.counts_as_live(now, tid), counts, may_be_meant);
        self.reconciler.unless_a_name_may_use_it(tid, verdict)
    }

    /// Follows all referrals that are not proved to be gone.
    ///
    /// 1. Reached are the members that a source other than a log page lists, the targets of pages whose discovery
    ///    controller is neither a member nor aged out, and everything that these refer to. So are members that have
    ///    aged out, while their announcements may not have been received yet.
    /// 2. Of the other members, these age out: members that were announced and no longer are, members that aged out
    ///    before, targets of a discovery controller that aged out, and everything that these refer to.
    /// 3. The members of step 2 that are live are reached after all, and everything that they refer to: aging out
    ///    removes no live controller.
    /// 4. All remaining members are unreachable: only unreachable members refer to them.
    pub(super) fn reachability(&self, now: Time) -> Reachability {
        if !self.reconciler.sources.claims().any(|(id, ..)| matches!(id, SourceId::Page(_))) {
            return Reachability::default();
        }
        let members = self.reconciler.fleet.tids().filter(|tid| !self.reconciler.fleet.is_leaving(tid));
        let members: BTreeSet<&Tid> = members.chain(&self.reconciler.restored).collect();
        let mut referrals: BTreeMap<&Tid, Vec<&Tid>> = BTreeMap::new();
        let mut reached: BTreeSet<&Tid> = BTreeSet::new();
        for (id, tid) in self.reconciler.sources.not_disproved(now, |tid| self.counts_as_live(now, tid)) {
            match id {
                SourceId::Page(by) if members.contains(by) => referrals.entry(by).or_default().push(tid),
                // Its targets age out.
                _ if self.reconciler.sources.has_aged_out(id) => {}
                _ => drop(reached.insert(tid)),
            }
        }
        // A host name of the configuration may use them next.
        reached.extend(members.iter().copied().filter(|tid| self.reconciler.configured.may_use(tid)));
        follow(&referrals, &mut reached);
        let rooted = self.aged_out.iter().filter(|tid| reached.contains(tid)).cloned().collect();
        if self.announced.awaits_announcements() {
            reached.extend(self.aged_out.iter().filter(|tid| members.contains(tid)));
            follow(&referrals, &mut reached);
        }
        let unreached: BTreeSet<&Tid> = members.difference(&reached).copied().collect();
        let ages_out = |tid: &Tid| {
            self.aged_out.contains(tid)
                || self.announced.knows(tid)
                || self.reconciler.sources.claims_on(tid).any(|(id, _)| self.reconciler.sources.has_aged_out(id))
        };
        let mut aged: BTreeSet<&Tid> = unreached.iter().copied().filter(|tid| ages_out(tid)).collect();
        follow(&referrals, &mut aged);
        aged.retain(|tid| unreached.contains(tid));
        reached.extend(aged.iter().copied().filter(|tid| self.counts_as_live(now, tid)));
        follow(&referrals, &mut reached);
        let own = |tids: BTreeSet<&Tid>| tids.into_iter().cloned().collect();
        Reachability {
            unreachable: own(unreached.difference(&reached).copied().collect()),
            ages_out: own(aged),
            rooted,
        }
    }

    /// Logs once for each referring controller that the maximum chain length is exceeded.
    fn log_max_depth(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let by = self.reconciler.sources.sources_of(tid).find_map(|id| match id {
            SourceId::Page(by) => Some(by.clone()),
            _ => None,
        });
        let Some(by) = by else { return };
        let Some(dc) = self.dcs.get_mut(&by) else { return };
        if std::mem::replace(&mut dc.depth_logged, true) {
            return;
        }
        let text = format!(
            "its log page refers to {tid}, which is not connected, because it is reached by more than {MAX_DEPTH} \
             referrals in a row. To connect it, configure it with controller="
        );
        ctx.log(LogRecord { level: Level::Warning, tid: Some(by), ctrl: None, text });
    }

    /// Chains begin at controllers that a source other than a log page lists, and at controllers that no source lists
    /// any more but whose absence is not proved.
    fn within_max_depth(&self) -> BTreeSet<Tid> {
        let is_page = |id: &SourceId| matches!(id, SourceId::Page(_));
        let named: BTreeSet<&Tid> = self.reconciler.sources.listed().map(|(_, tid, _)| tid).collect();
        let kept = self.dcs.keys().filter(|tid| !named.contains(tid));
        let roots = self.reconciler.sources.listed().filter(|(id, ..)| !is_page(id)).map(|(_, tid, _)| tid);
        let mut reached: BTreeSet<Tid> = roots.chain(kept).cloned().collect();
        let mut edge: Vec<Tid> = reached.iter().cloned().collect();
        for _ in 0..MAX_DEPTH {
            let ids: Vec<SourceId> = edge.into_iter().map(SourceId::Page).collect();
            let next = ids.iter().flat_map(|id| self.reconciler.sources.listed_by(id));
            edge = next.filter(|tid| reached.insert((*tid).clone())).cloned().collect();
        }
        reached
    }
}

/// Adds everything that these controllers refer to, at any distance.
fn follow<'a>(referrals: &BTreeMap<&'a Tid, Vec<&'a Tid>>, reached: &mut BTreeSet<&'a Tid>) {
    let mut edge: Vec<&Tid> = reached.iter().copied().collect();
    while let Some(by) = edge.pop() {
        let listed = referrals.get(by).into_iter().flatten().copied();
        edge.extend(listed.filter(|tid| reached.insert(tid)));
    }
}

/// True for the log page of one of these controllers.
pub(super) fn is_page_of(id: &SourceId, dcs: &BTreeSet<Tid>) -> bool {
    matches!(id, SourceId::Page(by) if dcs.contains(by))
}
