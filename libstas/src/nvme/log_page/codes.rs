//! Coded fields of a log entry: numbers that keep their value, with names for those that have one.

use serde::{Deserialize, Serialize};

macro_rules! coded {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $constant:ident = $value:literal, $word:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u8);

        impl $name {
            $($(#[$doc])* pub const $constant: Self = Self($value);)*

            /// Its word on the bus; the number in decimal where it has none.
            #[must_use]
            pub fn word(self) -> String {
                match self.0 {
                    $($value => $word.to_owned(),)*
                    other => other.to_string(),
                }
            }

            /// Reads the word or the number.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self($value)),)*
                    other => other.parse().ok().map(Self),
                }
            }
        }
    };
}

coded! {
    /// Transport type.
    TrType {
        /// Not specified.
        UNSPECIFIED = 0, "unspecified";
        /// RDMA.
        RDMA = 1, "rdma";
        /// Fibre Channel.
        FC = 2, "fc";
        /// TCP.
        TCP = 3, "tcp";
        /// The host's own loopback.
        LOOP = 254, "loop";
    }
}

coded! {
    /// Address family.
    AdrFam {
        /// PCI.
        PCI = 0, "pci";
        /// IPv4.
        IPV4 = 1, "ipv4";
        /// IPv6.
        IPV6 = 2, "ipv6";
        /// InfiniBand.
        INFINIBAND = 3, "infiniband";
        /// Fibre Channel.
        FC = 4, "fc";
        /// The host's own loopback.
        LOOP = 254, "loop";
    }
}

coded! {
    /// What an entry names.
    Subtype {
        /// Another discovery controller.
        REFERRAL = 1, "referral";
        /// A subsystem with namespaces.
        NVME = 2, "nvme";
        /// The discovery controller that was asked.
        DISCOVERY = 3, "discovery";
    }
}

/// Transport requirements: bits 1:0 say whether a secure channel is needed, bit 2 whether SQ flow control can be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Treq(pub u8);

impl Treq {
    const WORDS: [(u8, &'static str); 4] =
        [(0, "not specified"), (1, "required"), (2, "not required"), (4, "disable sqflow")];

    /// True when the target insists on a secure channel (TLS).
    #[must_use]
    pub fn requires_secure_channel(self) -> bool {
        self.0 & 0b11 == 1
    }

    /// Its word on the bus: that of the secure channel, `disable sqflow` where only that is said, else the number.
    #[must_use]
    pub fn word(self) -> String {
        let word = Self::WORDS.iter().find(|(number, _)| *number == self.0);
        word.map_or_else(|| self.0.to_string(), |(_, word)| (*word).to_owned())
    }

    /// Reads the word or the number.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(_, known)| *known == word).map(|(number, _)| *number);
        known.or_else(|| word.parse().ok()).map(Self)
    }
}

/// Entry flags (TP8010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EFlags(pub u16);

impl EFlags {
    /// Duplicate returned information: other ports return the same.
    #[must_use]
    pub fn duplicate_information(self) -> bool {
        self.0 & 1 != 0
    }

    /// Explicit persistent connection support for discovery (EPCSD).
    #[must_use]
    pub fn epcsd(self) -> bool {
        self.0 & (1 << 1) != 0
    }

    /// No CDC connectivity (NCC): the centralized discovery controller has no connectivity to this subsystem.
    #[must_use]
    pub fn ncc(self) -> bool {
        self.0 & (1 << 2) != 0
    }
}
