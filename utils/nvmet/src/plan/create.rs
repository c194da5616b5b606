//! The plan of `nvmet create`.
//!
//! The order is modules, devices, hosts, subsystems, ports, and finally the links between ports and subsystems, so that
//! no host sees an incomplete subsystem. Unused devices are removed at the very end.

use std::collections::BTreeSet;

use super::{Plan, Refusal, host, modules, null_blk, port, ram_disk, subsystem};
use crate::actual::{Actual, Given};
use crate::desired::{Desired, Storage};
use crate::record::Record;

/// Creates or changes the target as described. Anything that the configuration does not mention is left as it is.
///
/// # Errors
/// Returns [`Refusal`] if that would change something that is not ours, or cannot succeed.
pub fn create(wanted: &Desired, observed: &Actual, record: &Record) -> Result<Plan, Refusal> {
    refuse_foreign(wanted, observed, record)?;
    refuse_bad_devices(wanted, observed)?;
    let ram_disks = ram_disk::assign(wanted, observed, record)?;
    let mut plan = Plan::default();
    modules::load(&mut plan, wanted, observed, &ram_disks);
    null_blk::make(&mut plan, wanted, observed);
    host::make(&mut plan, wanted, observed, record)?;
    subsystem::make(&mut plan, wanted, observed, &ram_disks);
    port::make(&mut plan, wanted, observed);
    null_blk::remove_idle(&mut plan, wanted, observed, record);
    remarks(&mut plan, wanted, observed, record);
    Ok(plan)
}

fn refuse_foreign(wanted: &Desired, observed: &Actual, record: &Record) -> Result<(), Refusal> {
    let foreign = |id: &&u16| observed.ports.contains_key(id) && !record.ports.contains(id);
    if let Some(id) = wanted.ports.keys().find(foreign) {
        return Err(Refusal::ForeignPort(*id));
    }
    for (&id, port) in &wanted.ports {
        let mut others = observed.ports.iter().filter(|(other, _)| !wanted.ports.contains_key(other));
        if let Some((&other, _)) = others.find(|(_, seen)| port::listens_at(seen, &port.address)) {
            return Err(Refusal::AddressTaken { id, other, address: port.address.clone() });
        }
    }
    let foreign = |nqn: &&String| observed.subsystems.contains_key(*nqn) && !record.subsystems.contains(*nqn);
    if let Some(nqn) = wanted.subsystems.keys().find(foreign) {
        return Err(Refusal::ForeignSubsystem(nqn.clone()));
    }
    let foreign = |name: &&String| observed.null_blk.contains_key(*name) && !record.null_blk.contains(*name);
    match null_blk::wanted(wanted).keys().find(foreign) {
        Some(name) => Err(Refusal::ForeignNullBlk(name.clone())),
        None => Ok(()),
    }
}

fn refuse_bad_devices(wanted: &Desired, observed: &Actual) -> Result<(), Refusal> {
    for (nqn, subsystem) in &wanted.subsystems {
        for (&nsid, namespace) in &subsystem.namespaces {
            let Storage::Given(path) = &namespace.storage else { continue };
            let (nqn, path) = (nqn.clone(), path.clone());
            match observed.given.get(&path) {
                Some(Given::Ready) => {}
                Some(Given::InUse) => return Err(Refusal::DeviceInUse { nqn, nsid, path }),
                Some(Given::Missing) | None => return Err(Refusal::NoDevice { nqn, nsid, path }),
            }
        }
    }
    Ok(())
}

fn remarks(plan: &mut Plan, wanted: &Desired, observed: &Actual, record: &Record) {
    let exporting: BTreeSet<&u16> = wanted.subsystems.values().flat_map(|subsystem| &subsystem.ports).collect();
    for id in wanted.ports.keys().filter(|id| !exporting.contains(id)) {
        plan.notes
            .push(format!("port {id} exports nothing: the kernel does not listen there until a subsystem is linked"));
    }
    let ports = record.ports.iter().filter(|id| observed.ports.contains_key(id) && !wanted.ports.contains_key(id));
    let subsystems = record.subsystems.iter();
    let subsystems =
        subsystems.filter(|nqn| observed.subsystems.contains_key(*nqn) && !wanted.subsystems.contains_key(*nqn));
    let left: Vec<String> =
        ports.map(|id| format!("port {id}")).chain(subsystems.map(|nqn| format!("subsystem {nqn}"))).collect();
    if !left.is_empty() {
        let names = left.join(", ");
        plan.notes
            .push(format!("kept from an earlier create: {names}; `nvmet create -d` removes what is not in the file"));
    }
}
