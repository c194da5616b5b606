//! Failures found by the simulated world, each repeated with stafd's core alone.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::IpAddr;
use std::time::Duration;

use fake_host::{FakeHost, Finder, Op, dc, on_iface, referral};
use libstas::core::browse::BrowseEvent;
use libstas::core::{CtrlState, Interface, KernelController, Links};
use libstas::nvme::Tid;
use libstas::nvme::nbft::{Discovery, Hfi, Nbft};
use stafd::finder::{Effect, Event, RemovalReason};

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const SPARED: &str = "192.0.2.2";

/// The interfaces eth1 and eth2, with the indexes 1 and 2.
fn links() -> Links {
    let interface = |index: u8| Interface {
        index: index.into(),
        name: format!("eth{index}"),
        mac: [2, 0, 0, 0, 0, index].into(),
        up: true,
        addresses: vec![[192, 0, 2, 100 + index].into()],
    };
    Links(vec![interface(1), interface(2)])
}

fn host_with(conf: &str) -> Host {
    let mut host = Host::configured(conf);
    host.links = Some(links());
    host.start();
    host
}

/// A configuration with a persistence of this many seconds.
fn persistence(seconds: &str) -> String {
    format!("[Discovery controller connection management]\nzeroconf-connections-persistence={seconds}\n")
}

/// The discovery controller at that address, bound to eth1.
fn by_eth1(traddr: &str) -> Tid {
    on_iface("eth1", &dc(traddr))
}

/// The announcement of a service at that address on eth1.
fn announced(service: &str, traddr: &str) -> BrowseEvent {
    fake_host::announced(service, 1, traddr)
}

fn hear(host: &mut Host, heard: impl IntoIterator<Item = BrowseEvent>) {
    host.feed(Event::BrowseEvent(heard.into_iter().collect()));
}

fn set_state(host: &mut Host, state: CtrlState) {
    host.kernel.iter_mut().for_each(|kernel| kernel.state = state);
    host.send_snapshot();
}

/// The number of `dc_removed` signals.
fn removals(host: &Host) -> usize {
    host.count(|effect| matches!(effect, Effect::DcRemoved))
}

/// The announcements of this many services that do not answer.
fn strangers(count: u32) -> impl Iterator<Item = BrowseEvent> {
    (0..count).map(|n| announced(&format!("stranger {n}"), &format!("10.0.{}.{}", n / 250, n % 250 + 1)))
}

#[test]
fn a_connection_that_was_adopted_was_connected_whatever_happens_to_it_next() {
    // The state in which it is adopted, and its state in the next snapshot.
    for (adopted, then) in [
        (CtrlState::Live, Some(CtrlState::Connecting)),
        (CtrlState::Live, Some(CtrlState::Resetting)),
        (CtrlState::Live, None),
        (CtrlState::Connecting, Some(CtrlState::Connecting)),
    ] {
        for op in [Op::ReadPage, Op::ReadSupported] {
            let mut host = host_with("");
            let ctrl = host.add(&by_eth1(A));
            set_state(&mut host, adopted);
            host.hold(op);
            hear(&mut host, [announced("x", A)]);
            assert!(host.core.controller(&by_eth1(A)).unwrap().member.kernel.is_some());
            host.dead.insert(A.into());
            host.kernel.retain(|_| then.is_some());
            set_state(&mut host, then.unwrap_or(CtrlState::Live));
            hear(&mut host, [BrowseEvent::Gone("x".into())]);
            host.wait(60);
            assert!(host.gone.is_empty(), "{adopted:?} {then:?} {op:?}: {ctrl} was disconnected");
            assert!(host.core.controller(&by_eth1(A)).is_some(), "{adopted:?} {then:?} {op:?}: not kept");
        }
    }
}

#[test]
fn a_connection_from_before_a_restart_was_connected_though_the_kernel_has_lost_it() {
    let mut host = host_with("");
    host.dead.insert(A.into());
    hear(&mut host, [announced("x", A)]);
    let saved = host.core.saved();
    assert!(saved.announced.iter().all(|announced| !announced.proven));
    // It is connected after the last save.
    host.kill();
    host.add(&by_eth1(A));
    set_state(&mut host, CtrlState::Connecting);
    host.start();
    host.wait(100);
    assert!(host.gone.is_empty());
    set_state(&mut host, CtrlState::Live);
    assert!(host.core.controller(&by_eth1(A)).unwrap().member.kernel.is_some_and(KernelController::is_live));
}

/// A boot table whose discovery record leads to [`A`] through the interface with that index.
fn boot_table(iface: u8) -> Nbft {
    let [interface, target] = [[192, 0, 2, 100 + iface], [192, 0, 2, 1]].map(IpAddr::from);
    Nbft {
        hfi: vec![Hfi::new(1, [2, 0, 0, 0, 0, iface], interface)],
        discovery: vec![Discovery { hfi: Some(1), ..Discovery::new(1, target) }],
        ..Nbft::default()
    }
}

#[test]
fn a_boot_controller_that_was_excluded_until_a_restart_is_kept_before_the_interfaces_are_known() {
    let no_mdns = "[Service Discovery]\nzeroconf=disabled\n";
    let mut host = Host::configured(no_mdns);
    (host.tables, host.links) = (Some(boot_table(1).into()), Some(links()));
    host.start();
    assert_eq!(host.paths(), [(A, "eth1")]);
    host.hold(Op::Disconnect);
    host.configure(&format!("{no_mdns}[Controllers]\nexclude=transport=tcp;traddr={A}\n"));
    assert_eq!(host.core.removed().len(), 1);
    // stafd is killed before the disconnect, and the exclusion is removed meanwhile.
    host.kill();
    host.configure(no_mdns);
    host.wait(10);
    assert_eq!((host.core.removed().len(), host.held.len()), (0, 0), "it is wanted");
    host.set_links(links());
    host.wait(60);
    assert_eq!((host.core.removed().len(), host.held.len()), (0, 0), "it is wanted");
}

#[test]
fn a_controller_that_no_boot_record_means_is_given_up_when_the_interfaces_are_known() {
    let no_mdns = "[Service Discovery]\nzeroconf=disabled\n";
    let mut host =
        Host::configured(&format!("{no_mdns}[Controllers]\ncontroller=transport=tcp;traddr={A};host-iface=eth1\n"));
    (host.tables, host.links) = (Some(boot_table(2).into()), Some(links()));
    host.start();
    assert_eq!(host.paths(), [(A, "eth1"), (A, "eth2")]);
    host.kill();
    host.configure(no_mdns);
    host.wait(10);
    assert_eq!(host.paths(), [(A, "eth1"), (A, "eth2")], "either may be the interface of the record");
    host.set_links(links());
    host.wait(60);
    assert_eq!(host.paths(), [(A, "eth2")]);
}

#[test]
fn a_suspend_does_not_restart_the_persistence() {
    // After its restart, stafd has not received the announcement yet when the host is suspended.
    let mut host = host_with(&persistence("60"));
    hear(&mut host, [announced("x", A)]);
    host.kernel.clear();
    host.dead.insert(A.into());
    host.restart();
    host.wait(4);
    host.now = host.now + Duration::from_secs(5700);
    host.wait(9);
    assert!(host.core.controller(&by_eth1(A)).is_some(), "it has its time to be heard");
    host.wait(11);
    assert!(host.core.controller(&by_eth1(A)).is_none(), "it was absent for more than 60 s");
}

#[test]
fn a_controller_that_loses_its_connection_during_a_suspend_is_kept_for_the_whole_persistence() {
    // Without a goodbye: it is unknown since when it was absent during the suspend.
    for restarted in [false, true] {
        let mut host = host_with(&persistence("60"));
        hear(&mut host, [announced("x", A)]);
        hear(&mut host, [BrowseEvent::Gone("x".into())]);
        if restarted {
            host.restart();
        }
        host.wait(30);
        assert_eq!(host.addresses(), [A], "restarted: {restarted}");
        host.now = host.now + Duration::from_secs(5700);
        host.dead.insert(A.into());
        set_state(&mut host, CtrlState::Connecting);
        host.wait(55);
        assert!(host.gone.is_empty(), "restarted: {restarted}: disconnected before 60 s have passed");
        host.wait(20);
        assert_eq!(removals(&host), 1, "restarted: {restarted}");
    }
}

#[test]
fn what_is_heard_soon_after_a_suspend_is_kept() {
    // Whatever the time of absence before: at the suspend, or before a restart.
    for restarted in [false, true] {
        let mut host = host_with(&persistence("60"));
        hear(&mut host, [announced("x", A)]);
        host.lose(A);
        hear(&mut host, [BrowseEvent::Gone("x".into())]);
        if restarted {
            host.restart();
        }
        host.wait(30);
        host.now = host.now + Duration::from_secs(5700);
        host.wait(5);
        hear(&mut host, [announced("x", A)]);
        host.wait(100);
        assert!(host.core.controller(&by_eth1(A)).is_some(), "restarted: {restarted}");
        assert_eq!(removals(&host), 0, "restarted: {restarted}");
        // The next suspend ends without it.
        hear(&mut host, [BrowseEvent::Gone("x".into())]);
        host.now = host.now + Duration::from_secs(5700);
        host.wait(20);
        assert!(host.core.controller(&by_eth1(A)).is_none(), "restarted: {restarted}");
    }
}

#[test]
fn a_controller_that_ages_out_takes_no_live_one_that_it_refers_to() {
    let mut host = host_with(&persistence("0"));
    host.peer.pages.insert(A.into(), vec![referral("192.0.2.2")]);
    hear(&mut host, [announced("x", A)]);
    host.wait(60);
    assert_eq!(host.addresses(), [A, "192.0.2.2"]);
    hear(&mut host, [BrowseEvent::Gone("x".into())]);
    host.lose(A);
    host.wait(600);
    assert_eq!(host.addresses(), ["192.0.2.2"]);
}

#[test]
fn a_controller_that_ages_out_takes_no_live_one_at_the_end_of_a_chain_of_referrals() {
    let mut host = host_with(&persistence("0"));
    host.peer.pages.insert(A.into(), vec![referral("192.0.2.2")]);
    host.peer.pages.insert("192.0.2.2".into(), vec![referral("192.0.2.3")]);
    hear(&mut host, [announced("x", A)]);
    host.wait(60);
    assert_eq!(host.addresses(), [A, "192.0.2.2", "192.0.2.3"]);
    hear(&mut host, [BrowseEvent::Gone("x".into())]);
    host.lose("192.0.2.2");
    host.lose(A);
    host.wait(600);
    assert_eq!(host.addresses(), ["192.0.2.3"]);
}

/// An announced controller ages out, and the target of its referral is kept because it is live.
fn host_with_a_spared_controller(refers_back: bool) -> Host {
    let mut host = host_with(&persistence("0"));
    host.peer.pages.insert(A.into(), vec![referral(SPARED)]);
    if refers_back {
        host.peer.pages.insert(SPARED.into(), vec![referral(A)]);
    }
    hear(&mut host, [announced("x", A)]);
    host.wait(60);
    assert_eq!(host.addresses(), [A, SPARED]);
    hear(&mut host, [BrowseEvent::Gone("x".into())]);
    host.lose(A);
    host.wait(600);
    assert!(host.addresses().contains(&SPARED));
    host
}

#[test]
fn a_controller_that_is_connected_again_by_what_it_refers_to_takes_no_live_one_with_it() {
    // With and without a restart before the controller answers again.
    for restarts in [false, true] {
        let mut host = host_with_a_spared_controller(true);
        if restarts {
            host.restart();
        }
        host.dead.remove(A);
        host.wait(600);
        assert!(host.addresses().contains(&A), "restarts: {restarts}");
        host.wait(600);
        assert!(host.addresses().contains(&SPARED), "restarts: {restarts}: {:?}", host.gone);
    }
}

#[test]
fn a_controller_that_ageing_has_spared_is_kept_over_restarts_while_it_is_live() {
    for refers_back in [false, true] {
        let mut host = host_with_a_spared_controller(refers_back);
        for _ in 0..2 {
            host.restart();
            host.wait(600);
            assert!(host.addresses().contains(&SPARED), "refers back: {refers_back}: {:?}", host.gone);
            assert!(host.core.controller(&by_eth1(SPARED)).is_some(), "refers back: {refers_back}: not listed");
        }
        host.lose(SPARED);
        host.wait(600);
        assert!(!host.addresses().contains(&SPARED), "refers back: {refers_back}: it is not live, and stays");
        assert!(
            host.core.removed().iter().all(|removed| removed.reason == RemovalReason::AgedOut),
            "refers back: {refers_back}"
        );
    }
}

#[test]
fn a_boot_record_that_may_mean_it_until_the_interfaces_are_known_does_not_end_ageing() {
    // The record is that of another interface: it means the aged-out controller only while no interface is known.
    for restarts in 0..3 {
        let mut host = host_with(&persistence("0"));
        host.tables = Some(boot_table(2).into());
        host.peer.pages.insert(SPARED.into(), vec![referral(A)]);
        host.peer.pages.insert(A.into(), vec![referral(SPARED)]);
        host.reload();
        hear(&mut host, [announced("x", A)]);
        host.wait(60);
        assert!(host.paths().contains(&(SPARED, "eth1")));
        hear(&mut host, [BrowseEvent::Gone("x".into())]);
        host.lose(A);
        host.wait(600);
        for _ in 0..restarts {
            host.kill();
            host.configure(&persistence("0"));
            host.wait(10);
            host.set_links(links());
            host.wait(60);
        }
        host.dead.remove(A);
        host.wait(600);
        assert!(host.paths().contains(&(A, "eth1")), "restarts: {restarts}: {:?}", host.paths());
        assert!(host.paths().contains(&(SPARED, "eth1")), "restarts: {restarts}: {:?}", host.gone);
    }
}

#[test]
fn what_an_announced_controller_referred_to_goes_when_that_is_announced_in_vain_and_gone_again() {
    for restarts in [false, true] {
        let mut host = host_with_a_spared_controller(false);
        hear(&mut host, [announced("x", A)]);
        host.wait(10);
        if restarts {
            host.restart();
            hear(&mut host, [announced("x", A)]);
            host.wait(10);
        }
        hear(&mut host, [BrowseEvent::Gone("x".into())]);
        host.wait(600);
        assert!(host.addresses().contains(&SPARED), "restarts: {restarts}: it is live");
        host.lose(SPARED);
        host.wait(600);
        assert!(!host.addresses().contains(&SPARED), "restarts: {restarts}: it is kept for ever");
    }
}

#[test]
fn a_controller_that_has_aged_out_and_is_not_disconnected_yet_is_not_given_up_for_another_reason_after_a_restart() {
    let mut host = host_with(&persistence("0"));
    hear(&mut host, [announced("x", A)]);
    host.wait(60);
    hear(&mut host, [BrowseEvent::Gone("x".into())]);
    host.hold(Op::Disconnect);
    host.lose(A);
    assert_eq!(host.held.len(), 1, "it is being disconnected");
    for _ in 0..2 {
        host.restart();
        host.wait(60);
        let reasons: Vec<_> = host.core.removed().iter().map(|removed| removed.reason).collect();
        assert_eq!(reasons, [RemovalReason::AgedOut]);
    }
}

#[test]
fn a_flood_does_not_evict_a_controller_that_is_being_connected() {
    // The flood arrives while its second attempt waits for the connect path; with `known`, a service at an address that
    // this host uses arrives, which is always admitted.
    for known in [false, true] {
        let mut host = host_with("");
        host.dead.insert(A.into());
        host.dead.insert("10.*".into());
        if known {
            hear(&mut host, [announced("known", "192.0.2.9")]);
            hear(&mut host, [BrowseEvent::Gone("known".into())]);
        }
        hear(&mut host, [announced("real", A)]);
        host.dead.remove(A);
        host.hold(Op::Connect);
        host.wait(5);
        assert_eq!(host.held.len(), 1, "it is being connected");
        hear(&mut host, strangers(255 + u32::from(!known)));
        if known {
            hear(&mut host, [announced("known", "192.0.2.9")]);
        }
        hear(&mut host, strangers(600));
        host.release(Op::Connect);
        host.wait(30);
        assert!(host.addresses().contains(&A), "known: {known}");
        assert!(host.gone.is_empty(), "known: {known}: {:?}", host.gone);
    }
}
