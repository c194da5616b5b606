//! Actions of discovery controllers that are announced by mDNS. Like all actions they are decided beforehand by the
//! seed.

use std::fmt;
use std::time::Duration;

use libstas::conf::Persistence;

use crate::display::{outage, seconds};
use crate::names::{Iface, STALE, Target};
use crate::plan::{Edit, InitialWorld, Outage, What};
use crate::rng::Rng;

/// The lifetime of an announcement that is not repeated (RFC 6762, 10: 120 s for records with a host name).
pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(120);
/// Targets that are announced and never answer have numbers from this one on.
const DEAD: usize = 1000;
/// More of them than stafd remembers.
const MANY: usize = 300;

/// An action of an announced target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MdnsAction {
    /// It sends a goodbye, or announces itself if it is not announced.
    Toggles(Target),
    /// It sends a goodbye, and announces itself again after that time.
    LeavesAndReturns(Target, Duration),
    /// It stops repeating its announcement and answering queries for that time, without a goodbye.
    FallsSilent(Target, Duration),
    /// It is announced on that interface too, or no longer there.
    TogglesInterface(Target, Iface),
    /// It fails for a time.
    Fails {
        /// The target that fails.
        target: Target,
        /// The kind of failure.
        how: Outage,
        /// True if it sends a goodbye before.
        goodbye: bool,
        /// The duration of the failure.
        time: Duration,
        /// True if it announces itself again afterwards.
        returns: bool,
    },
    /// This many targets that never answer are announced at once. They send a goodbye after that time, or never.
    Flood(usize, Option<Duration>),
    /// The host loses an interface for that time.
    LosesInterface(Iface, Duration),
    /// The process that browses for stafd ends. Another one takes its place after that time.
    Interrupts(Duration),
}

/// The first `count` targets that never answer.
pub(crate) fn dead(count: usize) -> impl Iterator<Item = Target> {
    (DEAD..DEAD + count).map(Target)
}

/// True for an announced target that never answers.
pub(crate) fn is_dead(target: Target) -> bool {
    (DEAD..STALE).contains(&target.0)
}

impl MdnsAction {
    /// The time until the action is over and all its effects are known.
    pub(crate) fn lasts(&self) -> Duration {
        /// Lost announcements are received after this time.
        const HEARD: Duration = Duration::from_secs(40);
        let lasts = match self {
            Self::Toggles(_) | Self::TogglesInterface(..) | Self::Flood(_, None) => Duration::ZERO,
            Self::LeavesAndReturns(_, time)
            | Self::FallsSilent(_, time)
            | Self::Fails { time, .. }
            | Self::Flood(_, Some(time))
            | Self::LosesInterface(_, time)
            | Self::Interrupts(time) => *time,
        };
        lasts + HEARD
    }
}

/// A random `zeroconf-connections-persistence`: none, a short time, or for ever.
pub(crate) fn persistence(rng: &mut Rng) -> Persistence {
    let span = |seconds| Persistence::For(Duration::from_secs(seconds));
    [span(0), Persistence::Forever, span(5), span(20), span(60), span(72 * 3600)][rng.below(6)]
}

/// A random action of an announced target.
pub(crate) fn action(rng: &mut Rng, initial: &InitialWorld) -> What {
    let all: Vec<Target> = initial.announced.keys().copied().collect();
    let Some(target) = all.get(rng.below(all.len())).copied() else { return What::RouteAdded };
    let iface = Iface::ALL[rng.below(2)];
    What::MdnsAction(match rng.below(20) {
        0..=2 => MdnsAction::Toggles(target),
        3..=5 => MdnsAction::LeavesAndReturns(target, rng.ms(20, 20_000)),
        6..=7 => {
            let time = if rng.percent(50) { rng.ms(1_000, 60_000) } else { TIME_TO_LIVE + rng.ms(2_000, 60_000) };
            MdnsAction::FallsSilent(target, time)
        }
        8..=9 => MdnsAction::TogglesInterface(target, iface),
        10..=13 => MdnsAction::Fails {
            target,
            how: [Outage::Refuses, Outage::Drops, Outage::Mute, Outage::Reboots][rng.below(4)],
            goodbye: rng.percent(75),
            time: if rng.percent(60) { rng.ms(100, 20_000) } else { rng.ms(20_000, 120_000) },
            returns: rng.percent(70),
        },
        14 => {
            let count = if rng.percent(10) { MANY } else { 1 + rng.below(40) };
            MdnsAction::Flood(count, rng.percent(60).then(|| rng.ms(100, 60_000)))
        }
        15..=16 => {
            MdnsAction::LosesInterface(iface, if rng.percent(60) { rng.ms(20, 5_000) } else { rng.ms(5_000, 45_000) })
        }
        17..=18 => return What::Edits(Edit::Zeroconf, true),
        _ => return What::Edits(Edit::Persistence(persistence(rng)), true),
    })
}

impl fmt::Display for MdnsAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toggles(target) => write!(f, "the DC of {target} sends a goodbye, or announces itself"),
            Self::LeavesAndReturns(target, time) => {
                write!(f, "the DC of {target} sends a goodbye, and announces itself again after {}", seconds(*time))
            }
            Self::FallsSilent(target, time) => {
                write!(f, "the DC of {target} does not announce itself for {}, without a goodbye", seconds(*time))
            }
            Self::TogglesInterface(target, iface) => {
                write!(f, "the DC of {target} starts or stops being announced on {iface}")
            }
            Self::Fails { target, how, goodbye, time, returns } => {
                let before = if *goodbye { " sends a goodbye and" } else { "" };
                let after = if *returns { ", and announces itself again after that" } else { "" };
                write!(f, "{target}{before} {} for {}{after}", outage(*how), seconds(*time))
            }
            Self::Flood(count, time) => {
                let time = time.map(|time| format!(" for {}", seconds(time))).unwrap_or_default();
                write!(f, "{count} DCs that do not answer are announced{time}")
            }
            Self::LosesInterface(iface, time) => write!(f, "{iface} is gone for {}", seconds(*time)),
            Self::Interrupts(time) => {
                write!(f, "the process that browses ends, another one starts after {}", seconds(*time))
            }
        }
    }
}
