//! Whether storage in use depends on a controller.

use std::fmt;
use std::time::Duration;

use super::{NoThread, OsError};

/// Whether storage in use depends on a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// No storage in use depends on it alone.
    Free,
    /// It is the last live path to storage with these uses.
    LastPath(Vec<Use>),
    /// The check failed. Treated as in use.
    Unknown(UsageError),
}

/// One use of a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name of the block device, without `/dev/`.
    pub device: String,
    /// How it is used.
    pub kind: UseKind,
}

/// How a block device is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UseKind {
    /// It is mounted.
    Mounted {
        /// The mount point.
        point: String,
        /// A process in the mount namespace of the mount; `None` for the namespace of the daemon.
        process: Option<String>,
    },
    /// A mounted file system of this type uses it. The mount itself was not found.
    FileSystem(String),
    /// It is swap.
    Swap,
    /// A loop device is on top of it.
    Loop(String),
    /// nvmet exports it.
    Exported,
    /// A process has locked its device node.
    Locked,
    /// Another block device is on top of it.
    HeldBy(String),
    /// It was written to within this time.
    Written(Duration),
    /// An exclusive open failed.
    HeldExclusively,
    /// An exclusive open did not return in time.
    OpenHangs,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        match &self.kind {
            UseKind::Mounted { point, process: None } => write!(f, "{device} is mounted on {point}"),
            UseKind::Mounted { point, process: Some(process) } => {
                write!(f, "{device} is mounted on {point} in the mount namespace of process {process}")
            }
            UseKind::FileSystem(kind) => write!(f, "{device} belongs to a mounted {kind} file system"),
            UseKind::Swap => write!(f, "{device} is swap"),
            UseKind::Loop(device_on_top) => write!(f, "{device} is used by the loop device {device_on_top}"),
            UseKind::Exported => write!(f, "{device} is exported by this host (nvmet)"),
            UseKind::Locked => write!(f, "{device} is locked by a process"),
            UseKind::HeldBy(holder) => write!(f, "{device} is held by {holder}"),
            UseKind::Written(recent) => {
                write!(f, "{device} was written to in the last {} minutes", recent.as_secs() / 60)
            }
            UseKind::HeldExclusively => write!(f, "{device} is held exclusively by a process, a mount or a volume"),
            UseKind::OpenHangs => write!(f, "an open of {device} hangs"),
        }
    }
}

/// The uses as the log shows them.
pub(crate) fn list(uses: &[Use]) -> String {
    uses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why it is unknown whether storage is in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// procfs or sysfs cannot be read.
    #[error("{0}")]
    Read(OsError),
    /// A block device cannot be opened exclusively. Contains the answer of stas-in-use.
    #[error("{0}")]
    Open(String),
    /// It was not tried.
    #[error(transparent)]
    NoThread(#[from] NoThread),
}
