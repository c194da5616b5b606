//! Discovery controllers whose log page lists them without EPCSD (explicit persistent connections supported).
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, announced, dc, entry, interface, own_entry};
use libstas::bus::contract::PageState;
use libstas::core::browse::BrowseEvent;
use libstas::core::{CtrlState, Links};
use stafd::finder::Event;

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const POLL: &str = "[Discovery controller connection management]\nepcsd=poll\n";
const CONFIGURED: &str = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n";

fn started(conf: &str, epcsd: bool) -> Host {
    Host::configured(conf).page(A, vec![own_entry(A, epcsd), entry("192.0.2.9", "a")]).started()
}

fn page_state(host: &Host) -> PageState {
    host.core.controller(&dc(A)).unwrap().log_page_state
}

#[test]
fn it_stays_connected_unless_epcsd_is_poll_and_the_bit_is_clear() {
    for (conf, epcsd) in [("", false), ("", true), (POLL, true)] {
        let mut host = started(&format!("{conf}{CONFIGURED}"), epcsd);
        host.wait(3600);
        assert_eq!((host.addresses(), host.gone.len()), (vec![A], 0), "{conf} {epcsd}");
    }
}

#[test]
fn it_is_polled_for_40_s_every_15_minutes_and_its_page_holds_in_between() {
    let mut host = started(&format!("{POLL}{CONFIGURED}"), false);
    for polls in 1..4 {
        host.wait(39);
        assert_eq!(host.addresses(), [A], "{polls}");
        host.wait(2);
        assert_eq!((host.addresses(), host.gone.len()), (vec![], polls));
        assert_eq!(page_state(&host), PageState::Fresh);
        let published = host.core.published().dcs.remove(0);
        assert!(published.connected_since.is_some() && published.entries.len() == 2);
        host.wait(897);
        assert!(host.addresses().is_empty());
        host.wait(2);
    }
    assert_eq!(host.logged("polled every 15 minutes"), 1);
    // It sets the bit: the poll that has just begun is not ended.
    host.peer.pages.insert(A.into(), vec![own_entry(A, true)]);
    host.wait(3600);
    assert_eq!((host.addresses(), host.gone.len()), (vec![A], 3));
}

#[test]
fn a_reload_with_ignore_connects_it_again_and_holds_it() {
    let mut host = started(&format!("{POLL}{CONFIGURED}"), false);
    host.wait(100);
    assert!(host.addresses().is_empty());
    host.configure(CONFIGURED);
    host.wait(3600);
    assert_eq!((host.addresses(), host.gone.len()), (vec![A], 1));
    host.configure(&format!("{POLL}{CONFIGURED}"));
    host.wait(1);
    assert!(host.addresses().is_empty(), "its 40 s are over");
}

#[test]
fn a_connection_that_was_made_by_hand_is_never_ended_by_a_poll() {
    let mut host = Host::configured(&format!("{POLL}{CONFIGURED}")).page(A, vec![own_entry(A, false)]);
    let by_hand = host.add(&dc(A));
    host.start();
    host.wait(3600);
    assert_eq!((host.ctrls(), host.gone.len()), (vec![by_hand], 0));
}

#[test]
fn a_page_that_says_nothing_of_this_port_is_taken_by_all_that_it_says_of_itself() {
    for (own, polled) in [
        (vec![], false),
        (vec![own_entry("192.0.2.7", false)], true),
        (vec![own_entry("192.0.2.7", false), own_entry("192.0.2.8", true)], false),
        (vec![own_entry("192.0.2.7", false), own_entry(A, true)], false),
        (vec![own_entry("192.0.2.7", true), own_entry(A, false)], true),
    ] {
        let mut host = Host::configured(&format!("{POLL}{CONFIGURED}")).page(A, own.clone()).started();
        host.wait(60);
        assert_eq!(host.addresses().is_empty(), polled, "{own:?}");
    }
}

#[test]
fn a_polled_controller_does_not_age_while_its_polls_succeed() {
    let conf = "[Global]\nignore-iface=true\n[Discovery controller connection management]\nepcsd=poll\n\
                zeroconf-connections-persistence=100\n";
    let mut host = Host::configured(conf).page(A, vec![own_entry(A, false)]);
    host.links = Some(Links(vec![interface(1, "eth0", &[])]));
    host.start();
    host.feed(Event::BrowseEvent(vec![announced("x", 1, A)]));
    host.wait(60);
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone("x".into())]));
    host.wait(10_000);
    assert_eq!(host.core.controllers().len(), 1);
    assert!(host.gone.len() > 5, "it is polled");
    host.dead.insert(A.into());
    host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    host.wait(1200);
    assert_eq!(host.core.controllers().len(), 0, "{:?}", host.core.controllers());
}

/// The page changes shortly before the end of a poll, and cannot be read in time.
#[test]
fn a_page_that_changed_and_was_not_read_proves_nothing_between_two_polls() {
    for fails in [false, true] {
        let mut host = started(&format!("{POLL}{CONFIGURED}"), false);
        host.wait(39.0);
        assert_eq!(page_state(&host), PageState::Fresh);
        if fails {
            host.peer.unreadable = true;
        } else {
            host.hold(Op::ReadPage);
        }
        host.page_is(A, vec![own_entry(A, false)]);
        host.wait(5.0);
        assert_eq!((host.addresses(), page_state(&host)), (vec![], PageState::Saved), "fails: {fails}");
        host.peer.unreadable = false;
        host.release(Op::ReadPage);
        host.wait(1000.0);
        assert_eq!(page_state(&host), PageState::Fresh, "fails: {fails}: the next poll reads it");
    }
}
