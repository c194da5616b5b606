//! Data outside the capsule: requested by R2T, sent in H2CData (NVMe TCP Transport 1.0, 3.3.2).

use std::collections::BTreeMap;

use crate::command::Command;

/// Maximum length of the data of one command.
const DATA_MAX: u32 = 64 * 1024;
/// Maximum number of commands that wait for their data.
const WAITING_MAX: usize = 32;

/// The commands that wait for data, by their transfer tags.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    waiting: BTreeMap<u16, Transfer>,
    last: u16,
}

#[derive(Debug)]
struct Transfer {
    command: Command,
    wanted: usize,
    data: Vec<u8>,
    is_sound: bool,
}

/// A command and its data; the data is `None` if a digest was wrong.
type Complete = (Command, Option<Vec<u8>>);

/// Offsets in the H2CData header, as used in fatal error information.
const CID_AT: u32 = 8;
const TTAG_AT: u32 = 10;
const OFFSET_AT: u32 = 12;
const LENGTH_AT: u32 = 16;

impl Transfers {
    /// Registers a command that waits for data of that length. Returns the tag, or `None` if a limit is exceeded.
    pub(super) fn begin(&mut self, command: Command, len: u32) -> Option<u16> {
        if len == 0 || len > DATA_MAX || self.waiting.len() >= WAITING_MAX {
            return None;
        }
        self.last = self.last.wrapping_add(1);
        let transfer = Transfer { command, wanted: len as usize, data: Vec::new(), is_sound: true };
        self.waiting.insert(self.last, transfer);
        Some(self.last)
    }

    /// Takes data, which must arrive in order. Returns the command when it is complete.
    ///
    /// # Errors
    /// Returns the offset of the header field that describes data which was not requested.
    pub(super) fn take(
        &mut self,
        cid: u16,
        ttag: u16,
        offset: u32,
        data: Option<Vec<u8>>,
        last: bool,
    ) -> Result<Option<Complete>, u32> {
        let transfer = self.waiting.get_mut(&ttag).ok_or(TTAG_AT)?;
        if transfer.command.cid != cid {
            return Err(CID_AT);
        }
        match data {
            Some(data) => {
                if offset as usize != transfer.data.len() && transfer.is_sound {
                    return Err(OFFSET_AT);
                }
                if transfer.data.len() + data.len() > transfer.wanted {
                    return Err(LENGTH_AT);
                }
                transfer.data.extend(data);
            }
            None => transfer.is_sound = false,
        }
        let is_whole = transfer.data.len() == transfer.wanted;
        if !last && !is_whole {
            return Ok(None);
        }
        if !is_whole && transfer.is_sound {
            return Err(LENGTH_AT);
        }
        let complete = self.waiting.remove(&ttag);
        Ok(complete.map(|transfer| (transfer.command, Some(transfer.data).filter(|_| transfer.is_sound))))
    }
}
