//! Tests of stafd with discovery controllers announced by mDNS.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use fake_host::{Core as _, FakeHost, Finder, Op, on_iface, other_owner, referral};
use libstas::core::browse::{BrowseCommand, BrowseEvent, Endpoint};
use libstas::core::fleet::Status;
use libstas::core::{CtrlState, Gained, HostEffect, Interface, Level, Links, Owner};
use libstas::nvme::announcement::offer;
use libstas::nvme::{Purpose, Tid};
use stafd::finder::{Effect, Event, RemovalReason, SavedAnnounced};

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";

/// The controller announced at that address and received on that interface.
fn dc(traddr: &str, iface: &str) -> Tid {
    on_iface(iface, &fake_host::dc(traddr))
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

fn announcement(service: &str, p: &str, at: &[(u32, &str)]) -> BrowseEvent {
    let endpoints =
        at.iter().map(|(interface, address)| Endpoint { interface: *interface, address: address.parse().unwrap() });
    BrowseEvent::Announced {
        service: service.into(),
        offer: offer(8009, [("p", Some(p.as_bytes()))]),
        endpoints: endpoints.collect(),
    }
}

fn hear(host: &mut Host, heard: BrowseEvent) {
    host.feed(Event::BrowseEvent(vec![heard]));
}

/// A stafd with that configuration. No address in 10.0.0.0/8 answers; a dead portal must never reach the kernel.
fn started(conf: &str) -> Host {
    let mut host = Host::configured(conf);
    host.links = Some(links());
    host.dead.insert("10.*".into());
    host.probe_keeps_off = true;
    host.started()
}

fn persistence(seconds: &str) -> String {
    format!("[Discovery controller connection management]\nzeroconf-connections-persistence={seconds}\n")
}

fn members(host: &Host) -> usize {
    host.core.controllers().len()
}

/// The requests to the browser, in order.
fn asked(host: &Host) -> Vec<&BrowseCommand> {
    host.effects
        .iter()
        .filter_map(|effect| if let Effect::Browse(command) = effect { Some(command) } else { None })
        .collect()
}

fn asks_to_start(host: &Host) -> usize {
    host.count(|effect| *effect == Effect::Browse(BrowseCommand::Start))
}

/// How often `dc_removed` was signalled.
fn removals(host: &Host) -> usize {
    host.count(|effect| *effect == Effect::DcRemoved)
}

/// The addresses that were probed.
fn probed(host: &Host) -> BTreeSet<&str> {
    host.host_effects()
        .filter_map(|effect| match effect {
            HostEffect::Probe { portal, .. } => Some(portal.traddr.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn an_announced_discovery_controller_is_connected_at_once_through_the_interface_it_was_heard_on() {
    let mut host = started("");
    assert_eq!(asked(&host), [&BrowseCommand::Start]);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    assert_eq!(host.paths(), [(A, "eth1")]);
    let view = host.core.controller(&dc(A, "eth1")).unwrap();
    assert_eq!(
        (view.origin.as_str(), view.announced, view.log_page_state.as_str()),
        ("discovered", Some(true), "fresh")
    );
}

#[test]
fn with_ignore_iface_and_for_rdma_the_interface_is_not_part_of_the_identity() {
    let mut host = started("[Global]\nignore-iface=true");
    hear(&mut host, announcement("x", "tcp", &[(1, A), (2, A)]));
    assert_eq!(host.paths(), [(A, "")]);
    let mut host = started("");
    hear(&mut host, announcement("x", "roce", &[(1, A)]));
    assert_eq!(host.paths(), [(A, "")]);
}

#[test]
fn a_link_local_address_is_connected_in_the_scope_of_its_interface() {
    let mut host = started("");
    hear(&mut host, announcement("x", "tcp", &[(1, "fe80::1"), (2, "fe80::1")]));
    assert_eq!(host.paths(), [("fe80::1%eth1", "eth1"), ("fe80::1%eth2", "eth2")]);
    assert_eq!(host.logged("misconfigured"), 0);
}

#[test]
fn without_the_name_of_the_interface_nothing_is_connected_before_it_is_known() {
    let mut host = started("");
    hear(&mut host, announcement("x", "tcp", &[(3, A)]));
    assert!(host.paths().is_empty());
    let mut more = links();
    more.0.push(Interface { index: 3, name: "eth3".into(), mac: Vec::new(), up: true, addresses: Vec::new() });
    host.set_links(more);
    assert_eq!(host.paths(), [(A, "eth3")]);
    assert!(asked(&host).contains(&&BrowseCommand::NetworkChanged));
}

#[test]
fn an_address_on_two_interfaces_is_logged_once_and_tried_on_both() {
    let mut host = started("");
    for _ in 0..3 {
        hear(&mut host, announcement("x", "tcp", &[(1, A), (2, A)]));
        host.wait(10.0);
    }
    assert_eq!(host.logged("the network is misconfigured: the address 192.0.2.1 is announced on eth1 and eth2"), 1);
    assert_eq!(host.paths(), [(A, "eth1"), (A, "eth2")]);
}

#[test]
fn an_announcement_of_no_use_is_one_line_and_nothing_else() {
    let mut host = started("");
    for _ in 0..3 {
        hear(&mut host, announcement("evil\n", "smoke", &[(1, A)]));
    }
    assert_eq!(members(&host), 0);
    assert_eq!(host.logged("the announced service evil\\n is ignored: p=smoke"), 1);
}

#[test]
fn an_exclusion_by_interface_counts_for_that_interface_alone_with_and_without_ignore_iface() {
    let exclusion = "[Controllers]\nexclude=host-iface=eth1\n";
    let mut host = started(exclusion);
    hear(&mut host, announcement("x", "tcp", &[(1, A), (2, B)]));
    assert_eq!(host.paths(), [(B, "eth2")]);
    let mut host = started(&format!("[Global]\nignore-iface=true\n{exclusion}"));
    hear(&mut host, announcement("x", "tcp", &[(1, A), (2, B)]));
    hear(&mut host, announcement("y", "tcp", &[(1, "192.0.2.7"), (2, "192.0.2.7")]));
    assert_eq!(host.paths(), [("192.0.2.7", ""), (B, "")]);
    host.configure("[Global]\nignore-iface=true\n");
    assert_eq!(host.paths(), [(A, ""), ("192.0.2.7", ""), (B, "")]);
    host.configure(&format!("[Global]\nignore-iface=true\n{exclusion}"));
    host.wait(1.0);
    assert_eq!(host.paths(), [("192.0.2.7", ""), (B, "")]);
    assert_eq!(host.core.removed()[0].reason, RemovalReason::Excluded);
}

/// Announces A at eth1 and connects it, with eth2 excluded.
fn connected_at_eth1(conf: &str, p: &str) -> Host {
    let mut host = started(&format!("{}{conf}[Controllers]\nexclude=host-iface=eth2\n", persistence("100")));
    hear(&mut host, announcement("x", p, &[(1, A)]));
    assert_eq!(host.paths(), [(A, "")], "{p}");
    host
}

const IGNORE_IFACE: &str = "[Global]\nignore-iface=true\n";
/// Configurations and protocols with which the interface is not part of the TID.
const UNBOUND: [(&str, &str); 2] = [(IGNORE_IFACE, "tcp"), ("", "roce")];

/// An end of an announcement.
type End<'a> = &'a dyn Fn(&mut Host);

#[test]
fn an_announcement_on_an_excluded_interface_removes_no_controller_that_was_connected_elsewhere() {
    let gone = |host: &mut Host| hear(host, BrowseEvent::Gone("x".into()));
    let moved = |host: &mut Host| hear(host, announcement("x", "tcp", &[(2, A)]));
    let gone_and_lost = |host: &mut Host| {
        hear(host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.wait(5.0);
    };
    let restarted = |host: &mut Host| {
        hear(host, BrowseEvent::Gone("x".into()));
        host.restart();
    };
    let restarted_and_lost = |host: &mut Host| {
        hear(host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.restart();
    };
    // The removal of an aged-out controller waits for quiet sources. Its I/O controllers are spared then.
    let aged_out = |host: &mut Host| {
        hear(host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.wait(99.7);
        hear(host, announcement("z", "tcp", &[(1, B)]));
        host.wait(0.4);
        assert_eq!(members(host), 2, "it waits for quiet sources");
    };
    let off_for_a_moment = |host: &mut Host| {
        let conf = format!("{}{IGNORE_IFACE}[Controllers]\nexclude=host-iface=eth2\n", persistence("100"));
        host.configure(&format!("{conf}[Service Discovery]\nzeroconf=disabled\n"));
        host.configure(&conf);
    };
    let ends: [(&str, End<'_>); 7] = [
        ("gone", &gone),
        ("moved", &moved),
        ("gone and lost", &gone_and_lost),
        ("restarted", &restarted),
        ("restarted and lost", &restarted_and_lost),
        ("aged out", &aged_out),
        ("browsing was off", &off_for_a_moment),
    ];
    for (conf, p) in UNBOUND {
        for (name, end) in ends {
            let mut host = connected_at_eth1(conf, p);
            end(&mut host);
            hear(&mut host, announcement("y", p, &[(2, A)]));
            host.wait(20.0);
            assert!(host.paths().contains(&(A, "")), "{name}, {p}");
            let excluded = host.core.removed().iter().any(|removed| removed.reason == RemovalReason::Excluded);
            assert!(!excluded, "{name}, {p}");
        }
    }
}

/// Otherwise it could never be excluded: the first interface may have another name since a reboot.
#[test]
fn an_interface_that_no_longer_exists_protects_no_controller_from_an_exclusion() {
    for (exists, expected) in [(true, 1), (false, 0)] {
        let mut host = connected_at_eth1(IGNORE_IFACE, "tcp");
        hear(&mut host, BrowseEvent::Gone("x".into()));
        hear(&mut host, announcement("y", "tcp", &[(2, A)]));
        let mut now = links();
        now.0.retain(|link| exists || link.name != "eth1");
        host.set_links(now);
        let conf = format!("{}{IGNORE_IFACE}[Controllers]\nexclude=host-iface=eth2\n", persistence("100"));
        for _ in 0..2 {
            host.configure(&conf);
            host.wait(600.0);
        }
        host.configure(&conf);
        host.wait(1.0);
        assert_eq!(members(&host), expected, "eth1 exists: {exists}");
    }
}

/// An interface may vanish for a moment (a VLAN or bond is made again). It counts as gone if it is absent at reloads
/// that are 10 minutes apart.
#[test]
fn an_interface_that_vanishes_excludes_no_controller_until_it_is_gone_at_two_reloads() {
    for (conf, p) in UNBOUND {
        let mut host = connected_at_eth1(conf, p);
        let conf = format!("{}{conf}[Controllers]\nexclude=host-iface=eth2\n", persistence("100"));
        host.configure(&conf);
        hear(&mut host, announcement("y", p, &[(2, A)]));
        let mut now = links();
        now.0.retain(|link| link.name != "eth1");
        host.set_links(now.clone());
        host.wait(20.0);
        assert_eq!(members(&host), 1, "{p}");
        host.restart();
        host.wait(20.0);
        assert_eq!(members(&host), 1, "restarted, {p}");
        host.set_links(links());
        host.configure(&conf);
        host.wait(1.0);
        assert_eq!(members(&host), 1, "it is back, {p}");
        host.set_links(now.clone());
        host.configure(&conf);
        host.wait(700.0);
        assert_eq!(members(&host), 1, "reloaded while it is gone, {p}");
        host.set_links(links());
        host.wait(1.0);
        host.set_links(now);
        for (pause, expected) in [(1.0, 1), (590.0, 1), (20.0, 1), (1.0, 0)] {
            host.configure(&conf);
            host.wait(pause);
            assert_eq!(members(&host), expected, "gone at each reload, {pause}, {p}");
        }
    }
}

#[test]
fn an_exclusion_of_every_interface_on_which_it_was_found_removes_a_controller() {
    let exclude = |ifaces: &[&str]| {
        let lines: String = ifaces.iter().map(|iface| format!("exclude=host-iface={iface}\n")).collect();
        format!("{}{IGNORE_IFACE}[Controllers]\n{lines}", persistence("100"))
    };
    let mut renamed = links();
    renamed.0[0].name = "storage0".into();
    for (name, links, ifaces, expected) in [
        ("where it was found", links(), ["eth1", "eth2"], 0),
        ("not where it was found", links(), ["eth2", "eth3"], 1),
        ("renamed", renamed.clone(), ["storage0", "eth2"], 0),
        ("the earlier name of a renamed one", renamed, ["eth1", "eth2"], 1),
    ] {
        let mut host = connected_at_eth1(IGNORE_IFACE, "tcp");
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.set_links(links);
        host.configure(&exclude(&ifaces));
        host.wait(1.0);
        assert_eq!(members(&host), expected, "{name}");
    }
}

/// Nothing depends on a controller that was never connected.
#[test]
fn a_controller_that_was_never_connected_is_excluded_where_it_is_announced_now() {
    let mut host = started(&format!("{IGNORE_IFACE}[Controllers]\nexclude=host-iface=eth2\n"));
    host.dead.insert(A.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.dead.remove(A);
    hear(&mut host, announcement("x", "tcp", &[(2, A)]));
    host.wait(120.0);
    assert_eq!((host.paths(), members(&host)), (vec![], 0));
}

#[test]
fn an_address_family_that_is_not_used_is_not_connected() {
    let mut host = started("[Global]\nip-family=ipv6");
    hear(&mut host, announcement("x", "tcp", &[(1, A), (1, "2001:db8::1")]));
    assert_eq!(host.paths(), [("2001:db8::1", "eth1")]);
}

#[test]
fn announced_does_not_mean_ready_and_a_fresh_announcement_ends_the_wait() {
    let mut host = started("");
    host.dead.insert(A.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    assert!(host.paths().is_empty());
    host.wait(100.0);
    let waiting = host.core.controller(&dc(A, "eth1")).unwrap().member.next_attempt.unwrap();
    assert!(waiting.since(host.now) > Duration::from_secs(2));
    host.dead.remove(A);
    hear(&mut host, BrowseEvent::Gone("x".into()));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    assert_eq!(host.paths(), [(A, "eth1")]);
}

#[test]
fn an_unresponsive_controller_is_reconfirmed_and_dropped_with_its_announcement() {
    let mut host = started("");
    host.dead.insert(A.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.wait(120.0);
    let doubts = asked(&host).iter().filter(|command| ***command == BrowseCommand::Reconfirm("x".into())).count();
    assert!((2..=5).contains(&doubts), "{doubts}");
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.wait(1.0);
    assert_eq!((members(&host), removals(&host)), (0, 0));
    assert!(host.core.removed().is_empty());
}

#[test]
fn a_goodbye_disconnects_nothing() {
    for seconds in ["0", "10", "-1"] {
        let mut host = started(&persistence(seconds));
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.wait(1000.0);
        assert_eq!(host.paths(), [(A, "eth1")], "{seconds}");
        let view = host.core.controller(&dc(A, "eth1")).unwrap();
        assert_eq!((view.announced, view.given_up_at), (Some(false), None));
        assert_eq!(view.origin.as_str(), "discovered");
    }
}

#[test]
fn what_is_neither_announced_nor_connected_is_given_up_after_the_persistence_and_not_before() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.lose(A);
    host.wait(500.0);
    assert_eq!(members(&host), 1, "it is announced");
    hear(&mut host, BrowseEvent::Gone("x".into()));
    let at = host.core.controller(&dc(A, "eth1")).unwrap().given_up_at.unwrap();
    assert_eq!(at, host.now + Duration::from_secs(100));
    host.wait(99.0);
    assert_eq!(members(&host), 1);
    host.wait(2.0);
    assert_eq!(members(&host), 0);
    assert!(host.kernel.is_empty());
    assert_eq!(host.core.removed()[0].reason, RemovalReason::AgedOut);
}

#[test]
fn the_persistence_restarts_when_the_controller_returns() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.lose(A);
    host.wait(60.0);
    host.kernel[0].state = CtrlState::Live;
    host.send_snapshot();
    host.wait(5.0);
    assert!(host.core.controller(&dc(A, "eth1")).unwrap().given_up_at.is_none());
    host.lose(A);
    host.wait(60.0);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.wait(60.0);
    assert_eq!(members(&host), 1);
    host.wait(41.0);
    assert_eq!(members(&host), 0);
}

/// A genuine controller that is being restarted is absent for longer than false ones that connect once.
#[test]
fn controllers_that_connected_first_are_kept_among_any_number_of_later_ones() {
    const C: &str = "203.0.113.1";
    let mut host = started("");
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.wait(10);
    hear(&mut host, announcement("z", "tcp", &[(1, C)]));
    let gone = |host: &mut Host, service: &str, at: &str| {
        hear(host, BrowseEvent::Gone(service.into()));
        host.lose(at);
        host.wait(1);
    };
    gone(&mut host, "x", A);
    let mut saved = host.core.saved();
    let late = |n: usize| SavedAnnounced {
        dc: dc(&format!("10.1.{}.{}", n / 250, n % 250), "eth1"),
        absent: Some(host.now),
        proven_since: Some(host.now),
        ..saved.announced[0].clone()
    };
    let fakes: Vec<SavedAnnounced> = (0..1022).map(late).collect();
    saved.announced.extend(fakes);
    host.kill_with(serde_json::to_string(&saved).unwrap());
    host.write("");
    host.start();
    host.wait(12);
    let kept = |host: &Host| {
        let saved = host.core.saved().announced;
        (saved.len(), saved.iter().any(|saved| saved.dc.traddr == A))
    };
    assert_eq!(kept(&host), (1024, true));
    for (service, at) in [("f", "203.0.113.7"), ("g", "203.0.113.8")] {
        hear(&mut host, announcement(service, "tcp", &[(2, at)]));
        host.wait(5);
        gone(&mut host, service, at);
    }
    assert_eq!(kept(&host), (1024, true));
    assert!(host.core.controller(&dc(A, "eth1")).is_some());
}

#[test]
fn persistence_0_gives_up_what_is_lost_at_once_and_minus_1_never() {
    for (seconds, left) in [("0", 0), ("-1", 1)] {
        let mut host = started(&persistence(seconds));
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.wait(if left == 0 { 0.6 } else { 100_000.0 });
        assert_eq!(members(&host), left, "{seconds}");
    }
}

#[test]
fn the_remaining_time_survives_a_restart() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.lose(A);
    host.kernel.clear();
    host.wait(50.0);
    host.write(&persistence("100"));
    host.restart();
    host.wait(40.0);
    assert_eq!(members(&host), 1);
    assert_eq!(host.core.controller(&dc(A, "eth1")).unwrap().origin.as_str(), "discovered");
    host.wait(15.0);
    assert_eq!(members(&host), 0, "{:?}", host.core.controller(&dc(A, "eth1")));
    assert_eq!(host.core.removed()[0].reason, RemovalReason::AgedOut);
}

#[test]
fn a_restart_keeps_a_live_controller_that_is_no_longer_announced() {
    let mut host = started(&persistence("10"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.lose(A);
    host.wait(5.0);
    host.kernel[0].state = CtrlState::Live;
    host.now = host.now + Duration::from_secs(100);
    let before = host.kernel[0].ctrl;
    host.write(&persistence("10"));
    host.restart();
    host.wait(100.0);
    assert_eq!(host.ctrls(), [before]);
}

#[test]
fn zeroconf_disabled_keeps_what_is_connected_until_it_is_lost_and_enabled_browses_again() {
    let off = "[Service Discovery]\nzeroconf=disabled\n";
    let mut host = started("");
    host.dead.insert(B.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, announcement("y", "tcp", &[(1, B)]));
    host.configure(off);
    assert_eq!(asked(&host).last(), Some(&&BrowseCommand::Stop));
    hear(&mut host, announcement("z", "tcp", &[(1, "192.0.2.9")]));
    host.wait(100.0);
    assert_eq!((host.paths(), members(&host)), (vec![(A, "eth1")], 1));
    host.lose(A);
    host.wait(1.0);
    assert_eq!(members(&host), 0);
    host.configure("");
    assert_eq!(asked(&host).last(), Some(&&BrowseCommand::Start));
    host.dead.remove(A);
    host.dead.remove(B);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    assert_eq!(host.paths(), [(A, "eth1")]);
}

/// The announcement of the lost one is received again after its removal would have been due.
#[test]
fn zeroconf_that_is_disabled_for_a_moment_removes_nothing() {
    for heard_again in [false, true] {
        let on = persistence("60");
        let mut host = started(&on);
        hear(&mut host, announcement("a", "tcp", &[(1, A)]));
        assert_eq!(host.addresses(), [A]);
        host.lose(A);
        host.configure(&format!("{on}[Service Discovery]\nzeroconf=disabled\n"));
        host.wait(0.4);
        host.configure(&on);
        host.wait(3);
        assert_eq!(host.addresses(), [A], "heard again: {heard_again}");
        if heard_again {
            hear(&mut host, announcement("a", "tcp", &[(1, A)]));
        }
        host.wait(100);
        assert_eq!(host.addresses().len(), usize::from(heard_again), "heard again: {heard_again}");
    }
}

#[test]
fn with_zeroconf_disabled_the_browser_is_not_started() {
    let host = started("[Service Discovery]\nzeroconf=disabled\n");
    assert!(asked(&host).is_empty());
}

#[test]
fn a_controller_that_is_also_configured_has_one_connection_owned_by_the_configured_tid() {
    let mut host = started("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n");
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.kernel[0].src_addr = Some("192.0.2.101".parse().unwrap());
    host.send_snapshot();
    host.wait(10.0);
    assert_eq!(host.paths().len(), 1);
    let alias = host.core.controller(&dc(A, "eth1")).unwrap();
    assert_eq!(alias.member.alias_of, Some(&dc(A, "")));
    // The reverse order: found first, configured later.
    let mut host = started("");
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n");
    assert_eq!(host.paths().len(), 1);
    assert_eq!(host.core.controller(&dc(A, "eth1")).unwrap().member.alias_of, Some(&dc(A, "")));
}

#[test]
fn a_renamed_interface_is_followed() {
    let mut host = started("");
    host.dead.insert(A.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    let mut renamed = links();
    renamed.0[0].name = "storage0".into();
    host.dead.remove(A);
    host.set_links(renamed);
    host.wait(1.0);
    assert_eq!(host.paths(), [(A, "storage0")]);
    assert_eq!(members(&host), 1);
}

#[test]
fn a_service_not_received_after_a_browser_restart_is_no_longer_announced() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, announcement("y", "tcp", &[(1, B)]));
    host.wait(20.0);
    hear(&mut host, BrowseEvent::Restarted);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    let announced = |host: &Host, traddr| host.core.controller(&dc(traddr, "eth1")).unwrap().announced;
    host.wait(5.0);
    hear(&mut host, BrowseEvent::Restarted);
    assert_eq!((announced(&host, A), announced(&host, B)), (Some(true), Some(true)));
    host.wait(6.0);
    assert_eq!((announced(&host, A), announced(&host, B)), (Some(true), Some(false)));
    host.wait(5.0);
    assert_eq!(announced(&host, A), Some(false));
    assert_eq!(host.paths(), [(A, "eth1"), (B, "eth1")]);
}

/// The process that browses (stas-net) ended: the silence says nothing.
#[test]
fn while_the_browser_is_interrupted_nothing_is_taken_for_no_longer_announced() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, announcement("y", "tcp", &[(1, B)]));
    host.wait(20.0);
    let announced = |host: &Host, traddr| host.core.controller(&dc(traddr, "eth1")).unwrap().announced;
    // It ends again and again, soon after each start.
    for _ in 0..20 {
        hear(&mut host, BrowseEvent::Interrupted);
        host.wait(9.0);
        hear(&mut host, BrowseEvent::Restarted);
        host.wait(9.0);
    }
    hear(&mut host, BrowseEvent::Interrupted);
    host.wait(1000.0);
    assert_eq!((announced(&host, A), announced(&host, B)), (Some(true), Some(true)));
    assert_eq!(host.paths(), [(A, "eth1"), (B, "eth1")]);
    // It is back, and hears one of them.
    hear(&mut host, BrowseEvent::Restarted);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.wait(9.0);
    assert_eq!((announced(&host, A), announced(&host, B)), (Some(true), Some(true)));
    host.wait(2.0);
    assert_eq!((announced(&host, A), announced(&host, B)), (Some(true), Some(false)));
}

#[test]
fn an_absent_controller_is_not_given_up_while_the_browser_is_interrupted() {
    let mut host = started(&persistence("100"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.wait(1.0);
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.lose(A);
    host.wait(50.0);
    assert!(host.core.published().is_complete);
    hear(&mut host, BrowseEvent::Interrupted);
    host.wait(1000.0);
    assert_eq!((members(&host), host.core.published().is_complete), (1, false));
    hear(&mut host, BrowseEvent::Restarted);
    host.wait(9.0);
    assert_eq!((members(&host), host.core.published().is_complete), (1, false), "there is time to hear of it");
    host.wait(3.0);
    assert_eq!((members(&host), host.core.published().is_complete), (0, true));
}

#[test]
fn a_thousand_fake_services_do_not_hide_a_real_one() {
    let mut host = started("");
    hear(&mut host, announcement("real 1", "tcp", &[(1, A)]));
    let fakes: Vec<BrowseEvent> = (0..1000_u32)
        .map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    for batch in fakes.chunks(64) {
        host.feed(Event::BrowseEvent(batch.to_vec()));
    }
    assert!(members(&host) <= 257, "{}", members(&host));
    host.wait(4.0);
    hear(&mut host, announcement("real 2", "tcp", &[(2, B)]));
    host.wait(1.0);
    assert!(host.paths().contains(&(A, "eth1")));
    assert!(host.paths().contains(&(B, "eth2")));
    host.wait(20.0);
    assert!(probed(&host).len() >= 1002, "each gets its turn: {}", probed(&host).len());
    assert_eq!(asks_to_start(&host), 1, "nobody has to be asked for again");
    assert!(members(&host) <= 258, "{}", members(&host));
}

#[test]
fn a_service_that_does_not_fit_into_the_queue_is_queried_later() {
    let mut host = started("");
    let all: Vec<BrowseEvent> = (0..3000_u32)
        .map(|n| announcement(&format!("fake {n:04}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    for round in 0..3 {
        let asked_before = asks_to_start(&host);
        // All in one event: no service is tried before all are received.
        host.feed(Event::BrowseEvent([BrowseEvent::Restarted].into_iter().chain(all.iter().cloned()).collect()));
        let mut seconds = 0;
        while asks_to_start(&host) == asked_before {
            host.wait(1.0);
            seconds += 1;
            assert!(seconds <= 60, "round {round}: nobody asks, after {} were tried", probed(&host).len());
        }
    }
    assert!(probed(&host).len() >= 3000, "{}", probed(&host).len());
}

#[test]
fn a_controller_that_was_connected_is_not_evicted_while_it_is_down() {
    for (persistence, was_connected) in [("0", true), ("20", true), ("0", false)] {
        let mut host = started(&self::persistence(persistence));
        if !was_connected {
            host.dead.insert(A.into());
        }
        hear(&mut host, announcement("real", "tcp", &[(1, A)]));
        host.dead.insert(A.into());
        if was_connected {
            host.kernel.clear();
            host.send_snapshot();
        }
        host.wait(10.0);
        let fakes =
            (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
        for batch in fakes.collect::<Vec<_>>().chunks(64) {
            host.feed(Event::BrowseEvent(batch.to_vec()));
            host.wait(1.0);
        }
        let is_there = host.core.controller(&dc(A, "eth1")).is_some();
        assert_eq!(is_there, was_connected, "persistence {persistence}");
    }
}

#[test]
fn an_evicted_service_is_queried_again() {
    let mut host = started("");
    host.dead.insert(A.into());
    hear(&mut host, announcement("real", "tcp", &[(1, A)]));
    host.wait(10.0);
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    let all: Vec<BrowseEvent> = fakes.chain([announcement("real", "tcp", &[(1, A)])]).collect();
    for batch in all[..300].chunks(64) {
        host.feed(Event::BrowseEvent(batch.to_vec()));
        host.wait(1.0);
    }
    assert!(host.core.controller(&dc(A, "eth1")).is_none(), "it made room");
    host.dead.remove(A);
    let asked_before = asks_to_start(&host);
    let mut seconds = 0;
    while asks_to_start(&host) == asked_before {
        host.wait(1.0);
        seconds += 1;
        assert!(seconds <= 60, "nobody asks");
    }
    host.feed(Event::BrowseEvent([BrowseEvent::Restarted].into_iter().chain(all).collect()));
    host.wait(20.0);
    assert_eq!(host.paths(), [(A, "eth1")]);
}

/// Otherwise it would be removed as soon as no page refers to it any more.
#[test]
fn an_evicted_service_is_queried_at_once_when_its_controller_is_connected() {
    let mut host = started("");
    host.dead.insert(A.into());
    let own = |refers: bool| if refers { vec![referral(A), referral("10.0.2.1")] } else { vec![referral("10.0.2.1")] };
    host.page_is(B, own(true));
    hear(&mut host, announcement("other", "tcp", &[(1, B)]));
    hear(&mut host, announcement("real", "tcp", &[(1, A)]));
    host.wait(1.0);
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    for batch in fakes.collect::<Vec<_>>().chunks(64) {
        host.feed(Event::BrowseEvent(batch.to_vec()));
        host.wait(1.0);
    }
    let asked_before = asks_to_start(&host);
    host.dead.remove(A);
    while !host.paths().contains(&(A, "eth1")) {
        host.wait(0.1);
    }
    assert_eq!(asks_to_start(&host), asked_before + 1);
    hear(&mut host, announcement("other", "tcp", &[(1, B)]));
    hear(&mut host, announcement("real", "tcp", &[(1, A)]));
    host.page_is(B, own(false));
    host.wait(120.0);
    assert!(host.paths().contains(&(A, "eth1")), "it is announced");
}

/// It aged out in the earlier run, and was kept because a live controller referred to it. It may have been announced
/// again right before the end of that run.
#[test]
fn an_aged_out_controller_is_not_removed_after_a_restart_before_its_announcement_can_be_received() {
    for returns in [true, false] {
        let mut host = started(&persistence("5"));
        host.page_is(A, vec![referral(B)]);
        host.page_is(B, vec![referral(A)]);
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        host.wait(60.0);
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.wait(60.0);
        assert_eq!(host.paths().len(), 2, "A is down, and B, which refers to it, is live");
        host.restart();
        hear(&mut host, BrowseEvent::Restarted);
        host.wait(1.0);
        host.lose(B);
        host.wait(5.0);
        assert!(host.core.controller(&dc(A, "eth1")).is_some());
        if returns {
            hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        }
        host.wait(20.0);
        assert_eq!(host.core.controller(&dc(A, "eth1")).is_some(), returns);
    }
}

/// A service was evicted because the configuration excluded its controller.
#[test]
fn an_evicted_service_is_queried_again_when_the_configuration_is_reloaded() {
    let mut host = started("");
    host.configure(&format!("[Controllers]\nexclude=transport=tcp;traddr={A}\n"));
    hear(&mut host, announcement("real", "tcp", &[(1, A)]));
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    for batch in fakes.collect::<Vec<_>>().chunks(64) {
        host.feed(Event::BrowseEvent(batch.to_vec()));
        host.wait(1.0);
    }
    let asked_before = asks_to_start(&host);
    host.configure("");
    host.wait(0.1);
    assert_eq!(asks_to_start(&host), asked_before + 1);
}

#[test]
fn all_unresponsive_services_are_reconfirmed_a_few_at_a_time() {
    let mut host = started("");
    let fakes = (0..100_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.1.{n}"))]));
    host.feed(Event::BrowseEvent(fakes.collect()));
    let mut doubts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..29 {
        host.effects.clear();
        host.wait(1.0);
        assert!(asked(&host).len() <= 8, "{:?}", asked(&host));
        for command in asked(&host) {
            let BrowseCommand::Reconfirm(service) = command else { panic!("{command:?}") };
            *doubts.entry(service.clone()).or_default() += 1;
        }
    }
    assert_eq!(doubts.len(), 100);
    assert!(doubts.values().all(|times| *times == 1), "{doubts:?}");

    // A service that is gone is not reconfirmed.
    host.wait(5.0);
    host.feed(Event::BrowseEvent((0..100).map(|n| BrowseEvent::Gone(format!("fake {n}"))).collect()));
    host.wait(5.0);
}

#[test]
fn queued_services_are_admitted_in_fifo_order() {
    let mut host = started("");
    let fakes = |turn: u32| -> Vec<BrowseEvent> {
        let fake = |n| {
            announcement(&format!("fake {turn} {n}"), "tcp", &[(1, &format!("10.{turn}.{}.{}", n / 250, n % 250 + 1))])
        };
        (0..600_u32).map(fake).collect()
    };
    host.feed(Event::BrowseEvent(fakes(0).into_iter().chain([announcement("real", "tcp", &[(2, B)])]).collect()));
    for turn in 1..=10 {
        host.wait(1.0);
        host.feed(Event::BrowseEvent(fakes(turn)));
    }
    assert_eq!(host.paths(), [(B, "eth2")]);
}

#[test]
fn a_queued_service_that_sends_a_goodbye_is_not_tried() {
    let mut host = started("");
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.1.{}", n % 250))]));
    let leaves = [BrowseEvent::Gone("last".into()), announcement("useless", "smoke", &[(2, B)])];
    let last = [announcement("last", "tcp", &[(2, A)]), announcement("useless", "tcp", &[(2, B)])];
    host.feed(Event::BrowseEvent(fakes.chain(last).chain(leaves).collect()));
    host.wait(30.0);
    assert!(probed(&host).len() >= 250, "{}", probed(&host).len());
    assert!(!probed(&host).contains(A) && !probed(&host).contains(B));
}

#[test]
fn a_service_of_a_connected_controller_is_admitted_among_any_number_of_fakes() {
    let mut host = started(&persistence("30"));
    hear(&mut host, announcement("real", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("real".into()));
    host.lose(A);
    host.wait(1.0);
    let fakes = (0..300_u32).map(|n| announcement(&format!("fake {n}"), "tcp", &[(2, &format!("10.0.1.{}", n % 250))]));
    // All in one event: none of the fakes was tried yet, so none can be evicted for having failed.
    host.feed(Event::BrowseEvent(fakes.chain([announcement("real", "tcp", &[(1, A)])]).collect()));
    assert_eq!(host.core.controller(&dc(A, "eth1")).unwrap().announced, Some(true));
    host.wait(120.0);
    assert_eq!(removals(&host), 0, "it is announced");
}

#[test]
fn a_controller_announced_again_before_its_removal_still_counts_as_connected() {
    let mut host = started(&persistence("0"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.lose(A);
    // Removals wait for quiet sources.
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.wait(10.0);
    assert_eq!((members(&host), removals(&host)), (0, 1), "stacd is told that it was given up");
}

/// The signal of the first removal may have been missed.
#[test]
fn a_controller_removed_again_before_it_connected_is_signalled_again() {
    for restarts in [0, 1, 2] {
        let mut host = started(&persistence("60"));
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        let excluded = format!("{}[Controllers]\nexclude=transport=tcp;traddr={A}\n", persistence("60"));
        host.configure(&excluded);
        assert_eq!((members(&host), removals(&host)), (0, 1));
        host.wait(3.0);
        host.dead.insert(A.into());
        host.configure(&persistence("60"));
        assert_eq!((members(&host), host.core.removed().len()), (1, 0));
        for _ in 0..restarts {
            host.restart();
            host.wait(1.0);
            assert_eq!((members(&host), removals(&host)), (1, 1), "it may be announced");
        }
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.wait(20.0);
        assert_eq!((members(&host), removals(&host), host.core.removed().len()), (0, 2, 1), "{restarts} restarts");
    }
}

#[test]
fn a_thousand_services_received_in_the_same_order_are_all_tried() {
    let mut host = started("");
    let mut all: Vec<BrowseEvent> = (0..1000_u32)
        .map(|n| announcement(&format!("fake {n}"), "tcp", &[(1, &format!("10.0.{}.{}", n / 250, n % 250 + 1))]))
        .collect();
    all.insert(900, announcement("real", "tcp", &[(2, B)]));
    let mut seconds = 0;
    while host.paths().is_empty() {
        if asks_to_start(&host) > 0 {
            host.effects.clear();
            for batch in all.chunks(64) {
                host.feed(Event::BrowseEvent(batch.to_vec()));
            }
        }
        host.wait(1.0);
        seconds += 1;
        assert!(seconds < 60, "it is never tried");
    }
}

#[test]
fn a_controller_that_connects_after_its_announcement_ended_is_removed_normally() {
    let mut host = started(&persistence("0"));
    host.dead.insert(A.into());
    let configured =
        format!("{}[Controllers]\ncontroller=transport=tcp;traddr={A};host-iface=eth1\n", persistence("0"));
    host.configure(&configured);
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.wait(4.0);
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.wait(4.0);
    host.dead.remove(A);
    host.wait(20.0);
    assert_eq!(host.paths(), [(A, "eth1")]);
    host.configure(&persistence("0"));
    host.wait(10.0);
    assert_eq!((members(&host), removals(&host)), (0, 1), "stacd is told that it was given up");
}

#[test]
fn fakes_do_not_fill_the_log() {
    let mut host = started("");
    for round in 0..20_u32 {
        for n in 0..200_u32 {
            let service = format!("fake {round} {n}");
            hear(&mut host, announcement(&service, "tcp", &[(1, &format!("10.{round}.0.{}", n + 1))]));
            hear(&mut host, BrowseEvent::Gone(service));
        }
    }
    host.wait(5.0);
    for n in 0..1000 {
        let service = format!("unfit {n}");
        hear(&mut host, announcement(&service, "smoke", &[(1, A)]));
        hear(&mut host, BrowseEvent::Gone(service));
    }
    let records: Vec<_> = host.log_records().filter(|record| record.level > Level::Debug).collect();
    assert!(records.len() <= 140, "{}: {:#?}", records.len(), records.iter().rev().take(6).collect::<Vec<_>>());
    assert_eq!(members(&host), 0);
}

#[test]
fn an_announcement_that_moves_to_another_interface_keeps_the_old_path_only_if_it_was_connected() {
    let mut host = started(&persistence("50"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, announcement("x", "tcp", &[(2, A)]));
    assert_eq!(host.paths(), [(A, "eth1"), (A, "eth2")]);
    assert_eq!(host.core.controller(&dc(A, "eth1")).unwrap().announced, Some(false));
    assert_eq!(host.core.controller(&dc(A, "eth2")).unwrap().member.status, Status::Connected);
}

#[test]
fn without_snapshots_no_timer_fires_endlessly() {
    let mut host = started(&persistence("5"));
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.lose(A);
    hear(&mut host, BrowseEvent::Gone("x".into()));
    host.hold(Op::Snapshot);
    host.write("[Service Discovery]\nzeroconf=disabled\n");
    host.restart();
    host.wait(3600.0);
    assert_eq!(members(&host), 1, "nothing is known of it");
    host.release(Op::Snapshot);
    host.send_snapshot();
    host.wait(1.0);
    assert_eq!(members(&host), 0);
}

#[test]
fn a_kill_before_the_first_connection_is_saved_removes_nothing() {
    for conf in ["", "[Service Discovery]\nzeroconf=disabled\n"] {
        let mut host = started("");
        host.dead.insert(A.into());
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        let before = host.core.save();
        host.dead.remove(A);
        host.wait(60.0);
        assert_eq!(host.paths(), [(A, "eth1")]);
        host.kill_with(before);
        host.write(conf);
        host.start();
        host.wait(60.0);
        assert_eq!(host.paths(), [(A, "eth1")], "{conf}");
        assert_eq!((removals(&host), host.core.removed().len()), (0, 0), "{conf}");
    }
}

#[test]
fn a_never_connected_controller_is_dropped_without_a_signal_after_a_restart() {
    let mut host = started("");
    host.dead.insert(A.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    host.write("");
    host.restart();
    assert_eq!(members(&host), 1, "it may be heard again");
    host.wait(20.0);
    assert_eq!((members(&host), removals(&host), host.core.removed().len()), (0, 0, 0));
}

#[test]
fn an_unreadable_line_does_not_make_an_announced_controller_configured() {
    let bad = "[Controllers]\ncontroller=transport=smoke;traddr=192.0.2.9\n";
    let mut host = started(&persistence("60"));
    host.dead.insert(B.into());
    hear(&mut host, announcement("x", "tcp", &[(1, A)]));
    hear(&mut host, announcement("y", "tcp", &[(2, B)]));
    let saved = host.core.save();
    host.lose(A);
    host.kill_with(saved);
    host.write(&format!("{}{bad}", persistence("60")));
    assert!(host.conf.lost_line.is_some());
    host.start();
    host.wait(30.0);
    assert_eq!(members(&host), 1, "the one that was connected");
    host.wait(60.0);
    assert_eq!(members(&host), 0);
}

#[test]
fn an_announced_controller_neither_claims_nor_ends_foreign_connections() {
    for owner in [Owner::None, other_owner()] {
        let mut host = started(&persistence("10"));
        let hand = host.make(&dc(A, ""), Purpose::Discovery);
        host.ctrl(hand).owner = owner.clone();
        host.ctrl(hand).src_addr = "192.0.2.101".parse().ok();
        host.send_snapshot();
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        assert_eq!(host.ctrls(), [hand], "it is used");
        assert_eq!(members(&host), 1);
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.wait(1.0);
        host.lose(A);
        host.wait(120.0);
        assert_eq!((host.ctrls(), members(&host)), (vec![hand], 0), "it aged out");
        assert_eq!(host.ctrl(hand).owner, owner);
    }
}

/// The exclusion is written and stafd ends before it reads it. At the restart the configured controller may not use
/// the connection that is bound to eth1, and uses another one. The announced controller, for which that connection was
/// made, has aged out: no controller uses it any more.
#[test]
fn an_exclusion_ends_a_connection_of_ours_that_no_controller_uses() {
    let configured = format!("{}[Controllers]\ncontroller=transport=tcp;traddr={A}\n", persistence("0"));
    for ends in [true, false] {
        let mut host = started(&persistence("0"));
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        let bound = host.ctrls()[0];
        host.configure(&configured);
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.lose(A);
        host.wait(0.6);
        assert_eq!((host.ctrls(), members(&host)), (vec![bound], 1), "the configured controller uses it");
        let hand = host.make(&dc(A, ""), Purpose::Discovery);
        let owner = if ends { Owner::Stas(Gained::Connected) } else { other_owner() };
        host.ctrl(bound).owner = owner;
        let _ = host.write(&format!("{configured}exclude=host-iface=eth1\n"));
        host.restart();
        host.wait(60.0);
        let expected = if ends { vec![hand] } else { vec![bound, hand] };
        assert_eq!(host.ctrls(), expected, "ours: {ends}");
    }
}

#[test]
fn an_exclusion_that_is_taken_back_leaves_a_kept_controller_connected() {
    for (persistence_for, excluded_for, connected) in
        [("-1", 0.2, true), ("-1", 60.0, true), ("600", 60.0, true), ("30", 60.0, false)]
    {
        let mut host = started(&persistence(persistence_for));
        hear(&mut host, announcement("x", "tcp", &[(1, A)]));
        host.wait(20.0);
        hear(&mut host, BrowseEvent::Gone("x".into()));
        host.wait(5.0);
        assert_eq!(members(&host), 1);
        host.configure(&format!("{}[Controllers]\nexclude=host-iface=eth1\n", persistence(persistence_for)));
        host.wait(excluded_for);
        host.configure(&persistence(persistence_for));
        host.wait(120.0);
        let case = format!("kept for {persistence_for} s, excluded for {excluded_for} s");
        assert_eq!(host.kernel.len(), usize::from(connected), "{case}");
    }
}
