//! The identity of a controller as seen from this host: the transport ID.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// NVMe-oF transports that the Linux host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NVMe/TCP.
    Tcp,
    /// NVMe/RDMA.
    Rdma,
    /// NVMe over Fibre Channel.
    Fc,
    /// The kernel's loopback transport.
    Loop,
}

impl Transport {
    /// The kernel's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Rdma => "rdma",
            Self::Fc => "fc",
            Self::Loop => "loop",
        }
    }

    /// The service identifier that is meant when none is given: empty for fc and loop.
    #[must_use]
    pub fn default_trsvcid(self) -> &'static str {
        match self {
            Self::Tcp => "8009",
            Self::Rdma => "4420",
            Self::Fc | Self::Loop => "",
        }
    }

    /// True where addresses are IP addresses.
    #[must_use]
    pub fn is_ip(self) -> bool {
        matches!(self, Self::Tcp | Self::Rdma)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no transport: tcp, rdma, fc or loop are")]
pub struct UnknownTransport(pub String);

impl std::str::FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "rdma" => Ok(Self::Rdma),
            "fc" => Ok(Self::Fc),
            "loop" => Ok(Self::Loop),
            _ => Err(UnknownTransport(text.to_owned())),
        }
    }
}

/// What a [`Tid`] is made of; empty strings are absent parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TidParts {
    /// Transport type.
    pub transport: Transport,
    /// Transport address: an IP address (with `%scope` where link-local), an FC address, or loop's.
    pub traddr: String,
    /// Transport service identifier: the port for tcp and rdma.
    pub trsvcid: String,
    /// NQN of the subsystem that is asked for.
    pub subsysnqn: String,
    /// Source address of the host.
    pub host_traddr: String,
    /// Network interface of the host.
    pub host_iface: String,
    /// Host NQN that the connection is made with.
    pub host_nqn: String,
}

/// Identity of a controller: addresses are canonical, so that equal controllers compare equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "TidParts", into = "TidParts")]
pub struct Tid(TidParts);

impl Tid {
    /// Makes the identity, with its addresses in canonical form.
    #[must_use]
    pub fn new(parts: TidParts) -> Self {
        let address = |text: &str| canonical_address(parts.transport, text);
        Self(TidParts { traddr: address(&parts.traddr), host_traddr: address(&parts.host_traddr), ..parts })
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &TidParts {
        &self.0
    }

    /// Transport type.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport
    }
}

impl std::ops::Deref for Tid {
    type Target = TidParts;

    fn deref(&self) -> &TidParts {
        &self.0
    }
}

impl From<TidParts> for Tid {
    fn from(parts: TidParts) -> Self {
        Self::new(parts)
    }
}

impl From<Tid> for TidParts {
    fn from(tid: Tid) -> Self {
        tid.0
    }
}

/// `(tcp, 192.0.2.1, 8009, nqn, iface, host-traddr)`, empty trailing parts left out.
impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = [&self.traddr, &self.trsvcid, &self.subsysnqn, &self.host_iface, &self.host_traddr];
        let shown = tail.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
        write!(f, "({}", self.transport)?;
        for part in tail.iter().take(shown) {
            write!(f, ", {part}")?;
        }
        f.write_str(")")
    }
}

/// Reads an IP address (IPv4-mapped IPv6 becomes IPv4), and its scope (`fe80::1%eth0`) if it has one. Brackets around
/// it, as in URLs, are left aside.
#[must_use]
pub fn parse_ip(text: &str) -> Option<(IpAddr, Option<&str>)> {
    let text = unbracketed(text.trim());
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) if !scope.is_empty() => (unbracketed(address), Some(scope)),
        Some(_) => return None,
        None => (text, None),
    };
    address.parse::<IpAddr>().ok().map(|ip| (ip.to_canonical(), scope))
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).map_or(text, str::trim)
}

/// The canonical text of a transport address: see [`canonical_ip`] where addresses are IP addresses; elsewhere letters
/// become small.
#[must_use]
pub fn canonical_address(transport: Transport, text: &str) -> String {
    if transport.is_ip() { canonical_ip(text) } else { text.trim().to_ascii_lowercase() }
}

/// The canonical text of an IP address (IPv4-mapped IPv6 becomes IPv4); other text stays as it is.
#[must_use]
pub fn canonical_ip(text: &str) -> String {
    match parse_ip(text) {
        Some((ip, Some(scope))) => format!("{ip}%{scope}"),
        Some((ip, None)) => ip.to_string(),
        None => text.trim().to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
