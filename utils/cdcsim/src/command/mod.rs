//! Decodes the submission queue entry that a host sends, and encodes the completion queue entry that it gets (NVMe Base
//! 2.0, 3.3.3; Fabrics commands: 6).

pub mod connect;
pub mod status;
#[cfg(test)]
mod tests;

use stas_nvme::admin::{DimTask, Status};
use stas_nvme::wire::{put, u8_at, u16_at, u32_at, u64_at};

pub use connect::{Connect, ConnectData};

/// A decoded command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command identifier, repeated in the completion.
    pub cid: u16,
    /// The place of its data.
    pub data: DataPointer,
    /// The decoded operation.
    pub ask: Ask,
}

/// SGL1 of the entry (NVMe Base 2.0, 4.1.2), with the only descriptor types of NVMe/TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPointer {
    /// In the capsule: offset and length in bytes.
    Capsule {
        /// Offset in bytes from the start of the capsule's data.
        offset: u64,
        /// Length in bytes.
        len: u32,
    },
    /// In the host's memory: data PDUs carry it.
    Host {
        /// Length in bytes.
        len: u32,
    },
    /// Another descriptor type, which is not supported.
    Unknown(u8),
}

/// The operation of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The Connect command (Fabrics).
    Connect(Connect),
    /// The Property Get command (Fabrics).
    PropertyGet {
        /// Offset of the property.
        offset: u32,
        /// True for eight bytes, false for four.
        wide: bool,
    },
    /// The Property Set command (Fabrics).
    PropertySet {
        /// Offset of the property.
        offset: u32,
        /// The value to write.
        value: u64,
    },
    /// The Get Log Page command.
    GetLogPage {
        /// Log page identifier.
        lid: u8,
        /// Log specific parameter.
        lsp: u8,
        /// RAE: the event stays masked after the read.
        retain: bool,
        /// Offset in the page in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The Identify command.
    Identify {
        /// Controller or Namespace Structure: selects the data structure.
        cns: u8,
    },
    /// The Set Features command.
    SetFeatures {
        /// The feature identifier (FID).
        fid: u8,
        /// Command dword 11.
        value: u32,
    },
    /// The Get Features command.
    GetFeatures {
        /// The feature identifier (FID).
        fid: u8,
    },
    /// The Asynchronous Event Request command.
    AsynchronousEvent,
    /// The Keep Alive command.
    KeepAlive,
    /// The Discovery Information Management command; `None` for a reserved task.
    Inform(Option<DimTask>),
    /// Any other command.
    Other {
        /// The opcode of the command.
        opcode: u8,
    },
}

const GET_LOG_PAGE: u8 = 0x02;
const IDENTIFY: u8 = 0x06;
const SET_FEATURES: u8 = 0x09;
const GET_FEATURES: u8 = 0x0a;
const ASYNCHRONOUS_EVENT: u8 = 0x0c;
const KEEP_ALIVE: u8 = 0x18;
const INFORM: u8 = 0x21;
const FABRICS: u8 = 0x7f;
/// The FCTYPE values of Fabrics commands.
const PROPERTY_SET: u8 = 0x00;
const CONNECT: u8 = 0x01;
const PROPERTY_GET: u8 = 0x04;

impl Command {
    /// Decodes an entry. Any 64 bytes are some command.
    #[must_use]
    pub fn parse(entry: &[u8; 64]) -> Self {
        let u8_at = |at| u8_at(entry, at).unwrap_or_default();
        let u16_at = |at| u16_at(entry, at).unwrap_or_default();
        let u32_at = |at| u32_at(entry, at).unwrap_or_default();
        let u64_at = |at| u64_at(entry, at).unwrap_or_default();
        let ask = match (u8_at(0), u8_at(4)) {
            (FABRICS, CONNECT) => Ask::Connect(Connect {
                recfmt: u16_at(40),
                qid: u16_at(42),
                sqsize: u16_at(44),
                disable_sqflow: u8_at(46) & 0b100 != 0,
                kato: u32_at(48),
            }),
            (FABRICS, PROPERTY_GET) => Ask::PropertyGet { offset: u32_at(44), wide: u8_at(40) & 0b111 == 1 },
            (FABRICS, PROPERTY_SET) => Ask::PropertySet { offset: u32_at(44), value: u64_at(48) },
            (GET_LOG_PAGE, _) => Ask::GetLogPage {
                lid: u8_at(40),
                lsp: u8_at(41) & 0x7f,
                retain: u8_at(41) & 0x80 != 0,
                offset: u64_at(48),
                len: (u64::from(u16_at(44)) << 16 | u64::from(u16_at(42))).saturating_add(1) * 4,
            },
            (IDENTIFY, _) => Ask::Identify { cns: u8_at(40) },
            (SET_FEATURES, _) => Ask::SetFeatures { fid: u8_at(40), value: u32_at(44) },
            (GET_FEATURES, _) => Ask::GetFeatures { fid: u8_at(40) },
            (ASYNCHRONOUS_EVENT, _) => Ask::AsynchronousEvent,
            (KEEP_ALIVE, _) => Ask::KeepAlive,
            (INFORM, _) => Ask::Inform(DimTask::from_number(u8_at(40) & 0xf)),
            (opcode, _) => Ask::Other { opcode },
        };
        let data = match u8_at(39) {
            0x01 => DataPointer::Capsule { offset: u64_at(24), len: u32_at(32) },
            0x5a => DataPointer::Host { len: u32_at(32) },
            other => DataPointer::Unknown(other),
        };
        Self { cid: u16_at(2), data, ask }
    }

    /// True if the host sends data with the command: the data must arrive before the command can be performed.
    #[must_use]
    pub fn brings_data(&self) -> bool {
        matches!(self.ask, Ask::Connect(_) | Ask::Inform(_))
    }

    /// The name of the command in lists and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.ask {
            Ask::Connect(_) => "connect",
            Ask::PropertyGet { .. } => "property-get",
            Ask::PropertySet { .. } => "property-set",
            Ask::GetLogPage { .. } => "get-log-page",
            Ask::Identify { .. } => "identify",
            Ask::SetFeatures { .. } => "set-features",
            Ask::GetFeatures { .. } => "get-features",
            Ask::AsynchronousEvent => "asynchronous-event-request",
            Ask::KeepAlive => "keep-alive",
            Ask::Inform(_) => "discovery-information-management",
            Ask::Other { .. } => "other",
        }
    }
}

/// A completion queue entry (NVMe Base 2.0, 3.3.3.2), of the admin queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The identifier of the command that is completed.
    pub cid: u16,
    /// Dwords 0 and 1: specific to the command.
    pub result: u64,
    /// SQHD: the head of the submission queue; FFFFh without flow control.
    pub head: u16,
    /// The status of the command.
    pub status: Status,
}

impl Completion {
    /// Encodes the entry for a response capsule. The phase tag has no meaning there.
    #[must_use]
    pub fn encode(&self) -> [u8; 16] {
        let mut entry = [0; 16];
        put(&mut entry[0..8], &self.result.to_le_bytes());
        put(&mut entry[8..10], &self.head.to_le_bytes());
        put(&mut entry[12..14], &self.cid.to_le_bytes());
        put(&mut entry[14..16], &(self.status.0 << 1).to_le_bytes());
        entry
    }
}
