//! The announcements that reached stafd, and an independent account of which discovery controllers may be removed
//! because of them.
//!
//! A discovery controller that was announced and connected is kept while it is announced or connected, and after that
//! for `zeroconf-connections-persistence`. A goodbye alone disconnects nothing. A controller that was never connected
//! is dropped with its announcement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::conf::Persistence;
use libstas::core::browse::BrowseEvent;
use libstas::core::{Links, Time};
use libstas::nvme::Tid;

use crate::files::StafFile;
use crate::mdns::target_of;
use crate::mdns_actions::is_dead;
use crate::names::{Iface, Target};

/// Services that still exist are received within this time after a restart of the browser.
const RECEIVED_AGAIN: Duration = Duration::from_secs(10);

/// The number of announced services that stafd remembers.
const REMEMBERED: usize = 256;

/// Services that stafd has dropped are received again within this time after the flood: it queries them every 60 s.
const QUERIED_AGAIN: Duration = Duration::from_secs(70);

/// The account of one discovery controller.
#[derive(Clone, Debug, Default)]
struct Account {
    announced: bool,
    live: bool,
    /// True if it has been live at any time.
    was_live: bool,
    /// Since when that is known.
    was_live_at: Time,
    /// The last time at which it was announced or live.
    last_present: Time,
    /// True if it never answers.
    dead: bool,
    /// The last time at which another source listed it, or an exclusion matched it.
    other_source_until: Time,
    /// True if it was absent for too long: a new connection must have another source.
    expired: bool,
    /// The earliest time that stafd, which has restored it, may take for the beginning of its absence.
    absent_from: Time,
    /// True while stafd may not have found yet that it is absent.
    absence_unnoticed: bool,
}

/// The account of all announcements.
#[derive(Clone, Debug, Default)]
pub(crate) struct MdnsOracle {
    /// The announced targets with their interfaces, and since when each must be received again.
    services: BTreeMap<Target, (BTreeSet<Iface>, Option<Time>)>,
    ifaces: BTreeSet<Iface>,
    dcs: BTreeMap<Tid, Account>,
    ever: BTreeSet<Tid>,
    zeroconf: bool,
    persistence: Option<Duration>,
    /// Until then, stafd may have dropped announcements because of a flood.
    flooded_until: Option<Time>,
    /// True while the browser does not run.
    interrupted: bool,
    /// When stafd was started or continued, or the host resumed, whichever was last.
    running_since: Time,
}

impl MdnsOracle {
    /// Advances the time of controllers that are announced or live.
    pub(crate) fn time_passes(&mut self, now: Time) {
        for known in self.dcs.values_mut().filter(|known| known.announced || known.live) {
            known.last_present = known.last_present.max(now);
            known.absence_unnoticed = true;
        }
        if self.services.values().any(|(_, unreceived_since)| unreceived_since.is_some()) {
            self.services
                .retain(|_, (_, unreceived_since)| unreceived_since.is_none_or(|since| now < since + RECEIVED_AGAIN));
            self.update_announced(now);
        }
        let persistence = self.persistence;
        if self.interrupted {
            // No absence proves anything.
            self.running_since = now;
            self.snapshots_work(now);
        }
        for known in self.dcs.values_mut().filter(|known| !known.announced && !known.live) {
            // A browser may start late.
            known.absence_unnoticed &= now < self.running_since + RECEIVED_AGAIN * 2;
            known.expired |= persistence.is_some_and(|span| known.last_present + span <= now);
        }
    }

    pub(crate) fn receive(&mut self, now: Time, heard: &[BrowseEvent]) {
        self.time_passes(now);
        if !self.zeroconf {
            return;
        }
        for heard in heard {
            match heard {
                BrowseEvent::Announced { service, endpoints, .. } => {
                    let on = |index| Iface::ALL.into_iter().find(|iface| iface.index() == index);
                    let on = endpoints.iter().filter_map(|endpoint| on(endpoint.interface)).collect();
                    if let Some(target) = target_of(service) {
                        self.services.insert(target, (on, None));
                    }
                }
                BrowseEvent::Gone(service) => drop(target_of(service).and_then(|target| self.services.remove(&target))),
                BrowseEvent::Restarted => {
                    if std::mem::take(&mut self.interrupted) {
                        self.running_since = now;
                        self.snapshots_work(now);
                    }
                    for (_, unreceived_since) in self.services.values_mut() {
                        unreceived_since.get_or_insert(now);
                    }
                }
                BrowseEvent::Interrupted => {
                    self.interrupted = true;
                    for (_, unreceived_since) in self.services.values_mut() {
                        *unreceived_since = None;
                    }
                }
            }
        }
        self.update_announced(now);
    }

    pub(crate) fn interfaces(&mut self, now: Time, links: &Links) {
        self.time_passes(now);
        self.ifaces = links.0.iter().filter_map(|link| Iface::of(&link.name)).collect();
        self.update_announced(now);
    }

    /// stafd reads its file.
    pub(crate) fn loads(&mut self, now: Time, file: &StafFile) {
        self.time_passes(now);
        if !file.zeroconf {
            self.interrupted = false;
            self.services.clear();
            for known in self.dcs.values_mut() {
                known.last_present = known.last_present.min(now);
            }
        }
        if file.zeroconf && !std::mem::replace(&mut self.zeroconf, file.zeroconf) {
            // The persistence is counted from now on.
            for known in self.dcs.values_mut() {
                known.last_present = known.last_present.max(now);
            }
        }
        self.zeroconf = file.zeroconf;
        self.persistence = match file.persistence {
            _ if !file.zeroconf => Some(Duration::ZERO),
            Persistence::Forever => None,
            Persistence::For(span) => Some(span),
        };
        self.update_announced(now);
    }

    /// stafd has ended: no announcements are received.
    pub(crate) fn stafd_ends(&mut self, now: Time) {
        self.time_passes(now);
        self.interrupted = false;
        self.services.clear();
        self.ifaces.clear();
    }

    /// The host resumes after a suspend, or a frozen stafd continues.
    pub(crate) fn resumed(&mut self, now: Time) {
        self.running_since = now;
    }

    /// stafd can list the kernel's controllers again: until now it may not have found any to be absent.
    pub(crate) fn snapshots_work(&mut self, now: Time) {
        for known in self.dcs.values_mut() {
            known.absent_from = now + RECEIVED_AGAIN;
        }
    }

    /// stafd starts. Controllers that were announced or live at its end get the time to be received again. So do those
    /// that were that after stafd had last saved its state. Those that the last run had not yet found to be absent may
    /// get it, too.
    pub(crate) fn stafd_starts(&mut self, now: Time, saved: Time) {
        for known in self.dcs.values_mut() {
            // What was not saved is lost.
            known.was_live &= known.was_live_at <= saved;
            if known.announced || known.live {
                known.last_present = now + RECEIVED_AGAIN;
                (known.announced, known.live, known.absence_unnoticed) = (false, false, true);
            } else {
                // Its absence was not saved.
                known.absence_unnoticed |= saved < known.last_present;
            }
            if known.absence_unnoticed {
                known.absent_from = now + RECEIVED_AGAIN;
            }
        }
        self.running_since = now;
        self.dcs.retain(|_, known| known.was_live);
    }

    fn update_announced(&mut self, now: Time) {
        if self.services.len() > REMEMBERED {
            self.flooded_until = Some(now + QUERIED_AGAIN);
        }
        let places = self.services.iter().flat_map(|(target, (on, _))| on.iter().map(move |iface| (*target, *iface)));
        let there = places.filter(|(_, iface)| self.ifaces.contains(iface));
        let announced: BTreeSet<Tid> = there.map(|(target, iface)| target.dc(Some(iface))).collect();
        self.ever.extend(announced.iter().cloned());
        for (tid, known) in &mut self.dcs {
            known.announced = announced.contains(tid);
        }
        for tid in announced {
            let dead = Target::of(&tid.traddr).is_some_and(is_dead);
            let known = self.dcs.entry(tid).or_insert_with(|| Account { dead, ..Account::default() });
            (known.announced, known.expired, known.last_present) = (true, false, now);
        }
        self.dcs.retain(|_, known| known.announced || known.was_live);
    }

    /// Takes from stafd which of them are live.
    pub(crate) fn update_live(&mut self, now: Time, live: impl Fn(&Tid) -> bool) {
        for (tid, known) in &mut self.dcs {
            // Targets that never answer need not be checked.
            known.live = !known.dead && live(tid);
            if known.live && !std::mem::replace(&mut known.was_live, true) {
                known.was_live_at = now;
            }
            if known.live {
                known.last_present = known.last_present.max(now);
            }
        }
        self.dcs.retain(|_, known| known.announced || known.was_live);
    }

    /// stafd has removed one: forgets its history.
    pub(crate) fn removed(&mut self, tid: &Tid) {
        if let Some(known) = self.dcs.get_mut(tid) {
            known.was_live = false;
            known.live = false;
        }
        self.dcs.retain(|_, known| known.announced || known.was_live);
    }

    /// stafd has lost its state.
    pub(crate) fn forget(&mut self) {
        self.dcs.clear();
    }

    /// True if there are no discovery controllers to account for.
    pub(crate) fn is_empty(&self) -> bool {
        self.dcs.is_empty()
    }

    /// True for a controller that was announced at any time.
    pub(crate) fn ever(&self, tid: &Tid) -> bool {
        self.ever.contains(tid)
    }

    /// True for a controller that never answered, during a flood of announcements and shortly after it: stafd may have
    /// evicted it.
    pub(crate) fn may_be_evicted(&self, tid: &Tid, now: Time) -> bool {
        let is_flooded = self.services.len() > REMEMBERED || self.flooded_until.is_some_and(|until| now < until);
        is_flooded && self.dcs.get(tid).is_some_and(|known| !known.was_live)
    }

    /// Why its removal is not proved; `None` if it is proved, or if it was never announced.
    pub(crate) fn unproved(&self, tid: &Tid, now: Time) -> Option<String> {
        let known = self.dcs.get(tid)?;
        if known.announced {
            return Some("it is announced".into());
        }
        if known.expired {
            return None;
        }
        if known.live {
            return Some("it was announced and is connected, and a goodbye alone disconnects nothing".into());
        }
        let Some(span) = self.persistence else {
            return Some("it was announced, and is kept for ever".into());
        };
        (now < known.last_present + span).then(|| {
            let ago = now.since(known.last_present).as_secs_f32();
            format!("it was announced or connected {ago:.1} s ago, and is kept for {} s", span.as_secs())
        })
    }

    /// The controllers that stafd should have removed by that time, because they were absent for too long.
    pub(crate) fn overdue(&self, now: Time, excused_until: Time, slack: Duration) -> impl Iterator<Item = &Tid> {
        let absent = self.dcs.iter().filter(|(_, known)| !known.announced && !known.live);
        absent.filter_map(move |(tid, known)| {
            let expired = (known.last_present.max(known.absent_from) + self.persistence?)
                .max(excused_until)
                .max(known.other_source_until)
                + slack;
            (expired < now).then_some(tid)
        })
    }

    /// The time to remove these controllers does not run yet.
    pub(crate) fn time_begins_now(&mut self, now: Time, does_not_run: impl Fn(&Tid) -> bool) {
        for (_, known) in self.dcs.iter_mut().filter(|(tid, _)| does_not_run(tid)) {
            known.other_source_until = now;
        }
    }

    /// Another source lists it.
    pub(crate) fn has_another_source(&mut self, tid: &Tid, now: Time) {
        if let Some(known) = self.dcs.get_mut(tid) {
            known.other_source_until = now;
        }
    }
}
