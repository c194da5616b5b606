//! Removal of members: the check for storage in use, the disconnect, and the connections that are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Fleet, Kind, Report};
use crate::context::Context;
use crate::effect::{HostEffect, Level};
use crate::kernel::{Gained, KernelController};
use crate::member::{BeforeExclusion, ConnState, Member, RemovalPolicy, RemovalState};
use crate::ownership::{Cause, Decision, Reason, Why};
use crate::reasons::Kept;
use crate::timers::Timer;
use crate::usage::Usage;
use crate::{CtrlRef, DisconnectError, OpId, matching};
use stas_nvme::Tid;

/// A check that takes longer than this is logged.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);
/// A disconnect that takes longer than this is logged.
const DISCONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// Log text: how a connection that is kept for storage in use is disconnected.
const UNTIL_FREE: &str = "; it is disconnected when the storage is no longer in use or has another path, or by \
     exclude= or in-use=disconnect";
/// The same if this host runs, or may run, from the storage.
const UNTIL_SYSTEM_IS_ELSEWHERE: &str = "; /, /usr or swap of this host may be on it, so it is disconnected only when \
     the storage is no longer in use or has another path";
/// A disconnect that the kernel refused is retried after this time.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// Whether other wanted members use a connection or need it.
#[derive(Debug, PartialEq, Eq)]
enum Others {
    /// No other member uses or needs it.
    None,
    /// Another member holds it too.
    HoldIt,
    /// It serves these members, and they have no equally good connection: they have none, or theirs is being deleted,
    /// or theirs is down while this one is live.
    NeedIt(BTreeSet<Tid>),
}

impl Fleet {
    /// Performs the next step of a removal.
    pub(super) fn continue_removal(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(member) = self.members.get(tid) else { return };
        let Some((how, state)) = member.removal.clone() else { return };
        match member.state {
            // Wait for the late answer: a controller that was created is disconnected then.
            ConnState::Connecting(_) => {}
            ConnState::Held { ctrl, .. } => self.continue_removal_of_held(ctx, tid, ctrl, how, &state),
            _ if !self.inventory.has_snapshot() => {}
            // Do not look for another connection: a removal ends only the connection that the controller held.
            _ if member.has_held => self.forget(ctx, tid),
            _ => match self.own_connection(tid) {
                Some(ctrl) => {
                    if let Some(member) = self.members.get_mut(tid) {
                        member.hold(ctx.now, ctrl);
                        member.removal = Some((how, RemovalState::Asked));
                        self.dirty.insert(tid.clone());
                    }
                }
                None => self.forget(ctx, tid),
            },
        }
    }

    fn continue_removal_of_held(
        &mut self,
        ctx: &mut Context<'_>,
        tid: &Tid,
        ctrl: CtrlRef,
        how: RemovalPolicy,
        state: &RemovalState,
    ) {
        if self.disconnecting.values().any(|going| *going == ctrl) {
            return;
        }
        // If this host runs from it, storage in use is always kept.
        let how = match how {
            RemovalPolicy::Disconnect if self.carries_system(ctrl) => RemovalPolicy::SpareInUse,
            how => how,
        };
        // A check is running: when it ends, this member is re-examined. Without this return, each event would compare
        // every pending removal with all members.
        let is_unchecked = matches!(state, RemovalState::Asked | RemovalState::Refused(_));
        if how == RemovalPolicy::SpareInUse && self.kind == Kind::Io && is_unchecked && self.is_check_under_way() {
            return;
        }
        match self.others(tid, ctrl) {
            Others::HoldIt => {
                self.forget(ctx, tid);
                return;
            }
            Others::NeedIt(who) => {
                self.keep_for(tid, who);
                return;
            }
            Others::None => {}
        }
        let cause = self.cause_of(tid);
        match self.decide(ctrl, how == RemovalPolicy::KeepForBoot, &cause) {
            Decision::Disconnect => {}
            Decision::Keep(_) if *state == RemovalState::Kept => return,
            Decision::Keep(reason) if reason.may_change() => {
                self.keep(ctx, tid, ctrl, how, Kept::Rule(reason));
                return;
            }
            Decision::Keep(Reason::NotExcluded) if self.take_exclusion_back(ctx, tid) => return,
            Decision::Keep(reason) => {
                self.remove_without_disconnect(ctx, tid, &reason);
                return;
            }
        }
        match (how, state) {
            (RemovalPolicy::Keep | RemovalPolicy::KeepForBoot, RemovalState::Kept) => {}
            (RemovalPolicy::Keep, _) => self.keep(ctx, tid, ctrl, how, Kept::Rule(Reason::NoDisconnect)),
            (RemovalPolicy::KeepForBoot, _) => self.keep(ctx, tid, ctrl, how, Kept::Rule(Reason::Booted)),
            (_, RemovalState::Refused(until)) if *until > ctx.now => {
                ctx.timers.set(Timer::RetryDisconnect(tid.clone()), *until)
            }
            (RemovalPolicy::SpareInUse, RemovalState::Asked | RemovalState::Refused(_)) if self.kind == Kind::Io => {
                self.check_use(ctx, tid, ctrl);
            }
            (RemovalPolicy::SpareInUse, RemovalState::Checking(_) | RemovalState::Kept) => {}
            _ if self.is_counted_by_disconnect(ctrl) => {}
            // Decided above; nothing has changed since.
            _ => drop(self.disconnect(ctx, ctrl, false, &cause, None)),
        }
    }

    /// Handles an excluded member whose connection no exclusion matches. Returns true if the member stays in the fleet:
    /// - If it was being removed before the exclusion, that removal continues.
    /// - If it was wanted, and no exclusion matches it any more, nothing is done: the next [`Fleet::want`] or
    ///   [`Fleet::exclusion_is_gone`] makes it wanted again.
    ///
    /// Returns false otherwise: the caller then calls [`Fleet::remove_without_disconnect`].
    fn take_exclusion_back(&mut self, ctx: &mut Context<'_>, tid: &Tid) -> bool {
        let Some(member) = self.members.get_mut(tid) else { return false };
        match &member.before_exclusion {
            Some(BeforeExclusion::Removed(..)) => {
                self.exclusion_is_gone(ctx, tid);
                true
            }
            Some(BeforeExclusion::Wanted) => self.rules.exclusions.matching(tid, &tid.host_iface).is_none(),
            None => false,
        }
    }

    /// Why a member is removed.
    fn cause_of(&self, tid: &Tid) -> Cause {
        let cause = self.members.get(tid).and_then(|member| member.cause.clone());
        cause.unwrap_or_else(|| Cause::removed("it is no longer listed"))
    }

    /// Whether other wanted members use this connection or need it. A member with a live connection of its own does not
    /// need it. A member may need it although it does not use it because its source is missing: the source may return.
    fn others(&self, tid: &Tid, ctrl: CtrlRef) -> Others {
        let kernel = self.inventory.get(ctrl);
        let discovery = self.kind == Kind::Discovery;
        let serves = |other: &Tid| {
            kernel.is_some_and(|kernel| {
                matching::may_be_taken_over(kernel, discovery)
                    && matching::serves(kernel, other, &self.links)
                    && self.rules.exclusions.matching_connection(kernel).is_none()
            })
        };
        let live = |ctrl| self.inventory.get(ctrl).is_some_and(super::KernelController::is_live);
        let mut need_it = BTreeSet::new();
        for (other, member) in self.members.iter().filter(|(other, member)| *other != tid && member.is_wanted()) {
            let has_own = |own: CtrlRef| {
                let is_going = self.disconnecting.values().any(|going| *going == own)
                    || self.inventory.get(own).is_some_and(KernelController::is_being_deleted);
                !is_going && (live(own) || !live(ctrl))
            };
            match member.ctrl() {
                Some(held) if held == ctrl => return Others::HoldIt,
                Some(own) if has_own(own) => {}
                _ if serves(other) => drop(need_it.insert(other.clone())),
                _ => {}
            }
        }
        if need_it.is_empty() { Others::None } else { Others::NeedIt(need_it) }
    }

    /// Keeps the connection for these members, and re-examines those without a connection: they may adopt it. It is
    /// disconnected when they have live connections of their own.
    fn keep_for(&mut self, tid: &Tid, others: BTreeSet<Tid>) {
        if let Some(member) = self.members.get_mut(tid) {
            member.kept = others.first().map(|other| Kept::NeededBy(Box::new(other.clone())));
        }
        let open = |tid: &Tid| self.members.get(tid).is_some_and(|member| member.ctrl().is_none());
        let open: Vec<Tid> = others.into_iter().filter(open).collect();
        self.dirty.extend(open);
    }

    /// Re-examines members being removed after a connection appeared, became live or was lost: they may have waited for
    /// that.
    pub(super) fn mark_removals_dirty(&mut self) {
        let removed = self.members.iter().filter(|(_, member)| !member.is_wanted() && member.ctrl().is_some());
        self.dirty.extend(removed.map(|(tid, _)| tid.clone()));
    }

    /// Starts a check for storage in use. One check at a time: if two paths to one namespace were checked together,
    /// each would count as the remaining path of the other.
    fn check_use(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef) {
        if self.checking.is_some() || self.is_trusted_path(ctrl) && self.is_announced_connect_under_way(ctrl) {
            return;
        }
        let op = ctx.next_op();
        if let Some(member) = self.members.get_mut(tid) {
            member.removal = Some((RemovalPolicy::SpareInUse, RemovalState::Checking(op)));
        }
        self.checking = Some(op);
        (self.check_hangs, self.check_is_overtaken, self.announced_path_began) = (false, false, false);
        ctx.timers.set(Timer::UseAnswer, ctx.now + CHECK_DEADLINE);
        let not_counted = self.not_counted(ctrl);
        ctx.host(HostEffect::CheckUse { op, ctrl, not_counted });
    }

    /// The controllers that do not count as other paths when `ctrl` is removed.
    fn not_counted(&self, ctrl: CtrlRef) -> Vec<CtrlRef> {
        let mut not_counted: Vec<CtrlRef> = self.disconnecting.values().copied().collect();
        // Paths that are disconnected without a check, now or at a later attempt.
        let going = |member: &&Member| matches!(member.removal, Some((RemovalPolicy::Disconnect, _)));
        not_counted.extend(self.members.values().filter(going).filter_map(Member::ctrl).filter(|other| *other != ctrl));
        // mDNS is unauthenticated: what it alone finds does not take the place of a trusted path.
        if self.is_trusted_path(ctrl) {
            let held = self.members.values().filter_map(Member::ctrl);
            not_counted.extend(held.filter(|other| !self.is_trusted_path(*other)));
        }
        not_counted
    }

    /// The member that this check is for.
    fn checked_by(&self, op: OpId) -> Option<(&Tid, &Member)> {
        let is_checked = |member: &Member| matches!(member.removal, Some((_, RemovalState::Checking(by))) if by == op);
        self.members.iter().find(|(_, member)| is_checked(member))
    }

    /// True while a check runs and has not exceeded its deadline.
    pub(super) fn is_check_under_way(&self) -> bool {
        self.checking.is_some() && !self.check_hangs
    }

    /// True if one of these paths may be the one through which a check that runs now finds the storage reachable.
    pub(super) fn is_counted_by_check<'a>(&self, mut paths: impl Iterator<Item = &'a KernelController>) -> bool {
        let Some(checked) = self.checked_path().and_then(|ctrl| self.inventory.get(ctrl)) else { return false };
        let needs_trust = self.is_trusted_path(checked.ctrl);
        paths.any(|path| {
            path.subsysnqn == checked.subsysnqn
                && path.ctrl != checked.ctrl
                && (!needs_trust || self.is_trusted_path(path.ctrl))
        })
    }

    /// True while another path to the same subsystem is being disconnected, and its check for use may have counted this
    /// path as the remaining one. When that disconnect ends or hangs, the removals continue.
    pub(super) fn is_counted_by_disconnect(&self, ctrl: CtrlRef) -> bool {
        let nqn = |ctrl| self.inventory.get(ctrl).map(|kernel: &KernelController| kernel.subsysnqn.as_str());
        let is_checked = |going: CtrlRef| {
            let mut removals = self.members.values().filter(|member| member.ctrl() == Some(going));
            removals.any(|member| matches!(member.removal, Some((RemovalPolicy::SpareInUse, _))))
        };
        let mut others = self.disconnecting.iter().filter(|(op, going)| **going != ctrl && !self.hanging.contains(op));
        others.any(|(_, going)| nqn(*going) == nqn(ctrl) && is_checked(*going))
    }

    /// The connection for which a check runs.
    fn checked_path(&self) -> Option<CtrlRef> {
        self.checking.and_then(|op| self.checked_by(op)).and_then(|(_, member)| member.ctrl())
    }

    /// The subsystem for which a check runs, if the check is for a trusted path.
    pub(super) fn checked_subsystem(&self) -> Option<&str> {
        let checked = self.checked_path();
        let kernel = checked.filter(|ctrl| self.is_trusted_path(*ctrl)).and_then(|ctrl| self.inventory.get(ctrl));
        kernel.map(|kernel| kernel.subsysnqn.as_str())
    }

    /// False for a connection whose members have all depended on mDNS alone. True if no member has held it.
    fn is_trusted_path(&self, ctrl: CtrlRef) -> bool {
        self.path_trust.get(&ctrl).is_none_or(|level| !level.is_announced_only())
    }

    /// True while a controller that depends on mDNS alone is being connected to the same subsystem. The kernel shows
    /// the new path before its connect is reported.
    fn is_announced_connect_under_way(&self, ctrl: CtrlRef) -> bool {
        let Some(kernel) = self.inventory.get(ctrl) else { return false };
        let mut requests = self.connecting.values();
        requests.any(|request| request.tid.subsysnqn == kernel.subsysnqn && self.is_announced_only(&request.tid))
    }

    pub(super) fn use_checked(&mut self, ctx: &mut Context<'_>, op: OpId, usage: &Usage) {
        if self.checking == Some(op) {
            self.checking = None;
            ctx.timers.cancel(&Timer::UseAnswer);
        }
        let found = self.checked_by(op).map(|(tid, member)| (tid.clone(), member.ctrl()));
        if let Some((tid, Some(ctrl))) = found {
            match usage {
                // Any host can announce further paths while each check runs. The wait limits how often the block
                // devices are opened.
                Usage::Free if self.announced_path_began => {
                    self.check_again(tid, RemovalState::Refused(ctx.now + REFUSED_WAIT));
                }
                // While the check ran, another member may have come to need this connection, or a path that the check
                // counted was lost or is being disconnected.
                Usage::Free if self.check_is_overtaken || self.others(&tid, ctrl) != Others::None => {
                    self.check_again(tid, RemovalState::Asked);
                }
                Usage::Free => {
                    let cause = self.cause_of(&tid);
                    let not_counted = self.not_counted(ctrl);
                    if self.disconnect(ctx, ctrl, false, &cause, Some(not_counted)).is_err() {
                        // The owner of the connection, or the scope, has changed while the check ran.
                        self.check_again(tid, RemovalState::Asked);
                    }
                }
                Usage::LastPath(uses) => {
                    self.keep(ctx, &tid, ctrl, RemovalPolicy::SpareInUse, Kept::InUse(uses.clone()));
                }
                Usage::Unknown(error) => {
                    self.keep(ctx, &tid, ctrl, RemovalPolicy::SpareInUse, Kept::UseUnknown(error.clone()));
                }
            }
        }
        // An announced path that has waited for this check is connected before the next check begins: otherwise a
        // series of checks could delay it forever.
        self.start_next_write(ctx);
        self.mark_unchecked_dirty();
    }

    /// Repeats the check for a member: at once, or when the wait of `state` is over.
    fn check_again(&mut self, tid: Tid, state: RemovalState) {
        if let Some(member) = self.members.get_mut(&tid) {
            member.removal = Some((RemovalPolicy::SpareInUse, state));
        }
        self.dirty.insert(tid);
    }

    /// Keeps the connection of a member that is being removed.
    fn keep(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef, how: RemovalPolicy, kept: Kept) {
        let carries_system = self.carries_system(ctrl);
        let Some(member) = self.members.get_mut(tid) else { return };
        member.removal = Some((how, RemovalState::Kept));
        let is_new_in_log = member.is_new_in_log(&kept);
        let kept = member.kept.insert(kept);
        let until = match kept.is_for_use() {
            true if carries_system => UNTIL_SYSTEM_IS_ELSEWHERE,
            true => UNTIL_FREE,
            false => "",
        };
        if is_new_in_log {
            let text = format!("{ctrl} is no longer wanted, but is kept: {kept}{until}");
            ctx.log_about(Level::Warning, tid, Some(ctrl), text);
        }
        ctx.host(HostEffect::Save);
    }

    /// Removes a member without disconnecting its connection.
    pub(super) fn remove_without_disconnect(&mut self, ctx: &mut Context<'_>, tid: &Tid, reason: &Reason) {
        let cause = self.cause_of(tid);
        if let Some(ctrl) = self.members.get(tid).and_then(Member::ctrl) {
            let text = format!("{ctrl} stays connected: {reason}. No longer managed: {}", cause.text);
            ctx.log_about(Level::Info, tid, Some(ctrl), text);
        }
        self.forget_quietly(ctx, tid);
    }

    /// Re-examines the members that wait for their check.
    pub(super) fn mark_unchecked_dirty(&mut self) {
        let waiting = self.members.iter().filter(|(_, member)| {
            matches!(
                member.removal,
                // Disconnect also waits for a check if this host runs from the subsystem.
                Some((
                    RemovalPolicy::SpareInUse | RemovalPolicy::Disconnect,
                    RemovalState::Asked | RemovalState::Refused(_)
                ))
            )
        });
        self.dirty.extend(waiting.map(|(tid, _)| tid.clone()));
    }

    /// Checks kept connections again with each full snapshot: they may be unused by now, or have another path.
    pub(super) fn check_kept_again(&mut self) {
        for (tid, member) in &mut self.members {
            if let Some((RemovalPolicy::SpareInUse | RemovalPolicy::Disconnect, state @ RemovalState::Kept)) =
                &mut member.removal
            {
                *state = RemovalState::Asked;
                self.dirty.insert(tid.clone());
            }
        }
    }

    pub(super) fn use_check_hangs(&mut self, ctx: &mut Context<'_>) {
        if let Some((tid, member)) = self.checking.and_then(|op| self.checked_by(op)) {
            let text =
                "the check for storage in use hangs; no removed controller is disconnected until it returns".to_owned();
            ctx.log_about(Level::Warning, tid, member.ctrl(), text);
        }
        self.check_hangs = true;
        self.mark_unchecked_dirty();
    }

    /// Disconnects a connection of the saved state that the previous run made for a poll. No member holds it.
    pub fn end_old_poll(&mut self, ctx: &mut Context<'_>, ctrl: CtrlRef) {
        let Some(tid) = self.inventory.get(ctrl).map(KernelController::tid) else { return };
        if !self.holders(ctrl).is_empty() {
            return;
        }
        if !self.ours.contains_key(&ctrl) {
            self.own(ctrl, Gained::Connected, &tid, None);
        }
        let cause = Cause::new(Why::PollOver, "made for a poll before stafd was restarted");
        // If another orchestrator owns the connection now, the connection is kept.
        let _ = self.disconnect(ctx, ctrl, false, &cause, None);
    }

    /// Sets a deadline for each disconnect. A disconnect that hangs is logged once.
    pub(super) fn watch_disconnects(&mut self, ctx: &mut Context<'_>) {
        for op in self.disconnecting.keys().filter(|op| !self.hanging.contains(op)) {
            ctx.timers.set_once(Timer::Disconnect(*op), ctx.now + DISCONNECT_DEADLINE);
        }
    }

    pub(super) fn disconnect_hangs(&mut self, ctx: &mut Context<'_>, op: OpId) {
        let Some(ctrl) = self.disconnecting.get(&op).copied() else { return };
        self.hanging.insert(op);
        self.mark_removals_dirty();
        let Some(tid) = self.inventory.get(ctrl).map(KernelController::tid) else { return };
        let tid = self.holding(ctrl).into_iter().next().unwrap_or(tid);
        let text = format!(
            "disconnecting {ctrl} has been hanging in the kernel for {} s (the kernel's log may say why); other \
             controllers are not affected",
            DISCONNECT_DEADLINE.as_secs()
        );
        ctx.log_about(Level::Warning, &tid, Some(ctrl), text);
    }

    pub(super) fn disconnected(&mut self, ctx: &mut Context<'_>, op: OpId, result: &Result<(), DisconnectError>) {
        let Some(ctrl) = self.disconnecting.remove(&op) else { return };
        ctx.timers.cancel(&Timer::Disconnect(op));
        self.hanging.remove(&op);
        self.mark_removals_dirty();
        self.request_snapshot(ctx);
        let Err(reason) = result else {
            // The kernel has removed it. It must not be used any more, even if sysfs cannot be read now.
            if self.inventory.lose(ctrl) {
                for tid in self.holding(ctrl) {
                    self.connection_gone(ctx, &tid, ctrl);
                }
            }
            return;
        };
        if matches!(reason, DisconnectError::CarriesSystem) {
            self.inventory.mark_as_carrying_system(ctrl);
        }
        let mut kept = Vec::new();
        for (tid, member) in &mut self.members {
            if member.ctrl() != Some(ctrl) {
                continue;
            }
            member.disconnect_requested = false;
            member.next_poll = None;
            let Some((how, state)) = &mut member.removal else { continue };
            let in_use = match reason {
                DisconnectError::InUse(uses) => Some(Kept::InUse(uses.clone())),
                DisconnectError::UseUnknown(error) => Some(Kept::UseUnknown(error.clone())),
                _ => None,
            };
            if let Some(why) = in_use.filter(|_| *how == RemovalPolicy::SpareInUse) {
                kept.push((tid.clone(), why));
                continue;
            }
            *state = RemovalState::Refused(ctx.now + REFUSED_WAIT);
            self.dirty.insert(tid.clone());
            if member.is_new_in_log(reason) {
                let wait = REFUSED_WAIT.as_secs();
                let next = match reason {
                    DisconnectError::CarriesSystem => format!("in {wait} s its storage is checked for use"),
                    _ => format!("retrying in {wait} s"),
                };
                let text = format!("{ctrl} could not be disconnected: {reason}; {next}");
                ctx.log_about(Level::Warning, tid, Some(ctrl), text);
            }
        }
        for (tid, why) in kept {
            self.keep(ctx, &tid, ctrl, RemovalPolicy::SpareInUse, why);
        }
    }

    /// Removes a member whose removal is complete.
    fn forget(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        if let Some(member) = self.members.get(tid) {
            let cause = self.cause_of(tid).text;
            let text = match member.ctrl() {
                Some(ctrl) => format!("removed: {cause}; {ctrl} stays connected, another controller uses it"),
                None if member.has_held => "disconnected and removed".to_owned(),
                None => format!("removed: {cause}; it was not connected"),
            };
            ctx.log_about(Level::Info, tid, None, text);
        }
        self.forget_quietly(ctx, tid);
    }

    fn forget_quietly(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        self.connect_queue.forget(tid);
        self.encrypted.remove(tid);
        ctx.timers.cancel(&Timer::Retry(tid.clone()));
        ctx.timers.cancel(&Timer::RetryDisconnect(tid.clone()));
        if let Some(member) = self.members.remove(tid) {
            self.just_removed.insert(tid.clone(), member.want);
        }
        self.counters.leaves_queue(tid);
        self.reports.push(Report::Left(tid.clone()));
        ctx.host(HostEffect::Save);
    }
}
