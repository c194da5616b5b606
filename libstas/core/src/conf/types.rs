//! The typed settings: output of the parsers, input of the cores.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use stas_nvme::{Parameters, Transport};

/// How much of the line in a [`Complaint`] applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The line applies, but with another effect than written.
    Warning,
    /// A section, a key or a part of an entry is unknown and ignored.
    Unknown,
    /// A line or an entry is refused, or what it asks for is not done. A line that may be a `controller=` is refused
    /// even if it has an unknown key.
    Refused,
}

impl Severity {
    /// True if the daemons log it as an error, false if as a warning.
    #[must_use]
    pub fn is_error(self) -> bool {
        self > Self::Warning
    }
}

/// An error in a file. The rest of the file still applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Name of the file, as the caller of the parser gave it.
    pub file: String,
    /// Line, counted from 1. 0: the file as a whole.
    pub line: usize,
    /// How much of the line applies.
    pub severity: Severity,
    /// What is wrong, what applies instead, and what would be valid.
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

/// `ip-family`: the address families to use, and the preferred one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyOrder {
    /// `ipv4`: IPv6 addresses are not used.
    V4,
    /// `ipv6`: IPv4 addresses are not used.
    V6,
    /// `ipv4+ipv6`: both, IPv4 preferred. `ipv6+ipv4` means the same, as in nvme-stas.
    #[default]
    Both,
}

impl FamilyOrder {
    /// The value for a word of `ip-family`. An unknown word gives the default.
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

/// `zeroconf-connections-persistence`: how long a discovery controller is kept after its announcement has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Kept forever: -1, or any other negative time span.
    Forever,
    /// Kept for this time. Zero: removed at once.
    For(Duration),
}

/// `disconnect-scope`: the connections that stacd may disconnect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisconnectScope {
    /// `only-stas-connections`: those that this daemon made or adopted.
    #[default]
    OnlyStas,
    /// `all-connections-matching-disconnect-trtypes`: all connections with a transport in `disconnect-trtypes`.
    AllMatchingTrtypes,
    /// `no-disconnect`: no connection is disconnected.
    Nothing,
}

/// `in-use`: what happens to the last path to storage in use when log pages no longer list it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InUse {
    /// `keep`: the path stays connected.
    #[default]
    Keep,
    /// `disconnect`: the path is disconnected.
    Disconnect,
}

/// One `controller=`. If the address is a host name, the core resolves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerEntry {
    /// transport: tcp, rdma, fc or loop.
    pub transport: Transport,
    /// traddr: an address in canonical form, or a host name.
    pub traddr: String,
    /// True if `traddr` is a host name (tcp and rdma only).
    pub is_name: bool,
    /// trsvcid; the transport's default if the entry has none.
    pub trsvcid: String,
    /// nqn. Empty if the entry has none; stafd then uses the well-known discovery NQN.
    pub subsysnqn: String,
    /// host-traddr. Empty if the entry has none.
    pub host_traddr: String,
    /// host-iface. Empty if the entry has none.
    pub host_iface: String,
    /// host-nqn. Empty if the entry has none: the host's own NQN.
    pub host_nqn: String,
    /// Connection parameters of the entry itself, including its secrets.
    pub parameters: Parameters,
    /// Line of the entry, counted from 1.
    pub line: usize,
}

/// One `exclude=`. A controller is excluded if all given parts are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusion {
    /// transport. `None`: any.
    pub transport: Option<Transport>,
    /// traddr: an address in canonical form, or a host name. `None`: any.
    pub traddr: Option<String>,
    /// True if `traddr` is a host name.
    pub is_name: bool,
    /// trsvcid. `None`: any.
    pub trsvcid: Option<String>,
    /// nqn. `None`: any.
    pub subsysnqn: Option<String>,
    /// host-iface. `None`: any.
    pub host_iface: Option<String>,
    /// host-nqn. `None`: any.
    pub host_nqn: Option<String>,
    /// Line of the entry, counted from 1.
    pub line: usize,
}

/// The settings of stafd.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StafConf {
    /// tron: trace in the log.
    pub tron: bool,
    /// Connection parameters of `[Global]`. kato defaults to 30 s, digests default to off.
    pub parameters: Parameters,
    /// ignore-iface: leave the choice of the interface to the routing table.
    pub ignore_iface: bool,
    /// ip-family: the address families to use.
    pub ip_family: FamilyOrder,
    /// pleo: request port-local log page entries only.
    pub pleo: bool,
    /// zeroconf: find discovery controllers by mDNS.
    pub zeroconf: bool,
    /// max-announced: maximum number of connected discovery controllers that only mDNS announces.
    pub max_announced: usize,
    /// max-referrals: maximum number of referrals followed of each discovery controller.
    pub max_referrals: usize,
    /// persistent-connections: keep connections to discovery controllers when stafd stops.
    pub persistent_connections: bool,
    /// zeroconf-connections-persistence: how long a discovery controller is kept after its announcement has expired.
    pub zeroconf_persistence: Persistence,
    /// epcsd=poll: poll a discovery controller that lists itself without EPCSD.
    pub polls_without_epcsd: bool,
    /// controller=: the configured discovery controllers, in the order of the file.
    pub controllers: Vec<ControllerEntry>,
    /// The first line that is a `controller=`, or may have been one, and could not be read. If there is any, the
    /// absence of a controller from the file does not prove that the administrator removed it.
    pub lost_line: Option<usize>,
    /// exclude= and blacklist=: controllers never to connect to.
    pub exclusions: Vec<Exclusion>,
}

/// The settings of stacd.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StacConf {
    /// tron: trace in the log.
    pub tron: bool,
    /// Connection parameters of `[Global]`. Digests default to off.
    pub parameters: Parameters,
    /// ignore-iface: leave the choice of the interface to the routing table.
    pub ignore_iface: bool,
    /// ip-family: the address families to use.
    pub ip_family: FamilyOrder,
    /// disconnect-scope: the connections that stacd may disconnect.
    pub disconnect_scope: DisconnectScope,
    /// disconnect-trtypes: the transports of the audit, any of tcp, rdma and fc.
    pub disconnect_trtypes: BTreeSet<Transport>,
    /// connect-attempts-on-ncc: number of connect attempts while NCC is set. `None`: no limit.
    pub connect_attempts_on_ncc: Option<u32>,
    /// max-controllers-per-announced-dc: maximum number of I/O controllers connected for each discovery controller that
    /// only mDNS announces.
    pub max_per_announced_dc: usize,
    /// in-use: whether the last path to storage in use is disconnected.
    pub in_use: InUse,
    /// controller=: the configured I/O controllers, in the order of the file.
    pub controllers: Vec<ControllerEntry>,
    /// The first line that is a `controller=`, or may have been one, and could not be read. If there is any, the
    /// absence of a controller from the file does not prove that the administrator removed it.
    pub lost_line: Option<usize>,
    /// exclude= and blacklist=: controllers never to connect to.
    pub exclusions: Vec<Exclusion>,
}
