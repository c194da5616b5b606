//! The decisions of both daemons: pure state machines that take the time and an event and return effects.
//!
//! Nothing here performs I/O, reads a clock or spawns anything. The daemon's core (finder, connector) is the
//! only [`Machine`] that a shell sees; everything else here is a plain struct that it calls.

// No clock, files, sockets or threads: see clippy.toml.
#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod backoff;
pub mod browse;
pub mod conf;
pub mod configured;
pub mod connect_error;
pub mod connect_queue;
pub mod context;
pub mod counters;
pub mod daemon_core;
pub mod debounce;
mod disconnect_error;
pub mod effect;
pub mod exclusions;
pub mod fleet;
mod host_error;
pub mod inventory;
pub mod keep_alive;
pub mod kernel;
pub mod line_budget;
pub mod matching;
pub mod member;
pub mod ownership;
pub mod plan;
pub mod probe;
pub mod reasons;
pub mod reconciler;
pub mod secured;
pub mod sources;
pub mod timers;
pub mod trust;
pub mod usage;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use connect_error::{ConnectError, Explanation, RotationError};
pub use context::{Context, Supply};
pub use disconnect_error::DisconnectError;
pub use effect::{
    CodeLocation, ConnectOutcome, ConnectReport, ConnectRequest, HostEffect, HostEvent, Level, LogRecord, Portal,
    Rotated, Uevent, UeventKind,
};
pub use host_error::{AdminError, NoThread, OsError, ResolveError, SnapshotError};
pub use kernel::{CtrlState, CtrlType, Dctype, Gained, Interface, KernelController, Links, Owner, Snapshot};
pub use probe::{NotNvme, ProbeError, ProbeFailure, ProbeOutcome};
pub use usage::{Usage, UsageError, Use, UseKind};

/// A moment on CLOCK_BOOTTIME: it counts suspended time, is not affected by clock steps, and can be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub Duration);

impl Time {
    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// Identifies one effect and the event that reports its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

impl OpId {
    /// The ID of events that the shell sends without a request.
    pub const UNSOLICITED: Self = Self(0);
}

/// Issues [`OpId`]s, each once.
#[derive(Clone, Debug, Default)]
pub struct OpIds(u64);

impl OpIds {
    /// Issues the next ID.
    pub fn issue(&mut self) -> OpId {
        self.0 += 1;
        OpId(self.0)
    }
}

/// One kernel controller during its existence: its inode number distinguishes it from earlier controllers with the same
/// instance number.
///
/// It is the inode number of the entry in sysfs, which the kernel does not reuse within a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CtrlRef {
    /// The kernel's instance number: the N of nvmeN.
    pub device: u32,
    /// The inode number of the entry in sysfs, which distinguishes the controllers that have had this number. Saved as
    /// `birth`.
    #[serde(rename = "birth")]
    pub inode: u64,
}

impl CtrlRef {
    /// Parses the name of a controller (`nvme3`) to its instance number. `None` if it is not the name of a controller.
    #[must_use]
    pub fn device_of(name: &str) -> Option<u32> {
        let digits = name.strip_prefix("nvme")?;
        let number = digits.parse().ok()?;
        // The kernel writes no sign and no leading zeros: `nvme07` is not a controller's name.
        (digits == u32::to_string(&number)).then_some(number)
    }
}

impl fmt::Display for CtrlRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nvme{}", self.device)
    }
}

/// A daemon's core: the caller owns the clock, the events and the effects.
pub trait Machine {
    /// An event that it takes.
    type Event;
    /// A request to its host.
    type Effect;

    /// The event to pass to it when [`Machine::deadline`] is reached.
    const TICK: Self::Event;

    /// Takes one event and appends requests to `out`.
    fn handle(&mut self, now: Time, event: Self::Event, out: &mut Vec<Self::Effect>);

    /// When to call again at the latest, if nothing else happens before.
    fn deadline(&self) -> Option<Time>;
}

/// Executes effects: in a daemon the host, in tests a fake host or the simulated world.
pub trait Host {
    /// The effects that it executes.
    type Effect;

    /// Starts an effect and returns at once; its outcome comes back as an event with its [`OpId`].
    fn start(&self, effect: Self::Effect);
}

#[cfg(test)]
mod tests {
    use super::CtrlRef;

    #[test]
    fn only_controllers_have_a_device_number() {
        assert_eq!(CtrlRef::device_of("nvme12"), Some(12));
        for name in ["nvme", "nvme1n1", "nvme-subsys0", "ng0n1", "nvme+1", "nvme07", "nvme99999999999"] {
            assert_eq!(CtrlRef::device_of(name), None, "{name}");
        }
    }
}
