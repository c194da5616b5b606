//! Which connections stacd disconnects, and which it keeps (doc/ownership.md).
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{
    Connector, Core as _, FakeHost, Op, TARGET, dc, dc_page, entry, file, from_address, io, line, on_iface, other_owner,
};
use libstas::core::fleet::Status;
use libstas::core::{CtrlRef, CtrlState, Gained, HostEffect, Interface, KernelController, Links, Owner, Time};
use libstas::nvme::Tid;
use stacd::connector::{DcPage, Event, Origin, PageState, RemovalReason, RemovedDc, StafdView};

type Host = FakeHost<Connector>;

const A: &str = "nqn.2014-08.org.example:a";
const B: &str = "nqn.2014-08.org.example:b";

fn audited(more: &str, lines: &[String]) -> String {
    format!(
        "[I/O controller connection management]\ndisconnect-scope=all-connections-matching-disconnect-trtypes\n{more}{}",
        file(lines)
    )
}

fn tid(nqn: &str) -> Tid {
    io(TARGET, nqn)
}

fn interface(index: u32, name: &str, up: bool) -> Interface {
    let addresses = vec![format!("192.0.2.{}", 10 + index).parse().unwrap()];
    Interface { index, name: name.into(), mac: Vec::new(), up, addresses }
}

fn links(eth1_is_up: bool) -> Links {
    Links(vec![interface(0, "eth0", true), interface(1, "eth1", eth1_is_up)])
}

fn owner(host: &mut Host, ctrl: CtrlRef) -> Owner {
    host.ctrl(ctrl).owner.clone()
}

#[test]
fn what_is_connected_is_recorded_as_ours() {
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    let ctrl = host.ctrls()[0];
    assert_eq!(owner(&mut host, ctrl), Owner::Stas(Gained::Connected));
}

#[test]
fn a_connection_without_an_owner_is_adopted_claimed_and_removed_like_ours() {
    let mut host = Host::configured(&file(&[line(A, "")]));
    let ctrl = host.add_owned(&tid(A), Owner::None);
    host.start();
    assert_eq!((host.ctrls(), owner(&mut host, ctrl)), (vec![ctrl], Owner::Stas(Gained::Adopted)));
    host.configure(&file(&[]));
    host.wait(10);
    assert_eq!(host.disconnected(), [A]);
}

#[test]
fn another_orchestrators_connection_is_used_and_never_claimed_or_disconnected() {
    for scope in ["only-stas-connections", "all-connections-matching-disconnect-trtypes", "no-disconnect"] {
        for after in [file(&[]), file(&["exclude=transport=tcp\n".into()])] {
            let section = format!("[I/O controller connection management]\ndisconnect-scope={scope}\n");
            let mut host = Host::configured(&format!("{section}{}", file(&[line(A, "")])));
            let ctrl = host.add_owned(&tid(A), other_owner());
            host.start();
            assert_eq!(host.core.controller(&tid(A)).unwrap().member.kernel.unwrap().ctrl, ctrl);
            host.configure(&format!("{section}{after}"));
            host.stafd_with(&[], 0);
            host.wait(120);
            assert_eq!((host.disconnected().len(), owner(&mut host, ctrl)), (0, other_owner()), "{scope} {after}");
            assert_eq!(host.core.controllers().len(), 0, "{scope} {after}");
        }
    }
}

#[test]
fn what_only_an_announced_discovery_controller_lists_is_used_and_never_claimed_or_removed() {
    for (origin, follows_configured, claimed) in [
        (Origin::Discovered, false, false),
        (Origin::Referral, false, false),
        (Origin::Unknown, false, false),
        (Origin::Referral, true, true),
        (Origin::Configured, false, true),
    ] {
        let mut host = Host::configured(&file(&[]));
        let hand = host.add_owned(&tid(A), Owner::None);
        host.links = Some(links(true));
        host.start();
        let page = |entries| {
            let page = dc_page(&dc(TARGET), host_time(900), entries);
            StafdView {
                dcs: vec![DcPage { origin, follows_configured, ..page }],
                removed: Some(Vec::new()),
                is_complete: true,
                left_out: Vec::new(),
            }
        };
        host.stafd_is(":1.5", page(vec![entry(TARGET, A), entry(TARGET, B)]));
        host.wait(60);
        assert_eq!(host.nqns(), [A, B], "{origin}: what is missing is connected, the other is used");
        assert_eq!(owner(&mut host, hand) == Owner::Stas(Gained::Adopted), claimed, "{origin}");
        host.page_has(vec![]);
        host.wait(120);
        assert_eq!(host.has(hand), !claimed, "{origin}");
        assert!(!host.nqns().contains(&B), "{origin}: its own connection is ended");
    }
}

fn host_time(seconds: u64) -> Time {
    Time(std::time::Duration::from_secs(seconds))
}

/// A second connection that serves the same controller equally well, or better, is there when stacd starts again.
#[test]
fn a_restarted_controller_takes_the_connection_that_it_had_and_leaves_the_others() {
    for (restarts, end) in
        [(0, file(&[])), (1, file(&[])), (2, file(&[])), (1, file(&["exclude=transport=tcp\n".into()]))]
    {
        let bound = line(A, ";host-iface=eth0");
        let mut host = Host::configured(&file(std::slice::from_ref(&bound)));
        host.links = Some(links(true));
        host.start();
        host.stafd_with(&[], 60);
        host.configure(&file(&[bound, line(A, "")]));
        assert_eq!(host.ctrls().len(), 1, "both lines use one connection");
        let hand = host.add_owned(&tid(A), Owner::None);
        host.configure(&file(&[line(A, "")]));
        host.wait(10);
        for _ in 0..restarts {
            host.restart();
            host.stafd_with(&[], 60);
            host.wait(10);
        }
        host.configure(&end);
        host.wait(60);
        assert_eq!(host.ctrls(), [hand], "{restarts} restarts, then {end}");
    }
}

/// stacd is killed while a disconnect hangs, connects the controller again, and is killed again.
#[test]
fn a_restart_removes_the_connection_that_is_there_and_not_the_one_that_is_being_deleted() {
    for end in [file(&[]), file(&["exclude=transport=tcp\n".into()])] {
        let mut host = Host::configured(&file(&[line(A, "")])).started();
        host.stafd_with(&[], 60);
        let first = host.ctrls()[0];
        host.hold(Op::Disconnect);
        host.configure(&file(&[]));
        host.wait(10);
        host.ctrl(first).state = CtrlState::Deleting;
        let saved = host.core.save();
        host.kill();
        host.write(&file(&[line(A, "")]));
        host.start();
        host.stafd_with(&[], 60);
        assert_eq!(host.ctrls().len(), 2, "{end}");
        host.release(Op::Disconnect);
        // The second connection is in the registry, and not in the saved state.
        host.kill_with(saved);
        host.write(&end);
        host.start();
        host.stafd_with(&[], 60);
        host.wait(60);
        let left: Vec<CtrlRef> = host.ctrls().into_iter().filter(|ctrl| *ctrl != first).collect();
        assert_eq!(left, [], "{end}");
    }
}

#[test]
fn a_connection_taken_over_by_another_orchestrator_is_kept() {
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    let ctrl = host.ctrls()[0];
    host.ctrl(ctrl).owner = other_owner();
    host.send_snapshot();
    host.configure(&file(&[]));
    host.wait(10);
    assert!(host.has(ctrl));
    assert_eq!(host.logged("it belongs to discoverd"), 1);
}

#[test]
fn a_connection_that_another_orchestrator_claims_after_the_last_snapshot_is_kept() {
    // Before it is adopted, while it is used, and at the moment of the removal.
    for claimed in ["before", "used", "removal"] {
        for exclude in [false, true] {
            let case = format!("{claimed}, exclude=: {exclude}");
            let mut host = Host::configured(&file(&[]));
            let ctrl = host.add_owned(&tid(A), Owner::None);
            host.start();
            if claimed == "before" {
                host.ctrl(ctrl).owner = other_owner();
            }
            host.configure(&file(&[line(A, "")]));
            if claimed == "used" {
                host.ctrl(ctrl).owner = other_owner();
            }
            host.hold(Op::Disconnect);
            let removed = if exclude { "exclude=trsvcid=4420\n".to_owned() } else { String::new() };
            host.configure(&file(&[removed]));
            host.wait(1);
            host.ctrl(ctrl).owner = other_owner();
            host.release(Op::Disconnect);
            host.wait(600);
            assert!(host.has(ctrl), "{case}");
            assert_eq!(host.ctrl(ctrl).owner, other_owner(), "{case}");
        }
    }
}

#[test]
fn an_owner_that_cannot_be_read_keeps_the_connection_until_it_can() {
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    let ctrl = host.ctrls()[0];
    host.ctrl(ctrl).owner = Owner::Unknown;
    host.send_snapshot();
    host.configure(&file(&[]));
    host.wait(60);
    assert!(host.has(ctrl));
    host.ctrl(ctrl).owner = Owner::Stas(Gained::Connected);
    host.wait(20);
    assert_eq!(host.disconnected(), [A]);
}

/// Its entry in the registry cannot be understood, or the saved state tells of an unknown way to gain it.
#[test]
fn a_connection_that_a_later_version_has_recorded_is_used_kept_and_not_claimed() {
    for in_registry in [true, false] {
        for end in [file(&[]), file(&["exclude=transport=tcp\n".into()]), audited("", &[]), audited("", &[line(B, "")])]
        {
            let case = format!("in the registry: {in_registry}, then {end}");
            let owned = if in_registry { Owner::Unknown } else { Owner::None };
            let mut host = Host::configured(&file(&[line(A, "")]));
            host.registry_is_read_only = true;
            let ctrl = host.add_owned(&tid(A), owned.clone());
            host.start();
            if !in_registry {
                let saved = host.saved.replace("\"gained\":\"adopted\"", "\"gained\":\"inherited\"");
                assert_ne!(saved, host.saved);
                host.kill_with(saved);
                host.effects.clear();
                host.start();
            }
            host.stafd_with(&[], 60);
            assert_eq!(host.core.controller(&tid(A)).unwrap().member.kernel.unwrap().ctrl, ctrl, "{case}");
            host.configure(&end);
            host.wait(600);
            assert!(host.has(ctrl), "{case}");
            assert_eq!((host.disconnected().len(), owner(&mut host, ctrl)), (0, owned), "{case}");
            assert!(!host.host_effects().any(|effect| matches!(effect, HostEffect::Claim(_))), "{case}");
        }
    }
}

#[test]
fn without_a_registry_the_saved_state_tells_what_is_ours() {
    let mut host = Host::configured(&file(&[line(A, ""), line(B, "")]));
    host.registry_is_read_only = true;
    let adopted = host.add_owned(&tid(B), Owner::None);
    host.start();
    host.kill();
    host.conf.controllers.clear();
    host.start();
    host.wait(10);
    let mut disconnected = host.disconnected();
    disconnected.sort_unstable();
    assert_eq!(disconnected, [A, B], "{adopted} was adopted");
}

#[test]
fn a_removal_ends_only_the_connection_that_its_controller_holds() {
    for by in ["edit", "page"] {
        let mut host = Host::configured(&file(&if by == "edit" { vec![line(A, "")] } else { vec![] })).started();
        if by == "page" {
            host.stafd_with(&[A, B], 60);
        }
        let hand = host.add_owned(&on_iface("lo", &tid(A)), Owner::None);
        match by {
            "edit" => host.configure(&file(&[])),
            _ => host.page_is(&[B]),
        }
        host.wait(60);
        assert_eq!(host.disconnected(), [A], "{by}");
        assert!(host.has(hand), "{by}");
    }
}

#[test]
fn an_exclusion_ends_only_what_it_matches_itself() {
    let mut host = Host::configured(&file(&[line(A, ";host-iface=eth1")]));
    host.set_links(links(true));
    host.start();
    let own = host.ctrls()[0];
    let hand = host.add_owned(&tid(A), Owner::None);
    host.ctrl(hand).src_addr = "192.0.2.11".parse().ok();
    host.send_snapshot();
    host.configure(&file(&[line(A, ";host-iface=eth1"), "exclude=host-iface=eth1\n".into()]));
    host.wait(60);
    assert_eq!(host.gone.iter().map(|gone| gone.ctrl).collect::<Vec<_>>(), [own]);
    assert!(host.has(hand), "the one made by hand, routed over eth1 and not bound to it");
}

#[test]
fn an_exclusion_ends_a_connection_of_ours_that_a_controller_without_interface_shares() {
    let both = [line(A, ";host-iface=eth1"), line(A, "")];
    let mut host = Host::configured(&file(&both[..1]));
    host.set_links(links(true));
    host.start();
    let bound = host.ctrls()[0];
    host.configure(&file(&both));
    assert_eq!(host.ctrls(), [bound], "both share it");
    let with = |more: &str| file(&[both[0].clone(), both[1].clone(), more.to_owned()]);
    host.configure(&with("exclude=host-iface=eth1\n"));
    host.wait(30);
    assert_eq!(host.gone.iter().map(|gone| gone.ctrl).collect::<Vec<_>>(), [bound]);
    assert_eq!(host.paths(), [(TARGET, "")], "the other controller is connected elsewhere");
    host.wait(60);
    assert_eq!(host.gone.len(), 1);
}

/// The controller is no longer wanted, and its connection is kept for one of two reasons when the exclusion comes.
#[test]
fn an_exclusion_ends_a_connection_of_ours_that_was_only_kept() {
    for kept_by in ["disconnect-scope=no-disconnect", "storage in use"] {
        let scope = if kept_by.starts_with("disconnect-scope") { kept_by } else { "" };
        let with = |lines: &str| format!("[I/O controller connection management]\n{scope}\n{}", file(&[lines.into()]));
        let both = format!("{}{}", line(A, ";host-iface=eth1"), line(A, ""));
        let mut host = Host::configured(&with(&line(A, ";host-iface=eth1")));
        host.set_links(links(true));
        host.start();
        host.configure(&with(&both));
        let bound = host.ctrls();
        host.in_use.extend(scope.is_empty().then(|| A.to_owned()));
        host.configure(&with(""));
        host.wait(60);
        assert_eq!((host.ctrls(), bound.len()), (bound.clone(), 1), "{kept_by}: it is kept");
        host.configure(&with("exclude=host-iface=eth1\n"));
        host.wait(60);
        assert_eq!(host.gone.iter().map(|gone| gone.ctrl).collect::<Vec<_>>(), bound, "{kept_by}");
        assert!(host.core.controllers().is_empty(), "{kept_by}");
    }
}

#[test]
fn an_excluded_connection_of_another_owner_is_not_used() {
    let mut host = Host::configured(&file(&[line(A, ""), "exclude=host-iface=eth1\n".into()]));
    let theirs = host.add_owned(&on_iface("eth1", &tid(A)), other_owner());
    host.start();
    host.wait(30);
    assert!(host.has(theirs));
    assert_eq!(host.paths(), [(TARGET, ""), (TARGET, "eth1")]);
    assert_eq!(host.gone.len(), 0);
}

#[test]
fn a_connection_of_another_program_without_a_working_interface_is_not_adopted() {
    let cases: [(&str, &str, CtrlState, bool, Owner, bool); 10] = [
        ("down", "eth1", CtrlState::Connecting, false, Owner::None, false),
        ("down, of another owner", "eth1", CtrlState::Connecting, false, other_owner(), false),
        ("up", "eth1", CtrlState::Connecting, true, Owner::None, true),
        ("live", "eth1", CtrlState::Live, false, Owner::None, true),
        ("ours", "eth1", CtrlState::Connecting, true, Owner::Stas(Gained::Connected), true),
        ("ours, and live", "eth1", CtrlState::Live, false, Owner::Stas(Gained::Connected), true),
        ("absent", "eth9", CtrlState::Connecting, true, Owner::None, false),
        ("absent, of another owner", "eth9", CtrlState::Connecting, true, other_owner(), false),
        ("absent, but live", "eth9", CtrlState::Live, true, Owner::None, true),
        ("absent, ours, but live", "eth9", CtrlState::Live, true, Owner::Stas(Gained::Adopted), true),
    ];
    let orders = [true, false].map(|links_first| cases.clone().map(|case| (links_first, case)));
    for (links_first, (what, iface, state, up, owner, adopted)) in orders.into_iter().flatten() {
        let mut host = Host::configured(&file(&[line(A, "")]));
        if links_first {
            host.set_links(links(up));
        }
        let hand = host.add_owned(&on_iface(iface, &tid(A)), owner);
        host.ctrl(hand).state = state;
        host.start();
        if !links_first {
            host.set_links(links(up));
        }
        host.wait(5);
        let held = host.core.controller(&tid(A)).unwrap().member.kernel.unwrap().ctrl;
        assert_eq!(held == hand, adopted, "{what}");
        assert_eq!(host.kernel.len(), if adopted { 1 } else { 2 }, "{what}");
        // When it becomes live later, it is kept, and so is ours.
        host.ctrl(hand).state = CtrlState::Live;
        host.send_snapshot();
        host.wait(30);
        assert_eq!(host.gone.len(), 0, "{what}");
    }
}

#[test]
fn a_connection_that_loses_its_interface_is_replaced_and_stays() {
    let cases: [(&str, &str, Owner, CtrlState, bool); 8] = [
        ("of another owner", "", other_owner(), CtrlState::Connecting, true),
        ("of another owner, and live", "", other_owner(), CtrlState::Live, false),
        ("of another owner, in an unknown state", "", other_owner(), CtrlState::Unknown, false),
        (
            "of another owner, and wanted on that interface",
            ";host-iface=eth1",
            other_owner(),
            CtrlState::Connecting,
            false,
        ),
        ("adopted", "", Owner::None, CtrlState::Connecting, true),
        ("ours", "", Owner::Stas(Gained::Connected), CtrlState::Connecting, true),
        ("ours, and live", "", Owner::Stas(Gained::Connected), CtrlState::Live, false),
        ("ours, and wanted on that interface", ";host-iface=eth1", Owner::None, CtrlState::Connecting, false),
    ];
    for (what, more, owner, state, replaced) in cases {
        let mut host = Host::configured(&file(&[line(A, more)]));
        host.set_links(links(true));
        let hand = host.add_owned(&on_iface("eth1", &tid(A)), owner.clone());
        host.start();
        host.wait(5);
        assert_eq!(host.kernel.len(), 1, "{what}");
        host.set_links(links(false));
        host.ctrl(hand).state = state;
        host.wait(30);
        assert_eq!(host.kernel.len(), if replaced { 2 } else { 1 }, "{what}");
        assert_eq!(host.logged("its interface eth1 is down or absent"), usize::from(replaced), "{what}");
        // When its interface is back, neither is disconnected.
        host.set_links(links(true));
        host.ctrl(hand).state = CtrlState::Live;
        host.wait(60);
        assert_eq!((host.kernel.len(), host.gone.len()), (if replaced { 2 } else { 1 }, 0), "{what}");
        // The removal ends only what is ours and was used last.
        host.configure(&file(&[]));
        host.wait(60);
        let stays = replaced || owner == other_owner();
        assert_eq!((host.has(hand), host.kernel.len()), (stays, usize::from(stays)), "{what}");
    }
}

const GONE: &str = "198.51.100.7";

/// The interfaces of [`links`]; eth0 also has these addresses.
fn links_with(addresses: &[&str]) -> Links {
    let mut links = links(true);
    links.0[0].addresses.extend(addresses.iter().map(|address| address.parse::<std::net::IpAddr>().unwrap()));
    links
}

#[test]
fn a_connection_of_another_program_from_a_missing_address_is_not_adopted() {
    let cases: [(&str, &str, CtrlState, &str, Owner, bool); 8] = [
        ("missing", GONE, CtrlState::Connecting, "", Owner::None, false),
        ("missing, of another owner", GONE, CtrlState::Connecting, "", other_owner(), false),
        ("missing, spelled as IPv6", "::ffff:198.51.100.7", CtrlState::Connecting, "", Owner::None, false),
        ("missing, but live", GONE, CtrlState::Live, "", Owner::None, true),
        ("missing, but wanted", GONE, CtrlState::Connecting, ";host-traddr=::ffff:198.51.100.7", Owner::None, true),
        ("there", "192.0.2.10", CtrlState::Connecting, "", Owner::None, true),
        ("there, spelled as IPv6", "::ffff:192.0.2.10", CtrlState::Connecting, "", Owner::None, true),
        ("a loopback address", "127.0.0.9", CtrlState::Connecting, "", Owner::None, true),
    ];
    let orders = [true, false].map(|links_first| cases.clone().map(|case| (links_first, case)));
    for (links_first, (what, address, state, more, owner, adopted)) in orders.into_iter().flatten() {
        let mut host = Host::configured(&file(&[line(A, more)]));
        if links_first {
            host.set_links(links(true));
        }
        let hand = host.add_owned(&from_address(address, &tid(A)), owner);
        host.ctrl(hand).state = state;
        host.start();
        if !links_first {
            host.set_links(links(true));
        }
        host.wait(30);
        assert_eq!(host.kernel.len(), if adopted { 1 } else { 2 }, "{what}, links first: {links_first}");
        assert!(adopted || host.paths().contains(&(TARGET, "")), "{what}");
        assert_eq!(host.gone.len(), 0, "{what}");
    }
}

#[test]
fn a_connection_that_loses_its_source_address_is_replaced_and_stays() {
    for (owner, state, more, replaced) in [
        (Owner::None, CtrlState::Connecting, "", true),
        (other_owner(), CtrlState::Connecting, "", true),
        (Owner::Stas(Gained::Connected), CtrlState::Connecting, "", true),
        (Owner::None, CtrlState::Live, "", false),
        (Owner::None, CtrlState::Unknown, "", false),
        (Owner::None, CtrlState::Connecting, ";host-traddr=::ffff:198.51.100.7", false),
    ] {
        let what = format!("{owner:?}, {state}, {more}");
        let wanted = if more.is_empty() { tid(A) } else { from_address(GONE, &tid(A)) };
        let mut host = Host::configured(&file(&[line(A, more)]));
        host.set_links(links_with(&[GONE]));
        let hand = host.add_owned(&from_address(GONE, &tid(A)), owner.clone());
        host.start();
        // DHCP replaces the address.
        host.set_links(links_with(&["198.51.100.8"]));
        host.ctrl(hand).state = state;
        host.send_snapshot();
        host.wait(4);
        assert_eq!(host.kernel.len(), 1, "{what}: it may return at once");
        host.wait(30);
        assert_eq!(host.kernel.len(), if replaced { 2 } else { 1 }, "{what}");
        assert_eq!(
            host.logged(&format!("no interface has its source address {GONE}")),
            usize::from(replaced),
            "{what}"
        );
        let is_connected = host.core.controller(&wanted).unwrap().member.status == Status::Connected;
        assert_eq!(is_connected, replaced || state == CtrlState::Live, "{what}");
        // After a restart the new one is used, and none is added.
        host.restart();
        host.wait(60);
        // When the address is back, both are kept.
        host.set_links(links_with(&[GONE]));
        host.ctrl(hand).state = CtrlState::Live;
        host.wait(60);
        assert_eq!((host.kernel.len(), host.gone.len()), (if replaced { 2 } else { 1 }, 0), "{what}");
    }
}

#[test]
fn a_connection_of_ours_without_its_interface_is_used_after_a_restart_only_until_it_can_be_replaced() {
    let mut host = Host::configured(&file(&[line(A, "")]));
    host.set_links(links(true));
    let hand = host.add_owned(&on_iface("eth1", &tid(A)), Owner::None);
    host.start();
    assert_eq!(owner(&mut host, hand), Owner::Stas(Gained::Adopted));
    // Renamed.
    let mut renamed = links(true);
    renamed.0[1].name = "lan1".into();
    host.links = Some(renamed);
    host.ctrl(hand).state = CtrlState::Connecting;
    host.restart();
    host.wait(4);
    assert_eq!(host.ctrls(), [hand]);
    host.wait(10);
    assert_eq!((host.paths(), host.gone.len()), (vec![(TARGET, ""), (TARGET, "eth1")], 0));
}

#[test]
fn a_controller_without_an_interface_leaves_the_connection_of_another_that_has_lost_its_interface() {
    let mut host = Host::configured(&file(&[line(A, ";host-iface=eth1")]));
    host.set_links(links(true));
    host.start();
    let bound = host.ctrls()[0];
    host.configure(&file(&[line(A, ";host-iface=eth1"), line(A, "")]));
    host.wait(5);
    assert_eq!(host.ctrls(), [bound], "both use it");
    host.set_links(links(false));
    host.ctrl(bound).state = CtrlState::Connecting;
    host.wait(30);
    assert_eq!((host.paths(), host.gone.len()), (vec![(TARGET, ""), (TARGET, "eth1")], 0));
    let held =
        |host: &Host, iface: &str| host.core.controller(&on_iface(iface, &tid(A))).unwrap().member.kernel.unwrap().ctrl;
    assert_eq!(held(&host, "eth1"), bound, "it is wanted on that interface");
    assert_ne!(held(&host, ""), bound);
    host.set_links(links(true));
    host.ctrl(bound).state = CtrlState::Live;
    host.wait(60);
    assert_eq!((host.kernel.len(), host.gone.len(), held(&host, "eth1")), (2, 0, bound));
}

#[test]
fn an_interface_that_is_down_for_a_moment_causes_no_second_connection() {
    let mut host = Host::configured(&file(&[line(A, "")]));
    host.set_links(links(true));
    let hand = host.add_owned(&on_iface("eth1", &tid(A)), Owner::None);
    host.start();
    host.ctrl(hand).state = CtrlState::Connecting;
    for _ in 0..20 {
        host.set_links(links(false));
        host.send_snapshot();
        host.wait(4);
        host.send_snapshot();
        host.set_links(links(true));
        host.wait(1);
    }
    assert_eq!(host.ctrls(), [hand]);
    // While the interfaces are unknown, none counts as missing.
    host.set_links(Links::default());
    host.wait(60);
    assert_eq!(host.ctrls(), [hand]);
    // It is down, and nothing else can be connected. When it is back, the old connection is used again.
    host.dead.insert(TARGET.into());
    host.set_links(links(false));
    host.wait(60);
    assert_eq!(host.ctrls(), [hand]);
    assert_eq!(host.logged("its interface eth1 is down or absent"), 1);
    host.dead.clear();
    host.set_links(links(true));
    host.wait(60);
    assert_eq!((host.ctrls(), host.gone.len()), (vec![hand], 0));
}

#[test]
fn a_connection_that_moves_to_another_interface_no_longer_serves_and_another_is_made() {
    let mut host = Host::configured(&file(&[line(A, ";host-iface=eth0"), line(A, ";host-iface=eth1")]));
    host.set_links(links(true));
    let hand = host.add_owned(&tid(A), Owner::None);
    host.ctrl(hand).src_addr = "192.0.2.10".parse().ok();
    host.start();
    assert_eq!(host.paths(), [(TARGET, ""), (TARGET, "eth1")], "adopted for eth0, connected for eth1");
    host.ctrl(hand).src_addr = "192.0.2.11".parse().ok();
    host.send_snapshot();
    host.wait(5);
    assert_eq!(host.paths(), [(TARGET, ""), (TARGET, "eth0"), (TARGET, "eth1")]);
    assert_eq!(host.logged("no longer serves it"), 1);
    assert_eq!(host.gone.len(), 0);
}

#[test]
fn an_audit_needs_a_source_and_time_to_hear_of_others() {
    let mut host = Host::configured(&audited("", &[]));
    for nqn in [A, B] {
        host.add_owned(&tid(nqn), Owner::None);
    }
    host.start();
    host.stafd_is(":1.5", libstas_view());
    host.wait(300);
    assert_eq!(host.gone.len(), 0, "no source: nothing is known");
    host.configure(&audited("", &[line(A, "")]));
    host.wait(60);
    assert_eq!(host.disconnected(), [B], "a source states all that it lists");
}

fn libstas_view() -> stacd::connector::StafdView {
    stacd::connector::StafdView { dcs: Vec::new(), removed: Some(Vec::new()), is_complete: true, left_out: Vec::new() }
}

#[test]
fn an_audit_waits_for_a_settled_page_of_every_discovery_controller() {
    let mut host = Host::configured(&audited("", &[]));
    let hand = host.add_owned(&tid(B), Owner::None);
    host.start();
    host.stafd_with(&[A], 0);
    host.wait(25);
    assert!(host.has(hand));
    host.wait(60);
    assert_eq!(host.disconnected(), [B]);
}

/// Of two discovery controllers one has a settled page. The other one was announced and never read, is only known from
/// the saved state of stafd, or was just connected.
#[test]
fn an_audit_waits_for_a_settled_page_of_each_of_several_discovery_controllers() {
    type Case = (&'static str, PageState, Origin, fn(Time) -> Option<Time>);
    let cases: [Case; 5] = [
        ("announced and never read", PageState::Never, Origin::Discovered, |_| None),
        ("announced, connected and never read", PageState::Never, Origin::Discovered, Some),
        ("only saved", PageState::Saved, Origin::Configured, |_| None),
        ("a referral that was lost", PageState::Saved, Origin::Referral, |_| None),
        ("of a later version", PageState::Unknown, Origin::Unknown, Some),
    ];
    for (what, state, origin, connected_since) in cases {
        for restart in [false, true] {
            let case = format!("{what}, restarted: {restart}");
            let mut host = Host::configured(&audited("", &[]));
            let hand = host.add_owned(&tid(B), Owner::None);
            host.start();
            let read = dc_page(&dc(TARGET), host_time(900), vec![entry(TARGET, A)]);
            let now = host.now;
            let unread = DcPage {
                state,
                origin,
                connected_since: connected_since(now),
                ..dc_page(&dc("192.0.2.2"), host_time(900), Vec::new())
            };
            let view = StafdView {
                dcs: vec![read, unread],
                removed: Some(Vec::new()),
                is_complete: true,
                left_out: Vec::new(),
            };
            host.stafd_is(":1.5", view.clone());
            host.wait(300);
            if restart {
                host.restart();
                host.stafd_is(":1.6", view);
                host.wait(300);
            }
            assert!(host.has(hand), "{case}");
            assert!(host.nqns().contains(&A), "{case}");
            let now = host.now;
            let late = &mut host.peer.view.as_mut().unwrap().dcs[1];
            (late.state, late.connected_since) = (PageState::Fresh, Some(now));
            host.feed(Event::PageChanged(dc("192.0.2.2")));
            host.wait(25);
            assert!(host.has(hand), "{case}: its page is not settled yet");
            host.wait(60);
            assert_eq!(host.disconnected(), [B], "{case}");
        }
    }
}

/// With `epcsd=poll` a discovery controller is connected for 40 s every 15 minutes. Its page counts in between.
#[test]
fn an_audit_proceeds_with_the_settled_page_of_a_polled_discovery_controller() {
    const POLL: u32 = 940;
    let mut host = Host::configured(&audited("", &[]));
    host.start();
    host.stafd_with(&[A], 0);
    host.wait(40);
    // The poll is over: stafd goes on to publish the page, and of which connection it is.
    let hand = host.add_owned(&tid(B), Owner::None);
    host.wait(60);
    assert_eq!(host.disconnected(), [B], "between two polls");
    assert!(!host.has(hand));
    host.wait(POLL - 100);
    // The next poll begins: its page is not settled yet.
    let now = host.now;
    host.peer.first().connected_since = Some(now);
    host.page_is(&[A]);
    let second = host.add_owned(&tid(B), Owner::None);
    host.wait(25);
    assert!(host.has(second), "the page of the new poll is not settled");
    host.wait(60);
    assert_eq!(host.disconnected(), [B, B]);
    assert_eq!(host.nqns(), [A]);
    // During the next poll its page cannot be read: what it listed counts, and proves nothing.
    host.wait(POLL);
    host.peer.first().state = PageState::Saved;
    host.peer.first().connected_since = None;
    host.page_is(&[]);
    let third = host.add_owned(&tid(B), Owner::None);
    host.wait(300);
    assert!(host.has(third));
    assert_eq!(host.nqns(), [A, B]);
}

#[test]
fn an_audit_waits_until_stafd_lists_all_that_its_configuration_means() {
    let mut host = Host::configured(&audited("", &[]));
    let hand = host.add_owned(&tid(B), Owner::None);
    host.start();
    host.stafd_with(&[A], 0);
    host.peer.view.as_mut().unwrap().is_complete = false;
    host.feed(stacd::connector::Event::DcRemoved);
    host.wait(300);
    assert!(host.has(hand), "a host name in stafd.conf has no known address");
    host.peer.view.as_mut().unwrap().is_complete = true;
    host.feed(stacd::connector::Event::DcRemoved);
    host.wait(60);
    assert_eq!(host.disconnected(), [B]);
}

#[test]
fn an_exclusion_that_is_taken_back_proves_no_removal() {
    let section = "[I/O controller connection management]\nin-use=disconnect\n[Controllers]\n";
    let mut host = Host::configured(section);
    host.start();
    host.stafd_with(&[A], 100);
    host.wait(5);
    host.disconnect_refused = true;
    host.configure(&format!("{section}exclude=nqn={A}\n"));
    host.wait(1);
    // The discovery controller has just been reconnected, and lists nothing yet.
    let since = host.now;
    host.peer.first().connected_since = Some(since);
    host.page_is(&[]);
    host.wait(1);
    host.disconnect_refused = false;
    host.configure(section);
    host.wait(10);
    assert_eq!(host.nqns(), [A], "a page of the first seconds proves no absence");
}

#[test]
fn no_attempt_at_an_excluded_controller_begins_while_another_is_removed() {
    let lines = [line(A, ""), line(B, ""), line("nqn.2014-08.org.example:c", "")];
    let mut host = Host::configured(&file(&lines));
    host.dead.insert(TARGET.into());
    host.start();
    host.wait(5);
    // The daemon was frozen: every attempt is overdue when it reads its configuration again.
    host.now = Time(host.now.0 + std::time::Duration::from_secs(300));
    let before = host.effects.len();
    host.configure(&format!("{}exclude=traddr={TARGET}\n", file(&lines)));
    let begun = |effect: &&stacd::connector::Effect| {
        matches!(Connector::host_effect(effect), Some(HostEffect::Probe { .. } | HostEffect::Connect { .. }))
    };
    let begun: Vec<_> = host.effects[before..].iter().filter(begun).collect();
    assert!(begun.is_empty(), "{begun:?}");
}

#[test]
fn an_audit_removes_only_what_its_scope_names() {
    type Case = (&'static str, &'static str, fn(&mut KernelController));
    let cases: [Case; 5] = [
        ("another transport, excluded by its family", "disconnect-trtypes=rdma\n[Global]\nip-family=ipv6\n", |_| {}),
        ("another transport", "disconnect-trtypes=rdma+fc\n", |_| {}),
        ("an administrative controller", "", |kernel| kernel.cntrltype = libstas::core::CtrlType::Admin),
        ("one whose type the kernel does not report (before 5.18)", "", |kernel| {
            kernel.cntrltype = libstas::core::CtrlType::Unknown;
        }),
        ("another owner's", "", |kernel| kernel.owner = other_owner()),
    ];
    for (what, section, change) in cases {
        let mut host = Host::configured(&audited(section, &[]));
        let hand = host.add_owned(&tid(B), Owner::None);
        change(host.ctrl(hand));
        host.start();
        host.stafd_with(&[], 0);
        host.wait(120);
        assert!(host.has(hand), "{what}");
    }
}

#[test]
fn a_connection_marked_by_the_audit_is_kept_when_the_scope_is_narrowed() {
    for narrow in [file(&[]), audited("disconnect-trtypes=rdma\n", &[]), audited("", &[line(B, "")])] {
        let mut host = Host::configured(&audited("", &[]));
        let hand = host.add_owned(&tid(B), Owner::None);
        host.start();
        host.hold(Op::CheckUse);
        host.stafd_with(&[A], 60);
        host.wait(60);
        assert_eq!(host.held.len(), 1, "the audit is about to remove it");
        host.configure(&narrow);
        host.release(Op::CheckUse);
        host.wait(60);
        assert!(host.has(hand), "{narrow}");
    }
    // The same across a restart.
    let mut host = Host::configured(&audited("", &[]));
    let hand = host.add_owned(&tid(B), Owner::None);
    host.start();
    host.in_use.insert(B.into());
    host.stafd_with(&[A], 60);
    host.wait(60);
    assert!(host.has(hand));
    host.kill();
    host.in_use.clear();
    host.conf.disconnect_scope = libstas::conf::DisconnectScope::OnlyStas;
    host.start();
    host.stafd_with(&[A], 60);
    host.wait(120);
    assert!(host.has(hand));
}

#[test]
fn an_exclusion_reaches_a_connection_without_an_owner_in_the_audit_scope_only() {
    for (text, stays) in [
        (file(&["exclude=transport=tcp\n".into()]), true),
        (audited("", &["exclude=transport=tcp\n".into()]), false),
        (audited("disconnect-trtypes=rdma\n", &["exclude=transport=tcp\n".into()]), true),
    ] {
        let mut host = Host::configured(&text);
        let hand = host.add_owned(&tid(B), Owner::None);
        host.start();
        host.wait(30);
        assert_eq!(host.has(hand), stays, "{text}");
    }
}

#[test]
fn what_no_source_has_listed_is_not_removed_whatever_the_registry_says() {
    let mut host = Host::configured(&file(&[]));
    let ours = host.add_owned(&tid(A), Owner::Stas(Gained::Connected));
    host.start();
    host.stafd_with(&[B], 0);
    host.wait(120);
    assert!(host.has(ours));
    host.configure(&file(&["exclude=transport=tcp\n".into()]));
    host.wait(30);
    assert!(host.has(ours));
}

#[test]
fn a_state_of_an_earlier_version_names_what_is_ours_by_its_controllers() {
    for (owner, goes) in [(Owner::None, true), (other_owner(), false)] {
        let mut host = Host::configured(&file(&[line(A, "")])).started();
        let ctrl = host.ctrls()[0];
        let mut saved: serde_json::Value = serde_json::from_str(&fake_host::Core::save(&host.core)).unwrap();
        saved.as_object_mut().unwrap().remove("instances").unwrap();
        host.ctrl(ctrl).owner = owner.clone();
        host.kill_with(saved.to_string());
        host.conf.controllers.clear();
        host.start();
        host.wait(10);
        assert_eq!(host.gone.len(), usize::from(goes), "{owner:?}");
    }
}

#[test]
fn changed_parameters_are_pending_also_after_a_kill() {
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    assert!(!host.core.controller(&tid(A)).unwrap().member.pending);
    host.restart();
    host.wait(5);
    assert!(!host.core.controller(&tid(A)).unwrap().member.pending);
    host.configure(&format!("[Global]\nkato=77\n{}", file(&[line(A, "")])));
    assert!(host.core.controller(&tid(A)).unwrap().member.pending);
    host.restart();
    assert!(host.core.controller(&tid(A)).unwrap().member.pending);
}

#[test]
fn each_disconnect_is_announced_with_its_cause() {
    let causes = |host: &Host| -> Vec<String> {
        let mut causes = Vec::new();
        let mut effects = host.host_effects().peekable();
        while let Some(effect) = effects.next() {
            let (HostEffect::Log(record, _), Some(HostEffect::Disconnect { ctrl, .. })) = (effect, effects.peek())
            else {
                assert!(!matches!(effects.peek(), Some(HostEffect::Disconnect { .. })), "a silent disconnect");
                continue;
            };
            assert_eq!(record.ctrl, Some(*ctrl));
            assert!(record.tid.is_some());
            causes.push(record.text.clone());
        }
        causes
    };
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    host.configure(&file(&[]));
    host.wait(10);
    assert_eq!(causes(&host), ["disconnecting: controller= removed from stacd.conf (it was line 2)"]);

    let mut host = Host::configured(&file(&[line(A, "")])).started();
    host.configure(&file(&[line(A, ""), "exclude=transport=tcp\n".into()]));
    assert_eq!(causes(&host), ["disconnecting: excluded by exclude= in stacd.conf, line 3"]);

    let mut host = Host::configured(&file(&[])).started();
    host.stafd_with(&[A, B], 60);
    host.peer.first().generation = Some(7);
    host.page_is(&[B]);
    host.wait(60);
    let texts = causes(&host);
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].contains("192.0.2.1, 8009") && texts[0].ends_with("no longer lists it (generation 7)"),
        "{texts:?}"
    );

    // Its discovery controller ages out, and the connection is down.
    let mut host = Host::configured(&file(&[])).started();
    host.stafd_with(&[A, B], 60);
    host.wait(60);
    let removed = RemovedDc { dc: host.peer.first().dc.clone(), reason: RemovalReason::AgedOut };
    host.kernel.iter_mut().find(|kernel| kernel.subsysnqn == A).unwrap().state = CtrlState::Connecting;
    host.send_snapshot();
    host.peer.view =
        Some(StafdView { dcs: Vec::new(), removed: Some(vec![removed]), is_complete: true, left_out: Vec::new() });
    host.feed(Event::DcRemoved);
    host.wait(60);
    assert_eq!(host.disconnected(), [A], "live storage is spared");
    let texts = causes(&host);
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("192.0.2.1, 8009") && texts[0].ends_with("which listed it, was removed"), "{texts:?}");

    let mut host = Host::configured(&file(&[line(A, "")])).started();
    host.configure(&format!("[Global]\nip-family=ipv6\n{}", file(&[line(A, "")])));
    host.wait(10);
    assert_eq!(causes(&host), ["disconnecting: ip-family= in stacd.conf excludes its address"]);

    let mut host = Host::configured(&audited("", &[line(A, "")]));
    host.add_owned(&tid(B), Owner::None);
    host.start();
    host.stafd_is(":1.5", libstas_view());
    host.wait(60);
    let scope = "disconnect-scope=all-connections-matching-disconnect-trtypes";
    assert_eq!(causes(&host), [format!("disconnecting: no source lists it ({scope})")]);
}

#[test]
fn a_loss_that_stacd_causes_is_not_reported_as_the_targets() {
    let mut host = Host::configured(&file(&[line(A, "")])).started();
    host.stafd_with(&[], 60);
    let ctrl = host.ctrls()[0];
    host.hold(Op::Disconnect);
    host.configure(&file(&[]));
    host.wait(1);
    host.ctrl(ctrl).state = CtrlState::Deleting;
    host.send_snapshot();
    assert_eq!(host.logged("lost its connection"), 0);
    host.wait(60);
    assert_eq!(host.logged("has been hanging in the kernel for 30 s"), 1);
    host.release(Op::Disconnect);
    host.wait(60);
    assert_eq!((host.logged("hanging"), host.gone.len()), (1, 1));
}

#[test]
fn a_state_that_is_not_known_yet_counts_as_live() {
    let mut host = Host::configured(&file(&[])).started();
    host.stafd_with(&[A], 60);
    let ctrl = host.ctrls()[0];
    host.kill();
    host.hold(Op::Snapshot);
    host.start();
    let dc = host.peer.first().dc.clone();
    let removed = stacd::connector::RemovedDc { dc, reason: stacd::connector::RemovalReason::AgedOut };
    host.stafd_is(
        ":1.6",
        stacd::connector::StafdView {
            dcs: Vec::new(),
            removed: Some(vec![removed]),
            is_complete: true,
            left_out: Vec::new(),
        },
    );
    host.wait(5);
    host.release(Op::Snapshot);
    host.wait(30);
    assert!(host.has(ctrl));
}

/// `exclude=` and `in-use=disconnect` disconnect storage in use, but keep storage from which the host runs.
#[test]
fn storage_in_use_is_kept_in_any_case_if_the_host_runs_from_it() {
    let ends = [
        file(&["exclude=transport=tcp\n".into()]),
        file(&[line(A, ""), format!("exclude=nqn={A}\n"), format!("exclude=nqn={B}\n")]),
        format!("[I/O controller connection management]\nin-use=disconnect\n{}", file(&[])),
        audited("in-use=disconnect\n", &[]),
    ];
    for end in &ends {
        // The swap may be so new that the last snapshot does not show it.
        for (restarts, is_known) in [(0, true), (0, false), (1, true)] {
            let mut host = Host::configured(&file(&[line(A, ""), line(B, "")])).started();
            host.stafd_with(&[], 60);
            host.wait(10);
            carries_system(&mut host, A, is_known);
            host.in_use.extend([A.to_owned(), B.to_owned()]);
            for _ in 0..restarts {
                host.restart();
                host.stafd_with(&[], 60);
                host.wait(10);
            }
            host.configure(end);
            host.wait(120);
            assert_eq!(host.nqns(), [A], "{restarts} restarts, known: {is_known}, {end}");
            assert_eq!(host.logged("is no longer wanted, but is kept: "), 1, "{end}");
            assert_eq!(host.logged("disconnecting: "), if is_known { 1 } else { 2 }, "{end}");
            // The check reports now that nothing depends on this path.
            host.in_use.clear();
            host.wait(120);
            assert_eq!(host.nqns(), [""; 0], "{restarts} restarts, {end}");
        }
    }
}

/// Several removals wait for one check after the other. All of them are done.
#[test]
fn each_removal_that_waits_for_a_check_follows_if_the_host_runs_from_several_controllers() {
    let ends = [
        file(&["exclude=transport=tcp\n".into()]),
        format!("[I/O controller connection management]\nin-use=disconnect\n{}", file(&[])),
    ];
    for end in &ends {
        let mut host = Host::configured(&file(&[line(A, ""), line(B, "")])).started();
        host.stafd_with(&[], 60);
        host.wait(10);
        carries_system(&mut host, A, true);
        carries_system(&mut host, B, true);
        host.hold(Op::CheckUse);
        host.configure(end);
        host.wait(5);
        assert_eq!(host.nqns(), [A, B], "{end}");
        host.release(Op::CheckUse);
        host.wait(1);
        assert_eq!(host.nqns(), [""; 0], "{end}");
    }
}

fn carries_system(host: &mut Host, nqn: &str, is_known: bool) {
    for kernel in host.kernel.iter_mut().filter(|kernel| kernel.subsysnqn == nqn) {
        kernel.carries_system = true;
    }
    if is_known {
        host.send_snapshot();
    }
}

/// The line loses its host-iface while that interface is down, and no other route leads to the target.
#[test]
fn a_connection_that_lacks_its_interface_is_kept_while_a_listed_controller_has_no_other() {
    for in_use in ["", "[I/O controller connection management]\nin-use=disconnect\n"] {
        let lines = |more: &str| format!("{in_use}{}", file(&[line(A, more)]));
        let mut host = Host::configured(&lines(";host-iface=eth1"));
        host.set_links(links(true));
        host.start();
        let bound = host.ctrls()[0];
        host.set_links(links(false));
        host.ctrl(bound).state = CtrlState::Connecting;
        host.send_snapshot();
        host.wait(30);
        host.dead.insert(TARGET.into());
        host.configure(&lines(""));
        host.wait(120);
        assert_eq!((host.ctrls(), host.gone.len()), (vec![bound], 0), "{in_use}");
        host.set_links(links(true));
        host.ctrl(bound).state = CtrlState::Live;
        host.wait(60);
        assert_eq!((host.ctrls(), host.gone.len()), (vec![bound], 0), "{in_use}");
        let member = &host.core.controller(&tid(A)).unwrap().member;
        assert_eq!(member.kernel.as_ref().map(|kernel| kernel.ctrl), Some(bound), "{in_use}");
    }
}
