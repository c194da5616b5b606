//! Discovery controllers that are polled: connected for a short time every 15 minutes.
//!
//! Discovery controllers without keep-alive support are always polled. With `epcsd=poll`, discovery controllers are
//! also polled if their log page lists them without EPCSD. The result of a successful poll is valid until the next one:
//! until then the discovery controller counts as live, and its page as fresh.

use std::time::Duration;

use libstas::core::keep_alive::{FIRST_POLL, POLL_INTERVAL, POLL_LENGTH};
use libstas::core::reasons::Polled;
use libstas::core::timers::Timer;
use libstas::core::{Level, LogRecord, Time};
use libstas::nvme::Tid;
use libstas::nvme::log_page::{Entry, LogPage, Subtype};

use super::discovery_controller::DiscoveryController;
use super::{Context, Finder};

/// If a poll that is due does not succeed within this time, the discovery controller no longer counts as live.
const GRACE: Duration = Duration::from_secs(60);

/// True when the page lists its own discovery controller without EPCSD. Looks at the entry for its address, or, if
/// there is none, at all its entries for itself.
fn lacks_epcsd(tid: &Tid, page: &LogPage) -> bool {
    let own = || page.entries.iter().filter(|entry| entry.subtype == Subtype::DISCOVERY);
    let is_here =
        |entry: &&Entry| entry.controller(tid).is_ok_and(|own| own.traddr == tid.traddr && own.trsvcid == tid.trsvcid);
    match own().find(is_here) {
        Some(entry) => !entry.eflags.epcsd(),
        None => own().next().is_some() && own().all(|entry| !entry.eflags.epcsd()),
    }
}

impl Finder {
    /// A connection is up. If it has no keep-alive timeout, its discovery controller is polled.
    pub(super) fn poll_begins(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let is_polled = self.reconciler.fleet.is_polled(tid);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        dc.poll_valid_until = None;
        if is_polled {
            let lasts = if dc.polled { POLL_LENGTH } else { FIRST_POLL };
            ctx.timers.set(Timer::PollEnds(tid.clone()), ctx.now + lasts);
        } else {
            dc.polled = false;
            ctx.timers.cancel(&Timer::PollEnds(tid.clone()));
        }
    }

    /// A page was read. It may say that its discovery controller is to be polled.
    pub(super) fn poll_without_epcsd(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        if self.reconciler.fleet.is_polled(tid) {
            return;
        }
        let polls = self.settings.as_ref().is_some_and(|settings| settings.conf.polls_without_epcsd);
        let Some(dc) = self.dcs.get(tid) else { return };
        let (Some(connection), Some(page)) = (dc.connection, &dc.page) else { return };
        let timer = Timer::PollEnds(tid.clone());
        if !polls || !lacks_epcsd(tid, page) || !self.reconciler.fleet.has_made(tid) {
            ctx.timers.cancel(&timer);
        } else if ctx.timers.get(&timer).is_none() {
            ctx.timers.set(timer, (connection.since + POLL_LENGTH).max(ctx.now));
        }
    }

    /// The time of a poll is over.
    pub(super) fn poll_ends(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let refuses = self.reconciler.fleet.is_polled(tid);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        dc.optional.survived();
        let first = refuses && !std::mem::replace(&mut dc.polled, true);
        let until = if first { ctx.now } else { ctx.now + POLL_INTERVAL };
        dc.poll_valid_until = dc.was_read().then_some(until);
        let reason = if refuses { Polled::RefusesKeepAlive } else { Polled::LacksEpcsd };
        if !first && !std::mem::replace(&mut dc.polling_logged, true) {
            let minutes = POLL_INTERVAL.as_secs() / 60;
            let (level, text) = match refuses {
                true => (
                    Level::Warning,
                    format!("it does not support keep-alive: its log page is polled every {minutes} minutes"),
                ),
                false => (
                    Level::Info,
                    format!("its log page lists it without EPCSD: it is polled every {minutes} minutes (epcsd=poll)"),
                ),
            };
            ctx.log(LogRecord { level, tid: Some(tid.clone()), ctrl: None, text });
        }
        self.reconciler.fleet.disconnect_until_poll(ctx, tid, until, reason);
    }

    /// Marks the result of the last poll as stale if the next one was due and did not succeed.
    pub(super) fn forget_old_polls(&mut self, now: Time) {
        for dc in self.dcs.values_mut().filter(|dc| !is_between_polls(now, dc)) {
            dc.poll_valid_until = None;
        }
    }

    /// True while it is connected, and after a successful poll until the next one.
    pub(super) fn counts_as_live(&self, now: Time, tid: &Tid) -> bool {
        self.reconciler.fleet.may_be_live(tid) || self.dcs.get(tid).is_some_and(|dc| is_between_polls(now, dc))
    }
}

/// True after a successful poll until the next one.
pub(super) fn is_between_polls(now: Time, dc: &DiscoveryController) -> bool {
    dc.poll_valid_until.is_some_and(|until| now < until + GRACE)
}
