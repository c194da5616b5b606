//! Tests of stafd with the discovery controllers of boot tables.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fake_host::{FakeHost, Finder, HOST as OWN};
use libstas::conf::{Exclusion, Persistence};
use libstas::core::browse::{BrowseEvent, Endpoint};
use libstas::core::{Interface, Links};
use libstas::nvme::announcement;
use libstas::nvme::nbft::{BootTables, Demand, Discovery, Hfi, Host as BootHost, Nbft, Security};
use stafd::finder::Event;

type Host = FakeHost<Finder>;

const BOOT: &str = "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007";
const MAC: [u8; 6] = [0x52, 0x54, 0, 0xb0, 7, 1];

/// A table with one discovery controller at 192.0.2.2, reached through the interface with [`MAC`] and 192.0.2.1.
fn nbft() -> Nbft {
    let [interface, controller] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    Nbft {
        host: Some(BootHost::new(BOOT)),
        hfi: vec![Hfi::new(1, MAC, interface)],
        discovery: vec![Discovery { hfi: Some(1), ..Discovery::new(1, controller) }],
        ..Nbft::default()
    }
}

fn interface(index: u32, name: &str, mac: &[u8], ips: &[&str]) -> Interface {
    let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Interface { index, name: name.into(), mac: mac.into(), up: true, addresses }
}

fn exclude(iface: Option<&str>, nqn: Option<&str>) -> Exclusion {
    Exclusion { host_iface: iface.map(Into::into), host_nqn: nqn.map(Into::into), line: 1, ..Exclusion::default() }
}

/// A host that booted with that table and has these interfaces besides lo. stafd is not started yet.
fn booted(nbft: Nbft, interfaces: &[Interface]) -> Host {
    let mut host = Host::configured("[Service Discovery]\nzeroconf=disabled\n");
    host.tables = Some(nbft.into());
    host.links = Some(Links(interfaces.iter().cloned().chain([interface(1, "lo", &[0; 6], &["127.0.0.1"])]).collect()));
    host
}

fn eth0() -> [Interface; 1] {
    [interface(2, "eth0", &MAC, &["192.0.2.1"])]
}

/// Restarts stafd. The interfaces are not reported to it yet.
fn restart_without_links(host: &mut Host) {
    host.kill();
    host.reload();
}

fn links_arrive(host: &mut Host) {
    host.set_links(host.links.clone().unwrap());
}

/// The interfaces of the kernel's connections.
fn connected_by(host: &Host) -> Vec<&str> {
    host.kernel.iter().map(|kernel| kernel.host_iface.as_str()).collect()
}

#[test]
fn a_record_is_connected_by_its_interface_as_the_boot_host() {
    let host = booted(nbft(), &eth0()).started();
    let [kernel] = &host.kernel[..] else { panic!("{:?}", host.kernel) };
    assert_eq!((kernel.traddr.as_str(), kernel.trsvcid.as_str()), ("192.0.2.2", "8009"));
    assert_eq!((kernel.host_iface.as_str(), kernel.hostnqn.as_str()), ("eth0", BOOT));
    assert_eq!(kernel.subsysnqn, "nqn.2014-08.org.nvmexpress.discovery");
    let views = host.core.controllers();
    let [view] = &views[..] else { panic!("{views:?}") };
    assert_eq!((view.origin.as_str(), view.boot_record), ("configured", Some("NBFT, discovery 1")));
}

#[test]
fn without_a_configured_boot_host_the_host_is_itself() {
    let mut nbft = nbft();
    nbft.host.as_mut().unwrap().nqn_configured = false;
    nbft.discovery[0].nqn = Some("nqn.unique".into());
    let host = booted(nbft, &[interface(2, "eth0", &MAC, &[])]).started();
    assert_eq!((host.kernel[0].hostnqn.as_str(), host.kernel[0].subsysnqn.as_str()), (OWN, "nqn.unique"));
}

#[test]
fn a_record_without_an_interface_uses_the_routes() {
    let mut nbft = nbft();
    nbft.discovery[0].hfi = None;
    assert_eq!(connected_by(&booted(nbft, &[]).started()), [""]);
}

#[test]
fn a_missing_interface_is_awaited_and_logged_once() {
    let mut host = booted(nbft(), &[]).started();
    host.wait(100);
    links_arrive(&mut host);
    assert!(host.kernel.is_empty());
    let records: Vec<_> = host.log_records().filter(|record| record.text.contains("52:54:00:b0:07:01")).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(!host.core.published().is_complete);
    host.set_links(Links(vec![interface(7, "eth3", &MAC, &[])]));
    assert_eq!(connected_by(&host), ["eth3"]);
    assert!(host.core.published().is_complete);
}

#[test]
fn a_lost_interface_changes_nothing() {
    let mut host = booted(nbft(), &eth0()).started();
    host.set_links(Links(vec![]));
    host.wait(600);
    assert_eq!((connected_by(&host), host.gone.len()), (vec!["eth0"], 0));
}

#[test]
fn of_those_with_the_same_hardware_address_the_one_with_the_boot_address_counts() {
    let bridge = |ip| [interface(2, "eth0", &MAC, &[]), interface(5, "br0", &MAC, &[ip])];
    assert_eq!(connected_by(&booted(nbft(), &bridge("192.0.2.1")).started()), ["br0"]);
    assert_eq!(connected_by(&booted(nbft(), &bridge("198.51.100.1")).started()), ["br0"], "the one with any");
    let both = [interface(2, "eth0", &MAC, &["198.51.100.1"]), interface(5, "eth0.7", &MAC, &["192.0.2.1"])];
    assert_eq!(connected_by(&booted(nbft(), &both).started()), ["eth0.7"]);
    // With DHCP the system may get another address than the firmware. Each interface that is up has a link-local one.
    let local = "fe80::5054:ff:feb0:701";
    let vlan = [interface(2, "eth0", &MAC, &[local]), interface(5, "eth0.7", &MAC, &["192.0.2.77", local])];
    assert_eq!(connected_by(&booted(nbft(), &vlan).started()), ["eth0.7"]);
    let bond = [interface(2, "eth0", &MAC, &[]), interface(5, "bond0", &MAC, &[local])];
    assert_eq!(connected_by(&booted(nbft(), &bond).started()), ["bond0"]);
}

#[test]
fn a_link_local_address_is_bound_to_its_interface_with_ignore_iface_too() {
    let mut nbft = nbft();
    nbft.discovery[0] = Discovery { hfi: Some(1), ..Discovery::new(1, "fe80::2".parse().unwrap()) };
    let mut host = booted(nbft, &eth0());
    host.conf.ignore_iface = true;
    assert_eq!(connected_by(&host.started()), ["eth0"]);
}

/// This version has no TLS. A connection of the initramfs is used.
#[test]
fn a_record_that_requires_a_secure_channel_is_not_connected_unencrypted() {
    for (demand, is_connected) in
        [(Demand::NotSupported, true), (Demand::Supported, true), (Demand::Required, false), (Demand::Reserved, false)]
    {
        let mut nbft = nbft();
        nbft.security = vec![Security::new(3, demand)];
        nbft.discovery[0].security = Some(3);
        let mut host = booted(nbft.clone(), &eth0()).started();
        assert_eq!(host.kernel.len(), usize::from(is_connected), "{demand:?}");
        let reason = host.core.controllers()[0].member.reason.clone().unwrap_or_default();
        assert_eq!(reason.contains("boot table (NBFT)"), !is_connected, "{demand:?}: {reason}");
        restart_without_links(&mut host);
        host.wait(60);
        links_arrive(&mut host);
        assert_eq!(host.kernel.len(), usize::from(is_connected), "{demand:?}, after a restart");
        // The same discovery controller in a record without that profile: the stricter one counts.
        nbft.discovery.push(Discovery { index: 2, security: None, ..nbft.discovery[0].clone() });
        assert_eq!(booted(nbft, &eth0()).started().kernel.len(), usize::from(is_connected), "{demand:?}, twice");
    }
}

#[test]
fn when_the_interface_changes_the_new_connection_precedes_the_removal() {
    let mut host = booted(nbft(), &eth0()).started();
    host.dead.insert("br0".into());
    host.set_links(Links(vec![interface(2, "eth0", &MAC, &[]), interface(3, "br0", &MAC, &["192.0.2.1"])]));
    host.wait(60);
    assert_eq!(connected_by(&host), ["eth0"], "the new one leads nowhere yet");
    host.dead.clear();
    host.wait(120);
    assert_eq!(connected_by(&host), ["br0"]);
}

#[test]
fn a_restart_before_the_interfaces_are_known_loses_nothing() {
    let mut host = booted(nbft(), &eth0()).started();
    restart_without_links(&mut host);
    host.wait(60);
    assert_eq!((connected_by(&host), host.gone.len()), (vec!["eth0"], 0));
    links_arrive(&mut host);
    host.wait(60);
    assert_eq!((connected_by(&host), host.gone.len()), (vec!["eth0"], 0));
}

#[test]
fn an_announced_way_is_not_taken_for_a_former_interface_of_the_record() {
    let mut nbft = nbft();
    nbft.host.as_mut().unwrap().nqn_configured = false;
    let eths =
        [interface(2, "eth0", &MAC, &["192.0.2.1"]), interface(3, "eth1", &[2, 0, 0, 0, 0, 9], &["198.51.100.1"])];
    let mut host = booted(nbft, &eths);
    host.conf.zeroconf = true;
    host.conf.zeroconf_persistence = Persistence::For(Duration::from_secs(20));
    host.start();
    let at = |interface| Endpoint { interface, address: "192.0.2.2".parse().unwrap() };
    let offer = announcement::offer(8009, [("p", Some(b"tcp".as_slice()))]);
    let service = "one._nvme-disc._tcp.local.".to_owned();
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Announced {
        service: service.clone(),
        offer,
        endpoints: vec![at(2), at(3)],
    }]));
    assert_eq!(connected_by(&host), ["eth0", "eth1"]);
    // The target fails for good, and stafd is restarted before the announced path expires.
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone(service)]));
    host.dead.extend(["eth0".to_owned(), "eth1".to_owned()]);
    host.kernel.clear();
    host.wait(15);
    restart_without_links(&mut host);
    links_arrive(&mut host);
    host.wait(60);
    let views = host.core.controllers();
    let left: Vec<&str> = views.iter().map(|view| view.member.tid.host_iface.as_str()).collect();
    assert_eq!(left, ["eth0"], "the table names it by eth0 alone");
}

#[test]
fn a_record_missing_from_the_tables_removes_nothing() {
    let mut host = booted(nbft(), &eth0()).started();
    host.tables = Some(BootTables::default());
    host.reload();
    host.wait(600);
    assert_eq!((connected_by(&host), host.gone.len()), (vec!["eth0"], 0));
    for _ in 0..2 {
        restart_without_links(&mut host);
        links_arrive(&mut host);
        host.wait(600);
        assert_eq!((connected_by(&host), host.gone.len()), (vec!["eth0"], 0), "it is remembered");
    }
    // A controller of the table is connected again like any other.
    host.kernel.clear();
    host.wait(120);
    assert_eq!(connected_by(&host), ["eth0"]);
}

#[test]
fn a_restart_loses_nothing_with_ignore_iface_either() {
    let mut host = booted(nbft(), &eth0());
    host.conf.ignore_iface = true;
    host.start();
    restart_without_links(&mut host);
    host.wait(60);
    assert_eq!((connected_by(&host), host.gone.len()), (vec![""], 0));
    links_arrive(&mut host);
    host.wait(60);
    assert_eq!((connected_by(&host), host.gone.len()), (vec![""], 0));
}

#[test]
fn what_is_excluded_is_not_connected() {
    let mut host = booted(nbft(), &eth0());
    host.conf.exclusions = vec![exclude(Some("eth0"), None)];
    host.start();
    assert!(host.kernel.is_empty());
    host.conf.exclusions.clear();
    host.reload();
    assert_eq!(connected_by(&host), ["eth0"]);
    host.conf.exclusions = vec![exclude(None, Some(BOOT))];
    host.reload();
    assert!(host.kernel.is_empty());
}

#[test]
fn ignore_iface_leaves_the_way_to_the_routes() {
    let mut host = booted(nbft(), &[]);
    host.conf.ignore_iface = true;
    assert_eq!(connected_by(&host.started()), [""]);
}

#[test]
fn with_ignore_iface_an_excluded_interface_is_the_one_where_it_was_found() {
    for (excluded, expected) in [("eth0", vec![]), ("eth1", vec![""])] {
        let mut host = booted(nbft(), &eth0());
        host.conf.ignore_iface = true;
        host.conf.exclusions = vec![exclude(Some(excluded), None)];
        host.start();
        assert_eq!((connected_by(&host), host.gone.len()), (expected, 0), "{excluded}");
    }
}

#[test]
fn a_host_without_a_table_has_nothing_of_it() {
    let mut host = booted(Nbft::default(), &[]);
    host.tables = Some(BootTables::default());
    host.start();
    assert!(host.kernel.is_empty() && host.core.controllers().is_empty());
}
