//! A connection to stas-net, and when the next one may be made.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::wire::{Frames, Record, Report, Request, Role, WireError};

/// Time limit for a connect or a write. stas-net reads at once.
const IO_LIMIT: Duration = Duration::from_secs(5);
/// After the first loss, another connection is made at once. After a further loss, or after a failed connect, the next
/// attempt waits for this long. The wait doubles each time, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Maximum of the wait that begins with [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A connection that has lived this long resets the back-off: its loss counts as the first.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("stas-net cannot be reached at {0}: {1}; see `systemctl status stas-net.socket`")]
    Connect(PathBuf, io::Error),
    #[error("stas-net has ended")]
    Ended,
    #[error("stas-net does not answer")]
    Silent,
    #[error("the connection to stas-net failed: {0}")]
    Io(io::Error),
    #[error("stas-net sent {0}")]
    Wire(#[from] WireError),
    #[error("stas-net answered what was not asked")]
    Unasked,
}

/// One connection: one process with one task.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    frames: Frames,
    since: Instant,
}

impl Link {
    /// Connects, and gives the process its task.
    pub(crate) async fn connect(socket: &Path, role: Role) -> Result<Self, LinkError> {
        let failed = |error| LinkError::Connect(socket.to_owned(), error);
        let stream = match timeout(IO_LIMIT, UnixStream::connect(socket)).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let mut link = Self { stream, frames: Frames::default(), since: Instant::now() };
        link.send(&Request::Role(role)).await?;
        Ok(link)
    }

    pub(crate) async fn send(&mut self, request: &Request) -> Result<(), LinkError> {
        let frame = request.frame()?;
        match timeout(IO_LIMIT, self.stream.write_all(&frame)).await {
            Ok(written) => written.map_err(LinkError::Io),
            Err(_) => Err(LinkError::Silent),
        }
    }

    /// Receives the next record. May be cancelled at any time.
    pub(crate) async fn receive(&mut self) -> Result<Report, LinkError> {
        loop {
            if let Some(report) = self.frames.next_record()? {
                return Ok(report);
            }
            match self.stream.read_buf(self.frames.buffer()).await {
                Ok(0) => return Err(LinkError::Ended),
                Ok(_) => {}
                Err(error) => return Err(LinkError::Io(error)),
            }
        }
    }

    /// How long it has existed.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// When the next connection may be made, and what was logged about it.
#[derive(Debug)]
pub(crate) struct Backoff {
    role: Role,
    /// What happens without stas-net, for the log.
    meanwhile: &'static str,
    /// Losses since a connection lived for [`HEALTHY_AFTER`].
    losses: u32,
    not_before: Option<Instant>,
    loss_logged: bool,
}

impl Backoff {
    pub(crate) fn new(role: Role, meanwhile: &'static str) -> Self {
        Self { role, meanwhile, losses: 0, not_before: None, loss_logged: false }
    }

    /// The time before which no connection may be made.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before.filter(|moment| Instant::now() < *moment)
    }

    /// A connection was lost after this time; `None`: none could be made. Logs the first of several losses.
    pub(crate) fn lost(&mut self, age: Option<Duration>, error: &LinkError) {
        if age.is_some_and(|age| age >= HEALTHY_AFTER) {
            self.losses = 0;
        }
        self.losses = self.losses.saturating_add(1);
        if age.is_some() && self.losses == 1 {
            self.not_before = None;
            return;
        }
        let doubled = self.losses.saturating_sub(2).min(8);
        self.not_before = Some(Instant::now() + (FIRST_WAIT * (1 << doubled)).min(LONGEST_WAIT));
        if !std::mem::replace(&mut self.loss_logged, true) {
            tracing::warn!("no {} at present: {error}; {}; trying again", self.role, self.meanwhile);
        }
    }

    /// A connection of this age works: logs that once after a logged loss.
    pub(crate) fn works(&mut self, age: Duration) {
        // Earlier, a process that ends again and again would be logged each time.
        if age >= HEALTHY_AFTER && std::mem::take(&mut self.loss_logged) {
            tracing::info!("{}: stas-net works again", self.role);
        }
    }
}
