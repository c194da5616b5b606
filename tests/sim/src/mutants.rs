//! Known bugs of this kind of software, reintroduced one at a time between a core and the world, so that the core
//! itself is unchanged. The simulated world must detect each of them.

use libstas::conf::{FamilyOrder, Persistence, StacConf, StafConf};
use libstas::core::browse::BrowseEvent;
use libstas::core::daemon_core::DaemonCore as _;
use libstas::core::{AdminError, ConnectError, ConnectOutcome, CtrlRef, HostEvent, UeventKind, Usage};
use libstas::nvme::log_page::{Entry, LogPage};
use libstas::nvme::{Tid, Transport};
use stacd::connector::{DcPage, FetchError, RemovalReason, RemovedDc, StafdView};

use crate::bus::PublishedView;
use crate::checks::{is_damaged_referral, served};
use crate::kernel::{Deletion, SimController};
use crate::mdns::target_of;
use crate::names::{Daemon, Iface, Subsystem, Target};
use crate::plan::Fault;
use crate::world::{QueuedEvent, World};

/// Declares the bugs, and the list of all of them: none can be left out.
macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $bug:ident,)*) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $doc])* $bug,)*
        }

        impl Bug {
            /// All bugs, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];
        }
    };
}

bugs! {
    /// An unreadable log page counts as an empty one.
    NoAnswerIsEmpty,
    /// A stafd that does not answer counts as one that has removed everything.
    SilentStafdIsEmpty,
    /// The answer to an earlier request is taken for the answer to the present one.
    EarlierAnswer,
    /// A controller exists until its remove event, even if that is lost.
    RemoveEventIsTheTruth,
    /// A reused instance number is taken for the earlier controller.
    RecycledNumber,
    /// A controller that is no longer wanted is forgotten while its connect is pending.
    PendingForgotten,
    /// Two controllers share a device, and each disconnects it.
    TwoAdoptions,
    /// An exclusion does not apply to an existing connection.
    ExclusionUnreached,
    /// Storage in use is disconnected.
    UseIgnored,
    /// Storage counts as unused when the check fails.
    UnknownUseIsFree,
    /// What a rebooted target does not list yet counts as gone.
    NoSettling,
    /// The event of a changed log page is lost, without an overrun.
    ChangeUnheard,
    /// Events are lost, and the overrun is not reported.
    OverrunUntold,
    /// A failed connect is never reported: the connect path stays blocked.
    ConnectPathBlocked,
    /// A goodbye disconnects at once.
    GoodbyeDisconnects,
    /// The persistence is counted from the goodbye, although the discovery controller is still connected.
    PersistenceFromGoodbye,
    /// A restart of stafd restarts the persistence.
    AbsenceUnsaved,
    /// A goodbye does not reach the core.
    GoodbyeUnheard,
    /// A service that has sent a goodbye is never received again.
    ReturnUnheard,
    /// A discovery controller that ages out removes everything that it listed, like one that the administrator removes.
    AgedOutIsDecided,
    /// A boot connection is treated like any other.
    BootIsNothingSpecial,
    /// The content of the boot tables is not saved across restarts.
    TablesForgotten,
    /// When stacd requests a page to be read again, it gets the old one.
    RefreshFromMemory,
    /// A removal also disconnects another program's connection to the same subsystem.
    OthersDisconnected,
    /// An exclusion by interface is ignored.
    IfaceExclusionUnread,
    /// ip-family is ignored.
    FamilyUnread,
    /// disconnect-trtypes is ignored: every transport is audited.
    TrtypesUnread,
    /// Changed parameters are ignored on reload: controllers that were given up are not retried.
    ParametersUnread,
    /// A disconnect that hangs is never reported.
    HangingDisconnectLost,
    /// An entry that yields no controller counts as absent.
    UnclearIsAbsent,
    /// The owner of a connection is not read again right before its disconnect.
    OwnerNotReadAgain,
    /// Storage in use is not searched for again right before a disconnect.
    UseNotCheckedAgain,
    /// Storage from which the host runs counts as any other.
    SystemUnseen,
    /// Storage from which the host runs is not searched for again right before a disconnect without a check for use.
    SystemNotCheckedAgain,
    /// An entry with an unusable NQN protects no controller at its address.
    NoNqnProtectsNothing,
    /// A damaged referral counts as absent.
    DamagedReferralIsAbsent,
    /// The host ID of /etc/nvme/hostid is used, although the kernel has another one for the host NQN.
    HostIdNotCompared,
    /// ignore-iface is ignored on reload.
    IgnoreIfaceUnread,
    /// A DH-HMAC-CHAP key that the target accepts is not written to a lost connection.
    KeyNotWritten,
    /// stafd does not signal that a page has ceased to be a proof.
    StalePageNotSignalled,
}

impl Bug {
    /// A fault that reveals the bug sooner than chance.
    #[must_use]
    pub fn provoked_by(self) -> Option<Fault> {
        match self {
            Self::NoAnswerIsEmpty | Self::RefreshFromMemory => Some(Fault::ReadsFail),
            Self::TablesForgotten => Some(Fault::TablesUnreadable),
            Self::SilentStafdIsEmpty => Some(Fault::BusFails),
            Self::EarlierAnswer => Some(Fault::ReadsHang),
            Self::RemoveEventIsTheTruth => Some(Fault::EventsLost(Daemon::Stacd)),
            Self::PendingForgotten => Some(Fault::ConnectPathSlow),
            Self::UnknownUseIsFree => Some(Fault::UseUnknown),
            Self::OverrunUntold => Some(Fault::EventsOverrun(Daemon::Stafd)),
            Self::HangingDisconnectLost => Some(Fault::DisconnectHangs),
            Self::UseNotCheckedAgain | Self::SystemNotCheckedAgain => Some(Fault::DisconnectHangs),
            Self::OwnerNotReadAgain => Some(Fault::SnapshotsSlow(Daemon::Stacd)),
            _ => None,
        }
    }
}

impl World {
    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Changes an event of the host on its way to a core; `None`: it is lost.
    pub(crate) fn mutate_host_event(&mut self, daemon: Daemon, event: HostEvent) -> Option<HostEvent> {
        match (self.bug?, event) {
            (Bug::ChangeUnheard, HostEvent::Uevent(event)) if matches!(event.kind, UeventKind::Aen(_)) => {
                // Every other event.
                (event.seqnum % 2 == 0).then_some(HostEvent::Uevent(event))
            }
            (Bug::OverrunUntold, HostEvent::Overrun) => None,
            (Bug::UseIgnored, HostEvent::UseChecked { op, .. }) => {
                Some(HostEvent::UseChecked { op, usage: Usage::Free })
            }
            (Bug::UnknownUseIsFree, HostEvent::UseChecked { op, usage: Usage::Unknown(_) }) => {
                Some(HostEvent::UseChecked { op, usage: Usage::Free })
            }
            (Bug::ConnectPathBlocked, HostEvent::Connected { report, .. })
                if matches!(report.outcome, ConnectOutcome::Failed(_)) =>
            {
                None
            }
            (Bug::PendingForgotten, HostEvent::Connected { op, mut report }) => {
                if let ConnectOutcome::Made(ctrl) = report.outcome
                    && !self.is_wanted_by(daemon, ctrl)
                {
                    let error = ConnectError::Kernel { errno: 0, explanation: "no daemon requested it".into() };
                    report.outcome = ConnectOutcome::Failed(error);
                    report.snapshot.controllers.retain(|known| known.ctrl != ctrl);
                }
                Some(HostEvent::Connected { op, report })
            }
            (_, event) => Some(event),
        }
    }

    fn is_wanted_by(&self, daemon: Daemon, ctrl: CtrlRef) -> bool {
        use libstas::core::fleet::Status;
        let Some(known) = self.kernel.get(ctrl) else { return true };
        served(known).iter().any(|tid| {
            let status = match daemon {
                Daemon::Stafd => self.staf.core.as_ref().and_then(|core| Some(core.controller(tid)?.member.status)),
                Daemon::Stacd => self.stac.core.as_ref().and_then(|core| Some(core.controller(tid)?.member.status)),
            };
            status.is_some_and(|status| status != Status::Removing && status != Status::Kept)
        })
    }

    /// Changes an event of the browser on its way to stafd.
    pub(crate) fn mutate_browse_events(&mut self, mut heard: Vec<BrowseEvent>) -> Vec<BrowseEvent> {
        let gone = heard.iter().filter_map(|heard| match heard {
            BrowseEvent::Gone(service) => target_of(service),
            _ => None,
        });
        let gone: Vec<Target> = gone.collect();
        match self.bug {
            Some(Bug::GoodbyeDisconnects) => gone.into_iter().for_each(|target| self.disconnect_unannounced(target)),
            Some(Bug::PersistenceFromGoodbye) => {
                if let Persistence::For(span) = self.staf_file.persistence {
                    gone.into_iter().for_each(|target| self.after(span, QueuedEvent::DisconnectUnannounced(target)));
                }
            }
            Some(Bug::GoodbyeUnheard) => heard.retain(|heard| !matches!(heard, BrowseEvent::Gone(_))),
            Some(Bug::ReturnUnheard) => {
                self.said_goodbye.extend(gone);
                let returns =
                    |service: &String| target_of(service).is_some_and(|daemon| self.said_goodbye.contains(&daemon));
                heard.retain(|heard| !matches!(heard, BrowseEvent::Announced { service, .. } if returns(service)));
            }
            _ => {}
        }
        heard
    }

    /// stafd disconnects a discovery controller that is no longer announced.
    pub(crate) fn disconnect_unannounced(&mut self, target: Target) {
        let is_its = |known: &&SimController| known.target == target && known.subsystem.is_none() && known.is_live();
        let ctrl = self.kernel.controllers.iter().find(is_its).map(|known| known.shown.ctrl);
        let now = self.time();
        let ways = [None, Some(Iface::Eth0), Some(Iface::Eth1)];
        let is_free = |via| !self.oracle.has_another_source(&target.dc(via), now);
        let alone = self.mdns_net.receivable(target).is_empty() && ways.into_iter().all(is_free);
        if let Some(ctrl) = ctrl.filter(|_| alone) {
            self.check_disconnect(Daemon::Stafd, ctrl);
            self.after(std::time::Duration::ZERO, QueuedEvent::Delete(Deletion::by_others(ctrl)));
        }
    }

    /// Changes the saved state that stafd reads at start.
    pub(crate) fn mutate_saved_by_stafd(&self, saved: &mut stafd::finder::Saved) {
        if self.has_bug(Bug::AbsenceUnsaved) {
            saved.announced.iter_mut().for_each(|saved| saved.absent = None);
        }
        if self.has_bug(Bug::TablesForgotten) {
            saved.boot.clear();
        }
    }

    /// Changes the saved state that stacd reads at start.
    pub(crate) fn mutate_saved_by_stacd(&self, saved: &mut stacd::connector::Saved) {
        if self.has_bug(Bug::TablesForgotten) {
            saved.boot.clear();
        }
    }

    /// Changes the result of a log page read.
    pub(crate) fn mutate_page(&self, result: Result<LogPage, AdminError>) -> Result<LogPage, AdminError> {
        match result {
            Err(_) if self.has_bug(Bug::NoAnswerIsEmpty) => Ok(LogPage::default()),
            Ok(mut page) if self.has_bug(Bug::DamagedReferralIsAbsent) => {
                page.entries.retain(|entry| !is_damaged_referral(entry));
                page.dropped.retain(|malformed| malformed.unclear.trsvcid != "8009");
                Ok(page)
            }
            other => other,
        }
    }

    /// Changes the answer to a full fetch.
    pub(crate) fn mutate_all_pages(
        &self,
        result: Result<PublishedView, FetchError>,
    ) -> Result<PublishedView, FetchError> {
        match result {
            Err(_) if self.has_bug(Bug::SilentStafdIsEmpty) => {
                let known = self.oracle.stac.pages.keys();
                let removed =
                    known.map(|dc| RemovedDc { dc: dc.clone(), reason: RemovalReason::Configuration }).collect();
                Ok(PublishedView { pages: Vec::new(), removed, is_complete: true, left_out: Vec::new() })
            }
            Ok(mut view) if self.has_bug(Bug::AgedOutIsDecided) => {
                view.removed.iter_mut().for_each(|removed| removed.reason = RemovalReason::Configuration);
                Ok(view)
            }
            other => other,
        }
    }

    /// Changes a page on its way to stacd.
    pub(crate) fn mutate_entries(&self, mut page: DcPage) -> DcPage {
        let is_clear = |entry: &Entry| entry.controller(&page.dc).is_ok();
        if self.has_bug(Bug::UnclearIsAbsent) {
            page.entries.retain(is_clear);
            page.unclear.clear();
        }
        if self.has_bug(Bug::NoNqnProtectsNothing) {
            page.entries.retain(|entry| is_clear(entry) || Subsystem::of(&entry.subnqn).is_some());
            page.unclear.retain(|entry| !entry.subnqn.is_empty());
        }
        page
    }

    /// Changes all pages on their way to stacd.
    pub(crate) fn mutate_view(&self, mut view: StafdView) -> StafdView {
        view.dcs = view.dcs.into_iter().map(|page| self.mutate_entries(page)).collect();
        view
    }

    /// With [`Bug::RecycledNumber`], hides everything but the instance number.
    pub(crate) fn mask(&self, ctrl: CtrlRef) -> CtrlRef {
        if self.has_bug(Bug::RecycledNumber) { CtrlRef { inode: 0, ..ctrl } } else { ctrl }
    }

    /// Changes the settings that stafd reads.
    pub(crate) fn mutate_conf_of_stafd(&self, mut conf: StafConf) -> StafConf {
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

    /// Changes the settings that stacd reads.
    pub(crate) fn mutate_conf_of_stacd(&self, mut conf: StacConf) -> StacConf {
        if self.has_bug(Bug::IfaceExclusionUnread) {
            conf.exclusions.retain(|exclusion| exclusion.host_iface.is_none());
        }
        if self.has_bug(Bug::FamilyUnread) {
            conf.ip_family = FamilyOrder::Both;
        }
        if self.has_bug(Bug::IgnoreIfaceUnread) {
            conf.ignore_iface = false;
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

    /// With [`Bug::OthersDisconnected`], a disconnect also ends another connection to the same subsystem.
    pub(crate) fn mutate_disconnect(&mut self, daemon: Daemon, ctrl: CtrlRef) {
        if !self.has_bug(Bug::OthersDisconnected) {
            return;
        }
        let place = self.kernel.get(ctrl).map(|known| (known.target, known.subsystem));
        let is_other = |known: &&SimController| {
            Some((known.target, known.subsystem)) == place && known.shown.ctrl != ctrl && known.is_foreign_to(daemon)
        };
        let other = self.kernel.controllers.iter().find(is_other).map(|known| known.shown.ctrl);
        if let Some(other) = other {
            self.check_disconnect(daemon, other);
            self.after(std::time::Duration::ZERO, QueuedEvent::Delete(Deletion::by_others(other)));
        }
    }

    /// The present controller with that instance number.
    pub(crate) fn unmask(&self, ctrl: CtrlRef) -> CtrlRef {
        if !self.has_bug(Bug::RecycledNumber) {
            return ctrl;
        }
        let bearer = self.kernel.controllers.iter().find(|known| known.shown.ctrl.device == ctrl.device);
        bearer.map_or(ctrl, |known| known.shown.ctrl)
    }

    /// With [`Bug::TwoAdoptions`], a member that left its device to another one disconnects it.
    pub(crate) fn mutate_sharing(&mut self, daemon: Daemon, tid: Option<&Tid>, text: &str) {
        if !self.has_bug(Bug::TwoAdoptions) || !text.contains("stays connected, another controller uses it") {
            return;
        }
        let shared = self.kernel.controllers.iter().find(|known| tid.is_some_and(|tid| served(known).contains(tid)));
        if let Some(ctrl) = shared.map(|known| known.shown.ctrl) {
            self.check_disconnect(daemon, ctrl);
            self.after(std::time::Duration::ZERO, QueuedEvent::Delete(Deletion::by_others(ctrl)));
        }
    }
}
