use super::*;
use crate::kernel::{CtrlType, Interface};
use crate::{CtrlRef, CtrlState};
use stas_nvme::TidParts;

fn tid() -> TidParts {
    TidParts {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        trsvcid: "4420".into(),
        subsysnqn: "nqn.sub".into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: "nqn.host".into(),
    }
}

fn kernel() -> KernelController {
    KernelController {
        traddr: "192.0.2.1".into(),
        trsvcid: "4420".into(),
        subsysnqn: "nqn.sub".into(),
        hostnqn: "nqn.host".into(),
        cntrltype: CtrlType::Io,
        state: CtrlState::Live,
        kato: Some(5),
        ..KernelController::unread(CtrlRef { device: 0, birth: 1 }, Transport::Tcp)
    }
}

fn links() -> Links {
    let interface = |index, name: &str, address: &str| Interface {
        index,
        name: name.into(),
        mac: Vec::new(),
        up: true,
        addresses: vec![address.parse().unwrap()],
    };
    Links(vec![interface(1, "eth0", "192.0.2.10"), interface(2, "eth1", "192.0.2.20")])
}

fn serve(kernel: &KernelController, parts: TidParts) -> bool {
    serves(kernel, &Tid::new(parts), &links())
}

#[test]
fn transport_service_host_nqn_and_subsystem_must_be_equal() {
    assert!(serve(&kernel(), tid()));
    assert!(!serve(&kernel(), TidParts { trsvcid: "8009".into(), ..tid() }));
    assert!(!serve(&kernel(), TidParts { transport: Transport::Rdma, ..tid() }));
    assert!(!serve(&kernel(), TidParts { host_nqn: "nqn.other".into(), ..tid() }));
    assert!(!serve(&kernel(), TidParts { subsysnqn: "nqn.other".into(), ..tid() }));
}

#[test]
fn the_well_known_discovery_nqn_is_served_by_a_unique_one() {
    let unique = KernelController { cntrltype: CtrlType::Discovery, subsysnqn: "nqn.unique".into(), ..kernel() };
    assert!(serve(&unique, TidParts { subsysnqn: DISCOVERY_NQN.into(), ..tid() }));
    assert!(!serve(&kernel(), TidParts { subsysnqn: DISCOVERY_NQN.into(), ..tid() }));
}

#[test]
fn addresses_are_compared_as_addresses() {
    let mapped = KernelController { traddr: "::ffff:192.0.2.1".into(), ..kernel() };
    assert!(serve(&mapped, tid()));
    let six = KernelController { traddr: "2001:db8::1".into(), ..kernel() };
    assert!(serve(&six, TidParts { traddr: "2001:0DB8:0:0::1".into(), ..tid() }));
    let fc =
        KernelController { transport: Transport::Fc, traddr: "NN-0x1:PN-0x2".into(), trsvcid: "".into(), ..kernel() };
    let wanted = TidParts { transport: Transport::Fc, traddr: "nn-0x1:pn-0x2".into(), trsvcid: "".into(), ..tid() };
    assert!(serve(&fc, wanted.clone()));
    assert!(!serve(&fc, TidParts { host_traddr: "nn-0x9:pn-0x9".into(), ..wanted }));
}

#[test]
fn an_interface_is_served_by_a_connection_whose_source_address_it_owns() {
    let wanted = TidParts { host_iface: "eth0".into(), ..tid() };
    let from = |address: &str| KernelController { src_addr: address.parse().ok(), ..kernel() };
    assert!(serve(&from("192.0.2.10"), wanted.clone()));
    assert!(!serve(&from("192.0.2.20"), wanted.clone()));
    assert!(serve(&kernel(), wanted.clone()), "when nothing is known they are taken for the same");
    let bound = KernelController { host_iface: "eth1".into(), ..from("192.0.2.10") };
    assert!(!serve(&bound, wanted));
}

#[test]
fn a_missing_source_address_does_not_belong_to_an_interface_with_addresses() {
    let gone = KernelController { src_addr: "198.51.100.7".parse().ok(), ..kernel() };
    assert!(!serve(&gone, TidParts { host_iface: "eth1".into(), ..tid() }), "eth1 has 192.0.2.20");
    assert!(serve(&gone, TidParts { host_iface: "eth7".into(), ..tid() }), "eth7 is gone with its addresses");
    let six = KernelController { src_addr: "2001:db8::7".parse().ok(), ..kernel() };
    assert!(serve(&six, TidParts { host_iface: "eth1".into(), ..tid() }), "eth1 has lost those of IPv6");
}

#[test]
fn a_source_address_is_compared_with_the_best_that_is_known() {
    let wanted = TidParts { host_traddr: "192.0.2.10".into(), ..tid() };
    let known = |src: &str, asked: &str, iface: &str| KernelController {
        src_addr: src.parse().ok(),
        host_traddr: asked.into(),
        host_iface: iface.into(),
        ..kernel()
    };
    assert!(serve(&known("192.0.2.10", "", ""), wanted.clone()));
    assert!(!serve(&known("192.0.2.20", "192.0.2.10", ""), wanted.clone()));
    assert!(serve(&known("", "192.0.2.10", ""), wanted.clone()));
    assert!(!serve(&known("", "192.0.2.20", ""), wanted.clone()));
    assert!(serve(&known("", "", "eth0"), wanted.clone()));
    assert!(!serve(&known("", "", "eth1"), wanted));
}

#[test]
fn what_is_on_its_way_out_or_only_passing_by_is_not_taken_over() {
    for state in [CtrlState::Deleting, CtrlState::Dead] {
        assert!(!may_be_taken_over(&KernelController { state, ..kernel() }, false));
    }
    let dc = KernelController { cntrltype: CtrlType::Discovery, kato: Some(0), ..kernel() };
    assert!(!may_be_taken_over(&dc, true));
    assert!(may_be_taken_over(&KernelController { kato: Some(30), ..dc.clone() }, true));
    assert!(!may_be_taken_over(&KernelController { kato: Some(30), ..dc }, false));
}

#[test]
fn a_live_connection_is_taken_before_one_that_is_not() {
    let down = KernelController { state: CtrlState::Connecting, ..kernel() };
    let live = KernelController { ctrl: CtrlRef { device: 1, birth: 2 }, ..kernel() };
    let snapshot = Snapshot::new(0, 0, [down, live.clone()]);
    assert_eq!(find(&snapshot, &Tid::new(tid()), &links(), false), Some(&live));
}

#[test]
fn a_connection_of_ones_own_is_taken_before_a_live_one_by_a_certain_interface() {
    let own = KernelController { state: CtrlState::Connecting, ..kernel() };
    let other = KernelController { ctrl: CtrlRef { device: 1, birth: 2 }, host_iface: "eth1".into(), ..kernel() };
    let snapshot = Snapshot::new(0, 0, [other.clone(), own.clone()]);
    assert_eq!(find(&snapshot, &Tid::new(tid()), &links(), false), Some(&own));
    let wanted = Tid::new(TidParts { host_iface: "eth1".into(), ..tid() });
    assert_eq!(find(&snapshot, &wanted, &links(), false), Some(&other));
}

/// A connection and a TID with link-local addresses: traddr and host-iface of each, and whether the connection serves
/// the TID.
const LINK_LOCAL: &[([&str; 2], [&str; 2], bool)] = &[
    (["fe80::1%eth0", ""], ["fe80::1%eth0", ""], true),
    (["fe80::1%eth0", ""], ["fe80::1%eth1", ""], false),
    (["fe80::1%eth0", ""], ["fe80::1", "eth0"], true),
    (["fe80::1%eth0", ""], ["fe80::1", "eth1"], false),
    (["fe80::1", "eth0"], ["fe80::1%eth0", ""], true),
    (["fe80::1", "eth0"], ["fe80::1%eth1", ""], false),
    (["fe80::1", "eth0"], ["fe80::1", "eth1"], false),
    (["fe80::1%1", ""], ["fe80::1%eth0", ""], true),
    (["fe80::1%1", ""], ["fe80::1", "eth0"], true),
    (["fe80::1%1", ""], ["fe80::1", "eth1"], false),
    (["fe80::1%2", ""], ["fe80::1%eth0", ""], false),
    (["fe80::1%eth0", ""], ["fe80::1", ""], true),
    (["fe80::1%eth0", ""], ["fe80::2%eth0", ""], false),
];

#[test]
fn a_link_local_address_on_another_interface_is_another_target() {
    for transport in [Transport::Tcp, Transport::Rdma] {
        for ([traddr, iface], [wanted, wanted_iface], is_served) in LINK_LOCAL {
            // As sysfs shows it: only tcp has an interface.
            let is_bound = transport == Transport::Tcp || iface.is_empty();
            let connection = KernelController {
                transport,
                traddr: if is_bound { (*traddr).into() } else { format!("{traddr}%{iface}") },
                host_iface: if is_bound { (*iface).into() } else { String::new() },
                src_addr: "fe80::9".parse().ok(),
                ..kernel()
            };
            let wanted = TidParts { transport, traddr: (*wanted).into(), host_iface: (*wanted_iface).into(), ..tid() };
            assert_eq!(serve(&connection, wanted.clone()), *is_served, "{transport}: {connection:?} {wanted:?}");
        }
    }
}

#[test]
fn a_connection_serves_the_tid_of_each_spelling_of_its_page() {
    for (transport, sysfs, page) in [
        (Transport::Tcp, "traddr=192.0.2.1,trsvcid=4420", ["::ffff:192.0.2.1", "04420"]),
        (Transport::Rdma, "traddr=192.0.2.1,trsvcid=4420", ["192.0.2.1", " 4420 "]),
        (Transport::Tcp, "traddr=2001:DB8::1,trsvcid=4420", ["2001:db8:0::1%ens9", "4420"]),
        (
            Transport::Fc,
            "traddr=nn-0x10000090fa942779:pn-0x20000090fa942779",
            ["NN-0x10000090FA942779:PN-0x20000090FA942779", "none"],
        ),
        (
            Transport::Fc,
            "traddr=nn-10000090fa942779:pn-20000090fa942779",
            ["nn-0x10000090fa942779:pn-0x20000090fa942779", ""],
        ),
        (Transport::Loop, "traddr=loop-one", ["loop-one", "none"]),
    ] {
        let address = stas_nvme::sysfs_address::SysfsAddress::parse(sysfs, transport);
        let connection = KernelController { transport, traddr: address.traddr, trsvcid: address.trsvcid, ..kernel() };
        let [traddr, trsvcid] = page.map(str::to_owned);
        let wanted = TidParts { transport, traddr, trsvcid, ..tid() };
        assert_eq!(connection.tid(), Tid::new(wanted.clone()), "{sysfs}");
        assert!(serve(&connection, wanted), "{sysfs}");
    }
}
