//! Bounds on what mDNS and log pages may make stafd connect: max-announced= and max-referrals=.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use fake_host::{FakeHost, Finder, Op, announced, dc, interface, on_iface, own_entry, referral};
use libstas::core::browse::{BrowseEvent, Endpoint};
use libstas::core::{Level, Links};
use libstas::nvme::announcement::offer;
use libstas::nvme::log_page::{Entry, TrType};
use stafd::finder::{Event, Removed};

type Host = FakeHost<Finder>;

fn host(conf: &str) -> Host {
    let mut host = Host::configured(&format!("[Service Discovery]\n{conf}"));
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    host.dead.insert("10.*".into());
    host.probe_keeps_off = true;
    host.started()
}

fn hear(host: &mut Host, addresses: impl IntoIterator<Item = String>) {
    let heard = addresses.into_iter().map(|address| announced(&address, 1, &address)).collect::<Vec<_>>();
    for some in heard.chunks(32) {
        host.feed(Event::BrowseEvent(some.to_vec()));
    }
}

fn at(net: &str, hosts: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    hosts.map(move |host| format!("{net}.{host}"))
}

fn warnings(host: &Host, key: &str) -> usize {
    host.log_records().filter(|record| record.text.contains(key)).count()
}

#[test]
fn no_more_announced_controllers_are_connected_than_the_maximum() {
    let mut host = host("max-announced=3\n");
    hear(&mut host, at("192.0.2", 1..11));
    host.wait(60);
    assert_eq!(host.addresses().len(), 3);
    assert_eq!((host.core.refused(), warnings(&host, "max-announced=")), (7, 1));
    assert!(!host.core.published().is_complete);
    assert!(
        stafd::api::status(&host.core).ends_with("7 more refused because of a limit"),
        "{}",
        stafd::api::status(&host.core)
    );
}

#[test]
fn what_is_connected_stays_when_the_maximum_is_lowered_and_after_a_restart() {
    let mut host = host("");
    hear(&mut host, at("192.0.2", 1..11));
    host.wait(60);
    assert_eq!(host.addresses().len(), 10);
    host.configure("[Service Discovery]\nmax-announced=3\n");
    host.wait(60);
    host.restart();
    hear(&mut host, at("192.0.2", 1..11));
    host.wait(60);
    assert_eq!((host.addresses().len(), host.gone.len(), host.core.refused()), (10, 0, 0));
}

#[test]
fn what_an_earlier_version_has_connected_is_never_refused() {
    let mut host = Host::configured("[Service Discovery]\nmax-announced=3\n");
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    let live = host.add(&on_iface("eth0", &dc("192.0.2.9")));
    host.start();
    hear(&mut host, at("192.0.2", 1..11));
    host.wait(60);
    assert!(host.core.controller(&on_iface("eth0", &dc("192.0.2.9"))).is_some_and(|dc| dc.log_page.is_some()));
    assert!(host.has(live));
    assert_eq!(host.core.refused(), 6);
}

#[test]
fn configured_controllers_take_no_room_and_are_never_refused() {
    let line = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.200\n";
    let mut host = host("max-announced=1\n");
    hear(&mut host, at("192.0.2", 1..4));
    host.wait(10);
    host.configure(&format!("[Service Discovery]\nmax-announced=1\n{line}"));
    host.wait(10);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.200"]);
}

#[test]
fn candidates_that_do_not_answer_keep_nobody_out() {
    let mut host = host("max-announced=2\n");
    hear(&mut host, at("10.0.0", 1..51));
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(120);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn there_is_room_again_when_one_goes() {
    let mut host =
        host("max-announced=1\n[Discovery controller connection management]\nzeroconf-connections-persistence=0\n");
    hear(&mut host, at("192.0.2", 1..3));
    host.wait(10);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.dead.insert("192.0.2.1".into());
    host.lose("192.0.2.1");
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone("192.0.2.1".into())]));
    host.wait(60);
    assert_eq!((host.addresses(), host.core.refused()), (vec!["192.0.2.2"], 0));
}

#[test]
fn no_more_referrals_of_one_page_are_followed_than_the_maximum() {
    let conf = "[Service Discovery]\nmax-referrals=3\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n\
                controller=transport=tcp;traddr=192.0.2.2\n";
    let mut host = Host::configured(conf);
    let page = |net, many| at(net, 1..many).map(|traddr| referral(&traddr)).collect::<Vec<_>>();
    host.peer.pages.insert("192.0.2.1".into(), page("198.51.100", 9));
    host.peer.pages.insert("192.0.2.2".into(), page("203.0.113", 3));
    host.start();
    host.wait(60);
    let of = |net: &str| host.addresses().iter().filter(|traddr| traddr.starts_with(net)).count();
    assert_eq!((of("198.51.100"), of("203.0.113"), of("192.0.2")), (3, 2, 2));
    assert_eq!((host.core.refused(), warnings(&host, "max-referrals=")), (5, 1));
    assert!(!host.core.published().is_complete);
    host.page_is("192.0.2.1", Vec::new());
    host.wait(60);
    assert!(host.core.published().is_complete);
}

#[test]
fn what_announced_controllers_refer_to_counts_as_announced() {
    let mut host = Host::configured("[Service Discovery]\nmax-announced=4\n");
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    for (by, net) in [("192.0.2.1", "198.51.100"), ("192.0.2.2", "203.0.113")] {
        host.peer.pages.insert(by.into(), at(net, 1..9).map(|traddr| referral(&traddr)).collect());
    }
    host.start();
    hear(&mut host, at("192.0.2", 1..3));
    host.wait(60);
    assert_eq!(host.addresses().len(), 4);
}

/// Announces discovery controllers that do not answer, one after the other at the same address, and withdraws each.
#[test]
fn candidates_that_an_unclear_entry_may_mean_leave_with_their_announcement() {
    let mut host = host("");
    // Of a transport that this host does not have.
    let unclear = Entry { trtype: TrType(77), trsvcid: String::new(), ..referral("10.0.0.7") };
    host.peer.pages.insert("192.0.2.1".into(), vec![unclear]);
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(60);
    for port in 1..20 {
        let endpoints = vec![Endpoint { interface: 1, address: "10.0.0.7".parse().unwrap() }];
        let offer = offer(port, [("p", Some(b"tcp".as_slice()))]);
        host.feed(Event::BrowseEvent(vec![BrowseEvent::Announced { service: "x".into(), offer, endpoints }]));
        host.wait(10);
        assert_eq!(host.core.controllers().len(), 2);
        host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone("x".into())]));
        host.wait(10);
        assert_eq!(host.core.controllers().len(), 1);
    }
}

/// The length of all that the core remembers.
fn memory(host: &Host) -> usize {
    format!("{:?}", host.core).len()
}

#[test]
fn refused_referrals_are_forgotten_when_the_page_changes() {
    let mut host = host("max-referrals=3\n");
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(60);
    let mut length = Vec::new();
    for net in 0..12 {
        host.page_is("192.0.2.1", at(&format!("10.1.{net}"), 1..200).map(|traddr| referral(&traddr)).collect());
        host.wait(60);
        length.push(memory(&host));
    }
    assert!(length[11] < length[3] + length[3] / 4, "{length:?}");
}

/// A page with thousands of referrals, and of entries for discovery controllers at other ports of the same address.
#[test]
fn a_page_with_thousands_of_entries_that_mean_none_of_its_referrals_is_taken_at_once() {
    let mut host = host("max-referrals=3\n");
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(60);
    let on = |port: u32, entry: Entry| Entry { trsvcid: port.to_string(), ..entry };
    let referrals = (1..8000).map(|port| on(port, referral("10.0.0.7")));
    let others = (8000..16_000).map(|port| on(port, own_entry("10.0.0.7", true)));
    host.page_is("192.0.2.1", referrals.clone().collect());
    host.wait(1);
    let begin = Instant::now();
    host.page_is("192.0.2.1", referrals.chain(others).collect());
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn refused_and_excluded_candidates_are_forgotten_with_their_announcement() {
    for conf in ["max-announced=1\n", "[Controllers]\nexclude=transport=tcp\n"] {
        let mut host = host(conf);
        hear(&mut host, at("192.0.2", 1..2));
        host.wait(60);
        let mut length = Vec::new();
        for net in 0..12 {
            let addresses: Vec<String> = at(&format!("198.51.{net}"), 1..100).collect();
            hear(&mut host, addresses.clone());
            host.wait(5);
            host.feed(Event::BrowseEvent(addresses.into_iter().map(BrowseEvent::Gone).collect()));
            host.wait(60);
            length.push(memory(&host));
        }
        assert!(length[11] < length[3] + length[3] / 4, "{conf}: {length:?}");
    }
}

/// stacd removes what a removed discovery controller listed only while that discovery controller is in the list.
#[test]
fn referrals_of_an_announced_controller_do_not_displace_removed_controllers() {
    let line = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.200\n";
    let mut host = host(line);
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(10);
    host.configure("");
    host.wait(10);
    let removed = |host: &Host| host.core.removed().iter().any(|removed| removed.dc.traddr == "192.0.2.200");
    assert!(removed(&host));
    for round in 0..40 {
        host.page_is("192.0.2.1", (1..65).map(|n| referral(&format!("10.1.{round}.{n}"))).collect());
        host.wait(60);
    }
    assert!(removed(&host));
    assert!(host.core.removed().len() < 100, "{}", host.core.removed().len());
}

/// While stacd is down, it learns of removals from that list only. Referrals that answer are listed there.
#[test]
fn removed_controllers_that_only_mdns_announced_are_displaced_first() {
    const CONFIGURED: [&str; 2] = ["192.0.2.200", "192.0.2.201"];
    let lines: String =
        CONFIGURED.iter().map(|at| format!("controller=transport=tcp;traddr={at}\n")).collect::<Vec<_>>().concat();
    let unbound = "[Global]\nignore-iface=true\n";
    let mut host = host(&format!("{unbound}[Controllers]\n{lines}"));
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(10);
    host.configure(unbound);
    host.wait(10);
    // The second one is announced for a while, and removed again.
    hear(&mut host, at("192.0.2", 201..202));
    host.wait(10);
    assert_eq!(host.core.removed().len(), 1);
    let mut saved = host.core.saved();
    let announced = |n: u32| Removed {
        dc: fake_host::dc(&format!("198.18.{}.{}", n / 250, n % 250)),
        announced_only: true,
        ..saved.removed[0].clone()
    };
    let many: Vec<Removed> = (0..1023).map(announced).collect();
    saved.removed.extend(many);
    host.kill_with(serde_json::to_string(&saved).unwrap());
    host.write(unbound);
    host.start();
    for n in 1..5 {
        host.page_is("192.0.2.1", vec![referral(&format!("192.0.2.{}", 100 + n))]);
        host.wait(10);
    }
    host.configure(&format!("{unbound}[Service Discovery]\nzeroconf=disabled\n"));
    host.lose("192.0.2.201");
    host.wait(60);
    let removed = host.core.removed();
    assert!(removed.len() <= 1024, "{}", removed.len());
    let listed = |at: &str| removed.iter().find(|removed| removed.dc.traddr == at);
    assert!(listed("192.0.2.103").unwrap().announced_only);
    for at in CONFIGURED {
        assert!(!listed(at).unwrap().announced_only, "{at}");
    }
}

#[test]
fn a_page_that_changes_all_the_time_does_not_fill_the_log() {
    let mut host = host("");
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(10);
    for round in 0..500 {
        let damaged = (0..50).map(|n| referral(&format!("not an address {round} {n}")));
        host.page_is("192.0.2.1", damaged.collect());
        host.wait(0.5);
    }
    let lines = host.log_records().filter(|record| record.level > Level::Debug).count();
    assert!(lines < 200, "{lines}");
}

/// A read costs up to 16 MiB, a reconcile, a signal and a save. A discovery controller that only mDNS announces cannot
/// make stafd read in a loop, neither with events nor with new connections.
#[test]
fn an_announced_controller_that_reports_changes_all_the_time_is_read_once_a_second() {
    for (is_announced, is_allowed) in [(true, 9..=13), (false, 200..=400)] {
        let mut host = if is_announced { host("") } else { Host::with(&["192.0.2.1"]).started() };
        if is_announced {
            hear(&mut host, at("192.0.2", 1..2));
        }
        assert_eq!(host.count_of(Op::ReadPage), 1, "the first read is not delayed");
        for round in 0..200 {
            host.page_is("192.0.2.1", vec![referral(&format!("10.1.1.{round}"))]);
            host.wait(0.05);
        }
        let reads = host.count_of(Op::ReadPage);
        assert!(is_allowed.contains(&reads), "announced: {is_announced}: {reads}");
        // The last change is read, too.
        host.page_is("192.0.2.1", vec![referral("10.1.2.1")]);
        host.wait(1.1);
        let view = host.core.controllers();
        let page = view.iter().find(|dc| dc.member.tid.traddr == "192.0.2.1").unwrap().log_page.unwrap();
        assert_eq!(page.entries[0].traddr, "10.1.2.1", "announced: {is_announced}");
    }
}

/// One referral of 64 stays, the others are replaced by new ones that are connected, too.
#[test]
fn referrals_of_an_announced_controller_that_are_replaced_all_the_time_do_not_fill_the_log() {
    let line = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.200\n";
    let mut host = host(line);
    hear(&mut host, at("192.0.2", 1..2));
    host.wait(10);
    for round in 0..6 {
        let swapped = (1..64).map(|n| referral(&format!("198.18.{round}.{n}")));
        host.page_is("192.0.2.1", swapped.chain([referral("192.0.2.100")]).collect());
        host.wait(15);
    }
    assert!(host.gone.len() > 300, "{}", host.gone.len());
    let logged = |host: &Host| host.log_records().filter(|record| record.level > Level::Debug).count();
    assert!(logged(&host) < 200, "{}", logged(&host));
    host.configure("");
    host.wait(10);
    let about_configured = host.log_records().filter(|record| {
        record.level > Level::Debug && record.tid.as_ref().is_some_and(|tid| tid.traddr == "192.0.2.200")
    });
    let texts: Vec<&str> = about_configured.map(|record| record.text.as_str()).collect();
    for text in ["given up", "disconnecting: controller= removed from stafd.conf", "disconnected and removed"] {
        assert!(texts.iter().any(|logged| logged.starts_with(text)), "{text}: {texts:?}");
    }
    host.wait(600);
    assert_eq!(host.logged("log lines caused by announced discovery controllers were logged at debug level"), 1);
}

/// Of each page, the first defects are logged that the page before did not have.
#[test]
fn the_defects_of_a_page_are_logged_once_and_not_all() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let damaged = |from: u32| (from..from + 20).map(|n| referral(&format!("not an address {n}"))).collect::<Vec<_>>();
    let mut seen = 0;
    for (from, expected, more) in [(0, 8, "12 further entries"), (0, 0, ""), (15, 8, "7 further entries"), (14, 1, "")]
    {
        host.page_is("192.0.2.1", damaged(from));
        host.wait(10);
        let lines: Vec<&str> =
            host.log_records().map(|record| &*record.text).filter(|text| text.contains("not an address")).collect();
        assert_eq!(lines.len() - seen, expected, "{from}");
        assert!(lines.last().unwrap().contains(more), "{lines:?}");
        seen = lines.len();
    }
}
