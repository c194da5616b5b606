//! Members as D-Bus and the tools show them.

use std::collections::BTreeMap;
use std::fmt;

use super::Fleet;
use crate::counters::{self, Counters};
use crate::kernel::KernelController;
use crate::member::{ConnState, Member, RemovalPolicy};
use crate::ownership::Ownership;
use crate::trust::Trust;
use crate::{CtrlRef, Time};
use stas_nvme::{Parameters, Tid};

/// The state of a member in one word: the D-Bus key `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The kernel has a live connection.
    Connected,
    /// The kernel has the connection, but it is not live: the kernel is reconnecting it.
    Reconnecting,
    /// The kernel is connecting it.
    Connecting,
    /// In the connect queue: being probed, or waiting for its turn.
    Queued,
    /// Waiting for its next attempt.
    Waiting,
    /// Given up: not retried until something changes.
    GivenUp,
    /// No longer wanted, but kept; [`MemberView::reason`] says why.
    Kept,
    /// No longer wanted, being disconnected.
    Removing,
    /// Configured, but left out by the configuration itself: `exclude=` or `ip-family=`. Not a member of the fleet.
    Excluded,
    /// Configured by a host name without a known address. Not a member of the fleet.
    Unresolved,
}

impl Status {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::Connected,
        Self::Reconnecting,
        Self::Connecting,
        Self::Queued,
        Self::Waiting,
        Self::GivenUp,
        Self::Kept,
        Self::Removing,
        Self::Excluded,
        Self::Unresolved,
    ];

    /// True for a controller that is to be connected.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        !matches!(self, Self::Kept | Self::Removing | Self::Excluded)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Connecting => "connecting",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::GivenUp => "given up",
            Self::Kept => "kept",
            Self::Removing => "leaving",
            Self::Excluded => "excluded",
            Self::Unresolved => "unresolved",
        })
    }
}

/// A member, as shown to users.
#[derive(Clone, Debug)]
pub struct MemberView<'a> {
    /// The controller, with its address.
    pub tid: &'a Tid,
    /// Its state, in one word.
    pub status: Status,
    /// Its kernel connection; `None` if it has none.
    pub kernel: Option<&'a KernelController>,
    /// The owner of its connection; `None` without a connection.
    pub ownership: Option<Ownership>,
    /// Why it is not connected, or why it is kept.
    pub reason: Option<String>,
    /// When the next attempt is made; `None` if none is planned.
    pub next_attempt: Option<Time>,
    /// Attempts since the last success.
    pub attempts: u32,
    /// The parameters that it is wanted with.
    pub parameters: &'a Parameters,
    /// True when changed parameters apply at its next connect.
    pub pending: bool,
    /// How far the sources that want it are trusted; `None` if it is being removed.
    pub trust: Option<Trust>,
    /// If several members share one device: the most trusted member; `None` for that member itself.
    pub alias_of: Option<&'a Tid>,
}

impl<'a> MemberView<'a> {
    /// A controller that is not a member, without a connection.
    #[must_use]
    pub fn outside(tid: &'a Tid, status: Status, parameters: &'a Parameters) -> Self {
        Self {
            tid,
            status,
            kernel: None,
            ownership: None,
            reason: None,
            next_attempt: None,
            attempts: 0,
            parameters,
            pending: false,
            trust: None,
            alias_of: None,
        }
    }
}

/// The state of a listed controller, without details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The controller.
    pub tid: &'a Tid,
    /// Its state.
    pub status: Status,
    /// Its kernel connection; `None` if it has none.
    pub ctrl: Option<CtrlRef>,
    /// True if only announced discovery controllers list it, or listed it last.
    pub announced_only: bool,
}

/// What a member holds, and whether it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Its kernel connection.
    pub ctrl: Option<CtrlRef>,
    /// How it is removed, and why; `None` while it is wanted.
    pub removal: Option<(RemovalPolicy, String)>,
    /// Why it is kept although no source wants it.
    pub kept: Option<String>,
}

impl Fleet {
    /// The outlook of each member.
    #[must_use]
    pub fn outlooks(&self) -> BTreeMap<Tid, Outlook> {
        let outlook = |member: &Member| Outlook {
            ctrl: member.ctrl(),
            removal: member
                .removal
                .as_ref()
                .map(|(how, _)| (*how, member.cause.as_ref().map(|cause| cause.text.clone()).unwrap_or_default())),
            kept: member.kept.as_ref().map(ToString::to_string),
        };
        self.members.iter().map(|(tid, member)| (tid.clone(), outlook(member))).collect()
    }

    /// What `ls` and D-Bus show of a controller; `None` if it is not a member.
    #[must_use]
    pub fn view(&self, tid: &Tid) -> Option<MemberView<'_>> {
        let owner = self.members.get(tid)?.ctrl().and_then(|ctrl| self.holders(ctrl).into_iter().next());
        self.view_with(tid, owner)
    }

    fn view_with<'a>(&'a self, tid: &Tid, owner: Option<&'a Tid>) -> Option<MemberView<'a>> {
        let (tid, member) = self.members.get_key_value(tid)?;
        let (status, kernel) = self.status_of(tid, member);
        let reason = match status {
            Status::Kept => member.kept.as_ref().map(ToString::to_string),
            Status::Removing | Status::Connected => None,
            Status::Reconnecting => Some("the kernel is reconnecting it".to_owned()),
            _ => member.reason.as_ref().map(ToString::to_string),
        };
        let next_attempt = match member.state {
            ConnState::Waiting(until) => Some(until),
            _ => None,
        };
        let alias_of = owner.filter(|owner| *owner != tid);
        Some(MemberView {
            tid,
            status,
            kernel,
            ownership: kernel.map(|kernel| self.ownership(kernel.ctrl)),
            reason,
            next_attempt,
            attempts: member.attempts,
            parameters: &member.want.parameters,
            trust: member.is_wanted().then_some(member.want.trust),
            pending: member.connected_with.as_ref().is_some_and(|with| *with != member.want.parameters),
            alias_of,
        })
    }

    /// What the fleet has done since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The kind of reason why a member is not connected; `None` if there is nothing to report.
    #[must_use]
    pub fn reason_kind(&self, tid: &Tid) -> Option<String> {
        self.members.get(tid)?.reason.as_ref().map(counters::reason)
    }

    /// Why a member is being removed; `None` while it is wanted.
    #[must_use]
    pub fn removal_cause(&self, tid: &Tid) -> Option<&str> {
        let member = self.members.get(tid).filter(|member| !member.is_wanted())?;
        member.cause.as_ref().map(|cause| cause.text.as_str())
    }

    /// The state and the kernel connection of a member.
    fn status_of<'a>(&'a self, tid: &Tid, member: &Member) -> (Status, Option<&'a KernelController>) {
        let kernel = member.ctrl().and_then(|ctrl| self.inventory.get(ctrl));
        let status = match (&member.removal, &member.state) {
            (Some(_), _) if member.kept.is_some() => Status::Kept,
            (Some(_), _) => Status::Removing,
            (None, ConnState::Held { .. }) if kernel.is_some_and(KernelController::is_live) => Status::Connected,
            (None, ConnState::Held { .. }) => Status::Reconnecting,
            (None, ConnState::Connecting(_)) => Status::Connecting,
            (None, ConnState::Queued | ConnState::Idle) => Status::Queued,
            (None, ConnState::Waiting(_)) => Status::Waiting,
            (None, ConnState::GivenUp) if self.obstacle(tid).is_some() => Status::Waiting,
            (None, ConnState::GivenUp) => Status::GivenUp,
        };
        (status, kernel)
    }

    /// The state and the device of each member, in the order of their TIDs.
    pub fn statuses(&self) -> impl Iterator<Item = Listed<'_>> {
        self.members.iter().map(|(tid, member)| {
            let (status, kernel) = self.status_of(tid, member);
            let announced_only = member.is_announced_only();
            Listed { tid, status, ctrl: kernel.map(|kernel| kernel.ctrl), announced_only }
        })
    }

    /// All members, the most trusted first.
    #[must_use]
    pub fn views(&self) -> Vec<MemberView<'_>> {
        let mut tids: Vec<_> = self.members.iter().map(|(tid, member)| (member.want.trust, tid)).collect();
        tids.sort();
        let mut owners: BTreeMap<CtrlRef, &Tid> = BTreeMap::new();
        for (_, tid) in &tids {
            if let Some(ctrl) = self.members.get(*tid).and_then(Member::ctrl) {
                owners.entry(ctrl).or_insert(tid);
            }
        }
        let owner = |tid: &Tid| owners.get(&self.members.get(tid)?.ctrl()?).copied();
        tids.into_iter().filter_map(|(_, tid)| self.view_with(tid, owner(tid))).collect()
    }
}
