//! The URI of a discovery controller: `nvme+tcp://192.0.2.1:8009/` (Boot Specification 1.0, Discovery Descriptor).

use std::net::IpAddr;

use crate::nvme::{Transport, tid};

/// Where a discovery controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) transport: Transport,
    pub(super) traddr: IpAddr,
    pub(super) trsvcid: String,
}

/// Why a URI names no discovery controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUri {
    /// Something else before the address.
    #[error("it does not start with nvme+tcp:// or nvme+rdma://")]
    Scheme,
    /// Something else where the address must be: nobody looks names up for the firmware.
    #[error("{0:?} is no IP address")]
    Address(String),
    /// Something else where the port must be.
    #[error("{0:?} is no port number from 1 to 65535")]
    Port(String),
}

/// Takes a URI apart. What follows the port means nothing, and without a port it is the one that discovery
/// controllers have.
pub(super) fn place(uri: &str) -> Result<Place, BadUri> {
    let (scheme, rest) = uri.split_once("://").ok_or(BadUri::Scheme)?;
    let transport = match scheme.to_ascii_lowercase().as_str() {
        "nvme+tcp" => Transport::Tcp,
        "nvme+rdma" => Transport::Rdma,
        _ => return Err(BadUri::Scheme),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The colons of an IPv6 address stand in brackets.
    let (address, port) = match authority.rsplit_once(':') {
        Some((address, port)) if !port.contains(']') => (address, port),
        _ => (authority, ""),
    };
    let bracketed = address.starts_with('[');
    let (traddr, _) = tid::parse_ip(address).ok_or_else(|| BadUri::Address(address.to_owned()))?;
    if address.contains(':') && !bracketed {
        return Err(BadUri::Address(authority.to_owned()));
    }
    let trsvcid = match port {
        "" => transport.default_trsvcid().to_owned(),
        text => port_number(text).ok_or_else(|| BadUri::Port(text.to_owned()))?,
    };
    Ok(Place { transport, traddr, trsvcid })
}

/// The port that a text names, in the form in which it is compared.
pub(super) fn port_number(text: &str) -> Option<String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0)?;
    Some(port.to_string())
}
