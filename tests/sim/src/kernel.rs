//! The kernel's side of NVMe-oF: its controllers, its single connect path, its reconnects, its events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libstas::core::trust::Urgency;
use libstas::core::{
    ConnectError, ConnectOutcome, ConnectReport, ConnectRequest, CtrlRef, CtrlState, CtrlType, DisconnectError, Gained,
    HostEvent, KernelController, OsError, Owner, Snapshot, Time, Uevent, UeventKind, Usage, matching,
};
use libstas::nvme::connect::{OptionError, host_id_for};
use libstas::nvme::{DISCOVERY_NQN, Purpose, Tid, TidParts};
use uuid::Uuid;

use crate::fabric::TargetState;
use crate::files::REFUSED_QUEUE_SIZE;
use crate::invariants::Invariant;
use crate::keys::{self, KeyNumber};
use crate::mutants::Bug;
use crate::names::{Daemon, HOST_NQN, Iface, Subsystem, Target, Via};
use crate::oracle::Connection;
use crate::plan::Fault;
use crate::world::{Incoming, QueuedEvent, Requester, World, trace};

/// The kernel reconnects after this time (reconnect-delay).
pub(crate) const RECONNECT_DELAY: Duration = Duration::from_secs(10);

/// Longest duration of a hanging disconnect.
pub(crate) const HANGING_DISCONNECT: Duration = Duration::from_secs(45);

/// The program that made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Connected by a daemon.
    Daemon(Daemon),
    /// The administrator, by hand.
    Hand,
    /// The firmware, before the daemons were started.
    Firmware,
    /// A daemon that was killed before it could save the connection.
    Orphan,
}

/// A controller of the simulated kernel.
#[derive(Clone, Debug)]
pub(crate) struct SimController {
    /// Its attributes in sysfs, once they are complete.
    pub(crate) shown: KernelController,
    pub(crate) target: Target,
    pub(crate) via: Via,
    /// The interface with the source address that it is bound to (host_traddr).
    from: Via,
    /// True if its interface or its source address was missing while it was down: the daemons may have replaced it.
    pub(crate) stranded: bool,
    /// The interface of its last connection.
    pub(crate) over: Iface,
    /// True if an earlier connection of it used another interface.
    pub(crate) moved: bool,
    /// `None` for a discovery controller.
    pub(crate) subsystem: Option<Subsystem>,
    pub(crate) origin: Origin,
    filled_at: Duration,
    /// Counts its connections; events planned for an earlier one are ignored.
    pub(crate) epoch: u64,
    /// Since when it is live.
    pub(crate) up_since: Option<Time>,
    /// Since when it is down.
    pub(crate) down_since: Option<Duration>,
    /// True if its next change of the log page causes an event.
    pub(crate) armed: bool,
    /// The key that it authenticates with; 0: none.
    pub(crate) key: KeyNumber,
}

impl SimController {
    pub(crate) fn is_live(&self) -> bool {
        self.shown.state == CtrlState::Live
    }

    pub(crate) fn is_being_deleted(&self) -> bool {
        self.shown.state == CtrlState::Deleting
    }

    /// True for a controller of the daemon's kind that no daemon connected.
    pub(crate) fn is_foreign_to(&self, daemon: Daemon) -> bool {
        let right_kind = self.subsystem.is_some() == (daemon == Daemon::Stacd);
        right_kind && !matches!(self.origin, Origin::Daemon(_) | Origin::Orphan)
    }

    /// True when the connection uses that interface, or may appear to while its own interface is missing.
    pub(crate) fn may_use(&self, via: Via) -> bool {
        via.is_none() || self.via.is_none() || self.via == via
    }

    /// The interface that it cannot do without.
    fn bound_to(&self) -> Via {
        self.via.or(self.from)
    }

    /// True when both use the same interface.
    pub(crate) fn shares_interface_with(&self, other: &Self) -> bool {
        self.over == other.over
    }

    /// Its present connection; `None` while it is down.
    pub(crate) fn connection(&self) -> Option<Connection> {
        Some(Connection { ctrl: self.shown.ctrl, epoch: self.epoch, since: self.up_since? })
    }
}

/// A connect request that waits for the connect path.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) requester: Requester,
    pub(crate) request: Box<ConnectRequest>,
}

/// The write under way.
#[derive(Debug)]
struct Writing {
    number: u64,
    /// `None` if the writing process was killed.
    requester: Option<Requester>,
    request: Box<ConnectRequest>,
    since: Duration,
    ctrl: CtrlRef,
}

/// The state of the kernel.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) controllers: Vec<SimController>,
    inodes: u64,
    pub(crate) seqnum: u64,
    connect_queue: VecDeque<Job>,
    /// Keys to compare that wait for the connect path.
    pub(crate) rotations: VecDeque<(Requester, CtrlRef, Box<ConnectRequest>)>,
    writing: Option<Writing>,
    /// For how urgent a connection each daemon waits.
    pub(crate) urgency: BTreeMap<Daemon, Urgency>,
    writes: u64,
    /// The controller that was removed last.
    last_gone: Option<Arc<KernelController>>,
    /// Number of controllers that have lost their owner.
    pub(crate) orphans: u64,
    /// The longest time for which a failed write has blocked the connect path.
    pub(crate) wasted: Duration,
}

impl Kernel {
    pub(crate) fn get(&self, ctrl: CtrlRef) -> Option<&SimController> {
        self.controllers.iter().find(|known| known.shown.ctrl == ctrl)
    }

    pub(crate) fn get_mut(&mut self, ctrl: CtrlRef) -> Option<&mut SimController> {
        self.controllers.iter_mut().find(|known| known.shown.ctrl == ctrl)
    }

    /// A daemon starts and knows these connections. Its other connections, and those that it could not record before it
    /// was killed, have no owner from now on.
    pub(crate) fn disown(&mut self, daemon: Daemon, has_state: bool, knows: impl Fn(&SimController) -> bool) {
        for known in &mut self.controllers {
            let recorded = matches!(known.shown.owner, Owner::Stas(_));
            if known.origin == Origin::Daemon(daemon) && !(recorded && knows(known)) {
                known.origin = Origin::Orphan;
                self.orphans += u64::from(has_state);
            }
        }
    }

    /// The daemon with the more urgent connection goes first.
    fn next_job(&mut self) -> Option<Job> {
        let urgency = |job: &Job| self.urgency.get(&job.requester.daemon).copied().unwrap_or(Urgency::Last);
        let jobs = self.connect_queue.iter().enumerate();
        let first = jobs.min_by_key(|(_, job)| urgency(job)).map(|(index, _)| index)?;
        self.connect_queue.remove(first)
    }

    /// True while a connect request is being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    pub(crate) fn is_writing(&self, ctrl: CtrlRef) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.ctrl == ctrl)
    }
}

/// A disconnect.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    /// The operation of a daemon; `None`: another program.
    pub(crate) requester: Option<Requester>,
    pub(crate) ctrl: CtrlRef,
    /// As in [`HostEffect::Disconnect`].
    pub(crate) ends_use: bool,
    /// As in [`HostEffect::Disconnect`].
    pub(crate) recheck_use: Option<Vec<CtrlRef>>,
}

impl Deletion {
    /// A disconnect by another program.
    pub(crate) fn by_others(ctrl: CtrlRef) -> Self {
        Self { requester: None, ctrl, ends_use: false, recheck_use: None }
    }
}

impl World {
    /// Takes a snapshot for a daemon.
    pub(crate) fn snapshot(&mut self, daemon: Daemon) -> Snapshot {
        let snapshots = match daemon {
            Daemon::Stafd => &mut self.staf.snapshots,
            Daemon::Stacd => &mut self.stac.snapshots,
        };
        *snapshots += 1;
        let order = *snapshots;
        let shown = |known: &SimController| {
            let mut shown = shown(known, self.now);
            shown.ctrl = self.mask(shown.ctrl);
            shown.carries_system = self.may_carry_system(known);
            Arc::new(shown)
        };
        let ghosts = self.ghosts.iter().filter(|(seen_by, _)| *seen_by == daemon).map(|(_, ghost)| ghost.clone());
        let controllers = self.kernel.controllers.iter().map(shown).chain(ghosts).collect();
        Snapshot { order, seqnum: self.kernel.seqnum, controllers }
    }

    /// Sends an event to all listeners.
    fn emit(&mut self, device: u32, kind: UeventKind) {
        self.kernel.seqnum += 1;
        let event = Uevent { seqnum: self.kernel.seqnum, device, kind };
        for daemon in Daemon::BOTH {
            let silent = matches!(kind, UeventKind::Add | UeventKind::Remove);
            let lost = silent && self.has(Fault::EventsLost(daemon)) && self.streams.stream("lost event").percent(50);
            let overrun = self.has(Fault::EventsOverrun(daemon));
            if lost || overrun {
                trace!(self, "{daemon} does not get the event {kind:?} of nvme{device}");
                self.add_ghost(daemon, kind);
                if overrun {
                    // The next read of the socket reports the overrun.
                    let wait = self.streams.stream("overrun").ms(0, 100);
                    self.event(daemon, wait, HostEvent::Overrun);
                }
                continue;
            }
            let mut wait = self.streams.stream("event").between(Duration::from_micros(10), Duration::from_millis(3));
            if self.has(Fault::EventsLate(daemon)) {
                wait += self.streams.stream("late event").ms(0, 300);
            }
            let times = if self.has(Fault::EventsDoubled(daemon)) { 2 } else { 1 };
            for _ in 0..times {
                self.event(daemon, wait, HostEvent::Uevent(event.clone()));
            }
        }
    }

    /// With [`Bug::RemoveEventIsTheTruth`] a controller whose remove event was lost exists for ever.
    fn add_ghost(&mut self, daemon: Daemon, kind: UeventKind) {
        if let (Bug::RemoveEventIsTheTruth, UeventKind::Remove, Some(gone)) =
            (self.bug.unwrap_or(Bug::ConnectPathBlocked), kind, &self.kernel.last_gone)
        {
            self.ghosts.push((daemon, gone.clone()));
        }
    }

    /// Delivers an event, not before earlier events.
    pub(crate) fn event(&mut self, daemon: Daemon, wait: Duration, event: HostEvent) {
        let until = match daemon {
            Daemon::Stafd => &mut self.staf.events_until,
            Daemon::Stacd => &mut self.stac.events_until,
        };
        *until = (*until).max(self.now + wait);
        let wait = *until - self.now;
        self.send(daemon, wait, Incoming::Host(event));
    }

    /// Creates a controller; its instance number is the lowest free one.
    fn add(&mut self, tid: &Tid, kato: u32, origin: Origin, hostid: Uuid) -> Option<CtrlRef> {
        let target = Target::of(&tid.traddr)?;
        self.kernel.inodes += 1;
        let taken = |device| self.kernel.controllers.iter().any(|known| known.shown.ctrl.device == device);
        let device = (0..).find(|device| !taken(*device))?;
        let ctrl = CtrlRef { device, inode: self.kernel.inodes };
        let subsystem = Subsystem::of(&tid.subsysnqn);
        let discovery = subsystem.is_none();
        let filled_at = self.now + self.streams.stream("attributes").ms(0, 40);
        self.kernel.controllers.push(SimController {
            shown: KernelController {
                hostnqn: HOST_NQN.into(),
                hostid: hostid.to_string(),
                cntrltype: if discovery { CtrlType::Discovery } else { CtrlType::Io },
                dctype: self.fabric.dctype(target).filter(|_| discovery).unwrap_or(libstas::core::Dctype::None),
                state: CtrlState::New,
                kato: Some(kato),
                model: "simulated".into(),
                ..KernelController::asked_for_by(tid, ctrl)
            },
            target,
            via: Iface::of(&tid.host_iface),
            from: Iface::with_address(&tid.host_traddr),
            stranded: false,
            over: source_of(tid).unwrap_or(self.route),
            moved: false,
            subsystem,
            origin,
            filled_at,
            epoch: 0,
            up_since: None,
            down_since: Some(self.now),
            armed: false,
            key: self.keys.host,
        });
        self.emit(device, UeventKind::Add);
        Some(ctrl)
    }

    fn remove(&mut self, ctrl: CtrlRef) {
        self.kernel.last_gone = self.kernel.get(ctrl).map(|known| Arc::new(known.shown.clone()));
        self.kernel.controllers.retain(|known| known.shown.ctrl != ctrl);
        self.emit(ctrl.device, UeventKind::Remove);
    }

    fn goes_live(&mut self, ctrl: CtrlRef) {
        let (now, route) = (self.time(), self.route);
        let Some(known) = self.kernel.get_mut(ctrl) else { return };
        known.shown.state = CtrlState::Live;
        // As in kernels 6.7 to 6.11: unknown until the controller is live for the first time.
        known.shown.encrypted = Some(false);
        let over = known.bound_to().unwrap_or(route);
        known.moved |= over != std::mem::replace(&mut known.over, over);
        known.shown.src_addr = Some(known.over.address());
        (known.epoch, known.up_since, known.down_since, known.armed) = (known.epoch + 1, Some(now), None, true);
        let again = known.epoch > 1 && known.subsystem.is_none();
        trace!(self, "kernel: {ctrl} is live: {}", self.describe(ctrl));
        self.emit(ctrl.device, UeventKind::Connected);
        if again {
            self.emit(ctrl.device, UeventKind::Rediscover);
        }
    }

    /// A daemon requests a connection; its worker thread has taken the request.
    pub(crate) fn enlist(&mut self, job: Job) {
        self.kernel.connect_queue.push_back(job);
        self.pump();
    }

    fn pump(&mut self) {
        while self.kernel.writing.is_none() {
            // Storage depends on it: it is more urgent than a connection.
            if let Some((requester, ctrl, request)) = self.kernel.rotations.pop_front() {
                self.rotate(requester, ctrl, request);
                continue;
            }
            let Some(job) = self.kernel.next_job() else { return };
            if self.is_current(job.requester) {
                self.write(job);
            }
        }
    }

    fn write(&mut self, Job { requester, request }: Job) {
        let before = self.snapshot(requester.daemon);
        if let Some(found) = matching::find_for(&before, &request, &self.links) {
            self.report(requester, ConnectOutcome::Found(found.ctrl), before, Duration::ZERO);
            return;
        }
        if !self.has_route(Iface::of(&request.tid.host_iface)) {
            let after = self.snapshot(requester.daemon);
            let error = ConnectError::Kernel { errno: 101, explanation: "network is unreachable".into() };
            self.report(requester, ConnectOutcome::Failed(error), after, Duration::from_micros(50));
            return;
        }
        let same = |known: &SimController| {
            !known.is_being_deleted() && known.subsystem.is_some() && known.shown.tid() == request.tid
        };
        if self.kernel.controllers.iter().any(same) {
            let after = self.snapshot(requester.daemon);
            let outcome = ConnectOutcome::Failed(ConnectError::Already);
            self.report(requester, outcome, after, Duration::from_micros(50));
            return;
        }
        if request.parameters.queue_size == Some(REFUSED_QUEUE_SIZE) {
            let after = self.snapshot(requester.daemon);
            let error = ConnectError::Invalid(OptionError::Missing("queue_size"));
            self.report(requester, ConnectOutcome::Failed(error), after, Duration::from_micros(50));
            return;
        }
        let hostid = self.host_id_of(&request);
        let Some(hostid) = hostid.filter(|hostid| !self.has_another_pair(&request.tid.host_nqn, *hostid)) else {
            let after = self.snapshot(requester.daemon);
            let explanation = "the kernel has another pair of host NQN and host ID".into();
            let error = ConnectError::Kernel { errno: 22, explanation };
            self.report(requester, ConnectOutcome::Failed(error), after, Duration::from_micros(50));
            return;
        };
        let kato = match request.purpose {
            Purpose::Io => 5,
            Purpose::Discovery => 30,
            Purpose::Poll => 0,
        };
        let origin = Origin::Daemon(requester.daemon);
        let Some(ctrl) = self.add(&request.tid, kato, origin, hostid) else { return };
        if let Some(known) = self.kernel.get_mut(ctrl) {
            known.shown.state = CtrlState::Connecting;
            known.key = World::key_of(&request);
        }
        trace!(self, "kernel: {} connects {}: {ctrl}", requester.daemon, crate::names::short(&request.tid));
        let takes = self.write_takes(ctrl);
        self.kernel.writes += 1;
        let number = self.kernel.writes;
        self.kernel.writing = Some(Writing { number, requester: Some(requester), request, since: self.now, ctrl });
        self.after(takes, QueuedEvent::WriteEnds(number));
    }

    /// The host ID that a daemon connects with.
    fn host_id_of(&self, request: &ConnectRequest) -> Option<Uuid> {
        if self.has_bug(Bug::HostIdNotCompared) {
            return host_id_for(&request.tid.host_nqn, &self.identity);
        }
        host_id_for(&request.tid.host_nqn, &request.identity)
    }

    /// True if a connection has the host NQN with another host ID, or the host ID with another host NQN: the kernel
    /// refuses this one (since 6.5).
    fn has_another_pair(&self, hostnqn: &str, hostid: Uuid) -> bool {
        let hostid = hostid.to_string();
        let mut known = self.kernel.controllers.iter().map(|known| &known.shown);
        known.any(|shown| (shown.hostnqn == hostnqn) != (shown.hostid == hostid))
    }

    fn write_takes(&mut self, ctrl: CtrlRef) -> Duration {
        let state = self.kernel.get(ctrl).map_or(TargetState::Answering, |known| self.fabric.state(known.target));
        let slow = self.has(Fault::ConnectPathSlow);
        let rng = self.streams.stream("write");
        let more = if slow { rng.ms(1000, 4000) } else { Duration::ZERO };
        more + match state {
            TargetState::Answering | TargetState::Refusing => rng.ms(4, 60),
            TargetState::Unreachable => rng.ms(3100, 3300),
            TargetState::Mute => rng.ms(3000, 12_000),
        }
    }

    pub(crate) fn write_ends(&mut self, number: u64) {
        let Some(writing) = self.kernel.writing.take_if(|writing| writing.number == number) else { return };
        let Writing { requester, ctrl, since, request, .. } = writing;
        let blocked_for = self.now - since;
        let is_reachable = self.kernel.get(ctrl).is_some_and(|known| self.is_reachable(known));
        let works = is_reachable && self.kernel.get(ctrl).is_some_and(|known| self.accepts_key_of(known));
        let outcome = if works {
            // The thread that wrote records the owner; a killed one does not.
            let recorded = requester.is_some_and(|requester| self.is_current(requester));
            if let Some(known) = self.kernel.get_mut(ctrl).filter(|_| recorded) {
                known.shown.owner = Owner::Stas(Gained::Connected);
            }
            self.goes_live(ctrl);
            ConnectOutcome::Made(ctrl)
        } else {
            trace!(self, "kernel: {ctrl} could not be connected: {}", crate::names::short(&request.tid));
            self.remove(ctrl);
            self.kernel.wasted = self.kernel.wasted.max(blocked_for);
            self.disturbs_keys(self.now);
            let silent = || ConnectError::Kernel { errno: 110, explanation: "no answer in time".into() };
            ConnectOutcome::Failed(if is_reachable { keys::refused() } else { silent() })
        };
        if let Some(requester) = requester.filter(|requester| self.is_current(*requester)) {
            let after = self.snapshot(requester.daemon);
            self.report(requester, outcome, after, blocked_for);
        }
        self.pump();
    }

    fn report(&mut self, requester: Requester, outcome: ConnectOutcome, snapshot: Snapshot, blocked_for: Duration) {
        let outcome = match outcome {
            ConnectOutcome::Made(ctrl) => ConnectOutcome::Made(self.mask(ctrl)),
            other => other,
        };
        let report = Box::new(ConnectReport { outcome, snapshot, blocked_for });
        let wait = self.streams.latency("report");
        self.answer(requester, wait, Incoming::Host(HostEvent::Connected { op: requester.op, report }));
    }

    /// A process has ended: its threads are gone, and a signal may have aborted the write under way.
    pub(crate) fn abandon_writes(&mut self, daemon: Daemon) {
        self.kernel.connect_queue.retain(|job| job.requester.daemon != daemon);
        let aborted = self.streams.stream("abort").percent(50);
        let of_it = |writing: &Writing| writing.requester.is_some_and(|requester| requester.daemon == daemon);
        if !self.kernel.writing.as_ref().is_some_and(of_it) {
            return;
        }
        if aborted {
            if let Some(writing) = self.kernel.writing.take() {
                self.remove(writing.ctrl);
            }
            self.pump();
        } else if let Some(writing) = &mut self.kernel.writing {
            writing.requester = None;
        }
    }

    /// A process is about to write to delete_controller.
    pub(crate) fn delete(&mut self, deletion: Deletion) {
        let Deletion { requester, ctrl, ends_use, ref recheck_use } = deletion;
        if requester.is_some_and(|requester| !self.is_current(requester)) {
            return;
        }
        let owner = match self.kernel.get(ctrl).map(|known| &known.shown.owner) {
            Some(Owner::Other(name)) => requester.map(|_| name.clone()),
            _ => None,
        };
        if let Some(owner) = owner {
            if self.has_bug(Bug::OwnerNotReadAgain) {
                let text = format!("{ctrl} is disconnected, which belongs to {owner}");
                self.breach(Invariant::Owned, text);
            }
            self.disconnected(requester, ctrl, Err(DisconnectError::OtherOwner { owner }));
            return;
        }
        let spared = requester
            .is_some_and(|requester| self.has_bug(Bug::ExclusionUnreached) && self.is_excluded(requester.daemon, ctrl));
        if spared {
            self.disconnected(requester, ctrl, Ok(()));
            return;
        }
        let refusal = match recheck_use.as_ref().map(|not_counted| self.usage(ctrl, not_counted)) {
            Some(Usage::LastPath(uses)) => Some(DisconnectError::InUse(uses)),
            Some(Usage::Unknown(error)) => Some(DisconnectError::UseUnknown(error)),
            Some(Usage::Free) => None,
            None if ends_use && self.is_seen_to_carry_system(ctrl) => Some(DisconnectError::CarriesSystem),
            None => None,
        };
        if let Some(refusal) = refusal.filter(|_| !self.has_bug(Bug::UseNotCheckedAgain)) {
            self.disconnected(requester, ctrl, Err(refusal));
            return;
        }
        if requester.is_some() && self.has(Fault::DisconnectRefused) {
            let error = OsError::new("the device is busy");
            self.disconnected(requester, ctrl, Err(DisconnectError::Kernel(error)));
            return;
        }
        if self.kernel.is_writing(ctrl) {
            // Wait until the connect has ended.
            self.after(Duration::from_millis(100), QueuedEvent::Delete(deletion));
            return;
        }
        if requester.is_some() && self.oracle.spares_use.remove(&ctrl) {
            // Another path whose disconnect is under way is live until then, and is checked right before, too.
            if self.is_in_use(ctrl) && self.other_paths(ctrl, &[]) == 0 {
                let text = format!("{ctrl} is disconnected, whose storage has come into use since the check");
                self.breach(Invariant::InUse, text);
            }
        }
        let is_last_to_system = |known: &SimController| self.carries_system(known) && self.other_paths(ctrl, &[]) == 0;
        if requester.is_some() && self.kernel.get(ctrl).is_some_and(is_last_to_system) {
            let text = format!("{ctrl} is disconnected, the last path to swap: {}", self.describe(ctrl));
            self.breach(Invariant::System, text);
        }
        let hangs = requester.is_some() && self.has(Fault::DisconnectHangs);
        let takes = match self.streams.stream("delete") {
            rng if hangs => rng.between(Duration::from_secs(2), HANGING_DISCONNECT),
            rng => rng.ms(5, 400),
        };
        match self.kernel.get_mut(ctrl) {
            Some(known) if !known.is_being_deleted() => {
                known.shown.state = CtrlState::Deleting;
                known.up_since = None;
                self.after(takes, QueuedEvent::Deleted(requester, ctrl));
            }
            _ => self.disconnected(requester, ctrl, Ok(())),
        }
    }

    fn is_seen_to_carry_system(&self, ctrl: CtrlRef) -> bool {
        let is_seen = |known: &SimController| self.may_carry_system(known) && !self.has_bug(Bug::SystemNotCheckedAgain);
        self.kernel.get(ctrl).is_some_and(is_seen)
    }

    fn is_excluded(&self, daemon: Daemon, ctrl: CtrlRef) -> bool {
        self.kernel.get(ctrl).is_some_and(|known| self.oracle.excludes(daemon, &known.shown.tid()))
    }

    pub(crate) fn deleted(&mut self, requester: Option<Requester>, ctrl: CtrlRef) {
        trace!(self, "kernel: {ctrl} is disconnected: {}", self.describe(ctrl));
        self.remove(ctrl);
        self.disconnected(requester, ctrl, Ok(()));
    }

    fn disconnected(&mut self, requester: Option<Requester>, ctrl: CtrlRef, result: Result<(), DisconnectError>) {
        let Some(requester) = requester else { return };
        if self.has_bug(Bug::HangingDisconnectLost) && self.has(Fault::DisconnectHangs) {
            return;
        }
        if result.is_err() {
            self.oracle.spares_use.remove(&ctrl);
            self.oracle.disconnecting.remove(&ctrl);
        }
        let wait = self.streams.latency("disconnected");
        self.answer(requester, wait, Incoming::Host(HostEvent::Disconnected { op: requester.op, result }));
    }

    /// The kernel notices that a connection is down, and starts to reconnect.
    pub(crate) fn goes_down(&mut self, ctrl: CtrlRef, epoch: u64) {
        let now = self.now;
        let loss = self.plan.initial.ctrl_loss;
        let Some(known) = self.kernel.get_mut(ctrl).filter(|known| known.epoch == epoch && known.is_live()) else {
            return;
        };
        known.shown.state = CtrlState::Connecting;
        (known.up_since, known.down_since, known.armed) = (None, Some(now), false);
        trace!(self, "kernel: {ctrl} has lost its connection: {}", self.describe(ctrl));
        let at_once = self.streams.stream("reconnect").percent(30);
        let first = if at_once { Duration::from_millis(50) } else { RECONNECT_DELAY };
        self.after(first, QueuedEvent::Reconnects(ctrl, epoch));
        self.after(loss, QueuedEvent::GivesUp(ctrl, epoch));
    }

    pub(crate) fn reconnects(&mut self, ctrl: CtrlRef, epoch: u64) {
        let is_down = |known: &&SimController| known.epoch == epoch && known.shown.state == CtrlState::Connecting;
        let Some(known) = self.kernel.get(ctrl).filter(is_down) else { return };
        let (target, via) = (known.target, known.bound_to());
        if self.is_reachable(known) && !self.accepts_key_of(known) {
            self.refused_for_its_key(ctrl);
            self.remove(ctrl);
        } else if self.is_reachable(known) {
            self.goes_live(ctrl);
        } else if self.has_route(via)
            && self.fabric.state(target) == TargetState::Answering
            && self.plan.initial.refusal_is_final
        {
            trace!(self, "kernel: {ctrl} is refused and removed: {}", self.describe(ctrl));
            self.remove(ctrl);
        } else {
            self.after(RECONNECT_DELAY, QueuedEvent::Reconnects(ctrl, epoch));
        }
    }

    pub(crate) fn kernel_gives_up(&mut self, ctrl: CtrlRef, epoch: u64) {
        let is_down = |known: &&SimController| known.epoch == epoch && known.shown.state == CtrlState::Connecting;
        if self.kernel.get(ctrl).filter(is_down).is_some() {
            trace!(self, "kernel: {ctrl} is removed after ctrl-loss-tmo: {}", self.describe(ctrl));
            self.remove(ctrl);
        }
    }

    /// Connects by hand, without the connect queue of the daemons, sometimes with an owner (`nvme connect
    /// --owner=NAME`).
    pub(crate) fn connect_by_hand(&mut self, tid: &Tid, kato: u32) -> Option<CtrlRef> {
        let from = self.streams.stream("source address").percent(30).then_some(self.route);
        let tid = match from.filter(|_| tid.host_iface.is_empty()) {
            Some(from) => &Tid::new(TidParts { host_traddr: from.address().to_string(), ..tid.parts().clone() }),
            None => tid,
        };
        let ctrl = self.connect_without_queue(tid, kato, Origin::Hand)?;
        let owned = self.streams.stream("owner").percent(30);
        if let Some(known) = self.kernel.get_mut(ctrl).filter(|_| owned) {
            known.shown.owner = Owner::Other("orchestrator".into());
            trace!(self, "{ctrl} belongs to another orchestrator");
        }
        Some(ctrl)
    }

    /// The controller with that number among those for which `is_meant` is true.
    pub(crate) fn nth_controller(&self, nth: usize, is_meant: impl Fn(&SimController) -> bool) -> Option<CtrlRef> {
        let meant: Vec<CtrlRef> =
            self.kernel.controllers.iter().filter(|known| is_meant(known)).map(|known| known.shown.ctrl).collect();
        meant.get(nth.checked_rem(meant.len())?).copied()
    }

    /// Another orchestrator writes its name into the registry, for one of the I/O controllers.
    pub(crate) fn other_claims(&mut self, nth: usize) {
        let Some(ctrl) = self.nth_controller(nth, |known| known.subsystem.is_some() && !known.is_being_deleted())
        else {
            return;
        };
        if let Some(known) = self.kernel.get_mut(ctrl) {
            known.shown.owner = Owner::Other("orchestrator".into());
            known.origin = Origin::Hand;
            trace!(self, "{ctrl} belongs to another orchestrator");
        }
    }

    /// A daemon records that a connection without an owner is its own.
    pub(crate) fn claim(&mut self, ctrl: CtrlRef) {
        if let Some(known) = self.kernel.get_mut(ctrl).filter(|known| known.shown.owner == Owner::None) {
            known.shown.owner = Owner::Stas(Gained::Adopted);
        }
    }

    /// Connects without the connect queue of the daemons.
    pub(crate) fn connect_without_queue(&mut self, tid: &Tid, kato: u32, origin: Origin) -> Option<CtrlRef> {
        let target = Target::of(&tid.traddr)?;
        let io = tid.subsysnqn != DISCOVERY_NQN;
        let same = |known: &SimController| !known.is_being_deleted() && known.shown.tid() == *tid;
        let exists = io && self.kernel.controllers.iter().any(same);
        if exists
            || !self.has_route(source_of(tid))
            || !self.fabric.takes(target, Subsystem::of(&tid.subsysnqn))
            || io && !self.keys.agree()
        {
            return None;
        }
        let hostid = host_id_for(&tid.host_nqn, &self.identity)?;
        if self.has_another_pair(&tid.host_nqn, hostid) {
            return None;
        }
        let ctrl = self.add(tid, kato, origin, hostid)?;
        self.goes_live(ctrl);
        Some(ctrl)
    }

    /// A discovery log page has changed: sends one event to each live discovery connection that has read it since the
    /// last.
    pub(crate) fn announce_change(&mut self, target: Target) {
        if self.fabric.state(target) != TargetState::Answering {
            return;
        }
        let ifaces = self.mdns_net.ifaces();
        let mut devices = Vec::new();
        for known in &mut self.kernel.controllers {
            let listens =
                known.target == target && known.subsystem.is_none() && known.is_live() && ifaces.contains(&known.over);
            if listens && std::mem::take(&mut known.armed) {
                devices.push(known.shown.ctrl.device);
            }
        }
        for device in devices {
            self.emit(device, UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED));
        }
    }

    /// True when the route of the interface works.
    pub(crate) fn has_route(&self, via: Via) -> bool {
        self.mdns_net.ifaces().contains(&via.unwrap_or(self.route))
    }

    pub(crate) fn is_reachable(&self, known: &SimController) -> bool {
        self.has_route(known.bound_to()) && self.fabric.takes(known.target, known.subsystem)
    }

    /// The kernel notices a missing interface when the keep-alive of a connection expires, if it is still missing then.
    pub(crate) fn interface_is_gone(&mut self, iface: Iface, time: Duration) {
        let by_it = self.kernel.controllers.iter().filter(|known| known.over == iface);
        let all: Vec<_> = by_it.map(|known| (known.shown.ctrl, known.epoch, known.shown.kato.unwrap_or(5))).collect();
        for (ctrl, epoch, kato) in all {
            let wait = Duration::from_secs(u64::from(kato.max(5))) + self.streams.stream("keep-alive").ms(0, 5000);
            if wait < time {
                self.after(wait, QueuedEvent::GoesDown(ctrl, epoch));
            }
        }
    }

    /// Marks the connections that are down because of a missing interface.
    pub(crate) fn mark_stranded(&mut self, iface: Iface) {
        for known in &mut self.kernel.controllers {
            known.stranded |= known.bound_to() == Some(iface) && known.shown.state == CtrlState::Connecting;
        }
    }

    pub(crate) fn describe(&self, ctrl: CtrlRef) -> String {
        self.kernel.get(ctrl).map_or_else(|| "gone".into(), |known| crate::names::short(&known.shown.tid()))
    }
}

/// The interface that a TID asks for by its name or its address.
fn source_of(tid: &Tid) -> Via {
    Iface::of(&tid.host_iface).or_else(|| Iface::with_address(&tid.host_traddr))
}

/// The visible attributes of a controller: they are not filled in all at once.
fn shown(known: &SimController, now: Duration) -> KernelController {
    let mut shown = known.shown.clone();
    if now < known.filled_at && !known.is_live() {
        shown.cntrltype = CtrlType::Unknown;
        shown.subsysnqn.clear();
        shown.hostnqn.clear();
        shown.kato = None;
        shown.model.clear();
    }
    shown
}
