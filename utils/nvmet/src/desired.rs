//! The desired target: a configuration that was parsed, checked and expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use stas_nvme::{Secret, Transport};

use crate::identity::Identifier;

/// The content of a configuration. Anything that it does not mention is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Its ports, by number.
    pub ports: BTreeMap<u16, Port>,
    /// Its subsystems, by NQN.
    pub subsystems: BTreeMap<String, Subsystem>,
    /// Its hosts, by NQN: those with keys, and those that a subsystem admits.
    pub hosts: BTreeMap<String, Host>,
    /// The settings for RAM disks, used if a namespace needs one.
    pub brd: Brd,
}

/// A port: one address at which the target listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The address to listen on.
    pub address: Address,
    /// Referrals to other discovery controllers, by name.
    pub referrals: BTreeMap<String, Referral>,
}

/// A referral in the discovery log page of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// The address of the other discovery controller.
    pub address: Address,
    /// The port number that the log entry carries.
    pub port_id: u16,
}

/// An address, as the kernel writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The transport type.
    pub transport: Transport,
    /// Canonical text: an IP address, a WWN pair, or a name (loop).
    pub traddr: String,
    /// The TCP or RDMA port number; `None` for fc and loop.
    pub trsvcid: Option<u16>,
}

impl Address {
    /// The attributes of a port or a referral for this address, in the order of writing.
    #[must_use]
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            ("addr_trtype", self.transport.to_string()),
            ("addr_adrfam", self.family().to_owned()),
            ("addr_traddr", self.traddr.clone()),
        ];
        attributes.extend(self.trsvcid.map(|service| ("addr_trsvcid", service.to_string())));
        attributes
    }

    fn family(&self) -> &'static str {
        match self.transport {
            Transport::Fc => "fc",
            Transport::Loop => "loop",
            Transport::Tcp | Transport::Rdma if self.traddr.contains(':') => "ipv6",
            Transport::Tcp | Transport::Rdma => "ipv4",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.transport)?;
        match self.trsvcid {
            Some(service) if self.traddr.contains(':') => write!(f, "[{}]:{service}", self.traddr),
            Some(service) => write!(f, "{}:{service}", self.traddr),
            None => f.write_str(&self.traddr),
        }
    }
}

/// A subsystem, the ports that export it and the hosts that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsystem {
    /// Namespaces by their ID.
    pub namespaces: BTreeMap<u32, Namespace>,
    /// The numbers of the ports that export it.
    pub ports: BTreeSet<u16>,
    /// The hosts that it admits.
    pub access: Access,
}

/// The hosts that may connect to a subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Any host may connect.
    Anyone,
    /// These hosts, by NQN.
    Only(BTreeSet<String>),
}

/// A namespace: its storage, and its identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The block device or file behind it.
    pub storage: Storage,
    /// Its UUID. It does not change between runs of `create`, so that hosts recognize the namespace.
    pub uuid: Identifier,
    /// Its NGUID, if the configuration gives one.
    pub nguid: Option<Identifier>,
}

/// The storage of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A RAM disk of `brd`; the planner chooses one.
    RamDisk,
    /// A `null_blk` device that the tool creates.
    NullBlk(NullBlk),
    /// An existing block device or file that is only exported.
    Given(PathBuf),
}

/// A `null_blk` device, created in configfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullBlk {
    /// Its name in configfs and, since Linux 5.19, in /dev.
    pub name: String,
    /// Its size in MiB.
    pub size_mib: u32,
    /// True if it stores written data. If not, it reads as zeros and uses no memory.
    pub memory_backed: bool,
}

impl NullBlk {
    /// The path of the block device.
    #[must_use]
    pub fn device(&self) -> PathBuf {
        null_blk_device(&self.name)
    }
}

/// The path of the block device behind a directory of `nullb` in configfs.
#[must_use]
pub fn null_blk_device(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/{name}"))
}

/// The settings of RAM disks. `brd` has one size, set when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brd {
    /// The size of each RAM disk in MiB.
    pub size_mib: u32,
    /// True if idle RAM disks of a `brd` that was loaded by another program may be used and overwritten.
    pub use_existing: bool,
}

/// RAM disks use memory only as they are written, so a large default costs nothing.
pub const DEFAULT_SIZE_MIB: u32 = 64;

impl Default for Brd {
    fn default() -> Self {
        Self { size_mib: DEFAULT_SIZE_MIB, use_existing: false }
    }
}

/// A host, with its keys if it must authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The key that authenticates the host.
    pub dhchap_key: Option<Secret>,
    /// The key that authenticates the target to the host.
    pub dhchap_ctrl_key: Option<Secret>,
    /// The hash of the exchange, as the kernel names it; its default if absent.
    pub dhchap_hash: Option<String>,
    /// The Diffie-Hellman group, as the kernel names it; its default if absent.
    pub dhchap_dhgroup: Option<String>,
}
