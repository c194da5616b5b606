//! The bound on what an announced discovery controller may make stacd connect: max-controllers-per-announced-dc=.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fake_host::{Connector, FakeHost, Op, dc, dc_page, entry, interface};
use libstas::core::trust::Trust;
use libstas::core::{Level, Links, LogRecord, Time};
use libstas::nvme::log_page::{Entry, Unclear};
use stacd::connector::{
    DcPage, Event, MAX_IOCS_OF_ANNOUNCED_DCS, Origin, PageState, RemovalReason, RemovedDc, StafdView,
};

type Host = FakeHost<Connector>;

fn view(origin: Origin, follows_configured: bool, many: u32) -> StafdView {
    let entries = (0..many).map(|n| entry("192.0.2.1", &format!("nqn.2014-08.org.example:{n}"))).collect();
    let page = dc_page(&dc("192.0.2.1"), Time(Duration::from_secs(900)), entries);
    StafdView {
        dcs: vec![DcPage { origin, follows_configured, ..page }],
        removed: Some(Vec::new()),
        is_complete: true,
        left_out: Vec::new(),
    }
}

fn conf(most: u32) -> String {
    format!("[I/O controller connection management]\nmax-controllers-per-announced-dc={most}\n")
}

fn started(most: u32) -> Host {
    let mut host = Host::configured(&conf(most));
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    host.started()
}

#[test]
fn the_maximum_holds_for_discovery_controllers_that_only_mdns_names() {
    for (origin, follows_configured, connected) in [
        (Origin::Discovered, false, 5),
        (Origin::Referral, false, 5),
        (Origin::Unknown, false, 5),
        (Origin::Referral, true, 12),
        (Origin::Configured, false, 12),
    ] {
        let mut host = started(5);
        host.stafd_is(":1.5", view(origin, follows_configured, 12));
        host.wait(30);
        assert_eq!((host.kernel.len(), host.core.refused()), (connected, 12 - connected), "{origin:?}");
        let lines =
            host.log_records().filter(|record| record.text.contains("max-controllers-per-announced-dc=")).count();
        assert_eq!(lines, usize::from(connected == 5), "{origin:?}");
    }
}

/// stafd publishes other pages.
fn publishes(host: &mut Host, view: StafdView) {
    match host.peer.view.replace(view) {
        None => host.feed(Event::StafdOwner(Some(":1.5".into()))),
        Some(_) => host.feed(Event::DcRemoved),
    }
}

/// Entries that an announced discovery controller replaces all the time fill no log: neither those that are connected
/// nor those that do not answer. Trusted controllers have no limit, nor what was connected for them.
#[test]
fn announced_entries_that_are_replaced_all_the_time_do_not_fill_the_log() {
    const FLOOD: &str = "192.0.2.1";
    let numbered = |at: &str, from: u32, many: u32| -> Vec<Entry> {
        (from..from + many).map(|n| entry(at, &format!("nqn.2014-08.org.example:{n}"))).collect()
    };
    let page = |dc_at: &str, origin, entries| DcPage {
        origin,
        follows_configured: false,
        ..dc_page(&dc(dc_at), Time(Duration::from_secs(900)), entries)
    };
    let shown = |flood: Vec<Entry>, trusted: u32, quiet: u32| StafdView {
        dcs: vec![
            page(FLOOD, Origin::Discovered, flood),
            page("192.0.2.2", Origin::Configured, numbered("192.0.2.2", 0, trusted)),
            page("192.0.2.3", Origin::Discovered, numbered("192.0.2.3", 0, quiet)),
        ],
        removed: Some(Vec::new()),
        is_complete: true,
        left_out: Vec::new(),
    };
    let lines_of = |host: &Host, at: &str| {
        let of = |record: &&LogRecord| record.tid.as_ref().is_some_and(|tid| tid.traddr == at);
        host.log_records().filter(|record| record.level > Level::Debug).filter(of).count()
    };
    for is_dead in [false, true] {
        let mut host = started(4096);
        host.probe_keeps_off = true;
        if is_dead {
            host.dead.insert(FLOOD.into());
        }
        for round in 0..4 {
            publishes(&mut host, shown(numbered(FLOOD, round * 100, 100), 20, 20));
            host.wait(8);
        }
        publishes(&mut host, shown(Vec::new(), 10, 10));
        host.wait(20);
        assert!(lines_of(&host, FLOOD) <= 512, "{}", lines_of(&host, FLOOD));
        for at in ["192.0.2.2", "192.0.2.3"] {
            // Each is connected; of those removed, the cause and the end are logged.
            assert_eq!(lines_of(&host, at), 20 + 2 * 10, "{at}");
        }
        host.wait(700);
        assert_eq!(host.logged("log lines caused by announced discovery controllers were logged at debug level"), 1);
    }
}

/// What was connected for a configured discovery controller is logged when it is disconnected, although only an
/// announced one has listed it since.
#[test]
fn the_disconnect_of_a_formerly_trusted_connection_is_always_logged() {
    let view = |origin, listed: bool, round: u32| {
        let many = (0..100).map(|n| entry("192.0.2.9", &format!("nqn.2014-08.org.example:{round}:{n}")));
        let entries = many.chain(listed.then(|| entry("192.0.2.1", "nqn.2014-08.org.example:trusted"))).collect();
        let page = dc_page(&dc("192.0.2.1"), Time(Duration::from_secs(900)), entries);
        StafdView {
            dcs: vec![DcPage { origin, follows_configured: origin == Origin::Configured, ..page }],
            removed: Some(Vec::new()),
            is_complete: true,
            left_out: Vec::new(),
        }
    };
    let mut host = started(4096);
    host.stafd_is(":1.5", view(Origin::Configured, true, 0));
    host.wait(10);
    for round in 1..4 {
        publishes(&mut host, view(Origin::Discovered, true, round));
        host.wait(8);
    }
    publishes(&mut host, view(Origin::Discovered, false, 4));
    host.wait(20);
    let is_logged = host.log_records().any(|record| {
        record.level > Level::Debug
            && record.tid.as_ref().is_some_and(|tid| tid.subsysnqn.ends_with("trusted"))
            && record.text.starts_with("disconnecting: ")
    });
    assert!(is_logged);
}

#[test]
fn what_is_connected_stays_when_the_maximum_is_lowered_and_after_a_restart() {
    let mut host = started(100);
    host.stafd_is(":1.5", view(Origin::Discovered, false, 12));
    host.wait(30);
    host.configure(&conf(5));
    host.restart();
    host.stafd_is(":1.5", view(Origin::Discovered, false, 12));
    host.wait(60);
    assert_eq!((host.kernel.len(), host.gone.len(), host.core.refused()), (12, 0, 0));
}

/// An announced discovery controller can list any number of controllers: those that are refused are not saved.
#[test]
fn the_saved_state_has_no_controllers_that_are_refused() {
    for (origin, saved) in [(Origin::Discovered, 5), (Origin::Configured, 12)] {
        let mut host = started(5);
        host.stafd_is(":1.5", view(origin, false, 12));
        host.wait(30);
        let claims: usize = host.core.saved().sources.iter().map(|source| source.claims.len()).sum();
        assert_eq!(claims, saved, "{origin:?}");
    }
}

/// The level is saved: after a restart it holds until stafd has reported.
#[test]
fn a_controller_has_the_trust_level_of_the_page_that_lists_it() {
    let configured =
        "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2014-08.org.example:0\n";
    for (origin, follows_configured, level) in [
        (Origin::Discovered, false, Trust::AnnouncedDc),
        (Origin::Referral, false, Trust::AnnouncedDc),
        (Origin::Unknown, false, Trust::AnnouncedDc),
        (Origin::Referral, true, Trust::ConfiguredDc),
        (Origin::Configured, false, Trust::ConfiguredDc),
    ] {
        let mut host = Host::configured(configured);
        host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
        let mut host = host.started();
        host.stafd_is(":1.5", view(origin, follows_configured, 2));
        host.wait(30);
        let levels = |host: &Host| -> Vec<Option<Trust>> {
            host.core.controllers().into_iter().map(|ioc| ioc.member.trust).collect()
        };
        let expected = [Some(Trust::Administrator), Some(level)];
        assert_eq!(levels(&host), expected, "{origin:?}");
        host.stafd_vanishes();
        host.restart();
        host.wait(30);
        assert_eq!(levels(&host), expected, "{origin:?}, after a restart without stafd");
    }
}

/// Two pages of announced discovery controllers: the first lists these entries, the second has an unclear entry with
/// their NQN.
fn two_pages(entries: Vec<Entry>) -> StafdView {
    let since = Time(Duration::from_secs(900));
    let page = |traddr, entries| DcPage { origin: Origin::Discovered, ..dc_page(&dc(traddr), since, entries) };
    let unclear = vec![Unclear { subnqn: "x".into(), ..Unclear::default() }];
    let dcs = vec![page("192.0.2.1", entries), DcPage { unclear, ..page("192.0.2.2", Vec::new()) }];
    StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
}

/// Entries on these ports.
fn on_ports(ports: std::ops::Range<u16>, nqn: &str) -> Vec<Entry> {
    ports.map(|port| Entry { trsvcid: port.to_string(), ..entry("192.0.2.1", nqn) }).collect()
}

#[test]
fn two_announced_pages_cannot_exceed_the_maximum_one_after_the_other() {
    let mut host = started(5);
    host.stafd_is(":1.5", two_pages(Vec::new()));
    host.wait(60);
    for page in 1..10_u16 {
        host.peer.view = Some(two_pages(on_ports(10 * page..10 * page + 5, "x")));
        host.feed(Event::PageChanged(dc("192.0.2.1")));
        host.wait(60);
        assert_eq!(host.core.controllers().len(), 5, "{page}");
    }
}

#[test]
fn refused_controllers_are_forgotten_when_the_page_changes_or_goes() {
    for goes in [false, true] {
        let mut host = started(5);
        host.stafd_is(":1.5", two_pages(Vec::new()));
        host.wait(60);
        let mut length = Vec::new();
        for page in 1..13 {
            let mut view = two_pages(on_ports(1..200, &format!("nqn.{page}")));
            if goes {
                // Each page has a discovery controller of its own.
                view.dcs[0].dc = dc(&format!("198.51.100.{page}"));
                let gone =
                    RemovedDc { dc: dc(&format!("198.51.100.{}", page - 1)), reason: RemovalReason::ReferralGone };
                view.removed = Some(vec![gone]);
            }
            host.peer.view = Some(view);
            host.feed(if goes { Event::DcRemoved } else { Event::PageChanged(dc("192.0.2.1")) });
            host.wait(60);
            length.push(format!("{:?}", host.core).len());
        }
        assert!(length[11] < length[3] + length[3] / 4, "goes: {goes}, {length:?}");
    }
}

/// The absence of a controller is not proved while the connection of its discovery controller is new: the discovery
/// controller reconnects each time, and lists others.
#[test]
fn a_discovery_controller_that_reconnects_with_new_entries_cannot_exceed_the_maximum() {
    let mut host = started(5);
    let mut most = 0;
    for round in 0..20_u16 {
        let page = dc_page(&dc("192.0.2.1"), host.now, on_ports(10 * round..10 * round + 5, "x"));
        let dcs = vec![DcPage { origin: Origin::Discovered, ..page }];
        host.stafd_is(":1.5", StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() });
        host.feed(Event::DcRemoved);
        host.wait(3);
        most = most.max(host.kernel.len());
    }
    assert_eq!(most, 5);
    host.wait(600);
    let ports: Vec<String> = host.kernel.iter().map(|kernel| kernel.trsvcid.clone()).collect();
    assert_eq!(ports, ["190", "191", "192", "193", "194"], "the others have made room");
}

/// Each announced discovery controller stays below its own maximum. Large ones do not use up the limit for all.
#[test]
fn all_announced_discovery_controllers_together_have_a_maximum() {
    for (origin, connected) in
        [(Origin::Discovered, [4000, 4000, 4000, 3360, 64]), (Origin::Configured, [4000, 4000, 4000, 4000, 4000])]
    {
        let mut host = started(4096);
        host.hold(Op::Connect);
        host.hold(Op::Probe);
        let page = |n: u32| {
            let traddr = format!("192.0.2.{n}");
            let entries = (0..4000).map(|i| entry(&traddr, &format!("nqn.2014-08.org.example:{i}"))).collect();
            DcPage { origin, ..dc_page(&dc(&traddr), Time(Duration::from_secs(900)), entries) }
        };
        let dcs = (1..=5).map(page).collect();
        host.stafd_is(":1.5", StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() });
        let members = host.core.controllers();
        let at = |n: u32| members.iter().filter(|ioc| ioc.member.tid.traddr == format!("192.0.2.{n}")).count();
        assert_eq!([1, 2, 3, 4, 5].map(at), connected, "{origin:?}");
        assert_eq!(host.core.refused(), 5 * 4000 - members.len(), "{origin:?}");
        assert!(origin == Origin::Configured || members.len() <= MAX_IOCS_OF_ANNOUNCED_DCS);
    }
}

#[test]
fn refused_controllers_are_connected_when_there_is_room() {
    let mut host = started(5);
    host.dead.insert("192.0.2.9".into());
    let since = host.now;
    let view = |traddr: &str| {
        let entries = (0..5).map(|n| entry(traddr, &format!("nqn.{n}"))).collect();
        let page = DcPage { origin: Origin::Discovered, ..dc_page(&dc("192.0.2.1"), since, entries) };
        StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
    };
    host.stafd_is(":1.5", view("192.0.2.9"));
    host.wait(60);
    host.peer.view = Some(view("192.0.2.1"));
    host.feed(Event::PageChanged(dc("192.0.2.1")));
    host.wait(60);
    assert_eq!((host.addresses(), host.core.refused()), (vec!["192.0.2.1"; 5], 0));
}

/// A target that moves to another address while its storage is in use.
#[test]
fn a_new_path_to_storage_in_use_is_not_refused_because_of_the_old_one() {
    let mut host = started(1);
    let since = host.now;
    let view = |traddr: &str| {
        let page = DcPage { origin: Origin::Discovered, ..dc_page(&dc("192.0.2.1"), since, vec![entry(traddr, "a")]) };
        StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
    };
    host.stafd_is(":1.5", view("192.0.2.1"));
    host.in_use.insert("a".into());
    host.wait(60);
    host.peer.view = Some(view("192.0.2.9"));
    host.feed(Event::PageChanged(dc("192.0.2.1")));
    host.wait(60);
    assert!(host.addresses().contains(&"192.0.2.9"), "{:?}", host.addresses());
}

#[test]
fn one_announced_discovery_controller_gets_the_whole_maximum() {
    let mut host = started(20_000);
    host.hold(Op::Connect);
    host.hold(Op::Probe);
    host.stafd_is(":1.5", view(Origin::Discovered, false, 20_000));
    assert_eq!((host.core.controllers().len(), host.core.refused()), (20_000, 0));
}

#[test]
fn a_target_that_moves_again_and_again_gets_few_paths_beyond_the_maximum() {
    let mut host = started(1);
    let since = host.now;
    host.in_use.insert("a".into());
    for n in 1..10 {
        let entries = vec![entry(&format!("192.0.2.{n}"), "a")];
        let page = DcPage { origin: Origin::Discovered, ..dc_page(&dc("192.0.2.1"), since, entries) };
        host.stafd_is(
            ":1.5",
            StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
        );
        host.feed(Event::DcRemoved);
        host.wait(60);
    }
    assert_eq!(host.kernel.len(), 3);
}

#[test]
fn a_target_that_moves_with_all_its_portals_is_connected_at_the_maximum() {
    let mut host = started(4);
    let since = host.now;
    host.in_use.insert("a".into());
    for net in ["192.0.2", "198.51.100"] {
        let entries = (1..5).map(|n| entry(&format!("{net}.{n}"), "a")).collect();
        let page = DcPage { origin: Origin::Discovered, ..dc_page(&dc("192.0.2.1"), since, entries) };
        host.stafd_is(
            ":1.5",
            StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
        );
        host.feed(Event::DcRemoved);
        host.wait(60);
    }
    assert!(host.addresses().iter().any(|traddr| traddr.starts_with("198.51.100")), "{:?}", host.addresses());
}

/// What stafd publishes is bounded: so is what stacd remembers, also of pages that prove no absence.
#[test]
fn refused_controllers_are_forgotten_when_no_page_proves_their_absence() {
    for state in [PageState::Fresh, PageState::Saved, PageState::Unknown] {
        let mut host = started(5);
        let mut lengths = Vec::new();
        for round in 0..12_u16 {
            let entries = on_ports(1 + round * 200..200 + round * 200, "x");
            let page = DcPage { origin: Origin::Discovered, state, ..dc_page(&dc("192.0.2.1"), host.now, entries) };
            let dcs = vec![page];
            publishes(&mut host, StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() });
            host.wait(3);
            lengths.push(format!("{:?}", host.core).len());
        }
        assert!(lengths[11] < lengths[3] + lengths[3] / 4, "{state:?}: {lengths:?}");
    }
}

/// stafd drops the page of an announced discovery controller that is not connected, if others need its room.
#[test]
fn a_page_that_stafd_no_longer_has_disconnects_nothing() {
    for state in [PageState::Never, PageState::Saved] {
        let mut host = started(100);
        let published = view(Origin::Discovered, false, 12);
        publishes(&mut host, published.clone());
        host.wait(60);
        assert_eq!(host.kernel.len(), 12);
        let mut dropped = published;
        let page = &mut dropped.dcs[0];
        (page.state, page.connected_since, page.generation) = (state, None, None);
        page.entries.clear();
        publishes(&mut host, dropped);
        host.wait(600);
        host.restart();
        host.wait(600);
        assert_eq!((host.kernel.len(), host.gone.len()), (12, 0), "{state:?}");
    }
}
