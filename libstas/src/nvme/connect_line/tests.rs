use proptest::prelude::*;

use super::*;
use crate::nvme::TidParts;

const ALL: &str = "instance,cntlid,transport,traddr,trsvcid,nqn,queue_size,nr_io_queues,reconnect_delay,ctrl_loss_tmo,keep_alive_tmo,hostnqn,host_traddr,host_iface,hostid,duplicate_connect,disable_sqflow,hdr_digest,data_digest,nr_write_queues,nr_poll_queues,tos,keyring,tls_key,fast_io_fail_tmo,discovery,dhchap_secret,dhchap_ctrl_secret,tls";
const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

fn identity() -> HostIdentity {
    HostIdentity { nqn: "nqn.host".into(), id: "1111".into(), key: None, symname: None }
}

fn tid(transport: Transport) -> Tid {
    let ip = transport.is_ip();
    Tid::new(TidParts {
        transport,
        traddr: if ip { "192.0.2.1" } else { "nn-0x1:pn-0x2" }.into(),
        trsvcid: if ip { "4420" } else { "" }.into(),
        subsysnqn: "nqn.sub".into(),
        host_traddr: if ip { "192.0.2.9" } else { "" }.into(),
        host_iface: if ip { "eth0" } else { "" }.into(),
        host_nqn: String::new(),
    })
}

fn everything() -> Parameters {
    Parameters {
        hdr_digest: Some(true),
        data_digest: Some(false),
        kato: Some(30),
        queue_size: Some(64),
        nr_io_queues: Some(4),
        nr_write_queues: Some(1),
        nr_poll_queues: Some(2),
        reconnect_delay: Some(10),
        ctrl_loss_tmo: Some(-1),
        disable_sqflow: Some(true),
        dhchap_secret: None,
        dhchap_ctrl_secret: None,
    }
}

fn line(tid: &Tid, parameters: &Parameters, discovery: bool, kernel: &SupportedOptions) -> String {
    connect_line(tid, parameters, &identity(), discovery, kernel).unwrap().reveal()
}

#[test]
fn tcp_takes_everything() {
    assert_eq!(
        line(&tid(Transport::Tcp), &everything(), false, &SupportedOptions::parse(ALL)),
        "nqn=nqn.sub,transport=tcp,traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.9,host_iface=eth0,hostnqn=nqn.host,hostid=1111,nr_io_queues=4,nr_write_queues=1,nr_poll_queues=2,keep_alive_tmo=30,queue_size=64,reconnect_delay=10,ctrl_loss_tmo=-1,hdr_digest,disable_sqflow"
    );
}

#[test]
fn loop_and_fc_get_only_what_they_know() {
    let kernel = SupportedOptions::parse(ALL);
    assert_eq!(
        line(&tid(Transport::Loop), &everything(), false, &kernel),
        "nqn=nqn.sub,transport=loop,traddr=nn-0x1:pn-0x2,hostnqn=nqn.host,hostid=1111,keep_alive_tmo=30"
    );
    let fc = line(&tid(Transport::Fc), &everything(), false, &kernel);
    assert!(!fc.contains("trsvcid") && !fc.contains("digest") && !fc.contains("host_iface"), "{fc}");
}

#[test]
fn a_discovery_controller_has_no_io_queues_and_a_unique_one_is_marked() {
    let kernel = SupportedOptions::parse(ALL);
    let unique = line(&tid(Transport::Tcp), &everything(), true, &kernel);
    assert!(unique.contains(",discovery,") && !unique.contains("nr_io_queues"), "{unique}");
    let parts = TidParts { subsysnqn: DISCOVERY_NQN.into(), ..tid(Transport::Tcp).parts().clone() };
    let known = line(&Tid::new(parts), &everything(), true, &kernel);
    assert!(!known.contains(",discovery,"), "{known}");
}

#[test]
fn an_old_kernel_gets_only_what_it_takes_and_is_not_led_astray() {
    let old = SupportedOptions::of_kernel(5, 10);
    let error = connect_line(&tid(Transport::Tcp), &everything(), &identity(), false, &old).unwrap_err();
    assert_eq!(error, LineError::Unsupported("host_iface"));
    let parts = TidParts { host_iface: String::new(), ..tid(Transport::Tcp).parts().clone() };
    assert!(!line(&Tid::new(parts), &everything(), true, &old).contains("discovery"));
}

#[test]
fn another_host_nqn_gets_a_host_id_of_its_own_and_always_the_same() {
    let kernel = SupportedOptions::parse(ALL);
    let parts = TidParts { host_nqn: "nqn.other".into(), ..tid(Transport::Tcp).parts().clone() };
    let one = line(&Tid::new(parts.clone()), &everything(), false, &kernel);
    assert!(one.contains("hostnqn=nqn.other,hostid=") && !one.contains("hostid=1111"), "{one}");
    assert_eq!(one, line(&Tid::new(parts), &everything(), false, &kernel));
}

#[test]
fn secrets_reach_the_kernel_and_nothing_else() {
    let secret = Some(Secret::dhchap(KEY).unwrap());
    let parameters = Parameters { dhchap_ctrl_secret: secret.clone(), ..Parameters::default() };
    let kernel = SupportedOptions::parse(ALL);
    let identity = HostIdentity { key: secret, ..identity() };
    let line = connect_line(&tid(Transport::Tcp), &parameters, &identity, false, &kernel).unwrap();
    assert_eq!(line.reveal().matches(KEY).count(), 2);
    assert!(!format!("{line} {line:?}").contains("ia6z"));
    let old = SupportedOptions::of_kernel(5, 19);
    assert_eq!(
        connect_line(&tid(Transport::Tcp), &parameters, &identity, false, &old),
        Err(LineError::Unsupported("dhchap_secret"))
    );
}

#[test]
fn a_malformed_secret_never_gets_to_the_kernel() {
    let secret = Some(Secret::new(KEY.replacen("ia6z", "ia6y", 1)));
    let parameters = Parameters { dhchap_secret: secret, ..Parameters::default() };
    let kernel = SupportedOptions::parse(ALL);
    let error = connect_line(&tid(Transport::Tcp), &parameters, &identity(), false, &kernel).unwrap_err();
    assert!(matches!(error, LineError::Secret { option: "dhchap_secret", .. }));
    assert!(!format!("{error} {error:?}").contains("ia6y"));
}

#[test]
fn the_answer_names_the_instance() {
    assert_eq!(parse_answer("instance=12,cntlid=3\n"), Some(12));
    assert_eq!(parse_answer("cntlid=3"), None);
}

proptest! {
    #[test]
    fn no_value_can_smuggle_an_option_in(nqn in "\\PC{0,300}", traddr in "\\PC{0,40}") {
        let parts = TidParts { subsysnqn: nqn, traddr, ..tid(Transport::Tcp).parts().clone() };
        let kernel = SupportedOptions::parse(ALL);
        if let Ok(line) = connect_line(&Tid::new(parts), &Parameters::default(), &identity(), false, &kernel) {
            let names: Vec<_> = line.reveal().split(',').map(|o| o.split('=').next().unwrap().to_owned()).collect();
            let mut once = names.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), names.len());
            prop_assert!(names.iter().all(|name| kernel.has(name)));
        }
    }

    #[test]
    fn no_answer_of_the_kernel_panics(text in "\\PC*") {
        let _ = parse_answer(&text);
        let _ = SupportedOptions::parse(&text);
    }
}
