#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::desired::{Access, Storage};

const PORT: &str = "[[port]]\nid = 1\ntransport = \"tcp\"\ntraddr = \"::\"\n";

fn good(text: &str) -> Desired {
    parse("test.conf", text).unwrap()
}

fn wrong(text: &str) -> String {
    parse("test.conf", text).unwrap_err().to_string()
}

#[test]
fn the_sample_is_the_one_that_nvme_stas_users_know() {
    let wanted = good(BUILT_IN);
    let port = wanted.ports.get(&1).unwrap();
    assert_eq!(port.address.to_string(), "tcp [::]:8009");
    let sizes = wanted.subsystems.iter().map(|(nqn, subsystem)| (nqn.as_str(), subsystem.namespaces.len()));
    let dell = "nqn.1988-11.com.dell:PowerSANxxx:01:20210225100113-454f73093ceb4847a7bdfc6e34ae8e28";
    assert_eq!(sizes.collect::<Vec<_>>(), [("klingons", 3), (dell, 1), ("starfleet", 2)]);
    assert!(wanted.subsystems.values().all(|subsystem| subsystem.ports.contains(&1)));
}

#[test]
fn large_is_64_subsystems_of_6_namespaces_on_one_device() {
    let wanted = good(include_str!("../../large.conf"));
    assert_eq!(wanted.subsystems.len(), 64);
    assert!(wanted.subsystems.contains_key("nqn.2014-08.org.nvmexpress:large:64"));
    assert!(wanted.subsystems.values().all(|subsystem| subsystem.namespaces.len() == 6));
    let namespaces = wanted.subsystems.values().flat_map(|subsystem| subsystem.namespaces.values());
    let devices: BTreeSet<String> = namespaces.map(|namespace| format!("{:?}", namespace.storage)).collect();
    assert_eq!(devices.len(), 1);
}

#[test]
fn auth_lets_in_only_hosts_with_keys() {
    let wanted = good(include_str!("../../auth.conf"));
    assert_eq!(wanted.hosts.len(), 2);
    assert!(wanted.hosts.values().all(|host| host.dhchap_key.is_some()));
    assert!(wanted.subsystems.values().all(|subsystem| subsystem.access != Access::Anyone));
}

#[test]
fn loop_listens_within_the_machine() {
    let wanted = good(include_str!("../../loop.conf"));
    assert_eq!(wanted.ports.get(&1).unwrap().address.to_string(), "loop nvmet");
}

#[test]
fn a_subsystem_names_its_ports_or_is_on_all() {
    let two = "[[port]]\nid = 2\ntransport = \"rdma\"\ntraddr = \"192.0.2.1\"\n";
    let wanted = good(&format!("{PORT}{two}[[subsystem]]\nnqn = \"a\"\n[[subsystem]]\nnqn = \"b\"\nports = [2]\n"));
    assert_eq!(wanted.subsystems.get("a").unwrap().ports, BTreeSet::from([1, 2]));
    assert_eq!(wanted.subsystems.get("b").unwrap().ports, BTreeSet::from([2]));
    assert_eq!(wanted.ports.get(&2).unwrap().address.trsvcid, Some(4420));
}

#[test]
fn a_namespace_may_have_a_device_and_identifiers_of_its_own() {
    let wanted = good(
        "[[subsystem]]\nnqn = \"a\"\n[[subsystem.namespace]]\nid = 7\ndevice = \"/dev/vdb\"\n\
         nguid = \"00000000000000000000000000000007\"\n[[subsystem.namespace]]\nstorage = \"brd\"\n",
    );
    let namespaces = &wanted.subsystems.get("a").unwrap().namespaces;
    let seven = namespaces.get(&7).unwrap();
    assert_eq!(seven.storage, Storage::Given(PathBuf::from("/dev/vdb")));
    assert_eq!(seven.nguid.unwrap().to_string(), "00000000-0000-0000-0000-000000000007");
    assert_eq!(namespaces.get(&2).unwrap().storage, Storage::RamDisk);
}

#[test]
fn addresses_are_canonical() {
    let wanted = good(
        "[[port]]\nid = 1\ntransport = \"fc\"\ntraddr = \"NN-0x20000000000000AA:pn-0x10000000000000aa\"\n\
         [[port.referral]]\nname = \"other\"\ntransport = \"tcp\"\ntraddr = \"FE80:0::1%eth0\"\n",
    );
    let port = wanted.ports.get(&1).unwrap();
    assert_eq!(port.address.to_string(), "fc nn-0x20000000000000aa:pn-0x10000000000000aa");
    assert_eq!(port.referrals.get("other").unwrap().address.to_string(), "tcp [fe80::1%eth0]:8009");
}

#[test]
fn errors_name_the_file_the_line_the_key_and_what_would_be_right() {
    for (text, start, hint) in [
        ("[[port]]\nid = 1\nport = 3\n", "test.conf:3: port: unknown field", "expected one of `id`"),
        ("[[port]]\nid = \"one\"\n", "test.conf:2: id: ", "a whole number from 0 to 65535"),
        ("[[port]]\nid = 1\n", "test.conf:1: [[port]]: missing field `transport`", ""),
        ("[[port]]\nid = 1\ntransport = \"tpc\"\n", "test.conf:3: transport: ", "`tcp`"),
        ("[[port]]\nid = 1\ntransport = \"tcp\"\n", "test.conf:3: transport: ", "traddr = "),
        ("[[port]]\nid = 1\ntransport = \"tcp\"\ntraddr = \"host\"\n", "test.conf:4: traddr: ", "192.0.2.1"),
        ("[[port]]\nid = 1\ntransport = \"loop\"\ntrsvcid = 1\n", "test.conf:4: trsvcid: ", "leave it out"),
        ("[[port]]\nid = 1\ntransport = \"fc\"\ntraddr = \"1\"\n", "test.conf:4: traddr: ", "nn-0x"),
        ("[[subsystem]]\nnqn = \"a/b\"\n", "test.conf:2: nqn: ", "a slash"),
        ("[[subsystem]]\nnqn = \"a\"\ncount = 3\n", "test.conf:2: nqn: ", "{}"),
        ("[[subsystem]]\nnqn = \"a{}\"\n", "test.conf:2: nqn: ", "count = N"),
        ("[[subsystem]]\nnqn = \"a{}\"\ncount = 0\n", "test.conf:3: count: ", "1 to 4096"),
        ("[[subsystem]]\nnqn = \"a\"\nports = [3]\n", "test.conf:3: ports: ", "[[port]]"),
        ("[[subsystem]]\nnqn = \"a\"\n[[subsystem]]\nnqn = \"a\"\n", "test.conf:4: nqn: ", "its own"),
        ("[[subsystem]]\nnqn = \"a\"\nnamespaces = 2000\n", "test.conf:3: namespaces: ", "1 to 1024"),
        ("[brd]\nsize_mib = 0\n", "test.conf:2: size_mib: ", "1 to"),
        ("storage = \"disk\"\n", "test.conf:1: storage: ", "`brd`"),
        ("[null_blk]\nshared = true\nmemory_backed = true\n", "test.conf:2: shared: ", "must be false"),
        ("[[host]]\nnqn = \"h\"\ndhchap_hash = \"md5\"\n", "test.conf:3: dhchap_hash: ", "hmac(sha256)"),
        ("[[port]\n", "test.conf:1: ", ""),
        (&format!("{PORT}trsvcid = 0\n"), "test.conf:5: trsvcid: ", "1 to 65535"),
        ("[[port]]\nid = 1\ntransport = \"loop\"\ntraddr = \"a b\"\n", "test.conf:4: traddr: ", "up to 64 letters"),
        ("[[subsystem]]\nnqn = \"\"\n", "test.conf:2: nqn: ", "1 to 223"),
        ("[[subsystem]]\nnqn = \"nqn.2014-08.org.nvmexpress.discovery\"\n", "test.conf:2: nqn: ", "of your own"),
        ("[[subsystem]]\nnqn = \"..\"\n", "test.conf:2: nqn: ", "nqn.YYYY-MM"),
    ] {
        let error = wrong(text);
        assert!(error.starts_with(start) && error.contains(hint), "{text} gave: {error}");
    }
}

#[test]
fn a_namespace_that_contradicts_itself_is_refused() {
    const NAMESPACE: &str = "[[subsystem]]\nnqn = \"a\"\n[[subsystem.namespace]]\n";
    for (text, start, hint) in [
        ("device = \"/dev/vdb\"\nstorage = \"brd\"\n", "test.conf:4: device: ", "one of the two"),
        ("device = \"vdb\"\n", "test.conf:4: device: ", "/dev/vdb"),
        ("storage = \"brd\"\nsize_mib = 4\n", "test.conf:5: size_mib: ", "one size for all"),
        ("uuid = \"1\"\n", "test.conf:4: uuid: ", "32 hexadecimal digits"),
        ("id = 3\n[[subsystem.namespace]]\nid = 3\n", "test.conf:6: id: ", "used twice"),
        ("id = 0\n", "test.conf:4: id: ", "1 to"),
    ] {
        let error = wrong(&format!("{NAMESPACE}{text}"));
        assert!(error.starts_with(start) && error.contains(hint), "{text} gave: {error}");
    }
    let both = wrong("[[subsystem]]\nnqn = \"a\"\nnamespaces = 2\n[[subsystem.namespace]]\n");
    assert!(both.starts_with("test.conf:3: namespaces: ") && both.contains("use one of the two"), "{both}");
    let many = "[[subsystem]]\nnqn = \"a{}\"\ncount = 2\n[[subsystem.namespace]]\ndevice = \"/dev/vdb\"\n";
    let many = wrong(many);
    assert!(many.starts_with("test.conf:5: device: ") && many.contains("leave one out"), "{many}");
}

#[test]
fn a_port_and_its_double_are_refused() {
    let again = PORT.replace("id = 1", "id = 2");
    assert!(wrong(&format!("{PORT}{again}")).starts_with("test.conf:6: id: has the address of port 1, tcp [::]:8009"));
    let elsewhere = PORT.replace("::", "::1");
    assert!(wrong(&format!("{PORT}{elsewhere}")).starts_with("test.conf:6: id: is 0 or is used twice"));
}

#[test]
fn no_error_repeats_a_key() {
    let secret = "DHHC-1:00:AAsWISw3Qk1YY255hI+apbC7xtHc5/L9CBMeKTQ/SlXiSTNh:";
    for text in [
        format!("[[host]]\nnqn = \"h\"\ndhchap_key = \"{secret}x\"\n"),
        format!("[[host]]\nnqn = \"h\"\ndhchap_kye = \"{secret}\"\n"),
        format!("[[host]]\nnqn = \"h\"\ndhchap_key = {secret}\n"),
        format!("[[host]]\nnqn = \"h\"\ndhchap_key = \"{secret}\n"),
        format!("[[host]]\nnqn = \"h\"\n\"{secret}\" = 1\n"),
        format!("[[port]]\nid = \"{secret}\"\n"),
        format!("storage = \"{secret}\"\n"),
        format!("[[host]]\nnqn = \"h\"\ndhchap_ctrl_key = \"{secret}\"\n"),
    ] {
        let error = wrong(&text);
        assert!(!error.contains("AAsWISw3"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error_with_a_line(text in "\\PC*") {
        if let Err(error) = parse("test.conf", &text) {
            prop_assert!(error.to_string().starts_with("test.conf:"));
        }
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_refused(
        table in prop::sample::select(vec!["brd", "null_blk", "[host]", "[port]", "[subsystem]"]),
        key in prop::sample::select(vec![
            "nqn", "id", "count", "namespaces", "size_mib", "traddr", "trsvcid", "transport", "ports", "dhchap_key",
        ]),
        value in prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            "\\PC{0,300}".prop_map(|text| format!("{text:?}")),
            Just("[]".to_owned()),
            Just("{}".to_owned()),
            Just("true".to_owned()),
        ],
    ) {
        let _ = parse("test.conf", &format!("[{table}]\n{key} = {value}\n"));
    }
}
