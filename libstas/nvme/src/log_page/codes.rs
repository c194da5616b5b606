//! The coded fields of a discovery log page entry. Values without a word are kept, and shown in decimal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Transport;

/// A text that is neither a known word nor a number from 0 to 255.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a known word nor a number from 0 to 255")]
pub struct UnknownWord(pub String);

/// Defines a one-byte field with words for some of its values.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $number:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u8);

        impl $name {
            $($(#[$value_doc])* pub const $value: Self = Self($number);)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$value => f.write_str($word),)*
                    Self(number) => write!(f, "{number}"),
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$value),)*
                    _ => text.parse().map(Self).map_err(|_| UnknownWord(text.to_owned())),
                }
            }
        }
    };
}

coded! {
    /// TRTYPE: transport type (NVMe Base 2.1, Figure 294).
    TrType {
        /// 0: the transport type is not indicated. No connection can be made.
        UNSPECIFIED = 0, "unspecified";
        /// 1: NVMe/RDMA, over InfiniBand, RoCE or iWARP.
        RDMA = 1, "rdma";
        /// 2: NVMe over Fibre Channel (FC-NVMe).
        FC = 2, "fc";
        /// 3: NVMe/TCP.
        TCP = 3, "tcp";
        /// 254: loopback within the host.
        LOOP = 254, "loop";
    }
}

impl TrType {
    /// The Linux host's transport of this type. `None`: the Linux host has none.
    #[must_use]
    pub fn transport(self) -> Option<Transport> {
        match self {
            Self::RDMA => Some(Transport::Rdma),
            Self::FC => Some(Transport::Fc),
            Self::TCP => Some(Transport::Tcp),
            Self::LOOP => Some(Transport::Loop),
            _ => None,
        }
    }
}

impl From<Transport> for TrType {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Rdma => Self::RDMA,
            Transport::Fc => Self::FC,
            Transport::Tcp => Self::TCP,
            Transport::Loop => Self::LOOP,
        }
    }
}

coded! {
    /// ADRFAM: address family (NVMe Base 2.1, Figure 294). 254 (loopback within the host) has no word.
    AdrFam {
        /// 0: PCI Express.
        PCI = 0, "pci";
        /// 1: an IPv4 address in TRADDR.
        IPV4 = 1, "ipv4";
        /// 2: an IPv6 address in TRADDR.
        IPV6 = 2, "ipv6";
        /// 3: an InfiniBand address in TRADDR.
        IB = 3, "infiniband";
        /// 4: Fibre Channel, WWNN and WWPN in TRADDR.
        FC = 4, "fc";
    }
}

impl AdrFam {
    /// 254: loopback within the host.
    pub const LOOP: Self = Self(254);
}

coded! {
    /// SUBTYPE: what the entry describes (NVMe Base 2.1, Figure 294).
    Subtype {
        /// 1: a referral to another discovery service.
        REFERRAL = 1, "referral";
        /// 2: an NVM subsystem with I/O controllers.
        NVME = 2, "nvme";
        /// 3: the discovery subsystem that returned the page.
        DISCOVERY = 3, "discovery";
    }
}

impl Subtype {
    /// True for the values that the specification defines.
    #[must_use]
    pub fn is_known(self) -> bool {
        matches!(self, Self::REFERRAL | Self::NVME | Self::DISCOVERY)
    }
}

coded! {
    /// TREQ: transport requirements (NVMe Base 2.1, Figure 294). The words stand for the whole byte, as in nvme-stas. A
    /// combination of bits is shown in decimal.
    Treq {
        /// 0: the entry states no requirement.
        NOT_SPECIFIED = 0, "not specified";
        /// 1: a secure channel is required.
        REQUIRED = 1, "required";
        /// 2: a secure channel is not required.
        NOT_REQUIRED = 2, "not required";
        /// 4: SQ flow control can be disabled.
        DISABLE_SQFLOW = 4, "disable sqflow";
    }
}

impl Treq {
    /// The requirement for secure channels only (bits 1:0).
    #[must_use]
    pub fn secure_channel(self) -> Self {
        Self(self.0 & 0b11)
    }

    /// True if connections must use a secure channel (bits 1:0).
    #[must_use]
    pub fn requires_secure_channel(self) -> bool {
        self.secure_channel() == Self::REQUIRED
    }

    /// True if the controller can work without SQ flow control (bit 2).
    #[must_use]
    pub fn can_disable_sqflow(self) -> bool {
        self.0 & 0b100 != 0
    }
}

coded! {
    /// SECTYPE: security type of NVMe/TCP, in TSAS (NVMe TCP Transport 1.2). The words are those of nvme-cli.
    SecType {
        /// 0: connections use TCP without TLS.
        NONE = 0, "none";
        /// 1: TLS 1.2 or earlier.
        TLS = 1, "tls";
        /// 2: TLS 1.3.
        TLS13 = 2, "tls13";
    }
}

/// EFLAGS: entry flags (NVMe Base 2.1, Figure 294).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EFlags(pub u16);

impl EFlags {
    /// DUPRETINFO: all entries with this flag lead to the same discovery information.
    const DUPRETINFO: Self = Self(1 << 0);
    /// EPCSD: the discovery controller supports explicit persistent connections.
    pub const EPCSD: Self = Self(1 << 1);
    /// NCC: no DDC that describes this entry is connected to the CDC.
    pub const NCC: Self = Self(1 << 2);

    /// True if DUPRETINFO is set: all entries with this flag lead to the same discovery information.
    #[must_use]
    pub fn duplicate_information(self) -> bool {
        self.0 & Self::DUPRETINFO.0 != 0
    }

    /// True if EPCSD is set: the discovery controller supports explicit persistent connections.
    #[must_use]
    pub fn epcsd(self) -> bool {
        self.0 & Self::EPCSD.0 != 0
    }

    /// True if NCC is set: no DDC that describes this entry is connected to the CDC.
    #[must_use]
    pub fn ncc(self) -> bool {
        self.0 & Self::NCC.0 != 0
    }
}

impl fmt::Display for EFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
