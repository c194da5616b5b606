//! What stafd promises about discovery controllers that announce themselves, told against a small network.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use libstas::conf::{self, Complaint, StafConf};
use libstas::core::browse::{Ask, Heard, Spot};
use libstas::core::fleet::Status;
use libstas::core::{
    ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, HostEffect, HostEvent, Interface, KernelController,
    Level, Links, Look, Machine, Notice, ProbeOutcome, Time, reuse,
};
use libstas::nvme::announcement::offer;
use libstas::nvme::log_page::LogPage;
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Tid, TidParts, Transport};
use stafd::finder::{Effect, Event, Finder, RemovalReason, Saved, Settings};

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";

/// The controller that is announced at that address on that interface.
fn dc(traddr: &str, iface: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "8009".into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: String::new(),
        host_iface: iface.into(),
        host_nqn: HOST.into(),
    })
}

/// eth1 is number 1, eth2 number 2.
fn links() -> Links {
    let interface = |index: u32| Interface {
        index,
        name: format!("eth{index}"),
        mac: Vec::new(),
        up: true,
        addresses: vec![IpAddr::from([192, 0, 2, 100 + u8::try_from(index).unwrap()])],
    };
    Links(vec![interface(1), interface(2)])
}

fn announcement(service: &str, p: &str, at: &[(u32, &str)]) -> Heard {
    let spots = at.iter().map(|(interface, address)| Spot { interface: *interface, address: address.parse().unwrap() });
    Heard::Announced {
        service: service.into(),
        offer: offer(8009, [("p", Some(p.as_bytes()))]),
        spots: spots.collect(),
    }
}

struct World {
    finder: Finder,
    conf: StafConf,
    links: Links,
    now: Time,
    kernel: Vec<KernelController>,
    seqnum: u64,
    dead: BTreeSet<String>,
    /// All of 10.0.0.0/8.
    fakes_are_dead: bool,
    /// The addresses that were probed.
    tried: BTreeSet<String>,
    asked: Vec<Ask>,
    notices: Vec<Notice>,
    removals: usize,
    /// Looks at sysfs hang.
    blind: bool,
}

impl World {
    fn new(conf: &str) -> Self {
        let mut world = Self {
            finder: Finder::new(Saved::default(), 3),
            conf: StafConf::default(),
            links: links(),
            now: Time(Duration::from_secs(1000)),
            kernel: Vec::new(),
            seqnum: 0,
            dead: BTreeSet::new(),
            fakes_are_dead: true,
            tried: BTreeSet::new(),
            asked: Vec::new(),
            notices: Vec::new(),
            removals: 0,
            blind: false,
        };
        world.configure(conf);
        world.interfaces(links());
        world
    }

    /// With a persistence of so many seconds.
    fn with_persistence(seconds: &str) -> Self {
        Self::new(&persistence(seconds))
    }

    fn configure(&mut self, text: &str) {
        let complaints = self.try_to_configure(text);
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    /// With lines, perhaps, that cannot be read: gives back what is said about them.
    fn try_to_configure(&mut self, text: &str) -> Vec<Complaint> {
        let (conf, complaints) = conf::stafd::parse(text.as_bytes(), "stafd.conf");
        self.conf = conf;
        let identity = Arc::new(HostIdentity::new(HOST, "1"));
        self.feed(Event::Configured(Box::new(Settings { conf: self.conf.clone(), identity })));
        complaints
    }

    fn interfaces(&mut self, links: Links) {
        self.links = links.clone();
        self.feed(Event::Host(HostEvent::Links(Arc::new(links))));
    }

    fn hear(&mut self, heard: Heard) {
        self.feed(Event::Heard(vec![heard]));
    }

    fn restart(&mut self, conf: &str) {
        let text = serde_json::to_string(&self.finder.saved()).unwrap();
        self.start(&text, conf);
    }

    fn start(&mut self, saved: &str, conf: &str) {
        self.finder = Finder::new(serde_json::from_str(saved).unwrap(), 4);
        self.configure(conf);
        self.interfaces(self.links.clone());
    }

    fn feed(&mut self, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let mut out = Vec::new();
            self.finder.handle(self.now, event, &mut out);
            queue.extend(out.into_iter().filter_map(|effect| self.carry_out(effect)));
        }
    }

    fn look(&mut self) -> Look {
        self.seqnum += 1;
        Look::new(self.seqnum, self.seqnum, self.kernel.clone())
    }

    fn is_dead(&self, traddr: &str) -> bool {
        (self.fakes_are_dead && traddr.starts_with("10.")) || self.dead.contains(traddr)
    }

    fn connect(&mut self, tid: &Tid) -> CtrlRef {
        self.seqnum += 1;
        let device = (0..).find(|n| self.kernel.iter().all(|k| k.ctrl.device != *n)).unwrap();
        let ctrl = CtrlRef { device, birth: self.seqnum };
        self.kernel.push(KernelController {
            src_addr: self.links.named(&tid.host_iface).and_then(|interface| interface.addresses.first().copied()),
            cntrltype: CtrlType::Discovery,
            state: CtrlState::Live,
            kato: Some(30),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let host = match effect {
            Effect::Host(host) => host,
            Effect::ReadSupported { op, .. } => return Some(Event::SupportedRead { op, result: Ok(None) }),
            Effect::ReadLogPage { op, .. } => {
                return Some(Event::LogPageRead { op, result: Ok(LogPage { genctr: 1, ..LogPage::default() }) });
            }
            Effect::Browse(ask) => {
                self.asked.push(ask);
                return None;
            }
            Effect::DcRemoved => {
                self.removals += 1;
                return None;
            }
            _ => return None,
        };
        let event = match host {
            HostEffect::Look(_) if self.blind => return None,
            HostEffect::Look(op) => HostEvent::Looked { op, result: Ok(self.look()) },
            HostEffect::Probe { op, portal, .. } => {
                self.tried.insert(portal.traddr.clone());
                let dead = self.is_dead(&portal.traddr);
                let outcome = if dead { ProbeOutcome::Dead("no answer".into()) } else { ProbeOutcome::Alive };
                HostEvent::Probed { op, outcome }
            }
            HostEffect::Connect { op, request } => {
                assert!(!self.is_dead(&request.tid.traddr) || request.tid.transport() != Transport::Tcp);
                let before = self.look();
                let outcome = match reuse::find(&before, &request.tid, &self.links, request.purpose.is_discovery()) {
                    Some(found) => ConnectOutcome::Found(found.ctrl),
                    None => ConnectOutcome::Made(self.connect(&request.tid)),
                };
                let report = ConnectReport { outcome, look: self.look(), held: Duration::from_millis(100) };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            HostEffect::Disconnect { op, ctrl } => {
                self.kernel.retain(|kernel| kernel.ctrl != ctrl);
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            HostEffect::Tell(notice) => {
                self.notices.push(notice);
                return None;
            }
            _ => return None,
        };
        Some(Event::Host(event))
    }

    /// The discovery controller at that address dies, and the kernel notices.
    fn dies(&mut self, traddr: &str) {
        self.dead.insert(traddr.into());
        for kernel in self.kernel.iter_mut().filter(|kernel| kernel.traddr == traddr) {
            kernel.state = CtrlState::Connecting;
        }
        self.looked();
    }

    fn looked(&mut self) {
        let look = self.look();
        self.feed(Event::Host(HostEvent::Looked { op: libstas::core::OpId::UNASKED, result: Ok(look) }));
    }

    fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut turns = 0;
        while let Some(at) = self.finder.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
            turns += 1;
            assert!(turns < 100_000, "the deadline {at:?} is never served");
        }
        self.now = end;
    }

    fn connected(&self) -> Vec<(&str, &str)> {
        let mut shown: Vec<_> =
            self.kernel.iter().map(|kernel| (kernel.traddr.as_str(), kernel.host_iface.as_str())).collect();
        shown.sort_unstable();
        shown
    }

    fn members(&self) -> usize {
        self.finder.controllers().len()
    }

    fn told(&self, words: &str) -> usize {
        self.notices.iter().filter(|n| n.level > Level::Debug && n.text.contains(words)).count()
    }
}

fn persistence(seconds: &str) -> String {
    format!("[Discovery controller connection management]\nzeroconf-connections-persistence={seconds}\n")
}

#[test]
fn an_announced_discovery_controller_is_connected_at_once_through_the_interface_it_was_heard_on() {
    let mut world = World::new("");
    assert_eq!(world.asked, [Ask::Start]);
    world.hear(announcement("x", "tcp", &[(1, A)]));
    assert_eq!(world.connected(), [(A, "eth1")]);
    let view = world.finder.controller(&dc(A, "eth1")).unwrap();
    assert_eq!(
        (view.origin.as_str(), view.announced, view.log_page_state.as_str()),
        ("discovered", Some(true), "fresh")
    );
}

#[test]
fn with_ignore_iface_and_for_rdma_the_interface_is_not_part_of_the_identity() {
    let mut world = World::new("[Global]\nignore-iface=true");
    world.hear(announcement("x", "tcp", &[(1, A), (2, A)]));
    assert_eq!(world.connected(), [(A, "")]);
    let mut world = World::new("");
    world.hear(announcement("x", "roce", &[(1, A)]));
    assert_eq!(world.connected(), [(A, "")]);
}

#[test]
fn a_link_local_address_is_connected_in_the_scope_of_its_interface() {
    let mut world = World::new("");
    world.hear(announcement("x", "tcp", &[(1, "fe80::1"), (2, "fe80::1")]));
    assert_eq!(world.connected(), [("fe80::1%eth1", "eth1"), ("fe80::1%eth2", "eth2")]);
    assert_eq!(world.told("misconfigured"), 0);
}

#[test]
fn without_the_name_of_the_interface_nothing_is_connected_before_it_is_known() {
    let mut world = World::new("");
    world.hear(announcement("x", "tcp", &[(3, A)]));
    assert!(world.connected().is_empty());
    let mut more = links();
    more.0.push(Interface { index: 3, name: "eth3".into(), mac: Vec::new(), up: true, addresses: Vec::new() });
    world.interfaces(more);
    assert_eq!(world.connected(), [(A, "eth3")]);
    assert!(world.asked.contains(&Ask::NetworkChanged));
}

#[test]
fn the_same_address_on_two_interfaces_is_told_once_and_tried_on_both() {
    let mut world = World::new("");
    for _ in 0..3 {
        world.hear(announcement("x", "tcp", &[(1, A), (2, A)]));
        world.wait(10.0);
    }
    assert_eq!(world.told("the network is misconfigured: the address 192.0.2.1 is announced on eth1 and eth2"), 1);
    assert_eq!(world.connected(), [(A, "eth1"), (A, "eth2")]);
}

#[test]
fn an_announcement_of_no_use_is_one_line_and_nothing_else() {
    let mut world = World::new("");
    for _ in 0..3 {
        world.hear(announcement("evil\n", "smoke", &[(1, A)]));
    }
    assert_eq!(world.members(), 0);
    assert_eq!(world.told("the announced service evil\\n is ignored: p=smoke"), 1);
}

#[test]
fn an_exclusion_by_interface_counts_for_that_interface_alone_with_and_without_ignore_iface() {
    let exclusion = "[Controllers]\nexclude=host-iface=eth1\n";
    let mut world = World::new(exclusion);
    world.hear(announcement("x", "tcp", &[(1, A), (2, B)]));
    assert_eq!(world.connected(), [(B, "eth2")]);
    let mut world = World::new(&format!("[Global]\nignore-iface=true\n{exclusion}"));
    world.hear(announcement("x", "tcp", &[(1, A), (2, B)]));
    world.hear(announcement("y", "tcp", &[(1, "192.0.2.7"), (2, "192.0.2.7")]));
    assert_eq!(world.connected(), [("192.0.2.7", ""), (B, "")]);
    world.configure("[Global]\nignore-iface=true\n");
    assert_eq!(world.connected(), [(A, ""), ("192.0.2.7", ""), (B, "")]);
    world.configure(&format!("[Global]\nignore-iface=true\n{exclusion}"));
    world.wait(1.0);
    assert_eq!(world.connected(), [("192.0.2.7", ""), (B, "")]);
    assert_eq!(world.finder.removed()[0].reason, RemovalReason::Excluded);
}

#[test]
fn an_address_family_that_is_not_used_is_not_connected() {
    let mut world = World::new("[Global]\nip-family=ipv6");
    world.hear(announcement("x", "tcp", &[(1, A), (1, "2001:db8::1")]));
    assert_eq!(world.connected(), [("2001:db8::1", "eth1")]);
}

#[test]
fn announced_does_not_mean_ready_and_a_fresh_announcement_ends_the_wait() {
    let mut world = World::new("");
    world.dead.insert(A.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    assert!(world.connected().is_empty());
    world.wait(100.0);
    let waiting = world.finder.controller(&dc(A, "eth1")).unwrap().member.next_attempt.unwrap();
    assert!(waiting.since(world.now) > Duration::from_secs(2));
    world.dead.clear();
    world.hear(Heard::Gone("x".into()));
    world.hear(announcement("x", "tcp", &[(1, A)]));
    assert_eq!(world.connected(), [(A, "eth1")]);
}

#[test]
fn one_that_does_not_answer_is_doubted_now_and_then_and_forgotten_with_its_announcement() {
    let mut world = World::new("");
    world.dead.insert(A.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.wait(120.0);
    let doubts = world.asked.iter().filter(|ask| **ask == Ask::Reconfirm("x".into())).count();
    assert!((2..=5).contains(&doubts), "{doubts}");
    world.hear(Heard::Gone("x".into()));
    world.wait(1.0);
    assert_eq!((world.members(), world.removals), (0, 0));
    assert!(world.finder.removed().is_empty());
}

#[test]
fn a_goodbye_disconnects_nothing() {
    for persistence in ["0", "10", "-1"] {
        let mut world = World::with_persistence(persistence);
        world.hear(announcement("x", "tcp", &[(1, A)]));
        world.hear(Heard::Gone("x".into()));
        world.wait(1000.0);
        assert_eq!(world.connected(), [(A, "eth1")], "{persistence}");
        let view = world.finder.controller(&dc(A, "eth1")).unwrap();
        assert_eq!((view.announced, view.given_up_at), (Some(false), None));
        assert_eq!(view.origin.as_str(), "discovered");
    }
}

#[test]
fn what_is_neither_announced_nor_connected_is_given_up_after_the_persistence_and_not_before() {
    let mut world = World::with_persistence("100");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.dies(A);
    world.wait(500.0);
    assert_eq!(world.members(), 1, "it is announced");
    world.hear(Heard::Gone("x".into()));
    let at = world.finder.controller(&dc(A, "eth1")).unwrap().given_up_at.unwrap();
    assert_eq!(at, world.now + Duration::from_secs(100));
    world.wait(99.0);
    assert_eq!(world.members(), 1);
    world.wait(2.0);
    assert_eq!(world.members(), 0);
    assert!(world.kernel.is_empty());
    assert_eq!(world.finder.removed()[0].reason, RemovalReason::AgedOut);
}

#[test]
fn the_clock_starts_anew_when_it_comes_back_between() {
    let mut world = World::with_persistence("100");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.dies(A);
    world.wait(60.0);
    world.kernel[0].state = CtrlState::Live;
    world.looked();
    world.wait(5.0);
    assert!(world.finder.controller(&dc(A, "eth1")).unwrap().given_up_at.is_none());
    world.dies(A);
    world.wait(60.0);
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.wait(60.0);
    assert_eq!(world.members(), 1);
    world.wait(41.0);
    assert_eq!(world.members(), 0);
}

#[test]
fn persistence_0_gives_up_what_is_lost_at_once_and_minus_1_never() {
    for (persistence, left) in [("0", 0), ("-1", 1)] {
        let mut world = World::with_persistence(persistence);
        world.hear(announcement("x", "tcp", &[(1, A)]));
        world.hear(Heard::Gone("x".into()));
        world.dies(A);
        world.wait(if left == 0 { 0.6 } else { 100_000.0 });
        assert_eq!(world.members(), left, "{persistence}");
    }
}

#[test]
fn the_remaining_time_survives_a_restart() {
    let mut world = World::with_persistence("100");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.dies(A);
    world.kernel.clear();
    world.wait(50.0);
    world.restart(&persistence("100"));
    world.wait(40.0);
    assert_eq!(world.members(), 1);
    assert_eq!(world.finder.controller(&dc(A, "eth1")).unwrap().origin.as_str(), "discovered");
    world.wait(15.0);
    assert_eq!(world.members(), 0, "{:?}", world.finder.controller(&dc(A, "eth1")));
    assert_eq!(world.finder.removed()[0].reason, RemovalReason::AgedOut);
}

#[test]
fn a_restart_leaves_a_live_one_alone_even_when_it_was_absent_before_and_nobody_announces_it() {
    let mut world = World::with_persistence("10");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.dies(A);
    world.wait(5.0);
    world.kernel[0].state = CtrlState::Live;
    world.now = world.now + Duration::from_secs(100);
    let before = world.kernel[0].ctrl;
    world.restart(&persistence("10"));
    world.wait(100.0);
    assert_eq!(world.kernel.iter().map(|kernel| kernel.ctrl).collect::<Vec<_>>(), [before]);
}

#[test]
fn zeroconf_disabled_keeps_what_is_connected_until_it_is_lost_and_enabled_browses_again() {
    let off = "[Service Discovery]\nzeroconf=disabled\n";
    let mut world = World::new("");
    world.dead.insert(B.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(announcement("y", "tcp", &[(1, B)]));
    world.configure(off);
    assert_eq!(world.asked.last(), Some(&Ask::Stop));
    world.hear(announcement("z", "tcp", &[(1, "192.0.2.9")]));
    world.wait(100.0);
    assert_eq!((world.connected(), world.members()), (vec![(A, "eth1")], 1));
    world.dies(A);
    world.wait(1.0);
    assert_eq!(world.members(), 0);
    world.configure("");
    assert_eq!(world.asked.last(), Some(&Ask::Start));
    world.dead.clear();
    world.hear(announcement("x", "tcp", &[(1, A)]));
    assert_eq!(world.connected(), [(A, "eth1")]);
}

#[test]
fn with_zeroconf_disabled_from_the_start_nobody_browses() {
    let world = World::new("[Service Discovery]\nzeroconf=disabled\n");
    assert_eq!(world.asked, []);
}

#[test]
fn one_that_is_configured_too_is_one_connection_whose_owner_is_the_configured_one() {
    let mut world = World::new("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.kernel[0].src_addr = Some("192.0.2.101".parse().unwrap());
    world.looked();
    world.wait(10.0);
    assert_eq!(world.connected().len(), 1);
    let alias = world.finder.controller(&dc(A, "eth1")).unwrap();
    assert_eq!(alias.member.alias_of, Some(&dc(A, "")));
    // The other way round: found first, configured later.
    let mut world = World::new("");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.configure("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n");
    assert_eq!(world.connected().len(), 1);
    assert_eq!(world.finder.controller(&dc(A, "eth1")).unwrap().member.alias_of, Some(&dc(A, "")));
}

#[test]
fn a_renamed_interface_is_followed() {
    let mut world = World::new("");
    world.dead.insert(A.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    let mut renamed = links();
    renamed.0[0].name = "storage0".into();
    world.dead.clear();
    world.interfaces(renamed);
    world.wait(1.0);
    assert_eq!(world.connected(), [(A, "storage0")]);
    assert_eq!(world.members(), 1);
}

#[test]
fn who_is_not_heard_again_after_the_browser_started_afresh_is_no_longer_announced() {
    let mut world = World::with_persistence("100");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(announcement("y", "tcp", &[(1, B)]));
    world.wait(20.0);
    world.hear(Heard::Afresh);
    world.hear(announcement("x", "tcp", &[(1, A)]));
    let announced = |world: &World, traddr| world.finder.controller(&dc(traddr, "eth1")).unwrap().announced;
    world.wait(5.0);
    world.hear(Heard::Afresh);
    assert_eq!((announced(&world, A), announced(&world, B)), (Some(true), Some(true)));
    world.wait(6.0);
    assert_eq!((announced(&world, A), announced(&world, B)), (Some(true), Some(false)));
    world.wait(5.0);
    assert_eq!(announced(&world, A), Some(false));
    assert_eq!(world.connected(), [(A, "eth1"), (B, "eth1")]);
}

#[test]
fn a_thousand_fakes_cost_little_and_the_real_one_is_found_before_and_after_them() {
    let mut world = World::new("");
    world.hear(announcement("real 1", "tcp", &[(1, A)]));
    let fakes: Vec<Heard> = (0..1000_u32)
        .map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    for batch in fakes.chunks(64) {
        world.feed(Event::Heard(batch.to_vec()));
    }
    assert!(world.members() <= 257, "{}", world.members());
    world.wait(4.0);
    world.hear(announcement("real 2", "tcp", &[(2, B)]));
    world.wait(1.0);
    assert!(world.connected().contains(&(A, "eth1")));
    assert!(world.connected().contains(&(B, "eth2")));
    world.wait(20.0);
    let asked = |world: &World| world.asked.iter().filter(|ask| **ask == Ask::Start).count();
    assert!(world.tried.len() >= 1002, "each gets its turn: {}", world.tried.len());
    assert_eq!(asked(&world), 1, "nobody has to be asked for again");
    assert!(world.members() <= 258, "{}", world.members());
}

#[test]
fn who_finds_no_place_to_wait_is_asked_for_when_the_others_were_tried() {
    let mut world = World::new("");
    let all: Vec<Heard> = (0..3000_u32)
        .map(|n| announcement(&format!("fake {n:04}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    for round in 0..3 {
        world.asked.clear();
        // In one breath: none was tried before all were heard.
        world.feed(Event::Heard([Heard::Afresh].into_iter().chain(all.iter().cloned()).collect()));
        let mut seconds = 0;
        while !world.asked.contains(&Ask::Start) {
            world.wait(1.0);
            seconds += 1;
            assert!(seconds <= 60, "round {round}: nobody asks, after {} were tried", world.tried.len());
        }
    }
    assert!(world.tried.len() >= 3000, "{}", world.tried.len());
}

#[test]
fn who_made_room_after_it_was_tried_in_vain_is_asked_for_again() {
    let mut world = World::new("");
    world.dead.insert(A.into());
    world.hear(announcement("real", "tcp", &[(1, A)]));
    world.wait(10.0);
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    let all: Vec<Heard> = fakes.chain([announcement("real", "tcp", &[(1, A)])]).collect();
    for batch in all[..300].chunks(64) {
        world.feed(Event::Heard(batch.to_vec()));
        world.wait(1.0);
    }
    assert!(world.finder.controller(&dc(A, "eth1")).is_none(), "it made room");
    world.dead.clear();
    world.asked.clear();
    let mut seconds = 0;
    while !world.asked.contains(&Ask::Start) {
        world.wait(1.0);
        seconds += 1;
        assert!(seconds <= 60, "nobody asks");
    }
    world.feed(Event::Heard([Heard::Afresh].into_iter().chain(all).collect()));
    world.wait(20.0);
    assert_eq!(world.connected(), [(A, "eth1")]);
}

#[test]
fn of_many_that_do_not_answer_each_is_doubted_and_few_at_once() {
    let mut world = World::new("");
    let fakes = (0..100_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.1.{n}"))]));
    world.feed(Event::Heard(fakes.collect()));
    let mut doubts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..29 {
        world.asked.clear();
        world.wait(1.0);
        assert!(world.asked.len() <= 8, "{:?}", world.asked);
        for ask in &world.asked {
            let Ask::Reconfirm(service) = ask else { panic!("{ask:?}") };
            *doubts.entry(service.clone()).or_default() += 1;
        }
    }
    assert_eq!(doubts.len(), 100);
    assert!(doubts.values().all(|times| *times == 1), "{doubts:?}");

    // None is called for once they have gone.
    world.wait(5.0);
    world.feed(Event::Heard((0..100).map(|n| Heard::Gone(format!("fake {n}"))).collect()));
    world.wait(5.0);
}

#[test]
fn strangers_whose_names_come_first_do_not_keep_the_one_that_waits_out() {
    let mut world = World::new("");
    let fakes = |turn: u32| -> Vec<Heard> {
        let fake = |n| {
            announcement(&format!("fake {turn} {n}"), "tcp", &[(1, &format!("10.{turn}.{}.{}", n / 250, n % 250 + 1))])
        };
        (0..600_u32).map(fake).collect()
    };
    world.feed(Event::Heard(fakes(0).into_iter().chain([announcement("real", "tcp", &[(2, B)])]).collect()));
    for turn in 1..=10 {
        world.wait(1.0);
        world.feed(Event::Heard(fakes(turn)));
    }
    assert_eq!(world.connected(), [(B, "eth2")]);
}

#[test]
fn who_takes_its_leave_while_it_waits_is_not_tried() {
    let mut world = World::new("");
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.1.{}", n % 250))]));
    let leaves = [Heard::Gone("last".into()), announcement("useless", "smoke", &[(2, B)])];
    let last = [announcement("last", "tcp", &[(2, A)]), announcement("useless", "tcp", &[(2, B)])];
    world.feed(Event::Heard(fakes.chain(last).chain(leaves).collect()));
    world.wait(30.0);
    assert!(world.tried.len() >= 250, "{}", world.tried.len());
    assert!(!world.tried.contains(A) && !world.tried.contains(B));
}

#[test]
fn who_was_connected_is_heard_again_however_many_fakes_there_are() {
    let mut world = World::with_persistence("30");
    world.hear(announcement("real", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("real".into()));
    world.dies(A);
    world.wait(1.0);
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    // In one breath with it: none of the fakes was tried yet, so none of them makes room by itself.
    world.feed(Event::Heard(fakes.chain([announcement("real", "tcp", &[(1, A)])]).collect()));
    assert_eq!(world.finder.controller(&dc(A, "eth1")).unwrap().announced, Some(true));
    world.wait(120.0);
    assert_eq!(world.removals, 0, "it is announced");
}

#[test]
fn who_is_announced_again_before_it_was_parted_with_was_connected_all_the_same() {
    let mut world = World::with_persistence("0");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.dies(A);
    // Removals wait for a quiet moment.
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(Heard::Gone("x".into()));
    world.wait(10.0);
    assert_eq!((world.members(), world.removals), (0, 1), "stacd is told that it was given up");
}

#[test]
fn who_is_given_up_again_before_it_has_answered_is_told_of_again() {
    let mut world = World::with_persistence("60");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    let excluded = format!("{}[Controllers]\nexclude=transport=tcp;traddr={A}\n", persistence("60"));
    world.configure(&excluded);
    assert_eq!((world.members(), world.removals), (0, 1));
    world.wait(3.0);
    world.dead.insert(A.into());
    world.configure(&persistence("60"));
    assert_eq!((world.members(), world.finder.removed().len()), (1, 0));
    world.hear(Heard::Gone("x".into()));
    world.wait(1.0);
    assert_eq!((world.members(), world.removals, world.finder.removed().len()), (0, 2, 1));
}

#[test]
fn among_a_thousand_that_are_heard_in_the_same_order_again_and_again_each_gets_its_turn() {
    let mut world = World::new("");
    let mut all: Vec<Heard> = (0..1000_u32)
        .map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    all.insert(900, announcement("real", "tcp", &[(2, B)]));
    let mut seconds = 0;
    while world.connected().is_empty() {
        if world.asked.pop() == Some(Ask::Start) {
            world.asked.clear();
            for batch in all.chunks(64) {
                world.feed(Event::Heard(batch.to_vec()));
            }
        }
        world.wait(1.0);
        seconds += 1;
        assert!(seconds < 60, "it is never tried");
    }
}

#[test]
fn who_answers_after_its_announcement_has_ended_is_parted_with_like_any_other() {
    let mut world = World::with_persistence("0");
    world.dead.insert(A.into());
    let configured =
        format!("{}[Controllers]\ncontroller=transport=tcp;traddr={A};host-iface=eth1\n", persistence("0"));
    world.configure(&configured);
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.wait(5.0);
    world.hear(Heard::Gone("x".into()));
    world.wait(5.0);
    world.dead.clear();
    world.wait(20.0);
    assert_eq!(world.connected(), [(A, "eth1")]);
    world.configure(&persistence("0"));
    world.wait(10.0);
    assert_eq!((world.members(), world.removals), (0, 1), "stacd is told that it was given up");
}

#[test]
fn fakes_do_not_fill_the_log() {
    let mut world = World::new("");
    for round in 0..20_u32 {
        for n in 0..200_u32 {
            let service = format!("fake {round} {n}");
            world.hear(announcement(&service, "tcp", &[(1, &format!("10.{round}.0.{}", n + 1))]));
            world.hear(Heard::Gone(service));
        }
    }
    world.wait(5.0);
    for n in 0..1000 {
        let service = format!("unfit {n}");
        world.hear(announcement(&service, "smoke", &[(1, A)]));
        world.hear(Heard::Gone(service));
    }
    let told = world.notices.iter().filter(|notice| notice.level > Level::Debug).count();
    assert!(told <= 140, "{told}: {:#?}", world.notices.iter().rev().take(6).collect::<Vec<_>>());
    assert_eq!(world.members(), 0);
}

#[test]
fn when_its_address_moves_to_another_interface_the_old_way_is_kept_only_if_it_was_ever_connected() {
    let mut world = World::with_persistence("50");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(announcement("x", "tcp", &[(2, A)]));
    assert_eq!(world.connected(), [(A, "eth1"), (A, "eth2")]);
    assert_eq!(world.finder.controller(&dc(A, "eth1")).unwrap().announced, Some(false));
    assert_eq!(world.finder.controller(&dc(A, "eth2")).unwrap().member.status, Status::Connected);
}

#[test]
fn while_nobody_can_look_who_is_connected_no_turn_is_called_for_without_end() {
    let mut world = World::with_persistence("5");
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.dies(A);
    world.hear(Heard::Gone("x".into()));
    world.blind = true;
    world.restart("[Service Discovery]\nzeroconf=disabled\n");
    world.wait(3600.0);
    assert_eq!(world.members(), 1, "nothing is known of it");
    world.blind = false;
    world.looked();
    world.wait(1.0);
    assert_eq!(world.members(), 0);
}

#[test]
fn a_kill_between_the_first_connection_and_its_saving_gives_nothing_up() {
    for conf in ["", "[Service Discovery]\nzeroconf=disabled\n"] {
        let mut world = World::new("");
        world.dead.insert(A.into());
        world.hear(announcement("x", "tcp", &[(1, A)]));
        let before = serde_json::to_string(&world.finder.saved()).unwrap();
        world.dead.clear();
        world.wait(60.0);
        assert_eq!(world.connected(), [(A, "eth1")]);
        world.start(&before, conf);
        world.wait(60.0);
        assert_eq!(world.connected(), [(A, "eth1")], "{conf}");
        assert_eq!((world.removals, world.finder.removed().len()), (0, 0), "{conf}");
    }
}

#[test]
fn one_that_never_answered_is_forgotten_without_a_word_when_nobody_announces_it_after_a_restart() {
    let mut world = World::new("");
    world.dead.insert(A.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.restart("");
    assert_eq!(world.members(), 1, "it may be heard again");
    world.wait(20.0);
    assert_eq!((world.members(), world.removals, world.finder.removed().len()), (0, 0, 0));
}

#[test]
fn a_line_that_cannot_be_read_does_not_make_an_announced_one_a_configured_one() {
    let bad = "[Controllers]\ncontroller=transport=smoke;traddr=192.0.2.9\n";
    let mut world = World::with_persistence("60");
    world.dead.insert(B.into());
    world.hear(announcement("x", "tcp", &[(1, A)]));
    world.hear(announcement("y", "tcp", &[(2, B)]));
    let saved = serde_json::to_string(&world.finder.saved()).unwrap();
    world.dies(A);
    world.finder = Finder::new(serde_json::from_str(&saved).unwrap(), 4);
    world.try_to_configure(&format!("{}{bad}", persistence("60")));
    assert!(world.conf.controller_lost);
    world.interfaces(links());
    world.wait(30.0);
    assert_eq!(world.members(), 1, "the one that was connected");
    world.wait(60.0);
    assert_eq!(world.members(), 0);
}
