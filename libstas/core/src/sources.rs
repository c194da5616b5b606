//! Which source lists which controller, and what proves that a controller is no longer listed.
//!
//! A source is the configuration, a boot table, the log page of one discovery controller, or mDNS. Each source makes
//! claims: "this controller is to be connected". A claim is not dropped as soon as its source no longer lists the
//! controller: [`Sources::verdict_of`] says whether the absence is proved.

mod unclear;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Time;
use stas_nvme::Tid;
use stas_nvme::log_page::Unclear;
use unclear::UnclearEntries;

/// If a controller was last listed before the present connection of its discovery controller, its absence counts only
/// when that connection has been up for this long: a rebooted target exports its subsystems one by one.
pub const SETTLING: Duration = Duration::from_secs(30);
/// Such an absence also needs a page that was read at least this long after the connection came up (a settled page).
pub const SETTLED_READ: Duration = Duration::from_secs(28);
/// A doubtful page is read again after this time. A page is doubtful if it lists no live controller, and at least
/// `doubtful_loss` live controllers are missing that its source listed before.
pub const DOUBT: Duration = Duration::from_secs(5);
/// Default minimum number of missing live controllers that makes a page doubtful ([`Sources::doubting`]).
pub const DOUBTFUL_LOSS: usize = 2;
/// A source with more claims than this forgets those on controllers that are not known. That is twice the longest page.
pub const CLAIMS: usize = 32_768;

/// Identifies a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceId {
    /// `controller=` in the configuration file.
    Configured,
    /// The firmware's boot tables.
    Boot,
    /// The discovery log page of that discovery controller.
    Page(Tid),
    /// Announcements by mDNS.
    Announced,
    /// Connections that this host made while it had another host NQN.
    EarlierNqn,
}

impl SourceId {
    /// The discovery controller, if the source is a log page.
    #[must_use]
    pub fn page(&self) -> Option<&Tid> {
        match self {
            Self::Page(dc) => Some(dc),
            _ => None,
        }
    }
}

/// How much the list of a source proves.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Knowledge {
    /// Its claims are from an earlier connection or run: they are kept, and prove nothing.
    Stale,
    /// It was read on the connection that has been up since that time.
    Fresh(Time),
    /// The list is complete: the absence of anything else is proved (all sources except log pages).
    Final,
    /// The source was removed. `aged_out`: because it was unreachable for too long, not by a decision.
    Gone { aged_out: bool },
}

#[derive(Clone, Debug)]
struct Claim<P> {
    payload: P,
    /// True if the newest list of the source contains it, or has an unclear entry that may mean it.
    listed: bool,
    /// True if an entry of the newest page yields it, or if it is restored or configured.
    has_entry: bool,
    /// The connection on which it was last listed, identified by the time when it came up. `None`: before this run, or
    /// the source is not a log page.
    listed_on: Option<Time>,
}

impl<P> Claim<P> {
    fn listed(payload: P, listed_on: Option<Time>) -> Self {
        Self { payload, listed: true, has_entry: true, listed_on }
    }

    /// True for a claim that is to be saved ([`Sources::lasting`]).
    fn is_lasting(&self, tid: &Tid, is_member: impl Fn(&Tid) -> bool) -> bool {
        self.listed || is_member(tid)
    }
}

/// The newest page is doubtful: it proves nothing until it has been read again.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Time,
    /// When to read it again.
    read_again: Time,
}

#[derive(Clone, Debug)]
struct Source<P> {
    knowledge: Knowledge,
    claims: BTreeMap<Tid, Claim<P>>,
    doubt: Option<Doubt>,
    /// [`SourcePage::read`] of the newest page that has one.
    read: Option<Time>,
    /// When the connection came up on which the newest page was read. Kept while that page is stale: a confirmed page
    /// is not doubted again when it is read on the same connection.
    last_connected_since: Option<Time>,
    /// When a settled page was last requested.
    asked: Option<Time>,
    /// The unclear entries of the newest page: those that yield no controller.
    unclear: UnclearEntries,
}

impl<P> Source<P> {
    fn stale() -> Self {
        Self::with(Knowledge::Stale, BTreeMap::new())
    }

    fn with(knowledge: Knowledge, controllers: BTreeMap<Tid, P>) -> Self {
        let claims = controllers.into_iter().map(|(tid, payload)| (tid, Claim::listed(payload, None)));
        Self {
            knowledge,
            claims: claims.collect(),
            doubt: None,
            read: None,
            last_connected_since: None,
            asked: None,
            unclear: UnclearEntries::default(),
        }
    }

    /// True for a removed source.
    fn is_retired(&self) -> bool {
        matches!(self.knowledge, Knowledge::Gone { .. })
    }

    /// The verdict of this source on a controller that it has listed.
    fn verdict(&self, claim: &Claim<P>, now: Time, live: bool) -> Verdict {
        match self.knowledge {
            _ if claim.listed => Verdict::Listed,
            _ if self.doubt.is_some() => Verdict::Unproved(self.doubt_due()),
            Knowledge::Stale => Verdict::Unproved(None),
            Knowledge::Final | Knowledge::Gone { aged_out: false } => Verdict::Disproved,
            Knowledge::Gone { aged_out: true } if live => Verdict::Unproved(None),
            Knowledge::Gone { aged_out: true } => Verdict::Disproved,
            Knowledge::Fresh(_) if self.unclear.may_mean_any() => Verdict::Unproved(None),
            Knowledge::Fresh(since) if claim.listed_on == Some(since) => Verdict::Disproved,
            Knowledge::Fresh(since) if now < since + SETTLING => Verdict::Unproved(Some(since + SETTLING)),
            Knowledge::Fresh(since) if self.has_settled_page(since) => Verdict::Disproved,
            Knowledge::Fresh(_) => Verdict::Unproved(None),
        }
    }

    /// True when a settled page was read on the connection that has been up since `since`.
    fn has_settled_page(&self, since: Time) -> bool {
        self.read.is_some_and(|read| since + SETTLED_READ <= read)
    }

    /// When a doubtful page is to be read again.
    fn doubt_due(&self) -> Option<Time> {
        self.doubt.filter(|_| matches!(self.knowledge, Knowledge::Fresh(_))).map(|doubt| doubt.read_again)
    }

    /// When a settled page is to be requested: one is needed when it can prove the absence of what the newest page does
    /// not list, or when one is required of all sources.
    fn settled_page_due(&self, of_all: bool) -> Option<Time> {
        let Knowledge::Fresh(since) = self.knowledge else { return None };
        let is_missing =
            |claim: &Claim<P>| !claim.listed && (self.unclear.may_mean_any() || claim.listed_on != Some(since));
        let is_lacking = self.unclear.may_mean_any() || !self.has_settled_page(since);
        let is_due = is_lacking && (of_all || self.claims.values().any(is_missing));
        is_due.then(|| (since + SETTLING).max(self.asked.map_or(since, |asked| asked + DOUBT)))
    }
}

/// The verdict on whether a controller is still listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A source lists it.
    Listed,
    /// No source lists it, but a source that listed it has not proved its absence. The time, if any, is when the
    /// absence may be proved without a further event.
    Unproved(Option<Time>),
    /// No source lists it, and every source that listed it has proved its absence.
    Disproved,
}

/// A log page of a discovery controller.
#[derive(Clone, Debug)]
pub struct SourcePage<P> {
    /// When the connection came up on which the page was read. This time identifies the connection.
    pub connected_since: Time,
    /// The controllers that it lists.
    pub controllers: BTreeMap<Tid, P>,
    /// The page was read at this time or later. Known only for a page that was read on request; `None`: at any time of
    /// the connection. A page without this time cannot confirm a doubtful page, and is not settled by itself.
    pub read: Option<Time>,
    /// The entries that yield no controller. Several may be equal.
    pub unclear: Vec<Unclear>,
}

/// All sources of a daemon. `P` is the payload of a claim.
#[derive(Clone, Debug)]
pub struct Sources<P> {
    sources: BTreeMap<SourceId, Source<P>>,
    doubtful_loss: usize,
    /// True if a settled page is required of each source, whatever it lists.
    settled_of_all: bool,
}

impl<P> Default for Sources<P> {
    fn default() -> Self {
        Self { sources: BTreeMap::new(), doubtful_loss: DOUBTFUL_LOSS, settled_of_all: false }
    }
}

impl<P: Clone + PartialEq> Sources<P> {
    /// Creates an empty set of sources. A page is doubtful if at least `doubtful_loss` live controllers are missing
    /// from it and it lists no live one.
    #[must_use]
    pub fn doubting(doubtful_loss: usize) -> Self {
        Self { doubtful_loss, ..Self::default() }
    }

    /// Sets the complete list of a source: the absence of anything else is proved.
    pub fn set_complete(&mut self, id: SourceId, controllers: BTreeMap<Tid, P>) {
        self.sources.insert(id, Source::with(Knowledge::Final, controllers));
    }

    /// Restores what a source listed before this run. Restoring a source twice adds to it.
    pub fn restore(&mut self, id: SourceId, controllers: BTreeMap<Tid, P>) {
        let restored = Source::with(Knowledge::Stale, controllers).claims;
        self.sources.entry(id).or_insert_with(Source::stale).claims.extend(restored);
    }

    /// Adds controllers that a source may list, without its own current list. This proves no absence, and interrupts
    /// the series of pages that show which entries are damaged for good.
    pub fn add_unproved(&mut self, id: SourceId, controllers: BTreeMap<Tid, P>) {
        let source = self.sources.entry(id).or_insert_with(Source::stale);
        source.knowledge = Knowledge::Stale;
        source.unclear.interrupt();
        for (tid, payload) in controllers {
            let listed_on = source.claims.get(&tid).and_then(|claim| claim.listed_on);
            source.claims.insert(tid, Claim::listed(payload, listed_on));
        }
    }

    /// Replaces the list of a source by a page. `live` says whether a controller is live. Controllers that an unclear
    /// entry may mean stay listed. Returns those of them that had an entry of their own until now.
    pub fn read(&mut self, now: Time, id: SourceId, mut page: SourcePage<P>, live: impl Fn(&Tid) -> bool) -> Vec<Tid> {
        if unclear::has_too_many(&page.unclear) {
            self.add_unproved(id, page.controllers);
            return Vec::new();
        }
        let source = self.sources.entry(id).or_insert_with(Source::stale);
        let settled = page.read.filter(|read| page.connected_since + SETTLED_READ <= *read);
        let has_no_entry = |tid: &Tid| !source.claims.get(tid).is_some_and(|claim| claim.has_entry);
        // Skips the look-ups if no entry is unclear: a page may list thousands.
        let lists_new = !page.unclear.is_empty() && page.controllers.keys().any(has_no_entry);
        source.unclear.replace(std::mem::take(&mut page.unclear), settled, lists_new);
        // These claims keep their `listed_on`: the end of the unclear entry alone does not prove their absence.
        let protected: BTreeSet<Tid> =
            source.claims.keys().filter(|tid| source.unclear.may_mean(tid)).cloned().collect();
        let is_on_new_connection = source.last_connected_since != Some(page.connected_since);
        source.last_connected_since = Some(page.connected_since);
        source.knowledge = Knowledge::Fresh(page.connected_since);
        source.read = page.read.or(source.read);
        let (mut omits_any, mut omits_live) = (false, false);
        let mut without_entry = Vec::new();
        for (tid, claim) in &mut source.claims {
            let had_entry = std::mem::replace(&mut claim.has_entry, page.controllers.contains_key(tid));
            if had_entry && !claim.has_entry && protected.contains(tid) {
                without_entry.push(tid.clone());
            }
            let listed = claim.has_entry || protected.contains(tid);
            if std::mem::replace(&mut claim.listed, listed) && !listed {
                omits_any = true;
                omits_live |= live(tid);
            }
        }
        for (tid, payload) in page.controllers {
            let listed_on = Some(page.connected_since);
            source.claims.insert(tid, Claim::listed(payload, listed_on));
        }
        let mut entries = source.claims.iter().filter(|(_, claim)| claim.has_entry);
        let lists_live = entries.any(|(tid, _)| live(tid));
        let missing = source.claims.iter().filter(|(tid, claim)| !claim.listed && live(tid));
        let is_doubtful = !lists_live && missing.count() >= self.doubtful_loss;
        source.doubt = match source.doubt {
            // The doubt does not end because a missing controller has lost its connection meanwhile.
            Some(_) if lists_live || source.claims.values().all(|claim| claim.listed) => None,
            // The doubtful page listed live controllers that this page omits: their absence is not confirmed.
            Some(_) if is_doubtful && omits_live => Some(Doubt { since: now, read_again: now + DOUBT }),
            Some(doubt) if page.read.is_some_and(|read| doubt.since + DOUBT <= read) => None,
            Some(doubt) => Some(doubt),
            // A confirmed page is not doubted again.
            None => (is_doubtful && (is_on_new_connection || omits_any))
                .then(|| Doubt { since: now, read_again: now + DOUBT }),
        };
        without_entry
    }

    /// Marks a source as stale: its connection is lost, or it cannot be read. A doubtful page stays doubtful: it may be
    /// read on the same connection again.
    pub fn mark_stale(&mut self, id: &SourceId) {
        if let Some(source) = self.sources.get_mut(id)
            && matches!(source.knowledge, Knowledge::Fresh(_))
        {
            source.knowledge = Knowledge::Stale;
        }
    }

    /// Marks a source as stale, or drops it if it has neither claims nor unclear entries: otherwise each announced
    /// discovery controller that never answers would leave one in memory.
    pub fn mark_stale_or_drop(&mut self, id: &SourceId) {
        let is_empty = |source: &Source<P>| source.claims.is_empty() && source.unclear.is_empty();
        if self.sources.get(id).is_some_and(is_empty) {
            self.sources.remove(id);
        }
        self.mark_stale(id);
    }

    /// Marks a source as stale. A removed source is used again from now on, and proves nothing until it is read.
    pub fn mark_stale_even_if_removed(&mut self, id: &SourceId) {
        if let Some(source) = self.sources.get_mut(id).filter(|source| source.is_retired()) {
            source.knowledge = Knowledge::Stale;
        }
        self.mark_stale(id);
    }

    /// Removes a source. If it aged out, only the absence of controllers that are not live is proved.
    pub fn retire(&mut self, id: &SourceId, aged_out: bool) {
        if let Some(source) = self.sources.get_mut(id) {
            source.knowledge = Knowledge::Gone { aged_out };
            source.doubt = None;
            source.unclear = UnclearEntries::default();
            for claim in source.claims.values_mut() {
                claim.listed = false;
            }
        }
    }

    /// The discovery controllers whose doubtful pages are to be read again now. Each is returned once, and again after
    /// another [`DOUBT`] without an answer.
    pub fn doubted(&mut self, now: Time) -> Vec<Tid> {
        let mut doubted = Vec::new();
        for (id, source) in &mut self.sources {
            if let (SourceId::Page(dc), Knowledge::Fresh(_), Some(doubt)) = (id, &source.knowledge, &mut source.doubt)
                && doubt.read_again <= now
            {
                doubt.read_again = now + DOUBT;
                doubted.push(dc.clone());
            }
        }
        doubted
    }

    /// The discovery controllers whose pages are to be read again now, because only a settled page proves the absence
    /// of what they no longer list. Each is returned once, and again after another [`DOUBT`] until such a page is read.
    pub fn awaiting_settled(&mut self, now: Time) -> Vec<Tid> {
        let mut awaited = Vec::new();
        for (id, source) in &mut self.sources {
            if let SourceId::Page(dc) = id
                && source.settled_page_due(self.settled_of_all).is_some_and(|at| at <= now)
            {
                source.asked = Some(now);
                awaited.push(dc.clone());
            }
        }
        awaited
    }

    /// When [`Sources::doubted`] or [`Sources::awaiting_settled`] has something to return.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let due = |source: &Source<P>| [source.doubt_due(), source.settled_page_due(self.settled_of_all)];
        self.sources.values().flat_map(due).flatten().min()
    }

    /// The verdict of all sources, with their unclear entries.
    #[cfg(test)]
    fn verdict(&self, tid: &Tid, now: Time, live: bool) -> Verdict {
        self.verdict_of(tid, now, live, |_| true, true)
    }

    /// Whether a controller is still listed. No other function decides whether a removal is proved. Only sources for
    /// which `counts` is true are asked. If `may_be_meant` is true, an unclear entry also protects a controller on
    /// which its source has no claim.
    #[must_use]
    pub fn verdict_of(
        &self,
        tid: &Tid,
        now: Time,
        live: bool,
        counts: impl Fn(&SourceId) -> bool,
        may_be_meant: bool,
    ) -> Verdict {
        let mut verdict = Verdict::Disproved;
        for (_, source) in self.sources.iter().filter(|(id, _)| counts(id)) {
            let this = match source.claims.get(tid) {
                Some(claim) => source.verdict(claim, now, live),
                // The source may have listed it long ago, so that the claim was dropped: the unclear entry may mean it.
                None if may_be_meant && source.unclear.may_mean(tid) => Verdict::Unproved(None),
                None => continue,
            };
            if this == Verdict::Listed {
                return Verdict::Listed;
            }
            verdict = match (verdict, this) {
                (Verdict::Disproved, other) => other,
                (other, Verdict::Disproved) => other,
                (Verdict::Unproved(one), Verdict::Unproved(other)) => {
                    Verdict::Unproved(one.zip(other).map(|(a, b)| a.max(b)))
                }
                (other, _) => other,
            };
        }
        verdict
    }

    /// All listed controllers with their sources and payloads; the configuration comes first.
    pub fn listed(&self) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        self.sources.iter().flat_map(|(id, source)| {
            source.claims.iter().filter(|(_, claim)| claim.listed).map(move |(tid, claim)| (id, tid, &claim.payload))
        })
    }

    /// For each source, the controllers whose absence it has not proved: those that it lists, and those that it listed
    /// before. `live` says whether a controller is live.
    pub fn not_disproved(&self, now: Time, live: impl Fn(&Tid) -> bool) -> impl Iterator<Item = (&SourceId, &Tid)> {
        let claims = self
            .sources
            .iter()
            .flat_map(|(id, source)| source.claims.iter().map(move |(tid, claim)| (id, source, tid, claim)));
        claims
            .filter(move |(_, source, tid, claim)| source.verdict(claim, now, live(tid)) != Verdict::Disproved)
            .map(|(id, _, tid, _)| (id, tid))
    }

    /// The controllers that a source lists.
    pub fn listed_by(&self, id: &SourceId) -> impl Iterator<Item = &Tid> {
        let claims = self.sources.get(id).into_iter().flat_map(|source| &source.claims);
        claims.filter(|(_, claim)| claim.listed).map(|(tid, _)| tid)
    }

    /// The sources that list a controller, the configuration first. One map look-up per source: this is called for each
    /// of a thousand announced controllers.
    pub fn sources_of(&self, tid: &Tid) -> impl Iterator<Item = &SourceId> {
        let lists =
            move |(id, source): (_, &Source<P>)| source.claims.get(tid).filter(|claim| claim.listed).map(|_| id);
        self.sources.iter().filter_map(lists)
    }

    /// All claims on a controller, also those of sources that no longer list it.
    pub fn claims_on(&self, tid: &Tid) -> impl Iterator<Item = (&SourceId, &P)> {
        self.sources.iter().filter_map(move |(id, source)| Some((id, &source.claims.get(tid)?.payload)))
    }

    /// All claims of a source, also on controllers that it no longer lists.
    pub fn claims_of(&self, id: &SourceId) -> impl Iterator<Item = (&Tid, &P)> {
        let claims = self.sources.get(id).into_iter().flat_map(|source| &source.claims);
        claims.map(|(tid, claim)| (tid, &claim.payload))
    }

    /// All controllers that a source has claimed, also those that it no longer lists.
    pub fn claimed_by(&self, id: &SourceId) -> impl Iterator<Item = &Tid> {
        self.claims_of(id).map(|(tid, _)| tid)
    }

    /// All claims of all sources, also on controllers that are no longer listed.
    pub fn claims(&self) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        self.sources
            .iter()
            .flat_map(|(id, source)| source.claims.iter().map(move |(tid, claim)| (id, tid, &claim.payload)))
    }

    /// The claims to be saved: claims that their source still lists, and claims on members. A restart treats every
    /// restored claim as listed, so a saved claim on a removed controller would connect it again.
    pub fn lasting(&self, is_member: impl Fn(&Tid) -> bool) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        let claims = self.sources.iter().flat_map(|(id, source)| source.claims.iter().map(move |claim| (id, claim)));
        let lasting = claims.filter(move |(_, (tid, claim))| claim.is_lasting(tid, &is_member));
        lasting.map(|(id, (tid, claim))| (id, tid, &claim.payload))
    }

    /// The controllers of a source's [`Sources::lasting`] claims.
    pub fn lasting_of(&self, id: &SourceId, is_member: impl Fn(&Tid) -> bool) -> impl Iterator<Item = &Tid> {
        let claims = self.sources.get(id).into_iter().flat_map(|source| &source.claims);
        claims.filter(move |(tid, claim)| claim.is_lasting(tid, &is_member)).map(|(tid, _)| tid)
    }

    /// True for a source that was removed because it aged out.
    #[must_use]
    pub fn has_aged_out(&self, id: &SourceId) -> bool {
        self.sources.get(id).is_some_and(|source| source.knowledge == Knowledge::Gone { aged_out: true })
    }

    /// All known sources, including removed ones whose claims are not dropped yet.
    pub fn ids(&self) -> impl Iterator<Item = &SourceId> {
        self.sources.keys()
    }

    /// Sets whether a settled page is required of every source. The audit requires it: it removes controllers that no
    /// source has ever listed.
    pub fn want_settled_pages_of_all(&mut self, wanted: bool) {
        self.settled_of_all = wanted;
    }

    /// True if a settled page of this discovery controller is known, and it is not doubtful.
    #[must_use]
    pub fn is_settled(&self, dc: &Tid) -> bool {
        self.sources.get(&SourceId::Page(dc.clone())).is_some_and(|source| match source.knowledge {
            Knowledge::Fresh(since) => source.has_settled_page(since) && source.doubt.is_none(),
            _ => false,
        })
    }

    /// True when no source is stale, and every log page is settled, not doubtful, and has no new damaged entries
    /// ([`Sources::want_settled_pages_of_all`]). Removed sources do not count.
    #[must_use]
    pub fn all_settled(&self, now: Time) -> bool {
        self.sources.values().all(|source| match source.knowledge {
            Knowledge::Final | Knowledge::Gone { .. } => true,
            Knowledge::Stale => false,
            Knowledge::Fresh(since) => {
                let is_settled = since + SETTLING <= now && source.has_settled_page(since);
                source.doubt.is_none() && !source.unclear.may_mean_any() && is_settled
            }
        })
    }

    /// True when an entry that yields no controller, of any source, may mean this controller.
    #[must_use]
    pub fn may_mean(&self, tid: &Tid) -> bool {
        self.sources.values().any(|source| source.unclear.may_mean(tid))
    }

    /// Drops the disproved claims of a source, and of removed sources, on controllers for which `is_known` is false. To
    /// be called after each page: such controllers never become members, so no removal drops these claims, and each
    /// page may list other controllers. If more than [`CLAIMS`] are left, also drops claims on unknown controllers that
    /// are not disproved, those that are not listed first.
    pub fn forget_unknown(&mut self, now: Time, id: &SourceId, is_known: impl Fn(&Tid) -> bool) {
        for (_, source) in self.sources.iter_mut().filter(|(other, source)| *other == id || source.is_retired()) {
            let mut claims = std::mem::take(&mut source.claims);
            claims.retain(|tid, claim| source.verdict(claim, now, false) != Verdict::Disproved || is_known(tid));
            if claims.len() > CLAIMS {
                claims.retain(|tid, claim| claim.listed || is_known(tid));
            }
            if claims.len() > CLAIMS {
                claims.retain(|tid, _| is_known(tid));
            }
            source.claims = claims;
        }
        self.drop_retired();
    }

    /// Drops the claims of a source on controllers for which `is_needed` is false, also without a proof of absence.
    /// Call it before each page of an announced discovery controller is applied: each page may list other controllers,
    /// and until the page has settled, it proves the absence of none, so that the claims would pile up. A claim on a
    /// controller without a connection protects nothing.
    pub fn forget_unneeded(&mut self, id: &SourceId, is_needed: impl Fn(&Tid) -> bool) {
        if let Some(source) = self.sources.get_mut(id) {
            source.claims.retain(|tid, _| is_needed(tid));
        }
    }

    /// Drops the disproved claims on a removed controller. Unproved claims are kept: after an exclusion the controller
    /// may be connected again for another source, and the proof of that source alone must not remove it.
    pub fn forget(&mut self, now: Time, tid: &Tid) {
        for source in self.sources.values_mut() {
            let verdict = source.claims.get(tid).map(|claim| source.verdict(claim, now, false));
            if verdict == Some(Verdict::Disproved) {
                source.claims.remove(tid);
            }
        }
        self.drop_retired();
    }

    /// Drops the removed sources without claims.
    fn drop_retired(&mut self) {
        self.sources.retain(|_, source| !source.is_retired() || !source.claims.is_empty());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
