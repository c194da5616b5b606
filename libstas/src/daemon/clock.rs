//! CLOCK_BOOTTIME, to read and to sleep on.
//!
//! The runtime's own timers stand still while the machine is suspended. A back-off or a deadline of a core does
//! not: it is due at once when the machine wakes up.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe::Receiver;

use crate::core::Time;

/// The time of an event loop; tests have one that they move by hand.
pub trait Clock {
    /// Now.
    fn now(&self) -> Time;

    /// Returns when that moment has come, at once if it has passed. Dropping the future is harmless.
    fn sleep_until(&self, moment: Time) -> impl Future<Output = ()>;
}

/// The kernel's CLOCK_BOOTTIME.
#[derive(Debug)]
pub struct BootClock {
    timer: TimerFd,
    /// The same timer, as something that the runtime can wait for. It takes any descriptor that poll(2) takes,
    /// and the read end of a pipe behaves like a timerfd: readable, or "would block".
    expirations: Receiver,
}

impl BootClock {
    /// Makes one; needs the async runtime.
    ///
    /// # Errors
    /// The kernel has no such timer, or no descriptor is free.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let expirations = Receiver::from_file_unchecked(timer.as_fd().try_clone_to_owned()?.into())?;
        Ok(Self { timer, expirations })
    }

    async fn expiration(&self, moment: Time) -> io::Result<()> {
        // An absolute moment of zero would disarm the timer.
        let at = TimeSpec::from_duration(moment.0.max(Duration::from_nanos(1)));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.expirations.readable().await?;
        match self.expirations.try_read(&mut [0; 8]) {
            // Readiness left over from an earlier sleep: the caller looks at the clock and comes back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

impl Clock for BootClock {
    fn now(&self) -> Time {
        now()
    }

    async fn sleep_until(&self, moment: Time) {
        while self.now() < moment {
            if self.expiration(moment).await.is_err() {
                // Without the timer, the runtime's clock is better than none.
                tokio::time::sleep(moment.since(self.now())).await;
            }
        }
    }
}

/// CLOCK_BOOTTIME, now.
#[must_use]
pub fn now() -> Time {
    // Linux has had this clock since 2.6.39; there is nothing to do about its absence.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map_or_else(|_| Time::default(), |time| Time(Duration::from(time)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_is_slept_until_and_not_longer_than_need_be() {
        let clock = BootClock::new().unwrap();
        let start = clock.now();
        clock.sleep_until(start + Duration::from_millis(20)).await;
        assert!(clock.now() >= start + Duration::from_millis(20));
        clock.sleep_until(start).await;
        clock.sleep_until(Time::default()).await;
    }

    #[tokio::test]
    async fn a_sleep_that_was_given_up_does_not_shorten_the_next() {
        let clock = BootClock::new().unwrap();
        let start = clock.now();
        tokio::select! {
            biased;
            () = clock.sleep_until(start + Duration::from_millis(5)) => {}
            () = std::future::ready(()) => {}
        }
        std::thread::sleep(Duration::from_millis(10));
        let next = clock.now() + Duration::from_millis(30);
        clock.sleep_until(next).await;
        assert!(clock.now() >= next);
    }
}
