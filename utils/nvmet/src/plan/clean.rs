//! The plan of `nvmet clean`: removes what the record lists, and nothing else.
//!
//! The kernel determines the order: ports before the subsystems that they export, subsystems before their hosts and
//! devices, and modules last, the target core as the very last.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Plan, port, subsystem};
use crate::actual::{self, Actual};
use crate::desired::null_blk_device;
use crate::module::Module;
use crate::record::Record;
use crate::step::{Item, Link, Step};

/// Removes everything in the record that exists.
#[must_use]
pub fn clean(observed: &Actual, record: &Record) -> Plan {
    let mut plan = Plan::default();
    for (&id, seen) in observed.ports.iter().filter(|(id, _)| record.ports.contains(id)) {
        plan.act(format!("port {id}: remove"), port::remove(id, seen));
    }
    for (nqn, seen) in observed.subsystems.iter().filter(|(nqn, _)| record.subsystems.contains(*nqn)) {
        withdraw_everywhere(&mut plan, nqn, observed, record);
        plan.act(format!("subsystem {nqn}: remove"), remove_subsystem(nqn, seen));
    }
    remove_hosts(&mut plan, observed, record);
    remove_devices(&mut plan, observed, record);
    for module in record.modules.iter().rev().filter(|module| observed.modules.contains(module)) {
        plan.act(format!("module {}: unload", module.name()), vec![Step::Unload(*module)]);
    }
    plan
}

/// The state after everything in the record was removed: the result of [`clean`].
#[must_use]
pub fn cleaned(mut observed: Actual, record: &Record) -> Actual {
    let kept_hosts: BTreeSet<String> = observed.admitted_elsewhere(&record.subsystems).into_iter().cloned().collect();
    let kept_devices: BTreeSet<PathBuf> = observed.devices_elsewhere(&record.subsystems).into_iter().cloned().collect();
    observed.ports.retain(|id, _| !record.ports.contains(id));
    observed.ports.values_mut().for_each(|port| port.exports.retain(|nqn| !record.subsystems.contains(nqn)));
    observed.subsystems.retain(|nqn, _| !record.subsystems.contains(nqn));
    observed.hosts.retain(|nqn, _| !record.hosts.contains(nqn) || kept_hosts.contains(nqn));
    observed
        .null_blk
        .retain(|name, _| !record.null_blk.contains(name) || kept_devices.contains(&null_blk_device(name)));
    observed.modules.retain(|module| !record.modules.contains(module));
    if record.modules.contains(&Module::Brd) {
        observed.ram_disks.clear();
    }
    observed
}

/// Removes the links to our subsystem from ports that we did not create. These ports are kept.
fn withdraw_everywhere(plan: &mut Plan, nqn: &str, observed: &Actual, record: &Record) {
    let others = observed.ports.iter().filter(|(id, seen)| !record.ports.contains(id) && seen.exports.contains(nqn));
    for (&id, _) in others {
        plan.act(format!("port {id}, which is not ours: stop exporting {nqn}"), vec![port::unlink(id, nqn)]);
    }
}

fn remove_subsystem(nqn: &str, seen: &actual::Subsystem) -> Vec<Step> {
    let admission = |host: &String| Link::Admission { nqn: nqn.to_owned(), host: host.clone() };
    let hosts = seen.hosts.iter().map(|host| Step::Unlink(admission(host)));
    let namespaces = seen.namespaces.iter().flat_map(|(nsid, seen)| subsystem::remove_namespace(nqn, *nsid, seen));
    hosts.chain(namespaces).chain([Step::Remove(Item::Subsystem(nqn.to_owned()))]).collect()
}

fn remove_hosts(plan: &mut Plan, observed: &Actual, record: &Record) {
    let needed = observed.admitted_elsewhere(&record.subsystems);
    for nqn in observed.hosts.keys().filter(|nqn| record.hosts.contains(*nqn)) {
        if needed.contains(nqn) {
            plan.notes.push(format!("host {nqn} is kept: a subsystem that nvmet did not create admits it"));
        } else {
            plan.act(format!("host {nqn}: remove"), vec![Step::Remove(Item::Host(nqn.clone()))]);
        }
    }
}

fn remove_devices(plan: &mut Plan, observed: &Actual, record: &Record) {
    let needed = observed.devices_elsewhere(&record.subsystems);
    for name in observed.null_blk.keys().filter(|name| record.null_blk.contains(*name)) {
        if needed.contains(&null_blk_device(name)) {
            plan.notes.push(format!("device {name} is kept: a subsystem that nvmet did not create uses it"));
        } else {
            plan.act(format!("device {name}: remove"), vec![Step::Remove(Item::NullBlk(name.clone()))]);
        }
    }
}
