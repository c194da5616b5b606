//! The bound on the log pages of discovery controllers that only mDNS announces.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, announced, interface, referral};
use libstas::bus::contract::PageState;
use libstas::bus::metrics::PAGE_AGE;
use libstas::core::{Level, Links};
use libstas::daemon::debug::Debuggable as _;
use libstas::nvme::log_page::{Entry, SecType, Subtype, TrType, Treq, Tsas};
use stafd::finder::{ANNOUNCED_PAGES_MAX, DcView, Effect, Event, Finder as Core, ReadFailure, RefreshError};

type Host = FakeHost<Finder>;

/// As large as an entry can be: of a transport that this host does not have.
fn large(number: usize) -> Entry {
    Entry {
        trtype: TrType(77),
        subtype: Subtype::NVME,
        trsvcid: "1".repeat(32),
        subnqn: format!("{number:0>223}"),
        traddr: format!("{number:0>256}"),
        tsas: Tsas::Raw(vec![7; 256]),
        ..referral("192.0.2.9")
    }
}

/// A page of about that part of what all announced pages may take.
fn page(percent: usize) -> Vec<Entry> {
    (0..ANNOUNCED_PAGES_MAX / 100 * percent / 1100).map(large).collect()
}

fn host(conf: &str) -> Host {
    let mut host = Host::configured(conf);
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    host.started()
}

fn hear(host: &mut Host, address: &str) {
    host.feed(Event::BrowseEvent(vec![announced(address, 1, address)]));
    host.wait(1);
}

fn at<T>(host: &Host, traddr: &str, of: impl FnOnce(&DcView<'_>) -> T) -> T {
    of(host.core.controllers().iter().find(|dc| dc.member.tid.traddr == traddr).unwrap())
}

fn length(host: &Host, traddr: &str) -> Option<usize> {
    at(host, traddr, |dc| dc.log_page.map(|page| page.entries.len()))
}

fn is_without_room(host: &Host, traddr: &str) -> bool {
    at(host, traddr, |dc| dc.log_page_failure == Some(&ReadFailure::NoRoom))
}

fn announced_memory(core: &Core) -> usize {
    core.controllers().iter().filter(|dc| dc.is_announced_only()).filter_map(|dc| Some(dc.log_page?.memory())).sum()
}

/// The third page does not fit: this is a failed read, not an empty page. Trusted pages take no room and need none.
#[test]
fn announced_pages_are_limited_together_and_trusted_ones_are_not() {
    let trusted = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.200\n";
    let mut host = host(trusted);
    host.page_is("192.0.2.200", page(80));
    host.wait(1);
    for n in 1..4 {
        host.peer.pages.insert(format!("192.0.2.{n}"), page(45));
        hear(&mut host, &format!("192.0.2.{n}"));
    }
    assert!(announced_memory(&host.core) <= ANNOUNCED_PAGES_MAX, "{}", announced_memory(&host.core));
    assert_eq!([1, 2, 3].map(|n| length(&host, &format!("192.0.2.{n}")).is_some()), [true, true, false]);
    assert_eq!(at(&host, "192.0.2.3", |dc| dc.log_page_state), PageState::Never);
    assert!(is_without_room(&host, "192.0.2.3") && !is_without_room(&host, "192.0.2.1"));
    assert_eq!(length(&host, "192.0.2.200"), Some(page(80).len()));
    let trusted_device = at(&host, "192.0.2.200", |dc| dc.member.kernel.unwrap().ctrl);
    let reads = host.effects.iter().filter_map(|effect| match effect {
        Effect::ReadLogPage { ctrl, announced, .. } => Some((*ctrl, *announced)),
        _ => None,
    });
    for (ctrl, announced) in reads {
        assert_eq!(announced, ctrl != trusted_device, "only reads of announced pages may be refused");
    }
    // A caller that has the page read again learns the reason.
    let dc = at(&host, "192.0.2.3", |dc| dc.member.tid.clone());
    host.feed(Event::Refresh { token: 7, dc });
    host.wait(2);
    let refused = Effect::Refreshed { token: 7, result: Err(RefreshError::Read(ReadFailure::NoRoom)) };
    assert!(host.effects.contains(&refused));
    let reason = ReadFailure::NoRoom.to_string();
    assert!(reason.contains("controller=") && reason.contains("32 MiB"), "{reason}");
    let warnings =
        host.log_records().filter(|record| record.level == Level::Warning && record.text.contains(&reason)).count();
    assert_eq!(warnings, 1, "logged once");
    // The remedy.
    host.configure(&format!("{trusted}controller=transport=tcp;traddr=192.0.2.3\n"));
    host.wait(60);
    assert_eq!(length(&host, "192.0.2.3"), Some(page(45).len()));
}

/// A page that grows too long is a failed read: the last one is kept, and its connected referrals stay connected.
#[test]
fn a_page_without_room_disconnects_nothing_and_is_read_when_there_is_room() {
    let mut host = host("");
    host.peer.pages.insert("192.0.2.1".into(), page(60));
    host.peer.pages.insert("192.0.2.2".into(), vec![referral("192.0.2.100")]);
    hear(&mut host, "192.0.2.1");
    hear(&mut host, "192.0.2.2");
    host.wait(40);
    assert_eq!(host.addresses().len(), 3);
    host.page_is("192.0.2.2", page(60));
    host.wait(100);
    assert!(is_without_room(&host, "192.0.2.2"));
    assert_eq!((length(&host, "192.0.2.2"), host.gone.len()), (Some(1), 0));
    assert_eq!(at(&host, "192.0.2.2", |dc| dc.log_page_state), PageState::Saved);
    assert!(host.count_of(Op::ReadPage) < 40, "{}", host.count_of(Op::ReadPage));
    // Shorter pages always fit, and make room.
    host.page_is("192.0.2.1", page(30));
    host.wait(100);
    assert_eq!(length(&host, "192.0.2.2"), Some(page(60).len()));
    assert!(!is_without_room(&host, "192.0.2.2"));
}

/// The page of a discovery controller that is not connected is dropped for the page of a connected one. Its referrals
/// are kept, and its removal is signalled later.
#[test]
fn pages_without_a_connection_make_room_and_their_referrals_stay() {
    let mut host = host("");
    let mut entries = page(60);
    entries.push(referral("192.0.2.100"));
    host.peer.pages.insert("192.0.2.1".into(), entries);
    host.peer.pages.insert("192.0.2.2".into(), page(60));
    hear(&mut host, "192.0.2.1");
    host.wait(40);
    host.dead.insert("192.0.2.1".into());
    host.lose("192.0.2.1");
    host.wait(5);
    assert!(length(&host, "192.0.2.1").is_some(), "nothing needs its room");
    hear(&mut host, "192.0.2.2");
    host.wait(60);
    assert_eq!((length(&host, "192.0.2.1"), length(&host, "192.0.2.2")), (None, Some(page(60).len())));
    assert_eq!(at(&host, "192.0.2.1", |dc| dc.published().state), PageState::Never);
    assert!(host.addresses().contains(&"192.0.2.100") && host.gone.is_empty(), "{:?}", host.addresses());
    let saved = host.core.saved();
    let first = saved.dcs.iter().find(|dc| dc.dc.traddr == "192.0.2.1").unwrap();
    assert!(first.signal_removal && first.referrals.iter().any(|tid| tid.traddr == "192.0.2.100"));
    host.restart();
    host.wait(60);
    assert!(host.gone.is_empty(), "nor after a restart");
}

/// An announced discovery controller can refer to any number of others. If those that are refused were saved, the state
/// could become too long to be saved at all.
#[test]
fn refused_referrals_of_announced_controllers_are_not_saved() {
    let tls = |entry| Entry { treq: Treq::REQUIRED, tsas: Tsas::Tcp { sectype: SecType::TLS13 }, ..entry };
    let target = |n, encrypted| {
        let entry = referral(&format!("198.51.100.{n}"));
        if encrypted { tls(entry) } else { entry }
    };
    let limits = "[Service Discovery]\nmax-referrals=3\n";
    let trusted = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n";
    let confs = [(limits.to_owned(), 3), (format!("{limits}{trusted}"), 200)];
    // Without keys for TLS, encrypted ones are not connected.
    for ((conf, saved), (encrypted, connected)) in
        confs.iter().flat_map(|conf| [(conf.clone(), (true, 1)), (conf.clone(), (false, 4))])
    {
        let mut host = host(&conf);
        host.peer.pages.insert("192.0.2.1".into(), (1..201).map(|n| target(n, encrypted)).collect());
        hear(&mut host, "192.0.2.1");
        host.wait(60);
        let state = host.core.saved();
        let dc = state.dcs.iter().find(|dc| dc.dc.traddr == "192.0.2.1").unwrap();
        assert_eq!((dc.referrals.len(), dc.encrypted_only.len()), (saved, if encrypted { saved } else { 0 }), "{conf}");
        assert_eq!(host.addresses().len(), connected, "{conf}");
        host.restart();
        host.wait(60);
        assert_eq!((host.addresses().len(), host.gone.len()), (connected, 0), "{conf}");
    }
}

/// While a connection is new, no page proves the absence of what an earlier one listed. Refused referrals need no such
/// proof: nothing is connected to them.
#[test]
fn refused_referrals_are_forgotten_when_the_connection_is_new_each_time() {
    let mut host = host("[Service Discovery]\nmax-referrals=3\n");
    hear(&mut host, "192.0.2.1");
    let mut lengths = Vec::new();
    for round in 0..12 {
        let targets = (1..200).map(|n| referral(&format!("10.1.{round}.{n}"))).collect();
        host.peer.pages.insert("192.0.2.1".into(), targets);
        host.lose("192.0.2.1");
        host.reconnect("192.0.2.1");
        host.wait(3);
        lengths.push(format!("{:?}", host.core).len());
    }
    assert!(lengths[11] < lengths[3] + lengths[3] / 4, "{lengths:?}");
}

/// Each announced discovery controller would be a new series of the metrics.
#[test]
fn the_ages_of_announced_pages_are_one_metric() {
    let mut host = host("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.200\n");
    host.wait(10);
    for n in 1..4 {
        hear(&mut host, &format!("192.0.2.{n}"));
        host.wait(40);
    }
    let samples = host.core.metrics(host.now);
    let ages: Vec<_> = samples.iter().filter(|sample| sample.name == PAGE_AGE).collect();
    assert_eq!(ages.len(), 2, "{ages:?}");
    let of = |label: &str, value: &str| {
        ages.iter().find(|sample| sample.labels.get(label).is_some_and(|text| text == value)).unwrap()
    };
    assert!(of("traddr", "192.0.2.200").value > 0.0);
    let announced = of("trust", "announced-dc");
    assert_eq!(announced.labels.len(), 1);
    let oldest = host.core.pages_read().filter(|(dc, _)| dc.traddr != "192.0.2.200").map(|(_, at)| at).min().unwrap();
    assert!((announced.value - host.now.since(oldest).as_secs_f64()).abs() < 0.01, "the oldest one");
}
