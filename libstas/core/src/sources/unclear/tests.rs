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

/// The verdicts on b after each of these pages, whose time is settled, and which all come from one connection. A page
/// lists controllers by readable entries, and has unclear entries.
fn verdicts_on(b: &Tid, pages: &[(&[&Tid], &[&Unclear])]) -> Vec<Verdict> {
    let mut sources = Sources::<()>::default();
    let id = SourceId::Page(tid("dc"));
    let verdict_after = |(n, (listed, unclear)): (u64, &(&[&Tid], &[&Unclear]))| {
        let now = at(UP + 30 + 10 * n);
        let page = SourcePage {
            connected_since: at(UP),
            controllers: listed.iter().map(|tid| ((*tid).clone(), ())).collect(),
            read: Some(now),
            unclear: unclear.iter().map(|entry| (*entry).clone()).collect(),
        };
        sources.read(now, id.clone(), page, |_| false);
        sources.verdict(b, now, true)
    };
    (0..).zip(pages).map(verdict_after).collect()
}

/// The damage of an entry may move: a's entry was damaged, and now it is b's. The page lists c all the time.
#[test]
fn an_entry_without_a_readable_nqn_may_mean_everything_at_its_address_as_long_as_it_exists() {
    let [a, b, c] = ["a", "b", "c"].map(|nqn| at_address(nqn, "192.0.2.1"));
    let elsewhere = at_address("a", "192.0.2.2");
    let with = |port: &str| Unclear { traddr: "192.0.2.1".into(), trsvcid: port.into(), ..damaged("") };
    let (old, other_port) = (with(""), with("4420"));
    let readable = Unclear { subnqn: "a".into(), ..old.clone() };
    type Page<'a> = (&'a [&'a Tid], &'a [&'a Unclear]);
    let cases: [(&str, Page<'_>); 6] = [
        ("a is deleted", (&[&c], &[&old])),
        ("the damage of a has changed", (&[&c], &[&readable, &old])),
        ("a is readable now", (&[&a, &c], &[&old])),
        ("a is readable now, and elsewhere", (&[&elsewhere, &c], &[&old])),
        ("a's entry has a port now", (&[&c], &[&other_port, &old])),
        ("both are damaged", (&[&c], &[&old, &old])),
    ];
    for (what, (listed, unclear)) in cases {
        let before: Page<'_> = (&[&b, &c], &[&old]);
        let now: Page<'_> = (listed, unclear);
        let end: Page<'_> = (&[&c], &[]);
        let seen = verdicts_on(&b, &[before, before, now, now, now, end]);
        let expected =
            [Verdict::Listed, Verdict::Listed, Verdict::Listed, Verdict::Listed, Verdict::Listed, Verdict::Disproved];
        assert_eq!(seen, expected, "{what}");
    }
    let other: Page<'_> = (&[&c], &[&Unclear { traddr: "192.0.2.3".into(), ..old.clone() }]);
    assert_eq!(verdicts_on(&b, &[(&[&b, &c], other.1), other, other])[2], Verdict::Disproved, "at another address");
}

/// Nothing of the damaged entry can be read. It is the same one only if nothing else says that it may be another one.
#[test]
fn an_equal_damaged_entry_counts_as_a_new_one_if_a_controller_is_newly_listed_or_there_are_more() {
    let [a, b, c] = ["a", "b", "c"].map(|nqn| at_address(nqn, "192.0.2.1"));
    let nothing = damaged("");
    type Page<'a> = (&'a [&'a Tid], &'a [&'a Unclear]);
    let before: Page<'_> = (&[&b, &c], &[&nothing]);
    for (what, now) in [
        ("a is readable now", (&[&a, &c] as &[&Tid], &[&nothing] as &[&Unclear])),
        ("two are damaged", (&[&c], &[&nothing, &nothing])),
        ("another one is damaged", (&[&c], &[&nothing, &damaged("x")])),
    ] {
        let seen = verdicts_on(&b, &[before, before, now, now]);
        let expected = [Verdict::Listed, Verdict::Listed, Verdict::Unproved(None), Verdict::Disproved];
        assert_eq!(seen, expected, "{what}");
    }
    assert_eq!(verdicts_on(&b, &[before, before, (&[&c], &[&nothing])])[2], Verdict::Disproved);
}

/// A page that proves nothing lies between: it may have been without the damaged entry.
#[test]
fn a_page_that_proves_nothing_interrupts_the_pages_that_show_lasting_damage() {
    let page = |now| (now, true, ["a"].as_slice(), ["x"].as_slice());
    let mut sources = after(&[page(UP + 30)]);
    let id = SourceId::Page(tid("dc"));
    sources.add_unproved(id.clone(), [(tid("a"), ())].into());
    let mut read = |now| {
        let page = SourcePage {
            connected_since: at(UP),
            controllers: [(tid("a"), ())].into(),
            read: Some(at(now)),
            unclear: [damaged("x")].into(),
        };
        sources.read(at(now), id.clone(), page, |_| false);
        sources.verdict(&tid("b"), at(now), true)
    };
    assert_eq!(read(UP + 40), Verdict::Unproved(None), "the first one after it");
    assert_eq!(read(UP + 50), Verdict::Disproved);
}

/// Stafd was restarted and does not know the discovery controller: what its last page may mean is not forgotten.
#[test]
fn a_source_with_unclear_entries_is_not_dropped_for_want_of_claims() {
    let mut sources = Sources::<()>::default();
    let (dc1, dc2) = (SourceId::Page(tid("dc1")), SourceId::Page(tid("dc2")));
    let a = at_address("a", "192.0.2.1");
    let unclear = Unclear { is_damaged: false, ..damaged("a") };
    let page =
        |controllers, unclear| SourcePage { connected_since: at(UP), controllers, read: Some(at(UP + 40)), unclear };
    sources.read(at(UP + 40), dc1.clone(), page(BTreeMap::new(), vec![unclear]), |_| true);
    sources.read(at(UP + 40), dc2.clone(), page([(a.clone(), ())].into(), Vec::new()), |_| true);
    sources.mark_stale_or_drop(&dc1);
    sources.read(at(UP + 50), dc2, page(BTreeMap::new(), Vec::new()), |_| true);
    assert_eq!(sources.verdict(&a, at(UP + 50), true), Verdict::Unproved(None));
}

/// An unclear entry lists no live controller: it proves that the discovery controller lists something, not what.
#[test]
fn a_page_that_lists_only_what_an_unclear_entry_may_mean_is_doubtful() {
    for is_damaged in [true, false] {
        let mut sources = Sources::<()>::doubting(2);
        let id = SourceId::Page(tid("dc"));
        let mut read = |now, listed: &[&str], unclear: Vec<Unclear>| {
            let page = SourcePage {
                connected_since: at(UP),
                controllers: listed.iter().map(|nqn| (tid(nqn), ())).collect(),
                read: Some(at(now)),
                unclear,
            };
            sources.read(at(now), id.clone(), page, |_| true);
            ["a", "b"].map(|nqn| sources.verdict(&tid(nqn), at(now), true))
        };
        read(UP + 30, &["a", "b", "c"], Vec::new());
        let entry = Unclear { is_damaged, ..damaged("a") };
        let seen = read(UP + 40, &[], vec![entry]);
        assert_eq!(seen, [Verdict::Listed, Verdict::Unproved(Some(at(UP + 45)))], "damaged: {is_damaged}");
    }
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
