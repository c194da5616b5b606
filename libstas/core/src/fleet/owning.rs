//! Which connections are ours, which may be adopted, and the check before every disconnect (doc/ownership.md).

use std::collections::BTreeSet;

use super::{Fleet, Kind, Report};
use crate::conf::InUse;
use crate::context::Context;
use crate::effect::{HostEffect, Level};
use crate::kernel::{Gained, KernelController, Owner};
use crate::member::{Member, RemovalPolicy};
use crate::ownership::{Cause, Decision, Instance, Ownership, Reason, Rules, SavedParameters, Scope, Why, decide};
use crate::trust::Trust;
use crate::{CtrlRef, matching};
use stas_nvme::{Parameters, Tid};

impl Fleet {
    /// Sets the configured rules on disconnecting and adopting.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Restores which connections were ours. `None`: an earlier version saved only the controllers, not their
    /// connections. Connections that serve these controllers at the first snapshot are ours, unless another
    /// orchestrator owns them.
    pub fn restore(&mut self, instances: Option<Vec<Instance>>, members: &BTreeSet<Tid>) {
        match instances {
            Some(instances) => {
                for instance in &instances {
                    // Only whether a path is trusted is saved: any trusted level stands for all of them.
                    let level = |announced_only| if announced_only { Trust::AnnouncedDc } else { Trust::ConfiguredDc };
                    self.path_trust.extend(instance.announced_only.map(|only| (instance.ctrl, level(only))));
                }
                self.ours = instances.into_iter().map(|instance| (instance.ctrl, instance)).collect();
            }
            None => self.ours_by_name = members.clone(),
        }
    }

    /// The connections that are ours, to be saved; `None` until the state of an earlier version has been resolved.
    /// `restored`: the controllers of the saved state that are no members yet. They stay holders, or their removal after
    /// another restart would not find the connection.
    #[must_use]
    pub fn instances(&self, restored: &BTreeSet<Tid>) -> Option<Vec<Instance>> {
        if !self.ours_by_name.is_empty() {
            return None;
        }
        let with_holders = |instance: &Instance| {
            let now = self.holders(instance.ctrl).into_iter().cloned();
            // Before the first snapshot no member holds its connection yet.
            let before = instance.holders.iter();
            let before = before.filter(|tid| !self.has_snapshot() || restored.contains(*tid)).cloned();
            let announced_only = self.path_trust.get(&instance.ctrl).map(|level| level.is_announced_only());
            Instance { holders: now.chain(before).collect(), announced_only, ..instance.clone() }
        };
        Some(self.ours.values().map(with_holders).collect())
    }

    /// The owner of a connection.
    #[must_use]
    pub fn ownership(&self, ctrl: CtrlRef) -> Ownership {
        match self.inventory.get(ctrl) {
            Some(kernel) => Ownership::of(&kernel.owner, self.ours.get(&ctrl).map(|instance| instance.gained)),
            None => Ownership::Unknown,
        }
    }

    /// At the first snapshot, makes the connections ours that serve the controllers which an earlier version saved.
    pub(super) fn find_saved_connections(&mut self) {
        let discovery = self.kind == Kind::Discovery;
        for tid in std::mem::take(&mut self.ours_by_name) {
            let free = self.inventory.iter().filter(|kernel| matches!(kernel.owner, Owner::None | Owner::Stas(_)));
            if let Some(ctrl) = matching::best(free, &tid, &self.links, discovery).map(|kernel| kernel.ctrl) {
                let new = || Instance {
                    ctrl,
                    gained: Gained::Adopted,
                    tid: tid.clone(),
                    holders: BTreeSet::new(),
                    parameters: None,
                    announced_only: None,
                };
                self.ours.entry(ctrl).or_insert_with(new).holders.insert(tid);
            }
        }
    }

    /// Drops what is recorded about connections that no longer exist.
    pub(super) fn forget_what_is_gone(&mut self) {
        let exists = |ctrl: CtrlRef| self.inventory.get(ctrl).is_some();
        self.ours.retain(|ctrl, _| exists(*ctrl));
        self.path_trust.retain(|ctrl, _| exists(*ctrl));
        self.rotation.retain(exists);
        self.counters.retain(exists);
    }

    /// Records that a connection is ours from now on.
    pub(super) fn own(&mut self, ctrl: CtrlRef, gained: Gained, tid: &Tid, parameters: Option<&Parameters>) {
        let parameters = parameters.map(SavedParameters::of);
        let holders = BTreeSet::new();
        let instance = Instance { ctrl, gained, tid: tid.clone(), holders, parameters, announced_only: None };
        self.ours.insert(ctrl, instance);
    }

    /// Makes the connection of a member ours, in memory and in the registry, if it has no owner and the member is
    /// trusted enough ([`Ownership::may_be_claimed`]). This is unrelated to the claims of sources on controllers.
    pub(super) fn claim(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef) {
        let Some(member) = self.members.get(tid).filter(|member| member.is_wanted()) else { return };
        if !self.ownership(ctrl).may_be_claimed(member.want.trust) {
            return;
        }
        self.own(ctrl, Gained::Adopted, tid, None);
        ctx.host(HostEffect::Claim(ctrl));
        ctx.host(HostEffect::Save);
    }

    /// The parameters with which a connection was made. `None` if they are unknown, or if the connection was made for
    /// another controller.
    pub(super) fn made_with(&self, tid: &Tid, ctrl: CtrlRef, wanted: &Parameters) -> Option<Parameters> {
        let instance = self.ours.get(&ctrl).filter(|instance| instance.tid == *tid)?;
        Some(instance.parameters.as_ref()?.with_secrets_of(wanted))
    }

    /// True when a connection may be adopted for a controller: no exclusion matches it, and it is not stranded
    /// ([`Fleet::is_stranded`]).
    pub(super) fn is_usable(&self, kernel: &KernelController, tid: &Tid) -> bool {
        self.rules.exclusions.matching_connection(kernel).is_none() && !self.is_stranded(kernel, tid)
    }

    /// True if it cannot be decided yet whether a connection of another program may be adopted: it is not live and is
    /// bound to an interface or a source address, and the interfaces are unknown.
    pub(super) fn depends_on_links(&self, ctrl: CtrlRef) -> bool {
        let is_bound = |kernel: &KernelController| {
            !kernel.is_live() && (!kernel.host_iface.is_empty() || matching::has_source_address(kernel))
        };
        self.links.0.is_empty()
            && self.inventory.get(ctrl).is_some_and(is_bound)
            && self.ownership(ctrl) != Ownership::Ours
    }

    /// The live connections that may be adopted and that no member uses.
    #[must_use]
    pub fn adoptable(&self) -> Vec<&KernelController> {
        let held: BTreeSet<CtrlRef> = self.members.values().filter_map(Member::ctrl).collect();
        let discovery = self.is_of_discovery();
        let is_adoptable = |kernel: &&KernelController| {
            kernel.is_live()
                && matching::may_be_taken_over(kernel, discovery)
                && !held.contains(&kernel.ctrl)
                && self.rules.exclusions.matching_connection(kernel).is_none()
        };
        self.inventory.iter().filter(is_adoptable).collect()
    }

    /// The connections that serve a controller but are not adopted for it.
    pub(super) fn passed_over_for(&self, tid: &Tid) -> BTreeSet<CtrlRef> {
        let serving = self.inventory.iter().filter(|kernel| matching::serves(kernel, tid, &self.links));
        serving.filter(|kernel| !self.is_usable(kernel, tid)).map(|kernel| kernel.ctrl).collect()
    }

    /// The connection that a controller had when the state was saved, or that the registry has recorded for it since
    /// then. A connection that the kernel is already deleting is used only if there is no other one.
    pub(super) fn own_connection(&self, tid: &Tid) -> Option<CtrlRef> {
        let is_there = |ctrl: CtrlRef| {
            self.inventory.get(ctrl).is_some() && !self.disconnecting.values().any(|going| *going == ctrl)
        };
        let is_going = |ctrl: CtrlRef| self.inventory.get(ctrl).is_some_and(KernelController::is_being_deleted);
        let saved = self.ours.values().filter(|instance| is_there(instance.ctrl));
        let saved = saved.filter_map(|instance| {
            let is_its = instance.tid == *tid;
            let rank = (is_going(instance.ctrl), !instance.holders.contains(tid), !is_its);
            (is_its || instance.holders.contains(tid)).then_some((rank, instance.ctrl))
        });
        let saved = saved.min_by_key(|(rank, _)| *rank).map(|(_, ctrl)| ctrl);
        let recorded = || {
            let ours = self.inventory.iter().filter(|kernel| matches!(kernel.owner, Owner::Stas(_)));
            let free = ours.filter(|kernel| is_there(kernel.ctrl) && !self.ours.contains_key(&kernel.ctrl));
            matching::best(free, tid, &self.links, self.kind == Kind::Discovery).map(|kernel| kernel.ctrl)
        };
        saved.filter(|ctrl| !is_going(*ctrl)).or_else(recorded).or(saved)
    }

    /// True if the controller held this connection when the state was saved.
    pub(super) fn held_before(&self, tid: &Tid, ctrl: CtrlRef) -> bool {
        self.ours.get(&ctrl).is_some_and(|instance| instance.holders.contains(tid))
    }

    /// Whether a connection may be disconnected now.
    pub(super) fn decide(&self, ctrl: CtrlRef, booted: bool, cause: &Cause) -> Decision {
        let Some(kernel) = self.inventory.get(ctrl) else { return Decision::Keep(Reason::UnknownOwner) };
        let why = match cause.why {
            Why::Excluded { .. } => Why::Excluded { matched: self.is_excluded(kernel) },
            why => why,
        };
        decide(&self.ownership(ctrl), self.scope_of(kernel), why, booted)
    }

    /// True for an I/O controller if this host runs from its subsystem, or if that is unknown.
    pub(super) fn carries_system(&self, ctrl: CtrlRef) -> bool {
        self.kind == Kind::Io && self.inventory.get(ctrl).is_some_and(|kernel| kernel.carries_system)
    }

    /// The scope for one connection.
    #[must_use]
    pub fn scope_of(&self, kernel: &KernelController) -> Scope {
        match self.kind {
            Kind::Io => self.rules.scope_of(kernel),
            Kind::Discovery => Scope::Ours,
        }
    }

    /// True when an exclusion matches a connection: by what the kernel reports, or by the parameters with which this
    /// daemon connected it.
    fn is_excluded(&self, kernel: &KernelController) -> bool {
        let asked = self.ours.get(&kernel.ctrl).filter(|instance| instance.gained == Gained::Connected);
        let exclusions = &self.rules.exclusions;
        exclusions.matching_connection(kernel).is_some()
            || asked.is_some_and(|instance| exclusions.matching(&instance.tid, &instance.tid.host_iface).is_some())
    }

    /// Logs the cause and disconnects exactly that connection, if it may be disconnected.
    pub(super) fn disconnect(
        &mut self,
        ctx: &mut Context<'_>,
        ctrl: CtrlRef,
        booted: bool,
        cause: &Cause,
        recheck_use: Option<Vec<CtrlRef>>,
    ) -> Result<(), Reason> {
        if self.disconnecting.values().any(|going| *going == ctrl) {
            return Ok(());
        }
        if let Decision::Keep(reason) = self.decide(ctrl, booted, cause) {
            return Err(reason);
        }
        let holders = self.holders(ctrl).into_iter().next().cloned();
        let about = holders.or_else(|| self.inventory.get(ctrl).map(KernelController::tid));
        if let Some(tid) = about {
            ctx.log_about(Level::Info, &tid, Some(ctrl), format!("disconnecting: {}", cause.text));
        }
        let op = ctx.next_op();
        self.disconnecting.insert(op, ctrl);
        self.counters.disconnects(cause.why);
        self.check_is_overtaken = self.checking.is_some();
        for member in self.members.values_mut().filter(|member| member.ctrl() == Some(ctrl)) {
            member.disconnect_requested = true;
            member.kept = None;
        }
        let ends_use = self.kind == Kind::Io && cause.why.ends_use();
        ctx.host(HostEffect::Disconnect { op, ctrl, ends_use, recheck_use });
        Ok(())
    }

    /// Removes a connection that no member holds (audit scope): creates a member for exactly that connection and
    /// removes it. Does nothing while another member has the same identity; the next audit tries again.
    pub fn remove_foreign(
        &mut self,
        ctx: &mut Context<'_>,
        ctrl: CtrlRef,
        how: RemovalPolicy,
        cause: Cause,
    ) -> Vec<Report> {
        let Some(tid) = self.inventory.get(ctrl).map(KernelController::tid) else { return Vec::new() };
        if self.members.contains_key(&tid) {
            return Vec::new();
        }
        let mut member = Member::for_removal(how, cause);
        member.hold(ctx.now, ctrl);
        self.members.insert(tid.clone(), member);
        self.dirty.insert(tid);
        self.work(ctx)
    }

    /// The members that the audit removes because no source lists them ([`Why::Unclaimed`]), with their connections.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<(Tid, CtrlRef)> {
        let unclaimed =
            |member: &&Member| member.cause.as_ref().is_some_and(|cause| matches!(cause.why, Why::Unclaimed { .. }));
        let members = self.members.iter().filter(|(_, member)| unclaimed(member));
        members.filter_map(|(tid, member)| Some((tid.clone(), member.ctrl()?))).collect()
    }

    /// Stops the removal of an unclaimed connection: the connection is kept, and its member is dropped.
    pub fn spare(&mut self, ctx: &mut Context<'_>, tid: &Tid, reason: &Reason) -> Vec<Report> {
        let going = self.members.get(tid).and_then(Member::ctrl);
        if going.is_some_and(|ctrl| self.disconnecting.values().any(|one| *one == ctrl)) {
            return Vec::new();
        }
        self.remove_without_disconnect(ctx, tid, reason);
        std::mem::take(&mut self.reports)
    }

    /// Disconnects connections that match an exclusion, if [`decide`] allows it: those that a controller uses although
    /// it is not excluded itself, and those of ours that no controller uses (after a restart, a controller may have
    /// found another connection).
    ///
    /// A connection that must stay is no longer used. A controller that loses its connection gets another one, unless
    /// it was only kept. `is_booted` says whether a boot table lists a controller.
    pub fn end_excluded(&mut self, ctx: &mut Context<'_>, is_booted: impl Fn(&Tid) -> bool) -> Vec<Report> {
        let is_used = |member: &&Member| member.is_wanted() || member.kept.is_some();
        let held: BTreeSet<CtrlRef> = self.members.values().filter_map(Member::ctrl).collect();
        let used: BTreeSet<CtrlRef> = self.members.values().filter(is_used).filter_map(Member::ctrl).collect();
        let unused = self.ours.keys().filter(|ctrl| self.ownership(**ctrl) == Ownership::Ours && !held.contains(ctrl));
        for ctrl in used.union(&unused.copied().collect()).copied() {
            let Some(kernel) = self.inventory.get(ctrl) else { continue };
            let Some(exclusion) = self.rules.exclusions.matching_connection(kernel) else { continue };
            // With in-use=keep, a match by host name alone does not disconnect here, because the resolver may be wrong.
            // Storage from which this host runs is not disconnected here either. The removal of an excluded controller
            // checks for use first; the connection of any other controller, or of none, stays.
            let is_doubted = exclusion.is_name && self.kind == Kind::Io && self.rules.in_use == InUse::Keep;
            if is_doubted || self.carries_system(ctrl) || self.is_counted_by_disconnect(ctrl) {
                continue;
            }
            let text = format!("exclude= in line {} matches this connection", exclusion.line);
            let holders = self.holding(ctrl);
            let booted = is_booted(&kernel.tid()) || holders.iter().any(&is_booted);
            match self.disconnect(ctx, ctrl, booted, &Cause::excluded(text.clone()), None) {
                Ok(()) => {}
                Err(reason) if reason.may_change() => {}
                Err(reason) => {
                    let text = format!("{text}, but it stays connected: {reason}; another connection is made instead");
                    let is_wanted = |tid: &Tid| self.members.get(tid).is_some_and(Member::is_wanted);
                    let wanted: Vec<Tid> = holders.into_iter().filter(is_wanted).collect();
                    self.release(ctx, &wanted, ctrl, &text);
                }
            }
        }
        self.work(ctx)
    }

    /// Releases connections that no longer serve their controller, as shown by the snapshot: the source address may
    /// have moved to another interface. Connections that this daemon made for the controller are not checked.
    pub(super) fn release_what_no_longer_serves(&mut self, ctx: &mut Context<'_>) {
        let made_for = |ctrl: CtrlRef, tid: &Tid| {
            let instance = self.ours.get(&ctrl);
            instance.is_some_and(|instance| instance.gained == Gained::Connected && instance.tid == *tid)
        };
        let moved = |tid: &Tid, ctrl: CtrlRef| {
            let kernel = self.inventory.get(ctrl)?;
            let known = kernel.is_live() && kernel.src_addr.is_some() && !made_for(ctrl, tid);
            (known && !matching::serves(kernel, tid, &self.links)).then(|| (tid.clone(), ctrl, kernel.src_addr))
        };
        let wanted = self.members.iter().filter(|(_, member)| member.is_wanted());
        let moved: Vec<_> = wanted.filter_map(|(tid, member)| moved(tid, member.ctrl()?)).collect();
        for (tid, ctrl, source) in moved {
            let source = source.map(|address| address.to_string()).unwrap_or_default();
            let text = format!("{ctrl} no longer serves it, its source address is {source} now; connecting another");
            self.release(ctx, &[tid], ctrl, &text);
        }
    }

    /// Makes these members stop using their connection, without disconnecting it. They get another one.
    pub(super) fn release(&mut self, ctx: &mut Context<'_>, tids: &[Tid], ctrl: CtrlRef, text: &str) {
        for tid in tids {
            let Some(member) = self.members.get_mut(tid) else { continue };
            member.release();
            self.reports.push(Report::Lost(tid.clone(), ctrl));
            self.dirty.insert(tid.clone());
            ctx.log_about(Level::Warning, tid, Some(ctrl), text.to_owned());
        }
        ctx.host(HostEffect::Save);
    }
}
