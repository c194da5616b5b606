use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

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
        ..KernelController::unread(CtrlRef { device: 0, inode: 1 }, Transport::Tcp)
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

/// The host side of a connection (host-iface, host-traddr), and whether it lacks its source.
const SOURCES: &[([&str; 2], bool)] = &[
    (["", ""], false),
    (["eth0", ""], false),
    (["eth7", ""], true),
    (["", "192.0.2.10"], false),
    (["", "::ffff:192.0.2.10"], false),
    (["", "192.0.2.77"], true),
    (["", "::ffff:192.0.2.77"], true),
    (["", "[2001:DB8:0::1]"], true),
    (["", "fe80::5"], false),
    (["", "fe80:0::5%eth0"], false),
    (["", "fe80::5%1"], false),
    (["", "fe80::5%eth1"], true),
    (["eth0", "fe80::5"], false),
    (["eth1", "fe80::5"], true),
    (["eth0", "192.0.2.20"], false),
    (["", "127.0.0.9"], false),
    (["", "::"], false),
    (["", "no address"], false),
];

#[test]
fn a_source_is_missing_only_if_the_interfaces_are_known_and_none_has_it() {
    let mut links = links();
    links.0[0].addresses.push("fe80::5".parse().unwrap());
    let from = |[iface, address]: [&str; 2]| KernelController {
        host_iface: iface.into(),
        host_traddr: address.into(),
        ..kernel()
    };
    let wanted = |[iface, address]: [&str; 2]| {
        Tid::new(TidParts { host_iface: iface.into(), host_traddr: address.into(), ..tid() })
    };
    for (source, lacks) in SOURCES {
        assert_eq!(lacks_source(&from(*source), &links), *lacks, "{source:?}");
        assert_eq!(is_replaceable(&from(*source), &wanted(["", ""]), &links), *lacks, "{source:?}");
        assert!(!is_replaceable(&from(*source), &wanted(*source), &links), "{source:?} is wanted itself");
        assert!(!lacks_source(&from(*source), &Links::default()), "{source:?}");
    }
    let fc = KernelController { transport: Transport::Fc, ..from(["", "nn-0x1:pn-0x2"]) };
    assert!(!lacks_source(&fc, &links));
    links.0[0].up = false;
    assert!(lacks_source(&from(["eth0", ""]), &links));
    assert!(!lacks_source(&from(["", "192.0.2.10"]), &links), "it still has the address");
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
    let live = KernelController { ctrl: CtrlRef { device: 1, inode: 2 }, ..kernel() };
    let snapshot = Snapshot::new(0, 0, [down, live.clone()]);
    assert_eq!(find(&snapshot, &Tid::new(tid()), &links(), false), Some(&live));
}

#[test]
fn a_connection_of_ones_own_is_taken_before_a_live_one_by_a_certain_interface() {
    let own = KernelController { state: CtrlState::Connecting, ..kernel() };
    let other = KernelController { ctrl: CtrlRef { device: 1, inode: 2 }, host_iface: "eth1".into(), ..kernel() };
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

/// The address and the service identifier of a controller, apart from their spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Ip(Transport, IpAddr, u16),
    LinkLocal(Transport, Ipv6Addr, String, u16),
    Fc(u64, u64),
    Loop(String),
}

impl Target {
    fn transport(&self) -> Transport {
        match self {
            Self::Ip(transport, ..) | Self::LinkLocal(transport, ..) => *transport,
            Self::Fc(..) => Transport::Fc,
            Self::Loop(_) => Transport::Loop,
        }
    }

    /// The address and the service identifier in one of their spellings. White space is possible on pages only.
    fn spelled(&self, address: usize, service: usize, on_page: bool) -> [String; 2] {
        let one_of = |number: usize, spellings: &[String]| spellings[number % spellings.len()].clone();
        let space = if on_page { " " } else { "" };
        let port = |port: u16| {
            one_of(
                service,
                &[port.to_string(), format!("0{port}"), format!("00{port}"), format!("{space}{port}{space}")],
            )
        };
        let none = || one_of(service, &[String::new(), "none".into(), space.into(), "0".into()]);
        let six = |ip: Ipv6Addr| {
            let groups = ip.segments().map(|group| format!("{group:04x}")).join(":");
            [ip.to_string(), groups.clone(), groups.to_uppercase(), ip.to_string().to_uppercase()]
        };
        match self {
            Self::Ip(_, IpAddr::V4(ip), number) => {
                let [mapped, groups, ..] = six(ip.to_ipv6_mapped());
                let spaced = format!("{space}{ip}{space}");
                [one_of(address, &[ip.to_string(), format!("[{mapped}]"), mapped, groups, spaced]), port(*number)]
            }
            Self::Ip(_, IpAddr::V6(ip), number) => {
                let scope = ["", "%ens9", "%7"][address / 4 % 3];
                let text = one_of(address, &six(*ip));
                let spellings = [format!("{text}{scope}"), format!("[{text}]{scope}"), format!("[{text}{scope}]")];
                [one_of(address / 12, &spellings), port(*number)]
            }
            Self::LinkLocal(_, ip, scope, number) => {
                let text = one_of(address, &six(*ip));
                let spellings = [format!("{text}%{scope}"), format!("[{text}]%{scope}"), format!("[{text}%{scope}]")];
                [one_of(address / 4, &spellings), port(*number)]
            }
            Self::Fc(node, port) => {
                let lower = format!("nn-0x{node:016x}:pn-0x{port:016x}");
                let short = format!("nn-{node:016x}:pn-{port:016X}");
                let upper = format!("NN-0x{node:016X}:PN-0x{port:016X}");
                [one_of(address, &[lower.clone(), short, upper, format!("{space}{lower}{space}")]), none()]
            }
            Self::Loop(name) => [one_of(address, &[name.clone(), format!("{space}{name}{space}")]), none()],
        }
    }

    fn tid(&self, [traddr, trsvcid]: [String; 2]) -> Tid {
        Tid::new(TidParts { transport: self.transport(), traddr, trsvcid, ..tid() })
    }

    /// The connection that the kernel shows if it was connected with that spelling.
    fn connection(&self, [traddr, trsvcid]: [String; 2]) -> KernelController {
        let service = if trsvcid.is_empty() { String::new() } else { format!(",trsvcid={trsvcid}") };
        let sysfs = format!("traddr={traddr}{service}");
        let address = stas_nvme::sysfs_address::SysfsAddress::parse(&sysfs, self.transport());
        KernelController { transport: self.transport(), traddr: address.traddr, trsvcid: address.trsvcid, ..kernel() }
    }
}

fn any_target() -> impl Strategy<Value = Target> {
    let transport = prop::sample::select(vec![Transport::Tcp, Transport::Rdma]);
    let low = || (0..3_u8).prop_map(|last| IpAddr::from([192, 0, 2, last]));
    let six = any::<u64>().prop_map(|host| IpAddr::from(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(host))));
    let ip = prop_oneof![low(), any::<Ipv4Addr>().prop_map(IpAddr::V4), six];
    let link_local = (0..3_u64).prop_map(|host| Ipv6Addr::from(0xfe80 << 112 | u128::from(host)));
    let port = prop_oneof![4419..4422_u16, 1..=u16::MAX];
    prop_oneof![
        (transport.clone(), ip, port.clone()).prop_map(|(transport, ip, port)| Target::Ip(transport, ip, port)),
        (transport, link_local, "eth[01]", port).prop_map(|(t, ip, scope, port)| Target::LinkLocal(t, ip, scope, port)),
        (1..3_u64, any::<u64>()).prop_map(|(node, port)| Target::Fc(node, port)),
        "[a-c]{1,2}".prop_map(Target::Loop),
    ]
}

proptest! {
    #[test]
    fn the_spellings_of_the_kernel_and_of_the_page_are_one_controller(
        target in any_target(),
        kernels in any::<(u8, u8)>(),
        pages in any::<(u8, u8)>(),
    ) {
        let connection = target.connection(target.spelled(kernels.0.into(), kernels.1.into(), false));
        let wanted = target.tid(target.spelled(pages.0.into(), pages.1.into(), true));
        prop_assert_eq!(connection.tid(), wanted.clone());
        prop_assert!(serves(&connection, &wanted, &links()));
    }

    #[test]
    fn two_controllers_differ_in_every_spelling(
        (one, other) in (any_target(), any_target()),
        kernels in any::<(u8, u8)>(),
        pages in any::<(u8, u8)>(),
    ) {
        let connection = one.connection(one.spelled(kernels.0.into(), kernels.1.into(), false));
        let wanted = other.tid(other.spelled(pages.0.into(), pages.1.into(), true));
        prop_assert_eq!(connection.tid() == wanted, one == other);
        prop_assert_eq!(serves(&connection, &wanted, &links()), one == other);
    }
}

/// A connection is disconnected as a duplicate only of one that is known to be the same.
#[test]
fn a_connection_with_an_unknown_source_serves_but_is_not_known_to() {
    let gone = Links::default();
    let wanted = |iface: &str, traddr: &str| {
        Tid::new(TidParts { host_iface: iface.into(), host_traddr: traddr.into(), ..tid() })
    };
    let from = |source: &str| KernelController { src_addr: Some(source.parse().unwrap()), ..kernel() };
    let bound = KernelController { host_iface: "eth1".into(), ..kernel() };
    let cases = [
        // Connection, interface and source address wanted, the present interfaces, serves, is known to serve.
        (kernel(), ("", ""), links(), true, true),
        (kernel(), ("eth1", ""), links(), true, false),
        (kernel(), ("", "192.0.2.20"), links(), true, false),
        (kernel(), ("eth1", "192.0.2.20"), links(), true, false),
        (from("192.0.2.20"), ("eth1", ""), links(), true, true),
        (from("192.0.2.20"), ("eth1", "192.0.2.20"), links(), true, true),
        (from("192.0.2.20"), ("eth1", "192.0.2.10"), links(), false, false),
        (from("192.0.2.10"), ("eth1", ""), links(), false, false),
        (from("192.0.2.10"), ("eth1", ""), gone.clone(), true, false),
        (from("192.0.2.10"), ("eth1", "192.0.2.20"), gone.clone(), false, false),
        (from("192.0.2.30"), ("eth1", ""), links(), false, false),
        (bound.clone(), ("eth1", ""), gone.clone(), true, true),
        (bound.clone(), ("eth0", ""), gone, false, false),
        (bound, ("eth1", "192.0.2.20"), links(), true, true),
    ];
    for (ctrl, (iface, traddr), links, serving, known) in cases {
        let tid = wanted(iface, traddr);
        assert_eq!(
            (serves(&ctrl, &tid, &links), is_known_to_serve(&ctrl, &tid, &links)),
            (serving, known),
            "{tid} by {:?} from {:?}",
            ctrl.host_iface,
            ctrl.src_addr
        );
    }
}
