//! The contract between the daemons: what stafd publishes and stacd reads.
//!
//! | module | what it is about |
//! |---|---|
//! | this one | the values as both daemons and the simulated world use them |
//! | [`wire`] | the same values in the answer to stafd's `get_published_pages` (D-Bus signature `a{sv}`) |
//! | [`dictionary`] | the same values in the dictionaries of nvme-stas, which earlier versions of stafd publish |
//!
//! Two rules keep live storage connected while the daemons differ in version:
//! - **An unknown value disconnects nothing.** A page in an unknown state proves nothing, an unknown removal reason
//!   spares live controllers, and so does everything of an answer with a [`VERSION`] from the future.
//! - **Fields are only added.** A reader ignores fields that it does not know, and an absent field is an unknown value.
//!   [`VERSION`] is raised only when a field changes its meaning.

pub mod dictionary;
pub mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::Type;

use crate::core::Time;
use crate::nvme::Tid;
use crate::nvme::log_page::{Entry, Unclear};

/// The version of the contract that this build publishes, and the latest one whose meaning it knows.
pub const VERSION: u32 = 1;

/// Whether a discovery controller's log page proves anything. Dictionary key `log-page-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum PageState {
    /// The page was never read.
    Never,
    /// The page was read on an earlier connection, or only in part.
    Saved,
    /// The page was read in full on the present connection.
    Fresh,
    /// The publisher states none: the stafd of nvme-stas. Never sent.
    #[serde(skip_deserializing)]
    Unstated,
    /// A state of a later version, or a page with entries that cannot be read. Proves nothing.
    #[default]
    #[serde(other)]
    Unknown,
}

impl PageState {
    /// The state of a page as it is sent. A fresh page with entries that could not be read is sent as saved: a reader that
    /// does not know what such entries may mean must not take their absence for a proof.
    #[must_use]
    pub fn sent(self, has_unclear: bool) -> Self {
        if self == Self::Fresh && has_unclear { Self::Saved } else { self }
    }

    /// The word in a dictionary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Saved => "saved",
            Self::Fresh => "fresh",
            Self::Unstated => "unstated",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word of a dictionary.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let known = [Self::Never, Self::Saved, Self::Fresh];
        known.into_iter().find(|state| state.as_str() == word).unwrap_or_default()
    }
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of source lists a controller. Dictionary key `origin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum Origin {
    /// The configuration; for a discovery controller a boot table (NBFT), too.
    Configured,
    /// mDNS for a discovery controller, a log page for an I/O controller.
    Discovered,
    /// The log page of another discovery controller.
    Referral,
    /// Only a boot table (NBFT) lists the I/O controller.
    Nbft,
    /// An origin of a later version, or none stated.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Origin {
    /// The word in a dictionary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Discovered => "discovered",
            Self::Referral => "referral",
            Self::Nbft => "nbft",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word of a dictionary.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let known = [Self::Configured, Self::Discovered, Self::Referral, Self::Nbft];
        known.into_iter().find(|origin| origin.as_str() == word).unwrap_or_default()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why stafd removed a discovery controller. Dictionary key `reason`; also part of stafd's saved state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum RemovalReason {
    /// The administrator took it out of the configuration.
    Configuration,
    /// The administrator excluded it.
    Excluded,
    /// No discovery controller refers to it any more.
    ReferralGone,
    /// It was neither announced nor connected for too long.
    AgedOut,
    /// A reason of a later version, or none stated.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RemovalReason {
    /// True when the removal of the discovery controller proves nothing about live I/O controllers: they stay
    /// connected.
    #[must_use]
    pub fn spares_live(self) -> bool {
        match self {
            Self::Configuration | Self::Excluded | Self::ReferralGone => false,
            Self::AgedOut | Self::Unknown => true,
        }
    }

    /// The word in a dictionary. Earlier versions of stacd keep live storage for `aged out` alone, so an unknown
    /// reason has that word, too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Excluded => "excluded",
            Self::ReferralGone => "referral gone",
            Self::AgedOut | Self::Unknown => "aged out",
        }
    }

    /// Reads the word of a dictionary.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let known = [Self::Configuration, Self::Excluded, Self::ReferralGone, Self::AgedOut];
        known.into_iter().find(|reason| reason.as_str() == word).unwrap_or_default()
    }
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A discovery controller and its log page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcPage {
    /// The discovery controller.
    pub dc: Tid,
    /// What its page proves.
    pub state: PageState,
    /// When its present connection was established. Two pages with the same moment are of the same connection.
    pub connected_since: Option<Time>,
    /// Which kind of source lists the discovery controller.
    pub origin: Origin,
    /// A chain of referrals leads to it from a discovery controller that is configured or in a boot table. False is
    /// also: not stated.
    pub follows_configured: bool,
    /// The generation of the page (GENCTR).
    pub generation: Option<u64>,
    /// The entries of the page.
    pub entries: Vec<Entry>,
    /// What the entries may mean that could not be read; only of a fresh page.
    pub unclear: Vec<Unclear>,
}

impl DcPage {
    /// True unless more than an announcement (mDNS) lists the discovery controller, by itself or by referrals.
    #[must_use]
    pub fn is_announced_only(&self) -> bool {
        self.origin != Origin::Configured && !self.follows_configured
    }
}

/// A discovery controller that stafd removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedDc {
    /// The discovery controller.
    pub dc: Tid,
    /// Why it was removed.
    pub reason: RemovalReason,
}

/// All that stafd publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StafdView {
    /// The discovery controllers that stafd keeps.
    pub dcs: Vec<DcPage>,
    /// The discovery controllers that stafd removed; `None` when it does not tell (the stafd of nvme-stas).
    pub removed: Option<Vec<RemovedDc>>,
    /// `dcs` has every discovery controller that stafd's configuration means. False while a line cannot be used or a host
    /// name has no known address, and when stafd does not tell.
    pub is_complete: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
