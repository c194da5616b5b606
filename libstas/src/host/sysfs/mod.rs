//! What the kernel says of its NVMe-oF controllers in /sys/class/nvme.
//!
//! A [`Scanner`] remembers what cannot change in the life of a controller, so that a look at 128 controllers is one
//! listing and one short read for each of them.

mod attributes;
mod directory;
mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) use directory::is_gone;
pub use directory::{ControllerDir, birth};

use super::Roots;
use super::registry::Registry;
use crate::core::{CtrlRef, KernelController, Look};
use entry::Entry;

/// sysfs could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct LookError {
    /// What could not be read.
    path: String,
    /// Why.
    source: io::Error,
}

/// Looks at /sys/class/nvme. One process has one, so that its looks have one order.
#[derive(Debug)]
pub struct Scanner {
    roots: Roots,
    registry: Registry,
    order: u64,
    seqnum: Option<File>,
    known: BTreeMap<CtrlRef, Known>,
    reconnected: Reconnected,
}

/// What is remembered of a controller.
#[derive(Debug)]
enum Known {
    /// Not a fabrics controller: never asked again.
    Foreign,
    Fabrics(Box<Entry>),
}

/// Where to note that the kernel has (re-)connected a controller: its source address may be another one now, and
/// the next look reads it again.
#[derive(Clone, Debug, Default)]
pub struct Reconnected(Arc<Mutex<BTreeSet<u32>>>);

impl Reconnected {
    /// nvmeN was (re-)connected.
    pub fn note(&self, device: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
    }

    fn take(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scanner {
    /// A scanner that knows nothing yet.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self {
            registry: Registry::new(&roots),
            roots,
            order: 0,
            seqnum: None,
            known: BTreeMap::new(),
            reconnected: Reconnected::default(),
        }
    }

    /// The registry that the owners of connections are read from.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Where re-connections are to be noted.
    #[must_use]
    pub fn reconnected(&self) -> Reconnected {
        self.reconnected.clone()
    }

    /// Looks at all fabrics controllers, their states included. A controller that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// When sysfs cannot be read, which says nothing about any controller.
    pub fn look(&mut self) -> Result<Look, LookError> {
        self.look_with(true)
    }

    /// A look that costs little: which controllers there are, all about the new ones, and the states of those that were
    /// not live. Of the others it says what the last look said. A re-connection is seen all the same; that a live
    /// one has lost its connection, of which no event tells, is for [`Scanner::look`] to see.
    ///
    /// # Errors
    /// As of [`Scanner::look`].
    pub fn glance(&mut self) -> Result<Look, LookError> {
        self.look_with(false)
    }

    fn look_with(&mut self, all_states: bool) -> Result<Look, LookError> {
        let seqnum = self.uevent_seqnum()?;
        let present = self.list()?;
        self.order += 1;
        self.known.retain(|ctrl, _| present.contains(ctrl));
        let reconnected = self.reconnected.take();
        let mut controllers = Vec::with_capacity(present.len());
        for ctrl in present {
            controllers.extend(self.controller(ctrl, reconnected.contains(&ctrl.device), all_states)?);
        }
        Ok(Look { order: self.order, seqnum, controllers })
    }

    /// One controller as it is now; `None` for one that is gone or foreign.
    fn controller(
        &mut self,
        ctrl: CtrlRef,
        reconnected: bool,
        all_states: bool,
    ) -> Result<Option<Arc<KernelController>>, LookError> {
        let failed = |source| LookError { path: format!("/sys/class/nvme/{ctrl}"), source };
        let mut known = match self.known.remove(&ctrl) {
            Some(Known::Foreign) => Some(Known::Foreign),
            Some(Known::Fabrics(entry)) if !all_states && !reconnected && entry.is_settled() => {
                let shown = entry.controller();
                self.known.insert(ctrl, Known::Fabrics(entry));
                return Ok(Some(shown));
            }
            Some(Known::Fabrics(mut entry)) => {
                entry.refresh(&self.roots, reconnected).map_err(failed)?.then_some(Known::Fabrics(entry))
            }
            None => match ControllerDir::open(&self.roots, ctrl).map_err(failed)? {
                Some(dir) => first_read(&dir).map_err(failed)?,
                None => None,
            },
        };
        let found = match &mut known {
            Some(Known::Fabrics(entry)) => {
                entry.set_owner(self.registry.owner(&entry.controller()));
                Some(entry.controller())
            }
            Some(Known::Foreign) | None => None,
        };
        self.known.extend(known.map(|known| (ctrl, known)));
        Ok(found)
    }

    fn list(&self) -> Result<BTreeSet<CtrlRef>, LookError> {
        let class = self.roots.class();
        let failed = |source| LookError { path: class.display().to_string(), source };
        let entries = match fs::read_dir(&class) {
            Ok(entries) => entries,
            // No NVMe driver is loaded, so there is no controller.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut present = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let device = entry.file_name().to_str().and_then(device_number);
            present.extend(device.map(|device| CtrlRef { device, birth: entry.ino() }));
        }
        Ok(present)
    }

    fn uevent_seqnum(&mut self) -> Result<u64, LookError> {
        let path: PathBuf = self.roots.sys.join("kernel/uevent_seqnum");
        let failed = |source| LookError { path: path.display().to_string(), source };
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

/// `None` when the controller is gone.
fn first_read(dir: &ControllerDir) -> io::Result<Option<Known>> {
    let Some(transport) = dir.read("transport")? else { return Ok(None) };
    let Ok(transport) = transport.parse() else { return Ok(Some(Known::Foreign)) };
    Ok(Entry::read(dir, transport)?.map(|entry| Known::Fabrics(Box::new(entry))))
}

/// The N of `nvmeN`.
#[must_use]
pub fn device_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("nvme")?;
    let number = digits.parse().ok()?;
    // The kernel writes no sign and no leading zero: `nvme07` is nobody's name.
    (digits == u32::to_string(&number)).then_some(number)
}

#[cfg(test)]
mod tests;
