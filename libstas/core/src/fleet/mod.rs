//! Makes the kernel's controllers match the wanted ones: adopts, connects, retries, disconnects.
//!
//! Finder and connector each own a fleet. They tell it what is wanted ([`Fleet::want`]) and what no longer is
//! ([`Fleet::remove`]), pass it the host's events ([`Fleet::handle`]), and call [`Fleet::tick`] with the [`Timer`]s
//! that are due. Each call returns [`Report`]s of what happened. The fleet does not decide *whether* a controller is
//! wanted: see [`super::sources`].

mod attempts;
mod host_ids;
mod owning;
mod removal;
mod rotation;
mod snapshots;
mod stranded;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::connect_queue::{AttemptParameters, ConnectQueue};
use super::context::Context;
use super::counters::Counters;
use super::effect::{ConnectRequest, HostEffect, HostEvent, Level, Portal};
use super::inventory::Inventory;
use super::kernel::{CtrlState, KernelController, Links};
use super::member::{BeforeExclusion, ConnState, Member, RemovalPolicy, RemovalState, Want};
use super::ownership::{Cause, Instance, Rules};
use super::reasons::{Kept, NotConnected};
use super::timers::Timer;
use super::trust::Trust;
use super::{CtrlRef, OpId, Time, matching};
use stas_nvme::{HostIdentity, Tid};
use uuid::Uuid;

pub use view::{Listed, MemberView, Outlook, Status};

/// After a network change waiting controllers are retried after this time, so that a burst of changes causes one retry.
const RETRY_ALL_DELAY: Duration = Duration::from_millis(100);
/// Minimum time between two early retries of all controllers, or of the same one, so that a burst of events causes few
/// retries.
const RETRY_ALL_GAP: Duration = Duration::from_millis(500);

/// The kind of controllers that a fleet manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Discovery controllers (stafd).
    Discovery,
    /// I/O controllers (stacd).
    Io,
}

/// What happened to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its connection is live now.
    Live(Tid, CtrlRef),
    /// Its connection is down or gone, or is no longer used for it. The fleet restores or replaces the connection.
    Lost(Tid, CtrlRef),
    /// It was removed and is no longer a member.
    Left(Tid),
}

/// The managed controllers of one daemon.
#[derive(Clone, Debug)]
pub struct Fleet {
    kind: Kind,
    identity: Option<Arc<HostIdentity>>,
    members: BTreeMap<Tid, Member>,
    /// The members that the current event has removed ([`Fleet::forget_just_removed`]): its log lines may be about
    /// them.
    just_removed: BTreeMap<Tid, Want>,
    inventory: Inventory,
    links: Arc<Links>,
    connect_queue: ConnectQueue,
    snapshots: snapshots::Snapshots,
    /// The requests of the writes under way.
    connecting: BTreeMap<OpId, ConnectRequest>,
    /// The check for storage in use that is running.
    checking: Option<OpId>,
    /// True after that check has exceeded its deadline: connects of announced paths no longer wait for it.
    check_hangs: bool,
    /// True if a disconnect began while the check was running: a path that it counted may be gone.
    check_is_overtaken: bool,
    /// True if an announced controller of the same subsystem was connected while the check was running: the check may
    /// have counted that path.
    announced_path_began: bool,
    disconnecting: BTreeMap<OpId, CtrlRef>,
    /// Disconnects that were logged as hanging.
    hanging: BTreeSet<OpId>,
    /// The connections that we own.
    ours: BTreeMap<CtrlRef, Instance>,
    /// Controllers whose connections an earlier version saved as ours. Resolved by the first snapshot.
    ours_by_name: BTreeSet<Tid>,
    /// The trust level of the most trusted member that has held each connection. A source that is trusted less cannot
    /// lower it.
    path_trust: BTreeMap<CtrlRef, Trust>,
    rules: Rules,
    last_retry_all: Option<Time>,
    /// Controllers whose last connection was encrypted: they are never connected unencrypted.
    encrypted: BTreeSet<Tid>,
    /// The host ID that was logged because new connections have it instead of the configured one.
    reported_host_id: Option<Uuid>,
    /// True once the kernel has refused a host ID that it has with another host NQN. Kernels before 6.5 accept it.
    refuses_shared_host_ids: bool,
    rotation: rotation::Rotation,
    stranded: stranded::Stranded,
    /// Members to re-examine by [`Fleet::work`].
    dirty: BTreeSet<Tid>,
    /// What happened to members and was not returned to the daemon yet.
    reports: Vec<Report>,
    config_lines: ConfigLines,
    counters: Counters,
}

/// Where the configuration lists controllers, for the log.
#[derive(Clone, Debug, Default)]
pub struct ConfigLines {
    /// The name of the file, without its directory.
    pub file: String,
    /// The line that lists each controller.
    pub lines: BTreeMap<Tid, usize>,
    /// The line that last listed each member that no line lists any more.
    pub(crate) earlier: BTreeMap<Tid, usize>,
}

impl ConfigLines {
    /// The beginning of the log line about a controller that is not connected. `what` is the rest of the sentence.
    fn sentence(&self, tid: &Tid, what: &str) -> String {
        match self.lines.get(tid) {
            Some(line) => format!("configured in {}:{line}, but {what}", self.file),
            None => what.to_owned(),
        }
    }
}

/// Records the trust level of a member that holds a connection. The smaller level is the more trusted one.
fn raise_trust(path_trust: &mut BTreeMap<CtrlRef, Trust>, ctrl: CtrlRef, level: Trust) {
    path_trust.entry(ctrl).and_modify(|before| *before = level.min(*before)).or_insert(level);
}

impl Fleet {
    /// Creates a fleet without members.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            identity: None,
            members: BTreeMap::new(),
            just_removed: BTreeMap::new(),
            inventory: Inventory::default(),
            links: Arc::default(),
            connect_queue: ConnectQueue::default(),
            snapshots: snapshots::Snapshots::default(),
            connecting: BTreeMap::new(),
            checking: None,
            check_hangs: false,
            check_is_overtaken: false,
            announced_path_began: false,
            disconnecting: BTreeMap::new(),
            hanging: BTreeSet::new(),
            ours: BTreeMap::new(),
            ours_by_name: BTreeSet::new(),
            path_trust: BTreeMap::new(),
            rules: Rules::default(),
            last_retry_all: None,
            encrypted: BTreeSet::new(),
            reported_host_id: None,
            refuses_shared_host_ids: false,
            rotation: rotation::Rotation::default(),
            stranded: stranded::Stranded::default(),
            dirty: BTreeSet::new(),
            reports: Vec::new(),
            config_lines: ConfigLines::default(),
            counters: Counters::default(),
        }
    }

    /// Sets where the configuration lists controllers now.
    pub fn set_config_lines(&mut self, config_lines: ConfigLines) {
        let ConfigLines { lines, mut earlier, .. } = std::mem::replace(&mut self.config_lines, config_lines);
        earlier.extend(lines);
        earlier.retain(|tid, _| self.has(tid) && !self.config_lines.lines.contains_key(tid));
        self.config_lines.earlier = earlier;
    }

    /// The line of the configuration that lists a controller, or last did.
    pub(crate) fn config_line(&self, tid: &Tid) -> Option<usize> {
        let ConfigLines { lines, earlier, .. } = &self.config_lines;
        lines.get(tid).or_else(|| earlier.get(tid)).copied()
    }

    /// Sets the identity of this host and requests the first snapshot: nothing is connected before. Another identity
    /// restarts controllers that were given up: they may have been given up because of the previous one.
    pub fn set_identity(&mut self, ctx: &mut Context<'_>, identity: Arc<HostIdentity>) {
        let is_other = self.identity.as_ref().is_some_and(|before| *before != identity);
        self.identity = Some(identity);
        for member in self.members.values_mut().filter(|member| is_other && member.state == ConnState::GivenUp) {
            member.attempts = 0;
            member.state = ConnState::Idle;
        }
        // The DH-HMAC-CHAP secret of the host may have changed.
        self.dirty.extend(self.members.keys().cloned());
        if !self.inventory.has_snapshot() {
            self.request_snapshot(ctx);
        }
    }

    /// Adds a wanted controller and connects it as soon as possible, or changes how a member is wanted. New parameters
    /// apply at its next connect.
    pub fn want(&mut self, ctx: &mut Context<'_>, tid: &Tid, want: Want) -> Vec<Report> {
        self.want_all(ctx, vec![(tid.clone(), want)])
    }

    /// The same for several controllers. All of them are wanted before the first one is connected, and before a removal
    /// continues: it may be the removal of one of them.
    pub fn want_all(&mut self, ctx: &mut Context<'_>, wants: Vec<(Tid, Want)>) -> Vec<Report> {
        for (tid, want) in wants {
            self.mark_wanted(ctx, &tid, want);
        }
        self.work(ctx)
    }

    fn mark_wanted(&mut self, ctx: &mut Context<'_>, tid: &Tid, want: Want) {
        if !self.members.contains_key(tid) {
            // Save before connecting: after a crash the next run must know that the controller was wanted.
            ctx.host(HostEffect::Save);
        }
        let member = self.members.entry(tid.clone()).or_insert_with(|| Member::new(want.clone()));
        let restarts = want.restarts(&member.want);
        let tried_otherwise =
            member.want.parameters != want.parameters && matches!(member.state, ConnState::Waiting(_));
        let level = want.trust;
        member.want = want;
        if let Some(ctrl) = member.ctrl() {
            raise_trust(&mut self.path_trust, ctrl, level);
        }
        member.kept = None;
        member.cause = None;
        member.before_exclusion = None;
        if tried_otherwise {
            // An attempt with other parameters counts as the first.
            member.start_afresh();
            ctx.timers.cancel(&Timer::Retry(tid.clone()));
        }
        if member.removal.take().is_some() {
            ctx.timers.cancel(&Timer::RetryDisconnect(tid.clone()));
        }
        if restarts && member.state == ConnState::GivenUp {
            member.attempts = 0;
            member.state = ConnState::Idle;
        }
        self.dirty.insert(tid.clone());
    }

    /// True when the controller is wanted in exactly this way already: [`Fleet::want`] would change nothing.
    #[must_use]
    pub fn is_wanted(&self, tid: &Tid, want: &Want) -> bool {
        self.members.get(tid).is_some_and(|member| member.is_wanted() && member.want == *want)
    }

    /// Removes a controller. Disconnects at most the one connection that it holds.
    pub fn remove(&mut self, ctx: &mut Context<'_>, tid: &Tid, how: RemovalPolicy, cause: Cause) -> Vec<Report> {
        self.mark_for_removal(tid, how, cause);
        self.work(ctx)
    }

    /// Marks a controller for removal without removing it: the next event or call does that. No attempt for a marked
    /// controller begins, even if the removal of another one frees the connect queue.
    pub fn mark_for_removal(&mut self, tid: &Tid, how: RemovalPolicy, cause: Cause) {
        if let Some(member) = self.members.get_mut(tid) {
            let same_how = member.removal.as_ref().is_some_and(|(before, _)| *before == how);
            let same_why = member.cause.as_ref().is_some_and(|before| before.why == cause.why);
            if !(same_how && same_why) {
                member.before_exclusion = match (member.removal.take(), member.cause.take()) {
                    _ if !cause.why.is_exclusion() => None,
                    (Some(_), Some(before)) if before.why.is_exclusion() => member.before_exclusion.take(),
                    (Some((how, _)), Some(before)) => Some(BeforeExclusion::Removed(how, before)),
                    _ => Some(BeforeExclusion::Wanted),
                };
                member.removal = Some((how, RemovalState::Asked));
                member.cause = Some(cause);
            }
            self.dirty.insert(tid.clone());
        }
    }

    /// The exclusion that marked a member no longer matches it: restores the state from before the exclusion. Returns
    /// whether the member is wanted again.
    pub fn exclusion_is_gone(&mut self, ctx: &mut Context<'_>, tid: &Tid) -> bool {
        let Some(member) = self.members.get_mut(tid).filter(|member| member.is_excluded()) else { return false };
        let Some(before) = member.before_exclusion.take() else { return false };
        member.kept = None;
        ctx.timers.cancel(&Timer::RetryDisconnect(tid.clone()));
        self.dirty.insert(tid.clone());
        let is_wanted = before == BeforeExclusion::Wanted;
        (member.removal, member.cause) = match before {
            BeforeExclusion::Wanted => (None, None),
            BeforeExclusion::Removed(how, cause) => (Some((how, RemovalState::Asked)), Some(cause)),
        };
        is_wanted
    }

    /// The removal of a member is no longer proved: the member is wanted until it is proved again. A disconnect that
    /// has begun continues. A member of the saved state that was not wanted in this run is wanted as `restored` says.
    pub fn removal_is_unproved(&mut self, ctx: &mut Context<'_>, tid: &Tid, restored: Want) {
        let is_kept = |member: &&mut Member| !member.is_wanted() && !member.disconnect_requested;
        let Some(member) = self.members.get_mut(tid).filter(is_kept) else { return };
        (member.removal, member.cause, member.kept, member.before_exclusion) = (None, None, None, None);
        member.restore_want(restored);
        ctx.timers.cancel(&Timer::RetryDisconnect(tid.clone()));
        self.dirty.insert(tid.clone());
        let text = "its removal is no longer proved: it stays connected until that is proved again".to_owned();
        ctx.log_about(Level::Info, tid, member.ctrl(), text);
        ctx.host(HostEffect::Save);
    }

    /// A member of the saved state that was not wanted in this run is wanted as `restored` says.
    pub fn restore_want(&mut self, tid: &Tid, restored: Want) {
        if let Some(member) = self.members.get_mut(tid) {
            member.restore_want(restored);
        }
    }

    /// Removes a controller of the saved state that this run does not want: its saved connection is disconnected.
    pub fn remove_restored(
        &mut self,
        ctx: &mut Context<'_>,
        tid: &Tid,
        how: RemovalPolicy,
        cause: Cause,
    ) -> Vec<Report> {
        if self.members.contains_key(tid) {
            return self.remove(ctx, tid, how, cause);
        }
        self.members.insert(tid.clone(), Member::for_removal(how, cause));
        self.dirty.insert(tid.clone());
        self.work(ctx)
    }

    /// Retries a controller at once, because it may answer now (a fresh announcement, a reload).
    pub fn retry_now(&mut self, ctx: &mut Context<'_>, tid: &Tid) -> Vec<Report> {
        self.retry_all_now(ctx, std::iter::once(tid))
    }

    /// Retries several controllers at once, in one step of the fleet.
    pub fn retry_all_now<'a>(&mut self, ctx: &mut Context<'_>, tids: impl IntoIterator<Item = &'a Tid>) -> Vec<Report> {
        for tid in tids {
            self.end_wait(ctx.now, tid);
        }
        self.work(ctx)
    }

    /// Takes an event of the host.
    pub fn handle(&mut self, ctx: &mut Context<'_>, event: HostEvent) -> Vec<Report> {
        match event {
            HostEvent::SnapshotTaken { op, result } => self.snapshot_taken(ctx, op, result),
            HostEvent::Uevent(event) => self.hint(ctx, &event),
            HostEvent::Overrun => self.events_were_lost(ctx),
            HostEvent::Probed { op, outcome } if self.rotation_probed(ctx.now, op, &outcome) => {}
            HostEvent::Probed { op, outcome } => {
                let rejected = self.connect_queue.probed(ctx, op, &outcome);
                self.handle_rejected(ctx, rejected);
            }
            HostEvent::Connected { op, report } => self.connected(ctx, op, *report),
            HostEvent::Disconnected { op, result } => self.disconnected(ctx, op, &result),
            HostEvent::UseChecked { op, usage } => self.use_checked(ctx, op, &usage),
            HostEvent::SecretsRotated { op, outcome, blocked_for } => {
                self.secrets_rotated(ctx, op, &outcome, blocked_for)
            }
            HostEvent::Links(links) => self.links_changed(ctx, &links),
            HostEvent::RouteAdded => self.network_improved(ctx),
            HostEvent::Resolved { .. } => {}
        }
        self.work(ctx)
    }

    /// Handles the timers that are due, of the fleet and of the connect queue.
    pub fn tick(&mut self, ctx: &mut Context<'_>, due: &[Timer]) -> Vec<Report> {
        for timer in due {
            match timer {
                Timer::Retry(tid) | Timer::RetryDisconnect(tid) => {
                    self.dirty.insert(tid.clone());
                }
                Timer::Snapshot => self.request_snapshot(ctx),
                Timer::SnapshotAnswer => self.snapshot_hangs(ctx),
                Timer::UseAnswer => self.use_check_hangs(ctx),
                Timer::RetryAll => self.retry_all(ctx.now),
                Timer::Disconnect(op) => self.disconnect_hangs(ctx, *op),
                // [`Fleet::work`] handles [`Timer::Rotate`].
                _ => {}
            }
        }
        let (rejected, hanging) = self.connect_queue.tick(ctx, due);
        self.handle_rejected(ctx, rejected);
        if let Some(hanging) = hanging {
            self.log_hanging_write(ctx, hanging);
        }
        self.work(ctx)
    }

    /// True once the first snapshot has been taken.
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.inventory.has_snapshot()
    }

    /// The kernel's controllers.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The network interfaces.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// All members, including those being removed.
    pub fn tids(&self) -> impl Iterator<Item = &Tid> {
        self.members.keys()
    }

    /// True while the controller is a member, even one that is being removed.
    #[must_use]
    pub fn has(&self, tid: &Tid) -> bool {
        self.members.contains_key(tid)
    }

    /// The members that hold a connection, the most trusted one first.
    #[must_use]
    pub fn holders(&self, ctrl: CtrlRef) -> Vec<&Tid> {
        let mut holders: Vec<_> = self.members.iter().filter(|(_, member)| member.ctrl() == Some(ctrl)).collect();
        holders.sort_by_key(|(tid, member)| (member.want.trust, *tid));
        holders.into_iter().map(|(tid, _)| tid).collect()
    }

    /// True for a member that is being removed.
    #[must_use]
    pub fn is_leaving(&self, tid: &Tid) -> bool {
        self.members.get(tid).is_some_and(|member| !member.is_wanted())
    }

    /// True for a member that depends on mDNS alone, or did when it was last listed ([`Trust::is_announced_only`]).
    #[must_use]
    pub fn is_announced_only(&self, tid: &Tid) -> bool {
        self.members.get(tid).is_some_and(Member::is_announced_only)
    }

    /// How a member is wanted, or was wanted before the current event removed it.
    #[must_use]
    pub fn last_want(&self, tid: &Tid) -> Option<&Want> {
        self.members.get(tid).map(|member| &member.want).or_else(|| self.just_removed.get(tid))
    }

    /// Forgets the members that this event has removed. Call it after each event.
    pub fn forget_just_removed(&mut self) {
        self.just_removed.clear();
    }

    /// True for a connection that was ever used for a member with a trust level above announced-dc.
    #[must_use]
    pub fn was_used_for_trusted(&self, ctrl: CtrlRef) -> bool {
        self.path_trust.get(&ctrl).is_some_and(|level| !level.is_announced_only())
    }

    /// True for a member that is no longer wanted, but is kept because its storage is or may be in use.
    #[must_use]
    pub fn is_kept_for_use(&self, tid: &Tid) -> bool {
        self.members.get(tid).and_then(|member| member.kept.as_ref()).is_some_and(Kept::is_for_use)
    }

    /// The members whose removal is proved ([`Fleet::is_removed_for_good`]).
    pub fn removed_for_good(&self) -> impl Iterator<Item = &Tid> {
        self.members.iter().filter(|(_, member)| member.is_removed_for_good()).map(|(tid, _)| tid)
    }

    /// True for a member whose removal is proved. A removal because of an exclusion is no proof: the exclusion may be
    /// removed.
    #[must_use]
    pub fn is_removed_for_good(&self, tid: &Tid) -> bool {
        self.members.get(tid).is_some_and(Member::is_removed_for_good)
    }

    /// The kernel connection of a member.
    #[must_use]
    pub fn kernel(&self, tid: &Tid) -> Option<&KernelController> {
        self.inventory.get(self.members.get(tid)?.ctrl()?)
    }

    /// True while a member's connection is live.
    #[must_use]
    pub fn is_live(&self, tid: &Tid) -> bool {
        self.kernel(tid).is_some_and(KernelController::is_live)
    }

    /// The failed attempts of a member since it was last connected.
    #[must_use]
    pub fn attempts(&self, tid: &Tid) -> u32 {
        self.members.get(tid).map_or(0, |member| member.attempts)
    }

    /// True for a member that is not connected because it is only polled.
    #[must_use]
    pub fn awaits_poll(&self, tid: &Tid) -> bool {
        self.members.get(tid).is_some_and(|member| matches!(member.reason, Some(NotConnected::Polled(_))))
    }

    /// True if the members are discovery controllers.
    #[must_use]
    pub fn is_of_discovery(&self) -> bool {
        self.kind == Kind::Discovery
    }

    /// True unless the connection is known not to be live. An unknown state, and any state before the first snapshot,
    /// counts as live.
    #[must_use]
    pub fn may_be_live(&self, tid: &Tid) -> bool {
        let may_be = |kernel: &KernelController| kernel.is_live() || kernel.state == CtrlState::Unknown;
        !self.has_snapshot() || self.kernel(tid).is_some_and(may_be)
    }

    /// Re-examines the dirty members until none is left, then starts what may start now. Returns what happened to
    /// members.
    fn work(&mut self, ctx: &mut Context<'_>) -> Vec<Report> {
        while let Some(tid) = self.dirty.pop_first() {
            let Some(member) = self.members.get(&tid) else { continue };
            if member.is_wanted() {
                self.reconcile(ctx, &tid);
            } else {
                self.continue_removal(ctx, &tid);
            }
        }
        self.rotate(ctx);
        self.start_next_write(ctx);
        self.watch_disconnects(ctx);
        self.schedule_snapshot(ctx);
        std::mem::take(&mut self.reports)
    }

    /// True when a live connection uses the same portal.
    fn portal_live(&self, tid: &Tid) -> bool {
        let Some(portal) = Portal::of(tid) else { return false };
        self.inventory.iter().any(|ctrl| {
            ctrl.is_live()
                && ctrl.transport == tid.transport()
                && ctrl.traddr == portal.traddr
                && ctrl.trsvcid == portal.trsvcid
                && (portal.host_iface.is_empty() || ctrl.host_iface == portal.host_iface)
                && (portal.host_traddr.is_empty() || ctrl.host_traddr == portal.host_traddr)
        })
    }

    /// The kernel connection that serves a TID and may be adopted: if possible, the connection that it had before a
    /// restart. Otherwise that connection would stay ours, but no member would use it.
    fn serving(&self, tid: &Tid) -> Option<CtrlRef> {
        let disconnecting: BTreeSet<CtrlRef> = self.disconnecting.values().copied().collect();
        let is_usable = |ctrl: &&KernelController| !disconnecting.contains(&ctrl.ctrl) && self.is_usable(ctrl, tid);
        let held = self.inventory.iter().filter(|ctrl| self.held_before(tid, ctrl.ctrl)).filter(is_usable);
        let discovery = self.kind == Kind::Discovery;
        let best = matching::best(held, tid, &self.links, discovery);
        let any = || matching::best(self.inventory.iter().filter(is_usable), tid, &self.links, discovery);
        best.or_else(any).map(|ctrl| ctrl.ctrl)
    }

    fn links_changed(&mut self, ctx: &mut Context<'_>, links: &Arc<Links>) {
        let improved = links.0.iter().any(|new| match self.links.named(&new.name) {
            None => new.up,
            Some(old) => new.up && (!old.up || new.addresses.iter().any(|address| !old.addresses.contains(address))),
        });
        // The interfaces were unknown until now: members may have waited for them.
        if self.links.0.is_empty() {
            self.dirty.extend(self.members.keys().cloned());
        }
        self.links = Arc::clone(links);
        self.note_stranded(ctx.now);
        if improved {
            self.network_improved(ctx);
        }
    }

    fn network_improved(&mut self, ctx: &mut Context<'_>) {
        let earliest = self.last_retry_all.map_or(ctx.now, |last| last + RETRY_ALL_GAP);
        ctx.timers.set_once(Timer::RetryAll, earliest.max(ctx.now + RETRY_ALL_DELAY));
    }

    /// Retries all waiting controllers at once.
    fn retry_all(&mut self, now: Time) {
        self.last_retry_all = Some(now);
        let waiting: Vec<Tid> = self.members.keys().cloned().collect();
        for tid in waiting {
            self.end_wait(now, &tid);
        }
    }

    /// Controllers whose last connection was encrypted, to be saved.
    pub fn encrypted(&self) -> impl Iterator<Item = &Tid> {
        self.encrypted.iter()
    }

    /// Restores the saved [`Fleet::encrypted`].
    pub fn restore_encrypted(&mut self, encrypted: BTreeSet<Tid>) {
        self.encrypted = encrypted;
    }

    /// The parameters and the identity for a member's next connection.
    fn attempt_parameters(&self, tid: &Tid) -> Option<AttemptParameters> {
        let (member, identity) = (self.members.get(tid)?, self.identity_for(tid)?);
        Some(AttemptParameters { parameters: member.want.parameters.clone(), identity })
    }

    /// The earliest time of a member's next attempt, if an attempt with the same parameters blocked the connect path.
    fn penalty_until(&self, tid: &Tid) -> Option<Time> {
        self.connect_queue.penalty_until(tid, &self.attempt_parameters(tid)?)
    }

    /// Ends the wait of a member and restarts one that was given up, unless it has a penalty or was retried in this way
    /// less than [`RETRY_ALL_GAP`] ago.
    fn end_wait(&mut self, now: Time, tid: &Tid) {
        let penalty_until = self.penalty_until(tid).filter(|until| now < *until);
        let penalized = penalty_until.is_some();
        let Some(member) = self.members.get_mut(tid) else { return };
        member.reset_backoff();
        let earliest = member.retried_at.map_or(now, |last| last + RETRY_ALL_GAP).max(now);
        if member.state == ConnState::GivenUp {
            member.start_afresh();
            member.state = ConnState::Waiting(penalty_until.unwrap_or(earliest));
            member.retried_at = Some(earliest);
            self.dirty.insert(tid.clone());
            return;
        }
        if let (ConnState::Waiting(until), false) = (&mut member.state, penalized) {
            *until = earliest.min(*until);
            member.retried_at = Some(earliest);
            self.dirty.insert(tid.clone());
        }
    }
}
