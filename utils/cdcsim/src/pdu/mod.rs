//! The PDUs of NVMe/TCP (NVMe TCP Transport 1.0, 3.6): what stands on the wire, and where.
//!
//! [`Framer`] takes bytes from a host and gives PDUs; [`outgoing`] writes the PDUs of a controller. Both are pure.

pub mod incoming;
pub mod outgoing;
#[cfg(test)]
mod tests;

pub use incoming::{Fatal, Framer, Incoming};

/// Bytes of the common header: type, flags, HLEN, PDO, PLEN.
pub const COMMON_LEN: usize = 8;
/// Bytes of ICReq and ICResp.
pub const IC_LEN: usize = 128;
/// Bytes of a command capsule without data: the header and the submission queue entry.
pub const COMMAND_LEN: usize = COMMON_LEN + 64;
/// Bytes of the headers of all other PDUs.
pub const SHORT_LEN: usize = 24;
/// The most data that a command capsule may carry on an admin queue (NVMe TCP Transport 1.0, 3.3.1).
pub const CAPSULE_DATA_MAX: u32 = 8192;
/// MAXH2CDATA: the most data that one H2CData PDU may carry. It must be at least 4096.
pub const MAX_H2C_DATA: u32 = 64 * 1024;
/// The most bytes of data that one C2HData PDU of ours carries.
pub const MAX_C2H_DATA: usize = 64 * 1024;

/// PDU types (NVMe TCP Transport 1.0, Figure 21).
pub mod kind {
    /// Initialize connection request.
    pub const IC_REQ: u8 = 0x00;
    /// Initialize connection response.
    pub const IC_RESP: u8 = 0x01;
    /// The host gives up the connection.
    pub const H2C_TERM: u8 = 0x02;
    /// The controller gives up the connection.
    pub const C2H_TERM: u8 = 0x03;
    /// Command capsule.
    pub const COMMAND: u8 = 0x04;
    /// Response capsule.
    pub const RESPONSE: u8 = 0x05;
    /// Data to the controller.
    pub const H2C_DATA: u8 = 0x06;
    /// Data to the host.
    pub const C2H_DATA: u8 = 0x07;
    /// Ready to transfer.
    pub const R2T: u8 = 0x09;
}

/// Flags of the common header.
pub mod flag {
    /// A header digest follows the header.
    pub const HEADER_DIGEST: u8 = 1 << 0;
    /// A data digest follows the data.
    pub const DATA_DIGEST: u8 = 1 << 1;
    /// The last data PDU of a transfer.
    pub const LAST: u8 = 1 << 2;
}

/// Which digests both sides have agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of headers.
    pub header: bool,
    /// Of data.
    pub data: bool,
}

impl Digests {
    /// DGST of ICReq and ICResp.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self { header: bits & 1 != 0, data: bits & 2 != 0 }
    }

    /// DGST of ICReq and ICResp.
    #[must_use]
    pub fn bits(self) -> u8 {
        u8::from(self.header) | u8::from(self.data) << 1
    }
}

/// A digest: CRC32C (RFC 3720, B.4), as it stands on the wire.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).to_le_bytes()
}
