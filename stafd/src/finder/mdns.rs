//! Turns announcements into discovery controllers: handles the events of the mDNS browser, and sends requests to it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use libstas::conf::Persistence;
use libstas::core::browse::{BrowseCommand, BrowseEvent};
use libstas::core::fleet::Status;
use libstas::core::line_budget::{LineBudgets, LineLimits};
use libstas::core::sources::SourceId;
use libstas::core::{CtrlRef, HostEffect, KernelController, Links, LogRecord, Time};
use libstas::nvme::Tid;
use libstas::nvme::tid::parse_ip;

use super::announced_dcs::{DerivationInput, HostUse, MdnsLogLine};
use super::{Context, Effect, Finder, polling};

/// The limits for log lines about announcements and what results from them. Each announced discovery controller that has
/// been connected has a budget of its own, and there is a limit for all of them together.
pub(super) const LINE_LIMITS: LineLimits = LineLimits { of_one: 32, common: 128, all: 1024 };

/// If no event or tick comes for this long, the host was suspended or this process was stopped.
const SUSPENDED_AFTER: Duration = Duration::from_secs(15);

impl Finder {
    /// Starts or stops browsing, as configured.
    pub(super) fn configure_browsing(&mut self, ctx: &mut Context<'_>) {
        let Some(conf) = self.settings.as_ref().map(|settings| &settings.conf) else { return };
        // Without browsing, announced controllers are kept until they are disconnected. If the configuration is not
        // known in full, browsing may be off by mistake.
        let at_once = !conf.zeroconf && conf.lost_line.is_none();
        let persistence = if at_once { Persistence::For(Duration::ZERO) } else { conf.zeroconf_persistence };
        self.announced.set_persistence(persistence);
        self.announced.inputs_changed();
        self.announced.reloaded(ctx.now);
        match (conf.zeroconf, std::mem::replace(&mut self.browsing, conf.zeroconf)) {
            (true, false) => {
                self.announced.begin(ctx.now);
                ctx.push(Effect::Browse(BrowseCommand::Start));
            }
            (false, true) => {
                self.announced.end();
                ctx.push(Effect::Browse(BrowseCommand::Stop));
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Takes events of the browser.
    pub(super) fn browse_events(&mut self, ctx: &mut Context<'_>, events: Vec<BrowseEvent>) {
        if !self.browsing {
            return;
        }
        let host_use = self.host_use();
        for event in events {
            for line in self.announced.receive(ctx.now, event, &host_use) {
                self.log(ctx, line);
            }
        }
        self.reconcile(ctx);
    }

    /// Updates the source of announced controllers. Returns the newly announced ones.
    pub(super) fn derive_announced(&mut self, ctx: &mut Context<'_>) -> Vec<Tid> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let input = DerivationInput {
            links: self.reconciler.fleet.links(),
            ignore_iface: settings.conf.ignore_iface,
            host_nqn: &settings.identity.nqn,
        };
        let (fresh, lines) = self.announced.derive(ctx.now, input);
        let (fleet, dcs) = (&self.reconciler.fleet, &self.dcs);
        let is_between_polls = |tid: &Tid| dcs.get(tid).is_some_and(|dc| polling::is_between_polls(ctx.now, dc));
        let connection = |tid: &Tid| match is_between_polls(tid) {
            true => Some(true),
            false => fleet.kernel(tid).map(KernelController::is_live),
        };
        if self.announced.age(ctx.now, self.reconciler.fleet.has_snapshot(), connection) {
            ctx.host(HostEffect::Save);
        }
        let parameters = &settings.conf.parameters;
        let said = self.reconciler.sources.listed().filter(|(id, _, _)| **id == SourceId::Announced);
        let same = said.eq(self.announced.names().map(|tid| (&SourceId::Announced, tid, parameters)));
        if !same {
            let names = self.announced.names().map(|tid| (tid.clone(), parameters.clone())).collect();
            self.reconciler.sources.set_complete(SourceId::Announced, names);
        }
        for line in lines {
            self.log(ctx, line);
        }
        fresh
    }

    /// A new announcement retries its controller at once.
    pub(super) fn retry_announced(&mut self, ctx: &mut Context<'_>, fresh: &[Tid]) {
        let reports = self.reconciler.fleet.retry_all_now(ctx, fresh);
        self.reported(ctx, reports);
    }

    /// Asks the browser whether unresponsive controllers are still announced.
    pub(super) fn reconfirm_announcements(&mut self, ctx: &mut Context<'_>) {
        if self.announced.is_time_to_reconfirm(ctx.now) {
            let stuck = self.stuck();
            for service in self.announced.take_services_to_reconfirm(ctx.now, |tid| stuck.contains(tid)) {
                ctx.push(Effect::Browse(BrowseCommand::Reconfirm(service)));
            }
        }
    }

    /// Admits queued services, and queries those that did not fit into the queue.
    pub(super) fn admit_announced(&mut self, ctx: &mut Context<'_>) {
        if !self.announced.is_time_to_admit(ctx.now) {
            return;
        }
        let host_use = self.host_use();
        if self.announced.admit_queued(ctx.now, &host_use) {
            ctx.push(Effect::Browse(BrowseCommand::Start));
        }
    }

    /// Detects that the host was suspended or this process was stopped. Events and ticks are normally more frequent,
    /// because snapshots are taken every few seconds.
    pub(super) fn detect_suspend(&mut self, now: Time) {
        let before = std::mem::replace(&mut self.handled, now);
        if now.since(before) >= SUSPENDED_AFTER {
            self.announced.resumed(now);
        }
    }

    /// The interfaces have changed: derives again which controller is announced where.
    pub(super) fn network_changed(&mut self, ctx: &mut Context<'_>, links: &Links) {
        self.announced.inputs_changed();
        let known = self.reconciler.fleet.links();
        self.announced.interfaces_changed(known, links);
        // The first report of the interfaces is no change: the browser has just read them itself.
        if self.browsing && !known.0.is_empty() && known != links {
            ctx.push(Effect::Browse(BrowseCommand::NetworkChanged));
        }
    }

    fn host_use(&self) -> HostUse {
        let is_connecting =
            |tid: &&Tid| self.reconciler.fleet.view(tid).is_some_and(|member| member.status == Status::Connecting);
        let connecting = self.announced.names().filter(is_connecting).cloned().collect();
        HostUse { evictable: self.evictable(), connecting, addresses: self.used() }
    }

    /// The addresses of discovery controllers that are live, or were announced and connected.
    fn used(&self) -> BTreeSet<IpAddr> {
        let live = self.dcs.keys().filter(|tid| self.reconciler.fleet.is_live(tid));
        let address = |tid: &Tid| parse_ip(&tid.traddr).map(|(address, _)| address.to_canonical());
        live.chain(self.announced.proven()).filter_map(address).collect()
    }

    /// Announced controllers whose services may be evicted: their connect failed and they were never connected, or they
    /// are not to be connected.
    fn evictable(&self) -> BTreeSet<Tid> {
        let is_evictable = |tid: &Tid| self.announced.is_unproven(tid) || self.is_barred(tid);
        self.stuck().into_iter().filter(is_evictable).collect()
    }

    /// Announced controllers whose connect failed, or that are not to be connected.
    fn stuck(&self) -> BTreeSet<Tid> {
        let is_stuck = |tid: &&Tid| match self.reconciler.fleet.view(tid) {
            Some(member) => member.attempts > 0 && !self.reconciler.fleet.is_live(tid),
            None => self.is_barred(tid),
        };
        self.announced.names().filter(is_stuck).cloned().collect()
    }

    /// True if only announcements list the controller, and each interface on which it was announced is excluded.
    pub(super) fn is_barred_where_found(&self, tid: &Tid) -> bool {
        let is_excluded = |iface: &str| self.reconciler.configured.excludes(tid, iface);
        let mut found_on = self.announced.found_on(tid).peekable();
        found_on.peek().is_some() && found_on.all(is_excluded) && !self.has_another_source(tid)
    }

    /// True if a source other than announcements lists that controller.
    fn has_another_source(&self, tid: &Tid) -> bool {
        self.reconciler.sources.sources_of(tid).any(|id| *id != SourceId::Announced)
    }

    /// Limits the log lines about controllers that only announcements and announced controllers list, or listed last.
    /// Their referrals have no budgets of their own: a page can refer to new ones without end.
    pub(super) fn limit_lines(&mut self, now: Time, out: &mut [Effect]) {
        let mut lines = std::mem::replace(&mut self.lines, LineBudgets::new(LINE_LIMITS));
        let trusted = OnceCell::new();
        for effect in out {
            let Effect::Host(HostEffect::Log(record, _)) = effect else { continue };
            let Some(tid) = record.tid.clone().filter(|tid| self.is_about_announced(tid, record.ctrl, &trusted)) else {
                continue;
            };
            lines.admit(now, record, Some(&tid).filter(|tid| self.announced.is_proven(tid)));
        }
        self.lines = lines;
    }

    /// True for a log line about a controller that only announcements and announced controllers list, or listed last.
    fn is_about_announced(&self, tid: &Tid, ctrl: Option<CtrlRef>, trusted: &OnceCell<BTreeSet<Tid>>) -> bool {
        let fleet = &self.reconciler.fleet;
        if ctrl.is_some_and(|ctrl| fleet.was_used_for_trusted(ctrl)) {
            return false;
        }
        match fleet.last_want(tid) {
            Some(want) => want.trust.is_announced_only(),
            None => {
                let trusted = trusted.get_or_init(|| self.listed_by_more_than_announcements());
                !trusted.contains(tid) && !self.reconciler.configured.lists(tid)
            }
        }
    }

    #[track_caller]
    fn log(&mut self, ctx: &mut Context<'_>, MdnsLogLine { level, tid, text }: MdnsLogLine) {
        let mut record = LogRecord { level, tid, ctrl: None, text };
        // Lines about a controller are counted in [`Finder::limit_lines`].
        if record.tid.is_none() {
            self.lines.admit(ctx.now, &mut record, None);
        }
        ctx.log(record);
    }
}
