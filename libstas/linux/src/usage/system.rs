//! Finds the controllers from which this host runs: `/`, `/usr` or swap is on one of their namespaces.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::block::Blocks;
use super::table;
use super::tables::{Mount, mounts, swaps};
use stas_core::CtrlRef;

/// The instance numbers of the controllers whose subsystems carry the system. `None` if that is unknown.
///
/// # Errors
/// Fails if procfs or sysfs cannot be read.
pub(super) fn controllers(blocks: &Blocks, proc: &Path) -> io::Result<Option<BTreeSet<u32>>> {
    let Some(mut open) = top_devices(blocks, proc)? else { return Ok(None) };
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
    Ok(Some(found))
}

/// The block devices of `/` and `/usr` in the mount namespace of this process, and those of swap. If `/` is on none (an
/// overlay, a container), those of all mounts. `None` if there is none either (ZFS, NFS).
fn top_devices(blocks: &Blocks, proc: &Path) -> io::Result<Option<Vec<String>>> {
    let mounts = mounts(&table(&proc.join("self/mountinfo"))?);
    let devices_of = |mount: &Mount| -> Vec<String> {
        let named = mount.sources().filter_map(|source| blocks.named_by(source));
        blocks.numbered(&mount.device).into_iter().chain(named).collect()
    };
    let at = |point: &str| mounts.iter().filter(|mount| mount.point == point).flat_map(devices_of).collect::<Vec<_>>();
    let mut found = at("/");
    if found.is_empty() {
        found = mounts.iter().flat_map(devices_of).collect();
    }
    if found.is_empty() {
        return Ok(None);
    }
    found.extend(at("/usr"));
    for swap in swaps(&table(&proc.join("swaps"))?) {
        match blocks.named_by(&swap) {
            Some(device) => found.push(device),
            // A file: it is on the mount with the longest matching mount point.
            None => {
                let around = mounts.iter().filter(|mount| Path::new(&swap).starts_with(&mount.point));
                found.extend(around.max_by_key(|mount| mount.point.len()).map(devices_of).unwrap_or_default());
            }
        }
    }
    Ok(Some(found))
}
