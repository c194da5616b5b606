//! Decoded records of a table. They serialize to the output of `stasadm nbft`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::Defect;
use crate::Transport;

/// One decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nbft {
    /// The host's identity when it booted. `None` if the host descriptor is invalid.
    pub host: Option<Host>,
    /// The host fabric interfaces.
    pub hfi: Vec<Hfi>,
    /// The namespaces that the firmware knows, with their subsystems.
    pub subsystem: Vec<Ssns>,
    /// The discovery controllers.
    pub discovery: Vec<Discovery>,
    /// The security profiles.
    pub security: Vec<Security>,
    /// Defects found in the records of the table.
    pub flaws: Vec<Flaw>,
}

/// A defect in one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The record, for example `HFI descriptor 1` or `SSNS 2`.
    pub place: String,
    /// The defect itself.
    pub defect: Defect,
    /// True if the record is still used, without the defective field.
    pub used: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so = if self.used { "" } else { "; it is ignored" };
        write!(f, "{}: {}{so}", self.place, self.defect)
    }
}

impl Serialize for Flaw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The host's identity when it booted (Boot Specification 1.0, Figure 9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Host NQN. `None` if it is missing or not valid.
    pub nqn: Option<String>,
    /// True if an administrator set the host NQN. False: it is the firmware's default.
    pub nqn_configured: bool,
    /// Host ID. `None` if it is all zeros.
    #[serde(serialize_with = "maybe_text")]
    pub id: Option<Uuid>,
    /// True if an administrator set the host ID.
    pub id_configured: bool,
    /// Whether this table is the primary one of several.
    pub primary: Priority,
}

/// Whether a table is the primary one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// 0: the firmware does not say.
    NotIndicated,
    /// 1: this table is not the primary one.
    Unselected,
    /// 2: this table is the primary one.
    Selected,
    /// 3: reserved.
    Reserved,
}

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A host fabric interface with its TCP/IP information (Boot Specification 1.0, Figures 11 and 13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hfi {
    /// Index by which other records refer to it. 0 in a reference means none.
    pub index: u8,
    /// Transport of the interface. Only tcp is defined.
    pub transport: Transport,
    /// PCI Express routing ID: segment, bus, device, function.
    pub pci_sbdf: u32,
    /// Hardware address. `None` if it is all zeros.
    #[serde(serialize_with = "maybe_text")]
    pub mac: Option<Mac>,
    /// VLAN identifier. `None`: the interface is not in a VLAN.
    pub vlan: Option<u16>,
    /// IP address of the interface. `None`: it has none.
    pub ip: Option<IpAddr>,
    /// Prefix length of the address in bits.
    pub prefix: u8,
    /// Origin of the address: 1 manual, 2 well-known, 3 DHCP, 4 router advertisement.
    pub ip_origin: u8,
    /// Next hop. `None`: no gateway.
    pub gateway: Option<IpAddr>,
    /// True if its routes are the host's default routes.
    pub default_route: bool,
    /// Metric of its routes.
    pub route_metric: u16,
    /// Name servers, primary first; at most two.
    pub dns: Vec<IpAddr>,
    /// True if the interface was configured by DHCP.
    pub dhcp: bool,
    /// DHCP server that configured it.
    pub dhcp_server: Option<IpAddr>,
    /// Host name. `None` if it is missing or not text.
    pub host_name: Option<String>,
}

/// A namespace and the path to it (Boot Specification 1.0, Figure 15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssns {
    /// Index by which other records refer to it.
    pub index: u16,
    /// Transport to the subsystem. Only tcp is defined.
    pub transport: Transport,
    /// Address of the subsystem.
    pub traddr: IpAddr,
    /// Port of the subsystem, in canonical form.
    pub trsvcid: String,
    /// NQN of the subsystem.
    pub nqn: String,
    /// Port ID of the subsystem.
    pub port_id: u16,
    /// Namespace ID. 0: `nid` identifies the namespace.
    pub nsid: u32,
    /// Globally unique namespace identifier. `None`: the table has none.
    #[serde(serialize_with = "maybe_text")]
    pub nid: Option<NamespaceId>,
    /// Indexes of the interfaces to the subsystem, the primary one first.
    pub hfi: Vec<u8>,
    /// Index of the discovery controller that listed it. `None`: the table names none.
    pub discovery: Option<u8>,
    /// Index of its security profile. `None`: it has none.
    pub security: Option<u8>,
    /// True if the namespace is not bootable: the firmware need not have connected it.
    pub non_bootable: bool,
    /// True if it was named by the DHCP root path.
    pub dhcp_root_path: bool,
    /// True if its discovery controller has another address.
    pub separate_discovery: bool,
    /// True if it was discovered, false if it was configured.
    pub discovered: bool,
    /// Whether the firmware could reach it.
    pub availability: Availability,
    /// True if the firmware connected with header digest.
    pub header_digest: bool,
    /// True if the firmware connected with data digest.
    pub data_digest: bool,
    /// Extended information. `None`: the table has none that can be read.
    pub extended: Option<Extended>,
}

/// A namespace identifier (NVMe Base 2.0, namespace identification descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceId {
    /// EUI-64 (8 bytes).
    Eui64([u8; 8]),
    /// NGUID: namespace globally unique identifier (16 bytes).
    Nguid([u8; 16]),
    /// UUID (16 bytes).
    Uuid(Uuid),
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = |kind: &str, bytes: &[u8]| {
            write!(f, "{kind}.")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::Eui64(bytes) => hex("eui", bytes),
            Self::Nguid(bytes) => hex("nguid", bytes),
            Self::Uuid(uuid) => write!(f, "uuid.{uuid}"),
        }
    }
}

/// Whether the firmware could reach a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// 0: the firmware does not say.
    NotIndicated,
    /// 1: the firmware reached the namespace.
    Available,
    /// 2: the firmware did not reach the namespace, or did not try.
    Unavailable,
    /// 3: reserved.
    Reserved,
}

/// Extended information about a namespace (Boot Specification 1.0, Figure 19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extended {
    /// Controller ID of the firmware's connection.
    pub cntlid: u16,
    /// Admin submission queue size of the firmware's connection, in entries.
    pub asqsz: u16,
    /// True if an administrator set the admin submission queue size.
    pub asqsz_configured: bool,
    /// DHCP root path. `None`: the table has none.
    pub dhcp_root_path: Option<String>,
}

/// A discovery controller (Boot Specification 1.0, Figure 24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// Index by which other records refer to it. 0 in a reference means none.
    pub index: u8,
    /// The URI as in the table.
    pub uri: String,
    /// Transport, from the scheme of the URI.
    pub transport: Transport,
    /// IP address, from the URI.
    pub traddr: IpAddr,
    /// Port, from the URI; the transport's default if the URI has none.
    pub trsvcid: String,
    /// NQN. `None`: the well-known NQN.
    pub nqn: Option<String>,
    /// Index of the interface to it. `None`: any interface.
    pub hfi: Option<u8>,
    /// Index of its security profile. `None`: it has none.
    pub security: Option<u8>,
}

/// A security profile (Boot Specification 1.0, Figures 21 and 22). It contains no secrets, only their location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Security {
    /// Index by which other records refer to it.
    pub index: u8,
    /// Whether in-band authentication is required.
    pub in_band_authentication: Demand,
    /// Whether a secure channel is required.
    pub secure_channel: Demand,
    /// Secure channel algorithm types, as bytes of the table.
    pub secure_channel_algorithms: Vec<u8>,
    /// Authentication protocol types, as bytes of the table.
    pub authentication_protocols: Vec<u8>,
    /// TLS cipher suites, as bytes of the table.
    pub cipher_suites: Vec<u8>,
    /// DH-HMAC-CHAP group identifiers, as bytes of the table.
    pub dh_groups: Vec<u8>,
    /// DH-HMAC-CHAP hash function identifiers, as bytes of the table.
    pub hash_functions: Vec<u8>,
    /// URI of the secret. `None`: the table has none.
    pub secret_keypath: Option<String>,
}

/// Whether the subsystem requires a security feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// 0: the subsystem does not support it.
    NotSupported,
    /// 1: the subsystem supports it, but does not require it.
    Supported,
    /// 2: the subsystem requires it.
    Required,
    /// 3: reserved.
    Reserved,
}

fn maybe_text<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
