//! Limits the memory of log pages that are being read.
//!
//! A page is in memory while it is read, and its discovery controller decides how long that takes. Any host can
//! announce discovery controllers with the longest page each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of bytes that all limited reads have received together, except for short pages: four of the longest
/// pages.
const ALL_MAX: usize = 64 << 20;
/// A read that has received at most this many bytes is never refused: reads that hang must not prevent reads of short
/// pages.
const SHORT: usize = 256 << 10;

/// The number of bytes that all limited reads under way have received. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadRoom(Arc<AtomicUsize>);

impl ReadRoom {
    /// Begins a read.
    pub(super) fn begin(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }
}

/// The number of bytes that one read has received. They are released when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: ReadRoom,
    bytes: usize,
}

impl Held {
    /// Reserves the bytes that the read requests next. False if there is no room for them: the read must end.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let all = self.room.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        all <= ALL_MAX || self.bytes <= SHORT
    }

    /// Releases the bytes, because the read begins again without them.
    pub(super) fn restart(&mut self) {
        self.room.0.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.restart();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Reads that begin, go on, begin again and end in any order. A refused read ends.
        #[test]
        fn long_reads_have_a_limit_together_and_short_ones_always_succeed(
            steps in proptest::collection::vec((0..100_usize, 0..20_u8, 0..2 * SHORT), 0..2000),
        ) {
            let room = ReadRoom::default();
            let mut reads: Vec<Option<Held>> = (0..100).map(|_| None).collect();
            for (number, step, bytes) in steps {
                let read = &mut reads[number];
                match step {
                    0 => *read = None,
                    1 => read.iter_mut().for_each(Held::restart),
                    _ => {
                        let held = read.get_or_insert_with(|| room.begin());
                        let is_taken = held.take(bytes);
                        prop_assert!(is_taken || held.bytes > SHORT);
                        if !is_taken {
                            *read = None;
                        }
                    }
                }
                let all: usize = reads.iter().flatten().map(|held| held.bytes).sum();
                prop_assert_eq!(room.0.load(Ordering::Relaxed), all);
                prop_assert!(all <= ALL_MAX + reads.len() * SHORT);
            }
        }
    }

    #[test]
    fn while_reads_hang_only_long_pages_are_refused() {
        let room = ReadRoom::default();
        let mut hanging: Vec<Held> = (0..4).map(|_| room.begin()).collect();
        assert!(hanging.iter_mut().all(|held| held.take(ALL_MAX / 4)));
        let (mut short, mut long) = (room.begin(), room.begin());
        assert!(short.take(SHORT) && long.take(SHORT) && !long.take(4096));
        drop(long);
        hanging.pop();
        assert!(room.begin().take(ALL_MAX / 8), "there is room again");
    }
}
