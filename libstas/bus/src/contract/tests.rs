use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::json;
use zbus::SerializeDict;
use zbus::wire::serialized::Context;
use zbus::wire::{LE, to_bytes};

use super::*;
use crate::{ControllerId, Dict, key};
use stas_nvme::log_page::{EFlags, SecType, Subtype, TrType, Treq, Tsas, Unclear};
use stas_nvme::{DISCOVERY_NQN, TidParts, Transport};

fn dc() -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        trsvcid: "8009".into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: String::new(),
        host_iface: "eth0".into(),
        host_nqn: "nqn.2014-08.org.nvmexpress:uuid:1".into(),
    })
}

fn entry(subnqn: &str) -> Entry {
    Entry {
        trtype: TrType::TCP,
        adrfam: stas_nvme::log_page::AdrFam::IPV4,
        subtype: Subtype::NVME,
        treq: Treq(5),
        portid: 1,
        cntlid: 0xffff,
        asqsz: 32,
        eflags: EFlags::NCC,
        trsvcid: "4420".into(),
        subnqn: subnqn.into(),
        traddr: "192.0.2.9".into(),
        tsas: Tsas::Tcp { sectype: SecType::TLS13 },
    }
}

fn page(state: PageState) -> DcPage {
    DcPage {
        dc: dc(),
        state,
        connected_since: Some(Time(Duration::new(12, 5))),
        origin: Origin::Configured,
        follows_configured: false,
        generation: None,
        entries: vec![entry("nqn.klingons")],
        unclear: Vec::new(),
    }
}

/// Encodes a value for the bus and decodes it again.
fn crossed<T: Serialize + Type, U: DeserializeOwned + Type>(value: &T) -> U {
    let bytes = to_bytes(Context::new(LE, 0), value).unwrap();
    bytes.deserialize().unwrap().0
}

fn view_of<T: Serialize + Type>(published: &T) -> StafdView {
    crossed::<_, wire::Published>(published).view()
}

/// The answer of a later stafd: unknown words and additional keys.
#[derive(Clone, SerializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
struct Later {
    version: u32,
    pages: Vec<LaterPage>,
    removed: Vec<LaterRemoval>,
    colour: String,
}

#[derive(Clone, SerializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
struct LaterPage {
    controller: ControllerId,
    state: Option<String>,
    connected_since: u64,
    origin: String,
    trust: Option<String>,
    entries: Vec<wire::LogEntry>,
}

#[derive(Clone, SerializeDict, Type)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
struct LaterRemoval {
    controller: ControllerId,
    reason: Option<String>,
    trust: String,
}

/// What stafd sends if it has only this page.
fn published_with(page: DcPage) -> wire::Published {
    wire::Published::of(&StafdView { dcs: vec![page], removed: None, is_complete: true, left_out: Vec::new() })
}

fn later(version: u32, state: Option<&str>, reason: Option<&str>) -> Later {
    let ours: wire::Page = published_with(page(PageState::Fresh)).pages.remove(0);
    let controller = ours.controller;
    Later {
        version,
        pages: vec![LaterPage {
            controller: controller.clone(),
            state: state.map(str::to_owned),
            connected_since: 12_000_000_005,
            origin: "oracle".into(),
            trust: Some("administrator".into()),
            entries: ours.entries,
        }],
        removed: vec![LaterRemoval { controller, reason: reason.map(str::to_owned), trust: "none".into() }],
        colour: "blue".into(),
    }
}

#[test]
fn what_stafd_publishes_crosses_the_bus_unchanged() {
    let reasons = [
        RemovalReason::Configuration,
        RemovalReason::Excluded,
        RemovalReason::ReferralGone,
        RemovalReason::AgedOut,
        RemovalReason::Unknown,
    ];
    let view = StafdView {
        dcs: [PageState::Never, PageState::Saved, PageState::Fresh].map(page).into(),
        removed: Some(reasons.map(|reason| RemovedDc { dc: dc(), reason }).into()),
        is_complete: true,
        left_out: Vec::new(),
    };
    assert_eq!(view_of(&wire::Published::of(&view)), view);
}

#[test]
fn keys_that_a_later_version_adds_are_ignored() {
    let view = view_of(&later(VERSION, Some("fresh"), Some("excluded")));
    let expected = DcPage { origin: Origin::Unknown, ..page(PageState::Fresh) };
    assert_eq!(view.dcs, [expected]);
    assert_eq!(view.removed, Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Excluded }]));
    assert!(!view.is_complete, "not stated: not known");
}

#[test]
fn an_unknown_or_absent_value_proves_nothing() {
    for (state, reason) in [(Some("half-read"), Some("stardate")), (Some("unstated"), Some("unknown")), (None, None)] {
        let view = view_of(&later(VERSION, state, reason));
        assert_eq!(view.dcs[0].state, PageState::Unknown, "{state:?}");
        assert_eq!(view.dcs[0].entries.len(), 1, "its entries are used all the same");
        let removed = view.removed.unwrap();
        assert!(removed[0].reason.spares_live(), "{reason:?}");
    }
}

#[test]
fn a_contract_of_a_later_version_names_controllers_and_proves_nothing() {
    let view = view_of(&later(VERSION + 1, Some("fresh"), Some("configuration")));
    assert_eq!(view.dcs[0].state, PageState::Unknown);
    assert_eq!(view.dcs[0].entries, [entry("nqn.klingons")]);
    assert!(view.removed.unwrap()[0].reason.spares_live());
}

#[test]
fn a_page_with_an_entry_that_cannot_be_read_proves_nothing() {
    let mut published = published_with(page(PageState::Fresh));
    let mut bad = published.pages[0].entries[0].clone();
    for subnqn in ["", "nqn,\u{7}", &"n".repeat(300)] {
        bad.subnqn = subnqn.into();
        published.pages[0].entries =
            vec![bad.clone(), published_with(page(PageState::Fresh)).pages[0].entries[0].clone()];
        let view = view_of(&published);
        assert_eq!((view.dcs[0].state, view.dcs[0].entries.len()), (PageState::Unknown, 1), "{subnqn:?}");
    }
}

#[test]
fn controllers_that_are_none_are_left_out() {
    let view = StafdView {
        dcs: vec![page(PageState::Fresh)],
        removed: Some(vec![RemovedDc { dc: dc(), reason: RemovalReason::Excluded }]),
        is_complete: false,
        left_out: Vec::new(),
    };
    let mut published = wire::Published::of(&view);
    published.pages[0].controller.transport = "carrier pigeon".into();
    published.removed[0].controller.transport = "carrier pigeon".into();
    assert_eq!(
        view_of(&published),
        StafdView { dcs: Vec::new(), removed: Some(Vec::new()), is_complete: false, left_out: Vec::new() }
    );
}

#[test]
fn live_controllers_are_spared_unless_the_reason_is_a_decision() {
    for (word, spares) in [
        ("configuration", false),
        ("excluded", false),
        ("referral gone", false),
        ("aged out", true),
        ("unknown", true),
        ("Configuration", true),
        ("", true),
    ] {
        assert_eq!(RemovalReason::from_word(word).spares_live(), spares, "{word:?}");
    }
    assert_eq!(RemovalReason::Unknown.to_string(), "aged out", "the word by which earlier versions keep live storage");
}

#[test]
fn saved_state_of_any_version_is_read() {
    let read = |word: &str| serde_json::from_value::<RemovalReason>(json!(word)).unwrap();
    assert_eq!(read("referral-gone"), RemovalReason::ReferralGone);
    assert_eq!(read("aged-out"), RemovalReason::AgedOut);
    assert_eq!(read("stardate"), RemovalReason::Unknown);
    assert_eq!(json!(RemovalReason::AgedOut), json!("aged-out"));
}

#[test]
fn dictionaries_carry_the_same_values() {
    let removed = RemovedDc { dc: dc(), reason: RemovalReason::ReferralGone };
    assert_eq!(dictionary::removed(&dictionary::of_removed(&removed)), Some(removed));
    let mut controller = ControllerId::of(&dc()).to_dict();
    let of = |controller: &Dict, entries: serde_json::Value| {
        dictionary::page(&json!({ "discovery-controller": controller, "log-pages": entries })).map(|(_, page)| page)
    };
    let listed = json!([entry("nqn.klingons").to_dict()]);
    let unstated = DcPage { connected_since: None, origin: Origin::Unknown, ..page(PageState::Unstated) };
    assert_eq!(of(&controller, listed.clone()), Some(unstated));
    for (key, value) in
        [(key::LOG_PAGE_STATE, "fresh"), (key::ORIGIN, "configured"), (key::CONNECTED_SINCE, "12.000000005")]
    {
        controller.insert(key.to_owned(), value.to_owned());
    }
    assert_eq!(of(&controller, listed.clone()), Some(page(PageState::Fresh)));
    controller.insert(key::LOG_PAGE_STATE.to_owned(), "half-read".to_owned());
    assert_eq!(of(&controller, listed), Some(page(PageState::Unknown)));
}

#[test]
fn a_dictionary_page_with_an_entry_that_cannot_be_read_proves_nothing() {
    let mut bad = entry("nqn.klingons").to_dict();
    bad.insert("subtype".into(), "prophecy".into());
    let controller = ControllerId::of(&dc()).to_dict();
    for entries in [json!([bad]), json!([7]), json!([{}])] {
        let published = json!({ "discovery-controller": controller, "log-pages": entries });
        let (_, page) = dictionary::page(&published).unwrap();
        assert_eq!((page.state, page.entries.len()), (PageState::Unknown, 0), "{entries}");
    }
    let good = entry("nqn.klingons").to_dict();
    assert_eq!(dictionary::unstated_page(dc(), std::slice::from_ref(&good)).state, PageState::Unstated);
    assert_eq!(dictionary::unstated_page(dc(), &[good, bad]).state, PageState::Unknown);
}

#[test]
fn a_moment_is_a_text_in_dictionaries() {
    let time = Time(Duration::new(12, 5));
    assert_eq!(dictionary::moment(time), "12.000000005");
    assert_eq!(dictionary::parse_moment(&dictionary::moment(time)), Some(time));
    for bad in ["", "12", "12.5", "-1.000000000", "12.00000000x", "99999999999999999999.000000000"] {
        assert_eq!(dictionary::parse_moment(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn a_moment_is_a_number_in_the_contract(nanoseconds: u64) {
        let moment = wire::Moment(nanoseconds);
        prop_assert_eq!(wire::Moment::from(Time::from(moment)), moment);
        prop_assert_eq!(crossed::<_, wire::Moment>(&moment), moment);
    }

    #[test]
    fn no_word_disconnects_by_accident(word in ".{0,20}") {
        let known = ["configuration", "excluded", "referral gone"].contains(&word.as_str());
        prop_assert_eq!(RemovalReason::from_word(&word).spares_live(), !known);
        prop_assert_eq!(PageState::from_word(&word) == PageState::Fresh, word == "fresh");
        prop_assert!(PageState::from_word(&word) != PageState::Unstated);
    }
}

#[test]
fn a_page_with_unclear_entries_is_sent_as_saved_and_is_fresh_to_readers_that_know_them() {
    let unclear = Unclear { subnqn: "nqn.romulans".into(), is_damaged: true, ..Unclear::default() };
    let page = DcPage { unclear: vec![unclear.clone()], ..page(PageState::Fresh) };
    let published = published_with(page.clone());
    assert_eq!(published.pages[0].state, Some(PageState::Saved));
    assert_eq!(view_of(&published).dcs, [page]);
    assert_eq!(PageState::Fresh.sent(true), PageState::Saved);
    assert_eq!(PageState::Fresh.sent(false), PageState::Fresh);
}

#[test]
fn an_entry_of_nvme_stas_that_no_page_may_have_is_unclear() {
    let mut long = entry("nqn.klingons").to_dict();
    long.insert("subnqn".into(), "n".repeat(224));
    let page = dictionary::unstated_page(dc(), &[entry("nqn.klingons").to_dict(), long]);
    assert_eq!((page.state, page.entries.len(), page.unclear.len()), (PageState::Unstated, 1, 1));
    assert_eq!(page.unclear[0].traddr, "192.0.2.9");
}
