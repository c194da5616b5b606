//! The part of the reconciliation that both daemons share: it takes the configuration, keeps the controllers that a
//! damaged configuration may mean, marks excluded controllers, and determines which controllers may be removed. The
//! rest is in stafd's finder and stacd's connector.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::configured::{ConfigView, Configured, Defaults, Progress, SavedNames};
use super::context::Context;
use super::debounce::Debounce;
use super::effect::{HostEffect, Level, LogRecord};
use super::fleet::{Fleet, Listed, MemberView, Status};
use super::member::RemovalPolicy;
use super::ownership::Cause;
use super::secured::Secured;
use super::sources::{SourceId, Sources, Verdict};
use super::timers::Timer;
use super::{OpId, ResolveError, Time};
use stas_nvme::{HostIdentity, Parameters, Tid};

/// The payload of a claim: what a source says about a controller that it lists.
pub trait ClaimPayload: Clone + PartialEq {
    /// Creates the payload of a claim of the configuration: the controller is to be connected with these parameters.
    fn configured(parameters: Parameters) -> Self;
}

impl ClaimPayload for Parameters {
    fn configured(parameters: Parameters) -> Self {
        parameters
    }
}

/// How an excluded controller is removed, and why.
pub type Excluded = BTreeMap<Tid, (RemovalPolicy, Cause)>;

/// The result of [`Reconciler::check_removals`].
#[derive(Debug, Default)]
pub struct RemovalCheck {
    /// Members whose removal is proved; it is done when the sources are quiet.
    pub proved: Vec<Tid>,
    /// When the next removal may be proved without a further event.
    pub again: Option<Time>,
}

/// The sources of a daemon and its fleet.
#[derive(Clone, Debug)]
pub struct Reconciler<P> {
    /// `controller=` and `exclude=`, with their host names resolved.
    pub configured: Configured,
    /// What each source lists.
    pub sources: Sources<P>,
    /// The managed controllers.
    pub fleet: Fleet,
    /// Determines when the sources are quiet: removals wait for that.
    pub debounce: Debounce,
    /// Controllers of the saved state that are neither members nor removed yet.
    pub restored: BTreeSet<Tid>,
    /// Controllers that the saved configuration listed. Emptied when the configuration could be read in full.
    pub was_configured: BTreeSet<Tid>,
    /// The controllers that have secrets or TLS in the configuration, or had when it last listed them.
    pub secured: Secured,
}

impl<P: ClaimPayload> Reconciler<P> {
    /// Creates it without controllers. `names` are the last known addresses of the configured host names, `chosen`
    /// those of [`Configured::chosen_addresses`].
    #[must_use]
    pub fn new(sources: Sources<P>, fleet: Fleet, names: SavedNames, chosen: &SavedNames) -> Self {
        Self {
            configured: Configured::restore(names, chosen),
            sources,
            fleet,
            debounce: Debounce::default(),
            restored: BTreeSet::new(),
            was_configured: BTreeSet::new(),
            secured: Secured::default(),
        }
    }

    /// Takes a configuration file and the identity of this host. The configuration is part of the saved state.
    pub fn configure<'a>(
        &mut self,
        ctx: &mut Context<'_>,
        view: impl Into<ConfigView<'a>>,
        identity: Arc<HostIdentity>,
    ) {
        self.configured.set(ctx, &view.into());
        self.fleet.set_identity(ctx, identity);
        self.debounce.restart(ctx.now);
        ctx.host(HostEffect::Save);
    }

    /// Makes the controllers of the configuration claims of the configuration source. `whole` is false if a line that
    /// may be a `controller=` line is invalid: such a configuration proves no removal.
    pub fn list_configured(&mut self, ctx: &mut Context<'_>, defaults: &Defaults<'_>, whole: bool) {
        let (fleet, sources) = (&self.fleet, &self.sources);
        let progress = Progress {
            live: &|tid| fleet.is_live(tid),
            // The log page of the discovery controller at the earlier address is dropped with that address. So the page
            // of the new one must be settled first.
            arrived: &|tid| fleet.is_live(tid) && (!fleet.is_of_discovery() || sources.is_settled(tid)),
            held: &|tid| fleet.kernel(tid).is_some() || fleet.awaits_poll(tid),
            attempts: &|tid| fleet.attempts(tid),
        };
        let configured = self.configured.controllers(ctx, defaults, &progress);
        self.fleet.set_config_lines(self.configured.config_lines(defaults));
        configured.iter().for_each(|(tid, parameters)| self.secured.note(tid, parameters));
        let (fleet, restored, before) = (&self.fleet, &self.restored, &self.was_configured);
        let is_known = |tid: &Tid| fleet.has(tid) || restored.contains(tid) || before.contains(tid);
        self.secured.retain(|tid| is_known(tid) || configured.contains_key(tid));
        let claims = configured.into_iter().map(|(tid, parameters)| (tid, P::configured(parameters))).collect();
        if whole && !self.configured.awaits_a_name() {
            self.sources.set_complete(SourceId::Configured, claims);
        } else {
            self.sources.add_unproved(SourceId::Configured, claims);
        }
    }

    /// Keeps the controllers of the saved state that no source lists, if the configuration may list them. This is so if
    /// it is not `whole` (see [`Reconciler::list_configured`]) or waits for a host name
    /// ([`Configured::awaits_a_name`]). Controllers for which `has_another_source` is true are left out.
    pub fn keep_what_may_be_meant(
        &mut self,
        whole: bool,
        parameters: &Parameters,
        has_another_source: impl Fn(&Tid) -> bool,
    ) {
        if whole && !self.configured.awaits_a_name() {
            self.was_configured.clear();
            return;
        }
        let claimed: BTreeSet<&Tid> = self.sources.claims().map(|(_, tid, _)| tid).collect();
        let unclaimed = self.restored.iter().filter(|tid| !claimed.contains(tid) && !has_another_source(tid));
        let kept = unclaimed.chain(&self.was_configured);
        let secured = |tid: &Tid| P::configured(self.secured.apply(tid, parameters.clone()));
        let names = kept.map(|tid| (tid.clone(), secured(tid))).collect();
        self.sources.add_unproved(SourceId::Configured, names);
    }

    /// All listed controllers. If another source lists a controller, a claim that is kept only because of an unreadable
    /// configuration line is left out, because its parameters are from an earlier configuration.
    pub fn listed(&self) -> impl Iterator<Item = (&SourceId, &Tid, &P)> {
        let counts = |id: &SourceId, tid: &Tid| {
            *id != SourceId::Configured
                || self.configured.lists(tid)
                || self.sources.sources_of(tid).all(|other| *other == SourceId::Configured)
        };
        self.sources.listed().filter(move |(id, tid, _)| counts(id, tid))
    }

    /// True for a new controller at an address of this host, and for every new IP controller while the interfaces are
    /// unknown. mDNS, and discovery controllers that only mDNS announces, must not make this host connect to itself. A
    /// known controller is kept, even if its address becomes an address of this host later.
    #[must_use]
    pub fn is_new_at_own_address(&self, tid: &Tid) -> bool {
        let is_known = self.fleet.has(tid) || self.restored.contains(tid);
        !is_known && self.fleet.links().may_have_address_of(tid)
    }

    /// Drops claims of a source that are no longer needed. Call it after each page of the source.
    pub fn forget_unknown(&mut self, now: Time, id: &SourceId) {
        let (fleet, restored) = (&self.fleet, &self.restored);
        self.sources.forget_unknown(now, id, |tid| fleet.has(tid) || restored.contains(tid));
    }

    /// Drops the claims of an announced discovery controller on controllers that are neither members nor restored, and
    /// that its new page does not list. Call it before the page is applied.
    pub fn forget_replaced(&mut self, id: &SourceId, is_listed: impl Fn(&Tid) -> bool) {
        let (fleet, restored) = (&self.fleet, &self.restored);
        self.sources.forget_unneeded(id, |tid| is_listed(tid) || fleet.has(tid) || restored.contains(tid));
    }

    /// Takes the answer to a look-up. Returns true when that may change which controllers are listed or excluded.
    pub fn resolved(&mut self, ctx: &mut Context<'_>, op: OpId, result: &Result<Vec<IpAddr>, ResolveError>) -> bool {
        let changed = self.configured.resolved(ctx, op, result);
        if changed {
            self.debounce.restart(ctx.now);
        }
        changed
    }

    /// Handles the timers of host names. Returns true when that changes which controllers are listed or excluded.
    pub fn tick(&mut self, ctx: &mut Context<'_>, due: &[Timer]) -> bool {
        self.configured.tick(ctx, due)
    }

    /// Marks the excluded members, so that no attempt for one of them begins while another is removed. Returns the
    /// members that are wanted again because their exclusion is gone.
    pub fn mark_excluded(&mut self, ctx: &mut Context<'_>, excluded: &Excluded) -> Vec<Tid> {
        let others: Vec<Tid> = self.fleet.tids().filter(|tid| !excluded.contains_key(*tid)).cloned().collect();
        let wanted_again = others.into_iter().filter(|tid| self.fleet.exclusion_is_gone(ctx, tid)).collect();
        for (tid, (how, cause)) in excluded {
            self.fleet.mark_for_removal(tid, *how, cause.clone());
        }
        wanted_again
    }

    /// The verdict of the sources. A removal is not proved while the configuration may use the controller next as
    /// another address of a host name ([`Configured::may_use`]).
    #[must_use]
    pub fn unless_a_name_may_use_it(&self, tid: &Tid, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Disproved if self.configured.may_use(tid) => Verdict::Unproved(None),
            other => other,
        }
    }

    /// Checks which of these members may be removed, by the verdict on each.
    pub fn check_removals<'a>(
        &self,
        members: impl IntoIterator<Item = &'a Tid>,
        verdict: impl Fn(&Tid) -> Verdict,
    ) -> RemovalCheck {
        let mut check = RemovalCheck::default();
        for tid in members {
            match verdict(tid) {
                Verdict::Listed => {}
                Verdict::Unproved(at) => check.again = check.again.into_iter().chain(at).min(),
                Verdict::Disproved => check.proved.push(tid.clone()),
            }
        }
        check
    }

    /// The log pages to be read again now: doubtful pages, each logged with the text `doubt`, and pages of which a
    /// settled read is needed.
    pub fn pages_to_read_again(&mut self, ctx: &mut Context<'_>, doubt: &str) -> Vec<Tid> {
        let doubted = self.sources.doubted(ctx.now);
        let record =
            |dc: &Tid| LogRecord { level: Level::Warning, tid: Some(dc.clone()), ctrl: None, text: doubt.to_owned() };
        doubted.iter().for_each(|dc| ctx.log(record(dc)));
        doubted.into_iter().chain(self.sources.awaiting_settled(ctx.now)).collect()
    }

    /// Logs which controllers are not connected, or stay connected, because of the configuration itself.
    pub fn log_what_is_kept(&mut self, ctx: &mut Context<'_>) {
        self.configured.log_what_is_kept(ctx, &self.sources, self.fleet.tids());
    }

    /// The controllers that the configuration lists, and those that an unreadable part of it may list; to be saved.
    #[must_use]
    pub fn saved_configured(&self) -> BTreeSet<Tid> {
        self.sources.listed_by(&SourceId::Configured).chain(&self.was_configured).cloned().collect()
    }

    /// The configured controllers that the configuration itself keeps from being connected, and that are not members.
    pub fn left_out<'a>(&'a self, parameters: &'a Parameters) -> impl Iterator<Item = MemberView<'a>> {
        self.configured.left_out(parameters).filter(|view| !self.fleet.has(view.tid))
    }

    /// The state of each controller: first of the members, then of the configured controllers that are not members
    /// (excluded or unresolved).
    pub fn statuses(&self) -> impl Iterator<Item = Listed<'_>> {
        let keeps = self.configured.why_kept().is_some();
        let members = self.fleet.statuses().map(move |member| {
            let is_kept = keeps && member.ctrl.is_some() && self.configured.is_kept(&self.sources, member.tid);
            Listed { status: if is_kept { Status::Kept } else { member.status }, ..member }
        });
        members.chain(self.configured.left_out_statuses().filter(|left_out| !self.fleet.has(left_out.tid)))
    }

    /// Why a controller is in its state; `None` if the state says it all.
    #[must_use]
    pub fn reason(&self, tid: &Tid) -> Option<String> {
        let Some(member) = self.fleet.view(tid) else { return self.configured.left_out_reason(tid).map(str::to_owned) };
        let removal = || self.fleet.removal_cause(tid).map(str::to_owned);
        self.why_kept(&member).or_else(|| member.reason.clone()).or_else(removal)
    }

    /// Which sources list a controller, or why it is kept although none does. `page` precedes the name of a discovery
    /// controller whose log page lists it; `boot_record` is the record of a boot table that lists it.
    #[must_use]
    pub fn listed_by(&self, tid: &Tid, page: &str, boot_record: Option<&str>) -> String {
        if let Some(reason) = self.fleet.view(tid).and_then(|member| self.why_kept(&member)) {
            return reason;
        }
        let sources = self.sources.sources_of(tid).map(|id| match id {
            SourceId::Configured => match self.fleet.config_line(tid) {
                Some(line) => format!("controller= in {}, line {line}", self.configured.file()),
                None => format!("controller= in {}", self.configured.file()),
            },
            SourceId::Page(dc) => format!("{page} {dc}"),
            SourceId::Boot => "listed by the boot table".to_owned(),
            SourceId::Announced => "announced by mDNS".to_owned(),
            SourceId::EarlierNqn => "connected with an earlier host NQN".to_owned(),
        });
        let sources: Vec<String> = sources.collect();
        match (sources.is_empty(), boot_record) {
            (false, _) => sources.join("; "),
            (true, Some(record)) => format!("boot table: {record}"),
            (true, None) => "no source lists it any more, and its removal is not proved".to_owned(),
        }
    }

    /// Why the configuration no longer lists a controller; `None` if it never did.
    #[must_use]
    pub fn why_no_longer_configured(&self, tid: &Tid) -> Option<String> {
        let (line, file) = (self.fleet.config_line(tid)?, self.configured.file());
        Some(match self.configured.moved_away(tid, line) {
            Some((name, address)) => {
                format!("controller= in {file}, line {line}, now uses the address {address} of its host name {name}")
            }
            None => format!("controller= removed from {file} (it was line {line})"),
        })
    }

    /// Why a connected member stays connected although the configuration no longer lists it; `None` for other members.
    #[must_use]
    pub fn why_kept(&self, member: &MemberView<'_>) -> Option<String> {
        let is_kept = member.kernel.is_some() && self.configured.is_kept(&self.sources, member.tid);
        is_kept.then(|| self.configured.why_kept()).flatten()
    }
}
