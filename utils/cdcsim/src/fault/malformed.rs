//! Malformed log page entries.

use serde::{Deserialize, Serialize};
use stas_nvme::log_page::{AdrFam, EFlags, ENTRY_LEN, Entry, SecType, Subtype, TrType, Treq, Tsas};
use stas_nvme::wire::put;

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Malformation {
    /// All bytes are 00h
    Blank,
    /// All bytes are FFh
    Ones,
    /// A subtype that is not defined
    Subtype,
    /// A transport that is not defined
    Transport,
    /// An address family that is not defined
    Family,
    /// An address of another family than the entry states
    OtherFamily,
    /// A subsystem without an NQN
    NoNqn,
    /// An NQN without an end
    LongNqn,
    /// A control character in the NQN
    Control,
    /// A comma in the NQN, followed by a kernel option
    Comma,
    /// No address
    NoAddress,
    /// A text that is not an address
    Address,
    /// The unspecified address
    Unspecified,
    /// A port that is not a number
    Port,
}

/// The NQN of malformed entries, if they have one: it must never be connected.
const NQN: &str = "nqn.2014-08.org.nvmexpress:cdcsim:malformed";

impl Malformation {
    /// Encodes the malformed entry.
    #[must_use]
    pub fn entry(self) -> [u8; ENTRY_LEN] {
        let sound = Entry {
            trtype: TrType::TCP,
            adrfam: AdrFam::IPV4,
            subtype: Subtype::NVME,
            treq: Treq::NOT_SPECIFIED,
            portid: 1,
            cntlid: 0xffff,
            asqsz: 32,
            eflags: EFlags::default(),
            trsvcid: "4420".to_owned(),
            subnqn: NQN.to_owned(),
            // TEST-NET-3 (RFC 5737): no host has this address.
            traddr: "203.0.113.1".to_owned(),
            tsas: Tsas::Tcp { sectype: SecType::NONE },
        };
        let with = |change: fn(&mut Entry)| {
            let mut entry = sound.clone();
            change(&mut entry);
            entry.encode()
        };
        let mut bytes = sound.encode();
        match self {
            Self::Blank => [0; ENTRY_LEN],
            Self::Ones => [0xff; ENTRY_LEN],
            Self::Subtype => with(|entry| entry.subtype = Subtype(0x7f)),
            Self::Transport => with(|entry| entry.trtype = TrType(0x7f)),
            Self::Family => with(|entry| entry.adrfam = AdrFam(0x7f)),
            Self::OtherFamily => with(|entry| entry.adrfam = AdrFam::IPV6),
            Self::NoNqn => with(|entry| entry.subnqn.clear()),
            Self::LongNqn => {
                put(&mut bytes[256..512], &[b'n'; 256]);
                bytes
            }
            Self::Control => with(|entry| entry.subnqn.push_str("\x1b[2J\n")),
            Self::Comma => with(|entry| entry.subnqn.push_str(",ctrl_loss_tmo=-1")),
            Self::NoAddress => with(|entry| entry.traddr.clear()),
            Self::Address => with(|entry| entry.traddr = "999.0.2.1;rm".to_owned()),
            Self::Unspecified => with(|entry| entry.traddr = "0.0.0.0".to_owned()),
            Self::Port => with(|entry| entry.trsvcid = "seven".to_owned()),
        }
    }
}
