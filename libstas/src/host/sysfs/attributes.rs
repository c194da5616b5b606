//! The words of the attributes in /sys/class/nvme/nvmeN.

use std::net::IpAddr;

use crate::core::{CtrlType, Dctype};
use crate::nvme::{Transport, tid};

/// The text of an attribute: without the line's end and the padding of the identify strings. What a target sent
/// there may be any bytes: none of them reaches a terminal as a control character.
///
/// Before the kernel has identified a controller it prints `(null)` for what it does not know yet.
pub(super) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if text == "(null)" {
        return String::new();
    }
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Attribute `address`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) traddr: String,
    pub(super) trsvcid: String,
    pub(super) host_traddr: String,
    pub(super) host_iface: String,
    pub(super) src_addr: Option<IpAddr>,
}

impl Address {
    /// `traddr=..,trsvcid=..[,host_traddr=..][,host_iface=..][,src_addr=..]`; unknown parts are left aside.
    pub(super) fn parse(text: &str, transport: Transport) -> Self {
        let canonical = |address: &str| {
            if transport.is_ip() { tid::canonical_ip(address) } else { address.trim().to_ascii_lowercase() }
        };
        let mut parsed = Self::default();
        for (key, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "traddr" => parsed.traddr = canonical(value),
                "trsvcid" => parsed.trsvcid = value.trim().to_owned(),
                "host_traddr" => parsed.host_traddr = canonical(value),
                "host_iface" => parsed.host_iface = value.trim().to_owned(),
                "src_addr" => parsed.src_addr = tid::parse_ip(value).map(|(ip, _)| ip),
                _ => {}
            }
        }
        parsed
    }
}

/// Attribute `cntrltype`; before the kernel has identified the controller it says `reserved`.
pub(super) fn cntrltype(text: &str) -> CtrlType {
    match text {
        "io" => CtrlType::Io,
        "discovery" => CtrlType::Discovery,
        "admin" => CtrlType::Admin,
        _ => CtrlType::Unknown,
    }
}

/// Attribute `dctype`.
pub(super) fn dctype(text: &str) -> Dctype {
    match text {
        "ddc" => Dctype::Ddc,
        "cdc" => Dctype::Cdc,
        _ => Dctype::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_made_canonical() {
        let text = "traddr=::ffff:192.0.2.1,trsvcid=8009,host_traddr=192.0.2.9,host_iface=eth0,src_addr=192.0.2.9";
        let address = Address::parse(text, Transport::Tcp);
        assert_eq!(address.traddr, "192.0.2.1");
        assert_eq!(address.trsvcid, "8009");
        assert_eq!(address.host_traddr, "192.0.2.9");
        assert_eq!(address.host_iface, "eth0");
        assert_eq!(address.src_addr, "192.0.2.9".parse().ok());
    }

    #[test]
    fn a_fibre_channel_address_keeps_its_colons_and_loses_its_capitals() {
        let address = Address::parse("traddr=nn-0x20:pn-0xAB,host_traddr=nn-0x10:pn-0x11", Transport::Fc);
        assert_eq!((address.traddr.as_str(), address.host_traddr.as_str()), ("nn-0x20:pn-0xab", "nn-0x10:pn-0x11"));
    }

    #[test]
    fn what_the_kernel_does_not_know_yet_is_empty() {
        assert_eq!(words(b"(null)\n"), "");
        assert_eq!(words(b"Linux                                   \n"), "Linux");
        assert_eq!(cntrltype("reserved"), CtrlType::Unknown);
    }

    #[test]
    fn control_characters_of_a_target_do_not_get_through() {
        assert_eq!(words(b"nqn.\x1b[2J\n"), "nqn.?[2J");
    }

    proptest! {
        #[test]
        fn any_bytes_become_words_without_control_characters(bytes: Vec<u8>) {
            prop_assert!(!words(&bytes).chars().any(char::is_control));
        }

        #[test]
        fn any_address_can_be_read(text: String) {
            let address = Address::parse(&text, Transport::Tcp);
            prop_assert!(address.trsvcid.len() <= text.len());
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(ip: std::net::IpAddr, port: u16, iface in "[a-z][a-z0-9]{0,14}", src: std::net::IpAddr) {
            let address = Address::parse(&format!("traddr={ip},trsvcid={port},host_iface={iface},src_addr={src}"), Transport::Tcp);
            prop_assert_eq!(address, Address {
                traddr: ip.to_canonical().to_string(),
                trsvcid: port.to_string(),
                host_traddr: String::new(),
                host_iface: iface,
                src_addr: Some(src.to_canonical()),
            });
        }
    }
}
