//! Addresses, ports, names and interfaces in canonical form, in which they can be compared.

use std::net::IpAddr;

use crate::conf::complaints::{Quoted, quoted};
use stas_nvme::{NQN_MAX, Transport, tid};

/// A configured address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// An address of the transport, in canonical form.
    Fixed(String),
    /// A host name, which the core resolves.
    Name(String),
}

/// Why a part of an entry is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PartError {
    #[error("{0} is not tcp, rdma, fc or loop")]
    Transport(Quoted),
    #[error("{0} is not an IP address")]
    NotIp(Quoted),
    /// An IP address that cannot be a connect target.
    #[error("{text} is {kind}, not the address of one host")]
    NotOneHost { text: Quoted, kind: &'static str },
    #[error("{0}: what follows the % is not an interface")]
    Scope(Quoted),
    #[error("{text} is neither an IP address nor a host name{}", if *.with_port { "; the port goes in trsvcid=" } else { "" })]
    NotAddressOrName { text: Quoted, with_port: bool },
    #[error("{0} is not a Fibre Channel address (nn-0x1000000000000001:pn-0x2000000000000001)")]
    NotFc(Quoted),
    #[error("loop has no host address")]
    LoopHostTraddr,
    #[error("{0} is not a port from 1 to 65535")]
    Port(Quoted),
    #[error("{0} is not the name of an interface")]
    Iface(Quoted),
    #[error("the NQN is {0} bytes long, at most {NQN_MAX} are allowed")]
    NqnTooLong(usize),
    #[error("{0} contains a comma, a space or a control character, which the kernel does not accept")]
    OptionText(Quoted),
}

/// Reads traddr for a transport.
pub(super) fn traddr(transport: Transport, text: &str) -> Result<Address, PartError> {
    match transport {
        Transport::Tcp | Transport::Rdma => ip(text).map(Address::Fixed).or_else(|why| match why {
            PartError::NotIp(_) => name(text).map(Address::Name),
            why => Err(why),
        }),
        Transport::Fc => fc(text).map(Address::Fixed),
        Transport::Loop => option_text(text).map(Address::Fixed),
    }
}

/// Reads traddr without a known transport: a Fibre Channel address, an IP address or a host name.
pub(super) fn any_traddr(text: &str) -> Result<Address, PartError> {
    fc(text).map(Address::Fixed).or_else(|_| traddr(Transport::Tcp, text))
}

/// Reads host-traddr for a transport. Host names are not allowed.
pub(super) fn host_traddr(transport: Transport, text: &str) -> Result<String, PartError> {
    match transport {
        Transport::Tcp | Transport::Rdma => ip(text),
        Transport::Fc => fc(text),
        Transport::Loop => Err(PartError::LoopHostTraddr),
    }
}

/// Reads the IP address of one host. [`PartError::NotIp`]: the text may be a host name.
fn ip(text: &str) -> Result<String, PartError> {
    let (ip, scope) = tid::parse_ip(text).ok_or_else(|| PartError::NotIp(quoted(text)))?;
    let kind = |kind| Err(PartError::NotOneHost { text: quoted(text), kind });
    if ip.is_unspecified() {
        return kind("the unspecified address");
    }
    if ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return kind("a multicast or broadcast address");
    }
    if scope.is_some_and(|scope| iface(scope).is_err() || !ip.is_ipv6()) {
        return Err(PartError::Scope(quoted(text)));
    }
    Ok(tid::canonical_ip(text))
}

/// Reads a host name (RFC 1123, 2.1). Returns it in lower case, without a final dot.
fn name(text: &str) -> Result<String, PartError> {
    let neither = |with_port| Err(PartError::NotAddressOrName { text: quoted(text), with_port });
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if let Some((address, port)) = text.rsplit_once(':') {
        let has_one = is_port(port) && (address.starts_with('[') || !address.contains(':'));
        return neither(has_one);
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    if name.len() > 253 || !name.split('.').all(label) || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return neither(false);
    }
    Ok(name.to_ascii_lowercase())
}

/// Reads a Fibre Channel address: `nn-0x` and 16 digits, `:pn-0x` and 16 digits.
fn fc(text: &str) -> Result<String, PartError> {
    tid::parse_fc(text).ok_or_else(|| PartError::NotFc(quoted(text)))
}

/// Reads trsvcid of tcp and rdma: a port. Leading zeros are removed.
pub(super) fn port(text: &str) -> Result<String, PartError> {
    match tid::parse_port(text) {
        Some(port) => Ok(port.to_string()),
        None => Err(PartError::Port(quoted(text))),
    }
}

/// Reads the transport.
pub(super) fn transport(text: &str) -> Result<Transport, PartError> {
    text.parse().map_err(|_| PartError::Transport(quoted(text)))
}

/// Reads the name of a network interface.
pub(super) fn iface(text: &str) -> Result<String, PartError> {
    // Interface names have at most 15 bytes, alternative names 127 (IFNAMSIZ, ALTIFNAMSIZ).
    let fits = (1..=127).contains(&text.len()) && text != "." && text != "..";
    if !fits || text.contains(['/', ',', ':', '%']) || text.contains(char::is_whitespace) {
        return Err(PartError::Iface(quoted(text)));
    }
    Ok(text.to_owned())
}

/// Reads an NQN. It need not start with `nqn.`: the kernel takes any name.
pub(super) fn nqn(text: &str) -> Result<String, PartError> {
    if text.len() > NQN_MAX {
        return Err(PartError::NqnTooLong(text.len()));
    }
    option_text(text)
}

/// Reads text that can stand between the commas of the kernel's option string.
fn option_text(text: &str) -> Result<String, PartError> {
    if text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(PartError::OptionText(quoted(text)));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Result<Address, PartError> {
        traddr(Transport::Tcp, text)
    }

    #[test]
    fn an_ip_address_has_one_form() {
        for (text, canonical) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("fe80:0::1%eth0", "fe80::1%eth0"),
        ] {
            assert_eq!(tcp(text), Ok(Address::Fixed(canonical.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_may_be_a_host_name() {
        for (text, canonical) in [
            ("storage", "storage"),
            ("Array-1.Example.COM", "array-1.example.com"),
            ("array.example.com.", "array.example.com"),
            ("1a.2b", "1a.2b"),
            ("rack_2.local", "rack_2.local"),
        ] {
            assert_eq!(tcp(text), Ok(Address::Name(canonical.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_the_reason() {
        for (text, reason) in [
            ("192.0.2.300", "neither an IP address nor a host name"),
            ("192.0.2", "neither"),
            ("-array", "neither"),
            ("array..com", "neither"),
            ("two words", "neither"),
            ("a,b", "neither"),
            ("fe80::1%", "neither"),
            ("1:2:3", "neither"),
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("224.0.0.251", "multicast"),
            ("ff02::fb", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("fe80::1%a,b", "interface"),
            ("192.0.2.1%eth0", "interface"),
            ("192.0.2.1:8009", "the port goes in trsvcid="),
            ("[::1]:8009", "the port goes in trsvcid="),
            ("array:8009", "the port goes in trsvcid="),
        ] {
            let error = tcp(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(tcp(&"a".repeat(64)).is_err());
        assert!(tcp(&["a"; 200].join(".")).is_err());
    }

    #[test]
    fn a_fibre_channel_address_has_one_form() {
        let canonical = "nn-0x10000090fa942779:pn-0x10000090fa94277a";
        for text in
            [canonical, "NN-0x10000090FA942779:pn-0x10000090FA94277A", "nn-10000090fa942779:pn-10000090fa94277a"]
        {
            assert_eq!(traddr(Transport::Fc, text), Ok(Address::Fixed(canonical.to_owned())), "{text}");
            assert_eq!(any_traddr(text), Ok(Address::Fixed(canonical.to_owned())), "{text}");
        }
        for text in ["192.0.2.1", "array", "nn-0x1:pn-0x2", "nn-0x10000090fa942779"] {
            assert!(traddr(Transport::Fc, text).unwrap_err().to_string().contains("Fibre Channel"), "{text}");
        }
    }

    #[test]
    fn this_hosts_address_is_never_a_name() {
        assert_eq!(host_traddr(Transport::Tcp, "::ffff:192.0.2.9"), Ok("192.0.2.9".to_owned()));
        assert!(host_traddr(Transport::Rdma, "myself").unwrap_err().to_string().contains("not an IP address"));
    }

    #[test]
    fn a_port_is_a_number() {
        assert_eq!(port("08009"), Ok("8009".to_owned()));
        for text in ["0", "65536", "-1", "+80", "http", "none"] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_nqn_fits_into_the_kernels_option_string() {
        assert_eq!(nqn("klingons"), Ok("klingons".to_owned()));
        assert!(nqn(&"n".repeat(NQN_MAX)).is_ok());
        assert!(nqn(&"n".repeat(NQN_MAX + 1)).unwrap_err().to_string().contains("224 bytes"));
        assert!(nqn("nqn.2014-08.org,hostid=1").unwrap_err().to_string().contains("comma"));
    }

    #[test]
    fn an_interface_is_a_name_without_slashes_and_commas() {
        assert!(iface("enp0s31f6").is_ok());
        for text in ["a/b", "a,b", "a b", "eth0:1", "..", &"x".repeat(128)] {
            assert!(iface(text).is_err(), "{text}");
        }
    }
}
