//! The plan for `null_blk` devices: created in configfs, one per namespace or one for all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Plan;
use crate::actual::Actual;
use crate::desired::{Desired, NullBlk, Storage, null_blk_device};
use crate::record::Record;
use crate::step::{Item, Step};

/// The devices of a configuration, by name.
pub(super) fn wanted(wanted: &Desired) -> BTreeMap<String, &NullBlk> {
    let namespaces = wanted.subsystems.values().flat_map(|subsystem| subsystem.namespaces.values());
    let devices = namespaces.filter_map(|namespace| match &namespace.storage {
        Storage::NullBlk(device) => Some((device.name.clone(), device)),
        Storage::RamDisk | Storage::Given(_) => None,
    });
    devices.collect()
}

/// Creates missing devices, and recreates devices with other properties: these can only be set before a device is
/// powered on.
pub(super) fn make(plan: &mut Plan, configuration: &Desired, observed: &Actual) {
    for (name, device) in wanted(configuration) {
        let item = Item::NullBlk(name.clone());
        let kind = if device.memory_backed { "in memory" } else { "keeping nothing" };
        let properties = format!("{} MiB, {kind}", device.size_mib);
        match observed.null_blk.get(&name) {
            None => plan.act(format!("device {name}: create, {properties}"), making(&item, device)),
            Some(seen) if (seen.size_mib, seen.memory_backed) != (device.size_mib, device.memory_backed) => {
                plan.act(
                    format!("device {name}: create again, {properties}; its data are lost"),
                    steps_to_recreate(&item, device, observed),
                );
            }
            Some(seen) if !seen.powered => {
                plan.act(format!("device {name}: switch on"), vec![Step::set(&item, "power", 1)]);
            }
            Some(_) => {}
        }
    }
}

fn making(item: &Item, device: &NullBlk) -> Vec<Step> {
    vec![
        Step::Make(item.clone()),
        Step::set(item, "size", device.size_mib),
        Step::set(item, "memory_backed", u8::from(device.memory_backed)),
        Step::set(item, "power", 1),
    ]
}

/// Recreates a device. Its namespaces release it in the meantime.
fn steps_to_recreate(item: &Item, device: &NullBlk, observed: &Actual) -> Vec<Step> {
    let path = device.device();
    let mut users = Vec::new();
    for (nqn, subsystem) in &observed.subsystems {
        let on_it = subsystem.namespaces.iter().filter(|(_, seen)| seen.enabled && seen.device.as_ref() == Some(&path));
        users.extend(on_it.map(|(nsid, _)| Item::Namespace(nqn.clone(), *nsid)));
    }
    let release = users.iter().map(|user| Step::set(user, "enable", 0));
    let retake = users.iter().map(|user| Step::set(user, "enable", 1));
    release.chain([Step::Remove(item.clone())]).chain(making(item, device)).chain(retake).collect()
}

/// Removes our devices that no namespace uses after the rest of the plan.
pub(super) fn remove_idle(plan: &mut Plan, configuration: &Desired, observed: &Actual, record: &Record) {
    let named: BTreeSet<String> = configuration.subsystems.keys().cloned().collect();
    let elsewhere: BTreeSet<&PathBuf> = observed.devices_elsewhere(&named);
    let kept = wanted(configuration);
    for name in record.null_blk.iter().filter(|name| observed.null_blk.contains_key(*name)) {
        if !kept.contains_key(name) && !elsewhere.contains(&null_blk_device(name)) {
            plan.act(format!("device {name}: remove"), vec![Step::Remove(Item::NullBlk(name.clone()))]);
        }
    }
}
