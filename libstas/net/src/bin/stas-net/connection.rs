//! The records on the connection to the daemon.

use std::io;
use std::sync::Arc;

use stas_net::wire::{Frames, Record, Report, Request, WireError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

/// Splits the connection.
pub(crate) fn connection(stream: UnixStream) -> (Incoming, Outgoing) {
    let (read, write) = stream.into_split();
    (Incoming { read, frames: Frames::default() }, Outgoing(Arc::new(Mutex::new(write))))
}

/// Receives records.
#[derive(Debug)]
pub(crate) struct Incoming {
    read: OwnedReadHalf,
    frames: Frames,
}

impl Incoming {
    /// The next record. `None` at the end. May be cancelled at any time.
    ///
    /// # Errors
    /// Fails if the daemon sends something that is not a record.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some(request) = self.frames.next_record().map_err(invalid)? {
                return Ok(Some(request));
            }
            if self.read.read_buf(self.frames.buffer()).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The error for a record that is not for the task of this process.
    pub(crate) fn unexpected(request: &Request) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("a record for another task: {request:?}"))
    }
}

/// Sends records. Clones send on the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing(Arc<Mutex<OwnedWriteHalf>>);

impl Outgoing {
    /// Sends a record. Waits until the daemon has read earlier records.
    ///
    /// # Errors
    /// Fails if the record exceeds a limit, or the daemon has closed the connection.
    pub(crate) async fn send(&self, report: &Report) -> io::Result<()> {
        let frame = report.frame().map_err(invalid)?;
        self.0.lock().await.write_all(&frame).await
    }
}

fn invalid(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
