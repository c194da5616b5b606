//! The discovery log page (LID 70h; NVMe Base 2.1, 5.1.12.3.1): what a discovery controller knows of.
//!
//! [`Reader`] says what to read from the device and decodes it; [`LogPage`] is what comes out. Entries that make no
//! sense are dropped one by one, each with its [`Flaw`] and with what it may mean ([`Unclear`]); a page that contradicts
//! itself is an error as a whole, for it proves nothing. [`Entry::controller`] makes controllers of the others.

mod codes;
mod entry;
mod reader;
mod target;
#[cfg(test)]
mod tests;
mod unclear;

use serde::{Deserialize, Serialize};

pub use codes::{AdrFam, EFlags, SecType, Subtype, TrType, Treq, UnknownWord};
pub use entry::{DictError, ENTRY_LEN, Entry, Field, Flaw, Tsas};
pub use reader::{MAX_ENTRY_LEN, MAX_RECORDS, MAX_RESTARTS, ReadError, Reader, Step};
pub use unclear::Unclear;

use super::wire::{put, u8_at, u16_at, u32_at, u64_at};

/// Log page identifier.
pub const LID: u8 = 0x70;
/// Log specific parameter, bit 0, EXTDLPE: extended entries, where the controller has them.
pub const LSP_EXTDLPE: u8 = 1 << 0;
/// Log specific parameter, bit 1, PLEO: only entries of the port that is asked. For direct discovery controllers.
pub const LSP_PLEO: u8 = 1 << 1;
/// Log specific parameter, bit 2, ALLSUBE: entries of all subsystems, not just those meant for this host.
pub const LSP_ALLSUBE: u8 = 1 << 2;
/// Bytes of the header.
pub const HEADER_LEN: usize = 1024;
/// Bytes of an extended entry without attributes.
pub const EXTENDED_ENTRY_LEN: usize = ENTRY_LEN + 8;
/// DLPF bit 0, EXTEND: the entries are extended ones.
const DLPF_EXTEND: u8 = 1 << 0;

/// A discovery log page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// GENCTR: counts the changes of the page.
    pub genctr: u64,
    /// RECFMT: 0 by the specification; some targets say 1 and mean the same.
    pub recfmt: u16,
    /// The entries, in the order of the page.
    pub entries: Vec<Entry>,
    /// What was dropped. It is not saved.
    #[serde(skip)]
    pub dropped: Vec<Malformed>,
}

/// An entry that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which, counted from 0.
    pub index: u64,
    /// What is wrong with it.
    pub reason: Flaw,
    /// What it may mean.
    pub unclear: Unclear,
}

impl Malformed {
    /// An entry that cannot be read from these bytes.
    #[must_use]
    pub fn new(index: u64, reason: Flaw, bytes: &[u8]) -> Self {
        Self { index, unclear: Unclear::of_bytes(bytes, &reason), reason }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {}: {}", self.index, self.reason)
    }
}

/// The header of a page (NVMe Base 2.1, Figure 296).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// GENCTR
    pub genctr: u64,
    /// NUMREC: how many entries follow. It is the other side's claim.
    pub numrec: u64,
    /// RECFMT
    pub recfmt: u16,
    /// Set if the entries are extended: TDLPL, the bytes of the whole page. They have different lengths then.
    pub extended: Option<u32>,
}

impl Header {
    /// Reads a header; `None` if there are too few bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let extended = u8_at(bytes, 18)? & DLPF_EXTEND != 0;
        Some(Self {
            genctr: u64_at(bytes, 0)?,
            numrec: u64_at(bytes, 8)?,
            recfmt: u16_at(bytes, 16)?,
            extended: if extended { Some(u32_at(bytes, 20)?) } else { None },
        })
    }

    /// Writes the header as a page has it.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        put(&mut header[0..8], &self.genctr.to_le_bytes());
        put(&mut header[8..16], &self.numrec.to_le_bytes());
        put(&mut header[16..18], &self.recfmt.to_le_bytes());
        if let Some(length) = self.extended {
            header[18] = DLPF_EXTEND;
            put(&mut header[20..24], &length.to_le_bytes());
        }
        header
    }
}

impl LogPage {
    /// True when no part of the page is missing: only then does it say something about what it does not list.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.dropped.iter().any(|malformed| malformed.reason.is_gap())
    }

    /// What the dropped entries may mean.
    pub fn unclear(&self) -> impl Iterator<Item = &Unclear> {
        self.dropped.iter().filter(|malformed| !malformed.reason.is_gap()).map(|malformed| &malformed.unclear)
    }

    /// Reads a page that is there as a whole.
    ///
    /// # Errors
    /// As [`Reader`] has them; bytes that are missing are a [`ReadError::Short`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(0);
        loop {
            match reader.next() {
                Step::Done(result) => return result,
                Step::Read { offset, len } => {
                    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    let rest = bytes.get(from..).unwrap_or_default();
                    reader.feed(Ok(rest.get(..len as usize).unwrap_or(rest)));
                }
            }
        }
    }

    /// Writes the page as a discovery controller answers it, with basic entries. What was dropped is not in it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let numrec = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let header = Header { genctr: self.genctr, numrec, recfmt: self.recfmt, extended: None };
        let mut page = header.encode().to_vec();
        self.entries.iter().for_each(|entry| page.extend(entry.encode()));
        page
    }

    /// Writes the page with extended entries that have no attributes (NVMe Base 2.1, Figure 295), as a discovery
    /// controller answers when it is asked for them ([`LSP_EXTDLPE`]).
    #[must_use]
    pub fn encode_extended(&self) -> Vec<u8> {
        let numrec = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let length = HEADER_LEN + self.entries.len() * EXTENDED_ENTRY_LEN;
        let extended = Some(u32::try_from(length).unwrap_or(u32::MAX));
        let header = Header { genctr: self.genctr, numrec, recfmt: self.recfmt, extended };
        let mut page = header.encode().to_vec();
        for entry in &self.entries {
            let mut tail = [0; EXTENDED_ENTRY_LEN - ENTRY_LEN];
            put(&mut tail, &(EXTENDED_ENTRY_LEN as u32).to_le_bytes()); // TEL
            page.extend(entry.encode());
            page.extend(tail);
        }
        page
    }

    /// True if both pages say the same, whatever their generation.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}
