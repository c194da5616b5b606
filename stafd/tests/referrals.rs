//! Which discovery controllers are kept when a controller that referred to them is removed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use fake_host::{FakeHost, Finder, announced, controller, dc, interface, referral};
use libstas::conf::Exclusion;
use libstas::core::browse::BrowseEvent;
use libstas::core::{CtrlState, Links};
use proptest::prelude::*;
use stafd::finder::{Event, RemovalReason};

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const C: &str = "192.0.2.3";

/// A stafd with these controllers configured; `pages` are the referrals of each.
fn started(configured: &[&str], pages: &[(&str, &[&str])]) -> Host {
    let mut host = Host::with(configured);
    for (by, to) in pages {
        host.peer.pages.insert((*by).into(), to.iter().map(|traddr| referral(traddr)).collect());
    }
    host.start();
    host.wait(60);
    host
}

fn configure(host: &mut Host, traddrs: &[&str]) {
    host.conf.controllers = traddrs.iter().map(|traddr| controller(traddr, "8009", "")).collect();
}

#[test]
fn two_that_refer_to_each_other_are_removed_with_the_configuration_of_the_one() {
    let mut host = started(&[A], &[(A, &[B]), (B, &[A])]);
    assert_eq!(host.addresses(), [A, B]);
    configure(&mut host, &[]);
    host.reload();
    host.wait(1);
    assert!(host.addresses().is_empty());
    let removed: Vec<_> = host.core.removed().iter().map(|removed| removed.reason).collect();
    assert_eq!(removed, [RemovalReason::ReferralGone; 2]);
    assert_eq!(host.logged("given up"), 2);
}

#[test]
fn a_controller_that_refers_to_itself_is_removed_with_its_configuration() {
    for down in [false, true] {
        let mut host = started(&[A], &[(A, &[A])]);
        configure(&mut host, &[]);
        if down {
            host.restart()
        } else {
            host.reload()
        }
        host.wait(1);
        assert!(host.addresses().is_empty(), "{down}");
    }
}

#[test]
fn two_that_refer_to_each_other_stay_while_a_third_refers_to_one_of_them_or_has_not_proved_that_it_does_not() {
    let mut host = started(&[A, C], &[(A, &[B]), (B, &[A]), (C, &[B])]);
    configure(&mut host, &[C]);
    host.reload();
    host.wait(60);
    assert_eq!(host.addresses(), [A, B, C]);
    // The third page becomes unreadable: its earlier targets are kept, also across a restart.
    host.peer.pages.insert(C.into(), Vec::new());
    host.peer.unreadable = true;
    host.lose(C);
    for _ in 0..2 {
        host.wait(600);
        assert_eq!(host.core.controllers().len(), 3);
        host.restart();
    }
    host.peer.unreadable = false;
    host.dead.clear();
    host.kernel.retain(|kernel| kernel.traddr != C);
    host.wait(120);
    assert_eq!(host.addresses(), [C]);
}

#[test]
fn targets_of_an_aged_out_controller_are_kept_while_they_are_live() {
    let mut host = started(&[], &[(A, &[B]), (B, &[A])]);
    host.configure(
        "[Global]\nignore-iface=true\n[Discovery controller connection management]\n\
         zeroconf-connections-persistence=10\n",
    );
    host.set_links(Links(vec![interface(1, "eth0", &[])]));
    host.feed(Event::BrowseEvent(vec![announced("x", 1, A)]));
    host.wait(60);
    assert_eq!(host.addresses(), [A, B]);
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone("x".into())]));
    host.lose(A);
    host.wait(600);
    assert!(host.core.controller(&dc(B)).is_some(), "it is live");
    host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    host.wait(600);
    assert!(host.core.controllers().is_empty(), "{:?}", host.core.controllers());
}

/// The excluded controller has no connection, and the same reload changes others.
#[test]
fn what_an_excluded_controller_refers_to_is_removed_whether_or_not_that_is_connected() {
    for (connected, changes_others) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut host = started(&[A, C], &[(A, &[B])]);
        if !connected {
            host.dead.insert(A.into());
            host.kernel.retain(|kernel| kernel.traddr != A);
            host.send_snapshot();
            host.wait(60);
        }
        assert_eq!(host.addresses().len(), if connected { 3 } else { 2 });
        host.conf.exclusions.push(Exclusion { traddr: Some(A.into()), ..Exclusion::default() });
        if changes_others {
            host.conf.parameters.queue_size = Some(32);
        }
        host.reload();
        host.wait(10);
        assert_eq!(host.addresses(), [C], "connected: {connected}, others change: {changes_others}");
    }
}

#[test]
fn what_a_new_discovery_controller_refers_to_is_kept_by_a_restart_as_by_a_reload() {
    // B, which does not answer, is no longer configured. C is instead, and refers to B, and B referred to A.
    for restarts in [false, true] {
        let mut host = started(&[B], &[(B, &[A]), (C, &[B])]);
        assert_eq!(host.addresses(), [A, B]);
        host.lose(B);
        configure(&mut host, &[C]);
        if restarts {
            host.restart()
        } else {
            host.reload()
        }
        host.wait(120);
        assert!(host.addresses().contains(&A), "restarts: {restarts}: {:?}", host.addresses());
        // What no new page lists is removed.
        configure(&mut host, &[]);
        if restarts {
            host.restart()
        } else {
            host.reload()
        }
        host.wait(60);
        assert!(host.addresses().is_empty(), "restarts: {restarts}: {:?}", host.addresses());
    }
}

/// Discovery controllers 0 to 6, each with the targets of its referrals.
type Graph = Vec<BTreeSet<usize>>;

fn address(number: usize) -> String {
    format!("192.0.2.{}", number + 1)
}

fn reachable(roots: &BTreeSet<usize>, graph: &Graph) -> BTreeSet<usize> {
    let mut reached = roots.clone();
    loop {
        let next: BTreeSet<usize> = reached.iter().flat_map(|by| &graph[*by]).chain(&reached).copied().collect();
        if next == reached {
            return reached;
        }
        reached = next;
    }
}

fn members(host: &Host) -> BTreeSet<String> {
    host.core.controllers().iter().map(|view| view.member.tid.traddr.clone()).collect()
}

fn numbers() -> impl Strategy<Value = BTreeSet<usize>> {
    proptest::collection::btree_set(0..7_usize, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Controllers whose page is unreadable after the change still list what they listed before.
    #[test]
    fn exactly_what_the_configuration_leads_to_stays(
        graph in proptest::collection::vec(numbers(), 7),
        before in numbers(),
        after in numbers(),
        lost in numbers(),
        restart: bool,
    ) {
        let mut host = Host::with(&[]);
        for (by, to) in graph.iter().enumerate() {
            host.peer.pages.insert(address(by), to.iter().map(|number| referral(&address(*number))).collect());
        }
        let configure = |host: &mut Host, roots: &BTreeSet<usize>| {
            host.conf.controllers = roots.iter().map(|number| controller(&address(*number), "8009", "")).collect();
        };
        configure(&mut host, &before);
        host.start();
        host.wait(60);
        for number in &lost {
            host.lose(&address(*number));
            host.peer.pages.insert(address(*number), Vec::new());
        }
        configure(&mut host, &after);
        if restart { host.restart() } else { host.reload() }
        host.wait(120);
        // A controller that was lost before it was ever a member has listed nothing.
        let known = reachable(&before, &graph);
        let mut published = graph.clone();
        lost.difference(&known).for_each(|number| published[*number].clear());
        let expected: BTreeSet<String> = reachable(&after, &published).into_iter().map(address).collect();
        prop_assert_eq!(members(&host), expected);
    }
}
