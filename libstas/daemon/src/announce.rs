//! Sends the signals of a daemon on both of its connections to the bus.

use tokio::sync::mpsc;
use zbus::Connection;

/// Maximum number of signals that wait for the public connection. Further signals are lost.
const UNSENT_MAX: usize = 10_000;

/// A signal to send.
pub trait Announce: Send + Sync + 'static {
    /// Sends it to all users.
    fn tell_all(&self, public: &Connection) -> impl Future<Output = zbus::Result<()>> + Send;

    /// Sends it to root. The policy of the bus delivers the signals of this connection only to root: if another user
    /// received them and did not read them, the bus would take no more messages from this connection.
    fn tell_root(&self, root: &Connection) -> impl Future<Output = zbus::Result<()>> + Send;
}

/// Sends the signals in order, until the bus connection is lost or the daemon stops. `name` is the public name.
///
/// The signals on the root connection do not wait for those on the public connection: while a user leaves answers
/// unread, the bus may take no messages from the public connection.
pub async fn announce<A: Announce>(
    name: &str,
    public: Connection,
    root: Connection,
    mut announcements: mpsc::UnboundedReceiver<A>,
) {
    let (queue, queued) = mpsc::channel(UNSENT_MAX);
    tokio::spawn(announce_to_all(public, queued));
    let mut is_warned = false;
    while let Some(announcement) = announcements.recv().await {
        // The next warning follows only after the queue was empty again.
        is_warned &= queue.capacity() < queue.max_capacity();
        if let Err(error) = announcement.tell_root(&root).await {
            tracing::warn!("cannot send a signal to root on D-Bus: {error}");
        }
        if queue.try_send(announcement).is_err() && !std::mem::replace(&mut is_warned, true) {
            tracing::warn!(
                "the bus takes no more signals of {name}, probably because a user does not read the answers to \
                 their calls: signals are lost. stacd and the tools of root are not affected: they get their signals \
                 on another connection"
            );
        }
    }
}

async fn announce_to_all<A: Announce>(public: Connection, mut queue: mpsc::Receiver<A>) {
    while let Some(announcement) = queue.recv().await {
        if let Err(error) = announcement.tell_all(&public).await {
            tracing::warn!("cannot send a signal on D-Bus: {error}");
        }
    }
}
