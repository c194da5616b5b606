//! From an entry to the controller that it names, as this host reaches it.

use std::net::IpAddr;

use super::codes::Subtype;
use super::entry::{Entry, EntryError};
use crate::{DISCOVERY_NQN, Tid, TidParts, Transport, tid};

impl Entry {
    /// The controller that the entry names. It inherits the host side of `dc`, the discovery controller that lists it,
    /// as far as that fits (source address, interface, host NQN).
    ///
    /// # Errors
    /// [`EntryError`] if no controller can be made from the entry. A tcp or rdma controller must have a port: without
    /// one the kernel would take the default port of discovery controllers.
    pub fn controller(&self, dc: &Tid) -> Result<Tid, EntryError> {
        let transport = self.transport().ok_or(EntryError::Transport(self.trtype.0))?;
        let subsysnqn = match (self.subtype, self.subnqn.as_str()) {
            (Subtype::NVME, DISCOVERY_NQN) => return Err(EntryError::DiscoveryNqn),
            (Subtype::NVME, "") => return Err(EntryError::NoNqn),
            // Every discovery controller answers to the well-known NQN.
            (_, "") => DISCOVERY_NQN,
            (_, nqn) => nqn,
        };
        let traddr = self.address(transport, dc)?;
        let host_traddr = host_traddr(transport, &traddr, dc);
        Ok(Tid::new(TidParts {
            transport,
            traddr,
            trsvcid: self.port(transport)?,
            subsysnqn: subsysnqn.to_owned(),
            host_traddr,
            host_iface: if transport.is_ip() { dc.host_iface.clone() } else { String::new() },
            host_nqn: dc.host_nqn.clone(),
        }))
    }

    fn port(&self, transport: Transport) -> Result<String, EntryError> {
        match tid::canonical_trsvcid(transport, &self.trsvcid) {
            none if none.is_empty() && transport.is_ip() => Err(EntryError::Port(self.trsvcid.clone())),
            port => Ok(port),
        }
    }

    /// The transport address. A link-local address gets the scope of `dc`, if `dc` has one: the scope in a page is an
    /// interface of the target, not of this host.
    fn address(&self, transport: Transport, dc: &Tid) -> Result<String, EntryError> {
        let bad = || EntryError::Address { transport, text: self.traddr.clone() };
        match transport {
            Transport::Loop if dc.transport() != Transport::Loop => Err(EntryError::Loop),
            Transport::Loop => Ok(self.traddr.clone()),
            _ if self.traddr.is_empty() => Err(EntryError::NoAddress),
            Transport::Fc => tid::parse_fc(&self.traddr).ok_or_else(bad),
            Transport::Tcp | Transport::Rdma => match (tid::parse_ip(&self.traddr).ok_or_else(bad)?, scope(dc)) {
                ((ip, _), _) if ip.is_unspecified() => Err(EntryError::NoAddress),
                ((ip, _), _) if is_for_many(ip) => Err(bad()),
                ((IpAddr::V6(ip), _), Some(scope)) if ip.is_unicast_link_local() => Ok(format!("{ip}%{scope}")),
                _ => Ok(self.traddr.clone()),
            },
        }
    }
}

/// True for a multicast or broadcast address. No controller has one.
fn is_for_many(ip: IpAddr) -> bool {
    ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}

/// The interface through which this host reaches a discovery controller, if its TID names one.
fn scope(dc: &Tid) -> Option<&str> {
    let of_address = tid::parse_link_local(&dc.traddr).and_then(|(_, scope)| scope);
    Some(dc.host_iface.as_str()).filter(|interface| !interface.is_empty()).or(of_address)
}

/// The source address of `dc` if a connection over `transport` to `traddr` can use it: a Fibre Channel address for fc,
/// an address of the same family for tcp and rdma. A link-local source address reaches link-local targets only.
fn host_traddr(transport: Transport, traddr: &str, dc: &Tid) -> String {
    let fits = match transport {
        Transport::Fc => dc.transport() == Transport::Fc,
        Transport::Loop => false,
        Transport::Tcp | Transport::Rdma => {
            let is_local = |text: &str| tid::parse_link_local(text).is_some();
            let same_family = |(ours, _): (IpAddr, _), (theirs, _): (IpAddr, _)| ours.is_ipv4() == theirs.is_ipv4();
            dc.transport().is_ip()
                && tid::parse_ip(&dc.host_traddr).zip(tid::parse_ip(traddr)).is_some_and(|(a, b)| same_family(a, b))
                && (is_local(traddr) || !is_local(&dc.host_traddr))
        }
    };
    if fits { dc.host_traddr.clone() } else { String::new() }
}
