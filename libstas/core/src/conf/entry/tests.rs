//! What users are promised of `controller=` and `exclude=`, sentence by sentence.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Role, controller, exclusion};
use crate::conf::complaints::Complaints;
use crate::conf::keys::{STACD, STAFD};
use crate::conf::redact::without_secrets;
use crate::conf::types::{Complaint, ControllerEntry, Exclusion};
use stas_nvme::{Parameters, Secret, Transport};

const SECRET: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
const PADDED: &str = "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
const MISTYPED: &str = "DHHC-1:00:xxxxGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

fn read(text: &str, role: Role) -> (Option<ControllerEntry>, Vec<Complaint>) {
    let mut complaints = Complaints::new("f");
    let keys = if role == Role::Discovery { STAFD } else { STACD };
    let entry = controller(text, 7, role, keys, &mut complaints);
    (entry, complaints.into_vec())
}

/// Reads an entry of stafd.conf that causes no complaint.
#[track_caller]
fn dc(text: &str) -> ControllerEntry {
    let (entry, complaints) = read(text, Role::Discovery);
    assert_eq!(complaints, [], "{text}");
    entry.unwrap()
}

/// Reads an entry of stacd.conf that causes no complaint.
#[track_caller]
fn ioc(text: &str) -> ControllerEntry {
    let (entry, complaints) = read(text, Role::Io);
    assert_eq!(complaints, [], "{text}");
    entry.unwrap()
}

/// Reads an entry of stafd.conf that is accepted with one complaint.
#[track_caller]
fn taken(text: &str) -> (ControllerEntry, Complaint) {
    let (entry, mut complaints) = read(text, Role::Discovery);
    assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
    (entry.unwrap(), complaints.remove(0))
}

/// The only complaint about an entry that is refused.
#[track_caller]
fn refused(text: &str, role: Role) -> String {
    let (entry, complaints) = read(text, role);
    assert_eq!(entry, None, "{text}");
    assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
    assert!(complaints[0].severity.is_error() && complaints[0].line == 7, "{complaints:?}");
    complaints[0].text.clone()
}

fn read_exclusion(text: &str) -> (Option<Exclusion>, Vec<Complaint>) {
    let mut complaints = Complaints::new("f");
    let read = exclusion(text, 9, &mut complaints);
    (read, complaints.into_vec())
}

#[track_caller]
fn excluded(text: &str) -> Exclusion {
    let (exclusion, complaints) = read_exclusion(text);
    assert_eq!(complaints, [], "{text}");
    exclusion.unwrap()
}

#[test]
fn every_part_of_an_entry_finds_its_place() {
    let entry = ioc("transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2014-08.com.example:a;host-traddr=192.0.2.9;\
         host-iface=eth0;host-nqn=nqn.2014-08.com.example:me");
    assert_eq!(
        entry,
        ControllerEntry {
            transport: Transport::Tcp,
            traddr: "192.0.2.1".into(),
            is_name: false,
            trsvcid: "4420".into(),
            subsysnqn: "nqn.2014-08.com.example:a".into(),
            host_traddr: "192.0.2.9".into(),
            host_iface: "eth0".into(),
            host_nqn: "nqn.2014-08.com.example:me".into(),
            parameters: Parameters::default(),
            line: 7,
        }
    );
}

#[test]
fn keys_and_transports_are_taken_in_any_case() {
    assert_eq!(dc("Transport=TCP;TRADDR=::1;NQN=a"), dc("transport=tcp;traddr=::1;nqn=a"));
}

#[test]
fn subsysnqn_is_another_word_for_nqn() {
    assert_eq!(ioc("transport=tcp;traddr=::1;trsvcid=4420;subsysnqn=a").subsysnqn, "a");
}

#[test]
fn a_comment_behind_an_entry_is_a_comment() {
    assert_eq!(dc("transport=tcp;traddr=::1 # the array; transport=fc"), dc("transport=tcp;traddr=::1"));
    assert_eq!(excluded("transport=tcp # all of it"), excluded("transport=tcp"));
}

#[test]
fn trsvcid_defaults_to_8009_for_tcp_and_4420_for_rdma_and_none_for_fc_and_loop() {
    assert_eq!(dc("transport=tcp;traddr=192.0.2.1").trsvcid, "8009");
    assert_eq!(dc("transport=rdma;traddr=192.0.2.1").trsvcid, "4420");
    assert_eq!(dc("transport=loop;traddr=here").trsvcid, "");
    assert_eq!(dc("transport=fc;traddr=nn-0x1000000000000001:pn-0x2000000000000001;host-traddr=nn-0x1000000000000003:pn-0x2000000000000003").trsvcid, "");
}

#[test]
fn configured_fc_and_loop_controllers_work_in_both_files() {
    let fc = ioc(
        "transport=fc;traddr=nn-0x1000000000000001:pn-0x2000000000000001;host-traddr=nn-0x1000000000000003:pn-0x2000000000000003;nqn=a",
    );
    assert_eq!(fc.host_traddr, "nn-0x1000000000000003:pn-0x2000000000000003");
    assert_eq!(ioc("transport=loop;traddr=here;nqn=a").traddr, "here");
}

#[test]
fn a_trsvcid_that_the_transport_has_not_is_ignored_with_a_warning() {
    let (entry, complaint) = taken("transport=loop;traddr=here;trsvcid=none");
    assert_eq!(entry.trsvcid, "");
    assert!(!complaint.severity.is_error() && complaint.text.contains("loop has no trsvcid"), "{complaint}");
}

#[test]
fn an_unsupported_host_iface_is_ignored_with_a_warning() {
    let fc = "transport=fc;traddr=nn-0x1000000000000001:pn-0x2000000000000001;host-traddr=nn-0x1000000000000003:pn-0x2000000000000003";
    for (line, instead) in [
        ("transport=rdma;traddr=192.0.2.1;trsvcid=4420", "; host-traddr chooses the path"),
        ("transport=rdma;traddr=target.example;trsvcid=4420", "; host-traddr chooses the path"),
        (fc, "; host-traddr chooses the path"),
        ("transport=loop;traddr=here", ""),
    ] {
        let (entry, complaint) = taken(&format!("{line};host-iface=ib0"));
        assert_eq!(entry.host_iface, "", "{line}");
        assert!(!complaint.severity.is_error(), "{complaint}");
        assert!(complaint.text.ends_with(&format!("; this part is ignored{instead}")), "{complaint}");
    }
}

#[test]
fn stacd_without_a_port_takes_the_default_and_says_so() {
    let (entry, complaints) = read("transport=tcp;traddr=::1;nqn=a", Role::Io);
    assert_eq!(entry.unwrap().trsvcid, "8009");
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].text.contains("8009 is used"), "{complaints:?}");
}

#[test]
fn stafd_needs_no_nqn_and_stacd_does() {
    assert_eq!(dc("transport=tcp;traddr=::1").subsysnqn, "");
    assert!(refused("transport=tcp;traddr=::1;trsvcid=4420", Role::Io).contains("no nqn"));
}

#[test]
fn the_well_known_discovery_nqn_is_refused_in_stacd_conf() {
    let line = "transport=tcp;traddr=::1;trsvcid=8009;nqn=nqn.2014-08.org.nvmexpress.discovery";
    let complaint = refused(line, Role::Io);
    assert!(complaint.contains("discovery") && complaint.contains("stafd.conf"), "{complaint}");
    assert_eq!(dc(line).subsysnqn, "nqn.2014-08.org.nvmexpress.discovery");
}

#[test]
fn a_link_local_address_on_one_interface_is_refused_with_another_host_iface() {
    for transport in ["tcp", "rdma"] {
        let with = |traddr: &str| format!("transport={transport};traddr={traddr};host-iface=eth0");
        let complaint = refused(&with("fe80::1%eth1"), Role::Discovery);
        assert!(complaint.contains("eth1") && complaint.contains("eth0"), "{complaint}");
        assert_eq!(dc(&with("fe80::1%eth0")).traddr, "fe80::1%eth0");
        assert_eq!(dc(&with("fe80::1%2")).traddr, "fe80::1%2", "which interface is number 2 is not known here");
        assert_eq!(dc(&with("fe80::1")).traddr, "fe80::1%eth0");
    }
}

#[test]
fn a_link_local_address_on_an_interface_is_one_controller_however_it_is_written() {
    for transport in ["tcp", "rdma"] {
        let with = |rest: &str| dc(&format!("transport={transport};{rest}"));
        let expected = with("traddr=fe80::1%eth0;host-iface=eth0");
        assert_eq!((&*expected.traddr, &*expected.host_iface), ("fe80::1%eth0", "eth0"));
        assert_eq!(with("traddr=fe80::1%eth0"), expected);
        assert_eq!(with("traddr=fe80::1;host-iface=eth0"), expected);
        assert_ne!(with("traddr=fe80::1%eth1"), expected);
    }
}

#[test]
fn the_name_of_a_loop_port_keeps_its_case() {
    assert_eq!(dc("transport=loop;traddr=Loop-One").traddr, "Loop-One");
}

#[test]
fn an_entry_without_transport_or_traddr_is_refused() {
    assert!(refused("traddr=::1", Role::Discovery).contains("no transport"));
    assert!(refused("transport=tcp", Role::Discovery).contains("no traddr"));
    assert!(refused("transport=tcp;traddr=", Role::Discovery).contains("no traddr"));
    assert!(refused("transport=pcie;traddr=::1", Role::Discovery).contains("\"pcie\" is not tcp, rdma, fc or loop"));
}

#[test]
fn an_invalid_address_is_refused_with_the_reason() {
    assert!(refused("transport=tcp;traddr=192.0.2.300", Role::Discovery).contains("\"192.0.2.300\" is neither"));
    assert!(refused("transport=tcp;traddr=0.0.0.0", Role::Discovery).contains("unspecified"));
    assert!(refused("transport=fc;traddr=192.0.2.3", Role::Discovery).contains("Fibre Channel"));
    assert!(
        refused("transport=fc;traddr=nn-0x1000000000000001:pn-0x2000000000000001", Role::Discovery)
            .contains("it has no host-traddr")
    );
    assert!(refused("transport=tcp;traddr=::1;trsvcid=http", Role::Discovery).contains("not a port"));
    assert!(refused("transport=tcp;traddr=::1;host-traddr=me", Role::Discovery).contains("host-traddr: \"me\""));
    assert!(refused("transport=tcp;traddr=::1;host-traddr=192.0.2.1", Role::Discovery).contains("families"));
    assert!(refused("transport=tcp;traddr=::1;host-iface=a/b", Role::Discovery).contains("host-iface"));
}

#[test]
fn a_value_with_a_comma_is_refused_for_the_kernel_takes_it_for_an_option() {
    assert!(refused("transport=tcp;traddr=::1;nqn=a,hostid=1", Role::Discovery).contains("comma"));
    assert!(refused("transport=loop;traddr=a,hostid=1", Role::Discovery).contains("comma"));
    assert!(refused("transport=tcp;traddr=::1;host-nqn=a,b", Role::Discovery).contains("comma"));
}

#[test]
fn a_host_name_is_recognised_for_tcp_and_rdma_alone() {
    for transport in ["tcp", "rdma"] {
        let entry = dc(&format!("transport={transport};traddr=Array.example.com"));
        assert!(entry.is_name);
        assert_eq!(entry.traddr, "array.example.com");
    }
    assert!(!dc("transport=loop;traddr=array.example.com").is_name);
    assert!(!dc("transport=tcp;traddr=::1").is_name);
}

#[test]
fn addresses_are_shown_in_canonical_form() {
    assert_eq!(dc("transport=tcp;traddr=::FFFF:192.0.2.1;trsvcid=08009"), dc("transport=tcp;traddr=192.0.2.1"));
    assert_eq!(excluded("traddr=2001:DB8:0:0::1").traddr.as_deref(), Some("2001:db8::1"));
}

#[test]
fn an_entry_overrides_every_connection_key_of_global() {
    let entry =
        ioc("transport=tcp;traddr=::1;trsvcid=4420;nqn=a;hdr-digest=true;data-digest=false;kato=5;queue-size=64;\
         nr-io-queues=1;nr-write-queues=2;nr-poll-queues=3;reconnect-delay=4;ctrl-loss-tmo=-1;disable-sqflow=true");
    assert_eq!(
        entry.parameters,
        Parameters {
            hdr_digest: Some(true),
            data_digest: Some(false),
            kato: Some(5),
            queue_size: Some(64),
            nr_io_queues: Some(1),
            nr_write_queues: Some(2),
            nr_poll_queues: Some(3),
            reconnect_delay: Some(4),
            ctrl_loss_tmo: Some(-1),
            disable_sqflow: Some(true),
            dhchap_secret: None,
            dhchap_ctrl_secret: None,
            tls: None,
        }
    );
}

#[test]
fn a_bad_value_of_a_connection_key_is_a_warning_and_that_of_global_is_used() {
    let (entry, complaint) = taken("transport=tcp;traddr=::1;queue-size=8");
    assert_eq!(entry.parameters, Parameters::default());
    assert!(!complaint.severity.is_error());
    assert_eq!(
        complaint.text,
        "controller=: queue-size: \"8\" is not a whole number of entries from 16 to 1024; that of [Global] is used"
    );
}

#[test]
fn a_discovery_controller_has_no_io_queues() {
    let (entry, complaint) = taken("transport=tcp;traddr=::1;nr-io-queues=4");
    assert_eq!(entry.parameters, Parameters::default());
    assert!(complaint.text.contains("discovery controllers have no I/O queues"), "{complaint}");
}

#[test]
fn a_padded_secret_is_kept_as_a_whole() {
    let entry = dc(&format!("transport=tcp;traddr=::1;dhchap-secret={PADDED};dhchap-ctrl-secret={SECRET}"));
    assert_eq!(entry.parameters.dhchap_secret.as_ref().map(Secret::reveal), Some(PADDED));
    assert_eq!(entry.parameters.dhchap_ctrl_secret.as_ref().map(Secret::reveal), Some(SECRET));
}

#[test]
fn a_malformed_secret_is_an_error_and_no_connection_is_made_without_it() {
    for key in ["dhchap-secret", "dhchap-ctrl-secret"] {
        let (entry, complaint) = taken(&format!("transport=tcp;traddr=::1;{key}={MISTYPED}"));
        let Parameters { dhchap_secret, dhchap_ctrl_secret, .. } = entry.parameters;
        assert!(dhchap_secret.or(dhchap_ctrl_secret).is_some());
        assert!(complaint.severity.is_error() && complaint.text.contains("checksum"), "{complaint}");
    }
}

#[test]
fn no_complaint_shows_a_secret() {
    for text in [
        format!("transport=tcp;traddr=::1;dhchap-secret={MISTYPED}"),
        format!("transport=tcp;traddr=::1;dhchap_secret={SECRET}"),
        format!("transport=tcp;traddr=::1;dhchap-secret:{SECRET}"),
        format!("transport=tcp;traddr=::1;{SECRET}"),
        format!("transport=tcp;traddr={SECRET}"),
        format!("transport={SECRET};traddr=::1"),
        "transport=tcp;traddr=::1;dhchap-secret=;ia6zGodOr4S".to_owned(),
        format!("transport=tcp;traddr=::1;kato={SECRET}"),
    ] {
        let (_, complaints) = read(&text, Role::Discovery);
        let told = format!("{complaints:?}{:?}", read_exclusion(&text).1);
        assert!(!complaints.is_empty() && !told.contains("GodOr4S"), "{text}: {told}");
    }
}

#[test]
fn an_entry_with_a_secret_where_none_belongs_is_refused() {
    const TLS_KEY: &str = "NVMeTLSkey-1:01:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    for (words, place) in [
        // A colon in place of a semicolon.
        (format!("traddr=192.0.2.1;nqn=nqn.x:dhchap-secret={SECRET}"), "nqn"),
        (format!("traddr=192.0.2.1;nqn=nqn.x;kato=5:dhchap-secret={SECRET}"), "kato"),
        (format!("traddr=192.0.2.1;nqn=nqn.x;host-iface=eth0:dhchap-secret={SECRET}"), "host-iface"),
        (format!("traddr=here:dhchap-secret={SECRET};nqn=nqn.x"), "traddr"),
        // A secret in place of a name.
        (format!("traddr=192.0.2.1;nqn={SECRET}"), "nqn"),
        (format!("traddr=192.0.2.1;nqn={}", SECRET.to_ascii_lowercase()), "nqn"),
        (format!("traddr=192.0.2.1;nqn={TLS_KEY}"), "nqn"),
        (format!("traddr=192.0.2.1;nqn=nqn.x;host-nqn={TLS_KEY}"), "host-nqn"),
        // A key that does not exist, or none.
        (format!("traddr=192.0.2.1;nqn=nqn.x;dhchap_secret={SECRET}"), "an unknown key"),
        (format!("traddr=192.0.2.1;nqn=nqn.x;colour={TLS_KEY}"), "an unknown key"),
        (format!("traddr=192.0.2.1;nqn=nqn.x;dhchap-secret:{SECRET}"), "without key="),
        (format!("traddr=192.0.2.1;nqn=nqn.x;{SECRET}"), "without key="),
    ] {
        for transport in ["tcp", "rdma", "loop"] {
            let text = format!("transport={transport};{words}");
            for role in [Role::Discovery, Role::Io] {
                let complaint = refused(&text, role);
                assert!(complaint.contains(place) && complaint.contains("secret"), "{text}: {complaint}");
                assert!(!complaint.contains("GodOr4S") && !complaint.contains("godor4s"), "{text}: {complaint}");
            }
            let (exclusion, complaints) = read_exclusion(&text);
            assert_eq!(exclusion, None, "{text}");
            assert!(!format!("{complaints:?}").contains("GodOr4S"), "{text}: {complaints:?}");
            // The saved form of the line is not taken for another controller.
            let saved = without_secrets(format!("controller={text}").as_bytes());
            assert_eq!(read(saved.strip_prefix("controller=").unwrap(), Role::Io).0, None, "{saved}");
        }
    }
    assert_eq!(dc("transport=tcp;traddr=192.0.2.1;nqn=nqn.x:secret-lab").subsysnqn, "nqn.x:secret-lab");
}

#[test]
fn an_unknown_key_is_an_error_with_the_key_that_was_meant_and_the_rest_counts() {
    let (entry, complaint) = taken("transport=tcp;traddr=::1;host_iface=eth0");
    assert_eq!(entry.host_iface, "");
    assert!(complaint.severity.is_error());
    assert!(complaint.text.contains("\"host_iface\" is not a key of controller=; host-iface= is probably meant"));
    let (_, complaint) = taken("transport=tcp;traddr=::1;colour=blue");
    assert_eq!(complaint.text, "controller=: \"colour\" is not a key of controller=; this part is ignored");
    let (_, complaint) = taken("transport=tcp;traddr=::1;nonsense");
    assert!(complaint.text.contains("\"nonsense\" is not key=value"), "{complaint}");
}

#[test]
fn of_a_key_given_twice_the_last_one_counts() {
    let (entry, complaint) = taken("transport=tcp;traddr=::1;traddr=::2");
    assert_eq!(entry.traddr, "::2");
    assert!(complaint.text.contains("traddr is set more than once"), "{complaint}");
}

#[test]
fn an_empty_entry_is_ignored_with_one_warning() {
    for text in ["", " ; ", "# later"] {
        let (entry, complaints) = read(text, Role::Discovery);
        assert!(
            entry.is_none() && complaints.len() == 1 && !complaints[0].severity.is_error(),
            "{text}: {complaints:?}"
        );
        let (exclusion, complaints) = read_exclusion(text);
        assert!(
            exclusion.is_none() && complaints.len() == 1 && !complaints[0].severity.is_error(),
            "{text}: {complaints:?}"
        );
    }
}

#[test]
fn an_exclusion_has_what_is_given_and_nothing_else() {
    assert_eq!(
        excluded("transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=a;host-iface=eth0;host-nqn=b"),
        Exclusion {
            transport: Some(Transport::Tcp),
            traddr: Some("192.0.2.1".into()),
            is_name: false,
            trsvcid: Some("4420".into()),
            subsysnqn: Some("a".into()),
            host_iface: Some("eth0".into()),
            host_nqn: Some("b".into()),
            line: 9,
        }
    );
    assert_eq!(
        excluded("host-iface=eth0"),
        Exclusion { host_iface: Some("eth0".into()), line: 9, ..Exclusion::default() }
    );
}

#[test]
fn host_names_are_recognised_in_exclusions_too() {
    let exclusion = excluded("traddr=Array.example.com");
    assert!(exclusion.is_name);
    assert_eq!(exclusion.traddr.as_deref(), Some("array.example.com"));
    assert!(!excluded("traddr=nn-0x1000000000000001:pn-0x2000000000000001").is_name);
    assert!(!excluded("transport=loop;traddr=here").is_name);
}

#[test]
fn host_traddr_does_not_count_in_an_exclusion() {
    let (exclusion, complaints) = read_exclusion("host-traddr=192.0.2.1;transport=tcp");
    assert_eq!(exclusion, Some(Exclusion { transport: Some(Transport::Tcp), line: 9, ..Exclusion::default() }));
    assert_eq!(complaints.len(), 1);
}

#[test]
fn host_traddr_alone_excludes_nothing() {
    let (exclusion, complaints) = read_exclusion("host-traddr=192.0.2.1");
    assert_eq!(exclusion, None);
    assert!(complaints.len() == 1 && !complaints[0].severity.is_error(), "{complaints:?}");
}

#[test]
fn an_exclusion_that_cannot_be_read_is_refused_rather_than_widened() {
    for (text, why) in [
        ("transport=tcp;tradr=::1", "traddr= is probably meant"),
        ("transport=tcp;traddr=", "traddr has no value"),
        ("transport=tcp;traddr=192.0.2.300", "neither"),
        ("transport=tpc;traddr=::1", "\"tpc\" is not tcp"),
        ("transport=tcp;::1", "\"::1\" is not key=value"),
        ("traddr=::1;traddr=::2", "write an exclude= line for each"),
        ("traddr=::1;kato=5", "kato does not identify a controller"),
        ("transport=fc;trsvcid=4420", "fc has no trsvcid"),
        ("trsvcid=none", "not a port"),
        ("nqn=a,b", "comma"),
    ] {
        let (exclusion, complaints) = read_exclusion(text);
        assert_eq!(exclusion, None, "{text}");
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].severity.is_error() && complaints[0].text.contains(why), "{text}: {complaints:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        for role in [Role::Discovery, Role::Io] {
            let (entry, complaints) = read(&text, role);
            prop_assert!(entry.is_some() || !complaints.is_empty());
        }
        let (exclusion, complaints) = read_exclusion(&text);
        prop_assert!(exclusion.is_some() || !complaints.is_empty());
    }

    #[test]
    fn nothing_that_looks_like_an_entry_breaks_the_reader(
        pairs in prop::collection::vec(("transport|traddr|trsvcid|nqn|host-traddr|host-iface|dhchap-secret|kato|x", "tcp|fc|loop|::1|a|[ -~]{0,12}"), 0..6)
    ) {
        let text = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";");
        if let (Some(entry), _) = read(&text, Role::Discovery) {
            let parts = [&entry.traddr, &entry.trsvcid, &entry.subsysnqn, &entry.host_traddr, &entry.host_iface, &entry.host_nqn];
            prop_assert!(!parts.iter().any(|part| part.contains(',')));
        }
        let _ = read_exclusion(&text);
    }

    #[test]
    fn what_is_written_is_read_back(
        transport in "tcp|rdma", traddr in any::<std::net::Ipv4Addr>().prop_filter("a host", |ip| {
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
        }),
        port in 1_u16.., nqn in "nqn\\.[a-z0-9:.-]{1,60}", iface in "[a-z][a-z0-9]{0,14}", kato in 1_u32..1000, space in " ?"
    ) {
        let iface = if transport == "tcp" { iface } else { String::new() };
        let text = format!(
            "transport={transport}{space};{space}traddr{space}={traddr};trsvcid={port};nqn={nqn};host-iface={iface};kato={kato}{space}"
        );
        let entry = ioc(&text);
        prop_assert_eq!(entry.transport.as_str(), transport);
        prop_assert_eq!(entry.traddr, traddr.to_string());
        prop_assert_eq!(entry.trsvcid, port.to_string());
        prop_assert_eq!(entry.subsysnqn, nqn);
        prop_assert_eq!(entry.host_iface, iface);
        prop_assert_eq!(entry.parameters.kato, Some(kato));
    }
}
