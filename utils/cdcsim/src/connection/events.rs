//! Asynchronous events (NVMe Base 2.0, 5.2): a request waits for the next event.

use std::collections::VecDeque;

use crate::world::EVENT_REQUESTS;

/// Feature 0Bh, bit 31: send an event when the discovery log page has changed.
const DISCOVERY_LOG: u32 = 1 << 31;
/// Maximum number of events kept until the host requests them.
const OWED_MAX: u32 = 1000;

/// The events of one connection.
#[derive(Debug, Default)]
pub struct Events {
    /// The value of feature 0Bh.
    configuration: u32,
    /// The command identifiers of the waiting requests.
    requests: VecDeque<u16>,
    /// True if an event was sent and the page has not been read since.
    masked: bool,
    /// Number of events to be sent.
    owed: u32,
}

impl Events {
    /// Feature 0Bh, Asynchronous Event Configuration.
    #[must_use]
    pub fn configuration(&self) -> u32 {
        self.configuration
    }

    /// Sets feature 0Bh.
    pub(super) fn configure(&mut self, value: u32) {
        self.configuration = value;
    }

    /// The number of waiting requests.
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

    /// The page was read: the next change causes an event.
    pub(super) fn unmask(&mut self) {
        self.masked = false;
    }

    /// The page has changed: queues `times` events, unless the host has not read the page since the last event.
    pub(super) fn change(&mut self, times: u32) {
        if !self.masked && self.configuration & DISCOVERY_LOG != 0 {
            self.force(times);
            self.masked = true;
        }
    }

    /// Queues events without a change.
    pub(super) fn force(&mut self, count: u32) {
        self.owed = self.owed.saturating_add(count).min(OWED_MAX);
    }

    /// Removes and returns the requests to be completed now.
    pub(super) fn due(&mut self) -> Vec<u16> {
        let count = self.requests.len().min(self.owed as usize);
        self.owed -= u32::try_from(count).unwrap_or(self.owed);
        self.requests.drain(..count).collect()
    }
}
