#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::fake_tree::FakeTree;
use stas_core::{CtrlState, CtrlType, Owner};
use stas_nvme::Transport;

const ADDRESS: &str = "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.9";

#[test]
fn a_look_shows_every_fabrics_controller_and_no_other() {
    let tree = FakeTree::new();
    let tcp = tree.controller(0, ADDRESS);
    let pcie = tree.controller(1, "0000:01:00.0");
    tree.set(pcie, "transport", "pcie");
    tree.put("sys/class/nvme/nvme-subsys0/nqn", "x");
    let snapshot = Scanner::new(tree.roots()).snapshot().unwrap();
    assert_eq!(snapshot.seqnum, 1000);
    assert_eq!(snapshot.controllers.len(), 1);
    let ctrl = &snapshot.controllers[0];
    assert_eq!((ctrl.ctrl, ctrl.transport, ctrl.state), (tcp, Transport::Tcp, CtrlState::Live));
    assert_eq!((ctrl.traddr.as_str(), ctrl.trsvcid.as_str()), ("192.0.2.1", "4420"));
    assert_eq!((ctrl.model.as_str(), ctrl.kato, ctrl.cntrltype), ("Linux", Some(5), CtrlType::Io));
}

/// Kernels 6.7 to 6.11 show an empty tls_key for an NVMe/TCP connection that is not encrypted; later kernels have no
/// such attribute then.
#[test]
fn tls_key_is_interpreted_by_the_version_of_the_kernel() {
    let key = Some("0a80c9ce\n");
    let cases = [
        ("6.1.0-18-amd64", None, "live", Some(false)),
        ("6.8.0-31-generic", key, "live", Some(true)),
        ("6.8.0-31-generic", key, "connecting", Some(true)),
        ("6.8.0-31-generic", Some(""), "live", Some(false)),
        ("6.8.0-31-generic", Some(""), "connecting", None),
        ("5.14.0-503.el9", Some(""), "live", Some(false)),
        ("6.12.0", None, "live", Some(false)),
        ("6.12.0", key, "live", Some(true)),
        ("6.12.0", Some(""), "connecting", Some(true)),
        ("7.0.1", Some(""), "live", Some(true)),
        ("unreadable", Some(""), "live", Some(false)),
    ];
    for (release, key, state, encrypted) in cases {
        let tree = FakeTree::new();
        tree.put("proc/sys/kernel/osrelease", release);
        let ctrl = tree.controller(0, ADDRESS);
        if let Some(key) = key {
            tree.set(ctrl, "tls_key", key);
        }
        tree.set(ctrl, "state", state);
        let snapshot = Scanner::new(tree.roots()).snapshot().unwrap();
        assert_eq!(snapshot.controllers[0].encrypted, encrypted, "{release} {key:?} {state}");
    }
}

#[test]
fn an_unknown_encryption_is_known_when_the_connection_is_live() {
    for (key, encrypted) in [("", false), ("0a80c9ce\n", true)] {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, ADDRESS);
        tree.set(ctrl, "tls_key", "");
        tree.set(ctrl, "state", "connecting");
        let mut scanner = Scanner::new(tree.roots());
        let mut seen = || scanner.snapshot().unwrap().controllers[0].encrypted;
        assert_eq!(seen(), None);
        tree.set(ctrl, "tls_key", key);
        tree.set(ctrl, "state", "live");
        assert_eq!(seen(), Some(encrypted));
        // The kernel forgets the key while it reconnects.
        tree.set(ctrl, "tls_key", "");
        tree.set(ctrl, "state", "connecting");
        assert_eq!(seen(), Some(encrypted));
    }
}

#[test]
fn without_an_nvme_driver_there_is_no_controller() {
    let tree = FakeTree::new();
    fs::remove_dir(tree.path("sys/class/nvme")).unwrap();
    assert_eq!(Scanner::new(tree.roots()).snapshot().unwrap().controllers, []);
}

#[test]
fn sysfs_that_cannot_be_read_is_an_error_and_not_an_empty_snapshot() {
    let tree = FakeTree::new();
    fs::remove_file(tree.path("sys/kernel/uevent_seqnum")).unwrap();
    let error = Scanner::new(tree.roots()).snapshot().unwrap_err();
    assert!(error.to_string().contains("uevent_seqnum"), "{error}");
}

#[test]
fn the_state_is_read_with_each_snapshot() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    let first = scanner.snapshot().unwrap();
    tree.set(ctrl, "state", "connecting");
    tree.put("sys/kernel/uevent_seqnum", "1001\n");
    let second = scanner.snapshot().unwrap();
    assert_eq!(second.controllers[0].state, CtrlState::Connecting);
    assert_eq!(second.seqnum, 1001);
    assert!(second.order > first.order);
}

#[test]
fn a_quick_snapshot_does_not_read_the_state_of_live_controllers_again() {
    let tree = FakeTree::new();
    let (stays, goes) = (tree.controller(0, ADDRESS), tree.controller(1, ADDRESS));
    tree.set(goes, "state", "connecting");
    let mut scanner = Scanner::new(tree.roots());
    let first = scanner.quick_snapshot().unwrap();
    assert_eq!(first.controllers.iter().map(|c| c.state).collect::<Vec<_>>(), [CtrlState::Live, CtrlState::Connecting]);
    tree.set(goes, "state", "live");
    tree.set(stays, "state", "connecting");
    let came = tree.controller(2, ADDRESS);
    let second = scanner.quick_snapshot().unwrap();
    assert_eq!(second.controllers.iter().map(|c| c.state).collect::<Vec<_>>(), [CtrlState::Live; 3]);
    assert!(Arc::ptr_eq(&first.controllers[0], &second.controllers[0]), "what stays as it is is shared");
    assert_eq!(scanner.snapshot().unwrap().controllers[0].state, CtrlState::Connecting);
    assert_eq!(scanner.quick_snapshot().unwrap().controllers[0].state, CtrlState::Connecting);
    tree.remove(came);
    assert_eq!(scanner.quick_snapshot().unwrap().controllers.len(), 2);
}

#[test]
fn the_source_address_is_remembered_while_the_connection_is_down() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    scanner.snapshot().unwrap();
    tree.set(ctrl, "state", "connecting");
    tree.set(ctrl, "address", "traddr=192.0.2.1,trsvcid=4420");
    scanner.reconnected().note(0);
    assert_eq!(scanner.snapshot().unwrap().controllers[0].src_addr, "192.0.2.9".parse().ok());
}

#[test]
fn a_source_address_that_changed_with_a_reconnection_is_seen() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    scanner.snapshot().unwrap();
    let moved = "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.10";
    tree.set(ctrl, "address", moved);
    assert_eq!(scanner.snapshot().unwrap().controllers[0].src_addr, "192.0.2.9".parse().ok(), "nothing hinted at it");
    scanner.reconnected().note(0);
    assert_eq!(scanner.snapshot().unwrap().controllers[0].src_addr, "192.0.2.10".parse().ok());

    tree.set(ctrl, "state", "connecting");
    scanner.snapshot().unwrap();
    tree.set(ctrl, "state", "live");
    tree.set(ctrl, "address", ADDRESS);
    assert_eq!(scanner.snapshot().unwrap().controllers[0].src_addr, "192.0.2.9".parse().ok(), "it came up again");
}

#[test]
fn what_is_not_filled_in_at_first_is_read_again() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, "traddr=192.0.2.1,trsvcid=4420");
    for (name, value) in
        [("state", "connecting"), ("subsysnqn", "(efault)"), ("model", "(efault)"), ("cntrltype", "reserved")]
    {
        tree.set(ctrl, name, value);
    }
    let mut scanner = Scanner::new(tree.roots());
    let early = scanner.snapshot().unwrap().controllers.remove(0);
    assert_eq!((early.subsysnqn.as_str(), early.cntrltype), ("", CtrlType::Unknown));
    for (name, value) in
        [("state", "live"), ("subsysnqn", "nqn.s"), ("model", "M"), ("cntrltype", "discovery"), ("address", ADDRESS)]
    {
        tree.set(ctrl, name, value);
    }
    let late = scanner.snapshot().unwrap().controllers.remove(0);
    assert_eq!((late.subsysnqn.as_str(), late.cntrltype), ("nqn.s", CtrlType::Discovery));
    assert_eq!(late.src_addr, "192.0.2.9".parse().ok());
}

#[test]
fn what_identifies_a_controller_is_read_once() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    scanner.snapshot().unwrap();
    tree.set(ctrl, "model", "another");
    assert_eq!(scanner.snapshot().unwrap().controllers[0].model, "Linux");
}

#[test]
fn kernels_without_a_controller_type_are_fine() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    for name in ["cntrltype", "dctype", "kato"] {
        tree.unset(ctrl, name);
    }
    let snapshot = Scanner::new(tree.roots()).snapshot().unwrap();
    assert_eq!((snapshot.controllers[0].cntrltype, snapshot.controllers[0].kato), (CtrlType::Unknown, None));
}

#[test]
fn a_recycled_number_is_another_controller() {
    let tree = FakeTree::new();
    let first = tree.controller(3, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    scanner.snapshot().unwrap();
    let second = tree.controller(3, "traddr=192.0.2.2,trsvcid=4420");
    assert_ne!(first.inode, second.inode);
    let snapshot = scanner.snapshot().unwrap();
    assert_eq!(snapshot.controllers.len(), 1);
    assert_eq!((snapshot.controllers[0].ctrl, snapshot.controllers[0].traddr.as_str()), (second, "192.0.2.2"));
    assert!(ControllerDir::open(&tree.roots(), first).unwrap().is_none());
}

#[test]
fn a_controller_that_vanishes_in_the_middle_of_a_look_is_no_error() {
    let tree = FakeTree::new();
    let half_gone = tree.controller(0, ADDRESS);
    tree.controller(1, ADDRESS);
    fs::remove_dir_all(fs::read_link(tree.path("sys/class/nvme/nvme0")).unwrap()).unwrap();
    let snapshot = Scanner::new(tree.roots()).snapshot().unwrap();
    assert_eq!(snapshot.controllers.iter().map(|c| c.ctrl.device).collect::<Vec<_>>(), [1]);
    assert!(ControllerDir::open(&tree.roots(), half_gone).unwrap().is_none());
}

#[test]
fn a_controller_that_has_lost_half_of_its_attributes_is_gone() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    for name in ["address", "serial"] {
        tree.unset(ctrl, name);
    }
    assert_eq!(Scanner::new(tree.roots()).snapshot().unwrap().controllers, []);
}

#[test]
fn a_look_shows_the_owner_of_the_moment_and_a_glance_that_of_new_controllers() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    let mut scanner = Scanner::new(tree.roots());
    let owner = |snapshot: Snapshot| snapshot.controllers[0].owner.clone();
    assert_eq!(owner(scanner.quick_snapshot().unwrap()), Owner::None);
    tree.put(format!("run/nvme/registry/{ctrl}/owner"), "discoverd\n");
    assert_eq!(owner(scanner.quick_snapshot().unwrap()), Owner::None);
    let before = scanner.snapshot().unwrap();
    assert_eq!(owner(before.clone()), Owner::Other("discoverd".into()));
    assert!(Arc::ptr_eq(&before.controllers[0], &scanner.snapshot().unwrap().controllers[0]), "what stays is shared");
    fs::remove_file(tree.path(format!("run/nvme/registry/{ctrl}/owner"))).unwrap();
    assert_eq!(owner(scanner.snapshot().unwrap()), Owner::None);
}

#[test]
fn a_hidden_attribute_is_for_root_alone() {
    let tree = FakeTree::new();
    let ctrl = tree.controller(0, ADDRESS);
    tree.set(ctrl, "dhchap_secret", "none of your business");
    let dir = ControllerDir::open(&tree.roots(), ctrl).unwrap().unwrap();
    assert!(dir.hide("dhchap_secret").unwrap());
    assert!(!dir.hide("dhchap_ctrl_secret").unwrap(), "there is none");
    let mode = fs::metadata(tree.path("sys/class/nvme/nvme0/dhchap_secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_open_directory_never_speaks_of_a_successor() {
    let tree = FakeTree::new();
    let first = tree.controller(0, ADDRESS);
    let dir = ControllerDir::open(&tree.roots(), first).unwrap().unwrap();
    tree.controller(0, "traddr=192.0.2.2,trsvcid=4420");
    assert_eq!(dir.read("address").unwrap(), None);
    assert!(!dir.write("delete_controller", "1").unwrap());
}

#[test]
fn a_snapshot_shows_from_which_controllers_the_host_runs() {
    let tree = FakeTree::new();
    for device in [0, 1] {
        tree.controller(device, ADDRESS);
    }
    let mut scanner = Scanner::new(tree.roots());
    let mut seen = |carriers: Option<Carriers>, quick: bool| -> Vec<bool> {
        if let Some(carriers) = carriers {
            scanner.set_carriers(carriers);
        }
        let snapshot = if quick { scanner.quick_snapshot() } else { scanner.snapshot() }.unwrap();
        snapshot.controllers.iter().map(|ctrl| ctrl.carries_system).collect()
    };
    assert_eq!(seen(None, false), [false, false]);
    assert_eq!(seen(Some(Carriers::Known([1].into())), true), [false, true]);
    assert_eq!(seen(Some(Carriers::Unknown), false), [true, true]);
    assert_eq!(seen(Some(Carriers::Known([0].into())), false), [true, false]);
}
