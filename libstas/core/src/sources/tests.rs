use super::*;
use stas_nvme::{TidParts, Transport};

fn tid(name: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        trsvcid: "4420".into(),
        subsysnqn: name.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
    })
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

fn page_of(dc: &str) -> SourceId {
    SourceId::Page(tid(dc))
}

fn names(list: &[&str]) -> BTreeMap<Tid, ()> {
    list.iter().map(|name| (tid(name), ())).collect()
}

fn read(sources: &mut Sources<()>, now: Time, dc: &str, since: u64, list: &[&str]) {
    let page = SourcePage { connected_since: at(since), controllers: names(list), read: None, unclear: Vec::new() };
    sources.read(now, page_of(dc), page, |_| true);
}

/// The same, read for the asking.
fn read_anew(sources: &mut Sources<()>, now: Time, dc: &str, since: u64, list: &[&str]) {
    let page =
        SourcePage { connected_since: at(since), controllers: names(list), read: Some(now), unclear: Vec::new() };
    sources.read(now, page_of(dc), page, |_| true);
}

#[test]
fn one_source_that_names_it_is_enough() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a"]);
    read(&mut sources, at(1), "dc2", 0, &["a", "b"]);
    read(&mut sources, at(2), "dc1", 0, &[]);
    assert_eq!(sources.verdict(&tid("a"), at(2), true), Verdict::Listed);
    read(&mut sources, at(3), "dc2", 0, &["b"]);
    assert_eq!(sources.verdict(&tid("a"), at(3), true), Verdict::Disproved);
}

#[test]
fn every_source_that_named_it_must_prove_its_absence() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "x"]);
    read(&mut sources, at(1), "dc2", 0, &["a", "x"]);
    sources.mark_stale(&page_of("dc2"));
    read(&mut sources, at(2), "dc1", 0, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(2), true), Verdict::Listed, "the old word of dc2 stands");
    read(&mut sources, at(100), "dc2", 90, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(100), true), Verdict::Unproved(Some(at(120))));
    read_anew(&mut sources, at(118), "dc2", 90, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(119), true), Verdict::Unproved(Some(at(120))));
    assert_eq!(sources.verdict(&tid("a"), at(120), true), Verdict::Disproved);
}

#[test]
fn a_source_that_falls_silent_after_a_page_without_it_proves_nothing_any_more() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "x"]);
    read(&mut sources, at(2), "dc1", 0, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(2), true), Verdict::Disproved);
    sources.mark_stale(&page_of("dc1"));
    assert_eq!(sources.verdict(&tid("a"), at(2), true), Verdict::Unproved(None));
}

#[test]
fn a_new_connection_must_settle_before_its_absences_count() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "x"]);
    read(&mut sources, at(50), "dc1", 50, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(51), true), Verdict::Unproved(Some(at(80))));
    read(&mut sources, at(52), "dc1", 50, &["a", "x"]);
    read(&mut sources, at(53), "dc1", 50, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(53), true), Verdict::Disproved, "this connection had listed it");
}

#[test]
fn an_early_page_of_a_connection_says_nothing_about_what_is_known_from_before_it() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "x"]);
    read_anew(&mut sources, at(50), "dc1", 50, &["x"]);
    assert_eq!(sources.deadline(), Some(at(80)));
    assert!(sources.awaiting_settled(at(79)).is_empty());
    assert_eq!(sources.verdict(&tid("a"), at(80), true), Verdict::Unproved(None));
    assert_eq!(sources.awaiting_settled(at(80)), [tid("dc1")]);
    assert!(sources.awaiting_settled(at(80)).is_empty(), "it is asked for once");
    assert_eq!(sources.deadline(), Some(at(85)), "and again when no answer came");
    read(&mut sources, at(81), "dc1", 50, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(81), true), Verdict::Unproved(None), "it may be of any time");
    read_anew(&mut sources, at(82), "dc1", 50, &["x"]);
    assert_eq!(sources.verdict(&tid("a"), at(82), true), Verdict::Disproved);
    assert_eq!(sources.deadline(), None);
}

#[test]
fn hearsay_names_and_proves_nothing() {
    let mut sources = Sources::default();
    sources.restore(page_of("dc1"), names(&["a"]));
    sources.add_unproved(page_of("dc1"), names(&["b"]));
    for name in ["a", "b"] {
        assert_eq!(sources.verdict(&tid(name), at(1000), true), Verdict::Listed);
    }
}

#[test]
fn a_page_that_takes_all_live_ones_is_doubted_until_it_was_read_again() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
    read(&mut sources, at(10), "dc1", 0, &[]);
    assert_eq!(sources.deadline(), Some(at(15)));
    assert_eq!(sources.verdict(&tid("a"), at(14), true), Verdict::Unproved(Some(at(15))));
    assert_eq!(sources.doubted(at(15)), [tid("dc1")]);
    assert_eq!(sources.verdict(&tid("a"), at(16), true), Verdict::Unproved(Some(at(20))));
    read_anew(&mut sources, at(16), "dc1", 0, &[]);
    assert_eq!(sources.verdict(&tid("a"), at(16), true), Verdict::Disproved);
}

#[test]
fn a_page_that_was_read_for_another_reason_does_not_end_a_doubt_early() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
    read(&mut sources, at(10), "dc1", 0, &[]);
    read_anew(&mut sources, at(14), "dc1", 0, &[]);
    assert_eq!(sources.verdict(&tid("a"), at(14), true), Verdict::Unproved(Some(at(15))));
}

#[test]
fn a_doubt_outlasts_everything_but_a_page_that_lists_a_live_one() {
    type Meanwhile = fn(&mut Sources<()>);
    // What happens while the page of their discovery controller is empty, and what the page lists then. `b` is no
    // longer live.
    let cases: [(&str, Meanwhile, &[&str], bool); 6] = [
        ("the connection to b is lost", |_| (), &[], false),
        ("b is excluded, and removed", |sources| sources.forget(at(11), &tid("b")), &[], false),
        ("b is listed again", |_| (), &["b"], false),
        ("the page could not be had", |sources| sources.mark_stale(&page_of("dc1")), &[], false),
        ("b is said to be listed", |sources| sources.add_unproved(page_of("dc1"), names(&["b"])), &[], false),
        ("a is listed again", |_| (), &["a"], true),
    ];
    for (what, meanwhile, listed, ends_doubt) in cases {
        let mut sources = Sources::default();
        read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
        read(&mut sources, at(10), "dc1", 0, &[]);
        meanwhile(&mut sources);
        let page =
            |list, read| SourcePage { connected_since: at(0), controllers: names(list), read, unclear: Vec::new() };
        let is_live = |each: &Tid| *each == tid("a");
        sources.read(at(12), page_of("dc1"), page(listed, None), is_live);
        assert_eq!(sources.deadline(), (!ends_doubt).then_some(at(15)), "{what}");
        if !ends_doubt {
            assert_eq!(sources.verdict(&tid("a"), at(13), true), Verdict::Unproved(Some(at(15))), "{what}");
            sources.read(at(16), page_of("dc1"), page(&[], Some(at(16))), is_live);
            assert_eq!(sources.verdict(&tid("a"), at(16), true), Verdict::Disproved, "{what}");
        }
    }
}

/// The doubtful page lists others, which become live, and the next page does not list these either.
#[test]
fn a_page_that_takes_further_live_ones_is_doubted_anew() {
    let mut sources = Sources::default();
    let read = |sources: &mut Sources<()>, now, list: &[&str], live: &[&str]| {
        let page =
            SourcePage { connected_since: at(0), controllers: names(list), read: Some(now), unclear: Vec::new() };
        sources.read(now, page_of("dc1"), page, |tid| live.contains(&tid.subsysnqn.as_str()));
    };
    read(&mut sources, at(1), &["a", "b"], &["a", "b"]);
    read(&mut sources, at(10), &["c", "d"], &["a", "b"]);
    assert_eq!(sources.deadline(), Some(at(15)));
    read(&mut sources, at(13), &["a", "b"], &["c", "d"]);
    assert_eq!(sources.deadline(), Some(at(18)), "c and d are doubted from here on");
    read(&mut sources, at(15), &["a", "b"], &["c", "d"]);
    assert_eq!(sources.verdict(&tid("c"), at(15), true), Verdict::Unproved(Some(at(18))));
    read(&mut sources, at(18), &["a", "b"], &["c", "d"]);
    assert_eq!(sources.verdict(&tid("c"), at(18), true), Verdict::Disproved);
}

#[test]
fn a_doubtful_page_is_not_asked_for_while_its_source_is_stale() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
    read(&mut sources, at(10), "dc1", 0, &[]);
    sources.mark_stale(&page_of("dc1"));
    assert_eq!((sources.deadline(), sources.doubted(at(20))), (None, Vec::new()));
    assert_eq!(sources.verdict(&tid("a"), at(20), true), Verdict::Unproved(None));
    read(&mut sources, at(21), "dc1", 0, &[]);
    assert_eq!(sources.doubted(at(21)), [tid("dc1")]);
}

#[test]
fn a_page_that_takes_one_or_leaves_one_is_not_doubted() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a"]);
    read(&mut sources, at(2), "dc1", 0, &[]);
    assert_eq!(sources.deadline(), None);
    read(&mut sources, at(1), "dc2", 0, &["a", "b", "c"]);
    read(&mut sources, at(2), "dc2", 0, &["c"]);
    assert_eq!(sources.deadline(), None);
}

#[test]
fn the_administrators_word_is_proof() {
    let mut sources = Sources::default();
    sources.set_complete(SourceId::Configured, names(&["a"]));
    assert_eq!(sources.verdict(&tid("a"), at(0), true), Verdict::Listed);
    sources.set_complete(SourceId::Configured, names(&[]));
    assert_eq!(sources.verdict(&tid("a"), at(0), true), Verdict::Disproved);
}

#[test]
fn a_removed_source_removes_its_controllers_and_an_aged_out_one_only_those_not_live() {
    for (aged_out, live, verdict) in
        [(false, true, Verdict::Disproved), (true, true, Verdict::Unproved(None)), (true, false, Verdict::Disproved)]
    {
        let mut sources = Sources::default();
        read(&mut sources, at(1), "dc1", 0, &["a"]);
        sources.retire(&page_of("dc1"), aged_out);
        assert_eq!(sources.verdict(&tid("a"), at(2), live), verdict);
    }
}

#[test]
fn only_what_is_disproved_is_forgotten() {
    type Meanwhile = fn(&mut Sources<()>);
    let aged_out: Meanwhile = |sources| sources.retire(&page_of("dc1"), true);
    let rows: [(&str, Meanwhile, Verdict); 7] = [
        ("the page still lists it", |_| (), Verdict::Listed),
        ("the page lists it no longer", |s| read(s, at(2), "dc1", 0, &["b"]), Verdict::Disproved),
        (
            "the page of a new connection does not list it",
            |s| read(s, at(2), "dc1", 2, &["b"]),
            Verdict::Unproved(Some(at(32))),
        ),
        (
            "the same, and the connection is lost",
            |s| {
                read(s, at(2), "dc1", 2, &["b"]);
                s.mark_stale(&page_of("dc1"));
            },
            Verdict::Unproved(None),
        ),
        ("the page is doubtful", |s| read(s, at(2), "dc1", 0, &[]), Verdict::Unproved(Some(at(7)))),
        ("the discovery controller was removed", |s| s.retire(&page_of("dc1"), false), Verdict::Disproved),
        ("the discovery controller aged out", aged_out, Verdict::Disproved),
    ];
    for (what, meanwhile, then) in rows {
        let mut sources = Sources::default();
        read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
        meanwhile(&mut sources);
        // An exclusion ended the connection to `a`. It is connected again for another page, which lists it no longer.
        sources.forget(at(3), &tid("a"));
        read(&mut sources, at(4), "dc2", 0, &["a", "c"]);
        read(&mut sources, at(5), "dc2", 0, &["c"]);
        assert_eq!(sources.verdict(&tid("a"), at(5), true), then, "{what}");
    }
}

#[test]
fn all_are_settled_when_every_source_has_been_read_again_after_30_s() {
    let mut sources = Sources::default();
    sources.want_settled_pages_of_all(true);
    read(&mut sources, at(5), "dc1", 5, &["a"]);
    assert!(!sources.all_settled(at(100)));
    assert_eq!(sources.deadline(), Some(at(35)));
    assert_eq!(sources.awaiting_settled(at(35)), [tid("dc1")]);
    read_anew(&mut sources, at(36), "dc1", 5, &["a"]);
    assert!(sources.all_settled(at(36)));
    assert_eq!(sources.deadline(), None);
    sources.add_unproved(page_of("dc2"), names(&[]));
    assert!(!sources.all_settled(at(100)));
}

#[test]
fn disproved_claims_on_unknown_controllers_are_forgotten_after_a_page() {
    type Meanwhile = fn(&mut Sources<()>);
    let rows: [(&str, Meanwhile, &[&str]); 6] = [
        ("both are listed", |s| read(s, at(2), "dc1", 0, &["known", "unknown"]), &["known", "unknown"]),
        ("neither is listed", |s| read(s, at(2), "dc1", 0, &["other"]), &["known", "other"]),
        ("a new connection", |s| read(s, at(2), "dc1", 2, &["other"]), &["known", "other", "unknown"]),
        ("another page", |s| read(s, at(2), "dc2", 0, &["other"]), &["known", "unknown", "other"]),
        ("removed, another page", |s| s.retire(&page_of("dc1"), false), &["known"]),
        ("aged out, another page", |s| s.retire(&page_of("dc1"), true), &["known"]),
    ];
    for (what, meanwhile, left) in rows {
        let mut sources = Sources::default();
        read(&mut sources, at(1), "dc1", 0, &["known", "unknown"]);
        meanwhile(&mut sources);
        for dc in ["dc1", "dc2"] {
            sources.forget_unknown(at(3), &page_of(dc), |known| *known == tid("known"));
        }
        let claims: Vec<&str> = sources.claims().map(|(_, tid, ())| tid.subsysnqn.as_str()).collect();
        assert_eq!(claims, left, "{what}");
    }
}

/// Each page is illegible, or of a new connection: nothing is proved.
#[test]
fn a_source_has_a_bounded_number_of_claims_on_unknown_controllers() {
    let many = CLAIMS / 2;
    for has_too_many in [false, true] {
        let mut sources = Sources::default();
        for page in 0..6 {
            let listed = (0..many).map(|n| (tid(&format!("{page} {n}")), ())).chain([(tid("known"), ())]).collect();
            if has_too_many {
                sources.add_unproved(page_of("dc"), listed);
            } else {
                let page =
                    SourcePage { connected_since: at(page), controllers: listed, read: None, unclear: Vec::new() };
                sources.read(page.connected_since, page_of("dc"), page, |_| false);
            }
            sources.forget_unknown(at(page), &page_of("dc"), |known| *known == tid("known"));
            assert!(sources.claims().count() <= CLAIMS, "{page} {has_too_many}");
            assert!(sources.claims().any(|(_, claimed, ())| *claimed == tid("known")));
            assert!(has_too_many || sources.verdict(&tid(&format!("{page} 7")), at(page), false) == Verdict::Listed);
        }
    }
}

#[test]
fn a_confirmed_page_is_not_doubted_again_on_the_same_connection() {
    let mut sources = Sources::default();
    read(&mut sources, at(1), "dc1", 0, &["a", "b"]);
    read(&mut sources, at(10), "dc1", 0, &[]);
    read_anew(&mut sources, at(16), "dc1", 0, &[]);
    // A change was signalled.
    sources.mark_stale(&page_of("dc1"));
    read(&mut sources, at(20), "dc1", 0, &[]);
    assert_eq!(sources.verdict(&tid("a"), at(20), true), Verdict::Disproved);
    sources.mark_stale(&page_of("dc1"));
    read(&mut sources, at(30), "dc1", 25, &[]);
    assert_eq!(sources.verdict(&tid("a"), at(31), true), Verdict::Unproved(Some(at(35))), "another connection");
}

#[test]
fn a_source_that_has_listed_nothing_is_dropped_and_others_are_kept() {
    let mut sources = Sources::default();
    sources.add_unproved(page_of("dc1"), BTreeMap::new());
    sources.add_unproved(page_of("dc2"), names(&["a"]));
    for dc in ["dc1", "dc2"] {
        sources.mark_stale_or_drop(&page_of(dc));
    }
    assert!(sources.ids().eq([&page_of("dc2")]));
    assert_eq!(sources.verdict(&tid("a"), at(1000), true), Verdict::Listed);
}
