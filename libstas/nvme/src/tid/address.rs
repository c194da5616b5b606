//! Canonical form of transport addresses and ports. Log pages, configuration files, sysfs and saved states write them
//! differently, and equal ones must compare equal.

use std::net::{IpAddr, Ipv6Addr};

use super::Transport;

/// Reads an IP address (IPv4-mapped IPv6 becomes IPv4) and its scope (`fe80::1%eth0`), if it has one. Brackets around
/// it, as in URLs, are ignored.
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

/// Reads a link-local IPv6 address and its scope; `None` for any other text.
#[must_use]
pub fn parse_link_local(text: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    match parse_ip(text)? {
        (IpAddr::V6(ip), scope) if ip.is_unicast_link_local() => Some((ip, scope)),
        _ => None,
    }
}

/// Reads a port from 1 to 65535. Leading zeros are ignored.
#[must_use]
pub fn parse_port(text: &str) -> Option<u16> {
    let digits = text.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port > 0)
}

/// Reads a Fibre Channel address: `nn-0x` and 16 digits, `:pn-0x` and 16 digits, case-insensitive. As in the kernel,
/// `0x` may be missing.
#[must_use]
pub fn parse_fc(text: &str) -> Option<String> {
    let folded = text.trim().to_ascii_lowercase();
    let number = |part: &str, prefix: &str| {
        let digits = part.strip_prefix(prefix)?;
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits.to_owned())
    };
    let (node, port) = folded.split_once(':')?;
    Some(format!("nn-0x{}:pn-0x{}", number(node, "nn-")?, number(port, "pn-")?))
}

/// The canonical text of an IP address. Other text is only trimmed. See [`canonical_address`].
#[must_use]
pub fn canonical_ip(text: &str) -> String {
    canonical_ip_on(text, "")
}

/// As [`canonical_ip`]. A link-local address without a scope gets `interface` as its scope, unless `interface` is
/// empty.
///
/// Other addresses have no scope: the kernel reads it for link-local addresses only.
fn canonical_ip_on(text: &str, interface: &str) -> String {
    match (parse_link_local(text), parse_ip(text)) {
        (Some((ip, scope)), _) => match scope.unwrap_or(interface.trim()) {
            "" => ip.to_string(),
            scope => format!("{ip}%{scope}"),
        },
        (None, Some((ip, _))) => ip.to_string(),
        (None, None) => text.trim().to_owned(),
    }
}

/// The canonical text of a transport address. IP addresses are written as Rust does, IPv4-mapped ones as IPv4,
/// link-local ones with their scope (`interface` if they have none). Fibre Channel addresses are written as in sysfs.
/// Other text is only trimmed: loop addresses are case-sensitive names.
#[must_use]
pub fn canonical_address(transport: Transport, text: &str, interface: &str) -> String {
    match transport {
        Transport::Tcp | Transport::Rdma => canonical_ip_on(text, interface),
        Transport::Fc => parse_fc(text).unwrap_or_else(|| text.trim().to_ascii_lowercase()),
        Transport::Loop => text.trim().to_owned(),
    }
}

/// The canonical text of a transport service identifier: a port number for tcp and rdma. Empty for fc and loop, which
/// have none (log pages and udev properties say `none`), and for text that is not a port.
#[must_use]
pub fn canonical_trsvcid(transport: Transport, text: &str) -> String {
    let port = parse_port(text).filter(|_| transport.is_ip());
    port.map(|port| port.to_string()).unwrap_or_default()
}
