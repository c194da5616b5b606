//! The identity of a controller as seen from this host: the transport ID.

mod address;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use address::{
    canonical_address, canonical_ip, canonical_trsvcid, parse_fc, parse_ip, parse_link_local, parse_port,
};

/// NVMe-oF transports of the Linux host.
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
    /// The kernel's name of the transport.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Rdma => "rdma",
            Self::Fc => "fc",
            Self::Loop => "loop",
        }
    }

    /// The default service identifier: empty for fc and loop.
    #[must_use]
    pub fn default_trsvcid(self) -> &'static str {
        match self {
            Self::Tcp => "8009",
            Self::Rdma => "4420",
            Self::Fc | Self::Loop => "",
        }
    }

    /// True if transport addresses are IP addresses.
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

/// A text that is not the name of a transport.
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

/// The parts of a [`Tid`]. An absent part is an empty string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TidParts {
    /// Transport over which the controller is reached.
    pub transport: Transport,
    /// Transport address: an IP address (with `%scope` if link-local), a Fibre Channel address, or a name for loop.
    pub traddr: String,
    /// Transport service identifier: the port for tcp and rdma, empty for fc and loop.
    pub trsvcid: String,
    /// NQN of the subsystem.
    pub subsysnqn: String,
    /// Source address of the host. Empty: the kernel chooses it.
    pub host_traddr: String,
    /// Network interface of the host. Empty: the routes decide.
    pub host_iface: String,
    /// Host NQN of the connection. Empty: the host's own NQN.
    pub host_nqn: String,
}

impl TidParts {
    /// The parts of no controller: all are empty except the transport.
    #[must_use]
    pub fn none(transport: Transport) -> Self {
        let none = String::new;
        Self {
            transport,
            traddr: none(),
            trsvcid: none(),
            subsysnqn: none(),
            host_traddr: none(),
            host_iface: none(),
            host_nqn: none(),
        }
    }
}

/// Identity of a controller. Addresses and ports are in canonical form, so that equal controllers compare equal even if
/// a log page, a configuration file, sysfs or a saved state writes them differently.
///
/// Clones share their memory: the daemons have many copies of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "TidParts", into = "TidParts")]
pub struct Tid(Arc<TidParts>);

impl Tid {
    /// Makes the identity and converts its addresses and port to canonical form ([`canonical_address`],
    /// [`canonical_trsvcid`]). The scope of a link-local address and the interface of this host are the same: the
    /// canonical form has both.
    #[must_use]
    pub fn new(parts: TidParts) -> Self {
        let traddr = canonical_address(parts.transport, &parts.traddr, &parts.host_iface);
        let scope = scope(parts.transport, &traddr).unwrap_or_default();
        let interface = if parts.host_iface.is_empty() { scope } else { &parts.host_iface };
        let host_traddr = canonical_address(parts.transport, &parts.host_traddr, interface);
        let trsvcid = canonical_trsvcid(parts.transport, &parts.trsvcid);
        // A number is not the name of an interface, and the kernel takes names only.
        let is_number = interface == scope && scope.parse::<u32>().is_ok();
        let host_iface = if is_number { parts.host_iface.clone() } else { interface.to_owned() };
        Self(Arc::new(TidParts { traddr, trsvcid, host_traddr, host_iface, ..parts }))
    }

    /// The same controller, not bound to an interface (`ignore-iface`). A link-local address keeps its interface: it is
    /// not reachable without one.
    #[must_use]
    pub fn unbound(self) -> Self {
        if scope(self.0.transport, &self.0.traddr).is_some() {
            return self;
        }
        Self(Arc::new(TidParts { host_iface: String::new(), ..self.into() }))
    }

    /// The parts in canonical form.
    #[must_use]
    pub fn parts(&self) -> &TidParts {
        &self.0
    }

    /// Transport over which the controller is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport
    }
}

/// The scope of a link-local transport address.
fn scope(transport: Transport, traddr: &str) -> Option<&str> {
    parse_link_local(traddr).filter(|_| transport.is_ip()).and_then(|(_, scope)| scope)
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
        Arc::unwrap_or_clone(tid.0)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
