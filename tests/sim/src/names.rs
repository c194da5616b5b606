//! Who there is: targets, their portals and subsystems, the two daemons, and what all of them are called.

use std::fmt;
use std::net::IpAddr;

use libstas::core::{Interface, Links};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{DISCOVERY_NQN, Tid, TidParts, Transport};

/// The host's NQN.
pub const HOST_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
/// The host's one network interface.
pub const IFACE: &str = "eth0";
/// Its address.
pub const HOST_ADDRESS: [u8; 4] = [192, 0, 2, 200];

/// One of the two daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// stafd
    Stafd,
    /// stacd
    Stacd,
}

impl Who {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Stafd, Self::Stacd];
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stafd => "stafd",
            Self::Stacd => "stacd",
        })
    }
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
    /// Its address.
    #[must_use]
    pub fn address(self) -> String {
        format!("192.0.2.{}", self.0 + 1)
    }

    /// The target of that address.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        address.strip_prefix("192.0.2.")?.parse::<usize>().ok()?.checked_sub(1).map(Self)
    }

    /// Its discovery controller, by way of the host's interface or by whatever way.
    #[must_use]
    pub fn dc(self, by_iface: bool) -> Tid {
        tid(self, "8009", DISCOVERY_NQN, by_iface)
    }

    /// The I/O controller of a subsystem that it exports.
    #[must_use]
    pub fn ioc(self, subsystem: Subsystem, by_iface: bool) -> Tid {
        tid(self, "4420", &subsystem.nqn(), by_iface)
    }
}

impl Subsystem {
    /// Its NQN.
    #[must_use]
    pub fn nqn(self) -> String {
        format!("nqn.2026-01.example:{}", char::from(b'a' + u8::try_from(self.0 % 26).unwrap_or(0)))
    }

    /// The subsystem of that NQN.
    #[must_use]
    pub fn of(nqn: &str) -> Option<Self> {
        nqn.strip_prefix("nqn.2026-01.example:")?.bytes().next().map(|letter| Self(usize::from(letter - b'a')))
    }
}

fn tid(target: Target, trsvcid: &str, nqn: &str, by_iface: bool) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: target.address(),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: if by_iface { IFACE.into() } else { String::new() },
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

/// The host's network interfaces.
#[must_use]
pub fn links() -> Links {
    let addresses = vec![IpAddr::from(HOST_ADDRESS)];
    Links(vec![Interface { index: 1, name: IFACE.into(), mac: Vec::new(), up: true, addresses }])
}

/// A controller in a word.
#[must_use]
pub fn short(tid: &Tid) -> String {
    let by = if tid.host_iface.is_empty() { String::new() } else { format!(" by {}", tid.host_iface) };
    match (Target::of(&tid.traddr), Subsystem::of(&tid.subsysnqn)) {
        (Some(target), Some(subsystem)) => format!("{subsystem} at {target}{by}"),
        (Some(target), None) => format!("the DC of {target}{by}"),
        (None, _) => tid.to_string(),
    }
}
