//! The tables of subsystems and their namespaces, with counts expanded.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::Mistake;
use super::check::{self, bounded, identifier};
use super::disks::Disks;
use super::file;
use crate::desired::{self, Access, Port, Subsystem};
use crate::identity::Identifier;

/// NVMET_MAX_NAMESPACES of the kernel.
const MAX_NAMESPACES: u32 = 1024;
/// More subsystems than any test needs. The limit protects the kernel's memory from a typing error.
const MAX_COUNT: u32 = 4096;
/// FFFFFFFFh means all namespaces (NVMe Base 2.0, 3.2.1.2).
const MAX_NSID: u32 = u32::MAX - 1;
/// The placeholder for the number in the NQN of a subsystem with `count`.
const NUMBER: &str = "{}";

/// The NQNs of a table: one, or `count` of them numbered from 1.
pub(super) fn nqns(table: &file::Subsystem) -> Result<Vec<String>, Mistake> {
    let pattern = check::nqn("nqn", &table.nqn)?;
    match &table.count {
        None if pattern.contains(NUMBER) => {
            Err(Mistake::at("nqn", &table.nqn, "has {} for a number, but the subsystem has no count = N"))
        }
        None => Ok(vec![pattern]),
        Some(_) if !pattern.contains(NUMBER) => Err(Mistake::at(
            "nqn",
            &table.nqn,
            "is the same for each subsystem of the count; write {} in place of the number",
        )),
        Some(count) => {
            let count = bounded("count", count, MAX_COUNT)?;
            Ok((1..=count).map(|number| pattern.replace(NUMBER, &number.to_string())).collect())
        }
    }
}

pub(super) fn subsystem(
    table: &file::Subsystem,
    nqn: &str,
    ports: &BTreeMap<u16, Port>,
    disks: &Disks,
) -> Result<Subsystem, Mistake> {
    let exported_by = match &table.ports {
        None => ports.keys().copied().collect(),
        Some(named) => named.get_ref().iter().map(|port| known_port(port, ports)).collect::<Result<_, _>>()?,
    };
    let access = match &table.allowed_hosts {
        None => Access::Anyone,
        Some(hosts) => Access::Only(
            hosts.iter().map(|host| check::nqn("allowed_hosts", host)).collect::<Result<BTreeSet<_>, _>>()?,
        ),
    };
    Ok(Subsystem { namespaces: namespaces(table, nqn, disks)?, ports: exported_by, access })
}

fn known_port(named: &Spanned<u16>, ports: &BTreeMap<u16, Port>) -> Result<u16, Mistake> {
    let id = *named.get_ref();
    let known: Vec<String> = ports.keys().map(u16::to_string).collect();
    if ports.contains_key(&id) {
        Ok(id)
    } else {
        Err(Mistake::at(
            "ports",
            named,
            format!("refers to port {id}, which no [[port]] creates; there are {}", known.join(", ")),
        ))
    }
}

fn namespaces(table: &file::Subsystem, nqn: &str, disks: &Disks) -> Result<BTreeMap<u32, desired::Namespace>, Mistake> {
    if let (Some(count), false) = (&table.namespaces, table.namespace.is_empty()) {
        return Err(Mistake::at(
            "namespaces",
            count,
            "is set together with [[subsystem.namespace]]; use one of the two",
        ));
    }
    let count = match (&table.namespaces, table.namespace.is_empty()) {
        (Some(count), _) if *count.get_ref() == 0 => 0,
        (Some(count), _) => bounded("namespaces", count, MAX_NAMESPACES)?,
        (None, described) => u32::from(described),
    };
    let plain = (0..count).map(|_| file::Namespace::default()).collect::<Vec<_>>();
    let mut namespaces = BTreeMap::new();
    for (position, described) in (1..).zip(plain.iter().chain(&table.namespace)) {
        let nsid = described.id.as_ref().map_or(Ok(position), |id| bounded("id", id, MAX_NSID))?;
        if namespaces.insert(nsid, namespace(table, described, nqn, nsid, disks)?).is_some() {
            let place = described.id.as_ref().map_or_else(|| table.nqn.span(), Spanned::span);
            let problem = format!("{nsid} is used twice; each namespace of a subsystem has its own");
            return Err(Mistake { span: place, key: Some("id"), problem });
        }
    }
    Ok(namespaces)
}

fn namespace(
    table: &file::Subsystem,
    described: &file::Namespace,
    nqn: &str,
    nsid: u32,
    disks: &Disks,
) -> Result<desired::Namespace, Mistake> {
    let own = [("device", &described.device), ("uuid", &described.uuid), ("nguid", &described.nguid)];
    for (key, value) in own {
        if let (Some(value), Some(_)) = (value, &table.count) {
            return Err(Mistake::at(
                key,
                value,
                "belongs to one namespace, but the subsystem has a count; leave one out",
            ));
        }
    }
    Ok(desired::Namespace {
        storage: disks.of(table, described, nqn, nsid)?,
        uuid: identifier("uuid", described.uuid.as_ref())?.unwrap_or_else(|| Identifier::derived(nqn, nsid)),
        nguid: identifier("nguid", described.nguid.as_ref())?,
    })
}
