//! Which connections may be disconnected: the only place that decides it (doc/ownership.md).
//!
//! [`decide`] is called before every disconnect, with what is known at that moment: the owner of the connection
//! ([`Ownership`]), which connections the daemon may disconnect by its configuration ([`Scope`]), and the reason for
//! the disconnect ([`Why`]). Anything unknown keeps the connection.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CtrlRef;
use super::exclusions::Exclusions;
use super::kernel::{CtrlType, Gained, KernelController, Owner};
use super::trust::Trust;
use crate::conf::{DisconnectScope, InUse};
use stas_nvme::{Parameters, Tid, Transport};

/// The owner of a connection, as far as this daemon knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours: one of the daemons connected it, or adopted it while it had no owner.
    Ours,
    /// It has no owner.
    Unowned,
    /// It belongs to another orchestrator, which has this name.
    Other(String),
    /// Its owner cannot be determined.
    Unknown,
}

impl Ownership {
    /// The ownership of a connection. `owner` is its owner in the registry. `recorded` says how it became ours by our
    /// own records, if it did. The registry takes precedence: another orchestrator may have taken the connection over.
    #[must_use]
    pub fn of(owner: &Owner, recorded: Option<Gained>) -> Self {
        let gained = match owner {
            Owner::Other(name) => return Self::Other(name.clone()),
            Owner::Unknown => return Self::Unknown,
            Owner::Stas(gained) => Some(*gained),
            Owner::None => recorded,
        };
        match gained {
            Some(Gained::Connected | Gained::Adopted) => Self::Ours,
            Some(Gained::Unknown) => Self::Unknown,
            None => Self::Unowned,
        }
    }

    /// True when adopting the connection makes it ours: it has no owner, and its controller is not listed by
    /// announcements or pages of announced discovery controllers alone (`trust`).
    #[must_use]
    pub fn may_be_claimed(&self, trust: Trust) -> bool {
        *self == Self::Unowned && !trust.is_announced_only()
    }
}

/// When the configuration allows the daemon to disconnect a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Never (`disconnect-scope=no-disconnect`).
    Nothing,
    /// If it is ours. This is also the scope of a connection that the audit does not cover, because its transport is
    /// not in disconnect-trtypes or because it is no I/O controller.
    Ours,
    /// If it is ours or has no owner (audit scope).
    Audited,
}

/// The reason for a disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its controller is no longer listed, and every source that listed it has proved that.
    Removed,
    /// `exclude=` matches its controller. `matched`: it also matches what the kernel reports of this very connection.
    Excluded {
        /// The exclusion matches this connection.
        matched: bool,
    },
    /// The configuration excludes its controller by a property that no connection shows: `ip-family=`, or `exclude=`
    /// with the interface on which it was announced.
    Barred,
    /// No source lists it. `proved`: the list of every source is complete.
    Unclaimed {
        /// No source can still list it.
        proved: bool,
    },
    /// It was just made, and an older connection serves the same controller.
    Duplicate,
    /// It was made for one poll of a discovery controller without keep-alive support, and the poll is over.
    PollOver,
    /// The daemon stops, with `persistent-connections=false`.
    Stopping,
}

impl Why {
    /// False for a duplicate and for a finished poll: the end of such a connection takes no storage away.
    #[must_use]
    pub fn ends_use(self) -> bool {
        !matches!(self, Self::Duplicate | Self::PollOver)
    }

    /// True for reasons that hold only while the configuration says so. They prove no removal.
    #[must_use]
    pub fn is_exclusion(self) -> bool {
        matches!(self, Self::Excluded { .. } | Self::Barred)
    }
}

/// The decision of [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be disconnected.
    Disconnect,
    /// It is kept.
    Keep(Reason),
}

/// Why a connection is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to another orchestrator.
    OtherOwner(String),
    /// Its owner cannot be determined.
    UnknownOwner,
    /// It has no owner, and the audit scope does not cover it.
    NotOurs,
    /// `disconnect-scope=no-disconnect`.
    NoDisconnect,
    /// A boot table lists it: this host may run from it.
    Booted,
    /// The exclusion matches its controller, but not this connection.
    NotExcluded,
    /// A source may still list it.
    Unproved,
    /// The audit scope does not cover it.
    OutOfScope,
}

impl Reason {
    /// True when the daemon keeps using the connection and decides again later; false when it stops using it.
    #[must_use]
    pub fn may_change(&self) -> bool {
        matches!(self, Self::UnknownOwner | Self::NoDisconnect | Self::Booted)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherOwner(name) => write!(f, "it belongs to {name} (/run/nvme/registry)"),
            Self::UnknownOwner => f.write_str("its owner cannot be read in /run/nvme/registry"),
            Self::NotOurs => f.write_str("it was connected by another program and not adopted"),
            Self::NoDisconnect => f.write_str("disconnect-scope=no-disconnect"),
            Self::Booted => f.write_str("the firmware's boot table (NBFT) lists it, and this host may run from it"),
            Self::NotExcluded => f.write_str("exclude= does not match this connection itself"),
            Self::Unproved => f.write_str("a source may still list it"),
            Self::OutOfScope => f.write_str("disconnect-scope does not include it"),
        }
    }
}

/// Decides whether a connection may be disconnected.
#[must_use]
pub fn decide(ownership: &Ownership, scope: Scope, why: Why, booted: bool) -> Decision {
    use Decision::{Disconnect, Keep};
    match ownership {
        Ownership::Other(name) => return Keep(Reason::OtherOwner(name.clone())),
        Ownership::Unknown => return Keep(Reason::UnknownOwner),
        Ownership::Ours | Ownership::Unowned if booted && why.ends_use() => return Keep(Reason::Booted),
        Ownership::Ours | Ownership::Unowned => {}
    }
    match (ownership, why, scope) {
        (_, Why::Unclaimed { proved: true }, Scope::Audited) => Disconnect,
        (_, Why::Unclaimed { proved: false }, Scope::Audited) => Keep(Reason::Unproved),
        (_, Why::Unclaimed { .. }, _) => Keep(Reason::OutOfScope),
        (_, Why::Excluded { matched: false }, _) => Keep(Reason::NotExcluded),
        (Ownership::Ours, Why::Excluded { matched: true }, _) => Disconnect,
        (_, Why::Excluded { matched: true }, Scope::Audited) => Disconnect,
        (Ownership::Ours, Why::Removed | Why::Barred, Scope::Nothing) => Keep(Reason::NoDisconnect),
        (Ownership::Ours, Why::Removed | Why::Barred | Why::Duplicate | Why::PollOver | Why::Stopping, _) => Disconnect,
        _ => Keep(Reason::NotOurs),
    }
}

/// The reason for a disconnect, with its text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason, which decides.
    pub why: Why,
    /// The origin: a file and line, or a discovery controller and the generation of its page.
    pub text: String,
}

impl Cause {
    /// Creates a cause with this text for the log.
    #[must_use]
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// The cause for a controller that no source lists any more.
    #[must_use]
    pub fn removed(text: impl Into<String>) -> Self {
        Self::new(Why::Removed, text)
    }

    /// The cause for a controller that the configuration excludes by a property that no connection shows.
    #[must_use]
    pub fn barred(text: impl Into<String>) -> Self {
        Self::new(Why::Barred, text)
    }

    /// The cause for a controller that an exclusion matches. Whether it also matches the connection (`matched`) is
    /// found out at each decision.
    #[must_use]
    pub fn excluded(text: impl Into<String>) -> Self {
        Self::new(Why::Excluded { matched: false }, text)
    }
}

/// The configured rules on disconnecting and adopting.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// disconnect-scope
    pub scope: DisconnectScope,
    /// disconnect-trtypes
    pub trtypes: BTreeSet<Transport>,
    /// exclude=
    pub exclusions: Exclusions,
    /// in-use
    pub in_use: InUse,
}

impl Rules {
    /// The scope for one connection. Only I/O controllers are audited. A controller whose type is unknown may be a
    /// discovery controller with an NQN of its own: kernels before 5.18 report no type.
    #[must_use]
    pub fn scope_of(&self, kernel: &KernelController) -> Scope {
        let audited =
            self.trtypes.contains(&kernel.transport) && kernel.is_identified() && kernel.cntrltype == CtrlType::Io;
        match self.scope {
            DisconnectScope::Nothing => Scope::Nothing,
            DisconnectScope::AllMatchingTrtypes if audited => Scope::Audited,
            DisconnectScope::AllMatchingTrtypes | DisconnectScope::OnlyStas => Scope::Ours,
        }
    }
}

/// A connection that we own, in memory and in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The connection, by its instance number and its inode number.
    pub ctrl: CtrlRef,
    /// How it became ours.
    pub gained: Gained,
    /// The controller that it was connected or adopted for.
    pub tid: Tid,
    /// The controllers that it served when it was saved.
    #[serde(default)]
    pub holders: BTreeSet<Tid>,
    /// The parameters that it was connected with, without secrets; `None`: another program connected it.
    #[serde(default)]
    pub parameters: Option<SavedParameters>,
    /// True if every controller that this connection has served depended on mDNS alone
    /// ([`Trust::is_announced_only`]). `None`: no member has held it yet, or an earlier version saved it.
    #[serde(default)]
    pub announced_only: Option<bool>,
}

/// [`Parameters`] without secrets and TLS settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedParameters(Parameters);

impl SavedParameters {
    /// Copies all but the secrets and the TLS settings.
    #[must_use]
    pub fn of(parameters: &Parameters) -> Self {
        Self(Parameters { dhchap_secret: None, dhchap_ctrl_secret: None, tls: None, ..parameters.clone() })
    }

    /// Adds the secrets and TLS settings of `wanted`, because the saved state has none to compare.
    #[must_use]
    pub fn with_secrets_of(&self, wanted: &Parameters) -> Parameters {
        let Parameters { dhchap_secret, dhchap_ctrl_secret, tls, .. } = wanted.clone();
        Parameters { dhchap_secret, dhchap_ctrl_secret, tls, ..self.0.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
