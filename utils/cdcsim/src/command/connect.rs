//! The Connect command and its data (NVMe Base 2.0, 6.3).

use stas_nvme::wire::{array, trimmed, u16_at};

/// Length of the data in bytes.
pub const DATA_LEN: usize = 1024;
/// CNTLID for any controller.
pub const ANY_CONTROLLER: u16 = 0xffff;
/// Offset of CNTLID in the data.
pub const CNTLID_AT: u16 = 16;
/// Offset of SUBNQN in the data.
pub const SUBNQN_AT: u16 = 256;
/// Offset of HOSTNQN in the data.
pub const HOSTNQN_AT: u16 = 512;

/// The fields of the Connect submission queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Record format: 0.
    pub recfmt: u16,
    /// The queue ID. 0 is the admin queue, the only queue of a discovery controller.
    pub qid: u16,
    /// The number of queue entries minus one.
    pub sqsize: u16,
    /// CATTR bit 2: the host disables flow control.
    pub disable_sqflow: bool,
    /// Keep alive timeout in milliseconds; 0: none.
    pub kato: u32,
}

/// The 1,024 bytes of data of a Connect command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectData {
    /// The host ID (HOSTID).
    pub host_id: [u8; 16],
    /// The controller ID that the host wants (CNTLID).
    pub cntlid: u16,
    /// The NQN of the subsystem (SUBNQN).
    pub subnqn: String,
    /// The NQN of the host (HOSTNQN).
    pub host_nqn: String,
}

impl ConnectData {
    /// Reads the data.
    ///
    /// # Errors
    /// Returns the offset of the field that is not printable text, or at which the data ends too early.
    pub fn parse(data: &[u8]) -> Result<Self, u16> {
        let short = u16::try_from(data.len()).unwrap_or_default();
        let data = data.get(..DATA_LEN).ok_or(short)?;
        let text = |at: u16| {
            let field = data.get(usize::from(at)..usize::from(at) + 256).unwrap_or_default();
            let text = trimmed(field);
            let is_nqn = !text.is_empty() && text.len() < field.len() && text.iter().all(u8::is_ascii_graphic);
            if is_nqn { Ok(text.iter().copied().map(char::from).collect()) } else { Err(at) }
        };
        Ok(Self {
            host_id: array(data, 0).ok_or(short)?,
            cntlid: u16_at(data, CNTLID_AT.into()).ok_or(short)?,
            subnqn: text(SUBNQN_AT)?,
            host_nqn: text(HOSTNQN_AT)?,
        })
    }
}

/// Dword 0 of the completion of a Connect with an invalid parameter: its offset, and in bit 16 whether that is in the
/// data.
#[must_use]
pub fn invalid_parameter(at: u16, in_data: bool) -> u64 {
    u64::from(at) | u64::from(in_data) << 16
}
