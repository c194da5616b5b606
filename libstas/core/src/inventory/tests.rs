use super::*;
use crate::UeventKind;
use crate::kernel::{CtrlState, CtrlType};
use stas_nvme::Transport;

fn kernel(device: u32, inode: u64, state: CtrlState) -> KernelController {
    KernelController {
        traddr: "192.0.2.1".into(),
        trsvcid: "4420".into(),
        subsysnqn: "nqn".into(),
        cntrltype: CtrlType::Io,
        state,
        ..KernelController::unread(CtrlRef { device, inode }, Transport::Tcp)
    }
}

fn snapshot(order: u64, seqnum: u64, controllers: Vec<KernelController>) -> Snapshot {
    Snapshot::new(order, seqnum, controllers)
}

#[test]
fn a_recycled_device_number_is_another_controller() {
    let mut inventory = Inventory::default();
    inventory.take(snapshot(1, 1, vec![kernel(0, 10, CtrlState::Live)]));
    let diff = inventory.take(snapshot(2, 2, vec![kernel(0, 11, CtrlState::Live)])).unwrap();
    assert_eq!(diff.appeared, [CtrlRef { device: 0, inode: 11 }]);
    assert_eq!(diff.gone[0].ctrl, CtrlRef { device: 0, inode: 10 });
    assert_eq!(inventory.device(0).map(|kernel| kernel.ctrl.inode), Some(11));
}

#[test]
fn an_older_snapshot_is_ignored() {
    let mut inventory = Inventory::default();
    inventory.take(snapshot(2, 5, vec![kernel(0, 10, CtrlState::Live)]));
    assert_eq!(inventory.take(snapshot(1, 4, Vec::new())), None);
    assert!(inventory.get(CtrlRef { device: 0, inode: 10 }).is_some());
}

#[test]
fn events_from_before_the_look_are_covered_by_it() {
    let mut inventory = Inventory::default();
    let event = |seqnum| Uevent { seqnum, device: 0, kind: UeventKind::Remove };
    assert!(!inventory.covers(&event(0)));
    inventory.take(snapshot(1, 7, Vec::new()));
    assert!(inventory.covers(&event(7)));
    assert!(!inventory.covers(&event(8)));
}

#[test]
fn changes_of_state_are_reported() {
    let mut inventory = Inventory::default();
    let first = inventory.take(snapshot(1, 1, vec![kernel(0, 1, CtrlState::Connecting)])).unwrap();
    assert!(first.became_live.is_empty());
    let up = inventory.take(snapshot(2, 1, vec![kernel(0, 1, CtrlState::Live)])).unwrap();
    assert_eq!(up.became_live.len(), 1);
    let down = inventory.take(snapshot(3, 1, vec![kernel(0, 1, CtrlState::Connecting)])).unwrap();
    assert_eq!(down.lost.len(), 1);
}
