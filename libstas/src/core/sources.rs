//! Who names which controller, and what proves that a controller is no longer meant (design, policy 1).
//!
//! A source is the configuration, the log page of one discovery controller, or mDNS (the boot table takes its seat
//! here too). Each source makes claims: "this controller is to be connected". A claim that the newest word
//! of its source no longer repeats is not simply forgotten: [`Sources::verdict`] says whether its absence is proved.

mod blur;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Time;
use crate::nvme::Tid;
use crate::nvme::log_page::Unclear;
use blur::Blur;

/// Absence of a controller that is known only from before the present connection of its discovery controller counts
/// when that connection has been up for so long: a rebooted target exports its subsystems one by one.
pub const SETTLING: Duration = Duration::from_secs(30);
/// That counts only in a page that was read when the connection had been up for so long: one of its first seconds says
/// nothing about its thirtieth.
pub const LATE_READ: Duration = Duration::from_secs(28);
/// A page that would take all live controllers of its discovery controller is read again after this long.
pub const DOUBT: Duration = Duration::from_secs(5);
/// So many live controllers at least make a page doubtful, unless a daemon says otherwise ([`Sources::doubting`]).
pub const DOUBTFUL_LOSS: usize = 2;
/// Removals wait until the sources were quiet for so long.
pub const QUIET: Duration = Duration::from_millis(500);
/// But not longer than this.
pub const QUIET_AT_MOST: Duration = Duration::from_secs(5);

/// The name of a source.
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
    /// What this host connected while it had another NQN.
    Renamed,
}

/// What a source's word is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Knowledge {
    /// Its claims are from before: they stand, and nothing is proved by it.
    Stale,
    /// It was read on the connection that is up since then.
    Fresh(Time),
    /// It is the administrator's own word.
    Final,
    /// It was given up; by age or by decision.
    Gone { aged_out: bool },
}

#[derive(Clone, Debug)]
struct Claim<P> {
    payload: P,
    /// The newest word of the source repeats it.
    listed: bool,
    /// The connection on which it was last listed; `None` is before this run.
    listed_on: Option<Time>,
}

/// The newest page is not believed before it was read again.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Time,
    /// When to read it again.
    ask: Time,
}

#[derive(Clone, Debug)]
struct Source<P> {
    knowledge: Knowledge,
    claims: BTreeMap<Tid, Claim<P>>,
    doubt: Option<Doubt>,
    /// When a page was read for the last time, as far as that is known.
    read: Option<Time>,
    /// When a late page was last asked for.
    asked: Option<Time>,
    /// The entries of the newest page of which no controller can be made.
    blur: Blur,
}

impl<P> Source<P> {
    fn stale() -> Self {
        Self::with(Knowledge::Stale, BTreeMap::new())
    }

    fn with(knowledge: Knowledge, names: BTreeMap<Tid, P>) -> Self {
        let claims = names.into_iter().map(|(tid, payload)| (tid, Claim { payload, listed: true, listed_on: None }));
        Self { knowledge, claims: claims.collect(), doubt: None, read: None, asked: None, blur: Blur::default() }
    }

    /// What the source says of a controller that it has listed.
    fn verdict(&self, claim: &Claim<P>, now: Time, live: bool) -> Verdict {
        match self.knowledge {
            _ if claim.listed => Verdict::Named,
            _ if self.doubt.is_some() => Verdict::Unproved(self.doubt.map(|doubt| doubt.ask)),
            Knowledge::Stale => Verdict::Unproved(None),
            Knowledge::Final | Knowledge::Gone { aged_out: false } => Verdict::Disproved,
            Knowledge::Gone { aged_out: true } if live => Verdict::Unproved(None),
            Knowledge::Gone { aged_out: true } => Verdict::Disproved,
            Knowledge::Fresh(_) if self.blur.spreads() => Verdict::Unproved(None),
            Knowledge::Fresh(since) if claim.listed_on == Some(since) => Verdict::Disproved,
            Knowledge::Fresh(since) if now < since + SETTLING => Verdict::Unproved(Some(since + SETTLING)),
            Knowledge::Fresh(since) if self.has_late_page(since) => Verdict::Disproved,
            Knowledge::Fresh(_) => Verdict::Unproved(None),
        }
    }

    /// True when a page was read late enough on that connection.
    fn has_late_page(&self, since: Time) -> bool {
        self.read.is_some_and(|read| since + LATE_READ <= read)
    }

    /// When a settled page is to be requested: one is needed when it can prove the absence of what the newest page does
    /// not list, or when one is required of all sources.
    fn late_page_due(&self, of_all: bool) -> Option<Time> {
        let Knowledge::Fresh(since) = self.knowledge else { return None };
        let is_missing = |claim: &Claim<P>| !claim.listed && (self.blur.spreads() || claim.listed_on != Some(since));
        let is_lacking = self.blur.spreads() || !self.has_late_page(since);
        let is_due = is_lacking && (of_all || self.claims.values().any(is_missing));
        is_due.then(|| (since + SETTLING).max(self.asked.map_or(since, |asked| asked + DOUBT)))
    }
}

/// Whether a controller is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A source names it.
    Named,
    /// No source names it, but not all that did have proved that; time alone may settle it at that moment.
    Unproved(Option<Time>),
    /// No source names it, and all that did have proved that.
    Disproved,
}

/// A page as its discovery controller gave it.
#[derive(Clone, Debug)]
pub struct Page<P> {
    /// Since when the connection that it was read on is up: names that connection.
    pub connected_since: Time,
    /// Whom it names.
    pub names: BTreeMap<Tid, P>,
    /// When it was read, if it was read for the asking; another one may be of any time of its connection. Only one that
    /// was read for the asking confirms one that was doubted.
    pub read: Option<Time>,
    /// Its entries of which no controller can be made.
    pub unclear: BTreeSet<Unclear>,
}

/// All sources of a daemon. `P` is what a claim carries.
#[derive(Clone, Debug)]
pub struct Sources<P> {
    sources: BTreeMap<SourceId, Source<P>>,
    doubtful_loss: usize,
    /// A late page is wanted of each, whatever it names.
    late_of_all: bool,
}

impl<P> Default for Sources<P> {
    fn default() -> Self {
        Self { sources: BTreeMap::new(), doubtful_loss: DOUBTFUL_LOSS, late_of_all: false }
    }
}

impl<P: Clone + PartialEq> Sources<P> {
    /// Sources whose pages are doubtful when they take so many live controllers, and with them all.
    #[must_use]
    pub fn doubting(doubtful_loss: usize) -> Self {
        Self { doubtful_loss, ..Self::default() }
    }

    /// The administrator's word: what it no longer names is disproved by that.
    pub fn decree(&mut self, id: SourceId, names: BTreeMap<Tid, P>) {
        self.sources.insert(id, Source::with(Knowledge::Final, names));
    }

    /// Restores what a source named before this run. Restoring a source twice adds to it.
    pub fn remember(&mut self, id: SourceId, names: BTreeMap<Tid, P>) {
        let restored = Source::with(Knowledge::Stale, names).claims;
        self.sources.entry(id).or_insert_with(Source::stale).claims.extend(restored);
    }

    /// What a source is said to name, without that being its own current word: names are added, nothing is proved.
    pub fn hearsay(&mut self, id: SourceId, names: BTreeMap<Tid, P>) {
        let source = self.sources.entry(id).or_insert_with(Source::stale);
        source.knowledge = Knowledge::Stale;
        source.doubt = None;
        for (tid, payload) in names {
            let listed_on = source.claims.get(&tid).and_then(|claim| claim.listed_on);
            source.claims.insert(tid, Claim { payload, listed: true, listed_on });
        }
    }

    /// A page was read. `live` says whether a controller is live. What an unclear entry may mean stays listed.
    pub fn read(&mut self, now: Time, id: SourceId, mut page: Page<P>, live: impl Fn(&Tid) -> bool) {
        if blur::is_illegible(&page.unclear) {
            return self.hearsay(id, page.names);
        }
        let source = self.sources.entry(id).or_insert_with(Source::stale);
        let settled = page.read.filter(|read| page.connected_since + LATE_READ <= *read);
        source.blur.replace(std::mem::take(&mut page.unclear), settled, page.names.keys());
        for (tid, claim) in source.claims.iter().filter(|(tid, _)| source.blur.may_mean(tid)) {
            page.names.entry(tid.clone()).or_insert_with(|| claim.payload.clone());
        }
        let mut news = source.knowledge != Knowledge::Fresh(page.connected_since);
        source.knowledge = Knowledge::Fresh(page.connected_since);
        source.read = page.read.or(source.read);
        for (tid, claim) in &mut source.claims {
            let listed = page.names.contains_key(tid);
            news |= std::mem::replace(&mut claim.listed, listed) && !listed;
        }
        for (tid, payload) in page.names {
            let listed_on = Some(page.connected_since);
            source.claims.insert(tid, Claim { payload, listed: true, listed_on });
        }
        let live_and = |listed| source.claims.iter().filter(|(tid, claim)| claim.listed == listed && live(tid)).count();
        let doubtful = live_and(false) >= self.doubtful_loss && live_and(true) == 0;
        source.doubt = match source.doubt {
            _ if !doubtful => None,
            Some(doubt) if page.read.is_some() && doubt.since + DOUBT <= now => None,
            Some(doubt) => Some(doubt),
            // What was confirmed is not doubted again.
            None => news.then(|| Doubt { since: now, ask: now + DOUBT }),
        };
    }

    /// A source's word is no longer current: its connection is lost, or it cannot be asked.
    pub fn outdate(&mut self, id: &SourceId) {
        if let Some(source) = self.sources.get_mut(id)
            && matches!(source.knowledge, Knowledge::Fresh(_))
        {
            source.knowledge = Knowledge::Stale;
            source.doubt = None;
        }
    }

    /// A source was given up. One that aged out takes only what is not live.
    pub fn give_up(&mut self, id: &SourceId, aged_out: bool) {
        if let Some(source) = self.sources.get_mut(id) {
            source.knowledge = Knowledge::Gone { aged_out };
            source.doubt = None;
            source.blur = Blur::default();
            for claim in source.claims.values_mut() {
                claim.listed = false;
            }
        }
    }

    /// Pages that are to be read again now, for they are doubted; each is named once, and again after another
    /// [`DOUBT`] when no answer came.
    pub fn doubted(&mut self, now: Time) -> Vec<Tid> {
        let mut doubted = Vec::new();
        for (id, source) in &mut self.sources {
            if let (SourceId::Page(dc), Some(doubt)) = (id, &mut source.doubt)
                && doubt.ask <= now
            {
                doubt.ask = now + DOUBT;
                doubted.push(dc.clone());
            }
        }
        doubted
    }

    /// The discovery controllers whose pages are to be read again now, because only a settled page proves the absence of
    /// what they no longer list. Each is returned once, and again after another [`DOUBT`] while that is so.
    pub fn awaited_late(&mut self, now: Time) -> Vec<Tid> {
        let mut awaited = Vec::new();
        for (id, source) in &mut self.sources {
            if let SourceId::Page(dc) = id
                && source.late_page_due(self.late_of_all).is_some_and(|at| at <= now)
            {
                source.asked = Some(now);
                awaited.push(dc.clone());
            }
        }
        awaited
    }

    /// When [`Sources::doubted`] or [`Sources::awaited_late`] has something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let due = |source: &Source<P>| [source.doubt.map(|doubt| doubt.ask), source.late_page_due(self.late_of_all)];
        self.sources.values().flat_map(due).flatten().min()
    }

    /// Whether a controller is meant: the one place that decides on removal.
    #[must_use]
    pub fn verdict(&self, tid: &Tid, now: Time, live: bool) -> Verdict {
        self.verdict_of(tid, now, live, |_| true)
    }

    /// [`Sources::verdict`] of those sources that count.
    #[must_use]
    pub fn verdict_of(&self, tid: &Tid, now: Time, live: bool, counts: impl Fn(&SourceId) -> bool) -> Verdict {
        let mut verdict = Verdict::Disproved;
        for (_, source) in self.sources.iter().filter(|(id, _)| counts(id)) {
            let Some(claim) = source.claims.get(tid) else { continue };
            let this = source.verdict(claim, now, live);
            if this == Verdict::Named {
                return Verdict::Named;
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

    /// Everybody whom a source names, with what the claim carries; the configuration's claims come first.
    pub fn named(&self) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        self.sources.iter().flat_map(|(id, source)| {
            source.claims.iter().filter(|(_, claim)| claim.listed).map(move |(tid, claim)| (id, tid, &claim.payload))
        })
    }

    /// What each source lists, and what it has listed and not proved to be gone. `live` says whether a controller is
    /// live.
    pub fn standing(&self, now: Time, live: impl Fn(&Tid) -> bool) -> impl Iterator<Item = (&SourceId, &Tid)> {
        let claims = self
            .sources
            .iter()
            .flat_map(|(id, source)| source.claims.iter().map(move |(tid, claim)| (id, source, tid, claim)));
        claims
            .filter(move |(_, source, tid, claim)| source.verdict(claim, now, live(tid)) != Verdict::Disproved)
            .map(|(id, _, tid, _)| (id, tid))
    }

    /// Everybody whom that source names.
    pub fn named_by(&self, id: &SourceId) -> impl Iterator<Item = &Tid> {
        let claims = self.sources.get(id).into_iter().flat_map(|source| &source.claims);
        claims.filter(|(_, claim)| claim.listed).map(|(tid, _)| tid)
    }

    /// The sources that name that controller, the configuration first. A look-up in each: it is asked for each of a
    /// thousand strangers.
    pub fn naming(&self, tid: &Tid) -> impl Iterator<Item = &SourceId> {
        let named =
            move |(id, source): (_, &Source<P>)| source.claims.get(tid).filter(|claim| claim.listed).map(|_| id);
        self.sources.iter().filter_map(named)
    }

    /// The claims on that controller, be they repeated or not.
    pub fn claims_on(&self, tid: &Tid) -> impl Iterator<Item = (&SourceId, &P)> {
        self.sources.iter().filter_map(move |(id, source)| Some((id, &source.claims.get(tid)?.payload)))
    }

    /// The claims of that source, be they repeated or not.
    pub fn claims_of(&self, id: &SourceId) -> impl Iterator<Item = (&Tid, &P)> {
        let claims = self.sources.get(id).into_iter().flat_map(|source| &source.claims);
        claims.map(|(tid, claim)| (tid, &claim.payload))
    }

    /// Everybody about whom that source has made a claim, be it repeated or not.
    pub fn claimed_by(&self, id: &SourceId) -> impl Iterator<Item = &Tid> {
        self.claims_of(id).map(|(tid, _)| tid)
    }

    /// Everybody about whom there is a claim, be it repeated or not.
    pub fn claims(&self) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        self.sources
            .iter()
            .flat_map(|(id, source)| source.claims.iter().map(move |(tid, claim)| (id, tid, &claim.payload)))
    }

    /// True for a source that was removed because of its age.
    #[must_use]
    pub fn has_aged_out(&self, id: &SourceId) -> bool {
        self.sources.get(id).is_some_and(|source| source.knowledge == Knowledge::Gone { aged_out: true })
    }

    /// All sources that have ever claimed something, those of removed discovery controllers included.
    pub fn ids(&self) -> impl Iterator<Item = &SourceId> {
        self.sources.keys()
    }

    /// A late page is wanted of every source: what none of them has ever named is to be judged, too.
    pub fn want_late_pages_of_all(&mut self, wanted: bool) {
        self.late_of_all = wanted;
    }

    /// True when every source's word is current, and every page was read when its connection had settled
    /// ([`Sources::want_late_pages_of_all`]).
    #[must_use]
    pub fn all_settled(&self, now: Time) -> bool {
        self.sources.values().all(|source| match source.knowledge {
            Knowledge::Final | Knowledge::Gone { .. } => true,
            Knowledge::Stale => false,
            Knowledge::Fresh(since) => {
                let is_settled = since + SETTLING <= now && source.has_late_page(since);
                source.doubt.is_none() && !source.blur.spreads() && is_settled
            }
        })
    }

    /// True when an entry of any source, of which no controller can be made, may mean that controller.
    #[must_use]
    pub fn may_mean(&self, tid: &Tid) -> bool {
        self.sources.values().any(|source| source.blur.may_mean(tid))
    }

    /// A controller is gone: unrepeated claims on it have done their service.
    pub fn forget(&mut self, tid: &Tid) {
        for source in self.sources.values_mut() {
            if source.claims.get(tid).is_some_and(|claim| !claim.listed) {
                source.claims.remove(tid);
            }
        }
        self.sources
            .retain(|_, source| !(matches!(source.knowledge, Knowledge::Gone { .. }) && source.claims.is_empty()));
    }
}

/// Removals wait for a quiet moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet {
    first: Option<Time>,
    last: Time,
}

impl Quiet {
    /// A source has changed. After a quiet moment, whether somebody used it or not, this is a first disturbance again.
    pub fn disturb(&mut self, now: Time) {
        if self.first.is_none() || self.last + QUIET <= now {
            self.first = Some(now);
        }
        self.last = now;
    }

    /// When removals may be carried out.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        self.first.map(|first| (self.last + QUIET).min(first + QUIET_AT_MOST))
    }

    /// True when removals may be carried out now; the next disturbance then is a first one again.
    pub fn has_come(&mut self, now: Time) -> bool {
        match self.until() {
            Some(until) if now < until => false,
            _ => {
                self.first = None;
                true
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
