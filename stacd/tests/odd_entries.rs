//! Log entries that are spelt differently, damaged, or moved to another address.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, TARGET, dc_page, entry, io};
use libstas::bus::contract::StafdView;
use libstas::core::Time;
use libstas::nvme::log_page::{Entry, Subtype, TrType, Unclear};
use libstas::nvme::{DISCOVERY_NQN, Tid, TidParts, Transport};
use serde_json::Value;

type Host = FakeHost<Connector>;

const FC: &str = "nn-0x10000090fa942779:pn-0x20000090fa942779";
const FC_HOST: &str = "nn-0x10000090fa000001:pn-0x20000090fa000001";

/// stacd with a stafd whose page lists these subsystems on a settled connection.
fn connected_to(nqns: &[&str]) -> Host {
    let mut host = Host::configured("").started();
    host.stafd_with(nqns, 100);
    // By then the discovery controller no longer counts as new.
    host.wait(60);
    assert_eq!(host.nqns(), nqns);
    host
}

fn good(nqns: &[&str]) -> Vec<Entry> {
    nqns.iter().map(|nqn| entry(TARGET, nqn)).collect()
}

fn with_port(nqn: &str, trsvcid: &str) -> Entry {
    Entry { trsvcid: trsvcid.into(), ..entry(TARGET, nqn) }
}

fn with(good_ones: &[&str], odd: Entry) -> Vec<Entry> {
    good(good_ones).into_iter().chain([odd]).collect()
}

#[test]
fn a_known_entry_whose_field_is_damaged_keeps_its_controller_connected_for_ever() {
    let c = || entry(TARGET, "c");
    let damaged = [
        with_port("c", ""),
        with_port("c", "0"),
        with_port("c", "none"),
        with_port("c", "65536"),
        with_port("c", "http"),
        Entry { traddr: "storage.example".into(), ..c() },
        Entry { traddr: String::new(), ..c() },
        Entry { traddr: "0.0.0.0".into(), ..c() },
        Entry { traddr: FC.into(), ..c() },
        Entry { trtype: TrType(77), ..c() },
        Entry { trtype: TrType::FC, ..c() },
        Entry { subtype: Subtype(7), ..c() },
        Entry { subtype: Subtype::REFERRAL, ..c() },
        Entry { subnqn: String::new(), ..c() },
        Entry { subnqn: DISCOVERY_NQN.into(), ..c() },
    ];
    for odd in damaged {
        let mut host = connected_to(&["a", "b", "c"]);
        let before = host.ctrls();
        host.page_has(with(&["a", "b"], odd.clone()));
        host.wait(4000);
        assert_eq!(host.ctrls(), before, "{odd:?}");
        host.page_is(&["a", "b", "c"]);
        host.wait(60);
        assert_eq!((host.ctrls(), host.gone.len()), (before, 0), "{odd:?}");
        host.page_is(&["a", "b"]);
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b"], "the entry is gone: {odd:?}");
    }
}

#[test]
fn all_entries_with_a_damaged_port_lose_nothing() {
    let mut host = connected_to(&["a", "b", "c"]);
    host.page_has(["a", "b", "c"].map(|nqn| with_port(nqn, "")).into());
    host.wait(4000);
    assert_eq!((host.nqns(), host.gone.len()), (vec!["a", "b", "c"], 0));
}

#[test]
fn a_port_with_leading_zeros_is_the_same_controller() {
    let mut host = connected_to(&["a", "b"]);
    let before = host.ctrls();
    host.page_has(with(&["a"], with_port("b", "04420")));
    host.wait(60);
    assert_eq!((host.ctrls(), host.gone.len()), (before, 0));
    assert!(host.core.controller(&io(TARGET, "b")).is_some());
}

#[test]
fn a_controller_without_a_port_is_never_connected() {
    for port in ["", "0", "none", "65536"] {
        let mut host = connected_to(&["a"]);
        host.page_has(with(&["a"], with_port("new", port)));
        host.wait(60);
        assert_eq!(host.nqns(), ["a"], "{port}");
    }
}

#[test]
fn a_damaged_entry_holds_back_the_removal_of_the_others_for_two_settled_pages() {
    let mut host = connected_to(&["a", "b", "c"]);
    host.page_has(with(&["a"], with_port("c", "none")));
    host.wait(4);
    assert_eq!(host.nqns(), ["a", "b", "c"], "b may be what the damaged entry means");
    host.wait(20);
    assert_eq!(host.nqns(), ["a", "c"]);
    host.page_has(with(&[], with_port("c", "none")));
    host.wait(20);
    assert_eq!(host.nqns(), ["c"], "the entry is known by now");
}

#[test]
fn an_entry_without_a_readable_nqn_keeps_what_is_at_its_address() {
    let mut host = connected_to(&["a", "b"]);
    host.page_has(vec![entry(TARGET, "a"), entry(TARGET, "b"), entry("192.0.2.2", "far")]);
    host.wait(60);
    assert_eq!(host.nqns(), ["a", "b", "far"]);
    let here = Unclear { traddr: TARGET.into(), trsvcid: "4420".into(), is_damaged: true, ..Unclear::default() };
    host.peer.first().unclear = vec![here];
    host.page_is(&["a"]);
    host.wait(4000);
    assert_eq!(host.nqns(), ["a", "b"], "far is elsewhere; b may be what the entry means");
    host.restart();
    let view = host.peer.view.clone().unwrap();
    host.stafd_is(":1.6", view);
    host.wait(4000);
    assert_eq!(host.nqns(), ["a", "b"]);
    host.page_is(&[]);
    host.wait(60);
    assert_eq!(host.nqns(), ["a", "b"], "the entry may be that of a now");
    host.peer.first().unclear.clear();
    host.page_is(&[]);
    host.wait(60);
    assert!(host.nqns().is_empty(), "the entry is gone");
}

#[test]
fn an_nqn_that_is_not_ascii_works_like_any_other() {
    let cafe = "nqn.2014-08.org.nvmexpress:café";
    let mut host = connected_to(&["a", cafe]);
    host.page_is(&["a"]);
    host.wait(2);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_discovery_controller_is_not_held_as_storage() {
    let mut host = connected_to(&["a"]);
    host.page_has(with(&["a"], entry(TARGET, DISCOVERY_NQN)));
    host.wait(60);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_subsystem_that_moves_is_connected_at_its_new_address_first() {
    let mut host = connected_to(&["a", "b"]);
    host.dead.insert("192.0.2.2".into());
    host.page_has(vec![entry("192.0.2.2", "a"), entry(TARGET, "b")]);
    host.wait(4);
    assert_eq!(host.addresses(), [TARGET, TARGET], "the new one is not connected yet");
    host.dead.clear();
    host.wait(5);
    assert_eq!(host.addresses(), [TARGET, "192.0.2.2"]);
    assert_eq!(host.disconnected(), ["a"]);
}

#[test]
fn a_subsystem_whose_new_address_never_answers_is_removed_after_ten_seconds_unless_it_is_in_use() {
    for in_use in [false, true] {
        let mut host = connected_to(&["a", "b"]);
        host.dead.insert("192.0.2.2".into());
        if in_use {
            host.in_use.insert("a".into());
        }
        host.page_has(vec![entry("192.0.2.2", "a"), entry(TARGET, "b")]);
        host.wait(9);
        assert_eq!(host.nqns(), ["a", "b"]);
        host.wait(3);
        assert_eq!(host.nqns().contains(&"a"), in_use);
    }
}

#[test]
fn a_new_subsystem_does_not_hold_back_the_removal_of_another() {
    let mut host = connected_to(&["a", "b"]);
    host.dead.insert("192.0.2.2".into());
    host.page_has(vec![entry("192.0.2.2", "new"), entry(TARGET, "b")]);
    host.wait(1);
    assert_eq!(host.nqns(), ["b"]);
}

#[test]
fn addresses_that_change_without_end_hold_back_a_removal_for_ten_seconds() {
    let mut host = connected_to(&["a", "b"]);
    host.dead.insert("10.*".into());
    for n in 1..40 {
        host.page_has(vec![entry(&format!("10.0.0.{n}"), "a"), entry(TARGET, "b")]);
        host.wait(1);
    }
    assert_eq!(host.nqns(), ["b"]);
}

/// A discovery controller over Fibre Channel.
fn fc_dc() -> Tid {
    let none = TidParts::none(Transport::Fc);
    Tid::new(TidParts {
        traddr: FC.into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: FC_HOST.into(),
        host_nqn: fake_host::HOST.into(),
        ..none
    })
}

#[test]
fn a_fibre_channel_page_is_recognised_in_each_spelling() {
    for trsvcid in ["none", "", "NONE", "4420"] {
        let mut host = Host::configured("").started();
        let by_hand = Tid::new(TidParts { subsysnqn: "a".into(), ..fc_dc().parts().clone() });
        let ctrl = host.add(&by_hand);
        let of =
            |nqn| Entry { trtype: TrType::FC, traddr: FC.to_uppercase(), trsvcid: trsvcid.into(), ..entry(FC, nqn) };
        let page = dc_page(&fc_dc(), Time(host.now.0 - std::time::Duration::from_secs(100)), vec![of("a"), of("b")]);
        host.stafd_is(
            ":1.5",
            StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
        );
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b"], "{trsvcid:?}");
        let before = host.ctrls();
        assert!(before.contains(&ctrl), "the connection made by hand serves the entry");
        host.restart();
        let view = host.peer.view.clone().unwrap();
        host.stafd_is(":1.6", view);
        host.wait(60);
        assert_eq!((host.ctrls(), host.gone.len()), (before, 0), "{trsvcid:?}");
    }
}

#[test]
fn an_unclear_entry_keeps_the_connections_of_others_in_the_audit_scope() {
    let mut host = Host::configured(
        "[I/O controller connection management]\ndisconnect-scope=all-connections-matching-disconnect-trtypes\n",
    )
    .started();
    host.add(&io(TARGET, "by-hand"));
    host.add(&io(TARGET, "unlisted"));
    host.stafd_with(&["a"], 100);
    host.page_has(with(&["a"], with_port("by-hand", "none")));
    host.wait(200);
    assert_eq!(host.nqns(), ["a", "by-hand"]);
}

/// A saved state of an earlier version: ports and addresses as they were received, and two spellings of one controller.
fn older(saved: &str) -> String {
    let mut saved: Value = serde_json::from_str(&saved.replace("\"4420\"", "\"04420\"")).unwrap();
    let sources = saved["sources"].as_array_mut().unwrap();
    let mut second = sources[0].clone();
    sources[0]["claims"].as_array_mut().unwrap().truncate(1);
    second["dc"]["traddr"] = Value::from("::ffff:192.0.2.1");
    second["claims"].as_array_mut().unwrap().remove(0);
    sources.push(second);
    saved.to_string()
}

#[test]
fn a_saved_state_with_two_spellings_of_one_controller_loses_nothing() {
    use fake_host::{Core as _, Daemon as _};
    let mut host = connected_to(&["a", "b", "c"]);
    let before = host.ctrls();
    let saved = host.core.save();
    host.core = Connector::restored(&older(&saved), 5);
    host.peer.view = None;
    host.start();
    host.wait(600);
    assert_eq!((host.ctrls(), host.gone.len()), (before, 0));
    assert_eq!(
        host.core.save().replace("\"04420\"", "\"4420\""),
        saved,
        "but for the entries, which stay as they were"
    );
    host.stafd_with(&["a"], 100);
    host.wait(60);
    assert_eq!(host.nqns(), ["a"], "all of them belong to that page");
}

#[test]
fn subtypes_other_than_nvme_connect_nothing() {
    let mut host = connected_to(&["a"]);
    host.page_has(with(&["a"], Entry { subtype: Subtype::REFERRAL, ..entry("192.0.2.9", "r") }));
    host.wait(60);
    assert_eq!(host.nqns(), ["a"]);
}
