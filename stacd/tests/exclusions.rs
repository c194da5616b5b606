//! Removing an exclusion restores the state from before it, for each state of the controller, each cause that delays
//! the disconnect, each kind of exclusion, and also if stacd was killed while it was configured.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, Core, FakeHost, Op};
use libstas::core::HostEffect;
use stacd::connector::{Event, RemovalReason, RemovedDc, StafdView};

type Host = FakeHost<Connector>;

const A: &str = "nqn.2014-08.org.example:a";
const EXCLUSIONS: [&str; 2] = ["[Controllers]\nexclude=nqn=nqn.2014-08.org.example:a\n", "[Global]\nip-family=ipv6\n"];

/// Whether the discovery controller lists the subsystem.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    /// It lists it.
    Listed,
    /// It has just been reconnected, and does not list it yet.
    Unproved,
    /// It no longer lists it, and that proves the removal.
    Gone,
}

/// The cause that delays the disconnect while the exclusion is configured.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HeldUp {
    /// The kernel refuses it.
    Refused,
    /// The check for storage in use does not return, and then the kernel refuses it.
    Checking,
    /// The storage is in use, and then the kernel refuses it.
    InUse,
}

fn say(host: &mut Host, says: Says) {
    match says {
        Says::Listed => {}
        Says::Unproved => {
            let since = host.now;
            host.peer.first().connected_since = Some(since);
            host.page_is(&[]);
        }
        Says::Gone => host.page_is(&[]),
    }
    host.wait(1);
}

/// Adds the exclusion of the subsystem and removes it again. With `says_first` the page of the discovery controller
/// changes before the exclusion, otherwise while it is configured. With `killed` stacd is killed and started again
/// while the exclusion is configured.
fn play(says: Says, held_up: HeldUp, exclusion: &str, says_first: bool, killed: bool) -> Host {
    let mut host = Host::configured("");
    host.start();
    host.stafd_with(&[A], 100);
    host.wait(5);
    assert_eq!(host.nqns(), [A]);
    host.disconnect_refused = true;
    match held_up {
        HeldUp::Refused => {}
        HeldUp::Checking => host.hold(Op::CheckUse),
        HeldUp::InUse => drop(host.in_use.insert(A.into())),
    }
    if says_first {
        say(&mut host, says);
    }
    host.configure(exclusion);
    host.wait(1);
    if !says_first {
        say(&mut host, says);
    }
    if killed {
        host.restart();
        host.feed(Event::StafdOwner(Some(":1.5".into())));
        host.wait(1);
    }
    host.configure("");
    host.release(Op::CheckUse);
    host.wait(1);
    host.in_use.clear();
    host.disconnect_refused = false;
    host.wait(20);
    host
}

#[test]
fn an_exclusion_that_is_taken_back_leaves_no_trace() {
    for says in [Says::Listed, Says::Unproved, Says::Gone] {
        for held_up in [HeldUp::Refused, HeldUp::Checking, HeldUp::InUse] {
            for exclusion in EXCLUSIONS {
                for (says_first, killed) in [(false, false), (true, false), (false, true), (true, true)] {
                    let host = play(says, held_up, exclusion, says_first, killed);
                    let case =
                        format!("{says:?} {held_up:?} {exclusion:?}, says first: {says_first}, killed: {killed}");
                    let listed = host.core.controllers().len();
                    match says {
                        Says::Listed | Says::Unproved => {
                            assert_eq!((host.nqns(), listed), (vec![A], 1), "{case}: connected and listed");
                            assert!(host.gone.is_empty(), "{case}: it was disconnected");
                        }
                        Says::Gone => assert_eq!((host.nqns().len(), listed), (0, 0), "{case}: gone and not listed"),
                    }
                }
            }
        }
    }
}

/// An excluded controller is not connected, so its removal is complete at once. A restart must not treat the claim of
/// the removed discovery controller as listed.
#[test]
fn a_restart_connects_nothing_that_a_removed_discovery_controller_listed_while_it_was_excluded() {
    for exclusion in EXCLUSIONS {
        for reason in [RemovalReason::Excluded, RemovalReason::Configuration, RemovalReason::AgedOut] {
            let mut host = Host::configured("");
            host.start();
            host.stafd_with(&[A], 100);
            host.wait(5);
            host.configure(exclusion);
            host.wait(5);
            assert!(host.nqns().is_empty(), "{exclusion:?}: excluded");
            let dc = host.peer.first().dc.clone();
            let removed = Some(vec![RemovedDc { dc, reason }]);
            host.peer.view = Some(StafdView { dcs: Vec::new(), removed, is_complete: true, left_out: Vec::new() });
            host.feed(Event::DcRemoved);
            host.wait(5);
            host.configure("");
            host.wait(20);
            assert!(host.nqns().is_empty(), "{exclusion:?} {reason:?}: no source lists it any more");
            host.effects.clear();
            host.restart();
            host.wait(20);
            let connects = |effect| matches!(Connector::host_effect(effect), Some(HostEffect::Connect { .. }));
            assert!(!host.effects.iter().any(connects), "{exclusion:?} {reason:?}: the restart connected it");
        }
    }
}

#[test]
fn storage_in_use_is_kept_if_only_a_host_name_excludes_it() {
    let by_name = "exclude=traddr=array.example\n";
    let by_address = "exclude=traddr=192.0.2.1\n";
    let audit =
        "[I/O controller connection management]\ndisconnect-scope=all-connections-matching-disconnect-trtypes\n";
    for (lines, goes) in [
        (by_name.to_owned(), false),
        (by_address.to_owned(), true),
        (format!("{by_name}{by_address}"), true),
        (format!("{by_address}{by_name}"), true),
    ] {
        for (made_by, scope) in [("hand", audit), ("stacd", audit), ("stacd", "")] {
            let mut host = Host::configured(scope);
            host.names.insert("array.example".into(), vec!["192.0.2.1"]);
            host.in_use.insert("a".into());
            let tid = fake_host::io("192.0.2.1", "a");
            if made_by == "hand" {
                host.add(&tid);
            }
            host.start();
            // A page lists another subsystem: without any source nothing is audited.
            match made_by {
                "hand" => host.stafd_with(&["b"], 100),
                _ => host.stafd_with(&["a", "b"], 100),
            }
            host.wait(1);
            host.configure(&format!("{scope}[Controllers]\n{lines}"));
            host.wait(60);
            assert_eq!(host.disconnected().contains(&"a"), goes, "made by {made_by}, {scope}{lines}");
        }
    }
}
