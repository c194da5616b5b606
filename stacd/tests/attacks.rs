//! Inputs by which storage could be lost, or connected less securely than asked.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{
    Connector, FakeHost, KEY, RENAMED, TARGET, as_host, dc, dc_page, entry, file, interface, io, line, tls, unencrypted,
};
use libstas::bus::contract::Origin;
use libstas::core::{CtrlState, HostEffect, Links};
use libstas::nvme::log_page::{Entry, Subtype, Unclear};
use stacd::connector::{DcPage, Event, PageState, RemovalReason, RemovedDc, StafdView};

type Host = FakeHost<Connector>;

fn view(dcs: Vec<DcPage>) -> StafdView {
    StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
}

fn a() -> Entry {
    entry(TARGET, "a")
}

#[test]
fn a_known_entry_that_comes_back_with_another_subtype_keeps_its_controller() {
    for subtype in [Subtype::REFERRAL, Subtype::DISCOVERY] {
        let mut host = Host::configured("").started();
        host.stafd_with(&["a", "b"], 100);
        host.page_has(vec![entry(TARGET, "a"), Entry { subtype, ..entry(TARGET, "b") }]);
        host.wait(120);
        assert_eq!(host.nqns(), ["a", "b"], "{subtype:?}");
        host.page_is(&["a"]);
        host.wait(120);
        assert_eq!(host.nqns(), ["a"], "{subtype:?}");
    }
}

#[test]
fn the_strictest_of_several_entries_decides_on_encryption() {
    for entries in [vec![tls(a()), unencrypted(a())], vec![unencrypted(a()), tls(a())]] {
        let mut host = Host::configured("").started();
        host.stafd_is(":1.5", view(vec![dc_page(&dc(TARGET), host.now, entries)]));
        host.wait(60);
        assert_eq!(host.nqns(), [""; 0]);
    }
    for (one, other) in [(tls(a()), unencrypted(a())), (unencrypted(a()), tls(a()))] {
        let mut host = Host::configured("").started();
        let pages =
            vec![dc_page(&dc("192.0.2.7"), host.now, vec![one]), dc_page(&dc("192.0.2.8"), host.now, vec![other])];
        host.stafd_is(":1.5", view(pages));
        host.wait(60);
        assert_eq!(host.nqns(), [""; 0]);
    }
}

#[test]
fn an_announced_discovery_controller_neither_lowers_nor_raises_what_a_configured_one_demands() {
    for (announced, configured, connected) in [(unencrypted(a()), tls(a()), 0), (tls(a()), unencrypted(a()), 1)] {
        for (first, second) in [("192.0.2.7", "192.0.2.8"), ("192.0.2.8", "192.0.2.7")] {
            let mut host = Host::configured("").started();
            let announced =
                DcPage { origin: Origin::Discovered, ..dc_page(&dc(first), host.now, vec![announced.clone()]) };
            let pages = vec![announced, dc_page(&dc(second), host.now, vec![configured.clone()])];
            host.stafd_is(":1.5", view(pages));
            host.wait(60);
            assert_eq!(host.nqns().len(), connected, "{first}");
        }
    }
}

#[test]
fn a_configured_controller_without_tls_setting_takes_the_demand_of_its_entry() {
    for (more, connected) in [("", 0), (";tls=false", 1), (";tls=auto", 0)] {
        let mut host = Host::configured("").started();
        host.stafd_is(":1.5", view(vec![dc_page(&dc(TARGET), host.now, vec![tls(a())])]));
        host.configure(&file(&[line("a", more)]));
        host.wait(60);
        assert_eq!(host.nqns().len(), connected, "{more}");
    }
}

#[test]
fn a_line_with_a_secret_that_is_damaged_before_a_restart_makes_no_connection_without_the_secret() {
    let mut host = Host::configured(&file(&[line("a", &format!(";dhchap-secret={KEY}"))])).started();
    host.wait(1);
    assert_eq!(host.nqns(), ["a"]);
    host.write("[Controllers]\ncontroller=oops\n");
    host.restart();
    host.wait(20);
    assert_eq!(host.nqns(), ["a"], "it stays connected");
    host.kernel.clear();
    host.send_snapshot();
    host.wait(120);
    assert_eq!(host.nqns(), [""; 0]);
    host.restart();
    host.wait(120);
    assert_eq!(host.nqns(), [""; 0]);
    host.configure(&file(&[line("a", &format!(";dhchap-secret={KEY}"))]));
    host.wait(20);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn what_was_connected_as_another_host_is_not_connected_again_less_securely() {
    let mut host = Host::configured(&file(&[line("a", &format!(";dhchap-secret={KEY}"))])).started();
    host.wait(1);
    host.identity.nqn = RENAMED.into();
    host.dead.insert(TARGET.into());
    host.restart();
    host.wait(20);
    assert_eq!(host.nqns(), ["a"]);
    host.kernel.clear();
    host.send_snapshot();
    host.dead.clear();
    host.wait(120);
    let without = host.host_effects().filter_map(|effect| match effect {
        HostEffect::Connect { request, .. } => Some(request.parameters.dhchap_secret.is_none()),
        _ => None,
    });
    let without: Vec<bool> = without.collect();
    assert!(!without.contains(&true), "{without:?}");
}

#[test]
fn a_referred_discovery_controller_of_a_stafd_with_another_host_nqn_takes_nothing() {
    let mut host = Host::configured("").started();
    let (one, two) = (dc("192.0.2.7"), dc("192.0.2.8"));
    let since = host.now;
    let pages = vec![dc_page(&one, since, vec![entry(TARGET, "a")]), dc_page(&two, since, vec![entry(TARGET, "b")])];
    host.stafd_is(":1.5", view(pages));
    host.wait(40);
    assert_eq!(host.nqns(), ["a", "b"]);
    let removed = Some(vec![
        RemovedDc { dc: one.clone(), reason: RemovalReason::Configuration },
        RemovedDc { dc: two, reason: RemovalReason::ReferralGone },
    ]);
    let never =
        DcPage { state: PageState::Never, connected_since: None, ..dc_page(&as_host(RENAMED, &one), since, vec![]) };
    host.stafd_is(":1.9", StafdView { dcs: vec![never], removed, is_complete: true, left_out: Vec::new() });
    host.wait(600);
    assert_eq!(host.disconnected(), [""; 0]);
}

/// The proof of a removal is withdrawn while the storage is in use.
#[test]
fn a_removal_whose_proof_is_withdrawn_while_the_storage_is_in_use_needs_a_new_proof() {
    let mut host = Host::configured("").started();
    host.in_use.insert("a".into());
    host.stafd_with(&["a"], 100);
    host.wait(5);
    let page = host.peer.first().clone();
    let removed = Some(vec![RemovedDc { dc: page.dc.clone(), reason: RemovalReason::Excluded }]);
    host.peer.view = Some(StafdView { dcs: Vec::new(), removed, is_complete: true, left_out: Vec::new() });
    host.feed(Event::DcRemoved);
    host.wait(30);
    assert_eq!(host.logged("is kept"), 1);
    let never = DcPage { state: PageState::Never, connected_since: None, entries: Vec::new(), ..page.clone() };
    host.peer.view = Some(view(vec![never]));
    host.feed(Event::DcRemoved);
    host.wait(5);
    host.in_use.clear();
    host.wait(600);
    assert_eq!(host.nqns(), ["a"], "it is not proved any more");
    let since = host.now;
    host.peer.view = Some(view(vec![DcPage { connected_since: Some(since), entries: Vec::new(), ..page }]));
    host.feed(Event::PageChanged(dc(TARGET)));
    host.wait(60);
    assert_eq!(host.nqns(), [""; 0]);
}

/// A connection that was adopted and then released stays; the removal ends the one that is held.
#[test]
fn a_removal_after_a_restart_ends_the_connection_that_was_held_and_no_older_one() {
    let mut host = Host::configured(&file(&[line("a", ";host-iface=eth0")]));
    host.links = Some(Links(vec![interface(2, "eth0", &["192.0.2.50"]), interface(3, "eth1", &["192.0.2.51"])]));
    let by_hand = host.add(&io(TARGET, "a"));
    host.ctrl(by_hand).src_addr = "192.0.2.50".parse().ok();
    host.start();
    host.wait(1);
    assert_eq!(host.kernel.len(), 1);
    host.ctrl(by_hand).src_addr = "192.0.2.51".parse().ok();
    host.send_snapshot();
    host.wait(20);
    assert_eq!(host.kernel.len(), 2, "it no longer serves");
    host.write("");
    host.restart();
    host.wait(20);
    assert_eq!(host.gone.iter().map(|kernel| &*kernel.host_iface).collect::<Vec<_>>(), ["eth0"]);
    assert!(host.kernel.iter().any(|kernel| kernel.ctrl == by_hand));
}

#[test]
fn states_that_cannot_be_read_count_as_live_when_a_page_drops_all() {
    let mut host = Host::configured("").started();
    host.stafd_with(&["a", "b"], 100);
    for kernel in &mut host.kernel {
        kernel.state = CtrlState::Unknown;
    }
    host.send_snapshot();
    host.page_is(&[]);
    host.wait(3);
    assert_eq!(host.nqns(), ["a", "b"], "it is read again first");
    host.page_is(&["a", "b"]);
    host.wait(20);
    assert_eq!(host.disconnected(), [""; 0]);
}

/// The interfaces of a host that has this address.
fn network_with(address: &str) -> Links {
    Links(vec![interface(1, "eth0", &[address])])
}

#[test]
fn only_what_more_than_an_announcement_lists_makes_this_host_connect_to_itself() {
    const OWN_ADDRESS: &str = "192.0.2.77";
    for (address, is_own) in [(OWN_ADDRESS, true), ("127.0.0.5", true), ("::1", true), ("192.0.2.78", false)] {
        for (origin, follows_configured, is_trusted) in [
            (Origin::Configured, false, true),
            (Origin::Referral, true, true),
            (Origin::Discovered, false, false),
            (Origin::Referral, false, false),
            (Origin::Unknown, false, false),
        ] {
            let case = format!("{address}, {origin}");
            let mut host = Host::configured("");
            host.links = Some(network_with(OWN_ADDRESS));
            host.start();
            let page = dc_page(&dc("192.0.2.1"), host.now, vec![entry(address, "a"), entry("192.0.2.1", "b")]);
            let page = DcPage { origin, follows_configured, ..page };
            host.stafd_is(
                ":1.5",
                StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
            );
            host.wait(60);
            assert_eq!(host.nqns().contains(&"a"), is_trusted || !is_own, "{case}: {:?}", host.nqns());
            assert!(host.nqns().contains(&"b"), "{case}");
            let lines = host.logged("an address of this host");
            assert_eq!(lines, usize::from(is_own && !is_trusted), "{case}");
            host.restart();
            host.wait(600);
            assert_eq!(host.nqns().contains(&"a"), is_trusted || !is_own, "{case}, restarted: {:?}", host.nqns());
            assert!(host.disconnected().is_empty(), "{case}");
        }
    }
}

#[test]
fn an_address_that_becomes_one_of_this_host_takes_nothing() {
    for restarts in [false, true] {
        let mut host = Host::configured("");
        host.links = Some(network_with("192.0.2.77"));
        host.start();
        let page = dc_page(&dc("192.0.2.1"), host.now, vec![entry("192.0.2.78", "a")]);
        let page = DcPage { origin: Origin::Discovered, ..page };
        host.stafd_is(
            ":1.5",
            StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
        );
        host.wait(60);
        assert_eq!(host.nqns(), ["a"]);
        host.set_links(network_with("192.0.2.78"));
        if restarts {
            host.restart();
        }
        host.wait(600);
        host.lose("192.0.2.78");
        host.reconnect("192.0.2.78");
        host.wait(600);
        assert_eq!(host.nqns(), ["a"], "restarts: {restarts}");
        assert!(host.disconnected().is_empty(), "restarts: {restarts}");
    }
}

/// The line was removed while stacd was down. The removal waits for the storage in use, and its proof is withdrawn.
#[test]
fn a_restored_controller_whose_removal_is_no_longer_proved_is_not_connected_less_securely() {
    let mut host = Host::configured(&file(&[line("a", &format!(";dhchap-secret={KEY}"))])).started();
    host.stafd_with(&["b"], 100);
    host.in_use.insert("a".into());
    host.wait(5);
    host.write("");
    host.restart();
    host.stafd_with(&["b"], 100);
    host.wait(120);
    assert_eq!((host.nqns(), host.logged("is kept")), (vec!["a", "b"], 1));
    let unclear = Unclear { subnqn: "a".into(), ..Unclear::default() };
    host.peer.first().unclear.push(unclear);
    host.feed(Event::PageChanged(dc(TARGET)));
    host.wait(60);
    assert_eq!(host.logged("its removal is no longer proved"), 1);
    host.kernel.retain(|kernel| kernel.subsysnqn != "a");
    host.send_snapshot();
    host.wait(600);
    let requests = host.host_effects().filter_map(|effect| match effect {
        HostEffect::Connect { request, .. } if request.tid.subsysnqn == "a" => {
            Some(request.parameters.dhchap_secret.is_some())
        }
        _ => None,
    });
    let with_secret: Vec<bool> = requests.collect();
    assert!(!with_secret.contains(&false), "{with_secret:?}");
}
