//! The kernel's controllers, as of the newest snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kernel::{KernelController, Look};
use super::{CtrlRef, Uevent};

/// The kernel's controllers as of the newest snapshot.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    look: Look,
    by_ref: BTreeMap<CtrlRef, usize>,
    looked: bool,
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
    pub fn take(&mut self, mut look: Look) -> Option<Diff> {
        if self.looked && look.order <= self.look.order {
            return None;
        }
        self.lost.retain(|lost| look.controllers.iter().any(|ctrl| ctrl.ctrl == *lost));
        look.controllers.retain(|ctrl| !self.lost.contains(&ctrl.ctrl));
        let mut diff = Diff::default();
        for new in &look.controllers {
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
        let by_ref = index(&look);
        diff.gone = self.look.controllers.iter().filter(|old| !by_ref.contains_key(&old.ctrl)).cloned().collect();
        self.look = look;
        self.by_ref = by_ref;
        self.looked = true;
        Some(diff)
    }

    /// Records that the kernel has disconnected a controller, without waiting for a snapshot. A snapshot that was taken
    /// before that, or that still shows it as being deleted, does not bring it back. Returns true if it was known.
    pub fn lose(&mut self, ctrl: CtrlRef) -> bool {
        let known = self.by_ref.contains_key(&ctrl);
        if known {
            self.lost.insert(ctrl);
            self.look.controllers.retain(|one| one.ctrl != ctrl);
            self.by_ref = index(&self.look);
        }
        known
    }

    /// True once a snapshot was taken. Before that the kernel's controllers are unknown.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    /// True when the newest snapshot was taken after that event: the event says nothing new.
    #[must_use]
    pub fn covers(&self, event: &Uevent) -> bool {
        self.looked && event.seqnum <= self.look.seqnum
    }

    /// The controller with that device number and birth, as of the last snapshot.
    #[must_use]
    pub fn get(&self, ctrl: CtrlRef) -> Option<&KernelController> {
        self.shared(ctrl).map(|shared| &**shared)
    }

    fn shared(&self, ctrl: CtrlRef) -> Option<&Arc<KernelController>> {
        self.by_ref.get(&ctrl).and_then(|index| self.look.controllers.get(*index))
    }

    /// The controller that has that device number now.
    #[must_use]
    pub fn device(&self, device: u32) -> Option<&KernelController> {
        let (_, index) =
            self.by_ref.range(CtrlRef { device, birth: 0 }..=CtrlRef { device, birth: u64::MAX }).next_back()?;
        self.look.controllers.get(*index).map(|shared| &**shared)
    }

    /// The newest snapshot.
    #[must_use]
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// All NVMe-oF controllers of the newest snapshot.
    pub fn iter(&self) -> impl Iterator<Item = &KernelController> {
        self.look.controllers.iter().map(|shared| &**shared)
    }
}

fn index(look: &Look) -> BTreeMap<CtrlRef, usize> {
    look.controllers.iter().enumerate().map(|(index, ctrl)| (ctrl.ctrl, index)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
