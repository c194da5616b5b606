//! Predicts what a reload would do. A copy of the core takes the new configuration; the effects that it requests are
//! not executed.
//!
//! The copy runs until no removal waits for quiet sources or for a replacement any more. A second copy runs for the
//! same time without the new configuration. The differences between the two are the changes that the reload would make.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::daemon_core::{DaemonCore, Settings};
use super::effect::{HostEffect, HostEvent};
use super::fleet::{Fleet, Outlook};
use super::member::RemovalPolicy;
use super::{CtrlRef, ResolveError, Time};
use stas_nvme::Tid;

/// How long a copy runs: removals wait up to 5 s for quiet sources, and up to 10 s for a replacement.
const LENGTH: Duration = Duration::from_secs(16);
/// Maximum number of events of a copy.
const EVENTS: usize = 2_000;

/// The addresses of host names. A name that is missing cannot be resolved.
pub type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// What would happen to one controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is connected, or an existing connection is adopted for it.
    Connect,
    /// It is not connected, and is tried again at once.
    Retry,
    /// Its connection is disconnected.
    Disconnect,
    /// Its connection is disconnected, unless storage in use depends on it.
    DisconnectUnlessInUse,
    /// It is not connected, and is no longer tried.
    Drop,
    /// Its connection stays, and the daemon no longer manages it.
    Release,
    /// Its connection stays.
    Keep,
}

impl Change {
    /// The change in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Retry => "retry",
            Self::Disconnect => "disconnect",
            Self::DisconnectUnlessInUse => "disconnect unless in use",
            Self::Drop => "drop",
            Self::Release => "release",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What would happen to one controller, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The controller.
    pub tid: Tid,
    /// Its connection; `None` if it has none.
    pub ctrl: Option<CtrlRef>,
    /// What would happen.
    pub change: Change,
    /// Why: the source that lists it, or the cause of its removal.
    pub why: String,
}

/// The state of a copy after its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    members: BTreeMap<Tid, Outlook>,
    /// The last line that it would have logged about each controller.
    last_lines: BTreeMap<Tid, String>,
}

/// What a reload with this configuration would do. Empty before the first configuration. Does not change the core.
pub fn plan<C: DaemonCore>(core: &C, now: Time, conf: C::Conf, addresses: &Addresses) -> Vec<Planned> {
    let Some(settings) = core.settings() else { return Vec::new() };
    let configured = C::configured(Settings { conf, identity: settings.identity.clone() });
    let (_, before) = simulate(core.clone(), now, C::TICK, addresses);
    let (copy, after) = simulate(core.clone(), now, configured, addresses);
    compare(&before, &after, |tid| copy.listed_by(tid))
}

/// Passes `first` to a copy and runs it in simulated time. Only two kinds of requests are answered: look-ups, from
/// `addresses`, and snapshots, with the controllers that the copy knows.
fn simulate<C: DaemonCore>(mut copy: C, now: Time, first: C::Event, addresses: &Addresses) -> (C, Outcome) {
    let end = now + LENGTH;
    let (mut now, mut event, mut waiting, mut last_lines) = (now, first, Vec::new(), BTreeMap::new());
    for _ in 0..EVENTS {
        let mut effects = Vec::new();
        copy.handle(now, event, &mut effects);
        for request in effects.iter().filter_map(C::host_effect) {
            match request {
                HostEffect::Log(record, _) => {
                    if let Some(tid) = &record.tid {
                        last_lines.insert(tid.clone(), record.text.clone());
                    }
                }
                request => waiting.extend(answer(request, addresses, &copy.reconciler().fleet)),
            }
        }
        event = match waiting.pop() {
            Some(answer) => C::host_event(answer),
            None => match copy.deadline() {
                Some(at) if at <= end => {
                    now = now.max(at);
                    C::TICK
                }
                _ => break,
            },
        };
    }
    let members = copy.reconciler().fleet.outlooks();
    (copy, Outcome { members, last_lines })
}

fn answer(request: &HostEffect, addresses: &Addresses, fleet: &Fleet) -> Option<HostEvent> {
    match request {
        HostEffect::Resolve { op, name } => {
            let found = addresses.get(name).filter(|found| !found.is_empty()).cloned();
            Some(HostEvent::Resolved { op: *op, result: found.ok_or_else(|| ResolveError::NoAddress(name.clone())) })
        }
        HostEffect::TakeSnapshot(op) if fleet.has_snapshot() => {
            let mut snapshot = fleet.inventory().snapshot().clone();
            snapshot.order += 1;
            Some(HostEvent::SnapshotTaken { op: *op, result: Ok(snapshot) })
        }
        _ => None,
    }
}

/// What changes from `before` to `after`. `listed` says which source lists a controller afterwards, or why it is kept.
fn compare(before: &Outcome, after: &Outcome, listed: impl Fn(&Tid) -> String) -> Vec<Planned> {
    let tids: BTreeSet<&Tid> = before.members.keys().chain(after.members.keys()).collect();
    let planned = tids.into_iter().filter_map(|tid| {
        let (old, new) = (before.members.get(tid), after.members.get(tid));
        let ctrl = new.or(old).and_then(|outlook| outlook.ctrl);
        let (change, why) =
            change(old, new, || listed(tid), || after.last_lines.get(tid).cloned().unwrap_or_default())?;
        Some(Planned { tid: tid.clone(), ctrl, change, why })
    });
    planned.collect()
}

/// The change of one controller. `None`: the reload does not change a removal that is under way.
fn change(
    old: Option<&Outlook>,
    new: Option<&Outlook>,
    listed: impl Fn() -> String,
    last_line: impl Fn() -> String,
) -> Option<(Change, String)> {
    let is_wanted = |outlook: &&Outlook| outlook.removal.is_none();
    let Some(new) = new else {
        let old = old.filter(is_wanted)?;
        return Some((if old.ctrl.is_some() { Change::Release } else { Change::Drop }, last_line()));
    };
    let Some((how, cause)) = &new.removal else {
        let held = old.is_some_and(|old| old.ctrl.is_some() && old.ctrl == new.ctrl);
        return Some(match old.filter(is_wanted) {
            _ if held => (Change::Keep, listed()),
            Some(_) if new.ctrl.is_none() => (Change::Retry, listed()),
            _ => (Change::Connect, listed()),
        });
    };
    match (&new.kept, how) {
        (Some(kept), _) => Some((Change::Keep, kept.clone())),
        (None, _) if old.filter(is_wanted).is_none() => None,
        (None, _) if new.ctrl.is_none() => Some((Change::Drop, cause.clone())),
        (None, RemovalPolicy::SpareInUse) => Some((Change::DisconnectUnlessInUse, cause.clone())),
        (None, RemovalPolicy::Disconnect) => Some((Change::Disconnect, cause.clone())),
        (None, RemovalPolicy::Keep | RemovalPolicy::KeepForBoot) => Some((Change::Keep, cause.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTRL: CtrlRef = CtrlRef { device: 3, inode: 7 };

    fn wanted(ctrl: Option<CtrlRef>) -> Outlook {
        Outlook { ctrl, removal: None, kept: None }
    }

    fn removed(ctrl: Option<CtrlRef>, how: RemovalPolicy) -> Outlook {
        Outlook { removal: Some((how, "edited".into())), ..wanted(ctrl) }
    }

    #[test]
    fn each_difference_has_its_word() {
        let held = wanted(Some(CTRL));
        let open = wanted(None);
        let kept = Outlook { kept: Some("in use".into()), ..removed(Some(CTRL), RemovalPolicy::SpareInUse) };
        let disconnect = removed(Some(CTRL), RemovalPolicy::Disconnect);
        let spare = removed(Some(CTRL), RemovalPolicy::SpareInUse);
        for (old, new, expected) in [
            (None, Some(&open), Some((Change::Connect, "line"))),
            (None, Some(&held), Some((Change::Connect, "line"))),
            (Some(&open), Some(&open), Some((Change::Retry, "line"))),
            (Some(&open), Some(&held), Some((Change::Connect, "line"))),
            (Some(&held), Some(&held), Some((Change::Keep, "line"))),
            (Some(&disconnect), Some(&held), Some((Change::Keep, "line"))),
            (Some(&held), Some(&disconnect), Some((Change::Disconnect, "edited"))),
            (Some(&held), Some(&spare), Some((Change::DisconnectUnlessInUse, "edited"))),
            (Some(&held), Some(&kept), Some((Change::Keep, "in use"))),
            (Some(&open), Some(&removed(None, RemovalPolicy::Disconnect)), Some((Change::Drop, "edited"))),
            (Some(&disconnect), Some(&disconnect), None),
            (Some(&held), None, Some((Change::Release, "logged"))),
            (Some(&open), None, Some((Change::Drop, "logged"))),
            (Some(&disconnect), None, None),
        ] {
            let found = change(old, new, || "line".into(), || "logged".into());
            assert_eq!(found, expected.map(|(change, why)| (change, why.to_owned())), "{old:?} -> {new:?}");
        }
    }
}
