//! What a table says, as values. They serialize to what `stasadm nbft` shows.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::Defect;
use crate::nvme::Transport;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nbft {
    /// Who the host was when it booted.
    pub host: Option<Host>,
    /// The host fabric interfaces.
    pub hfi: Vec<Hfi>,
    /// The namespaces that the firmware knows, and the way to each.
    pub subsystem: Vec<Ssns>,
    /// The discovery controllers.
    pub discovery: Vec<Discovery>,
    /// The security profiles.
    pub security: Vec<Security>,
    /// What is wrong in it.
    pub flaws: Vec<Flaw>,
}

/// Something that is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Which record.
    pub place: String,
    /// What is wrong.
    pub defect: Defect,
    /// The record counts all the same.
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

/// Who the host was when it booted (Boot Specification 1.0, Figure 9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Host NQN.
    pub nqn: Option<String>,
    /// An administrator chose that NQN; else it is the firmware's default.
    pub nqn_configured: bool,
    /// Host ID.
    #[serde(serialize_with = "maybe_text")]
    pub id: Option<Uuid>,
    /// An administrator chose that ID.
    pub id_configured: bool,
    /// Whether this table comes before others.
    pub primary: Priority,
}

/// What the firmware says of one table among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Nothing.
    NotIndicated,
    /// It does not come first.
    Unselected,
    /// It comes first.
    Selected,
    /// A value without a meaning.
    Reserved,
}

/// A hardware address.
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
    /// By which other records refer to it.
    pub index: u8,
    /// Its transport.
    pub transport: Transport,
    /// PCI Express routing ID: segment, bus, device, function.
    pub pci_sbdf: u32,
    /// Hardware address.
    #[serde(serialize_with = "maybe_text")]
    pub mac: Option<Mac>,
    /// VLAN identifier.
    pub vlan: Option<u16>,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Bits of its network.
    pub prefix: u8,
    /// How it got its address: 1 by hand, 2 well-known, 3 by DHCP, 4 by router advertisement.
    pub ip_origin: u8,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// Its routes are the host's default.
    pub default_route: bool,
    /// Cost of its routes.
    pub route_metric: u16,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// It was configured by DHCP.
    pub dhcp: bool,
    /// By that server.
    pub dhcp_server: Option<IpAddr>,
    /// The host's name.
    pub host_name: Option<String>,
}

/// A namespace and the way to it (Boot Specification 1.0, Figure 15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssns {
    /// By which other records refer to it.
    pub index: u16,
    /// Its transport.
    pub transport: Transport,
    /// Address of the subsystem.
    pub traddr: IpAddr,
    /// Its port.
    pub trsvcid: String,
    /// NQN of the subsystem.
    pub nqn: String,
    /// Port ID of the subsystem.
    pub port_id: u16,
    /// Namespace ID; 0: the identifier below tells which.
    pub nsid: u32,
    /// Namespace identifier.
    #[serde(serialize_with = "maybe_text")]
    pub nid: Option<NamespaceId>,
    /// The interfaces to it, the primary one first.
    pub hfi: Vec<u8>,
    /// The discovery controller that named it.
    pub discovery: Option<u8>,
    /// Its security profile.
    pub security: Option<u8>,
    /// The firmware need not have connected it.
    pub non_bootable: bool,
    /// It was named by DHCP.
    pub dhcp_root_path: bool,
    /// Its discovery controller has another address.
    pub separate_discovery: bool,
    /// It was discovered; else it was configured.
    pub discovered: bool,
    /// Whether the firmware could reach it.
    pub availability: Availability,
    /// It was connected with a header digest.
    pub header_digest: bool,
    /// It was connected with a data digest.
    pub data_digest: bool,
    /// More of it.
    pub extended: Option<Extended>,
}

/// A namespace identifier (NVMe Base 2.0, namespace identification descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceId {
    /// EUI-64.
    Eui64([u8; 8]),
    /// NGUID.
    Nguid([u8; 16]),
    /// UUID.
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
    /// It does not say.
    NotIndicated,
    /// It could.
    Available,
    /// It could not, or did not try.
    Unavailable,
    /// A value without a meaning.
    Reserved,
}

/// More of a namespace (Boot Specification 1.0, Figure 19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extended {
    /// Controller ID that the firmware had.
    pub cntlid: u16,
    /// Admin submission queue size.
    pub asqsz: u16,
    /// An administrator chose that size.
    pub asqsz_configured: bool,
    /// What DHCP said.
    pub dhcp_root_path: Option<String>,
}

/// A discovery controller (Boot Specification 1.0, Figure 24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// By which other records refer to it.
    pub index: u8,
    /// As the table has it.
    pub uri: String,
    /// Its transport.
    pub transport: Transport,
    /// Its address.
    pub traddr: IpAddr,
    /// Its port.
    pub trsvcid: String,
    /// Its NQN; without one, it is the well-known one.
    pub nqn: Option<String>,
    /// The interface to it.
    pub hfi: Option<u8>,
    /// Its security profile.
    pub security: Option<u8>,
}

/// A security profile (Boot Specification 1.0, Figures 21 and 22). It has no secrets, only where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Security {
    /// By which other records refer to it.
    pub index: u8,
    /// In-band authentication.
    pub in_band_authentication: Demand,
    /// A secure channel.
    pub secure_channel: Demand,
    /// Secure channel algorithms.
    pub secure_channel_algorithms: Vec<u8>,
    /// Authentication protocols.
    pub authentication_protocols: Vec<u8>,
    /// TLS cipher suites, as bytes.
    pub cipher_suites: Vec<u8>,
    /// DH-HMAC-CHAP groups.
    pub dh_groups: Vec<u8>,
    /// DH-HMAC-CHAP hash functions.
    pub hash_functions: Vec<u8>,
    /// Where the secret is.
    pub secret_keypath: Option<String>,
}

/// Whether the subsystem wants something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// It has no such thing.
    NotSupported,
    /// It can do with and without.
    Supported,
    /// It cannot do without.
    Required,
    /// A value without a meaning.
    Reserved,
}

fn maybe_text<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
