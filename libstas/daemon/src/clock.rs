//! Reads CLOCK_BOOTTIME and sleeps on it.
//!
//! The runtime's own timers stop while the machine is suspended. The back-off and deadlines of a core continue: they
//! are due as soon as the machine wakes up.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe::Receiver;

use stas_core::Time;

/// Clock of an event loop. Tests use a clock that they move by hand.
pub trait Clock {
    /// Present time, counted from boot.
    fn now(&self) -> Time;

    /// Returns at `moment`, or immediately if it has passed. The future can be dropped at any time.
    fn sleep_until(&self, moment: Time) -> impl Future<Output = ()>;
}

/// The kernel's CLOCK_BOOTTIME.
#[derive(Debug)]
pub struct BootClock {
    timer: TimerFd,
    /// The same timer, as a descriptor that the runtime can wait for. The type accepts any descriptor that supports
    /// poll(2), and the read end of a pipe behaves like a timerfd: readable, or "would block".
    expirations: Receiver,
}

impl BootClock {
    /// Creates the timer. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Fails if the kernel has no such timer, or no descriptor is free.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let expirations = Receiver::from_file_unchecked(timer.as_fd().try_clone_to_owned()?.into())?;
        Ok(Self { timer, expirations })
    }

    async fn expiration(&self, moment: Time) -> io::Result<()> {
        // An absolute time of zero would disarm the timer.
        let at = TimeSpec::from_duration(moment.0.max(Duration::from_nanos(1)));
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.expirations.readable().await?;
        match self.expirations.try_read(&mut [0; 8]) {
            // Readiness is left over from an earlier sleep. The caller checks the clock and waits again.
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
                // Without the timer, use the runtime's clock.
                tokio::time::sleep(moment.since(self.now())).await;
            }
        }
    }
}

/// Present time on CLOCK_BOOTTIME, which continues while the machine is suspended.
#[must_use]
pub fn now() -> Time {
    // Linux has this clock since 2.6.39, so the error is ignored.
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
