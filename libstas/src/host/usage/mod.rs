//! Is storage in use behind a controller, and is it the last way to it.
//!
//! All of this is read from procfs and sysfs: no device is opened, for that alone could hang or disturb. What only a
//! process has open (a database on the raw device, a virtual machine) cannot be seen this way.

mod block;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::Roots;
use super::sysfs::{ControllerDir, birth, device_number};
use crate::core::{CtrlRef, CtrlState, Usage};
use block::{Blocks, Namespace};
use tables::{Mount, mounts, swaps};

/// How many uses are told.
const TOLD: usize = 3;
/// Device mapper devices that are merely other names of a namespace are looked through this deep.
const DEPTH: usize = 4;

/// Is `ctrl` the last live path to a namespace that is mounted, in use as swap, or held by another block device?
/// Controllers that are `leaving` are no other path.
#[must_use]
pub fn check(roots: &Roots, ctrl: CtrlRef, leaving: &[CtrlRef]) -> Usage {
    let found = Check::new(roots, ctrl, leaving).and_then(|check| check.run());
    match found {
        Ok(uses) if uses.is_empty() => Usage::Free,
        Ok(uses) => Usage::LastPath(uses.join(", ")),
        Err(error) => Usage::Unknown(format!("cannot find out whether storage behind {ctrl} is in use: {error}")),
    }
}

struct Check<'a> {
    roots: &'a Roots,
    ctrl: CtrlRef,
    leaving: BTreeSet<CtrlRef>,
    blocks: Blocks,
    mounts: Vec<Mount>,
    swaps: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(roots: &'a Roots, ctrl: CtrlRef, leaving: &[CtrlRef]) -> io::Result<Self> {
        // A file name in a mount point may be any bytes.
        let read = |path: PathBuf| match fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        let swaps_file = read(roots.proc.join("swaps"));
        // A kernel without swap has no such file.
        let swaps_text = match swaps_file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Self {
            roots,
            ctrl,
            leaving: leaving.iter().copied().collect(),
            blocks: Blocks::new(roots),
            mounts: mounts(&read(roots.proc.join("self/mountinfo"))?),
            swaps: swaps(&swaps_text),
        })
    }

    /// What would be lost with this controller, in words.
    fn run(&self) -> io::Result<Vec<String>> {
        if ControllerDir::open(self.roots, self.ctrl)?.is_none() {
            return Ok(Vec::new());
        }
        let mut uses = Vec::new();
        for namespace in self.blocks.namespaces(self.ctrl.device)? {
            if uses.len() < TOLD && !self.has_other_path(&namespace)? {
                self.uses(&namespace.block, 0, &mut uses)?;
            }
        }
        uses.truncate(TOLD);
        Ok(uses)
    }

    /// Does another controller serve that namespace through the kernel's own multipathing?
    fn has_other_path(&self, namespace: &Namespace) -> io::Result<bool> {
        let Some(shared) = &namespace.shared else { return Ok(false) };
        for device in self.blocks.controllers(shared.subsystem)? {
            if self.is_other_path(device)? && self.blocks.serves(device, shared) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is nvmeN another controller, live, and to stay?
    fn is_other_path(&self, device: u32) -> io::Result<bool> {
        if device == self.ctrl.device {
            return Ok(false);
        }
        let Some(birth) = birth(&self.roots.class(), device)? else { return Ok(false) };
        let other = CtrlRef { device, birth };
        if self.leaving.contains(&other) {
            return Ok(false);
        }
        let Some(dir) = ControllerDir::open(self.roots, other)? else { return Ok(false) };
        Ok(dir.read("state")?.is_some_and(|state| CtrlState::parse(&state) == CtrlState::Live))
    }

    /// How a block device and its partitions are used.
    fn uses(&self, block: &str, depth: usize, uses: &mut Vec<String>) -> io::Result<()> {
        for part in self.blocks.with_partitions(block)? {
            self.mounted(&part, uses)?;
            if self.swaps.iter().any(|swap| self.blocks.named_by(swap).as_deref() == Some(&part)) {
                uses.push(format!("{part} is swap"));
            }
            for holder in self.blocks.holders(&part)? {
                self.held(&part, &holder, depth, uses)?;
            }
            for behind in self.blocks.loops_on(&part)? {
                uses.push(format!("{part} is behind {behind}"));
            }
        }
        Ok(())
    }

    fn mounted(&self, part: &str, uses: &mut Vec<String>) -> io::Result<()> {
        let number = self.blocks.number(part)?;
        let on = |mount: &&Mount| {
            Some(&mount.device) == number.as_ref()
                || mount.sources().any(|source| self.blocks.named_by(source).as_deref() == Some(part))
        };
        if let Some(mount) = self.mounts.iter().find(on) {
            uses.push(format!("{part} is mounted on {}", mount.point));
        } else if let Some(kind) = self.blocks.file_system(part)? {
            // In another mount namespace, or by the name of another of its devices.
            uses.push(format!("{part} belongs to a mounted {kind} file system"));
        }
        Ok(())
    }

    /// Another block device sits on this one. Device mapper multipathing is looked through: it holds everything that
    /// it finds, used or not, and it may have other paths.
    fn held(&self, part: &str, holder: &str, depth: usize, uses: &mut Vec<String>) -> io::Result<()> {
        let mapped = self.blocks.mapped(holder)?;
        if !mapped.as_ref().is_some_and(|mapped| mapped.is_multipath()) || depth == DEPTH {
            let name = mapped.map_or_else(|| holder.to_owned(), |mapped| format!("{} ({holder})", mapped.name));
            uses.push(format!("{part} is held by {name}"));
            return Ok(());
        }
        for slave in self.blocks.slaves(holder)? {
            if slave != part && self.is_path(&slave)? {
                return Ok(());
            }
        }
        self.uses(holder, depth + 1, uses)
    }

    /// Is that block device a namespace of another controller that is live and stays?
    fn is_path(&self, block: &str) -> io::Result<bool> {
        match self.blocks.controller_of(block).as_deref().and_then(device_number) {
            Some(device) => self.is_other_path(device),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
