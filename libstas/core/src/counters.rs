//! Counts what the fleet does, for monitoring. The counters affect no decision, and begin at zero after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::ConnectOutcome;
use super::ownership::Why;
use super::reasons::NotConnected;
use super::{CtrlRef, Time};
use stas_nvme::Tid;

/// Upper bounds of the buckets of the wait histogram, in seconds. Longer waits are only in [`Waits::count`].
pub const WAIT_BOUNDS: [f64; 8] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0];

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The kernel lost it and is reconnecting it.
    Lost,
    /// The kernel, or another program, removed it.
    Gone,
    /// The daemon disconnected it: no source lists its controller.
    Removed,
    /// The daemon disconnected it: the configuration excludes its controller.
    Excluded,
    /// The daemon disconnected it: it was a second connection to the same controller.
    Duplicate,
    /// The daemon disconnected it: its controller is polled, and the log page was read.
    Polled,
    /// The daemon disconnected it: the daemon stops, with `persistent-connections=false`.
    Stopping,
}

impl End {
    /// All causes.
    pub const ALL: [Self; 7] =
        [Self::Lost, Self::Gone, Self::Removed, Self::Excluded, Self::Duplicate, Self::Polled, Self::Stopping];

    /// Its value of the label `cause`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Gone => "gone",
            Self::Removed => "removed",
            Self::Excluded => "excluded",
            Self::Duplicate => "duplicate",
            Self::Polled => "polled",
            Self::Stopping => "stopping",
        }
    }
}

impl From<Why> for End {
    fn from(why: Why) -> Self {
        match why {
            Why::Removed | Why::Unclaimed { .. } => Self::Removed,
            Why::Excluded { .. } | Why::Barred => Self::Excluded,
            Why::Duplicate => Self::Duplicate,
            Why::PollOver => Self::Polled,
            Why::Stopping => Self::Stopping,
        }
    }
}

/// How long controllers waited in the connect queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waits {
    /// The number of waits in each bucket of [`WAIT_BOUNDS`] (not cumulative).
    pub classes: [u64; WAIT_BOUNDS.len()],
    /// The number of all waits.
    pub count: u64,
    /// The total of all waits.
    pub sum: Duration,
}

impl Waits {
    fn add(&mut self, wait: Duration) {
        let class = WAIT_BOUNDS.iter().position(|bound| wait.as_secs_f64() <= *bound);
        if let Some(class) = class.and_then(|class| self.classes.get_mut(class)) {
            *class += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(wait);
    }
}

/// What a fleet has done since its daemon was started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Connections that were made.
    pub connects: u64,
    /// Existing connections that were found instead.
    pub found: u64,
    /// Attempts to connect that failed, by [`reason`].
    pub failures: BTreeMap<String, u64>,
    /// Connections that ended.
    pub ends: BTreeMap<End, u64>,
    /// Lost connections that the kernel has reconnected.
    pub reconnects: u64,
    /// Waits in the connect queue that have ended in an attempt.
    pub waits: Waits,
    /// Times that kernel events were lost.
    pub overruns: u64,
    /// Since when controllers are in the connect queue. Only members are in it.
    queued: BTreeMap<Tid, Time>,
    /// Connections that the kernel is reconnecting.
    lost: BTreeSet<CtrlRef>,
}

impl Counters {
    /// A controller enters the connect queue.
    pub(super) fn enters_queue(&mut self, now: Time, tid: &Tid) {
        self.queued.insert(tid.clone(), now);
    }

    /// It leaves the connect queue without an attempt.
    pub(super) fn leaves_queue(&mut self, tid: &Tid) {
        self.queued.remove(tid);
    }

    /// An attempt begins.
    pub(super) fn attempt_begins(&mut self, now: Time, tid: &Tid) {
        if let Some(since) = self.queued.remove(tid) {
            self.waits.add(now.since(since));
        }
    }

    /// An attempt ends.
    pub(super) fn attempt_ends(&mut self, outcome: &ConnectOutcome) {
        match outcome {
            ConnectOutcome::Made(_) => self.connects += 1,
            ConnectOutcome::Found(_) => self.found += 1,
            ConnectOutcome::Failed(error) => self.fails(&error.clone().into()),
        }
    }

    /// The connect queue rejects a controller.
    pub(super) fn rejected(&mut self, tid: &Tid, reason: &NotConnected) {
        self.queued.remove(tid);
        self.fails(reason);
    }

    fn fails(&mut self, why: &NotConnected) {
        *self.failures.entry(reason(why)).or_default() += 1;
    }

    /// The daemon disconnects a connection.
    pub(super) fn disconnects(&mut self, why: Why) {
        *self.ends.entry(why.into()).or_default() += 1;
    }

    /// The kernel has lost a connection and is reconnecting it.
    pub(super) fn loses(&mut self, ctrl: CtrlRef) {
        self.lost.insert(ctrl);
        *self.ends.entry(End::Lost).or_default() += 1;
    }

    /// A connection becomes live.
    pub(super) fn is_live(&mut self, ctrl: CtrlRef) {
        if self.lost.remove(&ctrl) {
            self.reconnects += 1;
        }
    }

    /// Forgets the lost connections that the kernel no longer has.
    pub(super) fn retain(&mut self, exists: impl Fn(CtrlRef) -> bool) {
        self.lost.retain(|ctrl| exists(*ctrl));
    }

    /// A connection is gone. `by_us`: the daemon has disconnected it.
    pub(super) fn is_gone(&mut self, ctrl: CtrlRef, by_us: bool) {
        self.lost.remove(&ctrl);
        if !by_us {
            *self.ends.entry(End::Gone).or_default() += 1;
        }
    }
}

/// The kind of a reason, as a value of the label `reason`: one of a few fixed words, or the name of an errno.
#[must_use]
pub fn reason(why: &NotConnected) -> String {
    match why {
        NotConnected::Dead(_) => "unreachable",
        NotConnected::Unprobed(_) => "unclear",
        NotConnected::SlowPortal => "slow portal",
        NotConnected::Failed(super::connect_error::ConnectError::Kernel { explanation, .. })
            if !explanation.errno.is_empty() =>
        {
            &explanation.errno
        }
        NotConnected::Failed(_) => "failed",
        NotConnected::Blocked(_) => "blocked",
        NotConnected::Lost => "lost",
        NotConnected::Polled(_) => "polled",
    }
    .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::connect_error::ConnectError;
    use stas_nvme::{TidParts, Transport};

    fn tid() -> Tid {
        Tid::new(TidParts {
            traddr: "192.0.2.1".into(),
            trsvcid: "4420".into(),
            subsysnqn: "nqn.a".into(),
            ..TidParts::none(Transport::Tcp)
        })
    }

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    const CTRL: CtrlRef = CtrlRef { device: 3, inode: 7 };

    #[test]
    fn a_wait_ends_with_the_attempt_and_counts_once() {
        let mut counters = Counters::default();
        counters.attempt_begins(at(1), &tid());
        counters.enters_queue(at(10), &tid());
        counters.attempt_begins(at(14), &tid());
        counters.attempt_begins(at(20), &tid());
        counters.enters_queue(at(30), &tid());
        counters.leaves_queue(&tid());
        counters.attempt_begins(at(40), &tid());
        assert_eq!((counters.waits.count, counters.waits.sum), (1, Duration::from_secs(4)));
        assert_eq!(counters.waits.classes, [0, 0, 0, 1, 0, 0, 0, 0]);
        counters.enters_queue(at(0), &tid());
        counters.attempt_begins(at(10_000), &tid());
        assert_eq!((counters.waits.count, counters.waits.classes.iter().sum::<u64>()), (2, 1));
    }

    #[test]
    fn outcomes_are_counted_by_their_kind() {
        let mut counters = Counters::default();
        counters.attempt_ends(&ConnectOutcome::Made(CTRL));
        counters.attempt_ends(&ConnectOutcome::Found(CTRL));
        counters.attempt_ends(&ConnectOutcome::Failed(ConnectError::Already));
        counters.rejected(&tid(), &NotConnected::SlowPortal);
        assert_eq!((counters.connects, counters.found), (1, 1));
        let failures = [("failed", 1), ("slow portal", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(counters.failures, failures.into());
    }

    #[test]
    fn a_connection_that_comes_back_is_a_reconnect_and_one_that_is_new_is_none() {
        let mut counters = Counters::default();
        counters.is_live(CTRL);
        assert_eq!(counters.reconnects, 0);
        counters.loses(CTRL);
        counters.is_live(CTRL);
        counters.is_live(CTRL);
        assert_eq!(counters.reconnects, 1);
        counters.loses(CTRL);
        counters.is_gone(CTRL, false);
        counters.is_live(CTRL);
        counters.is_gone(CTRL, true);
        counters.disconnects(Why::Duplicate);
        assert_eq!(counters.reconnects, 1);
        assert_eq!(counters.ends, [(End::Lost, 2), (End::Gone, 1), (End::Duplicate, 1)].into());
    }

    #[test]
    fn each_end_has_its_label() {
        let labels: BTreeSet<&str> = End::ALL.into_iter().map(End::label).collect();
        assert_eq!(labels.len(), End::ALL.len());
    }
}
