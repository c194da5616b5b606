//! Connections that the kernel cannot restore, because their interface or their source address is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Fleet;
use crate::context::Context;
use crate::kernel::{CtrlState, KernelController};
use crate::ownership::Ownership;
use crate::{CtrlRef, Time, matching};
use stas_nvme::Tid;

/// A connection in use is released only after its source has been missing for this time while the kernel reconnects it:
/// an interface without carrier for a moment, or an address that DHCP sets anew, causes no second connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Since when the source of each connection has been missing while the kernel reconnects it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stranded {
    since: BTreeMap<CtrlRef, Time>,
    /// When this was last determined.
    as_of: Time,
}

impl Stranded {
    /// True for a connection whose source has been missing for [`PATIENCE`].
    fn is_for_long(&self, ctrl: CtrlRef) -> bool {
        self.since.get(&ctrl).is_some_and(|since| *since + PATIENCE <= self.as_of)
    }

    /// When the source of the next connection will have been missing for [`PATIENCE`], after the time of the last
    /// snapshot.
    pub(super) fn next_after(&self, last: Time) -> Option<Time> {
        let ends = self.since.values().map(|since| *since + PATIENCE);
        ends.filter(|end| *end > last.max(self.as_of)).min()
    }
}

impl Fleet {
    /// Notes which connections lack their source now.
    pub(super) fn note_stranded(&mut self, now: Time) {
        let lacks_source = |kernel: &&KernelController| {
            kernel.state == CtrlState::Connecting && matching::lacks_source(kernel, &self.links)
        };
        let lacking = self.inventory.iter().filter(lacks_source).map(|kernel| kernel.ctrl);
        let since = |ctrl| self.stranded.since.get(&ctrl).copied().unwrap_or(now);
        let since = lacking.map(|ctrl| (ctrl, since(ctrl))).collect();
        self.stranded = Stranded { since, as_of: now };
    }

    /// True if a connection is not to be used for this controller, because the kernel cannot restore it.
    ///
    /// - Our own connection: if a new one may work, and only after [`PATIENCE`]. The controller may have used it before
    ///   a restart.
    /// - A connection of another program that is not live: if a new one may work, or if its interface is missing, even
    ///   if the controller is wanted on that interface.
    pub(super) fn is_stranded(&self, kernel: &KernelController, tid: &Tid) -> bool {
        let is_replaceable = matching::is_replaceable(kernel, tid, &self.links);
        match self.ownership(kernel.ctrl) {
            Ownership::Ours => is_replaceable && self.stranded.is_for_long(kernel.ctrl),
            _ => !kernel.is_live() && (is_replaceable || matching::is_bound_to_nothing(kernel, &self.links)),
        }
    }

    /// Releases connections that the kernel cannot restore. Their controllers may be reachable from another interface
    /// or address, and get connections of their own. A controller that is wanted on the missing interface or from the
    /// missing address itself keeps its connection.
    pub(super) fn release_what_is_stranded(&mut self, ctx: &mut Context<'_>) {
        let stranded = |tid: &Tid, ctrl: CtrlRef| {
            let kernel = self.inventory.get(ctrl).filter(|_| self.stranded.is_for_long(ctrl))?;
            matching::is_replaceable(kernel, tid, &self.links).then(|| (tid.clone(), ctrl, self.missing_source(kernel)))
        };
        let wanted = self.members.iter().filter(|(_, member)| member.is_wanted());
        let stranded: Vec<_> = wanted.filter_map(|(tid, member)| stranded(tid, member.ctrl()?)).collect();
        for (tid, ctrl, missing) in stranded {
            let text = format!("{ctrl} is not live, and {missing}; it stays as it is; connecting another");
            self.release(ctx, &[tid], ctrl, &text);
        }
    }

    /// What a connection lacks, for the log.
    fn missing_source(&self, kernel: &KernelController) -> String {
        match matching::is_bound_to_nothing(kernel, &self.links) {
            true => format!("its interface {} is down or absent", kernel.host_iface),
            false => format!("no interface has its source address {}", kernel.host_traddr),
        }
    }
}
