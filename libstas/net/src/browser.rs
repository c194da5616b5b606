//! Asks stas-net for announcements of discovery controllers, and passes on what it reports.
//!
//! The process runs while browsing is wanted. If it ends, browsing is interrupted until another process has started;
//! the services that were found are kept.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep_until};

use stas_core::browse::{BrowseCommand, BrowseEvent};

use crate::link::{Backoff, Link, LinkError};
use crate::wire::{Report, Request, Role, SERVICES_PER_RECORD};

/// Maximum age of a browser.
pub const AGE: Duration = Duration::from_secs(900);
/// Debounce time before a restart after an interface change: an interface that comes up changes several times.
pub const SETTLE: Duration = Duration::from_millis(300);
/// Number of reports that stas-net sends without a pause.
const REPORTS_PER_BATCH: u32 = 8;
/// Number of services that stas-net reports without a pause.
pub const BATCH: usize = REPORTS_PER_BATCH as usize * SERVICES_PER_RECORD;
/// Time from one batch to the next: a thousand announcements take about a second.
pub const BATCH_PACE: Duration = Duration::from_millis(50);
/// Maximum number of requests that wait to be sent. If half as many wait, requests to reconfirm a service are dropped:
/// the caller repeats them.
const COMMANDS: usize = 256;

/// Sends requests to the browser in stas-net.
#[derive(Debug)]
pub struct Browser(mpsc::Sender<BrowseCommand>);

impl Browser {
    /// Creates a browser that is idle until it gets a request. It passes what it finds to `tell`, and continues when
    /// `tell` has returned. Must be called in a tokio runtime.
    pub fn start<F>(socket: PathBuf, tell: impl Fn(Vec<BrowseEvent>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commands, asked) = mpsc::channel(COMMANDS);
        tokio::spawn(run(socket, asked, tell));
        Self(commands)
    }

    /// Sends a request to the browser.
    pub fn request(&self, command: BrowseCommand) {
        let spare = self.0.capacity() > COMMANDS / 2;
        if matches!(command, BrowseCommand::Reconfirm(_)) && !spare {
            return;
        }
        // The browser ends only with the runtime.
        if let Err(TrySendError::Full(command)) = self.0.try_send(command) {
            tracing::error!("a request to the mDNS browser is lost, too many of them wait: {command:?}");
        }
    }
}

/// Why a connection is no longer used.
enum End {
    Lost(LinkError),
    /// Browsing is no longer wanted.
    Stop,
    /// The [`Browser`] was dropped.
    Closed,
}

async fn run<F>(
    socket: PathBuf,
    mut asked: mpsc::Receiver<BrowseCommand>,
    tell: impl Fn(Vec<BrowseEvent>) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match asked.recv().await {
            Some(BrowseCommand::Start) => {}
            Some(_) => continue,
            None => return,
        }
        let mut backoff = Backoff::new(Role::Mdns, "known discovery controllers are kept");
        loop {
            let (age, end) = match begin(&socket).await {
                Ok(mut link) => {
                    let end = pass_on(&mut link, &mut backoff, &mut asked, &tell).await;
                    (Some(link.age()), end)
                }
                Err(error) => (None, End::Lost(error)),
            };
            match end {
                End::Lost(error) => {
                    backoff.lost(age, &error);
                    tell(vec![BrowseEvent::Interrupted]).await;
                }
                End::Stop => break,
                End::Closed => return,
            }
            match pause(backoff.not_before().unwrap_or_else(Instant::now), &mut asked).await {
                None => {}
                Some(NotWanted::Stopped) => break,
                Some(NotWanted::Closed) => return,
            }
        }
    }
}

async fn begin(socket: &std::path::Path) -> Result<Link, LinkError> {
    let mut link = Link::connect(socket, Role::Mdns).await?;
    link.send(&Request::Browse(BrowseCommand::Start)).await?;
    Ok(link)
}

/// Passes on requests and events until the connection is no longer used.
async fn pass_on<F>(
    link: &mut Link,
    backoff: &mut Backoff,
    asked: &mut mpsc::Receiver<BrowseCommand>,
    tell: &(impl Fn(Vec<BrowseEvent>) -> F + Send + Sync),
) -> End
where
    F: Future<Output = ()> + Send + 'static,
{
    // stas-net waits for BATCH_PACE after each batch. A compromised stas-net might not wait, and could make stafd use
    // a whole core: so stafd does not read faster. It counts reports, not changes, because a small report costs
    // as much as a full one.
    let mut next_report = Instant::now();
    loop {
        let report = async {
            sleep_until(next_report).await;
            link.receive().await
        };
        let received = tokio::select! {
            command = asked.recv() => Err(command),
            report = report => Ok(report),
        };
        let result = match received {
            Err(None) => return End::Closed,
            Err(Some(BrowseCommand::Stop)) => return End::Stop,
            Err(Some(command)) => match link.send(&Request::Browse(command)).await {
                // stas-net cannot have reported a service with such a long name.
                Err(LinkError::Wire(_)) => Ok(()),
                result => result,
            },
            // stas-net sends no empty reports.
            Ok(Ok(Report::Mdns(changes))) if !changes.is_empty() => {
                backoff.works(link.age());
                tell(changes.into_iter().map(BrowseEvent::from).collect()).await;
                // A whole batch may be read at once.
                let earliest = Instant::now().checked_sub(BATCH_PACE).unwrap_or(next_report);
                next_report = next_report.max(earliest) + BATCH_PACE / REPORTS_PER_BATCH;
                Ok(())
            }
            Ok(Ok(_)) => Err(LinkError::Unasked),
            Ok(Err(error)) => Err(error),
        };
        if let Err(error) = result {
            return End::Lost(error);
        }
    }
}

/// Why browsing is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWanted {
    /// [`BrowseCommand::Stop`]
    Stopped,
    /// The [`Browser`] was dropped, so no request can follow.
    Closed,
}

/// Waits until the next attempt to browse. Returns early if browsing is not wanted any more.
pub async fn pause(until: Instant, asked: &mut mpsc::Receiver<BrowseCommand>) -> Option<NotWanted> {
    let until = sleep_until(until);
    tokio::pin!(until);
    loop {
        tokio::select! {
            command = asked.recv() => match command {
                Some(BrowseCommand::Stop) => return Some(NotWanted::Stopped),
                Some(_) => {}
                None => return Some(NotWanted::Closed),
            },
            () = &mut until => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
