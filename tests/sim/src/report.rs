//! The printed reports of runs.

use std::fmt::Write;

use crate::display::seconds;
use crate::files::DcEntry;
use crate::invariants::Breach;
use crate::names::{Subsystem, Target, by};
use crate::plan::{Edit, Plan};
use crate::run::{self, Outcome, Summary};

/// The initial world of a plan, and the events of its run.
#[must_use]
pub fn trace(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = format!("seed {}\n{}", plan.seed, initial_world(plan));
    for line in &outcome.trace {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "final state reached {} after the faults ended", seconds(outcome.settled_after));
    text
}

/// The violated invariant, the events of the smallest failing plan, and the command that repeats it.
#[must_use]
pub fn failure(plan: &Plan, breach: &Breach) -> String {
    let smallest = run::shrink(plan, None, breach.invariant);
    let outcome = run::play(&smallest, true);
    let mut text = format!(
        "seed {} violates an invariant: {}.\n\nThe smallest plan that violates it, with {} of {} actions:\n{}",
        plan.seed,
        breach.invariant.words(),
        smallest.actions.len(),
        plan.actions.len(),
        initial_world(&smallest)
    );
    for line in &outcome.trace {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\nTo repeat it: make sim SEED={}", plan.seed);
    text
}

/// The results of many runs in one line.
#[must_use]
pub fn summary(many: &Summary) -> String {
    let (slowest, seed) = many.slowest;
    let mut text = format!(
        "{} seeds, {} events, {} connections left without an owner by a kill; the slowest reached its final state {} \
         after the faults ended (seed {seed}); {} failed",
        many.played,
        many.events,
        many.orphans,
        seconds(slowest),
        many.failed.len()
    );
    for (seed, breach) in many.failed.iter().take(20) {
        let _ = write!(text, "\n  seed {seed} at {}: {:?}: {}", seconds(breach.at), breach.invariant, breach.text);
    }
    text
}

fn initial_world(plan: &Plan) -> String {
    let initial = &plan.initial;
    let mut text = String::new();
    for (number, site) in initial.targets.iter().enumerate() {
        let exports: Vec<String> = site.exports.iter().map(Subsystem::to_string).collect();
        let zoned: Vec<String> = site.zoned.iter().map(|(at, subsystem)| format!("{subsystem} at {at}")).collect();
        let refers: Vec<String> = site.refers.iter().map(Target::to_string).collect();
        let _ = writeln!(
            text,
            "{} exports [{}], also lists [{}], refers to [{}]",
            Target(number),
            exports.join(", "),
            zoned.join(", "),
            refers.join(", ")
        );
    }
    let names: Vec<String> = initial.names.iter().map(Target::to_string).collect();
    let dcs: Vec<String> = initial.staf.controllers.iter().map(DcEntry::to_string).collect();
    let controllers =
        initial.stac.controllers.iter().map(|(target, subsystem, via)| format!("{subsystem} at {target}{}", by(*via)));
    let controllers: Vec<String> = controllers.collect();
    let in_use: Vec<String> = initial.in_use.iter().map(Subsystem::to_string).collect();
    let _ = writeln!(
        text,
        "host names lead to [{}]{}; stafd.conf lists [{}], persistent-connections={}, zeroconf={}; {}",
        names.join(", "),
        if initial.stale_addresses { "; each answer begins with a stale address" } else { "" },
        dcs.join(", "),
        initial.staf.persistent,
        initial.staf.zeroconf,
        Edit::Persistence(initial.staf.persistence)
    );
    let announced = initial.announced.iter().map(|(target, on)| {
        let on: Vec<&str> = on.iter().map(|iface| iface.name()).collect();
        format!("the DC of {target} on {}", on.join(" and "))
    });
    let connected =
        initial.boot.connected.iter().map(|(at, subsystem, via)| format!("{subsystem} at {at}{}", by(*via)));
    let records = initial.boot.discovery.iter().map(|(target, via)| format!("the DC of {target}{}", by(*via)));
    let _ = writeln!(
        text,
        "announced: [{}]; the firmware has connected [{}]; the boot table lists [{}]",
        announced.collect::<Vec<_>>().join(", "),
        connected.collect::<Vec<_>>().join(", "),
        records.collect::<Vec<_>>().join(", ")
    );
    let _ = writeln!(
        text,
        "stacd.conf lists [{}], disconnect-scope {:?}, in-use {:?}; mounted: [{}]; swap on {}; ctrl-loss-tmo {}; the kernel gives \
         up after a refusal: {}",
        controllers.join(", "),
        initial.stac.scope,
        initial.stac.in_use,
        in_use.join(", "),
        initial.system.map_or_else(|| "nothing".to_owned(), |subsystem| subsystem.to_string()),
        seconds(initial.ctrl_loss),
        initial.refusal_is_final
    );
    text
}
