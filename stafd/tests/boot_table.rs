//! What stafd promises for the discovery controllers of the firmware's boot tables.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libstas::conf::{Exclusion, Persistence, StafConf};
use libstas::core::browse::{Heard, Spot};
use libstas::core::{
    ConnectError, ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, HostEffect, HostEvent, Interface,
    KernelController, Links, Look, Machine, ProbeOutcome, Time, Usage, reuse,
};
use libstas::nvme::log_page::LogPage;
use libstas::nvme::nbft::{BootTables, Discovery, Hfi, Host, Nbft};
use libstas::nvme::{HostIdentity, Tid, announcement};
use stafd::finder::{Effect, Event, Finder, Saved, Settings};

const OWN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
const BOOT: &str = "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007";
const MAC: [u8; 6] = [0x52, 0x54, 0, 0xb0, 7, 1];

/// A table with one discovery controller at 192.0.2.2, by the interface with [`MAC`] and 192.0.2.1.
fn nbft() -> Nbft {
    let [interface, controller] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    Nbft {
        host: Some(Host::new(BOOT)),
        hfi: vec![Hfi::new(1, MAC, interface)],
        discovery: vec![Discovery { hfi: Some(1), ..Discovery::new(1, controller) }],
        ..Nbft::default()
    }
}

fn interface(index: u32, name: &str, mac: &[u8], ips: &[&str]) -> Interface {
    let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Interface { index, name: name.into(), mac: mac.into(), up: true, addresses }
}

fn exclude(iface: Option<&str>, nqn: Option<&str>) -> Exclusion {
    Exclusion {
        transport: None,
        traddr: None,
        is_name: false,
        trsvcid: None,
        subsysnqn: None,
        host_iface: iface.map(str::to_owned),
        host_nqn: nqn.map(str::to_owned),
        line: 1,
    }
}

struct World {
    finder: Finder,
    conf: StafConf,
    tables: BootTables,
    links: Vec<Interface>,
    kernel: Vec<KernelController>,
    /// Interfaces that lead nowhere.
    cut: BTreeSet<String>,
    now: Time,
    looks: u64,
    told: Vec<String>,
    disconnects: usize,
}

impl World {
    fn new(nbft: Nbft) -> Self {
        Self {
            finder: Finder::new(Saved::default(), 3),
            conf: StafConf { zeroconf: false, ..StafConf::default() },
            tables: nbft.into(),
            links: vec![interface(1, "lo", &[0; 6], &["127.0.0.1"])],
            kernel: Vec::new(),
            cut: BTreeSet::new(),
            now: Time(Duration::from_secs(1000)),
            looks: 0,
            told: Vec::new(),
            disconnects: 0,
        }
    }

    fn start(mut self) -> Self {
        self.reload();
        self.links_are(&self.links.clone());
        self
    }

    fn reload(&mut self) {
        let identity = HostIdentity::new(OWN, "1");
        self.feed(Event::BootTables(Arc::new(self.tables.clone())));
        self.feed(Event::Configured(Box::new(Settings { conf: self.conf.clone(), identity: Arc::new(identity) })));
    }

    /// stafd ends and starts; it has not heard of the interfaces yet.
    fn restart(mut self) -> Self {
        let text = serde_json::to_string(&self.finder.saved()).unwrap();
        self.finder = Finder::new(serde_json::from_str(&text).unwrap(), 4);
        self.reload();
        self
    }

    fn links_are(&mut self, links: &[Interface]) {
        self.links = links.to_vec();
        self.feed(Event::Host(HostEvent::Links(Arc::new(Links(links.to_vec())))));
    }

    fn with(mut self, links: &[Interface]) -> Self {
        self.links.extend(links.iter().cloned());
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

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.finder.deadline().filter(|at| *at <= end) {
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
        let device = u32::try_from(self.kernel.len()).unwrap();
        let ctrl = CtrlRef { device, birth: self.looks };
        self.kernel.push(KernelController {
            host_traddr: String::new(),
            cntrltype: CtrlType::Discovery,
            state: CtrlState::Live,
            kato: Some(30),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let event = match effect {
            Effect::ReadSupported { op, .. } => return Some(Event::SupportedRead { op, result: Ok(None) }),
            Effect::ReadLogPage { op, .. } => {
                return Some(Event::LogPageRead { op, result: Ok(LogPage { genctr: 1, ..LogPage::default() }) });
            }
            Effect::Host(HostEffect::Look(op)) => HostEvent::Looked { op, result: Ok(self.look()) },
            Effect::Host(HostEffect::Probe { op, .. }) => HostEvent::Probed { op, outcome: ProbeOutcome::Alive },
            Effect::Host(HostEffect::Connect { op, request }) => {
                let before = self.look();
                let outcome = match reuse::find(&before, &request.tid, &Links(self.links.clone()), true) {
                    _ if self.cut.contains(&request.tid.host_iface) => {
                        ConnectOutcome::Failed(ConnectError::Kernel { errno: 110, reason: "no answer".into() })
                    }
                    Some(found) => ConnectOutcome::Found(found.ctrl),
                    None => ConnectOutcome::Made(self.make(&request.tid)),
                };
                let report = ConnectReport { outcome, look: self.look(), held: Duration::from_millis(10) };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            Effect::Host(HostEffect::Disconnect { op, ctrl }) => {
                self.kernel.retain(|kernel| kernel.ctrl != ctrl);
                self.disconnects += 1;
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

    /// The interfaces of the connections.
    fn connected_by(&self) -> Vec<&str> {
        self.kernel.iter().map(|kernel| kernel.host_iface.as_str()).collect()
    }
}

#[test]
fn a_record_is_connected_by_its_interface_as_the_boot_host() {
    let world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]).start();
    let [kernel] = &world.kernel[..] else { panic!("{:?}", world.kernel) };
    assert_eq!((kernel.traddr.as_str(), kernel.trsvcid.as_str()), ("192.0.2.2", "8009"));
    assert_eq!((kernel.host_iface.as_str(), kernel.hostnqn.as_str()), ("eth0", BOOT));
    assert_eq!(kernel.subsysnqn, "nqn.2014-08.org.nvmexpress.discovery");
    let views = world.finder.controllers();
    let [view] = &views[..] else { panic!("{views:?}") };
    assert_eq!((view.origin.as_str(), view.boot_record), ("configured", Some("NBFT, discovery 1")));
}

#[test]
fn without_a_configured_boot_host_the_host_is_itself() {
    let mut nbft = nbft();
    nbft.host.as_mut().unwrap().nqn_configured = false;
    nbft.discovery[0].nqn = Some("nqn.unique".into());
    let world = World::new(nbft).with(&[interface(2, "eth0", &MAC, &[])]).start();
    assert_eq!((world.kernel[0].hostnqn.as_str(), world.kernel[0].subsysnqn.as_str()), (OWN, "nqn.unique"));
}

#[test]
fn a_record_without_an_interface_goes_where_the_routes_lead() {
    let mut nbft = nbft();
    nbft.discovery[0].hfi = None;
    assert_eq!(World::new(nbft).start().connected_by(), [""]);
}

#[test]
fn an_interface_that_comes_later_is_awaited_and_told_once() {
    let mut world = World::new(nbft()).start();
    world.wait(100);
    world.links_are(&world.links.clone());
    assert!(world.kernel.is_empty());
    let told: Vec<_> = world.told.iter().filter(|text| text.contains("52:54:00:b0:07:01")).collect();
    assert_eq!(told.len(), 1, "{:?}", world.told);
    world.links_are(&[interface(7, "eth3", &MAC, &[])]);
    assert_eq!(world.connected_by(), ["eth3"]);
}

#[test]
fn an_interface_that_goes_changes_nothing() {
    let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]).start();
    world.links_are(&[]);
    world.wait(600);
    assert_eq!((world.connected_by(), world.disconnects), (vec!["eth0"], 0));
}

#[test]
fn of_those_with_the_same_hardware_address_the_one_with_the_boot_address_counts() {
    let bridge = |ip| [interface(2, "eth0", &MAC, &[]), interface(5, "br0", &MAC, &[ip])];
    assert_eq!(World::new(nbft()).with(&bridge("192.0.2.1")).start().connected_by(), ["br0"]);
    assert_eq!(World::new(nbft()).with(&bridge("198.51.100.1")).start().connected_by(), ["br0"], "the one with any");
    let both = [interface(2, "eth0", &MAC, &["198.51.100.1"]), interface(5, "eth0.7", &MAC, &["192.0.2.1"])];
    assert_eq!(World::new(nbft()).with(&both).start().connected_by(), ["eth0.7"]);
}

#[test]
fn when_the_interface_is_another_one_the_old_connection_goes_after_the_new_one_is_there() {
    let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]).start();
    world.cut.insert("br0".into());
    world.links_are(&[interface(2, "eth0", &MAC, &[]), interface(3, "br0", &MAC, &["192.0.2.1"])]);
    world.wait(60);
    assert_eq!(world.connected_by(), ["eth0"], "the new one leads nowhere yet");
    world.cut.clear();
    world.wait(120);
    assert_eq!(world.connected_by(), ["br0"]);
}

#[test]
fn a_restart_before_the_interfaces_are_known_loses_nothing() {
    let world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]).start();
    let mut world = world.restart();
    world.wait(60);
    assert_eq!((world.connected_by(), world.disconnects), (vec!["eth0"], 0));
    world.links_are(&world.links.clone());
    world.wait(60);
    assert_eq!((world.connected_by(), world.disconnects), (vec!["eth0"], 0));
}

#[test]
fn an_announced_way_is_not_taken_for_a_former_interface_of_the_record() {
    let mut nbft = nbft();
    nbft.host.as_mut().unwrap().nqn_configured = false;
    let eths =
        [interface(2, "eth0", &MAC, &["192.0.2.1"]), interface(3, "eth1", &[2, 0, 0, 0, 0, 9], &["198.51.100.1"])];
    let mut world = World::new(nbft).with(&eths);
    world.conf.zeroconf = true;
    world.conf.zeroconf_persistence = Persistence::For(Duration::from_secs(20));
    let mut world = world.start();
    let at = |interface| Spot { interface, address: "192.0.2.2".parse().unwrap() };
    let offer = announcement::offer(8009, [("p", Some(b"tcp".as_slice()))]);
    let service = "one._nvme-disc._tcp.local.".to_owned();
    world.feed(Event::Heard(vec![Heard::Announced { service: service.clone(), offer, spots: vec![at(2), at(3)] }]));
    assert_eq!(world.connected_by(), ["eth0", "eth1"]);
    // It goes for good, and stafd is started anew before the time of the announced way is up.
    world.feed(Event::Heard(vec![Heard::Gone(service)]));
    world.cut.extend(["eth0".to_owned(), "eth1".to_owned()]);
    world.kernel.clear();
    world.wait(15);
    let mut world = world.restart();
    world.links_are(&world.links.clone());
    world.wait(60);
    let views = world.finder.controllers();
    let left: Vec<&str> = views.iter().map(|view| view.member.tid.host_iface.as_str()).collect();
    assert_eq!(left, ["eth0"], "the table names it by eth0 alone");
}

#[test]
fn a_record_that_has_vanished_from_the_tables_takes_nothing_away() {
    let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]).start();
    world.tables = BootTables::default();
    world.reload();
    world.wait(600);
    assert_eq!((world.connected_by(), world.disconnects), (vec!["eth0"], 0));
    for _ in 0..2 {
        world = world.restart();
        world.links_are(&world.links.clone());
        world.wait(600);
        assert_eq!((world.connected_by(), world.disconnects), (vec!["eth0"], 0), "it is remembered");
    }
    // And is connected again like any other.
    world.kernel.clear();
    world.wait(120);
    assert_eq!(world.connected_by(), ["eth0"]);
}

#[test]
fn a_restart_loses_nothing_with_ignore_iface_either() {
    let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]);
    world.conf.ignore_iface = true;
    let mut world = world.start().restart();
    world.wait(60);
    assert_eq!((world.connected_by(), world.disconnects), (vec![""], 0));
    world.links_are(&world.links.clone());
    world.wait(60);
    assert_eq!((world.connected_by(), world.disconnects), (vec![""], 0));
}

#[test]
fn what_is_excluded_is_not_connected() {
    let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]);
    world.conf.exclusions = vec![exclude(Some("eth0"), None)];
    let mut world = world.start();
    assert!(world.kernel.is_empty());
    world.conf.exclusions.clear();
    world.reload();
    assert_eq!(world.connected_by(), ["eth0"]);
    world.conf.exclusions = vec![exclude(None, Some(BOOT))];
    world.reload();
    assert!(world.kernel.is_empty());
}

#[test]
fn ignore_iface_leaves_the_way_to_the_routes() {
    let mut world = World::new(nbft());
    world.conf.ignore_iface = true;
    assert_eq!(world.start().connected_by(), [""]);
}

#[test]
fn with_ignore_iface_an_excluded_interface_is_the_one_where_it_was_found() {
    for (excluded, expected) in [("eth0", vec![]), ("eth1", vec![""])] {
        let mut world = World::new(nbft()).with(&[interface(2, "eth0", &MAC, &["192.0.2.1"])]);
        world.conf.ignore_iface = true;
        world.conf.exclusions = vec![exclude(Some(excluded), None)];
        let world = world.start();
        assert_eq!((world.connected_by(), world.disconnects), (expected, 0), "{excluded}");
    }
}

#[test]
fn a_host_without_a_table_has_nothing_of_it() {
    let mut world = World::new(Nbft::default());
    world.tables = BootTables::default();
    let world = world.start();
    assert!(world.kernel.is_empty() && world.finder.controllers().is_empty());
}
