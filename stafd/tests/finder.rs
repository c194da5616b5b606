//! What stafd promises, told against a small kernel that does at once what it is asked.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libstas::conf::{ControllerEntry, Exclusion, FamilyOrder, Persistence, StafConf};
use libstas::core::fleet::Status;
use libstas::core::{
    ConnectError, ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, Dctype, HostEffect, HostEvent,
    KernelController, Look, Machine, Notice, OpId, ProbeOutcome, Time, Uevent, UeventKind, Usage, reuse,
};
use libstas::nvme::aen::DISCOVERY_LOG_CHANGED;
use libstas::nvme::dim::Task;
use libstas::nvme::log_page::{Entry, Flaw, LogPage, Malformed};
use libstas::nvme::supported::DiscoveryLidSpecific;
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Parameters, Purpose, Tid, TidParts, Transport};
use stafd::finder::{Effect, Event, Finder, NotRegistered, RemovalReason, Saved, Settings};

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";

fn dc(traddr: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "8009".into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: HOST.into(),
    })
}

fn controller(traddr: &str) -> ControllerEntry {
    ControllerEntry {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        is_name: traddr.starts_with(char::is_alphabetic),
        trsvcid: "8009".into(),
        subsysnqn: String::new(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
        parameters: Parameters::default(),
        line: 1,
    }
}

fn entry(subtype: &str, traddr: &str, nqn: &str) -> Entry {
    let svc = if subtype == "referral" { "8009" } else { "4420" };
    let pairs = [
        ("trtype", "tcp"),
        ("subtype", subtype),
        ("traddr", traddr),
        ("trsvcid", svc),
        ("subnqn", nqn),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()).unwrap()
}

fn referral(traddr: &str) -> Entry {
    entry("referral", traddr, DISCOVERY_NQN)
}

struct World {
    finder: Finder,
    conf: StafConf,
    now: Time,
    kernel: Vec<KernelController>,
    looks: u64,
    seqnum: u64,
    pages: BTreeMap<String, Vec<Entry>>,
    names: BTreeMap<String, Vec<&'static str>>,
    resolver_hangs: bool,
    dead: Vec<String>,
    dead_ports: Vec<String>,
    unreadable: bool,
    /// Their pages have an entry that cannot be read.
    malformed: Option<Flaw>,
    /// Discovery controllers that refuse a keep-alive timeout.
    ancient: Vec<String>,
    connects: usize,
    hold_reads: Option<Vec<Effect>>,
    disconnect_refused: bool,
    reads: usize,
    signals: usize,
    notices: Vec<Notice>,
    nvmf_connect: Vec<u32>,
    refreshed: Vec<Result<(), String>>,
    dctype: Dctype,
    symname: Option<String>,
    registrations: Vec<(CtrlRef, Task, Option<String>)>,
    registered_op: Option<OpId>,
    /// What the registrations to come are answered with; `None`: never.
    register_answers: VecDeque<Option<Result<(), NotRegistered>>>,
    probes: usize,
    stopped: bool,
}

impl World {
    fn new(controllers: &[&str]) -> Self {
        let mut conf = StafConf {
            tron: false,
            parameters: Parameters::default(),
            ignore_iface: false,
            ip_family: Default::default(),
            pleo: true,
            zeroconf: true,
            persistent_connections: true,
            zeroconf_persistence: Persistence::Forever,
            controllers: Vec::new(),
            controller_lost: false,
            exclusions: Vec::new(),
        };
        conf.controllers = controllers.iter().map(|traddr| controller(traddr)).collect();
        Self {
            finder: Finder::new(Saved::default(), 3),
            conf,
            now: Time(Duration::from_secs(1000)),
            kernel: Vec::new(),
            looks: 0,
            seqnum: 0,
            pages: BTreeMap::new(),
            names: BTreeMap::new(),
            resolver_hangs: false,
            dead: Vec::new(),
            dead_ports: Vec::new(),
            unreadable: false,
            malformed: None,
            ancient: Vec::new(),
            connects: 0,
            hold_reads: None,
            disconnect_refused: false,
            reads: 0,
            signals: 0,
            notices: Vec::new(),
            nvmf_connect: Vec::new(),
            refreshed: Vec::new(),
            dctype: Dctype::None,
            symname: None,
            registrations: Vec::new(),
            registered_op: None,
            register_answers: VecDeque::new(),
            probes: 0,
            stopped: false,
        }
    }

    fn start(mut self) -> Self {
        self.reload();
        self
    }

    fn page(mut self, traddr: &str, entries: Vec<Entry>) -> Self {
        self.pages.insert(traddr.into(), entries);
        self
    }

    fn reload(&mut self) {
        let identity = Arc::new(HostIdentity { symname: self.symname.clone(), ..HostIdentity::new(HOST, "1") });
        self.feed(Event::Configured(Box::new(Settings { conf: self.conf.clone(), identity })));
    }

    fn restart(mut self) -> Self {
        let text = serde_json::to_string(&self.finder.saved()).unwrap();
        self.finder = Finder::new(serde_json::from_str(&text).unwrap(), 4);
        self.reload();
        self
    }

    fn feed(&mut self, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let mut out = Vec::new();
            self.finder.handle(self.now, event, &mut out);
            for effect in out {
                queue.extend(self.carry_out(effect));
            }
        }
    }

    fn look(&mut self) -> Look {
        self.looks += 1;
        Look::new(self.looks, self.seqnum, self.kernel.clone())
    }

    fn add(&mut self, tid: &Tid, kato: u32) -> CtrlRef {
        self.seqnum += 1;
        let device = (0..).find(|n| self.kernel.iter().all(|k| k.ctrl.device != *n)).unwrap();
        let ctrl = CtrlRef { device, birth: self.seqnum };
        self.kernel.push(KernelController {
            cntrltype: CtrlType::Discovery,
            dctype: self.dctype,
            state: CtrlState::Live,
            kato: Some(kato),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let host = match effect {
            Effect::Host(host) => host,
            Effect::ReadSupported { op, .. } => {
                let specific = DiscoveryLidSpecific { extdlpes: false, pleos: true, allsubes: false };
                return Some(Event::SupportedRead { op, result: Ok(Some(specific)) });
            }
            Effect::ReadLogPage { op, ctrl, pleo } => {
                assert_eq!(pleo, self.conf.pleo);
                self.reads += 1;
                if let Some(held) = &mut self.hold_reads {
                    held.push(Effect::ReadLogPage { op, ctrl, pleo });
                    return None;
                }
                return Some(self.read(op, ctrl));
            }
            Effect::Register { op, ctrl, request } => {
                self.registered_op = Some(op);
                self.registrations.push((ctrl, request.task, request.identity.symname.clone()));
                let result = self.register_answers.pop_front().unwrap_or(Some(Ok(())))?;
                return Some(Event::Registered { op, result });
            }
            Effect::PagesChanged { .. } => {
                self.signals += 1;
                return None;
            }
            Effect::DcRemoved | Effect::Browse(_) => return None,
            Effect::Refreshed { result, .. } => {
                self.refreshed.push(result);
                return None;
            }
            Effect::NvmfConnect { device, .. } => {
                self.nvmf_connect.push(device);
                return None;
            }
            Effect::Stopped => {
                self.stopped = true;
                return None;
            }
        };
        let event = match host {
            HostEffect::Look(op) => HostEvent::Looked { op, result: Ok(self.look()) },
            HostEffect::Probe { op, portal, .. } => {
                self.probes += 1;
                let dead = self.dead.contains(&portal.traddr) || self.dead_ports.contains(&portal.trsvcid);
                let outcome = if dead { ProbeOutcome::Dead("no answer".into()) } else { ProbeOutcome::Alive };
                HostEvent::Probed { op, outcome }
            }
            HostEffect::Connect { op, request } => {
                let before = self.look();
                self.connects += 1;
                let poll = request.purpose == Purpose::Poll;
                let outcome =
                    match reuse::find(&before, &request.tid, &Default::default(), request.purpose.is_discovery()) {
                        _ if self.dead.contains(&request.tid.traddr) => {
                            let error = ConnectError::Kernel { errno: 110, reason: "no answer in time".into() };
                            ConnectOutcome::Failed(error)
                        }
                        Some(found) => ConnectOutcome::Found(found.ctrl),
                        None if !poll && self.ancient.contains(&request.tid.traddr) => {
                            ConnectOutcome::Failed(ConnectError::Kernel { errno: 5, reason: "refused".into() })
                        }
                        None => ConnectOutcome::Made(self.add(&request.tid, if poll { 0 } else { 30 })),
                    };
                let report = ConnectReport { outcome, look: self.look(), held: Duration::from_millis(100) };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            HostEffect::Disconnect { op, .. } if self.disconnect_refused => {
                HostEvent::Disconnected { op, result: Err("busy".into()) }
            }
            HostEffect::Disconnect { op, ctrl } => {
                self.kernel.retain(|kernel| kernel.ctrl != ctrl);
                self.seqnum += 1;
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            HostEffect::CheckUse { op, .. } => HostEvent::UseChecked { op, usage: Usage::Free },
            HostEffect::Resolve { .. } if self.resolver_hangs => return None,
            HostEffect::Resolve { op, name } => {
                let result = match self.names.get(&name) {
                    Some(addresses) => Ok(addresses.iter().map(|address| address.parse().unwrap()).collect()),
                    None => Err("no such name".to_owned()),
                };
                HostEvent::Resolved { op, result }
            }
            HostEffect::HideSecrets(_) | HostEffect::Save => return None,
            HostEffect::Tell(notice) => {
                self.notices.push(notice);
                return None;
            }
        };
        Some(Event::Host(event))
    }

    fn read(&mut self, op: OpId, ctrl: CtrlRef) -> Event {
        let kernel = self.kernel.iter().find(|kernel| kernel.ctrl == ctrl);
        let result = match kernel {
            Some(kernel) if !self.unreadable => Ok(LogPage {
                genctr: 1,
                entries: self.pages.get(&kernel.traddr).cloned().unwrap_or_default(),
                dropped: self.malformed.iter().map(|flaw| Malformed { index: 0, reason: flaw.clone() }).collect(),
                ..LogPage::default()
            }),
            _ => Err("I/O error".to_owned()),
        };
        Event::LogPageRead { op, result }
    }

    fn uevent(&mut self, device: u32, kind: UeventKind) {
        self.seqnum += 1;
        let event = Uevent { seqnum: self.seqnum, device, kind };
        self.feed(Event::Host(HostEvent::Uevent(event)));
    }

    fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.finder.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn connected(&self) -> Vec<&str> {
        let mut addresses: Vec<_> = self.kernel.iter().map(|kernel| kernel.traddr.as_str()).collect();
        addresses.sort_unstable();
        addresses
    }

    fn page_state(&self, traddr: &str) -> &str {
        self.finder.controller(&dc(traddr)).unwrap().log_page_state
    }
}

#[test]
fn a_configured_discovery_controller_is_connected_and_its_page_is_read_and_told() {
    let world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![entry("nvme", "192.0.2.1", "a")]).start();
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
    assert_eq!(world.finder.controller(&dc("192.0.2.1")).unwrap().log_page.unwrap().entries.len(), 1);
    assert_eq!(world.signals, 1);
}

#[test]
fn an_event_has_the_page_read_again_and_only_a_changed_page_is_told() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let (reads, signals) = (world.reads, world.signals);
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!((world.reads, world.signals), (reads + 1, signals));
    world.pages.insert("192.0.2.1".into(), vec![entry("nvme", "192.0.2.1", "a")]);
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!((world.reads, world.signals), (reads + 2, signals + 1));
}

#[test]
fn an_event_of_a_device_that_serves_two_has_both_pages_read_again() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.1"]);
    world.conf.controllers[1].host_iface = "eth0".into();
    let mut world = world.start();
    assert_eq!(world.connected(), ["192.0.2.1"]);
    world.pages.insert("192.0.2.1".into(), vec![entry("nvme", "192.0.2.1", "a")]);
    let signals = world.signals;
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!(world.signals, signals + 2);
    world.pages.clear();
    world.wait(10.0);
    world.uevent(0, UeventKind::Connected);
    assert_eq!(world.signals, signals + 4);
}

#[test]
fn a_storm_of_events_becomes_two_reads() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let reads = world.reads;
    world.hold_reads = Some(Vec::new());
    for _ in 0..1000 {
        world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    }
    for effect in world.hold_reads.take().unwrap() {
        if let Effect::ReadLogPage { op, ctrl, .. } = effect {
            let answer = world.read(op, ctrl);
            world.feed(answer);
        }
    }
    assert_eq!(world.reads, reads + 2);
}

#[test]
fn a_storm_of_lost_events_becomes_two_reads() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let reads = world.reads;
    world.hold_reads = Some(Vec::new());
    for _ in 0..1000 {
        world.now = world.now + Duration::from_millis(1);
        world.feed(Event::Host(HostEvent::Overrun));
        world.uevent(0, UeventKind::Connected);
    }
    for effect in world.hold_reads.take().unwrap() {
        if let Effect::ReadLogPage { op, ctrl, .. } = effect {
            let answer = world.read(op, ctrl);
            world.feed(answer);
        }
    }
    assert_eq!(world.reads, reads + 2);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
}

#[test]
fn a_dead_portal_never_reaches_the_lane_and_is_probed_with_back_off() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.66"]);
    world.dead.push("192.0.2.66".into());
    let mut world = world.start();
    assert_eq!(world.connected(), ["192.0.2.1"]);
    let view = world.finder.controller(&dc("192.0.2.66")).unwrap();
    assert_eq!(view.member.status, Status::Waiting);
    assert_eq!(view.member.reason, Some("no answer"));
    assert!(view.member.next_attempt.is_some());
    world.wait(600.0);
    assert!((8..30).contains(&world.probes), "{} probes in 10 minutes", world.probes);
    let told = world.notices.iter().filter(|n| n.text.contains("no answer") && n.level > libstas::core::Level::Debug);
    assert_eq!(told.count(), 1);
    world.dead.clear();
    world.wait(73.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.66"]);
}

#[test]
fn an_existing_connection_is_taken_over_but_not_one_of_nvme_discover() {
    let mut world = World::new(&["192.0.2.1"]);
    world.add(&dc("192.0.2.1"), 0);
    let world = world.start();
    assert_eq!(world.kernel.len(), 2);
    let mut world = World::new(&["192.0.2.1"]);
    world.add(&dc("192.0.2.1"), 30);
    let world = world.start();
    assert_eq!(world.kernel.len(), 1);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
}

#[test]
fn referrals_are_followed_without_loops_and_go_when_nobody_refers_to_them() {
    let mut world = World::new(&["192.0.2.1"])
        .page("192.0.2.1", vec![referral("192.0.2.2"), referral("192.0.2.1")])
        .page("192.0.2.2", vec![referral("192.0.2.3"), referral("192.0.2.1")])
        .start();
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(world.finder.controller(&dc("192.0.2.2")).unwrap().origin, "referral");
    world.pages.insert("192.0.2.1".into(), Vec::new());
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(7.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    let removed: Vec<_> = world.finder.removed().iter().map(|removed| removed.reason).collect();
    assert_eq!(removed, [RemovalReason::ReferralGone, RemovalReason::ReferralGone]);
}

#[test]
fn a_row_of_referrals_without_an_end_is_followed_for_eight_steps() {
    let address = |number: usize| format!("192.0.2.{number}");
    let mut world = World::new(&["192.0.2.1"]);
    for number in 1..200 {
        world = world.page(&address(number), vec![referral(&address(number + 1))]);
    }
    let world = world.start();
    assert_eq!(world.kernel.len(), 9);
    let told: Vec<_> = world.notices.iter().filter(|notice| notice.text.contains("not followed")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].tid, Some(dc("192.0.2.9")));
    assert!(told[0].text.contains("192.0.2.10"), "{told:?}");
    // What is there stays though the way to it gets longer, also after a restart. One that nobody names for a moment, as
    // .2 here, begins a row.
    let mut world = world.restart();
    world.pages.insert(address(1), vec![referral(&address(201))]);
    world.pages.insert(address(201), vec![referral(&address(2))]);
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(60.0);
    let there: BTreeSet<String> = world.connected().into_iter().map(str::to_owned).collect();
    assert_eq!(there, (1..=10).chain([201]).map(address).collect());
    // Whom the administrator names begins a row, too.
    world.conf.controllers.push(controller("192.0.2.10"));
    world.reload();
    world.wait(60.0);
    assert_eq!(world.kernel.len(), there.len() + 8);
}

#[test]
fn a_controller_taken_out_of_the_configuration_goes_and_no_other_is_touched() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).start();
    let kept = world.kernel.iter().find(|kernel| kernel.traddr == "192.0.2.1").unwrap().ctrl;
    world.conf.controllers.pop();
    world.reload();
    world.wait(1.0);
    assert_eq!(world.kernel.iter().map(|kernel| kernel.ctrl).collect::<Vec<_>>(), [kept]);
    assert_eq!(world.finder.removed()[0].reason, RemovalReason::Configuration);
    world.conf.controllers.push(controller("192.0.2.2"));
    world.reload();
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    assert!(world.finder.removed().is_empty());
}

#[test]
fn what_was_taken_out_while_stafd_was_down_goes_and_is_listed() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).start();
    world.conf.controllers.pop();
    let mut world = world.restart();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert_eq!(world.finder.removed()[0].dc, dc("192.0.2.2"));
}

#[test]
fn what_a_garbled_configuration_may_still_name_survives_the_end_of_its_referral_across_a_restart() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.conf.controllers.pop();
    world.conf.controller_lost = true;
    let mut world = world.restart();
    world.pages.clear();
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(60.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.conf.controller_lost = false;
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn what_the_kernel_did_not_let_go_before_a_restart_goes_after_it() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).start();
    world.conf.controllers.pop();
    world.disconnect_refused = true;
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    let mut world = world.restart();
    world.disconnect_refused = false;
    world.wait(3.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn what_is_wanted_again_before_the_kernel_has_let_it_go_is_read_again() {
    let mut world = World::new(&["192.0.2.1"]).start();
    world.disconnect_refused = true;
    world.conf.exclusions = [Exclusion { traddr: Some("192.0.2.1".into()), ..Exclusion::default() }].into();
    world.reload();
    world.conf.exclusions.clear();
    world.reload();
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
}

#[test]
fn what_a_name_may_exclude_waits_until_the_name_is_looked_up() {
    let mut world = World::new(&["192.0.2.1"]);
    world.conf.exclusions =
        [Exclusion { traddr: Some("old.example".into()), is_name: true, ..Exclusion::default() }].into();
    world.resolver_hangs = true;
    let mut world = world.start();
    world.wait(29.0);
    assert!(world.connected().is_empty());
    world.wait(2.0);
    assert_eq!(world.connected(), ["192.0.2.1"], "no answer is an answer after half a minute");
    world.resolver_hangs = false;
    world.names.insert("old.example".into(), vec!["192.0.2.1"]);
    world.wait(120.0);
    assert!(world.connected().is_empty(), "the name means it after all");
}

#[test]
fn an_exclusion_wins_over_the_configuration_and_over_referrals() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).page("192.0.2.1", vec![referral("192.0.2.3")]).start();
    world.conf.exclusions =
        ["192.0.2.2", "192.0.2.3"].map(|a| Exclusion { traddr: Some(a.into()), ..Exclusion::default() }).into();
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert!(world.finder.removed().iter().all(|removed| removed.reason == RemovalReason::Excluded));
}

#[test]
fn a_restart_keeps_connections_and_reads_the_pages_anew() {
    let world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    let before: Vec<_> = world.kernel.iter().map(|kernel| kernel.ctrl).collect();
    let mut world = world.restart();
    world.wait(60.0);
    assert_eq!(world.kernel.iter().map(|kernel| kernel.ctrl).collect::<Vec<_>>(), before);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
}

#[test]
fn a_page_that_cannot_be_read_proves_nothing_and_is_tried_again() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.unreadable = true;
    world.pages.clear();
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.unreadable = false;
    world.wait(75.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_reconnected_controller_is_another_connection_and_its_page_is_read_again() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let before = world.finder.controller(&dc("192.0.2.1")).unwrap().connected_since;
    world.wait(10.0);
    let (reads, signals) = (world.reads, world.signals);
    world.uevent(0, UeventKind::Connected);
    assert_eq!(world.reads, reads + 1);
    assert_eq!(world.signals, signals + 1, "the first read of a connection is told");
    assert!(world.finder.controller(&dc("192.0.2.1")).unwrap().connected_since > before);
}

#[test]
fn a_referral_missing_right_after_a_reboot_of_its_referrer_stays_for_30_s() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.wait(10.0);
    world.pages.clear();
    world.uevent(0, UeventKind::Connected);
    world.wait(29.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.wait(2.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_referral_that_its_rebooted_referrer_has_not_listed_yet_survives_a_restart() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.wait(10.0);
    world.pages.clear();
    world.uevent(0, UeventKind::Connected);
    let mut world = world.restart();
    world.wait(29.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.wait(2.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_changed_name_is_added_first_and_the_old_address_goes_when_the_new_one_is_live() {
    let mut world = World::new(&["dc.example"]);
    world.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    let mut world = world.start();
    world.wait(0.1);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    world.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    world.dead.push("192.0.2.9".into());
    world.wait(70.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    world.names.remove("dc.example");
    world.dead.clear();
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.9"]);
}

#[test]
fn a_name_whose_addresses_come_in_another_order_each_time_keeps_its_connection() {
    let mut world = World::new(&["storage.example"]);
    world.names.insert("storage.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    let mut world = world.start();
    world.wait(0.1);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    for order in [["192.0.2.2", "192.0.2.1"], ["192.0.2.1", "192.0.2.2"], ["192.0.2.2", "192.0.2.1"]] {
        world.names.insert("storage.example".into(), order.into());
        world.wait(90.0);
        assert_eq!((world.connected(), world.connects), (vec!["192.0.2.1"], 1));
    }
    // What is no longer among them goes, as ever.
    world.names.insert("storage.example".into(), vec!["192.0.2.3", "192.0.2.2"]);
    world.wait(90.0);
    assert_eq!(world.connected(), ["192.0.2.3"]);
}

#[test]
fn a_restart_while_a_name_moves_keeps_the_old_address_until_the_new_one_is_live() {
    let mut world = World::new(&["dc.example"]);
    world.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.9"]);
    let mut world = world.start();
    world.wait(0.1);
    world.names.insert("dc.example".into(), vec!["192.0.2.9", "192.0.2.1"]);
    world.wait(70.0);
    let mut world = world.restart();
    world.wait(70.0);
    assert_eq!((world.connected(), world.connects), (vec!["192.0.2.1"], 1), "the order alone is no move");
    world.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    world.dead.push("192.0.2.9".into());
    world.wait(70.0);
    let mut world = world.restart();
    world.wait(70.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    world.dead.clear();
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.9"]);
}

#[test]
fn a_restart_while_a_name_moves_to_another_family_keeps_the_old_address_too() {
    let mut world = World::new(&["dc.example"]);
    world.names.insert("dc.example".into(), vec!["2001:db8::1"]);
    let mut world = world.start();
    world.wait(0.1);
    assert_eq!(world.connected(), ["2001:db8::1"]);
    world.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    world.dead.push("192.0.2.9".into());
    world.wait(70.0);
    let mut world = world.restart();
    world.wait(70.0);
    assert_eq!(world.connected(), ["2001:db8::1"]);
    world.dead.clear();
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.9"]);
}

#[test]
fn two_of_one_name_each_keep_the_old_address_until_their_own_new_one_is_live() {
    let mut world = World::new(&["storage.example", "storage.example"]);
    world.conf.controllers[1].trsvcid = "4420".into();
    world.names.insert("storage.example".into(), vec!["192.0.2.1"]);
    let mut world = world.start();
    world.wait(0.1);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.1"]);
    world.dead_ports.push("4420".into());
    world.names.insert("storage.example".into(), vec!["192.0.2.2"]);
    world.wait(90.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"], "the one that cannot move stays where it is");
    world.dead_ports.clear();
    world.wait(90.0);
    assert_eq!(world.connected(), ["192.0.2.2", "192.0.2.2"]);
}

#[test]
fn an_address_that_becomes_a_name_keeps_its_connection_until_the_name_is_known() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2"]).start();
    let before: Vec<_> = world.kernel.iter().map(|kernel| kernel.ctrl).collect();
    world.conf.controllers = vec![controller("192.0.2.2"), controller("dc.example")];
    world.reload();
    world.wait(60.0);
    assert_eq!(world.kernel.iter().map(|kernel| kernel.ctrl).collect::<Vec<_>>(), before);
    let mut world = world.restart();
    world.wait(60.0);
    world.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    world.wait(120.0);
    assert_eq!(world.kernel.iter().map(|kernel| kernel.ctrl).collect::<Vec<_>>(), before);
    world.conf.controllers.remove(0);
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_finder_that_stops_wants_no_more_than_what_leads_to_the_end() {
    let mut world = World::new(&["192.0.2.1", "dc.example"]);
    world.conf.persistent_connections = false;
    world.disconnect_refused = true;
    let mut world = world.start();
    world.feed(Event::Stop);
    world.now = world.now + Duration::from_secs(100);
    world.feed(Event::Tick);
    assert!(world.stopped);
    assert!(world.finder.deadline().is_none_or(|at| at > world.now));
}

#[test]
fn others_get_what_the_shadowed_udev_rule_would_have_done() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let stranger = world.add(&dc("192.0.2.99"), 30).device;
    world.uevent(stranger, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(0.6);
    assert_eq!(world.nvmf_connect, [stranger]);
}

#[test]
fn a_storm_of_events_of_others_has_nvme_cli_called_once_for_each_look() {
    let mut world = World::new(&["192.0.2.1"]).start();
    let strangers = [world.add(&dc("192.0.2.98"), 30).device, world.add(&dc("192.0.2.99"), 30).device];
    for _ in 0..500 {
        for stranger in strangers {
            world.uevent(stranger, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
        }
    }
    world.wait(0.6);
    assert!((2..=4).contains(&world.nvmf_connect.len()), "{} calls", world.nvmf_connect.len());
    assert!(strangers.iter().all(|stranger| world.nvmf_connect.contains(stranger)));
}

#[test]
fn a_refresh_is_answered_by_a_read_that_began_after_it() {
    let mut world = World::new(&["192.0.2.1"]).start();
    world.hold_reads = Some(Vec::new());
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.feed(Event::Refresh { token: 1, dc: dc("192.0.2.1") });
    let Some(Effect::ReadLogPage { op, ctrl, .. }) = world.hold_reads.as_mut().unwrap().pop() else { panic!() };
    let answer = world.read(op, ctrl);
    world.feed(answer);
    assert!(world.refreshed.is_empty());
    let Some(Effect::ReadLogPage { op, ctrl, .. }) = world.hold_reads.as_mut().unwrap().pop() else { panic!() };
    let answer = world.read(op, ctrl);
    world.feed(answer);
    assert_eq!(world.refreshed, [Ok(())]);
    world.feed(Event::Refresh { token: 2, dc: dc("192.0.2.77") });
    assert!(world.refreshed[1].is_err());
}

#[test]
fn stopping_leaves_connections_unless_told_otherwise() {
    let mut world = World::new(&["192.0.2.1"]).start();
    world.feed(Event::Stop);
    assert!(world.stopped);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    let mut world = World::new(&["192.0.2.1"]);
    world.conf.persistent_connections = false;
    let mut world = world.start();
    world.feed(Event::Stop);
    assert!(world.stopped);
    assert!(world.connected().is_empty());
}

fn cdc(world: &World) -> Vec<(Task, Option<&str>)> {
    world.registrations.iter().map(|(_, task, name)| (*task, name.as_deref())).collect()
}

#[test]
fn this_host_is_registered_with_a_cdc_on_each_connection_and_updated_when_its_name_changes() {
    let mut world = World::new(&["192.0.2.1"]);
    world.dctype = Dctype::Cdc;
    let mut world = world.start();
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!(cdc(&world), [(Task::Register, None)]);
    let registration = |world: &World| world.finder.controller(&dc("192.0.2.1")).unwrap().registration;
    assert_eq!(registration(&world).unwrap(), "registered");
    world.symname = Some("rack 7".into());
    world.reload();
    assert_eq!(cdc(&world)[1..], [(Task::Update, Some("rack 7"))]);
    world.wait(10.0);
    world.uevent(0, UeventKind::Connected);
    assert_eq!(cdc(&world)[2..], [(Task::Register, Some("rack 7"))]);
}

#[test]
fn who_keeps_no_register_is_not_asked_to() {
    let world = World::new(&["192.0.2.1"]).start();
    assert!(world.registrations.is_empty());
    assert_eq!(world.finder.controller(&dc("192.0.2.1")).unwrap().registration, None);
}

#[test]
fn a_cdc_that_does_not_register_this_host_is_used_all_the_same_and_asked_again_where_that_can_help() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]);
    world.dctype = Dctype::Cdc;
    let failed = |again| Some(Err(NotRegistered::Failed { reason: "internal error".into(), again }));
    // Of the two discovery controllers, each is asked once and refuses: one for now, one for good.
    world.register_answers = [failed(true), failed(false), failed(true), failed(true)].into();
    let mut world = world.start();
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.wait(100.0);
    let first = world.registrations[0].0;
    assert_eq!(world.registrations.iter().filter(|(ctrl, ..)| *ctrl == first).count(), 4);
    assert_eq!(world.registrations.len(), 5);
    let warnings = world.notices.iter().filter(|n| n.text.contains("internal error")).count();
    assert_eq!(warnings, 2, "one for each");
    let second = world.finder.controller(&dc("192.0.2.2")).unwrap().registration.unwrap();
    assert_eq!(second, "not registered: internal error");
}

#[test]
fn an_answer_to_a_registration_on_an_earlier_connection_says_nothing_about_this_one() {
    let mut world = World::new(&["192.0.2.1"]);
    world.dctype = Dctype::Ddc;
    world.register_answers = [None].into();
    let mut world = world.start();
    world.wait(10.0);
    world.uevent(0, UeventKind::Connected);
    assert_eq!(world.registrations.len(), 1, "one at a time");
    world.feed(Event::Registered { op: world.registered_op.unwrap(), result: Ok(()) });
    assert_eq!(world.registrations.len(), 2);
    assert_eq!(world.finder.controller(&dc("192.0.2.1")).unwrap().registration.as_deref(), Some("registered"));
}

/// One that refuses a keep-alive timeout, in its first poll.
fn ancient() -> World {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![entry("nvme", "192.0.2.9", "a")]);
    world.ancient = vec!["192.0.2.1".into()];
    let mut world = world.start();
    world.wait(30.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert_eq!(world.kernel[0].kato, Some(0));
    // Three with, one without; and the same once more, to be sure.
    assert_eq!(world.connects, 6);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
    world
}

#[test]
fn who_refuses_keep_alive_is_polled_every_15_minutes_and_not_held() {
    let mut world = ancient();
    world.wait(60.0);
    assert_eq!(world.connected(), [""; 0]);
    let view = world.finder.controller(&dc("192.0.2.1")).unwrap();
    assert_eq!(view.log_page.unwrap().entries.len(), 1, "what it said holds until the next poll");
    let (connects, reads) = (world.connects, world.reads);
    world.wait(700.0);
    assert_eq!(world.connects, connects, "it is left alone");
    world.pages.insert("192.0.2.1".into(), vec![entry("nvme", "192.0.2.9", "b")]);
    world.wait(200.0);
    assert!(world.reads > reads);
    let view = world.finder.controller(&dc("192.0.2.1")).unwrap();
    assert_eq!(view.log_page.unwrap().entries[0].subnqn, "b");
    assert_eq!(world.connects, connects + 2, "asked with keep-alive first, and at once without");
    let told = world.notices.iter().filter(|notice| notice.text.contains("polled every 15 minutes")).count();
    assert_eq!(told, 1);
}

#[test]
fn a_refusal_that_passes_makes_nobody_a_polled_one() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![entry("nvme", "192.0.2.9", "a")]);
    world.ancient = vec!["192.0.2.1".into()];
    let mut world = world.start();
    while world.kernel.is_empty() {
        world.wait(0.1);
    }
    assert_eq!(world.kernel[0].kato, Some(0));
    world.ancient.clear();
    world.wait(5.0);
    assert_eq!(world.kernel[0].kato, Some(30));
    assert!(!world.notices.iter().any(|notice| notice.text.contains("polled every")));
}

#[test]
fn who_is_polled_and_takes_a_keep_alive_again_is_held() {
    let mut world = ancient();
    world.ancient.clear();
    world.wait(1000.0);
    assert_eq!(world.kernel[0].kato, Some(30));
    world.wait(2000.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_poll_that_cannot_be_disconnected_stays_connected() {
    let mut world = ancient();
    world.disconnect_refused = true;
    world.wait(2000.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    assert_eq!(world.page_state("192.0.2.1"), "fresh");
}

#[test]
fn a_reload_polls_at_once() {
    let mut world = ancient();
    world.wait(60.0);
    assert_eq!(world.connected(), [""; 0]);
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_poll_that_a_restart_cuts_short_leaves_no_connection_behind() {
    let mut world = ancient();
    for _ in 0..3 {
        world = world.restart();
        world.wait(10.0);
    }
    world.wait(120.0);
    assert_eq!(world.connected(), [""; 0]);
}

#[test]
fn after_a_restart_the_connection_of_nvme_discover_is_nobodys() {
    let mut world = ancient();
    world.wait(60.0);
    world.add(&dc("192.0.2.1"), 0);
    let mut world = world.restart();
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_name_that_moves_on_before_the_move_is_done_keeps_the_address_that_is_live() {
    let mut world = World::new(&["dc.example"]);
    world.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    let mut world = world.start();
    world.wait(0.1);
    world.dead = vec!["192.0.2.8".into(), "192.0.2.9".into()];
    for answer in ["192.0.2.8", "192.0.2.9"] {
        world.names.insert("dc.example".into(), vec![answer]);
        world.wait(70.0);
        assert_eq!(world.connected(), ["192.0.2.1"], "after the answer {answer}");
    }
    let mut world = world.restart();
    world.wait(70.0);
    assert_eq!(world.connected(), ["192.0.2.1"], "after a restart");
    world.dead.clear();
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.9"]);
}

#[test]
fn a_name_with_no_address_of_a_family_that_is_used_keeps_the_last_one() {
    let mut world = World::new(&["dc.example"]);
    world.conf.ip_family = FamilyOrder::V4;
    world.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    let mut world = world.start();
    world.wait(0.1);
    world.names.insert("dc.example".into(), vec!["2001:db8::1"]);
    world.wait(130.0);
    let mut world = world.restart();
    world.wait(130.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
    world.conf.ip_family = FamilyOrder::V6;
    world.reload();
    world.wait(10.0);
    assert_eq!(world.connected(), ["2001:db8::1"]);
}

#[test]
fn a_referral_missing_after_a_reboot_stays_until_a_page_that_was_read_late_enough_does_not_list_it() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.wait(10.0);
    world.pages.clear();
    world.uevent(0, UeventKind::Connected);
    world.wait(5.0);
    world.unreadable = true;
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"], "nothing was read since the first seconds");
    assert_eq!(world.page_state("192.0.2.1"), "saved");
    world.unreadable = false;
    world.wait(75.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

#[test]
fn a_page_of_which_not_every_entry_can_be_read_proves_nothing() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.pages.clear();
    world.malformed = Some(Flaw::Blank);
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(120.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(world.page_state("192.0.2.1"), "saved", "stacd takes nothing away on such a page");
    world.malformed = None;
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(7.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}

/// All storage behind the one that it referred to would go with the referral.
#[test]
fn a_page_without_the_only_referral_is_read_again_before_it_is_believed() {
    let mut world = World::new(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).start();
    world.wait(60.0);
    world.pages.clear();
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(4.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"]);
    world.pages.insert("192.0.2.1".into(), vec![referral("192.0.2.2")]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["192.0.2.1", "192.0.2.2"], "for one page by mistake nothing goes");
    assert!(world.finder.removed().is_empty());
    world.pages.clear();
    world.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    world.wait(7.0);
    assert_eq!(world.connected(), ["192.0.2.1"]);
}
