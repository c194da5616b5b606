//! Checks of single values. Each returns the value in canonical form, or says what would be right.

use std::net::{IpAddr, Ipv6Addr};

use stas_nvme::{DISCOVERY_NQN, NQN_MAX, Transport};
use toml::Spanned;

use super::Mistake;
use crate::desired::Address;
use crate::identity::Identifier;

/// The default name of a loop port. Hosts ignore log entries without an address.
const LOOP_NAME: &str = "nvmet";

/// One TiB: enough for a disk in memory, and safe from overflows.
const MAX_SIZE_MIB: u32 = 1 << 20;

/// Checks an NQN: configfs must accept it as a directory name, and hosts as a part of a connect string.
pub(super) fn nqn(key: &'static str, value: &Spanned<String>) -> Result<String, Mistake> {
    let text = value.get_ref();
    let problem = if text.is_empty() || text.len() > NQN_MAX {
        format!("has {} bytes; an NQN has 1 to {NQN_MAX}", text.len())
    } else if text == DISCOVERY_NQN {
        "is the discovery NQN, which every port answers to by itself; name a subsystem of your own".to_owned()
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/' || c == ',') {
        "contains a blank, a slash or a comma, which configfs and hosts do not accept in an NQN".to_owned()
    } else if text == "." || text == ".." {
        "is not a name; an NQN has the form nqn.YYYY-MM.DOMAIN:NAME".to_owned()
    } else {
        return Ok(text.clone());
    };
    Err(Mistake::at(key, value, problem))
}

/// Checks the name of a directory in configfs.
pub(super) fn name(key: &'static str, value: &Spanned<String>) -> Result<String, Mistake> {
    let text = value.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let good = (1..=64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.');
    if good {
        Ok(text.clone())
    } else {
        Err(Mistake::at(
            key,
            value,
            "is not a name; valid are up to 64 letters, digits and . _ : -, not starting with a dot",
        ))
    }
}

/// Checks an address for its transport.
pub(super) fn address(
    transport: &Spanned<Transport>,
    traddr: Option<&Spanned<String>>,
    trsvcid: Option<&Spanned<u16>>,
) -> Result<Address, Mistake> {
    let kind = *transport.get_ref();
    let traddr = match (kind, traddr) {
        (Transport::Tcp | Transport::Rdma, Some(value)) => ip(value)?,
        (Transport::Fc, Some(value)) => wwn_pair(value)?,
        (Transport::Loop, Some(value)) => name("traddr", value)?,
        (Transport::Loop, None) => LOOP_NAME.to_owned(),
        (_, None) => {
            let problem = format!("{kind} needs traddr = \"ADDRESS\", too");
            return Err(Mistake::at("transport", transport, problem));
        }
    };
    let trsvcid = match (trsvcid, kind.default_trsvcid().parse().ok()) {
        (Some(value), None) => {
            return Err(Mistake::at("trsvcid", value, format!("{kind} has no service number; leave it out")));
        }
        (Some(value), Some(_)) if *value.get_ref() == 0 => {
            return Err(Mistake::at(
                "trsvcid",
                value,
                "is 0; valid is 1 to 65535, and 8009 is the port of discovery controllers",
            ));
        }
        (value, default) => value.map(|value| *value.get_ref()).or(default),
    };
    Ok(Address { transport: kind, traddr, trsvcid })
}

fn ip(value: &Spanned<String>) -> Result<String, Mistake> {
    let text = value.get_ref();
    let canonical = match text.split_once('%') {
        None => text.parse::<IpAddr>().ok().map(|address| address.to_string()),
        Some((address, scope)) => {
            let named = !scope.is_empty() && scope.chars().all(|c| c.is_ascii_graphic() && c != '/');
            address.parse::<Ipv6Addr>().ok().filter(|_| named).map(|address| format!("{address}%{scope}"))
        }
    };
    canonical.ok_or_else(|| {
        Mistake::at("traddr", value, "is not an IP address; valid is for example \"::\" or \"192.0.2.1\"")
    })
}

/// Checks `nn-0xWWNN:pn-0xWWPN`, the form that the kernel's fc transports read.
fn wwn_pair(value: &Spanned<String>) -> Result<String, Mistake> {
    let text = value.get_ref().to_ascii_lowercase();
    let wwn = |part: &str, prefix| {
        part.strip_prefix(prefix)
            .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match text.split_once(':') {
        Some((node, port)) if wwn(node, "nn-0x") && wwn(port, "pn-0x") => Ok(text),
        _ => Err(Mistake::at(
            "traddr",
            value,
            "is not an FC address; valid is nn-0x and pn-0x with 16 digits each: nn-0x20..:pn-0x10..",
        )),
    }
}

/// Checks a UUID or NGUID.
pub(super) fn identifier(key: &'static str, value: Option<&Spanned<String>>) -> Result<Option<Identifier>, Mistake> {
    let Some(value) = value else { return Ok(None) };
    match Identifier::parse(value.get_ref()).filter(|identifier| !identifier.is_zero()) {
        Some(identifier) => Ok(Some(identifier)),
        None => Err(Mistake::at(
            key,
            value,
            "is not an identifier; valid are 32 hexadecimal digits, not all zero, dashes allowed",
        )),
    }
}

/// Checks a size in MiB.
pub(super) fn size(value: Option<&Spanned<u32>>, default: u32) -> Result<u32, Mistake> {
    let Some(value) = value else { return Ok(default) };
    bounded("size_mib", value, MAX_SIZE_MIB)
}

/// Checks a number from 1 to `most`.
pub(super) fn bounded(key: &'static str, value: &Spanned<u32>, most: u32) -> Result<u32, Mistake> {
    let number = *value.get_ref();
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Mistake::at(key, value, format!("is {number}; valid is 1 to {most}")))
    }
}

/// Checks a word against those that the kernel knows.
pub(super) fn word(
    key: &'static str,
    value: Option<&Spanned<String>>,
    known: &[&str],
) -> Result<Option<String>, Mistake> {
    let Some(value) = value else { return Ok(None) };
    if known.contains(&value.get_ref().as_str()) {
        Ok(Some(value.get_ref().clone()))
    } else {
        Err(Mistake::at(key, value, format!("is not known; valid is one of {}", known.join(", "))))
    }
}
