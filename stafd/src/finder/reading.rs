//! Reading log pages: at most one read in flight for each discovery controller, and one more pending.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::sources::{SourceId, SourcePage};
use libstas::core::timers::Timer;
use libstas::core::{AdminError, HostEffect, Level, LogRecord, OpId, Time};
use libstas::nvme::log_page::{Candidates, Entry, EntryError, LogPage, Subtype, Unclear};
use libstas::nvme::supported::DiscoveryLidSpecific;
use libstas::nvme::{Parameters, Tid};

use super::discovery_controller::{
    ANNOUNCED_READ_PACE, DiscoveryController, READ_DEADLINE, ReadKind, Reading, SIGNAL_STALE_AFTER,
};
use super::optional::Command;
use super::{Context, Effect, Finder, ReadFailure, RefreshError, page_room};

/// Maximum number of new defects that are logged when a page is read.
const FLAWS_LOGGED: usize = 8;

impl Finder {
    /// Reads the page of a discovery controller as soon as no other read of it is under way.
    pub(super) fn read_soon(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        if let Some(dc) = self.dcs.get_mut(tid) {
            dc.read_pending = dc.connection.is_some();
        }
        self.read_next(ctx, tid);
    }

    /// Handles a discovery controller's report that its page has changed: the known page proves nothing until it is
    /// read again.
    pub(super) fn handle_page_change(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        self.reconciler.sources.mark_stale(&SourceId::Page(tid.clone()));
        if let Some(dc) = self.dcs.get_mut(tid) {
            dc.changed = true;
            ctx.timers.set_once(Timer::StalePage(tid.clone()), ctx.now + SIGNAL_STALE_AFTER);
        }
        self.read_soon(ctx, tid);
    }

    /// Notes that a page was not read in time after a change, or after the connection was lost.
    pub(super) fn mark_stale_page(&mut self, tid: &Tid) {
        if let Some(dc) = self.dcs.get_mut(tid).filter(|dc| dc.changed || !dc.is_fresh()) {
            dc.stale = true;
        }
    }

    /// Signals the pages that were fresh and have been stale for [`SIGNAL_STALE_AFTER`], so that stacd stops the
    /// removals that they proved. A page that is read is signalled when it is read.
    pub(super) fn signal_withdrawn_proofs(&mut self, ctx: &mut Context<'_>) {
        if self.stopping {
            return;
        }
        for (tid, dc) in &mut self.dcs {
            if dc.is_fresh() {
                dc.was_fresh = true;
            } else if dc.was_fresh && dc.stale {
                dc.was_fresh = false;
                ctx.push(Effect::PagesChanged {
                    dc: tid.clone(),
                    ctrl: dc.connection.map(|connection| connection.ctrl),
                });
            } else if dc.was_fresh {
                ctx.timers.set_once(Timer::StalePage(tid.clone()), ctx.now + SIGNAL_STALE_AFTER);
            }
        }
    }

    /// Starts the next read, if one is pending and none is in flight. A hanging read of the same device blocks it.
    /// Reads of a discovery controller that depends on mDNS alone have a minimum interval.
    fn read_next(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let is_announced = self.reconciler.fleet.is_announced_only(tid);
        let pleo_wanted = self.settings.as_ref().is_some_and(|settings| settings.conf.pleo);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        let (Some(connection), true, None) = (dc.connection, dc.read_pending, dc.reading) else { return };
        let not_before = dc.read_ended.filter(|_| is_announced).map(|ended| ended + ANNOUNCED_READ_PACE);
        if let Some(not_before) = not_before.filter(|not_before| ctx.now < *not_before) {
            ctx.timers.set(Timer::Read(tid.clone()), not_before);
            return;
        }
        let op = ctx.next_op();
        let ctrl = connection.ctrl;
        let what = match dc.supported {
            None if pleo_wanted && !dc.lists_all_ports && dc.optional.allows(Command::SupportedLogPages) => {
                ctx.push(Effect::ReadSupported { op, ctrl });
                ReadKind::Supported
            }
            _ => {
                let supports_it = dc.supported.flatten().is_some_and(|specific| specific.pleos);
                let pleo = pleo_wanted && supports_it && !dc.lists_all_ports;
                dc.requests_port_local = pleo;
                ctx.push(Effect::ReadLogPage { op, ctrl, pleo, announced: is_announced });
                dc.read_pending = false;
                dc.waiting.append(&mut dc.waiting_for_next);
                ReadKind::LogPage
            }
        };
        dc.reading = Some(Reading { op, what, began: ctx.now, connection: connection.since });
        ctx.timers.cancel(&Timer::Read(tid.clone()));
        ctx.timers.set(Timer::ReadAnswer(tid.clone()), ctx.now + READ_DEADLINE);
    }

    /// Ends the read of an operation. Returns its discovery controller and when the read began, or `None` if the answer
    /// is late or the connection was replaced during the read: then the answer says nothing about the present
    /// connection, and the page is read again.
    fn end_read(&mut self, ctx: &mut Context<'_>, op: OpId, what: ReadKind) -> Option<(Tid, Time)> {
        let is_it = |reading: &Reading| reading.op == op && reading.what == what;
        let mut dcs = self.dcs.iter_mut();
        let (tid, dc) = dcs.find(|(_, dc)| dc.late.contains(&op) || dc.reading.as_ref().is_some_and(is_it))?;
        if what == ReadKind::LogPage {
            dc.read_ended = Some(ctx.now);
        }
        if dc.late.remove(&op) {
            return None;
        }
        let (tid, reading) = (tid.clone(), dc.reading.take()?);
        ctx.timers.cancel(&Timer::ReadAnswer(tid.clone()));
        if dc.connection.is_some_and(|connection| connection.since == reading.connection) {
            return Some((tid, reading.began));
        }
        self.read_next(ctx, &tid);
        None
    }

    pub(super) fn supported_read(
        &mut self,
        ctx: &mut Context<'_>,
        op: OpId,
        result: Result<Option<DiscoveryLidSpecific>, AdminError>,
    ) {
        if result.is_err() {
            self.handle_late_failure(ctx, op);
        }
        let Some((tid, _)) = self.end_read(ctx, op, ReadKind::Supported) else { return };
        let Some(dc) = self.dcs.get_mut(&tid) else { return };
        let ctrl = dc.connection.map(|connection| connection.ctrl);
        // If the supported log pages cannot be read, the discovery log page is read without PLEO: old controllers do
        // not support it.
        if let Err(reason) = &result {
            let text = format!(
                "the supported-log-pages page could not be read ({reason}); the log page is read with the entries of \
                 all ports"
            );
            let record = LogRecord { level: Level::Debug, tid: Some(tid.clone()), ctrl, text };
            ctx.log(record);
        }
        if result.is_err() {
            dc.optional.failed(Command::SupportedLogPages);
        }
        dc.supported = Some(result.ok().flatten());
        self.read_next(ctx, &tid);
    }

    /// Handles a failed read of the supported log pages if the loss of its connection was reported before the failure.
    pub(super) fn handle_late_failure(&mut self, ctx: &mut Context<'_>, op: OpId) {
        let on_earlier = |dc: &DiscoveryController| {
            let since = dc.connection.map(|connection| connection.since);
            let reading = dc.reading.filter(|reading| reading.op == op && reading.what == ReadKind::Supported);
            dc.late.contains(&op) || reading.is_some_and(|reading| Some(reading.connection) != since)
        };
        let Some((tid, dc)) = self.dcs.iter_mut().find(|(_, dc)| on_earlier(dc)) else { return };
        dc.optional.failed(Command::SupportedLogPages);
        let tid = tid.clone();
        self.connection_lost(ctx, &tid);
    }

    /// Logs that a reload cannot enable PLEO for the discovery controllers whose page lists the entries of all ports.
    pub(super) fn log_pleo_without_effect(&self, ctx: &mut Context<'_>) {
        let without_effect = self.dcs.values().filter(|dc| dc.lists_all_ports).count();
        if without_effect > 0 {
            let text = format!(
                "pleo=enabled has no effect on the known discovery controllers ({without_effect}) until this host is \
                 rebooted: the entries of all their ports were read, and a page with fewer entries would disconnect \
                 the paths through the other ports"
            );
            ctx.log(LogRecord { level: Level::Warning, tid: None, ctrl: None, text });
        }
    }

    /// Logs the optional commands after which the connection was lost: they are not sent again.
    pub(super) fn connection_lost(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        let ctrl = dc.connection.map(|connection| connection.ctrl);
        for command in dc.optional.lost() {
            let text = format!(
                "the connection was lost after the optional command {command}{}: {}",
                command.block(),
                command.consequence()
            );
            let record = LogRecord { level: Level::Warning, tid: Some(tid.clone()), ctrl, text };
            ctx.log(record);
        }
    }

    pub(super) fn log_page_read(&mut self, ctx: &mut Context<'_>, op: OpId, result: Result<LogPage, AdminError>) {
        let Some((tid, began)) = self.end_read(ctx, op, ReadKind::LogPage) else { return };
        let result = result.map_err(ReadFailure::from).and_then(|page| self.with_room(ctx, &tid, page));
        let Some(dc) = self.dcs.get_mut(&tid) else { return };
        for token in std::mem::take(&mut dc.waiting) {
            let result = result.as_ref().map(|_| ()).map_err(|error| error.clone().into());
            ctx.push(Effect::Refreshed { token, result });
        }
        match result {
            Ok(page) => self.take_page(ctx, &tid, page, began),
            Err(reason) => self.read_failed(ctx, &tid, reason),
        }
        self.read_next(ctx, &tid);
        self.register(ctx, &tid);
        self.reconcile(ctx);
    }

    fn take_page(&mut self, ctx: &mut Context<'_>, tid: &Tid, page: LogPage, began: Time) {
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        let Some(connection) = dc.connection else { return };
        let must_signal = !dc.was_read() || dc.stale;
        // If the page changed after this read began, another read is pending, and the change is still unread.
        dc.changed &= dc.read_pending;
        dc.stale = dc.changed;
        let is_overtaken = dc.changed;
        dc.optional.survived();
        dc.lists_all_ports |= !dc.requests_port_local;
        dc.failure = None;
        dc.backoff.reset();
        // A new generation with the same entries shows that an entry was removed and added again meanwhile.
        let is_new = |before: &LogPage| {
            before.genctr != page.genctr || !before.says_the_same_as(&page) || before.dropped != page.dropped
        };
        let changed = dc.page.as_ref().is_none_or(is_new);
        if must_signal || changed {
            let record = |level, text| LogRecord { level, tid: Some(tid.clone()), ctrl: Some(connection.ctrl), text };
            let known: BTreeSet<String> =
                dc.page.as_ref().map(|before| flaws(tid, before).collect()).unwrap_or_default();
            let mut flaws: Vec<String> = flaws(tid, &page).filter(|flaw| !known.contains(flaw)).collect();
            let more = flaws.len().saturating_sub(FLAWS_LOGGED);
            flaws.truncate(FLAWS_LOGGED);
            if let (Some(last), 1..) = (flaws.last_mut(), more) {
                last.push_str(&format!("; {more} further entries have defects that are not logged"));
            }
            let flaws = flaws.into_iter().map(|text| record(Level::Warning, text));
            let read = format!("log page read: {} entries, generation {}", page.entries.len(), page.genctr);
            let records = flaws.chain([record(Level::Info, read)]);
            records.for_each(|record| ctx.log(record));
        }
        let Referrals { names, mut unclear } = self.referrals(tid, &page);
        unclear.extend(self.of_other_subtypes(tid, &page));
        let whole = page.is_whole();
        if let Some(dc) = self.dcs.get_mut(tid) {
            dc.page_size = page_room::size(&page);
            dc.page = Some(page);
            dc.page_of = Some(connection.since);
            dc.read_at = Some(ctx.now);
        }
        if !is_overtaken {
            ctx.timers.cancel(&Timer::StalePage(tid.clone()));
        }
        self.poll_without_epcsd(ctx, tid);
        let id = SourceId::Page(tid.clone());
        if self.reconciler.fleet.is_announced_only(tid) {
            let dcs = &self.dcs;
            self.reconciler.forget_replaced(&id, |tid| names.contains_key(tid) || dcs.contains_key(tid));
        }
        if whole {
            let page = SourcePage { connected_since: connection.since, controllers: names, read: Some(began), unclear };
            // Counts only controllers that no other source lists: this page cannot cause the removal of the others.
            let alone = |tid: &&Tid| !self.reconciler.sources.sources_of(tid).any(|other| *other != id);
            let at_stake =
                self.reconciler.sources.claimed_by(&id).filter(|tid| self.counts_as_live(ctx.now, tid)).filter(alone);
            let at_stake: BTreeSet<Tid> = at_stake.cloned().collect();
            // Unlike stacd, stafd does not log which controllers an unclear entry keeps: a referral carries no storage.
            let _ = self.reconciler.sources.read(ctx.now, id.clone(), page, |tid| at_stake.contains(tid));
            if is_overtaken {
                self.reconciler.sources.mark_stale(&id);
            }
        } else {
            self.reconciler.sources.add_unproved(id.clone(), names);
        }
        self.reconciler.forget_unknown(ctx.now, &id);
        if must_signal || changed {
            self.reconciler.debounce.restart(ctx.now);
            ctx.push(Effect::PagesChanged { dc: tid.clone(), ctrl: Some(connection.ctrl) });
            ctx.host(HostEffect::Save);
        }
    }

    /// The discovery controllers that a page refers to. They are connected from the same host address, interface and
    /// host NQN as the referring one ([`Entry::controller`]).
    pub(super) fn referrals(&self, dc: &Tid, page: &LogPage) -> Referrals {
        let parameters = self.settings.as_ref().map(|settings| settings.conf.parameters.clone()).unwrap_or_default();
        let mut referrals = Referrals { unclear: page.unclear().cloned().collect(), ..Referrals::default() };
        for entry in page.entries.iter().filter(|entry| entry.subtype == Subtype::REFERRAL) {
            match entry.controller(dc) {
                Ok(tid) => {
                    let demanded = parameters.clone().listed_by(entry);
                    // If several entries list one controller, the strictest one applies.
                    let secured = |before: &mut Parameters| before.secure_like(&demanded);
                    referrals.names.entry(tid).and_modify(secured).or_insert_with(|| demanded.clone());
                }
                Err(flaw) => referrals.unclear.push(Unclear::of_entry(entry, &flaw)),
            }
        }
        referrals
    }

    /// The entries that are no referrals by their subtype, but may mean a discovery controller to which an earlier page
    /// referred.
    fn of_other_subtypes(&self, dc: &Tid, page: &LogPage) -> Vec<Unclear> {
        let others = page.entries.iter().filter(|entry| entry.subtype != Subtype::REFERRAL);
        let unclear = others.map(|entry| Unclear::of_entry(entry, &EntryError::DiscoveryNqn));
        let id = SourceId::Page(dc.clone());
        let known: Candidates<'_> = self.reconciler.sources.claimed_by(&id).collect();
        unclear.filter(|entry| known.may_be_meant_by(entry)).collect()
    }

    /// Reads pages again: doubtful pages, and pages that were read too early to prove the absence of controllers that
    /// were listed on an earlier connection.
    pub(super) fn read_doubted_again(&mut self, ctx: &mut Context<'_>) {
        let doubt = "its log page no longer refers to any connected discovery controller; reading it again";
        let pages = self.reconciler.pages_to_read_again(ctx, doubt);
        for dc in pages {
            self.read_soon(ctx, &dc);
        }
    }

    fn read_failed(&mut self, ctx: &mut Context<'_>, tid: &Tid, reason: ReadFailure) {
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        let (news, wait) = dc.failed(reason.clone(), ctx.jitter());
        self.reconciler.sources.mark_stale(&SourceId::Page(tid.clone()));
        let ctrl = dc.connection.map(|connection| connection.ctrl);
        ctx.timers.set(Timer::Read(tid.clone()), ctx.now + wait);
        if news {
            let text = format!(
                "its log page could not be read: {reason}; keeping the last one, retrying in {:.0} s",
                wait.as_secs_f64().max(1.0)
            );
            let record = LogRecord { level: Level::Warning, tid: Some(tid.clone()), ctrl, text };
            ctx.log(record);
        }
    }

    pub(super) fn read_hangs(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(dc) = self.dcs.get(tid).filter(|dc| dc.reading.is_some()) else { return };
        let ctrl = dc.connection.map(|connection| connection.ctrl);
        let text = format!(
            "reading its log page has been hanging for {} s; no other command is sent to it until the read returns",
            READ_DEADLINE.as_secs()
        );
        ctx.log(LogRecord { level: Level::Warning, tid: Some(tid.clone()), ctrl, text });
    }

    /// Reads a page again for a D-Bus caller. A read that is under way does not count: it was started before the call.
    pub(super) fn refresh(&mut self, ctx: &mut Context<'_>, token: u64, tid: &Tid) {
        match self.dcs.get_mut(tid) {
            Some(dc) if dc.connection.is_some() => {
                dc.waiting_for_next.push(token);
                self.read_soon(ctx, tid);
            }
            Some(_) => ctx.push(Effect::Refreshed { token, result: Err(RefreshError::NotConnected(tid.clone())) }),
            None => {
                ctx.push(Effect::Refreshed { token, result: Err(RefreshError::Unknown(tid.clone())) });
            }
        }
    }
}

/// The referrals of a page.
#[derive(Debug, Default)]
pub(super) struct Referrals {
    /// The discovery controllers that the page lists.
    pub(super) names: BTreeMap<Tid, Parameters>,
    /// The entries that yield no controller, but may mean discovery controllers.
    pub(super) unclear: Vec<Unclear>,
}

/// The defects of a page's entries, as log text.
fn flaws(dc: &Tid, page: &LogPage) -> impl Iterator<Item = String> {
    const GAP: &str = "until the page is complete, nothing is removed because it is not listed";
    const UNCLEAR: &str = "connected controllers that it may mean are kept";
    let dropped = page.dropped.iter().map(|malformed| {
        let kept = if malformed.reason.is_gap() { GAP } else { UNCLEAR };
        format!("log page entry {} is ignored: {}; {kept}", malformed.index, malformed.reason)
    });
    let meant = |entry: &&Entry| [Subtype::NVME, Subtype::REFERRAL].contains(&entry.subtype);
    let unusable = page.entries.iter().filter(meant).filter_map(|entry| {
        let flaw = entry.controller(dc).err().filter(EntryError::is_damage)?;
        Some(format!("log page entry of {} is not connected: {flaw}; {UNCLEAR}", entry.subnqn))
    });
    dropped.chain(unusable)
}
