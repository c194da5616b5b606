//! The core of stafd: decides which discovery controllers there are and what is asked of them.
//!
//! Sources name discovery controllers ([`libstas::core::sources`]); the fleet keeps them connected
//! ([`libstas::core::fleet`]); here their log pages are read (`reading`), referrals in them become sources, and
//! the bus is told. A discovery controller is given up only when every source that named it has proved that it no
//! longer does.

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
use libstas::core::configured::{Configured, Defaults, Words};
use libstas::core::controller::{Parting, Want};
use libstas::core::fleet::{Fleet, Kind, Report};
use libstas::core::ownership::{Cause, Rules, Why};
use libstas::core::sources::{Quiet, SourceId, Sources, Verdict};
use libstas::core::timers::Timers;
use libstas::core::{CtrlRef, HostEffect, HostEvent, Level, Machine, Notice, Time, UeventKind};
use libstas::nvme::{DISCOVERY_NQN, Parameters, Tid};

pub use announced::SavedAnnounced;
use discovery_controller::{Connection, DiscoveryController};
pub use saved::{Saved, SavedDc};
pub use wire::{DcView, Effect, Event, NotRegistered, RegisterRequest, Removed, Settings};

/// A page that takes so many live discovery controllers, and with them all that it referred to, is read again before it
/// is believed: all storage behind one may hang off one referral.
const DOUBTFUL_LOSS: usize = 1;
/// So many given-up discovery controllers are remembered.
const REMOVED_KEPT: usize = 1024;
/// Stopping does not wait longer than this for connections to be taken down.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Who owns a device that several TIDs share: the configured one before the referred one before the
/// announced one.
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
    configured: Configured,
    sources: Sources<Parameters>,
    fleet: Fleet,
    dcs: BTreeMap<Tid, DiscoveryController>,
    removed: BTreeMap<Tid, Removed>,
    announced: announced::Announced,
    booted: booted::Booted,
    browsing: bool,
    budget: announcing::Budget,
    unmanaged: Vec<unmanaged::Call>,
    quiet: Quiet,
    timers: Timers<Timer>,
    restored: BTreeSet<Tid>,
    /// Discovery controllers that were removed because of their age, as long as their referrals spare a live one. If such a
    /// one is connected again by the referral of what it has spared, both stay while they are live.
    aged_out: BTreeSet<Tid>,
    /// Whom a boot table named before this run.
    was_booted: BTreeSet<Tid>,
    /// Whom the configuration named before this run, until it could be read in full.
    was_configured: BTreeSet<Tid>,
    /// Polls that a restart cut short.
    old_polls: Vec<CtrlRef>,
    /// The lines of stafd.conf that list controllers, or did so last.
    lines: BTreeMap<Tid, usize>,
    stopping: bool,
    /// What stacd was last told of [`StafdView::is_complete`](libstas::bus::contract::StafdView::is_complete).
    was_complete: bool,
    /// When the last event or tick was handled.
    handled: Time,
}

impl Finder {
    /// A finder that knows what it knew when it was last saved. The seed decides its jitter.
    #[must_use]
    pub fn new(saved: Saved, seed: u64) -> Self {
        let mut finder = Self {
            settings: None,
            configured: Configured::restore(saved.names.clone()),
            sources: Sources::doubting(DOUBTFUL_LOSS),
            fleet: Fleet::new(Kind::Discovery, seed),
            dcs: BTreeMap::new(),
            removed: BTreeMap::new(),
            announced: announced::Announced::default(),
            booted: booted::Booted::default(),
            browsing: false,
            budget: announcing::Budget::default(),
            unmanaged: Vec::new(),
            quiet: Quiet::default(),
            timers: Timers::default(),
            restored: BTreeSet::new(),
            aged_out: BTreeSet::new(),
            was_booted: BTreeSet::new(),
            was_configured: BTreeSet::new(),
            old_polls: Vec::new(),
            lines: BTreeMap::new(),
            stopping: false,
            was_complete: true,
            handled: Time::default(),
        };
        finder.restore(saved);
        finder
    }

    fn configure(&mut self, now: Time, settings: Settings, out: &mut Vec<Effect>) {
        let reload = self.settings.is_some();
        self.configured.set(
            now,
            &Words {
                controllers: &settings.conf.controllers,
                exclusions: &settings.conf.exclusions,
                family: settings.conf.ip_family,
                ignore_iface: settings.conf.ignore_iface,
                file: "stafd.conf",
                lost_line: settings.conf.lost_line,
            },
        );
        let mut host = Vec::new();
        self.fleet.set_identity(settings.identity.clone(), &mut host);
        let no_longer_pleo = self.settings.as_ref().is_some_and(|before| before.conf.pleo != settings.conf.pleo);
        self.settings = Some(settings);
        self.fleet.set_rules(Rules { exclusions: self.configured.exclusions(), ..Rules::default() });
        extend(out, host);
        // The configuration is saved with the state.
        out.push(Effect::Host(HostEffect::Save));
        self.configure_browsing(now, out);
        self.quiet.disturb(now);
        self.keep_what_may_be_meant();
        self.remember_boot_interfaces();
        self.resettle(now, out);
        for tid in std::mem::take(&mut self.restored) {
            if self.is_barred(&tid) || !(self.fleet.has(&tid) || self.is_meant(now, &tid)) {
                self.drop_restored(now, &tid, out);
            }
        }
        self.end_excluded(now, out);
        if reload {
            let all: Vec<Tid> = self.dcs.keys().cloned().collect();
            for tid in all {
                let mut host = Vec::new();
                let reports = self.fleet.encourage(now, &tid, &mut host);
                extend(out, host);
                self.reported(now, reports, out);
                if no_longer_pleo && let Some(dc) = self.dcs.get_mut(&tid) {
                    dc.supported = None;
                }
                self.read_soon(now, &tid, out);
            }
        }
    }

    /// Makes the fleet's members what the sources name. Adding is immediate; removing waits for proof and quiet.
    fn resettle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let fresh = self.follow_announcements(now, out);
        self.follow_boot_tables(out);
        let barred = self.mark_barred(now, out);
        let Some(settings) = &self.settings else { return };
        let defaults = Defaults {
            parameters: &settings.conf.parameters,
            host_nqn: &settings.identity.nqn,
            subsysnqn: DISCOVERY_NQN,
        };
        let configured = self.configured.controllers(&defaults, |tid| self.fleet.is_live(tid));
        self.lines.retain(|tid, _| self.fleet.has(tid));
        self.lines.extend(self.configured.lines(&defaults));
        if settings.conf.controller_lost || self.configured.awaits_a_name() {
            self.sources.hearsay(SourceId::Configured, configured);
        } else {
            self.sources.decree(SourceId::Configured, configured);
        }
        let unreachable = self.reach(now).unreachable;
        let trusted = self.listed_by_more_than_announcements();
        let mut meant: BTreeMap<&Tid, Want> = BTreeMap::new();
        for (id, tid, parameters) in self.sources.named().filter(|(id, ..)| !reach::is_page_of(id, &unreachable)) {
            let rank = match id {
                SourceId::Configured | SourceId::Boot => rank::CONFIGURED,
                SourceId::Page(_) => rank::REFERRAL,
                SourceId::Announced | SourceId::Renamed => rank::DISCOVERED,
            };
            if !self.is_barred(tid) && !self.is_undecided(tid) {
                // A referral from before this run knows no parameters of [Global] yet.
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
        // What led to it had aged out before this run.
        let has_aged_out = |(id, _): (&SourceId, _)| self.sources.has_aged_out(id);
        let spared = self.restored.iter().filter(|tid| self.sources.claims_on(tid).any(has_aged_out));
        for tid in spared.filter(|tid| !self.is_barred(tid)) {
            let parameters = || settings.conf.parameters.clone();
            let want = || Want { parameters: parameters(), rank: rank::REFERRAL, attempts: None, announced_only: true };
            meant.entry(tid).or_insert_with(want);
        }
        let news = meant.into_iter().filter(|(tid, want)| !self.fleet.is_wanted(tid, want));
        let mut news: Vec<(Tid, Want)> = news.map(|(tid, want)| (tid.clone(), want)).collect();
        self.leave_out_of_reach(&mut news, out);
        for (tid, want) in news {
            let was_given_up = self.removed.remove(&tid).is_some();
            self.dcs.entry(tid.clone()).or_default().was_given_up |= was_given_up;
            let mut host = Vec::new();
            let reports = self.fleet.want(now, &tid, want, &mut host);
            extend(out, host);
            self.reported(now, reports, out);
            self.take_back(now, &tid, out);
        }
        self.encourage_announced(now, &fresh, out);
        self.remove(now, &barred, out);
        let mut host = Vec::new();
        self.configured.tell_what_is_held(&self.sources, self.fleet.tids(), &mut host);
        extend(out, host);
        let is_complete = self.is_complete();
        if std::mem::replace(&mut self.was_complete, is_complete) != is_complete {
            out.push(Effect::DcRemoved);
        }
    }

    /// Marks the discovery controllers that the configuration excludes, so that no attempt at one of them begins while
    /// another is removed. Gives them back.
    fn mark_barred(&mut self, now: Time, out: &mut Vec<Effect>) -> BTreeSet<Tid> {
        let (barred, others): (BTreeSet<Tid>, BTreeSet<Tid>) =
            self.fleet.tids().cloned().partition(|tid| self.is_barred(tid));
        for tid in others {
            if self.fleet.exclusion_is_gone(&tid) {
                self.removed.remove(&tid);
                self.dcs.entry(tid.clone()).or_default();
                self.take_back(now, &tid, out);
            }
        }
        for tid in &barred {
            let cause = self.why_excluded(tid);
            self.fleet.mark_unwanted(tid, Parting::Disconnect, cause);
        }
        barred
    }

    /// One that was given up and is wanted again before its connection was gone: nobody tells that it is live, for it
    /// never was anything else.
    fn take_back(&mut self, now: Time, tid: &Tid, out: &mut Vec<Effect>) {
        let is_new = self.dcs.get(tid).is_some_and(|dc| dc.connection.is_none());
        let live = self.fleet.kernel(tid).filter(|kernel| is_new && kernel.is_live());
        if let Some(ctrl) = live.map(|kernel| kernel.ctrl) {
            self.up(now, tid, ctrl, out);
        }
    }

    /// A configuration that could be read only in part, or that waits for a name ([`Configured::awaits_a_name`]), may name
    /// what was there before this run. What is known from announcements has its own source: had it been configured, too, that
    /// would have been saved.
    fn keep_what_may_be_meant(&mut self) {
        let awaits = self.configured.awaits_a_name();
        let partial = |settings: &&Settings| settings.conf.controller_lost || awaits;
        let Some(settings) = self.settings.as_ref().filter(partial) else {
            self.was_configured.clear();
            return;
        };
        let claimed: BTreeSet<&Tid> = self.sources.claims().map(|(_, tid, _)| tid).collect();
        let parameters = &settings.conf.parameters;
        let unclaimed = self.restored.iter().filter(|tid| !claimed.contains(tid) && !self.announced.knew(tid));
        let names = unclaimed.chain(&self.was_configured).map(|tid| (tid.clone(), parameters.clone())).collect();
        self.sources.hearsay(SourceId::Configured, names);
    }

    /// True for what the administrator excluded, by itself, with its address family, or with the interface that it was
    /// found on.
    fn is_barred(&self, tid: &Tid) -> bool {
        self.configured.excludes(tid, &tid.host_iface)
            || !self.configured.allows(tid)
            || self.is_barred_where_found(tid)
    }

    /// True for a new one that may yet turn out to be excluded. What was there before this run is not held up.
    fn is_undecided(&self, tid: &Tid) -> bool {
        !self.dcs.contains_key(tid) && self.configured.may_exclude(tid)
    }

    fn is_meant(&self, now: Time, tid: &Tid) -> bool {
        self.verdict(now, tid, &self.reach(now).unreachable) != Verdict::Disproved
    }

    /// Gives up what is excluded at once, and what is disproved when it is quiet.
    fn remove(&mut self, now: Time, barred: &BTreeSet<Tid>, out: &mut Vec<Effect>) {
        let mut going: Vec<(Tid, RemovalReason)> = Vec::new();
        let mut again: Option<Time> = None;
        let mut disproved = Vec::new();
        let reach = self.reach(now);
        for tid in self.fleet.tids() {
            if barred.contains(tid) {
                going.push((tid.clone(), RemovalReason::Excluded));
                continue;
            }
            match self.verdict(now, tid, &reach.unreachable) {
                Verdict::Named => {}
                Verdict::Unproved(at) => again = again.into_iter().chain(at).min(),
                // Nothing hangs off one that never answered: there is no calm to wait for.
                Verdict::Disproved if self.announced.is_unproven(tid) => {
                    going.push((tid.clone(), RemovalReason::AgedOut));
                }
                Verdict::Disproved => disproved.push((tid.clone(), self.reason_for(tid, &reach))),
            }
        }
        if !disproved.is_empty() {
            if self.quiet.has_come(now) {
                going.append(&mut disproved);
            } else {
                again = again.into_iter().chain(self.quiet.until()).min();
            }
        }
        match again {
            Some(at) => self.timers.set(Timer::Removals, at),
            None => self.timers.cancel(&Timer::Removals),
        }
        let is_of_use = |tid: &Tid| self.fleet.has(tid) || self.sources.has_aged_out(&SourceId::Page(tid.clone()));
        self.aged_out.retain(|tid| !reach.rooted.contains(tid) && is_of_use(tid));
        for (tid, reason) in going {
            self.give_up(now, &tid, reason, out);
        }
    }

    /// Why a discovery controller that no source lists any more is removed. A referral of a controller that ages out was
    /// never withdrawn: what it leads to ages out, too, and takes no live controller with it.
    fn reason_for(&self, tid: &Tid, reach: &reach::Reach) -> RemovalReason {
        let is_page = |id: &SourceId| matches!(id, SourceId::Page(_));
        let referred = self.sources.claims_on(tid).any(|(id, _)| is_page(id));
        let aged_out = |(id, _): (&SourceId, _)| is_page(id) && self.sources.has_aged_out(id);
        match referred {
            true if reach.ages_out.contains(tid) || self.sources.claims_on(tid).any(aged_out) => RemovalReason::AgedOut,
            true => RemovalReason::ReferralGone,
            false if reach.ages_out.contains(tid) || self.announced.knew(tid) => RemovalReason::AgedOut,
            false => RemovalReason::Configuration,
        }
    }

    /// Why a discovery controller is removed, for the log.
    fn cause_of(&self, tid: &Tid, reason: RemovalReason) -> Cause {
        let pages = self.sources.claims_on(tid).filter_map(|(id, _)| match id {
            SourceId::Page(dc) => Some(dc),
            _ => None,
        });
        match reason {
            RemovalReason::Excluded => self.why_excluded(tid),
            RemovalReason::Configuration => Cause::removed(match self.lines.get(tid) {
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
        match self.configured.exclusion_of(tid, &tid.host_iface) {
            Some(exclusion) => Cause::excluded(format!("excluded by exclude= in stafd.conf, line {}", exclusion.line)),
            None if !self.configured.allows(tid) => Cause::barred("ip-family= in stafd.conf excludes its address"),
            None => Cause::barred("exclude= in stafd.conf matches the interface that it was found on"),
        }
    }

    /// The discovery controllers that the configuration, a boot table, or a chain of referrals from those lists. All
    /// others are listed by announcements alone: connections of other programs to those are used, not claimed.
    fn listed_by_more_than_announcements(&self) -> BTreeSet<Tid> {
        let roots = [SourceId::Configured, SourceId::Boot];
        let mut found: BTreeSet<Tid> = roots.iter().flat_map(|id| self.sources.named_by(id)).cloned().collect();
        let mut edge: Vec<Tid> = found.iter().cloned().collect();
        while !edge.is_empty() {
            let pages: Vec<SourceId> = edge.drain(..).map(SourceId::Page).collect();
            let referred = pages.iter().flat_map(|id| self.sources.named_by(id));
            edge = referred.filter(|tid| found.insert((*tid).clone())).cloned().collect();
        }
        found
    }

    /// Ends the use of connections that an exclusion matches, although the controller that uses them is not excluded.
    fn end_excluded(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        let reports = self.fleet.end_excluded(now, |_| false, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
    }

    /// Gives a discovery controller up: its connection goes, and with it what only its page named.
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
        // Nobody has got anything from one that was announced and never answered, unless it did before it was given up
        // the last time: whoever has not heard of that is to hear of this.
        let unheard_of = reason == RemovalReason::AgedOut && self.announced.is_unproven(tid) && !was_given_up;
        if news && !unheard_of {
            let ctrl = self.fleet.kernel(tid).map(|kernel| kernel.ctrl);
            let text = format!("given up ({reason})");
            out.push(Effect::Host(HostEffect::Tell(Notice { level: Level::Info, tid: Some(tid.clone()), ctrl, text })));
            self.removed.insert(tid.clone(), Removed { dc: tid.clone(), reason, at: now });
            while self.removed.len() > REMOVED_KEPT {
                let Some(oldest) = self.removed.values().min_by_key(|removed| removed.at).map(|r| r.dc.clone()) else {
                    break;
                };
                self.removed.remove(&oldest);
            }
            self.sources.give_up(&SourceId::Page(tid.clone()), reason.spares_live());
            match reason.spares_live() {
                true => drop(self.aged_out.insert(tid.clone())),
                false => drop(self.aged_out.remove(tid)),
            }
            self.quiet.disturb(now);
        }
        let mut host = Vec::new();
        let cause = self.cause_of(tid, reason);
        let reports = self.fleet.unwant(now, tid, Parting::Disconnect, cause, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.announced.given_up(tid);
        if news && !unheard_of {
            out.push(Effect::DcRemoved);
            out.push(Effect::Host(HostEffect::Save));
            self.timers.set(Timer::Removals, self.quiet.until().unwrap_or(now));
        }
    }

    /// A discovery controller from before this run that nobody means any more: its connection goes, too.
    fn drop_restored(&mut self, now: Time, tid: &Tid, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        let before = self.removed.get(tid).map(|removed| removed.reason).filter(|reason| reason.spares_live());
        let reason = match before {
            _ if self.is_barred(tid) => RemovalReason::Excluded,
            // It was given up before this run, and is not disconnected yet.
            Some(before) => before,
            None => self.reason_for(tid, &self.reach(now)),
        };
        let cause = self.cause_of(tid, reason);
        let reports = self.fleet.remove_restored(now, tid, Parting::Disconnect, cause, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.dcs.entry(tid.clone()).or_default();
        self.give_up(now, tid, reason, out);
    }

    /// What the fleet says of its members.
    fn reported(&mut self, now: Time, reports: Vec<Report>, out: &mut Vec<Effect>) {
        for report in reports {
            match report {
                Report::Live(tid, ctrl) => self.up(now, &tid, ctrl, out),
                Report::Lost(tid, _) => self.down(&tid, out),
                Report::Left(tid) => self.sources.forget(&tid),
            }
        }
    }

    fn up(&mut self, now: Time, tid: &Tid, ctrl: CtrlRef, out: &mut Vec<Effect>) {
        // At once: the connection may be lost before anything else happens.
        if self.announced.was_connected(tid) {
            out.push(Effect::Host(HostEffect::Save));
        }
        let seqnum = self.fleet.inventory().look().seqnum;
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        for token in dc.connected(Connection { ctrl, since: now, seqnum }) {
            out.push(Effect::Refreshed { token, result: Err("the connection was lost meanwhile".into()) });
        }
        self.sources.outdate(&SourceId::Page(tid.clone()));
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
        self.sources.outdate(&SourceId::Page(tid.clone()));
        out.push(Effect::Host(HostEffect::Save));
    }

    fn host_event(&mut self, now: Time, event: HostEvent, out: &mut Vec<Effect>) {
        match &event {
            HostEvent::Resolved { op, result } => {
                let mut host = Vec::new();
                let changed = self.configured.resolved(now, *op, result, self.fleet.jitter(), &mut host);
                extend(out, host);
                if changed {
                    self.quiet.disturb(now);
                    self.fleet.set_rules(Rules { exclusions: self.configured.exclusions(), ..Rules::default() });
                }
            }
            HostEvent::Uevent(event) => self.kernel_says(now, event, out),
            HostEvent::Overrun => self.events_were_lost(now, out),
            HostEvent::Links(links) => {
                self.configured.refresh(now);
                self.network_changed(links, out);
            }
            _ => {}
        }
        let mut host = Vec::new();
        let resolved = matches!(event, HostEvent::Resolved { .. } | HostEvent::Links(_));
        let looked = matches!(event, HostEvent::Looked { .. });
        let reports = self.fleet.handle(now, event, &mut host);
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
        let ctrl = self.fleet.inventory().device(event.device).map(|kernel| kernel.ctrl);
        // One device may serve several TIDs: each has its own page.
        let holders: Vec<Tid> =
            ctrl.map(|ctrl| self.fleet.holders(ctrl)).unwrap_or_default().into_iter().cloned().collect();
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

    /// Whatever could have been said was perhaps said: every connection may be another one.
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
        let reports = self.fleet.tick(now, &mut host);
        let fleet = &mut self.fleet;
        let mut jitter = fleet.jitter().clone();
        self.configured.tick(now, || fleet.issue(), &mut jitter, &mut host);
        extend(out, host);
        self.reported(now, reports, out);
        self.forget_old_polls(now);
        self.read_doubted_again(now, out);
        self.let_announced_in(now, out);
        self.resettle(now, out);
        self.doubt_announcements(now, out);
    }

    /// The daemon stops: connections stay, unless the administrator wants them to go.
    fn stop(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.stopping = true;
        out.push(Effect::Host(HostEffect::Save));
        if self.settings.as_ref().is_none_or(|settings| settings.conf.persistent_connections) {
            out.push(Effect::Stopped);
            return;
        }
        self.timers.set(Timer::Stop, now + STOP_DEADLINE);
        let all: Vec<Tid> = self.fleet.tids().cloned().collect();
        for tid in all {
            let mut host = Vec::new();
            let cause = Cause::new(Why::Stopping, "stafd stops, and persistent-connections=false");
            self.fleet.unwant(now, &tid, Parting::Disconnect, cause, &mut host);
            extend(out, host);
        }
        self.stopped_when_empty(out);
    }

    fn stopped_when_empty(&mut self, out: &mut Vec<Effect>) {
        if self.stopping && self.fleet.tids().next().is_none() {
            self.timers.cancel(&Timer::Stop);
            out.push(Effect::Stopped);
        }
    }

    /// After the stop was asked for, only what leads to the end is done.
    fn handle_stopping(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        let mut host = Vec::new();
        match event {
            Event::Host(event) => drop(self.fleet.handle(now, event, &mut host)),
            Event::Tick => {
                drop(self.fleet.tick(now, &mut host));
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
            return [self.timers.deadline(), self.fleet.deadline()].into_iter().flatten().min();
        }
        let announced = self.announced.deadline(self.fleet.has_looked());
        [self.timers.deadline(), self.fleet.deadline(), self.configured.deadline(), self.sources.deadline(), announced]
            .into_iter()
            .flatten()
            .min()
    }
}

fn extend(out: &mut Vec<Effect>, host: Vec<HostEffect>) {
    out.extend(host.into_iter().map(Effect::Host));
}
