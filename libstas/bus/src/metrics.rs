//! The metrics of a daemon: what they are called, what they mean, and their values on the bus.

use serde::{Deserialize, Serialize};
use zbus::Type;

use super::Dict;

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct Sample {
    /// Name of its family, with the suffix of its kind, such as `stas_connects_total`.
    pub name: String,
    /// The labels that distinguish it from the other values of the family.
    pub labels: Dict,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// Creates a sample.
    #[must_use]
    pub fn new(name: impl Into<String>, labels: &[(&str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { name: name.into(), labels, value }
    }
}

/// The kind of a family (OpenMetrics 1.0, 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A number that only grows until the daemon is restarted.
    Counter,
    /// Durations in classes.
    Histogram,
}

impl Kind {
    /// The word after TYPE.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }

    /// The suffixes of the samples.
    #[must_use]
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Gauge => &[""],
            Self::Counter => &["_total"],
            Self::Histogram => &["_bucket", "_count", "_sum"],
        }
    }
}

/// Values with a common name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name without suffix.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The unit; it ends the name. Empty: none.
    pub unit: &'static str,
    /// What the values mean.
    pub help: &'static str,
}

const fn family(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind, unit, help }
}

/// Family `stas_up`.
pub const UP: &str = "stas_up";
/// Family `stas_controllers`.
pub const CONTROLLERS: &str = "stas_controllers";
/// Family `stas_controllers_wanted`.
pub const WANTED: &str = "stas_controllers_wanted";
/// Family `stas_controllers_connected`.
pub const CONNECTED: &str = "stas_controllers_connected";
/// Family `stas_subsystem_paths_wanted`.
pub const PATHS_WANTED: &str = "stas_subsystem_paths_wanted";
/// Family `stas_subsystem_paths_connected`.
pub const PATHS_CONNECTED: &str = "stas_subsystem_paths_connected";
/// Family `stas_connects`.
pub const CONNECTS: &str = "stas_connects";
/// Family `stas_adopted_connections`.
pub const ADOPTED: &str = "stas_adopted_connections";
/// Family `stas_connect_failures`.
pub const FAILURES: &str = "stas_connect_failures";
/// Family `stas_disconnects`.
pub const DISCONNECTS: &str = "stas_disconnects";
/// Family `stas_reconnects`.
pub const RECONNECTS: &str = "stas_reconnects";
/// Family `stas_queue_wait_seconds`.
pub const QUEUE_WAIT: &str = "stas_queue_wait_seconds";
/// Family `stas_log_page_age_seconds`.
pub const PAGE_AGE: &str = "stas_log_page_age_seconds";
/// Family `stas_lost_events`.
pub const LOST_EVENTS: &str = "stas_lost_events";

/// All families, in the order in which they are shown.
pub const FAMILIES: [Family; 14] = [
    family(UP, Kind::Gauge, "", "1 if the daemon answers, 0 if it is not running."),
    family(
        CONTROLLERS,
        Kind::Gauge,
        "",
        "Listed controllers, by state and by the kind of reason for not being connected.",
    ),
    family(WANTED, Kind::Gauge, "", "Controllers that are to be connected."),
    family(CONNECTED, Kind::Gauge, "", "Controllers that are to be connected and have a live connection."),
    family(
        PATHS_WANTED,
        Kind::Gauge,
        "",
        "Paths to a subsystem that are to be connected; those that only announced discovery controllers list are one \
         series.",
    ),
    family(
        PATHS_CONNECTED,
        Kind::Gauge,
        "",
        "Paths to a subsystem that are to be connected and have a live connection; those that only announced discovery \
         controllers list are one series.",
    ),
    family(CONNECTS, Kind::Counter, "", "Connections that the daemon has made."),
    family(ADOPTED, Kind::Counter, "", "Existing connections that an attempt to connect has found and used."),
    family(FAILURES, Kind::Counter, "", "Failed attempts to connect, by the kind of reason."),
    family(
        DISCONNECTS,
        Kind::Counter,
        "",
        "Connections that have ended: lost (the kernel reconnects it), gone (removed by the kernel or another program), \
         or disconnected by the daemon for another cause.",
    ),
    family(RECONNECTS, Kind::Counter, "", "Lost connections that the kernel has got back."),
    family(QUEUE_WAIT, Kind::Histogram, "seconds", "Time from entering the connect queue until the kernel connects."),
    family(
        PAGE_AGE,
        Kind::Gauge,
        "seconds",
        "Time since the log page of a discovery controller was read; announced ones are one series, with the longest \
         time.",
    ),
    family(LOST_EVENTS, Kind::Counter, "", "Times that kernel events were lost because too many came at once."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_end_with_their_unit() {
        let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)), "{}", family.name);
            assert!(!family.name.ends_with("_total") && family.help.ends_with('.'));
        }
    }
}
