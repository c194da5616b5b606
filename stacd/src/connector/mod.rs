//! The core of stacd: decides which I/O controllers are to be connected.
//!
//! stafd's log pages and the configuration are sources ([`libstas::core::sources`]) that list I/O controllers. The
//! fleet ([`libstas::core::fleet`]) connects and removes them. An I/O controller is removed when it is excluded, or
//! when every source that listed it has proved that it no longer does. The last path to storage in use is then kept,
//! unless `exclude=` matches it without a host name, or `in-use=disconnect` is set. If this host runs from that
//! storage, it is always kept.

mod audit;
mod daemon_core;
mod hostnqn_change;
mod log_limit;
mod nbft;
mod replacements;
mod saved;
mod stafd;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::conf::{DisconnectScope, Exclusion, InUse};
use libstas::core::configured::Defaults;
use libstas::core::debounce::DEBOUNCE;
use libstas::core::fleet::{Fleet, Kind, Report};
use libstas::core::line_budget::LineBudgets;
use libstas::core::member::{RemovalPolicy, Want};
use libstas::core::ownership::{Cause, Rules};
use libstas::core::reconciler::{self, Excluded, Reconciler, RemovalCheck};
use libstas::core::sources::{SourceId, Sources, Verdict};
use libstas::core::timers::Timer;
use libstas::core::trust::Trust;
use libstas::core::{HostEffect, HostEvent, Level, LogRecord, Machine, Supply, Time};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{Parameters, Tid};

pub use libstas::bus::contract::{DcPage, Origin, PageState, RemovalReason, RemovedDc, StafdView};
pub use saved::{Saved, SavedBoot, SavedClaim, SavedSource};
use wire::Context;
pub use wire::{Effect, Event, FetchError, IocView, Settings};

/// Maximum number of I/O controllers of all discovery controllers that were found by mDNS alone, or 1024 more than
/// `max-controllers-per-announced-dc` if that is larger. Any host on the network segment can announce many discovery
/// controllers.
pub const MAX_IOCS_OF_ANNOUNCED_DCS: usize = 16_384;

/// This part of the limit is reserved for discovery controllers with fewer than [`SMALL`] I/O controllers, so that a
/// few large ones cannot use up the limit.
const RESERVED_FOR_SMALL: usize = 1024;
/// A discovery controller with fewer I/O controllers than this may use the reserved part.
const SMALL: usize = 64;
/// A page may exceed its limit by this many paths for each of its subsystems. This applies to subsystems of which all
/// earlier paths are kept only because storage is in use: their target has moved to another address.
const MOVES: usize = 2;
/// Refused controllers of announced discovery controllers are checked again after this time.
const RECHECK_REFUSED_AFTER: Duration = Duration::from_secs(5);

/// The limit for the I/O controllers of all discovery controllers that were found by mDNS alone.
fn limit_of_announced(settings: &Settings) -> usize {
    MAX_IOCS_OF_ANNOUNCED_DCS.max(settings.conf.max_per_announced_dc.saturating_add(RESERVED_FOR_SMALL))
}

/// What a source says about an I/O controller that it lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IocClaim {
    /// Listed by `controller=`, with these parameters.
    Configured(Box<Parameters>),
    /// Listed by a log page, with this entry.
    Entry(Box<Entry>),
    /// Connected while this host or stafd had another host NQN.
    EarlierNqn,
}

impl reconciler::ClaimPayload for IocClaim {
    fn configured(parameters: Parameters) -> Self {
        Self::Configured(Box::new(parameters))
    }
}

/// The core of stacd.
#[derive(Clone, Debug)]
pub struct Connector {
    settings: Option<Settings>,
    supply: Supply,
    reconciler: Reconciler<IocClaim>,
    stafd: stafd::Stafd,
    nbft: nbft::NbftIocs,
    hostnqn_change: hostnqn_change::HostNqnChange,
    /// How many controllers of announced discovery controllers were refused last because of a limit.
    refused: usize,
    /// Limits the log lines that untrusted input causes.
    lines: LineBudgets,
}

impl Connector {
    /// Creates the connector from its saved state. The seed determines its jitter.
    #[must_use]
    pub fn new(saved: Saved, seed: u64) -> Self {
        let mut connector = Self {
            settings: None,
            supply: Supply::new(seed),
            reconciler: Reconciler::new(
                Sources::default(),
                Fleet::new(Kind::Io),
                saved.names.clone(),
                &saved.chosen_addresses,
            ),
            stafd: stafd::Stafd::default(),
            nbft: nbft::NbftIocs::default(),
            hostnqn_change: hostnqn_change::HostNqnChange::default(),
            refused: 0,
            lines: LineBudgets::new(log_limit::LINE_LIMITS),
        };
        connector.restore(saved);
        connector
    }

    fn configure(&mut self, ctx: &mut Context<'_>, settings: Settings) {
        let reload = self.settings.is_some();
        match reload {
            false => self.stafd.await_report(ctx.now),
            // stafd may have been reloaded, too, and have new discovery controllers whose pages it has not read yet.
            true => self.ask_again(ctx),
        }
        let ignored_iface = self.settings.as_ref().map(|before| before.conf.ignore_iface);
        let rereads_pages = ignored_iface.is_some_and(|before| before != settings.conf.ignore_iface);
        self.take_host_nqn(ctx, &settings.identity.nqn);
        self.reconciler.configure(ctx, &settings.conf, settings.identity.clone());
        let audits = settings.conf.disconnect_scope == DisconnectScope::AllMatchingTrtypes;
        self.reconciler.sources.want_settled_pages_of_all(audits);
        self.settings = Some(settings);
        self.take_rules();
        if rereads_pages {
            self.list_pages_anew(ctx);
        }
        self.keep_what_may_be_meant();
        self.reconcile(ctx);
        self.look_for_boot_connections(ctx);
        self.end_excluded(ctx);
        self.audit(ctx);
        if reload {
            let all: Vec<Tid> = self.reconciler.fleet.tids().cloned().collect();
            let reports = self.reconciler.fleet.retry_all_now(ctx, &all);
            self.reported(ctx.now, reports);
        }
    }

    /// Passes the configured rules on disconnecting to the fleet.
    fn take_rules(&mut self) {
        let Some(settings) = &self.settings else { return };
        self.reconciler.fleet.set_rules(Rules {
            scope: settings.conf.disconnect_scope,
            trtypes: settings.conf.disconnect_trtypes.clone(),
            exclusions: self.reconciler.configured.exclusions(),
            in_use: settings.conf.in_use,
        });
    }

    /// Makes the members of the fleet match the sources. Adds at once; removals wait for proof and for quiet sources.
    fn reconcile(&mut self, ctx: &mut Context<'_>) {
        let Some(settings) = self.settings.clone() else { return };
        let defaults =
            Defaults { parameters: &settings.conf.parameters, host_nqn: &settings.identity.nqn, subsysnqn: "" };
        self.reconciler.list_configured(ctx, &defaults, settings.conf.lost_line.is_none());
        self.list_earlier_nqn();
        let excluded = self.mark_excluded(ctx);
        self.stop_unproved_removals(ctx);
        let (mut wanted, refused) = self.wanted(&settings);
        self.log_refused(ctx, &settings, refused);
        self.stafd.replacements.lists(ctx.now, wanted.keys());
        wanted.retain(|tid, want| !self.reconciler.fleet.is_wanted(tid, want));
        if !wanted.is_empty() {
            let reports = self.reconciler.fleet.want_all(ctx, wanted.into_iter().collect());
            self.reported(ctx.now, reports);
        }
        self.remove(ctx, excluded);
        self.reconciler.log_what_is_kept(ctx);
    }

    /// Marks the controllers that the configuration excludes, and returns them.
    fn mark_excluded(&mut self, ctx: &mut Context<'_>) -> Excluded {
        let audited = self.audited();
        let tids = self.reconciler.fleet.tids().filter(|tid| !audited.contains(*tid));
        let excluded = tids.filter_map(|tid| {
            let (how, cause) = self.barred(tid)?;
            Some((tid.clone(), (self.nbft.policy_for(how, tid), cause)))
        });
        let excluded = excluded.collect();
        for tid in self.reconciler.mark_excluded(ctx, &excluded) {
            let restored = self.restored_want(&tid);
            self.reconciler.fleet.restore_want(&tid, restored);
        }
        excluded
    }

    /// How a controller of the saved state is wanted if no source has listed it in this run. It is connected no less
    /// securely than it was configured.
    fn restored_want(&self, tid: &Tid) -> Want {
        let parameters = self.settings.as_ref().map(|settings| settings.conf.parameters.clone());
        let parameters = self.as_secure_as_with_earlier_nqn(tid, parameters.unwrap_or_default());
        Want { parameters, trust: Trust::ConfiguredDc, ..Want::default() }
    }

    /// The controllers that the audit removes. The audit judges them again each time.
    fn audited(&self) -> BTreeSet<Tid> {
        self.reconciler.fleet.unclaimed().into_iter().map(|(tid, _)| tid).collect()
    }

    /// All listed controllers that are not excluded, and how they are wanted. Parameters of the configuration take
    /// precedence. Also returns how many controllers of announced discovery controllers are refused because of
    /// `max-controllers-per-announced-dc` or [`MAX_IOCS_OF_ANNOUNCED_DCS`]: only new ones are refused; connected and
    /// saved ones are kept.
    fn wanted(&self, settings: &Settings) -> (BTreeMap<Tid, Want>, usize) {
        let parameters = || settings.conf.parameters.clone();
        let mut wanted: BTreeMap<Tid, Want> = BTreeMap::new();
        let is_known = |tid: &Tid| self.reconciler.fleet.has(tid) || self.reconciler.restored.contains(tid);
        let fleet = &self.reconciler.fleet;
        let mut announced_total = fleet.tids().filter(|tid| fleet.is_announced_only(tid)).count();
        let total_limit = limit_of_announced(settings);
        let mut count_of_page: BTreeMap<&SourceId, usize> = BTreeMap::new();
        let mut refused: BTreeSet<&Tid> = BTreeSet::new();
        // Subsystems for which one more path is accepted, by page.
        let mut replaceable: BTreeMap<&SourceId, BTreeSet<&str>> = BTreeMap::new();
        for (id, tid, claim) in
            self.reconciler.listed().filter(|(_, tid, _)| !self.is_barred(tid) && !self.is_undecided(tid))
        {
            // The most trusted level is the smallest.
            let trust = self.trust_in(id).min(self.trust_in_boot_record(tid));
            let announced_only = trust.is_announced_only();
            if announced_only && self.reconciler.is_new_at_own_address(tid) {
                continue;
            }
            if announced_only && !is_known(tid) {
                // Also counts controllers that the page no longer lists and that are not removed yet.
                let known = || self.reconciler.sources.claimed_by(id).filter(|tid| is_known(tid)).count();
                let count = count_of_page.entry(id).or_insert_with(known);
                let limit = if *count < SMALL { total_limit } else { total_limit - RESERVED_FOR_SMALL };
                let is_beyond = *count >= settings.conf.max_per_announced_dc || announced_total >= limit;
                let mut replaces = || {
                    replaceable
                        .entry(id)
                        .or_insert_with(|| self.kept_for_use(id, settings.conf.max_per_announced_dc))
                        .remove(tid.subsysnqn.as_str())
                };
                if is_beyond && !replaces() {
                    refused.insert(tid);
                    continue;
                }
                *count += 1;
                announced_total += usize::from(!wanted.contains_key(tid));
            }
            let (parameters, attempts) = match claim {
                IocClaim::Configured(parameters) => ((**parameters).clone(), None),
                IocClaim::Entry(entry) => {
                    let attempts = settings.conf.connect_attempts_on_ncc.filter(|_| entry.eflags.ncc());
                    (parameters().listed_by(entry), attempts)
                }
                IocClaim::EarlierNqn => (self.as_secure_as_with_earlier_nqn(tid, parameters()), None),
            };
            let want = Want { parameters, trust, attempts, listed_by: id.page().cloned() };
            want.add_to(&mut wanted, tid.clone());
        }
        let refused = refused.into_iter().filter(|tid| !wanted.contains_key(*tid)).count();
        (wanted, refused)
    }

    /// The subsystems whose members of that page are all kept because of storage in use: a new path to one of these
    /// must not be refused because the old one counts.
    fn kept_for_use(&self, id: &SourceId, limit: usize) -> BTreeSet<&str> {
        let fleet = &self.reconciler.fleet;
        let members = self.reconciler.sources.claimed_by(id).filter(|tid| fleet.has(tid));
        // True for a subsystem of which all paths are kept for storage in use.
        let mut subsystems: BTreeMap<&str, bool> = BTreeMap::new();
        let mut paths = 0;
        for tid in members {
            paths += 1;
            *subsystems.entry(tid.subsysnqn.as_str()).or_insert(true) &= fleet.is_kept_for_use(tid);
        }
        if paths >= limit + MOVES * subsystems.len() {
            return BTreeSet::new();
        }
        subsystems.into_iter().filter(|(_, all_kept)| *all_kept).map(|(nqn, _)| nqn).collect()
    }

    /// Logs once that controllers of announced discovery controllers are refused.
    fn log_refused(&mut self, ctx: &mut Context<'_>, settings: &Settings, refused: usize) {
        if std::mem::replace(&mut self.refused, refused) == 0 && refused > 0 {
            let text = format!(
                "{refused} I/O controllers are not connected: their discovery controllers were found by mDNS alone, \
                 and the limit is {} for each of these and {} for all. Configure the discovery controllers in stafd.conf, \
                 or raise max-controllers-per-announced-dc= in stacd.conf",
                settings.conf.max_per_announced_dc,
                limit_of_announced(settings)
            );
            let mut record = LogRecord { level: Level::Warning, tid: None, ctrl: None, text };
            self.lines.admit(ctx.now, &mut record, None);
            ctx.log(record);
        }
    }

    /// How many I/O controllers of announced discovery controllers are refused because of a limit.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    fn keep_what_may_be_meant(&mut self) {
        let Some(settings) = &self.settings else { return };
        let (whole, parameters) = (settings.conf.lost_line.is_none(), &settings.conf.parameters);
        self.reconciler.keep_what_may_be_meant(whole, parameters, |_| false);
    }

    /// How an excluded controller is removed. If `exclude=` matches it, it is disconnected at once; if it matches only
    /// because of a host name, storage in use is kept: the resolver may give a wrong answer. If `ip-family=` excludes
    /// it, it is removed like a controller that is no longer listed, so that storage in use is kept.
    fn barred(&self, tid: &Tid) -> Option<(RemovalPolicy, Cause)> {
        if let Some(exclusion) = self.reconciler.configured.exclusion_of(tid, &tid.host_iface) {
            let cause = Cause::excluded(format!("excluded by exclude= in stacd.conf, line {}", exclusion.line));
            return Some((self.policy_of(exclusion), cause));
        }
        let cause = || Cause::barred("ip-family= in stacd.conf excludes its address");
        (!self.reconciler.configured.allows(tid)).then(|| (self.removal_policy(), cause()))
    }

    /// How an excluded connection is removed. If only a host name matches, storage in use is kept (unless
    /// `in-use=disconnect`), because the answer of a resolver may be wrong.
    fn policy_of(&self, exclusion: &Exclusion) -> RemovalPolicy {
        let in_use = self.settings.as_ref().map(|settings| settings.conf.in_use);
        match exclusion.is_name && in_use != Some(InUse::Disconnect) {
            true => RemovalPolicy::SpareInUse,
            false => RemovalPolicy::Disconnect,
        }
    }

    /// The cause of a removal for the log: the source that listed the controller last.
    fn why_removed(&self, tid: &Tid) -> Cause {
        let edit = self.reconciler.why_no_longer_configured(tid);
        let pages = self.reconciler.sources.claims_on(tid).filter_map(|(id, _)| match id {
            SourceId::Page(dc) => Some(self.stafd.no_longer_lists(dc)),
            _ => None,
        });
        let texts: Vec<String> = edit.into_iter().chain(pages).collect();
        match texts.is_empty() {
            true => Cause::removed("no source lists it any more"),
            false => Cause::removed(texts.join("; ")),
        }
    }

    /// The trust level of a source. Connections for the controllers of a page that depends on mDNS alone are used, but
    /// not claimed.
    fn trust_in(&self, id: &SourceId) -> Trust {
        match id {
            SourceId::Configured => Trust::Administrator,
            SourceId::Boot => Trust::Firmware,
            SourceId::Page(dc) if self.stafd.is_untrusted_or_unknown(dc) => Trust::AnnouncedDc,
            SourceId::Page(_) | SourceId::EarlierNqn => Trust::ConfiguredDc,
            SourceId::Announced => Trust::AnnouncedDc,
        }
    }

    /// Firmware if a boot table lists the I/O controller, otherwise the least trusted level.
    fn trust_in_boot_record(&self, tid: &Tid) -> Trust {
        if self.nbft.record_of(tid).is_some() { Trust::Firmware } else { Trust::AnnouncedDc }
    }

    /// Disconnects, or stops using, connections that match an exclusion although no excluded controller uses them
    /// ([`Fleet::end_excluded`]).
    fn end_excluded(&mut self, ctx: &mut Context<'_>) {
        let nbft = &self.nbft;
        let reports = self.reconciler.fleet.end_excluded(ctx, |tid| nbft.record_of(tid).is_some());
        self.reported(ctx.now, reports);
    }

    fn is_barred(&self, tid: &Tid) -> bool {
        self.barred(tid).is_some()
    }

    /// True for a new controller that may still turn out to be excluded. Controllers from before this run are not
    /// delayed.
    fn is_undecided(&self, tid: &Tid) -> bool {
        !self.reconciler.fleet.has(tid)
            && !self.reconciler.restored.contains(tid)
            && self.reconciler.configured.may_exclude(tid)
    }

    /// How an I/O controller that no source lists any more is removed.
    fn removal_policy(&self) -> RemovalPolicy {
        match self.settings.as_ref().map(|settings| (settings.conf.disconnect_scope, settings.conf.in_use)) {
            Some((DisconnectScope::Nothing, _)) => RemovalPolicy::Keep,
            Some((_, InUse::Disconnect)) => RemovalPolicy::Disconnect,
            _ => RemovalPolicy::SpareInUse,
        }
    }

    /// The verdict of the sources on an I/O controller. Unclear entries of other pages keep no controller that only
    /// announced discovery controllers list: these can list any number, one after the other.
    fn verdict(&self, now: Time, tid: &Tid, may_be_live: bool) -> Verdict {
        let may_be_meant = !self.reconciler.fleet.is_announced_only(tid);
        let verdict = self.reconciler.sources.verdict_of(tid, now, may_be_live, |_| true, may_be_meant);
        self.reconciler.unless_a_name_may_use_it(tid, verdict)
    }

    /// Stops removals that are no longer proved, and audit removals that the audit would no longer start. While a
    /// removal waits (for storage in use, or because the kernel refuses the disconnect), stafd may stop, a page may
    /// change, the connection to a discovery controller may be lost, or the configuration may change.
    ///
    /// Call it before each event and timer, because the fleet continues removals with each of them.
    fn stop_unproved_removals(&mut self, ctx: &mut Context<'_>) {
        self.spare_what_is_no_longer_audited(ctx);
        let fleet = &self.reconciler.fleet;
        let mut removed = fleet.removed_for_good().peekable();
        if removed.peek().is_none() {
            return;
        }
        let audited = self.audited();
        let is_unproved =
            |tid: &Tid| matches!(self.verdict(ctx.now, tid, fleet.may_be_live(tid)), Verdict::Unproved(_));
        let unproved = removed.filter(|tid| !audited.contains(*tid) && is_unproved(tid));
        let unproved: Vec<Tid> = unproved.cloned().collect();
        for tid in unproved {
            let restored = self.restored_want(&tid);
            self.reconciler.fleet.removal_is_unproved(ctx, &tid, restored);
        }
    }

    /// Removes excluded controllers at once. Removes controllers whose removal is proved when stafd has reported, the
    /// sources are quiet and the replacements are connected. Does the same for controllers of the saved state that are
    /// not members yet.
    fn remove(&mut self, ctx: &mut Context<'_>, mut excluded: Excluded) {
        let (fleet, nbft) = (&self.reconciler.fleet, &self.nbft);
        excluded.retain(|tid, _| fleet.has(tid));
        self.reconciler.restored.retain(|tid| !fleet.has(tid) && nbft.record_of(tid).is_none());
        let barred = self.reconciler.restored.iter().filter_map(|tid| Some((tid.clone(), self.barred(tid)?)));
        excluded.extend(barred);
        let audited = self.audited();
        let members = fleet.tids().chain(&self.reconciler.restored);
        let others = members.filter(|tid| !audited.contains(*tid) && !excluded.contains_key(*tid));
        // These members are being removed already: the removal was proved and the sources were quiet when it began.
        // They are marked again, because the removal policy may have changed.
        let (removed, others): (Vec<&Tid>, Vec<&Tid>) = others.partition(|tid| fleet.is_removed_for_good(tid));
        let may_be_live = |tid: &Tid| fleet.may_be_live(tid) || !fleet.has(tid);
        let verdict = |tid: &Tid| self.verdict(ctx.now, tid, may_be_live(tid));
        let removal =
            |tid: &Tid| (tid.clone(), self.nbft.policy_for(self.removal_policy(), tid), self.why_removed(tid));
        let removed = removed.into_iter().filter(|tid| verdict(tid) != Verdict::Listed).map(removal);
        let mut going: Vec<(Tid, RemovalPolicy, Cause)> = removed.collect();
        let RemovalCheck { proved, mut again } = self.reconciler.check_removals(others, verdict);
        let proved: Vec<(Tid, RemovalPolicy, Cause)> = proved.iter().map(removal).collect();
        let may_go = self.reconciler.debounce.ready(ctx.now, &proved.iter().map(|(tid, ..)| tid).collect());
        again = again.into_iter().chain(self.reconciler.debounce.next_ready(ctx.now)).min();
        going.extend(excluded.into_iter().map(|(tid, (how, cause))| (tid, how, cause)));
        self.stafd.replacements.forget_waits(|tid| proved.iter().any(|(removed, ..)| removed == tid));
        let proved = proved.into_iter().filter(|(tid, ..)| may_go.contains(tid));
        let (waiting, mut free): (Vec<_>, Vec<_>) = proved.partition(|(tid, ..)| self.awaits_replacement(ctx.now, tid));
        if !waiting.is_empty() {
            // No event reports that the last replacement is connected: check again after [`DEBOUNCE`].
            again = again.into_iter().chain([ctx.now + DEBOUNCE]).min();
        }
        going.append(&mut free);
        // No event reports that a controller was removed and a refused one fits: check again.
        if self.refused > 0 {
            again = again.into_iter().chain([ctx.now + RECHECK_REFUSED_AFTER]).min();
        }
        match again {
            Some(at) => ctx.timers.set(Timer::Removals, at),
            None => ctx.timers.cancel(&Timer::Removals),
        }
        for (tid, how, cause) in going {
            let reports = match self.reconciler.restored.remove(&tid) {
                true => self.reconciler.fleet.remove_restored(ctx, &tid, how, cause),
                false => self.reconciler.fleet.remove(ctx, &tid, how, cause),
            };
            self.reported(ctx.now, reports);
        }
    }

    /// Handles the reports of the fleet. Returns true when they may change which controllers are wanted. A new
    /// connection changes that only while a host name moves to another address, or after a change of the host NQN.
    fn reported(&mut self, now: Time, reports: Vec<Report>) -> bool {
        let awaited = self.reconciler.configured.is_moving() || !self.hostnqn_change.before().is_empty();
        let any = reports.iter().any(|report| !matches!(report, Report::Live(..)) || awaited);
        for report in reports {
            if let Report::Left(tid) = report {
                self.reconciler.sources.forget(now, &tid);
                self.reconciler.debounce.restart(now);
            }
        }
        any
    }

    fn host_event(&mut self, ctx: &mut Context<'_>, event: HostEvent) {
        let mut changed = false;
        let snapshot_taken = matches!(event, HostEvent::SnapshotTaken { .. });
        match &event {
            HostEvent::Resolved { op, result } => {
                changed = self.reconciler.resolved(ctx, *op, result);
                if changed {
                    self.take_rules();
                }
            }
            HostEvent::Links(_) => {
                self.reconciler.configured.refresh(ctx);
                changed = true;
            }
            _ => {}
        }
        let reports = self.reconciler.fleet.handle(ctx, event);
        changed |= self.reported(ctx.now, reports);
        if changed {
            self.reconcile(ctx);
        }
        if snapshot_taken {
            self.look_for_boot_connections(ctx);
            self.end_excluded(ctx);
            self.audit(ctx);
        }
    }

    fn tick(&mut self, ctx: &mut Context<'_>) {
        let mut changed = false;
        let due = ctx.timers.due(ctx.now);
        for timer in &due {
            match timer {
                Timer::FetchAll => self.fetch_all(ctx),
                Timer::Removals => changed = true,
                _ => {}
            }
        }
        let reports = self.reconciler.fleet.tick(ctx, &due);
        changed |= self.reported(ctx.now, reports);
        changed |= self.reconciler.tick(ctx, &due);
        self.read_doubted_again(ctx);
        if changed {
            self.reconcile(ctx);
        }
    }

    fn take(&mut self, ctx: &mut Context<'_>, event: Event) {
        // Not before an answer of stafd: [`Connector::reconcile`] stops removals after the answer is applied, so that a
        // page that still proves them stops none.
        if !matches!(event, Event::PageFetched { .. } | Event::AllFetched { .. }) {
            self.stop_unproved_removals(ctx);
        }
        match event {
            Event::BootTables(tables) => self.nbft.set(tables),
            Event::Configured(settings) => self.configure(ctx, *settings),
            Event::Host(event) => self.host_event(ctx, event),
            Event::Tick => self.tick(ctx),
            Event::StafdOwner(owner) => self.stafd_owner(ctx, owner),
            Event::PageChanged(dc) => self.page_changed(ctx, dc),
            Event::DcRemoved => self.fetch_all(ctx),
            Event::AllFetched { op, result } => self.all_fetched(ctx, op, result),
            Event::PageFetched { op, result } => self.page_fetched(ctx, op, result),
            // Connections are never disconnected at stop.
            Event::Stop => {
                ctx.host(HostEffect::Save);
                ctx.push(Effect::Stopped);
            }
        }
    }
}

impl Machine for Connector {
    type Event = Event;
    type Effect = Effect;

    const TICK: Event = Event::Tick;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let begin = out.len();
        let mut supply = std::mem::take(&mut self.supply);
        let ctx = &mut Context::new(now, &mut supply, out);
        self.take(ctx, event);
        self.lines.report_suppressed(now).into_iter().for_each(|record| ctx.log(record));
        self.supply = supply;
        self.limit_lines(now, out.get_mut(begin..).unwrap_or_default());
        self.reconciler.fleet.forget_just_removed();
    }

    fn deadline(&self) -> Option<Time> {
        [self.supply.deadline(), self.reconciler.sources.deadline()].into_iter().flatten().min()
    }
}
