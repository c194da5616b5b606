//! How far the sources of controllers are trusted, and the order in which connections are made (SECURITY.md).

use std::fmt;

/// Why a controller is wanted: the most trusted source that lists it. The first level is the most trusted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The configuration of the administrator.
    #[default]
    Administrator,
    /// A boot table of the firmware (NBFT).
    Firmware,
    /// A discovery controller that is configured or in a boot table, or to which one of these refers.
    ConfiguredDc,
    /// Only mDNS, a discovery controller that only mDNS announces, or one to which only such discovery controllers
    /// refer. mDNS is unauthenticated: every host on the network segment can announce anything.
    AnnouncedDc,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Administrator => "administrator",
            Self::Firmware => "firmware",
            Self::ConfiguredDc => "configured-dc",
            Self::AnnouncedDc => "announced-dc",
        })
    }
}

impl Trust {
    /// True if everything that lists the controller depends on mDNS.
    #[must_use]
    pub fn is_announced_only(self) -> bool {
        self == Self::AnnouncedDc
    }
}

/// How urgent a connection is, for the order in which both daemons make connections. The first level is the most
/// urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A connection to a controller of this trust level.
    Trusted(Trust),
    /// A connection to a controller of any trust level whose attempt may block the connect path: its probe had no clear
    /// outcome, or it has blocked the path before.
    Last,
}

impl Urgency {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 5] = [
        Self::Trusted(Trust::Administrator),
        Self::Trusted(Trust::Firmware),
        Self::Trusted(Trust::ConfiguredDc),
        Self::Trusted(Trust::AnnouncedDc),
        Self::Last,
    ];

    /// The number of levels that are more urgent.
    #[must_use]
    pub fn index(self) -> u8 {
        match self {
            Self::Trusted(trust) => trust as u8,
            Self::Last => Trust::AnnouncedDc as u8 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_in_order() {
        for (index, pair) in Urgency::ALL.windows(2).enumerate() {
            assert!(pair[0] < pair[1] && usize::from(pair[1].index()) == index + 1, "{pair:?}");
        }
    }
}
