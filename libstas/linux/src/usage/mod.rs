//! Finds out whether a controller is the last path to storage in use.
//!
//! Most checks only read procfs, sysfs and configfs: opening a device could hang or disturb. Only if they find no use,
//! each block device is opened exclusively for a moment. Then the first checks are repeated, because an open can take
//! seconds, and once more right before the disconnect. Raw users that take no lock are only found by the kernel's count
//! of completed writes. Raw readers are not found.
//!
//! Another path of a dm-multipath device counts if it can be read: without its own multipathing the kernel does not
//! know the path's ANA state.
//!
//! | module | what it is about |
//! |---|---|
//! | `block` | block devices in sysfs |
//! | `tables` | the text of mountinfo, /proc/swaps and /proc/locks |
//! | `mounts` | the mounts of every mount namespace |
//! | `exports` | what the kernel's NVMe target exports: block devices, files and controllers |
//! | `system` | the controllers from which this host runs |
//! | `writes` | raw users, found by the count of completed writes |
//! | [`exclusive`] | the exclusive open, and the read of another path, in the program stas-in-use |

mod block;
pub mod exclusive;
mod exports;
mod mounts;
mod system;
mod tables;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::sysfs::{Carriers, ControllerDir, inode};
use super::{Roots, lock};
use block::{Blocks, Namespace};
use exclusive::{How, Opened, Opener};
use stas_core::{CtrlRef, CtrlState, DisconnectError, OsError, Snapshot, Usage, UsageError, Use, UseKind};
use tables::{LockedInode, Mount, locks, swaps};
use writes::Writes;

/// Maximum number of uses that are reported.
const USES_MAX: usize = 3;
/// Maximum depth of device mapper devices that are followed because they are only other names of a namespace.
const DEPTH: usize = 4;

/// Monitors the use of this host's storage. One process has one watcher.
#[derive(Debug)]
pub struct Watcher {
    roots: Roots,
    blocks: Blocks,
    opener: Opener,
    writes: Mutex<Writes>,
    /// I/O controllers of the last snapshot.
    present: Mutex<Vec<CtrlRef>>,
    /// Block device that the last exclusive open found busy, by controller that is kept because of it. It is opened
    /// first: while it is busy, no idle device is opened.
    busy: Mutex<BTreeMap<CtrlRef, String>>,
    /// What the last check that found a controller free has examined.
    examined: Mutex<BTreeMap<CtrlRef, Examined>>,
}

/// The block devices that a check has opened.
#[derive(Debug, Default)]
struct Examined {
    /// Opened exclusively.
    opened: BTreeSet<String>,
    /// Paths of dm-multipath devices that were read, and whether that succeeded.
    read: BTreeMap<String, bool>,
}

impl Watcher {
    /// A watcher without data. `socket` is the socket of stas-in-use.
    #[must_use]
    pub fn new(roots: &Roots, socket: Option<PathBuf>) -> Self {
        Self {
            roots: roots.clone(),
            blocks: Blocks::new(roots),
            opener: Opener::new(socket, roots.dev.clone()),
            writes: Mutex::default(),
            present: Mutex::default(),
            busy: Mutex::default(),
            examined: Mutex::default(),
        }
    }

    /// The controllers from which this host runs.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        let found = system::controllers(&self.blocks, &self.roots.proc);
        found.ok().flatten().map_or(Carriers::Unknown, Carriers::Known)
    }

    /// Processes a snapshot: reads the write counts that are due, and starts stas-in-use if there is a live I/O controller,
    /// which may have to be disconnected. A controller that is not live yet may be a discovery controller.
    pub fn saw(&self, snapshot: &Snapshot) {
        let present: Vec<CtrlRef> = snapshot.controllers.iter().filter(|c| !c.is_discovery()).map(|c| c.ctrl).collect();
        if snapshot.controllers.iter().any(|c| !c.is_discovery() && c.state == CtrlState::Live) {
            self.opener.warm_up();
        }
        lock(&self.busy).retain(|ctrl, _| present.contains(ctrl));
        lock(&self.examined).retain(|ctrl, _| present.contains(ctrl));
        *lock(&self.present) = present;
        self.read_counts();
    }

    /// Reads the write counts that are due.
    pub fn read_counts(&self) {
        let present = lock(&self.present).clone();
        lock(&self.writes).round(Instant::now(), &self.blocks, &present);
    }

    /// Time until write counts are due, if that is before the next snapshot.
    #[must_use]
    pub fn due_in(&self) -> Option<Duration> {
        let deadline = lock(&self.writes).deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Checks whether `ctrl` is the last live path to a namespace in use. Controllers in `not_counted` do not count
    /// as other paths. [`Usage::Free`] is only valid for a moment: the disconnect must follow immediately.
    #[must_use]
    pub fn check(&self, ctrl: CtrlRef, not_counted: &[CtrlRef]) -> Usage {
        let open = |name: &str, number: &str, how| self.opener.open(name, number, how);
        self.check_with(ctrl, not_counted, &open)
    }

    /// Repeats the checks that open nothing, right before a disconnect and once for each [`Watcher::check`]. If there
    /// is a device to open that the check has not opened, another path may have been lost since: that needs a new
    /// check.
    ///
    /// # Errors
    /// [`DisconnectError::InUse`], [`DisconnectError::Overtaken`] or [`DisconnectError::UseUnknown`].
    pub fn check_again(&self, ctrl: CtrlRef, not_counted: &[CtrlRef]) -> Result<(), DisconnectError> {
        let Examined { opened, read } = lock(&self.examined).remove(&ctrl).unwrap_or_default();
        let found = self.find(ctrl, not_counted, &read).map_err(DisconnectError::UseUnknown)?;
        if !found.uses.is_empty() {
            return Err(DisconnectError::InUse(found.uses));
        }
        let is_examined = found.to_read.is_empty() && found.idle.iter().all(|name| opened.contains(name));
        if is_examined { Ok(()) } else { Err(DisconnectError::Overtaken) }
    }

    fn check_with(&self, ctrl: CtrlRef, not_counted: &[CtrlRef], open: Open<'_>) -> Usage {
        self.examine(ctrl, not_counted, open).unwrap_or_else(Usage::Unknown)
    }

    fn examine(&self, ctrl: CtrlRef, not_counted: &[CtrlRef], open: Open<'_>) -> Result<Usage, UsageError> {
        let mut examined = Examined::default();
        // An open can take seconds, and meanwhile another path can be lost or a device be mounted. So the checks that
        // open nothing are repeated until there is no further device to open.
        loop {
            let Found { uses, mut idle, to_read } = self.find(ctrl, not_counted, &examined.read)?;
            if !uses.is_empty() {
                return Ok(Usage::LastPath(uses));
            }
            idle.retain(|name| examined.opened.insert(name.clone()));
            if idle.is_empty() && to_read.is_empty() {
                lock(&self.examined).insert(ctrl, examined);
                return Ok(Usage::Free);
            }
            for name in to_read {
                // What cannot be read, for whatever reason, is no other path.
                let number = self.blocks.number(&name).ok().flatten();
                let is_served = number.is_some_and(|number| open(&name, &number, How::Read) == Opened::Free);
                examined.read.insert(name, is_served);
            }
            match self.open_all(ctrl, idle, open)? {
                Usage::Free => {}
                usage => return Ok(usage),
            }
        }
    }

    /// The checks that open no device. `read`: as in [`Examined`].
    fn find(&self, ctrl: CtrlRef, not_counted: &[CtrlRef], read: &BTreeMap<String, bool>) -> Result<Found, UsageError> {
        let found = Check::new(self, ctrl, not_counted, read).and_then(|check| check.run());
        found.map_err(|error| UsageError::Read(OsError::new(error)))
    }

    /// Opens exclusively each device that the other checks found idle.
    fn open_all(&self, ctrl: CtrlRef, mut idle: Vec<String>, open: Open<'_>) -> Result<Usage, UsageError> {
        let busy_before = lock(&self.busy).remove(&ctrl);
        idle.sort_by_key(|name| Some(name) != busy_before.as_ref());
        for name in idle {
            let number = self.blocks.number(&name).map_err(|error| UsageError::Read(OsError::new(error)))?;
            // A device without a number has been removed.
            let Some(number) = number else { continue };
            let kind = match open(&name, &number, How::Exclusive) {
                Opened::Free | Opened::Gone => continue,
                Opened::Busy => UseKind::HeldExclusively,
                Opened::Hangs => UseKind::OpenHangs,
                Opened::Failed(reason) => return Err(UsageError::Open(reason)),
            };
            lock(&self.busy).insert(ctrl, name.clone());
            return Ok(Usage::LastPath(vec![Use { device: name, kind }]));
        }
        Ok(Usage::Free)
    }
}

/// Whether a dm-multipath device is on top of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Multipath {
    No,
    /// It has no other path that can carry I/O.
    LastPath,
    HasOtherPath,
}

/// Opens a block device, given by its name and its number.
type Open<'a> = &'a dyn Fn(&str, &str, How) -> Opened;

/// Result of the checks that open no device.
#[derive(Debug, Default)]
struct Found {
    /// Uses of storage that would be lost with the controller.
    uses: Vec<Use>,
    /// Block devices that would be lost and that seem to be idle.
    idle: Vec<String>,
    /// Paths of dm-multipath devices that must be read to find out whether they can carry I/O.
    to_read: Vec<String>,
}

impl Found {
    fn add(&mut self, device: &str, kind: UseKind) {
        self.uses.push(Use { device: device.to_owned(), kind });
    }
}

struct Check<'a> {
    watcher: &'a Watcher,
    blocks: &'a Blocks,
    ctrl: CtrlRef,
    not_counted: BTreeSet<CtrlRef>,
    /// As in [`Examined`]. A path that was not read counts as another path.
    read: &'a BTreeMap<String, bool>,
    mounts: Vec<Mount>,
    swaps: Vec<String>,
    locks: Vec<LockedInode>,
    exports: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(
        watcher: &'a Watcher,
        ctrl: CtrlRef,
        not_counted: &[CtrlRef],
        read: &'a BTreeMap<String, bool>,
    ) -> io::Result<Self> {
        let proc = &watcher.roots.proc;
        Ok(Self {
            watcher,
            blocks: &watcher.blocks,
            ctrl,
            not_counted: not_counted.iter().copied().collect(),
            read,
            mounts: mounts::of_all_namespaces(proc)?,
            swaps: swaps(&table(&proc.join("swaps"))?),
            locks: locks(&table(&proc.join("locks"))?),
            exports: exports::devices(&watcher.roots.sys)?,
        })
    }

    fn run(&self) -> io::Result<Found> {
        let mut found = Found::default();
        if ControllerDir::open(&self.watcher.roots, self.ctrl)?.is_none() {
            return Ok(found);
        }
        let device = format!("nvme{}", self.ctrl.device);
        if self.exports.iter().any(|path| self.blocks.named_by(path).as_deref() == Some(&device)) {
            // Another path does not help: the export is bound to this controller.
            found.add(&device, UseKind::Exported);
        }
        let mut last_path_to = Vec::new();
        for namespace in self.blocks.namespaces(self.ctrl.device)? {
            if found.uses.len() >= USES_MAX || self.has_other_path(&namespace)? {
                continue;
            }
            // Writes through a multipath device continue over its other path.
            if self.uses(&namespace.block, 0, &mut found)? != Multipath::HasOtherPath {
                last_path_to.push(namespace);
            }
        }
        if found.uses.is_empty() {
            self.written(&last_path_to, &mut found)?;
        }
        found.uses.truncate(USES_MAX);
        Ok(found)
    }

    /// Finds raw users by the write counts.
    fn written(&self, namespaces: &[Namespace], found: &mut Found) -> io::Result<()> {
        let mut writes = lock(&self.watcher.writes);
        for namespace in namespaces {
            if writes.recently(Instant::now(), self.blocks, self.ctrl, namespace)? {
                found.add(&namespace.block, UseKind::Written(writes::RECENT));
            }
        }
        Ok(())
    }

    /// True if another controller serves the namespace through the kernel's own multipathing.
    fn has_other_path(&self, namespace: &Namespace) -> io::Result<bool> {
        let Some(shared) = &namespace.shared else { return Ok(false) };
        for device in self.blocks.controllers(shared.subsystem)? {
            if self.is_other_path(device)? && self.blocks.serves(device, shared)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if nvmeN is another controller that is live and not being disconnected.
    fn is_other_path(&self, device: u32) -> io::Result<bool> {
        if device == self.ctrl.device {
            return Ok(false);
        }
        let Some(inode) = inode(&self.watcher.roots.class(), device)? else { return Ok(false) };
        let other = CtrlRef { device, inode };
        if self.not_counted.contains(&other) {
            return Ok(false);
        }
        let Some(dir) = ControllerDir::open(&self.watcher.roots, other)? else { return Ok(false) };
        Ok(dir.read("state")?.is_some_and(|state| CtrlState::parse(&state) == CtrlState::Live))
    }

    /// Finds the uses of a block device and its partitions. The exclusive open of a disk fails while a partition is
    /// held. Device mapper multipathing always holds its paths, so the device on top of them is opened instead.
    fn uses(&self, block: &str, depth: usize, found: &mut Found) -> io::Result<Multipath> {
        let mut not_held = Vec::new();
        let mut multipath = Multipath::No;
        for part in self.blocks.with_partitions(block)? {
            self.used(&part, found)?;
            let holders = self.blocks.holders(&part)?;
            for holder in &holders {
                multipath = multipath.max(self.held(&part, holder, depth, found)?);
            }
            if holders.is_empty() {
                not_held.push(part);
            }
        }
        match multipath {
            Multipath::No => found.idle.push(block.to_owned()),
            // Its partitions cannot be opened exclusively while the whole disk is held.
            _ if !not_held.iter().any(|part| part == block) => {}
            _ => {
                not_held.retain(|part| part != block);
                found.idle.append(&mut not_held);
            }
        }
        Ok(multipath)
    }

    /// Finds the uses of one block device, except for block devices on top of it.
    fn used(&self, part: &str, found: &mut Found) -> io::Result<()> {
        let is_part = |path: &str| self.blocks.named_by(path).as_deref() == Some(part);
        self.mounted(part, found)?;
        if self.swaps.iter().any(|swap| is_part(swap)) {
            found.add(part, UseKind::Swap);
        }
        for behind in self.blocks.loops_on(part)? {
            found.add(part, UseKind::Loop(behind));
        }
        if self.exports.iter().any(|path| is_part(path)) {
            found.add(part, UseKind::Exported);
        }
        if self.blocks.node(part).is_some_and(|node| self.locks.contains(&node)) {
            found.add(part, UseKind::Locked);
        }
        Ok(())
    }

    fn mounted(&self, part: &str, found: &mut Found) -> io::Result<()> {
        let number = self.blocks.number(part)?;
        let on = |mount: &&Mount| {
            Some(&mount.device) == number.as_ref()
                || mount.sources().any(|source| self.blocks.named_by(source).as_deref() == Some(part))
        };
        if let Some(mount) = self.mounts.iter().find(on) {
            let (point, process) = (mount.point.clone(), mount.process.clone());
            found.add(part, UseKind::Mounted { point, process });
        } else if let Some(kind) = self.blocks.file_system(part)? {
            // It is mounted in a mount namespace without a process, or under the name of another of its devices.
            found.add(part, UseKind::FileSystem(kind));
        }
        Ok(())
    }

    /// Handles a block device on top of this one. Device mapper multipathing is followed: it holds every path, used or
    /// not, and may have other paths.
    fn held(&self, part: &str, holder: &str, depth: usize, found: &mut Found) -> io::Result<Multipath> {
        let mapped = self.blocks.mapped(holder)?;
        if !mapped.as_ref().is_some_and(|mapped| mapped.is_multipath()) || depth == DEPTH {
            let name = mapped.map_or_else(|| holder.to_owned(), |mapped| format!("{} ({holder})", mapped.name));
            found.add(part, UseKind::HeldBy(name));
            return Ok(Multipath::No);
        }
        for slave in self.blocks.slaves(holder)? {
            let can_be_read = self.read.get(&slave).copied();
            if slave == part || can_be_read == Some(false) || !self.is_path(&slave)? {
                continue;
            }
            if can_be_read.is_none() {
                found.to_read.push(slave);
            }
            return Ok(Multipath::HasOtherPath);
        }
        self.uses(holder, depth + 1, found)?;
        Ok(Multipath::LastPath)
    }

    /// True if the block device is a namespace of another controller that is live and not being disconnected.
    fn is_path(&self, block: &str) -> io::Result<bool> {
        match self.blocks.controller_of(block).as_deref().and_then(CtrlRef::device_of) {
            Some(device) => self.is_other_path(device),
            None => Ok(false),
        }
    }
}

/// The text of a table in procfs. Empty if the kernel was built without that table.
fn table(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests;
