//! Configuration files to typed settings, pure over text.

pub mod types;

pub use types::{
    Complaint, ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, Persistence, StacConf, StafConf,
};
