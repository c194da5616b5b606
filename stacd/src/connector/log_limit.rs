//! Bounds the log lines that announced discovery controllers cause.
//!
//! A log page can list other I/O controllers each time it is read. If stacd logged what happens to all of them, the
//! journal would drop lines about trusted storage.

use libstas::core::line_budget::{LineBudgets, LineLimits};
use libstas::core::{CtrlRef, HostEffect, Time};
use libstas::nvme::Tid;

use super::{Connector, Effect};

/// The limits for log lines about announced discovery controllers and what only they list. Each discovery controller has
/// a budget of its own, and there is a limit for all of them together.
pub(super) const LINE_LIMITS: LineLimits = LineLimits { of_one: 512, common: 128, all: 2048 };

impl Connector {
    /// Limits the log lines about announced discovery controllers, and about I/O controllers that only these list, or
    /// listed last.
    pub(super) fn limit_lines(&mut self, now: Time, out: &mut [Effect]) {
        let mut lines = std::mem::replace(&mut self.lines, LineBudgets::new(LINE_LIMITS));
        for effect in out {
            let Effect::Host(HostEffect::Log(record, _)) = effect else { continue };
            let announced_dc = record.tid.as_ref().and_then(|tid| self.announced_dc_of(tid, record.ctrl)).cloned();
            if let Some(dc) = announced_dc {
                lines.admit(now, record, Some(&dc));
            }
        }
        self.lines = lines;
    }

    /// The announced discovery controller whose budget a line about `tid` uses: `tid` itself, or the one whose page lists
    /// it or listed it last. `None` for controllers that a more trusted source lists, and their connections.
    fn announced_dc_of<'a>(&'a self, tid: &'a Tid, ctrl: Option<CtrlRef>) -> Option<&'a Tid> {
        let fleet = &self.reconciler.fleet;
        if ctrl.is_some_and(|ctrl| fleet.was_used_for_trusted(ctrl)) {
            return None;
        }
        match fleet.last_want(tid) {
            Some(want) if want.trust.is_announced_only() => Some(want.listed_by.as_ref().unwrap_or(tid)),
            Some(_) => None,
            None => self.stafd.publishes_as_announced(tid).then_some(tid),
        }
    }
}
