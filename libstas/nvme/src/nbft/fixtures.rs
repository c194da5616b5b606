//! Minimal NBFT records for tests and simulated firmware, which fill in the other fields themselves.

use std::net::{IpAddr, SocketAddr};

use super::record::{Availability, Demand, Discovery, Hfi, Host, Mac, Nbft, Priority, Security, Ssns};
use super::tables::{BootTable, BootTables};
use crate::Transport;

/// The bytes of the shortest table: a header, and a control descriptor that is marked invalid.
#[must_use]
pub fn shortest_table() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[..4].copy_from_slice(b"NBFT");
    bytes[4] = 128;
    bytes[8] = 1;
    bytes[64..66].copy_from_slice(&[1, 1]);
    bytes[9] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    bytes
}

impl Host {
    /// A host with an NQN set by an administrator, in the primary table.
    #[must_use]
    pub fn new(nqn: impl Into<String>) -> Self {
        let nqn = Some(nqn.into());
        Self { nqn, nqn_configured: true, id: None, id_configured: false, primary: Priority::Selected }
    }
}

impl Hfi {
    /// An interface with one address and a prefix of 24 bits.
    #[must_use]
    pub fn new(index: u8, mac: [u8; 6], ip: IpAddr) -> Self {
        Self {
            index,
            transport: Transport::Tcp,
            pci_sbdf: 0,
            mac: Some(Mac(mac)),
            vlan: None,
            ip: Some(ip),
            prefix: 24,
            ip_origin: 0,
            gateway: None,
            default_route: false,
            route_metric: 0,
            dns: Vec::new(),
            dhcp: false,
            dhcp_server: None,
            host_name: None,
        }
    }
}

impl Ssns {
    /// A namespace that the firmware could reach, without a preferred interface.
    #[must_use]
    pub fn new(index: u16, traddr: IpAddr, nqn: impl Into<String>) -> Self {
        Self {
            index,
            transport: Transport::Tcp,
            traddr,
            trsvcid: "4420".into(),
            nqn: nqn.into(),
            port_id: 0,
            nsid: 1,
            nid: None,
            hfi: Vec::new(),
            discovery: None,
            security: None,
            non_bootable: false,
            dhcp_root_path: false,
            separate_discovery: false,
            discovered: false,
            availability: Availability::Available,
            header_digest: false,
            data_digest: false,
            extended: None,
        }
    }
}

impl Discovery {
    /// A discovery controller with the well-known NQN, without a preferred interface.
    #[must_use]
    pub fn new(index: u8, traddr: IpAddr) -> Self {
        Self {
            index,
            uri: format!("nvme+tcp://{}/", SocketAddr::new(traddr, 8009)),
            transport: Transport::Tcp,
            traddr,
            trsvcid: "8009".into(),
            nqn: None,
            hfi: None,
            security: None,
        }
    }
}

impl Security {
    /// A profile without algorithms and protocols.
    #[must_use]
    pub fn new(index: u8, secure_channel: Demand) -> Self {
        Self {
            index,
            in_band_authentication: Demand::NotSupported,
            secure_channel,
            secure_channel_algorithms: Vec::new(),
            authentication_protocols: Vec::new(),
            cipher_suites: Vec::new(),
            dh_groups: Vec::new(),
            hash_functions: Vec::new(),
            secret_keypath: None,
        }
    }
}

impl From<Nbft> for BootTables {
    /// Makes the only table of a host.
    fn from(nbft: Nbft) -> Self {
        Self(vec![BootTable { name: "NBFT".into(), nbft }])
    }
}
