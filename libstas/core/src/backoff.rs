//! How long to wait before the next attempt.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest wait, before jitter.
pub const CAP: Duration = Duration::from_secs(60);
/// A wait varies by this percentage in both directions, so that many hosts do not reconnect at the same moment.
const JITTER_PERCENT: u64 = 20;

/// A small pseudo-random generator for jitter. The same seed gives the same numbers.
#[derive(Clone, Debug, Default)]
pub struct Jitter(u64);

impl Jitter {
    /// Creates the generator from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Varies a wait at random by up to 20 % in both directions.
    pub fn around(&mut self, wait: Duration) -> Duration {
        let percent = 100 - JITTER_PERCENT + self.next() % (2 * JITTER_PERCENT + 1);
        wait * u32::try_from(percent).unwrap_or(100) / 100
    }
}

/// Counts consecutive failures and computes the wait before the next attempt.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and says how long to wait: 1 s, 2 s, 4 s, … 60 s.
    pub fn next(&mut self, jitter: &mut Jitter) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(6)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        jitter.around(wait)
    }

    /// Resets the back-off: the next failure counts as the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_sixty_with_a_fifth_of_jitter() {
        let mut jitter = Jitter::new(1);
        let mut backoff = Backoff::default();
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let wait = backoff.next(&mut jitter).as_secs_f64();
            assert!((expected * 0.8..=expected * 1.2).contains(&wait), "{wait} around {expected}");
        }
        backoff.reset();
        assert!(backoff.next(&mut jitter).as_secs_f64() <= 1.2);
    }

    #[test]
    fn two_hosts_do_not_wait_alike() {
        let waits = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..8).map(|_| jitter.around(CAP)).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(1), waits(1));
    }
}
