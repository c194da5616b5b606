//! Finds the controllers from which this host runs: `/`, `/usr` or swap is on one of their namespaces.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::block::Blocks;
use super::table;
use super::tables::{mounts, swaps};
use stas_core::CtrlRef;

/// Mount points without which a host does not run.
const POINTS: [&str; 2] = ["/", "/usr"];

/// The instance numbers of the controllers whose subsystems carry the system.
///
/// # Errors
/// Fails if procfs or sysfs cannot be read.
pub(super) fn controllers(blocks: &Blocks, proc: &Path) -> io::Result<BTreeSet<u32>> {
    let mut open = top_devices(blocks, proc)?;
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        open.extend(blocks.slaves(&name)?);
        open.extend(blocks.disk_of(&name));
        open.extend(blocks.btrfs_with(&name)?);
        let Some(parent) = blocks.controller_of(&name) else { continue };
        found.extend(CtrlRef::device_of(&parent));
        // With the kernel's multipathing, a namespace belongs to the subsystem.
        if let Some(subsystem) = parent.strip_prefix("nvme-subsys").and_then(|number| number.parse().ok()) {
            found.extend(blocks.controllers(subsystem)?);
        }
    }
    Ok(found)
}

/// The block devices that are mounted at [`POINTS`] in the mount namespace of this process, and those that are swap.
fn top_devices(blocks: &Blocks, proc: &Path) -> io::Result<Vec<String>> {
    let mounts = mounts(&table(&proc.join("self/mountinfo"))?);
    let mut found: Vec<String> =
        swaps(&table(&proc.join("swaps"))?).iter().filter_map(|swap| blocks.named_by(swap)).collect();
    for mount in mounts.iter().filter(|mount| POINTS.contains(&mount.point.as_str())) {
        found.extend(blocks.numbered(&mount.device));
        found.extend(mount.sources().filter_map(|source| blocks.named_by(source)));
    }
    Ok(found)
}
