//! Telling systemd: ready, reloading, stopping, status, alive (sd_notify(3)).
//!
//! Without systemd (no NOTIFY_SOCKET) everything here does nothing. A message that cannot be sent is told once:
//! systemd will act on the silence by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// Who watches over a daemon; tests have one that writes down what it hears.
pub trait Supervisor {
    /// Start or reload is complete.
    fn ready(&self);
    /// A reload has begun; [`Supervisor::ready`] ends it.
    fn reloading(&self);
    /// The end is near.
    fn stopping(&self);
    /// One line for people.
    fn status(&self, line: &str);
    /// The event loop turns.
    fn alive(&self);
    /// How often [`Supervisor::alive`] is to be called; `None` when nobody watches.
    fn watchdog_period(&self) -> Option<Duration>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Systemd;

impl Supervisor for Systemd {
    fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// systemd wants the time of it on CLOCK_MONOTONIC.
    fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        send(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
    }

    fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    fn status(&self, line: &str) {
        // A line feed would end the message's field.
        send(&[NotifyState::Status(&line.replace('\n', " "))]);
    }

    fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// Half of WATCHDOG_USEC.
    fn watchdog_period(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|period| !period.is_zero())
    }
}

fn send(states: &[NotifyState<'_>]) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Err(error) = sd_notify::notify(states)
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        tracing::warn!("cannot tell systemd how this service is doing: {error}");
    }
}
