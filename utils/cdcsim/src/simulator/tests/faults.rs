//! Tests of faults on demand.

use stas_nvme::log_page::{LogPage, ReadError};

use super::host::*;
use super::*;

fn fault(fabric: &mut Fabric, fault: Value) {
    fabric.ask(json!({"command": "fault", "fault": fault}));
}

fn once(fabric: &mut Fabric, fault: Value) {
    fabric.ask(json!({"command": "fault", "times": 1, "fault": fault}));
}

#[test]
fn refused_until_healed_and_those_that_are_there_stay() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fault(&mut fabric, json!({"kind": "refuse"}));
    assert_eq!(fabric.others, [Action::Listen(false)]);
    let late = fabric.accept();
    assert_eq!(fabric.others.pop(), Some(Action::Reset { id: late }), "it was on its way");
    assert_eq!(fabric.identify(&host).len(), 4096);
    fabric.ask(json!({"command": "heal"}));
    assert_eq!(fabric.others, [Action::Listen(false), Action::Listen(true)]);
}

#[test]
fn a_fault_ends_when_its_time_is_over() {
    let mut fabric = Fabric::new();
    fabric.ask(json!({"command": "fault", "seconds": 5, "fault": {"kind": "refuse"}}));
    fabric.wait(Id(0), Duration::from_millis(4999));
    assert_eq!(fabric.others, [Action::Listen(false)]);
    fabric.wait(Id(0), Duration::from_millis(1));
    assert_eq!(fabric.others, [Action::Listen(false), Action::Listen(true)]);
}

#[test]
fn silence_begins_where_it_is_asked_for() {
    let answers = |before: &str| {
        let mut fabric = Fabric::new();
        fault(&mut fabric, json!({"kind": "silent", "before": before}));
        let host = Host { id: fabric.accept(), digests: 0 };
        let mut answered = Vec::new();
        answered.push(!fabric.send(host.id, &ic_request(0)).is_empty());
        answered.push(!fabric.capsule(&host, &connect_entry(1000), &connect_data(HOST)).is_empty());
        let enable = entry(0x7f, &[(4, &[0]), (44, &[0x14]), (48, &[0x01, 0x00, 0x46])]);
        answered.push(!fabric.capsule(&host, &enable, &[]).is_empty());
        answered.push(!fabric.capsule(&host, &log_page(0x70, 0, 0, 1024), &[]).is_empty());
        fabric.ask(json!({"command": "heal"}));
        answered.push(!fabric.capsule(&host, &entry(0x18, &[]), &[]).is_empty());
        answered
    };
    assert_eq!(answers("icresp"), [false; 5]);
    assert_eq!(answers("connect"), [true, false, false, false, false]);
    assert_eq!(answers("command"), [true, true, false, false, false]);
    assert_eq!(answers("log-page"), [true, true, true, false, true], "healed, it answers the next");
}

#[test]
fn a_connection_is_reset_in_the_middle_of_a_log_page() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    once(&mut fabric, json!({"kind": "reset-log-page", "after": 100}));
    assert_eq!(fabric.command(&host, &log_page(0x00, 0, 0, 1024)).0.status(), 0, "another page is another matter");
    let came = fabric.send(host.id, &capsule(0, &log_page(0x70, 0, 0, 1024), &[]));
    assert_eq!((came.len(), came[0]), (124, 0x07));
    assert_eq!(fabric.others, [Action::Reset { id: host.id }]);
    let again = fabric.connect(HOST);
    assert_eq!(fabric.sees(&again).len(), 2);
}

#[test]
fn an_optional_command_closes_the_connection() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fault(&mut fabric, json!({"kind": "close", "on": "supported-log-pages"}));
    fault(&mut fabric, json!({"kind": "old"}));
    assert_eq!(fabric.identify(&host)[80..84], [0, 3, 1, 0], "VER: 1.3");
    assert_eq!(fabric.sees(&host).len(), 2, "another page is another matter");
    assert_eq!(fabric.send(host.id, &capsule(0, &log_page(0x00, 0, 0, 1024), &[])), [0_u8; 0]);
    assert_eq!(fabric.others, [Action::Reset { id: host.id }]);
    fabric.ask(json!({"command": "heal"}));
    let again = fabric.connect(HOST);
    assert_eq!(fabric.command(&again, &log_page(0x00, 0, 0, 1024)).0.status(), 0);
}

#[test]
fn what_is_delayed_comes_late_and_in_its_order() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    once(&mut fabric, json!({"kind": "delay", "ms": 500}));
    assert_eq!(fabric.capsule(&host, &entry(0x18, &[(2, &[1])]), &[]), []);
    assert_eq!(fabric.capsule(&host, &entry(0x18, &[(2, &[2])]), &[]), [], "behind the one that is late");
    assert_eq!(fabric.wait(host.id, Duration::from_millis(499)), [0_u8; 0]);
    let came = fabric.wait(host.id, Duration::from_millis(1));
    assert_eq!(Fabric::pdus(0, &came).iter().map(Pdu::cid).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_restless_page_is_never_the_same_twice() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fault(&mut fabric, json!({"kind": "restless"}));
    let generations: Vec<u8> = (0..3).map(|_| fabric.command(&host, &log_page(0x70, 0, 0, 1024)).1[0]).collect();
    assert_eq!(generations, [2, 3, 4]);
}

#[test]
fn a_page_lies_about_its_length() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    once(&mut fabric, json!({"kind": "numrec", "count": 1_u64 << 40}));
    let header = fabric.command(&host, &log_page(0x70, 0, 0, 1024)).1;
    assert_eq!(LogPage::parse(&header), Err(ReadError::TooMany(1 << 40)));
    once(&mut fabric, json!({"kind": "empty"}));
    assert_eq!(fabric.sees(&host), [""; 0]);
    assert_eq!(fabric.sees(&host).len(), 2, "only once");
}

#[test]
fn an_extended_entry_lies_about_its_length() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    fault(&mut fabric, json!({"kind": "entry-length", "len": 1000}));
    assert_eq!(LogPage::parse(&fabric.page(&host, 1)), Err(ReadError::EntryLength { index: 0, len: 1000 }));
    assert_eq!(fabric.sees(&host).len(), 2, "basic entries have no length");
}

#[test]
fn each_malformed_entry_stands_before_the_others_and_hurts_none_of_them() {
    use clap::ValueEnum as _;
    let mut dropped = 0;
    for kind in crate::fault::Malformation::value_variants() {
        for lsp in [0, 1] {
            let mut fabric = Fabric::new();
            let host = fabric.connect(HOST);
            fault(&mut fabric, json!({"kind": "malformed", "entry": kind}));
            let page = LogPage::parse(&fabric.page(&host, lsp)).unwrap();
            assert_eq!(page.entries.len() + page.dropped.len(), 3, "{kind:?}");
            let sound: Vec<_> = page.entries.iter().rev().take(2).map(|entry| entry.traddr.as_str()).collect();
            assert_eq!(sound, ["192.0.2.1", "192.0.2.9"], "{kind:?}");
            dropped += page.dropped.len();
        }
    }
    // Blank, ones, subtype, no-nqn, long-nqn, control, comma: each in both formats.
    assert_eq!(dropped, 14);
}

#[test]
fn commands_fail_with_the_status_that_is_asked_for() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    once(&mut fabric, json!({"kind": "log-page-status", "status": 0x4006}));
    assert_eq!(fabric.command(&host, &log_page(0x70, 0, 0, 1024)).0.status(), 0x006);
    fault(&mut fabric, json!({"kind": "register-status", "status": 0x12f}));
    let inform = entry(0x21, &[(32, &[4]), (39, &[0x01])]);
    assert_eq!(fabric.capsule(&host, &inform, &[0; 4])[0].status(), 0x12f);
    fault(&mut fabric, json!({"kind": "connect-status", "status": 0x184}));
    let refused = Host { id: fabric.accept(), digests: 0 };
    fabric.send(refused.id, &ic_request(0));
    assert_eq!(fabric.capsule(&refused, &connect_entry(0), &connect_data(HOST))[0].status(), 0x184);
}

#[test]
fn a_fault_strikes_the_host_that_it_is_meant_for() {
    let mut fabric = Fabric::new();
    let (one, other) = (fabric.connect(HOST), fabric.connect(OTHER));
    fabric.ask(json!({"command": "fault", "host": OTHER, "fault": {"kind": "empty"}}));
    assert_eq!((fabric.sees(&one).len(), fabric.sees(&other).len()), (2, 0));
}

#[test]
fn keep_alive_is_ignored_or_not_even_agreed_on() {
    let mut fabric = Fabric::new();
    let host = fabric.connect_with(HOST, 0, 1000);
    once(&mut fabric, json!({"kind": "ignore-keep-alive"}));
    assert_eq!(fabric.capsule(&host, &entry(0x18, &[]), &[]), []);
    assert_eq!(fabric.command(&host, &entry(0x18, &[])).0.status(), 0);
    fault(&mut fabric, json!({"kind": "refuse-keep-alive"}));
    let refused = Host { id: fabric.accept(), digests: 0 };
    fabric.send(refused.id, &ic_request(0));
    let answer = &fabric.capsule(&refused, &connect_entry(1000), &connect_data(HOST))[0];
    assert_eq!((answer.status(), answer.result()), (0x182, 48));
    fabric.connect_with(HOST, 0, 0);
}

#[test]
fn events_are_dropped_duplicated_or_come_as_a_storm() {
    let ncc = |value: &str| json!({"command": "set", "what": {"ncc": {"name": "one", "value": value}}});
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    once(&mut fabric, json!({"kind": "drop-events"}));
    assert_eq!(fabric.told(ncc("on")), []);
    once(&mut fabric, json!({"kind": "duplicate-events"}));
    assert_eq!(fabric.told(ncc("off")), [(host.id, 1)]);
    assert_eq!(fabric.capsule(&host, &entry(0x0c, &[(2, &[98])]), &[]).len(), 1, "the second of two");

    fault(&mut fabric, json!({"kind": "storm", "rate": 1000}));
    let mut events = 0;
    for _ in 0..500 {
        events += Fabric::pdus(0, &fabric.wait(host.id, Duration::from_millis(2))).len();
        // The host sends the next request as soon as an event arrives.
        events += fabric.capsule(&host, &entry(0x0c, &[]), &[]).iter().filter(|pdu| pdu.status() == 0).count();
    }
    assert!(events >= 490, "{events} events in a second, with one request at a time");
    fabric.ask(json!({"command": "heal"}));
    fabric.wait(host.id, Duration::from_secs(1));
    assert_eq!(fabric.simulator.deadline(), None, "and then it is calm");
}

#[test]
fn it_vanishes_and_comes_back_as_somebody_else() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let nqn = "nqn.2014-08.org.nvmexpress:cdcsim:new";
    fabric.ask(json!({"command": "vanish", "seconds": 3, "nqn": nqn, "cntlid": 500, "empty": true}));
    assert_eq!(fabric.others, [Action::Reset { id: host.id }, Action::Listen(false)]);
    fabric.wait(host.id, Duration::from_secs(3));
    assert_eq!(fabric.others.pop(), Some(Action::Listen(true)));
    let host = fabric.connect(HOST);
    let data = fabric.identify(&host);
    assert_eq!(u16::from_le_bytes([data[78], data[79]]), 500);
    assert_eq!(fabric.sees(&host), [nqn]);
}
