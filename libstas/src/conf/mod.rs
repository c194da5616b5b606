//! Configuration files to typed settings, pure over text: whoever opens the file hands its bytes in.
//!
//! [`stafd::parse`], [`stacd::parse`] and [`sys::parse`] always give settings: what is wrong is a [`Complaint`] with
//! file, line and what would have been right. The other lines apply; what a line that cannot be read may mean is not
//! removed (design, policy 13).
//!
//! | file | what it is about |
//! |---|---|
//! | `ini` | the dialect: lines, sections, pairs, continuations |
//! | `keys` | the table of all keys |
//! | `value`, `time_span` | what keys may be set to |
//! | `settings`, `near_miss`, `complaints` | a file read by its table, and complaints about the rest |
//! | `entry`, `parameters` | controller=, exclude=, connection parameters |
//! | `redact` | a file's text without its secrets |
//! | `stafd`, `stacd`, `sys` | the three files |
//! | `types` | what comes out |

mod complaints;
mod entry;
pub mod ini;
pub mod keys;
mod near_miss;
mod parameters;
pub mod redact;
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
    Complaint, ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, Persistence, StacConf, StafConf,
};
