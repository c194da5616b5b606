//! Controllers that must not be connected, controllers that were given up, and the events that make both be tried
//! again.

use fake_host::{HOST, RENAMED};
use libstas::nvme::Secret;
use libstas::nvme::secret::WITHHELD;
use libstas::nvme::security::{Requirement, Tls};

use super::*;

fn want(parameters: Parameters) -> Want {
    Want { parameters, ..Want::default() }
}

fn trusted(trust: Trust) -> Want {
    Want { trust, ..Want::default() }
}

fn with_tls(tls: Tls) -> Want {
    want(Parameters { tls: Some(tls), ..Parameters::default() })
}

#[test]
fn what_must_be_encrypted_or_needs_an_unknown_secret_waits_with_the_reason_and_is_never_tried() {
    let secret = || Some(Secret::new(WITHHELD));
    for (parameters, reason) in [
        (with_tls(Tls::Required(Requirement::Configured)).parameters, "tls=true"),
        (with_tls(Tls::Required(Requirement::Listed)).parameters, "TLS is required"),
        (with_tls(Tls::Contradictory).parameters, "tls=false"),
        (Parameters { dhchap_secret: secret(), ..Parameters::default() }, "secret is not known"),
        (Parameters { dhchap_ctrl_secret: secret(), ..Parameters::default() }, "secret is not known"),
    ] {
        let mut scene = Scene::new();
        scene.want(&tid("a"), want(parameters));
        for _ in 0..10 {
            assert_eq!(scene.next(), None);
            scene.host.wait(60);
        }
        scene.retry_now(&tid("a"));
        assert_eq!(scene.next(), None);
        let view = scene.fleet().view(&tid("a")).unwrap();
        assert_eq!((view.status, view.next_attempt), (Status::Waiting, None));
        assert!(view.reason.as_ref().is_some_and(|told| told.contains(reason)), "{:?}", view.reason);
        scene.want(&tid("a"), Want::default());
        scene.next_connect();
    }
}

#[test]
fn without_a_usable_secret_of_the_host_only_what_has_its_own_secret_is_connected() {
    let key = |key: &str| HostIdentity { key: Some(Secret::new(key)), ..HostIdentity::new(HOST, "1") };
    let mut scene = Scene::new();
    scene.identify(key(WITHHELD));
    scene.want(&tid("a"), Want::default());
    assert_eq!((scene.next(), scene.status(&tid("a"))), (None, Status::Waiting));
    scene.identify(key("DHHC-1:y"));
    scene.host.send_snapshot();
    assert_eq!(scene.next_connect().1, tid("a"), "the file is mended");

    let mut scene = Scene::new();
    scene.identify(key(WITHHELD));
    let own = Parameters { dhchap_secret: Some(Secret::new("DHHC-1:x")), ..Parameters::default() };
    scene.want(&tid("a"), want(own));
    scene.next_connect();
}

#[test]
fn what_waits_for_its_turn_is_not_connected_unencrypted_when_it_turns_out_to_need_tls() {
    let mut scene = Scene::new();
    scene.want(&tid("first"), Want::default());
    scene.want(&tid("second"), Want::default());
    let (op, _) = scene.next_connect();
    scene.want(&tid("second"), with_tls(Tls::Required(Requirement::Listed)));
    scene.fail(op);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("second")), Status::Waiting);
}

#[test]
fn an_existing_connection_is_used_whatever_it_should_be() {
    let mut scene = Scene::new();
    scene.host.add(&tid("a"));
    scene.want(&tid("a"), with_tls(Tls::Required(Requirement::Listed)));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Connected);
}

/// A fleet that has adopted an encrypted connection and lost it.
fn encrypted_and_lost() -> Scene {
    let mut scene = Scene::new();
    let ctrl = scene.host.add(&tid("a"));
    scene.host.ctrl(ctrl).encrypted = Some(true);
    scene.want(&tid("a"), Want::default());
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Connected);
    scene.host.kernel.clear();
    scene
}

/// On kernels 6.7 to 6.11, a plain connection and an encrypted one that is down look alike: both have an empty tls_key.
#[test]
fn what_was_known_of_the_encryption_holds_until_the_connection_is_live() {
    for (known_at_last, before, is_made_again) in [
        (None, false, true),
        (None, true, false),
        (Some(false), false, true),
        (Some(false), true, true),
        (Some(true), false, false),
        (Some(true), true, false),
    ] {
        let mut scene = Scene::new();
        if before {
            scene.host.core.fleet.restore_encrypted([tid("a")].into());
        }
        let ctrl = scene.host.add(&tid("a"));
        scene.host.ctrl(ctrl).encrypted = None;
        scene.host.ctrl(ctrl).state = CtrlState::Connecting;
        scene.want(&tid("a"), Want::default());
        scene.host.send_snapshot();
        assert_eq!(scene.status(&tid("a")), Status::Reconnecting);
        scene.host.ctrl(ctrl).encrypted = known_at_last;
        scene.host.ctrl(ctrl).state = CtrlState::Live;
        scene.host.send_snapshot();
        assert_eq!(scene.status(&tid("a")), Status::Connected);
        scene.host.kernel.clear();
        scene.host.wait(60);
        let made = matches!(scene.next(), Some(HostEffect::Connect { .. }));
        assert_eq!(made, is_made_again, "{known_at_last:?}, encrypted before: {before}");
    }
}

#[test]
fn a_lost_encrypted_connection_is_not_made_again_unencrypted() {
    let mut scene = encrypted_and_lost();
    for _ in 0..10 {
        scene.host.wait(60);
        assert_eq!(scene.next(), None);
    }
    assert_eq!(scene.status(&tid("a")), Status::Waiting);
    assert_eq!(scene.fleet().encrypted().collect::<Vec<_>>(), [&tid("a")]);

    let mut after_a_restart = Scene::new();
    after_a_restart.host.core.fleet.restore_encrypted([tid("a")].into());
    after_a_restart.want(&tid("a"), Want::default());
    assert_eq!(after_a_restart.next(), None);
    assert_eq!(after_a_restart.status(&tid("a")), Status::Waiting);

    // An administrator may connect it by hand in any way, and may allow it in the configuration.
    scene.host.add(&tid("a"));
    scene.host.wait(60);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Connected);
    assert_eq!(scene.fleet().encrypted().count(), 0);
    after_a_restart.want(&tid("a"), with_tls(Tls::Prohibited));
    after_a_restart.next_connect();
}

/// A fleet that has given up a controller: its request cannot be written as kernel options.
fn given_up() -> Scene {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.answer(op, ConnectOutcome::Failed(ConnectError::Invalid(OptionError::Missing("traddr"))));
    scene.host.wait(600);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::GivenUp);
    scene
}

fn interface(up: bool, addresses: &[&str]) -> HostEvent {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let eth0 = Interface { index: 2, name: "eth0".into(), mac: Vec::new(), up, addresses };
    HostEvent::Links(Arc::new(Links(vec![eth0])))
}

fn with_key() -> HostIdentity {
    let key = Some(Secret::new("DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:"));
    HostIdentity { key, ..HostIdentity::new(HOST, "1") }
}

#[test]
fn each_change_alone_restarts_a_controller_that_was_given_up() {
    let attempts = |attempts| Want { attempts, ..Want::default() };
    let queue_size = Parameters { queue_size: Some(64), ..Parameters::default() };
    type Case = (&'static str, Box<dyn Fn(&mut Scene)>, bool);
    let cases: [Case; 15] = [
        ("identity: the NQN", Box::new(|scene| scene.identify(HostIdentity::new(RENAMED, "1"))), true),
        ("identity: the ID", Box::new(|scene| scene.identify(HostIdentity::new(HOST, "2"))), true),
        ("the same identity", Box::new(|scene| scene.identify(HostIdentity::new(HOST, "1"))), false),
        ("the key", Box::new(|scene| scene.identify(with_key())), true),
        ("parameters", Box::new(move |scene| scene.want(&tid("a"), want(queue_size.clone()))), true),
        ("the same parameters", Box::new(|scene| scene.want(&tid("a"), Want::default())), false),
        ("links: an interface that is up", Box::new(|scene| scene.hear(interface(true, &[]))), true),
        ("links: an interface that is down", Box::new(|scene| scene.hear(interface(false, &[]))), false),
        ("links: a route", Box::new(|scene| scene.hear(HostEvent::RouteAdded)), true),
        ("page: the NCC bit is set", Box::new(move |scene| scene.want(&tid("a"), attempts(Some(3)))), true),
        ("page: TLS is allowed", Box::new(|scene| scene.want(&tid("a"), with_tls(Tls::Prohibited))), true),
        ("page: another level", Box::new(|scene| scene.want(&tid("a"), trusted(Trust::ConfiguredDc))), true),
        ("page: only announced", Box::new(|scene| scene.want(&tid("a"), trusted(Trust::AnnouncedDc))), false),
        ("another controller is wanted", Box::new(|scene| scene.want(&tid("b"), Want::default())), false),
        ("nothing", Box::new(|_| ()), false),
    ];
    for (what, change, restarts) in cases {
        let mut scene = given_up();
        change(&mut scene);
        // The next event of any kind does what the change asks for.
        scene.host.send_snapshot();
        scene.host.wait(1);
        let mut tried = false;
        while let Some(effect) = scene.next() {
            tried |= matches!(&effect, HostEffect::Connect { request, .. } if request.tid == tid("a"));
        }
        assert_eq!(tried, restarts, "{what}");
    }
}

#[test]
fn a_reload_restarts_a_controller_that_was_given_up() {
    let mut scene = given_up();
    scene.retry_now(&tid("a"));
    scene.next_connect();
}
