//! Announced services that found no room among those that are remembered: they wait here until others were tried in
//! vain, so that nobody has to be asked for again.

use std::collections::VecDeque;

use libstas::core::browse::Spot;
use libstas::nvme::announcement::Offer;

/// So many wait. Who finds no room here either is asked for when they have gone in.
const SEATS: usize = 1024;

/// The services that wait for a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Anteroom {
    /// Who came first goes in first, or strangers with well-chosen names would.
    waiting: VecDeque<(String, Offer, Vec<Spot>)>,
    /// Some found no seat.
    missed: bool,
}

impl Anteroom {
    /// One that does not wait yet takes the last seat.
    pub(super) fn seat(&mut self, service: String, offer: Offer, spots: Vec<Spot>) {
        if self.waiting.len() < SEATS {
            self.waiting.push_back((service, offer, spots));
        } else {
            self.missed = true;
        }
    }

    /// It is no longer announced, or what it says is of no use, or it is heard anew.
    pub(super) fn remove(&mut self, service: &str) {
        self.waiting.retain(|(waiting, ..)| waiting != service);
    }

    /// Whoever is still there is heard again.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// True when no service waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Some found no seat.
    pub(super) fn is_short(&self) -> bool {
        self.missed
    }

    /// The next one that may try to go in.
    pub(super) fn next(&mut self) -> Option<(String, Offer, Vec<Spot>)> {
        self.waiting.pop_front()
    }
}
