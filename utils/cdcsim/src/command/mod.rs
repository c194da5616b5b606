//! Commands and completions: the submission queue entry that a host sends, read into what it means, and the completion
//! queue entry that it gets (NVMe Base 2.0, 3.3.3; Fabrics commands: 6).

pub mod connect;
pub mod status;
#[cfg(test)]
mod tests;

use libstas::nvme::admin::Status;
use libstas::nvme::dim::Task;
use libstas::nvme::wire::{put, u8_at, u16_at, u32_at, u64_at};

pub use connect::{Connect, ConnectData};

/// A command as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Command identifier: the completion names it.
    pub cid: u16,
    /// Where its data are.
    pub data: DataPointer,
    /// What is asked for.
    pub ask: Ask,
}

/// SGL1 of the entry (NVMe Base 2.0, 4.1.2): the only descriptors that NVMe/TCP knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPointer {
    /// In the capsule: offset and length in bytes.
    Capsule {
        /// From the begin of the capsule's data.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// In the host's memory: data PDUs carry it.
    Host {
        /// Bytes.
        len: u32,
    },
    /// Another descriptor type.
    Unknown(u8),
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Connect (Fabrics).
    Connect(Connect),
    /// Property Get (Fabrics).
    PropertyGet {
        /// Offset of the property.
        offset: u32,
        /// Eight bytes rather than four.
        wide: bool,
    },
    /// Property Set (Fabrics).
    PropertySet {
        /// Offset of the property.
        offset: u32,
        /// Its new value.
        value: u64,
    },
    /// Get Log Page.
    GetLogPage {
        /// Log page identifier.
        lid: u8,
        /// Log specific parameter.
        lsp: u8,
        /// The event stays masked after this.
        retain: bool,
        /// First byte of the page.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Identify.
    Identify {
        /// Controller or namespace structure: which data structure.
        cns: u8,
    },
    /// Set Features.
    SetFeatures {
        /// Feature identifier.
        fid: u8,
        /// Command dword 11.
        value: u32,
    },
    /// Get Features.
    GetFeatures {
        /// Feature identifier.
        fid: u8,
    },
    /// Asynchronous Event Request.
    AsynchronousEvent,
    /// Keep Alive.
    KeepAlive,
    /// Discovery Information Management; `None` for a task that is reserved.
    Inform(Option<Task>),
    /// Another command.
    Other {
        /// Opcode.
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
/// FCTYPE of Fabrics commands.
const PROPERTY_SET: u8 = 0x00;
const CONNECT: u8 = 0x01;
const PROPERTY_GET: u8 = 0x04;

impl Command {
    /// Reads an entry. Every 64 bytes are some command.
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
            (INFORM, _) => Ask::Inform(Task::from_number(u8_at(40) & 0xf)),
            (opcode, _) => Ask::Other { opcode },
        };
        let data = match u8_at(39) {
            0x01 => DataPointer::Capsule { offset: u64_at(24), len: u32_at(32) },
            0x5a => DataPointer::Host { len: u32_at(32) },
            other => DataPointer::Unknown(other),
        };
        Self { cid: u16_at(2), data, ask }
    }

    /// The data goes from the host to the controller, and must be there before the command can be carried out.
    #[must_use]
    pub fn brings_data(&self) -> bool {
        matches!(self.ask, Ask::Connect(_) | Ask::Inform(_))
    }

    /// What it is called in lists and logs.
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
    /// The command.
    pub cid: u16,
    /// Dwords 0 and 1: what the command's own specification puts there.
    pub result: u64,
    /// SQHD: the head of the submission queue; FFFFh without flow control.
    pub head: u16,
    /// Success, or what is wrong.
    pub status: Status,
}

impl Completion {
    /// The entry as it stands in a response capsule; the phase tag means nothing there.
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
