//! Which controller an entry names, for each transport of the entry and of the discovery controller that lists it.

use super::*;
use crate::{DISCOVERY_NQN, Tid, TidParts, Transport};

const FC: &str = "nn-0x10000090fa942779:pn-0x20000090fa942779";
const FC_HOST: &str = "nn-0x10000090fa000001:pn-0x20000090fa000001";

/// The discovery controller at an address, with a host-traddr and a host-iface.
fn dc(transport: Transport, [traddr, host_traddr, host_iface]: [&str; 3]) -> Tid {
    Tid::new(TidParts {
        transport,
        traddr: traddr.into(),
        trsvcid: "8009".into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: host_traddr.into(),
        host_iface: host_iface.into(),
        host_nqn: "nqn.host".into(),
    })
}

fn entry_of(trtype: TrType, traddr: &str, trsvcid: &str) -> Entry {
    let entry = Entry::parse(&vector()).unwrap();
    Entry { trtype, traddr: traddr.into(), trsvcid: trsvcid.into(), ..entry }
}

/// The discovery controller: transport, traddr, host-traddr, host-iface. The entry: transport, address. The controller
/// that it names: traddr, host-traddr, host-iface.
type HostSide = (Transport, [&'static str; 3], TrType, &'static str, [&'static str; 3]);
const HOST_SIDES: &[HostSide] = &[
    // The same family: everything on the host side is inherited.
    (Transport::Tcp, ["192.0.2.1", "192.0.2.9", "eth0"], TrType::TCP, "192.0.2.2", ["192.0.2.2", "192.0.2.9", "eth0"]),
    (Transport::Tcp, ["192.0.2.1", "192.0.2.9", ""], TrType::RDMA, "192.0.2.2", ["192.0.2.2", "192.0.2.9", ""]),
    (Transport::Rdma, ["192.0.2.1", "192.0.2.9", ""], TrType::TCP, "192.0.2.2", ["192.0.2.2", "192.0.2.9", ""]),
    (
        Transport::Tcp,
        ["2001:db8::1", "2001:db8::9", ""],
        TrType::TCP,
        "2001:db8::2",
        ["2001:db8::2", "2001:db8::9", ""],
    ),
    // The other family: no source address.
    (Transport::Tcp, ["192.0.2.1", "192.0.2.9", "eth0"], TrType::TCP, "2001:db8::2", ["2001:db8::2", "", "eth0"]),
    (Transport::Tcp, ["2001:db8::1", "2001:db8::9", ""], TrType::TCP, "192.0.2.2", ["192.0.2.2", "", ""]),
    (Transport::Tcp, ["2001:db8::1", "2001:db8::9", ""], TrType::TCP, "::ffff:192.0.2.2", ["192.0.2.2", "", ""]),
    // Another kind of transport: nothing on the host side is inherited.
    (Transport::Fc, [FC, FC_HOST, ""], TrType::TCP, "192.0.2.2", ["192.0.2.2", "", ""]),
    (Transport::Tcp, ["192.0.2.1", "192.0.2.9", "eth0"], TrType::FC, FC, [FC, "", ""]),
    (Transport::Loop, ["Loop-One", "", ""], TrType::LOOP, "Loop-One", ["Loop-One", "", ""]),
    (Transport::Fc, [FC, FC_HOST, ""], TrType::FC, FC, [FC, FC_HOST, ""]),
    // Link-local addresses: the scope of the discovery controller replaces that of the target, and is the interface
    // for all that it lists, as host-iface is.
    (Transport::Tcp, ["fe80::1%eth0", "", ""], TrType::TCP, "fe80::2", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Tcp, ["fe80::1%eth0", "", ""], TrType::TCP, "fe80::2%ens9", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Tcp, ["fe80::1%eth0", "", ""], TrType::RDMA, "fe80::2%ens9", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Rdma, ["fe80::1%eth0", "", ""], TrType::RDMA, "fe80::2", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Tcp, ["fe80::1", "", "eth0"], TrType::TCP, "fe80::2%ens9", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Tcp, ["192.0.2.1", "", "eth0"], TrType::TCP, "fe80::2%ens9", ["fe80::2%eth0", "", "eth0"]),
    (Transport::Tcp, ["192.0.2.1", "", ""], TrType::TCP, "fe80::2%ens9", ["fe80::2%ens9", "", "ens9"]),
    (Transport::Tcp, ["fe80::1%eth0", "fe80::9", ""], TrType::TCP, "fe80::2", ["fe80::2%eth0", "fe80::9%eth0", "eth0"]),
    (Transport::Tcp, ["fe80::1%eth0", "fe80::9", ""], TrType::TCP, "2001:db8::2", ["2001:db8::2", "", "eth0"]),
    (Transport::Tcp, ["fe80::1%eth0", "", ""], TrType::TCP, "2001:db8::2%ens9", ["2001:db8::2", "", "eth0"]),
];

#[test]
fn an_entry_inherits_what_fits_it_of_the_host_side() {
    for (transport, host_side, trtype, traddr, expected) in HOST_SIDES {
        let dc = dc(*transport, *host_side);
        let tid = entry_of(*trtype, traddr, "4420").controller(&dc).unwrap();
        let found = [&*tid.traddr, &*tid.host_traddr, &*tid.host_iface];
        assert_eq!(&found, expected, "{traddr} on the page of {dc}");
        assert_eq!(tid.host_nqn, "nqn.host");
    }
}

#[test]
fn the_port_of_an_entry_is_a_number_or_the_transport_has_none() {
    let dc = dc(Transport::Tcp, ["192.0.2.1", "", ""]);
    for trtype in [TrType::TCP, TrType::RDMA] {
        let port = |trsvcid: &str| entry_of(trtype, "192.0.2.2", trsvcid).controller(&dc);
        for trsvcid in ["4420", "04420"] {
            assert_eq!(port(trsvcid).unwrap().trsvcid, "4420", "{trtype}");
        }
        for trsvcid in ["", "0", "none", "65536", "-1", "+1", "4420x", "0x1144"] {
            assert_eq!(port(trsvcid), Err(EntryError::Port(trsvcid.into())), "{trtype}");
        }
    }
    let by_loop = self::dc(Transport::Loop, ["here", "", ""]);
    for (trtype, traddr, dc) in [(TrType::FC, FC, &dc), (TrType::LOOP, "here", &by_loop)] {
        for trsvcid in ["", "none", "4420"] {
            assert_eq!(entry_of(trtype, traddr, trsvcid).controller(dc).unwrap().trsvcid, "", "{trtype}");
        }
    }
}

#[test]
fn an_entry_without_an_address_of_its_transport_names_no_controller() {
    let dc = dc(Transport::Tcp, ["192.0.2.1", "", ""]);
    let named = |trtype, traddr: &str| entry_of(trtype, traddr, "4420").controller(&dc);
    for traddr in ["", "0.0.0.0", "::", "0:0::0", "::ffff:0.0.0.0"] {
        assert_eq!(named(TrType::TCP, traddr), Err(EntryError::NoAddress), "{traddr}");
    }
    for (trtype, transport, traddr) in [
        (TrType::TCP, Transport::Tcp, "host.example"),
        (TrType::TCP, Transport::Tcp, FC),
        (TrType::RDMA, Transport::Rdma, "192.0.2"),
        (TrType::FC, Transport::Fc, "nn-0x1:pn-0x2"),
        (TrType::FC, Transport::Fc, "192.0.2.1"),
    ] {
        assert_eq!(named(trtype, traddr), Err(EntryError::Address { transport, text: traddr.into() }));
    }
    assert_eq!(named(TrType::FC, ""), Err(EntryError::NoAddress));
    let by_loop = self::dc(Transport::Loop, ["here", "", ""]);
    assert!(entry_of(TrType::LOOP, "", "4420").controller(&by_loop).is_ok(), "loop needs no address");
    for (trtype, transport) in [(TrType::TCP, Transport::Tcp), (TrType::RDMA, Transport::Rdma)] {
        for traddr in ["224.0.0.1", "::ffff:224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert_eq!(named(trtype, traddr), Err(EntryError::Address { transport, text: traddr.into() }));
        }
    }
    assert_eq!(named(TrType(77), "192.0.2.1"), Err(EntryError::Transport(77)));
}

#[test]
fn only_a_discovery_controller_of_the_loop_transport_lists_what_this_host_exports_itself() {
    for (transport, host_side, is_ok) in [
        (Transport::Loop, ["here", "", ""], true),
        (Transport::Tcp, ["192.0.2.1", "", ""], false),
        (Transport::Rdma, ["192.0.2.1", "", ""], false),
        (Transport::Fc, [FC, FC_HOST, ""], false),
    ] {
        for subtype in [Subtype::NVME, Subtype::REFERRAL] {
            let entry = Entry { subtype, ..entry_of(TrType::LOOP, "here", "") };
            let named = entry.controller(&dc(transport, host_side));
            assert_eq!(named.is_ok(), is_ok, "{subtype:?} on a page over {transport}");
            assert!(is_ok || named == Err(EntryError::Loop), "{subtype:?} on a page over {transport}");
        }
    }
}

#[test]
fn only_a_referral_may_have_the_nqn_of_discovery_controllers() {
    let dc = dc(Transport::Tcp, ["192.0.2.1", "", ""]);
    let with = |subtype, subnqn: &str| {
        let entry = Entry { subtype, subnqn: subnqn.into(), ..entry_of(TrType::TCP, "192.0.2.2", "8009") };
        entry.controller(&dc).map(|tid| tid.subsysnqn.clone())
    };
    assert_eq!(with(Subtype::NVME, DISCOVERY_NQN), Err(EntryError::DiscoveryNqn));
    assert_eq!(with(Subtype::NVME, ""), Err(EntryError::NoNqn));
    assert_eq!(with(Subtype::REFERRAL, DISCOVERY_NQN), Ok(DISCOVERY_NQN.into()));
    assert_eq!(with(Subtype::REFERRAL, ""), Ok(DISCOVERY_NQN.into()));
    assert_eq!(with(Subtype::REFERRAL, "nqn.unique"), Ok("nqn.unique".into()));
}
