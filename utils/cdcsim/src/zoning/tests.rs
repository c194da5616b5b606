//! Tests of addresses, and of zones as sets.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn addresses_are_written_as_people_write_them() {
    for (text, transport, traddr, trsvcid) in [
        ("192.0.2.1:4420", "tcp", "192.0.2.1", "4420"),
        ("[2001:db8::1]:8009", "tcp", "2001:db8::1", "8009"),
        ("rdma:192.0.2.1:4420", "rdma", "192.0.2.1", "4420"),
        ("fc:nn-0x10:pn-0x20", "fc", "nn-0x10:pn-0x20", "none"),
    ] {
        let address: Address = text.parse().unwrap();
        let seen = (address.transport.to_string(), address.traddr.as_str(), address.trsvcid.as_str());
        assert_eq!(seen, (transport.to_owned(), traddr, trsvcid));
        assert_eq!(address.to_string(), text);
    }
    for wrong in ["", "192.0.2.1", "2001:db8::1:4420", "host:4420", "192.0.2.1:x", "fc:x", "[192.0.2.1]:1"] {
        assert_eq!(wrong.parse::<Address>(), Err(AddressError(wrong.to_owned())));
    }
}

fn member(nqn: &str) -> Member {
    toml::from_str(&format!("nqn = '{nqn}'\naddresses = ['192.0.2.1:4420']")).unwrap()
}

#[test]
fn what_is_taken_from_a_zone_must_be_in_it() {
    let mut zoning = Zoning::default();
    zoning.add_member("disk", member("klingons")).unwrap();
    let [host, disk] = ["nqn.host", "disk"].map(|name| vec![name.to_owned()]);
    zoning.add_to_zone("a", &host, &disk).unwrap();
    let shown = |zoning: &Zoning| zoning.entries("nqn.host").len();
    let refused = |error: Result<(), ZoningError>| error.unwrap_err().to_string();
    assert!(refused(zoning.take_from_zone("b", &[], &[])).contains("there are: a"));
    let stranger = vec!["nqn.other".to_owned()];
    assert!(refused(zoning.take_from_zone("a", &stranger, &disk)).contains("nqn.other"));
    assert_eq!(shown(&zoning), 1, "nothing is changed then");
    zoning.take_from_zone("a", &[], &disk).unwrap();
    assert_eq!(shown(&zoning), 0);
    assert!(refused(zoning.take_from_zone("a", &[], &disk)).contains("disk"));
    zoning.take_from_zone("a", &[], &[]).unwrap();
    assert!(refused(zoning.take_from_zone("a", &[], &[])).contains("there are: none"));
}

proptest! {
    /// A host sees exactly the members that share a zone with it or with every host, each once.
    #[test]
    fn a_host_sees_what_shares_a_zone_with_it(
        zones in proptest::collection::vec((proptest::collection::btree_set(0..4_u8, 0..3), proptest::collection::btree_set(0..6_u8, 0..4)), 0..5),
    ) {
        // Host 0 is every host.
        let host = |number: &u8| if *number == 0 { EVERY_HOST.to_owned() } else { format!("host{number}") };
        let name = |number: &u8| format!("member{number}");
        let mut zoning = Zoning::default();
        for number in 0..6 {
            zoning.add_member(&name(&number), member(&name(&number))).unwrap();
        }
        for (at, (hosts, members)) in zones.iter().enumerate() {
            let (hosts, members): (Vec<_>, Vec<_>) = (hosts.iter().map(host).collect(), members.iter().map(name).collect());
            zoning.add_to_zone(&at.to_string(), &hosts, &members).unwrap();
        }
        for number in 1..4 {
            let seen: Vec<String> = zoning.entries(&host(&number)).into_iter().map(|entry| entry.subnqn).collect();
            let shared = |member: &u8| {
                zones.iter().any(|(hosts, members)| (hosts.contains(&0) || hosts.contains(&number)) && members.contains(member))
            };
            let expected: Vec<String> = (0..6).filter(shared).map(|member| name(&member)).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn any_text_is_an_address_or_none(text: String) {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
