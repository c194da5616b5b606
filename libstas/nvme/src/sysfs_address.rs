//! The `address` attribute of a controller in sysfs:
//! `traddr=..,trsvcid=..[,host_traddr=..][,host_iface=..][,src_addr=..]`.

use std::net::IpAddr;

use super::{Tid, TidParts, Transport, tid};

/// Parts of the attribute, addresses in the canonical form of a [`super::Tid`]. An absent part is an empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SysfsAddress {
    /// `traddr`: transport address of the controller.
    pub traddr: String,
    /// `trsvcid`: transport service identifier, the port for tcp and rdma.
    pub trsvcid: String,
    /// `host_traddr`: source address requested for the connection.
    pub host_traddr: String,
    /// `host_iface`: interface requested for the connection.
    pub host_iface: String,
    /// `src_addr`: actual source address of the connection (Linux 6.1 and later). Only present while the admin queue is
    /// live.
    pub src_addr: Option<IpAddr>,
}

impl SysfsAddress {
    /// Reads the attribute. Unknown parts are ignored. If a part occurs twice, the last one counts.
    #[must_use]
    pub fn parse(text: &str, transport: Transport) -> Self {
        let mut parts = TidParts::none(transport);
        let mut src_addr = None;
        for (key, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "traddr" => value.clone_into(&mut parts.traddr),
                "trsvcid" => value.clone_into(&mut parts.trsvcid),
                "host_traddr" => value.clone_into(&mut parts.host_traddr),
                "host_iface" => value.trim().clone_into(&mut parts.host_iface),
                "src_addr" => src_addr = tid::parse_ip(value).map(|(ip, _)| ip),
                _ => {}
            }
        }
        // The connection is bound only if the kernel says so: the scope of its address does not bind it.
        let host_iface = parts.host_iface.clone();
        let TidParts { traddr, trsvcid, host_traddr, .. } = Tid::new(parts).into();
        Self { traddr, trsvcid, host_traddr, host_iface, src_addr }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_made_canonical() {
        let text = "traddr=::ffff:192.0.2.1,trsvcid=8009,host_traddr=192.0.2.9,host_iface=eth0,src_addr=192.0.2.9\n";
        let expected = SysfsAddress {
            traddr: "192.0.2.1".into(),
            trsvcid: "8009".into(),
            host_traddr: "192.0.2.9".into(),
            host_iface: "eth0".into(),
            src_addr: "192.0.2.9".parse().ok(),
        };
        assert_eq!(SysfsAddress::parse(text, Transport::Tcp), expected);
    }

    #[test]
    fn the_scope_of_a_link_local_address_is_kept() {
        let address = SysfsAddress::parse("traddr=FE80::0:1%eth0,src_addr=fe80::2%eth0", Transport::Tcp);
        assert_eq!((&*address.traddr, &*address.host_iface), ("fe80::1%eth0", ""));
        assert_eq!(address.src_addr, "fe80::2".parse().ok());
    }

    #[test]
    fn a_fibre_channel_address_keeps_its_colons_and_loses_its_capitals() {
        let address = SysfsAddress::parse("traddr=nn-0x20:pn-0xAB,host_traddr=nn-0x10:pn-0x11", Transport::Fc);
        assert_eq!((address.traddr.as_str(), address.host_traddr.as_str()), ("nn-0x20:pn-0xab", "nn-0x10:pn-0x11"));
    }

    #[test]
    fn a_source_address_that_cannot_be_read_is_none() {
        assert_eq!(SysfsAddress::parse("src_addr=,traddr", Transport::Tcp), SysfsAddress::default());
    }

    proptest! {
        #[test]
        fn the_kernel_and_a_page_spell_one_tid(
            transport in prop::sample::select(vec![Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop]),
            (ip, port, [node, pn]) in any::<(IpAddr, u16, [u64; 2])>(),
            zeros in "0{0,3}",
            absent in prop::sample::select(vec!["none", "", "  "]),
            iface in prop::sample::select(vec!["", "eth0"]),
        ) {
            let (ours, theirs, service) = match transport {
                Transport::Tcp | Transport::Rdma => {
                    (ip.to_string(), format!(" [{}] ", ip.to_string().to_uppercase()), format!("{zeros}{port}"))
                }
                Transport::Fc => (
                    format!("nn-0x{node:016x}:pn-0x{pn:016x}"),
                    format!("NN-0x{node:016X}:pn-0X{pn:016X}"),
                    absent.to_owned(),
                ),
                Transport::Loop => ("Loop-One".to_owned(), " Loop-One ".to_owned(), absent.to_owned()),
            };
            let sysfs = match transport {
                Transport::Tcp | Transport::Rdma => format!("traddr={ours},trsvcid={port},host_iface={iface}"),
                Transport::Fc | Transport::Loop => format!("traddr={ours}"),
            };
            let address = SysfsAddress::parse(&sysfs, transport);
            let host_iface = address.host_iface.clone();
            let page = TidParts { traddr: theirs, trsvcid: service, host_iface: host_iface.clone(), ..TidParts::none(transport) };
            let (traddr, trsvcid) = (address.traddr, address.trsvcid);
            let kernel = Tid::new(TidParts { traddr, trsvcid, host_iface, ..TidParts::none(transport) });
            prop_assert_eq!(kernel.clone(), Tid::new(page));
            // The same value as the kernel reports for a udev event, NVME_TRSVCID.
            let trsvcid = if transport.is_ip() { port.to_string() } else { "none".to_owned() };
            prop_assert_eq!(Tid::new(TidParts { trsvcid, ..kernel.parts().clone() }), kernel);
        }

        #[test]
        fn any_text_can_be_read(text: String) {
            let address = SysfsAddress::parse(&text, Transport::Tcp);
            prop_assert!(address.trsvcid.len() <= text.len());
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(
            ip: IpAddr,
            port: u16,
            iface in "[a-z][a-z0-9]{0,14}",
            src: IpAddr,
        ) {
            let text = format!("traddr={ip},trsvcid={port},host_iface={iface},src_addr={src}");
            let expected = SysfsAddress {
                traddr: tid::canonical_address(Transport::Tcp, &ip.to_string(), &iface),
                trsvcid: if port == 0 { String::new() } else { port.to_string() },
                host_traddr: String::new(),
                host_iface: iface,
                src_addr: Some(src.to_canonical()),
            };
            prop_assert_eq!(SysfsAddress::parse(&text, Transport::Tcp), expected);
        }
    }
}
