//! The plan for hosts and their keys.

use stas_nvme::Secret;

use super::{Plan, Refusal};
use crate::actual::{self, Actual, Attributes, Key};
use crate::desired::{Desired, Host};
use crate::record::Record;
use crate::step::{Item, Step, Value};

/// The kernel's defaults for a new host (nvmet_hosts_make_group in drivers/nvme/target/configfs.c).
const DEFAULT_HASH: &str = "hmac(sha256)";
const DEFAULT_GROUP: &str = "null";

/// Creates missing hosts, and sets the keys of all.
pub(super) fn make(plan: &mut Plan, wanted: &Desired, observed: &Actual, record: &Record) -> Result<(), Refusal> {
    for (nqn, host) in &wanted.hosts {
        let item = Item::Host(nqn.clone());
        let seen = observed.hosts.get(nqn);
        let foreign = seen.is_some() && !record.hosts.contains(nqn);
        if foreign && *host == Host::default() {
            continue; // Another tool manages its keys; it is only admitted.
        }
        let mut steps = Vec::new();
        if seen.is_none() {
            steps.push(Step::Make(item.clone()));
        }
        steps.extend(authentication(&item, host, seen.unwrap_or(&actual::Host::default())));
        if foreign && !steps.is_empty() {
            return Err(Refusal::ForeignHost(nqn.clone()));
        }
        if seen.is_some_and(|seen| seen.dhchap_key == Key::Hidden) {
            plan.notes.push(format!("host {nqn}: only root may see its keys, which may be right already"));
        }
        let verb = if seen.is_some() { "change" } else { "create" };
        let keys = match (&host.dhchap_key, &host.dhchap_ctrl_key) {
            (None, _) => "no key",
            (Some(_), None) => "with a key",
            (Some(_), Some(_)) => "with a key for each side",
        };
        plan.act(format!("host {nqn}: {verb}, {keys}"), steps);
    }
    Ok(())
}

fn authentication(item: &Item, host: &Host, seen: &actual::Host) -> Vec<Step> {
    let mut steps = Vec::new();
    // Write the hash and group before the keys: a host may connect in between.
    steps.extend(setting(item, "dhchap_hash", host.dhchap_hash.as_deref().unwrap_or(DEFAULT_HASH), &seen.settings));
    steps.extend(setting(
        item,
        "dhchap_dhgroup",
        host.dhchap_dhgroup.as_deref().unwrap_or(DEFAULT_GROUP),
        &seen.settings,
    ));
    // The target's key is set after the host's key, and removed before it.
    let host_key = key(item, "dhchap_key", host.dhchap_key.as_ref(), &seen.dhchap_key);
    let target_key = key(item, "dhchap_ctrl_key", host.dhchap_ctrl_key.as_ref(), &seen.dhchap_ctrl_key);
    if host.dhchap_key.is_some() {
        steps.extend(host_key.into_iter().chain(target_key));
    } else {
        steps.extend(target_key.into_iter().chain(host_key));
    }
    steps
}

/// A new host has the default settings. A kernel without authentication has no such attributes.
fn setting(item: &Item, name: &'static str, wanted: &str, seen: &Attributes) -> Option<Step> {
    let default = if name == "dhchap_hash" { DEFAULT_HASH } else { DEFAULT_GROUP };
    let current = seen.get(name).map_or(default, String::as_str);
    (current != wanted).then(|| Step::set(item, name, wanted))
}

fn key(item: &Item, name: &'static str, wanted: Option<&Secret>, seen: &Key) -> Vec<Step> {
    match (wanted, seen) {
        (Some(wanted), Key::Set(seen)) if wanted == seen => Vec::new(),
        (None, Key::Unset | Key::Hidden) => Vec::new(),
        (None, Key::Set(_)) => vec![Step::Set(item.clone(), name, Value::NoKey)],
        (Some(wanted), _) => {
            vec![Step::Protect(item.clone(), name), Step::Set(item.clone(), name, Value::Key(wanted.clone()))]
        }
    }
}
