use super::*;
use crate::Supply;
use crate::probe::ProbeFailure;
use stas_nvme::{Secret, TidParts, Transport};

fn tid(traddr: &str, nqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "4420".into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
    })
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

const FIRST: EnqueueInfo =
    EnqueueInfo { trust: Trust::Administrator, listed_by: None, repeated: false, portal_live: false, secret: false };

fn attempt_parameters(secret: &str) -> AttemptParameters {
    let parameters = Parameters { dhchap_secret: Some(Secret::new(secret)), ..Parameters::default() };
    AttemptParameters { parameters, identity: Arc::new(HostIdentity::new("nqn.h", String::new())) }
}

fn slow() -> Write {
    Write {
        failed: true,
        blocked_for: Duration::from_secs(3),
        portal_live: false,
        announced_only: false,
        attempt_parameters: attempt_parameters("wrong"),
    }
}

fn refused() -> Write {
    Write { blocked_for: Duration::from_millis(50), ..slow() }
}

fn connected() -> Write {
    Write { failed: false, ..refused() }
}

#[derive(Default)]
struct Scene {
    connect_queue: ConnectQueue,
    supply: Supply,
    out: Vec<HostEffect>,
}

impl Scene {
    fn enter(&mut self, now: Time, tid: &Tid, info: EnqueueInfo) {
        self.connect_queue.enter(&mut Context::new(now, &mut self.supply, &mut self.out), tid, info);
    }

    /// The requested probes, and whether each may be skipped.
    fn probes(&mut self) -> Vec<(OpId, String, bool)> {
        let probe = |effect| match effect {
            HostEffect::Probe { op, portal, only_if_others_wait, .. } => (op, portal.traddr, only_if_others_wait),
            other => panic!("{other:?}"),
        };
        self.out.drain(..).map(probe).collect()
    }

    fn answer(&mut self, now: Time, op: OpId, outcome: ProbeOutcome) -> Vec<Rejected> {
        self.connect_queue.probed(&mut Context::new(now, &mut self.supply, &mut self.out), op, &outcome)
    }

    fn tick(&mut self, now: Time) -> (Vec<Rejected>, Option<Duration>) {
        let ctx = &mut Context::new(now, &mut self.supply, &mut self.out);
        let due = ctx.timers.due(now);
        self.connect_queue.tick(ctx, &due)
    }

    fn ended(&mut self, now: Time, op: OpId, tid: &Tid, write: Write) -> Ended {
        self.connect_queue.ended(&mut Context::new(now, &mut self.supply, &mut self.out), op, tid, write)
    }

    fn write(&mut self, now: Time) -> Option<(OpId, Tid)> {
        let ctx = &mut Context::new(now, &mut self.supply, &mut self.out);
        let (tid, urgency) = self.connect_queue.take_turn(ctx, |_| true)?;
        let op = ctx.next_op();
        self.connect_queue.start(ctx, op, urgency);
        Some((op, tid))
    }
}

#[test]
fn first_attempts_without_a_secret_precede_those_with_one() {
    let mut scene = Scene::default();
    let live = EnqueueInfo { portal_live: true, ..FIRST };
    scene.enter(at(0), &tid("192.0.2.1", "with a secret"), EnqueueInfo { secret: true, ..live.clone() });
    scene.enter(at(0), &tid("192.0.2.1", "tried before"), EnqueueInfo { repeated: true, ..live.clone() });
    scene.enter(at(0), &tid("192.0.2.1", "without"), live);
    let mut order = Vec::new();
    while let Some((op, tid)) = scene.write(at(1)) {
        scene.ended(at(1), op, &tid, Write { portal_live: true, ..connected() });
        order.push(tid.subsysnqn.clone());
    }
    assert_eq!(order, ["without", "with a secret", "tried before"]);
}

/// Empties the queue: the NQNs in the order of their turns.
fn order(scene: &mut Scene) -> Vec<String> {
    let mut order = Vec::new();
    while let Some((op, tid)) = scene.write(at(1)) {
        scene.ended(at(1), op, &tid, Write { portal_live: true, ..connected() });
        order.push(tid.subsysnqn.clone());
    }
    order
}

#[test]
fn the_most_trusted_come_first_and_those_that_may_block_the_path_last() {
    let mut scene = Scene::default();
    let live = |trust, repeated| EnqueueInfo { trust, repeated, portal_live: true, ..FIRST };
    for (name, trust, repeated) in [
        ("announced", Trust::AnnouncedDc, false),
        ("of a configured DC, again", Trust::ConfiguredDc, true),
        ("of a configured DC", Trust::ConfiguredDc, false),
        ("firmware", Trust::Firmware, false),
        ("configured, again", Trust::Administrator, true),
        ("configured", Trust::Administrator, false),
    ] {
        scene.enter(at(0), &tid("192.0.2.1", name), live(trust, repeated));
    }
    scene.enter(at(0), &tid("192.0.2.2", "configured, unclear"), FIRST);
    let op = scene.probes()[0].0;
    scene.answer(at(0), op, ProbeOutcome::Unknown(ProbeError::NoAnswer));
    let expected = [
        "configured",
        "configured, again",
        "firmware",
        "of a configured DC",
        "of a configured DC, again",
        "announced",
        "configured, unclear",
    ];
    assert_eq!(order(&mut scene), expected);
}

#[test]
fn the_pages_of_one_level_take_turns() {
    let mut scene = Scene::default();
    let of = |dc: &str| EnqueueInfo { listed_by: Some(tid(dc, "dc")), portal_live: true, ..FIRST };
    for name in ["a1", "a2", "a3", "a4"] {
        scene.enter(at(0), &tid("192.0.2.1", name), of("192.0.2.101"));
    }
    let (op, first) = scene.write(at(0)).unwrap();
    assert_eq!(first.subsysnqn, "a1");
    for (name, dc) in [("b1", "192.0.2.102"), ("b2", "192.0.2.102"), ("c1", "192.0.2.103")] {
        scene.enter(at(0), &tid("192.0.2.1", name), of(dc));
    }
    scene.ended(at(0), op, &first, Write { portal_live: true, ..connected() });
    assert_eq!(order(&mut scene), ["b1", "c1", "a2", "b2", "a3", "a4"]);
    scene.enter(at(2), &tid("192.0.2.1", "a5"), of("192.0.2.101"));
    scene.enter(at(2), &tid("192.0.2.1", "d1"), of("192.0.2.104"));
    assert_eq!(order(&mut scene), ["a5", "d1"], "what was served before the queue was empty does not count");
}

#[test]
fn announced_portals_leave_probes_to_others_and_wait_for_them() {
    let mut scene = Scene::default();
    let announced = || EnqueueInfo { trust: Trust::AnnouncedDc, ..FIRST };
    for n in 0..200 {
        scene.enter(at(0), &tid(&format!("198.51.100.{n}"), "a"), announced());
    }
    let begun = scene.probes();
    assert_eq!(begun.len(), PROBES - RESERVED_PROBES);
    for n in 0..20 {
        scene.enter(at(1), &tid(&format!("192.0.2.{n}"), "a"), FIRST);
    }
    let is_configured = |probes: &[(OpId, String, bool)]| {
        probes.iter().filter(|(_, traddr, _)| traddr.starts_with("192.0.2.")).count() == probes.len()
    };
    let now = scene.probes();
    assert_eq!((now.len(), is_configured(&now)), (RESERVED_PROBES, true));
    for (op, ..) in &begun[..12] {
        scene.answer(at(3), *op, ProbeOutcome::Dead(ProbeFailure::Silent));
        let next = scene.probes();
        assert_eq!(
            (next.len(), is_configured(&next)),
            (1, true),
            "the configured ones come before the other announced ones"
        );
    }
    scene.answer(at(3), begun[12].0, ProbeOutcome::Dead(ProbeFailure::Silent));
    assert_eq!(scene.probes().len(), 0, "the reserved probes are under way");
}

#[test]
fn controllers_of_one_portal_share_a_probe_and_are_connected_in_turn() {
    let mut scene = Scene::default();
    scene.enter(at(0), &tid("192.0.2.1", "a"), FIRST);
    scene.enter(at(0), &tid("192.0.2.1", "b"), FIRST);
    let probes = scene.probes();
    assert_eq!(probes.len(), 1);
    assert!(scene.write(at(0)).is_none());
    scene.answer(at(0), probes[0].0, ProbeOutcome::Alive);
    let (op, first) = scene.write(at(0)).unwrap();
    assert_eq!(first, tid("192.0.2.1", "a"));
    assert!(scene.write(at(0)).is_none(), "one write at a time");
    scene.ended(at(0), op, &first, Write { portal_live: true, ..connected() });
    assert_eq!(scene.write(at(0)).unwrap().1, tid("192.0.2.1", "b"));
}

#[test]
fn a_portal_that_answered_or_is_live_is_not_probed_again() {
    let mut scene = Scene::default();
    scene.enter(at(0), &tid("192.0.2.1", "a"), FIRST);
    let op = scene.probes()[0].0;
    scene.answer(at(0), op, ProbeOutcome::Alive);
    scene.enter(at(1), &tid("192.0.2.1", "b"), FIRST);
    scene.enter(at(1), &tid("192.0.2.2", "c"), EnqueueInfo { portal_live: true, ..FIRST });
    assert!(scene.probes().is_empty());
    scene.enter(at(3), &tid("192.0.2.1", "d"), FIRST);
    assert_eq!(scene.probes().len(), 1);
}

#[test]
fn at_most_64_portals_are_probed_at_once() {
    let mut scene = Scene::default();
    for n in 0..100 {
        scene.enter(at(0), &tid(&format!("192.0.2.{n}"), "a"), FIRST);
    }
    let probes = scene.probes();
    assert_eq!(probes.len(), PROBES);
    scene.answer(at(3), probes[0].0, ProbeOutcome::Dead(ProbeFailure::Silent));
    assert_eq!(scene.probes().len(), 1);
}

#[test]
fn dead_portals_are_rejected_and_unclear_ones_come_last() {
    let mut scene = Scene::default();
    for n in 1..=3 {
        scene.enter(at(0), &tid(&format!("192.0.2.{n}"), "a"), FIRST);
    }
    let probes = scene.probes();
    let rejected = scene.answer(at(0), probes[0].0, ProbeOutcome::Dead(ProbeFailure::Refused));
    let not_after = Some(at(0) + BELIEVED);
    let reason = ProbeFailure::Refused.into();
    assert_eq!(rejected, [Rejected { tid: tid("192.0.2.1", "a"), reason, not_after }]);
    scene.answer(at(0), probes[1].0, ProbeOutcome::Unknown(ProbeError::NoAnswer));
    scene.answer(at(0), probes[2].0, ProbeOutcome::Alive);
    assert_eq!(scene.write(at(0)).unwrap().1, tid("192.0.2.3", "a"));
}

#[test]
fn first_attempts_precede_repeated_ones() {
    let mut scene = Scene::default();
    let live = |repeated| EnqueueInfo { repeated, portal_live: true, ..FIRST };
    scene.enter(at(0), &tid("192.0.2.1", "again"), live(true));
    scene.enter(at(0), &tid("192.0.2.1", "new"), live(false));
    assert_eq!(scene.write(at(0)).unwrap().1, tid("192.0.2.1", "new"));
}

#[test]
fn a_penalized_controller_is_retried_late_last_and_only_after_a_handshake() {
    let mut scene = Scene::default();
    let penalized = tid("192.0.2.66", "a");
    scene.enter(at(0), &penalized, FIRST);
    let op = scene.probes()[0].0;
    scene.answer(at(0), op, ProbeOutcome::Alive);
    let (op, _) = scene.write(at(0)).unwrap();
    scene.enter(at(1), &tid("192.0.2.66", "sibling"), EnqueueInfo { portal_live: true, ..FIRST });
    let ended = scene.ended(at(3), op, &penalized, slow());
    assert_eq!(ended.penalty_until, Some(at(33)));
    assert_eq!(ended.rejected.len(), 1, "the controller queued for the same portal is rejected with it");
    assert_eq!(scene.connect_queue.penalty_until(&penalized, &attempt_parameters("wrong")), Some(at(33)));
    scene.enter(at(40), &penalized, EnqueueInfo { repeated: true, ..FIRST });
    let probes = scene.probes();
    assert!(!probes[0].2, "after a failure it is not skipped");
    scene.answer(at(40), probes[0].0, ProbeOutcome::Alive);
    scene.enter(at(40), &tid("192.0.2.1", "b"), EnqueueInfo { repeated: true, portal_live: true, ..FIRST });
    assert_eq!(scene.write(at(40)).unwrap().1, tid("192.0.2.1", "b"));
}

#[test]
fn a_silent_portal_that_is_only_announced_is_tried_once_in_ten_minutes() {
    for (announced_only, seconds, penalty) in [(false, 6, 60), (true, 6, 600), (true, 3, 30), (true, 90, 900)] {
        let mut scene = Scene::default();
        let tid = tid("192.0.2.1", "a");
        let blocked_for = Duration::from_secs(seconds);
        attempt(&mut scene, at(0), &tid, FIRST, Write { announced_only, blocked_for, ..slow() });
        let until = scene.connect_queue.penalty_until(&tid, &attempt_parameters("wrong"));
        assert_eq!(until, Some(at(penalty)), "announced only: {announced_only}, blocked for {seconds} s");
    }
}

#[test]
fn a_slow_failure_at_a_live_portal_penalizes_only_its_controller() {
    let mut scene = Scene::default();
    let bad = tid("192.0.2.1", "bad");
    scene.enter(at(0), &bad, EnqueueInfo { portal_live: true, ..FIRST });
    let (op, _) = scene.write(at(0)).unwrap();
    let ended = scene.ended(at(3), op, &bad, Write { portal_live: true, ..slow() });
    assert_eq!(ended.penalty_until, Some(at(33)));
    scene.enter(at(3), &tid("192.0.2.1", "good"), EnqueueInfo { portal_live: true, ..FIRST });
    assert_eq!(scene.write(at(3)).unwrap().1, tid("192.0.2.1", "good"));
}

#[test]
fn a_hanging_probe_keeps_its_slot_and_its_controllers_count_as_unclear() {
    let mut scene = Scene::default();
    scene.enter(at(0), &tid("192.0.2.1", "a"), FIRST);
    let op = scene.probes()[0].0;
    assert_eq!(scene.supply.deadline(), Some(at(0) + PROBE_DEADLINE));
    let (rejected, _) = scene.tick(at(10));
    assert!(rejected.is_empty());
    assert!(scene.connect_queue.queued(&tid("192.0.2.1", "a")));
    assert!(scene.answer(at(50), op, ProbeOutcome::Dead(ProbeFailure::Silent)).is_empty());
    assert!(scene.connect_queue.queued(&tid("192.0.2.1", "a")), "a late answer changes no newer attempt");
}

#[test]
fn a_hanging_write_is_logged_once_and_keeps_the_connect_path() {
    let mut scene = Scene::default();
    scene.enter(at(0), &tid("192.0.2.1", "a"), EnqueueInfo { portal_live: true, ..FIRST });
    let (op, tid_a) = scene.write(at(0)).unwrap();
    let (_, hanging) = scene.tick(at(90));
    assert_eq!(hanging, Some(WRITE_DEADLINE));
    scene.enter(at(90), &tid("192.0.2.1", "b"), EnqueueInfo { portal_live: true, ..FIRST });
    assert!(scene.write(at(0)).is_none());
    scene.ended(at(200), op, &tid_a, Write { portal_live: true, ..slow() });
    assert!(scene.write(at(0)).is_some());
}

#[test]
fn a_controller_that_left_the_queue_is_not_connected() {
    let mut scene = Scene::default();
    let gone = tid("192.0.2.1", "a");
    scene.enter(at(0), &gone, FIRST);
    scene.connect_queue.leave(&gone);
    let op = scene.probes()[0].0;
    scene.answer(at(0), op, ProbeOutcome::Alive);
    assert!(scene.write(at(0)).is_none());
}

/// A short loss of the route must not fill the connect queue with hundreds of dead controllers.
#[test]
fn a_queued_controller_with_an_unclear_probe_is_probed_again() {
    let mut scene = Scene::default();
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|traddr| tid(traddr, "a"));
    for each in &all {
        scene.enter(at(0), each, FIRST);
    }
    let unknown = || ProbeOutcome::Unknown(ProbeError::NoAnswer);
    for (op, ..) in scene.probes() {
        assert!(scene.answer(at(0), op, unknown()).is_empty());
    }
    let (op, first) = scene.write(at(1)).unwrap();
    assert_eq!(first, all[0], "what could not be told a moment ago is tried");
    scene.ended(at(4), op, &first, slow());
    assert!(scene.write(at(4)).is_none());
    let probes = scene.probes();
    assert_eq!(probes.iter().map(|(_, traddr, _)| traddr.as_str()).collect::<Vec<_>>(), ["192.0.2.2", "192.0.2.3"]);
    let rejected = scene.answer(at(5), probes[0].0, ProbeOutcome::Dead(ProbeFailure::Refused));
    assert_eq!(rejected.len(), 1);
    assert!(scene.write(at(5)).is_none());
    assert!(scene.answer(at(6), probes[1].0, unknown()).is_empty());
    assert_eq!(scene.write(at(6)).unwrap().1, all[2]);
    assert!(scene.probes().is_empty());
}

/// Hundreds of announced portals may answer once and then be gone: each connect to one takes seconds.
#[test]
fn announced_controllers_that_wait_are_probed_again_and_keep_their_places() {
    let mut scene = Scene::default();
    let announced = || EnqueueInfo { trust: Trust::AnnouncedDc, ..FIRST };
    let all = ["192.0.2.4", "192.0.2.3", "192.0.2.2", "192.0.2.1"].map(|traddr| tid(traddr, "a"));
    for each in &all {
        scene.enter(at(0), each, announced());
        let (op, ..) = scene.probes()[0];
        assert!(scene.answer(at(0), op, ProbeOutcome::Alive).is_empty());
    }
    let (op, first) = scene.write(at(1)).unwrap();
    assert_eq!(first, all[0], "its answer is new");
    scene.ended(at(4), op, &first, refused());
    let late = tid("192.0.2.9", "a");
    scene.enter(at(4), &late, announced());
    let (op, ..) = scene.probes()[0];
    assert!(scene.answer(at(4), op, ProbeOutcome::Alive).is_empty());
    let (op_late, next) = scene.write(at(4)).unwrap();
    assert_eq!(next, late, "the answers of the others are old");
    let probes = scene.probes();
    let portals: Vec<_> = probes.iter().map(|(_, traddr, may_be_skipped)| (traddr.as_str(), *may_be_skipped)).collect();
    assert_eq!(portals, [("192.0.2.3", false), ("192.0.2.2", false), ("192.0.2.1", false)]);
    let later = tid("192.0.2.10", "a");
    scene.enter(at(5), &later, announced());
    let (op, ..) = scene.probes()[0];
    assert!(scene.answer(at(5), op, ProbeOutcome::Alive).is_empty());
    let rejected = scene.answer(at(5), probes[0].0, ProbeOutcome::Dead(ProbeFailure::Silent));
    assert_eq!(rejected, [Rejected::new(all[1].clone(), ProbeFailure::Silent)]);
    for (op, ..) in &probes[1..] {
        assert!(scene.answer(at(5), *op, ProbeOutcome::Alive).is_empty());
    }
    scene.ended(at(9), op_late, &late, connected());
    let mut order = Vec::new();
    while let Some((op, tid)) = scene.write(at(10)) {
        if tid == later {
            break;
        }
        scene.ended(at(10), op, &tid, connected());
        order.push(tid);
    }
    assert_eq!(order, [all[2].clone(), all[3].clone()], "they are probed only once more");
    let probes = scene.probes();
    assert_eq!(
        probes.iter().map(|(_, traddr, _)| traddr.as_str()).collect::<Vec<_>>(),
        ["192.0.2.10"],
        "it waited, too"
    );
}

#[test]
fn controllers_of_trusted_sources_that_wait_are_not_probed_again() {
    let mut scene = Scene::default();
    for (traddr, trust) in [("192.0.2.1", Trust::Administrator), ("192.0.2.2", Trust::ConfiguredDc)] {
        scene.enter(at(0), &tid(traddr, "a"), EnqueueInfo { trust, ..FIRST });
        let (op, ..) = scene.probes()[0];
        scene.answer(at(0), op, ProbeOutcome::Alive);
    }
    assert!(scene.write(at(60)).is_some());
    assert!(scene.probes().is_empty());
}

/// Runs one attempt to its end. Returns true if its portal was probed.
fn attempt(scene: &mut Scene, now: Time, tid: &Tid, info: EnqueueInfo, write: Write) -> bool {
    scene.enter(now, tid, info);
    let probes = scene.probes();
    for (op, _, skippable) in &probes {
        scene.answer(now, *op, if *skippable { ProbeOutcome::Skipped } else { ProbeOutcome::Alive });
    }
    let (op, _) = scene.write(now).unwrap();
    scene.ended(now, op, tid, write);
    probes.iter().any(|(_, _, skippable)| !skippable)
}

#[test]
fn a_portal_that_is_alone_is_not_probed_before_its_first_attempt() {
    let mut scene = Scene::default();
    assert!(!attempt(&mut scene, at(0), &tid("192.0.2.1", "a"), FIRST, connected()));
}

#[test]
fn a_second_controller_makes_a_skippable_probe_mandatory() {
    let mut scene = Scene::default();
    scene.enter(at(0), &tid("192.0.2.1", "a"), FIRST);
    scene.enter(at(0), &tid("192.0.2.2", "b"), FIRST);
    let probes = scene.probes();
    assert_eq!(probes.iter().map(|(_, _, skippable)| *skippable).collect::<Vec<_>>(), [true, false]);
    scene.answer(at(0), probes[0].0, ProbeOutcome::Skipped);
    let again = scene.probes();
    assert_eq!((again[0].1.as_str(), again[0].2), ("192.0.2.1", false));
    assert!(scene.write(at(0)).is_none());
    let rejected = scene.answer(at(1), again[0].0, ProbeOutcome::Dead(ProbeFailure::Refused));
    assert_eq!(rejected.len(), 1);
}

#[test]
fn a_portal_is_probed_after_a_failure_and_not_while_it_serves() {
    let again = || EnqueueInfo { repeated: true, ..FIRST };
    let live = || EnqueueInfo { portal_live: true, ..FIRST };
    let tid = tid("192.0.2.1", "a");
    // Earlier events at the portal, what is known of the controller now, and whether the portal is probed.
    for (before, info, probed) in [
        (None, FIRST, false),
        (None, again(), true),
        (Some(connected()), FIRST, false),
        (Some(connected()), again(), false),
        (Some(refused()), FIRST, true),
        (Some(refused()), again(), true),
        (Some(refused()), live(), false),
        (Some(slow()), live(), true),
    ] {
        let mut scene = Scene::default();
        if let Some(write) = &before {
            attempt(&mut scene, at(0), &tid, FIRST, write.clone());
        }
        assert_eq!(attempt(&mut scene, at(100), &tid, info.clone(), connected()), probed, "{before:?} {info:?}");
    }
}

#[test]
fn a_portal_whose_connection_was_lost_is_probed_again() {
    let mut scene = Scene::default();
    let tid = tid("192.0.2.1", "a");
    attempt(&mut scene, at(0), &tid, FIRST, connected());
    scene.connect_queue.lost(at(60), &tid);
    assert!(attempt(&mut scene, at(61), &tid, FIRST, connected()));
    assert!(!attempt(&mut scene, at(90), &tid, FIRST, connected()));
}

#[test]
fn a_portal_of_a_controller_that_was_removed_may_have_failed_unseen() {
    let mut scene = Scene::default();
    let removed = tid("192.0.2.1", "a");
    attempt(&mut scene, at(0), &removed, FIRST, connected());
    scene.connect_queue.forget(&removed);
    scene.enter(at(60), &removed, FIRST);
    assert_eq!(scene.probes().len(), 1);
}

#[test]
fn a_penalty_applies_only_to_identical_parameters() {
    for portal_live in [false, true] {
        let mut scene = Scene::default();
        let tid = tid("192.0.2.1", "a");
        attempt(&mut scene, at(0), &tid, FIRST, Write { portal_live, ..slow() });
        assert_eq!(scene.connect_queue.penalty_until(&tid, &attempt_parameters("wrong")), Some(at(30)));
        assert_eq!(scene.connect_queue.penalty_until(&tid, &attempt_parameters("right")), None);
        let other_host = AttemptParameters {
            identity: Arc::new(HostIdentity::new("nqn.i", String::new())),
            ..attempt_parameters("wrong")
        };
        assert_eq!(scene.connect_queue.penalty_until(&tid, &other_host), None);
    }
}

/// A probe with this verdict at that time: what is rejected, and which controllers are connected because of it.
fn verdict(scene: &mut Scene, now: Time, tid: &Tid, info: EnqueueInfo, outcome: &ProbeOutcome) -> Vec<Rejected> {
    scene.enter(now, tid, info);
    let probes = scene.probes();
    let (op, _, _) = probes.iter().find(|(_, traddr, _)| *traddr == tid.traddr).unwrap();
    scene.answer(now, *op, outcome.clone())
}

/// stas-net, which probes, has no privileges, and may lie.
#[test]
fn a_verdict_of_the_probe_keeps_a_portal_out_for_ten_seconds_unless_only_mdns_lists_it() {
    let dead = ProbeOutcome::Dead(ProbeFailure::Refused);
    let again = |trust| EnqueueInfo { trust, repeated: true, ..FIRST };
    for trust in [Trust::Administrator, Trust::Firmware, Trust::ConfiguredDc, Trust::AnnouncedDc] {
        let mut scene = Scene::default();
        let tid = tid("192.0.2.1", "a");
        for (now, not_after) in [(0, 10), (1, 10), (3, 10), (9, 10)] {
            let rejected = verdict(&mut scene, at(now), &tid, again(trust), &dead);
            let expected = Some(at(not_after)).filter(|_| trust != Trust::AnnouncedDc);
            assert_eq!(rejected.iter().map(|each| each.not_after).collect::<Vec<_>>(), [expected], "{trust} at {now}");
            assert!(scene.write(at(now)).is_none());
        }
        let rejected = verdict(&mut scene, at(10), &tid, again(trust), &dead);
        let write = scene.write(at(10));
        assert_eq!((rejected.len(), write.is_some()), if trust == Trust::AnnouncedDc { (1, false) } else { (0, true) });
        // The connect has failed: its verdict counts from now on.
        if let Some((op, tid)) = write {
            scene.ended(at(10), op, &tid, refused());
            assert_eq!(verdict(&mut scene, at(11), &tid, again(trust), &dead)[0].not_after, Some(at(21)));
        }
    }
}

/// It blocked the connect path, and its probe has no outcome.
#[test]
fn a_portal_that_only_mdns_lists_delays_no_test() {
    for (trust, tested) in [(Trust::ConfiguredDc, "192.0.2.1"), (Trust::AnnouncedDc, "192.0.2.2")] {
        let mut scene = Scene::default();
        let (slow_one, trusted) = (tid("192.0.2.1", "a"), tid("192.0.2.2", "a"));
        let info = EnqueueInfo { trust, ..FIRST };
        scene.enter(at(0), &slow_one, EnqueueInfo { portal_live: true, ..info.clone() });
        let (op, _) = scene.write(at(0)).unwrap();
        scene.ended(at(3), op, &slow_one, slow());
        let again = EnqueueInfo { repeated: true, ..FIRST };
        for now in 40..60 {
            let unknown = ProbeOutcome::Unknown(ProbeError::NoAnswer);
            verdict(&mut scene, at(now), &slow_one, EnqueueInfo { repeated: true, ..info.clone() }, &unknown);
            if now > 40 && !scene.connect_queue.holds(&slow_one) {
                verdict(&mut scene, at(now), &trusted, again.clone(), &ProbeOutcome::Dead(ProbeFailure::Silent));
            }
            if scene.connect_queue.has_queue_before(Trust::AnnouncedDc) {
                break;
            }
        }
        assert_eq!(scene.write(at(60)).map(|(_, tid)| tid.traddr.clone()).as_deref(), Some(tested), "{trust}");
    }
}

#[test]
fn a_portal_that_is_tested_comes_after_all_others() {
    let mut scene = Scene::default();
    let (liar, good) = (tid("192.0.2.1", "a"), tid("192.0.2.2", "a"));
    let dead = ProbeOutcome::Dead(ProbeFailure::Silent);
    let again = EnqueueInfo { repeated: true, ..FIRST };
    verdict(&mut scene, at(0), &liar, again.clone(), &dead);
    verdict(&mut scene, at(10), &liar, again.clone(), &dead);
    let announced = EnqueueInfo { trust: Trust::AnnouncedDc, portal_live: true, ..FIRST };
    scene.enter(at(10), &good, announced);
    assert_eq!(scene.write(at(10)).unwrap().1, good);
}

#[test]
fn of_many_dead_portals_one_is_tested_at_a_time_and_the_path_is_mostly_free() {
    let mut scene = Scene::default();
    let all: Vec<Tid> = (1..=3).map(|n| tid(&format!("192.0.2.{n}"), "a")).collect();
    let dead = ProbeOutcome::Dead(ProbeFailure::Silent);
    let again = || EnqueueInfo { repeated: true, ..FIRST };
    let (mut tested, mut busy) = (Vec::new(), Duration::ZERO);
    for now in 0..200 {
        for each in &all {
            if !scene.connect_queue.holds(each) {
                verdict(&mut scene, at(now), each, again(), &dead);
            }
        }
        while let Some((op, tid)) = scene.write(at(now)) {
            scene.ended(at(now), op, &tid, slow());
            tested.push(tid.traddr.clone());
            busy += slow().blocked_for;
        }
    }
    assert_eq!(tested, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "after 10, 40 and 100 s");
    assert_eq!(busy, Duration::from_secs(9));
}

#[test]
fn a_verdict_that_a_test_refutes_leaves_the_others_to_be_tested_at_once() {
    let mut scene = Scene::default();
    let all: Vec<Tid> = (1..=4).map(|n| tid(&format!("192.0.2.{n}"), "a")).collect();
    let dead = ProbeOutcome::Dead(ProbeFailure::Silent);
    let again = || EnqueueInfo { repeated: true, ..FIRST };
    let mut connected_at = Vec::new();
    for now in 0..60 {
        for each in all.iter().skip(connected_at.len()) {
            if !scene.connect_queue.holds(each) {
                verdict(&mut scene, at(now), each, again(), &dead);
            }
        }
        while let Some((op, tid)) = scene.write(at(now)) {
            scene.ended(at(now), op, &tid, connected());
            connected_at.push(now);
        }
    }
    assert_eq!(connected_at, [10, 11, 12, 13]);
}

/// While stas-net is away every verdict is unknown.
#[test]
fn a_portal_that_blocked_the_path_is_tried_without_a_verdict_when_its_penalty_is_over() {
    let mut scene = Scene::default();
    let penalized = tid("192.0.2.66", "a");
    scene.enter(at(0), &penalized, EnqueueInfo { portal_live: true, ..FIRST });
    let (op, _) = scene.write(at(0)).unwrap();
    assert_eq!(scene.ended(at(3), op, &penalized, slow()).penalty_until, Some(at(33)));
    let unknown = ProbeOutcome::Unknown(ProbeError::NoAnswer);
    let again = || EnqueueInfo { repeated: true, ..FIRST };
    for now in [20, 32] {
        assert_eq!(verdict(&mut scene, at(now), &penalized, again(), &unknown).len(), 1, "at {now}");
    }
    assert!(verdict(&mut scene, at(33), &penalized, again(), &unknown).is_empty());
    assert!(scene.write(at(33)).is_some());
}
