use super::{one, stac};
use crate::conf::{DisconnectScope, FamilyOrder, InUse, StacConf, stacd};
use stas_nvme::{Parameters, Transport};

const MANAGEMENT: &str = "[I/O controller connection management]";

#[test]
fn an_empty_file_has_the_documented_defaults() {
    let defaults = StacConf {
        tron: false,
        parameters: Parameters { hdr_digest: Some(false), data_digest: Some(false), ..Parameters::default() },
        ignore_iface: false,
        ip_family: FamilyOrder::Both,
        disconnect_scope: DisconnectScope::OnlyStas,
        disconnect_trtypes: [Transport::Tcp].into(),
        connect_attempts_on_ncc: None,
        max_per_announced_dc: 4096,
        in_use: InUse::Keep,
        controllers: Vec::new(),
        lost_line: None,
        exclusions: Vec::new(),
    };
    assert_eq!(stac(""), defaults);
    assert_eq!(StacConf::default(), defaults);
}

#[test]
fn every_key_is_read() {
    let conf = stac(
        "[Global]\ntron=true\nhdr-digest=true\ndata-digest=true\nkato=7\nnr-io-queues=1\nnr-write-queues=2\n\
         nr-poll-queues=3\nqueue-size=64\nreconnect-delay=3\nctrl-loss-tmo=0\ndisable-sqflow=false\n\
         ignore-iface=true\nip-family=ipv4\n\
         [I/O controller connection management]\ndisconnect-scope=no-disconnect\ndisconnect-trtypes=rdma+fc\n\
         connect-attempts-on-ncc=5\nmax-controllers-per-announced-dc=7\nin-use=disconnect\n\
         [Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=a\nexclude=nqn=b\n",
    );
    assert_eq!(
        conf.parameters,
        Parameters {
            hdr_digest: Some(true),
            data_digest: Some(true),
            kato: Some(7),
            queue_size: Some(64),
            nr_io_queues: Some(1),
            nr_write_queues: Some(2),
            nr_poll_queues: Some(3),
            reconnect_delay: Some(3),
            ctrl_loss_tmo: Some(0),
            disable_sqflow: Some(false),
            ..Parameters::default()
        }
    );
    assert!(conf.tron && conf.ignore_iface);
    assert_eq!(conf.ip_family, FamilyOrder::V4);
    assert_eq!(conf.disconnect_scope, DisconnectScope::Nothing);
    assert_eq!(conf.disconnect_trtypes, [Transport::Rdma, Transport::Fc].into());
    assert_eq!((conf.connect_attempts_on_ncc, conf.max_per_announced_dc), (Some(5), 7));
    assert_eq!(conf.in_use, InUse::Disconnect);
    assert_eq!((conf.controllers.len(), conf.exclusions.len()), (1, 1));
}

#[test]
fn every_scope_is_known() {
    for (word, scope) in [
        ("only-stas-connections", DisconnectScope::OnlyStas),
        ("all-connections-matching-disconnect-trtypes", DisconnectScope::AllMatchingTrtypes),
        ("no-disconnect", DisconnectScope::Nothing),
    ] {
        assert_eq!(stac(&format!("{MANAGEMENT}\ndisconnect-scope={word}")).disconnect_scope, scope);
    }
}

#[test]
fn zero_attempts_on_ncc_is_for_ever_and_one_is_taken_for_two() {
    for (text, attempts) in [("0", None), ("1", Some(2)), ("2", Some(2)), ("9", Some(9))] {
        let conf = stac(&format!("{MANAGEMENT}\nconnect-attempts-on-ncc={text}"));
        assert_eq!(conf.connect_attempts_on_ncc, attempts);
    }
}

#[test]
fn of_the_transports_of_the_audit_the_valid_ones_count() {
    for (value, transports, words) in [
        ("rdma+loop", vec![Transport::Rdma], "only rdma is used"),
        ("rdma+roce+fc", vec![Transport::Rdma, Transport::Fc], "only fc+rdma is used"),
        ("roce", vec![], "none of its words is valid, so no value is used"),
        ("tcp,rdma", vec![], "none of its words is valid, so no value is used"),
    ] {
        let text = format!("{MANAGEMENT}\ndisconnect-trtypes={value}");
        let (conf, complaints) = stacd::parse(text.as_bytes(), "f");
        assert_eq!(conf.disconnect_trtypes, transports.into_iter().collect(), "{value}");
        let text = one(complaints).text;
        assert!(text.contains("any of tcp, rdma, fc, joined by +") && text.ends_with(words), "{text}");
    }
}

#[test]
fn what_only_stafd_knows_is_an_error_that_says_so() {
    let (conf, complaints) = stacd::parse(b"[Global]\npleo=disabled", "f");
    assert_eq!(conf, StacConf::default());
    let complaint = one(complaints);
    assert!(complaint.severity.is_error() && complaint.text.ends_with("it is a key of stafd.conf"), "{complaint}");
}
