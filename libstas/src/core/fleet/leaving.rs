//! From held to gone: the check for storage in use, the disconnect, and what stays.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Fleet, Kind, Report, Timer};
use crate::core::controller::{Leaving, Life, Parting};
use crate::core::effect::{HostEffect, Level, Usage};
use crate::core::{CtrlRef, OpId, Time, reuse};
use crate::nvme::Tid;

/// A check that takes longer than this is told.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);
/// Why everything is kept under `disconnect-scope=no-disconnect`.
const NOTHING_IS_DISCONNECTED: &str = "disconnect-scope=no-disconnect";
/// Why a connection of the firmware is kept.
const BOOTED_FROM: &str = "the firmware's boot table (NBFT) names it, this host may run from it";
/// A disconnect that the kernel refused is tried again after this long.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// What others have to do with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Others {
    /// Nothing.
    None,
    /// One of them holds it, too.
    HoldIt,
    /// It serves these, and they have none that is as good: none at all, one that is on its way out, or one that is
    /// down while this one is live.
    NeedIt(BTreeSet<Tid>),
}

impl Fleet {
    /// Takes a member that is no longer wanted one step further.
    pub(super) fn part(&mut self, now: Time, tid: &Tid, reports: &mut Vec<Report>, out: &mut Vec<HostEffect>) {
        let Some(member) = self.members.get(tid) else { return };
        let Some((how, leaving)) = member.leaving.clone() else { return };
        match member.life {
            // The late answer decides: a controller that is made until then is disconnected.
            Life::Connecting(_) => {}
            Life::Held { ctrl, .. } => self.part_held(now, tid, ctrl, how, &leaving, reports, out),
            _ if !self.inventory.has_looked() => {}
            _ => match self.serving(tid) {
                Some(ctrl) => {
                    if let Some(member) = self.members.get_mut(tid) {
                        member.hold(now, ctrl);
                        // What was found out of storage in use was of another connection.
                        member.leaving = Some((how, Leaving::Asked));
                        self.stirred.insert(tid.clone());
                    }
                }
                None => self.forget(tid, reports, out),
            },
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn part_held(
        &mut self,
        now: Time,
        tid: &Tid,
        ctrl: CtrlRef,
        how: Parting,
        leaving: &Leaving,
        reports: &mut Vec<Report>,
        out: &mut Vec<HostEffect>,
    ) {
        if self.disconnecting.values().any(|going| *going == ctrl) {
            return;
        }
        match self.others(tid, ctrl) {
            Others::HoldIt => {
                self.forget(tid, reports, out);
                return;
            }
            Others::NeedIt(who) => {
                self.stay_for(tid, who);
                return;
            }
            Others::None => {}
        }
        match (how, leaving) {
            (Parting::Keep | Parting::KeepForBoot, Leaving::Kept) => {}
            (Parting::Keep, _) => self.keep(tid, ctrl, Parting::Keep, NOTHING_IS_DISCONNECTED.to_owned(), out),
            (Parting::KeepForBoot, _) => self.keep(tid, ctrl, how, BOOTED_FROM.to_owned(), out),
            (_, Leaving::Refused(until)) if *until > now => self.timers.set(Timer::Part(tid.clone()), *until),
            (Parting::SpareInUse, Leaving::Asked | Leaving::Refused(_)) if self.kind == Kind::Io => {
                self.check_use(now, tid, ctrl, out);
            }
            (Parting::SpareInUse, Leaving::Checking(_) | Leaving::Kept) => {}
            _ => self.disconnect(ctrl, out),
        }
    }

    /// What the other members that are wanted have to do with that connection. One that has a live connection of its
    /// own needs no other.
    fn others(&self, tid: &Tid, ctrl: CtrlRef) -> Others {
        let kernel = self.inventory.get(ctrl);
        let discovery = self.kind == Kind::Discovery;
        let serves = |other: &Tid| {
            kernel.is_some_and(|kernel| {
                reuse::may_be_taken_over(kernel, discovery) && reuse::serves(kernel, other, &self.links)
            })
        };
        let live = |ctrl| self.inventory.get(ctrl).is_some_and(super::KernelController::is_live);
        let mut need_it = BTreeSet::new();
        for (other, member) in self.members.iter().filter(|(other, member)| *other != tid && member.is_wanted()) {
            let has_own = |own: CtrlRef| {
                let going = self.disconnecting.values().any(|going| *going == own);
                !going && (live(own) || !live(ctrl))
            };
            match member.ctrl() {
                Some(held) if held == ctrl => return Others::HoldIt,
                Some(own) if has_own(own) => {}
                _ if serves(other) => drop(need_it.insert(other.clone())),
                _ => {}
            }
        }
        if need_it.is_empty() { Others::None } else { Others::NeedIt(need_it) }
    }

    /// It goes when those have a connection of their own that is live, and stays if they take it over.
    fn stay_for(&mut self, tid: &Tid, others: BTreeSet<Tid>) {
        if let Some(member) = self.members.get_mut(tid) {
            member.kept = Some("another controller that it serves, too, has no live connection of its own".to_owned());
        }
        let open = |tid: &Tid| self.members.get(tid).is_some_and(|member| member.ctrl().is_none());
        let open: Vec<Tid> = others.into_iter().filter(open).collect();
        self.stirred.extend(open);
    }

    /// A connection has come, come up, or gone: those that are parted with may have waited for that.
    pub(super) fn stir_leaving(&mut self) {
        let leaving = self.members.iter().filter(|(_, member)| !member.is_wanted() && member.ctrl().is_some());
        self.stirred.extend(leaving.map(|(tid, _)| tid.clone()));
    }

    /// One check at a time: two paths of one namespace that go together must not each take the other for the one
    /// that stays.
    fn check_use(&mut self, now: Time, tid: &Tid, ctrl: CtrlRef, out: &mut Vec<HostEffect>) {
        if self.checking.is_some() {
            return;
        }
        let op = self.ops.issue();
        if let Some(member) = self.members.get_mut(tid) {
            member.leaving = Some((Parting::SpareInUse, Leaving::Checking(op)));
        }
        self.checking = Some(op);
        self.timers.set(Timer::UseAnswer, now + CHECK_DEADLINE);
        let leaving = self.disconnecting.values().copied().collect();
        out.push(HostEffect::CheckUse { op, ctrl, leaving });
    }

    pub(super) fn use_checked(&mut self, op: OpId, usage: &Usage, out: &mut Vec<HostEffect>) {
        if self.checking == Some(op) {
            self.checking = None;
            self.timers.cancel(&Timer::UseAnswer);
        }
        let found = self.members.iter().find_map(|(tid, member)| match &member.leaving {
            Some((_, Leaving::Checking(checking))) if *checking == op => Some((tid.clone(), member.ctrl())),
            _ => None,
        });
        if let Some((tid, Some(ctrl))) = found {
            match usage {
                // Somebody may have come to want it meanwhile.
                Usage::Free if self.others(&tid, ctrl) != Others::None => {
                    if let Some(member) = self.members.get_mut(&tid) {
                        member.leaving = Some((Parting::SpareInUse, Leaving::Asked));
                    }
                    self.stirred.insert(tid);
                }
                Usage::Free => self.disconnect(ctrl, out),
                Usage::LastPath(what) => self.keep(&tid, ctrl, Parting::SpareInUse, what.clone(), out),
                Usage::Unknown(why) => {
                    let what = format!("whether its storage is in use cannot be found out ({why})");
                    self.keep(&tid, ctrl, Parting::SpareInUse, what, out);
                }
            }
        }
        self.stir_unchecked();
    }

    fn keep(&mut self, tid: &Tid, ctrl: CtrlRef, how: Parting, what: String, out: &mut Vec<HostEffect>) {
        let Some(member) = self.members.get_mut(tid) else { return };
        member.leaving = Some((how, Leaving::Kept));
        member.kept = Some(what.clone());
        if member.is_news(&what) {
            let text = match how {
                Parting::SpareInUse => format!(
                    "{ctrl} is no longer wanted, but is kept: {what}; it goes when that is no longer so, by exclude=, \
                     or with in-use=disconnect"
                ),
                _ => format!("{ctrl} is no longer wanted, but is kept: {what}"),
            };
            Self::tell(Level::Warning, tid, Some(ctrl), text, out);
        }
        out.push(HostEffect::Save);
    }

    /// Those that wait for their check.
    fn stir_unchecked(&mut self) {
        let waiting = self.members.iter().filter(|(_, member)| {
            matches!(member.leaving, Some((Parting::SpareInUse, Leaving::Asked | Leaving::Refused(_))))
        });
        self.stirred.extend(waiting.map(|(tid, _)| tid.clone()));
    }

    /// What was kept is checked again with each full look: it may be free by now, or have another path.
    pub(super) fn check_kept_again(&mut self) {
        for (tid, member) in &mut self.members {
            if let Some((Parting::SpareInUse, leaving @ Leaving::Kept)) = &mut member.leaving {
                *leaving = Leaving::Asked;
                self.stirred.insert(tid.clone());
            }
        }
    }

    pub(super) fn use_check_hangs(&mut self, out: &mut Vec<HostEffect>) {
        let checking = self.checking;
        let hanging = self
            .members
            .iter()
            .find(|(_, member)| matches!((&member.leaving, checking), (Some((_, Leaving::Checking(op))), Some(now)) if *op == now));
        if let Some((tid, member)) = hanging {
            let text = "looking for storage in use hangs; nothing is disconnected until it returns".to_owned();
            Self::tell(Level::Warning, tid, member.ctrl(), text, out);
        }
    }

    /// Has a controller disconnected that is no member's.
    pub fn dismiss(&mut self, ctrl: CtrlRef, out: &mut Vec<HostEffect>) {
        if self.holders(ctrl).is_empty() {
            self.disconnect(ctrl, out);
        }
    }

    /// Has the kernel disconnect exactly that controller.
    pub(super) fn disconnect(&mut self, ctrl: CtrlRef, out: &mut Vec<HostEffect>) {
        if self.disconnecting.values().any(|going| *going == ctrl) {
            return;
        }
        let op = self.ops.issue();
        self.disconnecting.insert(op, ctrl);
        for member in self.members.values_mut().filter(|member| member.ctrl() == Some(ctrl)) {
            member.dismissed = true;
            member.kept = None;
        }
        out.push(HostEffect::Disconnect { op, ctrl });
    }

    pub(super) fn disconnected(
        &mut self,
        now: Time,
        op: OpId,
        result: &Result<(), String>,
        reports: &mut Vec<Report>,
        out: &mut Vec<HostEffect>,
    ) {
        let Some(ctrl) = self.disconnecting.remove(&op) else { return };
        self.request_look(out);
        let Err(reason) = result else {
            // It is gone, whether sysfs can be read or not: nobody must go on taking it for a connection.
            if self.inventory.lose(ctrl) {
                for tid in self.holding(ctrl) {
                    self.connection_gone(now, &tid, ctrl, reports, out);
                }
            }
            return;
        };
        for (tid, member) in &mut self.members {
            if member.ctrl() != Some(ctrl) {
                continue;
            }
            member.dismissed = false;
            member.resting = None;
            let Some((_, leaving)) = &mut member.leaving else { continue };
            *leaving = Leaving::Refused(now + REFUSED_WAIT);
            self.stirred.insert(tid.clone());
            if member.is_news(reason) {
                let text =
                    format!("{ctrl} could not be disconnected: {reason}; tried again in {} s", REFUSED_WAIT.as_secs());
                Self::tell(Level::Warning, tid, Some(ctrl), text, out);
            }
        }
    }

    /// A member that was parted with is one no longer.
    fn forget(&mut self, tid: &Tid, reports: &mut Vec<Report>, out: &mut Vec<HostEffect>) {
        self.lane.forget(tid);
        self.encrypted.remove(tid);
        self.timers.cancel(&Timer::Retry(tid.clone()));
        self.timers.cancel(&Timer::Part(tid.clone()));
        if let Some(member) = self.members.remove(tid) {
            let text = match member.ctrl() {
                Some(ctrl) => format!("no longer wanted; {ctrl} stays, for it serves another one, too"),
                None => "no longer wanted, and not connected any more".to_owned(),
            };
            Self::tell(Level::Info, tid, None, text, out);
        }
        reports.push(Report::Left(tid.clone()));
        out.push(HostEffect::Save);
    }
}
