//! What a discovery controller says of itself by DNS-SD (TP8009): its TXT record, and the controllers that follow
//! from it.
//!
//! Everything here comes from strangers, so it is held to what the kernel takes and a log can bear.

use std::fmt;
use std::net::IpAddr;

use super::{DISCOVERY_NQN, NQN_MAX, Tid, TidParts, Transport};

/// The service types that discovery controllers announce themselves under (TP8009).
pub const SERVICE_TYPES: [&str; 2] = ["_nvme-disc._tcp", "_nvme-disc._udp"];

/// How a discovery controller can be reached, but for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Transport; both kinds of RDMA over Ethernet are `rdma` to the kernel.
    pub transport: Transport,
    /// Transport service identifier: the port of the SRV record.
    pub trsvcid: String,
    /// NQN of the discovery controller.
    pub subsysnqn: String,
}

/// Why an announcement is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No `p=` in the TXT record.
    #[error("its TXT record has no p= that names the transport")]
    NoProtocol,
    /// A `p=` that this version does not know.
    #[error("p={0} in its TXT record is none of tcp, rdma, roce and iwarp")]
    UnknownProtocol(Shown),
    /// An NQN that is none.
    #[error("nqn={0} in its TXT record is no NQN")]
    BadNqn(Shown),
    /// Port 0.
    #[error("its SRV record names port 0")]
    NoPort,
}

/// A stranger's words in a form that a log can bear: short, and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown(String);

/// Characters of a stranger's words that are shown.
const SHOWN: usize = 80;

impl Shown {
    /// Makes words fit to be shown.
    #[must_use]
    pub fn new(words: &str) -> Self {
        let mut shown: String = words.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        if words.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads what is announced: the port of the SRV record, and the strings of the TXT record in their order. Of a key
/// that is there twice the first one counts, whatever the case of its letters (RFC 6763, 6.4).
///
/// # Errors
/// [`Unfit`], when there is nothing to connect to.
pub fn offer<'a>(port: u16, txt: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Result<Offer, Unfit> {
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
        None | Some("") => return Err(Unfit::NoProtocol),
        Some("tcp") => Transport::Tcp,
        Some("rdma" | "roce" | "iwarp") => Transport::Rdma,
        Some(other) => return Err(Unfit::UnknownProtocol(Shown::new(other))),
    };
    let subsysnqn = match nqn {
        None => DISCOVERY_NQN.to_owned(),
        Some(nqn) if nqn.is_empty() => DISCOVERY_NQN.to_owned(),
        Some(nqn) if is_nqn(&nqn) => nqn,
        Some(other) => return Err(Unfit::BadNqn(Shown::new(&other))),
    };
    if port == 0 {
        return Err(Unfit::NoPort);
    }
    Ok(Offer { transport, trsvcid: port.to_string(), subsysnqn })
}

/// An NQN (NVMe Base 2.0, 4.5) that can be passed to the kernel, where a comma ends a value.
fn is_nqn(text: &str) -> bool {
    text.starts_with("nqn.")
        && text.len() <= NQN_MAX
        && !text.contains(|c: char| c == ',' || c <= ' ' || c.is_control())
}

/// True for an address that another machine can be reached at.
#[must_use]
pub fn is_reachable(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

/// True for an IPv6 address that means something together with an interface only.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The controller that is announced at that address on that interface, as this host connects it.
///
/// For tcp the interface is part of the identity, unless `ignore_iface`; for rdma it is not, for the kernel takes none.
/// A link-local address always names its interface.
#[must_use]
pub fn candidate(offer: &Offer, address: IpAddr, iface: &str, ignore_iface: bool, host_nqn: &str) -> Tid {
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
