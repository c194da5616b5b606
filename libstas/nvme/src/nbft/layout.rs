//! Layout of a table: the header, the control descriptor, the lists of descriptors and the heap (NVM Express Boot
//! Specification 1.0, Figures 6 to 8). Offsets and lengths come from the firmware and are checked here.

use std::net::{IpAddr, Ipv6Addr};

use super::BadUri;
use crate::wire::{array, u8_at, u16_at, u32_at};

/// Length of the header in bytes.
pub(super) const HEADER: usize = 64;
/// Length of the control descriptor, which follows the header, in bytes.
pub(super) const CONTROL: usize = 64;
/// Major revision of the table that this program knows.
pub(super) const MAJOR: u8 = 1;

/// Why a whole table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// The file is shorter than a header and a control descriptor. Length in bytes.
    #[error("it has {0} bytes; the header and the control descriptor alone have {all}", all = HEADER + CONTROL)]
    Short(usize),
    /// The signature is not that of an NBFT.
    #[error("it starts with {0:?} and not with \"NBFT\"")]
    Signature(String),
    /// The file is shorter than its header says, or the header is wrong.
    #[error("the header says that it has {says} bytes, and there are {there}")]
    Length {
        /// Length in bytes as stated in the header.
        says: u32,
        /// Length of the file in bytes.
        there: usize,
    },
    /// The bytes do not add up to 0: at least one byte was changed. The value is the sum.
    #[error("its checksum is wrong: its bytes add up to {0:#04x} instead of 0")]
    Checksum(u8),
    /// The major revision is not known: its offsets may differ.
    #[error("the {what} has major revision {major}; this program knows {MAJOR}")]
    Revision {
        /// Structure with the unknown revision: the table or its control descriptor.
        what: &'static str,
        /// Major revision found in the table.
        major: u8,
    },
    /// A part of the table lies outside the table.
    #[error("the {what} ({offset} + {length} bytes) is not inside the table, which has {table} bytes")]
    Outside {
        /// Name of the part, for example `heap`.
        what: &'static str,
        /// Offset of the part from the start of the table in bytes.
        offset: u32,
        /// Length of the part in bytes.
        length: u64,
        /// Length of the table in bytes.
        table: usize,
    },
    /// A descriptor is shorter than its fields.
    #[error("the {what} has {length} bytes; it takes {least}")]
    Descriptor {
        /// Name of the descriptor or of the list of descriptors.
        what: &'static str,
        /// Length of one descriptor in bytes as stated in the table.
        length: usize,
        /// Length of its fields in bytes.
        least: usize,
    },
    /// The structure after the header is not a control descriptor. The value is its structure ID.
    #[error("the structure after the header has the ID {0}, which is not that of a control descriptor (1)")]
    NoControl(u8),
}

/// Why a record of a table cannot be used, or which of its fields is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The structure has another ID than expected.
    #[error("it has the structure ID {found}, expected is {expected}")]
    Structure {
        /// Structure ID by the specification.
        expected: u8,
        /// Structure ID in the table.
        found: u8,
    },
    /// The version of a structure is not known.
    #[error("its {what} has version {version}; this program knows 1")]
    Version {
        /// Name of the structure.
        what: &'static str,
        /// Version found in the table.
        version: u8,
    },
    /// A reference leads outside the heap.
    #[error("its {field} ({offset} + {length} bytes) is not inside the heap")]
    OutsideHeap {
        /// Name of the field with the reference.
        field: &'static str,
        /// Offset of the object from the start of the table in bytes.
        offset: u32,
        /// Length of the object in bytes.
        length: u16,
    },
    /// An object of the heap is too short.
    #[error("its {field} has {length} bytes; it takes {least}")]
    Short {
        /// Name of the field with the reference.
        field: &'static str,
        /// Length of the object in bytes.
        length: u16,
        /// Required length in bytes.
        least: usize,
    },
    /// A mandatory field is missing.
    #[error("its {0} is missing")]
    Missing(&'static str),
    /// A text field is not UTF-8, or contains control characters.
    #[error("its {0} is not text")]
    NotText(&'static str),
    /// An NQN that the kernel would not accept.
    #[error("its {0} is no NQN: it is longer than 223 bytes, or has a comma or a space")]
    NotAnNqn(&'static str),
    /// A transport service identifier is not a port.
    #[error("its transport service identifier is {0:?}, which is no port number from 1 to 65535")]
    Port(String),
    /// The transport type is not known.
    #[error("its transport type is {0}; this program knows 3 (tcp)")]
    Transport(u8),
    /// The address of a discovery controller is not a valid URI.
    #[error("its address is {uri:?}: {cause}")]
    Uri {
        /// The URI as in the table.
        uri: String,
        /// What is wrong with the URI.
        cause: BadUri,
    },
    /// A record refers to another record that does not exist.
    #[error("it refers to {what} {index}, which is not there")]
    Reference {
        /// Kind of the missing record, for example `HFI`.
        what: &'static str,
        /// Index of the missing record.
        index: u8,
    },
}

/// A reference to an object of the heap. Empty if its length is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    offset: u32,
    length: u16,
}

/// A table whose header, checksum and heap bounds are valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    heap: (u64, u64),
}

impl<'a> Table<'a> {
    /// Checks length, signature, checksum, revision and the bounds of the heap.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, BadTable> {
        let short = || BadTable::Short(file.len());
        if file.len() < HEADER + CONTROL {
            return Err(short());
        }
        let signature: [u8; 4] = array(file, 0).ok_or_else(short)?;
        if signature != *b"NBFT" {
            return Err(BadTable::Signature(signature.escape_ascii().to_string()));
        }
        let says = u32_at(file, 4).ok_or_else(short)?;
        let length = usize::try_from(says).ok().filter(|length| (HEADER + CONTROL..=file.len()).contains(length));
        let bytes = length.and_then(|length| file.get(..length)).ok_or(BadTable::Length { says, there: file.len() })?;
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        if sum != 0 {
            return Err(BadTable::Checksum(sum));
        }
        let major = u8_at(bytes, 8).ok_or_else(short)?;
        if major != MAJOR {
            return Err(BadTable::Revision { what: "table", major });
        }
        let start = u32_at(bytes, 36).ok_or_else(short)?;
        let length = u64::from(u32_at(bytes, 40).ok_or_else(short)?);
        let end = u64::from(start) + length;
        if length > 0 && end > bytes.len() as u64 {
            return Err(BadTable::Outside { what: "heap", offset: start, length, table: bytes.len() });
        }
        Ok(Self { bytes, heap: (start.into(), end) })
    }

    /// The control descriptor, unchecked except for its bounds.
    pub(super) fn control(&self) -> Result<Descriptor<'a>, BadTable> {
        self.part("control descriptor", HEADER as u32, CONTROL as u64)
    }

    fn part(&self, what: &'static str, offset: u32, length: u64) -> Result<Descriptor<'a>, BadTable> {
        let outside = BadTable::Outside { what, offset, length, table: self.bytes.len() };
        let range = usize::try_from(offset).ok().zip(usize::try_from(u64::from(offset) + length).ok());
        let bytes = range.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(outside)?;
        Ok(Descriptor { table: *self, bytes })
    }

    /// A descriptor of at least `least` bytes.
    pub(super) fn descriptor(
        &self,
        what: &'static str,
        (offset, length): (u32, u16),
        least: usize,
    ) -> Result<Descriptor<'a>, BadTable> {
        if usize::from(length) < least {
            return Err(BadTable::Descriptor { what, length: length.into(), least });
        }
        self.part(what, offset, length.into())
    }

    /// A list of descriptors: `count` of `length` bytes each, without gaps.
    pub(super) fn list(
        &self,
        what: &'static str,
        (offset, length, count): (u32, u16, u8),
        least: usize,
    ) -> Result<Vec<Descriptor<'a>>, BadTable> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if usize::from(length) < least {
            return Err(BadTable::Descriptor { what, length: length.into(), least });
        }
        let whole = self.part(what, offset, u64::from(length) * u64::from(count))?;
        Ok(whole.bytes.chunks_exact(length.into()).map(|bytes| Descriptor { table: *self, bytes }).collect())
    }

    /// An object of the heap. `None` if the reference is empty.
    fn object(&self, field: &'static str, reference: Reference) -> Result<Option<&'a [u8]>, Defect> {
        let Reference { offset, length } = reference;
        if length == 0 {
            return Ok(None);
        }
        let (start, end) = (u64::from(offset), u64::from(offset) + u64::from(length));
        let inside = self.heap.0 <= start && end <= self.heap.1;
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok()).filter(|_| inside);
        let bytes = range.and_then(|(start, end)| self.bytes.get(start..end));
        bytes.map(Some).ok_or(Defect::OutsideHeap { field, offset, length })
    }
}

/// The bytes of one descriptor. A field outside of them reads as zero; callers check the length first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor<'a> {
    table: Table<'a>,
    bytes: &'a [u8],
}

impl<'a> Descriptor<'a> {
    pub(super) fn u8(&self, at: usize) -> u8 {
        u8_at(self.bytes, at).unwrap_or_default()
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16_at(self.bytes, at).unwrap_or_default()
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32_at(self.bytes, at).unwrap_or_default()
    }

    pub(super) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        array(self.bytes, at).unwrap_or([0; N])
    }

    /// An IPv6 address, or an IPv4 address that is mapped into one. `None` if it is all zeros.
    pub(super) fn ip(&self, at: usize) -> Option<IpAddr> {
        ip(self.bytes(at))
    }

    /// Fails unless the structure has the expected ID.
    pub(super) fn is_a(&self, expected: u8) -> Result<(), Defect> {
        match self.u8(0) {
            found if found == expected => Ok(()),
            found => Err(Defect::Structure { expected, found }),
        }
    }

    fn reference(&self, at: usize) -> Reference {
        Reference { offset: self.u32(at), length: self.u16(at + 4) }
    }

    /// The object to which the reference at `at` leads.
    pub(super) fn object(&self, field: &'static str, at: usize) -> Result<Option<&'a [u8]>, Defect> {
        self.table.object(field, self.reference(at))
    }

    /// As [`Descriptor::object`], as a descriptor of at least `least` bytes.
    pub(super) fn structure(
        &self,
        field: &'static str,
        at: usize,
        least: usize,
    ) -> Result<Option<Descriptor<'a>>, Defect> {
        let Some(bytes) = self.object(field, at)? else { return Ok(None) };
        if bytes.len() < least {
            return Err(Defect::Short { field, length: self.reference(at).length, least });
        }
        Ok(Some(Descriptor { table: self.table, bytes }))
    }

    /// As [`Descriptor::object`], as an IP address.
    pub(super) fn ip_object(&self, field: &'static str, at: usize) -> Result<Option<IpAddr>, Defect> {
        let found = self.structure(field, at, 16)?;
        Ok(found.and_then(|found| found.ip(0)))
    }

    /// As [`Descriptor::object`], as text. Trailing NULs are removed: some firmware counts them. `None` for empty text.
    pub(super) fn text(&self, field: &'static str, at: usize) -> Result<Option<String>, Defect> {
        let Some(bytes) = self.object(field, at)? else { return Ok(None) };
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let text = bytes.get(..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let text = text.filter(|text| !text.contains(char::is_control)).ok_or(Defect::NotText(field))?;
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }
}

fn ip(bytes: [u8; 16]) -> Option<IpAddr> {
    let ip = IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical();
    (!ip.is_unspecified()).then_some(ip)
}
