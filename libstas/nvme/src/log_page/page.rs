//! The page as a value: its header, its entries, and the entries that were dropped.

use serde::{Deserialize, Serialize};

use super::entry::{ENTRY_LEN, Entry, EntryError};
use super::unclear::Unclear;
use crate::wire::{put, u8_at, u16_at, u32_at, u64_at};

/// Log page identifier.
pub const LID: u8 = 0x70;
/// Log specific parameter, bit 0, EXTDLPE: request extended entries, if the controller supports them.
pub const LSP_EXTDLPE: u8 = 1 << 0;
/// Log specific parameter, bit 1, PLEO: request only entries of the port that receives the command. For direct
/// discovery controllers.
pub const LSP_PLEO: u8 = 1 << 1;
/// Log specific parameter, bit 2, ALLSUBE: request entries of all subsystems, not only those for this host.
pub const LSP_ALLSUBE: u8 = 1 << 2;
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 1024;
/// Length of an extended entry without attributes in bytes.
pub const EXTENDED_ENTRY_LEN: usize = ENTRY_LEN + 8;
/// DLPF bit 0, EXTEND: the entries are extended.
const DLPF_EXTEND: u8 = 1 << 0;

/// A discovery log page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// GENCTR: generation counter, raised by each change of the page.
    pub genctr: u64,
    /// RECFMT: record format. The specification says 0; some targets send 1 for the same format.
    pub recfmt: u16,
    /// The entries, in the order of the page.
    pub entries: Vec<Entry>,
    /// Entries that were dropped. Not saved.
    #[serde(skip)]
    pub dropped: Vec<Malformed>,
}

/// An entry that was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Position in the page, counted from 0.
    pub index: u64,
    /// What is wrong with it.
    pub reason: EntryError,
    /// The controllers that the entry may mean.
    pub unclear: Unclear,
}

impl Malformed {
    /// Describes an entry that could not be read from `bytes`.
    #[must_use]
    pub fn new(index: u64, reason: EntryError, bytes: &[u8]) -> Self {
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
    /// NUMREC: number of entries that follow, as claimed by the discovery controller. Not to be trusted.
    pub numrec: u64,
    /// RECFMT
    pub recfmt: u16,
    /// TDLPL: length of the whole page in bytes if the entries are extended, and so differ in length. `None`: basic
    /// entries.
    pub extended: Option<u32>,
}

impl Header {
    /// Decodes a header. `None` if it is too short.
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

    /// Encodes the header as in a page.
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
    /// True if no part of the page is missing. Only then its silence about a controller proves anything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.dropped.iter().any(|malformed| malformed.reason.is_gap())
    }

    /// What the dropped entries may mean; nothing for parts that are missing.
    pub fn unclear(&self) -> impl Iterator<Item = &Unclear> {
        self.dropped.iter().filter(|malformed| !malformed.reason.is_gap()).map(|malformed| &malformed.unclear)
    }

    /// Encodes the page with basic entries, as a discovery controller returns it. Dropped entries are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let numrec = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let header = Header { genctr: self.genctr, numrec, recfmt: self.recfmt, extended: None };
        let mut page = header.encode().to_vec();
        self.entries.iter().for_each(|entry| page.extend(entry.encode()));
        page
    }

    /// Encodes the page with extended entries without attributes (NVMe Base 2.1, Figure 295), as a discovery controller
    /// returns it if [`LSP_EXTDLPE`] is set.
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

    /// True if both pages have the same entries, whatever their generation.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}
