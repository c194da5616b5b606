//! Many seeds, none of which breaks an invariant.

use std::time::Duration;

use sim::plan::Plan;
use sim::{report, run};

/// So many seeds are played with each `make test`.
const SEEDS: u64 = 2000;

#[test]
fn no_seed_breaks_an_invariant() {
    let many = run::play_many(0, SEEDS, |_| {}, Duration::MAX);
    println!("{}", report::summary(&many));
    assert_eq!(many.played, SEEDS);
    if let Some((seed, breach)) = many.failed.first_key_value() {
        panic!("{}\n{}", report::summary(&many), report::failure(&Plan::new(*seed), breach));
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..8 {
        let plan = Plan::new(seed);
        let (one, other) = (run::play(&plan, true), run::play(&plan, true));
        assert_eq!(one.story, other.story, "seed {seed}");
        assert!(one.story.len() > 3, "something happens");
    }
}

#[test]
fn no_two_seeds_are_the_same_story() {
    let story = |seed| run::play(&Plan::new(seed), true).story;
    assert_ne!(story(1), story(2));
}
