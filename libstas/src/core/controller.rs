//! The life of one controller: wanted, brought to the lane, connected, held, lost, given up, parted with.
//!
//! ```text
//!             settle                lane's turn            Made or Found
//!   Idle ───────────────▶ InLane ───────────────▶ Connecting ───────────────▶ Held
//!    ▲  ▲                   │ turned away             │ failed                 │ gone
//!    │  └───── retry ── Waiting ◀─────────────────────┘                        │
//!    └─────────────────────────────────────────────────────────────────────────┘
//! ```

use std::time::Duration;

use super::backoff::{Backoff, Jitter};
use super::keep_alive::KeepAlive;
use super::ownership::Cause;
use super::{CtrlRef, OpId, Time};
use crate::nvme::Parameters;

/// A connection that lived this long starts its retries afresh when it is lost; a shorter one goes on with its
/// back-off, for a controller that is thrown out right after each connect must not spin.
pub const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// How a controller is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// With which parameters.
    pub parameters: Parameters,
    /// Who owns a device that serves several TIDs: the smallest rank (configured, referral, discovered).
    pub rank: u8,
    /// Give up after so many attempts in a row (NCC).
    pub attempts: Option<u32>,
    /// Only announced discovery controllers list it, by themselves or by their referrals: that gives no right to claim a
    /// connection of another program.
    pub announced_only: bool,
}

/// How a controller is to be parted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Keep it as it is: the administrator wants nothing disconnected.
    Keep,
    /// Keep it, whatever the administrator wants: a boot table of the firmware names it.
    KeepForBoot,
    /// Disconnect it, unless storage in use hangs off it alone.
    SpareInUse,
    /// Disconnect it, even if storage in use depends on it.
    Disconnect,
}

/// Where a controller is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing is under way.
    Idle,
    /// With the lane: being probed, or waiting for its turn.
    InLane,
    /// The kernel is connecting it.
    Connecting(OpId),
    /// The kernel has a connection that serves it.
    Held {
        /// The connection, by its device number and its birth.
        ctrl: CtrlRef,
        /// When this controller took the connection over.
        since: Time,
    },
    /// The next attempt is at that time.
    Waiting(Time),
    /// No further attempt, until something changes.
    GivenUp,
}

/// What a controller was before an exclusion matched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeforeExclusion {
    /// It was to be connected.
    Wanted,
    /// Being removed, in this way and for this cause.
    Removed(Parting, Cause),
}

/// How far parting has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// To be done.
    Asked,
    /// Being checked for storage in use.
    Checking(OpId),
    /// Kept, for the reason in [`Controller::kept`].
    Kept,
    /// The kernel would not; tried again at that time.
    Refused(Time),
}

/// The state of one member of the fleet: what is wanted, and how far that is.
#[derive(Clone, Debug)]
pub struct Controller {
    /// How it is wanted, or was last.
    pub want: Want,
    /// Where it is in its life.
    pub life: Life,
    /// How it is parted with, when it no longer is wanted.
    pub leaving: Option<(Parting, Leaving)>,
    /// Why it is removed.
    pub cause: Option<Cause>,
    /// What counts again when the exclusion that removes it is gone.
    pub before_exclusion: Option<BeforeExclusion>,
    /// It has had a connection in this run.
    pub has_held: bool,
    /// Attempts since the last success.
    pub attempts: u32,
    /// Why it is not connected.
    pub reason: Option<String>,
    /// With which parameters this daemon connected it, when it did.
    pub connected_with: Option<Parameters>,
    /// Why it is kept although nobody wants it.
    pub kept: Option<String>,
    /// This daemon has had it disconnected: that it goes is no failure.
    pub dismissed: bool,
    /// When a wait was last cut short.
    pub hurried: Option<Time>,
    /// Whether it is held by a keep-alive timeout (discovery controllers).
    pub keep_alive: KeepAlive,
    /// It rests until then, when its present connection is gone, and why.
    pub resting: Option<(Time, &'static str)>,
    backoff: Backoff,
    told: Option<String>,
}

impl Controller {
    /// A controller that has just become wanted.
    #[must_use]
    pub fn new(want: Want) -> Self {
        Self {
            want,
            life: Life::Idle,
            leaving: None,
            cause: None,
            before_exclusion: None,
            has_held: false,
            attempts: 0,
            reason: None,
            connected_with: None,
            kept: None,
            dismissed: false,
            hurried: None,
            keep_alive: KeepAlive::default(),
            resting: None,
            backoff: Backoff::default(),
            told: None,
        }
    }

    /// A controller that this run has never wanted: only its connection is to be ended.
    #[must_use]
    pub fn unwanted(how: Parting, cause: Cause) -> Self {
        Self { leaving: Some((how, Leaving::Asked)), cause: Some(cause), ..Self::new(Want::default()) }
    }

    /// Its kernel connection.
    #[must_use]
    pub fn ctrl(&self) -> Option<CtrlRef> {
        match self.life {
            Life::Held { ctrl, .. } => Some(ctrl),
            _ => None,
        }
    }

    /// True while it is to stay.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.leaving.is_none()
    }

    /// True when it is removed because of an exclusion.
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.why.is_exclusion())
    }

    /// Takes a connection over. Gives back how many attempts it took.
    pub fn hold(&mut self, now: Time, ctrl: CtrlRef) -> u32 {
        self.life = Life::Held { ctrl, since: now };
        self.has_held = true;
        self.dismissed = false;
        self.resting = None;
        self.reason = None;
        self.told = None;
        std::mem::take(&mut self.attempts)
    }

    /// Lets go of its connection, which stays as it is: the controller takes another one.
    pub fn release(&mut self) {
        self.life = Life::Idle;
        self.connected_with = None;
        self.resting = None;
        self.dismissed = false;
    }

    /// Its connection is gone: it may try again, at once if it had been up for a while or was disconnected by this
    /// daemon. Gives back when.
    pub fn lose(&mut self, now: Time, reason: &str, jitter: &mut Jitter) -> Time {
        let lived = match self.life {
            Life::Held { since, .. } => now.since(since),
            _ => Duration::ZERO,
        };
        self.connected_with = None;
        self.reason = Some(reason.to_owned());
        let again = if let Some((until, _)) = self.resting.take() {
            self.backoff.reset();
            until
        } else if lived >= SETTLED_AFTER || self.dismissed {
            self.backoff.reset();
            now
        } else {
            now + self.backoff.next(jitter)
        };
        self.life = Life::Waiting(again);
        again
    }

    /// An attempt failed. Gives back when the next one is, `None` when it was the last.
    pub fn fail(&mut self, now: Time, reason: String, not_before: Option<Time>, jitter: &mut Jitter) -> Option<Time> {
        self.attempts += 1;
        self.reason = Some(reason);
        if self.want.attempts.is_some_and(|limit| self.attempts >= limit) {
            self.life = Life::GivenUp;
            return None;
        }
        let again = (now + self.backoff.next(jitter)).max(not_before.unwrap_or(now));
        self.life = Life::Waiting(again);
        Some(again)
    }

    /// No attempt makes sense before something changes.
    pub fn give_up(&mut self, reason: String) {
        self.attempts += 1;
        self.reason = Some(reason);
        self.life = Life::GivenUp;
    }

    /// What was tried is no longer what is wanted: the next attempt is the first.
    pub fn start_afresh(&mut self) {
        self.attempts = 0;
        self.backoff.reset();
        self.life = Life::Idle;
    }

    /// Something gives reason to hope: the next failure is the first again.
    pub fn take_heart(&mut self) {
        self.backoff.reset();
    }

    /// True when that has not been told yet; then it has.
    pub fn is_news(&mut self, what: &str) -> bool {
        if self.told.as_deref() == Some(what) {
            return false;
        }
        self.told = Some(what.to_owned());
        true
    }
}
