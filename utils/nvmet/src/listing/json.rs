//! The JSON output of `nvmet ls`.

use serde_json::{Value, json};

use super::{exporting, keys};
use crate::actual::{Actual, Attributes, Namespace};
use crate::record::Record;

pub(super) fn object(observed: &Actual, record: &Record) -> Value {
    let ports = observed.ports.iter().map(|(id, port)| {
        let referrals = port.referrals.iter();
        let referrals =
            referrals.map(|(name, seen)| with(json!({"name": name, "enabled": seen.enabled}), plain(&seen.attributes)));
        let own = json!({
            "id": id,
            "subsystems": port.exports,
            "referrals": referrals.collect::<Vec<_>>(),
            "ours": record.ports.contains(id),
        });
        with(own, plain(&port.attributes))
    });
    let subsystems = observed.subsystems.iter().map(|(nqn, seen)| {
        json!({
            "nqn": nqn,
            "ports": exporting(observed, nqn),
            "namespaces": seen.namespaces.iter().map(|(nsid, seen)| json_namespace(*nsid, seen)).collect::<Vec<_>>(),
            "allow_any_host": seen.any_host,
            "allowed_hosts": seen.hosts,
            "ours": record.subsystems.contains(nqn),
        })
    });
    let hosts = observed.hosts.iter().map(|(nqn, seen)| {
        let own = json!({"nqn": nqn, "dhchap": keys(seen), "ours": record.hosts.contains(nqn)});
        with(own, json!(seen.settings))
    });
    json!({
        "ports": ports.collect::<Vec<_>>(),
        "subsystems": subsystems.collect::<Vec<_>>(),
        "hosts": hosts.collect::<Vec<_>>(),
    })
}

fn json_namespace(nsid: u32, seen: &Namespace) -> Value {
    json!({
        "nsid": nsid,
        "device": seen.device,
        "uuid": seen.uuid.map(|uuid| uuid.to_string()),
        "nguid": seen.nguid.map(|nguid| nguid.to_string()),
        "enabled": seen.enabled,
    })
}

/// The attributes without the kernel's prefix `addr_`.
fn plain(attributes: &Attributes) -> Value {
    attributes.iter().map(|(name, value)| (name.trim_start_matches("addr_").to_owned(), json!(value))).collect()
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}
