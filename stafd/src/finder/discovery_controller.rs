//! What stafd knows of one discovery controller: its present connection, its log page, the read under way.

use std::collections::BTreeSet;
use std::time::Duration;

use libstas::bus::contract::PageState;
use libstas::core::backoff::{Backoff, Jitter};
use libstas::core::sources::LATE_READ;
use libstas::core::{CtrlRef, OpId, Time};
use libstas::nvme::log_page::LogPage;
use libstas::nvme::supported::DiscoveryLidSpecific;

use super::optional::Optional;
use super::registering::Registering;

/// A page is read once more this long after the connection came up: shortly before what is known only from before
/// that connection is believed to be gone (`libstas::core::sources::SETTLING`), in case an event was lost.
pub(super) const SECOND_READ: Duration = LATE_READ;
/// A read that takes longer than this is told; its slot stays taken.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(60);

/// The present connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    /// The kernel's controller.
    pub(super) ctrl: CtrlRef,
    /// Since when it is up.
    pub(super) since: Time,
    /// Events up to this sequence number are from before.
    pub(super) seqnum: u64,
}

/// What is read from a discovery controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The supported-log-pages page.
    Supported,
    /// The discovery log page.
    LogPage,
}

/// A read under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) op: OpId,
    pub(super) what: Read,
    /// Since when the connection is up that it was started on.
    pub(super) connection: Time,
}

/// One discovery controller.
#[derive(Clone, Debug, Default)]
pub(super) struct DiscoveryController {
    /// It was given up before, and is wanted again.
    pub(super) was_given_up: bool,
    /// Its connection, while it is live.
    pub(super) connection: Option<Connection>,
    /// What its supported-log-pages page says, once it was read on this connection.
    pub(super) supported: Option<Option<DiscoveryLidSpecific>>,
    /// The newest page.
    pub(super) page: Option<LogPage>,
    /// The connection on which that page was read; `None` is before this run.
    pub(super) page_of: Option<Time>,
    /// The read under way.
    pub(super) reading: Option<Reading>,
    /// Reads whose device is gone, or whose connection is another by now: late answers.
    pub(super) late: BTreeSet<OpId>,
    /// One more read is owed.
    pub(super) owed: bool,
    /// Callers that wait for the read under way.
    pub(super) waiting: Vec<u64>,
    /// Callers that wait for the read after it.
    pub(super) waiting_for_next: Vec<u64>,
    /// Why the last read failed.
    pub(super) failure: Option<String>,
    /// Waits between failed reads.
    pub(super) backoff: Backoff,
    /// Its last connection was without a keep-alive timeout, too: it is polled.
    pub(super) polled: bool,
    /// That was told.
    pub(super) told_of_polling: bool,
    /// The last poll succeeded, and the next one is at that time.
    pub(super) rested: Option<Time>,
    /// That it refers to one that is too far away was told.
    pub(super) told_of_reach: bool,
    /// Its register of hosts.
    pub(super) registering: Registering,
    /// Which optional commands may be sent to it.
    pub(super) optional: Optional,
}

impl DiscoveryController {
    /// A connection came up, or perhaps another one in its place. Gives back the callers who waited.
    ///
    /// A read under way on the very device stays under way: it says nothing about the new connection, but the next one
    /// would only queue behind it.
    pub(super) fn connected(&mut self, connection: Connection) -> Vec<u64> {
        let same_device = self.connection.is_some_and(|before| before.ctrl == connection.ctrl);
        let reading = if same_device { self.reading.take() } else { None };
        let waiting = self.disconnected();
        self.reading = reading;
        self.connection = Some(connection);
        self.supported = None;
        self.owed = true;
        self.backoff.reset();
        waiting
    }

    /// The connection is down. Gives back the callers who waited.
    pub(super) fn disconnected(&mut self) -> Vec<u64> {
        self.connection = None;
        self.registering.disconnected();
        self.owed = false;
        self.late.extend(self.reading.take().map(|reading| reading.op));
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.append(&mut self.waiting_for_next);
        waiting
    }

    /// True when the page was read on the present connection, and could be read when it was last tried.
    pub(super) fn was_read(&self) -> bool {
        self.failure.is_none() && self.connection.is_some_and(|connection| self.page_of == Some(connection.since))
    }

    /// True when the page proves the absence of what it does not list, but for what its unclear entries may mean. That of
    /// a successful poll does so until the next one.
    fn is_fresh(&self) -> bool {
        (self.was_read() || self.rested.is_some()) && self.page.as_ref().is_some_and(LogPage::is_whole)
    }

    /// What the page proves.
    pub(super) fn page_state(&self) -> PageState {
        match &self.page {
            None => PageState::Never,
            Some(_) if self.is_fresh() => PageState::Fresh,
            Some(_) => PageState::Saved,
        }
    }

    /// A read has failed: how long to wait for the next.
    pub(super) fn failed(&mut self, reason: String, jitter: &mut Jitter) -> (bool, Duration) {
        let news = self.failure.as_ref() != Some(&reason);
        self.failure = Some(reason);
        (news, self.backoff.next(jitter))
    }
}
