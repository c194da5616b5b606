//! The listening sockets, and their mDNS announcement.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use stas_nvme::announcement::SERVICE_TYPES;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::ShellError;
use super::sockets::Accepted;

/// The pause after a failed accept or bind.
const PAUSE: Duration = Duration::from_millis(100);

/// All listening sockets.
pub(super) struct Listeners {
    /// Their addresses, each with its port ID.
    places: Vec<(SocketAddr, u16)>,
    tasks: Vec<JoinHandle<()>>,
    accepted: Accepted,
}

impl Listeners {
    /// Listens on these addresses.
    pub(super) async fn open(addresses: &[SocketAddr], accepted: Accepted) -> Result<Self, ShellError> {
        let mut listeners = Self { places: Vec::new(), tasks: Vec::new(), accepted };
        for (address, port) in addresses.iter().zip(1..) {
            let failed = || ShellError::io(format!("listening on {address}"));
            let listener = TcpListener::bind(address).await.map_err(failed())?;
            // If a free port was requested, the same port is used after a pause.
            let place = listener.local_addr().map_err(failed())?;
            println!("listening on {place}");
            listeners.places.push((place, port));
            listeners.tasks.push(tokio::spawn(accept(listener, port, listeners.accepted.clone())));
        }
        Ok(listeners)
    }

    /// The addresses on which it listens.
    pub(super) fn places(&self) -> impl Iterator<Item = SocketAddr> {
        self.places.iter().map(|(place, _)| *place)
    }

    /// Stops listening: connections are refused.
    pub(super) async fn pause(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // The socket is closed when the task has ended.
            let _ = task.await;
        }
    }

    /// Starts listening again.
    pub(super) async fn resume(&mut self) {
        for (place, port) in self.places.clone() {
            let accepted = self.accepted.clone();
            // The first attempt is made now, so that the socket is open when the request is answered.
            let first = TcpListener::bind(place).await;
            self.tasks.push(tokio::spawn(async move {
                let listener = match first {
                    Ok(listener) => listener,
                    Err(error) => {
                        tracing::warn!("cannot listen on {place}: {error}; trying again");
                        bind(place).await
                    }
                };
                accept(listener, port, accepted).await;
            }));
        }
    }
}

async fn bind(place: SocketAddr) -> TcpListener {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Ok(listener) = TcpListener::bind(place).await {
            return listener;
        }
    }
}

async fn accept(listener: TcpListener, port: u16, accepted: Accepted) {
    let mut wanted = true;
    while wanted {
        match listener.accept().await {
            Ok((stream, peer)) => wanted = accepted.hand_over(stream, peer, port).await,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An announcement: the mDNS daemon, and the full name of the service.
pub(super) struct Announcer(ServiceDaemon, String);

/// Announces the controller by mDNS (TP8009), with the port of the first listener and the addresses of all listeners
/// with the same port.
pub(super) fn announce(name: &str, nqn: &str, listeners: &Listeners) -> Result<Announcer, ShellError> {
    let failed = |error: mdns_sd::Error| ShellError::Configuration(format!("announcing {name:?} by mDNS: {error}"));
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let port = listeners.places().next().map_or(0, |place| place.port());
    let addresses: Vec<IpAddr> =
        listeners.places().filter(|place| place.port() == port).map(|place| place.ip()).collect();
    if !addresses.iter().any(IpAddr::is_unspecified) {
        let listed: Vec<IfKind> = addresses.into_iter().map(IfKind::Addr).collect();
        daemon.disable_interface(IfKind::All).map_err(failed)?;
        daemon.enable_interface(listed).map_err(failed)?;
    }
    // An interface that comes up later is noticed within this time.
    daemon.set_ip_check_interval(1).map_err(failed)?;
    let [tcp, _] = SERVICE_TYPES;
    let host = format!("{}.local.", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let kind = format!("{tcp}.local.");
    let service = ServiceInfo::new(&kind, name, &host, (), port, &[("p", "tcp"), ("nqn", nqn)][..]);
    // With fixed addresses, the library would not announce on interfaces that come up later.
    let service = service.map_err(failed)?.enable_addr_auto();
    let full_name = service.get_fullname().to_owned();
    daemon.register(service).map_err(failed)?;
    Ok(Announcer(daemon, full_name))
}

/// Sends the goodbye of an announcement.
pub(super) fn take_back(Announcer(daemon, name): &Announcer) {
    if let Ok(done) = daemon.unregister(name) {
        let _ = done.recv_timeout(Duration::from_secs(1));
    }
}
