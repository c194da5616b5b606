//! The audit: with `disconnect-scope=all-connections-matching-disconnect-trtypes`, I/O controllers that others
//! connected go, too, if no source wants them.

use libstas::conf::DisconnectScope;
use libstas::core::controller::Parting;
use libstas::core::{KernelController, Time, reuse};
use libstas::nvme::Tid;

use super::{Connector, Effect};

impl Connector {
    /// Looks through the kernel's I/O controllers. Only when every source has had its word: before that, somebody may
    /// still want what nobody seems to want.
    pub(super) fn audit(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(settings) = &self.settings else { return };
        if settings.conf.disconnect_scope != DisconnectScope::AllMatchingTrtypes {
            return;
        }
        let all_have_spoken = self.stafd_has_told() && self.sources.all_settled(now);
        let strangers: Vec<(Tid, Parting)> = self
            .fleet
            .inventory()
            .iter()
            .filter(|kernel| kernel.is_identified() && !kernel.is_discovery())
            .filter(|kernel| self.fleet.holders(kernel.ctrl).is_empty())
            .filter_map(|kernel| {
                let tid = kernel.tid();
                if self.booted.record_of(&tid).is_some() {
                    return None;
                }
                if let Some(how) = self.barred(&tid) {
                    return Some((tid, how));
                }
                let prey = all_have_spoken
                    && settings.conf.disconnect_trtypes.contains(&kernel.transport)
                    && !self.is_claimed(kernel);
                prey.then(|| (tid, self.parting()))
            })
            .collect();
        for (tid, how) in strangers {
            self.fleet_does(now, out, |fleet, host| fleet.evict(now, &tid, how, host));
        }
    }

    /// True when a source lists, has listed, or by an unclear entry may mean what that connection serves.
    fn is_claimed(&self, kernel: &KernelController) -> bool {
        self.sources.may_mean(&kernel.tid())
            || self.sources.claims().any(|(_, tid, _)| reuse::serves(kernel, tid, self.fleet.links()))
    }
}
