//! The thundering herd: many hosts lose one CDC at the same moment and reconnect.
//!
//! The time of a host's reconnect depends on two things: the kernel's reconnect delay, which differs between hosts
//! ([`libstas::nvme::connect::reconnect_delay`]), and, after the kernel has given up, the back-off of stafd with its
//! jitter. `HOSTS=100000 cargo test -p sim --test herd -- --nocapture` prints the numbers for more hosts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use libstas::core::backoff::{Backoff, Jitter};
use libstas::nvme::connect::reconnect_delay;
use sim::rng::Rng;

/// The kernel removes a controller that it could not reconnect for this long.
const CTRL_LOSS: Duration = Duration::from_secs(600);
/// The keep-alive timeout of a connection to a discovery controller.
const KATO: Duration = Duration::from_secs(30);

/// How the hosts lose the connection.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The CDC resets all connections at once.
    Reset,
    /// The power of the CDC fails: each host misses the answer to its next keep-alive.
    Silence,
}

/// When a host is reconnected, if the CDC accepts connections again from that time on.
fn back(rng: &mut Rng, loss: Loss, again: Duration) -> Duration {
    // Network latency and scheduling delays.
    let noise = |rng: &mut Rng| rng.ms(0, 5);
    let lost = match loss {
        Loss::Reset => noise(rng),
        Loss::Silence => KATO / 2 + rng.ms(0, KATO.as_millis() as u64 / 2),
    };
    let id: [u8; 16] = std::array::from_fn(|_| rng.below(256) as u8);
    let period = Duration::from_secs(reconnect_delay(uuid::Builder::from_random_bytes(id).into_uuid()).into());
    let mut at = lost;
    while at < lost + CTRL_LOSS {
        at += period;
        if at >= again {
            return at + noise(rng);
        }
    }
    let mut jitter = Jitter::new(rng.below(usize::MAX) as u64);
    let mut backoff = Backoff::default();
    while at < again {
        at += backoff.next(&mut jitter);
    }
    at + noise(rng)
}

/// The largest number of hosts that reconnect within any one second.
fn peak(mut times: Vec<Duration>) -> usize {
    times.sort_unstable();
    let within =
        |(first, at): (usize, &Duration)| times[first..].partition_point(|t| *t < *at + Duration::from_secs(1));
    times.iter().enumerate().map(within).max().unwrap()
}

#[test]
fn a_thousand_hosts_do_not_come_back_in_the_same_second() {
    let hosts = std::env::var("HOSTS").map_or(1000, |text| text.parse().unwrap());
    for loss in [Loss::Reset, Loss::Silence] {
        for outage in [1, 3, 30, 300, 900, 7200] {
            let mut rng = Rng::new(outage, "herd");
            let again = Duration::from_secs(outage);
            let times: Vec<Duration> = (0..hosts).map(|_| back(&mut rng, loss, again)).collect();
            let last = times.iter().max().unwrap().saturating_sub(again);
            let most = peak(times);
            println!("{hosts} hosts, {loss:?}, {outage} s: at most {most} within a second, the last after {last:.1?}");
            // Delays of 5, 6 and 10 s coincide every 30 s: half of the hosts reconnect at that moment.
            assert!(most * 5 <= hosts * 3, "{loss:?}, {outage} s: {most} of {hosts} hosts came within a second");
        }
    }
}
