//! I/O controllers that are configured or excluded by a host name.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, Op};

type Host = FakeHost<Connector>;

/// `old.example` is excluded; stafd's page lists the subsystem `a` at 192.0.2.1.
fn excluding() -> Host {
    let mut host = Host::configured("[Controllers]\nexclude=traddr=old.example\n");
    host.names.insert("old.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host
}

/// Before the network is up, look-ups fail at once.
#[test]
fn what_a_name_may_exclude_waits_for_a_resolver_that_does_not_work_yet() {
    for (works_after, connected) in [(20.0, false), (60.0, true)] {
        let mut host = excluding();
        host.resolver_fails = true;
        host.start();
        host.stafd_with(&["a"], 100);
        host.wait(29.0_f64.min(works_after));
        assert!(host.nqns().is_empty(), "not while the name may mean it");
        assert_eq!(host.logged("are not connected until 30 s after the first look-up"), 1);
        host.wait(works_after - 29.0_f64.min(works_after));
        assert_eq!(!host.nqns().is_empty(), connected, "after {works_after} s without a resolver");
        host.resolver_fails = false;
        host.wait(120.0);
        assert!(host.nqns().is_empty(), "the name means it");
    }
}

#[test]
fn an_address_that_leaves_the_answer_stays_excluded_for_ten_minutes_or_until_a_reload() {
    for reloads in [false, true] {
        let mut host = excluding();
        host.start();
        host.stafd_with(&["a"], 100);
        host.wait(60.0);
        assert!(host.nqns().is_empty());
        // The name server answers with one of the two addresses.
        host.names.insert("old.example".into(), vec!["192.0.2.2"]);
        host.wait(300.0);
        assert!(host.nqns().is_empty(), "one answer ends no exclusion");
        assert_eq!(
            host.logged("host name old.example of exclude= no longer has the address 192.0.2.1: excluded for 10"),
            1
        );
        if reloads {
            host.reload();
            host.wait(5.0);
        } else {
            host.wait(200.0);
            assert!(host.nqns().is_empty());
            host.wait(200.0);
        }
        assert_eq!(host.nqns(), ["a"], "{reloads}");
        assert!(host.disconnected().is_empty());
    }
}

#[test]
fn an_address_that_returns_within_ten_minutes_stays_excluded() {
    let mut host = excluding();
    host.start();
    host.stafd_with(&["a"], 100);
    host.wait(60.0);
    for answer in [vec!["192.0.2.2"], vec!["192.0.2.1"], vec!["192.0.2.2"], vec!["192.0.2.1", "192.0.2.2"]] {
        host.names.insert("old.example".into(), answer);
        host.wait(400.0);
        assert!(host.nqns().is_empty());
    }
}

#[test]
fn a_name_that_only_excludes_fails_with_a_text_of_its_own() {
    let mut host = excluding();
    host.names.clear();
    host.start();
    host.wait(5.0);
    assert_eq!(host.logged("exclude= with it matches nothing; retrying"), 1);
    assert_eq!(host.logged("cannot be connected"), 0);
}

#[test]
fn the_next_address_of_a_name_is_tried_and_the_log_says_when_a_name_has_moved() {
    let mut host =
        Host::configured("[Controllers]\ncontroller=transport=tcp;traddr=array.example;trsvcid=4420;nqn=a\n");
    host.dead.insert("192.0.2.1".into());
    host.names.insert("array.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.stafd_with(&[], 100);
    host.wait(45.0);
    assert_eq!(host.addresses(), ["192.0.2.2"]);
    host.names.insert("array.example".into(), vec!["192.0.2.3"]);
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.3"]);
    let cause = "controller= in stacd.conf, line 2, now uses the address 192.0.2.3 of its host name array.example";
    assert_eq!(host.logged(&format!("disconnecting: {cause}")), 1);
    assert_eq!(host.logged("controller= removed"), 0);
}

#[test]
fn the_next_address_is_tried_while_the_resolver_fails() {
    let mut host =
        Host::configured("[Controllers]\ncontroller=transport=tcp;traddr=array.example;trsvcid=4420;nqn=a\n");
    host.names.insert("array.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.stafd_with(&[], 100);
    host.wait(60.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.resolver_fails = true;
    host.dead.insert("192.0.2.1".into());
    host.kernel.clear();
    host.send_snapshot();
    host.wait(180.0);
    assert_eq!(host.addresses(), ["192.0.2.2"]);
}

/// Each look-up of a resolver that blocks takes long. All together wait no longer than the first one may.
#[test]
fn a_resolver_that_blocks_and_fails_again_and_again_holds_nothing_up_for_longer_than_half_a_minute() {
    let mut host = excluding();
    host.hold(Op::Resolve);
    host.resolver_fails = true;
    host.start();
    host.stafd_with(&["a"], 100);
    host.wait(20.0);
    assert!(host.answer_held(Op::Resolve));
    host.wait(9.0);
    assert!(host.nqns().is_empty());
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn an_address_that_left_the_answer_stays_excluded_over_a_restart() {
    let mut host = excluding();
    host.start();
    host.stafd_with(&["a"], 100);
    host.wait(60.0);
    host.names.insert("old.example".into(), vec!["192.0.2.2"]);
    host.wait(120.0);
    host.restart();
    host.stafd_with(&["a"], 100);
    host.wait(300.0);
    assert!(host.nqns().is_empty());
    host.wait(400.0);
    assert_eq!(host.nqns(), ["a"]);
}

/// A name server may answer with another part of the addresses each time.
#[test]
fn answers_that_take_turns_are_logged_once_in_ten_minutes() {
    let mut host = excluding();
    host.start();
    host.stafd_with(&["a"], 100);
    host.wait(60.0);
    for turn in 0..30 {
        host.names.insert("old.example".into(), vec![["192.0.2.1", "192.0.2.2"][turn % 2]]);
        host.wait(61.0);
    }
    assert!(host.nqns().is_empty());
    assert!(host.logged("no longer has the address") <= 8, "{}", host.logged("no longer has the address"));
}
