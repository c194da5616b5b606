//! A table without defects, checked field by field.

use uuid::uuid;

use super::super::*;
use super::{table, with};
use crate::Transport;

#[test]
fn the_host_is_read() {
    let host = parse(&table()).unwrap().host.unwrap();
    let expected = Host {
        nqn: Some("nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007".into()),
        nqn_configured: true,
        id: Some(uuid!("5b3a2c10-0000-4000-8000-00000000b007")),
        id_configured: true,
        primary: Priority::Selected,
    };
    assert_eq!(host, expected);
}

#[test]
fn the_interface_is_read() {
    let hfi = parse(&table()).unwrap().hfi;
    let expected = Hfi {
        index: 1,
        transport: Transport::Tcp,
        pci_sbdf: 0x10,
        mac: Some(Mac([0x52, 0x54, 0x00, 0xb0, 0x07, 0x01])),
        vlan: None,
        ip: "192.0.2.1".parse().ok(),
        prefix: 24,
        ip_origin: 3,
        gateway: "192.0.2.254".parse().ok(),
        default_route: true,
        route_metric: 500,
        dns: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        dhcp: true,
        dhcp_server: "192.0.2.253".parse().ok(),
        host_name: Some("boothost".into()),
    };
    assert_eq!(hfi, [expected]);
}

#[test]
fn the_namespace_and_the_way_to_it_are_read() {
    let subsystem = parse(&table()).unwrap().subsystem;
    let expected = Ssns {
        index: 1,
        transport: Transport::Tcp,
        traddr: "192.0.2.2".parse().unwrap(),
        trsvcid: "4420".into(),
        nqn: "nqn.2014-08.org.nvmexpress:boot:root".into(),
        port_id: 2,
        nsid: 1,
        nid: Some(NamespaceId::Uuid(uuid!("6b1d7c00-0000-4000-8000-000000000001"))),
        hfi: vec![1],
        discovery: Some(1),
        security: Some(1),
        non_bootable: false,
        dhcp_root_path: true,
        separate_discovery: false,
        discovered: true,
        availability: Availability::Available,
        header_digest: true,
        data_digest: false,
        extended: Some(Extended {
            cntlid: 5,
            asqsz: 32,
            asqsz_configured: true,
            dhcp_root_path: Some("NVMe:192.0.2.2".into()),
        }),
    };
    assert_eq!(subsystem, [expected]);
}

#[test]
fn the_discovery_controllers_are_read() {
    let first = Discovery {
        index: 1,
        uri: "nvme+tcp://192.0.2.2:8009/".into(),
        transport: Transport::Tcp,
        traddr: "192.0.2.2".parse().unwrap(),
        trsvcid: "8009".into(),
        nqn: None,
        hfi: Some(1),
        security: Some(1),
    };
    let second = Discovery {
        index: 2,
        uri: "nvme+tcp://[2001:db8::2]:8009/".into(),
        traddr: "2001:db8::2".parse().unwrap(),
        nqn: Some("nqn.2014-08.org.nvmexpress:boot:dc".into()),
        security: None,
        ..first.clone()
    };
    assert_eq!(parse(&table()).unwrap().discovery, [first, second]);
}

#[test]
fn the_security_profile_is_read() {
    let expected = Security {
        index: 1,
        in_band_authentication: Demand::Required,
        secure_channel: Demand::Supported,
        secure_channel_algorithms: vec![],
        authentication_protocols: vec![5],
        cipher_suites: vec![],
        dh_groups: vec![1, 2],
        hash_functions: vec![1, 2, 3],
        secret_keypath: Some("https://bmc/redfish/v1/Keys/1".into()),
    };
    assert_eq!(parse(&table()).unwrap().security, [expected]);
}

#[test]
fn nothing_is_wrong_in_it() {
    assert_eq!(parse(&table()).unwrap().flaws, []);
}

#[test]
fn what_is_marked_as_void_is_passed_over() {
    let nbft = parse(&with(&[(129, &[0]), (162, &[0]), (195, &[0]), (322, &[0]), (385, &[0]), (417, &[0])])).unwrap();
    assert_eq!(nbft, Nbft::default());
    assert_eq!(parse(&with(&[(70, &[0])])).unwrap(), Nbft::default(), "the whole table");
}

#[test]
fn a_later_minor_revision_is_read_as_well() {
    assert_eq!(parse(&with(&[(50, &[9]), (66, &[9])])), parse(&table()));
}

#[test]
fn padding_after_the_table_is_not_part_of_it() {
    let mut padded = table();
    padded.extend([7; 100]);
    assert_eq!(parse(&padded), parse(&table()));
}

#[test]
fn descriptors_may_be_longer_than_what_is_known_of_them() {
    // One discovery descriptor of 64 bytes instead of two of 32.
    let nbft = parse(&with(&[(108, &[64, 0, 1, 1])])).unwrap();
    assert_eq!(nbft.discovery, parse(&table()).unwrap().discovery[..1]);
}

#[test]
fn the_closing_nul_may_be_counted() {
    assert_eq!(parse(&with(&[(150, &[69]), (394, &[27])])), parse(&table()));
}

#[test]
fn namespace_identifiers_are_shown_as_the_kernel_shows_them() {
    let nid = |kind: u8| parse(&with(&[(220, &[kind])])).unwrap().subsystem[0].nid.map(|nid| nid.to_string());
    assert_eq!(nid(0), None);
    assert_eq!(nid(1).unwrap(), "eui.6b1d7c0000004000");
    assert_eq!(nid(2).unwrap(), "nguid.6b1d7c00000040008000000000000001");
    assert_eq!(nid(3).unwrap(), "uuid.6b1d7c00-0000-4000-8000-000000000001");
}

#[test]
fn only_the_identifier_of_a_vlan_tag_counts() {
    assert_eq!(parse(&with(&[(465, &[0x05, 0x20])])).unwrap().hfi[0].vlan, Some(5));
}
