//! Sends a daemon's requests to the network, without privileges. systemd starts one process for each
//! connection to /run/nvme-stas/net.socket, which is standard input. The first record gives the process its one task.
//!
//! | module | what it is about |
//! |---|---|
//! | [`connection`] | the records on the connection |
//! | [`lookups`] | resolves host names |
//! | [`probe`] | whether a portal answers |
//! | [`mdns`] | announcements of discovery controllers |

mod connection;
mod lookups;
mod mdns;
mod probe;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use stas_net::wire::{Request, Role};
use tokio::net::UnixStream;
use tokio::time::timeout;

use connection::{Incoming, connection};

/// Time limit for the first record.
const FIRST_RECORD: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time().with_target(false).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(serve());
    // Look-ups that are under way are not waited for.
    runtime.shutdown_background();
    result
}

async fn serve() -> io::Result<()> {
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    keep_watchdog_quiet();
    let (mut incoming, outgoing) = connection(UnixStream::from_std(stream)?);
    let first = timeout(FIRST_RECORD, incoming.next()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    match first? {
        None => Ok(()),
        Some(Request::Role(Role::Names)) => lookups::serve(incoming, outgoing).await,
        Some(Request::Role(Role::Probe)) => probe::serve(incoming, outgoing).await,
        Some(Request::Role(Role::Mdns)) => mdns::serve(incoming, outgoing).await,
        Some(other) => Err(Incoming::unexpected(&other)),
    }
}

/// Triggers systemd's watchdog, if there is one.
fn keep_watchdog_quiet() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    tokio::spawn(async move {
        let mut due = tokio::time::interval(limit / 2);
        loop {
            due.tick().await;
            // If it cannot be triggered, systemd ends the process.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    });
}
