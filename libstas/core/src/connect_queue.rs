//! The order in which one daemon uses the kernel's connect path, and the probe that keeps dead targets off that path.
//!
//! The most trusted controllers come first. Within a trust level, first attempts come before repeated ones, and the
//! sources are served in turn (round robin). A controller whose attempt may block the connect path comes after all
//! others, at every trust level.
//!
//! The fleet enters a controller that is to be connected ([`ConnectQueue::enter`]). The queue probes its portal or
//! queues it, and says which controller is next ([`ConnectQueue::take_turn`]). A controller that leaves the queue
//! without a connection waits in the fleet's back-off and enters again.
//!
//! A portal is probed before every attempt that follows a failure. Before the first attempt it is probed only if
//! another connection waits in either daemon. A portal that served (a connect to it succeeded) and has not failed since
//! is never probed. If it is the turn of a controller whose probe ended more than 2 s ago, and only mDNS
//! announces it or the outcome was unclear, its portal is probed again. Meanwhile the next controller is served.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::effect::{HostEffect, Portal};
use super::probe::{ProbeError, ProbeOutcome};
use super::reasons::NotConnected;
use super::timers::Timer;
use super::trust::{Trust, Urgency};
use super::{OpId, Time};
use stas_nvme::{HostIdentity, Parameters, Tid};

/// Maximum number of probes at the same time.
pub const PROBES: usize = 64;
/// How many of these probes are not available to controllers that only mDNS announces.
pub const RESERVED_PROBES: usize = 8;
/// How long a portal's answer to a probe is valid for the other controllers of that portal, and for queued controllers
/// that only mDNS announces.
const ANSWER_HOLDS: Duration = Duration::from_secs(2);
/// The host answers a probe within 3 s. Without an answer after this time, the outcome is unknown.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// A failed write that took longer than this has blocked the connect path and is penalized.
const SLOW_WRITE: Duration = Duration::from_secs(1);
/// If probes say for this long that a portal is dead, a connect tests whether that is true, unless only mDNS lists the
/// portal. The program that probes has no privileges, and may be wrong.
pub const BELIEVED: Duration = Duration::from_secs(10);
/// Longest time between two such tests, while portals wait for one.
const TESTS_APART: Duration = Duration::from_secs(600);
/// A write that blocked the connect path for T is repeated after this many times T at the earliest.
pub const PENALTY_FACTOR: u32 = 10;
/// If a failed write took longer than this, the portal had accepted the TCP connection and then sent nothing: without
/// an answer to the SYN, the kernel ends the attempt after 3 s.
pub const SILENT_WRITE: Duration = Duration::from_secs(5);
/// If only mDNS announces the controller of such a portal, the next attempt follows after this time at the earliest.
const SILENT_PENALTY: Duration = Duration::from_secs(600);
/// A penalty is forgotten this long after its end, a failure this long after it happened.
const PENALTY_FORGOTTEN: Duration = Duration::from_secs(3600);
/// A write that takes longer than this is logged.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(90);
/// Longest wait between two probes of a portal: see [`crate::backoff::CAP`], with jitter.
const PROBED_AGAIN: Duration = Duration::from_secs(80);
/// Maximum number of portals remembered as having served. A forgotten portal costs one probe.
const SERVED: usize = 4096;

/// The order of the controllers of one trust level in the queue: lower classes come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A live controller uses the portal.
    Proven,
    /// Never tried before.
    First,
    /// Never tried before, and authenticates with a secret. A target that has refused a wrong secret may stop
    /// answering; the kernel then waits 60 s for it.
    Secret,
    /// An attempt at it has failed before.
    Repeated,
    /// The probe had no clear outcome.
    Unsure,
    /// A connect to its portal blocked the connect path before: served only when nothing else waits.
    Penalized,
}

/// The parameters and the identity of a connect. A penalty applies only to attempts with the same parameters and
/// identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptParameters {
    /// The connection parameters, including secrets.
    pub parameters: Parameters,
    /// The identity of the host.
    pub identity: Arc<HostIdentity>,
}

/// What the fleet knows of a controller that enters the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnqueueInfo {
    /// The trust level of its most trusted source.
    pub trust: Trust,
    /// The discovery controller whose page lists it; `None`: another source.
    pub listed_by: Option<Tid>,
    /// True if it was tried before.
    pub repeated: bool,
    /// True if a live controller uses its portal.
    pub portal_live: bool,
    /// It authenticates with DH-HMAC-CHAP: an attempt with a wrong secret takes long to fail.
    pub secret: bool,
}

/// A controller that the queue rejected, without an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The controller, with its address.
    pub tid: Tid,
    /// Why it was rejected.
    pub reason: NotConnected,
    /// When it is to enter again at the latest.
    pub not_after: Option<Time>,
}

impl Rejected {
    fn new(tid: Tid, reason: impl Into<NotConnected>) -> Self {
        Self { tid, reason: reason.into(), not_after: None }
    }
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// True if no connection was made.
    pub failed: bool,
    /// How long it blocked the connect path.
    pub blocked_for: Duration,
    /// True if a live controller uses the same portal.
    pub portal_live: bool,
    /// True if only mDNS announces the controller.
    pub announced_only: bool,
    /// The parameters and the identity of the write.
    pub attempt_parameters: AttemptParameters,
}

/// The consequences of a write that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The earliest time of the next attempt, if it blocked the connect path.
    pub penalty_until: Option<Time>,
    /// Other controllers of the same portal that are rejected with it.
    pub rejected: Vec<Rejected>,
}

#[derive(Clone, Debug)]
struct Probe {
    op: Option<OpId>,
    /// True if the probe may be skipped: this is the first attempt at the portal.
    may_be_skipped: bool,
    waiting: BTreeMap<Tid, EnqueueInfo>,
}

/// A penalty for blocking the connect path: the earliest time of the next attempt with the same parameters.
#[derive(Clone, Debug)]
struct Penalty {
    attempt_parameters: AttemptParameters,
    until: Time,
}

/// The position of a controller in the queue: the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueuePosition {
    urgency: Urgency,
    class: Class,
    /// The round: each source has one controller in each round.
    round: u64,
    /// The order of arrival.
    ticket: u64,
}

/// A portal that is not connected to because its probes say that it is dead.
#[derive(Clone, Copy, Debug)]
struct KeptOut {
    /// When a probe said so first, since the last connect.
    since: Time,
    /// When a probe said so last.
    last: Time,
}

#[derive(Clone, Copy, Debug)]
struct Busy {
    op: OpId,
    urgency: Urgency,
    since: Time,
    hang_logged: bool,
}

/// The connect queue of one daemon.
#[derive(Clone, Debug, Default)]
pub struct ConnectQueue {
    probes: BTreeMap<Portal, Probe>,
    not_yet_probed: VecDeque<Portal>,
    /// The probes under way that are not late.
    probing: BTreeMap<OpId, Portal>,
    late: BTreeSet<OpId>,
    /// Probes under way that the queue has not started.
    other_probes: usize,
    queue: BTreeMap<QueuePosition, Tid>,
    positions: BTreeMap<Tid, QueuePosition>,
    tickets: u64,
    /// The round that was served last, and the next one of each source.
    round: u64,
    rounds: BTreeMap<Option<Tid>, u64>,
    /// The urgency that was last sent to the host.
    announced: Option<Urgency>,
    /// Queued controllers that are probed again if they wait long: when their probe ended, and the data with which the
    /// controller entered.
    aging: BTreeMap<Tid, (Time, EnqueueInfo)>,
    busy: Option<Busy>,
    /// Portals that answered a probe.
    answered: BTreeMap<Portal, Time>,
    /// Portals that served and have not failed since.
    served: BTreeSet<Portal>,
    /// Portals that have failed since they last served.
    failed: BTreeMap<Portal, Time>,
    /// Portals that blocked the connect path: one penalty for each set of parameters.
    portal_penalties: BTreeMap<Portal, Vec<Penalty>>,
    /// Controllers whose connect blocked the connect path, even if their portal serves others.
    penalties: BTreeMap<Tid, Penalty>,
    /// Portals that are not connected to because their probes say that they are dead.
    kept_out: BTreeMap<Portal, KeptOut>,
    /// The portal whose verdict is being tested by a connect.
    tested: Option<Portal>,
    /// When the next verdict may be tested by a connect.
    next_test: Time,
    /// Consecutive tests that blocked the connect path, because the verdict was right.
    futile_tests: u32,
}

impl ConnectQueue {
    /// Enters a controller that is to be connected. Does nothing if it is in the queue already.
    pub fn enter(&mut self, ctx: &mut Context<'_>, tid: &Tid, info: EnqueueInfo) {
        if self.holds(tid) {
            return;
        }
        let Some(portal) = Portal::of(tid) else {
            let info = EnqueueInfo { portal_live: false, ..info };
            self.append(tid.clone(), class_of(&info), &info);
            return;
        };
        if !self.portal_penalties.contains_key(&portal) && self.needs_no_probe(ctx.now, &portal, &info) {
            self.append(tid.clone(), class_of(&info), &info);
            return;
        }
        self.probe_first(portal, tid, info);
        self.start_probes(ctx);
    }

    /// Lets a controller wait for a probe of its portal.
    fn probe_first(&mut self, portal: Portal, tid: &Tid, info: EnqueueInfo) {
        let is_first_attempt = !info.repeated && !self.failed.contains_key(&portal);
        let probe = self.probes.entry(portal.clone()).or_insert_with(|| {
            self.not_yet_probed.push_back(portal);
            Probe { op: None, may_be_skipped: is_first_attempt, waiting: BTreeMap::new() }
        });
        probe.waiting.insert(tid.clone(), info);
    }

    /// True for a portal that needs no probe: it has a live controller, served last, or has just answered.
    fn needs_no_probe(&self, now: Time, portal: &Portal, info: &EnqueueInfo) -> bool {
        let answered = self.answered.get(portal).is_some_and(|at| now.since(*at) < ANSWER_HOLDS);
        info.portal_live || answered || self.served.contains(portal)
    }

    /// A connection was lost, or an attempt failed: the next attempt at the portal is preceded by a probe.
    pub fn lost(&mut self, now: Time, tid: &Tid) {
        if let Some(portal) = Portal::of(tid) {
            self.served.remove(&portal);
            self.answered.remove(&portal);
            self.failed.insert(portal, now);
        }
    }

    /// Removes a controller from the queue. A probe or write under way continues.
    pub fn leave(&mut self, tid: &Tid) {
        if let Some(position) = self.positions.remove(tid) {
            self.queue.remove(&position);
        }
        self.aging.remove(tid);
        if let Some(probe) = Portal::of(tid).and_then(|portal| self.probes.get_mut(&portal)) {
            probe.waiting.remove(tid);
        }
    }

    /// Removes a controller that is no longer a member. Its portal no longer counts as having served, because no
    /// connection shows its failures any more.
    pub fn forget(&mut self, tid: &Tid) {
        self.leave(tid);
        if let Some(portal) = Portal::of(tid) {
            self.served.remove(&portal);
        }
    }

    /// True while the controller is being probed or waits for its turn.
    #[must_use]
    pub fn holds(&self, tid: &Tid) -> bool {
        self.positions.contains_key(tid) || self.waits_for_probe(tid)
    }

    fn waits_for_probe(&self, tid: &Tid) -> bool {
        let probe = Portal::of(tid).and_then(|portal| self.probes.get(&portal));
        probe.is_some_and(|probe| probe.waiting.contains_key(tid))
    }

    /// True while the controller waits for its write.
    #[must_use]
    pub fn queued(&self, tid: &Tid) -> bool {
        self.positions.contains_key(tid)
    }

    /// Handles the answer to a probe, however late. Returns the controllers that are rejected because of it.
    pub fn probed(&mut self, ctx: &mut Context<'_>, op: OpId, outcome: &ProbeOutcome) -> Vec<Rejected> {
        if self.late.remove(&op) {
            self.start_probes(ctx);
            return Vec::new();
        }
        let Some(portal) = self.probing.get(&op).cloned() else { return Vec::new() };
        let rejected = self.apply_outcome(ctx, &portal, outcome);
        self.start_probes(ctx);
        rejected
    }

    /// Removes and returns the next controller for which `may_connect` is true, and its urgency. The caller then starts
    /// the write with [`ConnectQueue::start`].
    pub fn take_turn(&mut self, ctx: &mut Context<'_>, may_connect: impl Fn(&Tid) -> bool) -> Option<(Tid, Urgency)> {
        if self.busy.is_some() {
            return None;
        }
        let position = match self.next(&may_connect) {
            Some(position) if self.is_outdated(ctx.now, position) => {
                self.probe_again(ctx);
                self.next(&may_connect)?
            }
            position => position?,
        };
        let tid = self.queue.remove(&position)?;
        self.positions.remove(&tid);
        self.round = self.round.max(position.round);
        if self.queue.is_empty() {
            self.rounds.clear();
        }
        self.aging.remove(&tid);
        Some((tid, position.urgency))
    }

    /// The next controller for which `may_connect` is true, unless it is being probed again.
    fn next(&self, may_connect: impl Fn(&Tid) -> bool) -> Option<QueuePosition> {
        let is_next = |tid: &Tid| may_connect(tid) && !self.waits_for_probe(tid);
        self.queue.iter().find(|(_, tid)| is_next(tid)).map(|(position, _)| *position)
    }

    /// True if the probe of a controller ended long ago, and nothing else has shown since that its portal serves.
    fn is_outdated(&self, now: Time, position: QueuePosition) -> bool {
        let Some(tid) = self.queue.get(&position) else { return false };
        let Some((probed, info)) = self.aging.get(tid) else { return false };
        let portal = Portal::of(tid);
        now.since(*probed) >= ANSWER_HOLDS && !portal.is_some_and(|portal| self.needs_no_probe(now, &portal, info))
    }

    /// Probes the queued controllers again whose probe ended long ago. They keep their positions in the meantime.
    fn probe_again(&mut self, ctx: &mut Context<'_>) {
        let outdated = self.queue.iter().filter(|(position, _)| self.is_outdated(ctx.now, **position));
        let outdated: Vec<Tid> = outdated.map(|(_, tid)| tid.clone()).collect();
        for tid in outdated {
            if let Some((portal, (_, info))) = Portal::of(&tid).zip(self.aging.remove(&tid)) {
                self.probe_first(portal, &tid, info);
            }
        }
        self.start_probes(ctx);
    }

    /// A write has started.
    pub fn start(&mut self, ctx: &mut Context<'_>, op: OpId, urgency: Urgency) {
        self.busy = Some(Busy { op, urgency, since: ctx.now, hang_logged: false });
        ctx.timers.set(Timer::WriteAnswer, ctx.now + WRITE_DEADLINE);
    }

    /// A write has ended. A slow failure is penalized. If no controller is live at its portal, all queued controllers
    /// of the portal are penalized too.
    pub fn ended(&mut self, ctx: &mut Context<'_>, op: OpId, tid: &Tid, write: Write) -> Ended {
        if self.busy.is_some_and(|busy| busy.op == op) {
            self.busy = None;
            ctx.timers.cancel(&Timer::WriteAnswer);
        }
        if let Some(portal) = Portal::of(tid) {
            self.kept_out.remove(&portal);
            if self.tested.take_if(|tested| *tested == portal).is_some() {
                self.verdict_tested(ctx.now, write.failed, write.blocked_for);
            }
        }
        if !write.failed {
            self.succeeded(ctx.now, tid);
            return Ended::default();
        }
        self.lost(ctx.now, tid);
        if write.blocked_for <= SLOW_WRITE {
            return Ended::default();
        }
        let is_silent = write.announced_only && write.blocked_for > SILENT_WRITE;
        let shortest = if is_silent { SILENT_PENALTY } else { Duration::ZERO };
        let until = ctx.now + shortest.max(write.blocked_for * PENALTY_FACTOR);
        let penalty = Penalty { attempt_parameters: write.attempt_parameters, until };
        self.penalties.insert(tid.clone(), penalty.clone());
        let mut rejected = Vec::new();
        if let Some(portal) = Portal::of(tid).filter(|_| !write.portal_live) {
            let queued: Vec<Tid> =
                self.positions.keys().filter(|t| Portal::of(t).as_ref() == Some(&portal)).cloned().collect();
            for tid in queued {
                self.leave(&tid);
                rejected.push(Rejected::new(tid, NotConnected::SlowPortal));
            }
            let penalties = self.portal_penalties.entry(portal).or_default();
            penalties.retain(|other| other.attempt_parameters != penalty.attempt_parameters);
            penalties.push(penalty);
        }
        Ended { penalty_until: Some(until), rejected }
    }

    fn succeeded(&mut self, now: Time, tid: &Tid) {
        self.penalties.remove(tid);
        let Some(portal) = Portal::of(tid) else { return };
        self.portal_penalties.remove(&portal);
        self.failed.remove(&portal);
        if self.served.len() >= SERVED {
            self.served.clear();
        }
        self.served.insert(portal.clone());
        self.answered.insert(portal, now);
    }

    /// Ends a write that did not connect a controller, but changed its secrets.
    pub fn free(&mut self, ctx: &mut Context<'_>, op: OpId) {
        if self.busy.is_some_and(|busy| busy.op == op) {
            self.busy = None;
            ctx.timers.cancel(&Timer::WriteAnswer);
        }
    }

    /// Sends the host the urgency of the next connection of this daemon, if it has changed. The other daemon lets a
    /// more urgent connection go first, also between two writes.
    pub fn announce(&mut self, ctx: &mut Context<'_>) {
        let queued = self.queue.first_key_value().map(|(position, _)| position.urgency);
        let urgency = queued.into_iter().chain(self.busy.map(|busy| busy.urgency)).min();
        if std::mem::replace(&mut self.announced, urgency) != urgency {
            ctx.host(HostEffect::WaitFor(urgency));
        }
    }

    /// The number of probes under way, including those for lost connections with new secrets.
    #[must_use]
    pub fn probes_running(&self) -> usize {
        self.probing.len() + self.late.len() + self.other_probes
    }

    /// Sets the number of probes under way for lost connections with new secrets. This queue has not started these, but
    /// the host makes [`PROBES`] altogether.
    pub fn set_other_probes(&mut self, number: usize) {
        self.other_probes = number;
    }

    /// True while a controller that is at least as trusted waits for its write. For announced-dc, any waiting controller
    /// counts.
    #[must_use]
    pub fn has_queue_before(&self, trust: Trust) -> bool {
        let next = self.queue.first_key_value().map(|(position, _)| position.urgency);
        next.is_some_and(|urgency| trust.is_announced_only() || urgency <= Urgency::Trusted(trust))
    }

    /// The earliest time of the next attempt with the same parameters and identity, if one blocked the connect path.
    #[must_use]
    pub fn penalty_until(&self, tid: &Tid, attempt_parameters: &AttemptParameters) -> Option<Time> {
        let at_portal = Portal::of(tid).and_then(|portal| self.portal_penalties.get(&portal)).into_iter().flatten();
        let same = self
            .penalties
            .get(tid)
            .into_iter()
            .chain(at_portal)
            .filter(|penalty| penalty.attempt_parameters == *attempt_parameters);
        same.map(|penalty| penalty.until).max()
    }

    /// Like [`ConnectQueue::penalty_until`], but ignores the penalties of the portal.
    #[must_use]
    pub fn own_penalty(&self, tid: &Tid, attempt_parameters: &AttemptParameters) -> Option<Time> {
        self.penalties
            .get(tid)
            .filter(|penalty| penalty.attempt_parameters == *attempt_parameters)
            .map(|penalty| penalty.until)
    }

    /// True while a write is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Handles the timers that are due. Returns the controllers whose probe was never answered and, once for each write
    /// that hangs, how long it has been running.
    pub fn tick(&mut self, ctx: &mut Context<'_>, due: &[Timer]) -> (Vec<Rejected>, Option<Duration>) {
        let mut rejected = Vec::new();
        let mut hanging = None;
        for timer in due {
            match timer {
                Timer::ProbeAnswer(portal) => {
                    // The slot stays occupied until the late answer arrives.
                    self.late.extend(self.probes.get(portal).and_then(|probe| probe.op));
                    rejected.extend(self.apply_outcome(ctx, portal, &ProbeOutcome::Unknown(ProbeError::NoAnswer)));
                }
                Timer::WriteAnswer => {
                    if let Some(busy) = self.busy.as_mut().filter(|busy| !busy.hang_logged) {
                        busy.hang_logged = true;
                        hanging = Some(ctx.now.since(busy.since));
                    }
                }
                _ => {}
            }
        }
        self.answered.retain(|_, at| ctx.now.since(*at) < ANSWER_HOLDS);
        self.failed.retain(|_, at| ctx.now.since(*at) < PENALTY_FORGOTTEN);
        self.kept_out.retain(|_, kept| ctx.now.since(kept.last) < PENALTY_FORGOTTEN);
        self.penalties.retain(|_, penalty| ctx.now.since(penalty.until) < PENALTY_FORGOTTEN);
        for penalties in self.portal_penalties.values_mut() {
            penalties.retain(|penalty| ctx.now.since(penalty.until) < PENALTY_FORGOTTEN);
        }
        self.portal_penalties.retain(|_, penalties| !penalties.is_empty());
        self.start_probes(ctx);
        (rejected, hanging)
    }

    fn apply_outcome(&mut self, ctx: &mut Context<'_>, portal: &Portal, outcome: &ProbeOutcome) -> Vec<Rejected> {
        let is_alone = self.is_alone();
        let Some(mut probe) = self.probes.remove(portal) else { return Vec::new() };
        if let Some(op) = probe.op {
            self.probing.remove(&op);
        }
        ctx.timers.cancel(&Timer::ProbeAnswer(portal.clone()));
        self.not_yet_probed.retain(|waiting| waiting != portal);
        if *outcome == ProbeOutcome::Skipped && !is_alone {
            // A controller that needs a probe has entered meanwhile.
            probe.op = None;
            probe.may_be_skipped = false;
            self.not_yet_probed.push_front(portal.clone());
            self.probes.insert(portal.clone(), probe);
            return Vec::new();
        }
        let penalized = self.portal_penalties.contains_key(portal);
        let is_trusted = |info: &EnqueueInfo| !info.trust.is_announced_only();
        // Portals that only mDNS lists are not tested: they would delay the tests of trusted portals.
        let may_test = probe.waiting.values().any(is_trusted);
        let is_test = match outcome {
            ProbeOutcome::Dead(_) => may_test && self.starts_test(ctx.now, portal),
            ProbeOutcome::Unknown(_) => penalized && may_test && self.starts_test(ctx.now, portal),
            ProbeOutcome::Alive | ProbeOutcome::Skipped => {
                self.kept_out.remove(portal);
                false
            }
        };
        let not_after = self.kept_out.get(portal).map(|kept| kept.since + BELIEVED).filter(|until| *until > ctx.now);
        let mut rejected = Vec::new();
        for (tid, info) in probe.waiting {
            match outcome {
                ProbeOutcome::Alive | ProbeOutcome::Skipped => {
                    let class = if penalized { Class::Penalized } else { class_of(&info) };
                    let was_queued = self.positions.contains_key(&tid);
                    self.append(tid.clone(), class, &info);
                    // Anyone can announce hundreds of portals that answer once. A second answer suffices: others are
                    // served while the controller is probed, so it must not be probed each time.
                    if info.trust.is_announced_only() && !was_queued {
                        self.aging.insert(tid, (ctx.now, info));
                    }
                }
                ProbeOutcome::Dead(_) | ProbeOutcome::Unknown(_) if is_test && is_trusted(&info) => {
                    self.append(tid, Class::Penalized, &info);
                }
                ProbeOutcome::Dead(failure) => {
                    self.leave(&tid);
                    let not_after = not_after.filter(|_| is_trusted(&info));
                    rejected.push(Rejected { not_after, ..Rejected::new(tid, *failure) });
                }
                ProbeOutcome::Unknown(error) if penalized => {
                    self.leave(&tid);
                    rejected.push(Rejected::new(tid, error.clone()));
                }
                ProbeOutcome::Unknown(_) => {
                    self.append(tid.clone(), Class::Unsure, &info);
                    self.aging.insert(tid, (ctx.now, info));
                }
            }
        }
        match outcome {
            ProbeOutcome::Alive => drop(self.answered.insert(portal.clone(), ctx.now)),
            ProbeOutcome::Dead(_) => {
                self.served.remove(portal);
                self.answered.remove(portal);
                self.failed.insert(portal.clone(), ctx.now);
            }
            ProbeOutcome::Unknown(_) | ProbeOutcome::Skipped => drop(self.answered.remove(portal)),
        }
        rejected
    }

    /// Records a verdict that keeps a portal out of the queue. True if a connect now tests it: it is older than
    /// [`BELIEVED`], and no other portal has been kept out for longer. Only one verdict is tested at a time, and most
    /// of the time none, because a connect to a dead target blocks the connect path.
    fn starts_test(&mut self, now: Time, portal: &Portal) -> bool {
        let kept = self.kept_out.entry(portal.clone()).or_insert(KeptOut { since: now, last: now });
        kept.last = now;
        let since = kept.since;
        let mut penalties = self.portal_penalties.get(portal).into_iter().flatten();
        let is_penalized = penalties.any(|penalty| penalty.until > now);
        let mut current = self.kept_out.values().filter(|other| now.since(other.last) < PROBED_AGAIN);
        let is_next = current.all(|other| other.since >= since);
        let is_due = now.since(since) >= BELIEVED && now >= self.next_test;
        if is_penalized || !is_next || !is_due || self.is_testing() {
            return false;
        }
        self.tested = Some(portal.clone());
        true
    }

    /// True if a trial of a secret may now test whether a portal that was reported as dead is dead.
    #[must_use]
    pub fn may_test_verdict(&self, now: Time) -> bool {
        now >= self.next_test && !self.is_testing()
    }

    /// Takes the outcome of such a test. `failed`: the portal is dead, as reported. If the write also blocked the
    /// connect path, the wait before the next test grows.
    pub fn verdict_tested(&mut self, now: Time, failed: bool, blocked_for: Duration) {
        if !failed {
            (self.futile_tests, self.next_test) = (0, now);
        } else if blocked_for > SLOW_WRITE {
            let wait = blocked_for * PENALTY_FACTOR * (1 << self.futile_tests.min(8));
            self.next_test = now + wait.min(TESTS_APART);
            self.futile_tests = self.futile_tests.saturating_add(1);
        }
    }

    /// True while the portal whose verdict is being tested is queued or connected to.
    fn is_testing(&self) -> bool {
        self.tested.as_ref().is_some_and(|tested| {
            self.busy.is_some() || self.positions.keys().any(|tid| Portal::of(tid).as_ref() == Some(tested))
        })
    }

    /// True when the queue holds exactly one controller, which is not being probed again, and no write is under way.
    fn is_alone(&self) -> bool {
        let waiting: usize = self.probes.values().map(|probe| probe.waiting.len()).sum();
        self.busy.is_none() && self.late.is_empty() && self.positions.len() + waiting == 1
    }

    /// Appends a controller to its class. If it was probed again, it keeps its position in the same class.
    fn append(&mut self, tid: Tid, class: Class, info: &EnqueueInfo) {
        let urgency = match class {
            Class::Unsure | Class::Penalized => Urgency::Last,
            Class::Proven | Class::First | Class::Secret | Class::Repeated => Urgency::Trusted(info.trust),
        };
        if let Some(position) = self.positions.get(&tid).copied() {
            if (position.urgency, position.class) == (urgency, class) {
                return;
            }
            self.queue.remove(&position);
        }
        self.tickets += 1;
        let next = self.rounds.entry(info.listed_by.clone()).or_default();
        let round = self.round.max(*next);
        *next = round + 1;
        let position = QueuePosition { urgency, class, round, ticket: self.tickets };
        self.positions.insert(tid.clone(), position);
        self.queue.insert(position, tid);
    }

    /// Drops the probes for which no controller waits any more.
    fn drop_idle_probes(&mut self) {
        let probes = &mut self.probes;
        self.not_yet_probed.retain(|portal| {
            let is_idle = probes.get(portal).is_none_or(|probe| probe.waiting.is_empty());
            if is_idle {
                probes.remove(portal);
            }
            !is_idle
        });
    }

    /// The portal to be probed next: among the portals of the most trusted controllers, the one that has waited
    /// longest.
    fn next_to_probe(&self) -> Option<(Portal, Trust)> {
        let trust = |portal: &Portal| self.probes.get(portal)?.waiting.values().map(|info| info.trust).min();
        let waiting = self.not_yet_probed.iter().filter_map(|portal| Some((portal, trust(portal)?)));
        waiting.min_by_key(|(_, trust)| *trust).map(|(portal, trust)| (portal.clone(), trust))
    }

    fn start_probes(&mut self, ctx: &mut Context<'_>) {
        let mut running = self.probes_running();
        if running >= PROBES {
            return;
        }
        let is_alone = self.is_alone();
        self.drop_idle_probes();
        while let Some((portal, trust)) = self.next_to_probe() {
            let slots = if trust.is_announced_only() { PROBES - RESERVED_PROBES } else { PROBES };
            if running >= slots {
                return;
            }
            self.not_yet_probed.retain(|waiting| *waiting != portal);
            let Some(probe) = self.probes.get_mut(&portal) else { continue };
            let op = ctx.next_op();
            probe.op = Some(op);
            self.probing.insert(op, portal.clone());
            running += 1;
            let only_if_others_wait = probe.may_be_skipped && is_alone;
            ctx.timers.set(Timer::ProbeAnswer(portal.clone()), ctx.now + PROBE_DEADLINE);
            ctx.host(HostEffect::Probe { op, portal, only_if_others_wait });
        }
    }
}

fn class_of(info: &EnqueueInfo) -> Class {
    match *info {
        EnqueueInfo { repeated: true, .. } => Class::Repeated,
        EnqueueInfo { secret: true, .. } => Class::Secret,
        EnqueueInfo { portal_live: true, .. } => Class::Proven,
        EnqueueInfo { .. } => Class::First,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
