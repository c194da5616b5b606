#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake_tree::FakeTree;

/// The counts of a disk that was only read.
const NEVER_WRITTEN: &str = "93 0 4120 31 0 0 0 0 0 36 31 0 0 0 0 0 0";

/// Two live controllers of one subsystem with the shared namespace nvme0n1, which is not in use.
fn two_paths() -> (FakeTree, CtrlRef, CtrlRef) {
    let tree = FakeTree::new();
    tree.put("proc/self/mountinfo", "26 1 254:0 / / rw - ext4 /dev/vda rw\n");
    tree.put("proc/swaps", "Filename Type Size Used Priority\n");
    let paths = [0, 1].map(|device| {
        let ctrl = tree.controller(device, "");
        tree.set(ctrl, &format!("nvme0c{device}n1/ana_state"), "optimized");
        tree.set(ctrl, &format!("nvme0c{device}n1/stat"), NEVER_WRITTEN);
        tree.link(
            format!("sys/class/nvme-subsystem/nvme-subsys0/nvme{device}"),
            format!("sys/class/nvme/nvme{device}"),
        );
        ctrl
    });
    disk(&tree, "nvme0n1", "259:3");
    let [one, other] = paths;
    (tree, one, other)
}

/// Runs a check in which every exclusive open succeeds.
fn check(tree: &FakeTree, ctrl: CtrlRef, not_counted: &[CtrlRef]) -> Usage {
    Watcher::new(&tree.roots(), None).check_with(ctrl, not_counted, &|_, _, _| Opened::Free)
}

fn disk(tree: &FakeTree, name: &str, number: &str) {
    tree.put(format!("sys/class/block/{name}/stat"), NEVER_WRITTEN);
    tree.put(format!("sys/class/block/{name}/dev"), &format!("{number}\n"));
    tree.put(format!("dev/{name}"), "");
}

fn partition(tree: &FakeTree, disk: &str, part: &str, number: &str) {
    tree.put(format!("sys/devices/{part}/dev"), &format!("{number}\n"));
    tree.put(format!("sys/devices/{part}/partition"), "1\n");
    tree.link(format!("sys/class/block/{disk}/{part}"), format!("sys/devices/{part}"));
    tree.link(format!("sys/class/block/{part}"), format!("sys/devices/{part}"));
    tree.put(format!("dev/{part}"), "");
}

fn mount(tree: &FakeTree, number: &str, source: &str) {
    tree.put("proc/self/mountinfo", &format!("100 26 {number} / /srv rw,relatime shared:95 - ext4 {source} rw\n"));
}

/// What the log says of storage that is in use.
fn uses(usage: &Usage) -> String {
    let Usage::LastPath(uses) = usage else { panic!("{usage:?}") };
    uses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The same for a controller that is not disconnected because of that.
fn in_use(result: Result<(), DisconnectError>) -> String {
    let Err(DisconnectError::InUse(found)) = result else { panic!("{result:?}") };
    uses(&Usage::LastPath(found))
}

/// The usage of one path while the other is being disconnected.
fn without_the_other((tree, one, other): &(FakeTree, CtrlRef, CtrlRef)) -> Usage {
    check(tree, *one, &[*other])
}

#[test]
fn storage_without_a_user_is_free() {
    let paths = two_paths();
    assert_eq!(without_the_other(&paths), Usage::Free);
}

#[test]
fn a_mount_is_spared_by_another_live_path_and_only_by_that() {
    let (tree, one, other) = two_paths();
    mount(&tree, "259:3", "/dev/root");
    let kind = UseKind::Mounted { point: "/srv".to_owned(), process: None };
    let used = Usage::LastPath(vec![Use { device: "nvme0n1".to_owned(), kind }]);
    assert_eq!(check(&tree, one, &[]), Usage::Free);
    assert_eq!(check(&tree, one, &[other]), used, "the other is leaving");
    let earlier = CtrlRef { inode: other.inode + 1, ..other };
    assert_eq!(check(&tree, one, &[earlier]), Usage::Free, "one of the same number was leaving");
    tree.set(other, "nvme0c1n1/ana_state", "inaccessible");
    assert_eq!(check(&tree, one, &[]), used, "the other has no access");
    tree.set(other, "nvme0c1n1/ana_state", "non-optimized");
    assert_eq!(check(&tree, one, &[]), Usage::Free);
    tree.set(other, "state", "connecting");
    assert_eq!(check(&tree, one, &[]), used, "the other is not live");
    tree.remove(other);
    assert_eq!(check(&tree, one, &[]), used, "the other is gone");
}

#[test]
fn a_path_that_is_down_is_kept_when_it_is_the_only_one() {
    let paths = two_paths();
    mount(&paths.0, "259:3", "/dev/nvme0n1");
    paths.0.set(paths.1, "state", "connecting");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is mounted on /srv");
}

#[test]
fn mounted_partitions_count() {
    let paths = two_paths();
    partition(&paths.0, "nvme0n1", "nvme0n1p2", "259:5");
    mount(&paths.0, "259:5", "/dev/nvme0n1p2");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1p2 is mounted on /srv");
}

#[test]
fn a_mount_whose_number_is_no_device_s_is_known_by_its_source() {
    let paths = two_paths();
    mount(&paths.0, "0:44", "/dev/nvme0n1");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is mounted on /srv");
    paths.0.link("dev/disk/by-id/nvme-x", "dev/nvme0n1");
    mount(&paths.0, "0:44", "/dev/disk/by-id/nvme-x");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is mounted on /srv");
}

#[test]
fn mounts_in_other_namespaces_are_known_by_the_file_system() {
    let paths = two_paths();
    paths.0.put("sys/fs/ext4/nvme0n1/session_write_kbytes", "0");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 belongs to a mounted ext4 file system");
    let paths = two_paths();
    paths.0.put("sys/fs/btrfs/0b5e/devices/nvme0n1/x", "");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 belongs to a mounted btrfs file system");
}

#[test]
fn swap_counts() {
    let paths = two_paths();
    paths.0.put("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 65532 0 -2\n");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is swap");
}

#[test]
fn a_volume_on_it_counts_and_is_named() {
    let paths = two_paths();
    paths.0.put("sys/class/block/nvme0n1/holders/dm-3/dev", "");
    paths.0.put("sys/class/block/dm-3/dm/name", "vg0-data\n");
    paths.0.put("sys/class/block/dm-3/dm/uuid", "LVM-abc\n");
    paths.0.put("sys/class/block/nvme0n1/holders/md0/dev", "");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is held by vg0-data (dm-3), nvme0n1 is held by md0");
}

#[test]
fn a_loop_device_on_it_counts() {
    let paths = two_paths();
    paths.0.put("sys/class/block/loop1/loop/backing_file", "/dev/nvme0n1\n");
    paths.0.put("sys/class/block/loop2/size", "0\n");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is used by the loop device loop1");
}

/// A controller without the kernel's multipathing whose namespace is a path of the multipath device dm-0.
fn path_of_dm_0(tree: &FakeTree, device: u32) -> CtrlRef {
    let ctrl = tree.controller(device, "");
    let name = format!("nvme{device}n1");
    tree.set(ctrl, &format!("{name}/size"), "1");
    disk(tree, &name, &format!("259:{device}"));
    tree.link(format!("sys/class/block/{name}/device"), format!("sys/class/nvme/nvme{device}"));
    tree.put(format!("sys/class/block/{name}/holders/dm-0/dev"), "");
    tree.put(format!("sys/class/block/dm-0/slaves/{name}/dev"), "");
    ctrl
}

/// Two controllers without the kernel's multipathing. The device mapper combines nvme0n1 and nvme1n1.
fn device_mapper_multipath() -> (FakeTree, CtrlRef, CtrlRef) {
    let tree = FakeTree::new();
    tree.put("proc/self/mountinfo", "");
    let paths = [0, 1].map(|device| path_of_dm_0(&tree, device));
    disk(&tree, "dm-0", "253:0");
    tree.put("sys/class/block/dm-0/dm/name", "mpatha\n");
    tree.put("sys/class/block/dm-0/dm/uuid", "mpath-nvme.1\n");
    let [one, other] = paths;
    (tree, one, other)
}

#[test]
fn device_mapper_multipathing_alone_is_no_use() {
    assert_eq!(without_the_other(&device_mapper_multipath()), Usage::Free);
}

#[test]
fn device_mapper_multipathing_is_looked_through() {
    let (tree, one, other) = device_mapper_multipath();
    mount(&tree, "253:0", "/dev/mapper/mpatha");
    assert_eq!(check(&tree, one, &[]), Usage::Free, "there is another path");
    assert_eq!(uses(&check(&tree, one, &[other])), "dm-0 is mounted on /srv");
    let watcher = Watcher::new(&tree.roots(), None);
    let check_again = || watcher.check_with(one, &[], &|_, _, _| Opened::Free);
    assert_eq!(check_again(), Usage::Free);
    tree.put("sys/class/block/nvme0n1/stat", "93 0 4120 31 1 0 8 0 0 36 31 0 0 0 0 0 0");
    assert_eq!(check_again(), Usage::Free, "written to: the other path is there for that, too");
    tree.set(other, "state", "connecting");
    assert_eq!(uses(&check(&tree, one, &[])), "dm-0 is mounted on /srv");
}

/// Its ANA state may be inaccessible: the kernel does not know that without its own multipathing.
#[test]
fn another_path_of_the_device_mapper_counts_only_if_it_can_be_read() {
    for answer in [Opened::Free, Opened::Failed("input/output error".into()), Opened::Hangs, Opened::Gone, Opened::Busy]
    {
        let (tree, one, _) = device_mapper_multipath();
        mount(&tree, "253:0", "/dev/mapper/mpatha");
        let read = std::cell::RefCell::new(Vec::new());
        let usage = Watcher::new(&tree.roots(), None).check_with(one, &[], &|name, number, how| {
            assert_eq!(how, How::Read, "nothing is opened exclusively");
            read.borrow_mut().push(format!("{name} {number}"));
            answer.clone()
        });
        assert_eq!(*read.borrow(), ["nvme1n1 259:1"], "read once");
        match answer {
            Opened::Free => assert_eq!(usage, Usage::Free),
            _ => assert_eq!(uses(&usage), "dm-0 is mounted on /srv", "{answer:?}"),
        }
    }
}

#[test]
fn each_other_path_of_the_device_mapper_is_read_until_one_can_carry_io() {
    let (tree, one, _) = device_mapper_multipath();
    mount(&tree, "253:0", "/dev/mapper/mpatha");
    for device in [2, 3] {
        path_of_dm_0(&tree, device);
    }
    for (good, expected) in [("nvme1n1", true), ("nvme3n1", true), ("none", false)] {
        let open = |name: &str, _: &str, _| if name == good { Opened::Free } else { Opened::Hangs };
        let usage = Watcher::new(&tree.roots(), None).check_with(one, &[], &open);
        assert_eq!(usage == Usage::Free, expected, "{good}: {usage:?}");
    }
}

#[test]
fn partitions_of_device_mapper_multipathing_are_looked_through_too() {
    let paths = device_mapper_multipath();
    paths.0.put("sys/class/block/dm-0/holders/dm-1/dev", "");
    disk(&paths.0, "dm-1", "253:1");
    paths.0.put("sys/class/block/dm-1/dm/name", "mpatha1\n");
    paths.0.put("sys/class/block/dm-1/dm/uuid", "part1-mpath-nvme.1\n");
    paths.0.put("sys/class/block/dm-1/slaves/dm-0/dev", "");
    assert_eq!(without_the_other(&paths), Usage::Free);
    mount(&paths.0, "253:1", "/dev/mapper/mpatha1");
    assert_eq!(uses(&without_the_other(&paths)), "dm-1 is mounted on /srv");
}

#[test]
fn a_namespace_that_only_one_controller_has_has_no_other_path() {
    let (tree, one, _) = device_mapper_multipath();
    mount(&tree, "259:0", "/dev/nvme0n1");
    assert_eq!(uses(&check(&tree, one, &[])), "nvme0n1 is mounted on /srv");
}

#[test]
fn a_controller_that_is_gone_holds_nothing() {
    let (tree, one, _) = two_paths();
    tree.remove(one);
    assert_eq!(check(&tree, one, &[]), Usage::Free);
}

#[test]
fn what_cannot_be_found_out_is_unknown() {
    let (tree, one, _) = two_paths();
    std::fs::remove_file(tree.path("proc/self/mountinfo")).unwrap();
    let Usage::Unknown(reason) = check(&tree, one, &[]) else { panic!("not unknown") };
    assert!(reason.to_string().contains("mountinfo"), "{reason}");
}

/// Runs a check and lists the devices that it opened. `held` are the devices that are held exclusively.
fn check_opening(tree: &FakeTree, watcher: &Watcher, ctrl: CtrlRef, held: &[&str]) -> (Usage, Vec<String>) {
    let opened = std::cell::RefCell::new(Vec::new());
    let open = |name: &str, number: &str, how| {
        if how == How::Read {
            return Opened::Free;
        }
        assert_eq!(std::fs::read_to_string(tree.path(format!("sys/class/block/{name}/dev"))).unwrap().trim(), number);
        opened.borrow_mut().push(name.to_owned());
        if held.contains(&name) { Opened::Busy } else { Opened::Free }
    };
    let usage = watcher.check_with(ctrl, &[], &open);
    (usage, opened.into_inner())
}

/// One controller with this number of namespaces of its own, none of them in use.
fn one_path(namespaces: u32) -> (FakeTree, CtrlRef) {
    let tree = FakeTree::new();
    tree.put("proc/self/mountinfo", "");
    let ctrl = tree.controller(0, "");
    for n in 1..=namespaces {
        tree.set(ctrl, &format!("nvme0n{n}/size"), "1");
        disk(&tree, &format!("nvme0n{n}"), &format!("259:{n}"));
    }
    (tree, ctrl)
}

#[test]
fn a_device_that_is_held_exclusively_is_in_use() {
    let (tree, ctrl) = one_path(1);
    let watcher = Watcher::new(&tree.roots(), None);
    let (usage, _) = check_opening(&tree, &watcher, ctrl, &["nvme0n1"]);
    assert_eq!(uses(&usage), "nvme0n1 is held exclusively by a process, a mount or a volume");
    assert_eq!(check_opening(&tree, &watcher, ctrl, &[]).0, Usage::Free);
}

#[test]
fn an_open_without_a_clear_answer_keeps_the_storage() {
    let (tree, ctrl) = one_path(1);
    let check = |answer: Opened| Watcher::new(&tree.roots(), None).check_with(ctrl, &[], &|_, _, _| answer.clone());
    assert_eq!(uses(&check(Opened::Hangs)), "an open of nvme0n1 hangs");
    let Usage::Unknown(reason) = check(Opened::Failed("stas-in-use does not answer".into())) else { panic!() };
    assert!(reason.to_string().contains("stas-in-use does not answer"), "{reason}");
    assert_eq!(check(Opened::Gone), Usage::Free, "the namespace was removed meanwhile");
}

/// Opening an idle device would make a simultaneous mount fail.
#[test]
fn a_controller_that_is_kept_for_one_namespace_has_its_idle_ones_opened_once_at_the_most() {
    let (tree, ctrl) = one_path(3);
    let watcher = Watcher::new(&tree.roots(), None);
    let mut opened = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..1000 {
        let (usage, names) = check_opening(&tree, &watcher, ctrl, &["nvme0n3"]);
        assert!(matches!(usage, Usage::LastPath(_)));
        names.into_iter().for_each(|name| *opened.entry(name).or_default() += 1);
    }
    assert!(opened.iter().all(|(name, times)| name == "nvme0n3" || *times == 1), "{opened:?}");
}

#[test]
fn nothing_is_opened_while_another_check_finds_a_use() {
    let (tree, ctrl) = one_path(3);
    mount(&tree, "259:2", "/dev/nvme0n2");
    let (usage, opened) = check_opening(&tree, &Watcher::new(&tree.roots(), None), ctrl, &[]);
    assert_eq!((uses(&usage).as_str(), opened), ("nvme0n2 is mounted on /srv", Vec::new()));
}

#[test]
fn the_multipath_device_is_opened_and_not_its_paths() {
    let (tree, one, other) = device_mapper_multipath();
    tree.set(other, "state", "connecting");
    let watcher = Watcher::new(&tree.roots(), None);
    assert_eq!(check_opening(&tree, &watcher, one, &["nvme0n1"]), (Usage::Free, vec!["dm-0".to_owned()]));
    partition(&tree, "nvme0n1", "nvme0n1p1", "259:7");
    assert_eq!(check_opening(&tree, &watcher, one, &["nvme0n1", "nvme0n1p1"]), (Usage::Free, vec!["dm-0".to_owned()]));
    tree.put("sys/class/block/dm-0/holders/dm-1/dev", "");
    disk(&tree, "dm-1", "253:1");
    tree.put("sys/class/block/dm-1/dm/name", "mpatha1\n");
    tree.put("sys/class/block/dm-1/dm/uuid", "part1-mpath-nvme.1\n");
    assert_eq!(check_opening(&tree, &watcher, one, &["nvme0n1", "dm-0"]), (Usage::Free, vec!["dm-1".to_owned()]));
}

#[test]
fn a_path_beside_another_live_one_is_not_opened() {
    let (tree, one, _) = two_paths();
    let (usage, opened) = check_opening(&tree, &Watcher::new(&tree.roots(), None), one, &["nvme0n1"]);
    assert_eq!((usage, opened), (Usage::Free, Vec::new()));
}

/// One controller has a namespace for itself and shares another. While the first is opened, which may take seconds, the
/// other path is lost or something is mounted.
#[test]
fn what_changes_while_a_device_is_opened_counts() {
    let cases: [(&str, &str, Option<&str>); 4] = [
        ("259:3", "lost", Some("nvme0n1 is mounted on /srv")),
        ("259:9", "lost", None),
        ("259:9", "mounted", Some("nvme0n2 is mounted on /srv")),
        ("259:3", "nothing", None),
    ];
    for (mounted, change, expected) in cases {
        let (tree, one, other) = two_paths();
        tree.set(one, "nvme0c0n2/ana_state", "optimized");
        tree.set(one, "nvme0c0n2/stat", NEVER_WRITTEN);
        disk(&tree, "nvme0n2", "259:4");
        mount(&tree, mounted, "/dev/root");
        let opened = std::cell::RefCell::new(Vec::new());
        let open = |name: &str, _: &str, _| {
            opened.borrow_mut().push(name.to_owned());
            match change {
                "lost" => tree.set(other, "state", "connecting"),
                "mounted" => mount(&tree, "259:4", "/dev/root"),
                _ => {}
            }
            Opened::Free
        };
        let usage = Watcher::new(&tree.roots(), None).check_with(one, &[], &open);
        let names = if (mounted, change) == ("259:9", "lost") { vec!["nvme0n2", "nvme0n1"] } else { vec!["nvme0n2"] };
        assert_eq!(*opened.borrow(), names, "{mounted} {change}");
        match expected {
            Some(expected) => assert_eq!(uses(&usage), expected, "{mounted} {change}"),
            None => assert_eq!(usage, Usage::Free, "{mounted} {change}"),
        }
    }
}

#[test]
fn mounts_in_other_namespaces_are_known_by_the_mounts_of_their_processes() {
    let paths = two_paths();
    paths.0.put("proc/412/mountinfo", "310 300 259:3 / /data rw - vfat /dev/nvme0n1 rw\n");
    let used = "nvme0n1 is mounted on /data in the mount namespace of process 412";
    assert_eq!(uses(&without_the_other(&paths)), used);
}

#[test]
fn what_this_host_exports_again_is_in_use() {
    let paths = two_paths();
    let export = "sys/kernel/config/nvmet/subsystems/gateway/namespaces/1";
    paths.0.link("dev/disk/by-id/nvme-x", "dev/nvme0n1");
    paths.0.put(format!("{export}/device_path"), "/dev/disk/by-id/nvme-x\n");
    paths.0.put(format!("{export}/enable"), "1\n");
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is exported by this host (nvmet)");
    paths.0.put(format!("{export}/enable"), "0\n");
    assert_eq!(without_the_other(&paths), Usage::Free);
}

/// nvmet can export a controller as a whole (passthru). Another path does not help: it exports this controller.
#[test]
fn a_controller_that_this_host_exports_again_is_in_use() {
    let (tree, one, other) = two_paths();
    let export = "sys/kernel/config/nvmet/subsystems/gateway/passthru";
    tree.put("dev/nvme0", "");
    tree.put(format!("{export}/device_path"), "/dev/nvme0\n");
    tree.put(format!("{export}/enable"), "1\n");
    assert_eq!(uses(&check(&tree, one, &[])), "nvme0 is exported by this host (nvmet)");
    assert_eq!(check(&tree, other, &[]), Usage::Free, "another controller");
    tree.put(format!("{export}/enable"), "0\n");
    assert_eq!(check(&tree, one, &[]), Usage::Free);
}

#[test]
fn a_path_whose_ana_state_cannot_be_read_is_unknown() {
    let (tree, one, other) = two_paths();
    mount(&tree, "259:3", "/dev/root");
    let state = tree.path("sys/class/nvme/nvme1/nvme0c1n1/ana_state");
    std::fs::remove_file(&state).unwrap();
    assert_eq!(check(&tree, one, &[]), Usage::Free, "the controller reports no asymmetric access");
    std::fs::create_dir(&state).unwrap();
    let Usage::Unknown(reason) = check(&tree, one, &[]) else { panic!("{other}") };
    assert!(reason.to_string().contains("ana_state"), "{reason}");
}

/// The last step before the disconnect.
#[test]
fn what_has_come_into_use_since_the_check_is_found_without_opening_anything() {
    let (tree, one, other) = two_paths();
    let watcher = Watcher::new(&tree.roots(), None);
    let check = |not_counted: &[CtrlRef]| watcher.check_with(one, not_counted, &|_, _, _| Opened::Free);
    assert_eq!(check(&[other]), Usage::Free);
    assert_eq!(watcher.check_again(one, &[other]), Ok(()));
    let overtaken = || Err(DisconnectError::Overtaken);
    assert_eq!(watcher.check_again(one, &[other]), overtaken(), "each check counts once");
    assert_eq!(check(&[]), Usage::Free, "there is another path, so nothing was opened");
    assert_eq!(watcher.check_again(one, &[other]), overtaken(), "it is lost");
    mount(&tree, "259:3", "/dev/root");
    assert_eq!(watcher.check_again(one, &[]), Ok(()), "there is another path");
    assert_eq!(in_use(watcher.check_again(one, &[other])), "nvme0n1 is mounted on /srv");
    std::fs::remove_file(tree.path("proc/self/mountinfo")).unwrap();
    assert!(matches!(watcher.check_again(one, &[]), Err(DisconnectError::UseUnknown(UsageError::Read(_)))));
}

/// Whether the other path of a device mapper multipath device can be read is not asked again.
#[test]
fn a_path_that_could_not_be_read_in_the_check_is_no_other_path_right_before_the_disconnect() {
    for (answer, expected) in [(Opened::Free, None), (Opened::Hangs, Some("dm-0 is mounted on /srv"))] {
        let (tree, one, _) = device_mapper_multipath();
        let watcher = Watcher::new(&tree.roots(), None);
        let open = |_: &str, _: &str, how| if how == How::Read { answer.clone() } else { Opened::Free };
        assert_eq!(watcher.check_with(one, &[], &open), Usage::Free, "nothing is mounted");
        mount(&tree, "253:0", "/dev/mapper/mpatha");
        let result = watcher.check_again(one, &[]);
        match expected {
            Some(expected) => assert_eq!(in_use(result), expected),
            None => assert_eq!(result, Ok(())),
        }
    }
}

#[test]
fn a_lock_on_the_device_node_counts() {
    use std::os::unix::fs::MetadataExt;

    let paths = two_paths();
    let node = std::fs::metadata(paths.0.path("dev/nvme0n1")).unwrap();
    let (major, minor) = (nix::sys::stat::major(node.dev()), nix::sys::stat::minor(node.dev()));
    let lock = |kind: &str| format!("1: {kind} -1 {major:02x}:{minor:02x}:{} 100 101\n", node.ino());
    paths.0.put("proc/locks", &lock("OFDLCK ADVISORY  READ"));
    assert_eq!(uses(&without_the_other(&paths)), "nvme0n1 is locked by a process");
    paths.0.put("proc/locks", &lock("FLOCK  ADVISORY  READ"));
    assert_eq!(without_the_other(&paths), Usage::Free, "udev has it for a moment");
}

#[test]
fn a_raw_user_is_known_by_its_writes() {
    let paths = two_paths();
    let watcher = Watcher::new(&paths.0.roots(), None);
    let check = || watcher.check_with(paths.1, &[paths.2], &|_, _, _| Opened::Free);
    assert_eq!(check(), Usage::Free);
    paths.0.set(paths.1, "nvme0c0n1/stat", "93 0 4120 31 1 0 8 0 0 36 31 0 0 0 0 0 0");
    assert_eq!(uses(&check()), "nvme0n1 was written to in the last 10 minutes");
}

#[test]
fn writes_that_the_kernel_does_not_count_are_unknown() {
    let paths = two_paths();
    paths.0.set(paths.1, "nvme0c0n1/queue/iostats", "0");
    let Usage::Unknown(reason) = without_the_other(&paths) else { panic!("not unknown") };
    assert!(reason.to_string().contains("queue/iostats is 0"), "{reason}");
}

#[test]
fn storage_behind_a_program_that_cannot_be_asked_is_kept() {
    let (tree, ctrl) = one_path(1);
    let Usage::Unknown(reason) = Watcher::new(&tree.roots(), None).check(ctrl, &[]) else { panic!("not unknown") };
    assert!(reason.to_string().contains("is not the block device 259:1"), "{reason}");
}

/// The controllers from which the host runs, with these mounts and swaps.
fn carriers(tree: &FakeTree, mountinfo: &str, swaps: &str) -> Option<Vec<u32>> {
    tree.put("proc/self/mountinfo", mountinfo);
    tree.put("proc/swaps", &format!("Filename Type Size Used Priority\n{swaps}"));
    match Watcher::new(&tree.roots(), None).carriers() {
        Carriers::Known(found) => Some(found.into_iter().collect()),
        Carriers::Unknown => None,
    }
}

fn mounted(point: &str, number: &str, source: &str) -> String {
    let kind = if source.starts_with("rpool/") { "zfs" } else { "ext4" };
    format!("26 1 {number} / {point} rw - {kind} {source} rw\n")
}

#[test]
fn the_host_runs_from_the_controllers_of_root_usr_and_swap() {
    let (tree, ..) = two_paths();
    tree.link("sys/class/block/nvme0n1/device", "sys/class/nvme-subsystem/nvme-subsys0");
    tree.link("sys/dev/block/259:3", "sys/class/block/nvme0n1");
    // dm-3 is a volume on nvme7n1 and sda. nvme7 does without the kernel's multipathing.
    let plain = tree.controller(7, "");
    tree.set(plain, "nvme7n1/size", "1");
    disk(&tree, "nvme7n1", "259:7");
    tree.link("sys/class/block/nvme7n1/device", "sys/class/nvme/nvme7");
    disk(&tree, "dm-3", "253:3");
    tree.link("sys/dev/block/253:3", "sys/class/block/dm-3");
    for slave in ["nvme7n1", "sda"] {
        tree.put(format!("sys/class/block/dm-3/slaves/{slave}/dev"), "");
    }
    tree.link("sys/class/block/sda/device", "sys/devices/0:0:0:0");
    tree.put("sys/devices/0:0:0:0/vendor", "");
    let root = |number, source| mounted("/", number, source);
    let vda = root("254:0", "/dev/vda");
    disk(&tree, "vda", "254:0");
    tree.link("sys/class/block/vda/device", "sys/devices/virtio0");
    tree.put("sys/devices/virtio0/vendor", "");
    // A file system in a file on nvme0n1; compressed swap; a ZFS volume.
    disk(&tree, "loop0", "7:0");
    tree.link("sys/dev/block/7:0", "sys/class/block/loop0");
    tree.put("sys/class/block/loop0/loop/backing_file", "/srv/root.img\n");
    tree.put("sys/devices/loop0/loop0p1/dev", "7:1\n");
    tree.put("sys/devices/loop0/loop0p1/partition", "1\n");
    tree.link("sys/class/block/loop0p1", "sys/devices/loop0/loop0p1");
    tree.link("sys/dev/block/7:1", "sys/devices/loop0/loop0p1");
    disk(&tree, "zram0", "252:0");
    disk(&tree, "zd0", "230:0");
    tree.link("sys/dev/block/254:0", "sys/class/block/vda");
    let srv = mounted("/srv", "259:3", "/dev/nvme0n1");
    let boot = mounted("/boot/efi", "254:0", "/dev/vda");
    let zfs = root("0:31", "rpool/ROOT");
    let cases: [(String, &str, Option<&[u32]>); 22] = [
        (root("259:3", "/dev/nvme0n1"), "", Some(&[0, 1])),
        (vda.clone() + &mounted("/usr", "259:3", "/dev/nvme0n1"), "", Some(&[0, 1])),
        (vda.clone() + &srv, "", Some(&[])),
        (vda.clone(), "/dev/nvme0n1 partition 1 0 -2\n", Some(&[0, 1])),
        (vda.clone(), "/swapfile file 1 0 -2\n", Some(&[])),
        (vda.clone() + &srv, "/srv/swap/file file 1 0 -2\n", Some(&[0, 1])),
        (root("253:3", "/dev/mapper/vg-root"), "", Some(&[7])),
        (root("0:44", "/dev/nvme7n1"), "", Some(&[7])),
        (vda.clone(), "/dev/zram0 partition 1 0 100\n", Some(&[])),
        (root("7:0", "/dev/loop0") + &srv, "", Some(&[0, 1])),
        // The file is no longer where it was.
        (root("7:0", "/dev/loop0"), "", None),
        (root("7:1", "/dev/loop0p1"), "", None),
        (root("7:1", "/dev/loop0p1") + &srv, "", Some(&[0, 1])),
        // An overlay whose layers are on some mount; NFS.
        (root("0:30", "overlay") + &mounted("/run/layers", "259:3", "/dev/nvme0n1"), "", Some(&[0, 1])),
        (root("0:30", "overlay") + &mounted("/run/layers", "254:0", "/dev/vda"), "", Some(&[])),
        (root("0:32", "server:/root"), "", None),
        // The kernel does not show on which devices ZFS is.
        (zfs.clone(), "", None),
        (zfs + &boot, "", None),
        (root("0:30", "overlay") + &mounted("/run/layers", "0:31", "rpool/layers") + &boot, "", None),
        (vda.clone() + &mounted("/usr", "0:31", "rpool/usr"), "", None),
        (vda.clone() + &mounted("/tank", "0:31", "rpool/tank"), "", Some(&[])),
        (vda.clone(), "/dev/zd0 partition 1 0 -2\n", None),
    ];
    for (mountinfo, swaps, expected) in cases {
        assert_eq!(carriers(&tree, &mountinfo, swaps).as_deref(), expected, "{mountinfo} {swaps}");
    }
    // A btrfs file system on nvme0n1 and nvme7n1; the kernel names one of its devices.
    for device in ["nvme0n1", "nvme7n1"] {
        tree.put(format!("sys/fs/btrfs/1234/devices/{device}/dev"), "");
    }
    assert_eq!(carriers(&tree, &root("0:31", "/dev/nvme7n1"), ""), Some(vec![0, 1, 7]));
}

#[test]
fn the_host_runs_from_the_disk_of_a_mounted_partition() {
    let (tree, ..) = two_paths();
    tree.link("sys/class/block/nvme0n1/device", "sys/class/nvme-subsystem/nvme-subsys0");
    tree.put("sys/devices/nvme0n1/nvme0n1p2/dev", "259:5\n");
    tree.put("sys/devices/nvme0n1/nvme0n1p2/partition", "2\n");
    tree.link("sys/class/block/nvme0n1p2", "sys/devices/nvme0n1/nvme0n1p2");
    tree.link("sys/dev/block/259:5", "sys/devices/nvme0n1/nvme0n1p2");
    assert_eq!(carriers(&tree, &mounted("/", "259:5", "/dev/nvme0n1p2"), ""), Some(vec![0, 1]));
}

#[test]
fn without_the_mounts_the_controllers_from_which_the_host_runs_are_unknown() {
    let (tree, ..) = two_paths();
    std::fs::remove_file(tree.path("proc/self/mountinfo")).unwrap();
    std::fs::create_dir(tree.path("proc/self/mountinfo")).unwrap();
    assert_eq!(Watcher::new(&tree.roots(), None).carriers(), Carriers::Unknown);
}
