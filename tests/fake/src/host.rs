//! The kernel and the network: effects that every core has.

use std::time::Duration;

use libstas::core::{
    ConnectError, ConnectOutcome, ConnectReport, ConnectRequest, CtrlRef, CtrlState, CtrlType, DisconnectError, Gained,
    HostEffect, HostEvent, KernelController, OpId, OsError, Owner, Portal, ProbeFailure, ProbeOutcome, ResolveError,
    Rotated, Snapshot, Usage, Use, UseKind, matching,
};
use libstas::nvme::connect::host_id_for;
use libstas::nvme::{DISCOVERY_NQN, Purpose, Tid};

use crate::{Core, FakeHost, Op};

/// The kind of an effect; `None` if it has no answer.
pub(crate) fn op(effect: &HostEffect) -> Option<Op> {
    Some(match effect {
        HostEffect::TakeSnapshot(_) => Op::Snapshot,
        HostEffect::Probe { .. } => Op::Probe,
        HostEffect::Connect { .. } => Op::Connect,
        HostEffect::Disconnect { .. } => Op::Disconnect,
        HostEffect::CheckUse { .. } => Op::CheckUse,
        HostEffect::Resolve { .. } => Op::Resolve,
        HostEffect::RotateSecrets { .. } => Op::RotateSecrets,
        HostEffect::Claim(_)
        | HostEffect::HideSecrets(_)
        | HostEffect::WaitFor(_)
        | HostEffect::Log(..)
        | HostEffect::Save => return None,
    })
}

impl<C: Core> FakeHost<C> {
    /// Executes an effect, even one that is held back, and returns the answer.
    pub fn carry_out(&mut self, effect: C::Effect) -> Option<C::Event> {
        match C::host_effect(&effect) {
            Some(host) => {
                let host = host.clone();
                self.answer(host).map(C::host_event)
            }
            None => C::answer(self, effect),
        }
    }

    fn answer(&mut self, effect: HostEffect) -> Option<HostEvent> {
        Some(match effect {
            HostEffect::TakeSnapshot(op) => HostEvent::SnapshotTaken { op, result: Ok(self.snapshot()) },
            HostEffect::Probe { op, portal, .. } => HostEvent::Probed { op, outcome: self.probe(&portal) },
            HostEffect::Connect { op, request } => {
                let outcome = self.connect(&request);
                self.connect_report(op, outcome)
            }
            HostEffect::Disconnect { op, .. } if self.disconnect_refused => {
                HostEvent::Disconnected { op, result: Err(DisconnectError::Kernel(OsError::new("busy"))) }
            }
            HostEffect::Disconnect { op, ctrl, .. } if self.owner_of(ctrl).is_some() => HostEvent::Disconnected {
                op,
                result: Err(DisconnectError::OtherOwner { owner: self.owner_of(ctrl).unwrap_or_default() }),
            },
            HostEffect::Disconnect { op, ctrl, ends_use: true, recheck_use: None } if self.carries_system(ctrl) => {
                HostEvent::Disconnected { op, result: Err(DisconnectError::CarriesSystem) }
            }
            HostEffect::Disconnect { op, ctrl, recheck_use: Some(_), .. } if self.is_in_use(ctrl) => {
                HostEvent::Disconnected { op, result: Err(DisconnectError::InUse(vec![mounted()])) }
            }
            HostEffect::Disconnect { op, ctrl, .. } => {
                self.disconnect(ctrl);
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            HostEffect::CheckUse { op, ctrl, .. } => HostEvent::UseChecked { op, usage: self.usage(ctrl) },
            HostEffect::Resolve { op, name } if self.resolver_fails => {
                let error = OsError::new("Temporary failure in name resolution");
                HostEvent::Resolved { op, result: Err(ResolveError::Resolver { name, error }) }
            }
            HostEffect::Resolve { op, name } => {
                let addresses = self.names.get(&name).ok_or_else(|| ResolveError::NoAddress(name.clone()));
                let result = addresses.map(|list| list.iter().map(|address| address.parse().unwrap()).collect());
                HostEvent::Resolved { op, result }
            }
            HostEffect::Claim(ctrl) => {
                if self.owner_of(ctrl).is_none() {
                    self.record(ctrl, Gained::Adopted);
                }
                return None;
            }
            HostEffect::RotateSecrets { op, .. } => {
                HostEvent::SecretsRotated { op, outcome: Rotated::Current, blocked_for: Duration::ZERO }
            }
            HostEffect::HideSecrets(_) | HostEffect::WaitFor(_) | HostEffect::Save | HostEffect::Log(..) => {
                return None;
            }
        })
    }

    /// Takes a snapshot of the kernel's controllers.
    pub fn snapshot(&mut self) -> Snapshot {
        self.snapshots += 1;
        Snapshot::new(self.snapshots, self.seqnum, self.kernel.clone())
    }

    /// Sends the core a snapshot that it did not request.
    pub fn send_snapshot(&mut self) {
        let result = Ok(self.snapshot());
        self.feed_host(HostEvent::SnapshotTaken { op: OpId::UNSOLICITED, result });
    }

    /// The answer to a connect, with a present snapshot.
    pub fn connect_report(&mut self, op: OpId, outcome: ConnectOutcome) -> HostEvent {
        let report = ConnectReport { outcome, snapshot: self.snapshot(), blocked_for: Duration::from_millis(100) };
        HostEvent::Connected { op, report: Box::new(report) }
    }

    /// True if any of these (an address, a port, an interface) does not answer.
    pub fn is_dead(&self, words: &[&str]) -> bool {
        words.iter().any(|word| {
            self.dead.contains(*word)
                || self.dead.iter().any(|dead| dead.strip_suffix('*').is_some_and(|begin| word.starts_with(begin)))
        })
    }

    fn probe(&self, portal: &Portal) -> ProbeOutcome {
        if self.is_dead(&[&portal.traddr, &portal.trsvcid, &portal.host_iface]) {
            ProbeOutcome::Dead(ProbeFailure::Silent)
        } else {
            ProbeOutcome::Alive
        }
    }

    fn connect(&mut self, request: &ConnectRequest) -> ConnectOutcome {
        let tid = &request.tid;
        let failed =
            |errno, reason: &str| ConnectOutcome::Failed(ConnectError::Kernel { errno, explanation: reason.into() });
        if self.is_dead(&[&tid.traddr, &tid.trsvcid, &tid.host_iface]) {
            assert!(!self.probe_keeps_off || Portal::of(tid).is_none(), "a dead portal was written to: {tid}");
            return failed(110, "no answer in time");
        }
        let snapshot = self.snapshot();
        let links = self.links.clone().unwrap_or_default();
        if let Some(found) = matching::find_for(&snapshot, request, &links) {
            return ConnectOutcome::Found(found.ctrl);
        }
        if request.purpose != Purpose::Poll && self.refuses_keep_alive.contains(&tid.traddr) {
            return failed(5, "refused");
        }
        let host_id = host_id_for(&tid.host_nqn, &request.identity).map(|id| id.to_string()).unwrap_or_default();
        if self.has_another_pair(&tid.host_nqn, &host_id) {
            return failed(22, "the kernel has another pair of host NQN and host ID");
        }
        let ctrl = self.make(tid, request.purpose);
        self.ctrl(ctrl).hostid = host_id;
        self.record(ctrl, Gained::Connected);
        ConnectOutcome::Made(ctrl)
    }

    /// True if a connection has this host NQN with another host ID, or this host ID with another host NQN: the kernel
    /// refuses the connect (since 6.5). A host ID that is not known conflicts with none.
    fn has_another_pair(&self, host_nqn: &str, host_id: &str) -> bool {
        let mut known = self.kernel.iter().filter(|kernel| !kernel.hostid.is_empty() && !host_id.is_empty());
        known.any(|kernel| (kernel.hostnqn == host_nqn) != (kernel.hostid == host_id))
    }

    /// Records that a connection without an owner is ours, unless the registry cannot be written.
    fn record(&mut self, ctrl: CtrlRef, gained: Gained) {
        if self.registry_is_read_only {
            return;
        }
        let known = self.kernel.iter_mut().find(|kernel| kernel.ctrl == ctrl && kernel.owner == Owner::None);
        if let Some(kernel) = known {
            kernel.owner = Owner::Stas(gained);
        }
    }

    /// Connects a controller by hand; its type follows from its NQN.
    pub fn add(&mut self, tid: &Tid) -> CtrlRef {
        let is_discovery = tid.subsysnqn == DISCOVERY_NQN;
        self.make(tid, if is_discovery { Purpose::Discovery } else { Purpose::Io })
    }

    /// Connects a controller by hand, with that owner. The core is told if it runs.
    pub fn add_owned(&mut self, tid: &Tid, owner: Owner) -> CtrlRef {
        let ctrl = self.add(tid);
        self.ctrl(ctrl).owner = owner;
        if self.count_of(Op::Snapshot) > 0 {
            self.send_snapshot();
        }
        ctrl
    }

    /// Creates a live controller of the kernel with the lowest free instance number.
    pub fn make(&mut self, tid: &Tid, purpose: Purpose) -> CtrlRef {
        self.seqnum += 1;
        let device = (0..).find(|n| self.kernel.iter().all(|kernel| kernel.ctrl.device != *n)).unwrap();
        let ctrl = CtrlRef { device, inode: self.seqnum };
        let bound = self.links.as_ref().and_then(|links| links.named(&tid.host_iface));
        self.kernel.push(KernelController {
            src_addr: bound.and_then(|interface| interface.addresses.first().copied()),
            cntrltype: if purpose.is_discovery() { CtrlType::Discovery } else { CtrlType::Io },
            dctype: if purpose.is_discovery() { self.dctype } else { libstas::core::Dctype::None },
            state: CtrlState::Live,
            kato: (!self.hides_kato).then_some(match purpose {
                Purpose::Io => 5,
                Purpose::Discovery => 30,
                Purpose::Poll => 0,
            }),
            encrypted: Some(false),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    /// The controller with that reference.
    ///
    /// # Panics
    /// Panics if the kernel does not have it.
    pub fn ctrl(&mut self, ctrl: CtrlRef) -> &mut KernelController {
        self.kernel.iter_mut().find(|kernel| kernel.ctrl == ctrl).unwrap()
    }

    /// The other orchestrator that owns a connection.
    fn owner_of(&self, ctrl: CtrlRef) -> Option<String> {
        let kernel = self.kernel.iter().find(|kernel| kernel.ctrl == ctrl)?;
        if let Owner::Other(name) = &kernel.owner { Some(name.clone()) } else { None }
    }

    fn disconnect(&mut self, ctrl: CtrlRef) {
        if let Some(index) = self.kernel.iter().position(|kernel| kernel.ctrl == ctrl) {
            self.gone.push(self.kernel.remove(index));
            self.seqnum += 1;
        }
    }

    fn carries_system(&self, ctrl: CtrlRef) -> bool {
        self.kernel.iter().any(|kernel| kernel.ctrl == ctrl && kernel.carries_system)
    }

    fn is_in_use(&self, ctrl: CtrlRef) -> bool {
        self.kernel.iter().any(|kernel| kernel.ctrl == ctrl && self.in_use.contains(&kernel.subsysnqn))
    }

    fn usage(&self, ctrl: CtrlRef) -> Usage {
        if self.is_in_use(ctrl) { Usage::LastPath(vec![mounted()]) } else { Usage::Free }
    }
}

/// Another orchestrator that owns a connection.
#[must_use]
pub fn other_owner() -> Owner {
    Owner::Other("discoverd".into())
}

/// Storage in use: a mounted namespace.
#[must_use]
pub fn mounted() -> Use {
    let kind = UseKind::Mounted { point: "/srv".to_owned(), process: None };
    Use { device: "nvme0n1".to_owned(), kind }
}
