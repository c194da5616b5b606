//! Hosts that lose one discovery controller in the same moment must not all come back in the same second.

use uuid::Uuid;

/// What the kernel waits between two attempts when it is not told otherwise, in seconds.
const KERNEL: u32 = 10;
/// So many seconds fewer at most.
const LESS: u32 = 5;

/// How long this host's kernel waits between two attempts to bring back a discovery controller, in seconds, where the
/// configuration does not say: 5 to 10, by the host's ID.
///
/// The kernel has no jitter of its own: hosts whose connections are reset at once try again at once, each 10 s.
#[must_use]
pub fn reconnect_delay(host_id: Uuid) -> u32 {
    let folded = host_id.as_bytes().iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    KERNEL - (folded ^ (folded >> 13)) % (LESS + 1)
}
