//! The core of stacd: decides which I/O controllers are to be connected.
//!
//! stafd's log pages and the configuration are sources ([`libstas::core::sources`]) that list I/O controllers. The
//! fleet ([`libstas::core::fleet`]) connects and removes them. An I/O controller is removed only when every source that
//! listed it has proved that it no longer does, and its storage is not in use.

mod audit;
mod booted;
mod newcomers;
mod renamed;
mod saved;
mod stafd;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use libstas::conf::{DisconnectScope, InUse};
use libstas::core::configured::{Defaults, Words};
use libstas::core::controller::{Parting, Want};
use libstas::core::fleet::{Fleet, Kind, Report};
use libstas::core::ownership::{Cause, Rules};
use libstas::core::reconciler::{self, Excluded, Judged, Reconciler};
use libstas::core::sources::{QUIET, SourceId, Sources, Verdict};
use libstas::core::timers::Timers;
use libstas::core::{HostEffect, HostEvent, Machine, Time};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{Parameters, Tid};

pub use libstas::bus::contract::{DcPage, Origin, PageState, RemovalReason, RemovedDc, StafdView};
pub use saved::{Saved, SavedBoot, SavedClaim, SavedSource};
pub use wire::{Effect, Event, IocView, Settings};

/// The rank of a TID. When several TIDs share a device, the smallest rank owns it: configured before discovered.
mod rank {
    pub(super) const CONFIGURED: u8 = 0;
    pub(super) const DISCOVERED: u8 = 1;
}

/// What a source says about an I/O controller that it lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Listed by `controller=`, with these parameters.
    Configured(Box<Parameters>),
    /// Listed by a log page, with this entry.
    Entry(Box<Entry>),
    /// Connected while this host or stafd had another host NQN.
    Before,
}

impl reconciler::Claim for Named {
    fn configured(parameters: Parameters) -> Self {
        Self::Configured(Box::new(parameters))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Removals,
    FetchAll,
}

/// The core of stacd.
#[derive(Debug)]
pub struct Connector {
    settings: Option<Settings>,
    reconciler: Reconciler<Named>,
    stafd: stafd::Stafd,
    booted: booted::Booted,
    timers: Timers<Timer>,
    renamed: renamed::Renamed,
}

impl Connector {
    /// Creates the connector from its saved state. The seed determines its jitter.
    #[must_use]
    pub fn new(saved: Saved, seed: u64) -> Self {
        let mut connector = Self {
            settings: None,
            reconciler: Reconciler::new(Sources::default(), Fleet::new(Kind::Io, seed), saved.names.clone()),
            stafd: stafd::Stafd::default(),
            booted: booted::Booted::default(),
            timers: Timers::default(),
            renamed: renamed::Renamed::default(),
        };
        connector.restore(saved);
        connector
    }

    fn configure(&mut self, now: Time, settings: Settings, out: &mut Vec<Effect>) {
        let reload = self.settings.is_some();
        let words = Words {
            controllers: &settings.conf.controllers,
            exclusions: &settings.conf.exclusions,
            family: settings.conf.ip_family,
            ignore_iface: settings.conf.ignore_iface,
            file: "stacd.conf",
            lost_line: settings.conf.lost_line,
        };
        self.take_host_nqn(&settings.identity.nqn, out);
        let mut host = Vec::new();
        self.reconciler.configure(now, &words, settings.identity.clone(), &mut host);
        extend(out, host);
        let audits = settings.conf.disconnect_scope == DisconnectScope::AllMatchingTrtypes;
        self.reconciler.sources.want_late_pages_of_all(audits);
        self.settings = Some(settings);
        self.take_rules();
        self.keep_what_may_be_meant();
        self.spare_what_is_no_longer_audited(now, out);
        self.resettle(now, out);
        for tid in std::mem::take(&mut self.reconciler.restored) {
            if !self.reconciler.fleet.has(&tid) && self.booted.record_of(&tid).is_none() {
                let removal = self.barred(&tid).unwrap_or_else(|| (self.parting(), self.why_removed(&tid)));
                let (how, cause) = removal;
                self.fleet_does(now, out, |fleet, host| fleet.remove_restored(now, &tid, how, cause, host));
            }
        }
        self.look_for_boot_connections(out);
        self.end_excluded(now, out);
        self.audit(now, out);
        if reload {
            let all: Vec<Tid> = self.reconciler.fleet.tids().cloned().collect();
            for tid in all {
                self.fleet_does(now, out, |fleet, host| fleet.encourage(now, &tid, host));
            }
        }
    }

    /// Passes the configured rules on disconnecting to the fleet.
    fn take_rules(&mut self) {
        let Some(settings) = &self.settings else { return };
        self.reconciler.fleet.set_rules(Rules {
            scope: settings.conf.disconnect_scope,
            trtypes: settings.conf.disconnect_trtypes.clone(),
            exclusions: self.reconciler.configured.exclusions(),
        });
    }

    /// Makes the members of the fleet match the sources. Adds at once; removals wait for proof and for quiet sources.
    fn resettle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(settings) = self.settings.clone() else { return };
        let defaults =
            Defaults { parameters: &settings.conf.parameters, host_nqn: &settings.identity.nqn, subsysnqn: "" };
        self.reconciler.list_configured(&defaults, !settings.conf.controller_lost);
        self.name_the_renamed();
        let excluded = self.mark_excluded();
        let wanted = self.wanted(&settings);
        self.stafd.newcomers.lists(now, wanted.keys());
        for (tid, want) in wanted {
            if self.reconciler.fleet.is_wanted(&tid, &want) {
                continue;
            }
            self.fleet_does(now, out, |fleet, host| fleet.want(now, &tid, want, host));
        }
        self.remove(now, excluded, out);
        let mut host = Vec::new();
        self.reconciler.tell_what_is_held(&mut host);
        extend(out, host);
    }

    /// Marks the controllers that the configuration excludes, and returns them.
    fn mark_excluded(&mut self) -> Excluded {
        let audited = self.audited();
        let tids = self.reconciler.fleet.tids().filter(|tid| !audited.contains(*tid));
        let excluded = tids.filter_map(|tid| {
            let (how, cause) = self.barred(tid)?;
            Some((tid.clone(), (self.booted.instead(how, tid), cause)))
        });
        let excluded = excluded.collect();
        self.reconciler.mark_excluded(&excluded);
        excluded
    }

    /// The controllers that the audit removes. The audit judges them again each time.
    fn audited(&self) -> BTreeSet<Tid> {
        self.reconciler.fleet.unclaimed().into_iter().map(|(tid, _)| tid).collect()
    }

    /// All listed controllers that are not excluded, and how they are wanted. Parameters of the configuration take
    /// precedence.
    fn wanted(&self, settings: &Settings) -> BTreeMap<Tid, Want> {
        let parameters = || settings.conf.parameters.clone();
        let discovered =
            |parameters, attempts| Want { parameters, rank: rank::DISCOVERED, attempts, announced_only: true };
        let mut wanted: BTreeMap<Tid, Want> = BTreeMap::new();
        for (id, tid, named) in
            self.reconciler.listed().filter(|(_, tid, _)| !self.is_barred(tid) && !self.is_undecided(tid))
        {
            let want = match named {
                Named::Configured(parameters) => {
                    Want { parameters: (**parameters).clone(), rank: rank::CONFIGURED, ..Want::default() }
                }
                Named::Entry(entry) => discovered(
                    parameters().listed_by(entry),
                    settings.conf.connect_attempts_on_ncc.filter(|_| entry.eflags.ncc()),
                ),
                Named::Before => discovered(parameters(), None),
            };
            let want = wanted.entry(tid.clone()).or_insert(want);
            // One source above announced ones is enough for the right to claim a connection.
            want.announced_only &= self.is_announced_only(id);
        }
        wanted
    }

    fn keep_what_may_be_meant(&mut self) {
        let Some(settings) = &self.settings else { return };
        let (whole, parameters) = (!settings.conf.controller_lost, &settings.conf.parameters);
        self.reconciler.keep_what_may_be_meant(whole, parameters, |_| false);
    }

    /// How an excluded controller is removed: by `exclude=` at once. By `ip-family` like a controller that is no longer
    /// listed, so that storage in use is kept.
    fn barred(&self, tid: &Tid) -> Option<(Parting, Cause)> {
        if let Some(exclusion) = self.reconciler.configured.exclusion_of(tid, &tid.host_iface) {
            let cause = Cause::excluded(format!("excluded by exclude= in stacd.conf, line {}", exclusion.line));
            return Some((Parting::Disconnect, cause));
        }
        let cause = || Cause::barred("ip-family= in stacd.conf excludes its address");
        (!self.reconciler.configured.allows(tid)).then(|| (self.parting(), cause()))
    }

    /// The cause of a removal for the log: the source that listed the controller last.
    fn why_removed(&self, tid: &Tid) -> Cause {
        let edit = self
            .reconciler
            .lines
            .get(tid)
            .map(|line| format!("controller= removed from stacd.conf (it was line {line})"));
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

    /// True when the source is a page that depends on mDNS alone. Connections for its controllers are used but not
    /// claimed.
    fn is_announced_only(&self, id: &SourceId) -> bool {
        match id {
            SourceId::Configured | SourceId::Boot | SourceId::Renamed => false,
            SourceId::Page(dc) => self.stafd.is_announced_only(dc),
            SourceId::Announced => true,
        }
    }

    /// Stops using connections that match an exclusion, although the controller that uses them is not excluded.
    fn end_excluded(&mut self, now: Time, out: &mut Vec<Effect>) {
        let booted = std::mem::take(&mut self.booted);
        self.fleet_does(now, out, |fleet, host| fleet.end_excluded(now, |tid| booted.record_of(tid).is_some(), host));
        self.booted = booted;
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
    fn parting(&self) -> Parting {
        match self.settings.as_ref().map(|settings| (settings.conf.disconnect_scope, settings.conf.in_use)) {
            Some((DisconnectScope::Nothing, _)) => Parting::Keep,
            Some((_, InUse::Disconnect)) => Parting::Disconnect,
            _ => Parting::SpareInUse,
        }
    }

    /// Removes excluded controllers at once. Removes disproved ones when the sources are quiet and their replacements
    /// are connected.
    fn remove(&mut self, now: Time, mut excluded: Excluded, out: &mut Vec<Effect>) {
        let fleet = &self.reconciler.fleet;
        excluded.retain(|tid, _| fleet.has(tid));
        let audited = self.audited();
        let others = fleet.tids().filter(|tid| !audited.contains(*tid) && !excluded.contains_key(*tid));
        // For members being removed only the way of removal may have changed: that needs no quiet sources and no new
        // proof.
        let (leaving, others): (Vec<&Tid>, Vec<&Tid>) = others.partition(|tid| fleet.is_leaving_for_good(tid));
        let verdict = |tid: &Tid| self.reconciler.sources.verdict(tid, now, fleet.may_be_live(tid));
        let removal = |tid: &Tid| (tid.clone(), self.booted.instead(self.parting(), tid), self.why_removed(tid));
        let leaving = leaving.into_iter().filter(|tid| verdict(tid) != Verdict::Named).map(removal);
        let mut going: Vec<(Tid, Parting, Cause)> = leaving.collect();
        let Judged { disproved, mut again } = self.reconciler.judge(others, verdict);
        let disproved: Vec<(Tid, Parting, Cause)> = disproved.iter().map(removal).collect();
        going.extend(excluded.into_iter().map(|(tid, (how, cause))| (tid, how, cause)));
        self.stafd.newcomers.release(|tid| disproved.iter().any(|(held, ..)| held == tid));
        if !disproved.is_empty() && !self.reconciler.quiet.has_come(now) {
            again = again.into_iter().chain(self.reconciler.quiet.until()).min();
        } else {
            let (held, mut free): (Vec<_>, Vec<_>) =
                disproved.into_iter().partition(|(tid, ..)| self.awaits_newcomers(now, tid));
            if !held.is_empty() {
                // No event tells that the last replacement is connected: check as often as for quiet sources.
                again = again.into_iter().chain([now + QUIET]).min();
            }
            going.append(&mut free);
        }
        match again {
            Some(at) => self.timers.set(Timer::Removals, at),
            None => self.timers.cancel(&Timer::Removals),
        }
        for (tid, how, cause) in going {
            self.fleet_does(now, out, |fleet, host| fleet.unwant(now, &tid, how, cause, host));
        }
    }

    /// Calls the fleet and handles its reports. Returns true when the reports may change which controllers are wanted.
    /// A new connection changes that only if something waits for it: a host name that changes its address, or a host
    /// with a new NQN.
    fn fleet_does(
        &mut self,
        now: Time,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Fleet, &mut Vec<HostEffect>) -> Vec<Report>,
    ) -> bool {
        let mut host = Vec::new();
        let reports = act(&mut self.reconciler.fleet, &mut host);
        extend(out, host);
        let awaited = self.reconciler.configured.is_moving() || !self.renamed.before().is_empty();
        let any = reports.iter().any(|report| !matches!(report, Report::Live(..)) || awaited);
        for report in reports {
            if let Report::Left(tid) = report {
                self.reconciler.sources.forget(&tid);
                self.reconciler.quiet.disturb(now);
            }
        }
        any
    }

    fn host_event(&mut self, now: Time, event: HostEvent, out: &mut Vec<Effect>) {
        let mut changed = false;
        let looked = matches!(event, HostEvent::Looked { .. });
        match &event {
            HostEvent::Resolved { op, result } => {
                let mut host = Vec::new();
                changed = self.reconciler.resolved(now, *op, result, &mut host);
                extend(out, host);
                if changed {
                    self.take_rules();
                }
            }
            HostEvent::Links(_) => self.reconciler.configured.refresh(now),
            _ => {}
        }
        self.spare_what_is_no_longer_audited(now, out);
        changed |= self.fleet_does(now, out, |fleet, host| fleet.handle(now, event, host));
        if changed {
            self.resettle(now, out);
        }
        if looked {
            self.look_for_boot_connections(out);
            self.end_excluded(now, out);
            self.audit(now, out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut changed = false;
        for timer in self.timers.due(now) {
            match timer {
                Timer::FetchAll => self.fetch_all(out),
                Timer::Removals => changed = true,
            }
        }
        changed |= self.fleet_does(now, out, |fleet, host| fleet.tick(now, host));
        let mut host = Vec::new();
        changed |= self.reconciler.tick(now, &mut host);
        extend(out, host);
        self.read_doubted_again(now, out);
        if changed {
            self.resettle(now, out);
        }
    }
}

impl Machine for Connector {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::BootTables(tables) => self.booted.set(tables),
            Event::Configured(settings) => self.configure(now, *settings, out),
            Event::Host(event) => self.host_event(now, event, out),
            Event::Tick => self.tick(now, out),
            Event::StafdOwner(owner) => self.stafd_owner(now, owner, out),
            Event::PageChanged(dc) => self.page_changed(dc, out),
            Event::DcRemoved => self.fetch_all(out),
            Event::AllFetched { op, result } => self.all_fetched(now, op, result, out),
            Event::PageFetched { op, result } => self.page_fetched(now, op, result, out),
            // Connections are never disconnected at stop.
            Event::Stop => out.extend([Effect::Host(HostEffect::Save), Effect::Stopped]),
        }
    }

    fn deadline(&self) -> Option<Time> {
        [self.timers.deadline(), self.reconciler.deadline()].into_iter().flatten().min()
    }
}

fn extend(out: &mut Vec<Effect>, host: Vec<HostEffect>) {
    out.extend(host.into_iter().map(Effect::Host));
}
