//! The signals of a daemon about its controllers, and its start and end.

use zbus::fdo::{DBusProxy, NameOwnerChangedStream};
use zbus::proxy::SignalStream;
use zbus::{Connection, Message};

use super::connection::next;
use super::{Dict, StacProxy, StafProxy};

/// An event of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// The daemon was started.
    Started,
    /// The daemon has ended.
    Stopped,
    /// A controller is listed now.
    Added {
        /// Its identity, device and state.
        controller: Dict,
        /// The source that lists it.
        cause: String,
    },
    /// A controller is no longer listed.
    Removed {
        /// Its identity and last device.
        controller: Dict,
        /// Why it was removed.
        cause: String,
    },
    /// The state of a controller has changed.
    StateChanged {
        /// Its identity, device and state.
        controller: Dict,
        /// The state before.
        old: String,
        /// The state now.
        new: String,
        /// Why; empty if nothing is known beyond the states.
        cause: String,
    },
}

/// The events of one daemon.
#[derive(Debug)]
pub struct ControllerEvents {
    signals: SignalStream<'static>,
    owners: NameOwnerChangedStream,
}

impl ControllerEvents {
    /// Listens to stafd.
    ///
    /// # Errors
    /// Fails if the bus refuses to send the signals.
    pub async fn of_stafd(connection: &Connection) -> zbus::Result<Self> {
        Self::of(connection, StafProxy::of_stafd(connection).await?.inner()).await
    }

    /// Listens to stacd.
    ///
    /// # Errors
    /// Fails if the bus refuses to send the signals.
    pub async fn of_stacd(connection: &Connection) -> zbus::Result<Self> {
        Self::of(connection, StacProxy::of_stacd(connection).await?.inner()).await
    }

    async fn of(connection: &Connection, proxy: &zbus::Proxy<'_>) -> zbus::Result<Self> {
        let name = proxy.destination().as_str();
        let owners = DBusProxy::new(connection).await?.receive_name_owner_changed_with_args(&[(0, name)]).await?;
        Ok(Self { signals: proxy.receive_all_signals().await?, owners })
    }

    /// Waits for the next event. `None` if the bus is lost.
    pub async fn next(&mut self) -> Option<ControllerEvent> {
        loop {
            tokio::select! {
                // A new owner comes before its signals.
                biased;
                change = next(&mut self.owners) => {
                    let change = change?;
                    let Ok(args) = change.args() else { continue };
                    return Some(match args.new_owner.as_ref() {
                        Some(_) => ControllerEvent::Started,
                        None => ControllerEvent::Stopped,
                    });
                }
                signal = next(&mut self.signals) => {
                    if let Some(event) = decode(&signal?) {
                        return Some(event);
                    }
                }
            }
        }
    }
}

/// Decodes a signal. `None` for signals that are not about a controller.
fn decode(signal: &Message) -> Option<ControllerEvent> {
    let body = signal.body();
    let header = signal.header();
    match header.member()?.as_str() {
        "controller_added" => {
            let (controller, cause) = body.deserialize().ok()?;
            Some(ControllerEvent::Added { controller, cause })
        }
        "controller_removed" => {
            let (controller, cause) = body.deserialize().ok()?;
            Some(ControllerEvent::Removed { controller, cause })
        }
        "controller_state_changed" => {
            let (controller, old, new, cause) = body.deserialize().ok()?;
            Some(ControllerEvent::StateChanged { controller, old, new, cause })
        }
        _ => None,
    }
}
