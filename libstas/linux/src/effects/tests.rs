#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::fake_tree::FakeTree;
use log_lines::LogLines;
use stas_core::{ConnectOutcome, ConnectRequest, Gained, Owner, Portal, Uevent};
use stas_nvme::{HostIdentity, Parameters, Purpose, Tid, TidParts, Transport};

/// A host on a fake tree, and its events.
fn host(tree: &FakeTree) -> (LinuxHost, UnboundedReceiver<HostEvent>) {
    let (sender, events) = unbounded_channel();
    let setup =
        Setup { roots: tree.roots(), lock_file: tree.path("lock"), net_socket: tree.path("net"), ..Setup::default() };
    (LinuxHost::start(setup, move |event| drop(sender.send(event))).unwrap(), events)
}

/// The first event, without those about the network of the machine that runs the test.
async fn answer(events: &mut UnboundedReceiver<HostEvent>) -> HostEvent {
    loop {
        match events.recv().await.unwrap() {
            HostEvent::Links(_) | HostEvent::RouteAdded | HostEvent::Uevent(_) => {}
            event => return event,
        }
    }
}

#[tokio::test]
async fn the_interfaces_are_reported_at_start() {
    let tree = FakeTree::new();
    let (_host, mut events) = host(&tree);
    let links = loop {
        if let HostEvent::Links(links) = events.recv().await.unwrap() {
            break links;
        }
    };
    assert!(links.named("lo").is_some());
}

#[tokio::test]
async fn a_look_is_answered() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    let (host, mut events) = host(&tree);
    host.start(HostEffect::TakeSnapshot(OpId(7)));
    let HostEvent::SnapshotTaken { op: OpId(7), result: Ok(snapshot) } = answer(&mut events).await else { panic!() };
    assert_eq!(snapshot.controllers.first().unwrap().ctrl, ctrl);
}

#[tokio::test]
async fn a_look_that_fails_is_answered_too() {
    let tree = FakeTree::new();
    fs::remove_file(tree.path("sys/kernel/uevent_seqnum")).unwrap();
    let (host, mut events) = host(&tree);
    host.start(HostEffect::TakeSnapshot(OpId(7)));
    let HostEvent::SnapshotTaken { op: OpId(7), result: Err(reason) } = answer(&mut events).await else { panic!() };
    assert!(reason.path.contains("uevent_seqnum"), "{reason}");
}

#[test]
fn one_look_answers_all_who_asked_before_it() {
    let tree = FakeTree::new();
    let scanner = Mutex::new(Scanner::new(tree.roots()));
    let (sender, received) = mpsc::channel();
    let sender = Mutex::new(sender);
    let sink = EventSink(Arc::new(move |event| sender.lock().unwrap().send(event).unwrap()));
    snapshot(
        &scanner,
        |_| {},
        &tree.roots(),
        [1, 2, 3].map(|op| SnapshotTask::TakeSnapshot(OpId(op))).into_iter(),
        &sink,
    );
    drop(sink);
    let orders: Vec<u64> = received
        .iter()
        .map(|event| match event {
            HostEvent::SnapshotTaken { result: Ok(snapshot), .. } => snapshot.order,
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(orders, [1, 1, 1]);
}

#[tokio::test]
async fn every_other_effect_is_answered_with_its_own_number() {
    let tree = FakeTree::new();
    tree.put("proc/self/mountinfo", "");
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    tree.set(ctrl, "delete_controller", "0");
    let (host, mut events) = host(&tree);

    let portal =
        Portal { traddr: "x".into(), trsvcid: "1".into(), host_traddr: String::new(), host_iface: String::new() };
    host.start(HostEffect::Probe { op: OpId(1), portal, only_if_others_wait: false });
    assert!(matches!(answer(&mut events).await, HostEvent::Probed { op: OpId(1), outcome: ProbeOutcome::Unknown(_) }));

    host.start(HostEffect::CheckUse { op: OpId(2), ctrl, not_counted: Vec::new() });
    assert_eq!(answer(&mut events).await, HostEvent::UseChecked { op: OpId(2), usage: Usage::Free });

    host.start(HostEffect::Resolve { op: OpId(3), name: "192.0.2.1".into() });
    // stas-net does not run here.
    let HostEvent::Resolved { op: OpId(3), result: Err(error) } = answer(&mut events).await else { panic!() };
    assert!(error.to_string().starts_with("cannot look up 192.0.2.1: stas-net cannot be reached"), "{error}");

    host.start(HostEffect::Connect { op: OpId(4), request: Box::new(request()) });
    let HostEvent::Connected { op: OpId(4), report } = answer(&mut events).await else { panic!() };
    assert_eq!(report.outcome, ConnectOutcome::Found(ctrl));

    // Without /proc/self/mountinfo this host may run from any controller.
    fs::rename(tree.path("proc/self/mountinfo"), tree.path("mountinfo")).unwrap();
    host.start(HostEffect::Disconnect { op: OpId(6), ctrl, ends_use: true, recheck_use: None });
    let result = Err(DisconnectError::CarriesSystem);
    assert_eq!(answer(&mut events).await, HostEvent::Disconnected { op: OpId(6), result });
    fs::rename(tree.path("mountinfo"), tree.path("proc/self/mountinfo")).unwrap();
    assert!(!fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap().starts_with('1'));

    host.start(HostEffect::Disconnect { op: OpId(5), ctrl, ends_use: true, recheck_use: Some(Vec::new()) });
    assert_eq!(answer(&mut events).await, HostEvent::Disconnected { op: OpId(5), result: Ok(()) });
    assert!(fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap().starts_with('1'));
}

fn request() -> ConnectRequest {
    ConnectRequest {
        tid: Tid::new(TidParts {
            transport: Transport::Tcp,
            traddr: "192.0.2.1".into(),
            trsvcid: "4420".into(),
            subsysnqn: "nqn.2014-08.org.example:s".into(),
            host_traddr: String::new(),
            host_iface: String::new(),
            host_nqn: String::new(),
        }),
        parameters: Parameters::default(),
        identity: Arc::new(HostIdentity::new("nqn.h", String::new())),
        purpose: Purpose::Io,
        passed_over: BTreeSet::new(),
    }
}

#[tokio::test]
async fn a_claim_is_in_the_registry_before_a_later_look_and_a_removal_takes_it_out() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    tree.put("run/nvme/registry/nvme7/owner", "stas\n");
    let (host, mut events) = host(&tree);
    let entry = |device: u32| tree.path(format!("run/nvme/registry/nvme{device}"));
    host.start(HostEffect::Claim(CtrlRef { inode: ctrl.inode + 1, ..ctrl }));
    host.start(HostEffect::TakeSnapshot(OpId(1)));
    let HostEvent::SnapshotTaken { result: Ok(snapshot), .. } = answer(&mut events).await else { panic!() };
    assert_eq!(snapshot.controllers.first().unwrap().owner, Owner::None, "another controller was meant");
    assert!(!entry(7).exists(), "our entry of a controller that went before this run");
    host.start(HostEffect::Claim(ctrl));
    host.start(HostEffect::TakeSnapshot(OpId(2)));
    let HostEvent::SnapshotTaken { result: Ok(snapshot), .. } = answer(&mut events).await else { panic!() };
    assert_eq!(snapshot.controllers.first().unwrap().owner, Owner::Stas(Gained::Adopted));
    tree.remove(ctrl);
    host.snapshots.ask(SnapshotTask::Removed(0, 1001));
    host.start(HostEffect::TakeSnapshot(OpId(3)));
    answer(&mut events).await;
    assert!(!entry(0).exists());
}

#[tokio::test]
async fn secrets_are_hidden_before_a_later_look_is_answered() {
    use std::os::unix::fs::PermissionsExt;

    let tree = FakeTree::new();
    let [known, new] = [0, 1].map(|device| tree.controller(device, "traddr=192.0.2.1,trsvcid=4420"));
    tree.set(known, "dhchap_secret", "a");
    tree.set(new, "dhchap_ctrl_secret", "b");
    let (host, mut events) = host(&tree);
    host.start(HostEffect::HideSecrets(known));
    host.snapshots.ask(SnapshotTask::HideNew(new.device));
    host.snapshots.ask(SnapshotTask::HideNew(7));
    host.start(HostEffect::TakeSnapshot(OpId(1)));
    assert!(matches!(answer(&mut events).await, HostEvent::SnapshotTaken { op: OpId(1), result: Ok(_) }));
    for file in ["nvme0/dhchap_secret", "nvme1/dhchap_ctrl_secret"] {
        let mode = fs::metadata(tree.path(format!("sys/class/nvme/{file}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_fails_is_started_anew_until_there_is_one() {
    let log = LogLines::start();
    let tries = std::cell::Cell::new(0);
    let start = || {
        tries.set(tries.get() + 1);
        if tries.get() < 3 { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok("fresh") }
    };
    let begin = tokio::time::Instant::now();
    let error = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(restart_monitor("the kernel's events", &error, start).await, "fresh");
    assert_eq!((tries.get(), begin.elapsed()), (3, 3 * PAUSE));
    assert!(log.text().contains("cannot read the kernel's events: connection reset"), "{}", log.text());
}

#[tokio::test]
async fn a_probe_that_is_only_for_the_sake_of_the_other_daemon_is_skipped_while_that_waits_for_nothing() {
    let tree = FakeTree::new();
    let (host, mut events) = host(&tree);
    let portal =
        Portal { traddr: "x".into(), trsvcid: "1".into(), host_traddr: String::new(), host_iface: String::new() };
    let probe = |op| HostEffect::Probe { op, portal: portal.clone(), only_if_others_wait: true };
    host.start(probe(OpId(1)));
    assert_eq!(answer(&mut events).await, HostEvent::Probed { op: OpId(1), outcome: ProbeOutcome::Skipped });
    let _entry = Waiting::new(tree.path("waiting")).enter();
    host.start(probe(OpId(2)));
    assert!(matches!(answer(&mut events).await, HostEvent::Probed { op: OpId(2), outcome: ProbeOutcome::Unknown(_) }));
}

#[test]
fn lost_events_are_reported_as_an_overrun() {
    let (sender, told) = mpsc::channel();
    let (tasks, _asked) = mpsc::channel();
    let sender = Mutex::new(sender);
    let kernel = KernelEvents {
        sink: EventSink(Arc::new(move |event| sender.lock().unwrap().send(event).unwrap())),
        snapshots: Snapshots(tasks),
        reconnected: Reconnected::default(),
        writing_secrets: Arc::default(),
    };
    kernel.pass_on(Incoming::Overrun);
    assert_eq!(told.try_recv(), Ok(HostEvent::Overrun));
}

/// The requests to the snapshot thread when a controller is added, while secrets are or are not being written.
fn asked_at_add(writing_secrets: bool) -> Vec<SnapshotTask> {
    let (tasks, received) = mpsc::channel();
    let kernel = KernelEvents {
        sink: EventSink(Arc::new(|_| ())),
        snapshots: Snapshots(tasks),
        reconnected: Reconnected::default(),
        writing_secrets: Arc::new(AtomicBool::new(writing_secrets)),
    };
    kernel.pass_on(Incoming::Event(Uevent { seqnum: 1, device: 4, kind: UeventKind::Add }));
    received.try_iter().collect()
}

#[test]
fn secrets_are_hidden_while_the_kernel_still_connects() {
    assert!(matches!(asked_at_add(true).as_slice(), [SnapshotTask::HideNew(4)]));
    assert!(asked_at_add(false).is_empty(), "somebody else's controller is left alone");
}

#[tokio::test]
async fn the_host_can_be_dropped_at_any_time() {
    let tree = FakeTree::new();
    let (host, events) = host(&tree);
    drop(events);
    host.start(HostEffect::TakeSnapshot(OpId(1)));
    host.start(HostEffect::Save);
    drop(host);
}
