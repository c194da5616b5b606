//! Snapshots of the kernel's NVMe-oF controllers in /sys/class/nvme.
//!
//! A [`Scanner`] caches everything that cannot change during the life of a controller. So a snapshot of 128 controllers
//! takes one directory listing and one short read for each of them.

mod attributes;
mod directory;
mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) use directory::is_gone;
pub use directory::{ControllerDir, inode};

use super::Roots;
use super::registry::Registry;
use entry::ClassEntry;
use stas_core::{CtrlRef, KernelController, OsError, Owner, Snapshot, SnapshotError};

/// Takes snapshots of /sys/class/nvme. One process has one scanner, so that its snapshots are ordered.
#[derive(Debug)]
pub struct Scanner {
    roots: Roots,
    registry: Registry,
    order: u64,
    seqnum: Option<File>,
    known: BTreeMap<CtrlRef, Known>,
    tls_key_proves_tls: bool,
    carriers: Carriers,
    reconnected: Reconnected,
}

/// Cached data of a controller.
#[derive(Debug)]
enum Known {
    /// Not a fabrics controller. Not read again.
    Foreign,
    Fabrics(Box<ClassEntry>),
}

/// The controllers from which this host runs (`/`, `/usr` or swap is on their subsystems), by their instance numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carriers {
    /// Exactly these.
    Known(BTreeSet<u32>),
    /// Unknown: each controller may be one.
    Unknown,
}

impl Carriers {
    /// True if this host runs from nvmeN, or if that is unknown.
    #[must_use]
    pub fn may_contain(&self, device: u32) -> bool {
        match self {
            Self::Known(devices) => devices.contains(&device),
            Self::Unknown => true,
        }
    }
}

/// Collects the controllers that the kernel has connected or reconnected: their source address may have changed, and
/// the next snapshot reads it again.
#[derive(Clone, Debug, Default)]
pub struct Reconnected(Arc<Mutex<BTreeSet<u32>>>);

impl Reconnected {
    /// Notes that nvmeN was connected or reconnected.
    pub fn note(&self, device: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
    }

    fn take(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scanner {
    /// A scanner without cached data.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self {
            registry: Registry::new(&roots),
            tls_key_proves_tls: entry::tls_key_proves_tls(&roots),
            carriers: Carriers::Known(BTreeSet::new()),
            roots,
            order: 0,
            seqnum: None,
            known: BTreeMap::new(),
            reconnected: Reconnected::default(),
        }
    }

    /// The registry from which the owners of connections are read.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Sets the controllers from which this host runs, for the snapshots from now on.
    pub fn set_carriers(&mut self, carriers: Carriers) {
        self.carriers = carriers;
    }

    /// Sets the owner of a controller that is already known, for the snapshots until it is read again.
    pub fn set_owner(&mut self, ctrl: CtrlRef, owner: Owner) {
        if let Some(Known::Fabrics(entry)) = self.known.get_mut(&ctrl) {
            entry.set_owner(owner);
        }
    }

    /// The collector of reconnected controllers.
    #[must_use]
    pub fn reconnected(&self) -> Reconnected {
        self.reconnected.clone()
    }

    /// Takes a snapshot of all fabrics controllers, with their states. Controllers that are removed meanwhile are left
    /// out.
    ///
    /// # Errors
    /// Fails if sysfs cannot be read. This proves nothing about any controller.
    pub fn snapshot(&mut self) -> Result<Snapshot, SnapshotError> {
        self.look_with(true)
    }

    /// Takes a quick snapshot: lists the controllers, reads new ones completely, and reads the states of those that
    /// were not live. All other data are as of the last snapshot. It detects reconnects, but not that a live controller
    /// has lost its connection, for which there is no event: that takes [`Scanner::snapshot`].
    ///
    /// # Errors
    /// As [`Scanner::snapshot`].
    pub fn quick_snapshot(&mut self) -> Result<Snapshot, SnapshotError> {
        self.look_with(false)
    }

    fn look_with(&mut self, all_states: bool) -> Result<Snapshot, SnapshotError> {
        let seqnum = self.uevent_seqnum()?;
        let present = self.list()?;
        self.order += 1;
        self.known.retain(|ctrl, _| present.contains(ctrl));
        let reconnected = self.reconnected.take();
        let mut controllers = Vec::with_capacity(present.len());
        for ctrl in present {
            controllers.extend(self.controller(ctrl, reconnected.contains(&ctrl.device), all_states)?);
        }
        Ok(Snapshot { order: self.order, seqnum, controllers })
    }

    /// Reads one controller. `None` if it no longer exists or is not a fabrics controller.
    fn controller(
        &mut self,
        ctrl: CtrlRef,
        reconnected: bool,
        all_states: bool,
    ) -> Result<Option<Arc<KernelController>>, SnapshotError> {
        let failed = |error| unreadable(format_args!("/sys/class/nvme/{ctrl}"), error);
        let carries_system = self.carriers.may_contain(ctrl.device);
        let mut known = match self.known.remove(&ctrl) {
            Some(Known::Foreign) => Some(Known::Foreign),
            Some(Known::Fabrics(mut entry)) if !all_states && !reconnected && entry.is_settled() => {
                entry.set_carries_system(carries_system);
                let shown = entry.controller();
                self.known.insert(ctrl, Known::Fabrics(entry));
                return Ok(Some(shown));
            }
            Some(Known::Fabrics(mut entry)) => {
                entry.refresh(&self.roots, reconnected).map_err(failed)?.then_some(Known::Fabrics(entry))
            }
            None => match ControllerDir::open(&self.roots, ctrl).map_err(failed)? {
                Some(dir) => self.first_read(&dir).map_err(failed)?,
                None => None,
            },
        };
        let found = match &mut known {
            Some(Known::Fabrics(entry)) => {
                entry.set_owner(self.registry.owner(&entry.controller()));
                entry.set_carries_system(carries_system);
                Some(entry.controller())
            }
            Some(Known::Foreign) | None => None,
        };
        self.known.extend(known.map(|known| (ctrl, known)));
        Ok(found)
    }

    /// Reads a controller for the first time. `None` if it no longer exists.
    fn first_read(&self, dir: &ControllerDir) -> io::Result<Option<Known>> {
        let Some(transport) = dir.read("transport")? else { return Ok(None) };
        let Ok(transport) = transport.parse() else { return Ok(Some(Known::Foreign)) };
        let entry = ClassEntry::read(dir, transport, self.tls_key_proves_tls)?;
        Ok(entry.map(|entry| Known::Fabrics(Box::new(entry))))
    }

    fn list(&self) -> Result<BTreeSet<CtrlRef>, SnapshotError> {
        let class = self.roots.class();
        let failed = |error| unreadable(class.display(), error);
        let entries = match fs::read_dir(&class) {
            Ok(entries) => entries,
            // No NVMe driver is loaded, so there are no controllers.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut present = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let device = entry.file_name().to_str().and_then(CtrlRef::device_of);
            present.extend(device.map(|device| CtrlRef { device, inode: entry.ino() }));
        }
        Ok(present)
    }

    fn uevent_seqnum(&mut self) -> Result<u64, SnapshotError> {
        let path: PathBuf = self.roots.sys.join("kernel/uevent_seqnum");
        let failed = |error| unreadable(path.display(), error);
        let file = match &self.seqnum {
            Some(file) => file,
            None => self.seqnum.insert(File::open(&path).map_err(failed)?),
        };
        let mut text = [0; 32];
        let length = file.read_at(&mut text, 0).map_err(failed)?;
        let number = text.get(..length).and_then(|text| str::from_utf8(text).ok()).and_then(|t| t.trim().parse().ok());
        number.ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not a number")))
    }
}

/// The error for a path that cannot be read.
fn unreadable(path: impl fmt::Display, error: io::Error) -> SnapshotError {
    SnapshotError { path: path.to_string(), error: OsError::new(error) }
}

#[cfg(test)]
mod tests;
