//! What stafd was told of announcements, and the judge's own account of who may be given up on their account.
//!
//! A discovery controller that was announced and connected is kept for as long as it is announced, or connected, or
//! neither for less than `zeroconf-connections-persistence`; a goodbye alone disconnects nothing. One that was never
//! connected is forgotten with its announcement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::conf::Persistence;
use libstas::core::browse::Heard;
use libstas::core::{Links, Time};
use libstas::nvme::Tid;

use crate::air::who_is;
use crate::announcing::is_dead;
use crate::files::StafFile;
use crate::names::{Iface, Target};

/// Who is still there is heard again within this time after a browser has started afresh.
const HEARD_AGAIN: Duration = Duration::from_secs(10);

/// stafd remembers so many announced services.
const REMEMBERED: usize = 256;

/// What is known of one discovery controller.
#[derive(Clone, Debug, Default)]
struct Known {
    announced: bool,
    live: bool,
    /// It was live at some time.
    proven: bool,
    /// Until then it was announced or live.
    until: Time,
    /// It never answers.
    dead: bool,
    /// Until then something else than announcements meant it, or it was excluded.
    meant_until: Time,
    /// It was absent for too long: if it is connected again, then on somebody else's account.
    over: bool,
}

/// All that was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced {
    /// Where they are announced, and since when they have to be heard again.
    services: BTreeMap<Target, (BTreeSet<Iface>, Option<Time>)>,
    ifaces: BTreeSet<Iface>,
    dcs: BTreeMap<Tid, Known>,
    ever: BTreeSet<Tid>,
    zeroconf: bool,
    persistence: Option<Duration>,
}

impl Announced {
    /// The time until now counts for who was announced or live.
    pub(crate) fn time_passes(&mut self, now: Time) {
        for known in self.dcs.values_mut().filter(|known| known.announced || known.live) {
            known.until = known.until.max(now);
        }
        if self.services.values().any(|(_, unheard)| unheard.is_some()) {
            self.services.retain(|_, (_, unheard)| unheard.is_none_or(|since| now < since + HEARD_AGAIN));
            self.follow(now);
        }
        let persistence = self.persistence;
        for known in self.dcs.values_mut().filter(|known| !known.announced && !known.live) {
            known.over |= persistence.is_some_and(|span| known.until + span <= now);
        }
    }

    pub(crate) fn hear(&mut self, now: Time, heard: &[Heard]) {
        self.time_passes(now);
        if !self.zeroconf {
            return;
        }
        for heard in heard {
            match heard {
                Heard::Announced { service, spots, .. } => {
                    let on = |index| Iface::ALL.into_iter().find(|iface| iface.index() == index);
                    let on = spots.iter().filter_map(|spot| on(spot.interface)).collect();
                    if let Some(target) = who_is(service) {
                        self.services.insert(target, (on, None));
                    }
                }
                Heard::Gone(service) => drop(who_is(service).and_then(|target| self.services.remove(&target))),
                Heard::Afresh => {
                    for (_, unheard) in self.services.values_mut() {
                        unheard.get_or_insert(now);
                    }
                }
            }
        }
        self.follow(now);
    }

    pub(crate) fn interfaces(&mut self, now: Time, links: &Links) {
        self.time_passes(now);
        self.ifaces = links.0.iter().filter_map(|link| Iface::of(&link.name)).collect();
        self.follow(now);
    }

    /// stafd reads its file.
    pub(crate) fn loads(&mut self, now: Time, file: &StafFile) {
        self.time_passes(now);
        if !file.zeroconf {
            self.services.clear();
            for known in self.dcs.values_mut() {
                known.until = known.until.min(now);
            }
        }
        self.zeroconf = file.zeroconf;
        self.persistence = match file.persistence {
            _ if !file.zeroconf => Some(Duration::ZERO),
            Persistence::Forever => None,
            Persistence::For(span) => Some(span),
        };
        self.follow(now);
    }

    /// stafd has ended: nobody listens.
    pub(crate) fn ends(&mut self, now: Time) {
        self.time_passes(now);
        self.services.clear();
        self.ifaces.clear();
    }

    /// stafd starts: who was announced or connected when it ended may be so still, and has its time to be heard.
    pub(crate) fn starts(&mut self, now: Time) {
        for known in self.dcs.values_mut().filter(|known| known.announced || known.live) {
            known.until = now + HEARD_AGAIN;
            (known.announced, known.live) = (false, false);
        }
        self.dcs.retain(|_, known| known.proven);
    }

    fn follow(&mut self, now: Time) {
        let places = self.services.iter().flat_map(|(target, (on, _))| on.iter().map(move |iface| (*target, *iface)));
        let there = places.filter(|(_, iface)| self.ifaces.contains(iface));
        let announced: BTreeSet<Tid> = there.map(|(target, iface)| target.dc(Some(iface))).collect();
        self.ever.extend(announced.iter().cloned());
        for (tid, known) in &mut self.dcs {
            known.announced = announced.contains(tid);
        }
        for tid in announced {
            let dead = Target::of(&tid.traddr).is_some_and(is_dead);
            let known = self.dcs.entry(tid).or_insert_with(|| Known { dead, ..Known::default() });
            (known.announced, known.over, known.until) = (true, false, now);
        }
        self.dcs.retain(|_, known| known.announced || known.proven);
    }

    /// stafd shows whether they are live.
    pub(crate) fn see(&mut self, now: Time, live: impl Fn(&Tid) -> bool) {
        for (tid, known) in &mut self.dcs {
            // Those that never answer need not be asked.
            known.live = !known.dead && live(tid);
            known.proven |= known.live;
            if known.live {
                known.until = known.until.max(now);
            }
        }
        self.dcs.retain(|_, known| known.announced || known.proven);
    }

    /// stafd has given one up: what was known of it from before is forgotten.
    pub(crate) fn give_up(&mut self, tid: &Tid) {
        if let Some(known) = self.dcs.get_mut(tid) {
            known.proven = false;
            known.live = false;
        }
        self.dcs.retain(|_, known| known.announced || known.proven);
    }

    /// stafd has lost its state.
    pub(crate) fn forget(&mut self) {
        self.dcs.clear();
    }

    /// True when there is anybody to be looked after.
    pub(crate) fn is_empty(&self) -> bool {
        self.dcs.is_empty()
    }

    /// True for what was announced at some time.
    pub(crate) fn ever(&self, tid: &Tid) -> bool {
        self.ever.contains(tid)
    }

    /// True for one that never answered while more is announced than stafd remembers: it makes room for others.
    pub(crate) fn may_be_evicted(&self, tid: &Tid) -> bool {
        self.services.len() > REMEMBERED && self.dcs.get(tid).is_some_and(|known| !known.proven)
    }

    /// Why it is not proved that nobody means it; `None` when it is, or was never announced.
    pub(crate) fn unproved(&self, tid: &Tid, now: Time) -> Option<String> {
        let known = self.dcs.get(tid)?;
        if known.announced {
            return Some("it is announced".into());
        }
        if known.over {
            return None;
        }
        if known.live {
            return Some("it was announced and is connected, and a goodbye alone disconnects nothing".into());
        }
        let Some(span) = self.persistence else {
            return Some("it was announced, and is kept for ever".into());
        };
        (now < known.until + span).then(|| {
            let ago = now.since(known.until).as_secs_f32();
            format!("it was announced or connected {ago:.1} s ago, and is kept for {} s", span.as_secs())
        })
    }

    /// Who ought to have been given up by then, for it was neither announced nor connected for too long.
    pub(crate) fn overdue(&self, now: Time, excused: Time, slack: Duration) -> impl Iterator<Item = &Tid> {
        let absent = self.dcs.iter().filter(|(_, known)| !known.announced && !known.live);
        absent.filter_map(move |(tid, known)| {
            let over = (known.until + self.persistence?).max(excused).max(known.meant_until) + slack;
            (over < now).then_some(tid)
        })
    }

    /// It is meant on somebody else's account.
    pub(crate) fn is_meant(&mut self, tid: &Tid, now: Time) {
        if let Some(known) = self.dcs.get_mut(tid) {
            known.meant_until = now;
        }
    }
}
