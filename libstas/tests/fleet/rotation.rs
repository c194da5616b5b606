//! A DH-HMAC-CHAP secret that changes under an existing connection.

use std::collections::BTreeSet;

use fake_host::HOST;
use libstas::core::{NotNvme, Portal, ProbeError, ProbeFailure, ProbeOutcome, Rotated, RotationError};
use libstas::nvme::secret::WITHHELD;
use libstas::nvme::{Secret, Transport};

use super::*;

const OLD: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
const NEW: &str = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
const CTRL: &str = "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";

fn with(secret: &str) -> Want {
    let parameters = Parameters { dhchap_secret: Some(Secret::new(secret)), ..Parameters::default() };
    Want { parameters, ..Want::default() }
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.host.hold(Op::RotateSecrets);
    scene
}

/// A controller that was connected with the old secret.
fn connected() -> (Scene, CtrlRef) {
    connected_as(&tid("a"))
}

fn connected_as(tid: &Tid) -> (Scene, CtrlRef) {
    let mut scene = scene();
    scene.want(tid, with(OLD));
    let (op, _) = scene.next_connect();
    let ctrl = scene.host.add(tid);
    scene.answer(op, ConnectOutcome::Made(ctrl));
    assert_eq!(scene.next(), None);
    (scene, ctrl)
}

/// The next comparison or trial, and its secret.
fn next_with(scene: &mut Scene, secret: &str) -> (OpId, CtrlRef) {
    match scene.next() {
        Some(HostEffect::RotateSecrets { op, ctrl, request }) => {
            assert_eq!(request.parameters.dhchap_secret.as_ref().map(Secret::reveal), Some(secret));
            (op, ctrl)
        }
        other => panic!("expected a comparison or trial, got {other:?}"),
    }
}

fn next_try(scene: &mut Scene) -> (OpId, CtrlRef) {
    next_with(scene, NEW)
}

fn answer(scene: &mut Scene, op: OpId, outcome: Rotated) {
    scene.hear(HostEvent::SecretsRotated { op, outcome, blocked_for: Duration::ZERO });
}

fn lose(scene: &mut Scene) {
    scene.host.kernel[0].state = CtrlState::Connecting;
}

/// The log lines about secrets so far.
fn logged(scene: &Scene) -> Vec<&str> {
    scene.host.log_records().map(|record| &*record.text).filter(|text| text.contains("DH-HMAC-CHAP")).collect()
}

/// A live controller for which a new secret was configured: nothing is tried yet.
fn pending() -> Scene {
    let (mut scene, ctrl) = connected();
    scene.want(&tid("a"), with(NEW));
    let (op, compared) = next_try(&mut scene);
    assert_eq!(compared, ctrl);
    answer(&mut scene, op, Rotated::Later);
    scene
}

/// The answer of a target that does not have the secret.
fn refused() -> ConnectError {
    ConnectError::Kernel { errno: 5, explanation: "refused".into() }
}

/// The same after its connection was lost, and a trial of the new secret blocked the connect path for a minute.
fn refused_after_a_minute() -> Scene {
    let mut scene = pending();
    lose(&mut scene);
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    let outcome = Rotated::Refused(refused());
    scene.hear(HostEvent::SecretsRotated { op, outcome, blocked_for: Duration::from_secs(60) });
    scene
}

fn is_pending(scene: &Scene) -> bool {
    scene.fleet().view(&tid("a")).unwrap().pending
}

#[test]
fn a_live_controller_keeps_its_secret_and_gets_the_new_one_when_its_connection_is_lost() {
    let mut scene = pending();
    for _ in 0..3600 {
        assert_eq!(scene.next(), None);
        scene.host.wait(1);
    }
    assert!(is_pending(&scene));
    lose(&mut scene);
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    answer(&mut scene, op, Rotated::Written);
    assert!(!is_pending(&scene));
    scene.host.wait(3600);
    assert_eq!(scene.next(), None);
}

#[test]
fn a_target_that_has_the_old_secret_still_keeps_the_kernel_on_it() {
    let mut scene = pending();
    lose(&mut scene);
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    answer(&mut scene, op, Rotated::Refused(refused()));
    scene.host.kernel[0].state = CtrlState::Live;
    scene.host.wait(1);
    while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
        answer(&mut scene, op, Rotated::Refused(refused()));
    }
    scene.host.wait(60);
    assert_eq!(scene.next(), None, "live with the old one, it waits for the next loss");
    assert!(is_pending(&scene));
    lose(&mut scene);
    scene.host.wait(1);
    next_try(&mut scene);
}

#[test]
fn a_lost_connection_is_noticed_within_a_second_and_its_secret_tried_until_the_target_answers() {
    let mut scene = pending();
    assert_eq!(scene.next(), None);
    lose(&mut scene);
    for _ in 0..3 {
        scene.host.wait(1);
        let (op, _) = next_try(&mut scene);
        answer(&mut scene, op, Rotated::Unknown(RotationError::Discovery));
        assert_eq!(scene.next(), None);
    }
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    answer(&mut scene, op, Rotated::Written);
    scene.host.wait(60);
    assert_eq!(scene.next(), None);
    assert_eq!(logged(&scene).len(), 3, "later, unknown, written; repeats are not logged: {:?}", logged(&scene));
}

#[test]
fn only_a_controller_that_the_kernel_reconnects_counts_as_lost() {
    for (state, is_tried) in [
        (CtrlState::Connecting, true),
        (CtrlState::Resetting, true),
        (CtrlState::Live, false),
        (CtrlState::New, false),
        (CtrlState::Deleting, false),
        (CtrlState::Dead, false),
        (CtrlState::Unknown, false),
    ] {
        let mut scene = pending();
        scene.host.kernel[0].state = state;
        scene.host.wait(3);
        let next = scene.next();
        assert_eq!(matches!(next, Some(HostEffect::RotateSecrets { .. })), is_tried, "{state:?}: {next:?}");
    }
}

/// Runs for `seconds` with probes that all fail with `failure`. Returns the time of each probe and of each trial since
/// the loss. A trial blocks the connect path for that time.
fn with_dead_verdicts(
    scene: &mut Scene,
    failure: ProbeFailure,
    seconds: u32,
    blocked_for: Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    lose(scene);
    let lost = scene.host.now;
    let (mut probes, mut trials) = (Vec::new(), Vec::new());
    for _ in 0..seconds * 10 {
        scene.host.wait(0.1);
        while let Some(effect) = scene.host.next_held() {
            match effect {
                HostEffect::TakeSnapshot(_) => {
                    let snapshot = scene.host.carry_out(effect).unwrap();
                    scene.host.feed(snapshot);
                }
                HostEffect::Probe { op, .. } => {
                    probes.push(scene.host.now.since(lost));
                    scene.hear(HostEvent::Probed { op, outcome: ProbeOutcome::Dead(failure) });
                }
                HostEffect::RotateSecrets { op, .. } => {
                    trials.push(scene.host.now.since(lost));
                    let outcome = Rotated::Unknown(RotationError::Discovery);
                    scene.hear(HostEvent::SecretsRotated { op, outcome, blocked_for });
                }
                _ => {}
            }
        }
    }
    (probes, trials)
}

/// The program that probes may be wrong. A portal that accepts connections and sends nothing would block the connect
/// path for a minute.
#[test]
fn a_verdict_that_a_portal_is_unreachable_is_tested_once_before_the_kernel_reconnects() {
    for (failure, tests) in [
        (ProbeFailure::Silent, 1),
        (ProbeFailure::Refused, 1),
        (ProbeFailure::NoRoute, 1),
        (ProbeFailure::NotNvme(NotNvme::Silent), 0),
        (ProbeFailure::NotNvme(NotNvme::Closes), 0),
    ] {
        let mut scene = pending();
        assert_eq!(scene.next(), None);
        let (probes, trials) = with_dead_verdicts(&mut scene, failure, 30, Duration::from_secs(3));
        assert!((20..=31).contains(&probes.len()), "{failure:?}: {probes:?}");
        assert_eq!(trials.len(), tests, "{failure:?}: {trials:?}");
        assert!(trials.iter().all(|at| *at < Duration::from_secs(9)), "{failure:?}: {trials:?}");
    }
}

/// After a network failure, trials at the dead portals would delay trials at live portals by a minute.
#[test]
fn few_verdicts_are_tested_when_many_portals_fail_together() {
    let mut scene = scene();
    for port in 0..20 {
        let tid = fake_host::at_port(&port.to_string(), &tid("a"));
        scene.host.add(&tid);
        scene.want(&tid, with(NEW));
    }
    for _ in 0..1000 {
        match scene.next() {
            Some(HostEffect::RotateSecrets { op, .. }) => answer(&mut scene, op, Rotated::Later),
            _ => scene.host.wait(0.1),
        }
    }
    scene.host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    let (_, trials) = with_dead_verdicts(&mut scene, ProbeFailure::Silent, 30, Duration::from_secs(3));
    assert!((1..=2).contains(&trials.len()), "{trials:?}");
}

/// Of the members that share a connection, the first one tries. Another one becomes the first during a loss.
#[test]
fn the_next_member_of_a_shared_connection_restarts_the_rotation() {
    let bound = on("eth0", "a");
    let (mut scene, _) = connected_as(&bound);
    scene.host.kernel[0].src_addr = Some("192.0.2.200".parse().unwrap());
    scene.host.set_links(Links(vec![fake_host::interface(1, "eth0", &["192.0.2.200"])]));
    scene.want(&bound, with(NEW));
    let (op, _) = next_try(&mut scene);
    answer(&mut scene, op, Rotated::Later);
    lose(&mut scene);
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    scene.hear(HostEvent::SecretsRotated {
        op,
        outcome: Rotated::Refused(refused()),
        blocked_for: Duration::from_secs(60),
    });
    // A member that sorts before `bound` is added, and removed during the next loss.
    let first = tid("a");
    assert!(first < bound);
    scene.host.kernel[0].state = CtrlState::Live;
    scene.want(&first, with(NEW));
    for _ in 0..30 {
        scene.host.wait(0.1);
        while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
            answer(&mut scene, op, Rotated::Later);
        }
    }
    lose(&mut scene);
    for _ in 0..15 {
        scene.host.wait(0.1);
        while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
            answer(&mut scene, op, Rotated::Unknown(RotationError::Discovery));
        }
    }
    scene.remove(&first, RemovalPolicy::SpareInUse);
    let mut tried = false;
    for _ in 0..30 {
        scene.host.wait(0.1);
        tried |= matches!(scene.next(), Some(HostEffect::RotateSecrets { .. }));
    }
    assert!(tried, "within 3 s");
}

#[test]
fn tests_that_confirm_a_verdict_become_rarer() {
    let mut scene = pending();
    assert_eq!(scene.next(), None);
    let mut tests = 0;
    for _ in 0..20 {
        tests += with_dead_verdicts(&mut scene, ProbeFailure::Silent, 20, Duration::from_secs(3)).1.len();
        scene.host.kernel[0].state = CtrlState::Live;
        for _ in 0..70 {
            scene.host.wait(1);
            while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
                answer(&mut scene, op, Rotated::Later);
            }
        }
    }
    assert!((2..=6).contains(&tests), "{tests}");
}

/// The first loss ended while its probe was under way.
#[test]
fn a_probe_of_an_earlier_loss_does_not_count_at_the_next_one() {
    for answered in [false, true] {
        let mut scene = pending();
        assert_eq!(scene.next(), None);
        lose(&mut scene);
        let first = next_probe(&mut scene);
        scene.host.kernel[0].state = CtrlState::Live;
        if answered {
            // The write of another controller keeps the trial waiting.
            scene.want(&tid("b"), Want::default());
            let (_, other) = scene.next_connect();
            assert_eq!(other, tid("b"));
            scene.hear(HostEvent::Probed { op: first, outcome: ProbeOutcome::Alive });
        }
        for _ in 0..30 {
            scene.host.wait(0.1);
            assert_eq!(scene.next(), None);
        }
        lose(&mut scene);
        let second = next_probe(&mut scene);
        assert_ne!(first, second, "answered: {answered}");
    }
}

/// The probes of all portals must end before the kernel reconnects.
#[test]
fn a_portal_is_probed_once_for_all_its_lost_connections() {
    let mut scene = scene();
    let names: Vec<String> = (0..100).map(|number| format!("nqn.{number}")).collect();
    for name in &names {
        scene.host.add(&tid(name));
        scene.want(&tid(name), with(NEW));
    }
    for _ in 0..1000 {
        match scene.next() {
            Some(HostEffect::RotateSecrets { op, .. }) => answer(&mut scene, op, Rotated::Later),
            _ => scene.host.wait(0.1),
        }
    }
    scene.host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    let op = next_probe(&mut scene);
    scene.host.wait(2);
    assert!(!scene.host.held.iter().any(|effect| matches!(effect, HostEffect::Probe { .. })));
    scene.hear(HostEvent::Probed { op, outcome: ProbeOutcome::Alive });
    let mut tried = 0;
    while tried < names.len() {
        match scene.next() {
            Some(HostEffect::RotateSecrets { op, .. }) => {
                answer(&mut scene, op, Rotated::Written);
                tried += 1;
            }
            other => panic!("{tried} of {} were tried, then {other:?}", names.len()),
        }
    }
}

/// The next probe.
fn next_probe(scene: &mut Scene) -> OpId {
    for _ in 0..200 {
        match scene.host.next_held() {
            Some(HostEffect::Probe { op, .. }) => return op,
            Some(effect) => {
                let snapshot = scene.host.carry_out(effect).unwrap();
                scene.host.feed(snapshot);
            }
            None => scene.host.wait(0.1),
        }
    }
    panic!("no probe within 20 s");
}

/// The program that probes may be away: the kernel reconnects after 10 s all the same.
#[test]
fn a_probe_without_an_answer_does_not_use_up_the_time_before_the_kernel_reconnects() {
    for answered in [true, false] {
        let mut scene = pending();
        assert_eq!(scene.next(), None);
        lose(&mut scene);
        let lost = scene.host.now;
        let op = next_probe(&mut scene);
        if answered {
            scene.hear(HostEvent::Probed { op, outcome: ProbeOutcome::Unknown(ProbeError::NoAnswer) });
        }
        let is_tried =
            |scene: &Scene| scene.host.held.iter().any(|effect| matches!(effect, HostEffect::RotateSecrets { .. }));
        while !is_tried(&scene) && scene.host.now < lost + Duration::from_secs(60) {
            scene.host.wait(0.1);
        }
        assert!(scene.host.now < lost + Duration::from_secs(6), "answered: {answered}");
        let (tried, _) = next_try(&mut scene);
        scene.hear(HostEvent::Probed { op, outcome: ProbeOutcome::Dead(ProbeFailure::Silent) });
        answer(&mut scene, tried, Rotated::Written);
        assert!(!is_pending(&scene), "a late answer changes nothing");
    }
}

/// Two controllers that differ only in the interface share one connection. Only the first one tries, whatever
/// the outcome is.
#[test]
fn a_secret_that_two_controllers_share_is_tried_once() {
    for (outcome, trials) in [
        (Rotated::Written, 1),
        (Rotated::HostWritten, 1),
        (Rotated::Refused(refused()), 30),
        (Rotated::Unknown(RotationError::Discovery), 30),
    ] {
        let bound = on("eth0", "a");
        let (mut scene, ctrl) = connected();
        scene.host.kernel[0].src_addr = Some("192.0.2.200".parse().unwrap());
        scene.host.set_links(Links(vec![fake_host::interface(1, "eth0", &["192.0.2.200"])]));
        scene.want(&bound, with(OLD));
        while let Some(effect) = scene.next() {
            if let HostEffect::RotateSecrets { op, .. } = effect {
                answer(&mut scene, op, Rotated::Current);
            }
        }
        for tid in [tid("a"), bound] {
            scene.want(&tid, with(NEW));
        }
        lose(&mut scene);
        scene.host.wait(1);
        let mut tried = 0;
        for _ in 0..300 {
            match scene.next() {
                Some(HostEffect::RotateSecrets { op, ctrl: asked, .. }) => {
                    assert_eq!(asked, ctrl);
                    tried += 1;
                    answer(&mut scene, op, outcome.clone());
                }
                _ => scene.host.wait(0.1),
            }
        }
        assert!((trials.min(20)..=trials).contains(&tried), "{outcome:?}: {tried}");
    }
}

#[test]
fn a_secret_that_holds_the_connect_path_for_long_is_kept_off_it_for_ten_times_as_long() {
    let mut scene = refused_after_a_minute();
    for _ in 0..599 {
        scene.host.wait(1);
        assert_eq!(scene.next(), None);
    }
    scene.host.wait(2);
    next_try(&mut scene);
}

#[test]
fn a_connection_that_is_lost_anew_is_tried_at_once_however_long_a_trial_took_before() {
    let mut scene = refused_after_a_minute();
    scene.host.kernel[0].state = CtrlState::Live;
    scene.host.wait(2);
    assert_eq!(scene.next(), None);
    lose(&mut scene);
    scene.host.wait(1);
    next_try(&mut scene);
}

#[test]
fn while_a_secret_is_tried_nothing_else_is_connected_and_a_live_one_waits_for_the_others() {
    let (mut scene, _) = connected();
    scene.want(&tid("b"), Want::default());
    scene.want(&tid("c"), Want::default());
    scene.want(&tid("a"), with(NEW));
    for name in ["b", "c"] {
        let (op, connected) = scene.next_connect();
        assert_eq!(connected, tid(name));
        assert!(!scene.host.held.iter().any(|effect| matches!(effect, HostEffect::RotateSecrets { .. })));
        scene.fail(op);
    }
    scene.host.wait(1);
    let mut next = scene.next();
    while let Some(HostEffect::Connect { op, .. }) = next {
        scene.fail(op);
        next = scene.next();
    }
    assert!(matches!(next, Some(HostEffect::RotateSecrets { .. })), "{next:?}");
    scene.host.wait(60);
    assert_eq!(scene.next(), None, "one write to the kernel at a time");
    scene.host.wait(60);
    let hangs = scene.host.log_records().filter(|record| record.text.contains("trying its new DH-HMAC-CHAP secret"));
    assert_eq!(hangs.count(), 1, "a trial that hangs is logged");
}

#[test]
fn an_adopted_connection_is_compared_once_and_a_host_key_counts_like_a_secret_of_its_own() {
    for outcome in [Rotated::Current, Rotated::Impossible] {
        let mut scene = scene();
        scene.identify(HostIdentity { key: Some(Secret::new(NEW)), ..HostIdentity::new(HOST, "1") });
        scene.host.add(&tid("a"));
        scene.want(&tid("a"), Want::default());
        let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() else { panic!("it is compared") };
        answer(&mut scene, op, outcome);
        scene.host.wait(3600);
        assert_eq!(scene.next(), None);
        assert_eq!(logged(&scene), [""; 0]);
    }
}

#[test]
fn a_secret_of_the_controller_that_the_kernel_does_not_take_stays_pending() {
    let (mut scene, ctrl) = connected();
    let mut want = with(NEW);
    want.parameters.dhchap_ctrl_secret = Some(Secret::new(CTRL));
    scene.want(&tid("a"), want);
    lose(&mut scene);
    let (op, tried) = next_try(&mut scene);
    assert_eq!(tried, ctrl);
    answer(&mut scene, op, Rotated::HostWritten);
    assert!(is_pending(&scene));
    scene.host.wait(3600);
    assert_eq!(scene.next(), None);
}

#[test]
fn a_secret_that_is_not_known_or_malformed_is_never_given_to_the_kernel() {
    for secret in [WITHHELD, "DHHC-1:nonsense"] {
        let (mut scene, _) = connected();
        scene.want(&tid("a"), with(secret));
        lose(&mut scene);
        scene.host.wait(60);
        assert_eq!(scene.next(), None);
    }
}

#[test]
fn nothing_is_tried_where_the_kernel_does_not_wait_for_the_targets_answer() {
    let fc = Tid::new(TidParts {
        transport: Transport::Fc,
        traddr: "nn-0x20000090fa942779:pn-0x10000090fa942779".into(),
        trsvcid: String::new(),
        subsysnqn: "a".into(),
        host_traddr: "nn-0x20000090fa942779:pn-0x10000090fa94277a".into(),
        host_iface: String::new(),
        host_nqn: String::new(),
    });
    let (mut scene, _) = connected_as(&fc);
    scene.want(&fc, with(NEW));
    lose(&mut scene);
    scene.host.wait(60);
    assert_eq!(scene.next(), None);
    assert!(scene.fleet().view(&fc).unwrap().pending);
}

#[test]
fn no_trial_is_made_in_the_clear_for_a_connection_that_is_encrypted() {
    for (encrypted, is_compared) in [(true, false), (false, true)] {
        let mut scene = scene();
        let ctrl = scene.host.add(&tid("a"));
        scene.host.ctrl(ctrl).encrypted = Some(encrypted);
        scene.want(&tid("a"), with(NEW));
        lose(&mut scene);
        scene.host.wait(60);
        let next = scene.next();
        assert_eq!(matches!(next, Some(HostEffect::RotateSecrets { .. })), is_compared, "{next:?}");
    }
}

#[test]
fn a_secret_that_changes_back_during_the_trial_is_compared_anew() {
    let mut scene = pending();
    lose(&mut scene);
    scene.host.wait(1);
    let (op, _) = next_try(&mut scene);
    scene.want(&tid("a"), with(OLD));
    answer(&mut scene, op, Rotated::Written);
    scene.host.wait(1);
    next_with(&mut scene, OLD);
}

#[test]
fn a_controller_that_is_no_longer_wanted_is_not_tried() {
    let mut scene = pending();
    lose(&mut scene);
    scene.remove(&tid("a"), RemovalPolicy::Keep);
    scene.host.wait(10);
    assert_eq!(scene.next(), None);
}

#[test]
fn an_answer_that_comes_after_the_connection_is_gone_changes_nothing_but_frees_the_connect_path() {
    let (mut scene, _) = connected();
    scene.want(&tid("a"), with(NEW));
    let (op, _) = next_try(&mut scene);
    scene.host.kernel.clear();
    scene.host.wait(20);
    assert_eq!(scene.next(), None);
    answer(&mut scene, op, Rotated::Written);
    assert_eq!(scene.next_connect().1, tid("a"));
}

/// Controllers of these trust levels with lost connections and new secrets. The trials wait until the connect path is
/// free: the write of another controller occupies it, and one more controller is queued.
fn lost_with_new_secrets(trust: &[(&str, Trust)]) -> (Scene, OpId) {
    let mut scene = scene();
    for (nqn, trust) in trust {
        scene.want(&tid(nqn), Want { trust: *trust, ..with(OLD) });
        let (op, _) = scene.next_connect();
        let ctrl = scene.host.add(&tid(nqn));
        scene.answer(op, ConnectOutcome::Made(ctrl));
    }
    for (nqn, trust) in trust {
        scene.want(&tid(nqn), Want { trust: *trust, ..with(NEW) });
        let (op, _) = next_try(&mut scene);
        answer(&mut scene, op, Rotated::Later);
    }
    scene.want(&tid("x"), Want::default());
    let (busy, _) = scene.next_connect();
    scene.want(&tid("y"), Want::default());
    scene.host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    scene.host.wait(2);
    assert_eq!(scene.next(), None);
    (scene, busy)
}

#[test]
fn the_trial_of_an_announced_controller_waits_for_the_queue_and_that_of_a_trusted_one_does_not() {
    let (mut scene, busy) = lost_with_new_secrets(&[("a", Trust::AnnouncedDc)]);
    scene.fail(busy);
    let (op, next) = scene.next_connect();
    assert_eq!(next, tid("y"));
    scene.fail(op);
    scene.host.wait(1);
    next_try(&mut scene);
    let (mut scene, busy) = lost_with_new_secrets(&[("a", Trust::ConfiguredDc)]);
    scene.fail(busy);
    next_try(&mut scene);
}

#[test]
fn the_most_trusted_lost_controller_is_tried_first() {
    let (mut scene, busy) =
        lost_with_new_secrets(&[("a", Trust::AnnouncedDc), ("b", Trust::ConfiguredDc), ("c", Trust::Administrator)]);
    let ctrl = |scene: &Scene, nqn| scene.fleet().kernel(&tid(nqn)).unwrap().ctrl;
    scene.fail(busy);
    for nqn in ["c", "b"] {
        let (op, tried) = next_try(&mut scene);
        assert_eq!(tried, ctrl(&scene, nqn));
        answer(&mut scene, op, Rotated::Written);
    }
    assert_eq!(scene.next_connect().1, tid("y"));
}

/// The delay also holds after the next loss of the connection.
#[test]
fn a_failed_trial_at_a_silent_portal_delays_the_announced_controllers_of_that_portal() {
    let refused = || Rotated::Refused(refused());
    for (trust, outcome, blocked_for, waits) in [
        (Trust::AnnouncedDc, refused(), 60, true),
        (Trust::ConfiguredDc, refused(), 60, false),
        (Trust::AnnouncedDc, refused(), 4, false),
        (Trust::AnnouncedDc, Rotated::Written, 60, false),
    ] {
        let (mut scene, busy) = lost_with_new_secrets(&[("a", trust), ("b", trust)]);
        scene.fail(busy);
        let op = loop {
            match scene.next() {
                Some(HostEffect::RotateSecrets { op, .. }) => break op,
                Some(HostEffect::Connect { op, .. }) => scene.fail(op),
                _ => scene.host.wait(1),
            }
        };
        scene.hear(HostEvent::SecretsRotated { op, outcome, blocked_for: Duration::from_secs(blocked_for) });
        let is_tried = matches!(scene.next(), Some(HostEffect::RotateSecrets { .. }));
        assert_eq!(!is_tried, waits, "{trust}, {blocked_for} s");
        if !waits {
            continue;
        }
        for state in [CtrlState::Live, CtrlState::Connecting] {
            scene.host.kernel.iter_mut().for_each(|kernel| kernel.state = state);
            scene.host.wait(2);
        }
        for _ in 0..500 {
            let effect = scene.next();
            assert!(!matches!(effect, Some(HostEffect::RotateSecrets { .. })));
            if let Some(HostEffect::Connect { op, .. }) = effect {
                scene.fail(op);
            }
            scene.host.wait(1);
        }
    }
}

/// One member is trusted, and the announced one comes first in the order of their TIDs.
#[test]
fn the_trial_for_a_shared_connection_has_the_priority_of_its_most_trusted_member() {
    let (announced, trusted) = (tid("a"), on("eth0", "a"));
    assert!(announced < trusted);
    let mut scene = scene();
    scene.want(&trusted, Want { trust: Trust::ConfiguredDc, ..with(OLD) });
    let (op, _) = scene.next_connect();
    let ctrl = scene.host.add(&trusted);
    scene.answer(op, ConnectOutcome::Made(ctrl));
    scene.want(&announced, Want { trust: Trust::AnnouncedDc, ..with(OLD) });
    assert_eq!(scene.fleet().view(&announced).unwrap().alias_of, Some(&trusted));
    while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
        answer(&mut scene, op, Rotated::Current);
    }
    scene.want(&trusted, Want { trust: Trust::ConfiguredDc, ..with(NEW) });
    scene.want(&announced, Want { trust: Trust::AnnouncedDc, ..with(NEW) });
    while let Some(HostEffect::RotateSecrets { op, .. }) = scene.next() {
        answer(&mut scene, op, Rotated::Later);
    }
    scene.want(&tid("x"), Want::default());
    let (busy, _) = scene.next_connect();
    scene.want(&tid("y"), Want::default());
    lose(&mut scene);
    scene.host.wait(2);
    assert_eq!(scene.next(), None);
    scene.fail(busy);
    next_try(&mut scene);
}

/// Controllers at 80 portals with lost connections and new secrets.
fn lost_at_many_portals(trust: Trust) -> Scene {
    let mut scene = scene();
    for port in 0..80 {
        let tid = fake_host::at_port(&port.to_string(), &tid("a"));
        scene.host.add(&tid);
        scene.want(&tid, Want { trust, ..with(NEW) });
    }
    for _ in 0..1000 {
        match scene.next() {
            Some(HostEffect::RotateSecrets { op, .. }) => answer(&mut scene, op, Rotated::Later),
            _ => scene.host.wait(0.1),
        }
    }
    scene.host.kernel.iter_mut().for_each(|kernel| kernel.state = CtrlState::Connecting);
    scene
}

/// The portals that are probed within that time, if no probe is answered.
fn probed_within(scene: &mut Scene, tenths: u32) -> BTreeSet<Portal> {
    let mut probed = BTreeSet::new();
    for _ in 0..tenths {
        scene.host.wait(0.1);
        while let Some(effect) = scene.host.next_held() {
            if let HostEffect::Probe { portal, .. } = &effect {
                probed.insert(portal.clone());
            }
            if let HostEffect::TakeSnapshot(_) = effect {
                let snapshot = scene.host.carry_out(effect).unwrap();
                scene.host.feed(snapshot);
            }
        }
    }
    probed
}

/// The host makes 64 probes at the same time.
#[test]
fn lost_controllers_leave_probes_to_those_that_are_to_be_connected() {
    for (trust, expected) in [(Trust::ConfiguredDc, 56), (Trust::AnnouncedDc, 48)] {
        let mut scene = lost_at_many_portals(trust);
        let first = probed_within(&mut scene, 20);
        assert_eq!(first.len(), expected, "{trust}");
        let second = probed_within(&mut scene, 40);
        assert_eq!(first.union(&second).count(), 80, "{trust}: all are probed in turn");
    }
}

/// A test of an announced portal would delay the tests of trusted ones.
#[test]
fn a_verdict_on_a_portal_that_only_mdns_lists_is_not_tested() {
    for (trust, is_tested) in [(Trust::ConfiguredDc, true), (Trust::AnnouncedDc, false)] {
        let mut scene = lost_at_many_portals(trust);
        let (_, trials) = with_dead_verdicts(&mut scene, ProbeFailure::Silent, 30, Duration::from_secs(3));
        assert_eq!(!trials.is_empty(), is_tested, "{trust}: {trials:?}");
    }
}

/// Any number of announced controllers may wait for their connects.
#[test]
fn the_comparison_for_a_trusted_controller_precedes_queued_announced_ones() {
    for (queued, waits) in [(Trust::ConfiguredDc, true), (Trust::AnnouncedDc, false)] {
        let (mut scene, ctrl) = connected();
        scene.want(&tid("x"), Want { trust: queued, ..Want::default() });
        let (busy, _) = scene.next_connect();
        scene.want(&tid("y"), Want { trust: queued, ..Want::default() });
        scene.want(&tid("a"), Want { trust: Trust::ConfiguredDc, ..with(NEW) });
        scene.host.wait(2);
        assert_eq!(scene.next(), None);
        scene.fail(busy);
        match scene.next() {
            Some(HostEffect::RotateSecrets { ctrl: compared, .. }) if !waits => assert_eq!(compared, ctrl),
            Some(HostEffect::Connect { .. }) if waits => {}
            other => panic!("{queued}: {other:?}"),
        }
    }
}
