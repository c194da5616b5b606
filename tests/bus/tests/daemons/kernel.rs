//! A fake kernel that connects every controller at once, and outlives the daemons.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libstas::core::browse::BrowseCommand;
use libstas::core::{
    ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, Dctype, Host, HostEffect, HostEvent, KernelController,
    ProbeOutcome, ResolveError, Snapshot, Usage,
};
use libstas::daemon::event_loop::Handle;
use libstas::nvme::Tid;
use libstas::nvme::log_page::{Entry, LogPage};
use libstas::nvme::supported::DiscoveryLidSpecific;
use stacd::connector::Connector;
use stafd::finder::{Finder, NotRegistered, RegisterRequest};
use stafd::shell::{DiscoveryHost, Done};

/// The connected controllers, and the entries of the only discovery controller.
#[derive(Clone, Default)]
pub(crate) struct Kernel(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    controllers: Vec<KernelController>,
    inodes: u64,
    subsystems: Vec<String>,
    reads: u64,
}

impl Kernel {
    /// Sets the entries of the discovery controller.
    pub(crate) fn offer(&self, subsystems: &[&str]) {
        self.0.lock().unwrap().subsystems = subsystems.iter().map(|nqn| (*nqn).to_owned()).collect();
    }

    /// The NQNs of the connected subsystems.
    pub(crate) fn connected(&self) -> Vec<String> {
        let inside = self.0.lock().unwrap();
        let mut nqns: Vec<String> = inside.controllers.iter().map(|ctrl| ctrl.subsysnqn.clone()).collect();
        nqns.sort();
        nqns
    }

    /// How often the log page was read.
    pub(crate) fn reads(&self) -> u64 {
        self.0.lock().unwrap().reads
    }

    fn connect(&self, tid: &Tid, cntrltype: CtrlType) -> CtrlRef {
        let mut inside = self.0.lock().unwrap();
        inside.inodes += 1;
        let ctrl = CtrlRef { device: inside.inodes as u32 - 1, inode: inside.inodes };
        inside.controllers.push(KernelController {
            host_traddr: String::new(),
            host_iface: String::new(),
            cntrltype,
            dctype: Dctype::Ddc,
            state: CtrlState::Live,
            kato: Some(30),
            encrypted: Some(false),
            model: "Linux".into(),
            serial: "1".into(),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn snapshot(&self) -> Snapshot {
        static ORDER: AtomicU64 = AtomicU64::new(1);
        let order = ORDER.fetch_add(1, Ordering::Relaxed);
        Snapshot::new(order, order, self.0.lock().unwrap().controllers.clone())
    }

    fn answer(&self, effect: HostEffect) -> Option<HostEvent> {
        Some(match effect {
            HostEffect::TakeSnapshot(op) => HostEvent::SnapshotTaken { op, result: Ok(self.snapshot()) },
            HostEffect::Probe { op, .. } => HostEvent::Probed { op, outcome: ProbeOutcome::Alive },
            HostEffect::Connect { op, request } => {
                let kind = if request.purpose.is_discovery() { CtrlType::Discovery } else { CtrlType::Io };
                let outcome = ConnectOutcome::Made(self.connect(&request.tid, kind));
                let report = ConnectReport { outcome, snapshot: self.snapshot(), blocked_for: Duration::ZERO };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            HostEffect::Disconnect { op, ctrl, .. } => {
                self.0.lock().unwrap().controllers.retain(|there| there.ctrl != ctrl);
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            HostEffect::CheckUse { op, .. } => HostEvent::UseChecked { op, usage: Usage::Free },
            HostEffect::Resolve { op, name } => HostEvent::Resolved { op, result: Err(ResolveError::NoAddress(name)) },
            HostEffect::Claim(_) | HostEffect::HideSecrets(_) | HostEffect::WaitFor(_) => return None,
            other => panic!("not expected here: {other:?}"),
        })
    }
}

/// The kernel as stafd's host.
pub(crate) struct StafdHost(pub(crate) Kernel, pub(crate) Handle<Finder>);

impl Host for StafdHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        if let Some(event) = self.0.answer(effect) {
            self.1.post(stafd::finder::Event::Host(event));
        }
    }
}

impl DiscoveryHost for StafdHost {
    fn read_supported(&self, _: CtrlRef, done: Done<Option<DiscoveryLidSpecific>>) {
        done(Ok(None));
    }

    fn browse(&self, _: BrowseCommand) {}

    fn read_log_page(&self, _: CtrlRef, _: bool, _: bool, done: Done<LogPage>) {
        let mut inside = self.0.0.lock().unwrap();
        inside.reads += 1;
        let entries = inside.subsystems.iter().map(|nqn| entry(nqn)).collect();
        let page = LogPage { genctr: inside.reads, recfmt: 0, entries, dropped: Vec::new() };
        drop(inside);
        done(Ok(page));
    }

    fn register(&self, _: CtrlRef, _: RegisterRequest, done: Box<dyn FnOnce(Result<(), NotRegistered>) + Send>) {
        done(Err(NotRegistered::NoRegister));
    }
}

/// The kernel as stacd's host.
pub(crate) struct StacdHost(pub(crate) Kernel, pub(crate) Handle<Connector>);

impl Host for StacdHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        if let Some(event) = self.0.answer(effect) {
            self.1.post(stacd::connector::Event::Host(event));
        }
    }
}

fn entry(subnqn: &str) -> Entry {
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", "ipv4"),
        ("traddr", "192.0.2.9"),
        ("trsvcid", "4420"),
        ("subnqn", subnqn),
        ("subtype", "nvme"),
        ("treq", "not required"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).unwrap()
}
