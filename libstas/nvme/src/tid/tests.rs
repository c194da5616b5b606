use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn parts() -> TidParts {
    TidParts {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        trsvcid: "8009".into(),
        subsysnqn: "nqn.x".into(),
        host_traddr: "192.0.2.9".into(),
        host_iface: "eth0".into(),
        host_nqn: "nqn.host".into(),
    }
}

#[test]
fn a_tid_is_shown_without_empty_parts_at_its_end() {
    let shown = |change: fn(&mut TidParts)| {
        let mut parts = parts();
        change(&mut parts);
        Tid::new(parts).to_string()
    };
    assert_eq!(shown(|_| ()), "(tcp, 192.0.2.1, 8009, nqn.x, eth0, 192.0.2.9)");
    assert_eq!(shown(|tid| tid.host_traddr.clear()), "(tcp, 192.0.2.1, 8009, nqn.x, eth0)");
    assert_eq!(shown(|tid| tid.host_iface.clear()), "(tcp, 192.0.2.1, 8009, nqn.x, , 192.0.2.9)");
    let bare = |tid: &mut TidParts| {
        tid.host_iface.clear();
        tid.host_traddr.clear();
    };
    assert_eq!(shown(bare), "(tcp, 192.0.2.1, 8009, nqn.x)");
    let loopback = TidParts { transport: Transport::Loop, ..parts() };
    let nothing = TidParts {
        traddr: String::new(),
        trsvcid: String::new(),
        subsysnqn: String::new(),
        host_traddr: String::new(),
        host_iface: String::new(),
        ..loopback
    };
    assert_eq!(Tid::new(nothing).to_string(), "(loop)");
}

#[test]
fn one_address_in_many_spellings_is_one_controller() {
    let with = |traddr: &str| Tid::new(TidParts { traddr: traddr.into(), ..parts() });
    for spelling in ["::ffff:192.0.2.1", "[::ffff:192.0.2.1]", " 192.0.2.1 ", "::ffff:c000:201", "[192.0.2.1]"] {
        assert_eq!(with(spelling), with("192.0.2.1"), "{spelling}");
    }
    for spelling in ["2001:DB8:0:0::1", "2001:db8:0000::0001", "[2001:db8::1]"] {
        assert_eq!(with(spelling), with("2001:db8::1"), "{spelling}");
    }
    assert_ne!(with("192.0.2.1"), with("192.0.2.2"));
}

#[test]
fn the_scope_of_an_address_is_part_of_it() {
    assert_eq!(canonical_ip("FE80::0:1%eth0"), "fe80::1%eth0");
    assert_eq!(canonical_ip("[fe80::1]%eth0"), "fe80::1%eth0");
    assert_eq!(canonical_ip("[fe80::1%eth0]"), "fe80::1%eth0");
    assert_eq!(parse_ip("fe80::1%"), None);
}

#[test]
fn text_that_is_no_ip_address_is_kept() {
    for text in ["host.example", "", "1.2.3", "[::1", "::1]", "192.0.2.1:4420"] {
        assert_eq!(parse_ip(text), None, "{text}");
        assert_eq!(canonical_ip(text), text);
    }
    assert_eq!(canonical_ip(" Host.Example "), "Host.Example");
}

/// Spellings in log pages, configuration files, sysfs and older saved states, and their canonical form: transport,
/// traddr, trsvcid, host-traddr and host-iface, then traddr, trsvcid and host-traddr in canonical form.
const SPELLINGS: &[(Transport, [&str; 4], [&str; 3])] = &[
    (Transport::Tcp, ["192.0.2.1", "4420", "", ""], ["192.0.2.1", "4420", ""]),
    (Transport::Tcp, ["::ffff:192.0.2.1", "04420", "::FFFF:192.0.2.9", ""], ["192.0.2.1", "4420", "192.0.2.9"]),
    (Transport::Tcp, [" 192.0.2.1 ", " 4420 ", " ", ""], ["192.0.2.1", "4420", ""]),
    (Transport::Tcp, ["192.0.2.1%ens9", "4420", "", "eth0"], ["192.0.2.1", "4420", ""]),
    (Transport::Tcp, ["192.0.2.1", "", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Tcp, ["192.0.2.1", "none", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Tcp, ["192.0.2.1", "0", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Tcp, ["192.0.2.1", "65536", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Tcp, ["192.0.2.1", "+4420", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Tcp, ["2001:DB8:0::1%ens9", "8009", "", "eth0"], ["2001:db8::1", "8009", ""]),
    (Transport::Tcp, ["FE80:0::1", "8009", "", "eth0"], ["fe80::1%eth0", "8009", ""]),
    (Transport::Tcp, ["[fe80::1]%eth1", "8009", "", ""], ["fe80::1%eth1", "8009", ""]),
    (Transport::Tcp, ["fe80::1%eth1", "8009", "fe80::9", ""], ["fe80::1%eth1", "8009", "fe80::9%eth1"]),
    (Transport::Tcp, ["fe80::1", "8009", "fe80::9", "eth0"], ["fe80::1%eth0", "8009", "fe80::9%eth0"]),
    (Transport::Tcp, ["fe80::1", "8009", "", ""], ["fe80::1", "8009", ""]),
    (Transport::Rdma, ["::ffff:192.0.2.1", "04420", "", ""], ["192.0.2.1", "4420", ""]),
    (Transport::Rdma, ["192.0.2.1", "none", "", ""], ["192.0.2.1", "", ""]),
    (Transport::Rdma, ["fe80::1", "4420", "", "eth0"], ["fe80::1%eth0", "4420", ""]),
    (Transport::Fc, [FC, "", FC, ""], [FC, "", FC]),
    (Transport::Fc, [FC, "none", FC, ""], [FC, "", FC]),
    (Transport::Fc, [FC, "   ", FC, ""], [FC, "", FC]),
    (Transport::Fc, [FC_UPPER, "none", FC_SHORT, ""], [FC, "", FC]),
    (Transport::Fc, ["NN-0x1:PN-0x2", "4420", "", ""], ["nn-0x1:pn-0x2", "", ""]),
    (Transport::Loop, ["Loop-One", "none", "", ""], ["Loop-One", "", ""]),
    (Transport::Loop, [" ", "4420", "", ""], ["", "", ""]),
];
const FC: &str = "nn-0x10000090fa942779:pn-0x20000090fa942779";
const FC_UPPER: &str = "NN-0x10000090FA942779:PN-0x20000090FA942779";
const FC_SHORT: &str = "nn-10000090fa942779:pn-20000090FA942779";

#[test]
fn each_transport_has_one_form_of_each_spelling() {
    for (transport, written, canonical) in SPELLINGS {
        let [traddr, trsvcid, host_traddr, host_iface] = written.map(str::to_owned);
        let tid = Tid::new(TidParts { traddr, trsvcid, host_traddr, host_iface, ..TidParts::none(*transport) });
        let found = [&*tid.traddr, &*tid.trsvcid, &*tid.host_traddr];
        assert_eq!(&found, canonical, "{transport}: {written:?}");
        let saved = serde_json::to_string(tid.parts()).unwrap();
        assert_eq!(serde_json::from_str::<Tid>(&saved).unwrap(), tid, "{transport}: {written:?}");
    }
}

#[test]
fn a_link_local_address_on_two_interfaces_is_two_controllers() {
    for transport in [Transport::Tcp, Transport::Rdma] {
        let with = |traddr: &str, host_iface: &str| {
            let parts = TidParts { transport, traddr: traddr.into(), host_traddr: String::new(), ..parts() };
            Tid::new(TidParts { host_iface: host_iface.into(), ..parts })
        };
        assert_ne!(with("fe80::1", "eth0"), with("fe80::1", "eth1"));
        assert_ne!(with("fe80::1", "eth0").traddr, with("fe80::1%eth1", "").traddr);
        assert_eq!(with("fe80::1", "eth0"), with("fe80::1%eth0", "eth0"));
        assert_eq!(with("fe80::1", "eth0").unbound(), with("fe80::1%eth0", ""));
    }
}

#[test]
fn the_scope_of_a_link_local_address_is_its_interface() {
    for transport in [Transport::Tcp, Transport::Rdma] {
        let with = |traddr: &str, host_iface: &str| {
            let parts = TidParts { transport, traddr: traddr.into(), host_traddr: String::new(), ..parts() };
            Tid::new(TidParts { host_iface: host_iface.into(), ..parts })
        };
        for (traddr, host_iface) in [("fe80::1%eth0", ""), ("fe80::1", "eth0"), ("fe80::1%eth0", "eth0")] {
            let tid = with(traddr, host_iface);
            assert_eq!((&*tid.traddr, &*tid.host_iface), ("fe80::1%eth0", "eth0"));
            assert_eq!(tid.clone().unbound(), tid);
        }
        assert_eq!(with("fe80::1%2", "").host_iface, "", "the kernel takes no number for an interface");
        assert_eq!(with("2001:db8::1%eth0", "").host_iface, "", "only link-local addresses have a scope");
        assert_eq!(with("2001:db8::1", "eth0").unbound().host_iface, "");
    }
}

#[test]
fn transports_are_read_in_any_case_and_others_are_named() {
    for transport in [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop] {
        assert_eq!(transport.as_str().to_uppercase().parse(), Ok(transport));
    }
    assert_eq!("pcie".parse::<Transport>(), Err(UnknownTransport("pcie".into())));
    assert_eq!(UnknownTransport("pcie".into()).to_string(), "\"pcie\" is no transport: tcp, rdma, fc or loop are");
}

#[test]
fn what_is_saved_with_an_address_spelt_otherwise_is_canonical_when_it_is_read() {
    let saved = serde_json::to_string(&TidParts { traddr: "::ffff:192.0.2.1".into(), ..parts() }).unwrap();
    assert_eq!(serde_json::from_str::<Tid>(&saved).unwrap(), Tid::new(parts()));
}

fn any_address() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv4Addr>().prop_map(|ip| ip.to_ipv6_mapped().to_string()),
        any::<u64>().prop_map(|host| Ipv6Addr::from(0xfe80 << 112 | u128::from(host)).to_string()),
        (any::<u64>(), "[a-z0-9.]{1,15}")
            .prop_map(|(host, scope)| { format!("{}%{scope}", Ipv6Addr::from(0xfe80 << 112 | u128::from(host))) }),
        (any::<Ipv6Addr>(), "[a-z0-9.]{1,15}").prop_map(|(ip, scope)| format!("{ip}%{scope}")),
        any::<Ipv6Addr>().prop_map(|ip| format!(" [{ip}] ")),
        any::<String>(),
        "[\\[\\]%:0-9a-f. ]{0,20}",
    ]
}

prop_compose! {
    fn any_parts()(
        transport in prop::sample::select(vec![Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop]),
        traddr in any_address(),
        host_traddr in any_address(),
        [trsvcid, subsysnqn, host_iface, host_nqn] in prop::array::uniform4(any::<String>()),
    ) -> TidParts {
        TidParts { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn }
    }
}

proptest! {
    #[test]
    fn the_canonical_form_is_its_own_canonical_form(parts in any_parts()) {
        let tid = Tid::new(parts);
        prop_assert_eq!(Tid::new(tid.parts().clone()), tid);
    }

    #[test]
    fn an_ip_address_means_the_same_in_its_canonical_form(text in any_address()) {
        let canonical = canonical_ip(&text);
        let ip = |text: &str| parse_ip(text).map(|(ip, _)| ip);
        prop_assert_eq!(ip(&canonical), ip(&text));
        prop_assert_eq!(parse_link_local(&canonical), parse_link_local(&text));
    }

    #[test]
    fn a_tid_cannot_hold_another_form(parts in any_parts()) {
        let tid = Tid::new(parts);
        let port = (!tid.trsvcid.is_empty()).then(|| parse_port(&tid.trsvcid).unwrap().to_string());
        prop_assert_eq!(port.unwrap_or_default(), tid.trsvcid.clone());
        prop_assert!(tid.transport().is_ip() || tid.trsvcid.is_empty());
        if tid.transport().is_ip() {
            prop_assert_eq!(canonical_address(tid.transport(), &tid.traddr, &tid.host_iface), tid.traddr.clone());
        }
    }

    #[test]
    fn an_ipv4_address_is_the_same_controller_however_it_is_written(ip: Ipv4Addr) {
        prop_assert_eq!(canonical_ip(&ip.to_ipv6_mapped().to_string()), ip.to_string());
    }

    #[test]
    fn different_addresses_are_different_controllers(one: IpAddr, other: IpAddr) {
        let is_same = one.to_canonical() == other.to_canonical();
        prop_assert_eq!(canonical_ip(&one.to_string()) == canonical_ip(&other.to_string()), is_same);
    }

    #[test]
    fn saved_tids_are_read_back(parts in any_parts()) {
        let tid = Tid::new(parts);
        let saved = serde_json::to_string(&tid).unwrap();
        prop_assert_eq!(serde_json::from_str::<Tid>(&saved).unwrap(), tid);
    }

    #[test]
    fn a_tid_always_begins_with_its_transport(parts in any_parts()) {
        let tid = Tid::new(parts);
        let begin = format!("({}", tid.transport());
        prop_assert!(tid.to_string().starts_with(&begin));
    }
}
