//! The state of one member of the fleet: wanted, queued, connected, held, lost, given up, being removed.
//!
//! ```text
//!            enqueue                its turn               Made or Found
//!   Idle ───────────────▶ Queued ───────────────▶ Connecting ───────────────▶ Held
//!    ▲  ▲                   │ rejected                │ failed                 │ gone
//!    │  └───── retry ── Waiting ◀─────────────────────┘                        │
//!    └─────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::backoff::Backoff;
use super::context::Context;
use super::keep_alive::KeepAlive;
use super::ownership::Cause;
use super::reasons::{Kept, LastLogged, NotConnected, Polled};
use super::trust::Trust;
use super::{CtrlRef, OpId, Time};
use stas_nvme::{Parameters, Tid};

/// A connection that lived at least this long resets the back-off when it is lost. After a shorter one the back-off
/// continues, so that a target that drops each connection at once is not retried in a tight loop.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Maximum number of different reasons that are remembered as logged.
const REASONS_LOGGED: usize = 8;

/// Why and how a controller is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The connection parameters.
    pub parameters: Parameters,
    /// The trust level of the most trusted source. When one device serves several TIDs, the most trusted one owns it.
    /// A controller that only announced discovery controllers list may not claim a connection of another program.
    pub trust: Trust,
    /// The discovery controller whose page lists it; `None`: another source.
    pub listed_by: Option<Tid>,
    /// Gives up after this many failed attempts in a row (NCC); `None`: never.
    pub attempts: Option<u32>,
}

impl Want {
    /// Merges the want of another source for the same controller. Of two equally trusted sources, the stricter security
    /// settings apply. An announced discovery controller is ignored if any other source lists the controller.
    fn merge(&mut self, other: Self) {
        match (self.trust.is_announced_only(), other.trust.is_announced_only()) {
            (true, false) => *self = other,
            (false, true) => {}
            // An explicit `tls=` in the configuration is not overridden by a log page.
            (false, false) if self.trust < other.trust && self.parameters.tls.is_some() => {}
            (true, true) | (false, false) => self.parameters.secure_like(&other.parameters),
        }
    }

    /// True if a controller that was given up is to be tried again, because this want differs from `before`.
    #[must_use]
    pub fn restarts(&self, before: &Self) -> bool {
        let (trust, trusted) = (self.trust, before.trust);
        let is_better = trust < trusted;
        let is_other = trust != trusted && !trust.is_announced_only() && !trusted.is_announced_only();
        is_better || is_other || self.parameters != before.parameters || self.attempts != before.attempts
    }

    /// Adds this want to `wanted`, merged with those of other sources for the same controller.
    pub fn add_to<K: Ord>(self, wanted: &mut BTreeMap<K, Self>, controller: K) {
        match wanted.entry(controller) {
            Entry::Occupied(mut before) => before.get_mut().merge(self),
            Entry::Vacant(place) => drop(place.insert(self)),
        }
    }
}

/// How a controller is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalPolicy {
    /// Keeps the connection: disconnecting is switched off in the configuration.
    Keep,
    /// Keeps the connection whatever the configuration says: a boot table of the firmware lists it.
    KeepForBoot,
    /// Disconnects it, unless it is the last path to storage in use.
    SpareInUse,
    /// Disconnects it, even if storage in use depends on it.
    Disconnect,
}

/// The connection state of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnState {
    /// Nothing is under way.
    Idle,
    /// In the connect queue: being probed, or waiting for its turn.
    Queued,
    /// The kernel is connecting it.
    Connecting(OpId),
    /// The kernel has a connection that serves it.
    Held {
        /// The connection, by its instance number and its inode number.
        ctrl: CtrlRef,
        /// When this controller took the connection over.
        since: Time,
    },
    /// Waiting; the next attempt is at that time.
    Waiting(Time),
    /// No further attempt until something changes.
    GivenUp,
}

/// The state of a controller before an exclusion matched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeforeExclusion {
    /// It was wanted.
    Wanted,
    /// It was being removed, in this way and for this cause.
    Removed(RemovalPolicy, Cause),
}

/// The progress of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalState {
    /// Requested; nothing has been done yet.
    Asked,
    /// Being checked for storage in use.
    Checking(OpId),
    /// Kept, for the reason in [`Member::kept`].
    Kept,
    /// The kernel refused the disconnect; retried at that time.
    Refused(Time),
}

/// The state of one member of the fleet: how it is wanted, and what has been done.
#[derive(Clone, Debug)]
pub struct Member {
    /// How it is wanted, or was wanted last.
    pub want: Want,
    /// Its connection state.
    pub state: ConnState,
    /// The policy and the progress of its removal; `None` while it is wanted.
    pub removal: Option<(RemovalPolicy, RemovalState)>,
    /// Why it is removed.
    pub cause: Option<Cause>,
    /// The state to restore when the exclusion that removes it is no longer configured.
    pub before_exclusion: Option<BeforeExclusion>,
    /// True once it has had a connection in this run.
    pub has_held: bool,
    /// Attempts since the last success.
    pub attempts: u32,
    /// Why it is not connected; `None` if there is nothing to report.
    pub reason: Option<NotConnected>,
    /// The parameters with which this daemon connected it; `None` if it did not.
    pub connected_with: Option<Parameters>,
    /// Why it is kept although no source wants it.
    pub kept: Option<Kept>,
    /// This daemon has requested its disconnect: the loss of the connection is no failure.
    pub disconnect_requested: bool,
    /// When [`super::fleet::Fleet::retry_now`] or a network change last cut a wait short.
    pub retried_at: Option<Time>,
    /// Whether it is connected with a keep-alive timeout (discovery controllers only).
    pub keep_alive: KeepAlive,
    /// For a controller that is polled: the time of the next connect, and why it is polled.
    pub next_poll: Option<(Time, Polled)>,
    backoff: Backoff,
    /// What was logged about it and is not logged again.
    logged: Vec<LastLogged>,
}

impl Member {
    /// A controller that has just become wanted.
    #[must_use]
    pub fn new(want: Want) -> Self {
        Self {
            want,
            state: ConnState::Idle,
            removal: None,
            cause: None,
            before_exclusion: None,
            has_held: false,
            attempts: 0,
            reason: None,
            connected_with: None,
            kept: None,
            disconnect_requested: false,
            retried_at: None,
            keep_alive: KeepAlive::default(),
            next_poll: None,
            backoff: Backoff::default(),
            logged: Vec::new(),
        }
    }

    /// A controller that this run has never wanted: only its connection is to be disconnected.
    #[must_use]
    pub fn for_removal(how: RemovalPolicy, cause: Cause) -> Self {
        // What it was before the exclusion is not saved: the sources decide when the exclusion is gone.
        let before_exclusion = cause.why.is_exclusion().then_some(BeforeExclusion::Wanted);
        let removal = Some((how, RemovalState::Asked));
        Self { removal, cause: Some(cause), before_exclusion, ..Self::new(Want::default()) }
    }

    /// Sets how it is wanted, if that is not known yet.
    pub fn restore_want(&mut self, restored: Want) {
        if self.want == Want::default() {
            self.want = restored;
        }
    }

    /// Its kernel connection.
    #[must_use]
    pub fn ctrl(&self) -> Option<CtrlRef> {
        match self.state {
            ConnState::Held { ctrl, .. } => Some(ctrl),
            _ => None,
        }
    }

    /// True while it is not being removed.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.removal.is_none()
    }

    /// True if only announced discovery controllers list it, or listed it last.
    #[must_use]
    pub fn is_announced_only(&self) -> bool {
        self.want.trust.is_announced_only()
    }

    /// True when it is removed for a proved reason: an exclusion may be taken back.
    #[must_use]
    pub fn is_removed_for_good(&self) -> bool {
        !self.is_wanted() && !self.is_excluded()
    }

    /// True when it is removed because of an exclusion.
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.why.is_exclusion())
    }

    /// Takes over a connection. Returns the number of attempts that were needed.
    pub fn hold(&mut self, now: Time, ctrl: CtrlRef) -> u32 {
        self.state = ConnState::Held { ctrl, since: now };
        self.has_held = true;
        self.disconnect_requested = false;
        self.next_poll = None;
        self.reason = None;
        self.logged.clear();
        std::mem::take(&mut self.attempts)
    }

    /// Stops using its connection without disconnecting it: the controller gets another one.
    pub fn release(&mut self) {
        self.state = ConnState::Idle;
        self.connected_with = None;
        self.next_poll = None;
        self.disconnect_requested = false;
    }

    /// Its connection is gone. Returns the time of the next attempt: of the next poll if it is polled, at once if the
    /// connection had lived for 10 s or was disconnected by this daemon, otherwise after the back-off.
    pub fn lose(&mut self, ctx: &mut Context<'_>) -> Time {
        let lived = match self.state {
            ConnState::Held { since, .. } => ctx.now.since(since),
            _ => Duration::ZERO,
        };
        self.connected_with = None;
        let polled = self.next_poll.take();
        self.reason = Some(polled.map_or(NotConnected::Lost, |(_, why)| why.into()));
        let again = if let Some((until, _)) = polled {
            self.backoff.reset();
            until
        } else if lived >= SETTLED_AFTER || self.disconnect_requested {
            self.backoff.reset();
            ctx.now
        } else {
            ctx.now + self.backoff.next(ctx.jitter())
        };
        self.state = ConnState::Waiting(again);
        again
    }

    /// An attempt failed. Returns the time of the next attempt, or `None` if this was the last.
    pub fn fail(
        &mut self,
        ctx: &mut Context<'_>,
        reason: NotConnected,
        not_before: Option<Time>,
        not_after: Option<Time>,
    ) -> Option<Time> {
        self.attempts += 1;
        self.reason = Some(reason);
        if self.want.attempts.is_some_and(|limit| self.attempts >= limit) {
            self.state = ConnState::GivenUp;
            return None;
        }
        let again = ctx.now + self.backoff.next(ctx.jitter());
        let again = again.min(not_after.unwrap_or(again)).max(not_before.unwrap_or(ctx.now));
        self.state = ConnState::Waiting(again);
        Some(again)
    }

    /// Makes no further attempt until something changes.
    pub fn give_up(&mut self, reason: NotConnected) {
        self.attempts += 1;
        self.reason = Some(reason);
        self.state = ConnState::GivenUp;
    }

    /// Starts counting attempts from zero, because other parameters are wanted now.
    pub fn start_afresh(&mut self) {
        self.attempts = 0;
        self.backoff.reset();
        self.state = ConnState::Idle;
    }

    /// Resets the back-off.
    pub fn reset_backoff(&mut self) {
        self.backoff.reset();
    }

    /// Returns true if `what` differs from what was last logged about this controller. Stores it for the next call.
    ///
    /// A target may fail in several ways in turns, for example if the time limit of the probe is as long as that of
    /// ARP. Each reason is logged only once until the controller is connected.
    pub fn is_new_in_log(&mut self, what: impl Into<LastLogged>) -> bool {
        let what = what.into();
        if self.logged.contains(&what) {
            return false;
        }
        let are_reasons = |logged: &LastLogged| matches!(logged, LastLogged::NotConnected(_));
        if !are_reasons(&what) || !self.logged.iter().all(are_reasons) {
            self.logged.clear();
        } else if self.logged.len() >= REASONS_LOGGED {
            self.logged.remove(0);
        }
        self.logged.push(what);
        true
    }
}
