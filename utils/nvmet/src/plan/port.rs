//! The plan for ports: their addresses, exports and referrals.

use std::collections::BTreeSet;

use super::Plan;
use crate::actual::{self, Actual, Attributes};
use crate::desired::{Address, Desired, Port, Referral};
use crate::step::{Item, Link, Step};

/// Creates missing ports, changes existing ones, and links them to the subsystems.
pub(super) fn make(plan: &mut Plan, wanted: &Desired, observed: &Actual) {
    let mut exports = Vec::new();
    for (&id, port) in &wanted.ports {
        let seen = observed.ports.get(&id);
        let moved = seen.is_some_and(|seen| !listens_at(seen, &port.address));
        match seen {
            Some(seen) if moved => plan.act(format!("port {id}: stop, its address changes"), remove(id, seen)),
            Some(seen) => withdraw(plan, id, wanted, seen),
            None => {}
        }
        // The address of a listening port cannot be changed: such a port is recreated.
        let kept = seen.filter(|_| !moved);
        let steps = make_one(id, port, kept);
        plan.act(format!("port {id}: {}, {}", if kept.is_some() { "change" } else { "create" }, port.address), steps);
        exports.push((id, exported(id, wanted, seen), kept.map(|seen| &seen.exports)));
    }
    for (id, nqns, linked) in exports {
        for nqn in nqns.into_iter().filter(|nqn| !linked.is_some_and(|linked| linked.contains(nqn))) {
            plan.act(format!("port {id}: export {nqn}"), vec![Step::Link(Link::Export { port: id, nqn })]);
        }
    }
}

/// Removes the links to subsystems that the configuration exports on other ports.
fn withdraw(plan: &mut Plan, id: u16, wanted: &Desired, seen: &actual::Port) {
    for nqn in seen.exports.difference(&exported(id, wanted, Some(seen))) {
        plan.act(format!("port {id}: stop exporting {nqn}"), vec![unlink(id, nqn)]);
    }
}

/// The subsystems that a port must export: those of the configuration, and present ones that the configuration does not
/// mention.
fn exported(id: u16, wanted: &Desired, seen: Option<&actual::Port>) -> BTreeSet<String> {
    let named = wanted.subsystems.iter().filter(|(_, subsystem)| subsystem.ports.contains(&id)).map(|(nqn, _)| nqn);
    let linked = seen.into_iter().flat_map(|seen| &seen.exports);
    named.chain(linked.filter(|nqn| !wanted.subsystems.contains_key(*nqn))).cloned().collect()
}

fn make_one(id: u16, port: &Port, seen: Option<&actual::Port>) -> Vec<Step> {
    let mut steps = Vec::new();
    if seen.is_none() {
        steps.extend(make_item(&Item::Port(id), port.address.attributes()));
    }
    for name in seen.into_iter().flat_map(|seen| seen.referrals.keys()) {
        if !port.referrals.contains_key(name) {
            steps.push(Step::Remove(Item::Referral(id, name.clone())));
        }
    }
    for (name, referral) in &port.referrals {
        let found = seen.and_then(|seen| seen.referrals.get(name));
        steps.extend(make_referral(&Item::Referral(id, name.clone()), referral, found));
    }
    steps
}

/// The address of an enabled referral cannot be changed: such a referral is recreated.
fn make_referral(item: &Item, wanted: &Referral, seen: Option<&actual::Referral>) -> Vec<Step> {
    let mut attributes = wanted.address.attributes();
    attributes.push(("addr_portid", wanted.port_id.to_string()));
    let enable = Step::set(item, "enable", 1);
    match seen {
        Some(seen) if has(&seen.attributes, &attributes) && seen.enabled => Vec::new(),
        Some(seen) if has(&seen.attributes, &attributes) => vec![enable],
        Some(_) => {
            let again = make_item(item, attributes);
            [Step::Remove(item.clone())].into_iter().chain(again).chain([enable]).collect()
        }
        None => make_item(item, attributes).into_iter().chain([enable]).collect(),
    }
}

fn make_item(item: &Item, attributes: Vec<(&'static str, String)>) -> Vec<Step> {
    let writes = attributes.into_iter().map(|(name, value)| Step::set(item, name, value));
    [Step::Make(item.clone())].into_iter().chain(writes).collect()
}

/// True if the port has that address.
pub(super) fn listens_at(seen: &actual::Port, address: &Address) -> bool {
    has(&seen.attributes, &address.attributes())
}

/// True if exactly these attributes are set.
fn has(seen: &Attributes, wanted: &[(&'static str, String)]) -> bool {
    seen.len() == wanted.len() && wanted.iter().all(|(name, value)| seen.get(*name) == Some(value))
}

/// Removes a port with its referrals and links.
pub(super) fn remove(id: u16, seen: &actual::Port) -> Vec<Step> {
    let links = seen.exports.iter().map(|nqn| unlink(id, nqn));
    let referrals = seen.referrals.keys().map(|name| Step::Remove(Item::Referral(id, name.clone())));
    links.chain(referrals).chain([Step::Remove(Item::Port(id))]).collect()
}

/// Removes the link by which a port exports a subsystem.
pub(super) fn unlink(port: u16, nqn: &str) -> Step {
    Step::Unlink(Link::Export { port, nqn: nqn.to_owned() })
}
