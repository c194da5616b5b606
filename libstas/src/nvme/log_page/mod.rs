//! The discovery log page, LID 70h (NVMe Base 2.0, 5.16.1.23; TP8010 for EPCSD and NCC).

mod codes;
mod decode;
mod dictionary;
mod reader;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::Transport;
use super::tid;

pub use codes::{AdrFam, EFlags, Subtype, TrType, Treq};
pub use decode::{ENTRY_LEN, HEADER_LEN, Header, Malformed};
pub use dictionary::DictionaryError;
pub use reader::{CHUNK, MAX_RECORDS, ReadError, Reader, Step};

/// Log page identifier of the discovery log page.
pub const LID: u8 = 0x70;
/// LSP bit 1: port-local entries only (TP8010, PLEO).
pub const LSP_PLEO: u8 = 1 << 1;

/// A discovery log page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Generation counter.
    pub genctr: u64,
    /// Record format; 0.
    pub recfmt: u16,
    /// Its well-formed entries.
    pub entries: Vec<Entry>,
    /// Entries that were left out, and why. Not saved.
    #[serde(skip)]
    pub dropped: Vec<Malformed>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// TRTYPE.
    pub trtype: TrType,
    /// ADRFAM.
    pub adrfam: AdrFam,
    /// SUBTYPE.
    pub subtype: Subtype,
    /// TREQ.
    pub treq: Treq,
    /// PORTID.
    pub portid: u16,
    /// CNTLID; FFFFh is dynamic.
    pub cntlid: u16,
    /// ASQSZ: the greatest admin submission queue.
    pub asqsz: u16,
    /// EFLAGS.
    pub eflags: EFlags,
    /// TRSVCID.
    pub trsvcid: String,
    /// SUBNQN.
    pub subnqn: String,
    /// TRADDR.
    pub traddr: String,
}

impl Entry {
    /// The transport, where this host knows it.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        match self.trtype {
            TrType::TCP => Some(Transport::Tcp),
            TrType::RDMA => Some(Transport::Rdma),
            TrType::FC => Some(Transport::Fc),
            TrType::LOOP => Some(Transport::Loop),
            _ => None,
        }
    }

    /// False for an entry that leads nowhere: one without an address, or with the address "any". Only loop needs
    /// none.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        match self.transport() {
            None => false,
            Some(Transport::Loop) => true,
            Some(Transport::Fc) => !self.traddr.is_empty(),
            Some(Transport::Tcp | Transport::Rdma) => {
                tid::parse_ip(&self.traddr).is_some_and(|(ip, _)| !ip.is_unspecified())
            }
        }
    }
}
