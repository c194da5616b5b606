//! Connects to the bus, owns a name on it, notices its loss, and identifies callers.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use zbus::fdo::{DBusProxy, NameLostStream, RequestNameFlags, RequestNameReply};
use zbus::message::Header;
use zbus::{Address, Connection};

use crate::bounded::{self, LONGEST_MESSAGE};

/// Default time limit of a call: a live daemon answers at once, and a person waits for the result.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(25);

/// Why D-Bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no bus, or it refuses the connection.
    #[error("cannot reach the D-Bus system bus: {0} (is dbus.service running?)")]
    Unreachable(#[source] zbus::Error),
    /// Another process owns the name.
    #[error("the bus name {name} is taken by process {}: is another instance running?", owner_text(*.pid))]
    NameTaken {
        /// The requested bus name, for example `org.nvmexpress.staf`.
        name: String,
        /// Process that owns the name. `None` if the bus does not report it.
        pid: Option<u32>,
    },
    /// The bus refuses to assign the name.
    #[error("the bus does not give us the name {name}: {error} (is the D-Bus policy {}.conf installed?)", policy(name))]
    NameRefused {
        /// The requested bus name, for example `org.nvmexpress.staf`.
        name: String,
        /// Error of the bus.
        error: zbus::Error,
    },
    /// The bus closed the connection.
    #[error("the connection to the D-Bus system bus is lost")]
    Lost,
    /// The bus withdrew the name.
    #[error("the bus name {0} is lost")]
    NameLost(String),
}

/// The name of the policy file without `.conf`. One file covers both names of a daemon: the one for all users, and the
/// one for root, which ends in `.root`.
fn policy(name: &str) -> &str {
    name.trim_end_matches(".root")
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
}

/// Connects a tool to the system bus, or to the bus in DBUS_SYSTEM_BUS_ADDRESS. A call on this connection fails if it
/// is not answered within [`CALL_TIMEOUT`].
///
/// # Errors
/// [`BusError::Unreachable`] if the bus cannot be reached.
pub async fn system() -> Result<Connection, BusError> {
    bounded_at(&system_address()?, usize::MAX).await
}

/// As [`system`], for a name to which only root may send messages. `limit`: time limit of calls.
///
/// # Errors
/// As [`system`].
pub async fn for_root(limit: Duration) -> Result<Connection, BusError> {
    zbus::connection::Builder::system().method_timeout(limit).build().await.map_err(BusError::Unreachable)
}

/// As [`system`], for a name that every user may call. Of a message of more than 1 MiB, only the header is received.
///
/// # Errors
/// As [`system`].
pub async fn public() -> Result<Connection, BusError> {
    public_at(&system_address()?).await
}

/// As [`public`], to the bus at this address.
///
/// # Errors
/// As [`system`].
pub async fn public_at(bus: &Address) -> Result<Connection, BusError> {
    bounded_at(bus, LONGEST_MESSAGE).await
}

async fn bounded_at(bus: &Address, longest: usize) -> Result<Connection, BusError> {
    let socket = bounded::connect(bus, longest).await.map_err(BusError::Unreachable)?;
    let builder = zbus::connection::Builder::socket(socket).method_timeout(CALL_TIMEOUT);
    builder.build().await.map_err(BusError::Unreachable)
}

fn system_address() -> Result<Address, BusError> {
    Address::system().map_err(BusError::Unreachable)
}

/// A bus name that this process owns until [`OwnedName::lost`] returns.
#[derive(Debug)]
pub struct OwnedName {
    name: String,
    connection: Connection,
    losses: NameLostStream,
}

/// Requests a bus name. Does not replace another owner, and cannot be replaced.
///
/// Call it after the objects are served: clients may call at once.
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
    /// Waits until the name or the bus is lost. Returns [`BusError::NameLost`] or [`BusError::Lost`].
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

/// The user ID of the caller. The bus identifies the sender; without a bus, the socket's peer credentials do.
///
/// # Errors
/// Fails if the caller cannot be identified (it has left the bus). Treat it as not root.
pub async fn caller_uid(connection: &Connection, header: &Header<'_>) -> zbus::Result<u32> {
    match header.sender() {
        Some(sender) if connection.is_bus() => {
            Ok(DBusProxy::new(connection).await?.get_connection_unix_user(sender.clone().into()).await?)
        }
        _ => {
            let credentials = connection.peer_creds().await?;
            credentials.unix_user_id().ok_or(zbus::Error::Unsupported)
        }
    }
}

/// Fails unless the caller is root.
///
/// # Errors
/// `org.freedesktop.DBus.Error.AccessDenied` if the caller is not root.
pub async fn require_root(connection: &Connection, header: Option<&Header<'_>>, what: &str) -> zbus::fdo::Result<()> {
    let root = match header {
        Some(header) => caller_uid(connection, header).await.is_ok_and(|uid| uid == 0),
        None => false,
    };
    if root { Ok(()) } else { Err(zbus::fdo::Error::AccessDenied(format!("only root may {what}"))) }
}

/// The next item of a stream of signals. `None` if the bus is lost.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}
