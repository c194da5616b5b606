//! The outcome of a reachability probe.

use serde::{Deserialize, Serialize};

use super::OsError;

/// The outcome of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The portal answers with ICResp.
    Alive,
    /// The portal cannot be connected to, or does not serve NVMe/TCP.
    Dead(ProbeFailure),
    /// A local error, which says nothing about the portal.
    Unknown(ProbeError),
    /// The probe was skipped, because the other daemon has no connection waiting.
    Skipped,
}

/// Why a portal counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeFailure {
    /// The connection was refused (ECONNREFUSED).
    #[error("the target refuses connections")]
    Refused,
    /// No answer within the time limit.
    #[error("the target does not answer")]
    Silent,
    /// The host is unreachable (EHOSTUNREACH, EHOSTDOWN).
    #[error("the target is unreachable")]
    Unreachable,
    /// The network is unreachable (ENETUNREACH).
    #[error("there is no route to the target")]
    NoRoute,
    /// The connection was reset while it was being made.
    #[error("the target drops connections")]
    Drops,
    /// The portal does not answer ICReq with ICResp: for example a web server, or a port that accepts TLS only.
    #[error("not NVMe/TCP ({0} where ICResp is expected)")]
    NotNvme(NotNvme),
}

impl ProbeFailure {
    /// True if the portal accepted the TCP connection.
    #[must_use]
    pub fn accepted_connection(self) -> bool {
        matches!(self, Self::NotNvme(_))
    }
}

/// What a portal does instead of sending ICResp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NotNvme {
    /// It closes the connection.
    #[error("it closes the connection")]
    Closes,
    /// It sends something else.
    #[error("the portal answers with another protocol")]
    OtherProtocol,
    /// It sends nothing within the time limit.
    #[error("the portal accepts connections and does not answer")]
    Silent,
}

/// Why a portal could not be probed. This says nothing about the portal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The attempt failed with an error that does not come from the portal or the route to it.
    #[error("{0}")]
    Attempt(OsError),
    /// The host did not report an outcome in time.
    #[error("the probe did not end")]
    NoAnswer,
}
