//! The way to the kernel's one connect lane: reachability first, then a queue in which nobody waits behind a
//! target that is known to be dead (design, policy 3).
//!
//! The fleet brings a controller that is to be connected ([`Lane::enter`]); the lane probes its portal or lets it
//! queue, and says who is next ([`Lane::take_turn`]). Whatever leaves the lane without a connection waits in the
//! fleet's back-off and enters again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::effect::{HostEffect, Portal, ProbeOutcome};
use super::timers::Timers;
use super::{OpId, OpIds, Time};
use crate::nvme::Tid;

/// How many portals are probed at once.
pub const PROBES: usize = 64;
/// A portal that answered this short a while ago is not probed again.
pub const ANSWER_HOLDS: Duration = Duration::from_secs(2);
/// The host answers a probe within 3 s; when it has not by now, nothing is known of the portal.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// A failed write that took longer than this has wasted the lane.
pub const WASTE: Duration = Duration::from_secs(1);
/// A target that wasted the lane for T stays away for this many times T.
pub const WASTE_FACTOR: u32 = 10;
/// A target that nobody tried for this long after its ban is like any other again.
pub const WASTE_FORGOTTEN: Duration = Duration::from_secs(3600);
/// A write that takes longer than this is told.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(90);

/// The order in the lane: who comes first waits for the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A live controller uses the portal.
    Proven,
    /// Never tried before.
    First,
    /// Never tried before, and with a secret: where it is the wrong one, a target may fall silent after refusing it,
    /// and the kernel waits its 60 s for the answer.
    Secret,
    /// Tried before.
    Repeated,
    /// The probe could not tell.
    Unsure,
    /// It wasted the lane before: only when nothing else waits.
    Waster,
}

/// What the fleet says of a controller that enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It was tried before.
    pub repeated: bool,
    /// A live controller uses its portal.
    pub portal_live: bool,
    /// It authenticates.
    pub secret: bool,
}

/// A controller that the lane turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Which.
    pub tid: Tid,
    /// Why.
    pub reason: String,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// No connection came of it.
    pub failed: bool,
    /// How long it held the lane.
    pub held: Duration,
    /// A live controller uses the same portal.
    pub portal_live: bool,
}

/// What follows from the end of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Until when the target must stay away, if it wasted the lane.
    pub stay_away: Option<Time>,
    /// Who else is turned away with it.
    pub turned: Vec<Turned>,
}

#[derive(Clone, Debug)]
struct Probe {
    op: Option<OpId>,
    waiting: BTreeMap<Tid, Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Busy {
    op: OpId,
    since: Time,
    told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Probe(Portal),
    Write,
}

/// The lane of one daemon.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    probes: BTreeMap<Portal, Probe>,
    not_yet_probed: VecDeque<Portal>,
    late: BTreeSet<OpId>,
    queue: BTreeMap<(Class, u64), Tid>,
    places: BTreeMap<Tid, (Class, u64)>,
    tickets: u64,
    /// Those in the queue of whom the probe could not tell, since when, and how they had come.
    unsure: BTreeMap<Tid, (Time, Standing)>,
    busy: Option<Busy>,
    answered: BTreeMap<Portal, Time>,
    wasted_until: BTreeMap<Portal, Time>,
    timers: Timers<Timer>,
}

impl Lane {
    /// A controller wants to be connected. Twice is as good as once.
    pub fn enter(&mut self, now: Time, tid: &Tid, standing: Standing, ops: &mut OpIds, out: &mut Vec<HostEffect>) {
        if self.holds(tid) {
            return;
        }
        let Some(portal) = Portal::of(tid) else {
            self.line_up(tid.clone(), class_of(Standing { portal_live: false, ..standing }));
            return;
        };
        let waster = self.wasted_until.contains_key(&portal);
        let answered = self.answered.get(&portal).is_some_and(|at| now.since(*at) < ANSWER_HOLDS);
        if !waster && (standing.portal_live || answered) {
            self.line_up(tid.clone(), class_of(standing));
            return;
        }
        let probe = self.probes.entry(portal.clone()).or_insert_with(|| {
            self.not_yet_probed.push_back(portal);
            Probe { op: None, waiting: BTreeMap::new() }
        });
        probe.waiting.insert(tid.clone(), standing);
        self.start_probes(now, ops, out);
    }

    /// A controller no longer wants to be connected. A probe or write under way goes on.
    pub fn leave(&mut self, tid: &Tid) {
        if let Some(place) = self.places.remove(tid) {
            self.queue.remove(&place);
        }
        self.unsure.remove(tid);
        for probe in self.probes.values_mut() {
            probe.waiting.remove(tid);
        }
    }

    /// True while the controller is being probed or waits for its turn.
    #[must_use]
    pub fn holds(&self, tid: &Tid) -> bool {
        self.places.contains_key(tid) || self.probes.values().any(|probe| probe.waiting.contains_key(tid))
    }

    /// True while the controller waits for its turn to be written.
    #[must_use]
    pub fn queued(&self, tid: &Tid) -> bool {
        self.places.contains_key(tid)
    }

    /// A probe's answer, which may come late. Gives back whom it turned away.
    pub fn probed(
        &mut self,
        now: Time,
        op: OpId,
        outcome: &ProbeOutcome,
        ops: &mut OpIds,
        out: &mut Vec<HostEffect>,
    ) -> Vec<Turned> {
        if self.late.remove(&op) {
            self.start_probes(now, ops, out);
            return Vec::new();
        }
        let Some(portal) = self.probes.iter().find(|(_, probe)| probe.op == Some(op)).map(|(portal, _)| portal.clone())
        else {
            return Vec::new();
        };
        let turned = self.judge(now, &portal, outcome);
        self.start_probes(now, ops, out);
        turned
    }

    /// Who may be written now; the caller then starts the write with [`Lane::start`].
    pub fn take_turn(&mut self, now: Time, ops: &mut OpIds, out: &mut Vec<HostEffect>) -> Option<Tid> {
        if self.busy.is_some() {
            return None;
        }
        self.ask_again(now, ops, out);
        let (_, tid) = self.queue.pop_first()?;
        self.places.remove(&tid);
        self.unsure.remove(&tid);
        Some(tid)
    }

    /// When it is the turn of those of whom the probe could not tell, they are probed again if that was a while ago: what
    /// the probe had met may have passed, and each dead one among them would hold the lane.
    fn ask_again(&mut self, now: Time, ops: &mut OpIds, out: &mut Vec<HostEffect>) {
        if self.queue.first_key_value().is_none_or(|((class, _), _)| *class != Class::Unsure) {
            return;
        }
        let waiting = self.unsure.iter().filter(|(_, (since, _))| now.since(*since) >= ANSWER_HOLDS);
        let waiting: Vec<(Tid, Standing)> = waiting.map(|(tid, (_, standing))| (tid.clone(), *standing)).collect();
        for (tid, standing) in waiting {
            self.leave(&tid);
            self.enter(now, &tid, standing, ops, out);
        }
    }

    /// A write has started.
    pub fn start(&mut self, now: Time, op: OpId) {
        self.busy = Some(Busy { op, since: now, told: false });
        self.timers.set(Timer::Write, now + WRITE_DEADLINE);
    }

    /// A write has ended, after it held the lane for `held`. A target that failed slowly is kept away for a while; if
    /// nothing lives at its portal, so is everybody who queued for that portal.
    pub fn ended(&mut self, now: Time, op: OpId, tid: &Tid, write: Write) -> Ended {
        if self.busy.is_some_and(|busy| busy.op == op) {
            self.busy = None;
            self.timers.cancel(&Timer::Write);
        }
        let portal = Portal::of(tid);
        if !write.failed {
            if let Some(portal) = portal {
                self.wasted_until.remove(&portal);
                self.answered.insert(portal, now);
            }
            return Ended::default();
        }
        if write.held <= WASTE {
            return Ended::default();
        }
        let until = now + write.held * WASTE_FACTOR;
        let mut turned = Vec::new();
        if let Some(portal) = portal.filter(|_| !write.portal_live) {
            let queued: Vec<Tid> =
                self.places.keys().filter(|t| Portal::of(t).as_ref() == Some(&portal)).cloned().collect();
            for tid in queued {
                self.leave(&tid);
                turned.push(Turned { tid, reason: "another connect to the same portal failed slowly".into() });
            }
            self.answered.remove(&portal);
            self.wasted_until.insert(portal, until);
        }
        Ended { stay_away: Some(until), turned }
    }

    /// Until when a target that wasted the lane must stay away.
    #[must_use]
    pub fn banned_until(&self, tid: &Tid) -> Option<Time> {
        self.wasted_until.get(&Portal::of(tid)?).copied()
    }

    /// True while a write is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// What is due: probes that were never answered, and, once, for how long a write has been hanging.
    pub fn tick(&mut self, now: Time, ops: &mut OpIds, out: &mut Vec<HostEffect>) -> (Vec<Turned>, Option<Duration>) {
        let mut turned = Vec::new();
        let mut hanging = None;
        for timer in self.timers.due(now) {
            match timer {
                Timer::Probe(portal) => {
                    // The slot stays taken until the late answer comes.
                    self.late.extend(self.probes.get(&portal).and_then(|probe| probe.op));
                    turned.extend(self.judge(now, &portal, &ProbeOutcome::Unknown("the probe never ended".into())));
                }
                Timer::Write => {
                    if let Some(busy) = self.busy.as_mut().filter(|busy| !busy.told) {
                        busy.told = true;
                        hanging = Some(now.since(busy.since));
                    }
                }
            }
        }
        self.answered.retain(|_, at| now.since(*at) < ANSWER_HOLDS);
        self.wasted_until.retain(|_, until| now.since(*until) < WASTE_FORGOTTEN);
        self.start_probes(now, ops, out);
        (turned, hanging)
    }

    /// When to tick at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.timers.deadline()
    }

    fn judge(&mut self, now: Time, portal: &Portal, outcome: &ProbeOutcome) -> Vec<Turned> {
        let Some(probe) = self.probes.remove(portal) else { return Vec::new() };
        self.timers.cancel(&Timer::Probe(portal.clone()));
        self.not_yet_probed.retain(|waiting| waiting != portal);
        let waster = self.wasted_until.contains_key(portal);
        let mut turned = Vec::new();
        for (tid, standing) in probe.waiting {
            match outcome {
                ProbeOutcome::Alive if waster => self.line_up(tid, Class::Waster),
                ProbeOutcome::Alive => self.line_up(tid, class_of(standing)),
                ProbeOutcome::Dead(reason) => turned.push(Turned { tid, reason: reason.clone() }),
                ProbeOutcome::Unknown(reason) if waster => turned.push(Turned { tid, reason: reason.clone() }),
                ProbeOutcome::Unknown(_) => {
                    self.unsure.insert(tid.clone(), (now, standing));
                    self.line_up(tid, Class::Unsure);
                }
            }
        }
        match outcome {
            ProbeOutcome::Alive => self.answered.insert(portal.clone(), now),
            _ => self.answered.remove(portal),
        };
        turned
    }

    fn line_up(&mut self, tid: Tid, class: Class) {
        self.tickets += 1;
        let place = (class, self.tickets);
        self.places.insert(tid.clone(), place);
        self.queue.insert(place, tid);
    }

    fn start_probes(&mut self, now: Time, ops: &mut OpIds, out: &mut Vec<HostEffect>) {
        let mut running = self.probes.values().filter(|probe| probe.op.is_some()).count() + self.late.len();
        while running < PROBES {
            let Some(portal) = self.not_yet_probed.pop_front() else { return };
            let Some(probe) = self.probes.get_mut(&portal) else { continue };
            if probe.waiting.is_empty() {
                self.probes.remove(&portal);
                continue;
            }
            let op = ops.issue();
            probe.op = Some(op);
            running += 1;
            self.timers.set(Timer::Probe(portal.clone()), now + PROBE_DEADLINE);
            let handshake = self.wasted_until.contains_key(&portal);
            out.push(HostEffect::Probe { op, portal, handshake });
        }
    }
}

fn class_of(standing: Standing) -> Class {
    match standing {
        Standing { repeated: true, .. } => Class::Repeated,
        Standing { secret: true, .. } => Class::Secret,
        Standing { portal_live: true, .. } => Class::Proven,
        Standing { .. } => Class::First,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
