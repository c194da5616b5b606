//! Whether a discovery controller is held by a keep-alive timeout, or polled because it takes none.
//!
//! Discovery controllers from before explicit persistent connections (TP8010) refuse a Connect with a keep-alive
//! timeout. The kernel says no more than that the Connect was refused, so it is found out by trying without.

use std::time::Duration;

/// From the end of one poll to the next.
pub const POLL_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// A poll lasts so long: what a page no longer names is believed to be gone when two reads on one connection have
/// shown it ([`super::sources::SETTLING`]).
pub const POLL_LENGTH: Duration = Duration::from_secs(40);
/// The first connection without a timeout lasts so long: then it is asked at once whether it takes one after all, for
/// what refused it may have been over by then.
pub const FIRST_POLL: Duration = Duration::from_secs(2);
/// A refusal may have other reasons: only after so many in a row a connect without is tried.
const REFUSALS: u32 = 3;
/// `EIO`: the other side answered, and the answer was no.
const REFUSED: i32 = 5;

/// What is known of one controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    refusals: u32,
    polled: bool,
}

impl KeepAlive {
    /// True when the next connect is to be tried without. A controller that is polled is asked once in each poll
    /// whether it has changed its mind.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        self.refusals >= if self.polled { 1 } else { REFUSALS }
    }

    /// A connect was made, without a keep-alive timeout or with.
    pub fn made(&mut self, without: bool) {
        *self = Self { refusals: 0, polled: without };
    }

    /// A connect failed with that errno. True when the next attempt need not wait: it is the other half of a poll.
    pub fn failed(&mut self, without: bool, errno: Option<i32>) -> bool {
        if without {
            *self = Self::default();
        } else if errno == Some(REFUSED) {
            self.refusals += 1;
        } else {
            self.refusals = 0;
        }
        self.polled && self.is_left_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_in_a_row_speak_against_the_keep_alive() {
        let mut keep_alive = KeepAlive::default();
        for errno in [Some(REFUSED), Some(REFUSED), Some(110), Some(REFUSED), Some(REFUSED)] {
            assert!(!keep_alive.failed(false, errno));
            assert!(!keep_alive.is_left_out());
        }
        assert!(!keep_alive.failed(false, Some(REFUSED)));
        assert!(keep_alive.is_left_out());
    }

    #[test]
    fn without_it_does_not_work_either_then_it_was_something_else() {
        let mut keep_alive = KeepAlive { refusals: REFUSALS, polled: false };
        assert!(!keep_alive.failed(true, Some(REFUSED)));
        assert!(!keep_alive.is_left_out());
    }

    #[test]
    fn each_poll_asks_first_whether_it_has_changed_its_mind() {
        let mut keep_alive = KeepAlive::default();
        keep_alive.made(true);
        assert!(!keep_alive.is_left_out());
        assert!(keep_alive.failed(false, Some(REFUSED)), "the other half follows at once");
        assert!(keep_alive.is_left_out());
        keep_alive.made(false);
        assert_eq!(keep_alive, KeepAlive::default());
    }
}
