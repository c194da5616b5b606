//! Many seeds, none of which violates an invariant.

use std::time::Duration;

use sim::plan::Plan;
use sim::{report, run};

/// The number of seeds in each `make test`. The environment variable SEEDS overrides it: instrumented programs are
/// slow, and more seeds cover no further lines.
const SEEDS: u64 = 2000;

#[test]
fn no_seed_breaks_an_invariant() {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap_or(SEEDS));
    let many = run::play_many(0, seeds, |_| {}, Duration::MAX);
    println!("{}", report::summary(&many));
    assert_eq!(many.played, seeds);
    if let Some((seed, breach)) = many.failed.first_key_value() {
        panic!("{}\n{}", report::summary(&many), report::failure(&Plan::new(*seed), breach));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        let plan = Plan::new(seed);
        let (one, other) = (run::play(&plan, true), run::play(&plan, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert!(one.trace.len() > 3, "something happens");
    }
}

#[test]
fn no_two_seeds_give_the_same_trace() {
    let trace = |seed| run::play(&Plan::new(seed), true).trace;
    assert_ne!(trace(1), trace(2));
}
