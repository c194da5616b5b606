use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::sources::{SourceId, SourcePage, Sources, Verdict};
use stas_nvme::{TidParts, Transport};

const UP: u64 = 100;

fn tid(nqn: &str) -> Tid {
    Tid::new(TidParts { subsysnqn: nqn.into(), ..TidParts::none(Transport::Tcp) })
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

/// The damaged entry of that subsystem.
fn damaged(nqn: &str) -> Unclear {
    Unclear { subnqn: nqn.into(), is_damaged: true, ..Unclear::default() }
}

/// The sources after some pages of a connection that is up since [`UP`]: the time of the read, whether that time is
/// known, the listed controllers, and the damaged entries.
fn after(pages: &[(u64, bool, &[&str], &[&str])]) -> Sources<()> {
    let mut sources = Sources::default();
    let id = SourceId::Page(tid("dc"));
    sources.restore(id.clone(), ["a", "b"].map(|name| (tid(name), ())).into());
    for (now, is_known, listed, unclear) in pages {
        let page = SourcePage {
            connected_since: at(UP),
            controllers: listed.iter().map(|name| (tid(name), ())).collect::<BTreeMap<_, _>>(),
            read: is_known.then(|| at(*now)),
            unclear: unclear.iter().map(|name| damaged(name)).collect(),
        };
        sources.read(at(*now), id.clone(), page, |_| false);
    }
    sources
}

#[test]
fn what_a_damaged_entry_may_mean_stays_listed_as_long_as_the_entry_is_there() {
    let pages: Vec<(u64, bool, &[&str], &[&str])> =
        (0..50).map(|n| (UP + 30 + 10 * n, true, ["a"].as_slice(), ["b"].as_slice())).collect();
    let mut sources = after(&pages);
    assert_eq!(sources.verdict(&tid("b"), at(9_999), true), Verdict::Listed);
    assert!(sources.may_mean(&tid("b")) && !sources.may_mean(&tid("a")));
    let page =
        SourcePage { connected_since: at(UP), controllers: [(tid("a"), ())].into(), read: None, unclear: Vec::new() };
    sources.read(at(9_999), SourceId::Page(tid("dc")), page, |_| false);
    assert_eq!(sources.verdict(&tid("b"), at(9_999), true), Verdict::Disproved, "the entry is gone");
}

#[test]
fn what_a_damaged_entry_may_mean_was_not_listed_on_this_connection() {
    let seen = |pages: &[(u64, bool, &[&str], &[&str])], now| after(pages).verdict(&tid("b"), at(now), true);
    let damaged = (UP + 6, true, ["a"].as_slice(), ["b"].as_slice());
    let clear = |now| (now, true, ["a"].as_slice(), [].as_slice());
    assert_eq!(seen(&[damaged, clear(UP + 13)], UP + 14), Verdict::Unproved(Some(at(UP + 30))), "not settled");
    assert_eq!(seen(&[damaged, clear(UP + 13), clear(UP + 31)], UP + 32), Verdict::Disproved);
    let listed = (UP + 3, true, ["a", "b"].as_slice(), [].as_slice());
    assert_eq!(seen(&[listed, damaged, clear(UP + 13)], UP + 14), Verdict::Disproved, "listed on it before");
}

/// The source has never listed the controller, or its absence was proved and the claim is forgotten.
#[test]
fn an_unclear_entry_may_mean_a_controller_that_its_source_does_not_claim() {
    let verdict = |entry: Unclear, of: &str| {
        let mut sources = Sources::default();
        sources.set_complete(SourceId::Configured, [("a", ()), ("c", ())].map(|(name, ())| (tid(name), ())).into());
        let page = SourcePage {
            connected_since: at(UP),
            controllers: [(tid("b"), ())].into(),
            read: Some(at(UP + 40)),
            unclear: [entry].into(),
        };
        sources.read(at(UP + 40), SourceId::Page(tid("dc")), page, |_| true);
        assert_eq!(sources.verdict(&tid(of), at(UP + 41), true), Verdict::Listed, "it is configured");
        sources.set_complete(SourceId::Configured, BTreeMap::new());
        sources.verdict(&tid(of), at(UP + 41), true)
    };
    assert_eq!(verdict(damaged("a"), "a"), Verdict::Unproved(None));
    assert_eq!(verdict(damaged("a"), "c"), Verdict::Disproved, "another NQN");
    assert_eq!(
        verdict(Unclear { is_damaged: false, ..damaged("a") }, "a"),
        Verdict::Unproved(None),
        "without an address"
    );
}

#[test]
fn a_damaged_entry_protects_the_others_until_it_was_seen_in_two_settled_pages() {
    let seen = |pages: &[(u64, bool, &[&str], &[&str])]| after(pages).verdict(&tid("b"), at(500), true);
    let page = |now| (now, true, ["a"].as_slice(), ["x"].as_slice());
    assert_eq!(seen(&[page(UP + 1), page(UP + 2), page(UP + 27)]), Verdict::Unproved(None), "not settled");
    assert_eq!(seen(&[page(UP + 30)]), Verdict::Unproved(None), "once");
    assert_eq!(seen(&[page(UP + 30), page(UP + 31)]), Verdict::Unproved(None), "in quick succession");
    assert_eq!(seen(&[page(UP + 30), page(UP + 35)]), Verdict::Disproved);
    let another = (UP + 40, true, ["a"].as_slice(), ["x", "y"].as_slice());
    assert_eq!(seen(&[page(UP + 30), page(UP + 35), another]), Verdict::Unproved(None), "another entry is damaged");
    let sound = (UP + 31, true, ["a", "b"].as_slice(), [].as_slice());
    assert_eq!(seen(&[page(UP + 30), sound, page(UP + 36)]), Verdict::Unproved(None), "it was sound meanwhile");
    let untimed = |now| (now, false, ["a"].as_slice(), ["x"].as_slice());
    assert_eq!(seen(&[untimed(UP + 30), untimed(UP + 40)]), Verdict::Unproved(None), "read at an unknown time");
}

#[test]
fn settled_pages_are_requested_until_the_others_are_decided() {
    let page = |now| (now, true, ["a"].as_slice(), ["x"].as_slice());
    let mut sources = after(&[page(UP + 5)]);
    assert_eq!(sources.deadline(), Some(at(UP + 30)));
    assert_eq!(sources.awaiting_settled(at(UP + 30)), [tid("dc")]);
    let mut sources = after(&[page(UP + 30), page(UP + 35)]);
    assert_eq!(sources.awaiting_settled(at(UP + 40)), []);
    assert!(sources.all_settled(at(UP + 40)));
    assert!(!after(&[page(UP + 30)]).all_settled(at(UP + 40)));
}

#[test]
fn an_entry_that_says_clearly_that_there_is_no_way_protects_its_own_subsystem_alone() {
    let mut sources = after(&[(UP + 1, true, &["a", "b"], &[])]);
    let page = SourcePage {
        connected_since: at(UP),
        controllers: BTreeMap::new(),
        read: None,
        unclear: [Unclear { is_damaged: false, ..damaged("a") }].into(),
    };
    sources.read(at(UP + 2), SourceId::Page(tid("dc")), page, |_| false);
    assert_eq!(sources.verdict(&tid("a"), at(UP + 2), true), Verdict::Listed);
    assert_eq!(sources.verdict(&tid("b"), at(UP + 2), true), Verdict::Disproved);
}

#[test]
fn an_entry_without_a_readable_nqn_does_not_mean_what_was_listed_beside_it() {
    let at_portal = |nqn: &str| {
        let parts = TidParts { traddr: "192.0.2.1".into(), trsvcid: "4420".into(), ..tid(nqn).parts().clone() };
        Tid::new(TidParts { transport: Transport::Tcp, ..parts })
    };
    let unclear =
        Unclear { traddr: "192.0.2.1".into(), trsvcid: "4420".into(), is_damaged: true, ..Unclear::default() };
    let mut sources = Sources::<()>::default();
    let id = SourceId::Page(tid("dc"));
    let mut read = |now: u64, listed: &[&str], unclear: &[&Unclear]| {
        let page = SourcePage {
            connected_since: at(UP),
            controllers: listed.iter().map(|nqn| (at_portal(nqn), ())).collect(),
            read: Some(at(now)),
            unclear: unclear.iter().map(|entry| (*entry).clone()).collect(),
        };
        sources.read(at(now), id.clone(), page, |_| false);
        ["a", "b", "c"].map(|nqn| sources.verdict(&at_portal(nqn), at(now), true))
    };
    read(UP + 30, &["a", "b", "c"], &[]);
    let [_, b, c] = read(UP + 40, &["a", "b"], &[&unclear]);
    assert_eq!((b, c), (Verdict::Listed, Verdict::Listed), "the entry may be c");
    let [_, b, c] = read(UP + 50, &["a"], &[&unclear]);
    assert_eq!((b, c), (Verdict::Disproved, Verdict::Listed), "b had an entry of its own");
    let [a, b, c] = read(UP + 60, &[], &[]);
    assert_eq!((a, b, c), (Verdict::Disproved, Verdict::Disproved, Verdict::Disproved));
}

#[test]
fn a_page_with_too_many_entries_without_a_readable_nqn_proves_nothing() {
    for (count, expected) in [(WITHOUT_NQN, Verdict::Disproved), (WITHOUT_NQN + 1, Verdict::Listed)] {
        let mut sources = after(&[(UP + 1, true, &["a", "b"], &[])]);
        let unclear = (0..count).map(|n| Unclear { traddr: format!("10.0.0.{n}"), ..Unclear::default() });
        let page = SourcePage {
            connected_since: at(UP),
            controllers: [(tid("a"), ())].into(),
            read: Some(at(UP + 40)),
            unclear: unclear.collect(),
        };
        sources.read(at(UP + 40), SourceId::Page(tid("dc")), page, |_| false);
        assert_eq!(sources.verdict(&tid("b"), at(UP + 40), true), expected, "{count}");
    }
}

fn at_address(nqn: &str, traddr: &str) -> Tid {
    let parts = TidParts { traddr: traddr.into(), trsvcid: "4420".into(), ..tid(nqn).parts().clone() };
    Tid::new(parts)
}

/// An entry whose NQN has a NUL inside is compared by its address, too.
#[test]
fn entries_with_half_an_nqn_count_as_entries_that_are_compared_by_their_address() {
    for (count, expected) in [(WITHOUT_NQN, Verdict::Disproved), (WITHOUT_NQN + 1, Verdict::Listed)] {
        let mut sources = after(&[(UP + 1, true, &["a", "b"], &[])]);
        let half = |n| Unclear { traddr: "10.0.0.1".into(), subnqn: format!("half {n}"), ..Unclear::default() };
        let page = SourcePage {
            connected_since: at(UP),
            controllers: [(tid("a"), ())].into(),
            read: Some(at(UP + 40)),
            unclear: (0..count).map(half).collect(),
        };
        sources.read(at(UP + 40), SourceId::Page(tid("dc")), page, |_| false);
        assert_eq!(sources.verdict(&tid("b"), at(UP + 40), true), expected, "{count}");
    }
}

/// A page may have the same unclear entries for ever, and others that change each time.
#[test]
fn what_was_listed_beside_unclear_entries_is_remembered_once_and_not_for_ever() {
    let mut unclear = UnclearEntries::default();
    let entries: Vec<Unclear> = (0..WITHOUT_NQN)
        .map(|port| Unclear { traddr: "10.0.0.1".into(), trsvcid: (port + 1).to_string(), ..Unclear::default() })
        .collect();
    for page in 0..40 {
        let listed: Vec<Tid> = (0..1000).map(|n| at_address(&format!("{page} {n}"), "10.0.0.1")).collect();
        let elsewhere = at_address("x", "10.0.0.2");
        unclear.replace(entries.clone(), None, listed.iter().chain([&elsewhere]));
        assert!(
            unclear.with_own_entry.len() <= WITH_OWN_ENTRY && unclear.with_own_entry.len() >= listed.len(),
            "{}",
            unclear.with_own_entry.len()
        );
        assert!(!unclear.with_own_entry.contains_key(&elsewhere) && !unclear.may_mean(&listed[7]));
    }
    assert!(unclear.with_own_entry.len() < 40 * 1000);
    unclear.replace(Vec::new(), None, [].into_iter());
    assert!(unclear.with_own_entry.is_empty() && unclear.by_address.is_empty());
}

#[test]
fn an_entry_that_comes_later_may_mean_what_was_listed_before_it() {
    let entry = |port: &str| Unclear { traddr: "10.0.0.1".into(), trsvcid: port.into(), ..Unclear::default() };
    let a = at_address("a", "10.0.0.1");
    let mut unclear = UnclearEntries::default();
    let mut may_mean = |ports: &[&str], lists: bool| {
        let listed = [&a].into_iter().filter(|_| lists);
        unclear.replace(ports.iter().map(|port| entry(port)).collect(), None, listed);
        unclear.may_mean(&a)
    };
    assert!(!may_mean(&[""], true), "it has an entry of its own");
    assert!(!may_mean(&[""], false), "the unclear entry is an old one");
    assert!(may_mean(&["", "4420"], false), "a new entry may mean it");
    assert!(!may_mean(&["", "4421"], false), "another port");
    assert!(!may_mean(&[], false));
    assert!(may_mean(&[""], false), "the entry is a new one");
    assert!(!may_mean(&[""], true));
    assert!(may_mean(&["", ""], false), "one of two equal entries is new");
    assert!(may_mean(&[""], false), "any of the two may have ended");
}

/// The entry of one controller is repaired, and that of another one is damaged in the same way.
#[test]
fn an_equal_entry_may_mean_another_controller_when_one_is_newly_listed() {
    let entry = Unclear { traddr: "10.0.0.1".into(), ..Unclear::default() };
    let [a, b, elsewhere] =
        [("a", "10.0.0.1"), ("b", "10.0.0.1"), ("c", "10.0.0.2")].map(|(nqn, at)| at_address(nqn, at));
    let mut unclear = UnclearEntries::default();
    let mut meant = |listed: &[&Tid]| {
        unclear.replace(vec![entry.clone()], None, listed.iter().copied());
        [&a, &b].map(|tid| unclear.may_mean(tid))
    };
    assert_eq!(meant(&[&b]), [true, false]);
    assert_eq!(meant(&[&b]), [true, false]);
    assert_eq!(meant(&[&b, &elsewhere]), [true, false], "at another address");
    assert_eq!(meant(&[&a]), [false, true]);
    assert_eq!(meant(&[&a]), [false, true]);
}
