//! Whether a discovery controller accepts a keep-alive timeout and stays connected, or is polled because it does not.
//!
//! Discovery controllers without explicit persistent connections (TP8010) refuse a Connect with a keep-alive timeout.
//! The kernel only reports that the Connect was refused, so a Connect without a timeout is tried.

use std::time::Duration;

/// The time from the end of one poll to the next.
pub const POLL_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The duration of a poll. The absence of an entry is proved only by two reads on one connection,
/// [`super::sources::SETTLING`] apart.
pub const POLL_LENGTH: Duration = Duration::from_secs(40);
/// The duration of the first connection without a timeout. After it a connect with a timeout is tried again, in case
/// the refusal was temporary.
pub const FIRST_POLL: Duration = Duration::from_secs(2);
/// A refusal may have other reasons: a connect without a timeout is tried only after this many in a row.
const REFUSALS: u32 = 3;
/// `EIO`: the controller has refused the Connect.
const REFUSED: i32 = 5;

/// What is known about the keep-alive support of one controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    refusals: u32,
    polled: bool,
}

impl KeepAlive {
    /// True when the next connect is to be made without a timeout. A polled controller is tried with a timeout first in
    /// each poll, in case it accepts one now.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        self.refusals >= if self.polled { 1 } else { REFUSALS }
    }

    /// True if the last connection was made without a timeout.
    #[must_use]
    pub fn was_made_without(self) -> bool {
        self.polled
    }

    /// A connection was made. `without` says whether it has no keep-alive timeout.
    pub fn made(&mut self, without: bool) {
        *self = Self { refusals: 0, polled: without };
    }

    /// A connect failed with that errno. Returns true when the next attempt need not wait: it is the second half of a
    /// poll.
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
