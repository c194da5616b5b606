use std::time::Duration;

use super::{one, staf};
use crate::conf::{FamilyOrder, Persistence, StafConf, stafd};
use stas_nvme::Parameters;

#[test]
fn an_empty_file_has_the_documented_defaults() {
    let defaults = StafConf {
        tron: false,
        parameters: Parameters {
            hdr_digest: Some(false),
            data_digest: Some(false),
            kato: Some(30),
            ..Parameters::default()
        },
        ignore_iface: false,
        ip_family: FamilyOrder::Both,
        pleo: true,
        zeroconf: true,
        max_announced: 64,
        max_referrals: 64,
        persistent_connections: true,
        zeroconf_persistence: Persistence::For(Duration::from_secs(72 * 3600)),
        polls_without_epcsd: false,
        controllers: Vec::new(),
        lost_line: None,
        exclusions: Vec::new(),
    };
    assert_eq!(staf(""), defaults);
    assert_eq!(StafConf::default(), defaults);
}

#[test]
fn every_key_is_read() {
    let conf = staf(
        "[Global]\ntron=true\nhdr-digest=true\ndata-digest=true\nkato=7\nqueue-size=64\nreconnect-delay=3\n\
         ctrl-loss-tmo=-1\ndisable-sqflow=true\nignore-iface=true\nip-family=ipv6\npleo=disabled\n\
         [Service Discovery]\nzeroconf=disabled\nmax-announced=5\nmax-referrals=6\n\
         [Discovery controller connection management]\npersistent-connections=false\n\
         zeroconf-connections-persistence=1:30\nepcsd=poll\n\
         [Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=192.0.2.2\n\
         exclude=transport=fc\n",
    );
    assert_eq!(
        conf.parameters,
        Parameters {
            hdr_digest: Some(true),
            data_digest: Some(true),
            kato: Some(7),
            queue_size: Some(64),
            reconnect_delay: Some(3),
            ctrl_loss_tmo: Some(-1),
            disable_sqflow: Some(true),
            ..Parameters::default()
        }
    );
    assert!(conf.tron && conf.ignore_iface && !conf.pleo && !conf.zeroconf && !conf.persistent_connections);
    assert!(conf.polls_without_epcsd);
    assert_eq!(conf.ip_family, FamilyOrder::V6);
    assert_eq!(conf.zeroconf_persistence, Persistence::For(Duration::from_secs(90)));
    let addresses: Vec<_> = conf.controllers.iter().map(|entry| (entry.line, entry.traddr.as_str())).collect();
    assert_eq!(addresses, [(22, "192.0.2.1"), (23, "192.0.2.2")]);
    assert_eq!((conf.max_announced, conf.max_referrals), (5, 6));
    assert_eq!(conf.exclusions.len(), 1);
}

#[test]
fn both_orders_of_the_families_mean_the_same() {
    for (word, family) in [
        ("ipv4", FamilyOrder::V4),
        ("IPv6", FamilyOrder::V6),
        ("ipv4+ipv6", FamilyOrder::Both),
        ("ipv6+ipv4", FamilyOrder::Both),
    ] {
        assert_eq!(staf(&format!("[Global]\nip-family={word}")).ip_family, family);
    }
}

#[test]
fn minus_one_keeps_a_lost_dc_for_ever_and_zero_gives_it_up_at_once() {
    let persistence = |text: &str| {
        staf(&format!("[Discovery controller connection management]\nzeroconf-connections-persistence={text}"))
            .zeroconf_persistence
    };
    assert_eq!(persistence("-1"), Persistence::Forever);
    assert_eq!(persistence("0"), Persistence::For(Duration::ZERO));
    assert_eq!(persistence("3 days 5 hours"), Persistence::For(Duration::from_secs(77 * 3600)));
}

#[test]
fn an_unparsable_time_span_is_a_warning_and_the_default() {
    for text in ["NaN", "inf", "1e400", "99999999999999999999 days", "soon"] {
        let text = format!("[Discovery controller connection management]\nzeroconf-connections-persistence={text}");
        let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
        assert_eq!(conf, StafConf::default());
        let complaint = one(complaints);
        assert!(
            !complaint.severity.is_error() && complaint.text.contains("the default 72hours is used"),
            "{complaint}"
        );
    }
}

#[test]
fn the_size_of_a_queue_is_16_to_1024() {
    for (text, size) in [("16", Some(16)), ("1024", Some(1024)), ("15", None), ("1025", None), ("-1", None)] {
        let text = format!("[Global]\nqueue-size={text}");
        let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
        assert_eq!(conf.parameters.queue_size, size, "{text}");
        assert_eq!(complaints.is_empty(), size.is_some(), "{complaints:?}");
    }
}

#[test]
fn without_keep_alive_there_is_no_discovery_controller() {
    let (conf, complaints) = stafd::parse(b"[Global]\nkato=0", "f");
    assert_eq!(conf.parameters.kato, Some(30));
    assert!(one(complaints).text.contains("from 1 to"));
}

#[test]
fn io_queues_are_a_warning_for_discovery_controllers_have_none() {
    for key in ["nr-io-queues", "nr-write-queues", "nr-poll-queues"] {
        let (conf, complaints) = stafd::parse(format!("[Global]\n{key}=4").as_bytes(), "f");
        assert_eq!(conf, StafConf::default());
        assert!(!one(complaints).severity.is_error());
    }
}

#[test]
fn persistent_connections_in_global_is_honoured_with_a_deprecation_warning() {
    let (conf, complaints) = stafd::parse(b"[Global]\npersistent-connections=false", "f");
    assert!(!conf.persistent_connections);
    let complaint = one(complaints);
    assert!(!complaint.severity.is_error() && complaint.text.contains("deprecated"), "{complaint}");
}

#[test]
fn persistent_connections_in_its_own_section_wins_over_global() {
    let text = "[Discovery controller connection management]\npersistent-connections=true\n[Global]\n\
                persistent-connections=false";
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert!(conf.persistent_connections);
    assert!(one(complaints).text.contains("deprecated"));
}

#[test]
fn blacklist_is_exclude_with_a_deprecation_warning() {
    let text = "[Controllers]\nblacklist=transport=fc\nexclude=transport=loop\nblacklist=host-iface=eth0";
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert_eq!(conf.exclusions.iter().map(|exclusion| exclusion.line).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(one(complaints).text.contains("deprecated"));
}

#[test]
fn an_indented_line_is_another_value_of_a_repeatable_key() {
    let conf = staf(
        "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n  transport=tcp;traddr=192.0.2.2 # second\n\
         exclude\t=\ttransport=fc\n",
    );
    assert_eq!(conf.controllers.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn an_indented_key_behind_a_repeatable_one_is_pointed_at() {
    let text = "[Controllers]\ncontroller=transport=tcp;traddr=::1\n  exclude=transport=fc\n";
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert_eq!((conf.controllers.len(), conf.exclusions.len()), (1, 0));
    let told = complaints.iter().map(ToString::to_string).collect::<String>();
    assert!(
        told.contains("f:3: ") && told.contains("a line that starts with spaces continues the one above"),
        "{told}"
    );
}

#[test]
fn a_refused_entry_costs_no_other() {
    let text = "[Controllers]\ncontroller=transport=tcp;traddr=::\ncontroller=transport=tcp;traddr=::1\n";
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert_eq!(conf.controllers.len(), 1);
    let complaint = one(complaints);
    assert_eq!(complaint.line, 2);
    assert!(complaint.severity.is_error());
}

#[test]
fn a_misplaced_secret_is_not_logged() {
    let secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    let text = format!(
        "dhchap-secret={secret}\n[Global]\ndhchap-secret={secret}\nkato={secret}\n  dhchap-secret={secret}\n{secret}\n\
         {secret}=1\n[{secret}]\n[{secret}\n[Controllers]\ncontroller={secret}\nexclude=dhchap-secret={secret}\n"
    );
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert!(complaints.len() >= 9, "{complaints:?}");
    assert!(!format!("{conf:?}{complaints:?}").contains("GodOr4S"), "{complaints:?}");
}

#[test]
fn what_may_have_been_a_controller_is_missed_when_it_cannot_be_read() {
    let lost = |text: &str| {
        let (conf, _) = stafd::parse(text.as_bytes(), "stafd.conf");
        assert!(conf.lost_line.is_none_or(|line| line == text.lines().count()), "{text}");
        conf.lost_line.is_some()
    };
    assert!(!lost("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n[Odd]\nkey=value\n"));
    assert!(lost("[Controllers]\ncontroller=transport=tpc;traddr=192.0.2.1\n"));
    assert!(lost("[Controllers]\ncontroler=transport=tcp;traddr=192.0.2.1\n"));
    assert!(lost("[Controlers]\ncontroller=transport=tcp;traddr=192.0.2.1\n"));
    assert!(lost("[Controllers]\nthis is no line of this dialect\n"));
    assert!(lost("[Controllers]\ncontroller: transport=tcp;traddr=192.0.2.1\n"));
    assert!(lost("[Controllers]\ncontroller transport=tcp;traddr=192.0.2.1\n"));
    assert!(!lost("[Controllers]\nno-controller-at-all=1\n"));
}
