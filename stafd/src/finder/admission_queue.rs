//! The queue of announced services that exceed the limit. They wait here until services whose connect has failed are
//! evicted, so that they need not be queried again.

use std::collections::VecDeque;

use libstas::core::browse::Endpoint;
use libstas::nvme::announcement::ServiceOffer;

/// Maximum length of the queue. Services that do not fit are queried when the queue is empty.
const CAPACITY: usize = 1024;

/// The queue of services that wait for admission.
#[derive(Clone, Debug, Default)]
pub(super) struct AdmissionQueue {
    /// First in, first out: otherwise services could jump the queue by a well-chosen name.
    waiting: VecDeque<(String, ServiceOffer, Vec<Endpoint>)>,
    /// True if some did not fit.
    overflow: bool,
}

impl AdmissionQueue {
    /// Appends a service that is not in the queue yet.
    pub(super) fn push(&mut self, service: String, offer: ServiceOffer, endpoints: Vec<Endpoint>) {
        if self.waiting.len() < CAPACITY {
            self.waiting.push_back((service, offer, endpoints));
        } else {
            self.overflow = true;
        }
    }

    /// Removes a service: it is no longer announced, has become unusable, or was received again.
    pub(super) fn remove(&mut self, service: &str) {
        self.waiting.retain(|(waiting, ..)| waiting != service);
    }

    /// Empties the queue: services that still exist are received again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// True when no service waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True if some services did not fit.
    pub(super) fn overflowed(&self) -> bool {
        self.overflow
    }

    /// Removes and returns the first service.
    pub(super) fn next(&mut self) -> Option<(String, ServiceOffer, Vec<Endpoint>)> {
        self.waiting.pop_front()
    }
}
