//! Parses configuration files into typed settings, without I/O: the caller opens the file and passes its bytes.
//!
//! [`stafd::parse`], [`stacd::parse`] and [`sys::parse`] always return settings. An invalid line becomes a
//! [`Complaint`] with file, line and the valid form; all other lines apply. Controllers that an unreadable line may
//! list are not removed.
//!
//! | file | what it is about |
//! |---|---|
//! | `ini` | the INI dialect: lines, sections, pairs, continuations |
//! | `keys` | the table of all keys |
//! | `value`, `time_span` | types and ranges of values |
//! | `settings`, `near_miss`, `complaints` | reads a file by its table of keys, and complains about the rest |
//! | `entry`, `parameters` | controller=, exclude=, connection parameters |
//! | `scope` | disconnect-scope=, and the lines that may mean it |
//! | `redact` | a file's text without its secrets |
//! | `stafd`, `stacd`, `sys` | the three files |
//! | `types` | the resulting settings |

mod complaints;
mod entry;
pub mod ini;
pub mod keys;
mod near_miss;
mod parameters;
pub mod redact;
mod scope;
mod settings;
pub mod stacd;
pub mod stafd;
pub mod sys;
pub mod time_span;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

pub use types::{
    Complaint, ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, Persistence, Severity, StacConf,
    StafConf,
};
