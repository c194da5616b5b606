//! What the fuzzer begins with, and what it has once found, holds: in each `make test`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use libstas::nvme::dim::Registration;
use libstas::nvme::identify::IdentifyController;
use libstas::nvme::log_page::{AdrFam, EFlags, Entry, LogPage, Subtype, TrType};
use libstas::nvme::supported::SupportedLogPages;
use libstas::nvme::{DISCOVERY_NQN, Tid, TidParts, Transport};

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn entry(subtype: Subtype, traddr: &str, subnqn: &str) -> Entry {
    let words = [("trtype", "tcp"), ("adrfam", "ipv4"), ("trsvcid", "4420"), ("traddr", traddr), ("subnqn", subnqn)];
    let mut dict: std::collections::BTreeMap<String, String> =
        words.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    dict.insert("subtype".to_owned(), subtype.to_string());
    let mut entry = Entry::from_dict(&dict).unwrap();
    entry.eflags = EFlags(EFlags::EPCSD.0 | EFlags::NCC.0);
    entry
}

fn tid(traddr: &str, subsysnqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "8009".into(),
        subsysnqn: subsysnqn.into(),
        host_traddr: String::new(),
        host_iface: "eth0".into(),
        host_nqn: "nqn.2014-08.org.example:host".into(),
    })
}

fn saved_stafd(page: &LogPage) -> stafd::finder::Saved {
    let dc = tid("192.0.2.1", DISCOVERY_NQN);
    let referrals = vec![tid("192.0.2.2", DISCOVERY_NQN)];
    let saved = stafd::finder::SavedDc { dc: dc.clone(), page: Some(page.clone()), referrals, booted: false };
    stafd::finder::Saved { dcs: vec![saved], configured: [dc].into(), ..Default::default() }
}

fn saved_stacd(page: &LogPage) -> stacd::connector::Saved {
    let ioc = tid("192.0.2.1", "nqn.2014-08.org.example:a");
    let claim = stacd::connector::SavedClaim { ioc: ioc.clone(), entry: page.entries[0].clone() };
    let source = stacd::connector::SavedSource { dc: tid("192.0.2.1", DISCOVERY_NQN), claims: vec![claim] };
    stacd::connector::Saved { sources: vec![source], members: [ioc].into(), ..Default::default() }
}

/// The seeds that are bytes: made by what writes them, so that they follow a change of the format.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let page = LogPage {
        genctr: 7,
        entries: vec![
            entry(Subtype::NVME, "192.0.2.1", "nqn.2014-08.org.example:a"),
            entry(Subtype::REFERRAL, "192.0.2.2", "nqn.2014-08.org.nvmexpress.discovery"),
        ],
        ..LogPage::default()
    };
    let registration = Registration {
        host_nqn: "nqn.2014-08.org.example:host".into(),
        host_id: [7; 16],
        name: "host".into(),
        version: "Linux 6.12".into(),
        symbolic_name: Some("rack 2".into()),
        trtype: TrType::TCP,
        adrfam: AdrFam::IPV4,
        traddr: String::new(),
    };
    let mut identify = IdentifyController::parse(&[0; 4096]).unwrap();
    identify.model = "Linux".into();
    identify.subnqn = "nqn.2014-08.org.nvmexpress.discovery".into();
    let ic_request: Vec<u8> = {
        let mut pdu = vec![0; 129];
        pdu[1..9].copy_from_slice(&[0, 0, 128, 0, 128, 0, 0, 0]);
        pdu
    };
    let mut command = vec![100, 4, 0, 72, 0, 72, 0, 0, 0];
    command.resize(73, 0);
    vec![
        ("log_page", "basic", page.encode()),
        ("log_page", "extended", page.encode_extended()),
        ("log_page", "empty", LogPage::default().encode()),
        ("log_page_structured", "some", (0..=255).cycle().take(700).collect()),
        ("pdu_structured", "some", (0..=255).rev().cycle().take(700).collect()),
        ("supported", "pleo", SupportedLogPages::of([(2, 0), (0x70, 2)]).encode()),
        ("identify", "linux", identify.encode()),
        ("dim", "registration", registration.encode()),
        ("saved_stafd", "one", serde_json::to_vec(&saved_stafd(&page)).unwrap()),
        ("saved_stacd", "one", serde_json::to_vec(&saved_stacd(&page)).unwrap()),
        ("pdu", "ic-request", ic_request),
        ("pdu", "command", command),
    ]
}

/// `FUZZ_SEEDS=write cargo test -p fuzz` writes them anew.
#[test]
fn the_seeds_are_what_is_written_today() {
    for (target, name, bytes) in seeds() {
        let path = corpus(target).join(name);
        if std::env::var_os("FUZZ_SEEDS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{} is not what is written today", path.display());
    }
}

#[test]
fn each_file_of_each_corpus_holds() {
    for (target, body) in fuzz::BODIES {
        let mut files = 0;
        for file in fs::read_dir(corpus(target)).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            body(&fs::read(&path).unwrap());
            files += 1;
        }
        assert!(files > 0, "{target} has no seed");
    }
}

#[test]
fn each_body_has_its_program_and_its_corpus() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/libfuzzer/Cargo.toml")).unwrap();
    let programs: BTreeSet<&str> = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1)).collect();
    let bodies: BTreeSet<&str> = fuzz::BODIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, bodies);
    let corpora: BTreeSet<String> =
        fs::read_dir(corpus("")).unwrap().map(|dir| dir.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(corpora, bodies.iter().map(|name| (*name).to_owned()).collect());
}
