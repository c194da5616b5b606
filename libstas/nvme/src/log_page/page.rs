//! The page as a value: its header, its entries, and the entries that were dropped.

use serde::{Deserialize, Serialize};

use super::entry::{ENTRY_LEN, Entry, EntryError, Tsas};
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

impl Malformed {
    /// Approximate size in memory in bytes, with the copies of [`Unclear`] and with the text in the reason.
    fn memory(&self) -> usize {
        const COPIES: usize = 4;
        let Unclear { subnqn, traddr, trsvcid, .. } = &self.unclear;
        let unclear =
            size_of::<Unclear>() + [subnqn, traddr, trsvcid].map(|text| allocated(text.len())).iter().sum::<usize>();
        size_of::<Self>() + self.reason.text().map_or(0, |text| allocated(text.len())) + COPIES * unclear
    }
}

/// Approximate size of an allocation in bytes: the allocator adds its own data and rounds up.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

impl Entry {
    /// Approximate size in bytes of what the entry has on the heap.
    fn heap(&self) -> usize {
        let tsas = if let Tsas::Raw(bytes) = &self.tsas { bytes.len() } else { 0 };
        [self.trsvcid.len(), self.subnqn.len(), self.traddr.len(), tsas].map(allocated).iter().sum()
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

    /// Approximate size in memory in bytes, including the copies that the daemons keep of what dropped entries may
    /// mean.
    #[must_use]
    pub fn memory(&self) -> usize {
        let entries: usize = self.entries.iter().map(Entry::heap).sum();
        let dropped: usize = self.dropped.iter().map(Malformed::memory).sum();
        self.entries.capacity() * size_of::<Entry>() + entries + dropped
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Each text, TSAS and each dropped entry count.
    #[test]
    fn the_size_in_memory_counts_what_the_entries_contain() {
        let bytes = |trtype: u8, subnqn: usize, traddr: usize, tsas: usize| {
            let mut bytes = vec![0; ENTRY_LEN];
            (bytes[0], bytes[2]) = (trtype, 2);
            for (at, len) in [(256, subnqn), (512, traddr), (768, tsas)] {
                bytes[at..at + len].fill(b'x');
            }
            bytes
        };
        let page = |bytes: &[u8]| {
            let mut page = LogPage::default();
            page.entries.reserve_exact(100);
            for index in 0..100 {
                match Entry::parse(bytes) {
                    Ok(entry) => page.entries.push(entry),
                    Err(reason) => page.dropped.push(Malformed::new(index, reason, bytes)),
                }
            }
            page
        };
        let smallest = page(&bytes(77, 1, 0, 0)).memory();
        for (subnqn, traddr, tsas) in [(223, 0, 0), (1, 256, 0), (1, 0, 256), (223, 256, 256)] {
            let page = page(&bytes(77, subnqn, traddr, tsas));
            assert!(page.memory() >= smallest + 100 * (subnqn + traddr + tsas - 1 - 32), "{subnqn} {traddr} {tsas}");
            assert!(page.memory() < 100 * 1024, "less than on the wire");
            let encoded = serde_json::to_string(&page.clone()).unwrap();
            assert!(encoded.len() < 3 * page.memory(), "its length in the saved state is bounded, too");
        }
        let dropped = page(&bytes(77, 224, 256, 0));
        assert_eq!(dropped.dropped.len(), 100);
        assert!(dropped.memory() > 100 * 256);
        assert_eq!(LogPage::default().memory(), 0);
    }
}
