//! Reads the page without doing I/O itself: [`Reader::next`] says what to read, [`Reader::feed`] takes the answer.
//!
//! A page may be longer than one command can transfer, and may change between two commands. So the header is read
//! first, then the entries, then the header again. If the header has changed, everything is read again (NVMe Base 2.1,
//! 5.1.12.3.1).

use super::entry::{ENTRY_LEN, Entry};
use super::page::{EXTENDED_ENTRY_LEN, HEADER_LEN, Header, LogPage, Malformed};
use crate::admin::{CommandError, Status, TRANSFER_MAX};
use crate::wire::u32_at;

/// Maximum number of entries that are read. A host holds a few thousand connections at most (each costs the kernel a
/// device and queues), and a centralized discovery controller lists only what the host's zone allows. 16,384 is well
/// above both. It limits a read to 16 MiB on the wire and about 6 MiB in memory.
pub const MAX_RECORDS: u64 = 16_384;
/// How often reading is restarted because the page changed meanwhile.
pub const MAX_RESTARTS: u8 = 6;
/// Longest extended entry in bytes: the entry, and room for more attributes of 256 bytes than are defined.
pub const MAX_ENTRY_LEN: u32 = 16 * 1024;

/// Highest known RECFMT: 0 by the specification, 1 in some targets for the same format.
const MAX_RECFMT: u16 = 1;
/// Shortest extended entry in bytes: one without attributes (NVMe Base 2.1, Figure 295).
const EXTENDED_LEN: u32 = EXTENDED_ENTRY_LEN as u32;
/// Longest part of the page that is read at once, in bytes: 16 commands of the length that every target supports.
pub const PART_MAX: u32 = 16 * TRANSFER_MAX;
/// Offset of TEL, the length of an extended entry, in the entry.
const TEL: usize = 1024;

/// What the caller of [`Reader`] must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read this part of the page and pass it to [`Reader::feed`]. At most [`PART_MAX`] bytes; both numbers are
    /// multiples of four.
    Read {
        /// Offset from the start of the page in bytes.
        offset: u64,
        /// Number of bytes to read.
        len: u32,
    },
    /// Reading has ended.
    Done(Result<LogPage, ReadError>),
}

/// Why a page could not be read. No such error proves anything about the subsystems that an earlier page listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A Get Log Page command failed.
    #[error("reading the discovery log page at byte {offset} failed: {error}")]
    Command {
        /// Offset of the command in bytes from the start of the page.
        offset: u64,
        /// Error of the command.
        error: CommandError,
    },
    /// The page changed during each attempt to read it. The number of attempts.
    #[error("the discovery log page changed {0} times while it was read")]
    Restless(u8),
    /// The header claims more than [`MAX_RECORDS`] entries.
    #[error("the discovery log page claims {0} entries; at most {MAX_RECORDS} are read")]
    TooMany(u64),
    /// The record format (RECFMT) is not known.
    #[error("the discovery log page has record format {0}; 0 is known")]
    Format(u16),
    /// The page ends before the last entry that its header claims.
    #[error("the discovery log page ends at byte {at}, after {found} of {claimed} entries")]
    Short {
        /// Number of complete entries, including malformed ones.
        found: u64,
        /// NUMREC of the header. 0 if the header itself is incomplete.
        claimed: u64,
        /// Offset of the end in bytes from the start of the page.
        at: u64,
    },
    /// The length of an extended entry is impossible, so the next entry cannot be located.
    #[error("entry {index} of the discovery log page claims {len} bytes")]
    EntryLength {
        /// Position of the entry in the page, counted from 0.
        index: u64,
        /// TEL: the claimed length in bytes.
        len: u32,
    },
}

/// Reads one page. Call [`Reader::next`] to learn what to do, [`Reader::feed`] after each read, and stop at
/// [`Step::Done`].
#[derive(Clone, Debug)]
pub struct Reader {
    lsp: u8,
    restarts: u8,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Header,
    Entries(Progress),
    Confirm(Header, LogPage),
    Done(Result<LogPage, ReadError>),
}

/// The entries read so far, and the position in the page.
#[derive(Clone, Debug)]
struct Progress {
    header: Header,
    page: LogPage,
    /// Number of entries read, including malformed ones.
    index: u64,
    /// Offset of the next byte to read.
    offset: u64,
    /// Offset of the end of the page.
    end: u64,
    /// Bytes of an entry that is not complete yet.
    begun: Vec<u8>,
}

impl Reader {
    /// Starts reading. `lsp` is the log specific parameter of each command: 0, or bits such as [`super::LSP_PLEO`].
    #[must_use]
    pub fn new(lsp: u8) -> Self {
        Self { lsp, restarts: 0, state: State::Header }
    }

    /// The log specific parameter for each command.
    #[must_use]
    pub fn lsp(&self) -> u8 {
        self.lsp
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Step {
        let header = Step::Read { offset: 0, len: HEADER_LEN as u32 };
        match &self.state {
            State::Header | State::Confirm(..) => header,
            State::Entries(progress) => {
                let left = progress.end.saturating_sub(progress.offset);
                let len = u32::try_from(left).unwrap_or(PART_MAX).min(PART_MAX);
                Step::Read { offset: progress.offset, len }
            }
            State::Done(result) => Step::Done(result.clone()),
        }
    }

    /// Takes the answer to the last [`Step::Read`]. Does nothing after [`Step::Done`].
    pub fn feed(&mut self, answer: Result<&[u8], CommandError>) {
        let Step::Read { offset, len } = self.next() else { return };
        let state = std::mem::replace(&mut self.state, State::Header);
        self.state = match answer {
            Ok(bytes) => {
                let bytes = bytes.get(..len as usize).unwrap_or(bytes);
                let is_whole = bytes.len() == len as usize;
                match state {
                    State::Header => begin(bytes, is_whole),
                    State::Entries(progress) => progress.take(bytes, is_whole),
                    State::Confirm(header, page) => self.confirm(header, page, bytes),
                    State::Done(result) => State::Done(result),
                }
            }
            Err(CommandError::Status(Status(status))) if Status(status).code() == Status::DISCOVER_RESTART => {
                self.again()
            }
            Err(error) => State::Done(Err(ReadError::Command { offset, error })),
        };
    }

    /// Accepts the page if its header is unchanged, else restarts.
    fn confirm(&mut self, header: Header, page: LogPage, bytes: &[u8]) -> State {
        if Header::parse(bytes) == Some(header) { State::Done(Ok(page)) } else { self.again() }
    }

    fn again(&mut self) -> State {
        if self.restarts == MAX_RESTARTS {
            return State::Done(Err(ReadError::Restless(self.restarts + 1)));
        }
        self.restarts += 1;
        State::Header
    }
}

/// Decides by the header what to read next.
fn begin(bytes: &[u8], is_whole: bool) -> State {
    let Some(header) = Header::parse(bytes).filter(|_| is_whole) else {
        return State::Done(Err(ReadError::Short { found: 0, claimed: 0, at: bytes.len() as u64 }));
    };
    if header.recfmt > MAX_RECFMT {
        return State::Done(Err(ReadError::Format(header.recfmt)));
    }
    if header.numrec > MAX_RECORDS {
        return State::Done(Err(ReadError::TooMany(header.numrec)));
    }
    let page = LogPage { genctr: header.genctr, recfmt: header.recfmt, ..LogPage::default() };
    if header.numrec == 0 {
        // One command reads atomically: no second header is needed for comparison.
        return State::Done(Ok(page));
    }
    let offset = HEADER_LEN as u64;
    let end = match header.extended {
        Some(length) => u64::from(length) / 4 * 4,
        None => offset + header.numrec * ENTRY_LEN as u64,
    };
    Progress { header, page, index: 0, offset, end: end.max(offset), begun: Vec::new() }.go_on()
}

impl Progress {
    /// Takes the next bytes of the entries.
    fn take(mut self, piece: &[u8], is_whole: bool) -> State {
        self.begun.extend_from_slice(piece);
        self.offset += piece.len() as u64;
        if !is_whole {
            self.end = self.offset;
        }
        let mut rest = std::mem::take(&mut self.begun);
        let mut used = 0;
        while self.index < self.header.numrec {
            let bytes = rest.get(used..).unwrap_or_default();
            let len = match self.entry_len(bytes) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => return State::Done(Err(error)),
            };
            let Some(entry) = bytes.get(..len) else { break };
            match Entry::parse(entry) {
                Ok(read) => self.page.entries.push(read),
                Err(reason) => self.page.dropped.push(Malformed::new(self.index, reason, entry)),
            }
            self.index += 1;
            used += len;
        }
        rest.drain(..used.min(rest.len()));
        self.begun = rest;
        self.go_on()
    }

    /// Length in bytes of the entry at the start of `bytes`. `None` if its TEL has not been read yet.
    fn entry_len(&self, bytes: &[u8]) -> Result<Option<usize>, ReadError> {
        if self.header.extended.is_none() {
            return Ok(Some(ENTRY_LEN));
        }
        match u32_at(bytes, TEL) {
            None => Ok(None),
            Some(len) if (EXTENDED_LEN..=MAX_ENTRY_LEN).contains(&len) => Ok(Some(len as usize)),
            Some(len) => Err(ReadError::EntryLength { index: self.index, len }),
        }
    }

    /// Decides whether to read more, to confirm the header, or to report a page that is too short.
    fn go_on(self) -> State {
        if self.index == self.header.numrec {
            State::Confirm(self.header, self.page)
        } else if self.offset < self.end {
            State::Entries(self)
        } else {
            let (found, claimed) = (self.index, self.header.numrec);
            State::Done(Err(ReadError::Short { found, claimed, at: self.offset }))
        }
    }
}

impl LogPage {
    /// Decodes a complete page.
    ///
    /// # Errors
    /// As [`Reader`]; [`ReadError::Short`] if bytes are missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(0);
        loop {
            match reader.next() {
                Step::Done(result) => return result,
                Step::Read { offset, len } => {
                    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    let rest = bytes.get(from..).unwrap_or_default();
                    reader.feed(Ok(rest.get(..len as usize).unwrap_or(rest)));
                }
            }
        }
    }
}
