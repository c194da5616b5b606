//! The coded fields of a discovery log page entry. Numbers that have no word are kept, and shown as decimal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nvme::Transport;

/// A word that is neither known nor a number that the field can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a known word nor a number from 0 to 255")]
pub struct UnknownWord(pub String);

/// One byte with words for some of its values.
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
        /// Not indicated.
        UNSPECIFIED = 0, "unspecified";
        /// RDMA.
        RDMA = 1, "rdma";
        /// Fibre Channel.
        FC = 2, "fc";
        /// TCP.
        TCP = 3, "tcp";
        /// Within the host.
        LOOP = 254, "loop";
    }
}

impl TrType {
    /// The transport that the Linux host has for it.
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
    /// ADRFAM: address family (NVMe Base 2.1, Figure 294). 254, within the host, has no word.
    AdrFam {
        /// PCI Express.
        PCI = 0, "pci";
        /// IPv4.
        IPV4 = 1, "ipv4";
        /// IPv6.
        IPV6 = 2, "ipv6";
        /// InfiniBand.
        IB = 3, "infiniband";
        /// Fibre Channel.
        FC = 4, "fc";
    }
}

impl AdrFam {
    /// Within the host.
    pub const LOOP: Self = Self(254);
}

coded! {
    /// SUBTYPE: what the entry describes (NVMe Base 2.1, Figure 294).
    Subtype {
        /// Another discovery service.
        REFERRAL = 1, "referral";
        /// An NVM subsystem.
        NVME = 2, "nvme";
        /// The discovery subsystem that the page comes from.
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
    /// TREQ: transport requirements (NVMe Base 2.1, Figure 294). The words are for the whole byte, as nvme-stas
    /// shows it: a combination of bits is shown as decimal.
    Treq {
        /// Nothing is said.
        NOT_SPECIFIED = 0, "not specified";
        /// A secure channel is required.
        REQUIRED = 1, "required";
        /// No secure channel is required.
        NOT_REQUIRED = 2, "not required";
        /// SQ flow control can be off.
        DISABLE_SQFLOW = 4, "disable sqflow";
    }
}

impl Treq {
    /// What is said of secure channels alone (bits 1:0).
    #[must_use]
    pub fn secure_channel(self) -> Self {
        Self(self.0 & 0b11)
    }

    /// Connections must be made over a secure channel (bits 1:0).
    #[must_use]
    pub fn requires_secure_channel(self) -> bool {
        self.secure_channel() == Self::REQUIRED
    }

    /// The controller can do without SQ flow control (bit 2).
    #[must_use]
    pub fn can_disable_sqflow(self) -> bool {
        self.0 & 0b100 != 0
    }
}

coded! {
    /// SECTYPE: security type of NVMe/TCP, in TSAS (NVMe TCP Transport 1.2). The words are those of nvme-cli.
    SecType {
        /// No security.
        NONE = 0, "none";
        /// TLS 1.2 or earlier.
        TLS = 1, "tls";
        /// TLS 1.3.
        TLS13 = 2, "tls13";
    }
}

/// EFLAGS: entry flags (NVMe Base 2.1, Figure 294).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EFlags(pub u16);

impl EFlags {
    /// DUPRETINFO: all entries with this flag lead to the same information.
    pub const DUPRETINFO: Self = Self(1 << 0);
    /// EPCSD: explicit persistent connections are supported.
    pub const EPCSD: Self = Self(1 << 1);
    /// NCC: no DDC that describes this entry is connected to the CDC.
    pub const NCC: Self = Self(1 << 2);

    /// Duplicate returned information.
    #[must_use]
    pub fn duplicate_information(self) -> bool {
        self.0 & Self::DUPRETINFO.0 != 0
    }

    /// Explicit persistent connections are supported.
    #[must_use]
    pub fn epcsd(self) -> bool {
        self.0 & Self::EPCSD.0 != 0
    }

    /// The CDC has no connection to what the entry describes.
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
