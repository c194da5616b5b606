//! The audit: with `disconnect-scope=all-connections-matching-disconnect-trtypes`, I/O controllers without an owner are
//! also disconnected if no source lists them.

use libstas::conf::DisconnectScope;
use libstas::core::member::RemovalPolicy;
use libstas::core::ownership::{Cause, Decision, Reason, Scope, Why, decide};
use libstas::core::sources::{SETTLING, SourceId};
use libstas::core::{CtrlRef, KernelController, Time, matching};
use libstas::nvme::Tid;

use super::{Connector, Context};

impl Connector {
    /// Searches the kernel's I/O controllers for connections to remove.
    pub(super) fn audit(&mut self, ctx: &mut Context<'_>) {
        let Some(settings) = &self.settings else { return };
        if settings.conf.disconnect_scope != DisconnectScope::AllMatchingTrtypes {
            return;
        }
        let free = self
            .reconciler
            .fleet
            .inventory()
            .iter()
            .filter(|kernel| self.reconciler.fleet.holders(kernel.ctrl).is_empty());
        let candidates = free.filter_map(|kernel| {
            let (how, cause) = self.verdict_on(ctx.now, kernel).ok()?;
            Some((kernel.ctrl, how, cause))
        });
        let candidates: Vec<(CtrlRef, RemovalPolicy, Cause)> = candidates.collect();
        for (ctrl, how, cause) in candidates {
            let reports = self.reconciler.fleet.remove_foreign(ctx, ctrl, how, cause);
            self.reported(ctx.now, reports);
        }
    }

    /// Stops audit removals that the audit would no longer start: meanwhile the scope may have become narrower, the
    /// connection may have another owner, or a source may list it.
    pub(super) fn spare_what_is_no_longer_audited(&mut self, ctx: &mut Context<'_>) {
        let judged = self.reconciler.fleet.unclaimed().into_iter().filter_map(|(tid, ctrl)| {
            let kernel = self.reconciler.fleet.inventory().get(ctrl)?;
            Some((tid, self.verdict_on(ctx.now, kernel).err()?))
        });
        let spared: Vec<(Tid, Reason)> = judged.collect();
        for (tid, reason) in spared {
            let reports = self.reconciler.fleet.spare(ctx, &tid, &reason);
            self.reported(ctx.now, reports);
        }
    }

    /// Whether the audit may remove a connection, and how; otherwise why it is kept.
    fn verdict_on(&self, now: Time, kernel: &KernelController) -> Result<(RemovalPolicy, Cause), Reason> {
        let scope = self.reconciler.fleet.scope_of(kernel);
        if scope != Scope::Audited {
            return Err(Reason::OutOfScope);
        }
        let tid = kernel.tid();
        let (how, cause) = match self.reconciler.configured.exclusion_of(&tid, &kernel.host_iface) {
            Some(exclusion) => {
                let text = format!("exclude= in stacd.conf, line {} matches this connection", exclusion.line);
                (self.policy_of(exclusion), Cause::new(Why::Excluded { matched: true }, text))
            }
            None => {
                let proved = self.all_sources_complete(now) && !self.is_claimed(kernel);
                let text = "no source lists it (disconnect-scope=all-connections-matching-disconnect-trtypes)";
                (self.removal_policy(), Cause::new(Why::Unclaimed { proved }, text))
            }
        };
        let booted = self.nbft.record_of(&tid).is_some();
        match decide(&self.reconciler.fleet.ownership(kernel.ctrl), scope, cause.why, booted) {
            Decision::Disconnect => Ok((how, cause)),
            Decision::Keep(reason) => Err(reason),
        }
    }

    /// True when the lists of all sources are complete: stafd has reported everything and has run long enough for
    /// announcements to arrive, and there is at least one source.
    fn all_sources_complete(&self, now: Time) -> bool {
        let pages = self.reconciler.sources.ids().any(|id| matches!(id, SourceId::Page(_)));
        let configured = self.reconciler.sources.listed_by(&SourceId::Configured).next().is_some();
        (pages || configured) && self.stafd_has_reported_for(now, SETTLING) && self.reconciler.sources.all_settled(now)
    }

    /// True when a source lists, has listed, or may mean by an unclear entry the controller of that connection.
    fn is_claimed(&self, kernel: &KernelController) -> bool {
        self.reconciler.sources.may_mean(&kernel.tid())
            || self.reconciler.configured.may_use(&kernel.tid())
            || self
                .reconciler
                .sources
                .claims()
                .any(|(_, tid, _)| matching::serves(kernel, tid, self.reconciler.fleet.links()))
    }
}
