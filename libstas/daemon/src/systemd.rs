//! Reports to systemd: ready, reloading, stopping, status, watchdog (sd_notify(3)).
//!
//! Without systemd (no NOTIFY_SOCKET) all of this does nothing. The first message that cannot be sent is logged;
//! systemd reacts by itself to missing messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// Receives a daemon's reports. Tests use one that records them.
pub trait Supervisor {
    /// Start or reload is complete.
    fn ready(&self);
    /// A reload has begun. [`Supervisor::ready`] ends it.
    fn reloading(&self);
    /// The daemon is stopping.
    fn stopping(&self);
    /// Sets the status line, as shown by `systemctl status`.
    fn status(&self, line: &str);
    /// Triggers the watchdog: the event loop is running.
    fn alive(&self);
    /// Interval for calls of [`Supervisor::alive`]. `None`: there is no watchdog.
    fn watchdog_period(&self) -> Option<Duration>;
}

/// Reports to systemd through NOTIFY_SOCKET.
#[derive(Clone, Copy, Debug, Default)]
pub struct Systemd;

impl Supervisor for Systemd {
    fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// systemd requires the time on CLOCK_MONOTONIC.
    fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now();
        send(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
    }

    fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    fn status(&self, line: &str) {
        // A line feed would end the field.
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
    static LOGGED: AtomicBool = AtomicBool::new(false);
    if let Err(error) = sd_notify::notify(states)
        && !LOGGED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!("cannot report the state of this service to systemd: {error}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use log_lines::LogLines;

    const SOCKET: &str = "NOTIFY_SOCKET";

    /// Runs the test with this name in its own process, with systemd's socket.
    fn with_socket(socket: &Path, name: &str) {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", &format!("systemd::tests::{name}")]).env(SOCKET, socket);
        let output = test.env("WATCHDOG_USEC", "3000000").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "there is such a test");
    }

    #[test]
    fn systemd_hears_what_it_understands() {
        if std::env::var_os(SOCKET).is_some_and(|socket| is_ours(&socket)) {
            assert_eq!(Systemd.watchdog_period(), Some(Duration::from_millis(1500)));
            Systemd.ready();
            Systemd.reloading();
            Systemd.status("two\nlines");
            Systemd.alive();
            return Systemd.stopping();
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(OURS);
        let systemd = UnixDatagram::bind(&socket).unwrap();
        with_socket(&socket, "systemd_hears_what_it_understands");
        let heard = || {
            let mut buffer = [0; 256];
            let length = systemd.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap().trim_end().to_owned()
        };
        assert_eq!(heard(), "READY=1");
        let (reloading, since) = heard().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(reloading, "RELOADING=1");
        assert!(since.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!([heard(), heard(), heard()], ["STATUS=two lines", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn an_unread_socket_is_logged_once() {
        if std::env::var_os(SOCKET).is_some_and(|socket| is_ours(&socket)) {
            let log = LogLines::start();
            Systemd.ready();
            Systemd.alive();
            let said = log.text();
            assert_eq!(
                said.matches("cannot report the state of this service to systemd: No such file").count(),
                1,
                "{said}"
            );
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        with_socket(&folder.path().join(OURS), "an_unread_socket_is_logged_once");
    }

    /// Name that distinguishes such a process from one started by systemd.
    const OURS: &str = "notify-of-a-test";

    fn is_ours(socket: &std::ffi::OsStr) -> bool {
        Path::new(socket).ends_with(OURS)
    }
}
