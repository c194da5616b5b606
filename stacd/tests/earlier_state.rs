//! stacd starts with the state that an earlier version saved.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, Core as _, Daemon as _, FakeHost, Op, dc_page, earlier_state, interface, lacking};
use libstas::core::{Links, Time};
use libstas::nvme::Purpose;
use serde_json::Value;
use stacd::connector::{DcPage, PageState, Saved, StafdView};

type Host = FakeHost<Connector>;

/// As commit 95e0ff7 saved it. It has no owners of connections and no encryption.
const EARLIER: &str = include_str!("states/95e0ff7.json");
const C: &str = "controller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.2014-08.org.example:c\n";
const D: &str = "controller=transport=tcp;traddr=array.example;trsvcid=4420;nqn=nqn.2014-08.org.example:d\n";

/// A host on which all I/O controllers of the state are connected. stafd is not running.
fn restarted() -> Host {
    let mut host = Host::configured(&format!("[Controllers]\n{C}{D}"));
    host.links = Some(Links(vec![interface(1, "eth1", &["198.51.100.101"])]));
    host.names.insert("array.example".into(), vec!["192.0.2.9"]);
    let saved: Saved = serde_json::from_str(EARLIER).unwrap();
    for tid in &saved.members {
        host.make(tid, Purpose::Io);
    }
    host.kill_with(EARLIER.to_owned());
    host.start();
    host
}

/// A stafd that has the discovery controllers of the state, and has read none of them.
fn stafd() -> StafdView {
    let saved: Saved = serde_json::from_str(EARLIER).unwrap();
    let page =
        |dc| DcPage { state: PageState::Saved, connected_since: None, ..dc_page(dc, Time::default(), Vec::new()) };
    let dcs = saved.sources.iter().map(|source| page(&source.dc)).collect();
    StafdView { dcs, removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
}

#[test]
fn every_field_of_an_earlier_state_is_read() {
    let saved: Saved = serde_json::from_str(EARLIER).unwrap();
    let read = serde_json::to_value(&saved).unwrap();
    assert_eq!(lacking("", &earlier_state(EARLIER), &read), [""; 0]);
    assert_eq!(saved.instances, None, "the connections are found by the I/O controllers");
    let restored: Value = serde_json::from_str(&Connector::restored(EARLIER, 1).save()).unwrap();
    assert_eq!(
        lacking("", &earlier_state(EARLIER), &restored),
        [""; 0],
        "a kill right after the start loses nothing either"
    );
}

#[test]
fn a_start_with_an_earlier_state_keeps_all_io_controllers() {
    let mut host = restarted();
    host.wait(7200);
    assert_eq!((host.kernel.len(), host.gone.len(), host.count_of(Op::Connect)), (8, 0, 0), "stafd is not running");
    host.stafd_is(":1.5", stafd());
    host.wait(7200);
    assert_eq!((host.kernel.len(), host.gone.len(), host.count_of(Op::Connect)), (8, 0, 0), "stafd has read no page");
    assert_eq!(host.core.controllers().len(), 8);
}

#[test]
fn a_connection_of_an_earlier_state_is_ours() {
    let mut host = restarted();
    host.stafd_is(":1.5", stafd());
    host.wait(60);
    host.configure(&format!("[Controllers]\n{D}"));
    host.wait(60);
    assert_eq!(host.disconnected(), ["nqn.2014-08.org.example:c"]);
}
