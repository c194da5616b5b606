//! Executes the effects of the cores on the simulated host.

use std::time::Duration;

use libstas::core::{
    AdminError, CtrlRef, HostEffect, HostEvent, Level, NotNvme, OsError, Portal, ProbeError, ProbeFailure,
    ProbeOutcome, ResolveError, SnapshotError, Usage, UsageError, Use, UseKind,
};
use libstas::nvme::Tid;
use libstas::nvme::admin::CommandError;
use libstas::nvme::supported::DiscoveryLidSpecific;

use crate::checks::may_serve;
use crate::fabric::TargetState;
use crate::files::host_name;
use crate::invariants::Invariant;
use crate::kernel::{Deletion, Job, SimController};
use crate::mutants::Bug;
use crate::names::{Daemon, Iface, Target, short, stale_address};
use crate::plan::Fault;
use crate::world::{Incoming, QueuedEvent, Requester, World, trace};

impl World {
    /// Starts an effect. Its outcome is delivered to the daemon later.
    pub(crate) fn start_effect(&mut self, daemon: Daemon, effect: HostEffect) {
        let Some(incarnation) = self.incarnation(daemon) else { return };
        let requester = |op| Requester { daemon, incarnation, op };
        match effect {
            HostEffect::TakeSnapshot(op) => {
                let mut wait = self.streams.latency("look");
                if self.has(Fault::SnapshotsSlow(daemon)) {
                    wait += self.streams.stream("slow look").ms(0, 5000);
                }
                self.after(wait, QueuedEvent::Snapshot(requester(op)));
            }
            HostEffect::Probe { op, portal, .. } => {
                let wait = if self.has_route(Iface::of(&portal.host_iface)) {
                    self.probe_takes(&portal)
                } else {
                    self.streams.latency("probe")
                };
                self.after(wait, QueuedEvent::Probed(requester(op), portal));
            }
            HostEffect::Connect { op, request } => {
                self.check_connect(daemon, &request.tid);
                let wait = self.streams.latency("lane");
                self.after(wait, QueuedEvent::Enlist(Job { requester: requester(op), request }));
            }
            HostEffect::Disconnect { op, ctrl, ends_use, recheck_use } => {
                let ctrl = self.unmask(ctrl);
                let recheck_use =
                    recheck_use.map(|not_counted| not_counted.into_iter().map(|ctrl| self.unmask(ctrl)).collect());
                trace!(self, "{daemon} disconnects {ctrl}: {}", self.describe(ctrl));
                self.check_disconnect(daemon, ctrl);
                self.mutate_disconnect(daemon, ctrl);
                let mut wait = self.streams.latency("delete thread");
                if self.has(Fault::DisconnectHangs) {
                    wait += self.streams.stream("late delete thread").ms(0, 5000);
                }
                let deletion = Deletion { requester: Some(requester(op)), ctrl, ends_use, recheck_use };
                self.after(wait, QueuedEvent::Delete(deletion));
            }
            HostEffect::CheckUse { op, ctrl, not_counted } => {
                let ctrl = self.unmask(ctrl);
                let not_counted = not_counted.into_iter().map(|ctrl| self.unmask(ctrl)).collect();
                let wait = self.streams.latency("check use");
                self.after(wait, QueuedEvent::CheckUse(requester(op), ctrl, not_counted));
            }
            HostEffect::Resolve { op, name } => {
                let wait = self.streams.latency("resolve");
                self.after(wait, QueuedEvent::Resolve(requester(op), name));
            }
            HostEffect::Claim(ctrl) => {
                let ctrl = self.unmask(ctrl);
                self.claim(ctrl);
            }
            HostEffect::WaitFor(urgency) => {
                match urgency {
                    Some(urgency) => self.kernel.urgency.insert(daemon, urgency),
                    None => self.kernel.urgency.remove(&daemon),
                };
            }
            HostEffect::HideSecrets(_) => {}
            HostEffect::RotateSecrets { op, ctrl, request } => {
                let wait = self.streams.latency("rotate");
                self.after(wait, QueuedEvent::Rotate(requester(op), ctrl, request));
            }
            HostEffect::Log(record, _) => {
                self.mutate_sharing(daemon, record.tid.as_ref(), &record.text);
                if record.level > Level::Debug {
                    let about = record.tid.as_ref().map(|tid| format!("{}: ", short(tid))).unwrap_or_default();
                    trace!(self, "{daemon} says: {about}{}", record.text);
                }
            }
            HostEffect::Save => self.save_soon(daemon),
        }
    }

    pub(crate) fn take_snapshot_now(&mut self, requester: Requester) {
        if !self.is_current(requester) {
            return;
        }
        let result = if self.has(Fault::SnapshotsFail(requester.daemon)) {
            Err(SnapshotError { path: "/sys/class/nvme".into(), error: OsError::new("input/output error") })
        } else {
            Ok(self.snapshot(requester.daemon))
        };
        let wait = self.streams.latency("looked");
        self.answer(requester, wait, Incoming::Host(HostEvent::SnapshotTaken { op: requester.op, result }));
    }

    fn probe_takes(&mut self, portal: &Portal) -> Duration {
        if self.has(Fault::ProbesHang) {
            return Duration::from_secs(20);
        }
        match Target::of(&portal.traddr).map(|target| self.fabric.state(target)) {
            Some(TargetState::Answering | TargetState::Refusing) => self.streams.latency("probe"),
            _ => Duration::from_secs(3),
        }
    }

    pub(crate) fn probed(&mut self, requester: Requester, portal: &Portal) {
        let state = Target::of(&portal.traddr).map_or(TargetState::Unreachable, |target| self.fabric.state(target));
        let outcome = match state {
            _ if self.has(Fault::ProbesUnknown) => {
                ProbeOutcome::Unknown(ProbeError::Attempt(OsError::new("no buffer space")))
            }
            _ if !self.has_route(Iface::of(&portal.host_iface)) => {
                ProbeOutcome::Unknown(ProbeError::Attempt(OsError::new("no such device")))
            }
            TargetState::Answering if self.has(Fault::ProbesLie) => ProbeOutcome::Dead(ProbeFailure::Refused),
            _ if self.has(Fault::ProbesLie) => ProbeOutcome::Alive,
            TargetState::Answering => ProbeOutcome::Alive,
            TargetState::Refusing => ProbeOutcome::Dead(ProbeFailure::Refused),
            TargetState::Mute => ProbeOutcome::Dead(ProbeFailure::NotNvme(NotNvme::Silent)),
            TargetState::Unreachable => ProbeOutcome::Dead(ProbeFailure::Silent),
        };
        self.answer(requester, Duration::ZERO, Incoming::Host(HostEvent::Probed { op: requester.op, outcome }));
    }

    pub(crate) fn resolve(&mut self, requester: Requester, name: &str) {
        let leads = self.fabric.names.iter().enumerate().find(|(number, _)| host_name(*number) == name);
        if let (Some((number, _)), Daemon::Stafd) = (leads, requester.daemon) {
            self.resolving.insert(requester.op, number);
        }
        // In some worlds the first address of each host name is stale: no target has it.
        let stale = leads.filter(|_| self.plan.initial.stale_addresses).map(|(number, _)| stale_address(number));
        let addresses: Vec<Target> = stale.into_iter().chain(leads.map(|(_, target)| *target)).collect();
        let result = match addresses.iter().map(|target| target.address().parse()).collect::<Result<Vec<_>, _>>() {
            _ if self.has(Fault::ResolverFails) => {
                let error = OsError::new("Temporary failure in name resolution");
                Err(ResolveError::Resolver { name: name.to_owned(), error })
            }
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            _ => Err(ResolveError::NoAddress(name.to_owned())),
        };
        self.answer(requester, Duration::ZERO, Incoming::Host(HostEvent::Resolved { op: requester.op, result }));
    }

    /// The number of other live paths to the same subsystem, not counting these controllers.
    pub(crate) fn other_paths(&self, ctrl: CtrlRef, not_counted: &[CtrlRef]) -> usize {
        let Some(subsystem) = self.kernel.get(ctrl).and_then(|known| known.subsystem) else { return 0 };
        let is_other = |known: &&SimController| {
            let other = known.shown.ctrl;
            known.subsystem == Some(subsystem) && known.is_live() && other != ctrl && !not_counted.contains(&other)
        };
        self.kernel.controllers.iter().filter(is_other).count()
    }

    pub(crate) fn is_in_use(&self, ctrl: CtrlRef) -> bool {
        let subsystem = self.kernel.get(ctrl).and_then(|known| known.subsystem);
        subsystem.is_some_and(|subsystem| self.fabric.in_use.contains(&subsystem))
    }

    /// True for each path to the subsystem from which the host runs.
    pub(crate) fn carries_system(&self, known: &SimController) -> bool {
        known.subsystem.is_some() && known.subsystem == self.fabric.system && self.is_in_use(known.shown.ctrl)
    }

    /// The same, as far as the host can find out: if it cannot, every I/O controller counts.
    pub(crate) fn may_carry_system(&self, known: &SimController) -> bool {
        let is_unknown = self.has(Fault::UseUnknown) && known.subsystem.is_some();
        (is_unknown || self.carries_system(known)) && !self.has_bug(Bug::SystemUnseen)
    }

    pub(crate) fn check_use(&mut self, requester: Requester, ctrl: CtrlRef, not_counted: &[CtrlRef]) {
        if !self.is_current(requester) {
            return;
        }
        let usage = self.usage(ctrl, not_counted);
        self.record_use_check(ctrl, usage == Usage::Free);
        let wait = self.streams.latency("use checked");
        self.answer(requester, wait, Incoming::Host(HostEvent::UseChecked { op: requester.op, usage }));
    }

    /// The use of the storage behind a controller, as far as the host can find out.
    pub(crate) fn usage(&self, ctrl: CtrlRef, not_counted: &[CtrlRef]) -> Usage {
        if self.has(Fault::UseUnknown) {
            return Usage::Unknown(UsageError::Read(OsError::new("/proc cannot be read")));
        }
        if !self.is_in_use(ctrl) || self.other_paths(ctrl, not_counted) > 0 {
            return Usage::Free;
        }
        let kind = UseKind::Mounted { point: "/srv".to_owned(), process: None };
        Usage::LastPath(vec![Use { device: "nvme0n1".to_owned(), kind }])
    }

    /// The duration of a read. Only live controllers are read; a silent target answers when it has recovered.
    pub(crate) fn read_takes(&mut self) -> Duration {
        let wait = self.streams.latency("read");
        if self.has(Fault::ReadsHang) { wait + self.streams.stream("hanging read").ms(0, 80_000) } else { wait }
    }

    pub(crate) fn read_supported(&mut self, requester: Requester, ctrl: CtrlRef) {
        if self.waits_for_target(ctrl) {
            self.after(Duration::from_millis(200), QueuedEvent::ReadSupported(requester, ctrl));
            return;
        }
        let result = match self.readable(ctrl) {
            Some(_) => Ok(Some(DiscoveryLidSpecific { extdlpes: true, pleos: true, allsubes: true })),
            None => Err(CommandError::Host("input/output error".to_owned()).into()),
        };
        let event = stafd::finder::Event::SupportedRead { op: requester.op, result };
        let wait = self.streams.latency("read answer");
        self.answer(requester, wait, Incoming::Staf(event));
    }

    pub(crate) fn read_page(&mut self, requester: Requester, ctrl: CtrlRef) {
        if self.waits_for_target(ctrl) {
            self.after(Duration::from_millis(200), QueuedEvent::ReadPage(requester, ctrl));
            return;
        }
        let result = match self.readable(ctrl) {
            Some(target) => {
                let sent = self.fabric.entries(target);
                let page = self.fabric.page(target, &sent);
                self.sent_entries.insert(requester.op, sent);
                let known = self.kernel.get_mut(ctrl);
                // Reading the page re-arms its event.
                known
                    .and_then(|known| {
                        known.armed = true;
                        known.connection()
                    })
                    .map(|connection| (page, connection))
                    .ok_or(AdminError::Gone(ctrl))
            }
            None => Err(CommandError::Host("input/output error".to_owned()).into()),
        };
        // The read happens now, but its answer may arrive late.
        let wait = self.read_takes();
        self.answer(requester, wait, Incoming::PageRead(requester.op, ctrl, result));
    }

    fn waits_for_target(&self, ctrl: CtrlRef) -> bool {
        let live = self.kernel.get(ctrl).filter(|known| known.is_live());
        live.is_some_and(|known| {
            self.fabric.state(known.target) != TargetState::Answering || !self.has_route(known.via)
        })
    }

    /// True while a live connection serves that discovery controller and its target answers.
    pub(crate) fn can_be_read(&self, dc: &Tid) -> bool {
        let serving =
            self.kernel.controllers.iter().filter(|known| known.subsystem.is_none() && may_serve(known).contains(dc));
        let mut refs = serving.map(|known| known.shown.ctrl);
        refs.any(|ctrl| self.readable(ctrl).is_some() && !self.waits_for_target(ctrl))
    }

    fn readable(&self, ctrl: CtrlRef) -> Option<Target> {
        let live = self.kernel.get(ctrl).filter(|known| known.is_live() && known.subsystem.is_none());
        live.map(|known| known.target).filter(|_| !self.has(Fault::ReadsFail))
    }

    /// Checks a connect request of a daemon.
    fn check_connect(&mut self, daemon: Daemon, tid: &libstas::nvme::Tid) {
        let writes = match daemon {
            Daemon::Stafd => &mut self.staf.writes,
            Daemon::Stacd => &mut self.stac.writes,
        };
        *writes += 1;
        if *writes > 1 {
            self.breach(
                Invariant::OneWrite,
                format!("{daemon} connects {} while another write is under way", short(tid)),
            );
        }
        if self.oracle.bars(daemon, tid) {
            self.breach(Invariant::Excluded, format!("{daemon} connects {}, which is excluded", short(tid)));
        }
    }
}
