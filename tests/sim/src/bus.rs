//! D-Bus between the two daemons: owners, signals, calls, and the part of stafd's shell that answers them.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::bus::contract::wire::Published;
use libstas::core::{AdminError, OpId, Time};
use libstas::nvme::Tid;
use libstas::nvme::admin::CommandError;
use libstas::nvme::log_page::Entry;
use stacd::connector::{DcPage, FetchError, PageState, RemovedDc, StafdView};
use stafd::finder::{Finder, NotRegistered, Removed};

use crate::mutants::Bug;
use crate::names::{Daemon, short};
use crate::oracle::Connection;
use crate::plan::Fault;
use crate::world::{Incoming, QueuedEvent, Requester, World, trace};

/// A call without an answer fails after this time.
const CALL_LIMIT: Duration = Duration::from_secs(25);
/// The same for a call that makes stafd read a page again.
pub(crate) const REFRESH_LIMIT: Duration = Duration::from_secs(90);

/// A published page.
#[derive(Clone, Debug)]
pub(crate) struct PublishedPage {
    pub(crate) page: DcPage,
    /// The connection on which it was read, also if it has become stale since.
    pub(crate) listed_on: Option<Connection>,
    /// When it was last read.
    pub(crate) read: Time,
    /// The entries that the target sent.
    pub(crate) sent: Vec<Entry>,
}

/// The answer to a full fetch.
#[derive(Clone, Debug)]
pub(crate) struct PublishedView {
    pub(crate) pages: Vec<PublishedPage>,
    pub(crate) removed: Vec<RemovedDc>,
    pub(crate) is_complete: bool,
    pub(crate) left_out: Vec<Tid>,
}

impl PublishedView {
    pub(crate) fn view(&self) -> StafdView {
        StafdView {
            dcs: self.pages.iter().map(|published| published.page.clone()).collect(),
            removed: Some(self.removed.clone()),
            is_complete: self.is_complete,
            left_out: self.left_out.clone(),
        }
    }
}

/// Of every fourth answer, leaves out the pages that are too long: here those with two entries or more.
fn leave_out(op: OpId, pages: &mut [PublishedPage]) -> Vec<Tid> {
    let is_long = |published: &&mut PublishedPage| op.0.is_multiple_of(4) && published.page.entries.len() >= 2;
    let left_out = pages.iter_mut().filter(is_long).map(|published| {
        let page = &mut published.page;
        (page.state, page.generation) = (PageState::Unknown, None);
        page.entries.clear();
        page.unclear.clear();
        page.dc.clone()
    });
    left_out.collect()
}

/// The state of the bus.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    /// stafd's unique name, while it owns its bus name.
    owner: Option<String>,
    names: u32,
    /// True while stacd watches stafd.
    watching: bool,
    /// Owner changes and signals arrive in order: none before these times.
    owners_until: Duration,
    signals_until: Duration,
    tokens: u64,
    /// Calls that wait for a page to be read again, and the incarnation of stafd that they belong to.
    refreshing: BTreeMap<u64, (Requester, Tid, u32)>,
}

impl World {
    fn bus_takes(&mut self, what: &'static str) -> Duration {
        let wait = self.streams.latency(what);
        if self.has(Fault::BusSlow) { wait + self.streams.stream("slow bus").ms(0, 3000) } else { wait }
    }

    /// stafd has acquired its bus name.
    pub(crate) fn name_owned(&mut self, incarnation: u32) {
        if self.incarnation(Daemon::Stafd) != Some(incarnation) {
            return;
        }
        self.bus.names += 1;
        self.bus.owner = Some(format!(":1.{}", self.bus.names));
        self.send_owner();
    }

    /// stacd starts to watch. Earlier signals are lost.
    pub(crate) fn watches(&mut self, incarnation: u32) {
        if self.incarnation(Daemon::Stacd) == Some(incarnation) {
            self.bus.watching = true;
            self.send_owner();
        }
    }

    fn send_owner(&mut self) {
        if !self.bus.watching {
            return;
        }
        let wait = self.bus_takes("owner");
        self.bus.owners_until = self.bus.owners_until.max(self.now + wait);
        let wait = self.bus.owners_until - self.now;
        let event = stacd::connector::Event::StafdOwner(self.bus.owner.clone());
        self.send(Daemon::Stacd, wait, Incoming::Stac(event));
    }

    fn signal(&mut self, event: stacd::connector::Event) {
        if !self.bus.watching || self.bus.owner.is_none() {
            trace!(self, "stacd does not receive the signal {event:?}");
            return;
        }
        let wait = self.bus_takes("signal");
        self.bus.signals_until = self.bus.signals_until.max(self.now + wait);
        let wait = self.bus.signals_until - self.now;
        self.send(Daemon::Stacd, wait, Incoming::Stac(event));
    }

    /// A process has ended: its bus name and its calls are gone.
    pub(crate) fn left_the_bus(&mut self, daemon: Daemon) {
        match daemon {
            Daemon::Stafd => {
                self.bus.owner = None;
                self.send_owner();
                let broken: Vec<u64> = self.bus.refreshing.keys().copied().collect();
                for token in broken {
                    self.refreshed(token, Err(FetchError::Bus("the other side has left the bus".into())));
                }
            }
            Daemon::Stacd => {
                self.bus.watching = false;
                self.bus.refreshing.clear();
            }
        }
    }

    /// Whether stafd can be called. `Ok(wait)`: it is frozen and answers after that time.
    fn reach_stafd(&mut self) -> Result<Duration, (Duration, FetchError)> {
        if self.bus.owner.is_none() || self.staf.core.is_none() {
            return Err((Duration::ZERO, FetchError::Bus("the name has no owner".into())));
        }
        if self.has(Fault::BusFails) && self.streams.stream("failing call").percent(70) {
            return Err((Duration::ZERO, FetchError::Bus("the connection was closed".into())));
        }
        let frozen = self.staf.frozen_until.saturating_sub(self.now);
        if frozen > CALL_LIMIT {
            return Err((CALL_LIMIT, FetchError::Timeout(CALL_LIMIT)));
        }
        Ok(frozen)
    }

    /// stacd fetches everything, beginning with the pages.
    pub(crate) fn start_fetch_all(&mut self, op: OpId) {
        self.newest_fetch = Some(op);
        let requester = Requester { daemon: Daemon::Stacd, incarnation: self.stac.incarnation, op };
        self.oracle.fetch_started(op);
        let wait = self.bus_takes("call");
        self.after(wait, QueuedEvent::FetchPages(requester));
    }

    pub(crate) fn fetch_pages(&mut self, requester: Requester) {
        match self.reach_stafd() {
            Err((wait, reason)) => self.answer(requester, wait, Incoming::AllFetched(requester.op, Err(reason))),
            Ok(Duration::ZERO) => {
                let pages = self.published();
                let wait = self.bus_takes("call");
                self.after(wait, QueuedEvent::FetchRemoved(requester, pages));
            }
            Ok(frozen) => self.after(frozen, QueuedEvent::FetchPages(requester)),
        }
    }

    /// Then it fetches the removed controllers, perhaps from another incarnation of stafd.
    pub(crate) fn fetch_removed(&mut self, requester: Requester, mut pages: Vec<PublishedPage>) {
        match self.reach_stafd() {
            Err((wait, reason)) => self.answer(requester, wait, Incoming::AllFetched(requester.op, Err(reason))),
            Ok(Duration::ZERO) => {
                let is_complete = self.staf.core.as_ref().is_some_and(Finder::is_complete);
                let removed = self.staf.core.as_ref().map(Finder::removed).unwrap_or_default();
                let removed: Vec<RemovedDc> = removed.into_iter().map(Removed::published).collect();
                let left_out = leave_out(requester.op, &mut pages);
                let wait = self.bus_takes("answer");
                let view = PublishedView { pages, removed, is_complete, left_out };
                self.answer(requester, wait, Incoming::AllFetched(requester.op, Ok(view)));
            }
            Ok(frozen) => self.after(frozen, QueuedEvent::FetchRemoved(requester, pages)),
        }
    }

    /// stacd fetches one page.
    pub(crate) fn start_fetch_page(&mut self, op: OpId, dc: Tid, refresh: bool) {
        let requester = Requester { daemon: Daemon::Stacd, incarnation: self.stac.incarnation, op };
        self.oracle.fetch_started(op);
        let wait = self.bus_takes("call");
        let next = if refresh {
            QueuedEvent::RefreshPage(requester, dc)
        } else {
            QueuedEvent::FetchPage(requester, dc, false)
        };
        self.after(wait, next);
    }

    pub(crate) fn fetch_page(&mut self, requester: Requester, dc: &Tid, refreshed: bool) {
        match self.reach_stafd() {
            Err((wait, reason)) => {
                self.answer(requester, wait, Incoming::PageFetched(requester.op, refreshed, Err(reason)));
            }
            Ok(Duration::ZERO) => {
                let page = self.published().into_iter().find(|published| published.page.dc == *dc);
                let wait = self.bus_takes("answer");
                self.answer(requester, wait, Incoming::PageFetched(requester.op, refreshed, Ok(page)));
            }
            Ok(frozen) => self.after(frozen, QueuedEvent::FetchPage(requester, dc.clone(), refreshed)),
        }
    }

    pub(crate) fn refresh_page(&mut self, requester: Requester, dc: Tid) {
        match self.reach_stafd() {
            Err((wait, reason)) => self.answer(requester, wait, Incoming::PageFetched(requester.op, true, Err(reason))),
            Ok(Duration::ZERO) if self.has_bug(Bug::RefreshFromMemory) => self.fetch_page(requester, &dc, true),
            Ok(Duration::ZERO) => {
                self.bus.tokens += 1;
                let token = self.bus.tokens;
                self.bus.refreshing.insert(token, (requester, dc.clone(), self.staf.incarnation));
                self.after(REFRESH_LIMIT, QueuedEvent::RefreshEnds(token));
                trace!(self, "stacd requests that the page of {} be read again", short(&dc));
                self.feed_staf(stafd::finder::Event::Refresh { token, dc });
            }
            Ok(frozen) => self.after(frozen, QueuedEvent::RefreshPage(requester, dc)),
        }
    }

    /// stafd has read a page again, or failed to.
    pub(crate) fn refreshed(&mut self, token: u64, result: Result<(), FetchError>) {
        let Some((requester, dc, _)) = self.bus.refreshing.remove(&token) else { return };
        match result {
            Ok(()) => self.fetch_page(requester, &dc, true),
            Err(reason) => {
                let wait = self.bus_takes("answer");
                self.answer(requester, wait, Incoming::PageFetched(requester.op, true, Err(reason)));
            }
        }
    }

    /// The pages that stafd publishes now.
    fn published(&mut self) -> Vec<PublishedPage> {
        let Some(finder) = &self.staf.core else { return Vec::new() };
        let pages: Vec<DcPage> = Published::of(&finder.published()).view().dcs;
        let mut published_pages: Vec<PublishedPage> = pages.into_iter().map(|page| self.published_page(page)).collect();
        if self.has_bug(Bug::NoSettling) {
            for page in published_pages.iter_mut().map(|published| &mut published.page) {
                page.connected_since = page.connected_since.map(|_| Time::default());
            }
        }
        published_pages
    }

    /// Executes an effect of stafd's core.
    pub(crate) fn staf_effect(&mut self, effect: stafd::finder::Effect) {
        use stafd::finder::Effect;
        let incarnation = self.staf.incarnation;
        let requester = |op| Requester { daemon: Daemon::Stafd, incarnation, op };
        match effect {
            Effect::Host(effect) => self.start_effect(Daemon::Stafd, effect),
            Effect::ReadSupported { op, ctrl } => {
                let ctrl = self.unmask(ctrl);
                let wait = self.read_takes();
                self.after(wait, QueuedEvent::ReadSupported(requester(op), ctrl));
            }
            Effect::ReadLogPage { op, ctrl, .. } => {
                let ctrl = self.unmask(ctrl);
                self.newest_reads.insert(ctrl, op);
                let wait = self.read_takes();
                self.after(wait, QueuedEvent::ReadPage(requester(op), ctrl));
            }
            Effect::Register { op, .. } => {
                let wait = self.read_takes();
                let failed = |again| {
                    Err(NotRegistered::Failed {
                        reason: AdminError::from(CommandError::Host("internal error".into())).into(),
                        again,
                    })
                };
                let result = match self.streams.stream("register").below(8) {
                    0 => failed(true),
                    1 => failed(false),
                    2 => Err(NotRegistered::NoRegister),
                    _ => Ok(()),
                };
                self.send(Daemon::Stafd, wait, Incoming::Staf(stafd::finder::Event::Registered { op, result }));
            }
            Effect::PagesChanged { dc, .. } => {
                if self.has_bug(Bug::StalePageNotSignalled) && self.is_stale(&dc) {
                    return;
                }
                self.signalled_pages.signalled(&dc);
                self.signal(stacd::connector::Event::PageChanged(dc));
            }
            Effect::DcRemoved | Effect::CompletenessChanged => {
                self.check_removed_dcs();
                self.signal(stacd::connector::Event::DcRemoved);
            }
            Effect::Refreshed { token, result } => {
                self.refreshed(token, result.map_err(|error| FetchError::Bus(error.to_string())));
            }
            Effect::Browse(ask) => self.browse(ask),
            Effect::NvmfConnect { .. } => {}
            Effect::Stopped => self.stopped(Daemon::Stafd),
        }
    }

    /// Executes an effect of stacd's core.
    pub(crate) fn stac_effect(&mut self, effect: stacd::connector::Effect) {
        use stacd::connector::Effect;
        match effect {
            Effect::Host(effect) => self.start_effect(Daemon::Stacd, effect),
            Effect::FetchAll(op) => self.start_fetch_all(op),
            Effect::FetchPage { op, dc, refresh, .. } => self.start_fetch_page(op, dc, refresh),
            Effect::Stopped => self.stopped(Daemon::Stacd),
        }
    }
}
