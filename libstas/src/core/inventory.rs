//! The one who knows the kernel's controllers: looks at sysfs, merged in the order in which they were taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kernel::{KernelController, Look};
use super::{CtrlRef, Uevent};

/// The kernel's controllers as of the newest look.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    look: Look,
    by_ref: BTreeMap<CtrlRef, usize>,
    looked: bool,
    /// Those that this daemon has had disconnected, until a look shows so.
    lost: BTreeSet<CtrlRef>,
}

/// What a look has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Controllers that were not there before.
    pub appeared: Vec<CtrlRef>,
    /// Controllers that were there, and of which more is known now: the kernel fills their attributes in by and by.
    pub identified: Vec<CtrlRef>,
    /// Controllers that are no longer there.
    pub gone: Vec<Arc<KernelController>>,
    /// Controllers that were not live and now are.
    pub became_live: Vec<CtrlRef>,
    /// Controllers that were live and no longer are.
    pub lost: Vec<CtrlRef>,
}

impl Inventory {
    /// Takes a look in. `None` when it is older than what is known already: it then says nothing.
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

    /// A controller has been disconnected: the kernel has said so, and no look is needed to know it. A look that was
    /// taken before that, and one in which it is still on its way out, do not bring it back. True if it was known.
    pub fn lose(&mut self, ctrl: CtrlRef) -> bool {
        let known = self.by_ref.contains_key(&ctrl);
        if known {
            self.lost.insert(ctrl);
            self.look.controllers.retain(|one| one.ctrl != ctrl);
            self.by_ref = index(&self.look);
        }
        known
    }

    /// True once a look was taken: before that nobody knows what the kernel has.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    /// True when the newest look was taken after that event: the event is then old news.
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

    /// The controller that bears that device number now.
    #[must_use]
    pub fn device(&self, device: u32) -> Option<&KernelController> {
        let (_, index) =
            self.by_ref.range(CtrlRef { device, birth: 0 }..=CtrlRef { device, birth: u64::MAX }).next_back()?;
        self.look.controllers.get(*index).map(|shared| &**shared)
    }

    /// The newest look.
    #[must_use]
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// All NVMe-oF controllers of the last snapshot.
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
