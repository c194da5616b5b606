//! Changing the DH-HMAC-CHAP secret of an existing connection.
//!
//! The kernel authenticates with the secret that was set at the connect. After a change of the target's key, the target
//! refuses the next reconnect, and the kernel removes the controller: storage is lost. A new secret can be written to
//! sysfs, but while the target still has the old one, it refuses the new one. If a new secret is written for a live
//! controller, the controller authenticates again at once. If its connection is lost meanwhile, it never recovers: the
//! kernel's error recovery waits for the authentication, which waits for the lost connection (Linux 6.12). So the
//! secret of a live controller is never changed.
//!
//! While a secret is pending, a snapshot is taken each second. When a connection is lost, the kernel waits
//! (reconnect-delay) before it reconnects. In that time three things happen: the portal is probed, the new secret is
//! tried by a separate connect that creates no namespace, and if the target accepted it, it is written. A failed or
//! late probe does not delay the trial. A portal that the probe reports as dead is not tried, with one exception: if it
//! is still reported as unreachable 4 s after the loss, one trial tests this, because stas-net runs without privileges
//! and its reports are not trusted.
//!
//! Storage is lost all the same in two cases. If the controller is reset after the target's key was changed, the kernel
//! reconnects without a wait. If the outage lasts longer than the wait, the kernel's next attempt can come first.
//!
//! No trial is made for FC, because the kernel's connect returns before the target has answered; nor for an encrypted
//! connection, because the trial would not be encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Fleet, Kind};
use crate::connect_queue::{PENALTY_FACTOR, PROBES, RESERVED_PROBES, SILENT_WRITE};
use crate::context::Context;
use crate::effect::{ConnectRequest, HostEffect, Level, Portal, Rotated};
use crate::member::Member;
use crate::probe::ProbeOutcome;
use crate::timers::Timer;
use crate::trust::{Trust, Urgency};
use crate::{CtrlRef, OpId, Time};
use stas_nvme::secret::DhchapSecrets;
use stas_nvme::{Purpose, Tid, Transport};

/// Interval of the trials for a lost connection.
const LOST_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of probes for lost connections at the same time.
const PROBE_LIMIT: usize = PROBES - RESERVED_PROBES;
/// How long to wait for the answer to a probe, which takes at most 3 s. The kernel reconnects after 10 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// If the probes still report the portal as unreachable this long after the loss, a trial tests this.
const TEST_VERDICT_AFTER: Duration = Duration::from_secs(4);
/// A failed comparison is repeated after this time.
const COMPARE_AGAIN: Duration = Duration::from_secs(60);

/// A controller whose kernel connection may have other secrets than the configured ones.
#[derive(Clone, Debug)]
struct Pending {
    ctrl: CtrlRef,
    wanted: DhchapSecrets,
    step: Step,
    /// When to compare the secrets, unless the connection is lost.
    compare: Option<Time>,
    /// The earliest time of the next trial, if the connection is lost.
    not_before: Time,
    /// The last log line: repeats are not logged.
    logged: Option<String>,
    /// When a snapshot first showed the connection as lost; `None` if it is not lost.
    lost_since: Option<Time>,
    /// True once a trial has started to test a verdict during this loss.
    tested: bool,
}

impl Pending {
    /// Forgets the loss of the connection, and the probe of its portal. A trial under way continues.
    fn restart(&mut self) {
        self.lost_since = None;
        self.forget_probe();
    }

    /// The next trial is preceded by another probe.
    fn forget_probe(&mut self) {
        if matches!(self.step, Step::Probing(..) | Step::Ready { .. }) {
            self.step = Step::Waiting;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waiting,
    /// The deadline of the probe's answer.
    Probing(OpId, Time),
    /// To be tried next. `is_test`: the probe reports the portal as unreachable, and the trial tests this.
    Ready {
        is_test: bool,
    },
    Trying {
        op: OpId,
        is_test: bool,
    },
}

/// The known secrets of the kernel's connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Rotation {
    /// The secrets of each connection, where known.
    known: BTreeMap<CtrlRef, DhchapSecrets>,
    pending: BTreeMap<Tid, Pending>,
    /// The probes under way, one for each portal, and the deadlines of their answers.
    probes: BTreeMap<Portal, (OpId, Time)>,
}

impl Rotation {
    /// Records the secrets that a connection was made with.
    pub(super) fn made_with(&mut self, ctrl: CtrlRef, secrets: Option<DhchapSecrets>) {
        self.known.extend(secrets.map(|secrets| (ctrl, secrets)));
    }

    /// Forgets a connection that is gone.
    pub(super) fn gone(&mut self, ctrl: CtrlRef) {
        self.known.remove(&ctrl);
        self.pending.retain(|_, pending| pending.ctrl != ctrl);
    }

    /// Forgets the secrets of connections that are gone.
    pub(super) fn retain(&mut self, exists: impl Fn(CtrlRef) -> bool) {
        self.known.retain(|ctrl, _| exists(*ctrl));
    }

    /// How often a snapshot is needed while secrets are pending: no event reports a lost connection.
    pub(super) fn snapshot_interval(&self) -> Option<Duration> {
        (!self.pending.is_empty()).then_some(LOST_EVERY)
    }

    /// The controller whose secrets are being compared or tried.
    pub(super) fn trying(&self) -> Option<&Tid> {
        self.pending.iter().find(|(_, pending)| matches!(pending.step, Step::Trying { .. })).map(|(tid, _)| tid)
    }

    /// The members with the same connection and the same wanted secrets.
    fn sharing(&self, ctrl: CtrlRef, wanted: &DhchapSecrets) -> impl Iterator<Item = &Tid> {
        let shares = move |pending: &Pending| pending.ctrl == ctrl && pending.wanted == *wanted;
        self.pending.iter().filter(move |(_, pending)| shares(pending)).map(|(tid, _)| tid)
    }

    /// Of the members with the same connection and the same wanted secrets, the most trusted one. The most trusted of
    /// all comes first. The others restart from Waiting when they become the most trusted.
    fn firsts(&mut self, trust: impl Fn(&Tid) -> Option<Trust>) -> Vec<Tid> {
        let mut seen: BTreeMap<CtrlRef, Vec<&DhchapSecrets>> = BTreeMap::new();
        let (mut firsts, mut others) = (Vec::new(), Vec::new());
        let mut pending: Vec<(&Tid, &Pending)> = self.pending.iter().collect();
        pending.sort_by_key(|(tid, _)| (trust(tid), *tid));
        for (tid, pending) in pending {
            let seen = seen.entry(pending.ctrl).or_default();
            if seen.contains(&&pending.wanted) {
                others.push(tid.clone());
            } else {
                seen.push(&pending.wanted);
                firsts.push(tid.clone());
            }
        }
        for tid in others {
            self.pending.entry(tid).and_modify(Pending::restart);
        }
        firsts
    }
}

impl Fleet {
    /// A member holds a connection: schedules a comparison of its secrets with the configured ones.
    pub(super) fn check_secrets(&mut self, now: Time, tid: &Tid) {
        let may_be_tried = self.kind == Kind::Io && tid.transport() != Transport::Fc && self.obstacle(tid).is_none();
        let wanted = self.wanted_secrets(tid).filter(|_| may_be_tried);
        let ctrl = self.members.get(tid).filter(|member| member.is_wanted()).and_then(Member::ctrl);
        let (Some(ctrl), Some(wanted)) = (ctrl, wanted) else {
            self.rotation.pending.remove(tid);
            return;
        };
        if self.rotation.known.get(&ctrl) == Some(&wanted) {
            self.rotation.pending.remove(tid);
            return;
        }
        let is_known = |pending: &Pending| pending.ctrl == ctrl && pending.wanted == wanted;
        if !self.rotation.pending.get(tid).is_some_and(is_known) {
            let pending = Pending {
                ctrl,
                wanted,
                step: Step::Waiting,
                compare: Some(now),
                not_before: now,
                logged: None,
                lost_since: None,
                tested: false,
            };
            self.rotation.pending.insert(tid.clone(), pending);
        }
    }

    /// The configured secrets of a member; `None` without a usable one.
    fn wanted_secrets(&self, tid: &Tid) -> Option<DhchapSecrets> {
        let parameters = &self.members.get(tid)?.want.parameters;
        parameters.dhchap_secrets(self.identity.as_ref()?.key.as_ref())
    }

    /// Performs the next step of each pending change.
    pub(super) fn rotate(&mut self, ctx: &mut Context<'_>) {
        let Self { rotation, members, inventory, connect_queue, .. } = self;
        rotation.pending.retain(|tid, pending| {
            let held = members.get(tid).filter(|member| member.is_wanted()).and_then(Member::ctrl);
            held == Some(pending.ctrl) && inventory.get(pending.ctrl).is_some()
        });
        rotation.probes.retain(|_, (_, until)| ctx.now < *until);
        connect_queue.set_other_probes(rotation.probes.len());
        let firsts = rotation.firsts(|tid| members.get(tid).map(|member| member.want.trust));
        match firsts.iter().filter_map(|tid| self.rotate_one(ctx, tid)).min() {
            Some(at) => ctx.timers.set(Timer::Rotate, at),
            None => ctx.timers.cancel(&Timer::Rotate),
        }
    }

    /// Returns when to call it again at the latest.
    fn rotate_one(&mut self, ctx: &mut Context<'_>, tid: &Tid) -> Option<Time> {
        let Rotation { pending, probes, .. } = &mut self.rotation;
        let pending = pending.get_mut(tid)?;
        let lost = self.inventory.get(pending.ctrl)?.state.is_reconnecting();
        let trust = self.members.get(tid)?.want.trust;
        let is_announced = trust.is_announced_only();
        match (lost, pending.lost_since) {
            (true, None) => {
                // Ignore the wait after an earlier slow trial: storage depends on this trial.
                if !is_announced {
                    pending.not_before = ctx.now;
                }
                (pending.lost_since, pending.tested, pending.logged) = (Some(ctx.now), false, None);
            }
            (true, Some(_)) => {}
            // The probe of this loss says nothing about the next one.
            (false, _) => pending.restart(),
        }
        let at = if lost { pending.not_before } else { pending.compare? };
        let has_probe = |tid: &Tid| Portal::of(tid).is_some_and(|portal| probes.contains_key(&portal));
        match pending.step {
            Step::Trying { .. } => return None,
            Step::Probing(_, until) if ctx.now < until => return Some(until),
            Step::Waiting if ctx.now < at => return Some(at),
            // The host makes a limited number of probes at the same time: leaves some to the queue. Announced controllers
            // leave some to the trusted ones, too.
            Step::Waiting if lost && probes.len() >= PROBE_LIMIT && !has_probe(tid) => {
                return Some(ctx.now + LOST_EVERY);
            }
            Step::Waiting
                if lost
                    && is_announced
                    && (self.connect_queue.probes_running() >= PROBE_LIMIT - RESERVED_PROBES
                        || self.connect_queue.has_queue_before(trust)) =>
            {
                return Some(ctx.now + LOST_EVERY);
            }
            Step::Waiting if lost && let Some(portal) = Portal::of(tid) => {
                let (op, until) = *probes.entry(portal).or_insert_with_key(|portal| {
                    let (op, portal) = (ctx.next_op(), portal.clone());
                    ctx.host(HostEffect::Probe { op, portal, only_if_others_wait: false });
                    (op, ctx.now + ANSWER_WITHIN)
                });
                self.connect_queue.set_other_probes(probes.len());
                pending.step = Step::Probing(op, until);
                return Some(until);
            }
            Step::Waiting | Step::Probing(..) | Step::Ready { .. } => {}
        }
        // The trial for a lost trusted connection waits only for the write under way. Every other trial waits until no
        // controller that is at least as trusted is queued, trials for announced controllers until the queue is empty:
        // an announced target can drop any number of its connections, and each trial can block the connect path for a
        // minute.
        let has_priority = lost && !is_announced;
        if self.connect_queue.is_busy() || !has_priority && self.connect_queue.has_queue_before(trust) {
            return Some(ctx.now + LOST_EVERY);
        }
        if pending.step == (Step::Ready { is_test: true }) {
            // A trial at a dead portal delays trials at live portals.
            if !self.connect_queue.may_test_verdict(ctx.now) {
                (pending.step, pending.not_before) = (Step::Waiting, ctx.now + LOST_EVERY);
                return Some(pending.not_before);
            }
            pending.tested = true;
        }
        self.try_secrets(ctx, tid);
        None
    }

    fn try_secrets(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(identity) = self.identity_for(tid) else { return };
        let (Some(member), Some(pending)) = (self.members.get(tid), self.rotation.pending.get_mut(tid)) else { return };
        let op = ctx.next_op();
        pending.step = Step::Trying { op, is_test: pending.step == Step::Ready { is_test: true } };
        // Until the answer, the kernel may have the old secrets or the new ones.
        self.rotation.known.remove(&pending.ctrl);
        self.connect_queue.start(ctx, op, Urgency::Trusted(member.want.trust));
        self.connect_queue.announce(ctx);
        let parameters = member.want.parameters.clone();
        let request = ConnectRequest {
            tid: tid.clone(),
            parameters,
            identity,
            purpose: Purpose::Poll,
            passed_over: BTreeSet::new(),
        };
        ctx.host(HostEffect::RotateSecrets { op, ctrl: pending.ctrl, request: Box::new(request) });
    }

    /// Takes a portal's answer. Returns true if the probe belongs to a rotation.
    pub(super) fn rotation_probed(&mut self, now: Time, op: OpId, outcome: &ProbeOutcome) -> bool {
        self.rotation.probes.retain(|_, (asked, _)| *asked != op);
        self.connect_queue.set_other_probes(self.rotation.probes.len());
        let Self { rotation, members, .. } = self;
        let asked = |pending: &Pending| matches!(pending.step, Step::Probing(asked, _) if asked == op);
        let mut any = false;
        for (tid, pending) in rotation.pending.iter_mut().filter(|(_, pending)| asked(pending)) {
            any = true;
            let is_old = pending.lost_since.is_some_and(|since| now.since(since) >= TEST_VERDICT_AFTER);
            // Tests of announced portals would delay those of the others.
            let is_trusted = members.get(tid).is_some_and(|member| !member.is_announced_only());
            let may_test = is_trusted && is_old && !pending.tested;
            pending.step = match outcome {
                ProbeOutcome::Alive | ProbeOutcome::Skipped | ProbeOutcome::Unknown(_) => {
                    Step::Ready { is_test: false }
                }
                // A connect to a portal that accepts connections and sends nothing takes a minute. In that time other
                // connections may be lost.
                ProbeOutcome::Dead(failure) if may_test && !failure.accepted_connection() => {
                    Step::Ready { is_test: true }
                }
                ProbeOutcome::Dead(_) => {
                    pending.not_before = now + LOST_EVERY;
                    Step::Waiting
                }
            };
        }
        any
    }

    /// Takes the outcome of a comparison or a trial, however late.
    pub(super) fn secrets_rotated(
        &mut self,
        ctx: &mut Context<'_>,
        op: OpId,
        outcome: &Rotated,
        blocked_for: Duration,
    ) {
        // No penalty: the target is not to blame for a secret that it does not have yet.
        self.connect_queue.free(ctx, op);
        let found = self.rotation.pending.iter_mut().find_map(|(tid, pending)| match pending.step {
            Step::Trying { op: tried, is_test } if tried == op => Some((tid.clone(), pending, is_test)),
            _ => None,
        });
        let Some((tid, pending, is_test)) = found else { return };
        let ctrl = pending.ctrl;
        pending.step = Step::Waiting;
        // No wait after a test: it ran at a portal reported as dead, so its duration says nothing about a trial at a
        // live one. The next trial needs a probe that reports the portal as alive.
        let wait = if is_test { Duration::ZERO } else { blocked_for * PENALTY_FACTOR };
        let not_before = ctx.now + LOST_EVERY.max(wait);
        pending.not_before = not_before;
        match outcome {
            Rotated::Written | Rotated::HostWritten | Rotated::Refused(_) if is_test => {
                self.connect_queue.verdict_tested(ctx.now, false, blocked_for);
            }
            Rotated::Unknown(_) if is_test => self.connect_queue.verdict_tested(ctx.now, true, blocked_for),
            _ => {}
        }
        pending.compare = matches!(outcome, Rotated::Unknown(_)).then_some(ctx.now + COMPARE_AGAIN);
        if let Some((level, text)) = log_line_for(ctrl, outcome)
            && pending.logged.as_ref() != Some(&text)
        {
            pending.logged = Some(text.clone());
            ctx.log_about(level, &tid, Some(ctrl), text);
        }
        match outcome {
            Rotated::Current | Rotated::Written => self.complete(&tid, true, true),
            Rotated::HostWritten => self.complete(&tid, true, false),
            Rotated::Impossible => self.complete(&tid, false, false),
            Rotated::Later | Rotated::Refused(_) | Rotated::Unknown(_) => {}
        }
        let failed = matches!(outcome, Rotated::Refused(_) | Rotated::Unknown(_));
        if failed && !is_test && blocked_for > SILENT_WRITE {
            self.wait_at_portal(&tid, not_before);
        }
    }

    /// After a failed trial at a silent portal ([`SILENT_WRITE`]), delays the trials of all announced controllers of
    /// that portal equally.
    fn wait_at_portal(&mut self, tried: &Tid, not_before: Time) {
        let Self { rotation, members, .. } = self;
        let Some(portal) = Portal::of(tried) else { return };
        let is_announced = |tid: &Tid| members.get(tid).is_some_and(Member::is_announced_only);
        let others = rotation
            .pending
            .iter_mut()
            .filter(|(tid, _)| Portal::of(tid).as_ref() == Some(&portal) && is_announced(tid));
        for (_, pending) in others {
            pending.not_before = pending.not_before.max(not_before);
            pending.forget_probe();
        }
    }

    /// Completes a change: the kernel has the wanted secrets, or takes none. This holds for all members that share the
    /// connection and want the same secrets.
    fn complete(&mut self, tid: &Tid, host: bool, controller: bool) {
        let Some(Pending { ctrl, wanted, .. }) = self.rotation.pending.get(tid).cloned() else { return };
        let tids: Vec<Tid> = self.rotation.sharing(ctrl, &wanted).cloned().collect();
        self.rotation.known.insert(ctrl, wanted);
        for tid in tids {
            self.rotation.pending.remove(&tid);
            let Some(member) = self.members.get_mut(&tid) else { continue };
            let (Some(with), wanted) = (&mut member.connected_with, &member.want.parameters) else { continue };
            if host {
                with.dhchap_secret.clone_from(&wanted.dhchap_secret);
            }
            if controller {
                with.dhchap_ctrl_secret.clone_from(&wanted.dhchap_ctrl_secret);
            }
        }
    }
}

/// The log line for an outcome; `None` if there is nothing to report.
fn log_line_for(ctrl: CtrlRef, outcome: &Rotated) -> Option<(Level, String)> {
    Some(match outcome {
        Rotated::Current | Rotated::Impossible => return None,
        Rotated::Written => {
            (Level::Info, format!("{ctrl}: the target accepted the new DH-HMAC-CHAP secret, and the kernel has it now"))
        }
        Rotated::HostWritten => (
            Level::Warning,
            format!(
                "{ctrl}: the target accepted the new DH-HMAC-CHAP secret of this host, and the kernel has it now; the \
                 secret of the controller takes effect at the next connect"
            ),
        ),
        Rotated::Later => (
            Level::Info,
            format!(
                "{ctrl} keeps its former DH-HMAC-CHAP secret while it is connected; when the connection is lost, it \
                 gets the configured one, if the target accepts it"
            ),
        ),
        Rotated::Refused(reason) => (
            Level::Info,
            format!("{ctrl} keeps its former DH-HMAC-CHAP secret: the target refuses the configured one ({reason})"),
        ),
        Rotated::Unknown(reason) => {
            (Level::Warning, format!("{ctrl} keeps its former DH-HMAC-CHAP secret for now: {reason}"))
        }
    })
}
