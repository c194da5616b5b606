//! Asynchronous events (NVMe Base 2.0, 5.2): a request waits until there is something to tell.

use std::collections::VecDeque;

use crate::world::EVENT_REQUESTS;

/// Feature 0Bh, bit 31: tell when the discovery log page has changed.
const DISCOVERY_LOG: u32 = 1 << 31;
/// So many events that nobody has asked for yet are kept.
const OWED_MAX: u32 = 1000;

/// The events of one connection.
#[derive(Debug, Default)]
pub struct Events {
    /// Feature 0Bh.
    configuration: u32,
    /// Command identifiers of the requests that wait.
    requests: VecDeque<u16>,
    /// Told, and the page has not been read since.
    masked: bool,
    /// To be sent.
    owed: u32,
}

impl Events {
    /// Feature 0Bh, Asynchronous Event Configuration.
    #[must_use]
    pub fn configuration(&self) -> u32 {
        self.configuration
    }

    /// The host wants other events.
    pub(super) fn configure(&mut self, value: u32) {
        self.configuration = value;
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// Takes a request; false if there are too many.
    pub(super) fn request(&mut self, cid: u16) -> bool {
        let fits = self.requests.len() <= usize::from(EVENT_REQUESTS);
        if fits {
            self.requests.push_back(cid);
        }
        fits
    }

    /// The page has been read: the next change is told.
    pub(super) fn unmask(&mut self) {
        self.masked = false;
    }

    /// The page has changed; it is told so often, unless the host has not read the page since it was told last.
    pub(super) fn change(&mut self, times: u32) {
        if !self.masked && self.configuration & DISCOVERY_LOG != 0 {
            self.force(times);
            self.masked = true;
        }
    }

    /// So many events without a reason.
    pub(super) fn force(&mut self, count: u32) {
        self.owed = self.owed.saturating_add(count).min(OWED_MAX);
    }

    /// The requests that are to be answered now.
    pub(super) fn due(&mut self) -> Vec<u16> {
        let count = self.requests.len().min(self.owed as usize);
        self.owed -= u32::try_from(count).unwrap_or(self.owed);
        self.requests.drain(..count).collect()
    }
}
