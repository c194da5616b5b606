//! Why a controller is not connected, and why the connection of a removed one is kept. The text is made where it is
//! logged or shown.

use super::connect_error::ConnectError;
use super::disconnect_error::DisconnectError;
use super::ownership::Reason;
use super::probe::{ProbeError, ProbeFailure};
use super::usage::{UsageError, Use, list};
use stas_nvme::Tid;
use stas_nvme::security::Obstacle;

/// Why a controller is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConnected {
    /// Its portal does not answer the probe.
    #[error("{0}")]
    Dead(#[from] ProbeFailure),
    /// Its portal blocked the connect path before, and now the probe had no clear outcome.
    #[error("{0}")]
    Unprobed(#[from] ProbeError),
    /// Another connect blocked the connect path.
    #[error("another connect to the same portal failed after a long wait")]
    SlowPortal,
    /// The connect failed.
    #[error("{0}")]
    Failed(#[from] ConnectError),
    /// No connection may be made with its parameters.
    #[error("{0}")]
    Blocked(#[from] Obstacle),
    /// It was connected, and the kernel removed the connection.
    #[error("the kernel removed its connection")]
    Lost,
    /// It is polled, and the next poll is not due.
    #[error("{0}")]
    Polled(#[from] Polled),
}

/// Why a discovery controller is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Polled {
    /// It refuses a connection with a keep-alive timeout.
    #[error("it does not support keep-alive; its log page is polled")]
    RefusesKeepAlive,
    /// Its log page lists it without explicit persistent connection support (EPCSD), and `epcsd=poll`.
    #[error("its log page lists it without EPCSD; it is polled")]
    LacksEpcsd,
}

/// Why the connection of a controller that is being removed is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// It also serves this member, which has no equally good connection of its own.
    #[error("it is also the only connection for {0}")]
    NeededBy(Box<Tid>),
    /// The rules on disconnecting say so.
    #[error("{0}")]
    Rule(Reason),
    /// It is the last live path to storage in use.
    #[error("{}", list(.0))]
    InUse(Vec<Use>),
    /// The check for storage in use failed.
    #[error("the check for storage in use failed ({0})")]
    UseUnknown(#[from] UsageError),
}

impl Kept {
    /// True when it is kept because of storage that is or may be in use.
    #[must_use]
    pub fn is_for_use(&self) -> bool {
        matches!(self, Self::InUse(_) | Self::UseUnknown(_))
    }
}

/// The last statement about a controller in the log. It is logged again only when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastLogged {
    /// Why it is not connected.
    NotConnected(NotConnected),
    /// Why it is kept.
    Kept(Kept),
    /// Why the kernel did not disconnect it.
    NotDisconnected(DisconnectError),
}

impl From<&NotConnected> for LastLogged {
    fn from(reason: &NotConnected) -> Self {
        Self::NotConnected(reason.clone())
    }
}

impl From<&Kept> for LastLogged {
    fn from(reason: &Kept) -> Self {
        Self::Kept(reason.clone())
    }
}

impl From<&DisconnectError> for LastLogged {
    fn from(reason: &DisconnectError) -> Self {
        Self::NotDisconnected(reason.clone())
    }
}
