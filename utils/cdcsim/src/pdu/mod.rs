//! The PDUs of NVMe/TCP (NVMe TCP Transport 1.0, 3.6): their layout.
//!
//! [`Framer`] decodes the PDUs of a host from bytes; [`outgoing`] encodes the PDUs of a controller. Both are pure.

pub mod incoming;
pub mod outgoing;
#[cfg(test)]
mod tests;

pub use incoming::{Fatal, Framer, Incoming};

/// Length of the common header: type, flags, HLEN, PDO, PLEN.
pub const COMMON_LEN: usize = 8;
/// Length of ICReq and ICResp in bytes.
pub const IC_LEN: usize = 128;
/// Length of a command capsule without data: the header and the submission queue entry.
pub const COMMAND_LEN: usize = COMMON_LEN + 64;
/// Length of the headers of all other PDUs in bytes.
pub const SHORT_LEN: usize = 24;
/// Maximum length of the data in a command capsule of an admin queue (NVMe TCP Transport 1.0, 3.3.1).
pub const CAPSULE_DATA_MAX: u32 = 8192;
/// MAXH2CDATA: maximum length of the data in one H2CData PDU. It must be at least 4096.
pub const MAX_H2C_DATA: u32 = 64 * 1024;
/// Maximum length of the data in one of our C2HData PDUs.
pub const MAX_C2H_DATA: usize = 64 * 1024;

/// PDU types (NVMe TCP Transport 1.0, Figure 21).
pub mod kind {
    /// ICReq, initialize connection request.
    pub const IC_REQ: u8 = 0x00;
    /// ICResp, initialize connection response.
    pub const IC_RESP: u8 = 0x01;
    /// H2CTermReq: the host terminates the connection.
    pub const H2C_TERM: u8 = 0x02;
    /// C2HTermReq: the controller terminates the connection.
    pub const C2H_TERM: u8 = 0x03;
    /// CapsuleCmd, a command capsule.
    pub const COMMAND: u8 = 0x04;
    /// CapsuleResp, a response capsule.
    pub const RESPONSE: u8 = 0x05;
    /// H2CData, data to the controller.
    pub const H2C_DATA: u8 = 0x06;
    /// C2HData, data to the host.
    pub const C2H_DATA: u8 = 0x07;
    /// R2T, ready to transfer.
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

/// The negotiated digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// True if headers have a digest.
    pub header: bool,
    /// True if data have a digest.
    pub data: bool,
}

impl Digests {
    /// Decodes DGST of ICReq and ICResp.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self { header: bits & 1 != 0, data: bits & 2 != 0 }
    }

    /// Encodes DGST of ICReq and ICResp.
    #[must_use]
    pub fn bits(self) -> u8 {
        u8::from(self.header) | u8::from(self.data) << 1
    }
}

/// A digest: CRC32C (RFC 3720, B.4), in the byte order of the wire.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).to_le_bytes()
}
