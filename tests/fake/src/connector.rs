//! stacd's core, and the stafd that it fetches from.

use std::sync::Arc;

use libstas::conf::StacConf;
use libstas::core::{HostEffect, HostEvent, OpId, Time};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{HostIdentity, Tid};
use stacd::connector::{Connector, DcPage, Effect, Event, FetchError, Origin, PageState, Settings, StafdView};

use crate::{Core, Daemon, FakeHost, Op, TARGET, dc, entry};

/// The stafd that stacd fetches from.
#[derive(Debug, Default)]
pub struct Stafd {
    /// The published pages; `None`: it does not answer.
    pub view: Option<StafdView>,
    /// True if calls for one page fail.
    pub page_calls_fail: bool,
}

impl Stafd {
    fn fetch_page(&self, dc: &Tid, refresh: bool) -> Result<Option<DcPage>, FetchError> {
        let failed = |text: &str| Err(FetchError::Bus(text.to_owned()));
        let Some(view) = self.view.as_ref().filter(|_| !self.page_calls_fail) else { return failed("no answer") };
        let page = view.dcs.iter().find(|page| page.dc == *dc);
        if refresh && page.is_none_or(|page| page.connected_since.is_none()) {
            return failed("it is not connected");
        }
        Ok(page.cloned())
    }

    /// The page of its first discovery controller.
    ///
    /// # Panics
    /// Panics if it has none.
    pub fn first(&mut self) -> &mut DcPage {
        &mut self.view.as_mut().unwrap().dcs[0]
    }
}

/// A page with these entries, read on a connection that has been up since that time.
#[must_use]
pub fn dc_page(dc: &Tid, since: Time, entries: Vec<Entry>) -> DcPage {
    DcPage {
        dc: dc.clone(),
        state: PageState::Fresh,
        origin: Origin::Configured,
        follows_configured: false,
        generation: None,
        connected_since: Some(since),
        entries,
        unclear: Vec::new(),
    }
}

impl Core for Connector {
    type Conf = StacConf;
    type Peer = Stafd;

    fn settings(conf: &StacConf, identity: Arc<HostIdentity>) -> Event {
        Event::Configured(Box::new(Settings { conf: conf.clone(), identity }))
    }

    fn host_event(event: HostEvent) -> Event {
        Event::Host(event)
    }

    fn host_effect(effect: &Effect) -> Option<&HostEffect> {
        if let Effect::Host(host) = effect { Some(host) } else { None }
    }

    fn own_op(effect: &Effect) -> Option<Op> {
        match effect {
            Effect::FetchAll(_) => Some(Op::FetchAll),
            Effect::FetchPage { .. } => Some(Op::FetchPage),
            _ => None,
        }
    }

    fn answer(host: &mut FakeHost<Self>, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::FetchAll(op) => Event::AllFetched {
                op,
                result: host.peer.view.clone().ok_or_else(|| FetchError::Bus("no answer".into())),
            },
            Effect::FetchPage { op, dc, refresh, .. } => {
                Event::PageFetched { op, result: host.peer.fetch_page(&dc, refresh) }
            }
            Effect::Host(_) | Effect::Stopped => return None,
        })
    }

    fn save(&self) -> String {
        serde_json::to_string(&self.saved()).unwrap()
    }
}

impl Daemon for Connector {
    fn restored(saved: &str, seed: u64) -> Self {
        let saved = if saved.is_empty() { Default::default() } else { serde_json::from_str(saved).unwrap() };
        Self::new(saved, seed)
    }
}

impl FakeHost<Connector> {
    /// Starts a stafd with one discovery controller at 192.0.2.1, which has been connected for this many seconds and
    /// lists these subsystems at its own address.
    pub fn stafd_with(&mut self, nqns: &[&str], connected_for: u64) {
        let since = Time(self.now.0.saturating_sub(std::time::Duration::from_secs(connected_for)));
        let page = dc_page(&dc(TARGET), since, nqns.iter().map(|nqn| entry(TARGET, nqn)).collect());
        self.stafd_is(
            ":1.5",
            StafdView { dcs: vec![page], removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() },
        );
    }

    /// Starts a stafd with that unique bus name and these pages.
    pub fn stafd_is(&mut self, owner: &str, view: StafdView) {
        self.peer.view = Some(view);
        self.feed(Event::StafdOwner(Some(owner.into())));
    }

    /// Stops stafd: its bus name has no owner any more.
    pub fn stafd_vanishes(&mut self) {
        self.peer.view = None;
        self.feed(Event::StafdOwner(None));
    }

    /// Changes the page of stafd's first discovery controller to list these subsystems, and signals it.
    pub fn page_is(&mut self, nqns: &[&str]) {
        self.page_has(nqns.iter().map(|nqn| entry(TARGET, nqn)).collect());
    }

    /// Changes the entries of that page, and signals it.
    pub fn page_has(&mut self, entries: Vec<Entry>) {
        let page = self.peer.first();
        page.entries = entries;
        let dc = page.dc.clone();
        self.feed(Event::PageChanged(dc));
    }

    /// The oldest full fetch whose answer is held back.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn held_fetch(&mut self) -> OpId {
        match self.take_held(Op::FetchAll) {
            Some(Effect::FetchAll(op)) => op,
            other => panic!("expected a call for everything, got {other:?}"),
        }
    }
}
