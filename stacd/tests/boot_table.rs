//! What stacd promises for the I/O controllers that the firmware or the initramfs connected.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use libstas::conf::{DisconnectScope, Exclusion, InUse, StacConf};
use libstas::core::fleet::Status;
use libstas::core::{
    ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, HostEffect, HostEvent, KernelController, Look,
    Machine, OpId, ProbeOutcome, Time, Usage, reuse,
};
use libstas::nvme::log_page::Entry;
use libstas::nvme::nbft::{BootTables, Host, Nbft, Ssns};
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Tid, TidParts, Transport};
use stacd::connector::{Connector, DcPage, Effect, Event, Origin, PageState, Saved, Settings, StafdView};

const OWN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
const BOOT: &str = "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007";

fn tid(nqn: &str, trsvcid: &str, host_nqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: "192.0.2.2".into(),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: host_nqn.into(),
    })
}

/// A table that says that the host booted from `root`, as the boot host.
fn tables() -> BootTables {
    let root = Ssns::new(1, "192.0.2.2".parse().unwrap(), "root");
    Nbft { host: Some(Host::new(BOOT)), subsystem: vec![root], ..Nbft::default() }.into()
}

fn exclude(nqn: &str) -> Exclusion {
    Exclusion {
        transport: None,
        traddr: None,
        is_name: false,
        trsvcid: None,
        subsysnqn: Some(nqn.into()),
        host_iface: None,
        host_nqn: None,
        line: 1,
    }
}

fn entry(nqn: &str) -> Entry {
    let pairs = [
        ("trtype", "tcp"),
        ("subtype", "nvme"),
        ("traddr", "192.0.2.2"),
        ("trsvcid", "4420"),
        ("subnqn", nqn),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()).unwrap()
}

struct World {
    connector: Connector,
    conf: StacConf,
    tables: BootTables,
    kernel: Vec<KernelController>,
    page: Vec<&'static str>,
    now: Time,
    looks: u64,
    disconnected: Vec<String>,
    told: Vec<String>,
}

impl World {
    /// The initramfs has connected these, as the boot host.
    fn booted(nqns: &[&str]) -> Self {
        let mut world = Self {
            connector: Connector::new(Saved::default(), 7),
            conf: StacConf::default(),
            tables: tables(),
            kernel: Vec::new(),
            page: Vec::new(),
            now: Time(Duration::from_secs(1000)),
            looks: 0,
            disconnected: Vec::new(),
            told: Vec::new(),
        };
        for nqn in nqns {
            world.make(&tid(nqn, "4420", BOOT));
        }
        world
    }

    fn configured(mut self, scope: DisconnectScope, exclusions: &[&str]) -> Self {
        self.conf.disconnect_scope = scope;
        self.conf.in_use = InUse::Disconnect;
        self.conf.exclusions = exclusions.iter().map(|nqn| exclude(nqn)).collect();
        self
    }

    /// The daemon starts, stafd has a discovery controller with that page, and an hour passes.
    fn start(mut self, page: &[&'static str]) -> Self {
        self.reload();
        self.page = page.to_vec();
        self.feed(Event::StafdOwner(Some(":1.5".into())));
        self.wait(3600);
        self
    }

    fn reload(&mut self) {
        let identity = HostIdentity::new(OWN, "1");
        self.feed(Event::BootTables(Arc::new(self.tables.clone())));
        self.feed(Event::Configured(Box::new(Settings { conf: self.conf.clone(), identity: Arc::new(identity) })));
    }

    fn restart(mut self) -> Self {
        let text = serde_json::to_string(&self.connector.saved()).unwrap();
        self.connector = Connector::new(serde_json::from_str(&text).unwrap(), 8);
        self.reload();
        self.wait(3600);
        self
    }

    fn page_is(&mut self, page: &[&'static str]) {
        self.page = page.to_vec();
        self.feed(Event::PageChanged(tid(DISCOVERY_NQN, "8009", BOOT)));
    }

    fn feed(&mut self, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let mut out = Vec::new();
            self.connector.handle(self.now, event, &mut out);
            for effect in out {
                queue.extend(self.carry_out(effect));
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.connector.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn look(&mut self) -> Look {
        self.looks += 1;
        Look::new(self.looks, self.looks, self.kernel.clone())
    }

    fn make(&mut self, tid: &Tid) -> CtrlRef {
        let ctrl = CtrlRef { device: u32::try_from(self.kernel.len()).unwrap(), birth: self.looks };
        self.kernel.push(KernelController {
            host_traddr: String::new(),
            host_iface: String::new(),
            cntrltype: CtrlType::Io,
            state: CtrlState::Live,
            kato: Some(5),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn dc(&self) -> DcPage {
        DcPage {
            dc: tid(DISCOVERY_NQN, "8009", BOOT),
            state: PageState::Fresh,
            origin: Origin::Configured,
            connected_since: Some(Time(Duration::from_secs(500))),
            entries: self.page.iter().map(|nqn| entry(nqn)).collect(),
            unclear: Vec::new(),
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let event = match effect {
            Effect::FetchAll(op) => {
                let view = StafdView { dcs: vec![self.dc()], removed: Some(Vec::new()) };
                return Some(Event::AllFetched { op, result: Ok(view) });
            }
            Effect::FetchPage { op, .. } => return Some(Event::PageFetched { op, result: Ok(Some(self.dc())) }),
            Effect::Host(HostEffect::Look(op)) => HostEvent::Looked { op, result: Ok(self.look()) },
            Effect::Host(HostEffect::Probe { op, .. }) => HostEvent::Probed { op, outcome: ProbeOutcome::Alive },
            Effect::Host(HostEffect::Connect { op, request }) => {
                let before = self.look();
                let outcome = match reuse::find(&before, &request.tid, &Default::default(), false) {
                    Some(found) => ConnectOutcome::Found(found.ctrl),
                    None => ConnectOutcome::Made(self.make(&request.tid)),
                };
                let report = ConnectReport { outcome, look: self.look(), held: Duration::from_millis(10) };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            Effect::Host(HostEffect::Disconnect { op, ctrl }) => {
                let index = self.kernel.iter().position(|kernel| kernel.ctrl == ctrl).unwrap();
                self.disconnected.push(self.kernel.remove(index).subsysnqn);
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            Effect::Host(HostEffect::CheckUse { op, .. }) => HostEvent::UseChecked { op, usage: Usage::Free },
            Effect::Host(HostEffect::Tell(notice)) => {
                self.told.push(notice.text);
                return None;
            }
            _ => return None,
        };
        Some(Event::Host(event))
    }

    /// What is shown of a subsystem: state, origin, record.
    fn shown(&self, nqn: &str) -> Option<(Status, &'static str, Option<String>)> {
        let views = self.connector.controllers();
        let mut of_it = views.iter().filter(|view| view.member.tid.subsysnqn == nqn);
        let view = of_it.next()?;
        assert!(of_it.next().is_none(), "it is shown once");
        Some((view.member.status, view.origin.as_str(), view.boot_record.clone()))
    }
}

const RECORD: &str = "NBFT, SSNS 1";
const AUDIT: DisconnectScope = DisconnectScope::AllMatchingTrtypes;

#[test]
fn the_audit_takes_strangers_and_spares_what_the_firmware_connected() {
    let world = World::booted(&["root", "stranger"]).configured(AUDIT, &[]).start(&["data"]);
    assert_eq!(world.disconnected, ["stranger"]);
    assert_eq!(world.shown("root"), Some((Status::Connected, "nbft", Some(RECORD.into()))));
    assert_eq!(world.shown("data"), Some((Status::Connected, "discovered", None)));
}

#[test]
fn an_exclusion_spares_it_too() {
    let mut world = World::booted(&["root", "stranger"]).configured(AUDIT, &["root", "stranger"]).start(&["root"]);
    assert_eq!(world.disconnected, ["stranger"]);
    world.reload();
    world.wait(600);
    assert_eq!(world.disconnected, ["stranger"]);
    assert_eq!(world.shown("root"), Some((Status::Connected, "nbft", Some(RECORD.into()))));
}

#[test]
fn it_stays_when_its_log_page_no_longer_names_it() {
    for scope in [DisconnectScope::OnlyStas, AUDIT] {
        let mut world = World::booted(&["root"]).configured(scope, &[]).start(&["root", "data"]);
        assert_eq!(world.shown("root"), Some((Status::Connected, "discovered", Some(RECORD.into()))));
        world.page_is(&["data"]);
        world.wait(3600);
        assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
        assert_eq!(world.shown("root").unwrap().0, Status::Kept);
        let told = world.told.iter().filter(|text| text.contains("boot table (NBFT) names it")).count();
        assert_eq!(told, 1, "{:?}", world.told);
        // And is wanted again like any other.
        world.page_is(&["root", "data"]);
        assert_eq!(world.shown("root").unwrap().0, Status::Connected);
    }
}

#[test]
fn it_stays_when_it_becomes_excluded() {
    let mut world = World::booted(&["root"]).start(&["root", "data"]);
    world.conf.exclusions = vec![exclude("root"), exclude("data")];
    world.reload();
    world.wait(600);
    assert_eq!(world.disconnected, ["data"]);
    assert_eq!(world.shown("root").unwrap().0, Status::Kept);
}

#[test]
fn it_stays_when_a_restart_finds_it_excluded_and_unnamed() {
    let mut world = World::booted(&["root"]).start(&["root", "data"]);
    world.conf = World::booted(&[]).configured(AUDIT, &["root", "data"]).conf;
    world.page = Vec::new();
    let world = world.restart();
    assert_eq!(world.disconnected, ["data"]);
    assert!(world.shown("root").is_some());
}

#[test]
fn the_same_subsystem_as_another_host_is_a_stranger() {
    let mut world = World::booted(&[]).configured(AUDIT, &[]);
    world.make(&tid("root", "4420", OWN));
    assert_eq!(world.start(&[]).disconnected, ["root"]);
}

#[test]
fn without_a_table_it_is_a_stranger() {
    let mut world = World::booted(&["root"]).configured(AUDIT, &[]);
    world.tables = BootTables::default();
    let world = world.start(&[]);
    assert_eq!(world.disconnected, ["root"]);
    assert_eq!(world.shown("root"), None);
}

#[test]
fn what_a_table_has_named_stays_though_the_table_has_vanished() {
    let connections: [&[&str]; 2] = [&["root"], &["root", "data"]];
    for page in connections {
        let mut world = World::booted(&["root", "stranger"]).start(page);
        world.tables = BootTables::default();
        world = world.configured(AUDIT, &["root"]);
        world.reload();
        world.wait(3600);
        for _ in 0..2 {
            world.page_is(&["data"]);
            world.wait(3600);
            world = world.restart();
        }
        assert_eq!(world.disconnected, ["stranger"]);
        assert_eq!(world.shown("root").unwrap().2, Some(RECORD.into()));
    }
}

#[test]
fn what_the_firmware_could_not_connect_is_neither_shown_nor_connected() {
    let world = World::booted(&[]).start(&["data"]);
    assert_eq!(world.shown("root"), None);
    assert_eq!(world.kernel.len(), 1);
}

#[test]
fn what_the_firmware_connected_is_shown_while_it_is_down_and_no_longer_when_it_is_gone() {
    let mut world = World::booted(&["root"]).start(&[]);
    world.kernel[0].state = CtrlState::Connecting;
    world.wait(30);
    assert_eq!(world.shown("root").unwrap().0, Status::Reconnecting);
    let unasked = Event::Host(HostEvent::Looked {
        op: OpId::UNASKED,
        result: Ok(Look { order: 9999, seqnum: 9999, controllers: vec![] }),
    });
    world.kernel.clear();
    world.feed(unasked);
    assert_eq!(world.shown("root"), None);
}
