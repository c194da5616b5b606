//! The contract between the daemons: what stafd publishes and stacd reads.
//!
//! | module | what it is about |
//! |---|---|
//! | this one | the values as used by both daemons and the simulated world |
//! | [`wire`] | the same values in the answer to stafd's `get_published_pages` (D-Bus signature `a{sv}`) |
//! | [`dictionary`] | the same values in the dictionaries of nvme-stas, as published by earlier versions of stafd |
//!
//! Two rules keep live storage connected while the daemons differ in version:
//! - **An unknown value disconnects nothing.** A page in an unknown state proves nothing, an unknown removal reason
//!   spares live controllers, and the same holds for everything in an answer with a later [`VERSION`].
//! - **Fields are only added.** A reader ignores unknown fields, and an absent field is an unknown value. [`VERSION`]
//!   is raised only when a field changes its meaning.

pub mod dictionary;
pub mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::Type;

use stas_core::Time;
use stas_nvme::Tid;
use stas_nvme::log_page::{Entry, Unclear};

/// Version of the contract that this build publishes, and the latest version that it understands.
pub const VERSION: u32 = 1;

/// What a discovery controller's log page proves. Dictionary key `log-page-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum PageState {
    /// The page was never read.
    Never,
    /// The page was read on an earlier connection, or incompletely, or a reported change is unread. As it is sent, also
    /// a fresh page with unreadable entries ([`PageState::sent`]).
    Saved,
    /// The page was read completely on the present connection, and no reported change is unread.
    Fresh,
    /// The publisher sends no state: the stafd of nvme-stas. Never sent.
    #[serde(skip_deserializing)]
    Unstated,
    /// A state of a later version, or a page with entries that cannot be read. Proves nothing.
    #[default]
    #[serde(other)]
    Unknown,
}

impl PageState {
    /// The state of a page as it is sent. A fresh page with unreadable entries is sent as saved: a reader that does not
    /// know what such entries may mean must not treat them as absent.
    #[must_use]
    pub fn sent(self, has_unclear: bool) -> Self {
        if self == Self::Fresh && has_unclear { Self::Saved } else { self }
    }

    /// The word for the dictionary.
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

    /// Parses the word of a dictionary. An unknown word gives the unknown state.
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

/// Kind of the source that lists a controller. Dictionary key `origin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum Origin {
    /// The configuration. For a discovery controller also a boot table (NBFT).
    Configured,
    /// For a discovery controller mDNS, for an I/O controller a log page.
    Discovered,
    /// The log page of another discovery controller.
    Referral,
    /// Only a boot table (NBFT) lists the I/O controller.
    Nbft,
    /// An origin of a later version, or no origin.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Origin {
    /// The word for the dictionary.
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

    /// True if only an announcement (mDNS) lists a discovery controller with this origin, directly or by referrals. An
    /// unknown origin counts as that. `follows_configured`: as in [`DcPage`].
    #[must_use]
    pub fn is_announced_only(self, follows_configured: bool) -> bool {
        self != Self::Configured && !follows_configured
    }

    /// Parses the word of a dictionary. An unknown word gives the unknown origin.
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

/// Why stafd removed a discovery controller. Dictionary key `reason`, also in stafd's saved state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zbus(signature = "s")]
pub enum RemovalReason {
    /// The configuration no longer lists it: its line was removed, or another address of its host name is used.
    Configuration,
    /// The administrator excluded it.
    Excluded,
    /// No discovery controller refers to it any more.
    ReferralGone,
    /// It was neither announced nor connected for too long.
    AgedOut,
    /// A reason of a later version, or no reason.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RemovalReason {
    /// True if the removal of the discovery controller proves nothing about live I/O controllers: they stay connected.
    #[must_use]
    pub fn spares_live(self) -> bool {
        match self {
            Self::Configuration | Self::Excluded | Self::ReferralGone => false,
            Self::AgedOut | Self::Unknown => true,
        }
    }

    /// The word for the dictionary. Earlier versions of stacd keep live storage only for `aged out`, so an unknown
    /// reason has the same word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Excluded => "excluded",
            Self::ReferralGone => "referral gone",
            Self::AgedOut | Self::Unknown => "aged out",
        }
    }

    /// Parses the word of a dictionary. An unknown word gives the unknown reason.
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
    /// Identity of the discovery controller.
    pub dc: Tid,
    /// What the page proves.
    pub state: PageState,
    /// When the present connection was established. Two pages with the same time belong to the same connection.
    pub connected_since: Option<Time>,
    /// Kind of the source that lists the discovery controller.
    pub origin: Origin,
    /// True if a chain of referrals leads to it from a discovery controller that is configured or in a boot table.
    /// False also if the publisher does not say.
    pub follows_configured: bool,
    /// GENCTR: generation of the page. `None`: no page was read, or the publisher does not say.
    pub generation: Option<u64>,
    /// Readable entries, in the order of the page.
    pub entries: Vec<Entry>,
    /// What the unreadable entries may mean. Only set for a fresh page.
    pub unclear: Vec<Unclear>,
}

impl DcPage {
    /// True if only an announcement (mDNS) lists the discovery controller, directly or by referrals.
    #[must_use]
    pub fn is_announced_only(&self) -> bool {
        self.origin.is_announced_only(self.follows_configured)
    }
}

/// A discovery controller that stafd removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedDc {
    /// Identity of the discovery controller.
    pub dc: Tid,
    /// Why it was removed.
    pub reason: RemovalReason,
}

/// Everything that stafd publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StafdView {
    /// Discovery controllers of stafd, with their pages.
    pub dcs: Vec<DcPage>,
    /// Discovery controllers that stafd removed. `None` if stafd does not say (the stafd of nvme-stas).
    pub removed: Option<Vec<RemovedDc>>,
    /// True if `dcs` contains every discovery controller that any source of stafd lists. False while a line of its
    /// configuration is invalid, a host name is not resolved, announcements may not have been received yet, the
    /// interface of a boot table is missing, or a limit refuses some; and if stafd does not say.
    pub is_complete: bool,
    /// Discovery controllers whose pages are left out because they are too long for one answer.
    pub left_out: Vec<Tid>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
