//! stafd starts with the state that an earlier version saved.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Core as _, Daemon as _, FakeHost, Finder, Op, earlier_state, interface, lacking};
use libstas::core::{CtrlRef, Links};
use libstas::nvme::Purpose;
use serde_json::Value;
use stafd::finder::{RemovalReason, Saved};

type Host = FakeHost<Finder>;

/// As commit 95e0ff7 saved it. It has no owners of connections, no ageing and no encryption.
const EARLIER: &str = include_str!("states/95e0ff7.json");
/// Removed before the kill, and not disconnected yet: no source lists it.
const LEAVING: &str = "192.0.2.8";
const CONF: &str =
    "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=dc.example\n";

/// A host on which all discovery controllers of the state are connected and answer nothing, with that configuration.
fn restarted(conf: &str) -> (Host, Vec<CtrlRef>) {
    let mut host = Host::configured(conf);
    host.peer.unreadable = true;
    host.links = Some(Links(vec![interface(1, "eth1", &["192.0.2.101"])]));
    host.names.insert("dc.example".into(), vec!["192.0.2.6"]);
    let saved: Saved = serde_json::from_str(EARLIER).unwrap();
    let ctrls = saved.dcs.iter().map(|saved| host.make(&saved.dc, Purpose::Discovery)).collect();
    host.kill_with(EARLIER.to_owned());
    host.start();
    (host, ctrls)
}

#[test]
fn every_field_of_an_earlier_state_is_read() {
    let saved: Saved = serde_json::from_str(EARLIER).unwrap();
    let read = serde_json::to_value(&saved).unwrap();
    assert_eq!(lacking("", &earlier_state(EARLIER), &read), [""; 0]);
    assert_eq!(saved.instances, None, "the connections are found by the discovery controllers");
    let restored: Value = serde_json::from_str(&Finder::restored(EARLIER, 1).save()).unwrap();
    assert_eq!(lacking("", &earlier_state(EARLIER), &restored), [""; 0], "boot tables are read, and it is killed");
}

#[test]
fn a_start_with_an_earlier_state_keeps_all_discovery_controllers() {
    let (mut host, ctrls) = restarted(CONF);
    host.wait(7200);
    let gone: Vec<&str> = host.gone.iter().map(|gone| gone.traddr.as_str()).collect();
    assert_eq!(gone, [LEAVING]);
    assert_eq!((host.ctrls().len(), host.count_of(Op::Connect)), (ctrls.len() - 1, 0));
    assert_eq!(host.core.controllers().len(), ctrls.len() - 1);
    let removed = |reason| host.core.removed().iter().filter(|removed| removed.reason == reason).count();
    let reasons =
        [RemovalReason::Configuration, RemovalReason::Excluded, RemovalReason::ReferralGone, RemovalReason::AgedOut];
    assert_eq!(reasons.map(removed), [2, 1, 1, 1], "those of the state, and {LEAVING}");
}

#[test]
fn a_connection_of_an_earlier_state_is_ours() {
    let (mut host, ctrls) = restarted(CONF);
    host.wait(60);
    host.configure("[Controllers]\ncontroller=transport=tcp;traddr=dc.example\n");
    host.wait(60);
    assert!(!host.ctrls().contains(&ctrls[0]), "192.0.2.1 is no longer configured");
}
