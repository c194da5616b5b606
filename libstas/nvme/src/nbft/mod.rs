//! The NVMe boot firmware table (NBFT; NVM Express Boot Specification 1.0): what the firmware passes to the operating
//! system about the storage that it booted from.
//!
//! [`parse`] reads one table; [`BootTables`] has all tables of a host. Tables come from the firmware and are not
//! trusted. An error that makes a whole table unusable is a [`BadTable`]; an error in one record is a [`Flaw`], and the
//! other records still count.
//!
//! | file | role |
//! |---|---|
//! | layout | where the table, its heap and its lists are; reads fields within their bounds |
//! | parse | decodes each kind of descriptor |
//! | address | the URI of a discovery controller |
//! | record | the decoded values |
//! | fixtures | minimal records for tests and simulated firmware |
//! | tables | all tables of a host, and the queries of the daemons |

mod address;
mod fixtures;
mod layout;
mod parse;
mod record;
mod tables;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use address::BadUri;
pub use fixtures::shortest_table;
pub use layout::{BadTable, Defect};
pub use parse::parse;
pub use record::{
    Availability, Demand, Discovery, Extended, Flaw, Hfi, Host, Mac, NamespaceId, Nbft, Priority, Security, Ssns,
};
pub use tables::{BootController, BootInterface, BootTable, BootTables};
