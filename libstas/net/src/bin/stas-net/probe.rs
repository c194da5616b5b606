//! Tests whether a portal answers. Uses the same route as the kernel's connection would, but does not block the
//! kernel's connect path.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use stas_core::{NotNvme, OsError, Portal, ProbeFailure};
use stas_net::client::UNANSWERED;
use stas_net::wire::{Report, Request, Verdict, error_text};
use stas_nvme::tid;
use tokio::sync::Semaphore;

use crate::connection::{Incoming, Outgoing};

/// Time limit for an answer, including the handshake. The kernel's own connect waits about as long.
const LIMIT: Duration = Duration::from_secs(3);
/// Time limit for the portal to close its side of the connection afterwards.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// Limit of bytes that are read while the portal closes.
const DRAIN_MAX: u64 = 64 * 1024;

/// PDU types and lengths of the handshake (NVMe/TCP Transport 1.0c, 3.6.2.2 and 3.6.2.3).
const ICREQ: u8 = 0x00;
const ICRESP: u8 = 0x01;
const IC_LENGTH: u8 = 128;

/// Probes at the same time: as many as the daemon sends. Further ones wait.
const AT_ONCE: usize = UNANSWERED;

/// Why a portal cannot be probed. This says nothing about the portal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum LocalError {
    #[error("{0} is no IP address")]
    NotIp(String),
    #[error("{0} is no port")]
    NotPort(String),
    #[error("host-traddr {0} is no IP address")]
    HostTraddrNotIp(String),
    #[error("host-traddr {ours} is not of the same address family as {theirs}")]
    TwoFamilies { ours: IpAddr, theirs: String },
    #[error("the interface {name} of the address {ip} does not exist")]
    NoIface { name: String, ip: IpAddr },
    #[error("cannot make a socket: {0}")]
    Socket(OsError),
    #[error("cannot bind to the interface {name}: {error}")]
    Iface { name: String, error: OsError },
    #[error("cannot bind to the address {address}: {error}")]
    Address { address: String, error: OsError },
    /// An error of the attempt that does not come from the portal or the route to it.
    #[error("{0}")]
    Attempt(OsError),
}

impl From<LocalError> for Verdict {
    fn from(error: LocalError) -> Self {
        Self::Unknown(error_text(&error.to_string()))
    }
}

/// Probes portals until the connection ends.
///
/// # Errors
/// Fails if the daemon sends anything else.
pub(crate) async fn serve(mut incoming: Incoming, outgoing: Outgoing) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(request) = incoming.next().await? {
        let Request::Probe { id, portal } = request else { return Err(Incoming::unexpected(&request)) };
        // No further request is read until there is a place.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let outgoing = outgoing.clone();
        tokio::spawn(async move {
            let verdict = probe(&portal).await;
            drop(place);
            // The daemon has closed the connection: this process is about to end.
            let _ = outgoing.send(&Report::Probed { id, verdict }).await;
        });
    }
    Ok(())
}

/// Connects to the portal from its source address and interface, within [`LIMIT`]. The portal must answer
/// ICReq with ICResp.
async fn probe(portal: &Portal) -> Verdict {
    probe_within(LIMIT, portal).await
}

async fn probe_within(limit: Duration, portal: &Portal) -> Verdict {
    let (socket, to) = match prepare(portal) {
        Ok(prepared) => prepared,
        Err(error) => return error.into(),
    };
    let mut connected = None;
    let attempt = async {
        let stream = connected.insert(socket.connect(to).await?);
        shake_hands(stream).await
    };
    let result = tokio::time::timeout(limit, attempt).await;
    let outcome = match (result, &connected) {
        (Ok(Ok(())), _) => Verdict::Alive,
        (Ok(Err(error)), stream) => verdict_of(&error, stream.is_some()),
        (Err(_), Some(_)) => not_nvme(NotNvme::Silent),
        (Err(_), None) => Verdict::Dead(ProbeFailure::Silent),
    };
    if let Some(stream) = connected {
        close(stream).await;
    }
    outcome
}

/// Closes a connection gracefully: first this side, then the portal's. Closing early with unread data would send a
/// reset, which ends the main loop of some targets.
async fn close(mut stream: TcpStream) {
    let orderly = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(DRAIN_MAX), &mut tokio::io::sink()).await
    };
    // A portal that does not close has received this side's FIN nevertheless.
    let _ = tokio::time::timeout(CLOSE_LIMIT, orderly).await;
}

/// Makes a socket like the kernel's: bound to the interface and to the source address.
fn prepare(portal: &Portal) -> Result<(TcpSocket, SocketAddr), LocalError> {
    let to = destination(portal, interface_index)?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| LocalError::Socket(OsError::new(error)))?;
    if !portal.host_iface.is_empty() {
        socket
            .bind_device(Some(portal.host_iface.as_bytes()))
            .map_err(|error| LocalError::Iface { name: portal.host_iface.clone(), error: OsError::new(error) })?;
    }
    if !portal.host_traddr.is_empty() {
        let from = source(portal, &to)?;
        socket
            .bind(from)
            .map_err(|error| LocalError::Address { address: portal.host_traddr.clone(), error: OsError::new(error) })?;
    }
    Ok((socket, to))
}

/// The address to connect to. A link-local address needs an interface, from its scope or from host-iface.
fn destination(portal: &Portal, index: impl Fn(&str) -> Option<u32>) -> Result<SocketAddr, LocalError> {
    let Some((ip, scope)) = tid::parse_ip(&portal.traddr) else {
        return Err(LocalError::NotIp(portal.traddr.clone()));
    };
    let port: u16 = portal.trsvcid.parse().map_err(|_| LocalError::NotPort(portal.trsvcid.clone()))?;
    let interface = scope.or_else(|| (!portal.host_iface.is_empty()).then_some(portal.host_iface.as_str()));
    scoped(ip, port, interface, index)
}

fn source(portal: &Portal, to: &SocketAddr) -> Result<SocketAddr, LocalError> {
    let Some((ip, scope)) = tid::parse_ip(&portal.host_traddr) else {
        return Err(LocalError::HostTraddrNotIp(portal.host_traddr.clone()));
    };
    if ip.is_ipv4() != to.is_ipv4() {
        return Err(LocalError::TwoFamilies { ours: ip, theirs: portal.traddr.clone() });
    }
    match (scope, to) {
        (None, SocketAddr::V6(to)) => Ok(with_scope(ip, 0, to.scope_id())),
        (scope, _) => scoped(ip, 0, scope, interface_index),
    }
}

fn scoped(
    ip: IpAddr,
    port: u16,
    interface: Option<&str>,
    index: impl Fn(&str) -> Option<u32>,
) -> Result<SocketAddr, LocalError> {
    let is_link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let scope_id = match interface {
        Some(name) if is_link_local => index(name).ok_or_else(|| LocalError::NoIface { name: name.to_owned(), ip })?,
        _ => 0,
    };
    Ok(with_scope(ip, port, scope_id))
}

fn with_scope(ip: IpAddr, port: u16, scope_id: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => {
            let scope_id = if v6.is_unicast_link_local() { scope_id } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope_id))
        }
    }
}

fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok().or_else(|| name.parse().ok())
}

/// Sends ICReq and reads the start of the ICResp. [`close`] reads the rest. No Connect command follows.
async fn shake_hands(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&icreq()).await?;
    let mut head = [0; 8];
    stream.read_exact(&mut head).await?;
    if is_icresp(&head) { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "no ICResp")) }
}

/// ICReq: PDU format version 0, no digests, no data alignment, one outstanding R2T.
fn icreq() -> [u8; IC_LENGTH as usize] {
    let mut pdu = [0; IC_LENGTH as usize];
    // Type, flags, header length, data offset, and total length as u32.
    pdu[..8].copy_from_slice(&[ICREQ, 0, IC_LENGTH, 0, IC_LENGTH, 0, 0, 0]);
    pdu
}

fn is_icresp(head: &[u8; 8]) -> bool {
    let [kind, _, header_length, _, length @ ..] = head;
    *kind == ICRESP && *header_length == IC_LENGTH && u32::from_le_bytes(*length) == u32::from(IC_LENGTH)
}

/// Interprets an error of the attempt. Only errors from the portal or the route to it count as an answer.
fn verdict_of(error: &io::Error, connected: bool) -> Verdict {
    let failure = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNRESET | Errno::EPIPE) if connected => return not_nvme(NotNvme::Closes),
        None if error.kind() == io::ErrorKind::UnexpectedEof => return not_nvme(NotNvme::Closes),
        None if error.kind() == io::ErrorKind::InvalidData => return not_nvme(NotNvme::OtherProtocol),
        Some(Errno::ECONNREFUSED) => ProbeFailure::Refused,
        Some(Errno::ETIMEDOUT) => ProbeFailure::Silent,
        Some(Errno::EHOSTUNREACH | Errno::EHOSTDOWN) => ProbeFailure::Unreachable,
        Some(Errno::ENETUNREACH) => ProbeFailure::NoRoute,
        Some(Errno::ECONNRESET | Errno::EPIPE) => ProbeFailure::Drops,
        _ => return LocalError::Attempt(OsError::new(error)).into(),
    };
    Verdict::Dead(failure)
}

fn not_nvme(what: NotNvme) -> Verdict {
    Verdict::Dead(ProbeFailure::NotNvme(what))
}

#[cfg(test)]
mod tests;
