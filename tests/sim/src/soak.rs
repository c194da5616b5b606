//! Runs both daemons for as long as wanted, in rounds. In each round targets fail and return, connections drop, the
//! administrator changes and reverts settings, and events are lost. Each round ends in the state in which it began, so
//! the memory of the cores must not have grown.

use std::time::Duration;

use crate::files::DcEntry;
use crate::invariants::Breach;
use crate::mdns_actions::MdnsAction;
use crate::names::{Daemon, Iface, Subsystem, Target};
use crate::plan::{Edit, Fault, Outage, Plan, What};
use crate::rng::Rng;
use crate::world::{QueuedEvent, World};

/// Number of actions in a round. Each is followed by its reverse.
const ACTIONS: usize = 12;
/// A round that does not reach its final state within this time shows a bug that other tests report.
const SETTLE_LIMIT: Duration = Duration::from_secs(3600);
/// Longer than any timer of the cores that may be set at the end of a round.
const QUIET: Duration = Duration::from_secs(1200);

/// The state after a round.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Number of events that stafd's core has handled.
    pub stafd_events: u64,
    /// Number of events that stacd's core has handled.
    pub stacd_events: u64,
    /// Size of stafd's core, as the length of its debug text in bytes.
    pub stafd: usize,
    /// Size of stacd's core, as the length of its debug text in bytes.
    pub stacd: usize,
}

/// Plays rounds until each core has handled this many events, and measures after each.
///
/// # Errors
/// Returns the invariant that was broken.
pub fn play_rounds(seed: u64, events: u64) -> Result<Vec<Measure>, Breach> {
    let mut plan = Plan::new(seed);
    plan.actions.clear();
    let mut rng = Rng::new(seed, "endurance");
    let mut world = World::new(plan.clone(), false);
    let mut measures = Vec::new();
    while world.events.0.min(world.events.1) < events {
        let mut at = world.now + Duration::from_secs(1);
        for _ in 0..ACTIONS {
            let [action, back] = action(&mut rng, &plan);
            let pause = rng.ms(10, 15_000);
            world.at(at, QueuedEvent::Action(action));
            world.at(at + pause, QueuedEvent::Action(back));
            at += pause + rng.ms(0, 2_000);
        }
        // Two overlapping actions may have left a different state: restore the initial one.
        at += Duration::from_secs(2);
        for (number, site) in plan.initial.targets.iter().enumerate() {
            for subsystem in (0..plan.initial.subsystems).map(Subsystem) {
                let on = site.exports.contains(&subsystem);
                world.at(at, QueuedEvent::Export(Target(number), subsystem, on));
            }
        }
        settle(&mut world, at);
        if let Some(breach) = world.breach.take() {
            return Err(breach);
        }
        let [stafd, stacd] = world.text_of_cores();
        measures.push(Measure { stafd_events: world.events.0, stacd_events: world.events.1, stafd, stacd });
    }
    Ok(measures)
}

fn settle(world: &mut World, from: Duration) {
    world.run_until(from);
    while world.breach.is_none() && world.deviation().is_some() && world.now < from + SETTLE_LIMIT {
        world.run_until(world.now + Duration::from_secs(5));
    }
    world.run_until(world.now + QUIET);
}

/// An action and its reverse.
fn action(rng: &mut Rng, plan: &Plan) -> [What; 2] {
    let target = Target(rng.below(plan.initial.targets.len()));
    let other = Target(rng.below(plan.initial.targets.len()));
    let subsystem = Subsystem(rng.below(plan.initial.subsystems));
    let daemon = Daemon::BOTH[rng.below(2)];
    let twice = |what: What| [what.clone(), what];
    let time = rng.ms(50, 8_000);
    match rng.below(16) {
        0..=2 => twice(What::Exports(target, subsystem)),
        3 => twice(What::Zones(target, (other, subsystem))),
        4 if target != other => twice(What::Refers(target, other)),
        4 | 5 => twice(What::Edits(Edit::Dc(DcEntry::Address(target, None)), true)),
        6 => twice(What::Edits(Edit::Exclude((Some(target), Some(subsystem))), true)),
        7 => twice(What::Edits(Edit::Controller(target, subsystem, None), true)),
        8 => [What::DropsConnections(target), What::Reloads(daemon)],
        9 => {
            let how = [Outage::Refuses, Outage::Drops, Outage::Reboots][rng.below(3)];
            [What::Fails(target, how, time), What::RouteAdded]
        }
        10 => [What::DisconnectsByHand(rng.below(16)), What::Discovers(target)],
        11 => {
            let faults = [
                Fault::EventsLost(daemon),
                Fault::EventsDoubled(daemon),
                Fault::EventsOverrun(daemon),
                Fault::BusFails,
            ];
            [What::Fault(faults[rng.below(4)], time), What::DropsConnections(target)]
        }
        12..=14 => {
            let all: Vec<Target> = plan.initial.announced.keys().copied().collect();
            let Some(target) = all.get(rng.below(all.len())).copied() else {
                return twice(What::Edits(Edit::Zeroconf, true));
            };
            let turns = MdnsAction::Toggles(target);
            let announcing = match rng.below(4) {
                0 => [turns.clone(), turns],
                1 => [MdnsAction::LeavesAndReturns(target, time), MdnsAction::FallsSilent(target, time)],
                2 => [
                    MdnsAction::LosesInterface(Iface::ALL[rng.below(2)], time),
                    MdnsAction::LeavesAndReturns(target, time),
                ],
                _ => [MdnsAction::Flood(1 + rng.below(20), Some(time)), MdnsAction::LeavesAndReturns(target, time)],
            };
            announcing.map(What::MdnsAction)
        }
        _ => [What::Storm(target, subsystem, 3, Duration::from_millis(200)), What::ListsNothing(other, time)],
    }
}

impl World {
    /// The lengths of the debug texts of both cores, without the list of removed controllers: it contains each
    /// controller once and has a limit of its own.
    fn text_of_cores(&self) -> [usize; 2] {
        let removed = self.staf.core.as_ref().map(stafd::finder::Finder::removed).unwrap_or_default();
        let removed: usize = removed.iter().map(|removed| format!("{:?}: {removed:?}, ", removed.dc).len()).sum();
        [format!("{:?}", self.staf.core).len() - removed, format!("{:?}", self.stac.core).len()]
    }
}
