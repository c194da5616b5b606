//! Where things are in a table: the header, the control descriptor, the lists of descriptors and the heap (NVM Express
//! Boot Specification 1.0, Figures 6 to 8). Every offset and length is the firmware's word, and checked here.

use std::net::{IpAddr, Ipv6Addr};

use super::BadUri;
use crate::nvme::wire::{array, u8_at, u16_at, u32_at};

/// Bytes of the header.
pub(super) const HEADER: usize = 64;
/// Bytes of the control descriptor, which follows the header.
pub(super) const CONTROL: usize = 64;
/// The major revision that this is about.
pub(super) const MAJOR: u8 = 1;

/// Why a table is unusable as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// There is not even a header and a control descriptor.
    #[error("it has {0} bytes; the header and the control descriptor alone have {all}", all = HEADER + CONTROL)]
    Short(usize),
    /// It is another table, or none.
    #[error("it starts with {0:?} and not with \"NBFT\"")]
    Signature(String),
    /// It was cut off, or the header is wrong.
    #[error("the header says that it has {says} bytes, and there are {there}")]
    Length {
        /// By the header.
        says: u32,
        /// In the file.
        there: usize,
    },
    /// Some byte of it is not what the firmware wrote.
    #[error("its checksum is wrong: its bytes add up to {0:#04x} instead of 0")]
    Checksum(u8),
    /// A later major revision means other offsets.
    #[error("the {what} has major revision {major}; this program knows {MAJOR}")]
    Revision {
        /// Of what.
        what: &'static str,
        /// Which.
        major: u8,
    },
    /// A part of the table lies outside of it.
    #[error("the {what} ({offset} + {length} bytes) is not inside the table, which has {table} bytes")]
    Outside {
        /// Which part.
        what: &'static str,
        /// Where it starts, from the start of the table.
        offset: u32,
        /// Its bytes.
        length: u64,
        /// Bytes of the table.
        table: usize,
    },
    /// Descriptors that are shorter than their fields.
    #[error("the {what} has {length} bytes; it takes {least}")]
    Descriptor {
        /// Which.
        what: &'static str,
        /// Its bytes.
        length: usize,
        /// The bytes that its fields take.
        least: usize,
    },
    /// Something else where the control descriptor must be.
    #[error("the structure after the header has the ID {0}, which is not that of a control descriptor (1)")]
    NoControl(u8),
}

/// Why one record of a table is unusable, or what is wrong in one that is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It is something else.
    #[error("it has the structure ID {found}, expected is {expected}")]
    Structure {
        /// By the specification.
        expected: u8,
        /// In the table.
        found: u8,
    },
    /// A later version of something.
    #[error("its {what} has version {version}; this program knows 1")]
    Version {
        /// Of what.
        what: &'static str,
        /// Which.
        version: u8,
    },
    /// A reference that leads out of the heap.
    #[error("its {field} ({offset} + {length} bytes) is not inside the heap")]
    OutsideHeap {
        /// Which.
        field: &'static str,
        /// Where it starts, from the start of the table.
        offset: u32,
        /// Its bytes.
        length: u16,
    },
    /// A reference that leads to too little.
    #[error("its {field} has {length} bytes; it takes {least}")]
    Short {
        /// Which.
        field: &'static str,
        /// Its bytes.
        length: u16,
        /// The bytes that it takes.
        least: usize,
    },
    /// What must be there is not.
    #[error("its {0} is missing")]
    Missing(&'static str),
    /// Text that is none.
    #[error("its {0} is not text")]
    NotText(&'static str),
    /// An NQN that the kernel would not take.
    #[error("its {0} is no NQN: it is longer than 223 bytes, or has a comma or a space")]
    NotAnNqn(&'static str),
    /// A port that is none.
    #[error("its transport service identifier is {0:?}, which is no port number from 1 to 65535")]
    Port(String),
    /// A transport that the specification does not have.
    #[error("its transport type is {0}; this program knows 3 (tcp)")]
    Transport(u8),
    /// An address that is none.
    #[error("its address is {uri:?}: {cause}")]
    Uri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        cause: BadUri,
    },
    /// It refers to a record that is not there.
    #[error("it refers to {what} {index}, which is not there")]
    Reference {
        /// Which kind.
        what: &'static str,
        /// Its index.
        index: u8,
    },
}

/// A reference to an object of the heap: where it is, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    offset: u32,
    length: u16,
}

/// A table whose envelope is sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    heap: (u64, u64),
}

impl<'a> Table<'a> {
    /// Checks the envelope: size, signature, checksum, revision, heap.
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

    /// The control descriptor.
    pub(super) fn control(&self) -> Result<Descriptor<'a>, BadTable> {
        self.part("control descriptor", HEADER as u32, CONTROL as u64)
    }

    fn part(&self, what: &'static str, offset: u32, length: u64) -> Result<Descriptor<'a>, BadTable> {
        let outside = BadTable::Outside { what, offset, length, table: self.bytes.len() };
        let range = usize::try_from(offset).ok().zip(usize::try_from(u64::from(offset) + length).ok());
        let bytes = range.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(outside)?;
        Ok(Descriptor { table: *self, bytes })
    }

    /// A descriptor that has at least `least` bytes.
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

    /// The descriptors of a list: `count` of `length` bytes each, one after the other.
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

    /// An object of the heap; `None` where the reference is empty.
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

/// The bytes of one descriptor. A field that lies outside of them reads as zero: the callers have checked the size.
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

    /// An IPv6 address, an IPv4 one mapped into it, or nothing.
    pub(super) fn ip(&self, at: usize) -> Option<IpAddr> {
        ip(self.bytes(at))
    }

    /// Fails unless it is that kind of structure.
    pub(super) fn is_a(&self, expected: u8) -> Result<(), Defect> {
        match self.u8(0) {
            found if found == expected => Ok(()),
            found => Err(Defect::Structure { expected, found }),
        }
    }

    fn reference(&self, at: usize) -> Reference {
        Reference { offset: self.u32(at), length: self.u16(at + 4) }
    }

    /// The object that the reference at `at` leads to.
    pub(super) fn object(&self, field: &'static str, at: usize) -> Result<Option<&'a [u8]>, Defect> {
        self.table.object(field, self.reference(at))
    }

    /// The same as a descriptor of at least `least` bytes.
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

    /// The same as an IP address.
    pub(super) fn ip_object(&self, field: &'static str, at: usize) -> Result<Option<IpAddr>, Defect> {
        let found = self.structure(field, at, 16)?;
        Ok(found.and_then(|found| found.ip(0)))
    }

    /// The same as text, in which some firmware counts the closing NUL. Empty text is none.
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
