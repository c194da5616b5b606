//! Describes a member of the fleet as a dictionary for the bus: an element of the answer to `list_controllers`.
//!
//! Keys and words are those of nvme-stas. Additional keys are `state`, `reason`, `next attempt`, `dhchap`, `pending`,
//! `trust`, `owner`, `since` and `alias of`. Secrets are not shown: `dhchap` only says that a secret is set.

use std::time::Duration;

use jiff::Timestamp;

use super::history::{HistoryEntry, StateChange};
use stas_bus::python::python_bool;
use stas_bus::{ControllerId, Dict, key};
use stas_core::fleet::{MemberView, Status};
use stas_core::ownership::Ownership;
use stas_core::plan::Planned;
use stas_core::{CtrlRef, Time};
use stas_nvme::{HostIdentity, Tid, shown};

/// Device name of a controller that is not connected.
pub const NO_DEVICE: &str = "nvme?";

/// The strings that identify a member, and its device.
#[must_use]
pub fn basic(member: &MemberView<'_>) -> Dict {
    let mut dict = ControllerId::of(member.tid).to_dict();
    dict.insert(key::DEVICE.to_owned(), device(member));
    dict
}

/// Device name of a member, or [`NO_DEVICE`].
#[must_use]
pub fn device(member: &MemberView<'_>) -> String {
    member.kernel.map_or_else(|| NO_DEVICE.to_owned(), |kernel| kernel.ctrl.to_string())
}

/// All data of a member that are common to both daemons.
#[must_use]
pub fn detailed(member: &MemberView<'_>, now: Time, identity: Option<&HostIdentity>) -> Dict {
    let mut dict = basic(member);
    let mut put = |key: &str, value: String| dict.insert(key.to_owned(), value);
    let wait = member.next_attempt.map(|at| at.since(now));

    let kernel = member.kernel;
    put("hostid", kernel.map(|kernel| kernel.hostid.clone()).unwrap_or_default());
    put("hostnqn", kernel.map(|kernel| kernel.hostnqn.clone()).unwrap_or_default());
    put("model", kernel.map(|kernel| shown(&kernel.model).into_owned()).unwrap_or_default());
    put("serial", kernel.map(|kernel| shown(&kernel.serial).into_owned()).unwrap_or_default());
    if let Some(owner) = member.ownership.as_ref().and_then(owner) {
        put(key::OWNER, owner);
    }
    put("dctype", kernel.map(|kernel| kernel.dctype.as_str().to_owned()).unwrap_or_default());
    put("cntrltype", kernel.map(|kernel| kernel.cntrltype.as_str().to_owned()).unwrap_or_default());

    put("connected", python_bool(member.status == Status::Connected).to_owned());
    put("connect attempts", member.attempts.to_string());
    put("retry connect timer", wait.map_or_else(|| "off".to_owned(), seconds));
    put("state", member.status.to_string());
    if let Some(reason) = &member.reason {
        put(key::REASON, shown(reason).into_owned());
    }
    if let Some(next) = next_attempt(member.status, wait) {
        put("next attempt", next);
    }
    if let Some(dhchap) = dhchap(member, identity) {
        put("dhchap", dhchap.to_owned());
    }
    if let Some(trust) = member.trust {
        put(key::TRUST, trust.to_string());
    }
    if member.pending {
        put("pending", "changed parameters apply at its next connect".to_owned());
    }
    if let Some(owner) = member.alias_of {
        put("alias of", shown(&owner.to_string()).into_owned());
    }
    dict
}

/// The owner of a connection. `None` if it has none.
fn owner(ownership: &Ownership) -> Option<String> {
    match ownership {
        Ownership::Unowned => None,
        Ownership::Ours => Some("stas".to_owned()),
        Ownership::Other(name) => Some(shown(name).into_owned()),
        Ownership::Unknown => Some("unknown".to_owned()),
    }
}

/// Adds since when a controller is in its state.
pub fn since(dict: &mut Dict, since: Option<Timestamp>) {
    if let Some(since) = since {
        dict.insert(key::SINCE.to_owned(), utc(since));
    }
}

/// A time in UTC with whole seconds.
fn utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What a reload would do with a controller.
#[must_use]
pub fn planned(planned: &Planned) -> Dict {
    let mut dict = ControllerId::of(&planned.tid).to_dict();
    let device = planned.ctrl.map_or_else(|| NO_DEVICE.to_owned(), |ctrl| ctrl.to_string());
    dict.insert(key::DEVICE.to_owned(), device);
    dict.insert(key::CHANGE.to_owned(), planned.change.to_string());
    dict.insert(key::REASON.to_owned(), shown(&planned.why).into_owned());
    dict
}

/// The controller of a signal: its identity, its device, and its state.
#[must_use]
pub fn changed(change: &StateChange) -> Dict {
    remembered(&(change.tid.clone(), change.ctrl, change.new))
}

/// A controller with its last device and its state. `None` as the state: it is no longer listed.
#[must_use]
pub fn remembered((tid, ctrl, status): &(Tid, Option<CtrlRef>, Option<Status>)) -> Dict {
    let mut dict = ControllerId::of(tid).to_dict();
    let device = ctrl.map_or_else(|| NO_DEVICE.to_owned(), |ctrl| ctrl.to_string());
    dict.insert(key::DEVICE.to_owned(), device);
    dict.insert("state".to_owned(), status.map_or_else(|| "removed".to_owned(), |status| status.to_string()));
    dict
}

/// An event of a controller's history.
#[must_use]
pub fn event(line: &HistoryEntry) -> Dict {
    Dict::from([(key::TIME.to_owned(), utc(line.at)), (key::EVENT.to_owned(), shown(&line.text).into_owned())])
}

/// Marks a controller as kept: it stays connected only because removals are suspended, for this reason.
pub fn mark_kept(dict: &mut Dict, reason: &str) {
    dict.insert("state".to_owned(), Status::Kept.to_string());
    dict.insert(key::REASON.to_owned(), shown(reason).into_owned());
}

/// Formats a time span for display, in whole seconds: `71h 59m 3s`.
#[must_use]
pub fn span(span: Duration) -> String {
    jiff::SignedDuration::try_from(Duration::from_secs(span.as_secs()))
        .map_or_else(|_| seconds(span), |d| format!("{d:#}"))
}

/// Counts members for display: `3 discovery controllers, 2 connected`.
#[must_use]
pub fn summary<'a>(members: impl IntoIterator<Item = MemberView<'a>>, what: &str, refused: usize) -> String {
    let (count, connected) = members.into_iter().fold((0, 0), |(count, connected), member| {
        (count + 1, connected + usize::from(member.status == Status::Connected))
    });
    let more = if refused == 0 { String::new() } else { format!("; {refused} more refused because of a limit") };
    match count {
        0 => format!("no {what}s{more}"),
        1 => format!("1 {what}, {connected} connected{more}"),
        _ => format!("{count} {what}s, {connected} connected{more}"),
    }
}

fn next_attempt(status: Status, wait: Option<Duration>) -> Option<String> {
    let planned = wait.map(|wait| format!("in {}", seconds(wait)));
    match status {
        // No time is planned if its configuration or its log page forbids to connect it.
        Status::Waiting => planned.or_else(|| Some("not before its configuration or its log page changes".to_owned())),
        Status::Unresolved => planned.or_else(|| Some("soon".to_owned())),
        Status::Queued | Status::Connecting => Some("now".to_owned()),
        Status::Excluded => Some("not before its configuration changes".to_owned()),
        Status::GivenUp => {
            Some("not before its configuration or its log page changes, a reload, or a network change".to_owned())
        }
        Status::Connected | Status::Reconnecting | Status::Kept | Status::Removing => None,
    }
}

fn seconds(wait: Duration) -> String {
    format!("{} s", wait.as_millis().div_ceil(1000))
}

/// Configured authentication: `host`, or `host+ctrl` for both directions. `None`: no secret is set.
fn dhchap(member: &MemberView<'_>, identity: Option<&HostIdentity>) -> Option<&'static str> {
    let default = identity.and_then(|identity| identity.key.as_ref());
    let host = member.parameters.dhchap_secret.as_ref().or(default).is_some();
    let ctrl = member.parameters.dhchap_ctrl_secret.is_some();
    host.then_some(if ctrl { "host+ctrl" } else { "host" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use stas_core::{CtrlState, CtrlType, Dctype, KernelController};
    use stas_nvme::{Parameters, Secret, TidParts, Transport};

    fn tid() -> Tid {
        Tid::new(TidParts {
            transport: Transport::Tcp,
            traddr: "192.0.2.1".into(),
            trsvcid: "8009".into(),
            subsysnqn: "nqn.x".into(),
            host_traddr: String::new(),
            host_iface: "eth0".into(),
            host_nqn: String::new(),
        })
    }

    fn kernel() -> KernelController {
        KernelController {
            traddr: "192.0.2.1".into(),
            trsvcid: "8009".into(),
            subsysnqn: "nqn.x".into(),
            hostnqn: "nqn.host".into(),
            hostid: "id".into(),
            cntrltype: CtrlType::Discovery,
            dctype: Dctype::Ddc,
            state: CtrlState::Live,
            model: "Linux".into(),
            serial: "1".into(),
            ..KernelController::unread(CtrlRef { device: 3, inode: 77 }, Transport::Tcp)
        }
    }

    #[test]
    fn a_connected_controller_has_every_key_of_nvme_stas() {
        let (tid, parameters, kernel) = (tid(), Parameters::default(), kernel());
        let view = MemberView { kernel: Some(&kernel), ..MemberView::outside(&tid, Status::Connected, &parameters) };
        let dict = detailed(&view, Time::default(), None);
        let expected = [
            ("cntrltype", "discovery"),
            ("connect attempts", "0"),
            ("connected", "True"),
            ("dctype", "ddc"),
            ("device", "nvme3"),
            ("host-iface", "eth0"),
            ("host-nqn", ""),
            ("host-traddr", ""),
            ("hostid", "id"),
            ("hostnqn", "nqn.host"),
            ("model", "Linux"),
            ("retry connect timer", "off"),
            ("serial", "1"),
            ("state", "connected"),
            ("subsysnqn", "nqn.x"),
            ("traddr", "192.0.2.1"),
            ("transport", "tcp"),
            ("trsvcid", "8009"),
        ];
        assert_eq!(dict, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(basic(&view).len(), 8);
    }

    #[test]
    fn what_is_not_connected_says_why_and_when_it_is_tried_again() {
        let (tid, parameters) = (tid(), Parameters::default());
        let view = MemberView {
            reason: Some("connection refused".to_owned()),
            next_attempt: Some(Time(Duration::from_millis(15_200))),
            attempts: 4,
            ..MemberView::outside(&tid, Status::Waiting, &parameters)
        };
        let dict = detailed(&view, Time(Duration::from_secs(10)), None);
        let value = |key: &str| dict.get(key).map(String::as_str);
        assert_eq!(value("device"), Some("nvme?"));
        assert_eq!(value("connected"), Some("False"));
        assert_eq!(value("reason"), Some("connection refused"));
        assert_eq!(value("next attempt"), Some("in 6 s"));
        assert_eq!(value("retry connect timer"), Some("6 s"));
        assert_eq!(value("connect attempts"), Some("4"));
    }

    #[test]
    fn a_text_about_a_controller_is_harmless_and_its_identity_is_exact() {
        let parts = TidParts { subsysnqn: "nqn.\u{202e}x".into(), ..tid().parts().clone() };
        let (tid, parameters) = (Tid::new(parts), Parameters::default());
        let kernel = KernelController { model: "m\u{202e}".into(), serial: "s\u{200b}".into(), ..kernel() };
        let view = MemberView {
            kernel: Some(&kernel),
            reason: Some("\u{202e}no".to_owned()),
            alias_of: Some(&tid),
            ..MemberView::outside(&tid, Status::Waiting, &parameters)
        };
        let mut dict = detailed(&view, Time::default(), None);
        assert_eq!(dict["reason"], "\\u{202e}no");
        assert_eq!((dict["model"].as_str(), dict["serial"].as_str()), ("m\\u{202e}", "s\\u{200b}"));
        assert!(dict["alias of"].contains("nqn.\\u{202e}x"), "{dict:?}");
        assert_eq!(dict["subsysnqn"], "nqn.\u{202e}x", "programs compare it");
        mark_kept(&mut dict, "kept\u{2066}");
        assert_eq!(dict["reason"], "kept\\u{2066}");
    }

    #[test]
    fn a_connection_says_who_owns_it_and_since_when_it_is_in_its_state() {
        let (tid, parameters) = (tid(), Parameters::default());
        let kernel = kernel();
        for (ownership, word) in [
            (Ownership::Unowned, None),
            (Ownership::Ours, Some("stas")),
            (Ownership::Other("discoverd\u{202e}".to_owned()), Some("discoverd\\u{202e}")),
            (Ownership::Unknown, Some("unknown")),
        ] {
            let (kernel, ownership) = (Some(&kernel), Some(ownership));
            let view = MemberView { kernel, ownership, ..MemberView::outside(&tid, Status::Connected, &parameters) };
            let mut dict = detailed(&view, Time::default(), None);
            assert_eq!(dict.get("owner").map(String::as_str), word);
            since(&mut dict, None);
            assert_eq!(dict.get("since"), None);
            since(&mut dict, Some(Timestamp::UNIX_EPOCH));
            assert_eq!(dict["since"], "1970-01-01T00:00:00Z");
        }
    }

    #[test]
    fn each_status_says_what_happens_next() {
        let (tid, parameters) = (tid(), Parameters::default());
        for (status, state, next) in [
            (Status::Connected, "connected", None),
            (Status::Reconnecting, "reconnecting", None),
            (Status::Connecting, "connecting", Some("now")),
            (Status::Queued, "queued", Some("now")),
            (Status::Waiting, "waiting", Some("not before its configuration or its log page changes")),
            (
                Status::GivenUp,
                "given up",
                Some("not before its configuration or its log page changes, a reload, or a network change"),
            ),
            (Status::Kept, "kept", None),
            (Status::Removing, "leaving", None),
            (Status::Excluded, "excluded", Some("not before its configuration changes")),
            (Status::Unresolved, "unresolved", Some("soon")),
        ] {
            let dict = detailed(&MemberView::outside(&tid, status, &parameters), Time::default(), None);
            assert_eq!(dict.get("state").unwrap(), state);
            assert_eq!(dict.get("next attempt").map(String::as_str), next, "{state}");
        }
    }

    #[test]
    fn what_waits_for_a_reconnect_or_shares_a_connection_says_so() {
        let (tid, parameters) = (tid(), Parameters::default());
        let owner = Tid::new(TidParts { subsysnqn: "nqn.owner".into(), ..tid.parts().clone() });
        let view = MemberView {
            pending: true,
            alias_of: Some(&owner),
            ..MemberView::outside(&tid, Status::Connected, &parameters)
        };
        let dict = detailed(&view, Time::default(), None);
        assert_eq!(dict.get("pending").unwrap(), "changed parameters apply at its next connect");
        assert!(dict.get("alias of").unwrap().contains("nqn.owner"), "{dict:?}");
    }

    #[test]
    fn a_controller_has_its_kinds_words() {
        for (kind, word) in [(CtrlType::Io, "io"), (CtrlType::Admin, "admin"), (CtrlType::Unknown, "")] {
            assert_eq!(kind.as_str(), word);
        }
        for (kind, word) in [(Dctype::None, "none"), (Dctype::Ddc, "ddc"), (Dctype::Cdc, "cdc")] {
            assert_eq!(kind.as_str(), word);
        }
    }

    #[test]
    fn secrets_are_said_to_be_there_and_not_shown() {
        let tid = tid();
        let secret = || Some(Secret::new("DHHC-1:00:hidden:"));
        let both = Parameters { dhchap_secret: secret(), dhchap_ctrl_secret: secret(), ..Parameters::default() };
        let dict = detailed(&MemberView::outside(&tid, Status::Queued, &both), Time::default(), None);
        assert_eq!(dict.get("dhchap").unwrap(), "host+ctrl");
        assert!(!format!("{dict:?}").contains("DHHC"), "{dict:?}");
        let identity = HostIdentity { key: secret(), ..HostIdentity::new("nqn.h", "i") };
        let none = Parameters::default();
        let dict = detailed(&MemberView::outside(&tid, Status::Queued, &none), Time::default(), Some(&identity));
        assert_eq!(dict.get("dhchap").unwrap(), "host");
        assert!(!format!("{dict:?}").contains("DHHC"), "{dict:?}");
    }

    #[test]
    fn the_summary_counts() {
        let (tid, parameters) = (tid(), Parameters::default());
        let of = |statuses: &[Status]| {
            summary(
                statuses.iter().map(|status| MemberView::outside(&tid, *status, &parameters)),
                "discovery controller",
                0,
            )
        };
        assert_eq!(of(&[]), "no discovery controllers");
        assert_eq!(of(&[Status::Connected]), "1 discovery controller, 1 connected");
        let three = [Status::Connected, Status::Waiting, Status::Connected];
        assert_eq!(of(&three), "3 discovery controllers, 2 connected");
        assert_eq!(summary([], "I/O controller", 7), "no I/O controllers; 7 more refused because of a limit");
    }
}
