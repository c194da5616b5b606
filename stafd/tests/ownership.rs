//! Which connections stafd disconnects, and which it keeps (doc/ownership.md).
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, announced, dc, entry, interface, on_iface, other_owner, referral};
use libstas::core::browse::BrowseEvent;
use libstas::core::{Gained, HostEffect, Links, Owner};
use libstas::nvme::Tid;
use stafd::finder::Event;

type Host = FakeHost<Finder>;

const ONE: &str = "192.0.2.1";
const TWO: &str = "192.0.2.2";

#[test]
fn a_configured_discovery_controller_claims_the_connection_without_owner_that_it_uses() {
    let mut host = Host::with(&[ONE]);
    let hand = host.add_owned(&dc(ONE), Owner::None);
    host.start();
    assert_eq!(host.ctrls(), [hand]);
    assert_eq!(host.ctrl(hand).owner, Owner::Stas(Gained::Adopted));
    host.conf.controllers.clear();
    host.reload();
    host.wait(10);
    assert!(!host.has(hand));
}

#[test]
fn a_referral_of_a_configured_one_claims_too() {
    let mut host = Host::with(&[ONE]).page(ONE, vec![referral(TWO)]);
    let hand = host.add_owned(&dc(TWO), Owner::None);
    host.start();
    host.wait(1);
    assert_eq!(host.ctrl(hand).owner, Owner::Stas(Gained::Adopted));
}

#[test]
fn another_orchestrators_connection_is_used_and_stays() {
    let mut host = Host::with(&[ONE]).page(ONE, vec![entry(ONE, "a")]);
    let theirs = host.add_owned(&dc(ONE), other_owner());
    host.start();
    assert_eq!(host.ctrls(), [theirs]);
    assert!(host.core.controller(&dc(ONE)).unwrap().log_page.is_some(), "its page is read");
    host.conf.controllers.clear();
    host.reload();
    host.wait(60);
    assert!(host.has(theirs));
    assert_eq!(host.ctrl(theirs).owner, other_owner());
}

#[test]
fn another_orchestrators_connection_stays_when_stafd_stops_without_persistent_connections() {
    let text = "[Discovery controller connection management]\npersistent-connections=false\n[Controllers]\n\
                controller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=192.0.2.2\n";
    let mut host = Host::configured(text);
    let theirs = host.add_owned(&dc(ONE), other_owner());
    host.start();
    assert_eq!(host.kernel.len(), 2);
    host.feed(Event::Stop);
    host.wait(10);
    assert_eq!(host.ctrls(), [theirs]);
    assert!(host.effects.contains(&stafd::finder::Effect::Stopped));
}

#[test]
fn a_removal_ends_only_the_connection_that_the_discovery_controller_holds() {
    let mut host = Host::with(&[ONE]).started();
    let hand = host.add_owned(&on_iface("lo", &dc(ONE)), Owner::None);
    host.conf.controllers.clear();
    host.reload();
    host.wait(60);
    assert_eq!((host.ctrls(), host.gone.len()), (vec![hand], 1));
}

#[test]
fn a_discovery_controller_of_the_saved_state_ends_its_own_connection_only() {
    for saved_instances in [true, false] {
        let mut host = Host::with(&[ONE]).started();
        let own = host.ctrls()[0];
        let mut saved: serde_json::Value = serde_json::from_str(&fake_host::Core::save(&host.core)).unwrap();
        if !saved_instances {
            saved.as_object_mut().unwrap().remove("instances").unwrap();
        }
        let hand = host.add_owned(&on_iface("lo", &dc(ONE)), Owner::None);
        host.kill_with(saved.to_string());
        host.conf.controllers.clear();
        host.start();
        host.wait(60);
        assert_eq!(host.ctrls(), [hand], "{saved_instances}");
        assert_eq!(host.gone.iter().map(|gone| gone.ctrl).collect::<Vec<_>>(), [own]);
    }
}

/// Its entry in the registry cannot be understood, or the saved state tells of an unknown way to gain it.
#[test]
fn a_connection_that_a_later_version_has_recorded_is_used_kept_and_not_claimed() {
    for in_registry in [true, false] {
        for end in ["", "[Controllers]\nexclude=transport=tcp\n"] {
            let case = format!("in the registry: {in_registry}, then {end:?}");
            let owned = if in_registry { Owner::Unknown } else { Owner::None };
            let mut host = Host::with(&[ONE]);
            host.registry_is_read_only = true;
            let ctrl = host.add_owned(&dc(ONE), owned.clone());
            host.start();
            if !in_registry {
                let saved = host.saved.replace("\"gained\":\"adopted\"", "\"gained\":\"inherited\"");
                assert_ne!(saved, host.saved);
                host.kill_with(saved);
                host.effects.clear();
                host.start();
            }
            assert!(host.core.controller(&dc(ONE)).unwrap().log_page.is_some(), "{case}: it is used");
            host.configure(end);
            host.wait(600);
            assert!(host.has(ctrl), "{case}");
            assert_eq!(host.ctrl(ctrl).owner, owned, "{case}");
            assert!(!host.host_effects().any(|effect| matches!(effect, HostEffect::Claim(_))), "{case}");
        }
    }
}

/// The log lines right before each disconnect. Each names the controller and its device.
fn causes(host: &Host) -> Vec<(Tid, String)> {
    let effects: Vec<&HostEffect> = host.host_effects().collect();
    let mut causes = Vec::new();
    for (at, effect) in effects.iter().enumerate() {
        let HostEffect::Disconnect { ctrl, .. } = effect else { continue };
        let HostEffect::Log(record, _) = effects[at - 1] else { panic!("silent: {:?}", effects[at - 1]) };
        assert_eq!(record.ctrl, Some(*ctrl));
        causes.push((record.tid.clone().unwrap(), record.text.clone()));
    }
    causes
}

#[test]
fn each_disconnect_is_announced_with_its_cause() {
    let both = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=192.0.2.2\n";
    let edited = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n";
    let excluded = format!("{both}exclude=traddr=192.0.2.2\n");
    let family = format!("[Global]\nip-family=ipv6\n{both}");
    for (end, cause) in [
        (edited, "controller= removed from stafd.conf (it was line 3)"),
        (&excluded, "excluded by exclude= in stafd.conf, line 4"),
        (&family, "ip-family= in stafd.conf excludes its address"),
    ] {
        let mut host = Host::configured(both).started();
        host.wait(60);
        host.configure(end);
        host.wait(60);
        let record = causes(&host).into_iter().find(|(tid, _)| *tid == dc(TWO));
        assert_eq!(record, Some((dc(TWO), format!("disconnecting: {cause}"))), "{end}");
        assert_eq!(host.gone.len(), causes(&host).len(), "{end}");
    }

    let mut host = Host::with(&[ONE]).page(ONE, vec![referral(TWO)]).started();
    host.wait(60);
    host.page_is(ONE, vec![]);
    host.wait(60);
    let [(tid, text)] = causes(&host).try_into().unwrap();
    assert!(text.starts_with("disconnecting: ") && text.contains("no longer refers to it (generation 1)"), "{text}");
    assert_eq!(tid, dc(TWO));

    // What only mDNS announces: withdrawn, lost, and absent for longer than its persistence.
    let mut host =
        Host::configured("[Discovery controller connection management]\nzeroconf-connections-persistence=60\n");
    host.links = Some(Links(vec![interface(1, "eth1", &["192.0.2.101"])]));
    host.start();
    host.feed(Event::BrowseEvent(vec![announced("x", 1, ONE)]));
    let announced = on_iface("eth1", &dc(ONE));
    assert_eq!(host.paths(), [(ONE, "eth1")]);
    host.wait(60);
    host.feed(Event::BrowseEvent(vec![BrowseEvent::Gone("x".into())]));
    host.lose(ONE);
    host.wait(300);
    let cause = "disconnecting: neither announced nor connected for too long";
    assert_eq!(causes(&host), [(announced, cause.to_owned())]);
    assert_eq!(host.kernel.len(), 0);
}
