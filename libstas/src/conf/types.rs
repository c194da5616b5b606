//! The settings, typed: what the parsers make and the cores take.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::nvme::{Parameters, Transport};

/// Something in a file that is not as it should be; the rest of the file still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file.
    pub file: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// True for one that is told as an error (an unknown section or key), false for a warning.
    pub error: bool,
    /// What is wrong, what is done instead, and what would have been right.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// `ip-family`: which addresses are used, the preferred family first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyOrder {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both, IPv4 preferred (also written `ipv6+ipv4`: nvme-stas takes both orders for the same).
    #[default]
    Both,
}

impl FamilyOrder {
    /// Reads a word of `ip-family`; an unknown one is the default.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "ipv4" => Self::V4,
            "ipv6" => Self::V6,
            _ => Self::Both,
        }
    }
}

impl fmt::Display for FamilyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
            Self::Both => "ipv4+ipv6",
        })
    }
}

/// `zeroconf-connections-persistence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// -1, or any other negative time span.
    Forever,
    /// A time span; zero is at once.
    For(Duration),
}

/// `disconnect-scope`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisconnectScope {
    /// Only what this daemon connected or adopted.
    #[default]
    OnlyStas,
    /// Everything of the types in `disconnect-trtypes`.
    AllMatchingTrtypes,
    /// Nothing.
    Nothing,
}

/// `in-use`: what becomes of the last path to storage in use when a log page no longer names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InUse {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Disconnect,
}

/// One `controller=`. The address may be a host name, which the core has resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerEntry {
    /// transport
    pub transport: Transport,
    /// traddr: an address (canonical) or a host name.
    pub traddr: String,
    /// True when `traddr` is a host name (tcp and rdma alone).
    pub is_name: bool,
    /// trsvcid, with the transport's default filled in.
    pub trsvcid: String,
    /// nqn; empty when the entry has none (stafd fills in the well-known discovery NQN).
    pub subsysnqn: String,
    /// host-traddr, or empty.
    pub host_traddr: String,
    /// host-iface, or empty.
    pub host_iface: String,
    /// host-nqn, or empty.
    pub host_nqn: String,
    /// Parameters given on the entry itself, secrets included.
    pub parameters: Parameters,
    /// The line it stands on.
    pub line: usize,
}

/// One `exclude=`: every part given must equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusion {
    /// transport
    pub transport: Option<Transport>,
    /// traddr: an address (canonical) or a host name.
    pub traddr: Option<String>,
    /// True when `traddr` is a host name.
    pub is_name: bool,
    /// trsvcid
    pub trsvcid: Option<String>,
    /// nqn
    pub subsysnqn: Option<String>,
    /// host-iface
    pub host_iface: Option<String>,
    /// host-nqn
    pub host_nqn: Option<String>,
    /// The line it stands on.
    pub line: usize,
}

/// stafd.conf
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StafConf {
    /// tron
    pub tron: bool,
    /// Connection parameters of `[Global]`; kato is 30 s unless given, digests are off.
    pub parameters: Parameters,
    /// ignore-iface
    pub ignore_iface: bool,
    /// ip-family
    pub ip_family: FamilyOrder,
    /// pleo
    pub pleo: bool,
    /// zeroconf
    pub zeroconf: bool,
    /// persistent-connections
    pub persistent_connections: bool,
    /// zeroconf-connections-persistence
    pub zeroconf_persistence: Persistence,
    /// epcsd=poll
    pub polls_without_epcsd: bool,
    /// controller=
    pub controllers: Vec<ControllerEntry>,
    /// A controller=, or something that may have been one, could not be read: that a controller is no longer named
    /// is then no proof that it is no longer meant.
    pub controller_lost: bool,
    /// The first such line.
    pub lost_line: Option<usize>,
    /// exclude=
    pub exclusions: Vec<Exclusion>,
}

/// stacd.conf
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StacConf {
    /// tron
    pub tron: bool,
    /// Connection parameters of `[Global]`; digests are off unless given.
    pub parameters: Parameters,
    /// ignore-iface
    pub ignore_iface: bool,
    /// ip-family
    pub ip_family: FamilyOrder,
    /// disconnect-scope
    pub disconnect_scope: DisconnectScope,
    /// disconnect-trtypes: any of tcp, rdma, fc.
    pub disconnect_trtypes: BTreeSet<Transport>,
    /// connect-attempts-on-ncc; `None` is for ever.
    pub connect_attempts_on_ncc: Option<u32>,
    /// in-use
    pub in_use: InUse,
    /// controller=
    pub controllers: Vec<ControllerEntry>,
    /// A controller=, or something that may have been one, could not be read: that a controller is no longer named
    /// is then no proof that it is no longer meant.
    pub controller_lost: bool,
    /// The first such line.
    pub lost_line: Option<usize>,
    /// exclude=
    pub exclusions: Vec<Exclusion>,
}
