#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{DISCOVERY_NQN, Secret, Tid, TidParts, Transport};

/// The list of supported options of Linux 6.12.
const LINUX_6_12: &str = "instance=-1,cntlid=-1,transport=%s,traddr=%s,trsvcid=%s,nqn=%s,queue_size=%d,nr_io_queues=%d,\
    reconnect_delay=%d,ctrl_loss_tmo=%d,keep_alive_tmo=%d,hostnqn=%s,host_traddr=%s,host_iface=%s,hostid=%s,\
    duplicate_connect,disable_sqflow,hdr_digest,data_digest,nr_write_queues=%d,nr_poll_queues=%d,tos=%d,keyring=%d,\
    tls_key=%d,fast_io_fail_tmo=%d,discovery,dhchap_secret=%s,dhchap_ctrl_secret=%s,tls\n";
/// The example of the specification (NVMe Base 2.1, 8.3.4.5.8).
const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
/// Calculated independently of this code.
const NQN_OTHER: &str = "ab7ec1c1-84fe-8b87-a3a7-ba48e5426fcc";
const HOST_ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn kernel() -> SupportedOptions {
    SupportedOptions::parse(LINUX_6_12).unwrap()
}

fn identity() -> HostIdentity {
    HostIdentity::new("nqn.host", HOST_ID)
}

fn parts(transport: Transport) -> TidParts {
    let (traddr, trsvcid, host_traddr, host_iface) = match transport {
        Transport::Tcp | Transport::Rdma => ("192.0.2.1", "4420", "192.0.2.9", "eth0"),
        Transport::Fc => ("nn-0x1:pn-0x2", "", "nn-0x3:pn-0x4", ""),
        Transport::Loop => ("", "", "", ""),
    };
    TidParts {
        transport,
        traddr: traddr.into(),
        trsvcid: trsvcid.into(),
        subsysnqn: "nqn.sub".into(),
        host_traddr: host_traddr.into(),
        host_iface: host_iface.into(),
        host_nqn: String::new(),
    }
}

fn everything() -> Parameters {
    Parameters {
        hdr_digest: Some(true),
        data_digest: Some(true),
        kato: Some(7),
        queue_size: Some(64),
        nr_io_queues: Some(4),
        nr_write_queues: Some(1),
        nr_poll_queues: Some(2),
        reconnect_delay: Some(10),
        ctrl_loss_tmo: Some(-1),
        disable_sqflow: Some(true),
        dhchap_secret: None,
        dhchap_ctrl_secret: None,
        tls: None,
    }
}

fn secret() -> Option<Secret> {
    Some(Secret::new(KEY))
}

fn line_of(parts: TidParts, parameters: &Parameters, discovery: bool) -> Result<String, OptionError> {
    let purpose = if discovery { Purpose::Discovery } else { Purpose::Io };
    option_string(&Tid::new(parts), parameters, &identity(), purpose, &kernel()).map(|line| line.reveal())
}

/// The line of an I/O controller over tcp with one part changed.
fn changed(change: impl FnOnce(&mut TidParts)) -> Result<String, OptionError> {
    let mut parts = parts(Transport::Tcp);
    change(&mut parts);
    line_of(parts, &Parameters::default(), false)
}

#[test]
fn tcp_takes_everything() {
    assert_eq!(
        line_of(parts(Transport::Tcp), &everything(), false).unwrap(),
        "nqn=nqn.sub,transport=tcp,traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.9,host_iface=eth0,\
         hostnqn=nqn.host,hostid=01234567-89ab-cdef-0123-456789abcdef,keep_alive_tmo=7,queue_size=64,nr_io_queues=4,\
         nr_write_queues=1,nr_poll_queues=2,reconnect_delay=10,ctrl_loss_tmo=-1,hdr_digest,data_digest,disable_sqflow"
    );
}

#[test]
fn rdma_has_neither_interface_nor_digests() {
    assert_eq!(
        line_of(parts(Transport::Rdma), &everything(), false).unwrap(),
        "nqn=nqn.sub,transport=rdma,traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.9,\
         hostnqn=nqn.host,hostid=01234567-89ab-cdef-0123-456789abcdef,keep_alive_tmo=7,queue_size=64,nr_io_queues=4,\
         nr_write_queues=1,nr_poll_queues=2,reconnect_delay=10,ctrl_loss_tmo=-1,disable_sqflow"
    );
}

#[test]
fn fc_has_no_service_and_needs_the_hosts_address() {
    let fc = TidParts { trsvcid: "4420".into(), host_iface: "eth0".into(), ..parts(Transport::Fc) };
    assert_eq!(
        line_of(fc.clone(), &everything(), false).unwrap(),
        "nqn=nqn.sub,transport=fc,traddr=nn-0x1:pn-0x2,host_traddr=nn-0x3:pn-0x4,\
         hostnqn=nqn.host,hostid=01234567-89ab-cdef-0123-456789abcdef,keep_alive_tmo=7,queue_size=64,nr_io_queues=4,\
         reconnect_delay=10,ctrl_loss_tmo=-1,disable_sqflow"
    );
    let homeless = TidParts { host_traddr: String::new(), ..fc };
    assert_eq!(line_of(homeless, &everything(), false), Err(OptionError::Missing("host_traddr")));
}

#[test]
fn loop_knows_little_and_needs_no_address() {
    assert_eq!(
        line_of(parts(Transport::Loop), &everything(), false).unwrap(),
        "nqn=nqn.sub,transport=loop,hostnqn=nqn.host,hostid=01234567-89ab-cdef-0123-456789abcdef,\
         keep_alive_tmo=7,disable_sqflow"
    );
    let at = TidParts { traddr: "1".into(), ..parts(Transport::Loop) };
    assert!(line_of(at, &everything(), false).unwrap().contains(",traddr=1,"));
}

#[test]
fn a_discovery_controller_has_no_io_queues() {
    let line = line_of(parts(Transport::Tcp), &everything(), true).unwrap();
    assert!(!line.contains("_queues"), "{line}");
}

#[test]
fn a_discovery_controller_of_a_unique_name_is_marked_as_one() {
    let is_marked = |nqn: &str, discovery| {
        let parts = TidParts { subsysnqn: nqn.into(), ..parts(Transport::Tcp) };
        line_of(parts, &Parameters::default(), discovery).unwrap().split(',').any(|option| option == "discovery")
    };
    assert!(is_marked("nqn.unique", true));
    assert!(!is_marked(DISCOVERY_NQN, true), "the kernel knows that one");
    assert!(!is_marked("nqn.unique", false));
}

#[test]
fn a_discovery_controller_is_never_without_keep_alive() {
    let kato = |kato, discovery| {
        let parameters = Parameters { kato, ..Parameters::default() };
        let line = line_of(parts(Transport::Tcp), &parameters, discovery).unwrap();
        line.split(',').find_map(|option| option.strip_prefix("keep_alive_tmo=")).map(str::to_owned)
    };
    assert_eq!(kato(None, true).as_deref(), Some("30"));
    assert_eq!(kato(Some(0), true).as_deref(), Some("30"));
    assert_eq!(kato(Some(5), true).as_deref(), Some("5"));
    assert_eq!(kato(None, false), None, "the kernel has a default for the others");
}

#[test]
fn what_is_false_or_zero_is_left_to_the_kernel() {
    let parameters = Parameters {
        hdr_digest: Some(false),
        data_digest: Some(false),
        disable_sqflow: Some(false),
        kato: Some(0),
        queue_size: Some(0),
        nr_io_queues: Some(0),
        nr_write_queues: Some(0),
        nr_poll_queues: Some(0),
        reconnect_delay: Some(0),
        ..Parameters::default()
    };
    assert_eq!(
        line_of(parts(Transport::Tcp), &parameters, false),
        line_of(parts(Transport::Tcp), &Parameters::default(), false)
    );
}

#[test]
fn giving_a_lost_controller_up_at_once_is_a_choice() {
    let parameters = Parameters { ctrl_loss_tmo: Some(0), ..Parameters::default() };
    assert!(line_of(parts(Transport::Tcp), &parameters, false).unwrap().contains(",ctrl_loss_tmo=0"));
}

#[test]
fn numbers_that_the_kernel_refuses_are_refused_with_what_it_takes() {
    let refused = |parameters| line_of(parts(Transport::Tcp), &parameters, false).unwrap_err().to_string();
    assert_eq!(
        refused(Parameters { queue_size: Some(15), ..Parameters::default() }),
        "queue_size is 15; the kernel takes 16 to 1024"
    );
    assert_eq!(
        refused(Parameters { reconnect_delay: Some(u32::MAX), ..Parameters::default() }),
        "reconnect_delay is 4294967295; the kernel takes 1 to 2147483647"
    );
}

#[test]
fn a_value_with_a_comma_or_a_line_feed_is_refused() {
    let separator = |option, value: &str| Err(OptionError::Separator { option, value: value.to_owned() });
    assert_eq!(changed(|tid| tid.subsysnqn = "a,discovery".into()), separator("nqn", "a,discovery"));
    assert_eq!(changed(|tid| tid.host_iface = "e\nth0".into()), separator("host_iface", "e\nth0"));
    assert_eq!(changed(|tid| tid.host_nqn = "a,b".into()), separator("hostnqn", "a,b"));
    let tid = TidParts { traddr: "1,hostid=2".into(), ..parts(Transport::Loop) };
    assert_eq!(line_of(tid, &Parameters::default(), false), separator("traddr", "1,hostid=2"));
}

#[test]
fn what_is_no_address_and_no_port_does_not_reach_the_kernel() {
    let no_address = |option, value: &str| Err(OptionError::NotAnAddress { option, value: value.to_owned() });
    assert_eq!(changed(|tid| tid.traddr = "host.example".into()), no_address("traddr", "host.example"));
    assert_eq!(changed(|tid| tid.host_traddr = "eth0".into()), no_address("host_traddr", "eth0"));
    assert_eq!(changed(|tid| tid.traddr = String::new()), Err(OptionError::Missing("traddr")));
    assert_eq!(changed(|tid| tid.subsysnqn = String::new()), Err(OptionError::Missing("nqn")));
    for transport in [Transport::Tcp, Transport::Rdma] {
        for port in ["", "0", "65536", "http", "-1", "none"] {
            let tid = TidParts { trsvcid: port.into(), ..parts(transport) };
            let refused = line_of(tid, &Parameters::default(), false);
            assert_eq!(refused, Err(OptionError::Missing("trsvcid")), "{transport}: {port:?}");
        }
    }
}

#[test]
fn a_link_local_address_is_connected_through_its_interface() {
    let traddr = |line: String| line.split(',').find(|option| option.starts_with("traddr=")).unwrap().to_owned();
    let of = |transport, traddr: &str, host_iface: &str| TidParts {
        traddr: traddr.into(),
        host_traddr: String::new(),
        host_iface: host_iface.into(),
        ..parts(transport)
    };
    let line = |parts| line_of(parts, &Parameters::default(), false);
    assert_eq!(traddr(line(of(Transport::Tcp, "fe80::1", "eth0")).unwrap()), "traddr=fe80::1%eth0");
    assert_eq!(traddr(line(of(Transport::Rdma, "fe80::1", "eth0")).unwrap()), "traddr=fe80::1%eth0");
    assert_eq!(traddr(line(of(Transport::Rdma, "2001:db8::1", "eth0")).unwrap()), "traddr=2001:db8::1");
    assert_eq!(traddr(line(of(Transport::Tcp, "fe80::1%eth1", "")).unwrap()), "traddr=fe80::1%eth1");
    assert_eq!(line(of(Transport::Tcp, "fe80::1", "")), Err(OptionError::NoScope("fe80::1".into())));
}

#[test]
fn a_name_that_is_too_long_for_the_kernel_is_refused() {
    assert!(changed(|tid| tid.subsysnqn = "n".repeat(222)).is_ok());
    let too_long = |option| Err(OptionError::NqnTooLong { option, len: 223 });
    assert_eq!(changed(|tid| tid.subsysnqn = "n".repeat(223)), too_long("nqn"));
    assert_eq!(changed(|tid| tid.host_nqn = "n".repeat(223)), too_long("hostnqn"));
    let long = TidParts { traddr: "1".repeat(4096), ..parts(Transport::Loop) };
    assert!(matches!(line_of(long, &Parameters::default(), false), Err(OptionError::TooLong(_))));
}

#[test]
fn another_host_nqn_has_a_host_id_of_its_own_and_always_the_same() {
    let hostid = |nqn: &str| host_id_for(nqn, &identity()).unwrap().to_string();
    assert_eq!(hostid("nqn.host"), HOST_ID);
    // SHA-256 over 0123456789abcdef0123456789abcdef and "nqn.other", its first 16 bytes, marked as version 8.
    assert_eq!(hostid("nqn.other"), NQN_OTHER);
    assert_ne!(hostid("nqn.another"), NQN_OTHER);
    let line = changed(|tid| tid.host_nqn = "nqn.other".into()).unwrap();
    assert!(line.contains(&format!("hostnqn=nqn.other,hostid={NQN_OTHER}")), "{line}");
}

#[test]
fn a_host_nqn_that_is_made_of_a_uuid_has_that_for_its_host_id() {
    let uuid = "b0e4a1c2-7b3d-4b0a-9a55-0c1d2e3f4a5b";
    let nqn = |uuid: &str| format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}");
    assert_eq!(host_id_for(&nqn(uuid), &identity()).unwrap().to_string(), uuid);
    assert_ne!(host_id_for(&nqn(HOST_ID), &identity()).unwrap().to_string(), HOST_ID, "that one is taken");
}

#[test]
fn a_host_nqn_of_the_boot_table_has_the_host_id_that_is_there() {
    let nqn = "nqn.2014-08.org.nvmexpress:uuid:b0e4a1c2-7b3d-4b0a-9a55-0c1d2e3f4a5b";
    let with = |id: &str| {
        let boot_ids = [(nqn.to_owned(), id.parse().unwrap())].into();
        host_id_for(nqn, &HostIdentity { boot_ids, ..identity() }).unwrap().to_string()
    };
    let boot = "5b3a2c10-0000-4000-8000-00000000b007";
    assert_eq!(with(boot), boot);
    assert_ne!(with(HOST_ID), HOST_ID, "that one is taken");
}

#[test]
fn a_host_id_that_is_no_uuid_is_refused() {
    let identity = HostIdentity { id: "1111".into(), ..identity() };
    let result =
        option_string(&Tid::new(parts(Transport::Tcp)), &Parameters::default(), &identity, Purpose::Io, &kernel());
    assert_eq!(result, Err(OptionError::HostId("1111".into())));
}

#[test]
fn secrets_reach_the_kernel_and_nothing_else() {
    let parameters = Parameters { dhchap_secret: secret(), dhchap_ctrl_secret: secret(), ..Parameters::default() };
    let tid = Tid::new(parts(Transport::Tcp));
    let line = option_string(&tid, &parameters, &identity(), Purpose::Io, &kernel()).unwrap();
    assert!(line.reveal().ends_with(&format!(",dhchap_secret={KEY},dhchap_ctrl_secret={KEY}")));
    for shown in [line.to_string(), format!("{line:?}"), format!("{line:#?}")] {
        assert!(shown.ends_with(",dhchap_secret=***,dhchap_ctrl_secret=***"), "{shown}");
    }
}

#[test]
fn the_key_of_the_host_serves_where_the_controller_has_none() {
    let identity = HostIdentity { key: secret(), ..identity() };
    let line = option_string(
        &Tid::new(parts(Transport::Tcp)),
        &Parameters { dhchap_ctrl_secret: secret(), ..Parameters::default() },
        &identity,
        Purpose::Io,
        &kernel(),
    );
    assert_eq!(line.unwrap().reveal().matches(KEY).count(), 2);
}

#[test]
fn a_controllers_secret_alone_would_prove_nothing() {
    let parameters = Parameters { dhchap_ctrl_secret: secret(), ..Parameters::default() };
    assert_eq!(line_of(parts(Transport::Tcp), &parameters, false), Err(OptionError::ControllerSecretAlone));
}

#[test]
fn a_malformed_secret_is_refused_before_the_kernel_prints_it() {
    let mistyped = KEY.replacen("ia6z", "ia6y", 1);
    for malformed in [mistyped.as_str(), "DHHC-2:00:verysecret", "DHHC-1:00:verysecret", "verysecret"] {
        let parameters = Parameters { dhchap_secret: Some(Secret::new(malformed)), ..Parameters::default() };
        let error = line_of(parts(Transport::Tcp), &parameters, false).unwrap_err();
        assert!(matches!(error, OptionError::Secret { option: "dhchap_secret", .. }));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("verysecret") && !shown.contains("ia6y"));
    }
}

#[test]
fn an_old_kernel_gets_known_options_and_the_others_are_logged() {
    let tid = Tid::new(parts(Transport::Tcp));
    let identity = HostIdentity { key: secret(), ..identity() };
    let line = option_string(&tid, &everything(), &identity, Purpose::Discovery, &SupportedOptions::for_kernel(5, 10))
        .unwrap();
    assert_eq!(line.left_out(), ["host_iface", "discovery", "dhchap_secret"]);
    let line = line.reveal();
    assert!(line.contains("hdr_digest") && !line.contains("eth0") && !line.contains("DHHC"), "{line}");
}

#[test]
fn a_secret_that_was_asked_for_is_not_left_out() {
    let parameters = Parameters { dhchap_secret: secret(), ..Parameters::default() };
    let tid = Tid::new(parts(Transport::Tcp));
    let old = SupportedOptions::for_kernel(5, 19);
    let result = option_string(&tid, &parameters, &identity(), Purpose::Io, &old);
    assert_eq!(result, Err(OptionError::Unsupported("dhchap_secret")));
}

#[test]
fn an_old_kernel_gets_the_interface_of_a_link_local_address_in_the_address() {
    let tid = TidParts { traddr: "fe80::1".into(), host_traddr: String::new(), ..parts(Transport::Tcp) };
    let old = SupportedOptions::for_kernel(5, 10);
    let line = option_string(&Tid::new(tid), &Parameters::default(), &identity(), Purpose::Io, &old).unwrap();
    assert!(line.reveal().contains(",traddr=fe80::1%eth0,"));
}

#[test]
fn a_kernel_that_lists_its_options_is_believed() {
    let listed = kernel();
    assert!(["transport", "discovery", "dhchap_ctrl_secret", "tls"].iter().all(|option| listed.has(option)));
    assert!(!listed.has("concat"));
    assert_eq!(SupportedOptions::parse("instance=3,cntlid=1"), None);
    assert_eq!(SupportedOptions::parse(""), None);
}

#[test]
fn a_kernel_that_lists_nothing_is_known_by_its_version() {
    let has = |release, option| SupportedOptions::for_release(release).has(option);
    assert!(has("4.18.0-553.el8.x86_64", "traddr") && !has("4.18.0-553.el8.x86_64", "tos"));
    assert!(!has("5.13.0", "host_iface") && has("5.14.0-rc1", "host_iface"));
    assert!(!has("5.15.167", "discovery") && has("5.16.0", "discovery"));
    assert!(!has("5.19.17", "dhchap_secret") && has("6.0.0", "dhchap_secret"));
    assert!(has("nonsense", "traddr") && has("", "traddr") && has("3.10", "traddr"));
}

#[test]
fn the_answer_names_the_device() {
    assert_eq!(parse_answer("instance=12,cntlid=3\n"), Some(Answer { instance: 12, cntlid: Some(3) }));
    assert_eq!(parse_answer("instance=12"), Some(Answer { instance: 12, cntlid: None }));
    assert_eq!(parse_answer("cntlid=3,instance=0"), Some(Answer { instance: 0, cntlid: Some(3) }));
    for odd in [
        "",
        "cntlid=3",
        "instance=,cntlid=3",
        "instance=x",
        "instance=4294967296",
        "instance=-1,cntlid=-1",
        "instances=1",
        LINUX_6_12,
    ] {
        assert_eq!(parse_answer(odd), None, "{odd}");
    }
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop::sample::select(vec![Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop])
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,300}", any::<String>(), Just("192.0.2.7".to_owned()), Just("7".to_owned())]
}

prop_compose! {
    fn any_parts()(
        transport in any_transport(),
        [traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn] in prop::array::uniform6(any_text()),
    ) -> TidParts {
        TidParts { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn }
    }
}

prop_compose! {
    fn any_parameters()(
        flags in any::<[Option<bool>; 3]>(),
        numbers in prop::array::uniform6(proptest::option::of(prop_oneof![0..2000_u32, any::<u32>()])),
        ctrl_loss_tmo: Option<i32>,
        secrets in prop::array::uniform2(proptest::option::of(prop_oneof![Just(KEY.to_owned()), any::<String>()])),
    ) -> Parameters {
        let [hdr_digest, data_digest, disable_sqflow] = flags;
        let [kato, queue_size, nr_io_queues, nr_write_queues, nr_poll_queues, reconnect_delay] = numbers;
        let [dhchap_secret, dhchap_ctrl_secret] = secrets.map(|secret| secret.map(Secret::new));
        Parameters {
            hdr_digest, data_digest, disable_sqflow, kato, queue_size, nr_io_queues, nr_write_queues, nr_poll_queues,
            reconnect_delay, ctrl_loss_tmo, dhchap_secret, dhchap_ctrl_secret, tls: None,
        }
    }
}

#[test]
fn a_discovery_controller_is_brought_back_at_a_pace_of_the_host_s_own() {
    let delay = |id: &str, parameters: &Parameters, purpose| {
        let identity = HostIdentity { id: id.into(), ..identity() };
        let line = option_string(&Tid::new(parts(Transport::Tcp)), parameters, &identity, purpose, &kernel());
        let line = line.unwrap().reveal();
        line.split(',')
            .find_map(|option| option.strip_prefix("reconnect_delay="))
            .map(|text| text.parse::<u32>().unwrap())
    };
    let ids = (0..64).map(|n| format!("{n:08x}-0000-4000-8000-000000000001"));
    let delays: BTreeSet<_> = ids.map(|id| delay(&id, &Parameters::default(), Purpose::Discovery).unwrap()).collect();
    assert_eq!(delays, BTreeSet::from([5, 6, 7, 8, 9, 10]));
    let id = "00000001-0000-4000-8000-000000000001";
    let configured = Parameters { reconnect_delay: Some(77), ..Parameters::default() };
    assert_eq!(delay(id, &configured, Purpose::Discovery), Some(77));
    assert_eq!(delay(id, &Parameters::default(), Purpose::Io), None);
}

#[test]
fn a_poll_asks_for_no_keep_alive_whatever_is_configured() {
    let parameters = Parameters { kato: Some(7), ..Parameters::default() };
    let line = option_string(&Tid::new(parts(Transport::Tcp)), &parameters, &identity(), Purpose::Poll, &kernel());
    let line = line.unwrap().reveal();
    assert!(!line.contains("keep_alive_tmo"), "{line}");
    assert!(line.contains("discovery"), "{line}");
    assert!(!line.contains("nr_io_queues"), "{line}");
}

proptest! {
    #[test]
    fn whatever_is_asked_for_each_option_is_one_that_the_kernel_knows_and_comes_once(
        parts in any_parts(),
        parameters in any_parameters(),
        discovery: bool,
    ) {
        let transport = parts.transport;
        let line = line_of(parts, &parameters, discovery);
        if let Ok(line) = line {
            let names: Vec<_> = line.split([',', '\n']).map(|option| option.split('=').next().unwrap()).collect();
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            prop_assert!(names.iter().all(|name| kernel().has(name)), "{}", line);
            prop_assert!(!names.contains(&"duplicate_connect"));
            prop_assert!(transport == Transport::Tcp || !names.contains(&"host_iface"));
            prop_assert!(line.len() <= 4096);
        }
    }

    #[test]
    fn no_secret_shows(parameters in any_parameters(), key in "[a-zA-Z0-9+/]{8,60}") {
        let parameters = Parameters { dhchap_secret: Some(Secret::new(format!("DHHC-1:00:{key}:"))), ..parameters };
        let tid = Tid::new(parts(Transport::Tcp));
        let line = option_string(&tid, &parameters, &identity(), Purpose::Io, &kernel());
        let shown = format!("{line:?}");
        prop_assert!(!shown.contains(&key));
    }

    #[test]
    fn host_ids_are_one_to_one(one in "[a-z.]{1,20}", other in "[a-z.]{1,20}") {
        let same_id = host_id_for(&one, &identity()) == host_id_for(&other, &identity());
        prop_assert_eq!(same_id, one == other);
    }

    #[test]
    fn any_answer_of_the_kernel_is_read_or_refused(text: String) {
        let _ = parse_answer(&text);
        let _ = SupportedOptions::parse(&text);
        let _ = SupportedOptions::for_release(&text);
    }

    #[test]
    fn answers_are_read_back(instance: u32, cntlid: u16) {
        let text = format!("instance={instance},cntlid={cntlid}\n");
        prop_assert_eq!(parse_answer(&text), Some(Answer { instance, cntlid: Some(cntlid) }));
    }
}
