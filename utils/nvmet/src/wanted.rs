//! The target that is wanted: a configuration after it was read, checked and expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use libstas::nvme::{Secret, Transport};

use crate::identity::Identifier;

/// Everything that a configuration asks for. It speaks of nothing that it does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Ports by their number.
    pub ports: BTreeMap<u16, Port>,
    /// Subsystems by their NQN.
    pub subsystems: BTreeMap<String, Subsystem>,
    /// Hosts by their NQN: those with keys, and those that a subsystem allows.
    pub hosts: BTreeMap<String, Host>,
    /// How RAM disks are made, should a namespace want one.
    pub brd: Brd,
}

/// A port: one address at which the target listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Where it listens.
    pub address: Address,
    /// Referrals to other discovery controllers, by name.
    pub referrals: BTreeMap<String, Referral>,
}

/// A referral in the discovery log page of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// Where the other discovery controller listens.
    pub address: Address,
    /// The port number that the log entry carries.
    pub port_id: u16,
}

/// An address in the kernel's terms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The transport.
    pub transport: Transport,
    /// Canonical text: an IP address, a WWN pair, a name (loop).
    pub traddr: String,
    /// The TCP or RDMA port; fc and loop have none.
    pub trsvcid: Option<u16>,
}

impl Address {
    /// The attributes of a port or a referral that make this address, in the order in which they are written.
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
    /// The ports that export it.
    pub ports: BTreeSet<u16>,
    /// The hosts that it lets in.
    pub access: Access,
}

/// The hosts that may connect to a subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Every host.
    Anyone,
    /// These hosts, by NQN.
    Only(BTreeSet<String>),
}

/// A namespace: what it lies on and by which names hosts know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// What it lies on.
    pub storage: Storage,
    /// Its UUID; the same after every `create`, so that hosts take it for the same namespace.
    pub uuid: Identifier,
    /// Its NGUID, if the configuration gives one.
    pub nguid: Option<Identifier>,
}

/// What a namespace lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A RAM disk of `brd`; the planner says which.
    RamDisk,
    /// A `null_blk` device that we make.
    NullBlk(NullBlk),
    /// A block device or a file that somebody else made; we only pass it on.
    Given(PathBuf),
}

/// A `null_blk` device, made in configfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullBlk {
    /// Its name in configfs and, from Linux 5.19, in /dev.
    pub name: String,
    /// Its size in MiB.
    pub size_mib: u32,
    /// Whether it keeps what is written. If not, it reads as zeros and takes no memory.
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

/// How RAM disks are made. `brd` knows one size, set when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brd {
    /// The size of each RAM disk in MiB.
    pub size_mib: u32,
    /// Whether idle RAM disks of a `brd` that somebody else loaded may be taken, and overwritten.
    pub use_existing: bool,
}

/// RAM disks grow as they are written, so a roomy default costs nothing.
pub const DEFAULT_SIZE_MIB: u32 = 64;

impl Default for Brd {
    fn default() -> Self {
        Self { size_mib: DEFAULT_SIZE_MIB, use_existing: false }
    }
}

/// A host: its keys, if it is to authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The key by which the host proves itself.
    pub dhchap_key: Option<Secret>,
    /// The key by which the target proves itself to the host.
    pub dhchap_ctrl_key: Option<Secret>,
    /// The hash of the exchange, as the kernel names it; its default if absent.
    pub dhchap_hash: Option<String>,
    /// The Diffie-Hellman group, as the kernel names it; its default if absent.
    pub dhchap_dhgroup: Option<String>,
}
