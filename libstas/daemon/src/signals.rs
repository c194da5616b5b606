//! The signals that control a daemon.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The request that a signal makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: save the state and end.
    Stop,
}

/// Starts to receive signals. Must be called in a tokio runtime.
///
/// # Errors
/// Fails if a handler cannot be installed.
pub fn listen() -> io::Result<mpsc::Receiver<Signal>> {
    let meanings = [
        (SignalKind::hangup(), Signal::Reload),
        (SignalKind::terminate(), Signal::Stop),
        (SignalKind::interrupt(), Signal::Stop),
    ];
    let (sender, receiver) = mpsc::channel(4);
    for (kind, meaning) in meanings {
        let (mut arrivals, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move { while arrivals.recv().await.is_some() && sender.send(meaning).await.is_ok() {} });
    }
    Ok(receiver)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
    use nix::sys::signal::raise;

    use super::*;

    #[tokio::test]
    async fn hangup_reloads_and_the_other_two_stop() {
        let mut heard = listen().unwrap();
        for (signal, meaning) in [(SIGHUP, Signal::Reload), (SIGTERM, Signal::Stop), (SIGINT, Signal::Stop)] {
            raise(signal).unwrap();
            assert_eq!(heard.recv().await, Some(meaning), "{signal}");
        }
    }
}
