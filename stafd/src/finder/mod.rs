//! The core of stafd: decides which discovery controllers are to be connected, and what is read from them.
//!
//! Sources list discovery controllers ([`libstas::core::sources`]); the fleet connects them ([`libstas::core::fleet`]).
//! The finder reads their log pages (`reading`), makes referrals a source, and publishes everything on D-Bus. A
//! discovery controller is removed only when every source that listed it has proved that it no longer does.

mod announced;
mod announcing;
mod anteroom;
mod booted;
mod discovery_controller;
mod optional;
mod polling;
mod reach;
mod reading;
mod registering;
mod saved;
mod unmanaged;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use libstas::bus::contract::RemovalReason;
use libstas::core::configured::{Defaults, Words};
use libstas::core::controller::{Parting, Want};
use libstas::core::fleet::{Fleet, Kind, Report};
use libstas::core::ownership::{Cause, Rules, Why};
use libstas::core::reconciler::{Excluded, Judged, Reconciler};
use libstas::core::sources::{SourceId, Sources, Verdict};
use libstas::core::timers::Timers;
use libstas::core::{CtrlRef, HostEffect, HostEvent, Level, Machine, Notice, Time, UeventKind};
use libstas::nvme::{DISCOVERY_NQN, Parameters, Tid};

pub use announced::SavedAnnounced;
use discovery_controller::{Connection, DiscoveryController};
pub use saved::{Saved, SavedDc};
pub use wire::{DcView, Effect, Event, NotRegistered, RegisterRequest, Removed, Settings};

/// The number of lost live discovery controllers that makes a page doubtful if all its referrals are lost: all storage
/// behind a page may depend on one referral.
const DOUBTFUL_LOSS: usize = 1;
/// Maximum number of removed discovery controllers remembered.
const REMOVED_KEPT: usize = 1024;
/// Longest wait for disconnects at stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// The rank of a TID. When several TIDs share a device, the smallest rank owns it: configured before referred before
/// announced.
mod rank {
    pub(super) const CONFIGURED: u8 = 0;
    pub(super) const REFERRAL: u8 = 1;
    pub(super) const DISCOVERED: u8 = 2;
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Retry(Tid),
    SecondRead(Tid),
    Register(Tid),
    Hanging(Tid),
    PollEnds(Tid),
    Removals,
    Stop,
}

/// The core of stafd.
#[derive(Debug)]
pub struct Finder {
    settings: Option<Settings>,
    reconciler: Reconciler<Parameters>,
    dcs: BTreeMap<Tid, DiscoveryController>,
    removed: BTreeMap<Tid, Removed>,
    announced: announced::Announced,
    booted: booted::Booted,
    browsing: bool,
    budget: announcing::Budget,
    unmanaged: Vec<unmanaged::Call>,
    timers: Timers<Timer>,
    /// Discovery controllers that aged out, kept here while one of their referrals is live. If such a controller is
    /// connected again by a referral of the controller that it refers to, both are kept while they are live.
    aged_out: BTreeSet<Tid>,
    /// Discovery controllers that a boot table listed before this run.
    was_booted: BTreeSet<Tid>,
    /// Polls that were interrupted by a restart of stafd.
    old_polls: Vec<CtrlRef>,
    stopping: bool,
    /// The last value of [`StafdView::is_complete`](libstas::bus::contract::StafdView::is_complete) sent to stacd.
    was_complete: bool,
    /// When the last event or tick was handled.
    handled: Time,
}

impl Finder {
    /// Creates the finder from its saved state. The seed determines its jitter.
    #[must_use]
    pub fn new(saved: Saved, seed: u64) -> Self {
        let mut finder = Self {
            settings: None,
            reconciler: Reconciler::new(
                Sources::doubting(DOUBTFUL_LOSS),
                Fleet::new(Kind::Discovery, seed),
                saved.names.clone(),
            ),
            dcs: BTreeMap::new(),
            removed: BTreeMap::new(),
            announced: announced::Announced::default(),
            booted: booted::Booted::default(),
            browsing: false,
            budget: announcing::Budget::default(),
            unmanaged: Vec::new(),
            timers: Timers::default(),
            aged_out: BTreeSet::new(),
            was_booted: BTreeSet::new(),
            old_polls: Vec::new(),
            stopping: false,
            was_complete: true,
            handled: Time::default(),
        };
        finder.restore(saved);
        finder
    }

    fn configure(&mut self, now: Time, settings: Settings, out: &mut Vec<Effect>) {
        let reload = self.settings.is_some();
        let words = Words {
            controllers: &settings.conf.controllers,
            exclusions: &settings.conf.exclusions,
            family: settings.conf.ip_family,
            ignore_iface: settings.conf.ignore_iface,
            file: "stafd.conf",
            lost_line: settings.conf.lost_line,
        };
        let mut host = Vec::new();
        self.reconciler.configure(now, &words, settings.identity.clone(), &mut host);
        let no_longer_pleo = self.settings.as_ref().is_some_and(|before| before.conf.pleo != settings.conf.pleo);
        self.settings = Some(settings);
        self.take_rules();
        extend(out, host);
        self.configure_browsing(now, out);
        self.keep_what_may_be_meant();
        self.remember_boot_interfaces();
        self.resettle(now, out);
        for tid in std::mem::take(&mut self.reconciler.restored) {
            if self.is_barred(&tid) || !(self.reconciler.fleet.has(&tid) || self.is_meant(now, &tid)) {
                self.drop_restored(now, &tid, out);
            }
        }
        self.end_excluded(now, out);
        if reload {
            let all: Vec<Tid> = self.dcs.keys().cloned().collect();
            for tid in all {
                let mut host = Vec::new();
                let reports = self.reconciler.fleet.encourage(now, &tid, &mut host);
                extend(out, host);
                self.reported(now, reports, out);
                if no_longer_pleo && let Some(dc) = self.dcs.get_mut(&tid) {
                    dc.supported = None;
                }
                self.read_soon(now, &tid, out);
            }
        }
    }

    /// Passes the configured rules on disconnecting to the fleet.
    fn take_rules(&mut self) {
        let exclusions = self.reconciler.configured.exclusions();
        self.reconciler.fleet.set_rules(Rules { exclusions, ..Rules::default() });
    }

    /// Makes the members of the fleet match the sources. Adds at once; removals wait for proof and for quiet sources.
    fn resettle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let fresh = self.follow_announcements(now, out);
        self.follow_boot_tables(out);
        let excluded = self.mark_excluded(now, out);
        let Some(settings) = &self.settings else { return };
        let defaults = Defaults {
            parameters: &settings.conf.parameters,
            host_nqn: &settings.identity.nqn,
            subsysnqn: DISCOVERY_NQN,
        };
        self.reconciler.list_configured(&defaults, !settings.conf.controller_lost);
        let unreachable = self.reach(now).unreachable;
        let trusted = self.listed_by_more_than_announcements();
        let mut meant: BTreeMap<&Tid, Want> = BTreeMap::new();
        for (id, tid, parameters) in self.reconciler.listed().filter(|(id, ..)| !reach::is_page_of(id, &unreachable)) {
            let rank = match id {
                SourceId::Configured | SourceId::Boot => rank::CONFIGURED,
                SourceId::Page(_) => rank::REFERRAL,
                SourceId::Announced | SourceId::Renamed => rank::DISCOVERED,
            };
            if !self.is_barred(tid) && !self.is_undecided(tid) {
                // Saved referrals have no parameters of `[Global]` yet.
                let parameters = || parameters.over(&settings.conf.parameters);
                let announced_only = !trusted.contains(tid);
                meant.entry(tid).or_insert_with(|| Want {
                    parameters: parameters(),
                    rank,
                    attempts: None,
                    announced_only,
                });
            }
        }
        // The controller that led to it aged out before this run.
        let has_aged_out = |(id, _): (&SourceId, _)| self.reconciler.sources.has_aged_out(id);
        let spared =
            self.reconciler.restored.iter().filter(|tid| self.reconciler.sources.claims_on(tid).any(has_aged_out));
        for tid in spared.filter(|tid| !self.is_barred(tid)) {
            let parameters = || settings.conf.parameters.clone();
            let want = || Want { parameters: parameters(), rank: rank::REFERRAL, attempts: None, announced_only: true };
            meant.entry(tid).or_insert_with(want);
        }
        let news = meant.into_iter().filter(|(tid, want)| !self.reconciler.fleet.is_wanted(tid, want));
        let mut news: Vec<(Tid, Want)> = news.map(|(tid, want)| (tid.clone(), want)).collect();
        self.leave_out_of_reach(&mut news, out);
        for (tid, want) in news {
            let was_given_up = self.removed.remove(&tid).is_some();
            self.dcs.entry(tid.clone()).or_default().was_given_up |= was_given_up;
            let mut host = Vec::new();
            let reports = self.reconciler.fleet.want(now, &tid, want, &mut host);
            extend(out, host);
            self.reported(now, reports, out);
            self.take_back(now, &tid, out);
        }
        self.encourage_announced(now, &fresh, out);
        self.remove(now, &excluded, out);
        let mut host = Vec::new();
        self.reconciler.tell_what_is_held(&mut host);
        extend(out, host);
        let is_complete = self.is_complete();
        if std::mem::replace(&mut self.was_complete, is_complete) != is_complete {
            out.push(Effect::DcRemoved);
        }
    }

    /// Marks the discovery controllers that the configuration excludes, and returns them.
    fn mark_excluded(&mut self, now: Time, out: &mut Vec<Effect>) -> Excluded {
        let excluded = self.reconciler.fleet.tids().filter(|tid| self.is_barred(tid));
        let excluded = excluded.map(|tid| (tid.clone(), (Parting::Disconnect, self.why_excluded(tid)))).collect();
        for tid in self.reconciler.mark_excluded(&excluded) {
            self.removed.remove(&tid);
            self.dcs.entry(tid.clone()).or_default();
            self.take_back(now, &tid, out);
        }
        excluded
    }

    /// A removed controller is wanted again before its disconnect. Its state never changed, so the fleet does not
    /// report it as live: do it here.
    fn take_back(&mut self, now: Time, tid: &Tid, out: &mut Vec<Effect>) {
        let is_new = self.dcs.get(tid).is_some_and(|dc| dc.connection.is_none());
        let live = self.reconciler.fleet.kernel(tid).filter(|kernel| is_new && kernel.is_live());
        if let Some(ctrl) = live.map(|kernel| kernel.ctrl) {
            self.up(now, tid, ctrl, out);
        }
    }

    /// Controllers known from announcements are saved separately; if they had also been configured, that would have
    /// been saved.
    fn keep_what_may_be_meant(&mut self) {
        let Some(settings) = &self.settings else { return };
        let (whole, parameters) = (!settings.conf.controller_lost, &settings.conf.parameters);
        self.reconciler.keep_what_may_be_meant(whole, parameters, |tid| self.announced.knew(tid));
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

    fn is_meant(&self, now: Time, tid: &Tid) -> bool {
        self.verdict(now, tid, &self.reach(now).unreachable) != Verdict::Disproved
    }

    /// Removes excluded controllers at once, and disproved ones when the sources are quiet.
    fn remove(&mut self, now: Time, excluded: &Excluded, out: &mut Vec<Effect>) {
        let reach = self.reach(now);
        let (excluded, others): (Vec<&Tid>, Vec<&Tid>) =
            self.reconciler.fleet.tids().partition(|tid| excluded.contains_key(*tid));
        let mut going: Vec<(Tid, RemovalReason)> =
            excluded.into_iter().map(|tid| (tid.clone(), RemovalReason::Excluded)).collect();
        let Judged { disproved, mut again } =
            self.reconciler.judge(others, |tid| self.verdict(now, tid, &reach.unreachable));
        // A controller that has never connected has no dependents: it is removed without waiting for quiet sources.
        let (unproven, disproved): (Vec<Tid>, Vec<Tid>) =
            disproved.into_iter().partition(|tid| self.announced.is_unproven(tid));
        going.extend(unproven.into_iter().map(|tid| (tid, RemovalReason::AgedOut)));
        if !disproved.is_empty() {
            if self.reconciler.quiet.has_come(now) {
                going.extend(disproved.into_iter().map(|tid| (tid.clone(), self.reason_for(&tid, &reach))));
            } else {
                again = again.into_iter().chain(self.reconciler.quiet.until()).min();
            }
        }
        match again {
            Some(at) => self.timers.set(Timer::Removals, at),
            None => self.timers.cancel(&Timer::Removals),
        }
        let is_of_use = |tid: &Tid| {
            self.reconciler.fleet.has(tid) || self.reconciler.sources.has_aged_out(&SourceId::Page(tid.clone()))
        };
        self.aged_out.retain(|tid| !reach.rooted.contains(tid) && is_of_use(tid));
        for (tid, reason) in going {
            self.give_up(now, &tid, reason, out);
        }
    }

    /// Why a discovery controller that no source lists any more is removed. The referrals of a controller that ages out
    /// were never withdrawn: their targets age out too, and their removal spares live controllers.
    fn reason_for(&self, tid: &Tid, reach: &reach::Reach) -> RemovalReason {
        let is_page = |id: &SourceId| matches!(id, SourceId::Page(_));
        let referred = self.reconciler.sources.claims_on(tid).any(|(id, _)| is_page(id));
        let aged_out = |(id, _): (&SourceId, _)| is_page(id) && self.reconciler.sources.has_aged_out(id);
        match referred {
            _ if reach.ages_out.contains(tid) => RemovalReason::AgedOut,
            true if self.reconciler.sources.claims_on(tid).any(aged_out) => RemovalReason::AgedOut,
            true => RemovalReason::ReferralGone,
            false if self.announced.knew(tid) => RemovalReason::AgedOut,
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
            RemovalReason::Configuration => Cause::removed(match self.reconciler.lines.get(tid) {
                Some(line) => format!("controller= removed from stafd.conf (it was line {line})"),
                None => "no source lists it any more".to_owned(),
            }),
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
    /// others depend on announcements alone: connections of other programs to them are used, not claimed.
    fn listed_by_more_than_announcements(&self) -> BTreeSet<Tid> {
        let roots = [SourceId::Configured, SourceId::Boot];
        let mut found: BTreeSet<Tid> =
            roots.iter().flat_map(|id| self.reconciler.sources.named_by(id)).cloned().collect();
        let mut edge: Vec<Tid> = found.iter().cloned().collect();
        while !edge.is_empty() {
            let pages: Vec<SourceId> = edge.drain(..).map(SourceId::Page).collect();
            let referred = pages.iter().flat_map(|id| self.reconciler.sources.named_by(id));
            edge = referred.filter(|tid| found.insert((*tid).clone())).cloned().collect();
        }
        found
    }

    /// Stops using connections that match an exclusion, although the controller that uses them is not excluded.
    fn end_excluded(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        let reports = self.reconciler.fleet.end_excluded(now, |_| false, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
    }

    /// Removes a discovery controller: its connection is disconnected, and controllers that only its page listed
    /// follow.
    fn give_up(&mut self, now: Time, tid: &Tid, reason: RemovalReason, out: &mut Vec<Effect>) {
        let known = self.dcs.remove(tid);
        let news = known.is_some();
        let was_given_up = known.as_ref().is_some_and(|dc| dc.was_given_up);
        for token in known.map(|mut dc| dc.disconnected()).unwrap_or_default() {
            out.push(Effect::Refreshed { token, result: Err("the discovery controller was given up".into()) });
        }
        let all = [Timer::Retry, Timer::SecondRead, Timer::Hanging, Timer::PollEnds, Timer::Register];
        for timer in all.map(|timer| timer(tid.clone())) {
            self.timers.cancel(&timer);
        }
        // A controller that was announced but has never connected has published nothing, so its removal is not
        // signalled. If it was removed once before, it is signalled: clients may have missed the first signal.
        let unheard_of = reason == RemovalReason::AgedOut && self.announced.is_unproven(tid) && !was_given_up;
        if news && !unheard_of {
            let ctrl = self.reconciler.fleet.kernel(tid).map(|kernel| kernel.ctrl);
            let text = format!("given up ({reason})");
            out.push(Effect::Host(HostEffect::Tell(Notice { level: Level::Info, tid: Some(tid.clone()), ctrl, text })));
            self.removed.insert(tid.clone(), Removed { dc: tid.clone(), reason, at: now });
            while self.removed.len() > REMOVED_KEPT {
                let Some(oldest) = self.removed.values().min_by_key(|removed| removed.at).map(|r| r.dc.clone()) else {
                    break;
                };
                self.removed.remove(&oldest);
            }
            self.reconciler.sources.give_up(&SourceId::Page(tid.clone()), reason.spares_live());
            match reason.spares_live() {
                true => drop(self.aged_out.insert(tid.clone())),
                false => drop(self.aged_out.remove(tid)),
            }
            self.reconciler.quiet.disturb(now);
        }
        let mut host = Vec::new();
        let cause = self.cause_of(tid, reason);
        let reports = self.reconciler.fleet.unwant(now, tid, Parting::Disconnect, cause, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.announced.given_up(tid);
        if news && !unheard_of {
            out.push(Effect::DcRemoved);
            out.push(Effect::Host(HostEffect::Save));
            self.timers.set(Timer::Removals, self.reconciler.quiet.until().unwrap_or(now));
        }
    }

    /// Removes a discovery controller of the saved state that no source lists any more, with its connection.
    fn drop_restored(&mut self, now: Time, tid: &Tid, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        let before = self.removed.get(tid).map(|removed| removed.reason).filter(|reason| reason.spares_live());
        let reason = match before {
            _ if self.is_barred(tid) => RemovalReason::Excluded,
            // It was removed before this run, but is not disconnected yet.
            Some(before) => before,
            None => self.reason_for(tid, &self.reach(now)),
        };
        let cause = self.cause_of(tid, reason);
        let reports = self.reconciler.fleet.remove_restored(now, tid, Parting::Disconnect, cause, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.dcs.entry(tid.clone()).or_default();
        self.give_up(now, tid, reason, out);
    }

    /// Handles the reports of the fleet.
    fn reported(&mut self, now: Time, reports: Vec<Report>, out: &mut Vec<Effect>) {
        for report in reports {
            match report {
                Report::Live(tid, ctrl) => self.up(now, &tid, ctrl, out),
                Report::Lost(tid, _) => self.down(&tid, out),
                Report::Left(tid) => self.reconciler.sources.forget(&tid),
            }
        }
    }

    fn up(&mut self, now: Time, tid: &Tid, ctrl: CtrlRef, out: &mut Vec<Effect>) {
        // Save at once: the connection may be lost before anything else happens.
        if self.announced.was_connected(tid) {
            out.push(Effect::Host(HostEffect::Save));
        }
        let seqnum = self.reconciler.fleet.inventory().look().seqnum;
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        for token in dc.connected(Connection { ctrl, since: now, seqnum }) {
            out.push(Effect::Refreshed { token, result: Err("the connection was lost meanwhile".into()) });
        }
        self.reconciler.sources.outdate(&SourceId::Page(tid.clone()));
        self.timers.set(Timer::SecondRead(tid.clone()), now + discovery_controller::SECOND_READ);
        self.poll_begins(now, tid);
        self.read_soon(now, tid, out);
    }

    fn down(&mut self, tid: &Tid, out: &mut Vec<Effect>) {
        self.convict(tid, out);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        for token in dc.disconnected() {
            out.push(Effect::Refreshed { token, result: Err("the connection was lost".into()) });
        }
        self.timers.cancel(&Timer::SecondRead(tid.clone()));
        self.timers.cancel(&Timer::Hanging(tid.clone()));
        self.timers.cancel(&Timer::PollEnds(tid.clone()));
        self.timers.cancel(&Timer::Register(tid.clone()));
        self.reconciler.sources.outdate(&SourceId::Page(tid.clone()));
        out.push(Effect::Host(HostEffect::Save));
    }

    fn host_event(&mut self, now: Time, event: HostEvent, out: &mut Vec<Effect>) {
        match &event {
            HostEvent::Resolved { op, result } => {
                let mut host = Vec::new();
                let changed = self.reconciler.resolved(now, *op, result, &mut host);
                extend(out, host);
                if changed {
                    self.take_rules();
                }
            }
            HostEvent::Uevent(event) => self.kernel_says(now, event, out),
            HostEvent::Overrun => self.events_were_lost(now, out),
            HostEvent::Links(links) => {
                self.reconciler.configured.refresh(now);
                self.network_changed(links, out);
            }
            _ => {}
        }
        let mut host = Vec::new();
        let resolved = matches!(event, HostEvent::Resolved { .. } | HostEvent::Links(_));
        let looked = matches!(event, HostEvent::Looked { .. });
        let reports = self.reconciler.fleet.handle(now, event, &mut host);
        extend(out, host);
        let changed = !reports.is_empty() || resolved;
        self.reported(now, reports, out);
        self.serve_unmanaged(out);
        self.end_old_polls(out);
        if looked {
            self.end_excluded(now, out);
        }
        if changed {
            self.resettle(now, out);
        }
    }

    fn kernel_says(&mut self, now: Time, event: &libstas::core::Uevent, out: &mut Vec<Effect>) {
        let ctrl = self.reconciler.fleet.inventory().device(event.device).map(|kernel| kernel.ctrl);
        // One device may serve several TIDs, each with its own page.
        let holders: Vec<Tid> =
            ctrl.map(|ctrl| self.reconciler.fleet.holders(ctrl)).unwrap_or_default().into_iter().cloned().collect();
        match event.kind {
            UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED) | UeventKind::Rediscover
                if holders.is_empty() =>
            {
                self.unmanaged.push(unmanaged::Call { device: event.device, seqnum: event.seqnum });
            }
            UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED) => {
                for tid in holders {
                    self.read_soon(now, &tid, out);
                }
            }
            UeventKind::Connected | UeventKind::Rediscover => {
                let Some(ctrl) = ctrl else { return };
                for tid in holders {
                    let connection = self.dcs.get(&tid).and_then(|dc| dc.connection);
                    if connection.is_some_and(|connection| event.seqnum > connection.seqnum) {
                        self.convict(&tid, out);
                        self.up(now, &tid, ctrl, out);
                    }
                }
            }
            _ => {}
        }
    }

    /// After an overrun any event may have been lost: treat every connection as new.
    fn events_were_lost(&mut self, now: Time, out: &mut Vec<Effect>) {
        let connected: Vec<_> =
            self.dcs.iter().filter_map(|(tid, dc)| Some((tid.clone(), dc.connection?.ctrl))).collect();
        for (tid, ctrl) in connected {
            self.up(now, &tid, ctrl, out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        for timer in self.timers.due(now) {
            match timer {
                Timer::Retry(tid) | Timer::SecondRead(tid) => self.read_soon(now, &tid, out),
                Timer::Hanging(tid) => self.read_hangs(&tid, out),
                Timer::Register(tid) => self.register(&tid, out),
                Timer::PollEnds(tid) => self.poll_ends(now, &tid, out),
                Timer::Removals => {}
                Timer::Stop => out.push(Effect::Stopped),
            }
        }
        let mut host = Vec::new();
        let reports = self.reconciler.fleet.tick(now, &mut host);
        self.reconciler.tick(now, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.forget_old_polls(now);
        self.read_doubted_again(now, out);
        self.let_announced_in(now, out);
        self.resettle(now, out);
        self.doubt_announcements(now, out);
    }

    /// Stops. Connections are kept, unless `persistent-connections=false`.
    fn stop(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.stopping = true;
        out.push(Effect::Host(HostEffect::Save));
        if self.settings.as_ref().is_none_or(|settings| settings.conf.persistent_connections) {
            out.push(Effect::Stopped);
            return;
        }
        self.timers.set(Timer::Stop, now + STOP_DEADLINE);
        let all: Vec<Tid> = self.reconciler.fleet.tids().cloned().collect();
        for tid in all {
            let mut host = Vec::new();
            let cause = Cause::new(Why::Stopping, "stafd stops, and persistent-connections=false");
            self.reconciler.fleet.unwant(now, &tid, Parting::Disconnect, cause, &mut host);
            extend(out, host);
        }
        self.stopped_when_empty(out);
    }

    fn stopped_when_empty(&mut self, out: &mut Vec<Effect>) {
        if self.stopping && self.reconciler.fleet.tids().next().is_none() {
            self.timers.cancel(&Timer::Stop);
            out.push(Effect::Stopped);
        }
    }

    /// While stopping, handles only events that lead to the end.
    fn handle_stopping(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        match event {
            Event::Host(event) => drop(self.reconciler.fleet.handle(now, event, &mut host)),
            Event::Tick => {
                drop(self.reconciler.fleet.tick(now, &mut host));
                if self.timers.due(now).contains(&Timer::Stop) {
                    out.push(Effect::Stopped);
                }
            }
            Event::Refresh { token, .. } => {
                out.push(Effect::Refreshed { token, result: Err("stafd is stopping".into()) });
            }
            _ => {}
        }
        extend(out, host);
        self.stopped_when_empty(out);
    }
}

impl Machine for Finder {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if self.stopping {
            self.handle_stopping(now, event, out);
            return;
        }
        self.notice_a_gap(now);
        let begin = out.len();
        match event {
            Event::BootTables(tables) => self.boot_tables(&tables, out),
            Event::Configured(settings) => self.configure(now, *settings, out),
            Event::Heard(heard) => self.heard(now, heard, out),
            Event::Host(event) => self.host_event(now, event, out),
            Event::Tick => self.tick(now, out),
            Event::SupportedRead { op, result } => self.supported_read(now, op, result, out),
            Event::LogPageRead { op, result } => self.log_page_read(now, op, result, out),
            Event::Registered { op, result } => self.registered(now, op, result, out),
            Event::Refresh { token, dc } => self.refresh(now, token, &dc, out),
            Event::Stop => self.stop(now, out),
        }
        self.limit_lines(now, out.get_mut(begin..).unwrap_or_default());
    }

    fn deadline(&self) -> Option<Time> {
        if self.stopping {
            return [self.timers.deadline(), self.reconciler.fleet.deadline()].into_iter().flatten().min();
        }
        let announced = self.announced.deadline(self.reconciler.fleet.has_looked());
        [self.timers.deadline(), self.reconciler.deadline(), announced].into_iter().flatten().min()
    }
}

fn extend(out: &mut Vec<Effect>, host: Vec<HostEffect>) {
    out.extend(host.into_iter().map(Effect::Host));
}
