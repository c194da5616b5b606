//! The discovery log page (LID 70h; NVMe Base 2.1, 5.1.12.3.1): the subsystems and referrals that a discovery
//! controller lists.
//!
//! [`Reader`] says what to read from the device and decodes it into a [`LogPage`]. Malformed entries are dropped one by
//! one, each with its [`EntryError`] and with the controllers that it may mean ([`Unclear`]). A page that contradicts
//! itself is an error as a whole: it proves nothing. [`Entry::controller`] makes a controller from an entry.

mod codes;
mod entry;
mod page;
mod reader;
mod target;
#[cfg(test)]
mod tests;
mod unclear;

pub use codes::{AdrFam, EFlags, SecType, Subtype, TrType, Treq, UnknownWord};
pub use entry::{DictError, ENTRY_LEN, Entry, EntryError, Field, Tsas};
pub use page::{EXTENDED_ENTRY_LEN, HEADER_LEN, Header, LID, LSP_ALLSUBE, LSP_EXTDLPE, LSP_PLEO, LogPage, Malformed};
pub use reader::{MAX_ENTRY_LEN, MAX_RECORDS, MAX_RESTARTS, PART_MAX, ReadError, Reader, Step};
pub use unclear::{Candidates, Unclear};
