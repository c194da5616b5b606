//! Handles the reports of stafd. A missing report proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::core::backoff::Backoff;
use libstas::core::sources::{SourceId, SourcePage};
use libstas::core::timers::Timer;
use libstas::core::{HostEffect, Level, LogRecord, OpId, Time};
use libstas::nvme::Tid;
use libstas::nvme::log_page::{Entry, EntryError, Subtype, Unclear};
use libstas::nvme::security::Requirement;

use super::replacements::{REPLACEMENT_LIMIT, Replacements};
use super::{
    Connector, Context, DcPage, Effect, FetchError, IocClaim, PageState, RemovedDc, StafdView, hostnqn_change,
};

/// Shortest wait before a failed fetch is repeated.
const FETCH_AGAIN: Duration = Duration::from_secs(1);
/// The same after the fetch of a page that depends on mDNS alone.
const ANNOUNCED_FETCH_AGAIN: Duration = Duration::from_secs(30);

/// What stafd reported about a discovery controller.
#[derive(Clone, Copy, Debug)]
struct DcReport {
    announced_only: bool,
    generation: Option<u64>,
}

/// What an answer of stafd proves.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// It is the newest state of the page. `requested`: when stafd was asked to read it again, if it was; the page was
    /// read then or later.
    New { requested: Option<Time> },
    /// A change was signalled after the page was requested: the answer may be older.
    Outdated,
}

/// The state of the connection to stafd.
#[derive(Clone, Debug, Default)]
pub(super) struct Stafd {
    /// The unique name of stafd on the bus, and when it got that name.
    owner: Option<(String, Time)>,
    /// The full fetch in flight.
    all: Option<OpId>,
    /// True if another full fetch is to follow the one in flight.
    fetch_all_pending: bool,
    /// True once a full fetch has succeeded since this owner appeared.
    pub(super) fetched: bool,
    /// True if the last full fetch contained every discovery controller that a source of stafd lists
    /// ([`StafdView::is_complete`]).
    complete: bool,
    /// After a start, a reload and each change of stafd's owner, removals wait for the next report until this time.
    report_awaited_until: Option<Time>,
    /// Fetches of single pages in flight. For a page that stafd is to read again: when that was requested.
    pages: BTreeMap<OpId, (Tid, Option<Time>)>,
    /// Fetches that are to follow those in flight of the same page, likewise.
    pages_owed: BTreeMap<Tid, Option<Time>>,
    /// For each page: the newest operation when the page was applied, or when a full fetch that does not list its
    /// discovery controller overtook the fetch in flight. The answer to an older operation may be stale.
    applied: BTreeMap<Tid, OpId>,
    /// The pages whose change was signalled, and the newest operation at that time. The answer to an older operation
    /// may have been sent before that signal: it proves nothing.
    signalled: BTreeMap<Tid, OpId>,
    /// Pages that stafd has read again on request, but whose answer may be older than a signal. The value is the time
    /// of the request: the page of the next answer was read then or later.
    read_again: BTreeMap<Tid, Time>,
    /// Discovery controllers that the present process of a Python stafd (nvme-stas 2) has published with entries.
    published_with_entries: BTreeSet<Tid>,
    /// What stafd last reported about each discovery controller that it publishes, or published before its restart.
    dc_reports: BTreeMap<Tid, DcReport>,
    /// The discovery controllers that stafd published last.
    shown: BTreeSet<Tid>,
    pub(super) replacements: Replacements,
    /// Discovery controllers that were logged because they list an address of this host.
    own_address_logged: BTreeSet<Tid>,
    backoff: Backoff,
    /// True if the last full fetch failed and that was logged.
    failure_logged: bool,
    /// Discovery controllers for which it was logged that stafd did not supply their single page, and has not since.
    failures_logged: BTreeSet<Tid>,
}

impl Stafd {
    /// True unless stafd reported that more than an announcement lists that discovery controller.
    pub(super) fn is_untrusted_or_unknown(&self, dc: &Tid) -> bool {
        self.dc_reports.get(dc).is_none_or(|report| report.announced_only)
    }

    /// True for a discovery controller that stafd publishes, and that only announcements list.
    pub(super) fn publishes_as_announced(&self, dc: &Tid) -> bool {
        self.dc_reports.get(dc).is_some_and(|report| report.announced_only)
    }

    /// True while a fetch of that page is under way.
    fn is_being_fetched(&self, dc: &Tid) -> bool {
        self.pages.values().any(|(fetched, _)| fetched == dc)
    }

    /// Restores that stafd reported, in an earlier run, that more than an announcement lists that discovery controller.
    pub(super) fn restore_trusted(&mut self, dc: Tid) {
        self.dc_reports.insert(dc, DcReport { announced_only: false, generation: None });
    }

    /// Makes removals wait (at most [`REPLACEMENT_LIMIT`]) for the next report of stafd: controllers that it lists may
    /// replace those that were removed from the configuration.
    pub(super) fn await_report(&mut self, now: Time) {
        self.report_awaited_until = Some(now + REPLACEMENT_LIMIT);
    }

    /// True if stafd has reported everything that it may list, and no newer report is on its way.
    fn has_reported(&self) -> bool {
        self.fetched && self.complete && self.all.is_none()
    }

    /// The text for the log when a discovery controller no longer lists a controller.
    pub(super) fn no_longer_lists(&self, dc: &Tid) -> String {
        let generation = self.dc_reports.get(dc).and_then(|report| report.generation);
        match (self.shown.contains(dc), generation) {
            (true, Some(generation)) => format!("{dc} no longer lists it (generation {generation})"),
            (true, None) => format!("{dc} no longer lists it"),
            (false, _) => format!("{dc}, which listed it, was removed"),
        }
    }
}

impl Connector {
    /// Handles the start, the end or a restart of stafd: everything known of it is stale.
    pub(super) fn stafd_owner(&mut self, ctx: &mut Context<'_>, owner: Option<String>) {
        let before = self.stafd.owner.take();
        if before.as_ref().map(|(name, _)| name) == owner.as_ref() && owner.is_some() {
            self.stafd.owner = before;
            return;
        }
        self.mark_pages_stale();
        let (level, text) = match &owner {
            Some(name) => (Level::Info, format!("stafd is running ({name}): reading its log pages")),
            None => (Level::Warning, "stafd is not running: existing connections are kept until it returns".to_owned()),
        };
        ctx.log(LogRecord { level, tid: None, ctrl: None, text });
        // A stafd that has just started has not reported yet: its last report counts until then.
        let dc_reports = std::mem::take(&mut self.stafd.dc_reports);
        let owner = owner.map(|name| (name, ctx.now));
        self.stafd = Stafd { owner, dc_reports, ..Stafd::default() };
        self.stafd.await_report(ctx.now);
        self.fetch_all(ctx);
    }

    /// Requests everything from a running stafd. Removals wait for the answer.
    pub(super) fn ask_again(&mut self, ctx: &mut Context<'_>) {
        if self.stafd.owner.is_some() {
            self.stafd.await_report(ctx.now);
            self.fetch_all(ctx);
        }
    }

    /// Requests everything from stafd. At most one fetch is in flight and one more pending.
    pub(super) fn fetch_all(&mut self, ctx: &mut Context<'_>) {
        if self.stafd.owner.is_none() {
            return;
        }
        if self.stafd.all.is_some() {
            self.stafd.fetch_all_pending = true;
            return;
        }
        ctx.timers.cancel(&Timer::FetchAll);
        let op = ctx.next_op();
        self.stafd.all = Some(op);
        ctx.push(Effect::FetchAll(op));
    }

    /// Fetches all pages again, because `ignore-iface` has changed, and with it the controllers that their entries
    /// mean. They prove nothing until then.
    pub(super) fn list_pages_anew(&mut self, ctx: &mut Context<'_>) {
        self.mark_pages_stale();
        self.fetch_all(ctx);
    }

    fn mark_pages_stale(&mut self) {
        let pages: Vec<SourceId> =
            self.reconciler.sources.ids().filter(|id| matches!(id, SourceId::Page(_))).cloned().collect();
        for id in &pages {
            self.reconciler.sources.mark_stale(id);
        }
    }

    /// Handles stafd's signal that a page has changed or is stale, or that it uses a removed discovery controller
    /// again. The known page is stale until it is fetched.
    pub(super) fn page_changed(&mut self, ctx: &mut Context<'_>, dc: Tid) {
        self.reconciler.sources.mark_stale_even_if_removed(&SourceId::Page(dc.clone()));
        let now = ctx.next_op();
        self.stafd.signalled.insert(dc.clone(), now);
        self.fetch_page(ctx, dc, None);
    }

    fn fetch_page(&mut self, ctx: &mut Context<'_>, dc: Tid, refresh: Option<Time>) {
        if self.stafd.owner.is_none() {
            return;
        }
        if self.stafd.is_being_fetched(&dc) {
            let owed = self.stafd.pages_owed.entry(dc).or_default();
            *owed = refresh.max(*owed);
            return;
        }
        let op = ctx.next_op();
        self.stafd.pages.insert(op, (dc.clone(), refresh));
        let announced = self.stafd.publishes_as_announced(&dc);
        ctx.push(Effect::FetchPage { op, dc, refresh: refresh.is_some(), announced });
    }

    /// Requests pages again: doubtful pages, and pages that were read too early to prove the absence of controllers
    /// that were listed on an earlier connection. stafd need not report that it could not read a page again.
    pub(super) fn read_doubted_again(&mut self, ctx: &mut Context<'_>) {
        let doubt = "its log page no longer lists any of its live I/O controllers; reading it again";
        let pages = self.reconciler.pages_to_read_again(ctx, doubt);
        for dc in pages {
            self.fetch_page(ctx, dc, Some(ctx.now));
        }
    }

    pub(super) fn all_fetched(&mut self, ctx: &mut Context<'_>, op: OpId, result: Result<StafdView, FetchError>) {
        if self.stafd.all != Some(op) {
            return;
        }
        self.stafd.all = None;
        match result {
            Ok(view) => {
                self.stafd.fetched = true;
                self.stafd.failure_logged = false;
                self.stafd.backoff.reset();
                self.take_view(ctx, op, view);
                self.reconciler.debounce.restart(ctx.now);
                ctx.host(HostEffect::Save);
            }
            Err(reason) => {
                let text = format!("stafd does not answer ({reason}); existing connections are kept, retrying");
                self.fetch_failed(ctx, None, text);
            }
        }
        if std::mem::take(&mut self.stafd.fetch_all_pending) {
            self.fetch_all(ctx);
        }
        self.reconcile(ctx);
    }

    /// Handles the failed fetch of one page, or of everything: fetches everything soon. Further failures do not defer
    /// that. An announced discovery controller can make the fetch of its page fail at any time: that is no failure of
    /// stafd.
    fn fetch_failed(&mut self, ctx: &mut Context<'_>, dc: Option<Tid>, text: String) {
        let is_announced = dc.as_ref().is_some_and(|dc| self.stafd.publishes_as_announced(dc));
        let wait = match is_announced {
            true => ANNOUNCED_FETCH_AGAIN,
            false => self.stafd.backoff.next(ctx.jitter()).max(FETCH_AGAIN),
        };
        ctx.timers.set_earlier(Timer::FetchAll, ctx.now + wait);
        let is_known = match &dc {
            _ if is_announced => true,
            Some(dc) => !self.stafd.failures_logged.insert(dc.clone()),
            None => std::mem::replace(&mut self.stafd.failure_logged, true),
        };
        let level = match is_known {
            true => Level::Debug,
            false => Level::Warning,
        };
        ctx.log(LogRecord { level, tid: dc, ctrl: None, text });
    }

    /// Applies the answer to a full fetch. If a page was fetched separately meanwhile, it is unknown which one is
    /// newer: that page is fetched again. A page that was signalled meanwhile is not applied: a fetch of it is under
    /// way.
    fn take_view(&mut self, ctx: &mut Context<'_>, op: OpId, view: StafdView) {
        let known: Vec<Tid> = self
            .reconciler
            .sources
            .ids()
            .filter_map(|id| match id {
                SourceId::Page(dc) => Some(dc.clone()),
                SourceId::Configured | SourceId::Boot | SourceId::Announced | SourceId::EarlierNqn => None,
            })
            .collect();
        self.stafd.complete = view.is_complete;
        let listed: BTreeSet<Tid> = view.dcs.iter().map(|page| page.dc.clone()).collect();
        self.stafd.replacements.keep(|dc| listed.contains(dc));
        let before: BTreeSet<&Tid> = known.iter().collect();
        self.stafd.dc_reports.retain(|dc, _| listed.contains(dc) || before.contains(dc));
        self.stafd.shown = listed.clone();
        let former_nqns = former_host_nqns(&listed, view.removed.as_deref().unwrap_or_default());
        let left_out: BTreeSet<Tid> = view.left_out.into_iter().collect();
        for page in view.dcs {
            if left_out.contains(&page.dc) {
                self.fetch_left_out(ctx, &page);
            } else if self.is_overtaken(op, &page.dc) {
                self.fetch_page(ctx, page.dc, None);
            } else if self.precedes_a_signal(op, &page.dc) {
                self.stafd.replacements.shows(ctx.now, &page.dc, false);
            } else {
                self.take_page(ctx, page, Answer::New { requested: None });
            }
        }
        for dc in known.into_iter().filter(|dc| !listed.contains(dc)) {
            if self.is_overtaken(op, &dc) || self.precedes_a_signal(op, &dc) {
                self.stafd.fetch_all_pending = true;
                continue;
            }
            let removed = view.removed.as_ref().map(|removed| removed.iter().find(|removed| removed.dc == dc));
            let id = SourceId::Page(dc.clone());
            match removed {
                Some(Some(removed)) => {
                    let now = former_nqns.get(&dc.host_nqn).cloned().or_else(|| self.renamed_host_of(&dc, &listed));
                    if let Some(now) = now {
                        self.keep_what_earlier_nqn_found(ctx, &dc, &now);
                    }
                    self.reconciler.sources.retire(&id, removed.reason.spares_live());
                }
                // A Python stafd does not report removals. If it has published entries of a discovery controller and
                // no longer publishes it, the controller was removed.
                None if self.stafd.published_with_entries.contains(&dc) => self.reconciler.sources.retire(&id, false),
                Some(None) | None => self.reconciler.sources.mark_stale_or_drop(&id),
            }
        }
        self.stafd.own_address_logged.retain(|dc| listed.contains(dc));
        // A left-out page was not applied. The answer of its fetch in flight may have been sent before its signal, so
        // that signal still counts.
        self.stafd.signalled.retain(|dc, signalled| *signalled > op || left_out.contains(dc));
        self.stafd.read_again.retain(|dc, _| listed.contains(dc));
        self.stafd.failures_logged.retain(|dc| listed.contains(dc));
        self.overtake_pages_in_flight(ctx, &listed);
    }

    /// The new host NQN of a removed discovery controller, if stafd was restarted with another host NQN and stacd was
    /// not. stafd then has removed the controller with the host NQN of stacd, and lists it with the new one. Other
    /// discovery controllers may still have the earlier one, because stafd keeps those that are live.
    fn renamed_host_of(&self, removed: &Tid, listed: &BTreeSet<Tid>) -> Option<String> {
        let own = self.settings.as_ref().map(|settings| settings.identity.nqn.as_str());
        if own != Some(removed.host_nqn.as_str()) {
            return None;
        }
        let same = listed.iter().find(|other| hostnqn_change::same_but_for_the_host(other, removed))?;
        Some(same.host_nqn.clone())
    }

    /// Fetches a page alone that was too long for the full answer. Until then it proves nothing, and removals wait for
    /// what it may list.
    fn fetch_left_out(&mut self, ctx: &mut Context<'_>, page: &DcPage) {
        let generation = self.stafd.dc_reports.get(&page.dc).and_then(|report| report.generation);
        let report = DcReport { announced_only: page.is_announced_only(), generation };
        self.stafd.dc_reports.insert(page.dc.clone(), report);
        self.stafd.replacements.shows(ctx.now, &page.dc, false);
        self.reconciler.sources.add_unproved(SourceId::Page(page.dc.clone()), BTreeMap::new());
        if !self.stafd.is_being_fetched(&page.dc) {
            self.fetch_page(ctx, page.dc.clone(), None);
        }
    }

    /// Marks the fetches in flight of discovery controllers that stafd does not list as overtaken. Their pages may have
    /// been sent before the controllers were removed: they are fetched again, not applied.
    fn overtake_pages_in_flight(&mut self, ctx: &mut Context<'_>, listed: &BTreeSet<Tid>) {
        let in_flight: BTreeSet<&Tid> = self.stafd.pages.values().map(|(dc, _)| dc).collect();
        self.stafd.applied.retain(|dc, _| listed.contains(dc) || in_flight.contains(dc));
        let now = ctx.next_op();
        let unlisted = in_flight.into_iter().filter(|dc| !listed.contains(*dc));
        self.stafd.applied.extend(unlisted.map(|dc| (dc.clone(), now)));
    }

    /// True while the removal of an I/O controller waits for the next report of stafd ([`Stafd::await_report`]), or for
    /// a newly listed controller that may replace it.
    pub(super) fn awaits_replacement(&mut self, now: Time, removed: &Tid) -> bool {
        if self.stafd.report_awaited_until.is_some_and(|until| now < until) && !self.stafd.has_reported() {
            return true;
        }
        let mut replacements = std::mem::take(&mut self.stafd.replacements);
        let is_connected = |tid: &Tid| self.reconciler.fleet.is_live(tid) || self.is_barred(tid);
        let is_settled = |dc: &Tid| self.reconciler.sources.listed_by(&SourceId::Page(dc.clone())).all(is_connected);
        let waits = replacements.must_wait(now, removed, is_settled, is_connected);
        self.stafd.replacements = replacements;
        waits
    }

    /// True when a page of that discovery controller was applied, or its fetch overtaken, after the operation was
    /// issued.
    fn is_overtaken(&self, asked: OpId, dc: &Tid) -> bool {
        self.stafd.applied.get(dc).is_some_and(|applied| *applied > asked)
    }

    /// True when a change of that page was signalled after the operation was issued.
    fn precedes_a_signal(&self, asked: OpId, dc: &Tid) -> bool {
        self.stafd.signalled.get(dc).is_some_and(|signalled| *signalled > asked)
    }

    /// Retries the controllers of a page that are not connected, because the page was just read.
    fn retry_controllers_of(&mut self, ctx: &mut Context<'_>, dc: &Tid) {
        let id = SourceId::Page(dc.clone());
        let waiting: Vec<Tid> =
            self.reconciler.sources.listed_by(&id).filter(|tid| !self.reconciler.fleet.is_live(tid)).cloned().collect();
        let reports = self.reconciler.fleet.retry_all_now(ctx, &waiting);
        self.reported(ctx.now, reports);
    }

    fn take_page(&mut self, ctx: &mut Context<'_>, page: DcPage, answer: Answer) {
        let report = DcReport { announced_only: page.is_announced_only(), generation: page.generation };
        let DcPage { dc, state, connected_since, entries, mut unclear, .. } = page;
        self.stafd.dc_reports.insert(dc.clone(), report);
        self.stafd.shown.insert(dc.clone());
        let applied = ctx.next_op();
        self.stafd.applied.insert(dc.clone(), applied);
        let id = SourceId::Page(dc.clone());
        let mut names = BTreeMap::new();
        for entry in &entries {
            if entry.subtype != Subtype::NVME {
                unclear.extend(Unclear::of_other_subtype(entry));
                continue;
            }
            match self.controller_of(&dc, entry) {
                // If several entries list one controller, the entry that demands encryption applies.
                Ok(tid) if Requirement::of(entry).is_none() && names.get(&tid).is_some_and(demands_encryption) => {}
                Ok(tid) => drop(names.insert(tid, IocClaim::Entry(Box::new(entry.clone())))),
                Err(flaw) => unclear.push(Unclear::of_entry(entry, &flaw)),
            }
        }
        self.log_of_own_address(ctx, &dc, names.keys());
        // A page that was never read, or that stafd dropped for lack of room, replaces nothing.
        if report.announced_only && state != PageState::Never {
            self.reconciler.forget_replaced(&id, |tid| names.contains_key(tid));
        }
        self.stafd.replacements.shows(ctx.now, &dc, state != PageState::Never);
        if state == PageState::Unstated && !entries.is_empty() {
            self.stafd.published_with_entries.insert(dc.clone());
        }
        let connection = match state {
            PageState::Fresh => connected_since,
            PageState::Unstated if self.stafd.published_with_entries.contains(&dc) => {
                self.stafd.owner.as_ref().map(|(_, since)| *since)
            }
            PageState::Unstated | PageState::Never | PageState::Saved | PageState::Unknown => None,
        };
        match (connection, answer) {
            (Some(connected_since), Answer::New { requested }) => {
                // Not the present time: the page may be older than its answer.
                let page = SourcePage { connected_since, controllers: names, read: requested, unclear };
                let may_be_live = |tid: &Tid| self.reconciler.fleet.may_be_live(tid);
                let without_entry = self.reconciler.sources.read(ctx.now, id.clone(), page, may_be_live);
                self.log_held_back(ctx, &dc, &without_entry);
            }
            (None, _) | (_, Answer::Outdated) => self.reconciler.sources.add_unproved(id.clone(), names),
        }
        self.reconciler.forget_unknown(ctx.now, &id);
    }

    /// Logs the controllers that stay connected because of an unclear entry.
    fn log_held_back(&self, ctx: &mut Context<'_>, dc: &Tid, held_back: &[Tid]) {
        for tid in held_back {
            let Some(ctrl) = self.reconciler.fleet.view(tid).and_then(|view| Some(view.kernel?.ctrl)) else { continue };
            let text = format!(
                "the log page of {dc} has no valid entry for it, but a damaged one that may be its entry: it stays \
                 connected. Correct that entry at the target, or disconnect it with exclude="
            );
            ctx.log_about(Level::Warning, tid, Some(ctrl), text);
        }
    }

    /// Logs once for each announced discovery controller that it lists an address of this host.
    fn log_of_own_address<'a>(&mut self, ctx: &mut Context<'_>, dc: &Tid, mut names: impl Iterator<Item = &'a Tid>) {
        if !self.stafd.is_untrusted_or_unknown(dc) || self.stafd.own_address_logged.contains(dc) {
            return;
        }
        let links = self.reconciler.fleet.links();
        let is_refused = |tid: &&Tid| self.reconciler.is_new_at_own_address(tid) && links.have_address_of(tid);
        if let Some(tid) = names.find(is_refused) {
            self.stafd.own_address_logged.insert(dc.clone());
            let text = format!(
                "its log page lists {tid}, an address of this host, which is not connected: only mDNS announces this \
                 discovery controller. To connect it, add a controller= line to stacd.conf"
            );
            ctx.log(LogRecord { level: Level::Warning, tid: Some(dc.clone()), ctrl: None, text });
        }
    }

    /// The I/O controller of an entry, with the host side of the discovery controller that lists it.
    fn controller_of(&self, dc: &Tid, entry: &Entry) -> Result<Tid, EntryError> {
        let ignore_iface = self.settings.as_ref().is_some_and(|settings| settings.conf.ignore_iface);
        let tid = entry.controller(dc)?;
        Ok(if ignore_iface { tid.unbound() } else { tid })
    }

    pub(super) fn page_fetched(&mut self, ctx: &mut Context<'_>, op: OpId, result: Result<Option<DcPage>, FetchError>) {
        let Some((dc, refresh)) = self.stafd.pages.remove(&op) else { return };
        let mut is_current = false;
        match result {
            Ok(Some(_)) if self.is_overtaken(op, &dc) => self.fetch_page(ctx, dc.clone(), refresh),
            Ok(Some(page)) => {
                self.stafd.failures_logged.remove(&dc);
                is_current = matches!(page.state, PageState::Fresh | PageState::Unstated);
                // If signals arrive faster than answers, no answer is ever current: connect what such an answer lists,
                // but remove nothing because of it.
                let requested = refresh.max(self.stafd.read_again.remove(&dc));
                let answer = match (self.precedes_a_signal(op, &dc), requested) {
                    (false, requested) => Answer::New { requested },
                    (true, None) => Answer::Outdated,
                    (true, Some(requested)) => {
                        self.stafd.read_again.insert(dc.clone(), requested);
                        Answer::Outdated
                    }
                };
                self.take_page(ctx, page, answer);
                self.reconciler.debounce.restart(ctx.now);
                ctx.host(HostEffect::Save);
            }
            // It was removed meanwhile; the list of removed controllers says why.
            Ok(None) => self.fetch_all(ctx),
            Err(reason) => {
                self.reconciler.sources.mark_stale(&SourceId::Page(dc.clone()));
                let text = format!("stafd does not supply its log page ({reason}); its connections are kept, retrying");
                self.fetch_failed(ctx, Some(dc.clone()), text);
            }
        }
        if let Some(refresh) = self.stafd.pages_owed.remove(&dc) {
            self.fetch_page(ctx, dc.clone(), refresh);
        }
        self.reconcile(ctx);
        // A page that stafd could not read again says nothing about its controllers.
        if is_current {
            self.retry_controllers_of(ctx, &dc);
        }
    }

    /// True if stafd has been running for at least that time and has reported everything that it may list.
    pub(super) fn stafd_has_reported_for(&self, now: Time, long: Duration) -> bool {
        let since = self.stafd.owner.as_ref().map(|(_, since)| *since);
        since.is_some_and(|since| since + long <= now) && self.stafd.has_reported()
    }
}

fn demands_encryption(claim: &IocClaim) -> bool {
    matches!(claim, IocClaim::Entry(entry) if Requirement::of(entry).is_some())
}

/// Maps each former host NQN of stafd to the present one. A host NQN is former if stafd lists no discovery controller
/// with it any more, but lists a removed one with another host NQN. Pages read with a former host NQN prove no absence.
fn former_host_nqns(listed: &BTreeSet<Tid>, removed: &[RemovedDc]) -> BTreeMap<String, String> {
    let present: BTreeSet<&str> = listed.iter().map(|dc| dc.host_nqn.as_str()).collect();
    let former = removed.iter().map(|removed| &removed.dc).filter(|dc| !present.contains(dc.host_nqn.as_str()));
    let renamed = former.filter_map(|dc| {
        let now = listed.iter().find(|other| hostnqn_change::same_but_for_the_host(other, dc))?;
        Some((dc.host_nqn.clone(), now.host_nqn.clone()))
    });
    renamed.collect()
}
