//! When to take a snapshot of sysfs, and what a snapshot means for the members.

use std::time::Duration;

use super::{Fleet, Report};
use crate::context::Context;
use crate::effect::{HostEffect, Level, LogRecord, Uevent, UeventKind};
use crate::inventory::Diff;
use crate::kernel::{Owner, Snapshot};
use crate::member::ConnState;
use crate::timers::Timer;
use crate::{OpId, SnapshotError, Time, matching};
use stas_nvme::Tid;

/// Maximum time between two snapshots, even without events. No event reports that the kernel has lost a connection and
/// reconnects it: for this long `ls` may still show it as connected.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum time between two snapshots caused by removal events, so that a burst of events causes few snapshots.
const HINT_GAP: Duration = Duration::from_millis(100);
/// Minimum time between two snapshots caused by other events. These are less urgent: the answer to a connect contains a
/// snapshot.
const CALM_HINT_GAP: Duration = Duration::from_millis(500);
/// While a connect is under way, a snapshot because of an event is delayed by this time: the answer to the connect
/// contains one.
const CONNECT_HINT_GAP: Duration = Duration::from_secs(1);
/// Lost events are logged at most this often.
const OVERRUN_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// A snapshot that takes longer than this is logged.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(10);

/// Snapshots in flight and pending.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// The snapshot in flight.
    op: Option<OpId>,
    /// True if another one is to be requested after the one in flight.
    pending: bool,
    /// True once a snapshot has been requested.
    started: bool,
    /// When the last answer arrived.
    last: Option<Time>,
    /// The newest kernel event that requires a snapshot, by its sequence number.
    hinted: u64,
    /// True if the snapshot in flight has exceeded [`SNAPSHOT_DEADLINE`].
    hangs: bool,
    /// When lost events were last logged.
    overrun_logged: Option<Time>,
}

impl Fleet {
    /// Requests a snapshot. At most one is in flight and one more pending.
    pub(super) fn request_snapshot(&mut self, ctx: &mut Context<'_>) {
        if self.snapshots.op.is_some() {
            self.snapshots.pending = true;
            return;
        }
        let op = ctx.next_op();
        self.snapshots.op = Some(op);
        self.snapshots.started = true;
        ctx.timers.cancel(&Timer::Snapshot);
        ctx.host(HostEffect::TakeSnapshot(op));
    }

    /// Schedules a snapshot after a kernel event, unless the newest one is more recent than the event.
    pub(super) fn hint(&mut self, ctx: &mut Context<'_>, event: &Uevent) {
        if self.inventory.covers(event) {
            return;
        }
        self.snapshots.hinted = self.snapshots.hinted.max(event.seqnum);
        let patient = self.connect_queue.is_busy() && event.kind != UeventKind::Remove;
        let gap = if event.kind == UeventKind::Remove { HINT_GAP } else { CALM_HINT_GAP };
        let earliest = self.snapshots.last.map_or(ctx.now, |last| last + gap);
        let at = earliest.max(if patient { ctx.now + CONNECT_HINT_GAP } else { ctx.now });
        if at <= ctx.now {
            self.request_snapshot(ctx);
        } else if ctx.timers.get(&Timer::Snapshot).is_none_or(|planned| at < planned) {
            ctx.timers.set(Timer::Snapshot, at);
        }
    }

    /// After an overrun any event may have been lost: take a snapshot.
    pub(super) fn events_were_lost(&mut self, ctx: &mut Context<'_>) {
        self.counters.overruns += 1;
        if self.snapshots.overrun_logged.is_none_or(|logged| ctx.now.since(logged) >= OVERRUN_LOGGED_EVERY) {
            self.snapshots.overrun_logged = Some(ctx.now);
            ctx.log(LogRecord {
                level: Level::Warning,
                tid: None,
                ctrl: None,
                text: "kernel events were lost (more came than could be read): reading all controllers again"
                    .to_owned(),
            });
        }
        self.request_snapshot(ctx);
    }

    /// Takes the answer to a snapshot request.
    pub(super) fn snapshot_taken(&mut self, ctx: &mut Context<'_>, op: OpId, result: Result<Snapshot, SnapshotError>) {
        if self.snapshots.op == Some(op) {
            self.snapshots.op = None;
            self.snapshots.hangs = false;
            ctx.timers.cancel(&Timer::SnapshotAnswer);
        }
        // Also after a failure: otherwise failing snapshots would follow each other without a pause.
        self.snapshots.last = Some(ctx.now);
        match result {
            Ok(snapshot) => {
                self.take_snapshot(ctx, snapshot);
                self.check_kept_again();
            }
            Err(reason) => ctx.log(LogRecord {
                level: Level::Error,
                tid: None,
                ctrl: None,
                text: format!(
                    "the kernel's controllers cannot be listed: {reason}; all connections are kept, retrying"
                ),
            }),
        }
        if std::mem::take(&mut self.snapshots.pending) {
            self.request_snapshot(ctx);
        }
    }

    /// Applies a snapshot to each member.
    pub(super) fn take_snapshot(&mut self, ctx: &mut Context<'_>, snapshot: Snapshot) {
        let first = !self.inventory.has_snapshot();
        let Some(diff) = self.inventory.take(snapshot) else { return };
        let lost = diff.lost.iter().filter_map(|ctrl| self.inventory.get(*ctrl));
        self.check_is_overtaken |= self.is_counted_by_check(lost.chain(diff.gone.iter().map(AsRef::as_ref)));
        self.forget_what_is_gone();
        if first {
            self.find_saved_connections();
        }
        if self.inventory.snapshot().seqnum >= self.snapshots.hinted {
            // This snapshot is newer than the events that caused the request.
            ctx.timers.cancel(&Timer::Snapshot);
        }
        self.compare_host_ids(ctx);
        let Diff { appeared, identified, gone, became_live, lost } = diff;
        for kernel in gone {
            self.rotation.gone(kernel.ctrl);
            let holding = self.holding(kernel.ctrl);
            if let Some(first) = holding.first() {
                let by_us = self.members.get(first).is_some_and(|member| member.disconnect_requested);
                self.counters.is_gone(kernel.ctrl, by_us);
            }
            for tid in holding {
                self.connection_gone(ctx, &tid, kernel.ctrl);
            }
        }
        for ctrl in lost {
            let by_us = self.disconnecting.values().any(|going| *going == ctrl);
            let holding = self.holding(ctrl);
            if !by_us && !holding.is_empty() {
                self.counters.loses(ctrl);
            }
            for tid in holding {
                if !by_us {
                    let text = format!("{ctrl} lost its connection; the kernel is reconnecting it");
                    ctx.log_about(Level::Warning, &tid, Some(ctrl), text);
                }
                self.reports.push(Report::Lost(tid, ctrl));
            }
        }
        if !became_live.is_empty() {
            self.mark_removals_dirty();
        }
        let came_up = became_live.clone();
        for ctrl in became_live {
            self.counters.is_live(ctrl);
            for tid in self.holding(ctrl) {
                ctx.log_about(Level::Info, &tid, Some(ctrl), format!("{ctrl} is live"));
                self.reports.push(Report::Live(tid, ctrl));
            }
        }
        self.note_encryption_of_held();
        self.release_what_no_longer_serves(ctx);
        self.note_stranded(ctx.now);
        self.release_what_is_stranded(ctx);
        self.mark_unclaimed_dirty();
        let news = appeared.iter().chain(&identified).chain(&came_up);
        let news: Vec<_> = news.filter_map(|ctrl| self.inventory.get(*ctrl)).collect();
        if first || !news.is_empty() {
            let open = self
                .members
                .iter()
                .filter(|(_, member)| !matches!(member.state, ConnState::Held { .. } | ConnState::Connecting(_)))
                .filter(|(tid, _)| first || news.iter().any(|kernel| matching::serves(kernel, tid, &self.links)));
            self.dirty.extend(open.map(|(tid, _)| tid.clone()));
        }
    }

    /// Re-examines members whose connection has no owner: the owner may have been unknown before, and the connection
    /// may become ours now ([`Fleet::claim`]).
    fn mark_unclaimed_dirty(&mut self) {
        let held =
            self.members.iter().filter(|(_, member)| member.is_wanted() && !member.want.trust.is_announced_only());
        let unclaimed = held.filter(|(_, member)| {
            let kernel = member.ctrl().and_then(|ctrl| self.inventory.get(ctrl));
            kernel.is_some_and(|kernel| kernel.owner == Owner::None && !self.ours.contains_key(&kernel.ctrl))
        });
        let unclaimed: Vec<Tid> = unclaimed.map(|(tid, _)| tid.clone()).collect();
        self.dirty.extend(unclaimed);
    }

    /// The members that hold a connection.
    pub(super) fn holding(&self, ctrl: crate::CtrlRef) -> Vec<Tid> {
        self.members.iter().filter(|(_, member)| member.ctrl() == Some(ctrl)).map(|(tid, _)| tid.clone()).collect()
    }

    /// Schedules the next snapshot at most [`SNAPSHOT_INTERVAL`] after the last.
    pub(super) fn schedule_snapshot(&mut self, ctx: &mut Context<'_>) {
        if self.snapshots.op.is_some() {
            if self.snapshots.hangs {
                return;
            }
            ctx.timers.set_once(Timer::SnapshotAnswer, ctx.now + SNAPSHOT_DEADLINE);
        } else if self.snapshots.started {
            let every = self.rotation.snapshot_interval().unwrap_or(SNAPSHOT_INTERVAL);
            let last = self.snapshots.last.unwrap_or(ctx.now);
            let at = last + every;
            let at = self.stranded.next_after(last).map_or(at, |end| end.min(at));
            if ctx.timers.get(&Timer::Snapshot).is_none_or(|planned| at < planned) {
                ctx.timers.set(Timer::Snapshot, at);
            }
        }
    }

    pub(super) fn snapshot_hangs(&mut self, ctx: &mut Context<'_>) {
        self.snapshots.hangs = true;
        ctx.log(LogRecord {
            level: Level::Warning,
            tid: None,
            ctrl: None,
            text: "reading /sys/class/nvme hangs; changes of controllers are not noticed until it returns".to_owned(),
        });
    }
}
