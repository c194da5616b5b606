//! The controller's properties (NVMe Base 2.0, 3.1.3): CAP, VS, CC, CSTS.

use crate::world::VERSION;

const CAP_AT: u32 = 0x00;
const VS_AT: u32 = 0x08;
const CC_AT: u32 = 0x14;
const CSTS_AT: u32 = 0x1c;

/// CAP: 128 entries in a queue (bits 15:0, minus one), contiguous queues (16), ready within 7.5 s (31:24, in units of
/// 500 ms), and the NVM command set (37), which hosts require.
const CAP: u64 = 127 | 1 << 16 | 15 << 24 | 1 << 37;

/// CC.EN; CSTS.RDY has the same value.
const ENABLED: u32 = 1 << 0;
/// CC.SHN, bits 15:14.
const SHUTDOWN: u32 = 0b11 << 14;
/// CSTS.SHST, bits 3:2: the shutdown is complete.
const SHUTDOWN_COMPLETE: u32 = 0b10 << 2;

/// The properties that a host can change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Properties {
    configuration: u32,
}

impl Properties {
    /// Reads a property; `None` if there is none at that offset with that width.
    pub(super) fn get(&self, offset: u32, wide: bool) -> Option<u64> {
        match (offset, wide) {
            (CAP_AT, true) => Some(CAP),
            (VS_AT, false) => Some(VERSION.0.into()),
            (CC_AT, false) => Some(self.configuration.into()),
            (CSTS_AT, false) => Some(self.status().into()),
            _ => None,
        }
    }

    /// Writes a property; `None` if there is no writable one at that offset.
    pub(super) fn set(&mut self, offset: u32, value: u64) -> Option<()> {
        if offset != CC_AT {
            return None;
        }
        self.configuration = u32::try_from(value & 0xffff_ffff).ok()?;
        Some(())
    }

    /// True if CC.EN is set: only then commands other than Fabrics commands are performed.
    pub(super) fn is_enabled(&self) -> bool {
        self.configuration & ENABLED != 0
    }

    fn status(&self) -> u32 {
        let shutdown = if self.configuration & SHUTDOWN == 0 { 0 } else { SHUTDOWN_COMPLETE };
        self.configuration & ENABLED | shutdown
    }
}
