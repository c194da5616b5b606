//! The records between stafd and stas-admin: the lengths of head and data (u32, big-endian), the head as JSON, the data.
//!
//! A request can express only the commands that stafd needs, and every size has a limit, in both directions. Bytes that
//! exceed a limit, or that are not a record, end the connection.

use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use stas_core::{AdminError, CtrlRef, CtrlState, NoThread, OsError};
use stas_net::wire::error_text;
use stas_nvme::admin::{Command, CommandError, DimTask, Status, TRANSFER_MAX};
use stas_nvme::{log_page, supported};

/// Longest head in bytes.
const HEAD_MAX: usize = 4096;
/// Maximum length of the data of a record in bytes. A registration has about 2 KiB, a part of a log page up to 64 KiB.
const DATA_MAX: usize = 64 * 1024;
/// Length of the two lengths before the head.
const LENGTHS: usize = 8;

/// An admin command of stafd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Task {
    /// Identify Controller. The answer has 4096 bytes.
    Identify {},
    /// Get Log Page, for the discovery log page or the Supported Log Pages page.
    GetLogPage {
        /// Log page identifier.
        lid: u8,
        /// Log specific parameter.
        lsp: u8,
        /// Offset in bytes.
        offset: u64,
        /// Number of bytes.
        len: u32,
    },
    /// Discovery Information Management (TP8010), with the data of the record.
    ManageDiscoveryInformation {
        /// Number of the task.
        task: u8,
    },
}

impl Task {
    /// The commands for a request with this much data. `None` if stafd sends no such request.
    pub(super) fn commands(self, data: usize) -> Option<Vec<Command>> {
        match self {
            Self::Identify {} => (data == 0).then(|| vec![Command::identify_controller()]),
            Self::GetLogPage { lid, lsp, offset, len } => {
                let is_known = [log_page::LID, supported::LID].contains(&lid);
                let is_whole = (1..=log_page::PART_MAX).contains(&len) && len % 4 == 0 && offset % 4 == 0;
                offset.checked_add(len.into()).filter(|_| data == 0 && is_known && is_whole)?;
                let command = |at: u32| {
                    let transfer = TRANSFER_MAX.min(len - at);
                    Command::get_log_page(lid, lsp, offset + u64::from(at), transfer)
                };
                Some((0..len).step_by(TRANSFER_MAX as usize).map(command).collect())
            }
            Self::ManageDiscoveryInformation { task } => {
                let length = u32::try_from(data).ok().filter(|length| *length > 0)?;
                Some(vec![Command::discovery_information_management(DimTask::from_number(task)?, length)])
            }
        }
    }

    /// Length of the data of a successful answer in bytes.
    pub(super) fn answer_len(self) -> usize {
        match self {
            Self::Identify {} => Command::identify_controller().len as usize,
            Self::GetLogPage { len, .. } => len as usize,
            Self::ManageDiscoveryInformation { .. } => 0,
        }
    }
}

/// A record from stafd. Answered by an [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Number of the request.
    pub(super) id: u64,
    /// The controller.
    pub(super) ctrl: CtrlRef,
    /// The command.
    pub(super) task: Task,
}

/// A record to stafd. After a success the data of the controller follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Number of the request.
    pub(super) id: u64,
    /// Why there is no result.
    pub(super) error: Option<Failure>,
}

/// Why a command has no result: an [`AdminError`] without its controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Failure {
    Gone,
    NotLive(String),
    Device(String),
    NoThread(String),
    Status(u16),
    Host(String),
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Gone(_) => Self::Gone,
            AdminError::NotLive(_, state) => Self::NotLive(state.to_string()),
            AdminError::Device(_, error) => Self::Device(error_text(&error.to_string())),
            AdminError::NoThread(_, NoThread(error)) => Self::NoThread(error_text(&error.to_string())),
            AdminError::Command(CommandError::Status(status)) => Self::Status(status.0),
            error => Self::Host(error_text(&error.to_string())),
        }
    }
}

impl Failure {
    /// The error for that controller.
    pub(super) fn of(self, ctrl: CtrlRef) -> AdminError {
        match self {
            Self::Gone => AdminError::Gone(ctrl),
            Self::NotLive(state) => AdminError::NotLive(ctrl, CtrlState::parse(&state)),
            Self::Device(error) => AdminError::Device(ctrl, OsError::new(error)),
            Self::NoThread(error) => AdminError::NoThread(ctrl, NoThread(OsError::new(error))),
            Self::Status(status) => CommandError::Status(Status(status)).into(),
            Self::Host(error) => CommandError::Host(error).into(),
        }
    }
}

/// Writes a record in one piece.
pub(super) fn write(stream: &mut impl Write, head: &impl Serialize, data: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    if head.len() > HEAD_MAX || data.len() > DATA_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"));
    }
    let mut frame = Vec::with_capacity(LENGTHS + head.len() + data.len());
    for length in [head.len(), data.len()] {
        frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    frame.extend(head);
    frame.extend(data);
    stream.write_all(&frame)?;
    stream.flush()
}

/// Reads the next record. `None` at the end of the connection.
pub(super) fn read<T: DeserializeOwned>(stream: &mut impl BufRead) -> io::Result<Option<(T, Vec<u8>)>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let head = length(stream)?;
    let data = length(stream)?;
    if head > HEAD_MAX || data > DATA_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a record is too long"));
    }
    let head = serde_json::from_slice(&bytes(stream, head)?)?;
    Ok(Some((head, bytes(stream, data)?)))
}

fn length(stream: &mut impl Read) -> io::Result<usize> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    Ok(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))
}

fn bytes(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_failure() -> impl Strategy<Value = AdminError> {
        let ctrl = CtrlRef { device: 3, inode: 4242 };
        prop_oneof![
            Just(AdminError::Gone(ctrl)),
            "live|connecting|deleting|dead".prop_map(move |state| AdminError::NotLive(ctrl, CtrlState::parse(&state))),
            "\\PC*".prop_map(move |text| AdminError::Device(ctrl, OsError::new(error_text(&text)))),
            "\\PC*".prop_map(move |text| AdminError::NoThread(ctrl, NoThread(OsError::new(error_text(&text))))),
            any::<u16>().prop_map(|status| CommandError::Status(Status(status)).into()),
            "\\PC*".prop_map(|text| CommandError::Host(error_text(&text)).into()),
        ]
    }

    proptest! {
        #[test]
        fn every_error_arrives_as_it_was(error in any_failure(), id: u64) {
            let answer = Answer { id, error: Some(error.clone().into()) };
            let mut stream = Vec::new();
            write(&mut stream, &answer, &[1, 2]).unwrap();
            let (arrived, data) = read::<Answer>(&mut stream.as_slice()).unwrap().unwrap();
            prop_assert_eq!((&arrived, data), (&answer, vec![1, 2]));
            prop_assert_eq!(arrived.error.unwrap().of(CtrlRef { device: 3, inode: 4242 }), error);
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>, head in 0..300_u32, data in 0..300_u32) {
            let _ = read::<Request>(&mut bytes.as_slice());
            let framed = [head.to_be_bytes().as_slice(), &data.to_be_bytes(), &bytes].concat();
            let _ = read::<Request>(&mut framed.as_slice());
        }

        /// Whatever a request says, only the commands of stafd can result.
        #[test]
        fn no_other_command_can_be_expressed(
            lid: u8, lsp: u8, offset: u64, len in prop_oneof![0..20_000_u32, any::<u32>()], task: u8, data in 0..DATA_MAX,
        ) {
            let tasks =
                [Task::Identify {}, Task::GetLogPage { lid, lsp, offset, len }, Task::ManageDiscoveryInformation { task }];
            for command in tasks.iter().filter_map(|task| task.commands(data)).flatten() {
                let is_known = match command.opcode {
                    0x02 => [0x00, 0x70].contains(&(command.cdw[0] & 0xff)) && command.len <= 4096,
                    0x06 => command.cdw == [1, 0, 0, 0, 0, 0] && command.len == 4096,
                    0x21 => command.cdw[0] <= 2 && command.cdw[1..] == [0; 5] && command.len as usize == data,
                    _ => false,
                };
                prop_assert!(is_known, "{:?}", command);
            }
        }
    }

    #[test]
    fn the_commands_of_a_part_are_adjacent_and_each_target_supports_their_length() {
        for len in [4, 4096, 4100, 8192, log_page::PART_MAX] {
            let task = Task::GetLogPage { lid: log_page::LID, lsp: 0, offset: 1024, len };
            let mut next = 1024;
            for Command { cdw, len, .. } in task.commands(0).unwrap() {
                assert_eq!((u64::from(cdw[2]), cdw[3]), (next, 0));
                assert!(len <= TRANSFER_MAX);
                next += u64::from(len);
            }
            assert_eq!(next, 1024 + u64::from(len));
        }
        let part = |offset, len| Task::GetLogPage { lid: log_page::LID, lsp: 0, offset, len };
        for task in [part(0, 0), part(0, log_page::PART_MAX + 4), part(0, 6), part(2, 4), part(u64::MAX - 3, 4096)] {
            assert_eq!(task.commands(0), None, "{task:?}");
        }
    }

    #[test]
    fn an_error_message_of_any_length_fits() {
        let error = AdminError::Device(CtrlRef { device: 0, inode: 0 }, OsError::new("\u{1}é".repeat(4096)));
        write(&mut Vec::new(), &Answer { id: u64::MAX, error: Some(error.into()) }, &[]).unwrap();
    }

    #[test]
    fn a_record_that_is_too_long_is_neither_written_nor_read() {
        write(&mut Vec::new(), &"", &vec![0; DATA_MAX + 1]).unwrap_err();
        write(&mut Vec::new(), &"x".repeat(HEAD_MAX), &[]).unwrap_err();
        for lengths in [[0, 0, 0x10, 1, 0, 0, 0, 0], [0, 0, 0, 2, 0, 1, 0, 1]] {
            let error = read::<Request>(&mut [lengths.as_slice(), &[b'0'; 70_000]].concat().as_slice()).unwrap_err();
            assert_eq!(error.to_string(), "a record is too long");
        }
    }
}
