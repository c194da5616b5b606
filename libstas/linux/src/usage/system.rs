//! Finds the controllers from which this host runs: `/`, `/usr` or swap is on one of their namespaces.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::block::Blocks;
use super::table;
use super::tables::{Mount, mounts, swaps};
use stas_core::CtrlRef;

/// The kernel does not show on which block devices a ZFS file system is.
const ZFS: &str = "zfs";

/// The instance numbers of the controllers whose subsystems carry the system. `None` if that is unknown.
///
/// # Errors
/// Fails if procfs or sysfs cannot be read.
pub(super) fn controllers(blocks: &Blocks, proc: &Path) -> io::Result<Option<BTreeSet<u32>>> {
    let mounts = mounts(&table(&proc.join("self/mountinfo"))?);
    let swaps = swaps(&table(&proc.join("swaps"))?);
    let Some(mut open) = top_devices(blocks, &mounts, &swaps) else { return Ok(None) };
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let parent = blocks.controller_of(&name);
        let below = below(blocks, &mounts, &name)?;
        // A loop device shows the path of its file. If all devices below that path were seen already, the path may be
        // on the loop device itself, and no longer that of the file: unknown.
        let leads_back = blocks.backing_file(&name)?.is_some() && below.iter().all(|device| seen.contains(device));
        if (below.is_empty() || leads_back) && parent.is_none() && !is_memory(&name) {
            return Ok(None);
        }
        open.extend(below);
        open.extend(blocks.btrfs_with(&name)?);
        let Some(parent) = parent else { continue };
        found.extend(CtrlRef::device_of(&parent));
        // With the kernel's multipathing, a namespace belongs to the subsystem.
        if let Some(subsystem) = parent.strip_prefix("nvme-subsys").and_then(|number| number.parse().ok()) {
            found.extend(blocks.controllers(subsystem)?);
        }
    }
    Ok(Some(found))
}

/// The block devices of `/` and `/usr` in the mount namespace of this process, and those of swap. If `/` is not on a
/// block device (an overlay, NFS), those of all mounts. `None` if they are unknown: no mount is on a block device, or
/// one that counts is ZFS.
fn top_devices(blocks: &Blocks, mounts: &[Mount], swaps: &[String]) -> Option<Vec<String>> {
    let at = |point: &str| mounts.iter().filter(|mount| mount.point == point).collect::<Vec<_>>();
    let devices = |mounts: &[&Mount]| mounts.iter().flat_map(|mount| devices_of(blocks, mount)).collect::<Vec<_>>();
    let mut counts = at("/");
    if devices(&counts).is_empty() {
        counts = mounts.iter().collect();
    }
    counts.extend(at("/usr"));
    let mut found = devices(&counts);
    if found.is_empty() || counts.iter().any(|mount| mount.kind == ZFS) {
        return None;
    }
    for swap in swaps {
        match blocks.named_by(swap) {
            Some(device) => found.push(device),
            None => found.extend(devices_around(blocks, mounts, swap)),
        }
    }
    Some(found)
}

fn devices_of(blocks: &Blocks, mount: &Mount) -> Vec<String> {
    let named = mount.sources().filter_map(|source| blocks.named_by(source));
    blocks.numbered(&mount.device).into_iter().chain(named).collect()
}

/// The block devices on which a file is: those of the mount with the longest matching mount point.
fn devices_around(blocks: &Blocks, mounts: &[Mount], file: &str) -> Vec<String> {
    let around = mounts.iter().filter(|mount| Path::new(file).starts_with(&mount.point));
    around.max_by_key(|mount| mount.point.len()).map(|mount| devices_of(blocks, mount)).unwrap_or_default()
}

/// The block devices directly below this one. Empty for a disk, and if the kernel does not show what is below (a ZFS
/// volume, DRBD). For a loop device, these are the devices of the mount that contains the path of its file now.
fn below(blocks: &Blocks, mounts: &[Mount], name: &str) -> io::Result<Vec<String>> {
    let mut below = blocks.slaves(name)?;
    below.extend(blocks.disk_of(name));
    if let Some(file) = blocks.backing_file(name)? {
        match blocks.named_by(&file) {
            Some(device) => below.push(device),
            None => below.extend(devices_around(blocks, mounts, &file)),
        }
    }
    Ok(below)
}

/// True for a device in memory (compressed swap).
fn is_memory(name: &str) -> bool {
    name.starts_with("zram") || name.starts_with("ram")
}
