//! The plan for subsystems: their namespaces, and the hosts that they admit.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::ram_disk::RamDisks;
use super::{Plan, counted};
use crate::actual::{self, Actual};
use crate::desired::{Access, Desired, Namespace, Storage, Subsystem};
use crate::identity::Identifier;
use crate::step::{Item, Link, Step};

/// Creates missing subsystems, and changes existing ones.
pub(super) fn make(plan: &mut Plan, wanted: &Desired, observed: &Actual, ram_disks: &RamDisks) {
    for (nqn, subsystem) in &wanted.subsystems {
        let item = Item::Subsystem(nqn.clone());
        let seen = observed.subsystems.get(nqn);
        let mut steps = Vec::new();
        if seen.is_none() {
            steps.push(Step::Make(item.clone()));
        }
        let fresh = actual::Subsystem::default();
        let found = seen.unwrap_or(&fresh);
        steps.extend(access(&item, nqn, &subsystem.access, found));
        steps.extend(namespaces(nqn, subsystem, found, ram_disks));
        let verb = if seen.is_some() { "change to" } else { "create with" };
        let who = match &subsystem.access {
            Access::Anyone => "any host".to_owned(),
            Access::Only(hosts) => counted(hosts.len(), "host"),
        };
        let disks = counted(subsystem.namespaces.len(), "namespace");
        plan.act(format!("subsystem {nqn}: {verb} {disks}, for {who}"), steps);
    }
}

/// The kernel admits either any host or a list of hosts, and refuses both at once.
fn access(item: &Item, nqn: &str, wanted: &Access, seen: &actual::Subsystem) -> Vec<Step> {
    let nobody = BTreeSet::new();
    let (anyone, hosts) = match wanted {
        Access::Anyone => (true, &nobody),
        Access::Only(hosts) => (false, hosts),
    };
    let admission = |host: &String| Link::Admission { nqn: nqn.to_owned(), host: host.clone() };
    let mut steps: Vec<Step> = seen.hosts.difference(hosts).map(|host| Step::Unlink(admission(host))).collect();
    if seen.any_host != anyone {
        steps.push(Step::set(item, "attr_allow_any_host", u8::from(anyone)));
    }
    steps.extend(hosts.difference(&seen.hosts).map(|host| Step::Link(admission(host))));
    steps
}

fn namespaces(nqn: &str, wanted: &Subsystem, seen: &actual::Subsystem, ram_disks: &RamDisks) -> Vec<Step> {
    let mut steps = Vec::new();
    for (&nsid, namespace) in seen.namespaces.iter().filter(|(nsid, _)| !wanted.namespaces.contains_key(nsid)) {
        steps.extend(remove_namespace(nqn, nsid, namespace));
    }
    for (&nsid, namespace) in &wanted.namespaces {
        let device = match &namespace.storage {
            Storage::RamDisk => ram_disks.device(nqn, nsid).unwrap_or_default(),
            Storage::NullBlk(device) => device.device(),
            Storage::Given(path) => path.clone(),
        };
        let item = Item::Namespace(nqn.to_owned(), nsid);
        steps.extend(make_namespace(&item, namespace, device, seen.namespaces.get(&nsid)));
    }
    steps
}

/// A namespace must be disabled before its attributes change.
fn make_namespace(item: &Item, wanted: &Namespace, device: PathBuf, seen: Option<&actual::Namespace>) -> Vec<Step> {
    let mut changes = Vec::new();
    if seen.and_then(|seen| seen.device.as_ref()) != Some(&device) {
        changes.push(Step::set(item, "device_path", device.display()));
    }
    if seen.and_then(|seen| seen.uuid) != Some(wanted.uuid) {
        changes.push(Step::set(item, "device_uuid", wanted.uuid));
    }
    if seen.and_then(|seen| seen.nguid) != wanted.nguid {
        changes.push(Step::set(item, "device_nguid", wanted.nguid.unwrap_or(Identifier::ZERO)));
    }

    let enabled = seen.is_some_and(|seen| seen.enabled);
    let mut steps = Vec::new();
    if seen.is_none() {
        steps.push(Step::Make(item.clone()));
    }
    if enabled && !changes.is_empty() {
        steps.push(Step::set(item, "enable", 0));
    }
    if !enabled || !changes.is_empty() {
        steps.extend(changes);
        steps.push(Step::set(item, "enable", 1));
    }
    steps
}

/// Disables a namespace, then removes it.
pub(super) fn remove_namespace(nqn: &str, nsid: u32, seen: &actual::Namespace) -> Vec<Step> {
    let item = Item::Namespace(nqn.to_owned(), nsid);
    let disable = seen.enabled.then(|| Step::set(&item, "enable", 0));
    disable.into_iter().chain([Step::Remove(item.clone())]).collect()
}
