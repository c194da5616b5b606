//! Which connections may be disconnected: the one place that decides it (doc/ownership.md).
//!
//! [`decide`] is asked before every disconnect, with what is known at that moment: to which owner the connection belongs
//! ([`Title`]), which connections the configuration puts in reach ([`Scope`]), and why it is to be disconnected
//! ([`Why`]). Whatever is unknown keeps the connection.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CtrlRef;
use super::configured::Exclusions;
use super::kernel::{CtrlType, Gained, KernelController, Owner};
use crate::conf::DisconnectScope;
use crate::nvme::{Parameters, Tid, Transport};

/// To which owner a connection belongs, as far as this daemon can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Title {
    /// It is ours: one of the daemons connected it, or adopted it while it had no owner.
    Ours,
    /// It has no owner.
    Unowned,
    /// It belongs to another orchestrator of that name.
    Other(String),
    /// Its owner cannot be found out.
    Unknown,
}

impl Title {
    /// The title of a connection with that owner. `known` says whether this daemon knows from its own records that the
    /// connection is ours; the registry overrides that, for another orchestrator may have taken it over.
    #[must_use]
    pub fn of(owner: &Owner, known: bool) -> Self {
        match owner {
            Owner::Other(name) => Self::Other(name.clone()),
            Owner::Unknown => Self::Unknown,
            Owner::Stas(_) => Self::Ours,
            Owner::None if known => Self::Ours,
            Owner::None => Self::Unowned,
        }
    }

    /// True when adopting the connection makes it ours. An announced discovery controller alone gives no right to that.
    #[must_use]
    pub fn may_be_claimed(&self, announced_only: bool) -> bool {
        *self == Self::Unowned && !announced_only
    }
}

/// Which connections the configuration puts in reach, for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None (`disconnect-scope=no-disconnect`).
    Nothing,
    /// Ours. Also in the audit scope, where it does not name this connection: its transport is not listed, or it is no
    /// I/O controller.
    Ours,
    /// This one, whether it is ours or has no owner.
    Audited,
}

/// Why a connection is to be disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its controller is no longer listed, and every source that listed it has proved that.
    Removed,
    /// `exclude=` names its controller. `matched`: also by what the kernel reports of this very connection.
    Excluded {
        /// The exclusion matches this connection.
        matched: bool,
    },
    /// The configuration excludes its controller by what no connection shows: `ip-family=`, or `exclude=` with the
    /// interface on which it was announced.
    Barred,
    /// No source lists it. `proved`: every source has stated all that it lists.
    Unclaimed {
        /// No source can still list it.
        proved: bool,
    },
    /// It was just made, and an older connection serves the same controller.
    Duplicate,
    /// It was made to read a discovery controller that takes no keep-alive timeout, and that is done.
    PollOver,
    /// The daemon stops, and `persistent-connections=false`.
    Stopping,
}

impl Why {
    /// True for what holds only as long as the configuration says so, and proves nothing afterwards.
    #[must_use]
    pub fn is_exclusion(self) -> bool {
        matches!(self, Self::Excluded { .. } | Self::Barred)
    }
}

/// What [`decide`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be disconnected.
    Disconnect,
    /// It stays connected.
    Keep(Reason),
}

/// Why a connection stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to another orchestrator.
    OtherOwner(String),
    /// Its owner cannot be found out.
    UnknownOwner,
    /// It has no owner, and nothing puts it in reach.
    NotOurs,
    /// `disconnect-scope=no-disconnect`.
    NoDisconnect,
    /// A boot table names it: this host may run from it.
    Booted,
    /// The exclusion matches its controller, but not this connection.
    NotExcluded,
    /// A source may still list it.
    Unproved,
    /// The audit scope does not name it.
    OutOfScope,
}

impl Reason {
    /// True when the connection stays with this daemon, which asks again later; false when the daemon lets go of it.
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
            Self::Booted => f.write_str("the firmware's boot table (NBFT) names it, this host may run from it"),
            Self::NotExcluded => f.write_str("exclude= does not match this connection itself"),
            Self::Unproved => f.write_str("a source may still list it"),
            Self::OutOfScope => f.write_str("the audit does not name it"),
        }
    }
}

/// Whether a connection may be disconnected.
#[must_use]
pub fn decide(title: &Title, scope: Scope, why: Why, booted: bool) -> Decision {
    use Decision::{Disconnect, Keep};
    // That a connection was made twice, or only to read a page, says nothing against the one that is used.
    let ends_use = !matches!(why, Why::Duplicate | Why::PollOver);
    match title {
        Title::Other(name) => return Keep(Reason::OtherOwner(name.clone())),
        Title::Unknown => return Keep(Reason::UnknownOwner),
        Title::Ours | Title::Unowned if booted && ends_use => return Keep(Reason::Booted),
        Title::Ours | Title::Unowned => {}
    }
    match (title, why, scope) {
        (_, Why::Unclaimed { proved: true }, Scope::Audited) => Disconnect,
        (_, Why::Unclaimed { proved: false }, Scope::Audited) => Keep(Reason::Unproved),
        (_, Why::Unclaimed { .. }, _) => Keep(Reason::OutOfScope),
        (_, Why::Excluded { matched: false }, _) => Keep(Reason::NotExcluded),
        (Title::Ours, Why::Excluded { matched: true }, _) => Disconnect,
        (_, Why::Excluded { matched: true }, Scope::Audited) => Disconnect,
        (Title::Ours, Why::Removed | Why::Barred, Scope::Nothing) => Keep(Reason::NoDisconnect),
        (Title::Ours, Why::Removed | Why::Barred | Why::Duplicate | Why::PollOver | Why::Stopping, _) => Disconnect,
        _ => Keep(Reason::NotOurs),
    }
}

/// Why a connection is to be disconnected, with the words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The kind of cause, which decides.
    pub why: Why,
    /// Where it comes from: a file with its line, a discovery controller with the generation of its page.
    pub text: String,
}

impl Cause {
    /// A cause in these words.
    #[must_use]
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// No source lists the controller any more.
    #[must_use]
    pub fn removed(text: impl Into<String>) -> Self {
        Self::new(Why::Removed, text)
    }

    /// The configuration excludes the controller by what no connection shows.
    #[must_use]
    pub fn barred(text: impl Into<String>) -> Self {
        Self::new(Why::Barred, text)
    }

    /// An exclusion names the controller.
    #[must_use]
    pub fn excluded(text: impl Into<String>) -> Self {
        Self::new(Why::Excluded { matched: false }, text)
    }
}

/// What the configuration says about disconnecting and adopting.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// disconnect-scope
    pub scope: DisconnectScope,
    /// disconnect-trtypes
    pub trtypes: BTreeSet<Transport>,
    /// exclude=
    pub exclusions: Exclusions,
}

impl Rules {
    /// The scope for one connection. Administrative controllers are never audited, and neither is what has not told yet
    /// which type it is of.
    #[must_use]
    pub fn scope_of(&self, kernel: &KernelController) -> Scope {
        let audited = self.trtypes.contains(&kernel.transport)
            && kernel.is_identified()
            && !kernel.is_discovery()
            && kernel.cntrltype != CtrlType::Admin;
        match self.scope {
            DisconnectScope::Nothing => Scope::Nothing,
            DisconnectScope::AllMatchingTrtypes if audited => Scope::Audited,
            DisconnectScope::AllMatchingTrtypes | DisconnectScope::OnlyStas => Scope::Ours,
        }
    }
}

/// A connection of ours, in memory and in the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The connection, by its device number and its birth.
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
}

/// [`Parameters`] without secrets and protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedParameters(Parameters);

impl SavedParameters {
    /// All but the secrets and the protection.
    #[must_use]
    pub fn of(parameters: &Parameters) -> Self {
        Self(Parameters { dhchap_secret: None, dhchap_ctrl_secret: None, tls: None, ..parameters.clone() })
    }

    /// These parameters, with the secrets and the protection of `wanted`: the saved state has none to compare.
    #[must_use]
    pub fn with_secrets_of(&self, wanted: &Parameters) -> Parameters {
        let Parameters { dhchap_secret, dhchap_ctrl_secret, tls, .. } = wanted.clone();
        Parameters { dhchap_secret, dhchap_ctrl_secret, tls, ..self.0.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
