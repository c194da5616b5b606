//! Further actions: other programs connect through an interface, the administrator excludes interfaces and address
//! families and reverts that, parameters are refused, disconnects hang, log pages have damaged entries, routes change.
//! They use random streams of their own, so that the rest of a plan does not change.

use std::time::Duration;

use crate::mdns_actions::MdnsAction;
use crate::names::{Daemon, Iface, Subsystem, Target};
use crate::plan::{self, Action, Defect, Edit, EntryOf, Fault, InitialWorld, What};
use crate::rng::Rng;

/// Percentage of the plans that have such actions.
const SHARE: usize = 50;
/// Maximum number of these actions in a plan.
const MOST: usize = 8;

/// The further actions of a plan.
pub(crate) fn actions(initial: &InitialWorld, seed: u64) -> Vec<Action> {
    series(seed, "wider", |rng| what(rng, initial))
}

/// Actions that were added to the simulated world after [`actions`].
pub(crate) fn further_actions(initial: &InitialWorld, seed: u64) -> Vec<Action> {
    series(seed, "further", |rng| match rng.below(12) {
        0..=2 => {
            let exclude = Edit::ExcludeIface(Daemon::BOTH[rng.below(2)], Iface::ALL[rng.below(2)]);
            edit(rng, exclude)
        }
        3..=6 => What::OtherClaims(rng.below(8)),
        7 => What::OtherDisconnects(rng.below(8)),
        _ => {
            let target = Target(rng.below(initial.targets.len()));
            let subsystem = Subsystem(rng.below(initial.subsystems));
            let defect = Defect::OTHERS[rng.below(Defect::OTHERS.len())];
            What::DamagesEntry(target, EntryOf::Subsystem(subsystem), defect, time(rng))
        }
    })
}

/// Actions that were added after [`further_actions`]: damaged referrals, another host ID, ignore-iface.
pub(crate) fn latest_actions(initial: &InitialWorld, seed: u64) -> Vec<Action> {
    series(seed, "latest", |rng| {
        let target = Target(rng.below(initial.targets.len()));
        let other = Target(rng.below(initial.targets.len()));
        match rng.below(10) {
            0..=2 if target != other => What::Refers(target, other),
            3..=6 => {
                let defect = Defect::OF_REFERRAL[rng.below(Defect::OF_REFERRAL.len())];
                What::DamagesEntry(target, EntryOf::Dc(other), defect, time(rng))
            }
            7 => edit(rng, Edit::IgnoreIface),
            8 => What::ReplacesHostId(u8::try_from(rng.below(3)).unwrap_or_default()),
            _ => What::Reloads(Daemon::BOTH[rng.below(2)]),
        }
    })
}

/// What stas-net does: it lies about portals, ends, or is away for a time.
pub(crate) fn actions_of_stas_net(seed: u64) -> Vec<Action> {
    series(seed, "stas-net", |rng| match rng.below(4) {
        0 | 1 => What::Fault(Fault::ProbesLie, rng.ms(5_000, 60_000)),
        2 => What::Fault(Fault::ProbesUnknown, rng.ms(1_000, 60_000)),
        _ => What::MdnsAction(MdnsAction::Interrupts(rng.ms(50, 40_000))),
    })
}

/// The routes change; afterwards a target often drops its connections, which then come from another address.
pub(crate) fn changes_of_routes(initial: &InitialWorld, seed: u64) -> Vec<Action> {
    series(seed, "routes", |rng| match rng.below(2) {
        0 => What::RoutesChange,
        _ => What::DropsConnections(Target(rng.below(initial.targets.len()))),
    })
}

/// Some actions from a random stream of their own, or none.
fn series(seed: u64, stream: &'static str, mut what: impl FnMut(&mut Rng) -> What) -> Vec<Action> {
    let mut rng = Rng::new(seed, stream);
    if !rng.percent(SHARE) {
        return Vec::new();
    }
    let mut at = rng.ms(0, 20_000);
    let mut actions = Vec::new();
    for _ in 0..1 + rng.below(MOST) {
        actions.push(Action { at, what: what(&mut rng) });
        at += if rng.percent(50) { rng.ms(0, 1_500) } else { rng.ms(1_500, 30_000) };
    }
    actions
}

fn what(rng: &mut Rng, initial: &InitialWorld) -> What {
    let target = Target(rng.below(initial.targets.len()));
    let subsystem = Subsystem(rng.below(initial.subsystems));
    let daemon = Daemon::BOTH[rng.below(2)];
    let iface = Iface::ALL[rng.below(2)];
    let via = [None, Some(iface), Some(iface)][rng.below(3)];
    match rng.below(24) {
        20.. => {
            let defect = Defect::OF_ADDRESS[rng.below(Defect::OF_ADDRESS.len())];
            What::DamagesEntry(target, EntryOf::Subsystem(subsystem), defect, time(rng))
        }
        0..=6 => What::ConnectsByHand(target, subsystem, via),
        7..=8 => What::ConnectsDcByHand(target, via),
        9..=13 => edit(rng, Edit::Family(daemon)),
        14 => edit(rng, Edit::Trtypes),
        15 => {
            let scope = Edit::Scope(plan::scope(rng));
            edit(rng, scope)
        }
        16..=17 => What::EditsAndReverts(Edit::Parameters(daemon), time(rng)),
        18..=19 => What::Fault(Fault::DisconnectHangs, rng.ms(100, 10_000)),
    }
}

/// An edit, which is reverted in two of three cases.
fn edit(rng: &mut Rng, edit: Edit) -> What {
    if rng.below(3) == 0 { What::Edits(edit, rng.percent(85)) } else { What::EditsAndReverts(edit, time(rng)) }
}

fn time(rng: &mut Rng) -> Duration {
    if rng.percent(50) { rng.ms(1, 1_500) } else { rng.ms(1_500, 40_000) }
}
