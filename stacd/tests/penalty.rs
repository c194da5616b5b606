//! A controller that blocked the connect path is retried late, but with other parameters at once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use fake_host::{Connector, FakeHost, Op};
use libstas::core::{ConnectError, ConnectOutcome, HostEffect, HostEvent};
use stacd::connector::Effect;

type Host = FakeHost<Connector>;

const WRONG: &str = "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
const RIGHT: &str = "DHHC-1:00:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAl7OaH:";

fn configuration(secret: &str) -> String {
    format!("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a;dhchap-secret={secret}\n")
}

/// The target does not answer after a wrong secret: the write fails after 60 s.
fn blocked_for_a_minute() -> Host {
    let mut host = Host::configured(&configuration(WRONG));
    host.hold(Op::Connect);
    host.start();
    let Some(Effect::Host(HostEffect::Connect { op, .. })) = host.take_held(Op::Connect) else { panic!() };
    host.wait(60.0);
    let failed = ConnectOutcome::Failed(ConnectError::Kernel { errno: 5, explanation: "refused".into() });
    let HostEvent::Connected { op, mut report } = host.connect_report(op, failed) else { panic!() };
    report.blocked_for = Duration::from_secs(60);
    host.feed_host(HostEvent::Connected { op, report });
    host
}

#[test]
fn a_reload_does_not_end_the_penalty_of_a_controller() {
    let mut host = blocked_for_a_minute();
    host.wait(100.0);
    host.reload();
    host.wait(400.0);
    assert_eq!(host.count_of(Op::Connect), 1, "600 s have not passed");
    host.wait(200.0);
    assert_eq!(host.count_of(Op::Connect), 2);
}

#[test]
fn a_corrected_secret_is_tried_at_once() {
    let mut host = blocked_for_a_minute();
    host.wait(10.0);
    host.configure(&configuration(RIGHT));
    host.wait(1.0);
    assert_eq!(host.count_of(Op::Connect), 2);
    host.release(Op::Connect);
    assert_eq!(host.nqns(), ["nqn.a"]);
}

#[test]
fn a_secret_that_is_set_back_is_still_penalized() {
    let mut host = blocked_for_a_minute();
    host.configure(&configuration(RIGHT));
    host.wait(1.0);
    let Some(Effect::Host(HostEffect::Connect { op, .. })) = host.take_held(Op::Connect) else { panic!() };
    host.configure(&configuration(WRONG));
    let failed = ConnectOutcome::Failed(ConnectError::Kernel { errno: 5, explanation: "refused".into() });
    let event = host.connect_report(op, failed);
    host.feed_host(event);
    host.wait(400.0);
    assert_eq!(host.count_of(Op::Connect), 2);
}
