//! A member of the fabric: a subsystem, or another discovery controller.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stas_nvme::log_page::{AdrFam, EFlags, Entry, SecType, Subtype, TrType, Treq, Tsas};
use stas_nvme::{DISCOVERY_NQN, Transport};

/// What a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A subsystem with storage.
    #[default]
    Nvme,
    /// Another discovery controller, to which the page refers.
    Referral,
    /// A port of this very discovery subsystem.
    Discovery,
}

impl Kind {
    fn subtype(self) -> Subtype {
        match self {
            Self::Nvme => Subtype::NVME,
            Self::Referral => Subtype::REFERRAL,
            Self::Discovery => Subtype::DISCOVERY,
        }
    }
}

/// A member, with one log page entry per address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The kind of member.
    #[serde(default)]
    pub kind: Kind,
    /// The NQN of the member.
    #[serde(default = "well_known")]
    pub nqn: String,
    /// Its addresses, with one log page entry each.
    pub addresses: Vec<Address>,
    /// NCC: the discovery controller reports that it has no connection to it.
    #[serde(default)]
    pub ncc: bool,
    /// EPCSD: it supports explicit persistent connections (discovery controllers).
    #[serde(default)]
    pub epcsd: bool,
    /// The port ID of its entries. A direct discovery controller that is asked for port-local entries (PLEO) leaves out
    /// those of other ports; its first listener is port 1.
    #[serde(default = "first_port")]
    pub port: u16,
    /// True if connections require TLS 1.3.
    #[serde(default)]
    pub tls: bool,
}

fn well_known() -> String {
    DISCOVERY_NQN.to_owned()
}

fn first_port() -> u16 {
    1
}

impl Member {
    /// Its log page entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.addresses.iter().map(|address| self.entry(address))
    }

    /// The entry for one of its addresses.
    #[must_use]
    pub fn entry(&self, address: &Address) -> Entry {
        let mut eflags = EFlags::default();
        eflags.0 |= if self.ncc { EFlags::NCC.0 } else { 0 };
        eflags.0 |= if self.epcsd { EFlags::EPCSD.0 } else { 0 };
        let is_tcp = address.transport == Transport::Tcp;
        let sectype = if self.tls { SecType::TLS13 } else { SecType::NONE };
        Entry {
            trtype: address.transport.into(),
            adrfam: address.family(),
            subtype: self.kind.subtype(),
            treq: if self.tls { Treq::REQUIRED } else { Treq::NOT_SPECIFIED },
            portid: self.port,
            cntlid: 0xffff,
            asqsz: 32,
            eflags,
            trsvcid: address.trsvcid.clone(),
            subnqn: self.nqn.clone(),
            traddr: address.traddr.clone(),
            tsas: if is_tcp { Tsas::Tcp { sectype } } else { Tsas::None },
        }
    }
}

/// A transport address: `192.0.2.1:4420`, `[2001:db8::1]:4420`, with `rdma:` before it for that transport, or
/// `fc:nn-0x…:pn-0x…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The transport type.
    pub transport: Transport,
    /// The transport address (TRADDR).
    pub traddr: String,
    /// The transport service identifier (TRSVCID).
    pub trsvcid: String,
}

/// A text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a transport address; write 192.0.2.1:4420, [2001:db8::1]:4420, rdma:192.0.2.1:4420 or fc:nn-0x…:pn-0x…"
)]
pub struct AddressError(pub String);

impl Address {
    fn family(&self) -> AdrFam {
        match TrType::from(self.transport) {
            TrType::FC => AdrFam::FC,
            TrType::LOOP => AdrFam::LOOP,
            _ if self.traddr.contains(':') => AdrFam::IPV6,
            _ => AdrFam::IPV4,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError(text.to_owned());
        if let Some(traddr) = text.strip_prefix("fc:") {
            let traddr = Some(traddr.to_owned()).filter(|traddr| traddr.starts_with("nn-")).ok_or_else(error)?;
            return Ok(Self { transport: Transport::Fc, traddr, trsvcid: "none".to_owned() });
        }
        let (transport, rest) = match text.strip_prefix("rdma:") {
            Some(rest) => (Transport::Rdma, rest),
            None => (Transport::Tcp, text.strip_prefix("tcp:").unwrap_or(text)),
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(error)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let ip: IpAddr = bare.unwrap_or(host).parse().map_err(|_| error())?;
        if ip.is_ipv6() != bare.is_some() || port.parse::<u16>().is_err() {
            return Err(error());
        }
        Ok(Self { transport, traddr: ip.to_string(), trsvcid: port.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, traddr, trsvcid } = self;
        match transport {
            Transport::Tcp => {}
            other => write!(f, "{other}:")?,
        }
        match transport {
            Transport::Fc => write!(f, "{traddr}"),
            _ if traddr.contains(':') => write!(f, "[{traddr}]:{trsvcid}"),
            _ => write!(f, "{traddr}:{trsvcid}"),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}
