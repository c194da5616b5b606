//! Whether stafd signals that a page has ceased to be a proof. Until the signal, stacd removes controllers that the
//! page omits.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::core::{HostEvent, Machine, Time, UeventKind};
use libstas::nvme::Tid;
use libstas::nvme::aen::DISCOVERY_LOG_CHANGED;
use stacd::connector::PageState;

use crate::invariants::Invariant;
use crate::names::short;
use crate::world::World;

/// A page may be stale for this long without a signal.
const LIMIT: Duration = Duration::from_millis(500);

/// The pages of the present stafd, as its signals describe them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SignalledPages {
    /// The pages that are fresh, or were so at the last signal. For one that is stale now: since when.
    fresh: BTreeMap<Tid, Option<Time>>,
    /// The discovery controllers that have reported a change of their page, and when. Without those whose page was read
    /// since then.
    changed: BTreeMap<Tid, Time>,
}

impl SignalledPages {
    /// stafd has read a page.
    pub(crate) fn read(&mut self, dc: &Tid) {
        self.changed.remove(dc);
    }

    /// stafd signals a page.
    pub(crate) fn signalled(&mut self, dc: &Tid) {
        self.fresh.remove(dc);
    }
}

impl World {
    /// stafd receives an event of the kernel: the page of a discovery controller may have changed.
    pub(crate) fn record_page_change(&mut self, event: &HostEvent) {
        let HostEvent::Uevent(event) = event else { return };
        if event.kind != UeventKind::Aen(DISCOVERY_LOG_CHANGED) {
            return;
        }
        let Some(finder) = &self.staf.core else { return };
        let dcs = self.oracle.staf.pages.keys().filter(|dc| {
            let kernel = finder.controller(dc).and_then(|view| view.member.kernel);
            kernel.is_some_and(|kernel| kernel.is_live() && kernel.ctrl.device == event.device)
        });
        let dcs: Vec<Tid> = dcs.cloned().collect();
        let now = self.time();
        for dc in dcs {
            self.signalled_pages.changed.entry(dc).or_insert(now);
        }
    }

    /// True if stafd has a page that proves nothing.
    pub(crate) fn is_stale(&self, dc: &Tid) -> bool {
        let view = self.staf.core.as_ref().and_then(|finder| finder.controller(dc));
        view.is_some_and(|view| view.log_page_state == PageState::Saved)
    }

    /// Checks after each step of stafd that no page has been stale for too long without a signal.
    pub(crate) fn check_stale_pages(&mut self) {
        let now = self.time();
        let Some(finder) = &self.staf.core else { return };
        // A late timer of stafd is handled next. While stafd stops, stacd keeps everything.
        if self.staf.stopping || finder.deadline().is_some_and(|deadline| deadline <= now) {
            return;
        }
        let mut unsignalled = None;
        for dc in self.oracle.staf.pages.keys() {
            let Some(view) = finder.controller(dc) else {
                self.signalled_pages.fresh.remove(dc);
                self.signalled_pages.changed.remove(dc);
                continue;
            };
            let is_fresh = view.log_page_state == PageState::Fresh;
            if is_fresh {
                self.signalled_pages.fresh.insert(dc.clone(), None);
            } else if let Some(since) = self.signalled_pages.fresh.get_mut(dc) {
                let since = since.get_or_insert(now);
                if *since + LIMIT < now {
                    unsignalled = Some(format!("the page of {} has ceased to be fresh, without a signal", short(dc)));
                }
            }
            if is_fresh && self.signalled_pages.changed.get(dc).is_some_and(|at| *at + LIMIT < now) {
                unsignalled = Some(format!("the page of {} has changed, was not read, and is called fresh", short(dc)));
            }
        }
        if let Some(text) = unsignalled {
            self.breach(Invariant::StaleIsSignalled, text);
        }
    }
}
