//! Tests of stacd with I/O controllers that the firmware or the initramfs connected.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fake_host::{Connector, FakeHost, HOST as OWN, as_host, dc, dc_page, entry, interface, io, on_iface};
use libstas::conf::{DisconnectScope, Exclusion, InUse, StacConf};
use libstas::core::fleet::Status;
use libstas::core::trust::Trust;
use libstas::core::{CtrlState, Links, Time};
use libstas::nvme::log_page::Entry;
use libstas::nvme::nbft::{BootTables, Host as BootHost, Nbft, Ssns};
use stacd::connector::{DcPage, Origin, StafdView};

type Host = FakeHost<Connector>;

const BOOT: &str = "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007";
const TARGET: &str = "192.0.2.2";

/// A table for a host that booted from `root`, with the boot host NQN.
fn tables() -> BootTables {
    let root = Ssns::new(1, TARGET.parse().unwrap(), "root");
    Nbft { host: Some(BootHost::new(BOOT)), subsystem: vec![root], ..Nbft::default() }.into()
}

fn exclude(nqn: &str) -> Exclusion {
    Exclusion { subsysnqn: Some(nqn.into()), line: 1, ..Exclusion::default() }
}

/// A host on which the initramfs has connected these subsystems with the boot host NQN. stacd is not started yet.
fn booted(nqns: &[&str]) -> Host {
    let mut host = Host::configured("");
    host.tables = Some(tables());
    for nqn in nqns {
        host.add(&as_host(BOOT, &io(TARGET, nqn)));
    }
    host
}

fn configure(conf: &mut StacConf, scope: DisconnectScope, exclusions: &[&str]) {
    conf.disconnect_scope = scope;
    conf.in_use = InUse::Disconnect;
    conf.exclusions = exclusions.iter().map(|nqn| exclude(nqn)).collect();
}

/// The same as [`booted`], with that disconnect scope and these exclusions.
fn booted_with(nqns: &[&str], scope: DisconnectScope, exclusions: &[&str]) -> Host {
    let mut host = booted(nqns);
    configure(&mut host.conf, scope, exclusions);
    host
}

/// Starts the daemon with a stafd whose discovery controller has that page, and waits an hour.
fn start(host: &mut Host, page: &[&str]) {
    host.start();
    let page = dc_page(&as_host(BOOT, &dc(TARGET)), Time(Duration::from_secs(500)), entries(page));
    host.stafd_is(
        ":1.5",
        StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
    );
    host.wait(3600);
}

fn restart(host: &mut Host) {
    host.restart();
    host.wait(3600);
}

fn entries(nqns: &[&str]) -> Vec<Entry> {
    nqns.iter().map(|nqn| entry(TARGET, nqn)).collect()
}

/// The state, origin and record that are shown for a subsystem.
fn shown(host: &Host, nqn: &str) -> Option<(Status, &'static str, Option<String>)> {
    let views = host.core.controllers();
    let mut of_it = views.iter().filter(|view| view.member.tid.subsysnqn == nqn);
    let view = of_it.next()?;
    assert!(of_it.next().is_none(), "it is shown once");
    Some((view.member.status, view.origin.as_str(), view.boot_record.clone()))
}

const RECORD: &str = "NBFT, SSNS 1";
const AUDIT: DisconnectScope = DisconnectScope::AllMatchingTrtypes;

#[test]
fn the_audit_removes_unowned_connections_but_none_of_the_firmware() {
    let mut host = booted_with(&["root", "stranger"], AUDIT, &[]);
    start(&mut host, &["data"]);
    assert_eq!(host.disconnected(), ["stranger"]);
    assert_eq!(shown(&host, "root"), Some((Status::Connected, "nbft", Some(RECORD.into()))));
    assert_eq!(shown(&host, "data"), Some((Status::Connected, "discovered", None)));
}

#[test]
fn an_exclusion_spares_it_too() {
    let mut host = booted_with(&["root", "stranger"], AUDIT, &["root", "stranger"]);
    start(&mut host, &["root"]);
    assert_eq!(host.disconnected(), ["stranger"]);
    host.reload();
    host.wait(600);
    assert_eq!(host.disconnected(), ["stranger"]);
    assert_eq!(shown(&host, "root"), Some((Status::Connected, "nbft", Some(RECORD.into()))));
}

#[test]
fn it_is_kept_when_its_log_page_no_longer_lists_it() {
    for scope in [DisconnectScope::OnlyStas, AUDIT] {
        let mut host = booted_with(&["root"], scope, &[]);
        start(&mut host, &["root", "data"]);
        assert_eq!(shown(&host, "root"), Some((Status::Connected, "discovered", Some(RECORD.into()))));
        host.page_has(entries(&["data"]));
        host.wait(3600);
        assert!(host.disconnected().is_empty(), "{:?}", host.disconnected());
        assert_eq!(shown(&host, "root").unwrap().0, Status::Kept);
        assert_eq!(host.logged("boot table (NBFT) lists it"), 1, "{:?}", host.effects);
        // A listed controller is wanted again like any other.
        host.page_has(entries(&["root", "data"]));
        assert_eq!(shown(&host, "root").unwrap().0, Status::Connected);
    }
}

#[test]
fn it_is_kept_when_it_becomes_excluded() {
    let mut host = booted(&["root"]);
    start(&mut host, &["root", "data"]);
    host.conf.exclusions = vec![exclude("root"), exclude("data")];
    host.reload();
    host.wait(600);
    assert_eq!(host.disconnected(), ["data"]);
    assert_eq!(shown(&host, "root").unwrap().0, Status::Kept);
}

#[test]
fn it_is_kept_when_a_restart_finds_it_excluded_and_unlisted() {
    let mut host = booted(&["root"]);
    start(&mut host, &["root", "data"]);
    host.conf = booted_with(&[], AUDIT, &["root", "data"]).conf;
    host.peer.first().entries = Vec::new();
    restart(&mut host);
    assert_eq!(host.disconnected(), ["data"]);
    assert!(shown(&host, "root").is_some());
}

#[test]
fn the_same_subsystem_with_another_host_nqn_is_unowned() {
    let mut host = booted_with(&[], AUDIT, &[]);
    host.add(&as_host(OWN, &io(TARGET, "root")));
    start(&mut host, &[]);
    assert_eq!(host.disconnected(), ["root"]);
}

#[test]
fn without_a_table_it_is_unowned() {
    let mut host = booted_with(&["root"], AUDIT, &[]);
    host.tables = Some(BootTables::default());
    start(&mut host, &[]);
    assert_eq!(host.disconnected(), ["root"]);
    assert_eq!(shown(&host, "root"), None);
}

#[test]
fn a_controller_of_a_vanished_table_is_kept() {
    let connections: [&[&str]; 2] = [&["root"], &["root", "data"]];
    for page in connections {
        let mut host = booted(&["root", "stranger"]);
        start(&mut host, page);
        host.tables = Some(BootTables::default());
        configure(&mut host.conf, AUDIT, &["root"]);
        host.reload();
        host.wait(3600);
        for _ in 0..2 {
            host.page_has(entries(&["data"]));
            host.wait(3600);
            restart(&mut host);
        }
        assert_eq!(host.disconnected(), ["stranger"]);
        assert_eq!(shown(&host, "root").unwrap().2, Some(RECORD.into()));
    }
}

#[test]
fn a_boot_connection_is_kept_under_every_spelling_while_its_table_cannot_be_read() {
    // How the initramfs bound its connection, and how the page or the configuration that lists it later does.
    for (of_kernel, of_source) in [("eth1", ""), ("", "eth1"), ("eth1", "eth1"), ("", "")] {
        for configured in [false, true] {
            for restarts in [false, true] {
                let case = format!("{of_kernel:?} {of_source:?}, configured: {configured}, restarts: {restarts}");
                let mut host = booted(&[]);
                host.add(&on_iface(of_kernel, &as_host(BOOT, &io(TARGET, "root"))));
                host.start();
                let dc = on_iface(of_source, &as_host(BOOT, &dc(TARGET)));
                let page = dc_page(&dc, Time(Duration::from_secs(500)), entries(&["data"]));
                host.stafd_is(
                    ":1.5",
                    StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
                );
                host.wait(60);
                // The table cannot be read at the next reload, or at a restart.
                host.tables = Some(BootTables::default());
                if restarts {
                    host.restart()
                } else {
                    host.reload()
                }
                host.wait(60);
                if configured {
                    let bound = if of_source.is_empty() { String::new() } else { format!(";host-iface={of_source}") };
                    host.configure(&format!(
                        "[Controllers]\ncontroller=transport=tcp;traddr={TARGET};trsvcid=4420;nqn=root;host-nqn={BOOT}{bound}\n"
                    ));
                } else {
                    host.page_has(entries(&["root", "data"]));
                }
                host.wait(60);
                if configured {
                    host.configure("");
                } else {
                    host.page_has(entries(&["data"]));
                }
                host.wait(600);
                assert!(!host.disconnected().contains(&"root"), "{case}: {:?}", host.disconnected());
                assert!(host.nqns().contains(&"root"), "{case}");
            }
        }
    }
}

#[test]
fn what_the_firmware_could_not_connect_is_neither_shown_nor_connected() {
    let mut host = booted(&[]);
    start(&mut host, &["data"]);
    assert_eq!(shown(&host, "root"), None);
    assert_eq!(host.kernel.len(), 1);
}

#[test]
fn what_the_firmware_connected_is_shown_while_it_is_down_and_no_longer_when_it_is_gone() {
    let mut host = booted(&["root"]);
    start(&mut host, &[]);
    host.kernel[0].state = CtrlState::Connecting;
    host.wait(30);
    assert_eq!(shown(&host, "root").unwrap().0, Status::Reconnecting);
    host.kernel.clear();
    host.send_snapshot();
    assert_eq!(shown(&host, "root"), None);
}

/// The firmware has connected it: that does not depend on the announcement.
#[test]
fn what_the_boot_table_lists_is_trusted_like_the_firmware_even_if_only_an_announced_page_lists_it_too() {
    let mut host = booted(&["root"]);
    host.links = Some(Links(vec![interface(1, "eth0", &["192.0.2.250"])]));
    host.start();
    let page = dc_page(&as_host(BOOT, &dc(TARGET)), Time(Duration::from_secs(500)), entries(&["root", "data"]));
    let page = DcPage { origin: Origin::Discovered, ..page };
    host.stafd_is(
        ":1.5",
        StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
    );
    host.wait(600);
    let views = host.core.controllers();
    let level =
        |nqn: &str| views.iter().find(|view| view.member.tid.subsysnqn == nqn).and_then(|view| view.member.trust);
    assert_eq!((level("root"), level("data")), (Some(Trust::Firmware), Some(Trust::AnnouncedDc)));
}
