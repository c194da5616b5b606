use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;

fn read(port: u16, txt: &[(&str, &str)]) -> Result<ServiceOffer, TxtError> {
    offer(port, txt.iter().map(|(key, value)| (*key, Some(value.as_bytes()))))
}

#[test]
fn p_names_the_transport_in_any_case_and_the_nqn_is_the_well_known_one_unless_given() {
    for (p, transport) in [
        ("tcp", Transport::Tcp),
        ("TCP", Transport::Tcp),
        ("rdma", Transport::Rdma),
        ("RoCE", Transport::Rdma),
        ("iwarp", Transport::Rdma),
    ] {
        let offer = read(8009, &[("P", p)]).unwrap();
        assert_eq!((offer.transport, offer.trsvcid.as_str()), (transport, "8009"), "{p}");
        assert_eq!(offer.subsysnqn, DISCOVERY_NQN);
    }
    let own = read(4420, &[("p", "tcp"), ("NQN", "nqn.2024-01.org.example:dc")]).unwrap();
    assert_eq!(own.subsysnqn, "nqn.2024-01.org.example:dc");
    assert_eq!(read(1, &[("p", "tcp"), ("nqn", "")]).unwrap().subsysnqn, DISCOVERY_NQN);
}

#[test]
fn of_a_key_that_is_there_twice_the_first_counts() {
    assert_eq!(read(1, &[("p", "roce"), ("P", "tcp")]).unwrap().transport, Transport::Rdma);
}

#[test]
fn what_names_no_transport_or_no_nqn_or_no_port_is_unfit_and_says_why() {
    assert_eq!(read(1, &[]), Err(TxtError::NoProtocol));
    assert_eq!(offer(1, [("p", None)]), Err(TxtError::NoProtocol));
    assert_eq!(read(1, &[("p", "smoke")]), Err(TxtError::UnknownProtocol(Sanitized::new("smoke"))));
    assert_eq!(read(0, &[("p", "tcp")]), Err(TxtError::NoPort));
    let long = format!("nqn.{}", "x".repeat(NQN_MAX));
    for nqn in ["x", "nqn.a,dhchap_secret=x", "nqn.a b", "nqn.a\nb", "nqn.a\u{85}b", &long] {
        assert!(matches!(read(1, &[("p", "tcp"), ("nqn", nqn)]), Err(TxtError::BadNqn(_))), "{nqn:?}");
    }
}

#[test]
fn untrusted_text_is_shortened_and_escaped() {
    assert_eq!(Sanitized::new("a\n\u{1b}[31mb").to_string(), "a\\n\\u{1b}[31mb");
    assert_eq!(Sanitized::new(&"x".repeat(500)).to_string().chars().count(), SHOWN + 1);
}

#[test]
fn the_interface_becomes_host_iface_for_tcp_alone_and_the_scope_of_link_local_addresses() {
    let tcp = read(8009, &[("p", "tcp")]).unwrap();
    let rdma = read(4420, &[("p", "roce")]).unwrap();
    let tid =
        |offer: &ServiceOffer, address: &str, ignore| candidate(offer, address.parse().unwrap(), "eth1", ignore, "h");
    assert_eq!(tid(&tcp, "192.0.2.1", false).to_string(), format!("(tcp, 192.0.2.1, 8009, {DISCOVERY_NQN}, eth1)"));
    assert_eq!(tid(&tcp, "192.0.2.1", true).host_iface, "");
    assert_eq!(tid(&rdma, "192.0.2.1", false).host_iface, "");
    assert_eq!(tid(&tcp, "::ffff:192.0.2.1", false).traddr, "192.0.2.1");
    assert_eq!(tid(&tcp, "fe80::1", true).traddr, "fe80::1%eth1");
    assert_eq!(tid(&rdma, "fe80::1", false).traddr, "fe80::1%eth1");
    assert_eq!(tid(&tcp, "2001:db8::1", false).traddr, "2001:db8::1");
}

#[test]
fn an_nqn_that_contains_a_secret_is_refused_and_masked() {
    let nqn = "nqn.x:DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    let unusable = offer(8009, [("p", Some(&b"tcp"[..])), ("nqn", Some(nqn.as_bytes()))]).unwrap_err();
    assert_eq!(unusable.to_string(), "nqn=nqn.x:*** in its TXT record is no NQN");
    assert_eq!(Sanitized::new("a\u{202e}\u{3164}b").to_string(), "a\\u{202e}\\u{3164}b");
}

#[test]
fn addresses_that_lead_to_no_other_machine_are_none() {
    let bad = ["0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.251", "ff02::fb", "255.255.255.255"];
    for address in bad.map(|text| text.parse::<IpAddr>().unwrap()) {
        assert!(!is_reachable(address), "{address}");
        if let IpAddr::V4(v4) = address {
            assert!(!is_reachable(v4.to_ipv6_mapped().into()), "{address}, mapped to IPv6");
        }
    }
    for address in ["192.0.2.1", "169.254.1.2", "fe80::1", "2001:db8::1"] {
        assert!(is_reachable(address.parse().unwrap()), "{address}");
    }
}

proptest! {
    #[test]
    fn whatever_is_announced_gives_what_the_kernel_takes_or_a_line_for_the_log(
        port: u16,
        txt in prop::collection::vec(
            (prop_oneof![Just("p".to_owned()), Just("nQn".to_owned()), ".*"], prop::option::of(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop_oneof!["tcp", "RDMA", "nqn\\.[ -~]{0,230}"].prop_map(String::into_bytes),
            ])),
            0..6,
        ),
        address in prop_oneof![any::<[u8; 16]>(), Just("fe80::1".parse::<Ipv6Addr>().unwrap().octets())],
    ) {
        let txt: Vec<_> = txt.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        match offer(port, txt) {
            Ok(offer) => {
                prop_assert!(offer.subsysnqn.len() <= NQN_MAX && offer.subsysnqn.starts_with("nqn."));
                prop_assert!(!offer.subsysnqn.contains([',', '\n', ' ', '\0']));
                prop_assert!(offer.trsvcid.parse::<u16>().unwrap() > 0);
                let tid = candidate(&offer, address.into(), "eth0", false, "h");
                // With rdma only the scope of a link-local address names an interface.
                let is_bound = offer.transport == Transport::Tcp || is_link_local(address.into());
                prop_assert_eq!(tid.host_iface.is_empty(), !is_bound);
                prop_assert_eq!(Tid::new(tid.parts().clone()), tid);
            }
            Err(unusable) => {
                let line = unusable.to_string();
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
                prop_assert!(line.len() < 2000);
            }
        }
    }

    #[test]
    fn a_good_announcement_is_understood_among_any_others_keys(
        before in prop::collection::vec("[a-oq-z]{1,9}", 0..5), p in "[tT][cC][pP]", key in "[pP]", port in 1_u16..,
    ) {
        let mut txt: Vec<(&str, Option<&[u8]>)> = before.iter().filter(|key| *key != "nqn").map(|k| (k.as_str(), None)).collect();
        txt.push((&key, Some(p.as_bytes())));
        let offer = offer(port, txt).unwrap();
        prop_assert_eq!((offer.transport, offer.trsvcid), (Transport::Tcp, port.to_string()));
    }
}
