//! Discovery controllers that are configured by a host name.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, dc, referral};
use libstas::core::{HostEffect, Level};
use libstas::nvme::Tid;
use stafd::finder::{Effect, RemovalReason};

type Host = FakeHost<Finder>;

/// A host whose `dc.example` leads to 192.0.2.1, which refers to 192.0.2.50.
fn moving() -> Host {
    let mut host = Host::with(&["dc.example"]).page("192.0.2.1", vec![referral("192.0.2.50")]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(60.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.50"]);
    host
}

/// A changed answer of a name server is no proof: the new discovery controller must say what it lists first.
#[test]
fn the_old_address_stays_until_the_new_one_has_a_settled_page() {
    for (what, reads_fail, stays) in [("its page cannot be read", true, true), ("it lists nothing", false, false)] {
        let mut host = moving();
        host.peer.unreadable = reads_fail;
        host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
        host.wait(85.0);
        assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.50", "192.0.2.9"], "{what}: not before it has settled");
        host.wait(600.0);
        let expected: &[&str] = if stays { &["192.0.2.1", "192.0.2.50", "192.0.2.9"] } else { &["192.0.2.9"] };
        assert_eq!(host.addresses(), expected, "{what}");
    }
}

#[test]
fn the_log_says_that_the_name_has_another_address() {
    for reloads in [false, true] {
        let mut host = moving();
        host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
        if reloads {
            host.reload();
        }
        host.wait(200.0);
        let cause = "controller= in stafd.conf, line 2, now uses the address 192.0.2.9 of its host name dc.example";
        assert_eq!(host.logged(cause), 1, "{reloads}");
        assert_eq!(host.logged("controller= removed"), 0, "{reloads}");
        host.configure("[Controllers]\n");
        host.wait(60.0);
        assert_eq!(host.logged("controller= removed from stafd.conf (it was line 2)"), 1, "{reloads}");
    }
}

#[test]
fn if_an_address_cannot_be_connected_the_next_one_is_tried() {
    for (answer, dead, connected) in [
        (vec!["192.0.2.1", "192.0.2.2", "192.0.2.3"], &["192.0.2.1", "192.0.2.2"][..], "192.0.2.3"),
        // A host without IPv4 routes.
        (vec!["192.0.2.1", "2001:db8::1"], &["192.0.2.1"], "2001:db8::1"),
        // A link-local address comes last.
        (vec!["fe80::1", "2001:db8::1"], &[], "2001:db8::1"),
        (vec!["192.0.2.1", "192.0.2.2"], &["192.0.2.2"], "192.0.2.1"),
    ] {
        let mut host = Host::with(&["dc.example"]);
        host.dead = dead.iter().map(|address| (*address).to_owned()).collect();
        host.names.insert("dc.example".into(), answer.clone());
        host.start();
        host.wait(45.0);
        assert_eq!(host.addresses(), [connected], "{answer:?} without {dead:?}");
        host.wait(120.0);
        assert_eq!(host.core.controllers().len(), 1, "the others are no longer tried: {answer:?}");
    }
}

#[test]
fn while_an_address_has_a_connection_no_other_one_is_tried() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.wait(300.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    // The kernel reconnects: this is no reason to leave the address.
    host.lose("192.0.2.1");
    host.wait(60.0);
    host.reconnect("192.0.2.1");
    host.wait(60.0);
    assert_eq!((host.addresses(), host.core.controllers().len()), (vec!["192.0.2.1"], 1));
}

/// The connection may be down at the restart, so that nothing but the saved state says that it is used.
#[test]
fn a_restart_while_the_next_address_is_used_keeps_it() {
    for is_saved_late in [false, true] {
        let mut host = Host::with(&["dc.example"]);
        host.dead.insert("192.0.2.1".into());
        host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
        host.start();
        // Before its page has settled, and after that.
        host.wait(if is_saved_late { 120.0 } else { 20.0 });
        assert_eq!(host.addresses(), ["192.0.2.2"]);
        let before = host.ctrls();
        host.lose("192.0.2.2");
        host.restart();
        host.wait(30.0);
        host.reconnect("192.0.2.2");
        host.wait(120.0);
        assert_eq!(host.ctrls(), before, "{is_saved_late}");
        assert!(host.disconnected().is_empty());
    }
}

/// While none is live, any of them may be used next.
#[test]
fn no_controller_at_an_address_of_a_name_is_removed_until_one_is_live() {
    let mut host = Host::with(&["192.0.2.2"]).started();
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.extend(["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]);
    let before = host.ctrls();
    host.lose("192.0.2.2");
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=dc.example\n");
    host.wait(5.0);
    assert_eq!(host.ctrls(), before, "it is reconnecting");
    host.dead.clear();
    host.reconnect("192.0.2.2");
    host.wait(300.0);
    assert!(host.disconnected().len() <= 1);
    assert_eq!(host.addresses().len(), 1);
}

/// An address of the name may be connected for another line, which is removed.
#[test]
fn an_address_that_is_live_comes_before_all_others() {
    let mut host = Host::with(&["192.0.2.2"]).started();
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.insert("192.0.2.1".into());
    let before = host.ctrls();
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=dc.example\n");
    host.wait(120.0);
    assert_eq!(host.ctrls(), before);
}

#[test]
fn an_address_of_the_family_of_host_traddr_is_used() {
    let mut host =
        Host::configured("[Controllers]\ncontroller=transport=tcp;traddr=dc.example;host-traddr=2001:db8::77\n");
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "2001:db8::1"]);
    host.start();
    host.wait(5.0);
    assert_eq!(host.addresses(), ["2001:db8::1"]);
}

/// A published removal says that the configuration no longer lists the discovery controller.
#[test]
fn a_move_is_published_as_a_change_of_the_configuration() {
    let mut host = moving();
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.wait(200.0);
    let removed = host.core.published().removed.clone();
    assert!(
        removed
            .iter()
            .flatten()
            .any(|removed| removed.dc == dc("192.0.2.1") && removed.reason == RemovalReason::Configuration)
    );
    assert!(host.count(|effect| *effect == Effect::DcRemoved) > 0);
}

/// A host whose `dc.example` leads to 192.0.2.1 and 192.0.2.2; the second one is configured by its address, too.
fn two_lines() -> Host {
    let mut host = Host::with(&["dc.example"]).page("192.0.2.1", vec![referral("192.0.2.50")]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.wait(120.0);
    let line = |traddr| format!("controller=transport=tcp;traddr={traddr}\n");
    host.configure(&format!("[Controllers]\n{}{}", line("dc.example"), line("192.0.2.2")));
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2", "192.0.2.50"]);
    host
}

/// What only the used address has listed must not go because another address is live.
#[test]
fn an_address_that_was_connected_stays_while_it_is_in_the_answer() {
    for (seconds, dies) in [(5.0, false), (600.0, true)] {
        let mut host = two_lines();
        host.lose("192.0.2.1");
        if dies {
            // The kernel gives up, and the target does not answer any more.
            host.dead.insert("192.0.2.1".into());
            host.kernel.retain(|kernel| kernel.traddr != "192.0.2.1");
            host.send_snapshot();
        }
        host.wait(seconds);
        assert!(host.addresses().contains(&"192.0.2.50"), "{seconds} s: its page proves nothing now");
        assert!(host.disconnected().is_empty(), "{seconds}");
        let listed: Vec<String> = host.core.controllers().iter().map(|dc| dc.member.tid.traddr.clone()).collect();
        assert!(listed.contains(&"192.0.2.1".to_owned()), "{seconds}: {listed:?}");
        host.dead.clear();
        if !dies {
            host.reconnect("192.0.2.1");
        }
        host.wait(300.0);
        assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2", "192.0.2.50"], "{seconds}");
        // An address that left the answer is disconnected; if another one is used, only after 10 minutes.
        host.names.insert("dc.example".into(), vec!["192.0.2.2"]);
        host.wait(900.0);
        assert_eq!(host.addresses(), ["192.0.2.2"], "{seconds}");
    }
}

/// One line may be refused at an address at which another one is connected.
#[test]
fn a_line_that_is_refused_moves_no_other_line_of_its_name() {
    let mut host = Host::with(&["dc.example", "dc.example"]);
    host.conf.controllers[1].trsvcid = "4420".into();
    host.dead.insert("4420".into());
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.wait(120.0);
    host.lose("192.0.2.1");
    host.wait(30.0);
    host.reconnect("192.0.2.1");
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    let of_the_first = |tid: &Tid| tid.trsvcid == "8009";
    assert!(
        host.core.controllers().iter().all(|dc| dc.member.tid.traddr == "192.0.2.1" || !of_the_first(dc.member.tid))
    );
}

/// Each line is connected where it can be.
#[test]
fn two_lines_of_one_name_may_use_different_addresses() {
    let mut host = Host::with(&["dc.example", "dc.example"]);
    host.conf.controllers[1].trsvcid = "4420".into();
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.insert("192.0.2.1".into());
    host.start();
    host.wait(60.0);
    host.dead.clear();
    host.wait(300.0);
    assert_eq!(host.addresses(), ["192.0.2.2", "192.0.2.2"]);
    assert_eq!(host.core.controllers().len(), 2);
}

#[test]
fn an_excluded_address_is_left_out() {
    let mut host = Host::configured(
        "[Controllers]\ncontroller=transport=tcp;traddr=dc.example\nexclude=transport=tcp;traddr=192.0.2.1\n",
    );
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.wait(5.0);
    assert_eq!(host.addresses(), ["192.0.2.2"]);
}

#[test]
fn lines_with_source_addresses_of_both_families_each_get_an_address_of_theirs() {
    let mut host = Host::configured(
        "[Controllers]\ncontroller=transport=tcp;traddr=dc.example;host-traddr=192.0.2.77\n\
         controller=transport=tcp;traddr=dc.example;host-traddr=2001:db8::77\n",
    );
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "2001:db8::1"]);
    host.start();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "2001:db8::1"]);
}

/// Neither the state nor the log grows while no address can be connected.
#[test]
fn addresses_that_all_fail_are_tried_without_end_and_without_noise() {
    for count in [2, 12] {
        let all: Vec<&'static str> = (1..=count).map(|n| &*format!("192.0.2.{n}").leak()).collect();
        let mut host = Host::with(&["dc.example"]);
        host.dead = all.iter().map(|address| (*address).to_owned()).collect();
        host.names.insert("dc.example".into(), all.clone());
        host.start();
        host.wait(600.0);
        let (saved, logged) = (host.count(is_save), warnings(&host));
        host.wait(3600.0);
        assert_eq!(host.count(is_save), saved, "{count} addresses");
        assert_eq!(warnings(&host), logged, "{count} addresses");
        host.dead.remove(all[1]);
        host.wait(600.0);
        assert_eq!(host.addresses(), [all[1]]);
    }
}

fn warnings(host: &Host) -> usize {
    host.log_records().filter(|record| record.level > Level::Debug).count()
}

fn is_save(effect: &Effect) -> bool {
    matches!(effect, Effect::Host(HostEffect::Save))
}

/// A line whose number another line has now was removed all the same.
#[test]
fn a_line_that_was_removed_is_not_taken_for_a_name_that_moved() {
    let mut host = Host::with(&["192.0.2.5", "dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(60.0);
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=dc.example\n");
    host.wait(60.0);
    assert_eq!(host.logged("controller= removed from stafd.conf (it was line 2)"), 1);
    assert_eq!(host.logged("now uses the address"), 0);
}

/// Of the two addresses of a name, the second one is used; its discovery controller refers to 192.0.2.50.
fn second_used() -> Host {
    let mut host = Host::with(&["dc.example"]).page("192.0.2.2", vec![referral("192.0.2.50")]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.insert("192.0.2.1".into());
    host.start();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.2", "192.0.2.50"]);
    host
}

/// The kernel gives the connection up while stafd is not running.
#[test]
fn an_address_that_was_connected_before_a_restart_is_not_left_at_its_first_failure() {
    let mut host = second_used();
    host.dead.remove("192.0.2.1");
    host.dead.insert("192.0.2.2".into());
    host.kernel.retain(|kernel| kernel.traddr != "192.0.2.2");
    host.restart();
    host.wait(600.0);
    assert!(host.addresses().contains(&"192.0.2.1"), "the next one is used, too");
    assert!(host.addresses().contains(&"192.0.2.50"), "what only the other one listed is not disproved");
    assert!(host.disconnected().is_empty());
}

/// What a controller refers to that the name may use next stays, too.
#[test]
fn the_referrals_of_an_address_that_may_be_used_next_stay() {
    let mut host = Host::with(&["192.0.2.2"]).page("192.0.2.2", vec![referral("192.0.2.50")]).started();
    host.wait(60.0);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.insert("192.0.2.1".into());
    host.lose("192.0.2.2");
    // The attempt at the first address takes time.
    host.hold(Op::Probe);
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=dc.example\n");
    host.wait(5.0);
    host.release(Op::Probe);
    host.wait(20.0);
    host.reconnect("192.0.2.2");
    host.wait(300.0);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
    assert_eq!(host.addresses(), ["192.0.2.2", "192.0.2.50"]);
}

/// A name server may check whether an address works, and leave it out while it does not.
#[test]
fn an_answer_that_lacks_an_address_for_a_short_time_ends_nothing() {
    let mut host = two_lines();
    host.dead.insert("192.0.2.1".into());
    host.kernel.retain(|kernel| kernel.traddr != "192.0.2.1");
    host.send_snapshot();
    host.wait(600.0);
    host.names.insert("dc.example".into(), vec!["192.0.2.2"]);
    host.wait(300.0);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.dead.clear();
    host.wait(120.0);
    assert!(host.disconnected().is_empty());
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2", "192.0.2.50"]);
}

#[test]
fn the_last_of_many_addresses_is_tried() {
    let all: Vec<&'static str> = (1..=12).map(|n| &*format!("192.0.2.{n}").leak()).collect();
    let mut host = Host::with(&["dc.example"]);
    host.dead = all[..11].iter().map(|address| (*address).to_owned()).collect();
    host.names.insert("dc.example".into(), all.clone());
    host.start();
    host.wait(300.0);
    assert_eq!(host.addresses(), [all[11]]);
}

/// The resolver may need longer than a look-up may take.
#[test]
fn an_answer_after_the_time_limit_is_used() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.hold(Op::Resolve);
    host.start();
    host.wait(30.1);
    assert!(host.addresses().is_empty());
    assert!(host.answer_held(Op::Resolve));
    host.wait(0.1);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}
