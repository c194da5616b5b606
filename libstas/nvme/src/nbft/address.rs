//! The URI of a discovery controller: `nvme+tcp://192.0.2.1:8009/` (Boot Specification 1.0, Discovery Descriptor).

use std::net::IpAddr;

use crate::{Transport, tid};

/// Address of a discovery controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DcAddress {
    pub(super) transport: Transport,
    pub(super) traddr: IpAddr,
    pub(super) trsvcid: String,
}

/// Why a URI names no discovery controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUri {
    /// The URI does not start with a known scheme.
    #[error("it does not start with nvme+tcp:// or nvme+rdma://")]
    Scheme,
    /// The host part is not an IP address. Host names are not resolved: the table is from boot time.
    #[error("{0:?} is no IP address")]
    Address(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is no port number from 1 to 65535")]
    Port(String),
}

/// Splits a URI into transport, address and port. Everything after the port is ignored. Without a port, the transport's
/// default applies.
pub(super) fn place(uri: &str) -> Result<DcAddress, BadUri> {
    let (scheme, rest) = uri.split_once("://").ok_or(BadUri::Scheme)?;
    let transport = match scheme.to_ascii_lowercase().as_str() {
        "nvme+tcp" => Transport::Tcp,
        "nvme+rdma" => Transport::Rdma,
        _ => return Err(BadUri::Scheme),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An IPv6 address is in brackets; colons inside them do not start a port.
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
    Ok(DcAddress { transport, traddr, trsvcid })
}

/// The port in its canonical form, without leading zeros. `None` if the text is not a port from 1 to 65535.
pub(super) fn port_number(text: &str) -> Option<String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0)?;
    Some(port.to_string())
}
