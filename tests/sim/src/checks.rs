//! Delivers events to the daemons, and checks what they do.

use std::collections::BTreeSet;
use std::time::Duration;

use libstas::conf::{DisconnectScope, InUse};
use libstas::core::browse::BrowseEvent;
use libstas::core::fleet::Status;
use libstas::core::{AdminError, CtrlRef, CtrlState, HostEvent, KernelController, Machine, OpId, Owner, Time};
use libstas::nvme::log_page::{Entry, LogPage, Subtype};
use libstas::nvme::{DISCOVERY_NQN, Tid};
use stacd::connector::{DcPage, FetchError, PageState};

use crate::bus::{PublishedPage, PublishedView};
use crate::invariants::Invariant;
use crate::kernel::{Origin, SimController};
use crate::mutants::Bug;
use crate::names::{Daemon, Iface, STALE, Subsystem, Target, short};
use crate::oracle::{Connection, PageReport, UseCheck};
use crate::plan::Fault;
use crate::world::{Incoming, World, trace};

/// stafd must remove absent controllers at most this long after the end of their persistence. After a start a page proves
/// an absence 30 s after its connection at the earliest, and the persistence may end 10 s after the start.
const LATE: Duration = Duration::from_secs(22);

impl World {
    pub(crate) fn process_incoming(&mut self, daemon: Daemon, incoming: Incoming) {
        match incoming {
            Incoming::Host(event) => self.process_host_event(daemon, event),
            Incoming::Staf(event) => self.feed_staf(event),
            Incoming::Stac(event) => {
                let now = self.time();
                match &event {
                    stacd::connector::Event::StafdOwner(owner) => self.oracle.stafd_is(owner.as_ref(), now),
                    stacd::connector::Event::PageChanged(dc) => self.oracle.page_signalled(dc, now),
                    _ => {}
                }
                self.feed_stac(event);
            }
            Incoming::BrowseEvent(heard) => self.process_browse_events(heard),
            Incoming::PageRead(op, ctrl, result) => self.process_log_page(op, ctrl, result),
            Incoming::AllFetched(op, result) => self.process_all_pages(op, result),
            Incoming::PageFetched(op, refreshed, result) => self.process_one_page(op, refreshed, result),
        }
    }

    fn process_host_event(&mut self, daemon: Daemon, event: HostEvent) {
        if daemon == Daemon::Stafd {
            self.record_page_change(&event);
        }
        let event = if self.bug.is_some() { self.mutate_host_event(daemon, event) } else { Some(event) };
        let Some(event) = event else { return };
        match (&event, daemon) {
            (HostEvent::Connected { .. }, Daemon::Stafd) => self.staf.writes = self.staf.writes.saturating_sub(1),
            (HostEvent::Connected { .. }, Daemon::Stacd) => self.stac.writes = self.stac.writes.saturating_sub(1),
            (HostEvent::Resolved { op, result: Ok(addresses) }, Daemon::Stafd) => {
                let number = self.resolving.remove(op);
                let leads = addresses.last().and_then(|address| Target::of(&address.to_string()));
                if let (Some(number), Some(target)) = (number, leads) {
                    self.oracle.resolved.insert(number, target);
                    self.oracle.ever_resolved.insert((number, target));
                    self.oracle.update_configured();
                }
            }
            (HostEvent::Links(links), Daemon::Stafd) => {
                let now = self.time();
                self.oracle.announced.interfaces(now, links);
            }
            _ => {}
        }
        match &event {
            HostEvent::SnapshotTaken { result: Ok(snapshot), .. } => self.oracle.snapshot_delivered(daemon, snapshot),
            HostEvent::Connected { report, .. } => self.oracle.snapshot_delivered(daemon, &report.snapshot),
            _ => {}
        }
        match daemon {
            Daemon::Stafd => self.feed_staf(stafd::finder::Event::Host(event)),
            Daemon::Stacd => self.feed_stac(stacd::connector::Event::Host(event)),
        }
    }

    /// stafd's browser has received announcements.
    fn process_browse_events(&mut self, heard: Vec<BrowseEvent>) {
        let now = self.time();
        for heard in &heard {
            match heard {
                BrowseEvent::Announced { service, endpoints, .. } => {
                    let on: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.interface).collect();
                    trace!(self, "stafd receives the announcement of {service} on {on:?}");
                }
                BrowseEvent::Gone(service) => trace!(self, "{service} is no longer announced to stafd"),
                BrowseEvent::Restarted => trace!(self, "the browser of stafd restarts"),
                BrowseEvent::Interrupted => trace!(self, "the browser of stafd is interrupted"),
            }
        }
        self.oracle.announced.receive(now, &heard);
        let heard = if self.bug.is_some() { self.mutate_browse_events(heard) } else { heard };
        self.feed_staf(stafd::finder::Event::BrowseEvent(heard));
    }

    pub(crate) fn feed_staf(&mut self, event: stafd::finder::Event) {
        let effects = self.run_stafd_core(event);
        self.execute_stafd_effects(effects);
    }

    fn run_stafd_core(&mut self, event: stafd::finder::Event) -> Vec<stafd::finder::Effect> {
        let now = self.time();
        let mut effects = Vec::new();
        if let Some(core) = &mut self.staf.core {
            self.oracle.announced.time_passes(now);
            let used = |tid: &Tid| Some((tid.clone(), core.controller(tid)?.member.kernel?.ctrl));
            self.oracle.used_by_stafd = self.oracle.staf.ever_listed().filter_map(used).collect();
            core.handle(now, event, &mut effects);
            self.events.0 += 1;
            for dc in core.controllers() {
                self.oracle.staf.record_trust(dc.member.tid, dc.member.trust);
            }
        }
        self.record_live_dcs();
        effects
    }

    fn execute_stafd_effects(&mut self, effects: Vec<stafd::finder::Effect>) {
        self.mark_ended_connections();
        for effect in effects {
            self.staf_effect(effect);
        }
        self.check_stale_pages();
    }

    pub(crate) fn feed_stac(&mut self, event: stacd::connector::Event) {
        for effect in self.run_stacd_core(event) {
            self.stac_effect(effect);
        }
    }

    fn run_stacd_core(&mut self, event: stacd::connector::Event) -> Vec<stacd::connector::Effect> {
        let now = self.time();
        let mut effects = Vec::new();
        if let Some(core) = &mut self.stac.core {
            core.handle(now, event, &mut effects);
            self.events.1 += 1;
            for ioc in core.controllers() {
                self.oracle.stac.record_trust(ioc.member.tid, ioc.member.trust);
            }
            for tid in self.oracle.stac.listed_by_aged_out() {
                let kernel = core.controller(&tid).and_then(|view| view.member.kernel.cloned());
                if !kernel.is_some_and(|kernel| kernel.is_live()) {
                    self.oracle.stac.record_down(tid, now);
                }
            }
        }
        effects
    }

    /// Records which controllers stafd knows to be live, of those that were announced or that an aged-out discovery
    /// controller listed.
    fn record_live_dcs(&mut self) {
        let now = self.time();
        let Some(core) = &self.staf.core else { return };
        let is_live =
            |tid: &Tid| core.controller(tid).and_then(|view| view.member.kernel).is_some_and(KernelController::is_live);
        for tid in self.oracle.staf.listed_by_aged_out() {
            if !is_live(&tid) {
                self.oracle.staf.record_down(tid, now);
            }
        }
        // While stafd stops with persistent-connections=false, it disconnects everything: this proves no absence.
        if self.oracle.announced.is_empty() || self.staf.stopping {
            return;
        }
        self.oracle.announced.update_live(now, is_live);
        // A saved log page may list a removed controller again: the time to remove it begins when it is a member.
        self.oracle.announced.time_begins_now(now, |tid| core.controller(tid).is_none());
        let blind = self.has(Fault::SnapshotsFail(Daemon::Stafd)) || self.has(Fault::SnapshotsSlow(Daemon::Stafd));
        // An unreadable line of the configuration delays removals.
        let garbled = self.oracle.staf_file.as_ref().is_some_and(|file| file.garbled);
        // The absence of a controller from a page cannot be proved while the page cannot be read.
        let is_unread = |dc: &Tid| !self.can_be_read(dc);
        let is_meant = |tid: &Tid| {
            garbled
                || self.oracle.excludes(Daemon::Stafd, tid)
                || self.oracle.has_another_source(tid, now)
                || self.oracle.staf.ever_listed_by(tid).any(is_unread)
        };
        // The time to remove it begins when no other source means it any more.
        let expired = self.oracle.announced.overdue(now, self.oracle.excused_until, Duration::ZERO);
        let meant: Vec<Tid> = expired.filter(|tid| is_meant(tid)).cloned().collect();
        for tid in meant {
            self.oracle.announced.has_another_source(&tid, now);
        }
        let overdue: Vec<Tid> = self
            .oracle
            .announced
            .overdue(now, self.oracle.excused_until, LATE)
            .filter(|tid| core.controller(tid).is_some_and(|view| view.member.status != Status::Removing))
            .cloned()
            .collect();
        if let (Some(tid), false) = (overdue.first(), blind) {
            let text = format!("stafd keeps {}, which was neither announced nor connected for too long", short(tid));
            self.breach(Invariant::Ages, text);
        }
    }

    /// stafd has learnt that a connection has ended: pages that were read on it are stale.
    fn mark_ended_connections(&mut self) {
        let now = self.time();
        let Some(finder) = &self.staf.core else { return };
        for (dc, page_reports) in &mut self.oracle.staf.pages {
            let Some(last) = page_reports.last_mut().filter(|last| last.until.is_none() && last.on.is_some()) else {
                continue;
            };
            let since = finder.controller(dc).and_then(|view| view.connected_since);
            if since != last.since {
                last.until = Some(now);
            }
        }
    }

    /// A log page reaches stafd.
    fn process_log_page(&mut self, op: OpId, ctrl: CtrlRef, result: Result<(LogPage, Connection), AdminError>) {
        let sent = self.sent_entries.remove(&op).unwrap_or_default();
        let newest = self.newest_reads.get(&ctrl).copied().filter(|_| self.has_bug(Bug::EarlierAnswer));
        let op = newest.unwrap_or(op);
        let read = result.as_ref().ok().cloned();
        let received = self.mutate_page(result.map(|(page, _)| page));
        let received_page = received.as_ref().ok().cloned();
        let event = stafd::finder::Event::LogPageRead { op, result: received };
        let effects = self.run_stafd_core(event);
        if let (Some((page, on)), Some(finder)) = (read, &self.staf.core) {
            let (now, masked) = (self.time(), self.mask(ctrl));
            // A page that has changed since the read began lists controllers, too, but proves nothing.
            let is_whole = received_page.as_ref().is_some_and(LogPage::is_whole);
            let took = finder.controllers().into_iter().filter(|dc| {
                dc.member.kernel.is_some_and(|kernel| kernel.ctrl == masked)
                    && (dc.log_page_state == PageState::Fresh || is_whole)
                    && dc.log_page == received_page.as_ref()
            });
            let took: Vec<(Tid, (_, bool))> = took
                .map(|dc| {
                    let is_current = dc.log_page_state == PageState::Fresh;
                    (dc.member.tid.clone(), (dc.connected_since, is_current))
                })
                .collect();
            // An answer that is late by a whole connection changes nothing, even if it equals the present page.
            let is_late = |dc: &Tid| {
                let last = self.oracle.staf.pages.get(dc).and_then(|page_reports| page_reports.last());
                let last_on = last.and_then(|last| last.on).filter(|last_on| last_on.ctrl == on.ctrl);
                last_on.is_some_and(|last_on| last_on.epoch > on.epoch)
            };
            let took: Vec<_> = took.into_iter().filter(|(dc, _)| !is_late(dc)).collect();
            for (dc, (since, is_current)) in took {
                let listed = controllers_of(&dc, &page.entries);
                let damaged = sent.iter().filter(|entry| is_damaged_referral(entry));
                let damaged: BTreeSet<&str> = damaged.map(|entry| entry.traddr.as_str()).collect();
                let protected = self.oracle.staf.ever_listed_where(&dc, |tid| {
                    tid.subsysnqn == DISCOVERY_NQN && !listed.contains(tid) && damaged.contains(tid.traddr.as_str())
                });
                trace!(self, "stafd reads the page of {}: {}", short(&dc), list(&listed));
                let page_report = PageReport {
                    at: now,
                    read: now,
                    on: Some(on),
                    listed_on: Some(on),
                    since,
                    incarnation: self.staf.incarnation,
                    until: (!is_current).then_some(now),
                    listed,
                    sent: sent.clone(),
                    protected,
                    proved_before: BTreeSet::new(),
                    confirmed: false,
                    doubtful: false,
                };
                if is_current {
                    self.signalled_pages.read(&dc);
                }
                self.oracle.staf.record_page(&dc, page_report);
            }
        }
        self.execute_stafd_effects(effects);
    }

    /// A page that stafd publishes, with the read that it results from.
    pub(crate) fn published_page(&mut self, page: DcPage) -> PublishedPage {
        let listed = controllers_of(&page.dc, &page.entries);
        let incarnation = self.staf.incarnation;
        let page_reports = self.oracle.staf.pages.get(&page.dc).map(Vec::as_slice).unwrap_or_default();
        let read = page_reports.iter().rev().find(|page_report| {
            page_report.incarnation == incarnation
                && page_report.listed == listed
                && page_report.since == page.connected_since
        });
        let (on, read, sent) = read
            .map_or_else(Default::default, |page_report| (page_report.on, page_report.read, page_report.sent.clone()));
        if page.state != PageState::Fresh {
            let sent = page.entries.clone();
            return PublishedPage { page, listed_on: on, read: Time::default(), sent };
        }
        if on.is_none() {
            let text =
                format!("the page of {} is marked as fresh, but stafd never read it in this form", short(&page.dc));
            self.breach(Invariant::Fresh, text);
        }
        PublishedPage { page, listed_on: on, read, sent }
    }

    /// Returns the I/O controllers of stacd, including those from before its start, and the set of those that stacd
    /// knows to be live.
    fn stac_members(&self) -> (BTreeSet<Tid>, BTreeSet<Tid>) {
        let Some(connector) = &self.stac.core else { return Default::default() };
        let is_live = |kernel: Option<&KernelController>| kernel.is_some_and(KernelController::is_live);
        let iocs = connector.controllers();
        let live = iocs.iter().filter(|ioc| is_live(ioc.member.kernel)).map(|ioc| ioc.member.tid.clone()).collect();
        (connector.saved().members, live)
    }

    /// The answer to a full fetch reaches stacd.
    fn process_all_pages(&mut self, op: OpId, result: Result<PublishedView, FetchError>) {
        let newest = self.newest_fetch.filter(|_| self.has_bug(Bug::EarlierAnswer));
        let (asked, op) = (op, newest.unwrap_or(op));
        let view = result.as_ref().ok().cloned();
        let members = self.stac_members();
        let result = self.mutate_all_pages(result).map(|view| self.mutate_view(view.view()));
        let event = stacd::connector::Event::AllFetched { op, result };
        let effects = self.run_stacd_core(event);
        // An answer to an abandoned fetch has no effects.
        if let (Some(view), false) = (view, effects.is_empty()) {
            let now = self.time();
            let listed: BTreeSet<Tid> = view.pages.iter().map(|published| published.page.dc.clone()).collect();
            for page in view.pages {
                if view.left_out.contains(&page.page.dc) {
                    self.oracle.stac.mark_stale(&page.page.dc, now);
                } else if !self.oracle.precedes_a_signal(asked, &page.page.dc) {
                    self.record_page_of_stacd(asked, page, false, &members);
                }
            }
            let known: Vec<Tid> = self.oracle.stac.pages.keys().cloned().collect();
            for dc in known.iter().filter(|dc| !listed.contains(*dc)) {
                if self.oracle.is_overtaken(asked, dc) || self.oracle.precedes_a_signal(asked, dc) {
                    continue;
                }
                match view.removed.iter().find(|removed| removed.dc == *dc) {
                    Some(removed) => self.oracle.stac.record_removal(dc, now, removed.reason.spares_live()),
                    None => self.oracle.stac.mark_stale(dc, now),
                }
            }
            self.oracle.full_fetch_applied(listed);
        }
        for effect in effects {
            self.stac_effect(effect);
        }
    }

    /// One page reaches stacd.
    fn process_one_page(&mut self, op: OpId, refreshed: bool, result: Result<Option<PublishedPage>, FetchError>) {
        let published = result.as_ref().ok().cloned().flatten();
        let members = self.stac_members();
        let result = result.map(|published| published.map(|published| self.mutate_entries(published.page)));
        let effects = self.run_stacd_core(stacd::connector::Event::PageFetched { op, result });
        if let (Some(published), false) = (published, effects.is_empty()) {
            let is_taken = !self.oracle.is_overtaken(op, &published.page.dc);
            let read_again = is_taken && self.oracle.is_read_again(op, &published.page.dc, refreshed);
            self.record_page_of_stacd(op, published, read_again, &members);
        }
        for effect in effects {
            self.stac_effect(effect);
        }
    }

    fn record_page_of_stacd(
        &mut self,
        op: OpId,
        published: PublishedPage,
        confirmed: bool,
        (members, live): &(BTreeSet<Tid>, BTreeSet<Tid>),
    ) {
        let now = self.time();
        let PublishedPage { page, listed_on, read, sent } = published;
        // A stale page proves nothing, nor does one that was sent before the newest signal.
        let is_fresh = page.state == PageState::Fresh && !self.oracle.precedes_a_signal(op, &page.dc);
        let on = listed_on.filter(|_| is_fresh);
        if self.oracle.is_overtaken(op, &page.dc) {
            return;
        }
        self.oracle.page_applied(&page.dc);
        let listed = controllers_of(&page.dc, &page.entries).into_iter().filter(|tid| tid.subsysnqn != DISCOVERY_NQN);
        let ignore_iface = self.oracle.stac_file.as_ref().is_some_and(|file| file.ignore_iface);
        let listed: BTreeSet<Tid> = listed.map(|tid| if ignore_iface { tid.unbound() } else { tid }).collect();
        self.oracle.stac.forget_all_but(members);
        let unclear: Vec<&Entry> = sent.iter().filter(|entry| is_unclear(&page.dc, entry)).collect();
        // An entry without a usable NQN may mean every controller at its address.
        let may_mean = |entry: &Entry, tid: &Tid| match Subsystem::of(&entry.subnqn) {
            Some(_) => entry.subnqn == tid.subsysnqn,
            None => entry.traddr == tid.traddr && !listed.contains(&tid.clone().unbound()),
        };
        let protected =
            self.oracle.stac.ever_listed_where(&page.dc, |tid| unclear.iter().any(|entry| may_mean(entry, tid)));
        let claims = self.oracle.stac.claims(&page.dc, now);
        let is_live = |tid: &&Tid| live.contains(*tid) && !self.oracle.bars(Daemon::Stacd, tid);
        let all_live: BTreeSet<&Tid> = claims.union(&listed).filter(is_live).collect();
        let is_lost = |tid: &&&Tid| !listed.contains(**tid) && !protected.contains(**tid);
        let loses_all = all_live.len() >= 2 && all_live.iter().filter(is_lost).count() == all_live.len();
        let loses_any = claims.iter().any(|tid| is_lost(&&tid));
        let loses_every_live = all_live.iter().all(|tid| is_lost(&tid));
        let stays_doubtful = loses_any && loses_every_live && self.oracle.stac.is_doubted(&page.dc, on);
        // With another ignore-iface=, stacd takes the same page anew. It may have been stale in between.
        let reports = self.oracle.stac.pages.get(&page.dc).into_iter().flatten().rev();
        let mut same_page = reports.take_while(|earlier| unbound(&earlier.listed) == unbound(&listed));
        let same_but_for_the_iface = same_page.any(|earlier| earlier.on == on && earlier.listed != listed);
        // What an earlier page of this run and connection omits, too, was not live then: this page loses nothing.
        let before = self.oracle.stac.newest_fresh_report(&page.dc);
        let loses_now = before.is_none_or(|before| before.on != on || before.listed.iter().any(|tid| is_lost(&&tid)));
        let doubtful = (loses_all && loses_now || stays_doubtful) && !same_but_for_the_iface;
        let how = match (on.is_some(), confirmed) {
            (true, true) => "fresh, read again",
            (true, false) => "fresh",
            (false, _) => "not fresh",
        };
        trace!(self, "stacd receives the page of {} ({how}): {}", short(&page.dc), list(&listed));
        let page_report = PageReport {
            at: now,
            read,
            on,
            listed_on,
            since: page.connected_since,
            incarnation: self.staf.incarnation,
            until: None,
            listed,
            sent: Vec::new(),
            protected,
            proved_before: BTreeSet::new(),
            confirmed,
            doubtful,
        };
        self.oracle.stac.record_page(&page.dc, page_report);
    }

    /// Checks the discovery controllers that stafd removes.
    pub(crate) fn check_removed_dcs(&mut self) {
        let now = self.time();
        let Some(finder) = &self.staf.core else { return };
        let given_up: Vec<(Tid, bool)> = finder
            .removed()
            .into_iter()
            .filter(|removed| removed.at == now)
            .map(|removed| (removed.dc.clone(), removed.reason.spares_live()))
            .collect();
        // Removals of one step may prove each other: they are judged in any order in which each is proved.
        let mut left = given_up;
        while !left.is_empty() {
            let why_not = |dc: &Tid| {
                let allowed = self.oracle.excludes(Daemon::Stafd, dc) || self.oracle.announced.may_be_evicted(dc, now);
                if allowed { None } else { self.oracle.unproved(Daemon::Stafd, dc, now) }
            };
            let proved = left.iter().position(|(dc, _)| why_not(dc).is_none());
            let (dc, aged_out) = left.remove(proved.unwrap_or_default());
            if let Some(why) = why_not(&dc) {
                self.breach(Invariant::Proof, format!("stafd removes {}: {why}", short(&dc)));
            }
            self.oracle.staf.record_removal(&dc, now, aged_out);
            self.oracle.announced.removed(&dc);
            self.record_down_referrals();
        }
    }

    /// Records which targets of referrals of an aged-out discovery controller are not live, as far as stafd knows:
    /// stafd may remove them in the same step.
    fn record_down_referrals(&mut self) {
        let (now, seen) = (self.time(), self.oracle.seen.get(&Daemon::Stafd));
        // Only the connection that stafd used counts, not another connection to the same controller.
        let is_its = |tid: &Tid, shown: &KernelController| match self.oracle.used_by_stafd.get(tid) {
            Some(used) => shown.ctrl == *used && serves(shown, tid),
            None => serves(shown, tid),
        };
        let is_live =
            |tid: &Tid| seen.is_some_and(|seen| seen.controllers.iter().any(|c| c.is_live() && is_its(tid, c)));
        let down: Vec<Tid> = self.oracle.staf.listed_by_aged_out().into_iter().filter(|tid| !is_live(tid)).collect();
        for tid in down {
            self.oracle.staf.record_down(tid, now);
        }
    }

    /// Records the result of a check for storage in use.
    pub(crate) fn record_use_check(&mut self, ctrl: CtrlRef, free: bool) {
        let in_use = self.is_in_use(ctrl);
        let subsystem = self.kernel.get(ctrl).and_then(|known| known.subsystem);
        let is_other =
            |known: &&SimController| known.subsystem == subsystem && known.is_live() && known.shown.ctrl != ctrl;
        let others = self.kernel.controllers.iter().filter(is_other).map(|known| known.shown.ctrl).collect();
        self.oracle.checks.insert(ctrl, UseCheck { free, in_use, others });
    }

    /// Checks a disconnect of a daemon.
    pub(crate) fn check_disconnect(&mut self, daemon: Daemon, ctrl: CtrlRef) {
        let Some(known) = self.kernel.get(ctrl).cloned() else { return };
        if known.is_being_deleted() {
            return;
        }
        // The owner is read again right before the disconnect. [`World::delete`] then refuses it.
        if matches!(known.shown.owner, Owner::Other(_)) {
            return;
        }
        let serves = served(&known);
        let name = what(known.target, known.subsystem);
        // An exclusion ends connections that it matches by the data of the kernel.
        let excluded = self.oracle.excludes(daemon, &known.shown.tid());
        let is_twin = |other: &SimController| {
            (other.target, other.subsystem) == (known.target, known.subsystem)
                && other.shown.ctrl.inode < ctrl.inode
                // Any connection serves a controller that is wanted without an interface.
                && (known.shown.host_iface.is_empty() || other.shares_interface_with(&known))
                && !other.is_being_deleted()
                && (other.is_live() || !known.is_live())
                && !self.oracle.disconnecting.contains_key(&other.shown.ctrl)
        };
        let twin = self.kernel.controllers.iter().any(is_twin);
        let right_kind = known.subsystem.is_some() == (daemon == Daemon::Stacd);
        if !right_kind || known.shown.kato == Some(0) {
            self.breach(Invariant::Foreign, format!("{daemon} disconnects {ctrl} ({name}), which it does not manage"));
        }
        let audits =
            self.oracle.stac_file.as_ref().is_some_and(|file| file.scope == DisconnectScope::AllMatchingTrtypes);
        match &known.shown.owner {
            Owner::None if known.origin == Origin::Hand && !(audits && daemon == Daemon::Stacd) => {
                let text = format!("{daemon} disconnects {ctrl} ({name}), which it neither connected nor adopted");
                self.breach(Invariant::Owned, text);
            }
            _ => {}
        }
        self.oracle.disconnecting.insert(ctrl, daemon);
        if daemon == Daemon::Stacd && !twin && self.plan.initial.boot.lists(known.target, known.subsystem) {
            self.breach(Invariant::Boot, format!("{daemon} disconnects {ctrl} ({name}), which the boot table lists"));
        }
        if excluded || twin {
            return;
        }
        match daemon {
            Daemon::Stafd => self.check_dc(&known, &serves, &name),
            Daemon::Stacd => self.check_ioc(&known, &serves, &name),
        }
    }

    fn check_dc(&mut self, known: &SimController, serves: &[Tid], name: &str) {
        let all_go = self.staf.stopping && self.oracle.staf_file.as_ref().is_some_and(|file| !file.persistent);
        if !all_go {
            self.check_proof(Daemon::Stafd, known, serves, name, false);
        }
    }

    fn check_ioc(&mut self, known: &SimController, serves: &[Tid], name: &str) {
        let ctrl = known.shown.ctrl;
        let Some(file) = &self.oracle.stac_file else { return };
        let (audits, in_use, barred) = (file.audits(), file.in_use, file.other_family);
        if file.scope == DisconnectScope::Nothing {
            let text = format!("stacd disconnects {ctrl} ({name}) under disconnect-scope=no-disconnect");
            self.breach(Invariant::Proof, text);
        }
        if !barred {
            self.check_proof(Daemon::Stacd, known, serves, name, audits);
        }
        let now = self.time();
        let is_hasty =
            |tid: &Tid| self.oracle.stac.is_hasty(tid, now) && !self.is_served_by_another(Daemon::Stacd, known, tid);
        if !barred && serves.iter().any(is_hasty) {
            self.breach(
                Invariant::Quiet,
                format!("stacd disconnects {ctrl} ({name}) without waiting for quiet sources"),
            );
        }
        if in_use == InUse::Disconnect {
            return;
        }
        self.oracle.spares_use.insert(ctrl);
        let pulled = match self.oracle.checks.get(&ctrl) {
            None => Some("without a check for storage in use"),
            Some(check) if !check.free => Some("although it is the last path to storage in use"),
            Some(check) if check.in_use && self.is_in_use(ctrl) => check
                .others
                .iter()
                .all(|other| self.oracle.disconnecting.contains_key(other))
                .then_some("and all other paths to the storage in use"),
            Some(_) => None,
        };
        if let Some(why) = pulled {
            self.breach(Invariant::InUse, format!("stacd disconnects {ctrl} ({name}) {why}"));
        }
    }

    fn check_proof(&mut self, daemon: Daemon, known: &SimController, serves: &[Tid], name: &str, audits: bool) {
        let (now, ctrl) = (self.time(), known.shown.ctrl);
        let unproved = |tid: &Tid| {
            let why = self.oracle.unproved(daemon, tid, now).or_else(|| self.withdrawn(daemon, tid));
            why.filter(|_| !self.is_served_by_another(daemon, known, tid))
        };
        // Excluded controllers are unwanted, whatever lists them.
        let mut wanted =
            serves.iter().filter(|tid| !self.oracle.bars(daemon, tid) && !self.is_not_used_yet(daemon, tid));
        if let Some(why) = wanted.find_map(unproved) {
            self.breach(Invariant::Proof, format!("{daemon} disconnects {ctrl} ({name}): {why}"));
        } else if daemon == Daemon::Stacd {
            serves.iter().for_each(|tid| self.oracle.stac.record_disconnect(tid.clone(), now));
        }
        let is_stale = known.target.0 >= STALE;
        if !audits && !is_stale && !may_serve(known).iter().any(|tid| self.oracle.has_ever_listed(daemon, tid)) {
            self.breach(
                Invariant::Foreign,
                format!("{daemon} disconnects {ctrl} ({name}), which no source has ever listed"),
            );
        }
    }

    /// In a world with stale addresses, true for a discovery controller that is not a member of stafd: stafd may still
    /// try the stale address of its host name.
    fn is_not_used_yet(&self, daemon: Daemon, dc: &Tid) -> bool {
        let is_member = self.staf.core.as_ref().is_some_and(|finder| finder.controller(dc).is_some());
        self.plan.initial.stale_addresses && daemon == Daemon::Stafd && !is_member
    }

    /// Why the proof that a controller of stacd is unwanted no longer holds.
    fn withdrawn(&self, daemon: Daemon, tid: &Tid) -> Option<String> {
        let is_member = self.stac.core.as_ref().is_some_and(|connector| connector.controller(tid).is_some());
        let dc = self.oracle.stac.stale_source_of(tid).filter(|_| daemon == Daemon::Stacd && is_member)?;
        Some(format!("{} listed it, and its last page is stale", short(dc)))
    }

    /// True when another connection serves the controller, too, according to the newest snapshot of the daemon; a
    /// connection that was lost after this snapshot still counts. The other connection must be live (unless the one to
    /// be disconnected is not live either), and the daemon must not have requested its disconnect.
    fn is_served_by_another(&self, daemon: Daemon, known: &SimController, tid: &Tid) -> bool {
        let Some(seen) = self.oracle.seen.get(&daemon) else { return false };
        let (ctrl, is_tids) = (self.mask(known.shown.ctrl), |other: &KernelController| serves(other, tid));
        let is_down = !known.is_live() || seen.controllers.iter().any(|shown| shown.ctrl == ctrl && !shown.is_live());
        let is_going = |other: CtrlRef| self.oracle.disconnecting.contains_key(&self.unmask(other));
        seen.controllers.iter().any(|other| {
            let stays = !matches!(other.state, CtrlState::Deleting | CtrlState::Dead) && !is_going(other.ctrl);
            other.ctrl != ctrl && stays && (other.is_live() || is_down) && is_tids(other)
        })
    }
}

fn unbound(tids: &BTreeSet<Tid>) -> BTreeSet<Tid> {
    tids.iter().cloned().map(Tid::unbound).collect()
}

/// The controllers that a kernel connection serves, or may seem to serve while its interface is missing.
pub(crate) fn may_serve(known: &SimController) -> Vec<Tid> {
    let mut all = served(known);
    if known.via.is_none() {
        let other = if known.over == Iface::Eth0 { Iface::Eth1 } else { Iface::Eth0 };
        all.push(match known.subsystem {
            Some(subsystem) => known.target.ioc(subsystem, Some(other)),
            None => known.target.dc(Some(other)),
        });
    }
    all
}

/// The controllers that a kernel connection serves.
pub(crate) fn served(known: &SimController) -> Vec<Tid> {
    let tid = |via| match known.subsystem {
        Some(subsystem) => known.target.ioc(subsystem, via),
        None => known.target.dc(via),
    };
    vec![tid(None), tid(Some(known.over))]
}

/// True when a kernel connection, as the daemon sees it, serves the controller.
fn serves(shown: &KernelController, tid: &Tid) -> bool {
    let by_address = Iface::ALL.into_iter().find(|iface| Some(iface.address()) == shown.src_addr);
    let over = Iface::of(&shown.host_iface).or(by_address).unwrap_or(Iface::Eth0);
    let Some(target) = Target::of(&shown.traddr) else { return false };
    let tids = |via| match Subsystem::of(&shown.subsysnqn) {
        Some(subsystem) => target.ioc(subsystem, via),
        None => target.dc(via),
    };
    let is_identified = !shown.subsysnqn.is_empty() && shown.kato != Some(0);
    is_identified && [None, Some(over)].into_iter().any(|via| tids(via) == *tid)
}

/// True for an entry that may have been a referral, and lists no discovery controller.
pub(crate) fn is_damaged_referral(entry: &Entry) -> bool {
    let is_sound = entry.subtype == Subtype::REFERRAL && entry.controller(&Target(0).dc(None)).is_ok();
    entry.subnqn == DISCOVERY_NQN && !is_sound
}

/// True for an entry that lists no I/O controller, and is not a referral by its subtype or port.
fn is_unclear(dc: &Tid, entry: &Entry) -> bool {
    let is_referral = entry.subtype == Subtype::REFERRAL || entry.trsvcid == "8009";
    !is_referral && !entry.clone().checked().is_ok_and(|entry| entry.controller(dc).is_ok())
}

/// The controllers of a page's entries, with the host side of the discovery controller that lists them.
fn controllers_of(dc: &Tid, entries: &[Entry]) -> BTreeSet<Tid> {
    let known = |subtype| subtype == Subtype::NVME || subtype == Subtype::REFERRAL;
    entries.iter().filter(|entry| known(entry.subtype)).filter_map(|entry| entry.controller(dc).ok()).collect()
}

fn list(names: &BTreeSet<Tid>) -> String {
    let names: Vec<String> = names.iter().map(short).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A short description of a kernel controller.
pub(crate) fn what(target: Target, subsystem: Option<Subsystem>) -> String {
    subsystem.map_or_else(|| format!("the DC of {target}"), |subsystem| format!("{subsystem} at {target}"))
}
