//! A run from beginning to end, and the smallest story of one that breaks an invariant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::files::Portal;
use crate::invariants::{Breach, Invariant};
use crate::names::{Subsystem, Target, Via};
use crate::plan::{Land, Plan};
use crate::sabotage::Bug;
use crate::world::World;

/// When the faults have ended, everything is as it should be within this time, and ten times the longest that a
/// target has held the connect path in vain (design, policy 3).
const SETTLES_WITHIN: Duration = Duration::from_secs(240);
/// And stays so for this long: longer than any period of the cores.
const STAYS_FOR: Duration = Duration::from_secs(75);

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What did not hold.
    pub breach: Option<Breach>,
    /// How long it took from the end of the faults until everything was as it should be.
    pub settled_after: Duration,
    /// Events that the cores have handled.
    pub events: u64,
    /// Connections that a kill left without an owner: made, and not saved yet.
    pub orphans: u64,
    /// What happened, if it was to be written down.
    pub story: Vec<String>,
}

/// Plays that plan.
#[must_use]
pub fn play(plan: &Plan, story: bool) -> Outcome {
    play_with(plan, None, story)
}

/// Plays that plan with a bug put back.
#[must_use]
pub fn play_with(plan: &Plan, bug: Option<Bug>, story: bool) -> Outcome {
    let mut world = World::new(plan.clone(), story);
    world.bug = bug;
    world.run_until(plan.calm);
    let settled_after = settle(&mut world, plan.calm);
    Outcome {
        breach: world.breach.take(),
        settled_after,
        events: world.events.0 + world.events.1,
        orphans: world.kernel.orphans,
        story: world.story.take().unwrap_or_default(),
    }
}

/// Waits until everything is as it should be, and then whether it stays so.
fn settle(world: &mut World, calm: Duration) -> Duration {
    world.tell_story("from now on nothing goes wrong");
    let limit = calm + SETTLES_WITHIN + world.kernel.wasted * 10;
    let mut settled: Option<Duration> = None;
    while world.breach.is_none() {
        match (world.unsettled(), settled) {
            (None, None) => {
                world.tell_story("everything is as it should be");
                settled = Some(world.now);
            }
            (None, Some(since)) if world.now >= since + STAYS_FOR => break,
            (None, Some(_)) => {}
            (Some((Invariant::Converges, text)), Some(_)) => {
                world.breach(Invariant::Converges, format!("it did not stay as it should be: {text}"));
            }
            // What was waiting for its proof is on its way out.
            (Some(_), Some(_)) => settled = None,
            (Some((invariant, text)), None) if world.now >= limit => world.breach(invariant, text),
            (Some(_), None) => {}
        }
        world.run_until(world.now + Duration::from_secs(1));
    }
    settled.unwrap_or(world.now).saturating_sub(calm)
}

/// The same plan without what is not needed to break the same invariant.
#[must_use]
pub fn shrink(plan: &Plan, bug: Option<Bug>, invariant: Invariant) -> Plan {
    let fails = |plan: &Plan| play_with(plan, bug, false).breach.is_some_and(|breach| breach.invariant == invariant);
    let mut smallest = plan.clone();
    let mut chunk = smallest.deeds.len().max(1);
    while chunk > 0 {
        let mut from = 0;
        while from < smallest.deeds.len() {
            let mut fewer = smallest.clone();
            fewer.deeds.drain(from..(from + chunk).min(fewer.deeds.len()));
            if fails(&fewer) {
                smallest = fewer;
            } else {
                from += chunk;
            }
        }
        chunk /= 2;
    }
    for less in Less::ways(&smallest.land) {
        let mut fewer = smallest.clone();
        less.apply(&mut fewer.land);
        if fails(&fewer) {
            smallest = fewer;
        }
    }
    smallest
}

/// A way to make the land poorer.
enum Less {
    Export(usize, Subsystem),
    Zoned(usize, (Target, Subsystem)),
    Referral(usize, Target),
    Portal(Portal),
    Announced(Target),
    Booted((Target, Subsystem, Via)),
    Record((Target, Via)),
    Controller((Target, Subsystem, Via)),
    InUse(Subsystem),
}

impl Less {
    fn ways(land: &Land) -> Vec<Self> {
        let of_sites = land.targets.iter().enumerate().flat_map(|(number, site)| {
            let exports = site.exports.iter().map(move |subsystem| Self::Export(number, *subsystem));
            let zoned = site.zoned.iter().map(move |entry| Self::Zoned(number, *entry));
            let referrals = site.refers.iter().map(move |other| Self::Referral(number, *other));
            exports.chain(zoned).chain(referrals)
        });
        let portals = land.staf.controllers.iter().map(|portal| Self::Portal(*portal));
        let controllers = land.stac.controllers.iter().map(|controller| Self::Controller(*controller));
        let announced = land.announced.keys().map(|target| Self::Announced(*target));
        let booted = land.boot.connected.iter().map(|place| Self::Booted(*place));
        let records = land.boot.discovery.iter().map(|record| Self::Record(*record));
        let in_use = land.in_use.iter().map(|subsystem| Self::InUse(*subsystem));
        let by_mdns_and_nbft = announced.chain(booted).chain(records);
        of_sites.chain(portals).chain(by_mdns_and_nbft).chain(controllers).chain(in_use).collect()
    }

    fn apply(self, land: &mut Land) {
        match self {
            Self::Export(number, subsystem) => land.targets[number].exports.remove(&subsystem),
            Self::Zoned(number, entry) => land.targets[number].zoned.remove(&entry),
            Self::Referral(number, other) => land.targets[number].refers.remove(&other),
            Self::Portal(portal) => land.staf.controllers.remove(&portal),
            Self::Announced(target) => land.announced.remove(&target).is_some(),
            Self::Booted(place) => land.boot.connected.remove(&place),
            Self::Record(record) => land.boot.discovery.remove(&record),
            Self::Controller(controller) => land.stac.controllers.remove(&controller),
            Self::InUse(subsystem) => land.in_use.remove(&subsystem),
        };
    }
}

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Many {
    /// How many were played.
    pub played: u64,
    /// Events that the cores have handled.
    pub events: u64,
    /// Connections that a kill left without an owner: made, and not saved yet.
    pub orphans: u64,
    /// Which broke what.
    pub failed: BTreeMap<u64, Breach>,
    /// The longest time from the end of the faults until everything was as it should be, and of which seed.
    pub slowest: (Duration, u64),
}

/// Plays so many seeds on all processors, and tells how far it is every so often.
pub fn play_many(first: u64, count: u64, progress: impl Fn(&Many), every: Duration) -> Many {
    let next = AtomicU64::new(first);
    let end = first.saturating_add(count);
    let (sender, receiver) = mpsc::channel();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut many = Many::default();
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
        let mut told = Instant::now();
        for (seed, outcome) in receiver {
            many.take(seed, outcome);
            if told.elapsed() >= every {
                told = Instant::now();
                progress(&many);
            }
        }
    });
    many
}

impl Many {
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
