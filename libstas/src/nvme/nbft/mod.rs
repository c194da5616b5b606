//! The NVMe boot firmware table (NBFT; NVM Express Boot Specification 1.0): what the firmware has told the operating
//! system of the storage that it booted from.
//!
//! [`parse`] reads one table; [`BootTables`] is all that a host has. The firmware wrote it, so nothing in it is
//! trusted: what makes the whole table unusable is a [`BadTable`], what makes one record of it unusable is a [`Flaw`],
//! and the other records still count.
//!
//! | file | role |
//! |---|---|
//! | layout | where the table, its heap and its lists are, and reading fields within their bounds |
//! | parse | each kind of descriptor |
//! | address | the URI of a discovery controller |
//! | record | what comes out |
//! | least | records that say what they must |
//! | tables | all tables of a host, and the questions that the daemons ask them |

mod address;
mod layout;
mod least;
mod parse;
mod record;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use address::BadUri;
pub use layout::{BadTable, Defect};
pub use parse::parse;
pub use record::{
    Availability, Demand, Discovery, Extended, Flaw, Hfi, Host, Mac, NamespaceId, Nbft, Priority, Security, Ssns,
};
pub use tables::{BootController, BootInterface, BootTable, BootTables};
