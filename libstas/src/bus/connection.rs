//! Reaching the bus, owning a name on it, noticing its loss, knowing who calls.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use zbus::Connection;
use zbus::fdo::{DBusProxy, NameLostStream, RequestNameFlags, RequestNameReply};
use zbus::message::Header;

/// How long a call may take before it counts as failed, unless its caller says otherwise: a live daemon answers
/// at once, and a person waits at the other end.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(25);

/// Why the bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no bus, or it does not let us in.
    #[error("cannot reach the D-Bus system bus: {0} (is dbus.service running?)")]
    Unreachable(#[source] zbus::Error),
    /// Another process has the name.
    #[error("the bus name {name} is taken by process {}: is another instance running?", owner_text(*.pid))]
    NameTaken {
        /// The well-known bus name of this daemon.
        name: String,
        /// The process that has it; `None` where the bus does not tell.
        pid: Option<u32>,
    },
    /// The bus refuses the name.
    #[error("the bus does not give us the name {name}: {error} (is the D-Bus policy {name}.conf installed?)")]
    NameRefused {
        /// The well-known bus name of this daemon.
        name: String,
        /// The answer of the bus.
        error: zbus::Error,
    },
    /// The bus closed the connection.
    #[error("the connection to the D-Bus system bus is lost")]
    Lost,
    /// The bus took the name away.
    #[error("the bus name {0} is lost")]
    NameLost(String),
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
}

/// Connects to the system bus (or to what DBUS_SYSTEM_BUS_ADDRESS says). A call on this connection that is not
/// answered within [`CALL_TIMEOUT`] has failed.
///
/// # Errors
/// [`BusError::Unreachable`].
pub async fn system() -> Result<Connection, BusError> {
    system_with_limit(CALL_TIMEOUT).await
}

/// The same with another limit for its calls.
///
/// # Errors
/// [`BusError::Unreachable`].
pub async fn system_with_limit(limit: Duration) -> Result<Connection, BusError> {
    zbus::connection::Builder::system().method_timeout(limit).build().await.map_err(BusError::Unreachable)
}

/// A bus name that is ours until [`OwnedName::lost`] returns.
#[derive(Debug)]
pub struct OwnedName {
    name: String,
    connection: Connection,
    losses: NameLostStream,
}

/// Takes a bus name; nobody is pushed aside for it, and nobody can push us aside.
///
/// Call it when the objects are served: clients come at once.
///
/// # Errors
/// [`BusError::NameTaken`], [`BusError::NameRefused`], [`BusError::Unreachable`].
pub async fn own_name(connection: &Connection, name: &str) -> Result<OwnedName, BusError> {
    let bus = DBusProxy::new(connection).await.map_err(BusError::Unreachable)?;
    let losses = bus.receive_name_lost().await.map_err(BusError::Unreachable)?;
    match connection.request_name_with_flags(name, RequestNameFlags::DO_NOT_QUEUE).await {
        Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => {
            Ok(OwnedName { name: name.to_owned(), connection: connection.clone(), losses })
        }
        Ok(_) | Err(zbus::Error::NameTaken) => {
            Err(BusError::NameTaken { name: name.to_owned(), pid: owner_pid(&bus, name).await })
        }
        Err(error) => Err(BusError::NameRefused { name: name.to_owned(), error }),
    }
}

async fn owner_pid(bus: &DBusProxy<'_>, name: &str) -> Option<u32> {
    bus.get_connection_unix_process_id(name.try_into().ok()?).await.ok()
}

impl OwnedName {
    /// Returns when the name or the bus is lost, and says which.
    pub async fn lost(mut self) -> BusError {
        let name_lost = async {
            while let Some(signal) = next(&mut self.losses).await {
                if signal.args().is_ok_and(|args| args.name.as_str() == self.name) {
                    return BusError::NameLost(self.name.clone());
                }
            }
            BusError::Lost
        };
        tokio::select! {
            error = name_lost => error,
            () = self.connection.closed() => BusError::Lost,
        }
    }
}

/// Whether root calls: asked of the bus by the sender's name, or of the socket where there is no bus between.
///
/// # Errors
/// The caller cannot be identified (it has left the bus): treat it as not root.
pub async fn caller_is_root(connection: &Connection, header: &Header<'_>) -> zbus::Result<bool> {
    let uid = match header.sender() {
        Some(sender) if connection.is_bus() => {
            DBusProxy::new(connection).await?.get_connection_unix_user(sender.clone().into()).await?
        }
        _ => {
            let credentials = connection.peer_creds().await?;
            credentials.unix_user_id().ok_or(zbus::Error::Unsupported)?
        }
    };
    Ok(uid == 0)
}

/// Lets root through.
///
/// # Errors
/// `org.freedesktop.DBus.Error.AccessDenied` for everybody else.
pub async fn require_root(connection: &Connection, header: Option<&Header<'_>>, what: &str) -> zbus::fdo::Result<()> {
    let root = match header {
        Some(header) => caller_is_root(connection, header).await.unwrap_or(false),
        None => false,
    };
    if root { Ok(()) } else { Err(zbus::fdo::Error::AccessDenied(format!("only root may {what}"))) }
}

/// The next item of a stream of signals, or `None` when the bus is gone.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}
