//! Why a controller was not disconnected.

use super::host_error::{NoThread, OsError};
use super::usage::{UsageError, Use, list};

/// Why a controller was not disconnected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectError {
    /// The kernel refused it. Contains the error of the write to delete_controller.
    #[error("{0}")]
    Kernel(OsError),
    /// Another orchestrator has recorded itself as the owner since the last snapshot.
    #[error("it belongs to {owner} (/run/nvme/registry)")]
    OtherOwner {
        /// The name of the owner.
        owner: String,
    },
    /// The owner cannot be read.
    #[error("its owner cannot be read in /run/nvme/registry: {0}")]
    UnknownOwner(OsError),
    /// Its storage has come into use since [`HostEffect::CheckUse`](super::HostEffect::CheckUse).
    #[error("{}", list(.0))]
    InUse(Vec<Use>),
    /// Whether its storage has come into use cannot be found out.
    #[error("the check for storage in use failed ({0})")]
    UseUnknown(UsageError),
    /// The check for storage in use must be repeated: there are block devices or paths that it did not examine.
    #[error("its block devices or paths have changed since the check for storage in use")]
    Overtaken,
    /// This host may run from the controller, but the last snapshot did not show that. The storage must be checked for
    /// use before the next attempt.
    #[error("/, /usr or swap of this host may be on it")]
    CarriesSystem,
    /// It was not tried.
    #[error(transparent)]
    NoThread(#[from] NoThread),
}
