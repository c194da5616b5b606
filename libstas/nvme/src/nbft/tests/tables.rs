use super::super::*;
use super::{table, with};
use crate::{Tid, TidParts, Transport};

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007";

fn tables(bytes: &[u8]) -> BootTables {
    BootTables(vec![BootTable { name: "NBFT".into(), nbft: parse(bytes).unwrap() }])
}

fn ioc(traddr: &str, trsvcid: &str, nqn: &str, host_nqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: "eth7".into(),
        host_nqn: host_nqn.into(),
    })
}

#[test]
fn a_discovery_controller_comes_with_host_and_interface() {
    let controllers = tables(&table()).discovery_controllers();
    let expected = BootController {
        record: "NBFT, discovery 1".into(),
        transport: Transport::Tcp,
        traddr: "192.0.2.2".parse().unwrap(),
        trsvcid: "8009".into(),
        nqn: None,
        host_nqn: Some(HOST.into()),
        interface: Some(BootInterface { mac: Mac([0x52, 0x54, 0x00, 0xb0, 0x07, 0x01]), ip: "192.0.2.1".parse().ok() }),
        requires_secure_channel: false,
    };
    assert_eq!(controllers.len(), 2);
    assert_eq!(controllers[0], expected);
}

#[test]
fn an_unconfigured_host_nqn_is_not_used() {
    let tables = tables(&with(&[(129, &[0x03])]));
    assert_eq!(tables.discovery_controllers()[0].host_nqn, None);
    let root = "nqn.2014-08.org.nvmexpress:boot:root";
    assert!(tables.record_of(&ioc("192.0.2.2", "4420", root, "nqn.other")).is_some(), "nor compared");
}

#[test]
fn the_controllers_of_the_firmware_are_recognized() {
    let tables = tables(&table());
    let root = "nqn.2014-08.org.nvmexpress:boot:root";
    let of = |traddr, trsvcid, nqn, host_nqn| tables.record_of(&ioc(traddr, trsvcid, nqn, host_nqn));
    assert_eq!(of("192.0.2.2", "4420", root, HOST).as_deref(), Some("NBFT, SSNS 1"));
    assert_eq!(of("::ffff:192.0.2.2", "4420", root, HOST).as_deref(), Some("NBFT, SSNS 1"), "as an address");
    assert_eq!(of("192.0.2.3", "4420", root, HOST), None);
    assert_eq!(of("192.0.2.2", "8009", root, HOST), None);
    assert_eq!(of("192.0.2.2", "4420", "nqn.other", HOST), None);
    assert_eq!(of("192.0.2.2", "4420", root, "nqn.other"), None);
}

#[test]
fn the_first_table_says_which_host_id_goes_with_an_nqn() {
    let mut two = tables(&table());
    two.0.extend(tables(&with(&[(130, &[0xff])])).0);
    let ids = two.host_ids();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[HOST].to_string(), "5b3a2c10-0000-4000-8000-00000000b007");
}
