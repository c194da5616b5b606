//! DNS-SD announcements of discovery controllers (TP8009): the TXT record, and the controllers that result from it.
//!
//! All of this is untrusted network input: only what the kernel accepts passes, and texts are shortened and escaped for
//! the log.

use std::fmt;
use std::net::IpAddr;

use super::secret::holds_a_secret;
use super::{DISCOVERY_NQN, NQN_MAX, Tid, TidParts, Transport, shown};

/// DNS-SD service types of discovery controllers (TP8009).
pub const SERVICE_TYPES: [&str; 2] = ["_nvme-disc._tcp", "_nvme-disc._udp"];

/// An announced discovery controller, without its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceOffer {
    /// Transport. RoCE and iWARP are both `rdma` for the kernel.
    pub transport: Transport,
    /// Transport service identifier: the port of the SRV record.
    pub trsvcid: String,
    /// NQN of the discovery controller.
    pub subsysnqn: String,
}

/// Why an announcement cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxtError {
    /// The TXT record has no `p=`.
    #[error("its TXT record has no p= that names the transport")]
    NoProtocol,
    /// The value of `p=` is not known to this version.
    #[error("p={0} in its TXT record is none of tcp, rdma, roce and iwarp")]
    UnknownProtocol(Sanitized),
    /// The value of `nqn=` is not an NQN.
    #[error("nqn={0} in its TXT record is no NQN")]
    BadNqn(Sanitized),
    /// The port of the SRV record is 0, to which no connection can be made.
    #[error("its SRV record names port 0")]
    NoPort,
}

/// Untrusted text in a form that is safe in a log: short, and as made by [`shown()`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sanitized(String);

/// Longest untrusted text that is shown, in characters.
const SHOWN: usize = 80;

impl Sanitized {
    /// Shortens `words`, escapes characters that are not visible and masks secrets.
    #[must_use]
    pub fn new(words: &str) -> Self {
        let start: String = words.chars().take(SHOWN).collect();
        let mut start = shown(&start).into_owned();
        if words.chars().nth(SHOWN).is_some() {
            start.push('…');
        }
        Self(start)
    }
}

impl fmt::Display for Sanitized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads an announcement: the port of the SRV record, and the strings of the TXT record in their order. If a key occurs
/// twice, the first value counts. Keys are case-insensitive (RFC 6763, 6.4).
///
/// # Errors
/// [`TxtError`] if the announcement names nothing to connect to.
pub fn offer<'a>(
    port: u16,
    txt: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> Result<ServiceOffer, TxtError> {
    let (mut protocol, mut nqn) = (None, None);
    for (key, value) in txt {
        let place = match key {
            _ if key.eq_ignore_ascii_case("p") => &mut protocol,
            _ if key.eq_ignore_ascii_case("nqn") => &mut nqn,
            _ => continue,
        };
        place.get_or_insert_with(|| String::from_utf8_lossy(value.unwrap_or_default()).trim().to_owned());
    }
    let transport = match protocol.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => return Err(TxtError::NoProtocol),
        Some("tcp") => Transport::Tcp,
        Some("rdma" | "roce" | "iwarp") => Transport::Rdma,
        Some(other) => return Err(TxtError::UnknownProtocol(Sanitized::new(other))),
    };
    let subsysnqn = match nqn {
        None => DISCOVERY_NQN.to_owned(),
        Some(nqn) if nqn.is_empty() => DISCOVERY_NQN.to_owned(),
        Some(nqn) if is_nqn(&nqn) => nqn,
        Some(other) => return Err(TxtError::BadNqn(Sanitized::new(&other))),
    };
    if port == 0 {
        return Err(TxtError::NoPort);
    }
    Ok(ServiceOffer { transport, trsvcid: port.to_string(), subsysnqn })
}

/// True for an NQN (NVMe Base 2.0, 4.5) that can be passed to the kernel, where a comma ends a value.
fn is_nqn(text: &str) -> bool {
    text.starts_with("nqn.")
        && text.len() <= NQN_MAX
        && !text.contains(|c: char| c == ',' || c <= ' ' || c.is_control())
        && !holds_a_secret(text)
}

/// True for an address at which another machine can be reached.
#[must_use]
pub fn is_reachable(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

/// True for a link-local IPv6 address, which is only unique together with an interface.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The controller that `offer` announces at `address` on the interface `iface`, as this host connects it.
///
/// With tcp the interface is part of the identity, unless `ignore_iface`. With rdma it is not: the kernel takes no
/// interface there.
/// A link-local address always names its interface.
#[must_use]
pub fn candidate(offer: &ServiceOffer, address: IpAddr, iface: &str, ignore_iface: bool, host_nqn: &str) -> Tid {
    let address = address.to_canonical();
    let bound = offer.transport == Transport::Tcp && !ignore_iface;
    Tid::new(TidParts {
        transport: offer.transport,
        traddr: if is_link_local(address) { format!("{address}%{iface}") } else { address.to_string() },
        trsvcid: offer.trsvcid.clone(),
        subsysnqn: offer.subsysnqn.clone(),
        host_traddr: String::new(),
        host_iface: if bound { iface.to_owned() } else { String::new() },
        host_nqn: host_nqn.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
