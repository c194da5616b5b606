//! The sockets of connections, with one task each.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::simulator::Id;

/// An event of a socket.
#[derive(Debug)]
pub(super) enum SocketEvent {
    Accepted { stream: TcpStream, peer: SocketAddr, local: SocketAddr, port: u16 },
    Received { id: Id, bytes: Vec<u8> },
    Closed { id: Id },
}

/// The channel for accepted connections.
#[derive(Clone, Debug)]
pub(super) struct Accepted(mpsc::Sender<SocketEvent>);

impl Accepted {
    pub(super) fn new(sender: mpsc::Sender<SocketEvent>) -> Self {
        Self(sender)
    }

    /// Sends an accepted connection to the loop. Returns false when the simulator has ended.
    pub(super) async fn hand_over(&self, stream: TcpStream, peer: SocketAddr, port: u16) -> bool {
        let Ok(local) = stream.local_addr() else { return true };
        self.0.send(SocketEvent::Accepted { stream, peer, local, port }).await.is_ok()
    }
}

/// A request to the task of a connection.
enum SocketRequest {
    Send(Vec<u8>),
    Close,
    Reset,
}

/// A host that reads nothing for this long is disconnected.
const STUCK: Duration = Duration::from_secs(10);
/// Maximum number of bytes read at once.
const PIECE: usize = 64 * 1024;

/// All connections by number, with their tasks.
pub(super) struct Sockets {
    requests: BTreeMap<Id, mpsc::UnboundedSender<SocketRequest>>,
    last: u64,
    events: mpsc::Sender<SocketEvent>,
}

impl Sockets {
    pub(super) fn new(events: mpsc::Sender<SocketEvent>) -> Self {
        Self { requests: BTreeMap::new(), last: 0, events }
    }

    /// Adds a connection and returns its number.
    pub(super) fn add(&mut self, stream: TcpStream) -> Id {
        self.last += 1;
        let id = Id(self.last);
        let (sender, requests) = mpsc::unbounded_channel();
        self.requests.insert(id, sender);
        tokio::spawn(run(id, stream, requests, self.events.clone()));
        id
    }

    pub(super) fn forget(&mut self, id: Id) {
        self.requests.remove(&id);
    }

    pub(super) fn send(&self, id: Id, bytes: Vec<u8>) {
        self.request(id, SocketRequest::Send(bytes));
    }

    pub(super) fn close(&mut self, id: Id) {
        self.request(id, SocketRequest::Close);
        self.forget(id);
    }

    pub(super) fn reset(&mut self, id: Id) {
        self.request(id, SocketRequest::Reset);
        self.forget(id);
    }

    fn request(&self, id: Id, request: SocketRequest) {
        if let Some(requests) = self.requests.get(&id) {
            // If the task has ended, it reports that itself.
            let _ = requests.send(request);
        }
    }
}

/// The task of a connection. It does not read while it sends: a host that does not read its answers is not served
/// further.
async fn run(
    id: Id,
    mut stream: TcpStream,
    mut requests: mpsc::UnboundedReceiver<SocketRequest>,
    events: mpsc::Sender<SocketEvent>,
) {
    let _ = stream.set_nodelay(true);
    let mut piece = vec![0; PIECE];
    loop {
        tokio::select! {
            biased;
            request = requests.recv() => match request {
                Some(SocketRequest::Send(bytes)) => match timeout(STUCK, stream.write_all(&bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => break,
                },
                Some(SocketRequest::Reset) => {
                    let _ = linger_none(&stream);
                    break;
                }
                Some(SocketRequest::Close) | None => {
                    let _ = stream.shutdown().await;
                    break;
                }
            },
            read = stream.read(&mut piece) => match read {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    let bytes = piece.get(..count).unwrap_or_default().to_vec();
                    if events.send(SocketEvent::Received { id, bytes }).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
    drop(stream);
    let _ = events.send(SocketEvent::Closed { id }).await;
}

/// Makes closing the socket reset the connection.
fn linger_none(stream: &TcpStream) -> io::Result<()> {
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    Ok(setsockopt(stream, sockopt::Linger, &at_once)?)
}
