//! Bytes to entries, strictly: what is malformed is left out, with the reason.

use serde::{Deserialize, Serialize};

use super::{AdrFam, EFlags, Entry, Subtype, TrType, Treq};
use crate::nvme::NQN_MAX;

/// Length of the page's header in bytes.
pub const HEADER_LEN: usize = 1024;
/// Length of an entry in bytes.
pub const ENTRY_LEN: usize = 1024;

/// The page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Generation counter.
    pub genctr: u64,
    /// Number of records, as the other side claims.
    pub numrec: u64,
    /// Record format.
    pub recfmt: u16,
}

/// An entry that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// Its place in the page, counted from 0.
    pub index: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Header {
    /// Reads the header; `None` when it is shorter than it must be.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self { genctr: u64_at(bytes, 0)?, numrec: u64_at(bytes, 8)?, recfmt: u16_at(bytes, 16)? })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// A string field: ASCII, ended by NUL or the field's end, padded with NUL or space.
fn text(bytes: &[u8], at: usize, len: usize, name: &str) -> Result<String, String> {
    let field = bytes.get(at..at + len).ok_or("the entry is too short")?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
    let (used, padding) = field.split_at(end);
    if padding.iter().any(|byte| *byte != 0 && *byte != b' ') {
        return Err(format!("{name} goes on after its end"));
    }
    // A comma would end the option in the kernel's connect string.
    match used.iter().find(|byte| !(0x20..0x7f).contains(*byte) || **byte == b',') {
        Some(byte) => Err(format!("{name} contains the byte {byte:#04x}")),
        None => Ok(String::from_utf8_lossy(used).trim().to_owned()),
    }
}

impl Entry {
    /// Reads one entry of [`ENTRY_LEN`] bytes.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let byte = |at: usize| bytes.get(at).copied().ok_or("the entry is too short");
        let word = |at: usize| u16_at(bytes, at).ok_or("the entry is too short");
        let entry = Self {
            trtype: TrType(byte(0)?),
            adrfam: AdrFam(byte(1)?),
            subtype: Subtype(byte(2)?),
            treq: Treq(byte(3)?),
            portid: word(4)?,
            cntlid: word(6)?,
            asqsz: word(8)?,
            eflags: EFlags(word(10)?),
            trsvcid: text(bytes, 32, 32, "TRSVCID")?,
            subnqn: text(bytes, 256, 256, "SUBNQN")?,
            traddr: text(bytes, 512, 256, "TRADDR")?,
        };
        if !(Subtype::REFERRAL..=Subtype::DISCOVERY).contains(&entry.subtype) {
            return Err(format!("SUBTYPE {} is none of referral, nvme, discovery", entry.subtype.0));
        }
        if entry.subnqn.len() > NQN_MAX {
            return Err(format!("SUBNQN has {} bytes, {NQN_MAX} are the most", entry.subnqn.len()));
        }
        if entry.subtype == Subtype::NVME && entry.subnqn.is_empty() {
            return Err("SUBNQN is empty".to_owned());
        }
        Ok(entry)
    }

    /// The entry's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let mut put = |at: usize, data: &[u8], len: usize| {
            let used = data.len().min(len);
            if let (Some(to), Some(from)) = (bytes.get_mut(at..at + used), data.get(..used)) {
                to.copy_from_slice(from);
            }
        };
        put(0, &[self.trtype.0, self.adrfam.0, self.subtype.0, self.treq.0], 4);
        put(4, &self.portid.to_le_bytes(), 2);
        put(6, &self.cntlid.to_le_bytes(), 2);
        put(8, &self.asqsz.to_le_bytes(), 2);
        put(10, &self.eflags.0.to_le_bytes(), 2);
        put(32, self.trsvcid.as_bytes(), 32);
        put(256, self.subnqn.as_bytes(), 256);
        put(512, self.traddr.as_bytes(), 256);
        bytes
    }
}
