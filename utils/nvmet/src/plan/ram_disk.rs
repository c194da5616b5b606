//! The assignment of namespaces to RAM disks of `brd`.
//!
//! `brd` creates all its disks, of one size, when it is loaded. A namespace keeps its disk, and so its data; a new one
//! gets the first idle disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Refusal;
use crate::actual::Actual;
use crate::desired::{Desired, Storage};
use crate::module::Module;
use crate::record::Record;

/// The default number of disks in distributions. Disks use memory only when they are written.
const LEAST: usize = 16;

/// The RAM disks of a configuration.
#[derive(Debug, Default)]
pub(super) struct RamDisks {
    of: BTreeMap<(String, u32), u32>,
    /// The parameters for loading `brd`.
    pub(super) parameters: Vec<String>,
}

impl RamDisks {
    /// The path of the RAM disk of a namespace; `None` if it uses other storage.
    pub(super) fn device(&self, nqn: &str, nsid: u32) -> Option<PathBuf> {
        self.of.get(&(nqn.to_owned(), nsid)).map(|number| PathBuf::from(format!("/dev/ram{number}")))
    }
}

pub(super) fn assign(wanted: &Desired, observed: &Actual, record: &Record) -> Result<RamDisks, Refusal> {
    let wanting = wanting(wanted);
    if wanting.is_empty() {
        return Ok(RamDisks::default());
    }
    let loaded = observed.modules.contains(&Module::Brd);
    let idle = if loaded { idle(wanted, observed, record, &wanting)? } else { fresh(wanting.len()) };
    let mut of: BTreeMap<(String, u32), u32> = BTreeMap::new();
    for (key, number) in wanting.iter().filter_map(|key| Some((key, current(observed, key)?))) {
        if idle.contains(&number) && !of.values().any(|taken| *taken == number) {
            of.insert(key.clone(), number);
        }
    }
    let taken: BTreeSet<u32> = of.values().copied().collect();
    let rest: Vec<_> = wanting.iter().filter(|key| !of.contains_key(*key)).cloned().collect();
    of.extend(rest.into_iter().zip(idle.difference(&taken).copied()));
    if of.len() < wanting.len() {
        return Err(Refusal::TooFewRamDisks { wanted: wanting.len(), available: idle.len() });
    }
    let kib = u64::from(wanted.brd.size_mib) * 1024;
    let parameters = vec![format!("rd_nr={}", wanting.len().max(LEAST)), format!("rd_size={kib}")];
    Ok(RamDisks { of, parameters })
}

/// The namespaces that need a RAM disk.
fn wanting(wanted: &Desired) -> Vec<(String, u32)> {
    let mut keys = Vec::new();
    for (nqn, subsystem) in &wanted.subsystems {
        let on_ram = subsystem.namespaces.iter().filter(|(_, namespace)| namespace.storage == Storage::RamDisk);
        keys.extend(on_ram.map(|(nsid, _)| (nqn.clone(), *nsid)));
    }
    keys
}

fn fresh(number: usize) -> BTreeSet<u32> {
    (0..u32::MAX).take(number.max(LEAST)).collect()
}

/// The available disks of a loaded `brd`: ours or permitted, not in use, and not exported otherwise.
fn idle(
    wanted: &Desired,
    observed: &Actual,
    record: &Record,
    wanting: &[(String, u32)],
) -> Result<BTreeSet<u32>, Refusal> {
    let ours = record.modules.contains(&Module::Brd);
    if !ours && !wanted.brd.use_existing {
        return Err(Refusal::ForeignRamDisks);
    }
    let other_size = observed.ram_disks.values().find(|disk| disk.size_mib != wanted.brd.size_mib);
    if let (Some(disk), true) = (other_size, ours) {
        return Err(Refusal::OtherRamDiskSize { wanted: wanted.brd.size_mib, found: disk.size_mib });
    }
    let mut elsewhere = BTreeSet::new();
    for (nqn, subsystem) in &observed.subsystems {
        let others = subsystem.namespaces.iter().filter(|(nsid, _)| !wanting.contains(&(nqn.clone(), **nsid)));
        elsewhere.extend(others.filter_map(|(_, namespace)| number(namespace.device.as_deref()?)));
    }
    let given = wanted.subsystems.values().flat_map(|subsystem| subsystem.namespaces.values());
    elsewhere.extend(given.filter_map(|namespace| match &namespace.storage {
        Storage::Given(path) => number(path),
        Storage::RamDisk | Storage::NullBlk(_) => None,
    }));
    let free = observed.ram_disks.iter().filter(|(number, disk)| !disk.in_use && !elsewhere.contains(*number));
    Ok(free.map(|(number, _)| *number).collect())
}

/// The present RAM disk of a namespace.
fn current(observed: &Actual, (nqn, nsid): &(String, u32)) -> Option<u32> {
    number(observed.subsystems.get(nqn)?.namespaces.get(nsid)?.device.as_deref()?)
}

fn number(device: &Path) -> Option<u32> {
    device.to_str()?.strip_prefix("/dev/ram")?.parse().ok()
}
