//! A page that proves nothing any more: stafd removes nothing because of it, and signals it, so that stacd does not
//! either.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, dc, referral};
use libstas::bus::contract::PageState;
use libstas::conf::Exclusion;
use libstas::nvme::log_page::Entry;
use stafd::finder::{Effect, Event};

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const C: &str = "192.0.2.3";
const D: &str = "192.0.2.4";

fn started(pages: &[(&str, &[&str])]) -> Host {
    let mut host = Host::with(&[A]);
    for (by, to) in pages {
        host.peer.pages.insert((*by).into(), referrals(to));
    }
    host.start();
    host.wait(60);
    host
}

fn referrals(to: &[&str]) -> Vec<Entry> {
    to.iter().map(|traddr| referral(traddr)).collect()
}

fn state(host: &Host, traddr: &str) -> PageState {
    host.core.controller(&dc(traddr)).unwrap().log_page_state
}

/// How often a change of that page was signalled.
fn signals(host: &Host, traddr: &str) -> usize {
    host.count(|effect| matches!(effect, Effect::PagesChanged { dc: of, .. } if *of == dc(traddr)))
}

#[test]
fn a_page_that_ceases_to_be_a_proof_is_signalled() {
    type Change = fn(&mut Host);
    let changes: [(&str, Change); 4] = [
        ("the connection is lost", |host| host.lose(A)),
        ("it changes, and cannot be read", |host| {
            host.peer.unreadable = true;
            host.page_is(A, referrals(&[B]));
        }),
        ("it changes, and the read hangs", |host| {
            host.hold(Op::ReadPage);
            host.page_is(A, referrals(&[B]));
        }),
        ("it changes twice, and the second read hangs", |host| {
            host.hold(Op::ReadPage);
            host.page_is(A, referrals(&[B]));
            host.page_is(A, referrals(&[B, C]));
            let first = host.take_held(Op::ReadPage).unwrap();
            let answer = host.carry_out(first).unwrap();
            host.feed(answer);
        }),
    ];
    for (what, change) in changes {
        let mut host = started(&[(A, &[B])]);
        assert_eq!((state(&host, A), signals(&host, A)), (PageState::Fresh, 1));
        change(&mut host);
        host.wait(0.5);
        assert_eq!((state(&host, A), signals(&host, A) > 1), (PageState::Saved, true), "{what}");
        host.peer.unreadable = false;
        host.release(Op::ReadPage);
        host.reconnect(A);
        host.wait(120);
        assert_eq!(state(&host, A), PageState::Fresh, "{what}");
    }
}

#[test]
fn a_page_that_is_read_at_once_is_signalled_only_if_it_has_changed() {
    let mut host = started(&[(A, &[B])]);
    for (to, expected) in [(&[B][..], 1), (&[B, C], 2), (&[B, C], 2)] {
        host.page_is(A, referrals(to));
        host.wait(5);
        assert_eq!((signals(&host, A), state(&host, A)), (expected, PageState::Fresh), "{to:?}");
    }
}

/// The page omitted B, and changes again before B is removed.
#[test]
fn nothing_is_removed_because_of_a_page_that_has_changed_and_is_not_read_yet() {
    for hangs in [true, false] {
        let mut host = started(&[(A, &[B, C])]);
        assert_eq!(host.addresses(), [A, B, C]);
        host.page_is(A, referrals(&[C]));
        host.wait(0.1);
        if hangs {
            host.hold(Op::ReadPage);
        } else {
            host.peer.unreadable = true;
        }
        host.page_is(A, referrals(&[B, C]));
        host.wait(30);
        assert_eq!(host.addresses(), [A, B, C], "hangs: {hangs}");
        assert!(host.core.removed().is_empty());
        host.release(Op::ReadPage);
        host.peer.unreadable = false;
        host.page_is(A, referrals(&[C]));
        host.wait(120);
        assert_eq!(host.addresses(), [A, C], "hangs: {hangs}: it is proved again");
    }
}

/// B refers to C. B is excluded, and used again before C is removed.
#[test]
fn what_a_removed_controller_referred_to_is_kept_when_it_is_used_again() {
    for (answers, refused) in [(false, false), (true, false), (true, true)] {
        let mut host = started(&[(A, &[B, D]), (B, &[C])]);
        assert_eq!(host.addresses().len(), 4);
        // The kernel may refuse to disconnect it.
        host.disconnect_refused = refused;
        host.conf.exclusions.push(Exclusion { traddr: Some(B.into()), ..Exclusion::default() });
        host.reload();
        assert_eq!(host.core.removed().len(), 1);
        assert_eq!(host.addresses().len(), if refused { 4 } else { 3 });
        let before = signals(&host, B);
        host.hold(Op::Connect);
        host.disconnect_refused = false;
        host.peer.unreadable = true;
        host.conf.exclusions.clear();
        host.reload();
        assert!(host.core.removed().is_empty());
        assert!(signals(&host, B) > before, "that it is no longer removed is signalled");
        host.wait(5);
        host.peer.unreadable = false;
        if answers {
            host.peer.pages.insert(B.into(), Vec::new());
            host.release(Op::Connect);
            host.wait(20);
        } else {
            host.wait(300);
        }
        assert!(host.addresses().contains(&C), "answers: {answers}, refused: {refused}");
        host.peer.pages.insert(B.into(), Vec::new());
        host.release(Op::Connect);
        host.wait(300);
        assert!(!host.addresses().contains(&C), "its page no longer refers to C");
    }
}

#[test]
fn a_restart_signals_nothing_that_it_has_not_read() {
    let mut host = started(&[(A, &[B])]);
    host.peer.unreadable = true;
    host.restart();
    host.wait(60);
    assert_eq!((state(&host, A), signals(&host, A)), (PageState::Saved, 1));
    host.feed(Event::Tick);
}

#[test]
fn a_new_discovery_controller_is_signalled_before_its_page_is_read() {
    let mut host = Host::with(&[A]).page(A, Vec::new()).started();
    host.wait(60);
    host.hold(Op::ReadPage);
    let line = |traddr| format!("controller=transport=tcp;traddr={traddr}\n");
    host.configure(&format!("[Controllers]\n{}{}", line(A), line(B)));
    host.wait(1);
    assert_eq!((state(&host, B), signals(&host, B)), (PageState::Never, 1));
    // One to which it refers, too.
    host.release(Op::ReadPage);
    host.wait(60);
    let before = signals(&host, C);
    host.hold(Op::ReadPage);
    host.page_is(A, referrals(&[C]));
    let first = host.take_held(Op::ReadPage).unwrap();
    let answer = host.carry_out(first).unwrap();
    host.feed(answer);
    host.wait(1);
    assert_eq!((state(&host, C), signals(&host, C)), (PageState::Never, before + 1));
}
