//! The `address` attribute of a controller in sysfs: `traddr=..,trsvcid=..[,host_traddr=..][,host_iface=..][,src_addr=..]`.

use std::net::IpAddr;

use super::tid;

/// Its parts; empty strings are absent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SysfsAddress {
    /// Transport address.
    pub traddr: String,
    /// Transport service identifier.
    pub trsvcid: String,
    /// Source address that the connection was asked to have.
    pub host_traddr: String,
    /// Interface that the connection was asked to use.
    pub host_iface: String,
    /// Source address that the connection has (kernel 6.1); shown only while the admin queue is live.
    pub src_addr: Option<IpAddr>,
}

impl SysfsAddress {
    /// Reads the attribute; what it does not know it passes over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut address = Self::default();
        for (key, value) in text.trim().split(',').filter_map(|part| part.split_once('=')) {
            let value = value.trim().to_owned();
            match key.trim() {
                "traddr" => address.traddr = value,
                "trsvcid" => address.trsvcid = value,
                "host_traddr" => address.host_traddr = value,
                "host_iface" => address.host_iface = value,
                "src_addr" => address.src_addr = tid::parse_ip(&value).map(|(ip, _)| ip),
                _ => {}
            }
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_parts_are_read() {
        let text = "traddr=192.0.2.1,trsvcid=8009,host_traddr=192.0.2.9,host_iface=eth0,src_addr=192.0.2.9\n";
        let address = SysfsAddress::parse(text);
        assert_eq!(address.traddr, "192.0.2.1");
        assert_eq!(address.host_iface, "eth0");
        assert_eq!(address.src_addr, "192.0.2.9".parse().ok());
        assert_eq!(SysfsAddress::parse("traddr=fe80::1%eth0,trsvcid=1").traddr, "fe80::1%eth0");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = SysfsAddress::parse(&text);
        }
    }
}
