//! Why the host could not do what a core asked of it.

use std::fmt;

use super::{CtrlRef, CtrlState};
use stas_nvme::admin::CommandError;
use stas_nvme::log_page::ReadError;
use stas_nvme::supported::TooShort;

/// The text of an error of the operating system: `Device or resource busy (os error 16)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsError(String);

impl OsError {
    /// Keeps the text of an error.
    #[must_use]
    pub fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The system cannot start another thread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no thread can be started: {0}")]
pub struct NoThread(pub OsError);

/// sysfs could not be read, so there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {path}: {error}")]
pub struct SnapshotError {
    /// Path that could not be read.
    pub path: String,
    /// Error of the read.
    pub error: OsError,
}

/// Why a host name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver answered with an error.
    #[error("cannot look up {name}: {error}")]
    Resolver {
        /// The host name.
        name: String,
        /// Error of the resolver.
        error: OsError,
    },
    /// The resolver knows the name, but no address of it.
    #[error("{0} has no address")]
    NoAddress(String),
    /// The resolver did not answer in time.
    #[error("the resolver does not answer")]
    NoAnswer,
}

/// Why an admin command gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The controller no longer exists.
    #[error("{0} is gone")]
    Gone(CtrlRef),
    /// The controller is not live: a command might hang.
    #[error("{0} is not live but {1}")]
    NotLive(CtrlRef, CtrlState),
    /// The device could not be opened.
    #[error("cannot talk to {0}: {1}")]
    Device(CtrlRef, OsError),
    /// No thread could be started for the command.
    #[error("cannot talk to {0}: {1}")]
    NoThread(CtrlRef, NoThread),
    /// Too many long log pages of announced discovery controllers are being read.
    #[error("too many long log pages of discovery controllers that only mDNS announces are being read")]
    NoRoom,
    /// An admin command failed.
    #[error("{0}")]
    Command(#[from] CommandError),
    /// The discovery log page could not be read.
    #[error("{0}")]
    LogPage(#[from] ReadError),
    /// The Supported Log Pages page is too short.
    #[error("{0}")]
    Supported(#[from] TooShort),
}
