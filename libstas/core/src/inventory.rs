//! The kernel's controllers, as of the newest snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kernel::{KernelController, Snapshot};
use super::{CtrlRef, Uevent};

/// The kernel's controllers as of the newest snapshot.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    snapshot: Snapshot,
    by_ref: BTreeMap<CtrlRef, usize>,
    snapshot_taken: bool,
    /// Controllers that this daemon has disconnected and that older snapshots may still show.
    lost: BTreeSet<CtrlRef>,
}

/// The difference between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Controllers that are in the newer snapshot only.
    pub appeared: Vec<CtrlRef>,
    /// Known controllers whose attributes are complete now: the kernel fills in sysfs attributes while it connects.
    pub identified: Vec<CtrlRef>,
    /// Controllers that no longer exist.
    pub gone: Vec<Arc<KernelController>>,
    /// Controllers that have become live.
    pub became_live: Vec<CtrlRef>,
    /// Controllers that are no longer live.
    pub lost: Vec<CtrlRef>,
}

impl Inventory {
    /// Takes a snapshot. Returns `None` if it is older than the newest one: it is ignored.
    pub fn take(&mut self, mut snapshot: Snapshot) -> Option<Diff> {
        if self.snapshot_taken && snapshot.order <= self.snapshot.order {
            return None;
        }
        self.lost.retain(|lost| snapshot.controllers.iter().any(|ctrl| ctrl.ctrl == *lost));
        snapshot.controllers.retain(|ctrl| !self.lost.contains(&ctrl.ctrl));
        let mut diff = Diff::default();
        for new in &snapshot.controllers {
            let Some(old) = self.shared(new.ctrl) else {
                diff.appeared.push(new.ctrl);
                if new.is_live() {
                    diff.became_live.push(new.ctrl);
                }
                continue;
            };
            if Arc::ptr_eq(old, new) {
                continue;
            }
            match (old.is_live(), new.is_live()) {
                (false, true) => diff.became_live.push(new.ctrl),
                (true, false) => diff.lost.push(new.ctrl),
                _ => {}
            }
            if (&old.subsysnqn, &old.traddr, old.cntrltype) != (&new.subsysnqn, &new.traddr, new.cntrltype) {
                diff.identified.push(new.ctrl);
            }
        }
        let by_ref = index(&snapshot);
        diff.gone = self.snapshot.controllers.iter().filter(|old| !by_ref.contains_key(&old.ctrl)).cloned().collect();
        self.snapshot = snapshot;
        self.by_ref = by_ref;
        self.snapshot_taken = true;
        Some(diff)
    }

    /// Records that this host may run from a controller, until the next snapshot shows whether it does.
    pub fn mark_as_carrying_system(&mut self, ctrl: CtrlRef) {
        for kernel in self.snapshot.controllers.iter_mut().filter(|kernel| kernel.ctrl == ctrl) {
            Arc::make_mut(kernel).carries_system = true;
        }
    }

    /// Records that the kernel has disconnected a controller, without waiting for a snapshot. A snapshot that was taken
    /// before that, or that still shows it as being deleted, does not bring it back. Returns true if it was known.
    pub fn lose(&mut self, ctrl: CtrlRef) -> bool {
        let known = self.by_ref.contains_key(&ctrl);
        if known {
            self.lost.insert(ctrl);
            self.snapshot.controllers.retain(|one| one.ctrl != ctrl);
            self.by_ref = index(&self.snapshot);
        }
        known
    }

    /// True once a snapshot was taken. Before that the kernel's controllers are unknown.
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.snapshot_taken
    }

    /// True when the newest snapshot was taken after that event: the event says nothing new.
    #[must_use]
    pub fn covers(&self, event: &Uevent) -> bool {
        self.snapshot_taken && event.seqnum <= self.snapshot.seqnum
    }

    /// The controller with that instance number and inode number, as of the last snapshot.
    #[must_use]
    pub fn get(&self, ctrl: CtrlRef) -> Option<&KernelController> {
        self.shared(ctrl).map(|shared| &**shared)
    }

    fn shared(&self, ctrl: CtrlRef) -> Option<&Arc<KernelController>> {
        self.by_ref.get(&ctrl).and_then(|index| self.snapshot.controllers.get(*index))
    }

    /// The controller that has that instance number now.
    #[must_use]
    pub fn device(&self, device: u32) -> Option<&KernelController> {
        let (_, index) =
            self.by_ref.range(CtrlRef { device, inode: 0 }..=CtrlRef { device, inode: u64::MAX }).next_back()?;
        self.snapshot.controllers.get(*index).map(|shared| &**shared)
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// All NVMe-oF controllers of the newest snapshot.
    pub fn iter(&self) -> impl Iterator<Item = &KernelController> {
        self.snapshot.controllers.iter().map(|shared| &**shared)
    }
}

fn index(snapshot: &Snapshot) -> BTreeMap<CtrlRef, usize> {
    snapshot.controllers.iter().enumerate().map(|(index, ctrl)| (ctrl.ctrl, index)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
