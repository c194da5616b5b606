//! A removal that waits is stopped when its proof is withdrawn, whatever it waits for, and goes on when it is proved
//! again.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, Op, TARGET, io};
use libstas::conf::{DisconnectScope, InUse};
use libstas::core::HostEffect;
use libstas::core::fleet::Status;
use stacd::connector::{Effect, Event, RemovalReason, RemovedDc, StafdView};

type Host = FakeHost<Connector>;

/// What a removal waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WaitsFor {
    /// The storage is in use.
    Use,
    /// The kernel refuses the disconnect.
    Kernel,
    /// The same, with `in-use=disconnect`.
    KernelUnchecked,
    /// The check for storage in use has not answered.
    Check,
}

/// How the proof is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Withdrawn {
    StafdStops,
    /// The page lists the controller again, but stafd's answer does not come.
    PageChanges,
    /// The same, but the fetch fails.
    FetchFails,
    /// Another `ignore-iface` makes all pages stale.
    IgnoreIface,
}

const WAITS: [WaitsFor; 4] = [WaitsFor::Use, WaitsFor::Kernel, WaitsFor::KernelUnchecked, WaitsFor::Check];
const WITHDRAWN: [Withdrawn; 4] =
    [Withdrawn::StafdStops, Withdrawn::PageChanges, Withdrawn::FetchFails, Withdrawn::IgnoreIface];

fn begin(host: &mut Host, waits_for: WaitsFor) {
    match waits_for {
        WaitsFor::Use => drop(host.in_use.insert("b".into())),
        WaitsFor::Kernel | WaitsFor::KernelUnchecked => host.disconnect_refused = true,
        WaitsFor::Check => host.hold(Op::CheckUse),
    }
}

/// Ends what the removal waits for.
fn end(host: &mut Host, waits_for: WaitsFor) {
    match waits_for {
        WaitsFor::Use => host.in_use.clear(),
        WaitsFor::Kernel | WaitsFor::KernelUnchecked => host.disconnect_refused = false,
        WaitsFor::Check => host.release(Op::CheckUse),
    }
}

fn withdraw(host: &mut Host, how: Withdrawn) {
    match how {
        Withdrawn::StafdStops => host.stafd_vanishes(),
        Withdrawn::PageChanges => {
            host.hold(Op::FetchPage);
            host.hold(Op::FetchAll);
            host.page_is(&["a", "b"]);
        }
        Withdrawn::FetchFails => {
            host.peer.page_calls_fail = true;
            host.hold(Op::FetchAll);
            host.page_is(&["a", "b"]);
        }
        Withdrawn::IgnoreIface => {
            host.hold(Op::FetchAll);
            host.conf.ignore_iface = true;
            host.reload();
        }
    }
}

/// stafd answers again, and does not list the controller.
fn prove_again(host: &mut Host) {
    host.peer.page_calls_fail = false;
    host.stafd_vanishes();
    for op in [Op::FetchPage, Op::FetchAll] {
        host.release(op);
    }
    host.stafd_with(&["a"], 60);
}

/// A host with a removal that waits. If `audited` is true, no source has listed the controller, and the audit removes
/// it.
fn removal_that_waits(waits_for: WaitsFor, audited: bool) -> Host {
    let mut host = Host::configured("").started();
    if audited {
        host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    }
    if waits_for == WaitsFor::KernelUnchecked {
        host.conf.in_use = InUse::Disconnect;
    }
    host.reload();
    host.stafd_with(if audited { &["a"] } else { &["a", "b"] }, 100);
    host.wait(60.0);
    assert!(host.disconnected().is_empty());
    begin(&mut host, waits_for);
    if audited {
        host.add(&io(TARGET, "b"));
        host.send_snapshot();
    } else {
        host.page_is(&["a"]);
    }
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    let is_step = |effect: &HostEffect| matches!(effect, HostEffect::CheckUse { .. } | HostEffect::Disconnect { .. });
    let steps = host.count(|effect| matches!(effect, Effect::Host(host) if is_step(host)));
    assert!(steps > 0, "{waits_for:?}, {audited}: the removal has begun");
    host
}

#[test]
fn a_removal_whose_proof_is_withdrawn_does_not_go_on() {
    for waits_for in WAITS {
        for how in WITHDRAWN {
            for ends_first in [false, true] {
                let mut host = removal_that_waits(waits_for, false);
                if ends_first && waits_for != WaitsFor::Check {
                    end(&mut host, waits_for);
                    withdraw(&mut host, how);
                } else {
                    withdraw(&mut host, how);
                    end(&mut host, waits_for);
                }
                host.wait(100.0);
                assert_eq!(host.nqns(), ["a", "b"], "{waits_for:?}, {how:?}");
                assert_eq!(host.core.controller(&io(TARGET, "b")).unwrap().member.status, Status::Connected);
                prove_again(&mut host);
                host.wait(200.0);
                assert_eq!(host.nqns(), ["a"], "{waits_for:?}, {how:?}: it is proved again");
            }
        }
    }
}

#[test]
fn the_audit_stops_when_a_source_may_list_the_controller() {
    for waits_for in WAITS {
        for how in [Withdrawn::StafdStops, Withdrawn::PageChanges, Withdrawn::FetchFails] {
            let mut host = removal_that_waits(waits_for, true);
            withdraw(&mut host, how);
            end(&mut host, waits_for);
            host.wait(100.0);
            assert_eq!(host.nqns(), ["a", "b"], "{waits_for:?}, {how:?}");
        }
    }
}

/// stafd had removed the discovery controller, and uses it again.
#[test]
fn what_a_removed_discovery_controller_listed_is_kept_when_stafd_uses_it_again() {
    for waits_for in WAITS {
        let mut host = Host::configured("").started();
        if waits_for == WaitsFor::KernelUnchecked {
            host.conf.in_use = InUse::Disconnect;
            host.reload();
        }
        host.stafd_with(&["a", "b"], 100);
        host.wait(60.0);
        begin(&mut host, waits_for);
        let page = host.peer.first().clone();
        let removed = vec![RemovedDc { dc: page.dc.clone(), reason: RemovalReason::Excluded }];
        host.peer.view =
            Some(StafdView { dcs: Vec::new(), removed: Some(removed), is_complete: true, left_out: Vec::new() });
        host.feed(Event::DcRemoved);
        host.wait(1.0);
        assert!(host.nqns().contains(&"b"), "{waits_for:?}");
        host.hold(Op::FetchPage);
        host.hold(Op::FetchAll);
        host.feed(Event::PageChanged(page.dc));
        end(&mut host, waits_for);
        host.wait(100.0);
        assert!(host.nqns().contains(&"b"), "{waits_for:?}");
    }
}

/// A page that is fetched at once is never treated as a withdrawn proof: nothing is logged, and at most one check for
/// storage in use is repeated.
#[test]
fn a_page_that_is_fetched_at_once_does_not_stop_the_removals_that_it_still_proves() {
    let mut host = removal_that_waits(WaitsFor::Use, false);
    let checks = |host: &Host| host.count_of(Op::CheckUse);
    let before = checks(&host);
    for _ in 0..10 {
        host.page_is(&["a"]);
        host.wait(0.5);
    }
    assert_eq!(host.logged("no longer proved"), 0);
    assert!(checks(&host) <= before + 1, "{} and {before}", checks(&host));
}

/// Which answer of stafd was sent before a signal and received after it.
#[derive(Clone, Copy, Debug)]
enum Late {
    Page,
    AllPages,
    /// stafd had removed the discovery controller, and uses it again.
    Removal,
}

#[test]
fn an_answer_that_is_older_than_a_signal_proves_nothing() {
    for waits_for in WAITS {
        for late in [Late::Page, Late::AllPages, Late::Removal] {
            let mut host = removal_that_waits(waits_for, false);
            let dc = host.peer.first().dc.clone();
            // The answer is made before the signal, and received after it.
            let (op, event) = match late {
                Late::Page => (Op::FetchPage, Event::PageChanged(dc.clone())),
                Late::AllPages | Late::Removal => (Op::FetchAll, Event::DcRemoved),
            };
            host.hold(Op::FetchPage);
            host.hold(Op::FetchAll);
            let present = host.peer.view.clone();
            if let Late::Removal = late {
                let removed = vec![RemovedDc { dc: dc.clone(), reason: RemovalReason::Excluded }];
                host.peer.view = Some(StafdView {
                    dcs: Vec::new(),
                    removed: Some(removed),
                    is_complete: true,
                    left_out: Vec::new(),
                });
            }
            host.feed(event);
            let asked = host.take_held(op).unwrap();
            let answer = host.carry_out(asked).unwrap();
            host.peer.view = present;
            host.page_is(&["a", "b"]);
            host.feed(answer);
            end(&mut host, waits_for);
            host.wait(100.0);
            assert_eq!(host.nqns(), ["a", "b"], "{waits_for:?}, {late:?}");
            host.release(Op::FetchPage);
            host.release(Op::FetchAll);
            host.wait(100.0);
            assert_eq!(host.nqns(), ["a", "b"], "{waits_for:?}, {late:?}");
            host.page_is(&["a"]);
            host.wait(200.0);
            assert_eq!(host.nqns(), ["a"], "{waits_for:?}, {late:?}: it is proved again");
        }
    }
}

/// Each answer of stafd precedes the next signal.
#[test]
fn what_a_page_that_changes_all_the_time_lists_is_connected() {
    let mut host = Host::configured("").started();
    host.stafd_with(&["a"], 100);
    host.hold(Op::FetchPage);
    host.page_is(&["a", "b"]);
    for _ in 0..5 {
        let asked = host.take_held(Op::FetchPage).unwrap();
        let answer = host.carry_out(asked).unwrap();
        host.page_is(&["a", "b"]);
        host.feed(answer);
    }
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

/// stafd signals the page that it has read again on request, because its generation changes with each read.
#[test]
fn a_page_that_changes_with_each_read_proves_a_doubted_absence() {
    let mut host = Host::configured("").started();
    host.stafd_with(&["a", "b"], 100);
    host.wait(60.0);
    host.page_is(&[]);
    host.hold(Op::FetchPage);
    host.wait(6.0);
    assert_eq!(host.nqns(), ["a", "b"], "the page is doubtful");
    let asked = host.take_held(Op::FetchPage).unwrap();
    assert!(matches!(asked, Effect::FetchPage { refresh: true, .. }));
    let answer = host.carry_out(asked).unwrap();
    host.page_is(&[]);
    host.feed(answer);
    host.release(Op::FetchPage);
    host.wait(2.0);
    assert_eq!(host.nqns(), Vec::<&str>::new());
}
