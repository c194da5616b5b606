use super::*;
use crate::CtrlState;

fn ownerships() -> [Ownership; 4] {
    [Ownership::Ours, Ownership::Unowned, Ownership::Other("discoverd".into()), Ownership::Unknown]
}

const SCOPES: [Scope; 3] = [Scope::Nothing, Scope::Ours, Scope::Audited];

const WHYS: [Why; 9] = [
    Why::Removed,
    Why::Barred,
    Why::Excluded { matched: true },
    Why::Excluded { matched: false },
    Why::Unclaimed { proved: true },
    Why::Unclaimed { proved: false },
    Why::Duplicate,
    Why::PollOver,
    Why::Stopping,
];

/// The cells of the table in doc/ownership.md in which a connection is disconnected. All others keep it.
fn disconnects(ownership: &Ownership, scope: Scope, why: Why) -> bool {
    match ownership {
        Ownership::Ours => match why {
            Why::Removed | Why::Barred => scope != Scope::Nothing,
            Why::Excluded { matched } => matched,
            Why::Unclaimed { proved } => proved && scope == Scope::Audited,
            Why::Duplicate | Why::PollOver | Why::Stopping => true,
        },
        Ownership::Unowned => {
            scope == Scope::Audited && matches!(why, Why::Excluded { matched: true } | Why::Unclaimed { proved: true })
        }
        Ownership::Other(_) | Ownership::Unknown => false,
    }
}

#[test]
fn every_cell_of_the_table() {
    for ownership in ownerships() {
        for scope in SCOPES {
            for why in WHYS {
                let expected = disconnects(&ownership, scope, why);
                let decided = decide(&ownership, scope, why, false);
                assert_eq!(decided == Decision::Disconnect, expected, "{ownership:?} {scope:?} {why:?}: {decided:?}");
            }
        }
    }
}

#[test]
fn what_a_boot_table_names_is_disconnected_only_as_a_duplicate_or_a_poll() {
    for ownership in ownerships() {
        for scope in SCOPES {
            for why in WHYS {
                let decided = decide(&ownership, scope, why, true);
                let may = matches!(why, Why::Duplicate | Why::PollOver);
                assert!(may || decided != Decision::Disconnect, "{ownership:?} {scope:?} {why:?}");
            }
        }
    }
}

#[test]
fn what_is_unknown_is_never_disconnected_and_asked_again_later() {
    for scope in SCOPES {
        for why in WHYS {
            let Decision::Keep(reason) = decide(&Ownership::Unknown, scope, why, false) else {
                panic!("{scope:?} {why:?}")
            };
            assert!(reason.may_change());
        }
    }
}

#[test]
fn the_registry_overrides_what_this_daemon_knows() {
    let other = Owner::Other("discoverd".into());
    for recorded in [None, Some(Gained::Connected), Some(Gained::Adopted), Some(Gained::Unknown)] {
        assert_eq!(Ownership::of(&other, recorded), Ownership::Other("discoverd".into()));
        assert_eq!(Ownership::of(&Owner::Unknown, recorded), Ownership::Unknown);
        assert_eq!(Ownership::of(&Owner::Stas(Gained::Adopted), recorded), Ownership::Ours);
        assert_eq!(Ownership::of(&Owner::Stas(Gained::Unknown), recorded), Ownership::Unknown);
    }
    for gained in [Gained::Connected, Gained::Adopted] {
        assert_eq!(Ownership::of(&Owner::None, Some(gained)), Ownership::Ours, "the registry cannot be written");
    }
    assert_eq!(Ownership::of(&Owner::None, Some(Gained::Unknown)), Ownership::Unknown, "saved by a later version");
    assert_eq!(Ownership::of(&Owner::None, None), Ownership::Unowned);
}

#[test]
fn only_what_has_no_owner_is_claimed_and_not_for_what_is_only_announced() {
    for ownership in ownerships() {
        assert_eq!(ownership.may_be_claimed(Trust::ConfiguredDc), ownership == Ownership::Unowned, "{ownership:?}");
        assert!(!ownership.may_be_claimed(Trust::AnnouncedDc), "{ownership:?}");
    }
}

#[test]
fn the_audit_names_io_controllers_of_its_transports_and_no_others() {
    let rules = |scope| Rules { scope, trtypes: [Transport::Rdma].into(), ..Rules::default() };
    let kernel = |transport, cntrltype, state| KernelController {
        cntrltype,
        state,
        subsysnqn: "nqn.s".into(),
        hostnqn: "nqn.h".into(),
        ..KernelController::unread(CtrlRef { device: 0, inode: 1 }, transport)
    };
    let live = |transport, cntrltype| kernel(transport, cntrltype, CtrlState::Live);
    let audit = rules(DisconnectScope::AllMatchingTrtypes);
    assert_eq!(audit.scope_of(&live(Transport::Rdma, CtrlType::Io)), Scope::Audited);
    for other in [
        live(Transport::Tcp, CtrlType::Io),
        live(Transport::Rdma, CtrlType::Admin),
        live(Transport::Rdma, CtrlType::Discovery),
        kernel(Transport::Rdma, CtrlType::Unknown, CtrlState::Connecting),
        // Before 5.18 the kernel reports no type: this may be a discovery controller with an NQN of its own.
        live(Transport::Rdma, CtrlType::Unknown),
    ] {
        assert_eq!(audit.scope_of(&other), Scope::Ours, "{other:?}");
    }
    let io = live(Transport::Rdma, CtrlType::Io);
    assert_eq!(rules(DisconnectScope::OnlyStas).scope_of(&io), Scope::Ours);
    assert_eq!(rules(DisconnectScope::Nothing).scope_of(&io), Scope::Nothing);
}

#[test]
fn saved_parameters_have_no_secrets_and_take_those_of_the_configuration() {
    let secret = stas_nvme::Secret::new("DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:");
    let connected = Parameters { kato: Some(7), dhchap_secret: Some(secret), ..Parameters::default() };
    let saved = SavedParameters::of(&connected);
    assert!(!serde_json::to_string(&saved).unwrap().contains("DHHC"));
    assert_eq!(saved.with_secrets_of(&connected), connected);
    let changed = Parameters { kato: Some(8), ..connected };
    assert_ne!(saved.with_secrets_of(&changed), changed);
}
