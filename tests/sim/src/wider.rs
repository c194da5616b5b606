//! Further actions: other programs connect through an interface, the administrator excludes interfaces and address
//! families and reverts that, parameters are refused, disconnects hang, log pages have damaged entries. They use random
//! streams of their own, so that the rest of a plan does not change.

use std::time::Duration;

use crate::names::{Daemon, Iface, Subsystem, Target};
use crate::plan::{self, Action, Edit, Fault, InitialWorld, UnclearEntries, What};
use crate::rng::Rng;

/// Percentage of the plans that have such actions.
const SHARE: usize = 50;
/// Maximum number of these actions in a plan.
const MOST: usize = 8;

/// The further actions of a plan.
pub(crate) fn deeds(land: &InitialWorld, seed: u64) -> Vec<Action> {
    let mut dice = Rng::new(seed, "wider");
    if !dice.percent(SHARE) {
        return Vec::new();
    }
    let mut deeds = Vec::new();
    let mut at = dice.ms(0, 20_000);
    for _ in 0..1 + dice.below(MOST) {
        deeds.push(Action { at, what: what(&mut dice, land) });
        at += if dice.percent(50) { dice.ms(0, 1_500) } else { dice.ms(1_500, 30_000) };
    }
    deeds
}

/// Actions that were added to the simulated world after [`deeds`].
pub(crate) fn further_deeds(land: &InitialWorld, seed: u64) -> Vec<Action> {
    let mut dice = Rng::new(seed, "further");
    if !dice.percent(SHARE) {
        return Vec::new();
    }
    let mut at = dice.ms(0, 20_000);
    let mut deeds = Vec::new();
    for _ in 0..1 + dice.below(MOST) {
        let what = match dice.below(12) {
            0..=2 => {
                let exclude = Edit::ExcludeIface(Daemon::BOTH[dice.below(2)], Iface::ALL[dice.below(2)]);
                edit(&mut dice, exclude)
            }
            3..=6 => What::OtherClaims(dice.below(8)),
            7 => What::OtherDisconnects(dice.below(8)),
            _ => {
                let target = Target(dice.below(land.targets.len()));
                let subsystem = Subsystem(dice.below(land.subsystems));
                let blur = UnclearEntries::OTHERS[dice.below(UnclearEntries::OTHERS.len())];
                What::Blurs(target, subsystem, blur, time(&mut dice))
            }
        };
        deeds.push(Action { at, what });
        at += if dice.percent(50) { dice.ms(0, 1_500) } else { dice.ms(1_500, 30_000) };
    }
    deeds
}

fn what(dice: &mut Rng, land: &InitialWorld) -> What {
    let target = Target(dice.below(land.targets.len()));
    let subsystem = Subsystem(dice.below(land.subsystems));
    let daemon = Daemon::BOTH[dice.below(2)];
    let iface = Iface::ALL[dice.below(2)];
    let via = [None, Some(iface), Some(iface)][dice.below(3)];
    match dice.below(24) {
        20.. => {
            let blur = UnclearEntries::OF_ADDRESS[dice.below(UnclearEntries::OF_ADDRESS.len())];
            What::Blurs(target, subsystem, blur, time(dice))
        }
        0..=6 => What::ConnectsByHand(target, subsystem, via),
        7..=8 => What::ConnectsDcByHand(target, via),
        9..=13 => edit(dice, Edit::Family(daemon)),
        14 => edit(dice, Edit::Trtypes),
        15 => {
            let scope = Edit::Scope(plan::scope(dice));
            edit(dice, scope)
        }
        16..=17 => What::EditsAndReverts(Edit::Parameters(daemon), time(dice)),
        18..=19 => What::Fault(Fault::DisconnectHangs, dice.ms(100, 10_000)),
    }
}

/// An edit, which is reverted in two of three cases.
fn edit(dice: &mut Rng, edit: Edit) -> What {
    if dice.below(3) == 0 { What::Edits(edit, dice.percent(85)) } else { What::EditsAndReverts(edit, time(dice)) }
}

fn time(dice: &mut Rng) -> Duration {
    if dice.percent(50) { dice.ms(1, 1_500) } else { dice.ms(1_500, 40_000) }
}
