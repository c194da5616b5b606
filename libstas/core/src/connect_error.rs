//! Why a connection was not made, and why new secrets were not tried.

use std::fmt;

use super::{OsError, SnapshotError};
use stas_nvme::connect::OptionError;

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The kernel has such a connection already, but the snapshot does not show which (EALREADY).
    #[error("the kernel says that it is connected already")]
    Already,
    /// The kernel refused.
    #[error("{explanation}")]
    Kernel {
        /// The errno of the write to /dev/nvme-fabrics.
        errno: i32,
        /// The meaning of the errno.
        explanation: Explanation,
    },
    /// /dev/nvme-fabrics could not be opened.
    #[error("cannot open /dev/nvme-fabrics: {error}: {remedy}")]
    Open {
        /// The errno of the open.
        errno: i32,
        /// Error of the open.
        error: OsError,
        /// What the administrator can do.
        remedy: &'static str,
    },
    /// The options that the kernel supports could not be read.
    #[error("cannot read /dev/nvme-fabrics: {error}")]
    Read {
        /// The errno of the read.
        errno: i32,
        /// Error of the read.
        error: OsError,
    },
    /// The write was cut short.
    #[error("the kernel accepted only a part of the options")]
    PartlyWritten,
    /// The kernel reported success in an unknown form.
    #[error("unexpected reply from /dev/nvme-fabrics: {0:?} (a kernel bug, or a kernel that is not compatible?)")]
    UnexpectedReply(String),
    /// The controller with this instance number was removed before the snapshot.
    #[error("nvme{0} was created and removed again at once (the kernel's log says why)")]
    Vanished(u32),
    /// The connections of the kernel could not be read.
    #[error("{0}")]
    NoSnapshot(#[from] SnapshotError),
    /// The thread that connects has ended.
    #[error("the thread that connects has ended")]
    NoThread,
    /// The request cannot be written as kernel options (a comma in a value, a malformed secret). A retry is useless
    /// until the configuration changes.
    #[error("{0}")]
    Invalid(#[from] OptionError),
    /// The kernel does not know the option that a trial of a secret needs.
    #[error("this kernel has no way to try a secret")]
    NoTrial,
}

impl ConnectError {
    /// The errno, if the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } | Self::Open { errno, .. } | Self::Read { errno, .. } => Some(*errno),
            Self::Already
            | Self::PartlyWritten
            | Self::UnexpectedReply(_)
            | Self::Vanished(_)
            | Self::NoSnapshot(_)
            | Self::NoThread
            | Self::Invalid(_)
            | Self::NoTrial => None,
        }
    }
}

/// What a refusal of the kernel means: a short statement, and its likely causes in order, each with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What failed, in a few words.
    pub what: String,
    /// The likely causes.
    pub causes: Vec<String>,
    /// The name of the errno (`ECONNREFUSED`), or empty.
    pub errno: String,
}

impl From<&str> for Explanation {
    /// An explanation without causes.
    fn from(what: &str) -> Self {
        Self { what: what.to_owned(), causes: Vec::new(), errno: String::new() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.causes.as_slice() {
            [] => {}
            [only] => write!(f, ": {only}")?,
            several => {
                let causes = several.iter().enumerate().map(|(n, cause)| format!("({}) {cause}", n + 1));
                write!(f, "; likely causes: {}", causes.collect::<Vec<_>>().join("; "))?;
            }
        }
        if self.errno.is_empty() { Ok(()) } else { write!(f, " [{}]", self.errno) }
    }
}

/// Why it is unknown whether a target takes new secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The trial with the new secrets ended with an error that says nothing about them.
    #[error("{0}")]
    Trial(#[from] ConnectError),
    /// The trial made a connection: the subsystem is a discovery controller.
    #[error("it is a discovery controller")]
    Discovery,
    /// The trial without a secret did not prove that the target requires one.
    #[error("it is unknown whether the target accepts the configured one ({0})")]
    NoProof(Box<Self>),
    /// The controller no longer exists.
    #[error("the controller is gone")]
    Gone,
    /// The target takes the secrets, but they could not be written to sysfs.
    #[error("the kernel does not accept the configured one: {0}")]
    Write(OsError),
    /// The kernel's secrets could not be read from sysfs.
    #[error("{0}")]
    Sysfs(OsError),
}
