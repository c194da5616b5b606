//! The invariants, in words. Each names the file that checks it.

use std::time::Duration;

/// An invariant of the simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Checked at each disconnect (`checks.rs`).
    Proof,
    /// Checked at each disconnect (`checks.rs`).
    InUse,
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
    /// Checked at each connect (`host.rs`).
    OneWrite,
    /// Checked whenever a page is published (`checks.rs`).
    Fresh,
    /// Checked at the end (`convergence.rs`).
    OneConnection,
    /// Checked at the end (`convergence.rs`).
    Converges,
    /// Checked at the end (`convergence.rs`).
    Known,
    /// Checked at each tick (`world.rs`).
    Calm,
}

impl Invariant {
    /// The invariant in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Proof => {
                "a controller that any source wants, or whose removal is not proved, is never disconnected, and no \
                 discovery controller is given up without proof; a goodbye proves nothing while the connection lives, \
                 nor for as long as zeroconf-connections-persistence says, and a discovery controller that ages out \
                 takes only what is not live"
            }
            Self::Boot => "an I/O controller that the boot table names is never disconnected, whatever anybody says",
            Self::Ages => {
                "a discovery controller that was neither announced nor connected for as long as \
                 zeroconf-connections-persistence says is given up, and one that never answered with its announcement"
            }
            Self::Quiet => "what a log page no longer names goes after half a second of quiet, and not before",
            Self::InUse => "the last live path to storage in use is never pulled, but where the administrator says so",
            Self::Excluded => "nothing excluded is ever connected, and what was connected goes",
            Self::Foreign => "what somebody else connected, and no source ever named, is not touched",
            Self::Owned => {
                "outside the audit scope a connection that the daemons neither made nor adopted is never disconnected; \
                 what another orchestrator owns, in no scope"
            }
            Self::OneWrite => "a daemon has one write to /dev/nvme-fabrics in flight at the most",
            Self::Fresh => "a page is called fresh only when it was read on the present connection, by this stafd",
            Self::OneConnection => "in the end there is one connection for a controller at the most",
            Self::Converges => "when the faults have ended, what is wanted is live within a bounded time, and stays so",
            Self::Known => "when the faults have ended, no controller is left that nobody wants or knows of",
            Self::Calm => "a core does not call for its next turn without end",
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
