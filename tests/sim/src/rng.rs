//! Pseudo-random numbers from a seed (SplitMix64), in independent streams: leaving out one action of a run changes the
//! rest as little as possible.

use std::collections::BTreeMap;
use std::time::Duration;

/// One stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates the stream with that name.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = Self(seed ^ hash);
        rng.roll();
        rng
    }

    /// Returns the next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `n`, or 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let roll = self.roll();
        roll.checked_rem(n as u64).and_then(|rest| usize::try_from(rest).ok()).unwrap_or(0)
    }

    /// Returns true with a probability of this percentage.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Returns a duration between two durations.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_micros();
        let micros = u128::from(self.roll()).checked_rem(span + 1).unwrap_or(0);
        shortest + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Returns a duration between two numbers of milliseconds.
    pub fn ms(&mut self, shortest: u64, longest: u64) -> Duration {
        self.between(Duration::from_millis(shortest), Duration::from_millis(longest))
    }
}

/// The streams of one run.
#[derive(Clone, Debug)]
pub struct RngStreams {
    seed: u64,
    streams: BTreeMap<&'static str, Rng>,
}

impl RngStreams {
    /// Creates the streams of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, streams: BTreeMap::new() }
    }

    /// Returns the stream with that name, creating it on first use.
    pub fn stream(&mut self, name: &'static str) -> &mut Rng {
        let seed = self.seed;
        self.streams.entry(name).or_insert_with(|| Rng::new(seed, name))
    }

    /// A random duration that is usually close to zero, and sometimes up to a second.
    pub fn latency(&mut self, name: &'static str) -> Duration {
        let rng = self.stream(name);
        match rng.below(40) {
            0 => rng.ms(100, 1000),
            1..=5 => rng.ms(3, 100),
            _ => rng.between(Duration::from_micros(20), Duration::from_millis(3)),
        }
    }
}
