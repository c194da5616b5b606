//! Hosts whose configured host ID differs from the one of the kernel's connections.

use fake_host::{HOST, as_host};
use libstas::core::{Level, LogRecord};
use libstas::nvme::connect::host_id_for;

use super::*;

/// The configured host ID, the kernel's, and another one.
const OWN: &str = "00000000-0000-4000-8000-00000000000a";
const KERNELS: &str = "00000000-0000-4000-8000-00000000000b";
const THIRD: &str = "00000000-0000-4000-8000-00000000000c";

/// A fleet of a host with this NQN and [`OWN`]; the kernel has one controller with that NQN and ID.
fn scene(hostnqn: &str, hostid: &str) -> Scene {
    let mut scene = Scene::new();
    scene.identify(HostIdentity::new(HOST, OWN));
    add(&mut scene, "somebody's", hostnqn, hostid);
    scene
}

fn add(scene: &mut Scene, nqn: &str, hostnqn: &str, hostid: &str) {
    let ctrl = scene.host.add(&tid(nqn));
    let kernel = scene.host.ctrl(ctrl);
    (kernel.hostnqn, kernel.hostid) = (hostnqn.into(), hostid.into());
}

/// The host ID of the next connect.
fn id_of_next(scene: &mut Scene, host_nqn: &str) -> String {
    match scene.next() {
        Some(HostEffect::Connect { op, request }) => {
            let id = host_id_for(host_nqn, &request.identity).unwrap().to_string();
            scene.fail(op);
            id
        }
        other => panic!("expected a connect, got {other:?}"),
    }
}

/// The kernel refuses the next connect (EINVAL). Returns its host ID.
fn refuse_next(scene: &mut Scene, host_nqn: &str) -> String {
    match scene.next() {
        Some(HostEffect::Connect { op, request }) => {
            let error = ConnectError::Kernel { errno: 22, explanation: "another pair".into() };
            scene.answer(op, ConnectOutcome::Failed(error));
            host_id_for(host_nqn, &request.identity).unwrap().to_string()
        }
        other => panic!("expected a connect, got {other:?}"),
    }
}

/// The log lines about host IDs since the last call.
fn log_records(scene: &mut Scene) -> Vec<LogRecord> {
    assert_eq!(scene.next(), None);
    log_records_so_far(scene)
}

/// Lets a minute pass. Each connect fails.
fn wait_a_minute(scene: &mut Scene) {
    for _ in 0..60 {
        scene.host.wait(1);
        while let Some(effect) = scene.next() {
            let HostEffect::Connect { op, .. } = effect else { continue };
            scene.fail(op);
        }
    }
}

/// As [`log_records`]. Connects that are under way fail.
fn log_records_so_far(scene: &mut Scene) -> Vec<LogRecord> {
    while let Some(effect) = scene.next() {
        if let HostEffect::Connect { op, .. } = effect {
            scene.fail(op);
        }
    }
    let records = scene.host.log_records().filter(|record| record.text.contains("host ID")).cloned().collect();
    scene.host.effects.clear();
    records
}

#[test]
fn new_connections_have_the_host_id_that_the_kernel_has_until_no_connection_has_it() {
    let mut scene = scene(HOST, KERNELS);
    scene.want(&tid("a"), Want::default());
    assert_eq!(id_of_next(&mut scene, HOST), KERNELS);
    scene.host.kernel.clear();
    let mut last = String::new();
    for _ in 0..3 {
        scene.host.wait(60);
        last = id_of_next(&mut scene, HOST);
    }
    assert_eq!(last, OWN);
}

#[test]
fn whichever_connections_have_another_host_id_the_kernel_is_asked_for_what_it_takes() {
    for (hostnqn, hostid, expected) in [
        (HOST, KERNELS, KERNELS),
        (HOST, OWN, OWN),
        (HOST, "", OWN),
        (HOST, "00000000-0000-0000-0000-000000000000", OWN),
        (HOST, "nonsense", OWN),
        ("nqn.of-another-host", KERNELS, OWN),
        ("", OWN, OWN),
    ] {
        let mut scene = scene(hostnqn, hostid);
        scene.want(&tid("a"), Want::default());
        assert_eq!(id_of_next(&mut scene, HOST), expected, "{hostnqn} {hostid}");
    }
}

#[test]
fn a_connection_with_the_configured_host_id_decides_where_the_kernel_has_several() {
    let mut scene = scene(HOST, KERNELS);
    for hostid in [THIRD, OWN] {
        add(&mut scene, "another", HOST, hostid);
    }
    scene.want(&tid("a"), Want::default());
    assert_eq!(id_of_next(&mut scene, HOST), OWN);
}

#[test]
fn a_controller_with_a_host_nqn_of_its_own_keeps_the_host_id_of_that_nqn() {
    let other = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000ff";
    let mut scene = scene(other, KERNELS);
    let tid = as_host(other, &tid("a"));
    scene.want(&tid, Want::default());
    assert_eq!(id_of_next(&mut scene, other), KERNELS);
}

#[test]
fn another_host_id_is_reported_once_with_both_ids_and_so_is_its_end() {
    let mut scene = scene(HOST, KERNELS);
    let told = log_records(&mut scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Warning);
    assert!([OWN, KERNELS, HOST].iter().all(|word| told[0].text.contains(word)), "{told:?}");
    scene.host.wait(60);
    assert_eq!(log_records(&mut scene), []);
    scene.host.kernel.clear();
    scene.host.wait(60);
    let told = log_records(&mut scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Info);
    assert!(told[0].text.contains(OWN), "{told:?}");
}

#[test]
fn a_failed_attempt_with_the_kernels_host_id_is_no_attempt_of_another_host() {
    let mut scene = scene(HOST, KERNELS);
    scene.want(&tid("a"), Want::default());
    id_of_next(&mut scene, HOST);
    assert_eq!(scene.next(), None, "the back-off holds");
}

/// An NQN with which another program, or this host under its earlier name, has connected with [`OWN`].
const STRANGER: &str = "nqn.of-another-host";

/// The host ID for the host's NQN while another NQN has [`OWN`]: the UUID in the NQN.
const DERIVED: &str = "00000000-0000-4000-8000-000000000001";

#[test]
fn a_host_id_that_another_host_nqn_has_is_not_used_after_the_kernel_has_refused_it() {
    let mut scene = scene(STRANGER, OWN);
    scene.want(&tid("a"), Want::default());
    assert_eq!(id_of_next(&mut scene, HOST), OWN, "a kernel before 6.5 accepts it");
    scene.host.wait(60);
    assert_eq!(refuse_next(&mut scene, HOST), OWN);
    assert_eq!(id_of_next(&mut scene, HOST), DERIVED);
}

#[test]
fn a_host_id_that_another_host_nqn_has_is_replaced_by_one_that_no_other_has() {
    let mut scene = scene(STRANGER, OWN);
    add(&mut scene, "another", "nqn.third", DERIVED);
    scene.want(&tid("a"), Want::default());
    refuse_next(&mut scene, HOST);
    let id = id_of_next(&mut scene, HOST);
    let of_line = HostIdentity::new(STRANGER, OWN);
    assert!(id != OWN && id != DERIVED, "{id}");
    assert_eq!(id_of_next_after(&mut scene, 60), id, "always the same");
    assert_ne!(Some(id), host_id_for("nqn.third", &of_line).map(|id| id.to_string()), "the NQN is part of it");
}

/// The host ID of the next connect, this many seconds later.
fn id_of_next_after(scene: &mut Scene, seconds: u32) -> String {
    scene.host.wait(seconds);
    id_of_next(scene, HOST)
}

#[test]
fn the_pair_that_the_kernel_has_for_the_host_nqn_is_used_as_long_as_a_connection_has_it() {
    for stranger in [true, false] {
        let mut scene = scene(HOST, DERIVED);
        if stranger {
            add(&mut scene, "another", STRANGER, OWN);
        }
        scene.want(&tid("a"), Want::default());
        assert_eq!(id_of_next(&mut scene, HOST), DERIVED);
        scene.host.kernel.retain(|kernel| kernel.hostnqn != HOST);
        assert_eq!((0..3).map(|_| id_of_next_after(&mut scene, 60)).last().unwrap(), OWN);
        scene.host.wait(60);
        refuse_next(&mut scene, HOST);
        assert_eq!(id_of_next_after(&mut scene, 60), if stranger { DERIVED } else { OWN });
    }
    // Both pairs contradict each other, which kernels before 6.5 accept: the configured one with this NQN counts.
    let mut scene = scene(HOST, OWN);
    add(&mut scene, "another", STRANGER, OWN);
    scene.want(&tid("a"), Want::default());
    assert_eq!(id_of_next(&mut scene, HOST), OWN);
}

#[test]
fn the_host_id_of_a_line_with_a_host_nqn_of_its_own_is_not_one_that_another_host_nqn_has() {
    let other = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000ff";
    let of_line = "00000000-0000-4000-8000-0000000000ff";
    for holder in [STRANGER, HOST] {
        let mut scene = scene(holder, of_line);
        scene.want(&as_host(other, &tid("a")), Want::default());
        assert_eq!(refuse_next(&mut scene, other), of_line);
        let id = id_of_next(&mut scene, other);
        assert!(id != of_line && id != OWN, "{holder}: {id}");
    }
}

#[test]
fn a_host_id_that_another_host_nqn_has_is_reported_once_with_the_remedy_and_so_is_its_end() {
    let mut scene = scene(STRANGER, OWN);
    assert_eq!(log_records(&mut scene), []);
    scene.want(&tid("a"), Want::default());
    refuse_next(&mut scene, HOST);
    id_of_next(&mut scene, HOST);
    let told = log_records_so_far(&mut scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Warning);
    for words in [OWN, STRANGER, HOST, "nvme0", "/etc/nvme/hostnqn", &format!("`echo {DERIVED} > /etc/nvme/hostid`")] {
        assert!(told[0].text.contains(words), "{words} in {told:?}");
    }
    add(&mut scene, "made", HOST, DERIVED);
    wait_a_minute(&mut scene);
    assert_eq!(log_records_so_far(&mut scene), [], "a connection with the other host ID is no news");
    scene.host.kernel.remove(0);
    wait_a_minute(&mut scene);
    assert_eq!(log_records_so_far(&mut scene), []);
    scene.host.kernel.clear();
    wait_a_minute(&mut scene);
    let told = log_records_so_far(&mut scene);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::Info);
    assert!(told[0].text.contains(OWN), "{told:?}");
}
