//! Performs plans on a model of the kernel, for any wanted configuration and any initial state.

#![allow(clippy::unwrap_used)]

mod model;

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::Model;
use model::worlds::{configuration, empty, inhabited};
use nvmet::actual::Actual;
use nvmet::desired::{Access, Desired};
use nvmet::plan::{self, Plan, Refusal};
use nvmet::record::Record;
use nvmet::step::Step;
use proptest::collection::vec;
use proptest::prelude::*;

/// Performs the first steps of a plan, and records them as the tool does.
fn carry_out(model: &mut Model, record: &mut Record, plan: &Plan, steps: usize) {
    for step in plan.steps().take(steps) {
        model.apply(step).unwrap_or_else(|rule| panic!("{rule}"));
        record.claim([step]);
    }
    record.retain_existing(&model.seen);
}

fn create(model: &mut Model, record: &mut Record, wanted: &Desired) -> Result<Plan, Refusal> {
    let plan = plan::create(wanted, &model.seen, record)?;
    carry_out(model, record, &plan, usize::MAX);
    Ok(plan)
}

fn clean(model: &mut Model, record: &mut Record) {
    let plan = plan::clean(&model.seen, record);
    carry_out(model, record, &plan, usize::MAX);
}

/// The items of other tools, without anything that also belongs to us.
fn of_others(seen: &Actual, record: &Record) -> Actual {
    let mut theirs = seen.clone();
    theirs.ports.retain(|id, _| !record.ports.contains(id));
    theirs.ports.values_mut().for_each(|port| port.exports.retain(|nqn| !record.subsystems.contains(nqn)));
    theirs.subsystems.retain(|nqn, _| !record.subsystems.contains(nqn));
    theirs.hosts.retain(|nqn, _| !record.hosts.contains(nqn));
    theirs.null_blk.retain(|name, _| !record.null_blk.contains(name));
    theirs.modules.retain(|module| !record.modules.contains(module));
    theirs.ram_disks.clear();
    theirs
}

/// Checks that the kernel matches the configuration, independently of the planner.
fn is_met(wanted: &Desired, seen: &Actual) {
    for (id, port) in &wanted.ports {
        let found = &seen.ports[id];
        assert_eq!(found.attributes.get("addr_trsvcid"), port.address.trsvcid.map(|it| it.to_string()).as_ref());
        assert!(found.referrals.keys().eq(port.referrals.keys()) && found.referrals.values().all(|it| it.enabled));
        for (nqn, subsystem) in &wanted.subsystems {
            assert_eq!(found.exports.contains(nqn), subsystem.ports.contains(id), "{nqn} on {id}");
        }
    }
    for (nqn, subsystem) in &wanted.subsystems {
        let found = &seen.subsystems[nqn];
        assert_eq!(found.any_host, subsystem.access == Access::Anyone);
        let namespaces = &found.namespaces;
        assert!(namespaces.keys().eq(subsystem.namespaces.keys()) && namespaces.values().all(|it| it.enabled));
    }
    let devices = seen.subsystems.values().flat_map(|it| it.namespaces.values()).filter_map(|it| it.device.as_ref());
    let ram_disks: Vec<&PathBuf> = devices.filter(|it| it.to_string_lossy().starts_with("/dev/ram")).collect();
    let distinct: BTreeSet<&&PathBuf> = ram_disks.iter().collect();
    assert_eq!(distinct.len(), ram_disks.len(), "no two namespaces share a RAM disk");
}

/// The ports that export a subsystem.
fn exporting<'a>(seen: &'a Actual, nqn: &str) -> Vec<&'a u16> {
    seen.ports.iter().filter(|(_, port)| port.exports.contains(nqn)).map(|(id, _)| id).collect()
}

/// Checks that everything that the configuration does not mention is unchanged.
fn leaves_the_rest(wanted: &Desired, before: &Actual, after: &Actual) {
    for (nqn, subsystem) in before.subsystems.iter().filter(|(nqn, _)| !wanted.subsystems.contains_key(*nqn)) {
        assert_eq!(after.subsystems.get(nqn), Some(subsystem));
        assert_eq!(exporting(after, nqn), exporting(before, nqn), "{nqn}");
    }
    for (id, port) in before.ports.iter().filter(|(id, _)| !wanted.ports.contains_key(id)) {
        assert_eq!(after.ports.get(id), Some(port));
    }
}

/// Links our subsystems to ports of other tools, as `nvmet link` may do at any time.
fn export_ours_on_their_ports(model: &mut Model, record: &mut Record) {
    let ours = record.subsystems.clone();
    let theirs: Vec<u16> = model.seen.ports.keys().filter(|id| !record.ports.contains(id)).copied().collect();
    for port in theirs {
        for nqn in &ours {
            let link = plan::link(&model.seen, port, nqn).unwrap();
            carry_out(model, record, &link, usize::MAX);
        }
    }
}

proptest! {
    #[test]
    fn create_leads_to_what_is_wanted_and_then_has_nothing_to_do(
        start in prop_oneof![Just(empty()), inhabited()],
        configurations in vec(configuration(), 1..4),
    ) {
        let (mut model, mut record) = (start, Record::default());
        for wanted in &configurations {
            let before = model.clone();
            if create(&mut model, &mut record, wanted).is_ok() {
                is_met(wanted, &model.seen);
                leaves_the_rest(wanted, &before.seen, &model.seen);
                let again = plan::create(wanted, &model.seen, &record).unwrap();
                prop_assert_eq!(again.actions, vec![]);
            } else {
                prop_assert_eq!(&before, &model);
            }
        }
    }

    #[test]
    fn nothing_of_others_is_ever_changed(start in inhabited(), configurations in vec(configuration(), 1..4)) {
        let (mut model, mut record) = (start.clone(), Record::default());
        for wanted in &configurations {
            let _ = create(&mut model, &mut record, wanted);
            prop_assert_eq!(of_others(&model.seen, &record), of_others(&start.seen, &record));
        }
        export_ours_on_their_ports(&mut model, &mut record);
        clean(&mut model, &mut record);
        prop_assert_eq!(of_others(&model.seen, &record), of_others(&start.seen, &record));
        prop_assert!(record.ports.is_empty() && record.subsystems.is_empty() && record.null_blk.is_empty());
    }

    #[test]
    fn clean_leaves_the_machine_as_it_was(configurations in vec(configuration(), 1..4)) {
        let (mut model, mut record) = (empty(), Record::default());
        for wanted in &configurations {
            let _ = create(&mut model, &mut record, wanted);
        }
        let predicted = plan::cleaned(model.seen.clone(), &record);
        clean(&mut model, &mut record);
        prop_assert_eq!(&model.seen, &predicted);
        prop_assert_eq!(&model, &empty());
        prop_assert!(record.is_empty());
    }

    #[test]
    fn a_create_that_breaks_off_is_cleaned_or_completed(
        first in configuration(),
        second in configuration(),
        steps in 0_usize..80,
        complete in any::<bool>(),
    ) {
        let (mut model, mut record) = (empty(), Record::default());
        let _ = create(&mut model, &mut record, &first);
        if let Ok(plan) = plan::create(&second, &model.seen, &record) {
            carry_out(&mut model, &mut record, &plan, steps);
        }
        if complete {
            if create(&mut model, &mut record, &second).is_ok() {
                is_met(&second, &model.seen);
            }
        } else {
            clean(&mut model, &mut record);
            prop_assert_eq!(&model, &empty());
        }
    }

    #[test]
    fn a_clean_that_breaks_off_is_completed_by_the_next(wanted in configuration(), steps in 0_usize..80) {
        let (mut model, mut record) = (empty(), Record::default());
        let _ = create(&mut model, &mut record, &wanted);
        let plan = plan::clean(&model.seen, &record);
        carry_out(&mut model, &mut record, &plan, steps);
        clean(&mut model, &mut record);
        prop_assert_eq!(&model, &empty());
    }

    #[test]
    fn namespaces_keep_their_ram_disks(wanted in configuration(), more in configuration()) {
        let (mut model, mut record) = (empty(), Record::default());
        if create(&mut model, &mut record, &wanted).is_err() {
            return Ok(());
        }
        let before = model.seen.clone();
        let mut both = more;
        both.brd = wanted.brd;
        both.subsystems.extend(wanted.subsystems.clone());
        both.ports.clone_from(&wanted.ports);
        both.subsystems.values_mut().for_each(|subsystem| subsystem.ports.clear());
        if create(&mut model, &mut record, &both).is_ok() {
            for nqn in wanted.subsystems.keys() {
                prop_assert_eq!(&model.seen.subsystems[nqn].namespaces, &before.subsystems[nqn].namespaces);
            }
        }
    }

    #[test]
    fn no_line_of_a_plan_holds_a_key(wanted in configuration()) {
        if let Ok(plan) = plan::create(&wanted, &empty().seen, &Record::default()) {
            let lines: Vec<String> = plan.steps().map(|step| step.shell("/".as_ref())).collect();
            prop_assert!(!lines.join("\n").contains("DHHC"));
            let debug = format!("{plan:?}");
            prop_assert!(!debug.contains("DHHC"));
        }
    }
}

#[test]
fn a_subsystem_is_complete_before_it_is_exported() {
    let wanted = nvmet::config::parse("built-in", nvmet::config::BUILT_IN).unwrap();
    let plan = plan::create(&wanted, &empty().seen, &Record::default()).unwrap();
    let steps: Vec<&Step> = plan.steps().collect();
    let first_link = steps.iter().position(|step| matches!(step, Step::Link(_))).unwrap();
    assert!(steps[first_link..].iter().all(|step| matches!(step, Step::Link(_))));
}

#[test]
fn link_and_unlink_do_only_that() {
    let wanted = nvmet::config::parse("built-in", nvmet::config::BUILT_IN).unwrap();
    let (mut model, mut record) = (empty(), Record::default());
    create(&mut model, &mut record, &wanted).unwrap();
    let full = model.clone();
    let unlink = plan::unlink(&model.seen, 1, "klingons").unwrap();
    carry_out(&mut model, &mut record, &unlink, usize::MAX);
    assert!(!model.seen.ports[&1].exports.contains("klingons"));
    assert_eq!(plan::unlink(&model.seen, 1, "klingons").unwrap().actions, vec![]);
    let link = plan::link(&model.seen, 1, "klingons").unwrap();
    carry_out(&mut model, &mut record, &link, usize::MAX);
    assert_eq!(model, full);
    assert!(matches!(plan::link(&model.seen, 2, "klingons"), Err(Refusal::NoPort(2, _))));
    assert!(matches!(plan::link(&model.seen, 1, "romulans"), Err(Refusal::NoSubsystem(..))));
}
