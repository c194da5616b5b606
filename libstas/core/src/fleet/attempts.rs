//! From wanted to connected: adoption, the connect queue, the outcome, the next attempt.

use std::time::Duration;

use super::{Fleet, Kind, Report};
use crate::connect_error::ConnectError;
use crate::connect_queue::{AttemptParameters, EnqueueInfo, Rejected, Write};
use crate::context::Context;
use crate::effect::{ConnectOutcome, ConnectReport, ConnectRequest, HostEffect, Level};
use crate::kernel::Gained;
use crate::member::{ConnState, Member, Want};
use crate::ownership::{Cause, Ownership, Why};
use crate::reasons::{NotConnected, Polled};
use crate::timers::Timer;
use crate::trust::Urgency;
use crate::{CtrlRef, OpId, Time, matching};
use stas_nvme::security::{Obstacle, Tls};
use stas_nvme::{Purpose, Secret, Tid};

/// A connection that is being deleted cannot be used. The attempt is repeated after this time, when the deletion should
/// be complete.
const DELETION_WAIT: Duration = Duration::from_millis(200);

impl Fleet {
    /// Performs the next step for a wanted member.
    pub(super) fn reconcile(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(member) = self.members.get(tid) else { return };
        match member.state {
            ConnState::Held { ctrl, .. } => {
                self.claim(ctx, tid, ctrl);
                self.check_secrets(ctx.now, tid);
            }
            ConnState::Connecting(_) => {}
            _ if self.identity.is_none() || !self.inventory.has_snapshot() => {}
            ConnState::GivenUp | ConnState::Waiting(_) | ConnState::Idle | ConnState::Queued => {
                match self.serving(tid) {
                    // Wait: whether it may be adopted is decided when the interfaces are known.
                    Some(ctrl) if self.depends_on_links(ctrl) => {}
                    Some(ctrl) => {
                        self.connect_queue.leave(tid);
                        self.hold(ctx, tid, ctrl, "adopted the existing connection");
                    }
                    None => self.enqueue(ctx, tid),
                }
            }
        }
    }

    /// Enters a member into the connect queue, unless it still has to wait.
    fn enqueue(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        if let Some(obstacle) = self.obstacle(tid) {
            self.block(ctx, tid, obstacle);
            return;
        }
        let portal_live = self.portal_live(tid);
        let penalty = self
            .attempt_parameters(tid)
            .and_then(|attempt_parameters| self.connect_queue.own_penalty(tid, &attempt_parameters));
        let common_secret = self.identity.as_ref().is_some_and(|identity| identity.key.is_some());
        let Some(member) = self.members.get_mut(tid) else { return };
        let secret = common_secret || member.want.parameters.dhchap_secret.is_some();
        match member.state {
            ConnState::Waiting(until) if until > ctx.now => ctx.timers.set(Timer::Retry(tid.clone()), until),
            ConnState::Idle if let Some(until) = penalty.filter(|until| *until > ctx.now) => self.wait(ctx, tid, until),
            ConnState::Idle | ConnState::Waiting(_) => {
                member.state = ConnState::Queued;
                ctx.timers.cancel(&Timer::Retry(tid.clone()));
                let Want { trust, listed_by, .. } = &member.want;
                let (trust, listed_by) = (*trust, listed_by.clone());
                let info = EnqueueInfo { trust, listed_by, repeated: member.attempts > 0, portal_live, secret };
                self.connect_queue.enter(ctx, tid, info);
                self.counters.enters_queue(ctx.now, tid);
            }
            _ => {}
        }
    }

    /// Why a member, as it is wanted now, may not be connected.
    pub(super) fn obstacle(&self, tid: &Tid) -> Option<Obstacle> {
        let parameters = &self.members.get(tid)?.want.parameters;
        let was_encrypted = self.encrypted.contains(tid) && parameters.tls != Some(Tls::Prohibited);
        let host_key = self.identity.as_ref().and_then(|identity| identity.key.as_ref());
        let lacks_secret = parameters.dhchap_secret.is_none() && host_key.is_some_and(Secret::is_withheld);
        let obstacle = parameters.obstacle().or_else(|| was_encrypted.then_some(Obstacle::Before));
        obstacle.or_else(|| lacks_secret.then_some(Obstacle::HostSecretUnusable))
    }

    /// Blocks a member: no attempt is made until it is wanted with other parameters, or the host's identity changes.
    fn block(&mut self, ctx: &mut Context<'_>, tid: &Tid, obstacle: Obstacle) {
        self.connect_queue.leave(tid);
        ctx.timers.cancel(&Timer::Retry(tid.clone()));
        let not_connected = self.config_lines.sentence(tid, "not connected");
        let Some(member) = self.members.get_mut(tid) else { return };
        let reason = NotConnected::Blocked(obstacle);
        member.state = ConnState::GivenUp;
        member.reason = Some(reason.clone());
        if member.is_new_in_log(&reason) {
            ctx.log_about(Level::Error, tid, None, format!("{not_connected}: {reason}"));
        }
    }

    /// Starts the next write, if the connect path is free.
    pub(super) fn start_next_write(&mut self, ctx: &mut Context<'_>) {
        while let Some((tid, urgency)) = self.next_turn(ctx) {
            let Some(identity) = self.identity_for(&tid) else { return };
            let passed_over = self.passed_over_for(&tid);
            let Some(member) = self.members.get_mut(&tid).filter(|member| member.state == ConnState::Queued) else {
                continue;
            };
            let op = ctx.next_op();
            member.state = ConnState::Connecting(op);
            self.connect_queue.start(ctx, op, urgency);
            self.connect_queue.announce(ctx);
            self.counters.attempt_begins(ctx.now, &tid);
            let request = ConnectRequest {
                parameters: member.want.parameters.clone(),
                identity,
                purpose: match self.kind {
                    Kind::Io => Purpose::Io,
                    Kind::Discovery if member.keep_alive.is_left_out() => Purpose::Poll,
                    Kind::Discovery => Purpose::Discovery,
                },
                passed_over,
                tid,
            };
            self.connecting.insert(op, request.clone());
            // The check may count the new path before its connect is reported.
            self.announced_path_began |= self.is_announced_only(&request.tid)
                && self.checked_subsystem() == Some(request.tid.subsysnqn.as_str());
            ctx.host(HostEffect::Connect { op, request: Box::new(request) });
        }
        self.connect_queue.announce(ctx);
    }

    /// The next controller to connect. An announced one waits until the check of a trusted path to its subsystem ends.
    /// The check may count a path that is connected meanwhile and must then be repeated: announcing one path after
    /// another would repeat it without end.
    fn next_turn(&mut self, ctx: &mut Context<'_>) -> Option<(Tid, Urgency)> {
        let checked = self.checked_subsystem().filter(|_| self.is_check_under_way()).map(str::to_owned);
        let Self { connect_queue, members, .. } = self;
        connect_queue.take_turn(ctx, |tid| {
            let is_announced = || members.get(tid).is_some_and(Member::is_announced_only);
            checked.as_deref() != Some(tid.subsysnqn.as_str()) || !is_announced()
        })
    }

    /// Takes the outcome of a write, however late.
    pub(super) fn connected(&mut self, ctx: &mut Context<'_>, op: OpId, report: ConnectReport) {
        let Some(request) = self.connecting.remove(&op) else { return };
        self.mark_unchecked_dirty();
        self.counters.attempt_ends(&report.outcome);
        if let ConnectOutcome::Made(ctrl) = report.outcome {
            self.rotation.made_with(ctrl, request.secrets());
        }
        let ConnectRequest { tid, parameters, identity, purpose, .. } = request;
        let failed = matches!(report.outcome, ConnectOutcome::Failed(_));
        let attempt_parameters = AttemptParameters { parameters: parameters.clone(), identity: identity.clone() };
        let write = Write {
            failed,
            blocked_for: report.blocked_for,
            portal_live: self.portal_live(&tid),
            announced_only: self.is_announced_only(&tid),
            attempt_parameters,
        };
        let ended = self.connect_queue.ended(ctx, op, &tid, write);
        self.handle_rejected(ctx, ended.rejected);
        self.take_snapshot(ctx, report.snapshot);
        let has_another_host_id = self.note_refused_host_id(&tid, &report.outcome);
        if has_another_host_id {
            self.compare_host_ids(ctx);
        }
        let same_identity = self.is_identity(&identity);
        let passed_over = matches!(report.outcome, ConnectOutcome::Found(ctrl) if !self.may_hold(ctrl, &tid));
        let Some(member) = self.members.get_mut(&tid) else { return };
        let outdated = member.want.parameters != parameters || !same_identity;
        match &report.outcome {
            ConnectOutcome::Made(ctrl) => {
                member.keep_alive.made(purpose == Purpose::Poll);
                self.own(*ctrl, Gained::Connected, &tid, Some(&parameters));
                self.made(ctx, &tid, *ctrl);
                if let Some(member) = self.members.get_mut(&tid).filter(|member| member.ctrl() == Some(*ctrl)) {
                    member.connected_with = Some(parameters);
                }
            }
            ConnectOutcome::Found(_) if passed_over => {
                let until = ctx.now + DELETION_WAIT;
                self.wait(ctx, &tid, until);
            }
            ConnectOutcome::Found(ctrl) => {
                self.hold(ctx, &tid, *ctrl, "adopted the existing connection");
            }
            ConnectOutcome::Failed(error) if outdated => {
                // The new configuration has not been tried yet and may work.
                let text = format!(
                    "not connected: {error}; retrying at once, because its configuration has changed meanwhile"
                );
                member.start_afresh();
                ctx.log_about(Level::Warning, &tid, None, text);
            }
            ConnectOutcome::Failed(error @ ConnectError::Invalid(_)) => {
                let reason = NotConnected::Failed(error.clone());
                member.give_up(reason.clone());
                if member.is_new_in_log(&reason) {
                    let cannot = self.config_lines.sentence(&tid, "cannot be connected");
                    let text = format!(
                        "{cannot}: {reason}; not retried until its configuration, its log page or the network \
                         changes, or a reload"
                    );
                    ctx.log_about(Level::Error, &tid, None, text);
                }
            }
            ConnectOutcome::Failed(error) => {
                let at_once = member.keep_alive.failed(purpose == Purpose::Poll, error.errno());
                if *error == ConnectError::Already {
                    self.request_snapshot(ctx);
                }
                self.attempt_failed(ctx, &tid, error.clone().into(), ended.penalty_until, None);
                if at_once || has_another_host_id {
                    let now = ctx.now;
                    self.wait(ctx, &tid, now);
                }
            }
        }
        self.dirty.insert(tid);
    }

    /// A write created a controller. If another live connection serves the same TID, the new one is disconnected,
    /// unless the other one belongs to another orchestrator, which may disconnect it at any time.
    fn made(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef) {
        let discovery = self.kind == Kind::Discovery;
        let twin = self
            .inventory
            .iter()
            .filter(|other| other.ctrl != ctrl && other.is_live() && other.ctrl.inode < ctrl.inode)
            .filter(|other| {
                self.may_hold(other.ctrl, tid) && !matches!(self.ownership(other.ctrl), Ownership::Other(_))
            })
            .find(|other| {
                matching::may_be_taken_over(other, discovery) && matching::is_known_to_serve(other, tid, &self.links)
            })
            .map(|other| other.ctrl);
        match twin {
            Some(twin) => {
                let cause = Cause::new(Why::Duplicate, format!("duplicate of {twin}"));
                // If it may not be disconnected, it is left as a second connection.
                let _ = self.disconnect(ctx, ctrl, false, &cause, None);
                self.hold(ctx, tid, twin, "adopted the existing connection");
            }
            None => self.hold(ctx, tid, ctrl, "connected"),
        }
    }

    /// True for a connection that exists, is not being disconnected by this daemon, and may be adopted for a controller.
    fn may_hold(&self, ctrl: CtrlRef, tid: &Tid) -> bool {
        let going = self.disconnecting.values().any(|going| *going == ctrl);
        // A connection that is gone already is held until the snapshot shows that it is gone.
        !going && self.inventory.get(ctrl).is_none_or(|kernel| self.is_usable(kernel, tid))
    }

    /// Remembers whether the connection that a member holds is encrypted, if that is known.
    pub(super) fn note_encryption(&mut self, tid: &Tid, ctrl: CtrlRef) {
        match self.inventory.get(ctrl).and_then(|kernel| kernel.encrypted) {
            Some(true) => drop(self.encrypted.insert(tid.clone())),
            Some(false) => drop(self.encrypted.remove(tid)),
            None => {}
        }
    }

    /// The same for each connection in use: a snapshot may show an encryption that was unknown before.
    pub(super) fn note_encryption_of_held(&mut self) {
        let held = self.members.iter().filter_map(|(tid, member)| Some((tid, member.ctrl()?)));
        let has_changed = |tid: &Tid, ctrl| {
            let known = self.inventory.get(ctrl).and_then(|kernel| kernel.encrypted);
            known.is_some_and(|is_encrypted| is_encrypted != self.encrypted.contains(tid))
        };
        let changed: Vec<_> =
            held.filter(|(tid, ctrl)| has_changed(tid, *ctrl)).map(|(tid, ctrl)| (tid.clone(), ctrl)).collect();
        for (tid, ctrl) in changed {
            self.note_encryption(&tid, ctrl);
        }
    }

    /// A member takes a connection.
    pub(super) fn hold(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef, how: &str) {
        let kernel = self.inventory.get(ctrl);
        let gone = kernel.is_none();
        let live = kernel.is_some_and(super::KernelController::is_live);
        self.note_encryption(tid, ctrl);
        let wanted = self.members.get(tid).map(|member| member.want.parameters.clone());
        let connected_with = wanted.and_then(|wanted| self.made_with(tid, ctrl, &wanted));
        let Some(member) = self.members.get_mut(tid) else { return };
        let attempts = member.hold(ctx.now, ctrl);
        member.connected_with = connected_with;
        super::raise_trust(&mut self.path_trust, ctrl, member.want.trust);
        self.claim(ctx, tid, ctrl);
        self.mark_removals_dirty();
        if gone {
            // It was lost between the write and the snapshot.
            self.connection_gone(ctx, tid, ctrl);
            return;
        }
        self.dirty.insert(tid.clone());
        ctx.host(HostEffect::HideSecrets(ctrl));
        ctx.host(HostEffect::Save);
        let text = match attempts {
            0 => format!("{how}: {ctrl}"),
            1 => format!("{how}: {ctrl}, after one failed attempt"),
            n => format!("{how}: {ctrl}, after {n} failed attempts"),
        };
        ctx.log_about(Level::Info, tid, Some(ctrl), text);
        if live {
            self.reports.push(Report::Live(tid.clone(), ctrl));
        }
    }

    /// The kernel connection of a member is gone.
    pub(super) fn connection_gone(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef) {
        self.mark_removals_dirty();
        self.rotation.gone(ctrl);
        let Some(member) = self.members.get_mut(tid) else { return };
        self.reports.push(Report::Lost(tid.clone(), ctrl));
        let is_polled = member.next_poll.is_some();
        if !is_polled && !member.disconnect_requested {
            self.connect_queue.lost(ctx.now, tid);
        }
        let by_us = member.disconnect_requested;
        let again = member.lose(ctx);
        if is_polled {
            ctx.timers.set(Timer::Retry(tid.clone()), again);
        } else if member.is_wanted() {
            let (level, what) = match by_us {
                true => (Level::Info, "is disconnected"),
                false => (Level::Warning, "is gone from the kernel"),
            };
            let text = format!("{ctrl} {what}; connecting it again {}", when(ctx.now, again));
            ctx.log_about(level, tid, Some(ctrl), text);
            ctx.timers.set(Timer::Retry(tid.clone()), again);
        }
        self.dirty.insert(tid.clone());
    }

    /// The connect queue rejected controllers.
    pub(super) fn handle_rejected(&mut self, ctx: &mut Context<'_>, rejected: Vec<Rejected>) {
        for Rejected { tid, reason, not_after } in rejected {
            self.counters.rejected(&tid, &reason);
            let not_before = self.penalty_until(&tid);
            self.attempt_failed(ctx, &tid, reason, not_before, not_after);
            self.dirty.insert(tid);
        }
    }

    fn attempt_failed(
        &mut self,
        ctx: &mut Context<'_>,
        tid: &Tid,
        reason: NotConnected,
        not_before: Option<Time>,
        not_after: Option<Time>,
    ) {
        let not_connected = self.config_lines.sentence(tid, "not connected");
        let Some(member) = self.members.get_mut(tid) else { return };
        let again = member.fail(ctx, reason.clone(), not_before, not_after);
        log_failure(ctx, (tid, &not_connected), member, &reason, again);
        if let Some(again) = again {
            ctx.timers.set(Timer::Retry(tid.clone()), again);
        }
    }

    /// Disconnects a member after its page was read, until the next poll. `reason` says why it is polled.
    pub fn disconnect_until_poll(&mut self, ctx: &mut Context<'_>, tid: &Tid, until: Time, reason: Polled) {
        let Some(ctrl) = self.members.get(tid).and_then(Member::ctrl) else { return };
        let cause = Cause::new(Why::PollOver, "its log page was read; it is polled, so it is not kept connected");
        if self.disconnect(ctx, ctrl, false, &cause, None).is_err() {
            return;
        }
        for member in self.members.values_mut().filter(|member| member.ctrl() == Some(ctrl)) {
            member.next_poll = Some((until, reason));
        }
    }

    /// True while a member is connected without keep-alive, for one poll.
    #[must_use]
    pub fn is_polled(&self, tid: &Tid) -> bool {
        // Kernels before 5.13 do not show the timeout.
        let without_timeout = || self.members.get(tid).is_some_and(|member| member.keep_alive.was_made_without());
        self.kernel(tid).is_some_and(|kernel| kernel.kato.map_or_else(without_timeout, |kato| kato == 0))
    }

    /// True while a member has a connection that this process has made for it.
    #[must_use]
    pub fn has_made(&self, tid: &Tid) -> bool {
        self.members.get(tid).is_some_and(|member| member.ctrl().is_some() && member.connected_with.is_some())
    }

    fn wait(&mut self, ctx: &mut Context<'_>, tid: &Tid, until: Time) {
        if let Some(member) = self.members.get_mut(tid) {
            member.state = ConnState::Waiting(until);
            ctx.timers.set(Timer::Retry(tid.clone()), until);
        }
    }

    pub(super) fn log_hanging_write(&self, ctx: &mut Context<'_>, hanging: Duration) {
        let connecting = self.connecting.values().next().map(|request| (&request.tid, "connecting it"));
        let trying = || self.rotation.trying().map(|tid| (tid, "trying its new DH-HMAC-CHAP secret"));
        if let Some((tid, what)) = connecting.or_else(trying) {
            let text = format!(
                "the kernel has been {what} for {} s; no other connection can be made until this ends",
                hanging.as_secs()
            );
            ctx.log_about(Level::Warning, tid, None, text);
        }
    }
}

/// Logs each reason once; the message about the recovery states the number of attempts.
fn log_failure(
    ctx: &mut Context<'_>,
    (tid, not_connected): (&Tid, &str),
    member: &mut Member,
    reason: &NotConnected,
    again: Option<Time>,
) {
    let is_new = member.is_new_in_log(reason);
    let (level, text) = match again {
        None => (
            Level::Warning,
            format!(
                "{not_connected}: {reason}; giving up after {} attempts: the log entry has the NCC bit, and \
                 connect-attempts-on-ncc in stacd.conf limits the attempts",
                member.attempts
            ),
        ),
        Some(again) => {
            let level = if is_new { Level::Warning } else { Level::Debug };
            (level, format!("{not_connected}: {reason}; retrying {} (exponential back-off)", when(ctx.now, again)))
        }
    };
    ctx.log_about(level, tid, None, text);
}

/// `at once` or `in 12 s`.
fn when(now: Time, at: Time) -> String {
    match at.since(now) {
        wait if wait < Duration::from_millis(50) => "at once".to_owned(),
        wait => format!("in {:.0} s", wait.as_secs_f64().max(1.0)),
    }
}
