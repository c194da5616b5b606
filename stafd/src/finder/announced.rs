//! Discovery controllers that announce themselves by mDNS (TP8009): who is announced now, and who is kept although
//! nobody announces it any more.
//!
//! A service is what was heard; a discovery controller follows from a service, an address, and the interface that it
//! was heard on. One that was ever connected is kept when its announcement ends: it is given up when it was neither
//! announced nor connected for as long as `zeroconf-connections-persistence` says. One that never was connected is
//! forgotten with its announcement: nothing hangs off it.
//!
//! Everything here is told by strangers, so everything is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use libstas::conf::Persistence;
use libstas::core::browse::{Heard, SPOTS, Spot};
use libstas::core::{Level, Links, Time};
use libstas::nvme::Tid;
use libstas::nvme::announcement::{self, Offer, Shown, Unfit};
use serde::{Deserialize, Serialize};

use super::anteroom::Anteroom;

/// So many services are remembered: ten times what a large installation announces, little enough to try them all
/// within a minute.
pub(super) const SERVICES: usize = 256;
/// So many places of services are remembered: each is a controller to be tried.
const PLACES: usize = 512;
/// So many discovery controllers are remembered, those that nobody announces any more included.
const KEPT: usize = 1024;
/// After the browser started afresh a service that is still there is heard again within this time: queries go out
/// after 0, 1, 3 and 7 s.
pub(super) const HEARD_AGAIN: Duration = Duration::from_secs(10);
/// When more services are announced than are remembered, the others try to go in this often: some of those that went
/// before have been tried in vain by then.
const LET_IN: Duration = Duration::from_secs(2);
/// Those that had to make room after they were tried in vain are asked for after this long.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// So many that were tried in vain are remembered, by a number that stands for the name.
const TRIED: usize = 8192;
/// Those that do not answer are looked for this often at most.
const LOOK: Duration = Duration::from_secs(1);
/// An announcement whose discovery controller does not answer is doubted once in this time.
const DOUBT: Duration = Duration::from_secs(30);
/// So many are doubted at once: each costs a question to all, and an answer.
const DOUBTS: usize = 4;

/// One announced service.
#[derive(Clone, Debug)]
struct Service {
    offer: Offer,
    spots: Vec<Spot>,
    heard: Time,
    /// The browser started afresh then, and it was not heard since.
    unheard: Option<Time>,
    /// When it was last to be reconfirmed.
    doubted: Option<Time>,
    /// The controllers that follow from it.
    tids: Vec<Tid>,
}

/// One discovery controller that is or was announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Dc {
    /// On these interfaces.
    found_on: BTreeSet<String>,
    announced: bool,
    /// It was connected at some time.
    proven: bool,
    /// It is known from before this run and was not heard in it yet.
    restored: bool,
    /// Since when it is neither announced nor connected.
    absent: Option<Time>,
    /// Since when it is known in this run that it is not connected.
    down: Option<Time>,
}

/// A discovery controller in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAnnounced {
    /// The discovery controller, by the address that stafd connects.
    pub dc: Tid,
    /// The interfaces that it was heard on.
    pub found_on: BTreeSet<String>,
    /// Since when it is neither announced nor connected.
    pub absent: Option<Time>,
    /// It was connected at some time. An older version saved no others.
    #[serde(default = "was_connected")]
    pub proven: bool,
}

fn was_connected() -> bool {
    true
}

/// A line for the log that a stranger caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) tid: Option<Tid>,
    pub(super) text: String,
}

/// What this host does with the controllers that services lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct InUse {
    /// Tried in vain, or not to be tried: these make room for others.
    pub(super) stuck: BTreeSet<Tid>,
    /// Being connected: an attempt that is under way is not evicted, it may succeed.
    pub(super) connecting: BTreeSet<Tid>,
    /// Addresses of discovery controllers that are connected, or were.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl InUse {
    /// Services at such an address always find room: strangers make room for them.
    fn has_address_of(&self, spots: &[Spot]) -> bool {
        spots.iter().any(|spot| self.addresses.contains(&spot.address.to_canonical()))
    }

    /// True for a service that may make room for one that comes first, or for any other that was not evicted before.
    fn may_be_evicted(&self, service: &Service, for_one_that_comes_first: bool, was_evicted: bool) -> bool {
        if service.tids.iter().any(|tid| self.connecting.contains(tid)) {
            return false;
        }
        if for_one_that_comes_first {
            return !self.has_address_of(&service.spots);
        }
        !was_evicted && !service.tids.is_empty() && service.tids.iter().all(|tid| self.stuck.contains(tid))
    }
}

/// What has to be known to tell controllers from services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) links: &'a Links,
    pub(super) ignore_iface: bool,
    pub(super) host_nqn: &'a str,
}

/// All that is announced and kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced {
    services: BTreeMap<String, Service>,
    unfit: BTreeMap<String, Unfit>,
    dcs: BTreeMap<Tid, Dc>,
    /// Addresses that are announced on more than one interface.
    doubled: BTreeSet<IpAddr>,
    /// What was aged out and may still be in the fleet, and whether it was ever connected.
    aged: BTreeMap<Tid, bool>,
    /// Until then nothing from before this run counts as absent: the browser has just begun.
    grace: Option<Time>,
    /// Until then nothing is given up for its absence: the host has just woken, and what is announced may not have been
    /// heard yet.
    woken: Option<Time>,
    /// When browsing began.
    began: Option<Time>,
    /// When the kernel's controllers were first known.
    looked_first: Option<Time>,
    /// Services that had to make room for others after they were tried in vain; they wait until all were tried.
    tried: BTreeSet<u64>,
    /// The services, or what is needed to tell controllers from them, have changed.
    changed: bool,
    /// Those that do not answer were looked for then.
    looked: Option<Time>,
    /// Some of them were not doubted yet.
    doubts_wait: bool,
    /// It was told that there are too many.
    crowded: bool,
    /// Who found no room.
    anteroom: Anteroom,
    /// They try to go in then.
    let_in: Option<Time>,
    /// Those that made room after they were tried in vain are asked for then.
    retry: Option<Time>,
    persistence: Option<Duration>,
}

impl Announced {
    /// Takes back what was saved.
    pub(super) fn restore(&mut self, saved: Vec<SavedAnnounced>) {
        let dc = |saved: SavedAnnounced| {
            let SavedAnnounced { dc, found_on, absent, proven } = saved;
            (dc, Dc { found_on, proven, restored: true, absent, ..Dc::default() })
        };
        self.dcs = saved.into_iter().take(KEPT).map(dc).collect();
    }

    /// What is to be saved. One that was never connected may be by the time that it is read back: if stafd is killed
    /// just then, that connection is not a stranger's.
    pub(super) fn saved(&self) -> Vec<SavedAnnounced> {
        let saved = |(tid, dc): (&Tid, &Dc)| SavedAnnounced {
            dc: tid.clone(),
            found_on: dc.found_on.clone(),
            absent: dc.absent,
            proven: dc.proven,
        };
        self.dcs.iter().map(saved).collect()
    }

    /// The administrator says how long the absent are kept; `None` is for ever.
    pub(super) fn set_persistence(&mut self, persistence: Persistence) {
        self.persistence = match persistence {
            Persistence::Forever => None,
            Persistence::For(span) => Some(span),
        };
    }

    /// Notes that mDNS browsing begins.
    pub(super) fn begin(&mut self, now: Time) {
        self.began = Some(now);
        self.grace = Some(now + HEARD_AGAIN);
    }

    /// The host was suspended, or stafd was stopped for a while: nothing was heard in that time. The absence of a
    /// discovery controller goes on counting, but what is announced has its time to be heard first.
    pub(super) fn woke(&mut self, now: Time) {
        if self.began.is_some() {
            self.woken = Some(now + HEARD_AGAIN);
        }
    }

    /// The kernel has a connection of that discovery controller, or had one. True if that is new.
    pub(super) fn was_connected(&mut self, tid: &Tid) -> bool {
        let known = self.dcs.get_mut(tid).map(|dc| &mut dc.proven).or_else(|| self.aged.get_mut(tid));
        known.is_some_and(|proven| !std::mem::replace(proven, true))
    }

    /// The configuration or the interfaces have changed.
    pub(super) fn surroundings_changed(&mut self) {
        self.changed = true;
    }

    /// Browsing ends: nobody is announced any more.
    pub(super) fn end(&mut self) {
        self.changed = true;
        self.services.clear();
        self.unfit.clear();
        self.tried.clear();
        self.anteroom.clear();
        self.doubts_wait = false;
        (self.began, self.grace, self.woken) = (None, None, None);
        (self.let_in, self.retry) = (None, None);
    }

    /// Takes what was heard.
    pub(super) fn hear(&mut self, now: Time, heard: Heard, in_use: &InUse) -> Vec<Line> {
        self.changed = true;
        match heard {
            Heard::Announced { service, offer: Ok(offer), spots } => {
                self.unfit.remove(&service);
                self.announced(now, service, offer, spots, in_use)
            }
            Heard::Announced { service, offer: Err(unfit), .. } => {
                self.services.remove(&service);
                self.anteroom.remove(&service);
                self.unusable(service, unfit)
            }
            Heard::Gone(service) => {
                self.services.remove(&service);
                self.anteroom.remove(&service);
                self.unfit.remove(&service);
                self.tried.remove(&number(&service));
                Vec::new()
            }
            Heard::Afresh => {
                self.anteroom.clear();
                for service in self.services.values_mut() {
                    service.unheard.get_or_insert(now);
                }
                Vec::new()
            }
        }
    }

    fn announced(&mut self, now: Time, name: String, offer: Offer, mut spots: Vec<Spot>, in_use: &InUse) -> Vec<Line> {
        spots.retain(|spot| announcement::is_reachable(spot.address));
        spots.sort_unstable();
        spots.dedup();
        spots.truncate(SPOTS);
        if let Some(known) = self.services.get_mut(&name)
            && known.offer == offer
            && known.spots == spots
        {
            (known.heard, known.unheard) = (now, None);
            return Vec::new();
        }
        self.services.remove(&name);
        self.anteroom.remove(&name);
        if spots.is_empty() {
            return Vec::new();
        }
        let comes_first = in_use.has_address_of(&spots);
        let was_tried = !comes_first && self.tried.contains(&number(&name));
        let mut lines = Vec::new();
        while !self.has_room_for(spots.len()) {
            lines.extend(self.note_want_of_room());
            let may_go = |service: &Service| in_use.may_be_evicted(service, comes_first, was_tried);
            let candidates = self.services.iter().filter(|(_, service)| may_go(service));
            let Some(oldest) = candidates.min_by_key(|(_, service)| service.heard).map(|(name, _)| name.clone()) else {
                if !was_tried {
                    self.anteroom.seat(name, offer, spots);
                    self.let_in.get_or_insert(now + LET_IN);
                }
                return lines;
            };
            self.services.remove(&oldest);
            self.retry.get_or_insert(now + TRY_AGAIN);
            if self.tried.len() < TRIED {
                self.tried.insert(number(&oldest));
            }
        }
        let service = Service { offer, spots, heard: now, unheard: None, doubted: None, tids: Vec::new() };
        self.services.insert(name, service);
        lines
    }

    /// More is announced than can be remembered.
    fn note_want_of_room(&mut self) -> Option<Line> {
        let news = !std::mem::replace(&mut self.crowded, true);
        news.then(|| {
            let text = format!(
                "more than {SERVICES} discovery services with {PLACES} addresses are announced; those that do not \
                 answer make room for others"
            );
            Line { level: Level::Warning, tid: None, text }
        })
    }

    fn has_room_for(&self, places: usize) -> bool {
        let taken: usize = self.services.values().map(|service| service.spots.len()).sum();
        self.services.len() < SERVICES && taken + places <= PLACES
    }

    /// Of each service is told once why it is of no use.
    fn unusable(&mut self, name: String, unfit: Unfit) -> Vec<Line> {
        if self.unfit.get(&name) == Some(&unfit) || (self.unfit.len() >= SERVICES && !self.unfit.contains_key(&name)) {
            return Vec::new();
        }
        let text = format!("the announced service {} is ignored: {unfit}", Shown::new(&name));
        self.unfit.insert(name, unfit);
        vec![Line { level: Level::Warning, tid: None, text }]
    }

    /// Finds out which controllers are announced now. Gives back those that were not before, and what to tell.
    pub(super) fn follow(&mut self, now: Time, setting: Setting<'_>) -> (Vec<Tid>, Vec<Line>) {
        for until in [&mut self.grace, &mut self.woken] {
            until.take_if(|until| *until <= now);
        }
        let before = self.services.len();
        let grace = |service: &Service| service.unheard.is_none_or(|since| now < since + HEARD_AGAIN);
        self.services.retain(|_, service| grace(service));
        if !std::mem::take(&mut self.changed) && self.services.len() == before {
            return (Vec::new(), Vec::new());
        }
        self.crowded &= self.services.len() > SERVICES / 2;
        let mut found: BTreeMap<Tid, BTreeSet<String>> = BTreeMap::new();
        for service in self.services.values_mut() {
            service.tids.clear();
            for spot in &service.spots {
                let Some(iface) = setting.links.numbered(spot.interface).map(|interface| &interface.name) else {
                    continue;
                };
                let tid = announcement::candidate(
                    &service.offer,
                    spot.address,
                    iface,
                    setting.ignore_iface,
                    setting.host_nqn,
                );
                found.entry(tid.clone()).or_default().insert(iface.clone());
                service.tids.push(tid);
            }
        }
        let mut lines = self.find_doubled(setting.links);
        for (tid, dc) in &mut self.dcs {
            if !found.contains_key(tid) && std::mem::take(&mut dc.announced) && dc.proven {
                let text = "no longer announced".to_owned();
                lines.push(Line { level: Level::Info, tid: Some(tid.clone()), text });
            }
        }
        let mut fresh = Vec::new();
        for (tid, found_on) in found {
            // One that has aged out and was not parted with yet is still the one that was connected.
            let proven = self.aged.remove(&tid).unwrap_or_default();
            let dc = self.dcs.entry(tid.clone()).or_insert_with(|| Dc { proven, ..Dc::default() });
            if !std::mem::replace(&mut dc.announced, true) {
                let on: Vec<&str> = found_on.iter().map(String::as_str).collect();
                let text = format!("announced on {}", on.join(", "));
                lines.push(Line { level: Level::Info, tid: Some(tid.clone()), text });
                fresh.push(tid);
            }
            (dc.found_on, dc.restored) = (found_on, false);
        }
        (fresh, lines)
    }

    /// The same address on two interfaces is two machines with one address, or one network plugged in twice.
    fn find_doubled(&mut self, links: &Links) -> Vec<Line> {
        let mut places: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
        for spot in self.services.values().flat_map(|service| &service.spots) {
            let name = links.numbered(spot.interface).map(|interface| interface.name.as_str());
            if let Some(name) = name.filter(|_| !announcement::is_link_local(spot.address)) {
                places.entry(spot.address.to_canonical()).or_default().insert(name);
            }
        }
        places.retain(|_, on| on.len() > 1);
        let news = places.iter().filter(|(address, _)| !self.doubled.contains(*address));
        let lines = news
            .map(|(address, on)| {
                let on: Vec<&str> = on.iter().copied().collect();
                let text = format!(
                    "the network is misconfigured: the address {address} is announced on {}, where each network \
                     should have addresses of its own; it is tried on each of them",
                    on.join(" and ")
                );
                Line { level: Level::Warning, tid: None, text }
            })
            .collect();
        self.doubled = places.into_keys().collect();
        lines
    }

    /// Forgets what was absent for too long. `looked` says that the kernel's controllers are known, `connection` whether
    /// a controller has one, and whether that is live. True when there is something new to be saved.
    pub(super) fn age(&mut self, now: Time, looked: bool, connection: impl Fn(&Tid) -> Option<bool>) -> bool {
        let mut news = false;
        if looked {
            self.looked_first.get_or_insert(now);
        }
        let (persistence, grace, woken) = (self.persistence, self.grace.is_some(), self.woken.is_some());
        let known_since = self.known_since();
        let aged = &mut self.aged;
        for (_, proven) in aged.iter_mut().filter(|(tid, _)| connection(tid).is_some()) {
            *proven = true;
        }
        self.dcs.retain(|tid, dc| {
            let connection = connection(tid);
            let live = connection == Some(true);
            // One that the kernel works on was live before, be it in another run.
            news |= connection.is_some() && !dc.proven;
            dc.proven |= connection.is_some();
            if live {
                dc.down = None;
            } else {
                dc.down.get_or_insert(now);
            }
            if live || dc.announced {
                news |= dc.absent.take().is_some();
                return true;
            }
            // Of those from before this run it is to be seen first whether they are connected, or heard again.
            if dc.restored && (grace || woken || !looked) {
                return true;
            }
            if !dc.proven {
                aged.insert(tid.clone(), false);
                return false;
            }
            if dc.absent.is_none() && looked {
                dc.absent = Some(if dc.restored { known_since.max(dc.down).unwrap_or(now) } else { now });
                news = true;
            }
            let long = persistence.zip(dc.absent).is_some_and(|(span, since)| since + span <= now);
            let over = looked && !woken && long;
            if over {
                aged.insert(tid.clone(), true);
                news = true;
            }
            !over
        });
        while self.dcs.len() > KEPT {
            let absent = self.dcs.iter().filter_map(|(tid, dc)| Some((dc.absent?, tid)));
            let Some(longest) = absent.min().map(|(_, tid)| tid.clone()) else { break };
            self.dcs.remove(&longest);
            self.aged.insert(longest, true);
        }
        news
    }

    /// Since when it could be known of a discovery controller from before this run that it is absent: the kernel's
    /// controllers were known, and what is announced had its time to be heard. A suspend does not defer that.
    fn known_since(&self) -> Option<Time> {
        self.looked_first.max(self.began.map(|began| began + HEARD_AGAIN))
    }

    /// Those that were connected at some time.
    pub(super) fn proven(&self) -> impl Iterator<Item = &Tid> {
        self.dcs.iter().filter(|(_, dc)| dc.proven).map(|(tid, _)| tid)
    }

    /// Who is announced or kept.
    pub(super) fn names(&self) -> impl Iterator<Item = &Tid> {
        self.dcs.keys()
    }

    /// Those that have aged out and may still be in the fleet.
    pub(super) fn aged(&self) -> impl Iterator<Item = &Tid> {
        self.aged.keys()
    }

    /// True when that one is here, or was until it aged out.
    pub(super) fn knew(&self, tid: &Tid) -> bool {
        self.dcs.contains_key(tid) || self.aged.contains_key(tid)
    }

    /// True for one that is known from announcements and was never connected.
    pub(super) fn is_unproven(&self, tid: &Tid) -> bool {
        match self.dcs.get(tid) {
            Some(dc) => !dc.proven,
            None => self.aged.get(tid).is_some_and(|proven| !proven),
        }
    }

    /// The interfaces that it was found on.
    pub(super) fn found_on(&self, tid: &Tid) -> impl Iterator<Item = &str> {
        self.dcs.get(tid).into_iter().flat_map(|dc| dc.found_on.iter().map(String::as_str))
    }

    /// It was given up: nothing is kept of it but what is announced.
    pub(super) fn given_up(&mut self, tid: &Tid) {
        self.aged.remove(tid);
        match self.dcs.get_mut(tid) {
            Some(dc) if dc.announced => dc.proven = false,
            _ => drop(self.dcs.remove(tid)),
        }
    }

    /// Whether it is announced, and when it is given up as things are; `None` when it is not from announcements.
    pub(super) fn prospects(&self, tid: &Tid) -> Option<(bool, Option<Time>)> {
        let dc = self.dcs.get(tid)?;
        Some((dc.announced, self.persistence.zip(dc.absent).map(|(span, since)| since + span)))
    }

    /// Whether it is time to look for those that do not answer.
    pub(super) fn is_to_doubt(&self, now: Time) -> bool {
        !self.services.is_empty() && self.looked.is_none_or(|at| at + LOOK <= now)
    }

    /// Services to be reconfirmed, for their discovery controllers do not answer: [`DOUBTS`] at most, those that were
    /// not doubted for the longest time. Each is named once in [`DOUBT`].
    pub(super) fn doubted(&mut self, now: Time, stuck: impl Fn(&Tid) -> bool) -> Vec<String> {
        self.looked = Some(now);
        let is_due =
            |service: &Service| service.doubted.is_none_or(|at| at + DOUBT <= now) && service.tids.iter().any(&stuck);
        let mut due: Vec<_> = self.services.iter_mut().filter(|(_, service)| is_due(service)).collect();
        due.sort_by_key(|(_, service)| service.doubted);
        self.doubts_wait = due.len() > DOUBTS;
        let doubt = |(name, service): (&String, &mut Service)| {
            service.doubted = Some(now);
            name.clone()
        };
        due.into_iter().take(DOUBTS).map(doubt).collect()
    }

    /// Whether it is time for those that found no room.
    pub(super) fn is_to_let_in(&self, now: Time) -> bool {
        [self.let_in, self.retry].into_iter().flatten().any(|at| at <= now)
    }

    /// Those that found no room try again to go in. True when the browser is to ask for everybody anew: somebody found
    /// no place to wait either, or all have been tried.
    pub(super) fn let_in(&mut self, now: Time, in_use: &InUse) -> bool {
        let is_due = |moment: &mut Option<Time>| moment.take_if(|at| *at <= now).is_some();
        let (retry, let_in) = (is_due(&mut self.retry), is_due(&mut self.let_in));
        if retry {
            self.tried.clear();
        }
        while let_in && let Some((name, offer, spots)) = self.anteroom.next() {
            self.changed = true;
            // That there are too many was told.
            self.announced(now, name.clone(), offer, spots, in_use);
            if !self.services.contains_key(&name) {
                break;
            }
        }
        retry || (let_in && self.anteroom.is_short() && self.anteroom.is_empty())
    }

    /// When something becomes due. Nobody is absent for too long before it is known who is live.
    pub(super) fn deadline(&self, looked: bool) -> Option<Time> {
        let unheard = self.services.values().filter_map(|service| service.unheard).min();
        let is_over = |dc: &Dc| {
            let over = dc.absent? + self.persistence?;
            Some(Some(over).max(self.woken).max(self.grace.filter(|_| dc.restored)).unwrap_or(over))
        };
        let over = self.dcs.values().filter(|_| looked).filter_map(is_over).min();
        let unheard = unheard.map(|since| since + HEARD_AGAIN);
        let doubt = self.looked.filter(|_| self.doubts_wait && !self.services.is_empty()).map(|at| at + LOOK);
        [unheard, over, doubt, self.grace, self.woken, self.let_in, self.retry].into_iter().flatten().min()
    }
}

/// A number that stands for a name: two names with the same number wait for each other, and no harm is done.
fn number(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
