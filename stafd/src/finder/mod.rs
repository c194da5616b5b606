//! The core of stafd: decides which discovery controllers are to be connected, and what is read from them.
//!
//! Sources list discovery controllers ([`libstas::core::sources`]); the fleet connects them ([`libstas::core::fleet`]).
//! The finder reads their log pages (`reading`), makes referrals a source, and publishes everything on D-Bus. A
//! discovery controller is removed when it is excluded, when it was neither announced nor connected for too long, or
//! when every source that listed it has proved that it no longer does.

mod admission_queue;
mod announced_dcs;
mod daemon_core;
mod discovery_controller;
mod mdns;
mod nbft;
mod optional;
mod page_room;
mod polling;
mod quotas;
mod reachability;
mod reading;
mod registration;
mod saved;
mod unmanaged_dcs;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use libstas::bus::contract::RemovalReason;
use libstas::core::configured::Defaults;
use libstas::core::debounce::DEBOUNCE;
use libstas::core::fleet::{Fleet, Kind, Report};
use libstas::core::line_budget::LineBudgets;
use libstas::core::member::{RemovalPolicy, Want};
use libstas::core::ownership::{Cause, Rules, Why};
use libstas::core::reconciler::{Excluded, Reconciler, RemovalCheck};
use libstas::core::sources::{SourceId, Sources, Verdict};
use libstas::core::timers::Timer;
use libstas::core::trust::Trust;
use libstas::core::{CtrlRef, HostEffect, HostEvent, Level, LogRecord, Machine, Supply, Time, UeventKind};
use libstas::nvme::{DISCOVERY_NQN, Parameters, Tid};

pub use announced_dcs::SavedAnnounced;
use discovery_controller::{Connection, DiscoveryController};
use optional::Command;
pub use saved::{Saved, SavedDc};
use wire::Context;
pub use wire::{
    ANNOUNCED_PAGES_MAX, DcView, Effect, Event, NotRegistered, ReadFailure, RefreshError, RegisterError,
    RegisterRequest, Removed, Settings,
};

/// A page that loses all its live referrals is doubtful even if there was only one: all storage behind a page may
/// depend on one referral.
const DOUBTFUL_LOSS: usize = 1;
/// Maximum number of removed discovery controllers remembered.
const REMOVED_KEPT: usize = 1024;
/// Longest wait for disconnects at stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The core of stafd.
#[derive(Clone, Debug)]
pub struct Finder {
    settings: Option<Settings>,
    supply: Supply,
    reconciler: Reconciler<Parameters>,
    dcs: BTreeMap<Tid, DiscoveryController>,
    removed: BTreeMap<Tid, Removed>,
    announced: announced_dcs::AnnouncedDcs,
    nbft: nbft::NbftDcs,
    /// True while the mDNS browser is to run.
    browsing: bool,
    /// Limits the log lines that untrusted input causes.
    lines: LineBudgets,
    /// Kernel events of discovery controllers that no member holds, not handled yet.
    unmanaged: Vec<unmanaged_dcs::UnmanagedEvent>,
    /// Discovery controllers that aged out. Such a controller stays in this set while it is a member, and while its
    /// referrals are kept because their targets are live. If a target refers back to it, it becomes a member again. The
    /// set then still shows that it aged out: neither of them may be removed while it is live.
    aged_out: BTreeSet<Tid>,
    /// Discovery controllers that a boot table listed before this run.
    was_booted: BTreeSet<Tid>,
    /// Polls that were interrupted by a restart of stafd.
    old_polls: Vec<CtrlRef>,
    stopping: bool,
    /// The last value of [`Self::lists_all_but_announced`] that was signalled.
    was_complete: bool,
    /// True if the configuration has been applied.
    is_configured: bool,
    /// How many discovery controllers are refused because of a limit.
    refused: quotas::Refused,
    /// True if log pages refer to controllers that are reached by too many referrals in a row.
    refers_too_deep: bool,
    /// When the last event or tick was handled.
    handled: Time,
}

impl Finder {
    /// Creates the finder from its saved state. The seed determines its jitter.
    #[must_use]
    pub fn new(saved: Saved, seed: u64) -> Self {
        let mut finder = Self {
            settings: None,
            supply: Supply::new(seed),
            reconciler: Reconciler::new(
                Sources::doubting(DOUBTFUL_LOSS),
                Fleet::new(Kind::Discovery),
                saved.names.clone(),
                &saved.chosen_addresses,
            ),
            dcs: BTreeMap::new(),
            removed: BTreeMap::new(),
            announced: announced_dcs::AnnouncedDcs::default(),
            nbft: nbft::NbftDcs::default(),
            browsing: false,
            lines: LineBudgets::new(mdns::LINE_LIMITS),
            unmanaged: Vec::new(),
            aged_out: BTreeSet::new(),
            was_booted: BTreeSet::new(),
            old_polls: Vec::new(),
            stopping: false,
            was_complete: true,
            is_configured: false,
            refused: quotas::Refused::default(),
            refers_too_deep: false,
            handled: Time::default(),
        };
        finder.restore(saved);
        finder
    }

    fn configure(&mut self, ctx: &mut Context<'_>, settings: Settings) {
        let reload = self.settings.is_some();
        self.reconciler.configure(ctx, &settings.conf, settings.identity.clone());
        let is_pleo_new = self.settings.as_ref().is_some_and(|before| !before.conf.pleo && settings.conf.pleo);
        self.settings = Some(settings);
        self.take_rules();
        self.announced.forget_absent_interfaces(ctx.now, self.reconciler.fleet.links());
        self.configure_browsing(ctx);
        self.keep_what_may_be_meant();
        self.remember_boot_interfaces();
        self.reconcile(ctx);
        self.end_excluded(ctx);
        if reload {
            let all: Vec<Tid> = self.dcs.keys().cloned().collect();
            let reports = self.reconciler.fleet.retry_all_now(ctx, &all);
            self.reported(ctx, reports);
            if is_pleo_new {
                self.log_pleo_without_effect(ctx);
            }
            for tid in all {
                if let Some(dc) = self.dcs.get_mut(&tid) {
                    dc.optional.allow_again(Command::Register);
                }
                self.read_soon(ctx, &tid);
            }
        }
    }

    /// Passes the configured rules on disconnecting to the fleet.
    fn take_rules(&mut self) {
        let exclusions = self.reconciler.configured.exclusions();
        self.reconciler.fleet.set_rules(Rules { exclusions, ..Rules::default() });
    }

    /// Makes the members of the fleet match the sources. Adds at once; removals wait for proof and for quiet sources.
    fn reconcile(&mut self, ctx: &mut Context<'_>) {
        let fresh = self.derive_announced(ctx);
        self.derive_booted(ctx);
        let excluded = self.mark_excluded(ctx);
        let Some(settings) = &self.settings else { return };
        let defaults = Defaults {
            parameters: &settings.conf.parameters,
            host_nqn: &settings.identity.nqn,
            subsysnqn: DISCOVERY_NQN,
        };
        self.reconciler.list_configured(ctx, &defaults, settings.conf.lost_line.is_none());
        let unreachable = self.reachability(ctx.now).unreachable;
        let trusted = self.listed_by_more_than_announcements();
        let mut wanted: BTreeMap<&Tid, Want> = BTreeMap::new();
        for (id, tid, parameters) in
            self.reconciler.listed().filter(|(id, ..)| !reachability::is_page_of(id, &unreachable))
        {
            if !self.is_barred(tid) && !self.is_undecided(tid) {
                // Saved referrals have no parameters of `[Global]` yet.
                let parameters = || parameters.over(&settings.conf.parameters);
                let trust = match id {
                    SourceId::Configured => Trust::Administrator,
                    SourceId::Boot => Trust::Firmware,
                    SourceId::Page(by) if trusted.contains(by) => Trust::ConfiguredDc,
                    SourceId::Page(_) | SourceId::Announced | SourceId::EarlierNqn => Trust::AnnouncedDc,
                };
                if trust.is_announced_only() && self.reconciler.is_new_at_own_address(tid) {
                    continue;
                }
                let want = Want { parameters: parameters(), trust, attempts: None, listed_by: id.page().cloned() };
                want.add_to(&mut wanted, tid);
            }
        }
        // Saved controllers whose referring controller aged out before this run stay wanted.
        for tid in self.reconciler.restored.iter().filter(|tid| !self.is_barred(tid)) {
            let mut claiming = self.reconciler.sources.claims_on(tid).map(|(id, _)| id);
            let Some(aged_out) = claiming.find(|id| self.reconciler.sources.has_aged_out(id)) else { continue };
            let want = || Want {
                parameters: settings.conf.parameters.clone(),
                trust: Trust::AnnouncedDc,
                attempts: None,
                listed_by: aged_out.page().cloned(),
            };
            wanted.entry(tid).or_insert_with(want);
        }
        let changed = wanted.into_iter().filter(|(tid, want)| !self.reconciler.fleet.is_wanted(tid, want));
        let mut changed: Vec<(Tid, Want)> = changed.map(|(tid, want)| (tid.clone(), want)).collect();
        self.leave_out_too_deep(ctx, &mut changed);
        self.leave_out_beyond_quotas(ctx, &mut changed);
        for (tid, _) in &changed {
            if self.take_from_removed(tid) {
                self.use_again(ctx, tid);
            }
        }
        if !changed.is_empty() {
            let tids: Vec<Tid> = changed.iter().map(|(tid, _)| tid.clone()).collect();
            if self.is_configured {
                self.signal_new(ctx, &changed);
            }
            let reports = self.reconciler.fleet.want_all(ctx, changed);
            self.reported(ctx, reports);
            tids.iter().for_each(|tid| self.report_if_live(ctx, tid));
        }
        self.is_configured = true;
        self.retry_announced(ctx, &fresh);
        self.remove(ctx, &excluded);
        self.reconciler.log_what_is_kept(ctx);
        let is_complete = self.lists_all_but_announced();
        if std::mem::replace(&mut self.was_complete, is_complete) != is_complete {
            ctx.push(Effect::CompletenessChanged);
        }
    }

    /// Signals new discovery controllers, so that stacd does not remove controllers that their pages may list. Any host
    /// can announce many discovery controllers: stacd learns of these only when their page is read.
    fn signal_new(&self, ctx: &mut Context<'_>, wanted: &[(Tid, Want)]) {
        let fleet = &self.reconciler.fleet;
        for (tid, _) in wanted.iter().filter(|(tid, want)| !want.trust.is_announced_only() && !fleet.has(tid)) {
            ctx.push(Effect::PagesChanged { dc: tid.clone(), ctrl: None });
        }
    }

    /// Marks the discovery controllers that the configuration excludes, and returns them.
    fn mark_excluded(&mut self, ctx: &mut Context<'_>) -> Excluded {
        let excluded = self.reconciler.fleet.tids().filter(|tid| self.is_barred(tid));
        let excluded = excluded.map(|tid| (tid.clone(), (RemovalPolicy::Disconnect, self.why_excluded(tid)))).collect();
        for tid in self.reconciler.mark_excluded(ctx, &excluded) {
            if let Some(settings) = &self.settings {
                let parameters = self.reconciler.secured.apply(&tid, settings.conf.parameters.clone());
                let restored = Want { parameters, trust: Trust::AnnouncedDc, ..Want::default() };
                self.reconciler.fleet.restore_want(&tid, restored);
            }
            self.take_from_removed(&tid);
            self.use_again(ctx, &tid);
            self.report_if_live(ctx, &tid);
        }
        excluded
    }

    /// Takes a controller that is wanted again out of the list of removed ones. Returns true if it was in the list.
    fn take_from_removed(&mut self, tid: &Tid) -> bool {
        let removed = self.removed.remove(tid);
        let dc = self.dcs.entry(tid.clone()).or_default();
        dc.was_removed |= removed.is_some();
        dc.was_trusted |= removed.as_ref().is_some_and(|removed| !removed.announced_only);
        removed.is_some()
    }

    /// Handles a removed controller that is wanted again: marks its page as stale, and signals this, because stacd
    /// counts the controller as removed.
    fn use_again(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        self.reconciler.sources.mark_stale_even_if_removed(&SourceId::Page(tid.clone()));
        ctx.push(Effect::PagesChanged { dc: tid.clone(), ctrl: None });
    }

    /// Handles the live connection of a controller that is wanted again before its disconnect. Its state never changed,
    /// so the fleet does not report it as live.
    fn report_if_live(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let is_new = self.dcs.get(tid).is_some_and(|dc| dc.connection.is_none());
        let live = self.reconciler.fleet.kernel(tid).filter(|kernel| is_new && kernel.is_live());
        if let Some(ctrl) = live.map(|kernel| kernel.ctrl) {
            self.connection_up(ctx, tid, ctrl);
        }
    }

    /// Keeps controllers of the saved state that an unreadable configuration may list. Leaves out those known from
    /// announcements: if they had been configured, the saved state would say so.
    fn keep_what_may_be_meant(&mut self) {
        let Some(settings) = &self.settings else { return };
        let (whole, parameters) = (settings.conf.lost_line.is_none(), &settings.conf.parameters);
        self.reconciler.keep_what_may_be_meant(whole, parameters, |tid| self.announced.knows(tid));
    }

    /// True for a controller that the administrator excluded: by `exclude=`, by its address family, or by the interface
    /// on which it was found.
    fn is_barred(&self, tid: &Tid) -> bool {
        self.reconciler.configured.excludes(tid, &tid.host_iface)
            || !self.reconciler.configured.allows(tid)
            || self.is_barred_where_found(tid)
    }

    /// True for a new controller that may still turn out to be excluded. Controllers from before this run are not
    /// delayed.
    fn is_undecided(&self, tid: &Tid) -> bool {
        !self.dcs.contains_key(tid) && self.reconciler.configured.may_exclude(tid)
    }

    /// Removes excluded controllers at once, and controllers whose removal is proved when the sources are quiet.
    fn remove(&mut self, ctx: &mut Context<'_>, excluded: &Excluded) {
        let reachability = self.reachability(ctx.now);
        // An excluded controller without a connection may have left the fleet already. Its referrals are removed as
        // well.
        let mut going: Vec<(Tid, RemovalReason)> =
            excluded.keys().map(|tid| (tid.clone(), RemovalReason::Excluded)).collect();
        let others = self.reconciler.fleet.tids().filter(|tid| !excluded.contains_key(*tid));
        let RemovalCheck { proved, mut again } =
            self.reconciler.check_removals(others, |tid| self.verdict(ctx.now, tid, &reachability.unreachable));
        // A controller that has never connected has no dependents: it is removed without waiting for quiet sources.
        let (unproven, proved): (Vec<Tid>, Vec<Tid>) =
            proved.into_iter().partition(|tid| self.announced.is_unproven(tid));
        going.extend(unproven.into_iter().map(|tid| (tid, RemovalReason::AgedOut)));
        let disproved = self.disproved_restored(ctx.now, &reachability);
        let may_go = self.reconciler.debounce.ready(ctx.now, &proved.iter().chain(&disproved).collect());
        again = again.into_iter().chain(self.reconciler.debounce.next_ready(ctx.now)).min();
        let proved = proved.into_iter().filter(|tid| may_go.contains(tid));
        going.extend(proved.map(|tid| (tid.clone(), self.reason_for(&tid, &reachability))));
        let dropped = self.restored_to_drop(&disproved, &may_go);
        if self.refused.announced > 0 {
            again = again.into_iter().chain([ctx.now + quotas::RECHECK_REFUSED_AFTER]).min();
        }
        match again {
            Some(at) => ctx.timers.set(Timer::Removals, at),
            None => ctx.timers.cancel(&Timer::Removals),
        }
        let is_of_use = |tid: &Tid| {
            self.reconciler.fleet.has(tid) || self.reconciler.sources.has_aged_out(&SourceId::Page(tid.clone()))
        };
        // A controller that a source other than a log page lists again, directly or by referrals, no longer counts as
        // aged out. While the interfaces are unknown, this is not decided: a record of a boot table then lists a
        // controller on every interface that the record may mean.
        let is_rooted = |tid: &Tid| !self.reconciler.fleet.links().0.is_empty() && reachability.rooted.contains(tid);
        self.aged_out.retain(|tid| !is_rooted(tid) && is_of_use(tid));
        for (tid, reason) in going {
            self.remove_dc(ctx, &tid, reason);
        }
        for tid in dropped {
            self.drop_restored(ctx, &tid);
        }
        let (Reconciler { fleet, restored, .. }, dcs) = (&self.reconciler, &self.dcs);
        self.announced.forget_aged(|tid| fleet.has(tid) || restored.contains(tid) || dcs.contains_key(tid));
    }

    /// The discovery controllers of the saved state whose removal is proved, except excluded ones.
    fn disproved_restored(&self, now: Time, reachability: &reachability::Reachability) -> BTreeSet<Tid> {
        let restored = self.reconciler.restored.iter();
        let others = restored.filter(|tid| !self.reconciler.fleet.has(tid) && !self.is_barred(tid));
        others.filter(|tid| self.verdict(now, tid, &reachability.unreachable) == Verdict::Disproved).cloned().collect()
    }

    /// The discovery controllers of the saved state that are to be removed now: excluded ones at once, disproved ones
    /// like members when the sources are quiet. Until then they stay restored, because a page that is read for the first
    /// time may list them. Removes members and listed controllers from `restored`.
    fn restored_to_drop(&mut self, disproved: &BTreeSet<Tid>, may_go: &BTreeSet<Tid>) -> Vec<Tid> {
        let restored = std::mem::take(&mut self.reconciler.restored);
        let mut dropped = Vec::new();
        for tid in restored {
            match self.is_barred(&tid) || may_go.contains(&tid) {
                true => dropped.push(tid),
                false if disproved.contains(&tid) => drop(self.reconciler.restored.insert(tid)),
                false => {}
            }
        }
        dropped
    }

    /// Why a discovery controller that no source lists any more is removed. A controller that ages out has not
    /// withdrawn its referrals. So their targets age out, too, and are not removed while they are live.
    fn reason_for(&self, tid: &Tid, reachability: &reachability::Reachability) -> RemovalReason {
        let is_page = |id: &SourceId| matches!(id, SourceId::Page(_));
        let referred = self.reconciler.sources.claims_on(tid).any(|(id, _)| is_page(id));
        let aged_out = |(id, _): (&SourceId, _)| is_page(id) && self.reconciler.sources.has_aged_out(id);
        match referred {
            _ if reachability.ages_out.contains(tid) => RemovalReason::AgedOut,
            true if self.reconciler.sources.claims_on(tid).any(aged_out) => RemovalReason::AgedOut,
            true => RemovalReason::ReferralGone,
            false if self.announced.knows(tid) => RemovalReason::AgedOut,
            false => RemovalReason::Configuration,
        }
    }

    /// Why a discovery controller is removed, for the log.
    fn cause_of(&self, tid: &Tid, reason: RemovalReason) -> Cause {
        let pages = self.reconciler.sources.claims_on(tid).filter_map(|(id, _)| match id {
            SourceId::Page(dc) => Some(dc),
            _ => None,
        });
        match reason {
            RemovalReason::Excluded => self.why_excluded(tid),
            RemovalReason::Configuration => Cause::removed(
                self.reconciler
                    .why_no_longer_configured(tid)
                    .unwrap_or_else(|| "no source lists it any more".to_owned()),
            ),
            RemovalReason::ReferralGone => {
                let no_longer = |dc: &Tid| match self.dcs.get(dc).and_then(|dc| dc.page.as_ref()) {
                    Some(page) => format!("{dc} no longer refers to it (generation {})", page.genctr),
                    None => format!("{dc}, which referred to it, was removed"),
                };
                Cause::removed(pages.map(no_longer).collect::<Vec<_>>().join("; "))
            }
            _ if self.announced.is_unproven(tid) => Cause::removed("announced, but never connected"),
            _ => Cause::removed("neither announced nor connected for too long"),
        }
    }

    fn why_excluded(&self, tid: &Tid) -> Cause {
        match self.reconciler.configured.exclusion_of(tid, &tid.host_iface) {
            Some(exclusion) => Cause::excluded(format!("excluded by exclude= in stafd.conf, line {}", exclusion.line)),
            None if !self.reconciler.configured.allows(tid) => {
                Cause::barred("ip-family= in stafd.conf excludes its address")
            }
            None => Cause::barred("exclude= in stafd.conf matches the interface that it was found on"),
        }
    }

    /// The discovery controllers that the configuration, a boot table, or a chain of referrals from those lists. All
    /// others depend on announcements alone: connections of other programs to them are used, but not claimed.
    fn listed_by_more_than_announcements(&self) -> BTreeSet<Tid> {
        let roots = [SourceId::Configured, SourceId::Boot];
        let mut found: BTreeSet<Tid> =
            roots.iter().flat_map(|id| self.reconciler.sources.listed_by(id)).cloned().collect();
        found.extend(self.reconciler.configured.may_be_used().cloned());
        let mut edge: Vec<Tid> = found.iter().cloned().collect();
        while !edge.is_empty() {
            let pages: Vec<SourceId> = edge.drain(..).map(SourceId::Page).collect();
            let referred = pages.iter().flat_map(|id| self.reconciler.sources.listed_by(id));
            edge = referred.filter(|tid| found.insert((*tid).clone())).cloned().collect();
        }
        found
    }

    /// True if only announcements and announced controllers list that controller, and its connection was never used for
    /// a more trusted source.
    fn depends_on_mdns_only(&self, tid: &Tid) -> bool {
        let fleet = &self.reconciler.fleet;
        let is_trusted = fleet.kernel(tid).is_some_and(|kernel| fleet.was_used_for_trusted(kernel.ctrl));
        fleet.is_announced_only(tid) && !is_trusted
    }

    /// Disconnects, or stops using, connections that match an exclusion although no excluded controller uses them
    /// ([`Fleet::end_excluded`]).
    fn end_excluded(&mut self, ctx: &mut Context<'_>) {
        let reports = self.reconciler.fleet.end_excluded(ctx, |_| false);
        self.reported(ctx, reports);
    }

    /// Removes a discovery controller: disconnects its connection. Controllers that only its page listed are removed
    /// next.
    fn remove_dc(&mut self, ctx: &mut Context<'_>, tid: &Tid, reason: RemovalReason) {
        let known = self.dcs.remove(tid);
        let news = known.is_some();
        let was_removed = known.as_ref().is_some_and(|dc| dc.was_removed);
        let was_trusted = known.as_ref().is_some_and(|dc| dc.was_trusted);
        let has_page = known.as_ref().is_some_and(|dc| dc.page.is_some());
        for token in known.map(|mut dc| dc.disconnected()).unwrap_or_default() {
            ctx.push(Effect::Refreshed { token, result: Err(RefreshError::GivenUp) });
        }
        let all =
            [Timer::Read, Timer::SecondRead, Timer::ReadAnswer, Timer::StalePage, Timer::PollEnds, Timer::Register];
        for timer in all.map(|timer| timer(tid.clone())) {
            ctx.timers.cancel(&timer);
        }
        // A controller that was announced but has never connected has published nothing, so its removal is not
        // signalled. If it was removed before, clients may have missed that signal, so it is signalled again. It is
        // also signalled if the controller referred to others before a restart, because these referrals end.
        let page = SourceId::Page(tid.clone());
        let was_published = was_removed || self.reconciler.sources.claimed_by(&page).next().is_some();
        let is_unpublished = reason == RemovalReason::AgedOut && self.announced.is_unproven(tid) && !was_published;
        if news && !is_unpublished {
            let ctrl = self.reconciler.fleet.kernel(tid).map(|kernel| kernel.ctrl);
            let text = format!("given up ({reason})");
            ctx.log(LogRecord { level: Level::Info, tid: Some(tid.clone()), ctrl, text });
            // stacd has no entries of a discovery controller whose log page was never read. An announced one can refer
            // to any number of these, which would displace older ones of the bounded list.
            if was_published || has_page || !self.reconciler.fleet.is_announced_only(tid) {
                let was_trusted = was_trusted || self.removed.get(tid).is_some_and(|before| !before.announced_only);
                let announced_only = !was_trusted && self.depends_on_mdns_only(tid);
                self.removed.insert(tid.clone(), Removed { dc: tid.clone(), reason, at: ctx.now, announced_only });
            }
            while self.removed.len() > REMOVED_KEPT {
                // Announced controllers and their referrals can fill the list while stacd is down: so these are
                // displaced before the others.
                let oldest = self.removed.values().min_by_key(|removed| (!removed.announced_only, removed.at));
                let Some(oldest) = oldest.map(|removed| removed.dc.clone()) else { break };
                self.removed.remove(&oldest);
            }
            self.reconciler.sources.retire(&page, reason.spares_live());
            match reason.spares_live() {
                true => drop(self.aged_out.insert(tid.clone())),
                false => drop(self.aged_out.remove(tid)),
            }
            self.reconciler.debounce.restart(ctx.now);
        }
        let cause = self.cause_of(tid, reason);
        let reports = self.reconciler.fleet.remove(ctx, tid, RemovalPolicy::Disconnect, cause);
        self.reported(ctx, reports);
        self.announced.dc_removed(tid, reason == RemovalReason::Excluded);
        if news && !is_unpublished {
            ctx.push(Effect::DcRemoved);
            ctx.host(HostEffect::Save);
            ctx.timers.set(Timer::Removals, ctx.now + DEBOUNCE);
        }
    }

    /// Removes a discovery controller of the saved state that no source lists any more, with its connection.
    fn drop_restored(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let before = self.removed.get(tid).map(|removed| removed.reason).filter(|reason| reason.spares_live());
        let reason = match before {
            _ if self.is_barred(tid) => RemovalReason::Excluded,
            // It was removed before this run, but is not disconnected yet.
            Some(before) => before,
            None => self.reason_for(tid, &self.reachability(ctx.now)),
        };
        let cause = self.cause_of(tid, reason);
        let reports = self.reconciler.fleet.remove_restored(ctx, tid, RemovalPolicy::Disconnect, cause);
        self.reported(ctx, reports);
        self.dcs.entry(tid.clone()).or_default();
        self.remove_dc(ctx, tid, reason);
    }

    /// Handles the reports of the fleet.
    fn reported(&mut self, ctx: &mut Context<'_>, reports: Vec<Report>) {
        for report in reports {
            match report {
                Report::Live(tid, ctrl) => self.connection_up(ctx, &tid, ctrl),
                Report::Lost(tid, _) => self.connection_down(ctx, &tid),
                Report::Left(tid) => self.reconciler.sources.forget(ctx.now, &tid),
            }
        }
    }

    fn connection_up(&mut self, ctx: &mut Context<'_>, tid: &Tid, ctrl: CtrlRef) {
        // Save at once: the connection may be lost before anything else happens.
        if self.announced.was_connected(ctx.now, tid) {
            ctx.host(HostEffect::Save);
        }
        let seqnum = self.reconciler.fleet.inventory().snapshot().seqnum;
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        for token in dc.connected(Connection { ctrl, since: ctx.now, seqnum }) {
            ctx.push(Effect::Refreshed { token, result: Err(RefreshError::Reconnected) });
        }
        self.reconciler.sources.mark_stale(&SourceId::Page(tid.clone()));
        ctx.timers.set(Timer::SecondRead(tid.clone()), ctx.now + discovery_controller::SECOND_READ);
        self.poll_begins(ctx, tid);
        self.read_soon(ctx, tid);
    }

    fn connection_down(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        self.connection_lost(ctx, tid);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        for token in dc.disconnected() {
            ctx.push(Effect::Refreshed { token, result: Err(RefreshError::Lost) });
        }
        ctx.timers.cancel(&Timer::SecondRead(tid.clone()));
        ctx.timers.cancel(&Timer::ReadAnswer(tid.clone()));
        ctx.timers.cancel(&Timer::PollEnds(tid.clone()));
        ctx.timers.cancel(&Timer::Register(tid.clone()));
        self.reconciler.sources.mark_stale(&SourceId::Page(tid.clone()));
        ctx.host(HostEffect::Save);
    }

    fn host_event(&mut self, ctx: &mut Context<'_>, event: HostEvent) {
        match &event {
            HostEvent::Resolved { op, result } => {
                let changed = self.reconciler.resolved(ctx, *op, result);
                if changed {
                    self.take_rules();
                }
            }
            HostEvent::Uevent(event) => self.handle_uevent(ctx, event),
            HostEvent::Overrun => self.events_were_lost(ctx),
            HostEvent::Links(links) => {
                self.reconciler.configured.refresh(ctx);
                self.network_changed(ctx, links);
            }
            _ => {}
        }
        let resolved = matches!(event, HostEvent::Resolved { .. } | HostEvent::Links(_));
        let snapshot_taken = matches!(event, HostEvent::SnapshotTaken { .. });
        let reports = self.reconciler.fleet.handle(ctx, event);
        let changed = !reports.is_empty() || resolved;
        self.reported(ctx, reports);
        self.serve_unmanaged(ctx);
        self.end_old_polls(ctx);
        if snapshot_taken {
            self.end_excluded(ctx);
        }
        if changed {
            self.reconcile(ctx);
        }
    }

    fn handle_uevent(&mut self, ctx: &mut Context<'_>, event: &libstas::core::Uevent) {
        let ctrl = self.reconciler.fleet.inventory().device(event.device).map(|kernel| kernel.ctrl);
        // One device may serve several TIDs, each with its own page.
        let holders: Vec<Tid> =
            ctrl.map(|ctrl| self.reconciler.fleet.holders(ctrl)).unwrap_or_default().into_iter().cloned().collect();
        match event.kind {
            UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED) | UeventKind::Rediscover
                if holders.is_empty() =>
            {
                self.unmanaged.push(unmanaged_dcs::UnmanagedEvent { device: event.device, seqnum: event.seqnum });
            }
            UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED) => {
                for tid in holders {
                    self.handle_page_change(ctx, &tid);
                }
            }
            UeventKind::Connected | UeventKind::Rediscover => {
                let Some(ctrl) = ctrl else { return };
                for tid in holders {
                    let connection = self.dcs.get(&tid).and_then(|dc| dc.connection);
                    if connection.is_some_and(|connection| event.seqnum > connection.seqnum) {
                        self.connection_lost(ctx, &tid);
                        self.connection_up(ctx, &tid, ctrl);
                    }
                }
            }
            _ => {}
        }
    }

    /// After an overrun any event may have been lost: treat every connection as new.
    fn events_were_lost(&mut self, ctx: &mut Context<'_>) {
        let connected: Vec<_> =
            self.dcs.iter().filter_map(|(tid, dc)| Some((tid.clone(), dc.connection?.ctrl))).collect();
        for (tid, ctrl) in connected {
            self.connection_up(ctx, &tid, ctrl);
        }
    }

    fn tick(&mut self, ctx: &mut Context<'_>) {
        let due = ctx.timers.due(ctx.now);
        for timer in &due {
            match timer {
                Timer::Read(tid) | Timer::SecondRead(tid) => self.read_soon(ctx, tid),
                Timer::ReadAnswer(tid) => self.read_hangs(ctx, tid),
                Timer::StalePage(tid) => self.mark_stale_page(tid),
                Timer::Register(tid) => self.register(ctx, tid),
                Timer::PollEnds(tid) => self.poll_ends(ctx, tid),
                Timer::Stop => ctx.push(Effect::Stopped),
                // [`Finder::reconcile`] handles [`Timer::Removals`].
                _ => {}
            }
        }
        let reports = self.reconciler.fleet.tick(ctx, &due);
        self.reconciler.tick(ctx, &due);
        self.reported(ctx, reports);
        self.forget_old_polls(ctx.now);
        self.read_doubted_again(ctx);
        self.admit_announced(ctx);
        self.reconcile(ctx);
        self.reconfirm_announcements(ctx);
    }

    /// Stops. Connections are kept, unless `persistent-connections=false`.
    fn stop(&mut self, ctx: &mut Context<'_>) {
        self.stopping = true;
        self.reconciler.configured.stop(ctx);
        ctx.host(HostEffect::Save);
        if self.settings.as_ref().is_none_or(|settings| settings.conf.persistent_connections) {
            ctx.push(Effect::Stopped);
            return;
        }
        ctx.timers.set(Timer::Stop, ctx.now + STOP_DEADLINE);
        let all: Vec<Tid> = self.reconciler.fleet.tids().cloned().collect();
        for tid in all {
            let cause = Cause::new(Why::Stopping, "stafd stops, and persistent-connections=false");
            self.reconciler.fleet.remove(ctx, &tid, RemovalPolicy::Disconnect, cause);
        }
        self.stopped_when_empty(ctx);
    }

    fn stopped_when_empty(&mut self, ctx: &mut Context<'_>) {
        if self.stopping && self.reconciler.fleet.tids().next().is_none() {
            ctx.timers.cancel(&Timer::Stop);
            ctx.push(Effect::Stopped);
        }
    }

    /// While stopping, handles only events that lead to the end.
    fn handle_stopping(&mut self, ctx: &mut Context<'_>, event: Event) {
        match event {
            Event::Host(event) => drop(self.reconciler.fleet.handle(ctx, event)),
            Event::Tick => {
                let due = ctx.timers.due(ctx.now);
                drop(self.reconciler.fleet.tick(ctx, &due));
                if due.contains(&Timer::Stop) {
                    ctx.push(Effect::Stopped);
                }
            }
            Event::Refresh { token, .. } => {
                ctx.push(Effect::Refreshed { token, result: Err(RefreshError::Stopping) });
            }
            _ => {}
        }
        self.stopped_when_empty(ctx);
    }

    fn take(&mut self, ctx: &mut Context<'_>, event: Event) {
        if self.stopping {
            self.handle_stopping(ctx, event);
            return;
        }
        self.detect_suspend(ctx.now);
        match event {
            Event::BootTables(tables) => self.boot_tables(ctx, &tables),
            Event::Configured(settings) => self.configure(ctx, *settings),
            Event::BrowseEvent(events) => self.browse_events(ctx, events),
            Event::Host(event) => self.host_event(ctx, event),
            Event::Tick => self.tick(ctx),
            Event::SupportedRead { op, result } => self.supported_read(ctx, op, result),
            Event::LogPageRead { op, result } => self.log_page_read(ctx, op, result),
            Event::Registered { op, result } => self.registered(ctx, op, result),
            Event::Refresh { token, dc } => self.refresh(ctx, token, &dc),
            Event::Stop => self.stop(ctx),
        }
    }
}

impl Machine for Finder {
    type Event = Event;
    type Effect = Effect;

    const TICK: Event = Event::Tick;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let begin = out.len();
        let is_stopping = self.stopping;
        let mut supply = std::mem::take(&mut self.supply);
        let ctx = &mut Context::new(now, &mut supply, out);
        self.take(ctx, event);
        self.signal_withdrawn_proofs(ctx);
        self.lines.report_suppressed(now).into_iter().for_each(|record| ctx.log(record));
        self.supply = supply;
        if !is_stopping {
            self.limit_lines(now, out.get_mut(begin..).unwrap_or_default());
        }
        self.reconciler.fleet.forget_just_removed();
    }

    fn deadline(&self) -> Option<Time> {
        if self.stopping {
            return self.supply.deadline();
        }
        let announced = self.announced.deadline(self.reconciler.fleet.has_snapshot());
        [self.supply.deadline(), self.reconciler.sources.deadline(), announced].into_iter().flatten().min()
    }
}
