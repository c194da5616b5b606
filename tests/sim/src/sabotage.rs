//! Known bugs of this kind of software, put back one at a time: between a core and the world, where the core cannot
//! tell. None of this is in the daemons. The simulated world is worth its name only if it catches each.

use libstas::conf::{FamilyOrder, Persistence, StacConf, StafConf};
use libstas::core::browse::Heard;
use libstas::core::{ConnectError, ConnectOutcome, CtrlRef, HostEvent, UeventKind, Usage};
use libstas::nvme::log_page::LogPage;
use libstas::nvme::{Tid, Transport};
use stacd::connector::{DcPage, RemovalReason, RemovedDc, StafdView};

use crate::air::who_is;
use crate::bus::ToldAll;
use crate::judging::served;
use crate::kernel::Controller;
use crate::names::{Iface, Target, Who};
use crate::plan::Fault;
use crate::world::{Happening, World};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A log page that cannot be read counts as an empty one.
    NoAnswerIsEmpty,
    /// A stafd that does not answer counts as one that has given everything up.
    SilentStafdIsEmpty,
    /// The answer to an earlier question is taken for the answer to the present one.
    EarlierAnswer,
    /// A controller is gone when its remove event says so, and not before.
    RemoveEventIsTheTruth,
    /// A recycled device number is the controller that bore it before.
    RecycledNumber,
    /// A controller that nobody wants any more is forgotten while its connect is pending.
    PendingForgotten,
    /// Of two that share a device each disconnects it.
    TwoAdoptions,
    /// An exclusion does not reach a connection that exists.
    ExclusionUnreached,
    /// Storage in use is pulled.
    UseIgnored,
    /// Where it cannot be found out whether storage is in use, it is not.
    UnknownUseIsFree,
    /// What a rebooted target does not list yet is gone.
    NoSettling,
    /// The event that a log page has changed gets lost, and nobody is told.
    ChangeUnheard,
    /// Nobody is told that events were lost.
    OverrunUntold,
    /// A failed connect is never reported: the lane stays taken.
    LaneJammed,
    /// A goodbye disconnects at once.
    GoodbyeDisconnects,
    /// The persistence is counted from the goodbye, though the discovery controller stays connected.
    PersistenceFromGoodbye,
    /// When stafd restarts, the persistence begins anew.
    AbsenceUnsaved,
    /// A goodbye gets lost on its way to the core.
    GoodbyeUnheard,
    /// Who has said goodbye is never heard again.
    ReturnUnheard,
    /// A discovery controller that ages out takes all that it named, as one that the administrator gives up does.
    AgedOutIsDecided,
    /// A boot connection is treated as any other.
    BootIsNothingSpecial,
    /// What the boot tables said is known no longer than the daemon runs.
    TablesForgotten,
    /// A page that stacd has read anew is the one that stafd had.
    RefreshFromMemory,
    /// A removal also ends another connection to the same subsystem that another program made.
    OthersPulled,
    /// An exclusion by interface is not read.
    IfaceExclusionUnread,
    /// ip-family is not read.
    FamilyUnread,
    /// disconnect-trtypes is not read: every transport is audited.
    TrtypesUnread,
    /// Changed parameters are not read on reload: what was given up stays so.
    ParametersUnread,
    /// A disconnect that hangs is never reported.
    HangingDisconnectLost,
    /// An entry of which no controller can be made counts as absent.
    BlurredIsAbsent,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::NoAnswerIsEmpty,
        Self::SilentStafdIsEmpty,
        Self::EarlierAnswer,
        Self::RemoveEventIsTheTruth,
        Self::RecycledNumber,
        Self::PendingForgotten,
        Self::TwoAdoptions,
        Self::ExclusionUnreached,
        Self::UseIgnored,
        Self::UnknownUseIsFree,
        Self::NoSettling,
        Self::ChangeUnheard,
        Self::OverrunUntold,
        Self::LaneJammed,
        Self::GoodbyeDisconnects,
        Self::PersistenceFromGoodbye,
        Self::AbsenceUnsaved,
        Self::GoodbyeUnheard,
        Self::ReturnUnheard,
        Self::AgedOutIsDecided,
        Self::BootIsNothingSpecial,
        Self::TablesForgotten,
        Self::RefreshFromMemory,
        Self::FamilyUnread,
        Self::TrtypesUnread,
        Self::ParametersUnread,
        Self::HangingDisconnectLost,
        Self::BlurredIsAbsent,
    ];

    /// What brings it to light sooner than chance does.
    #[must_use]
    pub fn provoked_by(self) -> Option<Fault> {
        match self {
            Self::NoAnswerIsEmpty | Self::RefreshFromMemory => Some(Fault::ReadsFail),
            Self::TablesForgotten => Some(Fault::TablesUnreadable),
            Self::SilentStafdIsEmpty => Some(Fault::BusFails),
            Self::EarlierAnswer => Some(Fault::ReadsHang),
            Self::RemoveEventIsTheTruth => Some(Fault::EventsLost(Who::Stacd)),
            Self::PendingForgotten => Some(Fault::LaneSlow),
            Self::UnknownUseIsFree => Some(Fault::UseUnknown),
            Self::OverrunUntold => Some(Fault::EventsOverrun(Who::Stafd)),
            Self::HangingDisconnectLost => Some(Fault::DisconnectHangs),
            _ => None,
        }
    }
}

impl World {
    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What becomes of an event of the host on its way to a core; `None`: it gets lost.
    pub(crate) fn spoil(&mut self, who: Who, event: HostEvent) -> Option<HostEvent> {
        match (self.bug?, event) {
            (Bug::ChangeUnheard, HostEvent::Uevent(event)) if matches!(event.kind, UeventKind::Aen(_)) => {
                // Every other one.
                (event.seqnum % 2 == 0).then_some(HostEvent::Uevent(event))
            }
            (Bug::OverrunUntold, HostEvent::Overrun) => None,
            (Bug::UseIgnored, HostEvent::UseChecked { op, .. }) => {
                Some(HostEvent::UseChecked { op, usage: Usage::Free })
            }
            (Bug::UnknownUseIsFree, HostEvent::UseChecked { op, usage: Usage::Unknown(_) }) => {
                Some(HostEvent::UseChecked { op, usage: Usage::Free })
            }
            (Bug::LaneJammed, HostEvent::Connected { report, .. })
                if matches!(report.outcome, ConnectOutcome::Failed(_)) =>
            {
                None
            }
            (Bug::PendingForgotten, HostEvent::Connected { op, mut report }) => {
                if let ConnectOutcome::Made(ctrl) = report.outcome
                    && !self.is_wanted_by(who, ctrl)
                {
                    let error = ConnectError::Kernel { errno: 0, reason: "nobody asked for it".into() };
                    report.outcome = ConnectOutcome::Failed(error);
                    report.look.controllers.retain(|known| known.ctrl != ctrl);
                }
                Some(HostEvent::Connected { op, report })
            }
            (_, event) => Some(event),
        }
    }

    fn is_wanted_by(&self, who: Who, ctrl: CtrlRef) -> bool {
        use libstas::core::fleet::Status;
        let Some(known) = self.kernel.get(ctrl) else { return true };
        served(known).iter().any(|tid| {
            let status = match who {
                Who::Stafd => self.staf.core.as_ref().and_then(|core| Some(core.controller(tid)?.member.status)),
                Who::Stacd => self.stac.core.as_ref().and_then(|core| Some(core.controller(tid)?.member.status)),
            };
            status.is_some_and(|status| status != Status::Leaving && status != Status::Kept)
        })
    }

    /// What becomes of what stafd hears.
    pub(crate) fn spoil_heard(&mut self, mut heard: Vec<Heard>) -> Vec<Heard> {
        let gone = heard.iter().filter_map(|heard| match heard {
            Heard::Gone(service) => who_is(service),
            _ => None,
        });
        let gone: Vec<Target> = gone.collect();
        match self.bug {
            Some(Bug::GoodbyeDisconnects) => gone.into_iter().for_each(|target| self.pull(target)),
            Some(Bug::PersistenceFromGoodbye) => {
                if let Persistence::For(span) = self.staf_file.persistence {
                    gone.into_iter().for_each(|target| self.after(span, Happening::Pull(target)));
                }
            }
            Some(Bug::GoodbyeUnheard) => heard.retain(|heard| !matches!(heard, Heard::Gone(_))),
            Some(Bug::ReturnUnheard) => {
                self.said_goodbye.extend(gone);
                let returns = |service: &String| who_is(service).is_some_and(|who| self.said_goodbye.contains(&who));
                heard.retain(|heard| !matches!(heard, Heard::Announced { service, .. } if returns(service)));
            }
            _ => {}
        }
        heard
    }

    /// stafd disconnects a discovery controller that is not announced any more.
    pub(crate) fn pull(&mut self, target: Target) {
        let is_its = |known: &&Controller| known.target == target && known.subsystem.is_none() && known.is_live();
        let ctrl = self.kernel.controllers.iter().find(is_its).map(|known| known.shown.ctrl);
        let now = self.time();
        let ways = [None, Some(Iface::Eth0), Some(Iface::Eth1)];
        let is_free = |via| !self.judge.is_meant_otherwise(&target.dc(via), now);
        let alone = self.air.audible(target).is_empty() && ways.into_iter().all(is_free);
        if let Some(ctrl) = ctrl.filter(|_| alone) {
            self.judge_disconnect(Who::Stafd, ctrl);
            self.after(std::time::Duration::ZERO, Happening::Delete(None, ctrl));
        }
    }

    /// What stafd finds in its file when it starts.
    pub(crate) fn spoil_saved_by_stafd(&self, saved: &mut stafd::finder::Saved) {
        if self.has_bug(Bug::AbsenceUnsaved) {
            saved.announced.iter_mut().for_each(|saved| saved.absent = None);
        }
        if self.has_bug(Bug::TablesForgotten) {
            saved.boot.clear();
        }
    }

    /// What stacd finds in its file when it starts.
    pub(crate) fn spoil_saved_by_stacd(&self, saved: &mut stacd::connector::Saved) {
        if self.has_bug(Bug::TablesForgotten) {
            saved.boot.clear();
        }
    }

    /// A page that could not be read.
    pub(crate) fn spoil_page(&self, result: Result<LogPage, String>) -> Result<LogPage, String> {
        match result {
            Err(_) if self.has_bug(Bug::NoAnswerIsEmpty) => Ok(LogPage::default()),
            other => other,
        }
    }

    /// A stafd that does not answer.
    pub(crate) fn spoil_all(&self, result: Result<ToldAll, String>) -> Result<ToldAll, String> {
        match result {
            Err(_) if self.has_bug(Bug::SilentStafdIsEmpty) => {
                let known = self.judge.stac.pages.keys();
                let removed =
                    known.map(|dc| RemovedDc { dc: dc.clone(), reason: RemovalReason::Configuration }).collect();
                Ok(ToldAll { pages: Vec::new(), removed, is_complete: true })
            }
            Ok(mut told) if self.has_bug(Bug::AgedOutIsDecided) => {
                told.removed.iter_mut().for_each(|removed| removed.reason = RemovalReason::Configuration);
                Ok(told)
            }
            other => other,
        }
    }

    /// A page on its way to stacd.
    pub(crate) fn spoil_entries(&self, mut page: DcPage) -> DcPage {
        if self.has_bug(Bug::BlurredIsAbsent) {
            page.entries.retain(|entry| entry.controller(&page.dc).is_ok());
        }
        page
    }

    /// All pages on their way to stacd.
    pub(crate) fn spoil_view(&self, mut view: StafdView) -> StafdView {
        view.dcs = view.dcs.into_iter().map(|page| self.spoil_entries(page)).collect();
        view
    }

    /// The number is all that tells one controller from another.
    pub(crate) fn mask(&self, ctrl: CtrlRef) -> CtrlRef {
        if self.has_bug(Bug::RecycledNumber) { CtrlRef { birth: 0, ..ctrl } } else { ctrl }
    }

    /// What stafd makes of its file.
    pub(crate) fn spoil_conf_of_stafd(&self, mut conf: StafConf) -> StafConf {
        if self.has_bug(Bug::IfaceExclusionUnread) {
            conf.exclusions.retain(|exclusion| exclusion.host_iface.is_none());
        }
        if self.has_bug(Bug::FamilyUnread) {
            conf.ip_family = FamilyOrder::Both;
        }
        if self.has_bug(Bug::ParametersUnread)
            && let Some(before) = self.staf.core.as_ref().and_then(stafd::finder::Finder::settings)
        {
            conf.parameters = before.conf.parameters.clone();
        }
        conf
    }

    /// What stacd makes of its file.
    pub(crate) fn spoil_conf_of_stacd(&self, mut conf: StacConf) -> StacConf {
        if self.has_bug(Bug::IfaceExclusionUnread) {
            conf.exclusions.retain(|exclusion| exclusion.host_iface.is_none());
        }
        if self.has_bug(Bug::FamilyUnread) {
            conf.ip_family = FamilyOrder::Both;
        }
        if self.has_bug(Bug::TrtypesUnread) {
            conf.disconnect_trtypes = [Transport::Tcp].into();
        }
        if self.has_bug(Bug::ParametersUnread)
            && let Some(before) = self.stac.core.as_ref().and_then(stacd::connector::Connector::settings)
        {
            conf.parameters = before.conf.parameters.clone();
        }
        conf
    }

    /// A daemon disconnects a controller: with [`Bug::OthersPulled`] another connection to the same subsystem goes, too.
    pub(crate) fn spoil_disconnect(&mut self, who: Who, ctrl: CtrlRef) {
        if !self.has_bug(Bug::OthersPulled) {
            return;
        }
        let place = self.kernel.get(ctrl).map(|known| (known.target, known.subsystem));
        let is_other = |known: &&Controller| {
            Some((known.target, known.subsystem)) == place && known.shown.ctrl != ctrl && known.is_foreign_to(who)
        };
        let other = self.kernel.controllers.iter().find(is_other).map(|known| known.shown.ctrl);
        if let Some(other) = other {
            self.judge_disconnect(who, other);
            self.after(std::time::Duration::ZERO, Happening::Delete(None, other));
        }
    }

    /// Whoever bears that number now.
    pub(crate) fn unmask(&self, ctrl: CtrlRef) -> CtrlRef {
        if !self.has_bug(Bug::RecycledNumber) {
            return ctrl;
        }
        let bearer = self.kernel.controllers.iter().find(|known| known.shown.ctrl.device == ctrl.device);
        bearer.map_or(ctrl, |known| known.shown.ctrl)
    }

    /// A member has left a device to another one that shares it.
    pub(crate) fn spoil_sharing(&mut self, who: Who, tid: Option<&Tid>, text: &str) {
        if !self.has_bug(Bug::TwoAdoptions) || !text.contains("stays connected, another controller uses it") {
            return;
        }
        let shared = self.kernel.controllers.iter().find(|known| tid.is_some_and(|tid| served(known).contains(tid)));
        if let Some(ctrl) = shared.map(|known| known.shown.ctrl) {
            self.judge_disconnect(who, ctrl);
            self.after(std::time::Duration::ZERO, Happening::Delete(None, ctrl));
        }
    }
}
