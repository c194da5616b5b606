//! Admin commands as values: what the ioctl takes, and what a controller may answer (NVMe Base 2.1, 5.1 and 3.3.3).

use std::fmt;

/// Largest transfer of one command in bytes: every target supports it, whatever its MDTS.
pub const TRANSFER_MAX: u32 = 4096;

const GET_LOG_PAGE: u8 = 0x02;
const IDENTIFY: u8 = 0x06;
const DISCOVERY_INFORMATION_MANAGEMENT: u8 = 0x21;

/// One admin command: everything that the ioctl needs except the buffer. It names no namespace (NSID 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Opcode in the admin command set, for example 02h (Get Log Page).
    pub opcode: u8,
    /// Command dwords 10 to 15.
    pub cdw: [u32; 6],
    /// Length of the buffer in bytes.
    pub len: u32,
}

impl Command {
    /// Get Log Page: `len` bytes starting at `offset`, both multiples of four. The Retain Asynchronous Event bit is 0,
    /// so that reading the page re-arms its event.
    #[must_use]
    pub fn get_log_page(lid: u8, lsp: u8, offset: u64, len: u32) -> Self {
        let dwords = (len / 4).saturating_sub(1);
        let (low, high) = halves(offset);
        let cdw10 = u32::from(lid) | u32::from(lsp & 0x7f) << 8 | (dwords & 0xffff) << 16;
        Self { opcode: GET_LOG_PAGE, cdw: [cdw10, dwords >> 16, low, high, 0, 0], len }
    }

    /// Identify Controller: 4096 bytes.
    #[must_use]
    pub fn identify_controller() -> Self {
        Self { opcode: IDENTIFY, cdw: [0x01, 0, 0, 0, 0, 0], len: 4096 }
    }

    /// Discovery Information Management (TP8010): sends `len` bytes of data to the controller.
    #[must_use]
    pub fn discovery_information_management(task: DimTask, len: u32) -> Self {
        Self { opcode: DISCOVERY_INFORMATION_MANAGEMENT, cdw: [task.number().into(), 0, 0, 0, 0, 0], len }
    }
}

/// The task of Discovery Information Management (command dword 10, bits 3:0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimTask {
    /// Register the host.
    Register,
    /// Remove the registration.
    Deregister,
    /// Replace the registered data.
    Update,
}

impl DimTask {
    /// The task's number in the command.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Register => 0,
            Self::Deregister => 1,
            Self::Update => 2,
        }
    }

    /// The task with this number; `None` for a reserved number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Register, Self::Deregister, Self::Update].into_iter().find(|task| task.number() == number)
    }
}

#[allow(clippy::cast_possible_truncation)] // the two halves of a number
fn halves(number: u64) -> (u32, u32) {
    (number as u32, (number >> 32) as u32)
}

/// The status of a completed command: status code (bits 7:0), status code type (bits 10:8), More (13), Do Not Retry
/// (14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// Discover Restart: the page changed while it was read (type 1h, code 90h).
    pub const DISCOVER_RESTART: u16 = 0x190;

    /// Status code type and status code, without the flags.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0 & 0x7ff
    }

    /// True if the same command may succeed when it is repeated: Do Not Retry is not set, and the status does not blame
    /// the command itself (opcode, fields, data).
    #[must_use]
    pub fn is_worth_a_retry(self) -> bool {
        !self.is_do_not_retry() && !matches!(self.code(), 0x001 | 0x002 | 0x12f)
    }

    /// True if the host itself ended the command because the connection was lost. The controller has not answered.
    #[must_use]
    pub fn is_connection_lost(self) -> bool {
        matches!(self.code(), 0x370 | 0x371)
    }

    /// True if Do Not Retry is set: the same command will fail again.
    #[must_use]
    pub fn is_do_not_retry(self) -> bool {
        self.0 & 0x4000 != 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.code() {
            0x001 => "invalid command opcode",
            0x002 => "invalid field in command",
            0x006 => "internal error",
            0x007 => "command aborted",
            0x00c => "command sequence error",
            0x109 => "invalid log page",
            Self::DISCOVER_RESTART => "the discovery log page changed while it was read",
            0x12f => "invalid discovery information",
            0x191 => "authentication required",
            0x360 => "controller path error",
            0x370 => "host path error: the connection was lost",
            0x371 => "command aborted by the host: the connection was lost",
            _ => return write!(f, "NVMe status {:#05x}", self.code()),
        };
        write!(f, "{words} (NVMe status {:#05x})", self.code())
    }
}

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The controller completed the command with an error.
    #[error("the controller answered: {0}")]
    Status(Status),
    /// The command did not reach the controller, or its answer did not reach the host. The text says why.
    #[error("{0}")]
    Host(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log_page;

    #[test]
    fn tasks_have_their_numbers() {
        assert_eq!([DimTask::Register, DimTask::Deregister, DimTask::Update].map(DimTask::number), [0, 1, 2]);
        assert_eq!([2, 3].map(DimTask::from_number), [Some(DimTask::Update), None]);
    }

    #[test]
    fn a_log_page_is_asked_for_by_page_part_and_dwords() {
        let command = Command::get_log_page(log_page::LID, log_page::LSP_PLEO, 0x1_0000_1000, 4096);
        assert_eq!((command.opcode, command.len), (0x02, 4096));
        // NUMDL 3FFh, no RAE, LSP 2, LID 70h; NUMDU 0; the offset in two halves.
        assert_eq!(command.cdw, [0x03ff_0270, 0, 0x1000, 0x1, 0, 0]);
    }

    #[test]
    fn the_event_is_never_retained() {
        let command = Command::get_log_page(log_page::LID, 0xff, 0, 1024);
        assert_eq!(command.cdw[0], 0x00ff_7f70);
    }

    #[test]
    fn identify_asks_for_the_controller() {
        let command = Command::identify_controller();
        assert_eq!((command.opcode, command.cdw, command.len), (0x06, [1, 0, 0, 0, 0, 0], 4096));
    }

    #[test]
    fn a_registration_says_its_task_and_its_length() {
        let command = Command::discovery_information_management(DimTask::Update, 2088);
        assert_eq!((command.opcode, command.cdw, command.len), (0x21, [2, 0, 0, 0, 0, 0], 2088));
    }

    #[test]
    fn a_status_is_reported_in_words_where_there_are_any() {
        assert_eq!(Status(0x4002).to_string(), "invalid field in command (NVMe status 0x002)");
        for (status, words) in [
            (0x001, "invalid command opcode"),
            (0x006, "internal error"),
            (0x007, "command aborted"),
            (0x00c, "command sequence error"),
            (0x109, "invalid log page"),
            (0x190, "the discovery log page changed while it was read"),
            (0x12f, "invalid discovery information"),
            (0x191, "authentication required"),
            (0x360, "controller path error"),
            (0x370, "host path error: the connection was lost"),
            (0x371, "command aborted by the host: the connection was lost"),
        ] {
            assert_eq!(Status(status).to_string(), format!("{words} (NVMe status {status:#05x})"));
        }
        assert_eq!(Status(0x2190).to_string(), "the discovery log page changed while it was read (NVMe status 0x190)");
        assert_eq!(Status(0x4142).to_string(), "NVMe status 0x142");
        assert!(Status(0x4002).is_do_not_retry() && !Status(0x2190).is_do_not_retry());
        assert!(
            Status(0x0006).is_worth_a_retry()
                && !Status(0x4006).is_worth_a_retry()
                && !Status(0x0001).is_worth_a_retry()
        );
    }

    proptest! {
        #[test]
        fn the_dwords_and_the_offset_add_up(offset: u64, dwords in 1..=0x0100_0000_u32) {
            let command = Command::get_log_page(0x70, 0, offset, dwords * 4);
            let [cdw10, cdw11, low, high, ..] = command.cdw;
            prop_assert_eq!((cdw11 << 16 | cdw10 >> 16) + 1, dwords);
            prop_assert_eq!(u64::from(high) << 32 | u64::from(low), offset);
        }
    }
}
