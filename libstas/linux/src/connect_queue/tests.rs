#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake_tree::FakeTree;
use log_lines::LogLines;
use stas_core::{Gained, Owner};
use stas_nvme::{HostIdentity, Parameters, Purpose, Secret, Tid, TidParts, Transport};

fn worker(tree: &FakeTree) -> Worker {
    Worker::new(Shared {
        roots: tree.roots(),
        scanner: Arc::new(Mutex::new(Scanner::new(tree.roots()))),
        links: Arc::default(),
        lock_file: tree.path("lock"),
        waiting: Waiting::new(tree.path("waiting")),
        writing_secrets: Arc::default(),
    })
}

fn request(traddr: &str) -> ConnectRequest {
    ConnectRequest {
        tid: Tid::new(TidParts {
            transport: Transport::Tcp,
            traddr: traddr.into(),
            trsvcid: "4420".into(),
            subsysnqn: "nqn.2014-08.org.example:s".into(),
            host_traddr: String::new(),
            host_iface: String::new(),
            host_nqn: String::new(),
        }),
        parameters: Parameters::default(),
        identity: Arc::new(HostIdentity::new("nqn.2014-08.org.example:h", "2a3f2c5e-0000-4000-8000-000000000001")),
        purpose: Purpose::Io,
        passed_over: BTreeSet::new(),
    }
}

#[test]
fn what_is_connected_already_is_found_and_nothing_is_written() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    let report = worker(&tree).carry_out(&request("192.0.2.1"));
    assert_eq!(report.outcome, ConnectOutcome::Found(ctrl), "there is no device to write to");
    assert_eq!((report.blocked_for, report.snapshot.controllers.len()), (Duration::ZERO, 1));
}

#[test]
fn a_connection_that_is_passed_over_is_not_found() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    let passing = ConnectRequest { passed_over: [ctrl].into(), ..request("192.0.2.1") };
    let report = worker(&tree).carry_out(&passing);
    assert!(matches!(report.outcome, ConnectOutcome::Failed(_)), "there is no device to write to: {report:?}");
}

/// The device as a file: it contains the list of options, and the answer after as many bytes as will be written.
fn device(tree: &FakeTree, worker: &mut Worker, request: &ConnectRequest, answer: &str) {
    let options = "transport=%s,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s,dhchap_secret=%s";
    tree.put("dev/nvme-fabrics", options);
    let line = worker.line(request).unwrap().reveal();
    tree.put("dev/nvme-fabrics", &format!("{:width$}{answer}", options, width = line.len()));
    assert!(options.len() <= line.len());
}

#[test]
fn a_controller_that_is_made_is_reported_with_the_snapshot_after_it() {
    let tree = FakeTree::new();
    let mut worker = worker(&tree);
    let ctrl = tree.controller(5, "traddr=192.0.2.9,trsvcid=4420");
    device(&tree, &mut worker, &request("192.0.2.1"), "instance=5,cntlid=1");
    let report = worker.carry_out(&request("192.0.2.1"));
    assert_eq!(report.outcome, ConnectOutcome::Made(ctrl));
    let owners: Vec<_> = report.snapshot.controllers.iter().map(|made| &made.owner).collect();
    assert_eq!(owners, [&Owner::Stas(Gained::Connected)]);
    let owner = std::fs::read_to_string(tree.path("run/nvme/registry/nvme5/owner")).unwrap();
    assert_eq!(owner, "stas\n", "other programs leave it alone from now on");
    let written = std::fs::read_to_string(tree.path("dev/nvme-fabrics")).unwrap();
    assert!(written.contains("traddr=192.0.2.1"), "{written}");
}

/// The entry of an earlier controller with the same number is read by the snapshot before the new one is recorded.
#[test]
fn a_new_controller_is_ours_in_every_snapshot_even_if_it_had_a_stale_entry() {
    let tree = FakeTree::new();
    tree.put("run/nvme/registry/nvme5/owner", "discoverd\n");
    tree.put("run/nvme/registry/nvme5/seqnum", "7\n");
    let mut worker = worker(&tree);
    tree.controller(5, "traddr=192.0.2.9,trsvcid=4420");
    device(&tree, &mut worker, &request("192.0.2.1"), "instance=5,cntlid=1");
    let report = worker.carry_out(&request("192.0.2.1"));
    for snapshot in [report.snapshot, worker.quick_snapshot().unwrap(), worker.snapshot().unwrap()] {
        let owners: Vec<_> = snapshot.controllers.iter().map(|made| &made.owner).collect();
        assert_eq!(owners, [&Owner::Stas(Gained::Connected)]);
    }
}

#[test]
fn secrets_are_hidden_as_soon_as_it_is_known_where_they_are() {
    use std::os::unix::fs::PermissionsExt;

    let tree = FakeTree::new();
    let mut worker = worker(&tree);
    let ctrl = tree.controller(5, "traddr=192.0.2.9,trsvcid=4420");
    tree.set(ctrl, "dhchap_secret", "DHHC-1:00:x:");
    let mut request = request("192.0.2.1");
    let secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    request.parameters.dhchap_secret = Some(Secret::new(secret));
    device(&tree, &mut worker, &request, "instance=5,cntlid=1");
    worker.carry_out(&request);
    assert!(std::fs::read_to_string(tree.path("dev/nvme-fabrics")).unwrap().contains(secret));
    let mode = std::fs::metadata(tree.path("sys/class/nvme/nvme5/dhchap_secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!worker.shared.writing_secrets.load(Ordering::Acquire));
}

#[test]
fn an_option_that_the_kernel_does_not_know_is_reported_once() {
    let tree = FakeTree::new();
    let mut worker = worker(&tree);
    let mut request = request("192.0.2.1");
    request.parameters.hdr_digest = Some(true);
    let log = LogLines::start();
    device(&tree, &mut worker, &request, "");
    worker.line(&request).unwrap();
    let said = log.text();
    assert_eq!(said.matches("this kernel does not know the option hdr_digest").count(), 1, "{said}");
}

#[test]
fn nothing_is_written_while_sysfs_cannot_be_read() {
    let tree = FakeTree::new();
    tree.put("dev/nvme-fabrics", "transport=%s,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s");
    std::fs::remove_file(tree.path("sys/kernel/uevent_seqnum")).unwrap();
    let report = worker(&tree).carry_out(&request("192.0.2.1"));
    let ConnectOutcome::Failed(error) = report.outcome else { panic!("{report:?}") };
    assert!(error.to_string().contains("uevent_seqnum"), "{error}");
    assert!(!std::fs::read_to_string(tree.path("dev/nvme-fabrics")).unwrap().contains("192.0.2.1"));
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let tree = FakeTree::new();
    tree.put("dev/nvme-fabrics", "transport=%s,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s");
    let report = worker(&tree).carry_out(&request("192.0.2.1,evil=1"));
    assert!(matches!(report.outcome, ConnectOutcome::Failed(ConnectError::Invalid(_))), "{report:?}");
    assert_eq!(report.blocked_for, Duration::ZERO);
    assert!(!std::fs::read_to_string(tree.path("dev/nvme-fabrics")).unwrap().contains("evil"));
}

#[test]
fn without_the_device_the_failure_is_reported_with_the_snapshot() {
    let tree = FakeTree::new();
    tree.controller(0, "traddr=192.0.2.7,trsvcid=4420");
    let report = worker(&tree).carry_out(&request("192.0.2.1"));
    assert!(matches!(report.outcome, ConnectOutcome::Failed(ConnectError::Read { .. })), "{report:?}");
    assert_eq!(report.snapshot.controllers.len(), 1);
}

#[test]
fn the_controller_that_was_made_is_the_one_of_the_look_after_the_write() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(5, "traddr=192.0.2.1,trsvcid=4420");
    let worker = worker(&tree);
    let snapshot = worker.snapshot().unwrap();
    assert_eq!(worker.outcome(Ok(5), &snapshot, &request("192.0.2.1")), ConnectOutcome::Made(ctrl));
    let ConnectOutcome::Failed(error) = worker.outcome(Ok(6), &snapshot, &request("192.0.2.1")) else { panic!() };
    assert!(error.to_string().contains("nvme6"), "{error}");
}

#[test]
fn already_means_look_and_adopt() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(5, "traddr=192.0.2.1,trsvcid=4420");
    let worker = worker(&tree);
    let snapshot = worker.snapshot().unwrap();
    let already = || Err(ConnectError::Already);
    assert_eq!(worker.outcome(already(), &snapshot, &request("192.0.2.1")), ConnectOutcome::Found(ctrl));
    let unseen = worker.outcome(already(), &snapshot, &request("192.0.2.2"));
    assert_eq!(unseen, ConnectOutcome::Failed(ConnectError::Already));
}

#[test]
fn the_lock_keeps_the_other_daemon_out_until_it_is_dropped() {
    let tree = FakeTree::new();
    let lock = worker(&tree).lock().unwrap();
    let other = || Flock::lock(open_lock(&tree.path("lock")).unwrap(), FlockArg::LockExclusiveNonblock);
    assert!(other().is_err());
    drop(lock);
    assert!(other().is_ok());
}

#[test]
fn the_directory_of_the_lock_is_made() {
    let tree = FakeTree::new();
    let mut worker = worker(&tree);
    worker.shared.lock_file = tree.path("nvme-stas/lock");
    assert!(worker.lock().is_some());
}

#[test]
fn without_the_lock_file_it_goes_on() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    let mut worker = worker(&tree);
    worker.shared.lock_file = tree.path("no/such/folder/lock");
    let log = LogLines::start();
    for _ in 0..2 {
        assert_eq!(worker.carry_out(&request("192.0.2.1")).outcome, ConnectOutcome::Found(ctrl));
    }
    let said = log.text();
    assert_eq!(said.matches("no/such/folder/lock: No such file").count(), 1, "{said}");
}

#[test]
fn requests_are_carried_out_on_the_lane_s_thread() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    let connect_queue = ConnectQueue::start(worker(&tree).shared).unwrap();
    let (sender, receiver) = mpsc::channel();
    connect_queue.connect(Box::new(request("192.0.2.1")), move |report| sender.send(report).unwrap());
    assert_eq!(receiver.recv().unwrap().outcome, ConnectOutcome::Found(ctrl));
}

#[test]
fn a_trial_asks_for_a_discovery_controller_and_a_connection_that_it_makes_is_disconnected_and_proves_nothing() {
    const OLD: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    const NEW: &str = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
    let tree = FakeTree::new();
    let (lost, made) = (tree.controller(0, "traddr=192.0.2.1,trsvcid=4420"), tree.controller(5, ""));
    for (ctrl, name, value) in [
        (lost, "state", "connecting"),
        (lost, "dhchap_secret", OLD),
        (lost, "dhchap_ctrl_secret", "none"),
        (made, "delete_controller", "0"),
    ] {
        tree.set(ctrl, name, value);
    }
    let mut request = ConnectRequest { purpose: Purpose::Poll, ..request("192.0.2.1") };
    request.parameters.dhchap_secret = Some(Secret::new(NEW));
    let options = "transport=%s,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s,dhchap_secret=%s,discovery";
    tree.put("dev/nvme-fabrics", options);
    let mut worker = worker(&tree);
    let line = worker.line(&request).unwrap().reveal();
    tree.put("dev/nvme-fabrics", &format!("{options:width$}instance=5,cntlid=1", width = line.len()));

    let (outcome, blocked_for) = worker.rotate(lost, &request);
    assert!(matches!(outcome, Rotated::Unknown(_)) && blocked_for > Duration::ZERO, "{outcome:?}");
    let read = |path: String| std::fs::read_to_string(tree.path(path)).unwrap();
    let written = read("dev/nvme-fabrics".into());
    assert!(written.contains(",discovery") && written.contains(NEW), "{written}");
    assert_eq!(read(format!("sys/class/nvme/{made}/delete_controller")).trim(), "1");
    assert_eq!(read(format!("sys/class/nvme/{lost}/dhchap_secret")).trim(), OLD);
}

#[test]
fn without_the_option_for_it_no_secret_is_tried() {
    let tree = FakeTree::new();
    let lost = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    for (name, value) in [("state", "connecting"), ("dhchap_secret", "DHHC-1:00:x:"), ("dhchap_ctrl_secret", "none")] {
        tree.set(lost, name, value);
    }
    let mut request = ConnectRequest { purpose: Purpose::Poll, ..request("192.0.2.1") };
    let secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    request.parameters.dhchap_secret = Some(Secret::new(secret));
    let mut worker = worker(&tree);
    device(&tree, &mut worker, &request, "instance=5,cntlid=1");
    let (outcome, _) = worker.rotate(lost, &request);
    assert_eq!(outcome, Rotated::Unknown(ConnectError::NoTrial.into()));
    assert!(!std::fs::read_to_string(tree.path("dev/nvme-fabrics")).unwrap().contains(secret));
}
