//! A whole run, and the search for the smallest plan that breaks an invariant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::files::DcEntry;
use crate::invariants::{Breach, Invariant};
use crate::mutants::Bug;
use crate::names::{Subsystem, Target, Via};
use crate::plan::{InitialWorld, Plan};
use crate::world::World;

/// After the last fault the expected final state must be reached within this time, plus ten times the longest time for
/// which a target has blocked the connect path.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);
/// The final state must last for this time: longer than any period of the cores.
const STAYS_FOR: Duration = Duration::from_secs(75);

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The violated invariant, if any.
    pub breach: Option<Breach>,
    /// The time from the end of the faults to the expected final state.
    pub settled_after: Duration,
    /// Number of events that the cores have handled.
    pub events: u64,
    /// Number of connections that a kill left without an owner: connected, and not saved yet.
    pub orphans: u64,
    /// The events of the run as text, if requested.
    pub trace: Vec<String>,
}

/// Plays a plan.
#[must_use]
pub fn play(plan: &Plan, trace: bool) -> Outcome {
    play_with(plan, None, trace)
}

/// Plays a plan with a reintroduced bug.
#[must_use]
pub fn play_with(plan: &Plan, bug: Option<Bug>, trace: bool) -> Outcome {
    let mut world = World::new(plan.clone(), trace);
    world.bug = bug;
    world.run_until(plan.faults_end);
    let settled_after = settle(&mut world, plan.faults_end);
    Outcome {
        breach: world.breach.take(),
        settled_after,
        events: world.events.0 + world.events.1,
        orphans: world.kernel.orphans,
        trace: world.trace.take().unwrap_or_default(),
    }
}

/// The longest time that a daemon waits after a connect that failed after this time. A portal that was silent after it
/// had accepted the TCP connection, and is only announced, is tried every ten minutes.
fn penalty(wasted: Duration) -> Duration {
    let silent = if wasted > Duration::from_secs(5) { Duration::from_secs(600) } else { Duration::ZERO };
    silent.max(wasted * 10)
}

/// Waits for the expected final state, and checks that it lasts.
fn settle(world: &mut World, faults_end: Duration) -> Duration {
    world.add_to_trace("the faults have ended");
    let limit = faults_end + SETTLES_WITHIN + penalty(world.kernel.wasted);
    let mut settled: Option<Duration> = None;
    while world.breach.is_none() {
        match (world.deviation(), settled) {
            (None, None) => {
                world.add_to_trace("the expected final state is reached");
                settled = Some(world.now);
            }
            (None, Some(since)) if world.now >= since + STAYS_FOR => break,
            (None, Some(_)) => {}
            (Some((Invariant::Converges, text)), Some(_)) => {
                world.breach(Invariant::Converges, format!("the expected final state did not last: {text}"));
            }
            // A controller whose removal has just been proved is being removed.
            (Some(_), Some(_)) => settled = None,
            (Some((invariant, text)), None) if world.now >= limit => world.breach(invariant, text),
            (Some(_), None) => {}
        }
        world.run_until(world.now + Duration::from_secs(1));
    }
    settled.unwrap_or(world.now).saturating_sub(faults_end)
}

/// Removes everything from a plan that is not needed to break the same invariant.
#[must_use]
pub fn shrink(plan: &Plan, bug: Option<Bug>, invariant: Invariant) -> Plan {
    let fails = |plan: &Plan| play_with(plan, bug, false).breach.is_some_and(|breach| breach.invariant == invariant);
    let mut smallest = plan.clone();
    let mut chunk = smallest.actions.len().max(1);
    while chunk > 0 {
        let mut from = 0;
        while from < smallest.actions.len() {
            let mut fewer = smallest.clone();
            fewer.actions.drain(from..(from + chunk).min(fewer.actions.len()));
            if fails(&fewer) {
                smallest = fewer;
            } else {
                from += chunk;
            }
        }
        chunk /= 2;
    }
    for less in Reduction::ways(&smallest.initial) {
        let mut fewer = smallest.clone();
        less.apply(&mut fewer.initial);
        if fails(&fewer) {
            smallest = fewer;
        }
    }
    smallest
}

/// A way to simplify the initial world.
enum Reduction {
    Export(usize, Subsystem),
    Zoned(usize, (Target, Subsystem)),
    Referral(usize, Target),
    Dc(DcEntry),
    Announced(Target),
    Booted((Target, Subsystem, Via)),
    Record((Target, Via)),
    Controller((Target, Subsystem, Via)),
    InUse(Subsystem),
    System,
}

impl Reduction {
    fn ways(initial: &InitialWorld) -> Vec<Self> {
        let of_sites = initial.targets.iter().enumerate().flat_map(|(number, site)| {
            let exports = site.exports.iter().map(move |subsystem| Self::Export(number, *subsystem));
            let zoned = site.zoned.iter().map(move |entry| Self::Zoned(number, *entry));
            let referrals = site.refers.iter().map(move |other| Self::Referral(number, *other));
            exports.chain(zoned).chain(referrals)
        });
        let dcs = initial.staf.controllers.iter().map(|dc| Self::Dc(*dc));
        let controllers = initial.stac.controllers.iter().map(|controller| Self::Controller(*controller));
        let announced = initial.announced.keys().map(|target| Self::Announced(*target));
        let booted = initial.boot.connected.iter().map(|place| Self::Booted(*place));
        let records = initial.boot.discovery.iter().map(|record| Self::Record(*record));
        let in_use = initial.in_use.iter().map(|subsystem| Self::InUse(*subsystem));
        let system = initial.system.iter().map(|_| Self::System);
        let by_mdns_and_nbft = announced.chain(booted).chain(records);
        of_sites.chain(dcs).chain(by_mdns_and_nbft).chain(controllers).chain(in_use).chain(system).collect()
    }

    fn apply(self, initial: &mut InitialWorld) {
        match self {
            Self::Export(number, subsystem) => initial.targets[number].exports.remove(&subsystem),
            Self::Zoned(number, entry) => initial.targets[number].zoned.remove(&entry),
            Self::Referral(number, other) => initial.targets[number].refers.remove(&other),
            Self::Dc(dc) => initial.staf.controllers.remove(&dc),
            Self::Announced(target) => initial.announced.remove(&target).is_some(),
            Self::Booted(place) => initial.boot.connected.remove(&place),
            Self::Record(record) => initial.boot.discovery.remove(&record),
            Self::Controller(controller) => initial.stac.controllers.remove(&controller),
            Self::InUse(subsystem) => initial.in_use.remove(&subsystem),
            Self::System => initial.system.take().is_some(),
        };
    }
}

/// The results of many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of runs.
    pub played: u64,
    /// Number of events that the cores have handled.
    pub events: u64,
    /// Number of connections that a kill left without an owner: connected, and not saved yet.
    pub orphans: u64,
    /// The failed seeds, with the violated invariants.
    pub failed: BTreeMap<u64, Breach>,
    /// The longest time from the end of the faults to the expected final state, and its seed.
    pub slowest: (Duration, u64),
}

/// Plays this many seeds on all processors, and reports the progress at intervals.
pub fn play_many(first: u64, count: u64, progress: impl Fn(&Summary), every: Duration) -> Summary {
    let next = AtomicU64::new(first);
    let end = first.saturating_add(count);
    let (sender, receiver) = mpsc::channel();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut many = Summary::default();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send((seed, play(&Plan::new(seed), false))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut reported = Instant::now();
        for (seed, outcome) in receiver {
            many.take(seed, outcome);
            if reported.elapsed() >= every {
                reported = Instant::now();
                progress(&many);
            }
        }
    });
    many
}

impl Summary {
    fn take(&mut self, seed: u64, outcome: Outcome) {
        self.played += 1;
        self.events += outcome.events;
        self.orphans += outcome.orphans;
        match outcome.breach {
            Some(breach) => drop(self.failed.insert(seed, breach)),
            None => self.slowest = self.slowest.max((outcome.settled_after, seed)),
        }
    }
}
