//! The invariants, in words. Each names the file that checks it.

use std::time::Duration;

/// An invariant of the simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Checked at each disconnect (`checks.rs`).
    Proof,
    /// Checked at each disconnect (`checks.rs`).
    InUse,
    /// Checked when the kernel is told to disconnect (`kernel.rs`).
    System,
    /// Checked at each disconnect (`checks.rs`).
    Quiet,
    /// Checked at each connect (`host.rs`) and at the end (`convergence.rs`).
    Excluded,
    /// Checked at each disconnect (`checks.rs`).
    Foreign,
    /// Checked at each disconnect (`checks.rs`).
    Owned,
    /// Checked at each disconnect (`checks.rs`).
    Boot,
    /// Checked at each step of stafd (`checks.rs`), from the announcements that it has received (`mdns_oracle.rs`).
    Ages,
    /// Checked when the kernel removes a connection (`keys.rs`).
    Keys,
    /// Checked at each connect (`host.rs`).
    OneWrite,
    /// Checked whenever a page is published (`checks.rs`).
    Fresh,
    /// Checked at each step of stafd (`stale_pages.rs`).
    StaleIsSignalled,
    /// Checked at the end (`convergence.rs`).
    OneConnection,
    /// Checked at the end (`convergence.rs`).
    Converges,
    /// Checked at the end (`convergence.rs`).
    Known,
    /// Checked at each tick (`world.rs`).
    NoSpin,
}

impl Invariant {
    /// The invariant in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Proof => {
                "a controller is disconnected, and a discovery controller removed, only if no source lists it and \
                 every source that listed it has proved that; a goodbye proves nothing while the controller is \
                 connected, nor within zeroconf-connections-persistence after that; a discovery controller that ages \
                 out proves only the absence of controllers that are not live"
            }
            Self::Boot => "an I/O controller that the boot table lists is never disconnected",
            Self::Ages => {
                "a discovery controller that was neither announced nor connected for the time of \
                 zeroconf-connections-persistence is removed; one that has never been connected is removed when it is \
                 no longer announced"
            }
            Self::Quiet => {
                "a controller that a log page no longer lists is disconnected only when no source has changed for half \
                 a second"
            }
            Self::InUse => {
                "the last live path to storage in use is never disconnected, unless exclude= or in-use=disconnect \
                 requires it"
            }
            Self::System => {
                "the last path to storage from which the host runs (/, /usr, swap) is never disconnected, whatever the \
                 cause"
            }
            Self::Excluded => "an excluded controller is never connected, and its existing connection is disconnected",
            Self::Foreign => {
                "a connection of another program to a controller that no source has ever listed is never disconnected"
            }
            Self::Owned => {
                "a connection that the daemons neither made nor adopted is never disconnected outside the audit scope, \
                 and a connection of another orchestrator in no scope"
            }
            Self::Keys => {
                "no connection is lost because of a changed DH-HMAC-CHAP key if host and targets agreed on the new one \
                 before the connection was interrupted, and the kernel waited before it reconnected"
            }
            Self::OneWrite => "each daemon has at most one write to /dev/nvme-fabrics in flight",
            Self::Fresh => {
                "a published page is marked as fresh only if the present run of stafd read it on the present connection"
            }
            Self::StaleIsSignalled => {
                "stafd signals within half a second that a page has ceased to be fresh, and no page is fresh that \
                 changed more than half a second ago and was not read since then"
            }
            Self::OneConnection => "at the end each controller has at most one connection",
            Self::Converges => {
                "after the faults have ended, each wanted controller becomes live within a bounded time and stays live"
            }
            Self::Known => "after the faults have ended, no connection is left that no source wants",
            Self::NoSpin => "a core does not request calls without end while no time passes",
        }
    }
}

/// A violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The violated invariant.
    pub invariant: Invariant,
    /// A description of the violation.
    pub text: String,
    /// When it happened, since the beginning of the run.
    pub at: Duration,
}
