//! Decodes the PDUs of a host from a stream of bytes.

use stas_nvme::wire::{array, u8_at, u16_at, u32_at};

use super::{CAPSULE_DATA_MAX, COMMAND_LEN, COMMON_LEN, Digests, IC_LEN, MAX_H2C_DATA, SHORT_LEN, digest, flag, kind};

/// A PDU sent by a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// ICReq: initializes the connection.
    Initialize {
        /// PFV: the version of the PDU format. Only 0 exists.
        version: u16,
        /// The digests that the host requests.
        digests: Digests,
    },
    /// H2CTermReq: the host terminates the connection.
    Terminate {
        /// FES: the reason.
        status: u16,
        /// FEI: the place of the error.
        information: u32,
    },
    /// A command capsule.
    Command {
        /// The submission queue entry.
        entry: [u8; 64],
        /// The data in the capsule; `None` if its digest is wrong.
        data: Option<Vec<u8>>,
    },
    /// H2CData: data of a command.
    Data {
        /// The identifier of the command.
        cid: u16,
        /// The tag of the transfer.
        ttag: u16,
        /// The offset in the data of the command.
        offset: u32,
        /// The data; `None` if its digest is wrong.
        data: Option<Vec<u8>>,
        /// True for the last PDU of the transfer.
        last: bool,
    },
}

/// FES: why a connection is terminated (NVMe TCP Transport 1.0, Figure 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatalStatus {
    /// A field of the header is wrong; the information is its offset.
    InvalidHeaderField,
    /// This PDU is not allowed at this time.
    Sequence,
    /// The header does not match its digest. The information is the received digest.
    HeaderDigest,
    /// Data that was not requested. The information is the offset of the field that describes it.
    DataOutOfRange,
    /// More data than one PDU may contain.
    DataLimit,
    /// An unsupported parameter. The information is its offset.
    UnsupportedParameter,
}

impl FatalStatus {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::InvalidHeaderField => 1,
            Self::Sequence => 2,
            Self::HeaderDigest => 3,
            Self::DataOutOfRange => 4,
            Self::DataLimit => 5,
            Self::UnsupportedParameter => 6,
        }
    }
}

/// A protocol error of the host, with which the connection is terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The reason (FES).
    pub status: FatalStatus,
    /// The place of the error (FEI).
    pub information: u32,
    /// The header of the invalid PDU, which is sent back to the host.
    pub header: Vec<u8>,
}

/// Splits a stream into PDUs.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    digests: Digests,
    bytes: Vec<u8>,
}

/// Offsets of fields in the common header, as used in fatal error information.
const FLAGS_AT: u32 = 1;
const HLEN_AT: u32 = 2;
const PDO_AT: u32 = 3;
const PLEN_AT: u32 = 4;

impl Framer {
    /// Sets the digests of all further PDUs.
    pub fn agree(&mut self, digests: Digests) {
        self.digests = digests;
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next PDU; `None` if more bytes are needed.
    ///
    /// # Errors
    /// Returns [`Fatal`] if the rest of the stream cannot be decoded.
    pub fn next_pdu(&mut self) -> Result<Option<Incoming>, Fatal> {
        let Some(common) = Common::parse(&self.bytes) else { return Ok(None) };
        let shape = common.check(self.digests).map_err(|(status, information)| Fatal {
            status,
            information,
            header: self.bytes.get(..COMMON_LEN).unwrap_or_default().to_vec(),
        })?;
        if self.bytes.len() < shape.length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(shape.length);
        let pdu = std::mem::replace(&mut self.bytes, rest);
        shape.decode(&common, &pdu).map(Some).map_err(|(status, information)| Fatal {
            status,
            information,
            header: pdu.get(..usize::from(common.header_len)).unwrap_or_default().to_vec(),
        })
    }
}

/// The common header (NVMe TCP Transport 1.0, Figure 20).
struct Common {
    kind: u8,
    flags: u8,
    header_len: u8,
    data_at: u8,
    length: u32,
}

/// The lengths of the parts of a PDU.
struct Shape {
    length: usize,
    header: usize,
    header_digest: bool,
    data: std::ops::Range<usize>,
    data_digest: bool,
}

impl Common {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u8_at(bytes, 0)?,
            flags: u8_at(bytes, 1)?,
            header_len: u8_at(bytes, 2)?,
            data_at: u8_at(bytes, 3)?,
            length: u32_at(bytes, 4)?,
        })
    }

    /// Checks the header against the rules for its type, before more bytes are collected.
    fn check(&self, digests: Digests) -> Result<Shape, (FatalStatus, u32)> {
        let invalid = |at| Err((FatalStatus::InvalidHeaderField, at));
        let (header, most) = match self.kind {
            kind::IC_REQ => (IC_LEN, 0),
            kind::H2C_TERM => (SHORT_LEN, 128),
            kind::COMMAND => (COMMAND_LEN, CAPSULE_DATA_MAX as usize),
            kind::H2C_DATA => (SHORT_LEN, MAX_H2C_DATA as usize),
            _ => return invalid(0),
        };
        if usize::from(self.header_len) != header {
            return invalid(HLEN_AT);
        }
        let with_digests = matches!(self.kind, kind::COMMAND | kind::H2C_DATA);
        let header_digest = self.flags & flag::HEADER_DIGEST != 0;
        if with_digests && header_digest != digests.header || !with_digests && self.flags != 0 {
            return invalid(FLAGS_AT);
        }
        let header_end = header + if header_digest { 4 } else { 0 };
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        if length < header_end {
            return invalid(PLEN_AT);
        }
        let data_digest = with_digests && self.flags & flag::DATA_DIGEST != 0;
        if length == header_end {
            return Ok(Shape { length, header, header_digest, data: header_end..header_end, data_digest: false });
        }
        // An H2CTermReq has no PDO: its data follow the header directly.
        let data_at = if with_digests { usize::from(self.data_at) } else { header_end };
        if data_at < header_end || data_at % 4 != 0 {
            return invalid(PDO_AT);
        }
        if data_digest != (with_digests && digests.data) {
            return invalid(FLAGS_AT);
        }
        let data_end = length.saturating_sub(if data_digest { 4 } else { 0 });
        if data_end <= data_at {
            return invalid(PLEN_AT);
        }
        if data_end - data_at > most {
            let status =
                if self.kind == kind::H2C_DATA { FatalStatus::DataLimit } else { FatalStatus::InvalidHeaderField };
            return Err((status, PLEN_AT));
        }
        Ok(Shape { length, header, header_digest, data: data_at..data_end, data_digest })
    }
}

impl Shape {
    fn decode(&self, common: &Common, pdu: &[u8]) -> Result<Incoming, (FatalStatus, u32)> {
        if self.header_digest {
            let came: [u8; 4] = array(pdu, self.header).unwrap_or_default();
            if digest(pdu.get(..self.header).unwrap_or_default()) != came {
                return Err((FatalStatus::HeaderDigest, u32::from_le_bytes(came)));
            }
        }
        let data = pdu.get(self.data.clone()).unwrap_or_default();
        let is_sound = !self.data_digest || array(pdu, self.data.end) == Some(digest(data));
        let data = is_sound.then(|| data.to_vec());
        let u16_at = |at| u16_at(pdu, at).unwrap_or_default();
        let u32_at = |at| u32_at(pdu, at).unwrap_or_default();
        Ok(match common.kind {
            kind::IC_REQ => Incoming::Initialize {
                version: u16_at(8),
                digests: Digests::from_bits(u8_at(pdu, 11).unwrap_or_default()),
            },
            kind::H2C_TERM => Incoming::Terminate { status: u16_at(8), information: u32_at(10) },
            kind::COMMAND => Incoming::Command { entry: array(pdu, COMMON_LEN).unwrap_or([0; 64]), data },
            _ => {
                if data.as_ref().is_some_and(|data| data.len() as u64 != u64::from(u32_at(16))) {
                    return Err((FatalStatus::InvalidHeaderField, 16));
                }
                Incoming::Data {
                    cid: u16_at(8),
                    ttag: u16_at(10),
                    offset: u32_at(12),
                    data,
                    last: common.flags & flag::LAST != 0,
                }
            }
        })
    }
}
