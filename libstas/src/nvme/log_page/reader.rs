//! Reading the page through a device, as a machine without I/O: header, entries, header again.
//!
//! Ask [`Reader::step`] what to read, hand the bytes to [`Reader::feed`], and again until it is done.

use super::decode::{ENTRY_LEN, HEADER_LEN, Header, Malformed};
use super::{Entry, LogPage};

/// How much is read at once: every target takes 4 KiB.
pub const CHUNK: usize = 4096;
/// More records than this are not believed: it bounds the memory that a claim can cost (64 MiB of page), and is
/// several times what the largest fabrics have for one host.
pub const MAX_RECORDS: u64 = 65_536;
/// So often is the page read again because it changed meanwhile.
const MAX_ROUNDS: u32 = 6;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read so many bytes at that offset of the page.
    Read {
        /// Offset in bytes.
        offset: u64,
        /// Length in bytes, a multiple of 4.
        len: u32,
    },
    /// It is done.
    Done(Result<LogPage, ReadError>),
}

/// Why the page could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The device gave fewer bytes than were asked for.
    #[error("the answer has {got} bytes instead of {wanted}")]
    Short {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes given.
        got: usize,
    },
    /// The page claims more records than can be.
    #[error("the page claims {0} records, {MAX_RECORDS} are the most")]
    TooMany(u64),
    /// The page has a format that this version does not know.
    #[error("the page has record format {0}, only 0 is known")]
    Format(u16),
    /// It never stood still.
    #[error("the page changed during each of {MAX_ROUNDS} reads")]
    Restless,
    /// The command failed.
    #[error("{0}")]
    Device(String),
}

#[derive(Clone, Debug)]
enum State {
    Header,
    Entries(Header),
    HeaderAgain(Header),
    Done(Result<LogPage, ReadError>),
}

/// One reading of the page.
#[derive(Clone, Debug)]
pub struct Reader {
    state: State,
    rounds: u32,
    entries: Vec<Entry>,
    dropped: Vec<Malformed>,
    taken: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Begins.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Header, rounds: 0, entries: Vec::new(), dropped: Vec::new(), taken: 0 }
    }

    /// What to do next.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::Header | State::HeaderAgain(_) => Step::Read { offset: 0, len: HEADER_LEN as u32 },
            State::Entries(header) => {
                let left = (header.numrec - self.taken).min((CHUNK / ENTRY_LEN) as u64);
                let offset = HEADER_LEN as u64 + self.taken * ENTRY_LEN as u64;
                Step::Read { offset, len: left as u32 * ENTRY_LEN as u32 }
            }
            State::Done(result) => Step::Done(result.clone()),
        }
    }

    /// Takes what was read, or why it could not be.
    pub fn feed(&mut self, result: Result<&[u8], String>) {
        let Step::Read { len, .. } = self.step() else { return };
        let bytes = match result {
            Ok(bytes) if bytes.len() >= len as usize => bytes.get(..len as usize).unwrap_or(bytes),
            Ok(bytes) => return self.end(Err(ReadError::Short { wanted: len as usize, got: bytes.len() })),
            Err(reason) => return self.end(Err(ReadError::Device(reason))),
        };
        match self.state {
            State::Header => self.header(bytes),
            State::Entries(header) => self.take_entries(header, bytes),
            State::HeaderAgain(header) => self.header_again(header, bytes),
            State::Done(_) => {}
        }
    }

    fn end(&mut self, result: Result<LogPage, ReadError>) {
        self.state = State::Done(result);
    }

    fn header(&mut self, bytes: &[u8]) {
        let Some(header) = Header::parse(bytes) else {
            return self.end(Err(ReadError::Short { wanted: HEADER_LEN, got: bytes.len() }));
        };
        if header.recfmt != 0 {
            return self.end(Err(ReadError::Format(header.recfmt)));
        }
        if header.numrec > MAX_RECORDS {
            return self.end(Err(ReadError::TooMany(header.numrec)));
        }
        self.entries.clear();
        self.dropped.clear();
        self.taken = 0;
        self.state = if header.numrec == 0 { State::HeaderAgain(header) } else { State::Entries(header) };
    }

    fn take_entries(&mut self, header: Header, bytes: &[u8]) {
        for entry in bytes.chunks_exact(ENTRY_LEN) {
            match Entry::parse(entry) {
                Ok(entry) => self.entries.push(entry),
                Err(reason) => self.dropped.push(Malformed { index: self.taken, reason }),
            }
            self.taken += 1;
        }
        if self.taken >= header.numrec {
            self.state = State::HeaderAgain(header);
        }
    }

    fn header_again(&mut self, before: Header, bytes: &[u8]) {
        let Some(header) = Header::parse(bytes) else {
            return self.end(Err(ReadError::Short { wanted: HEADER_LEN, got: bytes.len() }));
        };
        if header == before {
            let (entries, dropped) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.dropped));
            return self.end(Ok(LogPage { genctr: header.genctr, recfmt: header.recfmt, entries, dropped }));
        }
        self.rounds += 1;
        if self.rounds >= MAX_ROUNDS {
            return self.end(Err(ReadError::Restless));
        }
        // The newer header is as good as any to start from.
        self.header(bytes);
    }
}
