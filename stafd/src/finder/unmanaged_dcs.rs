//! Discovery controllers that stafd does not manage: while stafd overrides nvme-cli's udev rule, it does for them what
//! the rule would have done.

use std::collections::BTreeSet;

use super::{Context, Effect, Finder};

/// A kernel event of a device that no member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnmanagedEvent {
    pub(super) device: u32,
    pub(super) seqnum: u64,
}

impl Finder {
    /// Handles the events whose device a snapshot shows: before that, its type and its owner are unknown.
    pub(super) fn serve_unmanaged(&mut self, ctx: &mut Context<'_>) {
        if !self.reconciler.fleet.has_snapshot() {
            return;
        }
        let seen = self.reconciler.fleet.inventory().snapshot().seqnum;
        let (ready, waiting): (Vec<_>, Vec<_>) = self.unmanaged.drain(..).partition(|event| event.seqnum <= seen);
        self.unmanaged = waiting;
        // Several events of one device are handled once: nvme-cli reads the page after all of them.
        let devices: BTreeSet<u32> = ready.iter().map(|event| event.device).collect();
        for device in devices {
            let Some(kernel) = self.reconciler.fleet.inventory().device(device) else { continue };
            if kernel.is_discovery() && self.reconciler.fleet.holders(kernel.ctrl).is_empty() {
                ctx.push(Effect::NvmfConnect {
                    device,
                    host_traddr: kernel.host_traddr.clone(),
                    host_iface: kernel.host_iface.clone(),
                });
            }
        }
    }
}
