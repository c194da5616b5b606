//! The modules that a configuration needs.

use std::collections::BTreeSet;

use super::Plan;
use super::ram_disk::RamDisks;
use crate::actual::Actual;
use crate::desired::{Desired, Storage};
use crate::module::Module;
use crate::step::Step;

/// Loads the modules that are needed and not loaded.
pub(super) fn load(plan: &mut Plan, wanted: &Desired, observed: &Actual, ram_disks: &RamDisks) {
    for module in needed(wanted).difference(&observed.modules) {
        let parameters = match module {
            // Devices are created in configfs. Without this parameter the module creates one itself.
            Module::NullBlk => vec!["nr_devices=0".to_owned()],
            Module::Brd => ram_disks.parameters.clone(),
            _ => Vec::new(),
        };
        plan.act(format!("module {}: load", module.name()), vec![Step::Load(*module, parameters)]);
    }
}

fn needed(wanted: &Desired) -> BTreeSet<Module> {
    let transports = wanted.ports.values().map(|port| Module::of_transport(port.address.transport));
    let namespaces = wanted.subsystems.values().flat_map(|subsystem| subsystem.namespaces.values());
    let storage = namespaces.filter_map(|namespace| match namespace.storage {
        Storage::RamDisk => Some(Module::Brd),
        Storage::NullBlk(_) => Some(Module::NullBlk),
        Storage::Given(_) => None,
    });
    transports.chain(storage).chain([Module::Nvmet]).collect()
}
