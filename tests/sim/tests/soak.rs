//! Neither core keeps data of the past.
#![allow(clippy::unwrap_used)]

use sim::soak::{Measure, play_rounds};

/// Number of events for each core; `ENDURE=100000 cargo test -p sim --profile sim --test soak` for more.
fn events() -> u64 {
    std::env::var("ENDURE").ok().map_or(10_000, |text| text.parse().unwrap())
}

#[test]
fn after_many_events_a_core_knows_no_more_than_after_a_thousand() {
    for seed in 1..4 {
        let measures = play_rounds(seed, events()).unwrap_or_else(|breach| panic!("seed {seed}: {breach:?}"));
        no_more("stafd", seed, measures.iter().map(|m: &Measure| (m.stafd_events, m.stafd)));
        no_more("stacd", seed, measures.iter().map(|m: &Measure| (m.stacd_events, m.stacd)));
    }
}

/// The largest state after a round of the first thousand events, and the smallest of the last thousand.
fn no_more(daemon: &str, seed: u64, rounds: impl Iterator<Item = (u64, usize)>) {
    let rounds: Vec<_> = rounds.collect();
    let (last, _) = *rounds.last().unwrap();
    let early = rounds.iter().filter(|(events, _)| *events <= 2_000).map(|(_, known)| *known).max().unwrap();
    let late = rounds.iter().filter(|(events, _)| *events + 2_000 >= last).map(|(_, known)| *known).min().unwrap();
    println!("seed {seed}: {daemon}: {early} bytes within 2000 events, {late} at the end of {last}");
    assert!(
        late * 100 <= early * 105,
        "seed {seed}: {daemon} knows {late} bytes after {last} events, {early} at first"
    );
}
