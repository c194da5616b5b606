//! Spreads the reconnects of many hosts: hosts that lose the same discovery controller at the same time must not all
//! reconnect in the same second.

use uuid::Uuid;

/// The kernel's default delay between two reconnect attempts, in seconds.
const KERNEL: u32 = 10;
/// Largest reduction of the default delay, in seconds.
const LESS: u32 = 5;

/// This host's delay between two reconnect attempts to a discovery controller, in seconds, if the configuration sets
/// none: 5 to 10, derived from the host ID.
///
/// The kernel has no jitter of its own: hosts whose connections are reset at the same time would all retry every 10 s
/// in step.
#[must_use]
pub fn reconnect_delay(host_id: Uuid) -> u32 {
    let folded = host_id.as_bytes().iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    KERNEL - (folded ^ (folded >> 13)) % (LESS + 1)
}
