//! Expands the file to the target that it describes: fills in defaults, expands counts, resolves names.

use std::collections::BTreeMap;

use super::Mistake;
use super::check::size;
use super::disks::Disks;
use super::endpoints::{hosts, ports};
use super::file::File;
use super::subsystems::{nqns, subsystem};
use crate::desired::{Access, Brd, DEFAULT_SIZE_MIB, Desired};

pub(super) fn expand(file: File) -> Result<Desired, Mistake> {
    let ports = ports(&file.port)?;
    let mut hosts = hosts(&file.host)?;
    let disks = Disks::new(&file)?;
    let mut subsystems = BTreeMap::new();
    for table in &file.subsystem {
        for nqn in nqns(table)? {
            let subsystem = subsystem(table, &nqn, &ports, &disks)?;
            if let Access::Only(allowed) = &subsystem.access {
                for host in allowed {
                    hosts.entry(host.clone()).or_default();
                }
            }
            if subsystems.insert(nqn.clone(), subsystem).is_some() {
                return Err(Mistake::at(
                    "nqn",
                    &table.nqn,
                    format!("{nqn} is used twice; each subsystem has its own NQN"),
                ));
            }
        }
    }
    let brd =
        Brd { size_mib: size(file.brd.size_mib.as_ref(), DEFAULT_SIZE_MIB)?, use_existing: file.brd.use_existing };
    Ok(Desired { ports, subsystems, hosts, brd })
}
