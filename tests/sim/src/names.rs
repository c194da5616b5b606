//! The names of everything: targets with their addresses and subsystems, interfaces, and the two daemons.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use libstas::core::{Interface, Links};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Secret, Tid, TidParts, Transport};

/// The host's NQN.
pub const HOST_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";

/// DH-HMAC-CHAP keys, by their numbers from 1 on.
pub const KEYS: [&str; 3] = [
    "DHHC-1:00:EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi9A/ow7:",
    "DHHC-1:00:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj/jBqb2:",
    "DHHC-1:00:MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk+V+ai1:",
];

/// The host's identity, with the host ID and the key of these numbers. Key 0: none.
#[must_use]
pub fn host_identity(id: u8, key: u8) -> HostIdentity {
    let key = usize::from(key).checked_sub(1).and_then(|at| KEYS.get(at)).map(|key| Secret::new(*key));
    let id = format!("00000000-0000-4000-8000-0000000000{id:02x}");
    HostIdentity { key, ..HostIdentity::new(HOST_NQN, id) }
}

/// One of the host's network interfaces. The routes use eth0: only connections bound to eth1 use eth1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Iface {
    /// eth0
    Eth0,
    /// eth1
    Eth1,
}

/// The interface that a connection is bound to; `None`: the routes decide.
pub type Via = Option<Iface>;

impl Iface {
    /// Both interfaces of the host.
    pub const ALL: [Self; 2] = [Self::Eth0, Self::Eth1];

    /// Its name, as in `ip link`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eth0 => "eth0",
            Self::Eth1 => "eth1",
        }
    }

    /// The interface with that name.
    #[must_use]
    pub fn of(name: &str) -> Via {
        Self::ALL.into_iter().find(|iface| iface.name() == name)
    }

    /// The interface with that address.
    #[must_use]
    pub fn with_address(address: &str) -> Via {
        Self::ALL.into_iter().find(|iface| iface.address().to_string() == address)
    }

    /// Its interface index.
    #[must_use]
    pub fn index(self) -> u32 {
        1 + self as u32
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        IpAddr::from([192, 0, 2, 200 + self as u8])
    }

    /// Its hardware address.
    #[must_use]
    pub fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self as u8]
    }
}

impl fmt::Display for Iface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of the two daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Daemon {
    /// stafd
    Stafd,
    /// stacd
    Stacd,
}

impl Daemon {
    /// Both daemons, stafd first.
    pub const BOTH: [Self; 2] = [Self::Stafd, Self::Stacd];
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stafd => "stafd",
            Self::Stacd => "stacd",
        })
    }
}

/// Targets from this number on are on another network.
const FAR: usize = 1000;

/// Addresses from this number on are stale: no target has them, but host names lead there.
pub(crate) const STALE: usize = 6000;

/// The stale address of a host name, by the number of the name.
pub(crate) fn stale_address(name: usize) -> Target {
    Target(STALE + name)
}

/// A target, by number: a discovery controller and subsystems behind one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub usize);

/// A subsystem, by number. More than one target may export it: then it has more than one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subsystem(pub usize);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {}", self.0 + 1)
    }
}

impl fmt::Display for Subsystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subsystem {}", char::from(b'a' + u8::try_from(self.0 % 26).unwrap_or(0)))
    }
}

impl Target {
    /// Its IPv4 address.
    #[must_use]
    pub fn address(self) -> String {
        match self.0.checked_sub(FAR) {
            None => format!("192.0.2.{}", self.0 + 1),
            Some(far) => format!("198.18.{}.{}", far / 250, far % 250 + 1),
        }
    }

    /// The target with that address.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        if let Some(near) = address.strip_prefix("192.0.2.") {
            return near.parse::<usize>().ok()?.checked_sub(1).map(Self);
        }
        let (tens, ones) = address.strip_prefix("198.18.")?.split_once('.')?;
        let far = tens.parse::<usize>().ok()? * 250 + ones.parse::<usize>().ok()?.checked_sub(1)?;
        Some(Self(FAR + far))
    }

    /// The TID of its discovery controller.
    #[must_use]
    pub fn dc(self, via: Via) -> Tid {
        tid(self, "8009", DISCOVERY_NQN, via)
    }

    /// The I/O controller of a subsystem that it exports.
    #[must_use]
    pub fn ioc(self, subsystem: Subsystem, via: Via) -> Tid {
        tid(self, "4420", &subsystem.nqn(), via)
    }
}

impl Subsystem {
    /// Its subsystem NQN.
    #[must_use]
    pub fn nqn(self) -> String {
        format!("nqn.2026-01.example:{}", char::from(b'a' + u8::try_from(self.0 % 26).unwrap_or(0)))
    }

    /// The subsystem with that NQN.
    #[must_use]
    pub fn of(nqn: &str) -> Option<Self> {
        nqn.strip_prefix("nqn.2026-01.example:")?.bytes().next().map(|letter| Self(usize::from(letter - b'a')))
    }
}

fn tid(target: Target, trsvcid: &str, nqn: &str, via: Via) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: target.address(),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: via.map(Iface::name).unwrap_or_default().into(),
        host_nqn: HOST_NQN.into(),
    })
}

/// The log entry for a subsystem (`Some`) or a referral to a discovery controller (`None`) at that target.
#[must_use]
pub fn entry(target: Target, subsystem: Option<Subsystem>) -> Option<Entry> {
    let (subtype, service, nqn) = match subsystem {
        Some(subsystem) => ("nvme", "4420", subsystem.nqn()),
        None => ("referral", "8009", DISCOVERY_NQN.to_owned()),
    };
    let address = target.address();
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", "ipv4"),
        ("subtype", subtype),
        ("traddr", &address),
        ("trsvcid", service),
        ("subnqn", &nqn),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()).ok()
}

/// The host's network interfaces, if only these exist beside the loopback interface. Every host has that one: an empty
/// list means that the interfaces are not known yet.
#[must_use]
pub fn links(there: &BTreeSet<Iface>) -> Links {
    let interface = |iface: &Iface| Interface {
        index: iface.index(),
        name: iface.name().into(),
        mac: iface.mac().into(),
        up: true,
        addresses: vec![iface.address()],
    };
    let loopback = Interface {
        index: 9,
        name: "lo".into(),
        mac: [0; 6].into(),
        up: true,
        addresses: vec![IpAddr::from([127, 0, 0, 1])],
    };
    Links(there.iter().map(interface).chain([loopback]).collect())
}

/// For example ` by eth0`; empty without an interface.
#[must_use]
pub fn by(via: Via) -> String {
    via.map(|iface| format!(" by {iface}")).unwrap_or_default()
}

/// A short description of a controller.
#[must_use]
pub fn short(tid: &Tid) -> String {
    let by = by(Iface::of(&tid.host_iface));
    match (Target::of(&tid.traddr), Subsystem::of(&tid.subsysnqn)) {
        (Some(target), Some(subsystem)) => format!("{subsystem} at {target}{by}"),
        (Some(target), None) => format!("the DC of {target}{by}"),
        (None, _) => tid.to_string(),
    }
}
