//! The state of one discovery controller: its present connection, its log page, the read under way.

use std::collections::BTreeSet;
use std::time::Duration;

use libstas::bus::contract::PageState;
use libstas::core::backoff::{Backoff, Jitter};
use libstas::core::sources::SETTLED_READ;
use libstas::core::{CtrlRef, OpId, Time};
use libstas::nvme::log_page::LogPage;
use libstas::nvme::supported::DiscoveryLidSpecific;

use super::optional::Optional;
use super::registration::Registration;
use super::wire::ReadFailure;

/// A page is read once more this long after the connection came up, in case an event was lost. This is shortly before
/// the absence of earlier controllers counts as proved (`libstas::core::sources::SETTLING`).
pub(super) const SECOND_READ: Duration = SETTLED_READ;
/// A page that is stale for this long is signalled as stale. Most changed pages are read sooner, so that each change
/// causes one signal. Shorter than the shortest wait of a removal ([`libstas::core::debounce::DEBOUNCE`]).
pub(super) const SIGNAL_STALE_AFTER: Duration = Duration::from_millis(400);
/// Shortest wait after a read of a log page that depends on mDNS alone. Its discovery controller itself decides when it
/// reports a change, and a read costs up to 16 MiB.
pub(super) const ANNOUNCED_READ_PACE: Duration = Duration::from_secs(1);
/// A read that takes longer than this is logged; its slot stays occupied.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(60);

/// The present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    /// The kernel's controller.
    pub(super) ctrl: CtrlRef,
    /// Since when it is live.
    pub(super) since: Time,
    /// Events up to this sequence number are older than the connection.
    pub(super) seqnum: u64,
}

/// The kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadKind {
    /// The supported-log-pages page.
    Supported,
    /// The discovery log page.
    LogPage,
}

/// A read under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) op: OpId,
    pub(super) what: ReadKind,
    pub(super) began: Time,
    /// The connection on which it was started, identified by the time when that came up.
    pub(super) connection: Time,
}

/// The state of one discovery controller.
#[derive(Clone, Debug, Default)]
pub(super) struct DiscoveryController {
    /// True if it was removed earlier and is wanted again, or if its page was too long to be saved: its removal is
    /// signalled even if it is never read.
    pub(super) was_removed: bool,
    /// True if it was removed earlier, and was listed by another source than announcements then.
    pub(super) was_trusted: bool,
    /// Its connection, while it is live.
    pub(super) connection: Option<Connection>,
    /// The content of its supported-log-pages page, if it was read on this connection.
    pub(super) supported: Option<Option<DiscoveryLidSpecific>>,
    /// True if the read under way requests the port-local entries only (PLEO).
    pub(super) requests_port_local: bool,
    /// True if a page was read with the entries of all ports. Then no page is requested with fewer entries, whatever
    /// the configuration says: it would seem to prove that the others are no longer listed, and `pleo=enabled` may be
    /// in force by a typo.
    pub(super) lists_all_ports: bool,
    /// The newest log page; `None` before the first read.
    pub(super) page: Option<LogPage>,
    /// The size of that page in memory ([`super::page_room::size`]).
    pub(super) page_size: usize,
    /// The connection on which that page was read, identified likewise; `None`: before this run.
    pub(super) page_of: Option<Time>,
    /// True if the discovery controller has reported a change of the page that no read covers yet.
    pub(super) changed: bool,
    /// True if the page was not read within [`SIGNAL_STALE_AFTER`] after that change, or after the connection was lost.
    pub(super) stale: bool,
    /// True from the time when the page is fresh until it is signalled as stale.
    pub(super) was_fresh: bool,
    /// When this run has read it last.
    pub(super) read_at: Option<Time>,
    /// When the last read of its page ended, successful or not.
    pub(super) read_ended: Option<Time>,
    /// The read under way.
    pub(super) reading: Option<Reading>,
    /// Reads whose device is gone or whose connection was replaced: their answers are late.
    pub(super) late: BTreeSet<OpId>,
    /// True if one more read is pending.
    pub(super) read_pending: bool,
    /// D-Bus callers that wait for the read under way.
    pub(super) waiting: Vec<u64>,
    /// D-Bus callers that wait for the read after it.
    pub(super) waiting_for_next: Vec<u64>,
    /// Why the last read failed; `None` after a success.
    pub(super) failure: Option<ReadFailure>,
    /// The back-off of failed reads.
    pub(super) backoff: Backoff,
    /// True if it is polled: its last connection had no keep-alive timeout either.
    pub(super) polled: bool,
    /// True once it was logged that it is polled.
    pub(super) polling_logged: bool,
    /// When the next poll is, after a successful one.
    pub(super) poll_valid_until: Option<Time>,
    /// True once it was logged that one of its referrals exceeds the limit.
    pub(super) depth_logged: bool,
    /// The registration of this host with it.
    pub(super) registration: Registration,
    /// Which optional commands may be sent to it.
    pub(super) optional: Optional,
}

impl DiscoveryController {
    /// A connection came up, perhaps in place of another one. Returns the callers that were waiting.
    ///
    /// A read under way on the same device is left running: its answer will not count for the new connection, but a new
    /// read would only queue behind it.
    pub(super) fn connected(&mut self, connection: Connection) -> Vec<u64> {
        let same_device = self.connection.is_some_and(|before| before.ctrl == connection.ctrl);
        let reading = if same_device { self.reading.take() } else { None };
        let waiting = self.disconnected();
        self.reading = reading;
        self.connection = Some(connection);
        self.supported = None;
        self.read_pending = true;
        (self.changed, self.stale) = (false, false);
        self.backoff.reset();
        waiting
    }

    /// The connection is down. Returns the callers that were waiting.
    pub(super) fn disconnected(&mut self) -> Vec<u64> {
        self.connection = None;
        self.registration.disconnected();
        self.read_pending = false;
        self.late.extend(self.reading.take().map(|reading| reading.op));
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.append(&mut self.waiting_for_next);
        waiting
    }

    /// True when the page was read on the present connection, and could be read when it was last tried.
    pub(super) fn was_read(&self) -> bool {
        self.failure.is_none() && self.connection.is_some_and(|connection| self.page_of == Some(connection.since))
    }

    /// True when the page proves the absence of what it does not list, except for what its unclear entries may mean.
    /// After a successful poll it does so until the next one.
    pub(super) fn is_fresh(&self) -> bool {
        let is_of_poll = self.poll_valid_until.is_some() && self.failure.is_none() && !self.changed;
        let is_current = !self.stale && (self.was_read() || is_of_poll);
        is_current && self.page.as_ref().is_some_and(LogPage::is_whole)
    }

    /// What the page proves.
    pub(super) fn page_state(&self) -> PageState {
        match &self.page {
            None => PageState::Never,
            Some(_) if self.is_fresh() => PageState::Fresh,
            Some(_) => PageState::Saved,
        }
    }

    /// A read has failed. Returns whether the reason is new, and the wait before the next read.
    pub(super) fn failed(&mut self, reason: ReadFailure, jitter: &mut Jitter) -> (bool, Duration) {
        let news = self.failure.as_ref() != Some(&reason);
        self.failure = Some(reason);
        (news, self.backoff.next(jitter))
    }
}
