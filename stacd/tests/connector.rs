//! Tests of stacd with a host and a stafd that answer every request at once.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{
    Connector, FakeHost, HOST, Op, RENAMED, TARGET, as_host, controller, dc_page, entry, interface, io, on_iface,
};
use libstas::conf::{ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, StacConf};
use libstas::core::fleet::Status;
use libstas::core::{
    CtrlState, CtrlType, DisconnectError, HostEffect, HostEvent, Level, Links, OpId, OsError, ResolveError, UeventKind,
    Usage,
};
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;
use stacd::connector::{DcPage, Effect, Event, Origin, PageState, RemovalReason, RemovedDc, StafdView};

type Host = FakeHost<Connector>;

fn dc() -> Tid {
    fake_host::dc(TARGET)
}

fn ioc(nqn: &str) -> Tid {
    io(TARGET, nqn)
}

fn listed(nqn: &str) -> Entry {
    entry(TARGET, nqn)
}

fn configured(nqn: &str) -> ControllerEntry {
    controller(TARGET, "4420", nqn)
}

/// A stacd that has just started, without a configuration and without a stafd.
fn started() -> Host {
    Host::configured("").started()
}

/// Restarts the daemons with that host NQN, for which the discovery controller lists these subsystems.
fn restart_as(host: &mut Host, host_nqn: &str, nqns: &[&str]) {
    host.identity.nqn = host_nqn.into();
    host.restart();
    let entries = nqns.iter().map(|nqn| listed(nqn)).collect();
    let page = dc_page(&as_host(host_nqn, &dc()), host.now, entries);
    let other = if host_nqn == HOST { RENAMED } else { HOST };
    let removed = vec![RemovedDc { dc: as_host(other, &dc()), reason: RemovalReason::Configuration }];
    host.stafd_is(
        ":1.7",
        StafdView { dcs: vec![page], removed: Some(removed), is_complete: true, left_out: Vec::new() },
    );
    host.wait(600);
}

fn status(host: &Host, nqn: &str) -> Option<Status> {
    host.core.controller(&ioc(nqn)).map(|view| view.member.status)
}

/// How often everything was fetched from stafd.
fn full_fetches(host: &Host) -> usize {
    host.count(|effect| matches!(effect, Effect::FetchAll(_)))
}

/// The fetch of a page that stafd has not answered yet.
fn held_page_fetch(host: &mut Host) -> OpId {
    let Some(Effect::FetchPage { op, .. }) = host.take_held(Op::FetchPage) else { panic!("no fetch") };
    op
}

/// A discovery controller in a full answer for which its page is too long.
fn without_page(page: &DcPage) -> DcPage {
    DcPage { state: PageState::Unknown, entries: Vec::new(), generation: None, ..page.clone() }
}

/// How often stafd was asked to read a page again.
fn refreshes(host: &Host) -> usize {
    host.count(|effect| matches!(effect, Effect::FetchPage { refresh: true, .. }))
}

#[test]
fn a_listed_controller_is_connected_at_once() {
    let mut host = started();
    host.stafd_with(&["a", "b", "c"], 0);
    assert_eq!(host.nqns(), ["a", "b", "c"]);
    assert_eq!(status(&host, "a"), Some(Status::Connected));
    host.page_is(&["a", "b", "c", "d"]);
    assert_eq!(host.nqns(), ["a", "b", "c", "d"]);
}

#[test]
fn a_controller_missing_on_the_same_connection_is_removed_after_half_a_second_of_quiet() {
    let mut host = started();
    host.stafd_with(&["a", "b", "c"], 0);
    host.page_is(&["a", "b"]);
    host.wait(0.4);
    assert_eq!(host.nqns(), ["a", "b", "c"]);
    host.wait(0.2);
    assert_eq!(host.nqns(), ["a", "b"]);
}

/// Any host can keep the sources busy with announced discovery controllers.
#[test]
fn sources_that_change_all_the_time_do_not_shorten_the_wait_of_a_removal() {
    let mut host = started();
    host.stafd_with(&["a", "b", "c"], 0);
    let change = |host: &mut Host, times: usize, listed: &[&str]| {
        for number in 0..times {
            let more = format!("other-{}", number % 2);
            host.page_is(&[listed, &[more.as_str()]].concat());
            host.wait(0.4);
        }
    };
    change(&mut host, 150, &["a", "b", "c"]);
    host.page_is(&["a", "b", "other-1"]);
    assert_eq!(status(&host, "c"), Some(Status::Connected), "for a moment it is not listed");
    change(&mut host, 10, &["a", "b", "c"]);
    assert_eq!(status(&host, "c"), Some(Status::Connected));
    // It may take longer, but not for ever.
    change(&mut host, 12, &["a", "b"]);
    assert_eq!(status(&host, "c"), Some(Status::Connected));
    change(&mut host, 2, &["a", "b"]);
    assert_eq!(status(&host, "c"), None);
}

#[test]
fn a_hanging_check_disconnects_nothing_and_is_logged() {
    let mut host = started();
    host.stafd_with(&["a", "b", "c"], 100);
    host.hold(Op::CheckUse);
    host.page_is(&["a"]);
    host.wait(900.0);
    assert_eq!(host.nqns(), ["a", "b", "c"]);
    assert_eq!(host.held.len(), 1, "one snapshot at a time");
    assert_eq!(host.logged("the check for storage in use hangs"), 1);
    host.release(Op::CheckUse);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_subsystem_that_is_listed_with_an_address_that_leads_nowhere_is_still_listed() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let nowhere = |address: &str| Entry { traddr: address.into(), ..listed("b") };
    for address in ["0.0.0.0", "::", ""] {
        host.page_has(vec![listed("a"), nowhere(address)]);
        host.wait(60.0);
        assert_eq!(host.nqns(), ["a", "b"], "{address:?}");
    }
    host.page_is(&["a"]);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_restart_while_stafd_is_away_disconnects_nothing() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.peer.view = None;
    host.restart();
    host.feed(Event::StafdOwner(None));
    host.wait(600.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    assert!(host.disconnected().is_empty());
    assert_eq!(status(&host, "a"), Some(Status::Connected));
}

#[test]
fn a_vanished_stafd_disconnects_nothing() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.stafd_vanishes();
    host.wait(600.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn a_stafd_that_comes_back_empty_disconnects_nothing() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.peer.view =
        Some(StafdView { dcs: Vec::new(), removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() });
    host.feed(Event::StafdOwner(None));
    host.feed(Event::StafdOwner(Some(":1.9".into())));
    host.wait(600.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

/// The page was too long for the answer with all pages.
#[test]
fn a_page_that_is_left_out_is_fetched_alone_and_proves_nothing_until_then() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let full = host.peer.view.clone().unwrap();
    let without = without_page(&full.dcs[0]);
    let left_out = vec![without.dc.clone()];
    host.peer.view = Some(StafdView { dcs: vec![without], left_out, ..full.clone() });
    host.hold(Op::FetchPage);
    host.feed(Event::StafdOwner(None));
    host.feed(Event::StafdOwner(Some(":1.9".into())));
    host.wait(600.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    let Some(Effect::FetchPage { op, dc, refresh: false, .. }) = host.take_held(Op::FetchPage) else {
        panic!("the page was not fetched")
    };
    assert_eq!(dc, full.dcs[0].dc);
    let page = DcPage { entries: vec![entry(TARGET, "a"), entry(TARGET, "c")], ..full.dcs[0].clone() };
    host.release(Op::FetchPage);
    host.feed(Event::PageFetched { op, result: Ok(Some(page)) });
    host.wait(60.0);
    assert!(host.nqns().contains(&"c"), "{:?}", host.nqns());
}

/// The discovery controller got another address, and its new page did not fit into the answer.
#[test]
fn a_removal_waits_for_a_page_that_is_left_out() {
    for signalled in [false, true] {
        let mut host = started();
        host.stafd_with(&["a"], 100);
        let old = host.peer.first().dc.clone();
        let moved = dc_page(&fake_host::dc("192.0.2.2"), host.now, vec![entry("192.0.2.2", "a")]);
        host.peer.view = Some(StafdView {
            left_out: vec![moved.dc.clone()],
            dcs: vec![without_page(&moved)],
            removed: Some(vec![RemovedDc { dc: old, reason: RemovalReason::Configuration }]),
            is_complete: true,
        });
        host.hold(Op::FetchPage);
        if signalled {
            host.feed(Event::PageChanged(moved.dc.clone()));
        }
        host.feed(Event::DcRemoved);
        host.wait(5);
        assert!(host.disconnected().is_empty(), "signalled: {signalled}");
        let op = held_page_fetch(&mut host);
        host.release(Op::FetchPage);
        host.feed(Event::PageFetched { op, result: Ok(Some(moved)) });
        host.wait(5);
        assert_eq!(host.disconnected().len(), 1, "signalled: {signalled}");
        assert_eq!(host.nqns(), ["a"], "signalled: {signalled}");
        assert_eq!(host.core.controller(&io("192.0.2.2", "a")).map(|view| view.member.status), Some(Status::Connected));
    }
}

/// It need not be fetched again: nothing has changed since the answer in flight was requested.
#[test]
fn an_answer_in_flight_of_a_page_that_is_left_out_is_applied() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    let page = host.peer.first().clone();
    host.peer.view.as_mut().unwrap().dcs = vec![without_page(&page)];
    host.peer.view.as_mut().unwrap().left_out = vec![page.dc.clone()];
    host.hold(Op::FetchPage);
    host.feed(Event::PageChanged(page.dc.clone()));
    let op = held_page_fetch(&mut host);
    host.feed(Event::DcRemoved);
    host.feed(Event::DcRemoved);
    let page = DcPage { entries: vec![listed("a"), listed("b")], ..page };
    host.feed(Event::PageFetched { op, result: Ok(Some(page)) });
    assert_eq!(host.nqns(), ["a", "b"]);
    assert!(host.take_held(Op::FetchPage).is_none(), "it is fetched again");
}

/// Such a signal proves that the answer in flight may be older.
#[test]
fn a_signal_counts_for_the_answer_in_flight_of_a_page_that_is_left_out() {
    let mut host = started();
    host.stafd_with(&["a", "x"], 100);
    let page = host.peer.first().clone();
    host.hold(Op::FetchPage);
    host.feed(Event::PageChanged(page.dc.clone()));
    let op = held_page_fetch(&mut host);
    host.feed(Event::PageChanged(page.dc.clone()));
    host.peer.view.as_mut().unwrap().dcs = vec![without_page(&page)];
    host.peer.view.as_mut().unwrap().left_out = vec![page.dc.clone()];
    host.feed(Event::DcRemoved);
    host.feed(Event::PageFetched { op, result: Ok(Some(DcPage { entries: vec![listed("a")], ..page })) });
    host.wait(60);
    assert_eq!(host.nqns(), ["a", "x"]);
}

/// An announced discovery controller can make the fetch of its page fail at any time.
#[test]
fn failed_fetches_of_announced_pages_neither_hide_nor_defer_those_of_others() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    let announced = DcPage { origin: Origin::Discovered, ..dc_page(&fake_host::dc("192.0.2.9"), host.now, Vec::new()) };
    host.peer.view.as_mut().unwrap().dcs.push(announced.clone());
    host.feed(Event::DcRemoved);
    host.peer.page_calls_fail = true;
    let warnings = |host: &Host| host.log_records().filter(|record| record.level == Level::Warning).count();
    let before = (full_fetches(&host), warnings(&host));
    for _ in 0..20 {
        host.feed(Event::PageChanged(announced.dc.clone()));
        host.wait(1);
    }
    assert_eq!((full_fetches(&host), warnings(&host)), before);
    host.feed(Event::PageChanged(dc()));
    host.wait(2);
    assert_eq!((full_fetches(&host), warnings(&host)), (before.0 + 1, before.1 + 1));
}

#[test]
fn pages_that_cannot_be_fetched_do_not_defer_the_next_full_fetch() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    host.peer.page_calls_fail = true;
    let before = full_fetches(&host);
    for _ in 0..100 {
        host.feed(Event::PageChanged(dc()));
        host.wait(0.5);
    }
    let fetches = full_fetches(&host) - before;
    assert!(fetches >= 10, "{fetches} full fetches in 50 s");
    assert_eq!(host.logged("does not supply its log page"), 1, "although full fetches succeed");
    host.peer.page_calls_fail = false;
    host.page_is(&["a", "b"]);
    host.peer.page_calls_fail = true;
    host.feed(Event::PageChanged(dc()));
    assert_eq!(host.logged("does not supply its log page"), 2);
}

#[test]
fn a_page_that_has_changed_and_cannot_be_fetched_proves_nothing_any_more() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let since = host.now;
    host.peer.first().connected_since = Some(since);
    host.page_is(&["a"]);
    host.wait(20.0);
    // The rebooted target lists it again, but stacd gets no answer.
    host.peer.page_calls_fail = true;
    host.hold(Op::FetchAll);
    host.page_is(&["a", "b"]);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn a_full_fetch_that_a_newer_page_has_overtaken_takes_nothing_away() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    host.hold(Op::FetchAll);
    host.feed(Event::DcRemoved);
    let before = host.peer.view.clone().unwrap();
    host.page_is(&["a", "b"]);
    let op = host.held_fetch();
    host.feed(Event::AllFetched { op, result: Ok(before) });
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn a_page_that_arrives_after_the_removal_of_its_dc_is_not_applied() {
    for known in [true, false] {
        let mut host = started();
        host.stafd_with(if known { &["a"] } else { &[] }, 100);
        let other = dc_page(&fake_host::dc("192.0.2.2"), host.now, vec![entry("192.0.2.2", "late")]);
        if known {
            host.peer.view.as_mut().unwrap().dcs.push(other.clone());
            host.feed(Event::PageChanged(other.dc.clone()));
            assert_eq!(host.nqns(), ["a", "late"]);
        }
        host.hold(Op::FetchPage);
        host.feed(Event::PageChanged(other.dc.clone()));
        let op = held_page_fetch(&mut host);
        host.release(Op::FetchPage);
        let view = host.peer.view.as_mut().unwrap();
        view.dcs.retain(|page| page.dc != other.dc);
        view.removed = Some(vec![RemovedDc { dc: other.dc.clone(), reason: RemovalReason::Excluded }]);
        host.feed(Event::DcRemoved);
        host.feed(Event::PageFetched { op, result: Ok(Some(other)) });
        host.wait(60.0);
        assert_eq!(host.nqns(), if known { &["a"][..] } else { &[] }, "known before: {known}");
    }
}

/// Each entry means another controller then. Its connection serves both.
#[test]
fn a_reload_that_changes_ignore_iface_takes_the_pages_anew() {
    let mut host = started();
    let page = dc_page(&on_iface("eth0", &dc()), host.now, vec![listed("a")]);
    host.stafd_is(
        ":1.5",
        StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
    );
    let members = |host: &Host| host.core.controllers().iter().map(|ioc| ioc.member.tid.clone()).collect::<Vec<_>>();
    assert_eq!(members(&host), [on_iface("eth0", &ioc("a"))]);
    host.configure("[Global]\nignore-iface=true\n");
    host.wait(10.0);
    assert_eq!(members(&host), [ioc("a")]);
    host.configure("");
    host.wait(10.0);
    assert_eq!(members(&host), [on_iface("eth0", &ioc("a"))]);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
}

#[test]
fn a_rebooted_target_that_exports_one_by_one_loses_nothing() {
    let mut host = started();
    host.stafd_with(&["a", "b", "c"], 100);
    // The discovery controller has a new connection, on which it lists more and more.
    let since = host.now;
    host.peer.first().connected_since = Some(since);
    for names in [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]] {
        host.page_is(names);
        host.wait(1.0);
    }
    host.wait(60.0);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
}

#[test]
fn absence_known_from_before_the_connection_counts_when_it_has_been_up_for_30_s() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let since = host.now;
    host.peer.first().connected_since = Some(since);
    host.page_is(&["a"]);
    host.wait(29.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_page_that_drops_everything_is_read_again_before_it_is_believed() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.page_is(&[]);
    host.wait(4.0);
    assert_eq!(refreshes(&host), 0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.wait(3.0);
    assert_eq!(refreshes(&host), 1);
    assert!(host.nqns().is_empty());
}

#[test]
fn a_page_that_dropped_everything_by_mistake_costs_nothing() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.page_is(&[]);
    host.peer.first().entries = vec![listed("a"), listed("b")];
    host.wait(60.0);
    assert!(host.disconnected().is_empty());
}

#[test]
fn storage_in_use_is_kept_and_logged_once_until_it_is_free() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use.insert("b".into());
    host.page_is(&["a"]);
    host.wait(300.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    assert_eq!(status(&host, "b"), Some(Status::Kept));
    let said = host.log_records().filter(|n| n.level == Level::Warning && n.text.contains("is kept")).count();
    assert_eq!(said, 1);
    host.in_use.clear();
    host.wait(61.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn storage_in_use_is_disconnected_with_in_use_disconnect() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use.insert("b".into());
    host.page_is(&["a"]);
    host.wait(5.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.conf.in_use = InUse::Disconnect;
    host.reload();
    host.wait(5.0);
    assert_eq!(host.nqns(), ["a"]);
}

/// Storage with two paths is in use. The one at TARGET is to be removed, and its check finds the other one.
fn with_a_check_under_way() -> Host {
    let mut host = started();
    let other = || controller("192.0.2.2", "4420", "a");
    host.conf.controllers = vec![configured("a"), other()];
    host.reload();
    assert_eq!(host.nqns(), ["a", "a"]);
    host.stafd_with(&[], 60);
    host.in_use.insert("a".into());
    host.hold(Op::CheckUse);
    host.conf.controllers = vec![other()];
    host.reload();
    host.wait(1.0);
    host
}

/// The answer to that check arrives: the storage has another path.
fn check_finds_another_path(host: &mut Host) {
    let Some(Effect::Host(HostEffect::CheckUse { op, .. })) = host.take_held(Op::CheckUse) else {
        panic!("nothing was checked")
    };
    host.feed(Event::Host(HostEvent::UseChecked { op, usage: Usage::Free }));
}

/// A mount may begin between the check and the disconnect.
#[test]
fn storage_that_comes_into_use_after_its_check_is_kept_until_it_is_free() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 60);
    host.hold(Op::Disconnect);
    host.page_is(&["a"]);
    host.wait(1.0);
    assert_eq!(host.held.len(), 1, "the disconnect of b");
    host.in_use.insert("b".into());
    host.release(Op::Disconnect);
    host.wait(60.0);
    assert_eq!((host.nqns(), status(&host, "b")), (vec!["a", "b"], Some(Status::Kept)));
    assert_eq!(host.logged("is no longer wanted, but is kept"), 1);
    assert_eq!(host.logged("could not be disconnected"), 0);
    host.in_use.clear();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"]);
}

/// The check found another path; an exclusion ends that path before the answer arrives.
#[test]
fn a_path_that_is_disconnected_while_a_check_runs_counts_no_longer() {
    let mut host = with_a_check_under_way();
    host.conf.exclusions.push(Exclusion { traddr: Some("192.0.2.2".into()), ..Exclusion::default() });
    host.reload();
    assert_eq!(host.addresses(), [TARGET]);
    check_finds_another_path(&mut host);
    assert_eq!(host.addresses(), [TARGET]);
    host.release(Op::CheckUse);
    host.wait(60.0);
    assert_eq!((host.addresses(), status(&host, "a")), (vec![TARGET], Some(Status::Kept)));
}

/// The check found another path. Before the answer arrives, that path is lost or gone.
#[test]
fn a_path_that_is_lost_while_a_check_runs_counts_no_longer() {
    for is_gone in [false, true] {
        let mut host = with_a_check_under_way();
        match is_gone {
            true => host.kernel.retain(|kernel| kernel.traddr != "192.0.2.2"),
            false => host.lose("192.0.2.2"),
        }
        host.send_snapshot();
        check_finds_another_path(&mut host);
        assert!(host.addresses().contains(&TARGET), "gone: {is_gone}");
        host.release(Op::CheckUse);
        host.wait(1.0);
        assert!(host.addresses().contains(&TARGET), "gone: {is_gone}");
    }
}

#[test]
fn an_exclusion_reaches_an_existing_connection_in_use_or_not() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use.insert("b".into());
    host.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    host.reload();
    assert_eq!(host.nqns(), ["a"]);
    host.conf.exclusions.clear();
    host.reload();
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn an_exclusion_written_while_stacd_was_down_reaches_an_existing_connection() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    host.restart();
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_controller_removed_from_the_configuration_is_disconnected_and_no_other() {
    let mut host = started();
    host.conf.controllers.push(configured("x"));
    host.reload();
    host.stafd_with(&["a"], 100);
    assert_eq!(host.nqns(), ["a", "x"]);
    host.conf.controllers.clear();
    host.reload();
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a"]);
    assert_eq!(host.disconnected(), ["x"]);
}

#[test]
fn a_controller_removed_from_the_configuration_while_stacd_was_down_is_disconnected() {
    let mut host = started();
    host.conf.controllers.push(configured("x"));
    host.reload();
    host.conf.controllers.clear();
    host.restart();
    host.stafd_with(&[], 100);
    host.wait(1.0);
    assert!(host.nqns().is_empty());
}

/// A controller= line moves from stacd.conf to the log page of a discovery controller that is new as well.
fn moved_to_a_page(restarts: bool) -> Host {
    let mut host = started();
    host.conf.controllers.push(configured("x"));
    host.reload();
    assert_eq!(host.nqns(), ["x"]);
    host.conf.controllers.clear();
    match restarts {
        true => host.restart(),
        false => host.reload(),
    }
    host
}

/// What stafd publishes with these discovery controllers.
fn published(dcs: Vec<DcPage>) -> StafdView {
    StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
}

/// A discovery controller whose page has not been read yet.
fn unread(host: &Host) -> DcPage {
    DcPage { state: PageState::Never, connected_since: None, ..dc_page(&dc(), host.now, Vec::new()) }
}

/// stafd reads the page of this discovery controller after 8 s: it lists x.
fn page_is_read(host: &mut Host) {
    host.wait(8.0);
    let page = host.peer.first();
    (page.state, page.connected_since, page.entries) = (PageState::Fresh, Some(host.now), vec![listed("x")]);
    host.feed(Event::PageChanged(dc()));
    host.wait(600.0);
}

#[test]
fn a_controller_that_moves_from_the_configuration_to_a_new_page_is_kept_by_a_restart_as_by_a_reload() {
    for restarts in [false, true] {
        let mut host = moved_to_a_page(restarts);
        host.stafd_is(":1.5", published(vec![unread(&host)]));
        page_is_read(&mut host);
        assert_eq!(host.nqns(), ["x"], "restarts: {restarts}");
        assert!(host.disconnected().is_empty(), "restarts: {restarts}");
    }
}

/// x is configured and connected, and stafd has no discovery controller.
fn with_idle_stafd() -> Host {
    let mut host = started();
    host.stafd_is(":1.4", published(Vec::new()));
    host.conf.controllers.push(configured("x"));
    host.reload();
    host.wait(60.0);
    host
}

#[test]
fn a_reload_asks_stafd_for_new_discovery_controllers_before_it_removes() {
    // The administrator moves x to the page of a new discovery controller, and reloads both daemons, in either order.
    for stafd_first in [false, true] {
        let mut host = with_idle_stafd();
        host.conf.controllers.clear();
        if !stafd_first {
            host.reload();
            host.wait(0.1);
        }
        host.peer.view = Some(published(vec![unread(&host)]));
        match stafd_first {
            true => host.reload(),
            false => host.feed(Event::PageChanged(dc())),
        }
        page_is_read(&mut host);
        assert_eq!((host.nqns(), host.disconnected()), (vec!["x"], vec![]), "stafd first: {stafd_first}");
    }
}

#[test]
fn a_reload_during_a_restart_of_stafd_waits_for_its_report() {
    let mut host = with_idle_stafd();
    host.stafd_vanishes();
    host.conf.controllers.clear();
    host.reload();
    host.wait(3.0);
    host.stafd_is(":1.5", published(vec![unread(&host)]));
    page_is_read(&mut host);
    assert_eq!((host.nqns(), host.disconnected()), (vec!["x"], vec![]));
}

#[test]
fn a_restart_waits_for_stafd_before_it_removes_what_is_no_longer_configured() {
    for (stafd, is_complete, appears_after, kept_for) in [
        ("appears late", true, Some(4), 4),
        ("still looks up its own names", false, Some(1), 9),
        ("does not appear", false, None, 9),
    ] {
        let mut host = moved_to_a_page(true);
        if let Some(seconds) = appears_after {
            host.wait(seconds);
            let view = StafdView { dcs: Vec::new(), removed: Some(Vec::new()), is_complete, left_out: Vec::new() };
            host.stafd_is(":1.5", view);
        }
        let start = host.now;
        host.wait(f64::from(kept_for - appears_after.unwrap_or(0)));
        assert_eq!(host.nqns(), ["x"], "stafd {stafd}");
        host.wait(3.0);
        assert!(host.nqns().is_empty(), "stafd {stafd}: from {start:?} to {:?}", host.now);
    }
}

#[test]
fn a_configuration_with_an_unreadable_controller_takes_none_away() {
    let mut host = started();
    host.conf.controllers.push(configured("x"));
    host.reload();
    host.conf.controllers.clear();
    host.conf.lost_line = Some(1);
    host.reload();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["x"]);
    host.restart();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["x"]);
    host.conf.lost_line = None;
    host.reload();
    host.wait(1.0);
    assert!(host.nqns().is_empty());
}

#[test]
fn what_a_garbled_configuration_may_still_name_survives_the_end_of_its_log_entry_across_a_restart() {
    let mut host = started();
    host.conf.controllers.push(configured("a"));
    host.reload();
    host.stafd_with(&["a", "b"], 100);
    host.conf.controllers.clear();
    host.conf.lost_line = Some(1);
    host.restart();
    host.stafd_with(&["b"], 100);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn under_no_disconnect_only_an_exclusion_disconnects() {
    let mut host = started();
    host.conf.disconnect_scope = DisconnectScope::Nothing;
    host.reload();
    host.stafd_with(&["a", "b", "c"], 100);
    host.page_is(&["a", "b"]);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b", "c"]);
    host.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    host.reload();
    assert_eq!(host.nqns(), ["a", "c"]);
    assert_eq!(status(&host, "c"), Some(Status::Kept));
    host.restart();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "c"]);
    host.conf.disconnect_scope = DisconnectScope::OnlyStas;
    host.reload();
    host.stafd_with(&["a"], 100);
    host.wait(5.0);
    assert_eq!(host.nqns(), ["a"], "what is no longer kept goes");
}

#[test]
fn no_disconnect_stops_pending_removals_at_the_reload() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use.insert("b".into());
    host.page_is(&["a"]);
    host.wait(5.0);
    host.conf.disconnect_scope = DisconnectScope::Nothing;
    host.reload();
    host.in_use.clear();
    // Kept controllers are checked again after each snapshot.
    host.send_snapshot();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn no_disconnect_stops_pending_removals_while_stafd_is_stopped() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use.insert("b".into());
    host.page_is(&["a"]);
    host.wait(5.0);
    host.stafd_vanishes();
    host.conf.disconnect_scope = DisconnectScope::Nothing;
    host.reload();
    host.in_use.clear();
    host.send_snapshot();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
}

#[test]
fn a_connection_of_another_program_is_kept_unless_it_is_audited() {
    let mut host = started();
    host.add(&ioc("stranger"));
    host.stafd_with(&["a"], 100);
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a", "stranger"]);
    host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    host.reload();
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn the_audit_leaves_alone_what_the_kernel_has_not_filled_in_yet() {
    let mut host = started();
    host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    host.reload();
    host.stafd_with(&["a"], 100);
    // stafd's connection while it is being made.
    host.add(&dc());
    let made = host.kernel.last_mut().unwrap();
    (made.cntrltype, made.state) = (CtrlType::Unknown, CtrlState::Connecting);
    (made.subsysnqn, made.hostnqn) = (String::new(), String::new());
    host.wait(60.0);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
}

#[test]
fn the_audit_ignores_a_page_from_the_first_second_after_a_reboot() {
    let mut host = started();
    host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    host.reload();
    host.add(&ioc("b"));
    host.add(&ioc("stranger"));
    host.stafd_with(&["a"], 0);
    // b is exported a little later, and that event is lost.
    host.wait(10.0);
    host.peer.first().entries = ["a", "b"].map(listed).into();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    assert_eq!(host.disconnected(), ["stranger"]);
}

#[test]
fn the_audit_waits_until_stafd_has_reported_everything() {
    let mut host = started();
    host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    host.reload();
    host.add(&ioc("stranger"));
    host.feed(Event::StafdOwner(None));
    host.wait(300.0);
    assert_eq!(host.nqns(), ["stranger"]);
}

/// It was announced, never answered, and is no longer announced: its removal is not reported.
#[test]
fn a_discovery_controller_that_was_never_read_does_not_hold_up_the_audit() {
    let mut host = started();
    host.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    host.reload();
    host.add(&ioc("stranger"));
    host.stafd_with(&["a"], 100);
    let listed = host.peer.view.clone();
    let never = DcPage { state: PageState::Never, ..dc_page(&fake_host::dc("192.0.2.77"), host.now, Vec::new()) };
    host.peer.view.as_mut().unwrap().dcs.push(never);
    host.feed(Event::DcRemoved);
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a", "stranger"], "its page may list it");
    host.peer.view = listed;
    host.feed(Event::DcRemoved);
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn an_existing_connection_is_taken_over_and_not_made_twice() {
    let mut host = started();
    host.add(&ioc("a"));
    host.stafd_with(&["a"], 0);
    assert_eq!(host.nqns(), ["a"]);
    assert_eq!(status(&host, "a"), Some(Status::Connected));
}

#[test]
fn a_connection_removed_behind_our_back_is_made_again_within_two_seconds() {
    let mut host = started();
    host.stafd_with(&["a"], 0);
    host.wait(60.0);
    let device = host.kernel.remove(0).ctrl.device;
    host.uevent(device, UeventKind::Remove);
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_connection_whose_remove_event_was_lost_is_restored_at_the_next_snapshot() {
    let mut host = started();
    host.stafd_with(&["a"], 0);
    host.wait(60.0);
    host.kernel.clear();
    host.wait(62.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn unlink_and_link_in_quick_succession_ends_live() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    for _ in 0..10 {
        host.page_is(&["a"]);
        host.wait(0.1);
        host.page_is(&["a", "b"]);
        host.wait(0.1);
    }
    host.wait(5.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.page_is(&["a"]);
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_discovery_controller_removed_from_the_configuration_removes_its_controllers() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.peer.view = Some(StafdView {
        dcs: Vec::new(),
        removed: Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Configuration }]),
        is_complete: true,
        left_out: Vec::new(),
    });
    host.feed(Event::DcRemoved);
    host.wait(1.0);
    assert!(host.nqns().is_empty());
}

/// The administrator changes the address of `dc()`: stafd shows a new one, without a page, in its place.
fn edited_in_place() -> (Host, Tid) {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let moved = fake_host::dc("192.0.2.77");
    let page = DcPage {
        dc: moved.clone(),
        state: PageState::Never,
        origin: Origin::Configured,
        follows_configured: false,
        generation: None,
        connected_since: None,
        entries: Vec::new(),
        unclear: Vec::new(),
    };
    host.peer.view = Some(StafdView {
        dcs: vec![page],
        removed: Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Configuration }]),
        is_complete: true,
        left_out: Vec::new(),
    });
    host.feed(Event::DcRemoved);
    (host, moved)
}

#[test]
fn an_edited_discovery_controller_removes_nothing_before_the_new_one_is_read_and_connected() {
    let (mut host, moved) = edited_in_place();
    host.wait(3.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    let page = host.peer.first();
    (page.state, page.connected_since) = (PageState::Fresh, Some(host.now));
    page.entries = vec![Entry { traddr: "192.0.2.78".into(), ..listed("a") }];
    host.dead.insert("*".into());
    host.feed(Event::PageChanged(moved));
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a", "b"], "the new path is not there yet");
    host.dead.clear();
    host.wait(5.0);
    let paths: Vec<_> = host.kernel.iter().map(|kernel| kernel.traddr.as_str()).collect();
    assert_eq!(paths, ["192.0.2.78"]);
}

#[test]
fn a_new_discovery_controller_that_never_answers_puts_off_removals_for_ten_seconds_at_most() {
    let (mut host, _) = edited_in_place();
    host.wait(9.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.wait(3.0);
    assert!(host.nqns().is_empty());
}

#[test]
fn new_discovery_controllers_without_end_do_not_put_off_removals_without_end() {
    let (mut host, _) = edited_in_place();
    for number in 0..30 {
        let dc = fake_host::dc(&format!("198.51.100.{number}"));
        let page = DcPage {
            dc,
            state: PageState::Never,
            origin: Origin::Configured,
            follows_configured: false,
            generation: None,
            connected_since: None,
            entries: Vec::new(),
            unclear: Vec::new(),
        };
        host.peer.view.as_mut().unwrap().dcs.push(page);
        host.feed(Event::DcRemoved);
        host.wait(1.0);
    }
    assert!(host.nqns().is_empty());
}

#[test]
fn an_aged_out_discovery_controller_removes_only_controllers_that_are_not_live() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.kernel.iter_mut().find(|k| k.subsysnqn == "b").unwrap().state = CtrlState::Connecting;
    host.wait(61.0);
    host.peer.view = Some(StafdView {
        dcs: Vec::new(),
        removed: Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::AgedOut }]),
        is_complete: true,
        left_out: Vec::new(),
    });
    host.feed(Event::DcRemoved);
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn an_empty_page_of_a_python_stafd_proves_nothing_before_that_owner_has_shown_entries() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let page = |nqns: &[&str]| DcPage {
        dc: dc(),
        state: PageState::Unstated,
        origin: Origin::Configured,
        follows_configured: false,
        generation: None,
        connected_since: None,
        entries: nqns.iter().map(|nqn| listed(nqn)).collect(),
        unclear: Vec::new(),
    };
    host.feed(Event::StafdOwner(None));
    host.peer.view = Some(StafdView { dcs: vec![page(&[])], removed: None, is_complete: true, left_out: Vec::new() });
    host.feed(Event::StafdOwner(Some(":1.77".into())));
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.peer.view =
        Some(StafdView { dcs: vec![page(&["a", "b"])], removed: None, is_complete: true, left_out: Vec::new() });
    host.feed(Event::PageChanged(dc()));
    host.peer.view =
        Some(StafdView { dcs: vec![page(&["a"])], removed: None, is_complete: true, left_out: Vec::new() });
    host.feed(Event::PageChanged(dc()));
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn an_answer_without_a_request_changes_nothing() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    host.feed(Event::AllFetched { op: OpId(4711), result: Ok(StafdView::default()) });
    host.feed_host(HostEvent::Disconnected { op: OpId(4711), result: Ok(()) });
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"]);
}

/// A page that is read with another host NQN lists what that host may see.
#[test]
fn a_host_with_another_nqn_keeps_what_it_has_until_that_is_connected_under_the_new_one() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    restart_as(&mut host, RENAMED, &["a"]);
    assert_eq!(host.nqns_as(RENAMED), ["a"]);
    assert_eq!(host.nqns_as(HOST), ["b"], "a was let go when it was up as the other host");
    let warning = host.log_records().find(|record| record.text.contains(HOST) && record.text.contains(RENAMED));
    assert_eq!(warning.map(|record| record.level), Some(Level::Warning), "{:?}", host.effects);

    restart_as(&mut host, RENAMED, &["a"]);
    assert_eq!(host.nqns_as(HOST), ["b"], "after another restart, too");

    restart_as(&mut host, RENAMED, &["a", "b"]);
    assert_eq!(host.nqns_as(RENAMED), ["a", "b"]);
    assert!(host.nqns_as(HOST).is_empty());
    host.page_is(&["a"]);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"], "what is taken back as the new host goes as ever");
}

#[test]
fn a_host_that_gets_its_nqn_back_loses_nothing_on_the_way() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    restart_as(&mut host, RENAMED, &[]);
    assert_eq!(host.nqns_as(HOST), ["a", "b"]);
    host.identity.nqn = HOST.into();
    host.peer.view = None;
    host.restart();
    host.wait(600.0);
    restart_as(&mut host, HOST, &["a", "b"]);
    assert_eq!(host.nqns_as(HOST), ["a", "b"]);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
    host.page_is(&["a"]);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a"], "once it was named, a page takes it as ever");
}

#[test]
fn an_exclusion_reaches_what_was_connected_under_another_nqn() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    restart_as(&mut host, RENAMED, &[]);
    host.conf.exclusions = vec![Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() }];
    host.reload();
    host.wait(60.0);
    assert_eq!(host.nqns_as(HOST), ["a"]);
}

fn excluded_by_name(nqn: Option<&str>) -> StacConf {
    let exclusion = Exclusion {
        traddr: Some("old.example".into()),
        is_name: true,
        subsysnqn: nqn.map(Into::into),
        ..Exclusion::default()
    };
    StacConf { exclusions: vec![exclusion], ..StacConf::default() }
}

/// Names are resolved by a process without privileges, and answers of name servers are not authenticated.
#[test]
fn an_exclusion_by_host_name_spares_storage_in_use_and_one_by_address_does_not() {
    for (in_use, by_name, kept) in
        [(InUse::Keep, true, &["a"][..]), (InUse::Disconnect, true, &[]), (InUse::Keep, false, &[])]
    {
        let mut host = started();
        host.stafd_with(&["a", "b"], 100);
        host.in_use.insert("a".into());
        host.names.insert("old.example".into(), vec!["192.0.2.1"]);
        let literal = Exclusion { traddr: Some("192.0.2.1".into()), ..Exclusion::default() };
        let by_address = StacConf { exclusions: vec![literal], ..StacConf::default() };
        let conf = if by_name { excluded_by_name(Some("a")) } else { by_address };
        host.conf = StacConf { in_use, ..conf };
        host.reload();
        host.wait(60.0);
        let nqns = host.nqns();
        assert_eq!(nqns.iter().filter(|nqn| **nqn == "a").count(), kept.len(), "{in_use:?} {by_name}: {nqns:?}");
    }
}

#[test]
fn what_a_name_may_exclude_waits_until_the_name_is_looked_up() {
    for (answer, connected) in [
        (Ok(vec!["192.0.2.1".parse().unwrap()]), &["c"][..]),
        (Ok(vec!["192.0.2.77".parse().unwrap()]), &["a", "c"]),
        (Err(ResolveError::NoAddress("old.example".to_owned())), &["a", "c"]),
    ] {
        let mut host = started();
        host.hold(Op::Resolve);
        host.conf = excluded_by_name(Some("a"));
        host.reload();
        host.wait(0.0);
        host.stafd_with(&["a", "c"], 100);
        assert_eq!(host.nqns(), ["c"], "the exclusion cannot mean this one");
        let Some(Effect::Host(HostEffect::Resolve { op, .. })) = host.take_held(Op::Resolve) else { panic!() };
        host.feed_host(HostEvent::Resolved { op, result: answer.clone() });
        assert_eq!(host.nqns(), connected, "{answer:?}");
    }
}

#[test]
fn a_resolver_that_never_answers_holds_nothing_up_for_longer_than_half_a_minute() {
    let mut host = started();
    host.hold(Op::Resolve);
    host.conf = excluded_by_name(None);
    host.reload();
    host.stafd_with(&["a"], 100);
    host.wait(29.0);
    assert!(host.nqns().is_empty());
    host.wait(2.0);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn an_existing_connection_is_not_removed_for_an_unresolved_exclusion() {
    let mut host = started();
    host.stafd_with(&["a"], 100);
    host.hold(Op::Resolve);
    host.conf = excluded_by_name(None);
    host.reload();
    host.wait(20.0);
    host.restart();
    host.wait(20.0);
    assert_eq!(host.nqns(), ["a"]);
    assert!(host.disconnected().is_empty());
}

#[test]
fn an_address_family_that_is_switched_off_spares_what_is_in_use() {
    for (scope, left) in [(DisconnectScope::OnlyStas, &["b"][..]), (DisconnectScope::Nothing, &["a", "b"])] {
        let mut host = started();
        host.stafd_with(&["a", "b"], 100);
        host.in_use = ["b".into()].into();
        host.conf.ip_family = FamilyOrder::V6;
        host.conf.disconnect_scope = scope;
        host.reload();
        host.wait(60.0);
        assert_eq!(host.nqns(), left, "{scope:?}");
    }
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    host.in_use = ["b".into()].into();
    host.conf.ip_family = FamilyOrder::V6;
    host.restart();
    host.wait(60.0);
    assert_eq!(host.nqns(), ["b"], "written while stacd was down");
}

/// stafd need not report that a connection was lost, or that a page could not be read again.
#[test]
fn absence_known_from_before_the_connection_counts_only_in_a_page_read_at_the_end_of_the_30_s() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let since = host.now;
    host.peer.first().connected_since = Some(since);
    host.page_is(&["a"]);
    host.wait(5.0);
    let page = host.peer.first();
    (page.state, page.connected_since) = (PageState::Saved, None);
    host.wait(120.0);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
    let since = host.now;
    let page = host.peer.first();
    (page.state, page.connected_since) = (PageState::Fresh, Some(since));
    host.page_is(&["a"]);
    host.wait(31.0);
    assert_eq!(host.nqns(), ["a"]);
}

/// Only stafd was restarted after the host NQN had changed.
#[test]
fn a_stafd_that_comes_back_with_another_host_nqn_takes_nothing_before_it_is_connected_under_that() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let renamed =
        |nqns: &[&str], since| dc_page(&as_host(RENAMED, &dc()), since, nqns.iter().map(|nqn| listed(nqn)).collect());
    let removed = Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Configuration }]);
    host.peer.view =
        Some(StafdView { dcs: vec![renamed(&[], host.now)], removed, is_complete: true, left_out: Vec::new() });
    host.feed(Event::StafdOwner(Some(":1.9".into())));
    host.wait(600.0);
    assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
    host.peer.view.as_mut().unwrap().dcs = vec![renamed(&["a"], host.now)];
    host.feed(Event::PageChanged(as_host(RENAMED, &dc())));
    host.wait(60.0);
    assert_eq!((host.nqns_as(HOST), host.nqns_as(RENAMED)), (vec!["b"], vec!["a"]));
    // Now stacd is restarted too.
    restart_as(&mut host, RENAMED, &["a"]);
    assert_eq!((host.nqns_as(HOST), host.nqns_as(RENAMED)), (vec!["b"], vec!["a"]));
}

#[test]
fn a_stafd_that_gets_its_host_nqn_back_is_as_before() {
    let mut host = started();
    host.stafd_with(&["a", "b"], 100);
    let before = host.peer.view.clone();
    let page = dc_page(&as_host(RENAMED, &dc()), host.now, Vec::new());
    host.peer.view = Some(StafdView {
        dcs: vec![page],
        removed: Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Configuration }]),
        is_complete: true,
        left_out: Vec::new(),
    });
    host.feed(Event::StafdOwner(Some(":1.9".into())));
    host.wait(60.0);
    host.peer.view = before;
    host.peer.first().connected_since = Some(host.now);
    host.feed(Event::StafdOwner(Some(":1.10".into())));
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.page_is(&["b"]);
    host.wait(2.0);
    assert_eq!(host.nqns(), ["b"], "a page takes it as ever");
}

/// Two paths to one subsystem, both configured.
fn two_paths() -> Host {
    let mut host = Host::configured(&format!("[Controllers]\n{}{}", path("192.0.2.1"), path("192.0.2.2"))).started();
    host.wait(60.0);
    host
}

fn path(traddr: &str) -> String {
    format!("controller=transport=tcp;traddr={traddr};trsvcid=4420;nqn=s\n")
}

/// The addresses of the paths that are being disconnected, or whose disconnect was tried.
fn disconnects(host: &Host) -> Vec<String> {
    let of = |ctrl| host.kernel.iter().chain(&host.gone).find(|kernel| kernel.ctrl == ctrl).unwrap().traddr.clone();
    let disconnect = |effect: &Effect| match effect {
        Effect::Host(HostEffect::Disconnect { ctrl, .. }) => Some(of(*ctrl)),
        _ => None,
    };
    host.effects.iter().filter_map(disconnect).collect()
}

#[test]
fn an_excluded_path_does_not_count_as_another_path_even_if_its_disconnect_fails() {
    let mut host = two_paths();
    host.hold(Op::Disconnect);
    host.configure("[Controllers]\nexclude=traddr=192.0.2.2\n");
    let Some(Effect::Host(HostEffect::Disconnect { op, ctrl, .. })) = host.take_held(Op::Disconnect) else { panic!() };
    let error = DisconnectError::Kernel(OsError::new("Input/output error"));
    host.feed(Event::Host(HostEvent::Disconnected { op, result: Err(error) }));
    host.wait(1.5);
    let not_counted = host.effects.iter().rev().find_map(|effect| match effect {
        Effect::Host(HostEffect::CheckUse { not_counted, .. }) => Some(not_counted.clone()),
        _ => None,
    });
    assert_eq!(not_counted, Some(vec![ctrl]));
}

#[test]
fn a_path_is_kept_while_a_path_whose_check_counted_it_is_disconnected() {
    for ends in [true, false] {
        let mut host = two_paths();
        host.hold(Op::Disconnect);
        host.configure(&format!("[Controllers]\n{}", path("192.0.2.2")));
        host.wait(15.0);
        assert_eq!(disconnects(&host), ["192.0.2.1"]);
        host.configure("[Controllers]\nexclude=traddr=192.0.2.2\n");
        host.wait(1.0);
        assert_eq!(disconnects(&host), ["192.0.2.1"], "its check has counted 192.0.2.2");
        if ends {
            host.release(Op::Disconnect);
        }
        // A disconnect that hangs no longer keeps the path.
        host.wait(120.0);
        assert_eq!(disconnects(&host)[..2], ["192.0.2.1", "192.0.2.2"]);
    }
}

#[test]
fn a_connection_that_two_controllers_have_used_is_removed_after_any_number_of_restarts() {
    let line =
        |more: &str| format!("[Controllers]\ncontroller=transport=tcp;traddr={TARGET};trsvcid=4420;nqn=s{more}\n");
    for restarts in 0..3 {
        let mut host = Host::configured(&line(";host-iface=eth1"));
        host.links = Some(Links(vec![interface(3, "eth1", &["192.0.2.51"])]));
        host.start();
        host.wait(60.0);
        host.configure(&line(""));
        host.wait(60.0);
        assert_eq!((host.nqns(), host.gone.len()), (vec!["s"], 0), "it is used as it is");
        host.in_use.insert("s".into());
        host.configure("");
        host.wait(60.0);
        for _ in 0..restarts {
            host.restart();
            host.wait(1.0);
            // This saves the state.
            host.configure("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.2;trsvcid=4420;nqn=other\n");
        }
        host.wait(60.0);
        assert!(host.nqns().contains(&"s"), "{restarts} restarts");
        host.in_use.clear();
        host.wait(600.0);
        assert_eq!(host.disconnected(), ["s"], "{restarts} restarts");
    }
}
