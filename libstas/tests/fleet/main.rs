//! Tests of the fleet: the kernel's controllers must match the wanted ones.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod host_ids;
mod obstacles;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use fake_host::{Core, FakeHost, Op, io, mounted, on_iface};
use libstas::core::fleet::{Fleet, Kind, Report, Status};
use libstas::core::member::{RemovalPolicy, Want};
use libstas::core::ownership::{Cause, Ownership};
use libstas::core::trust::Trust;
use libstas::core::{
    ConnectError, ConnectOutcome, ConnectReport, Context, CtrlRef, CtrlState, DisconnectError, HostEffect, HostEvent,
    Interface, Links, Machine, OpId, OsError, Owner, SnapshotError, Supply, Time, UeventKind, Usage, UsageError,
};
use libstas::nvme::connect::OptionError;
use libstas::nvme::{HostIdentity, Parameters, Tid, TidParts};

fn tid(nqn: &str) -> Tid {
    io("192.0.2.1", nqn)
}

fn on(iface: &str, nqn: &str) -> Tid {
    on_iface(iface, &tid(nqn))
}

fn unreadable(error: &str) -> SnapshotError {
    SnapshotError { path: "/sys/class/nvme".into(), error: OsError::new(error) }
}

/// A fleet as a [`Machine`] that collects its reports.
#[derive(Debug)]
struct Members {
    fleet: Fleet,
    supply: Supply,
    reports: Vec<Report>,
}

#[derive(Debug)]
enum Event {
    Identity(Arc<HostIdentity>),
    Want(Tid, Box<Want>),
    Remove(Tid, RemovalPolicy),
    Evict(Tid, RemovalPolicy),
    Encourage(Tid),
    Host(HostEvent),
    Tick,
}

impl Machine for Members {
    type Event = Event;
    type Effect = HostEffect;

    const TICK: Event = Event::Tick;

    fn handle(&mut self, now: Time, event: Event, out: &mut Vec<HostEffect>) {
        let ctx = &mut Context::new(now, &mut self.supply, out);
        let reports = match event {
            Event::Identity(identity) => {
                self.fleet.set_identity(ctx, identity);
                Vec::new()
            }
            Event::Want(tid, want) => self.fleet.want(ctx, &tid, *want),
            Event::Remove(tid, how) => self.fleet.remove(ctx, &tid, how, Cause::removed("of the test")),
            Event::Evict(tid, how) => self.fleet.remove_restored(ctx, &tid, how, Cause::removed("of the test")),
            Event::Encourage(tid) => self.fleet.retry_now(ctx, &tid),
            Event::Host(event) => self.fleet.handle(ctx, event),
            Event::Tick => {
                let due = ctx.timers.due(now);
                self.fleet.tick(ctx, &due)
            }
        };
        self.reports.extend(reports);
    }

    fn deadline(&self) -> Option<Time> {
        self.supply.deadline()
    }
}

impl Core for Members {
    type Conf = ();
    type Peer = ();

    fn settings((): &(), identity: Arc<HostIdentity>) -> Event {
        Event::Identity(identity)
    }

    fn host_event(event: HostEvent) -> Event {
        Event::Host(event)
    }

    fn host_effect(effect: &HostEffect) -> Option<&HostEffect> {
        Some(effect)
    }
}

/// A fleet on a host that answers nothing on its own: each test sends the answers.
struct Scene {
    host: FakeHost<Members>,
}

impl Scene {
    fn new() -> Self {
        let members = Members { fleet: Fleet::new(Kind::Io), supply: Supply::new(1), reports: Vec::new() };
        let mut host = FakeHost::around(members, ());
        [Op::Snapshot, Op::Probe, Op::Connect, Op::Disconnect, Op::CheckUse].into_iter().for_each(|op| host.hold(op));
        host.reload_settings();
        Self { host }
    }

    fn connected(nqn: &str) -> (Self, CtrlRef) {
        let mut scene = Self::new();
        scene.want(&tid(nqn), Want::default());
        let (op, _) = scene.next_connect();
        let ctrl = scene.host.add(&tid(nqn));
        scene.answer(op, ConnectOutcome::Made(ctrl));
        assert!(scene.fleet().is_live(&tid(nqn)));
        (scene, ctrl)
    }

    fn fleet(&self) -> &Fleet {
        &self.host.core.fleet
    }

    fn reports(&self) -> &[Report] {
        &self.host.core.reports
    }

    fn want(&mut self, tid: &Tid, want: Want) {
        self.host.feed(Event::Want(tid.clone(), Box::new(want)));
    }

    fn remove(&mut self, tid: &Tid, how: RemovalPolicy) {
        self.host.feed(Event::Remove(tid.clone(), how));
    }

    fn evict(&mut self, tid: &Tid, how: RemovalPolicy) {
        self.host.feed(Event::Evict(tid.clone(), how));
    }

    fn retry_now(&mut self, tid: &Tid) {
        self.host.feed(Event::Encourage(tid.clone()));
    }

    fn identify(&mut self, identity: HostIdentity) {
        self.host.identity = identity;
        self.host.reload_settings();
    }

    fn hear(&mut self, event: HostEvent) {
        self.host.feed_host(event);
    }

    /// Answers snapshots and probes, and returns the next effect of another kind.
    fn next(&mut self) -> Option<HostEffect> {
        while let Some(effect) = self.host.next_held() {
            match effect {
                HostEffect::TakeSnapshot(_) | HostEffect::Probe { .. } => {
                    let answer = self.host.carry_out(effect).unwrap();
                    self.host.feed(answer);
                }
                other => return Some(other),
            }
        }
        None
    }

    fn next_connect(&mut self) -> (OpId, Tid) {
        match self.next() {
            Some(HostEffect::Connect { op, request }) => (op, request.tid),
            other => panic!("expected a connect, got {other:?}"),
        }
    }

    fn next_disconnect(&mut self) -> (OpId, CtrlRef) {
        match self.next() {
            Some(HostEffect::Disconnect { op, ctrl, .. }) => (op, ctrl),
            other => panic!("expected a disconnect, got {other:?}"),
        }
    }

    fn answer(&mut self, op: OpId, outcome: ConnectOutcome) {
        let event = self.host.connect_report(op, outcome);
        self.hear(event);
    }

    fn fail(&mut self, op: OpId) {
        let error = ConnectError::Kernel { errno: 111, explanation: "connection refused".into() };
        self.answer(op, ConnectOutcome::Failed(error));
    }

    /// Removes the connection from the kernel.
    fn vanish(&mut self, ctrl: CtrlRef) {
        self.host.kernel.retain(|kernel| kernel.ctrl != ctrl);
    }

    fn status(&self, tid: &Tid) -> Status {
        self.fleet().view(tid).unwrap().status
    }
}

#[test]
fn nothing_is_connected_before_the_first_snapshot() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    assert!(scene.host.effects.iter().all(|effect| matches!(effect, HostEffect::TakeSnapshot(_) | HostEffect::Save)));
    scene.host.add(&tid("a"));
    assert_eq!(scene.next(), None, "it was there already");
    assert_eq!(scene.status(&tid("a")), Status::Connected);
}

/// The snapshot that shows the entry in the registry comes later.
#[test]
fn what_was_just_connected_is_shown_as_ours() {
    let (scene, _) = Scene::connected("a");
    let view = scene.fleet().view(&tid("a")).unwrap();
    assert_eq!((&view.kernel.unwrap().owner, view.ownership), (&Owner::None, Some(Ownership::Ours)));
}

#[test]
fn one_write_is_in_flight_at_a_time() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    scene.want(&tid("b"), Want::default());
    let (op, first) = scene.next_connect();
    assert_eq!((first, scene.next()), (tid("a"), None));
    scene.fail(op);
    assert_eq!(scene.next_connect().1, tid("b"));
}

#[test]
fn a_controller_created_late_is_disconnected_if_it_is_no_longer_wanted() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    assert_eq!(scene.next(), None, "the write cannot be called back");
    scene.host.wait(300);
    let ctrl = scene.host.add(&tid("a"));
    scene.answer(op, ConnectOutcome::Made(ctrl));
    assert_eq!(scene.next_disconnect().1, ctrl);
}

#[test]
fn a_controller_created_late_is_kept_if_it_is_wanted_again() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    scene.want(&tid("a"), Want::default());
    let ctrl = scene.host.add(&tid("a"));
    scene.answer(op, ConnectOutcome::Made(ctrl));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Connected);
}

#[test]
fn of_two_connections_for_one_tid_the_new_one_is_disconnected() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    let other = scene.host.add(&tid("a"));
    let made = scene.host.add(&tid("a"));
    scene.answer(op, ConnectOutcome::Made(made));
    assert_eq!(scene.next_disconnect().1, made);
    assert_eq!(scene.fleet().kernel(&tid("a")).unwrap().ctrl, other);
}

#[test]
fn a_connection_of_another_orchestrator_makes_ours_no_duplicate() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.host.add(&tid("a"));
    scene.host.kernel[0].owner = Owner::Other("blkmapd".into());
    let made = scene.host.add(&tid("a"));
    scene.answer(op, ConnectOutcome::Made(made));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.fleet().kernel(&tid("a")).unwrap().ctrl, made);
}

/// The other connection serves the controller only if its unknown source is on the wanted interface.
#[test]
fn a_connection_with_an_unknown_source_makes_ours_no_duplicate() {
    let mut scene = Scene::new();
    scene.want(&on("eth0", "a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.host.add(&tid("a"));
    let made = scene.host.add(&on("eth0", "a"));
    scene.answer(op, ConnectOutcome::Made(made));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.fleet().kernel(&on("eth0", "a")).unwrap().ctrl, made);
}

#[test]
fn two_tids_share_one_connection_until_the_last_is_removed() {
    let mut scene = Scene::new();
    let ctrl = scene.host.add(&on("eth0", "a"));
    scene.want(&on("eth0", "a"), Want { trust: Trust::ConfiguredDc, ..Want::default() });
    scene.want(&tid("a"), Want::default());
    assert_eq!(scene.next(), None);
    assert_eq!(scene.fleet().holders(ctrl), [&tid("a"), &on("eth0", "a")]);
    assert_eq!(scene.fleet().view(&on("eth0", "a")).unwrap().alias_of, Some(&tid("a")));
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.reports().last(), Some(&Report::Left(tid("a"))));
    scene.remove(&on("eth0", "a"), RemovalPolicy::Disconnect);
    assert_eq!(scene.next_disconnect().1, ctrl);
}

#[test]
fn a_removal_keeps_a_connection_that_another_member_needs() {
    let mut scene = Scene::new();
    scene.host.add(&tid("a"));
    // Before the first snapshot. The controller without an interface comes first in every order.
    scene.host.core.fleet.restore(None, &[tid("a")].into());
    scene.evict(&tid("a"), RemovalPolicy::Disconnect);
    scene.want(&on("eth0", "a"), Want::default());
    assert_eq!(scene.next(), None, "nothing is disconnected, nothing is connected");
    assert_eq!(scene.status(&on("eth0", "a")), Status::Connected);
    assert!(!scene.fleet().has(&tid("a")));
}

#[test]
fn a_disconnect_is_of_that_very_controller_and_a_recycled_number_is_another() {
    let (mut scene, ctrl) = Scene::connected("a");
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    let (op, gone) = scene.next_disconnect();
    assert_eq!(gone, ctrl);
    scene.want(&tid("b"), Want::default());
    let (connect, _) = scene.next_connect();
    scene.host.kernel.clear();
    let recycled = scene.host.add(&tid("b"));
    assert_eq!(recycled.device, ctrl.device);
    scene.answer(connect, ConnectOutcome::Made(recycled));
    scene.hear(HostEvent::Disconnected { op, result: Ok(()) });
    assert_eq!(scene.next(), None);
    assert!(!scene.fleet().has(&tid("a")));
    assert_eq!(scene.fleet().kernel(&tid("b")).unwrap().ctrl, recycled);
}

#[test]
fn two_paths_removed_together_are_checked_one_after_the_other() {
    let mut scene = Scene::new();
    let (one, other) = (scene.host.add(&on("eth0", "a")), scene.host.add(&on("eth1", "a")));
    scene.want(&on("eth0", "a"), Want::default());
    scene.want(&on("eth1", "a"), Want::default());
    assert_eq!(scene.next(), None);
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    scene.remove(&on("eth1", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op, ctrl, not_counted }) = scene.next() else { panic!() };
    assert_eq!((ctrl, not_counted), (one, Vec::new()));
    assert_eq!(scene.next(), None);
    scene.hear(HostEvent::UseChecked { op, usage: Usage::Free });
    assert_eq!(scene.next_disconnect().1, one);
    let Some(HostEffect::CheckUse { op, ctrl, not_counted }) = scene.next() else { panic!() };
    assert_eq!((ctrl, not_counted), (other, vec![one]));
    scene.hear(HostEvent::UseChecked { op, usage: Usage::LastPath(vec![mounted()]) });
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&on("eth1", "a")), Status::Kept);
}

/// mDNS is unauthenticated: any host on the network segment can offer another path to a subsystem.
#[test]
fn an_announced_path_does_not_count_as_another_path_to_the_storage_of_a_trusted_one() {
    for (removed, others, is_counted) in [
        (Trust::Administrator, &[Trust::AnnouncedDc][..], false),
        (Trust::ConfiguredDc, &[Trust::AnnouncedDc], false),
        (Trust::AnnouncedDc, &[Trust::AnnouncedDc], true),
        (Trust::Administrator, &[Trust::ConfiguredDc], true),
        (Trust::Administrator, &[], true),
        (Trust::Administrator, &[Trust::AnnouncedDc, Trust::ConfiguredDc], true),
    ] {
        let mut scene = Scene::new();
        scene.host.set_links(Links(vec![
            fake_host::interface(1, "eth0", &["192.0.2.200"]),
            fake_host::interface(2, "eth1", &["192.0.2.201"]),
        ]));
        let from_eth1 = Tid::new(TidParts { host_traddr: "192.0.2.201".into(), ..tid("a").parts().clone() });
        let with = |trust| Want { trust, ..Want::default() };
        scene.want(&on("eth0", "a"), with(removed));
        let (op, _) = scene.next_connect();
        let ctrl = scene.host.add(&on("eth0", "a"));
        scene.answer(op, ConnectOutcome::Made(ctrl));
        let other = scene.host.add(&on("eth1", "a"));
        scene.host.send_snapshot();
        // Several members can hold one connection.
        for (trust, held_as) in others.iter().zip([on("eth1", "a"), from_eth1.clone()]) {
            scene.want(&held_as, with(*trust));
        }
        assert_eq!(scene.next(), None);
        scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
        let Some(HostEffect::CheckUse { not_counted, .. }) = scene.next() else { panic!("{removed}, {others:?}") };
        assert_eq!(!not_counted.contains(&other), is_counted, "{removed}, {others:?}");
    }
}

/// A trusted path, and the links for another one over eth1.
fn trusted_path() -> Scene {
    let mut scene = Scene::new();
    scene.host.set_links(Links(vec![
        fake_host::interface(1, "eth0", &["192.0.2.200"]),
        fake_host::interface(2, "eth1", &["192.0.2.201"]),
    ]));
    scene.want(&on("eth0", "a"), wanted_with(Trust::ConfiguredDc));
    let (op, _) = scene.next_connect();
    let ctrl = scene.host.add(&on("eth0", "a"));
    scene.answer(op, ConnectOutcome::Made(ctrl));
    scene
}

fn wanted_with(trust: Trust) -> Want {
    Want { trust, ..Want::default() }
}

/// After the restart only an announced discovery controller lists the path.
#[test]
fn the_trust_of_a_path_survives_a_restart() {
    for before in [Trust::ConfiguredDc, Trust::AnnouncedDc] {
        let mut scene = trusted_path();
        let other = scene.host.add(&on("eth1", "a"));
        scene.host.send_snapshot();
        scene.want(&on("eth1", "a"), wanted_with(before));
        assert_eq!(scene.next(), None);
        let saved = scene.fleet().instances(&std::collections::BTreeSet::new());
        let mut next = Scene::new();
        next.host.links = scene.host.links.take();
        next.host.kernel = scene.host.kernel.clone();
        next.host.core.fleet.restore(saved, &Default::default());
        for iface in ["eth0", "eth1"] {
            next.want(&on(iface, "a"), wanted_with(Trust::AnnouncedDc));
        }
        assert_eq!(next.next(), None);
        next.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
        let Some(HostEffect::CheckUse { not_counted, .. }) = next.next() else { panic!("a check is due") };
        assert_eq!(not_counted == [other], before == Trust::AnnouncedDc, "{before}: {not_counted:?}");
    }
}

/// Later only an announced discovery controller lists it.
#[test]
fn a_less_trusted_source_does_not_lower_the_trust_of_a_path() {
    let mut scene = trusted_path();
    scene.want(&on("eth0", "a"), wanted_with(Trust::AnnouncedDc));
    let other = scene.host.add(&on("eth1", "a"));
    scene.host.send_snapshot();
    scene.want(&on("eth1", "a"), wanted_with(Trust::AnnouncedDc));
    assert_eq!(scene.next(), None);
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { not_counted, .. }) = scene.next() else { panic!("a check is due") };
    assert_eq!(not_counted, [other]);
}

/// Announcing one path after the other would otherwise repeat the check without end.
#[test]
fn an_announced_path_to_the_same_subsystem_waits_for_the_check() {
    let mut scene = trusted_path();
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op: check, ctrl, .. }) = scene.next() else { panic!("a check is due") };
    scene.want(&on("eth1", "a"), wanted_with(Trust::AnnouncedDc));
    scene.want(&on("eth2", "a"), wanted_with(Trust::AnnouncedDc));
    assert_eq!(scene.next(), None);
    scene.want(&tid("b"), wanted_with(Trust::AnnouncedDc));
    let (op, other) = scene.next_connect();
    assert_eq!(other, tid("b"), "other subsystems do not wait");
    scene.fail(op);
    assert_eq!(scene.next(), None);
    scene.hear(HostEvent::UseChecked { op: check, usage: Usage::Free });
    assert_eq!(scene.next_disconnect().1, ctrl);
    scene.next_connect();
}

/// Two dead paths to storage in use are checked again and again.
#[test]
fn checks_without_end_do_not_keep_an_announced_path_out() {
    let mut scene = Scene::new();
    scene.host.set_links(Links(vec![
        fake_host::interface(1, "eth0", &["192.0.2.200"]),
        fake_host::interface(2, "eth1", &["192.0.2.201"]),
        fake_host::interface(3, "eth2", &["192.0.2.202"]),
    ]));
    for iface in ["eth0", "eth1"] {
        scene.host.add(&on(iface, "a"));
        scene.host.send_snapshot();
        scene.want(&on(iface, "a"), wanted_with(Trust::ConfiguredDc));
    }
    assert_eq!(scene.next(), None);
    for iface in ["eth0", "eth1"] {
        scene.remove(&on(iface, "a"), RemovalPolicy::SpareInUse);
    }
    let Some(HostEffect::CheckUse { op: check, .. }) = scene.next() else { panic!("a check is due") };
    scene.want(&on("eth2", "a"), wanted_with(Trust::AnnouncedDc));
    assert_eq!(scene.next(), None);
    scene.hear(HostEvent::UseChecked { op: check, usage: Usage::LastPath(vec![mounted()]) });
    let (op, next) = scene.next_connect();
    assert_eq!(next, on("eth2", "a"));
    assert_eq!(scene.next(), None, "the next check waits for the end of the attempt");
    scene.fail(op);
    assert!(matches!(scene.next(), Some(HostEffect::CheckUse { .. })));
}

/// The kernel shows the new path before its connect is reported.
#[test]
fn an_announced_path_that_is_made_during_a_check_that_hangs_does_not_count() {
    let mut scene = trusted_path();
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op: check, .. }) = scene.next() else { panic!("a check is due") };
    scene.want(&on("eth1", "a"), wanted_with(Trust::AnnouncedDc));
    assert_eq!(scene.next(), None);
    scene.host.wait(31);
    let (op, _) = scene.next_connect();
    let other = scene.host.add(&on("eth1", "a"));
    scene.hear(HostEvent::UseChecked { op: check, usage: Usage::Free });
    assert_eq!(scene.next(), None, "the check waits for the end of the attempt");
    scene.answer(op, ConnectOutcome::Made(other));
    assert_eq!(scene.next(), None, "the check is not repeated at the pace of a stranger");
    scene.host.wait(3);
    let Some(HostEffect::CheckUse { not_counted, .. }) = scene.next() else { panic!("a check is due") };
    assert_eq!(not_counted, [other]);
}

/// Another program made the connection, and an announced controller has used it.
#[test]
fn a_path_of_another_program_counts_again_when_no_announced_controller_uses_it() {
    let mut scene = trusted_path();
    let other = scene.host.add(&on("eth1", "a"));
    scene.host.kernel[1].owner = Owner::Other("orchestrator".into());
    scene.host.send_snapshot();
    scene.want(&on("eth1", "a"), wanted_with(Trust::AnnouncedDc));
    assert_eq!(scene.next(), None);
    assert_eq!(scene.fleet().kernel(&on("eth1", "a")).unwrap().ctrl, other);
    scene.remove(&on("eth1", "a"), RemovalPolicy::SpareInUse);
    assert!(!scene.fleet().has(&on("eth1", "a")));
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { not_counted, .. }) = scene.next() else { panic!("a check is due") };
    assert!(not_counted.is_empty(), "{not_counted:?}");
}

#[test]
fn an_announced_controller_of_another_subsystem_does_not_disturb_the_check() {
    let mut scene = trusted_path();
    scene.remove(&on("eth0", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op: check, ctrl, .. }) = scene.next() else { panic!("a check is due") };
    scene.want(&tid("unrelated"), wanted_with(Trust::AnnouncedDc));
    scene.next_connect();
    scene.hear(HostEvent::UseChecked { op: check, usage: Usage::Free });
    assert_eq!(scene.next_disconnect().1, ctrl);
}

#[test]
fn a_removal_ends_at_most_the_one_connection_that_its_controller_held() {
    let (mut scene, first) = Scene::connected("a");
    let second = scene.host.add(&tid("a"));
    scene.remove(&tid("a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op, ctrl, .. }) = scene.next() else { panic!("a check is due") };
    assert_eq!(ctrl, first);
    scene.vanish(first);
    scene.host.send_snapshot();
    scene.hear(HostEvent::UseChecked { op, usage: Usage::Free });
    assert_eq!(scene.next(), None, "{second} is another one");
    assert!(!scene.fleet().has(&tid("a")));
}

#[test]
fn a_connection_that_becomes_needed_during_the_check_is_kept() {
    let (mut scene, ctrl) = Scene::connected("a");
    scene.remove(&tid("a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op, .. }) = scene.next() else { panic!("a check is due") };
    scene.want(&on("eth0", "a"), Want::default());
    scene.hear(HostEvent::UseChecked { op, usage: Usage::Free });
    assert_eq!(scene.next(), None);
    assert!(!scene.fleet().has(&tid("a")));
    assert_eq!(scene.fleet().kernel(&on("eth0", "a")).unwrap().ctrl, ctrl);
}

#[test]
fn a_connection_is_kept_for_a_member_whose_own_is_being_deleted() {
    let mut scene = Scene::new();
    let (own, other) = (scene.host.add(&tid("a")), scene.host.add(&on("eth1", "a")));
    scene.want(&tid("a"), Want::default());
    scene.want(&on("eth1", "a"), Want::default());
    assert_eq!(scene.next(), None);
    scene.remove(&tid("a"), RemovalPolicy::SpareInUse);
    scene.remove(&on("eth1", "a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op, .. }) = scene.next() else { panic!("a check is due") };
    scene.hear(HostEvent::UseChecked { op, usage: Usage::Free });
    let (disconnect, gone) = scene.next_disconnect();
    assert_eq!(gone, own);
    let Some(HostEffect::CheckUse { op, ctrl, .. }) = scene.next() else { panic!("a check is due") };
    assert_eq!(ctrl, other);
    // The removal of its own connection cannot be undone; the other connection serves it too.
    scene.want(&tid("a"), Want::default());
    scene.hear(HostEvent::UseChecked { op, usage: Usage::Free });
    assert_eq!(scene.next(), None, "the other one stays");
    scene.vanish(own);
    scene.hear(HostEvent::Disconnected { op: disconnect, result: Ok(()) });
    assert_eq!(scene.next(), None, "and nothing is connected in its place");
    assert_eq!(scene.fleet().kernel(&tid("a")).unwrap().ctrl, other);
}

#[test]
fn a_connection_is_kept_for_a_member_whose_own_another_program_disconnects() {
    for (going, other) in [CtrlState::Deleting, CtrlState::Dead]
        .into_iter()
        .flat_map(|going| [CtrlState::Live, CtrlState::Connecting].map(|other| (going, other)))
    {
        let mut scene = Scene::new();
        scene.host.add(&tid("a"));
        let bound = scene.host.add(&on("eth1", "a"));
        scene.want(&tid("a"), Want::default());
        scene.want(&on("eth1", "a"), Want::default());
        assert_eq!(scene.next(), None);
        scene.host.kernel[0].state = going;
        scene.host.kernel[1].state = other;
        scene.host.send_snapshot();
        scene.remove(&on("eth1", "a"), RemovalPolicy::Disconnect);
        assert_eq!(scene.next(), None, "{going:?}, {other:?}");
        assert!(scene.fleet().holders(bound).contains(&&tid("a")) || scene.status(&on("eth1", "a")) == Status::Kept);
    }
}

#[test]
fn a_live_connection_is_kept_while_another_member_that_it_serves_is_down() {
    let mut scene = Scene::new();
    let (own, other) = (scene.host.add(&tid("a")), scene.host.add(&on("eth1", "a")));
    scene.want(&tid("a"), Want::default());
    scene.want(&on("eth1", "a"), Want::default());
    assert_eq!(scene.next(), None);
    let snapshot = |scene: &mut Scene, state| {
        scene.host.kernel[0].state = state;
        scene.host.send_snapshot();
    };
    snapshot(&mut scene, CtrlState::Connecting);
    scene.remove(&on("eth1", "a"), RemovalPolicy::Disconnect);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&on("eth1", "a")), Status::Kept);
    snapshot(&mut scene, CtrlState::Live);
    assert_eq!(scene.next_disconnect().1, other);
    assert_eq!(scene.fleet().kernel(&tid("a")).unwrap().ctrl, own);
}

#[test]
fn a_connection_that_no_member_needs_is_disconnected() {
    let mut scene = Scene::new();
    let (unbound, bound) = (scene.host.add(&tid("a")), scene.host.add(&on("eth0", "a")));
    // Before the first snapshot no member holds a connection.
    scene.host.core.fleet.restore(None, &[tid("a")].into());
    scene.evict(&tid("a"), RemovalPolicy::Disconnect);
    scene.want(&on("eth0", "a"), Want::default());
    assert_eq!(scene.next_disconnect().1, unbound);
    assert_eq!(scene.fleet().kernel(&on("eth0", "a")).unwrap().ctrl, bound);
}

#[test]
fn a_disconnected_controller_counts_as_gone_while_sysfs_is_unreadable() {
    let mut scene = Scene::new();
    let (own, other) = (scene.host.add(&on("eth0", "a")), scene.host.add(&tid("a")));
    for tid in [on("eth0", "a"), tid("a")] {
        scene.want(&tid, Want::default());
    }
    assert_eq!(scene.next(), None);
    scene.remove(&on("eth0", "a"), RemovalPolicy::Disconnect);
    let (op, gone) = scene.next_disconnect();
    assert_eq!(gone, own);
    scene.want(&on("eth0", "a"), Want::default());
    let early = scene.host.snapshot();
    scene.vanish(own);
    scene.hear(HostEvent::Disconnected { op, result: Ok(()) });
    let Some(HostEffect::TakeSnapshot(snapshot)) = scene.host.take_held(Op::Snapshot) else {
        panic!("a snapshot is due")
    };
    while scene.host.take_held(Op::Snapshot).is_some() {}
    scene.hear(HostEvent::SnapshotTaken { op: snapshot, result: Err(unreadable("input/output error")) });
    scene.hear(HostEvent::SnapshotTaken { op: OpId::UNSOLICITED, result: Ok(early) });
    assert_eq!(scene.fleet().kernel(&on("eth0", "a")).unwrap().ctrl, other);
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    assert_eq!(scene.next(), None, "the one that is left serves both");
    assert_eq!(scene.status(&on("eth0", "a")), Status::Connected);
}

#[test]
fn a_failed_check_counts_as_in_use() {
    let (mut scene, _) = Scene::connected("a");
    scene.remove(&tid("a"), RemovalPolicy::SpareInUse);
    let Some(HostEffect::CheckUse { op, .. }) = scene.next() else { panic!() };
    scene.hear(HostEvent::UseChecked {
        op,
        usage: Usage::Unknown(UsageError::Read(OsError::new("sysfs cannot be read"))),
    });
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Kept);
}

#[test]
fn a_refused_disconnect_is_tried_again() {
    let (mut scene, ctrl) = Scene::connected("a");
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    let (op, _) = scene.next_disconnect();
    let error = DisconnectError::Kernel(OsError::new("busy"));
    scene.hear(HostEvent::Disconnected { op, result: Err(error) });
    assert_eq!(scene.next(), None);
    scene.host.wait(2);
    assert_eq!(scene.next_disconnect().1, ctrl);
}

#[test]
fn wanted_again_while_it_is_disconnected_it_is_connected_at_once() {
    let (mut scene, _) = Scene::connected("a");
    scene.remove(&tid("a"), RemovalPolicy::Disconnect);
    let (op, _) = scene.next_disconnect();
    scene.want(&tid("a"), Want::default());
    scene.host.kernel.clear();
    scene.hear(HostEvent::Disconnected { op, result: Ok(()) });
    assert_eq!(scene.next_connect().1, tid("a"));
}

#[test]
fn an_ncc_entry_is_given_up_after_its_attempts_and_retried_when_the_bit_is_clear() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want { attempts: Some(2), ..Want::default() });
    for _ in 0..2 {
        let (op, _) = scene.next_connect();
        scene.fail(op);
        scene.host.wait(3);
    }
    assert_eq!(scene.next(), None);
    scene.host.wait(600);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::GivenUp);
    scene.want(&tid("a"), Want::default());
    scene.next_connect();
}

#[test]
fn a_request_without_kernel_options_is_not_retried_until_it_changes() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    scene.answer(op, ConnectOutcome::Failed(ConnectError::Invalid(OptionError::Missing("traddr"))));
    scene.host.wait(600);
    assert_eq!(scene.next(), None);
    let parameters = Parameters { kato: Some(9), ..Parameters::default() };
    scene.want(&tid("a"), Want { parameters, ..Want::default() });
    scene.next_connect();
}

#[test]
fn changed_parameters_wait_for_the_next_connect() {
    let (mut scene, _) = Scene::connected("a");
    assert!(!scene.fleet().view(&tid("a")).unwrap().pending);
    let parameters = Parameters { kato: Some(9), ..Parameters::default() };
    scene.want(&tid("a"), Want { parameters, ..Want::default() });
    assert_eq!(scene.next(), None);
    assert!(scene.fleet().view(&tid("a")).unwrap().pending);
}

#[test]
fn the_failure_of_an_attempt_with_old_parameters_is_not_held_against_the_new_ones() {
    let (mut scene, _) = Scene::connected("live at this portal");
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    let parameters = Parameters { kato: Some(9), ..Parameters::default() };
    scene.want(&tid("a"), Want { parameters: parameters.clone(), attempts: Some(1), ..Want::default() });
    let error = ConnectError::Kernel { errno: 5, explanation: "I/O error".into() };
    let outcome = ConnectOutcome::Failed(error);
    let report = ConnectReport { outcome, snapshot: scene.host.snapshot(), blocked_for: Duration::from_secs(61) };
    scene.hear(HostEvent::Connected { op, report: Box::new(report) });
    let Some(HostEffect::Connect { request, .. }) = scene.next() else { panic!("it is tried at once") };
    assert_eq!((&request.tid, &request.parameters), (&tid("a"), &parameters));
}

#[test]
fn a_connection_made_with_old_parameters_has_the_new_ones_pending() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let (op, _) = scene.next_connect();
    let parameters = Parameters { kato: Some(9), ..Parameters::default() };
    scene.want(&tid("a"), Want { parameters, ..Want::default() });
    let ctrl = scene.host.add(&tid("a"));
    scene.answer(op, ConnectOutcome::Made(ctrl));
    assert!(scene.fleet().view(&tid("a")).unwrap().pending);
}

#[test]
fn a_new_address_ends_the_waits() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    for _ in 0..5 {
        let (op, _) = scene.next_connect();
        scene.fail(op);
        scene.host.wait(60);
    }
    let (op, _) = scene.next_connect();
    scene.fail(op);
    let eth0 = |addresses| {
        let mac = Vec::new();
        Arc::new(Links(vec![Interface { index: 1, name: "eth0".into(), mac, up: true, addresses }]))
    };
    scene.hear(HostEvent::Links(eth0(Vec::new())));
    scene.host.wait(1);
    let (op, _) = scene.next_connect();
    scene.fail(op);
    scene.hear(HostEvent::Links(eth0(vec!["192.0.2.9".parse().unwrap()])));
    assert_eq!(scene.next(), None);
    scene.host.wait(1);
    scene.next_connect();
}

#[test]
fn lost_events_cause_a_snapshot_and_are_logged_once() {
    let (mut scene, ctrl) = Scene::connected("a");
    scene.host.kernel.clear();
    for _ in 0..10 {
        scene.hear(HostEvent::Overrun);
    }
    assert_eq!(scene.host.logged("were lost"), 1);
    scene.next();
    assert!(scene.reports().contains(&Report::Lost(tid("a"), ctrl)));
}

#[test]
fn a_storm_of_events_causes_few_snapshots() {
    let (mut scene, _) = Scene::connected("a");
    scene.host.wait(1);
    while scene.next().is_some() {}
    let before = scene.host.snapshots;
    for _ in 0..1000 {
        scene.host.uevent(5, UeventKind::Add);
    }
    while scene.next().is_some() {}
    assert!(scene.host.snapshots - before <= 2, "{} snapshots", scene.host.snapshots - before);
}

#[test]
fn a_connection_dropped_after_each_connect_is_retried_with_back_off() {
    let mut scene = Scene::new();
    scene.want(&tid("a"), Want::default());
    let mut connects = 0;
    let end = scene.host.now + Duration::from_secs(60);
    while scene.host.now < end {
        while let Some(effect) = scene.next() {
            let HostEffect::Connect { op, .. } = effect else { panic!("{effect:?}") };
            connects += 1;
            let ctrl = CtrlRef { device: 0, inode: connects };
            scene.answer(op, ConnectOutcome::Made(ctrl));
        }
        let at = scene.host.core.deadline().unwrap().max(scene.host.now);
        scene.host.now = at;
        scene.host.feed(Event::Tick);
    }
    assert!((4..12).contains(&connects), "{connects} connects in a minute");
}

#[test]
fn a_reconnecting_kernel_is_not_disturbed() {
    let (mut scene, ctrl) = Scene::connected("a");
    scene.host.kernel[0].state = CtrlState::Connecting;
    scene.host.wait(61);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.status(&tid("a")), Status::Reconnecting);
    assert_eq!(scene.reports().last(), Some(&Report::Lost(tid("a"), ctrl)));
    scene.host.kernel[0].state = CtrlState::Live;
    scene.host.wait(61);
    assert_eq!(scene.next(), None);
    assert_eq!(scene.reports().last(), Some(&Report::Live(tid("a"), ctrl)));
}

#[test]
fn failing_snapshots_are_repeated_at_the_usual_interval() {
    let (mut scene, ctrl) = Scene::connected("a");
    let mut snapshots = 0;
    let end = scene.host.now + Duration::from_secs(60);
    while scene.host.now < end {
        let failed: Vec<_> = std::iter::from_fn(|| scene.host.take_held(Op::Snapshot)).collect();
        for effect in failed {
            let HostEffect::TakeSnapshot(op) = effect else { panic!("{effect:?}") };
            snapshots += 1;
            assert!(snapshots < 20, "no pause between snapshots that fail");
            scene.hear(HostEvent::SnapshotTaken { op, result: Err(unreadable("too many open files")) });
        }
        let until = scene.host.core.deadline().unwrap_or(end).max(scene.host.now).min(end);
        scene.host.now = until;
        scene.host.feed(Event::Tick);
    }
    assert!(scene.fleet().kernel(&tid("a")).is_some_and(|kernel| kernel.ctrl == ctrl), "all connections are kept");
}
