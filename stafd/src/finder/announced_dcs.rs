//! Discovery controllers announced by mDNS (TP8009): which are announced now, and which are kept although they are no
//! longer announced.
//!
//! A service is what the browser reports. A discovery controller results from a service, an address, and the interface
//! on which it was received. A controller that has been connected is kept when its announcement ends. It is removed
//! when it was neither announced nor connected for `zeroconf-connections-persistence`. A controller that has never been
//! connected is dropped with its announcement: nothing depends on it.
//!
//! All input is untrusted, so every table has a limit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use libstas::conf::Persistence;
use libstas::core::browse::{BrowseEvent, ENDPOINTS_PER_SERVICE, Endpoint};
use libstas::core::{Interface, Level, Links, Time};
use libstas::nvme::Tid;
use libstas::nvme::announcement::{self, Sanitized, ServiceOffer, TxtError};
use serde::{Deserialize, Serialize};

use super::admission_queue::AdmissionQueue;

/// Maximum number of services. A large installation announces a tenth of this, and all of them can be tried within a
/// minute.
pub(super) const SERVICES: usize = 256;
/// Maximum number of announced endpoints (address and interface) of all services. Each yields one controller.
const ENDPOINTS: usize = 512;
/// Maximum number of interfaces noted as those on which a discovery controller was announced.
const FOUND_ON: usize = 64;
/// Maximum number of discovery controllers that have been connected, including those that are no longer announced.
const KEPT: usize = 1024;
/// After a restart of the browser, services that still exist are received within this time: it sends queries after 0,
/// 1, 3 and 7 s.
pub(super) const RECEIVED_AGAIN: Duration = Duration::from_secs(10);
/// If more services are announced than the limit allows, queued services are admitted at this interval: by then some of
/// the admitted ones have failed and can be evicted.
const ADMIT_EVERY: Duration = Duration::from_secs(2);
/// Evicted services are queried again after this time.
const QUERY_EVICTED_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of evicted services remembered, as hashes of their names.
const EVICTED_MAX: usize = 8192;
/// Minimum time between the reloads at which an absent interface counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(600);
/// Unresponsive discovery controllers are searched for at most this often.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// The announcement of an unresponsive discovery controller is reconfirmed at most once in this time.
const RECONFIRM_EVERY: Duration = Duration::from_secs(30);
/// Maximum number of announcements reconfirmed at once: each costs a multicast query and an answer.
const RECONFIRM_AT_ONCE: usize = 4;

/// One announced service.
#[derive(Clone, Debug)]
struct Service {
    offer: ServiceOffer,
    endpoints: Vec<Endpoint>,
    /// When it was last received.
    received: Time,
    /// The time of the browser's last restart, if the service was not received since then.
    unreceived_since: Option<Time>,
    /// When it was last reconfirmed.
    reconfirmed: Option<Time>,
    /// True once it was logged that it is at an address of this host.
    own_address_logged: bool,
    /// The controllers that result from it.
    tids: Vec<Tid>,
}

/// One discovery controller that is or was announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Dc {
    /// The interfaces on which it was announced: up to 64 collected ones if it has or may have been connected,
    /// otherwise the current ones.
    found_on: BTreeSet<String>,
    announced: bool,
    /// True if it has been connected since it was last removed.
    proven: bool,
    /// When stafd first saw it connected. `None`: never, or in an earlier version.
    proven_since: Option<Time>,
    /// True if it is from the saved state and has not been received in this run yet.
    restored: bool,
    /// Since when it is neither announced nor connected.
    absent: Option<Time>,
    /// Since when it is known, in this run, to be disconnected.
    down: Option<Time>,
}

impl Dc {
    /// Records that it has or had a connection. Returns true if that is new.
    fn prove(&mut self, now: Time) -> bool {
        let is_new = !std::mem::replace(&mut self.proven, true);
        if is_new {
            self.proven_since = Some(now);
        }
        is_new
    }

    /// Notes the interfaces on which it is announced now. They replace the earlier ones if it was never connected. If
    /// it has or may have been connected, they are added: a host on an excluded interface must not be able to make it
    /// excluded. A restored controller may have been connected before stafd was killed.
    ///
    /// Returns true if that must be saved: otherwise stafd could exclude the controller after it was killed.
    fn announced_on(&mut self, current: BTreeSet<String>) -> bool {
        let may_have_been_connected = std::mem::take(&mut self.restored) || self.proven;
        if !may_have_been_connected {
            self.found_on = current;
            return false;
        }
        let before = self.found_on.len();
        for name in current {
            if self.found_on.len() < FOUND_ON {
                self.found_on.insert(name);
            }
        }
        self.found_on.len() > before
    }
}

/// A discovery controller in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAnnounced {
    /// The discovery controller, with the address that stafd connects to.
    pub dc: Tid,
    /// The interfaces on which it was announced.
    pub found_on: BTreeSet<String>,
    /// Since when it is neither announced nor connected.
    pub absent: Option<Time>,
    /// True if it has been connected since it was last removed. Earlier versions saved no others.
    #[serde(default = "was_connected")]
    pub proven: bool,
    /// When stafd first saw it connected. `None`: never, or in an earlier version, which counts as the earliest time.
    #[serde(default)]
    pub proven_since: Option<Time>,
}

fn was_connected() -> bool {
    true
}

/// A log line caused by untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MdnsLogLine {
    pub(super) level: Level,
    pub(super) tid: Option<Tid>,
    pub(super) text: String,
}

/// What this host does with announced controllers.
#[derive(Clone, Debug, Default)]
pub(super) struct HostUse {
    /// Controllers whose services may be evicted: they failed to connect and never were connected, or are not to be
    /// connected.
    pub(super) evictable: BTreeSet<Tid>,
    /// Controllers being connected: they may succeed, so their services are not evicted.
    pub(super) connecting: BTreeSet<Tid>,
    /// Addresses of discovery controllers that are connected, or were.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl HostUse {
    /// True for a service at one of the addresses in use. It is always admitted: other services are evicted for it.
    fn has_address_of(&self, endpoints: &[Endpoint]) -> bool {
        endpoints.iter().any(|endpoint| self.addresses.contains(&endpoint.address.to_canonical()))
    }

    /// True if a service may be evicted. A service with precedence evicts any service without precedence, unless one of
    /// its controllers is being connected. A service without precedence evicts only a service whose controllers have
    /// all failed, and only if it was not evicted before itself.
    fn may_be_evicted(&self, service: &Service, has_precedence: bool, was_evicted: bool) -> bool {
        if service.tids.iter().any(|tid| self.connecting.contains(tid)) {
            return false;
        }
        if has_precedence {
            return !self.has_address_of(&service.endpoints);
        }
        !was_evicted && !service.tids.is_empty() && service.tids.iter().all(|tid| self.evictable.contains(tid))
    }
}

/// The input needed to derive controllers from services.
#[derive(Clone, Copy, Debug)]
pub(super) struct DerivationInput<'a> {
    pub(super) links: &'a Links,
    pub(super) ignore_iface: bool,
    pub(super) host_nqn: &'a str,
}

/// All announced and kept discovery controllers.
#[derive(Clone, Debug, Default)]
pub(super) struct AnnouncedDcs {
    services: BTreeMap<String, Service>,
    unusable: BTreeMap<String, TxtError>,
    dcs: BTreeMap<Tid, Dc>,
    /// Addresses that are announced on more than one interface.
    duplicate_addresses: BTreeSet<IpAddr>,
    /// Controllers that have aged out and may still be in the fleet.
    aged: BTreeMap<Tid, Dc>,
    /// Until this time saved controllers do not count as absent: the browser has just started.
    grace: Option<Time>,
    /// Until this time no absent controller is removed: the host has just resumed, and may not have received all
    /// announcements yet.
    resumed_until: Option<Time>,
    /// True while the browser does not run: no absence proves anything, and nothing ages.
    interrupted: bool,
    /// When browsing began.
    began: Option<Time>,
    /// When the first snapshot of the kernel's controllers was taken.
    first_snapshot: Option<Time>,
    /// Evicted services. Until they are queried, at the latest after [`QUERY_EVICTED_AFTER`], they evict no other
    /// service, unless they have precedence.
    evicted: BTreeSet<u64>,
    /// True if the services, or the input needed to derive controllers, have changed.
    changed: bool,
    /// True if a controller that has been connected is announced on an interface that the saved state lacks.
    unsaved: bool,
    /// Interfaces on which controllers were announced and that have been absent since a reload, with the time of that
    /// reload.
    absent_at_reload: BTreeMap<String, Time>,
    /// When unresponsive controllers were last searched for.
    searched: Option<Time>,
    /// True if some unresponsive controllers wait to be reconfirmed.
    more_to_reconfirm: bool,
    /// True once it was logged that there are too many services.
    limit_logged: bool,
    /// Services that exceed the limit.
    admission_queue: AdmissionQueue,
    /// When queued services are admitted next.
    admit_queued: Option<Time>,
    /// When evicted services were last queried early, because a controller was connected.
    queried_early: Option<Time>,
    /// When evicted services are queried next.
    retry: Option<Time>,
    persistence: Option<Duration>,
}

impl AnnouncedDcs {
    /// Restores the saved state.
    pub(super) fn restore(&mut self, saved: Vec<SavedAnnounced>) {
        let dc = |saved: SavedAnnounced| {
            let SavedAnnounced { dc, found_on, absent, proven, proven_since } = saved;
            (dc, Dc { found_on, proven, proven_since, restored: true, absent, ..Dc::default() })
        };
        self.dcs = saved.into_iter().take(KEPT + ENDPOINTS).map(dc).collect();
    }

    /// The state to be saved. It includes controllers that have never connected: if stafd is killed while one of them
    /// connects, the next run must know that the connection is ours.
    pub(super) fn saved(&self) -> Vec<SavedAnnounced> {
        let saved = |(tid, dc): (&Tid, &Dc)| SavedAnnounced {
            dc: tid.clone(),
            found_on: dc.found_on.clone(),
            absent: dc.absent,
            proven: dc.proven,
            proven_since: dc.proven_since,
        };
        self.dcs.iter().map(saved).collect()
    }

    /// Sets how long absent controllers are kept.
    pub(super) fn set_persistence(&mut self, persistence: Persistence) {
        self.persistence = match persistence {
            Persistence::Forever => None,
            Persistence::For(span) => Some(span),
        };
    }

    /// Notes that mDNS browsing begins. If it was off for a moment, controllers have aged out because of that: those
    /// that are not removed yet are treated like controllers of the saved state.
    pub(super) fn begin(&mut self, now: Time) {
        self.began = Some(now);
        self.grace = Some(now + RECEIVED_AGAIN);
        let (proven, others): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.aged).into_iter().partition(|(_, dc)| dc.proven);
        self.aged = others;
        self.dcs.extend(proven.into_iter().map(|(tid, dc)| (tid, Dc { restored: true, absent: None, ..dc })));
    }

    /// Handles a time without announcements: the host was suspended, or the stafd process was stopped. This time counts
    /// as absence, but no absent controller is removed for the next [`RECEIVED_AGAIN`], so that its announcement can be
    /// received again.
    pub(super) fn resumed(&mut self, now: Time) {
        if self.began.is_some() {
            self.resumed_until = Some(now + RECEIVED_AGAIN);
        }
    }

    /// Records that a discovery controller has or had a connection. Returns true if that is new.
    pub(super) fn was_connected(&mut self, now: Time, tid: &Tid) -> bool {
        let known = self.dcs.get_mut(tid).or_else(|| self.aged.get_mut(tid));
        // If it is not announced, another source lists it. Its service may have been evicted after it had failed, or
        // may be queued. A service at an address in use has precedence, so all services are queried again, but not too
        // often.
        let is_crowded = !self.evicted.is_empty() || !self.admission_queue.is_empty();
        if is_crowded
            && known.as_ref().is_none_or(|dc| !dc.announced)
            && self.queried_early.is_none_or(|at| at + QUERY_EVICTED_AFTER <= now)
        {
            (self.retry, self.queried_early) = (Some(now), Some(now));
        }
        known.is_some_and(|dc| dc.prove(now))
    }

    /// Notes that the configuration or the interfaces have changed.
    pub(super) fn inputs_changed(&mut self) {
        self.changed = true;
    }

    /// Handles a reload. Services that were evicted because the configuration excluded their controllers may be wanted
    /// now: they are queried again at once.
    pub(super) fn reloaded(&mut self, now: Time) {
        self.retry = self.retry.map(|_| now);
    }

    /// Notes that browsing ends: no controller counts as announced any more.
    pub(super) fn end(&mut self) {
        self.changed = true;
        self.services.clear();
        self.unusable.clear();
        self.evicted.clear();
        self.admission_queue.clear();
        self.more_to_reconfirm = false;
        (self.began, self.grace, self.resumed_until) = (None, None, None);
        self.interrupted = false;
        (self.admit_queued, self.retry) = (None, None);
    }

    /// Takes an event of the browser.
    pub(super) fn receive(&mut self, now: Time, event: BrowseEvent, host_use: &HostUse) -> Vec<MdnsLogLine> {
        self.changed = true;
        match event {
            BrowseEvent::Announced { service, offer: Ok(offer), endpoints } => {
                self.unusable.remove(&service);
                self.add_service(now, service, offer, endpoints, host_use)
            }
            BrowseEvent::Announced { service, offer: Err(unusable), .. } => {
                self.services.remove(&service);
                self.admission_queue.remove(&service);
                self.unusable(service, unusable)
            }
            BrowseEvent::Gone(service) => {
                self.services.remove(&service);
                self.admission_queue.remove(&service);
                self.unusable.remove(&service);
                self.evicted.remove(&hash_of(&service));
                Vec::new()
            }
            BrowseEvent::Interrupted => {
                self.interrupted = true;
                for service in self.services.values_mut() {
                    service.unreceived_since = None;
                }
                Vec::new()
            }
            BrowseEvent::Restarted => {
                if std::mem::take(&mut self.interrupted) {
                    let received_again = Some(now + RECEIVED_AGAIN);
                    (self.grace, self.resumed_until) = (received_again, received_again);
                }
                self.admission_queue.clear();
                for service in self.services.values_mut() {
                    service.unreceived_since.get_or_insert(now);
                }
                Vec::new()
            }
        }
    }

    fn add_service(
        &mut self,
        now: Time,
        name: String,
        offer: ServiceOffer,
        mut endpoints: Vec<Endpoint>,
        host_use: &HostUse,
    ) -> Vec<MdnsLogLine> {
        endpoints.retain(|endpoint| announcement::is_reachable(endpoint.address));
        endpoints.sort_unstable();
        endpoints.dedup();
        endpoints.truncate(ENDPOINTS_PER_SERVICE);
        if let Some(known) = self.services.get_mut(&name)
            && known.offer == offer
            && known.endpoints == endpoints
        {
            (known.received, known.unreceived_since) = (now, None);
            return Vec::new();
        }
        self.services.remove(&name);
        self.admission_queue.remove(&name);
        if endpoints.is_empty() {
            return Vec::new();
        }
        let has_precedence = host_use.has_address_of(&endpoints);
        let was_evicted = !has_precedence && self.evicted.contains(&hash_of(&name));
        let mut lines = Vec::new();
        while !self.has_room_for(endpoints.len()) {
            lines.extend(self.log_limit_once());
            let may_be_evicted = |service: &Service| host_use.may_be_evicted(service, has_precedence, was_evicted);
            let candidates = self.services.iter().filter(|(_, service)| may_be_evicted(service));
            let Some(oldest) = candidates.min_by_key(|(_, service)| service.received).map(|(name, _)| name.clone())
            else {
                if !was_evicted {
                    self.admission_queue.push(name, offer, endpoints);
                    self.admit_queued.get_or_insert(now + ADMIT_EVERY);
                }
                return lines;
            };
            self.services.remove(&oldest);
            self.retry.get_or_insert(now + QUERY_EVICTED_AFTER);
            if self.evicted.len() < EVICTED_MAX {
                self.evicted.insert(hash_of(&oldest));
            }
        }
        let service = Service {
            offer,
            endpoints,
            received: now,
            unreceived_since: None,
            reconfirmed: None,
            own_address_logged: false,
            tids: Vec::new(),
        };
        self.services.insert(name, service);
        lines
    }

    /// Logs once that more services are announced than the limit allows.
    fn log_limit_once(&mut self) -> Option<MdnsLogLine> {
        let news = !std::mem::replace(&mut self.limit_logged, true);
        news.then(|| {
            let text = format!(
                "more than {SERVICES} discovery services, or {ENDPOINTS} addresses of them, are announced; services \
                 that do not answer are dropped for others"
            );
            MdnsLogLine { level: Level::Warning, tid: None, text }
        })
    }

    fn has_room_for(&self, more: usize) -> bool {
        let taken: usize = self.services.values().map(|service| service.endpoints.len()).sum();
        self.services.len() < SERVICES && taken + more <= ENDPOINTS
    }

    /// Logs once for each service why it cannot be used.
    fn unusable(&mut self, name: String, unusable: TxtError) -> Vec<MdnsLogLine> {
        if self.unusable.get(&name) == Some(&unusable)
            || (self.unusable.len() >= SERVICES && !self.unusable.contains_key(&name))
        {
            return Vec::new();
        }
        let text = format!("the announced service {} is ignored: {unusable}", Sanitized::new(&name));
        self.unusable.insert(name, unusable);
        vec![MdnsLogLine { level: Level::Warning, tid: None, text }]
    }

    /// Derives the announced controllers from the services. Returns the newly announced controllers, and log lines.
    pub(super) fn derive(&mut self, now: Time, input: DerivationInput<'_>) -> (Vec<Tid>, Vec<MdnsLogLine>) {
        for until in [&mut self.grace, &mut self.resumed_until] {
            until.take_if(|until| *until <= now);
        }
        let before = self.services.len();
        let grace = |service: &Service| service.unreceived_since.is_none_or(|since| now < since + RECEIVED_AGAIN);
        self.services.retain(|_, service| grace(service));
        if !std::mem::take(&mut self.changed) && self.services.len() == before {
            return (Vec::new(), Vec::new());
        }
        self.limit_logged &= self.services.len() > SERVICES / 2;
        let mut found: BTreeMap<Tid, BTreeSet<String>> = BTreeMap::new();
        let mut lines = Vec::new();
        for (service_name, service) in &mut self.services {
            service.tids.clear();
            for endpoint in &service.endpoints {
                let Some(iface) = input.links.numbered(endpoint.interface).map(|interface| &interface.name) else {
                    continue;
                };
                let tid = announcement::candidate(
                    &service.offer,
                    endpoint.address,
                    iface,
                    input.ignore_iface,
                    input.host_nqn,
                );
                // An address that becomes one of this host later changes nothing.
                if input.links.have_address_of(&tid) && !self.dcs.contains_key(&tid) {
                    if !std::mem::replace(&mut service.own_address_logged, true) {
                        let text = format!(
                            "the announced service {} is at {}, an address of this host, and is not connected. To \
                             connect it, add a controller= line to stafd.conf",
                            Sanitized::new(service_name),
                            tid.traddr
                        );
                        lines.push(MdnsLogLine { level: Level::Info, tid: None, text });
                    }
                    continue;
                }
                found.entry(tid.clone()).or_default().insert(iface.clone());
                service.tids.push(tid);
            }
        }
        lines.extend(self.log_duplicate_addresses(input.links));
        for (tid, dc) in &mut self.dcs {
            if !found.contains_key(tid) && std::mem::take(&mut dc.announced) && dc.proven {
                let text = "no longer announced".to_owned();
                lines.push(MdnsLogLine { level: Level::Info, tid: Some(tid.clone()), text });
            }
        }
        let mut fresh = Vec::new();
        for (tid, found_on) in found {
            // A controller that has aged out and is not removed yet keeps the mark that it has been connected.
            let aged = self.aged.remove(&tid).filter(|dc| dc.proven);
            let kept =
                |Dc { proven, proven_since, found_on, .. }| Dc { proven, proven_since, found_on, ..Dc::default() };
            let dc = self.dcs.entry(tid.clone()).or_insert_with(|| aged.map(kept).unwrap_or_default());
            if !std::mem::replace(&mut dc.announced, true) {
                let on: Vec<&str> = found_on.iter().map(String::as_str).collect();
                let text = format!("announced on {}", on.join(", "));
                lines.push(MdnsLogLine { level: Level::Info, tid: Some(tid.clone()), text });
                fresh.push(tid);
            }
            self.unsaved |= dc.announced_on(found_on);
        }
        (fresh, lines)
    }

    /// Removes vanished interfaces from `found_on`, unless all have vanished: otherwise such an interface would protect
    /// a controller from exclusions for ever. An interface may be absent for a moment, at a reload, too: it is
    /// forgotten if it is absent at two reloads that are at least [`GONE_AFTER`] apart, and all the time between them.
    pub(super) fn forget_absent_interfaces(&mut self, now: Time, links: &Links) {
        let exists = |name: &String| links.0.iter().any(|link| link.name == *name);
        let dcs = || self.dcs.values().chain(self.aged.values());
        let absent: BTreeSet<String> =
            dcs().flat_map(|dc| &dc.found_on).filter(|name| !exists(name)).cloned().collect();
        self.absent_at_reload.retain(|name, _| absent.contains(name));
        for name in absent {
            self.absent_at_reload.entry(name).or_insert(now);
        }
        let is_gone = |name: &String| self.absent_at_reload.get(name).is_some_and(|first| *first + GONE_AFTER <= now);
        for dc in self.dcs.values_mut().chain(self.aged.values_mut()) {
            if dc.found_on.iter().any(exists) {
                dc.found_on.retain(|name| !is_gone(name));
            }
        }
    }

    /// Notes which interfaces have appeared, and renames interfaces in the notes on where controllers were announced:
    /// exclusions are compared with present names.
    pub(super) fn interfaces_changed(&mut self, before: &Links, now: &Links) {
        self.absent_at_reload.retain(|name, _| !now.0.iter().any(|link| link.name == *name));
        let new_name = |interface: &Interface| {
            let renamed = now.numbered(interface.index).filter(|renamed| renamed.name != interface.name)?;
            Some((interface.name.clone(), renamed.name.clone()))
        };
        let renamed: BTreeMap<String, String> = before.0.iter().filter_map(new_name).collect();
        if renamed.is_empty() {
            return;
        }
        for dc in self.dcs.values_mut().chain(self.aged.values_mut()) {
            let found_on = std::mem::take(&mut dc.found_on).into_iter();
            let follow = |name: String| renamed.get(&name).cloned().unwrap_or(name);
            dc.found_on = found_on.map(follow).collect();
        }
    }

    /// An address on two interfaces is either two machines with one address, or one network connected twice.
    fn log_duplicate_addresses(&mut self, links: &Links) -> Vec<MdnsLogLine> {
        let mut by_address: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
        for endpoint in self.services.values().flat_map(|service| &service.endpoints) {
            let name = links.numbered(endpoint.interface).map(|interface| interface.name.as_str());
            if let Some(name) = name.filter(|_| !announcement::is_link_local(endpoint.address)) {
                by_address.entry(endpoint.address.to_canonical()).or_default().insert(name);
            }
        }
        by_address.retain(|_, on| on.len() > 1);
        let news = by_address.iter().filter(|(address, _)| !self.duplicate_addresses.contains(*address));
        let lines = news
            .map(|(address, on)| {
                let on: Vec<&str> = on.iter().copied().collect();
                let text = format!(
                    "the network is misconfigured: the address {address} is announced on {}, but an address should be \
                     used on one network only; stafd tries it on each of them",
                    on.join(" and ")
                );
                MdnsLogLine { level: Level::Warning, tid: None, text }
            })
            .collect();
        self.duplicate_addresses = by_address.into_keys().collect();
        lines
    }

    /// Ages out controllers that were absent for too long, and those that are not announced and never were connected:
    /// moves them to `aged`, and the finder removes them. `snapshot_taken` says whether the kernel's controllers are
    /// known; `connection` whether a controller has a connection, and whether that is live. Returns true when the state
    /// must be saved.
    pub(super) fn age(&mut self, now: Time, snapshot_taken: bool, connection: impl Fn(&Tid) -> Option<bool>) -> bool {
        let mut news = std::mem::take(&mut self.unsaved);
        if snapshot_taken {
            self.first_snapshot.get_or_insert(now);
        }
        let persistence = self.persistence;
        let grace = self.awaits_announcements();
        let just_resumed = self.resumed_until.is_some() || self.interrupted;
        let known_since = self.known_since();
        let aged = &mut self.aged;
        for (_, dc) in aged.iter_mut().filter(|(tid, _)| connection(tid).is_some()) {
            dc.prove(now);
        }
        self.dcs.retain(|tid, dc| {
            let connection = connection(tid);
            let live = connection == Some(true);
            // A connection that the kernel is restoring was live before, perhaps in another run.
            news |= connection.is_some() && dc.prove(now);
            if live {
                dc.down = None;
            } else {
                dc.down.get_or_insert(now);
            }
            if live || dc.announced {
                news |= dc.absent.take().is_some();
                return true;
            }
            // A saved controller counts as absent only after there was time to find its connection or to receive its
            // announcement.
            if dc.restored && (grace || just_resumed || !snapshot_taken) {
                return true;
            }
            if !dc.proven {
                aged.insert(tid.clone(), std::mem::take(dc));
                return false;
            }
            if dc.absent.is_none() && snapshot_taken {
                dc.absent = Some(if dc.restored { known_since.max(dc.down).unwrap_or(now) } else { now });
                news = true;
            }
            let long = persistence.zip(dc.absent).is_some_and(|(span, since)| since + span <= now);
            let over = snapshot_taken && !just_resumed && long;
            if over {
                aged.insert(tid.clone(), std::mem::take(dc));
                news = true;
            }
            !over
        });
        while self.proven().count() > KEPT {
            // Drops the absent controller that was first connected last. If a host announces false ones to displace the
            // genuine one, they were connected after it.
            let absent = self.dcs.iter().filter_map(|(tid, dc)| Some((dc.proven_since, Reverse(dc.absent?), tid)));
            let Some(newest) = absent.max().map(|(.., tid)| tid.clone()) else { break };
            let dc = self.dcs.remove(&newest).unwrap_or_default();
            self.aged.insert(newest, Dc { proven: true, ..dc });
        }
        news
    }

    /// The earliest time at which a saved discovery controller can count as absent: after the first snapshot, and after
    /// the time for announcements to be received. A suspend does not defer it.
    fn known_since(&self) -> Option<Time> {
        self.first_snapshot.max(self.began.map(|began| began + RECEIVED_AGAIN))
    }

    /// True without a browser, and for 10 s after it has started: announcements that exist may not have been received
    /// yet.
    pub(super) fn awaits_announcements(&self) -> bool {
        self.grace.is_some() || self.interrupted
    }

    /// The controllers that have been connected at any time.
    pub(super) fn proven(&self) -> impl Iterator<Item = &Tid> {
        self.dcs.iter().filter(|(_, dc)| dc.proven).map(|(tid, _)| tid)
    }

    /// The controllers that are announced or kept.
    pub(super) fn names(&self) -> impl Iterator<Item = &Tid> {
        self.dcs.keys()
    }

    /// The controllers that have aged out and may still be in the fleet.
    pub(super) fn aged(&self) -> impl Iterator<Item = &Tid> {
        self.aged.keys()
    }

    /// Forgets controllers that have aged out and are not in the fleet: they were refused or excluded, and no removal
    /// forgets them.
    pub(super) fn forget_aged(&mut self, is_known: impl Fn(&Tid) -> bool) {
        self.aged.retain(|tid, _| is_known(tid));
    }

    /// True for a controller that is announced or kept, or has aged out.
    pub(super) fn knows(&self, tid: &Tid) -> bool {
        self.dcs.contains_key(tid) || self.aged.contains_key(tid)
    }

    /// True for a controller that is announced or kept, and has been connected.
    pub(super) fn is_proven(&self, tid: &Tid) -> bool {
        self.dcs.get(tid).is_some_and(|dc| dc.proven)
    }

    /// True for a controller that is known from announcements and has never been connected.
    pub(super) fn is_unproven(&self, tid: &Tid) -> bool {
        match self.dcs.get(tid) {
            Some(dc) => !dc.proven,
            None => self.aged.get(tid).is_some_and(|dc| !dc.proven),
        }
    }

    /// The interfaces on which it was received.
    pub(super) fn found_on(&self, tid: &Tid) -> impl Iterator<Item = &str> {
        self.dcs.get(tid).into_iter().flat_map(|dc| dc.found_on.iter().map(String::as_str))
    }

    /// Handles the removal of a controller: forgets it, unless it is announced now. A controller that is not announced
    /// is not forgotten either if an exclusion removes it: the exclusion may be taken back.
    pub(super) fn dc_removed(&mut self, tid: &Tid, is_excluded: bool) {
        self.aged.remove(tid);
        match self.dcs.get_mut(tid) {
            Some(dc) if dc.announced => (dc.proven, dc.proven_since) = (false, None),
            Some(_) if is_excluded => {}
            _ => drop(self.dcs.remove(tid)),
        }
    }

    /// Whether it is announced, and when it is removed if nothing changes; `None` if it is not known from
    /// announcements.
    pub(super) fn presence(&self, tid: &Tid) -> Option<(bool, Option<Time>)> {
        let dc = self.dcs.get(tid)?;
        Some((dc.announced, self.persistence.zip(dc.absent).map(|(span, since)| since + span)))
    }

    /// True if unresponsive controllers are to be searched for now.
    pub(super) fn is_time_to_reconfirm(&self, now: Time) -> bool {
        !self.services.is_empty() && self.searched.is_none_or(|at| at + SEARCH_EVERY <= now)
    }

    /// The services to reconfirm because their discovery controllers do not respond: at most [`RECONFIRM_AT_ONCE`],
    /// the least recently reconfirmed first. Each is returned at most once in [`RECONFIRM_EVERY`].
    pub(super) fn take_services_to_reconfirm(&mut self, now: Time, stuck: impl Fn(&Tid) -> bool) -> Vec<String> {
        self.searched = Some(now);
        let is_due = |service: &Service| {
            service.reconfirmed.is_none_or(|at| at + RECONFIRM_EVERY <= now) && service.tids.iter().any(&stuck)
        };
        let mut due: Vec<_> = self.services.iter_mut().filter(|(_, service)| is_due(service)).collect();
        due.sort_by_key(|(_, service)| service.reconfirmed);
        self.more_to_reconfirm = due.len() > RECONFIRM_AT_ONCE;
        let doubt = |(name, service): (&String, &mut Service)| {
            service.reconfirmed = Some(now);
            name.clone()
        };
        due.into_iter().take(RECONFIRM_AT_ONCE).map(doubt).collect()
    }

    /// True if queued services are to be admitted now.
    pub(super) fn is_time_to_admit(&self, now: Time) -> bool {
        [self.admit_queued, self.retry].into_iter().flatten().any(|at| at <= now)
    }

    /// Admits queued services. Returns true when the browser must query all services again: queued services were
    /// dropped because the queue was full, or [`QUERY_EVICTED_AFTER`] has passed.
    pub(super) fn admit_queued(&mut self, now: Time, host_use: &HostUse) -> bool {
        let is_due = |moment: &mut Option<Time>| moment.take_if(|at| *at <= now).is_some();
        let (retry, admit_queued) = (is_due(&mut self.retry), is_due(&mut self.admit_queued));
        if retry {
            self.evicted.clear();
        }
        while admit_queued && let Some((name, offer, endpoints)) = self.admission_queue.next() {
            self.changed = true;
            // No log line: it was logged already that there are too many.
            self.add_service(now, name.clone(), offer, endpoints, host_use);
            if !self.services.contains_key(&name) {
                break;
            }
        }
        retry || (admit_queued && self.admission_queue.overflowed() && self.admission_queue.is_empty())
    }

    /// When the next timer is due. Absence is not timed before the first snapshot.
    pub(super) fn deadline(&self, snapshot_taken: bool) -> Option<Time> {
        let unreceived_since = self.services.values().filter_map(|service| service.unreceived_since).min();
        let is_over = |dc: &Dc| {
            let over = dc.absent? + self.persistence?;
            Some(Some(over).max(self.resumed_until).max(self.grace.filter(|_| dc.restored)).unwrap_or(over))
        };
        let over = self.dcs.values().filter(|_| snapshot_taken && !self.interrupted).filter_map(is_over).min();
        let unreceived_since = unreceived_since.map(|since| since + RECEIVED_AGAIN);
        let doubt =
            self.searched.filter(|_| self.more_to_reconfirm && !self.services.is_empty()).map(|at| at + SEARCH_EVERY);
        [unreceived_since, over, doubt, self.grace, self.resumed_until, self.admit_queued, self.retry]
            .into_iter()
            .flatten()
            .min()
    }
}

/// A hash of the name of a service. If two names have the same hash, the eviction of one counts for the other.
fn hash_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
