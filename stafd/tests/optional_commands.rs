//! Optional commands after which a discovery controller drops the connection.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, dc, entry};
use libstas::bus::contract::PageState;
use libstas::core::{AdminError, Dctype, HostEvent};
use libstas::nvme::admin::CommandError;
use stafd::finder::Effect;

type Host = FakeHost<Finder>;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

/// Two centralized discovery controllers. The first drops the connection on that command.
fn with_fault(op: Op) -> Host {
    let mut host = Host::with(&[A, B]).page(A, vec![entry("192.0.2.9", "a")]);
    host.dctype = Dctype::Cdc;
    host.peer.drops_on.insert((A.into(), op));
    host.started()
}

/// How often the command was sent to the first discovery controller.
fn sent(host: &Host, op: Op) -> usize {
    let ctrl = host.kernel.iter().find(|kernel| kernel.traddr == A).unwrap().ctrl;
    host.count(|effect| match effect {
        Effect::ReadSupported { ctrl: to, .. } => (op, *to) == (Op::ReadSupported, ctrl),
        Effect::Register { ctrl: to, .. } => (op, *to) == (Op::Register, ctrl),
        _ => false,
    })
}

fn page_state(host: &Host, traddr: &str) -> PageState {
    host.core.controller(&dc(traddr)).unwrap().log_page_state
}

#[test]
fn a_command_that_ends_the_connection_is_not_sent_again_to_that_discovery_controller_and_to_others_as_ever() {
    for op in [Op::ReadSupported, Op::Register] {
        let mut host = with_fault(op);
        for _ in 0..5 {
            host.wait(10);
            host.reconnect(A);
        }
        host.wait(60);
        // One loss of the connection proves less of a registration than of log page 00h.
        let losses = if op == Op::Register { 3 } else { 1 };
        assert_eq!(sent(&host, op), losses, "{op:?}");
        assert_eq!((page_state(&host, A), page_state(&host, B)), (PageState::Fresh, PageState::Fresh));
        assert_eq!(host.core.controller(&dc(A)).unwrap().log_page.unwrap().entries.len(), 1);
        assert_eq!(host.logged("is not sent to it again"), 1, "{op:?}");
        // The other one is reconnected, too, and the command is sent to it again.
        let before = host.count_of(op);
        host.lose(B);
        host.reconnect(B);
        host.wait(10);
        assert_eq!(host.count_of(op), before + 1, "{op:?}");
        host.restart();
        host.wait(10);
        // A restart forgets. But log page 00h is of no use if the page is read with the entries of all ports.
        let again = if op == Op::Register { 1 } else { 0 };
        assert_eq!(sent(&host, op), losses + again, "{op:?}");
    }
}

#[test]
fn it_does_not_matter_how_the_loss_is_learned_of() {
    // The kernel removes the controller, reconnects it unnoticed, or a snapshot shows that it reconnects.
    for way in 0..3 {
        let mut host = with_fault(Op::ReadSupported);
        match way {
            0 => {
                host.kernel.retain(|kernel| kernel.traddr != A);
                host.send_snapshot();
            }
            1 => host.reconnect(A),
            _ => {
                host.send_snapshot();
                host.reconnect(A);
            }
        }
        host.wait(120);
        assert_eq!(page_state(&host, A), PageState::Fresh, "{way}");
        assert_eq!(host.logged("is not sent to it again"), 1, "{way}");
    }
}

#[test]
fn a_connection_that_survived_the_command_may_be_lost_without_blame() {
    for reply_is_error in [false, true] {
        let mut host = Host::with(&[A]);
        host.dctype = Dctype::Cdc;
        if reply_is_error {
            let failed = stafd::finder::NotRegistered::Failed {
                reason: AdminError::from(CommandError::Host("internal error".into())).into(),
                again: false,
            };
            host.peer.register_answers = [Err(failed)].into();
        }
        host.start();
        for count in 2..5 {
            host.wait(60);
            host.lose(A);
            host.reconnect(A);
            host.wait(10);
            assert_eq!(sent(&host, Op::ReadSupported), count);
            assert_eq!(sent(&host, Op::Register), count);
        }
        assert_eq!(host.logged("is not sent to it again"), 0);
    }
}

#[test]
fn events_that_are_lost_while_a_command_is_in_flight_prove_nothing() {
    let mut host = Host::with(&[A]);
    host.hold(Op::ReadSupported);
    host.start();
    host.feed_host(HostEvent::Overrun);
    host.release(Op::ReadSupported);
    host.wait(60);
    assert_eq!(host.logged("is not sent to it again"), 0);
    assert_eq!(page_state(&host, A), PageState::Fresh);
    host.lose(A);
    host.reconnect(A);
    host.wait(10);
    assert!(sent(&host, Op::ReadSupported) > 1);
}

/// Whether each read of the log page requested the port-local entries only.
fn port_local(host: &Host) -> Vec<bool> {
    let read = |effect: &Effect| if let Effect::ReadLogPage { pleo, .. } = effect { Some(*pleo) } else { None };
    host.effects.iter().filter_map(read).collect()
}

#[test]
fn after_a_page_with_the_entries_of_all_ports_no_page_is_read_with_fewer() {
    let mut host = Host::with(&[A]).page(A, vec![entry(A, "a"), entry("192.0.2.9", "a")]);
    host.hold(Op::ReadSupported);
    host.start();
    let Some(Effect::ReadSupported { op, .. }) = host.take_held(Op::ReadSupported) else { panic!() };
    host.feed(stafd::finder::Event::SupportedRead {
        op,
        result: Err(AdminError::Command(CommandError::Host("Interrupted system call".to_owned()))),
    });
    host.release(Op::ReadSupported);
    host.wait(10);
    assert_eq!(port_local(&host), [false]);
    for restart in [false, true] {
        match restart {
            false => {
                host.lose(A);
                host.reconnect(A);
            }
            true => host.restart(),
        }
        host.wait(10);
        let reads = port_local(&host);
        assert!(reads.len() > 1 && !reads.contains(&true), "{reads:?}, restart: {restart}");
    }
}

#[test]
fn once_the_entries_of_all_ports_were_listed_no_pleo_hides_some() {
    let controllers = format!("[Controllers]\ncontroller=transport=tcp;traddr={A}\n");
    for (warnings, changed) in [
        (0, "[Global]\npleo=disbled\n"),
        (1, "[Globl]\npleo=disabled\n"),
        (1, "[Global]\npleoo=disabled\n"),
        (1, ""),
        (1, "[Global]\npleo=enabled\n"),
    ] {
        let changed = format!("{changed}{controllers}");
        for restart in [false, true] {
            let mut host = Host::configured(&format!("[Global]\npleo=disabled\n{controllers}"))
                .page(A, vec![entry(A, "a")])
                .other_ports(A, vec![entry("192.0.2.9", "a")])
                .started();
            host.wait(60);
            match restart {
                false => drop(host.try_to_configure(&changed)),
                true => {
                    host.write(&changed);
                    host.restart();
                }
            }
            for _ in 0..2 {
                host.wait(60);
                let view = host.core.controller(&dc(A)).unwrap();
                assert_eq!(view.log_page.unwrap().entries.len(), 2, "{changed}, restart: {restart}");
                assert_eq!(view.log_page_state, PageState::Fresh);
                host.lose(A);
                host.reconnect(A);
            }
            assert!(!port_local(&host).contains(&true), "{changed}, restart: {restart}");
            let expected = if restart { 0 } else { warnings };
            assert_eq!(
                host.logged("pleo=enabled has no effect on the known discovery controllers (1)"),
                expected,
                "{changed}"
            );
        }
    }
}

#[test]
fn pleo_may_be_disabled_at_any_time() {
    let controllers = format!("[Controllers]\ncontroller=transport=tcp;traddr={A}\n");
    let mut host = Host::configured(&controllers)
        .page(A, vec![entry(A, "a")])
        .other_ports(A, vec![entry("192.0.2.9", "a")])
        .started();
    host.wait(60);
    let entries = |host: &Host| host.core.controller(&dc(A)).unwrap().log_page.unwrap().entries.len();
    assert_eq!(entries(&host), 1);
    host.configure(&format!("[Global]\npleo=disabled\n{controllers}"));
    host.wait(1);
    assert_eq!(entries(&host), 2);
}

/// Loses the connection while the registration is in flight, and reconnects. `late`: the loss is reported first.
fn lose_while_registering(host: &mut Host, late: bool) {
    let Some(Effect::Register { op, .. }) = host.take_held(Op::Register) else { panic!("nothing is registered") };
    let answer = stafd::finder::Event::Registered { op, result: Err(stafd::finder::NotRegistered::Lost) };
    match late {
        false => {
            host.feed(answer);
            host.lose(A);
        }
        true => {
            host.lose(A);
            host.feed(answer);
        }
    }
    host.reconnect(A);
    host.wait(10);
}

#[test]
fn a_connection_that_is_lost_by_chance_during_the_registration_does_not_end_it() {
    for late in [false, true] {
        let mut host = Host::with(&[A]);
        host.dctype = Dctype::Cdc;
        host.hold(Op::Register);
        host.start();
        host.wait(10);
        let registration = |host: &Host| host.core.controller(&dc(A)).unwrap().registration;
        // A success in between starts the count again.
        for _ in 0..2 {
            lose_while_registering(&mut host, late);
            lose_while_registering(&mut host, late);
            host.release(Op::Register);
            assert_eq!(registration(&host).as_deref(), Some("registered"), "late: {late}");
            host.hold(Op::Register);
            host.lose(A);
            host.reconnect(A);
            host.wait(10);
        }
        for _ in 0..3 {
            assert_eq!(host.logged("is not sent to it again"), 0, "late: {late}");
            lose_while_registering(&mut host, late);
        }
        let blocked = "not registered: each of 3 attempts lost the connection; `systemctl reload stafd` tries again";
        assert_eq!(registration(&host).as_deref(), Some(blocked), "late: {late}");
        assert_eq!(
            host.logged(
                "after the optional command Discovery Information Management 3 times in a row, so the command is not \
                 sent to it again before `systemctl reload stafd`: this host is not registered with it"
            ),
            1
        );
        host.lose(A);
        host.reconnect(A);
        host.wait(3600);
        assert!(host.take_held(Op::Register).is_none(), "late: {late}");
        host.release(Op::Register);
        host.reload();
        host.wait(10);
        assert_eq!(registration(&host).as_deref(), Some("registered"), "a reload tries again, late: {late}");
    }
}

#[test]
fn after_a_page_with_the_entries_of_one_port_those_of_all_ports_may_be_read() {
    let mut host = Host::with(&[A]).page(A, vec![entry(A, "a")]).started();
    host.wait(10);
    assert_eq!(port_local(&host), [true]);
    host.peer.drops_on.insert((A.into(), Op::ReadSupported));
    for _ in 0..2 {
        host.lose(A);
        host.reconnect(A);
        host.wait(10);
    }
    assert_eq!(port_local(&host).last(), Some(&false));
}
