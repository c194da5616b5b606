use super::*;
use crate::fake_tree::FakeTree;
use crate::sysfs::Scanner;
use log_lines::LogLines;
use stas_core::CtrlRef;

const ADDRESS: &str = "traddr=192.0.2.1,trsvcid=4420";

/// A tree with one controller, nvme3, its node in /dev, and the registry.
struct Scene {
    tree: FakeTree,
    registry: Registry,
    ctrl: CtrlRef,
}

impl Scene {
    fn new() -> Self {
        let tree = FakeTree::new();
        let ctrl = tree.controller(3, ADDRESS);
        tree.put("dev/nvme3", "");
        let registry = Registry::new(&tree.roots());
        Self { tree, registry, ctrl }
    }

    fn kernel(&self) -> KernelController {
        let snapshot = Scanner::new(self.tree.roots()).snapshot().unwrap();
        (**snapshot.controllers.iter().find(|kernel| kernel.ctrl.device == 3).unwrap()).clone()
    }

    fn owner(&self) -> Owner {
        self.registry.owner(&self.kernel())
    }

    /// Writes an entry as another program.
    fn entry(&self, attributes: &[(&str, &str)]) {
        fs::create_dir_all(self.tree.path("run/nvme/registry/nvme3")).unwrap();
        for (name, value) in attributes {
            self.tree.put(format!("run/nvme/registry/nvme3/{name}"), value);
        }
    }

    fn attribute(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.tree.path(format!("run/nvme/registry/nvme3/{name}"))).ok()
    }

    fn has_entry(&self) -> bool {
        self.tree.path("run/nvme/registry/nvme3").exists()
    }

    /// The names of all entries in the registry.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.tree.path("run/nvme/registry")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn gone(&self) {
        fs::remove_file(self.tree.path("dev/nvme3")).unwrap();
        self.tree.remove(self.ctrl);
    }
}

#[test]
fn what_was_connected_is_ours_for_every_reader() {
    let scene = Scene::new();
    assert_eq!(scene.owner(), Owner::None);
    assert_eq!(scene.registry.connected(&scene.kernel()), Owner::Stas(Gained::Connected));
    assert_eq!(scene.owner(), Owner::Stas(Gained::Connected));
    assert_eq!(scene.attribute("owner").as_deref(), Some("stas\n"));
    assert_eq!(scene.attribute("seqnum").as_deref(), Some("1000\n"));
    let mark = scene.attribute("stas").unwrap();
    assert_eq!(mark.lines().count(), 1, "{mark}");
    for word in ["connected", "5e4d0000-0000-4000-8000-000000000001", "192.0.2.1", &scene.ctrl.inode.to_string()] {
        assert!(mark.contains(word), "{word} in {mark}");
    }
    assert_eq!(scene.names(), ["nvme3"], "nothing unfinished is left");
}

#[test]
fn modes_are_explicit_whatever_the_umask() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    let mode = |path: &str| fs::metadata(scene.tree.path(path)).unwrap().permissions().mode() & 0o777;
    for folder in ["run/nvme", "run/nvme/registry", "run/nvme/registry/nvme3"] {
        assert_eq!(mode(folder), 0o755, "{folder}");
    }
    for file in ["owner", "seqnum", "stas"] {
        assert_eq!(mode(&format!("run/nvme/registry/nvme3/{file}")), 0o644, "{file}");
    }
}

#[test]
fn the_registry_decides_for_others_as_it_reads() {
    for (attributes, owner) in [
        (&[("owner", "discoverd\n"), ("seqnum", "7\n")][..], Owner::Other("discoverd".into())),
        (&[("owner", "nbft")], Owner::Other("nbft".into())),
        (&[("owner", "autoconnect\r\n")], Owner::Other("autoconnect".into())),
        (&[("owner", "")], Owner::None),
        (&[("owner", "\n")], Owner::None),
        (&[("seqnum", "7\n")], Owner::None),
        (&[("owner.tmp.abcdef", "discoverd\n")], Owner::None),
        (&[], Owner::None),
    ] {
        let scene = Scene::new();
        scene.entry(attributes);
        assert_eq!(scene.owner(), owner, "{attributes:?}");
        assert!(scene.has_entry(), "{attributes:?}");
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_an_unknown_owner() {
    let scene = Scene::new();
    fs::create_dir_all(scene.tree.path("run/nvme/registry/nvme3/owner")).unwrap();
    assert_eq!(scene.owner(), Owner::Unknown);
    assert_eq!(scene.registry.adopted(&scene.kernel()), Owner::Unknown);
}

#[test]
fn an_entry_of_ours_about_another_controller_is_deleted() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    let mark = scene.attribute("stas").unwrap();
    let changed = |from: &str, to: &str| mark.replace(from, to);
    let birth = scene.ctrl.inode;
    for (what, mark) in [
        ("birth", changed(&format!("\"birth\":{birth}"), &format!("\"birth\":{}", birth + 1))),
        ("boot", changed("5e4d0000", "5e4d0001")),
        ("address", changed("192.0.2.1", "192.0.2.2")),
        ("port", changed("4420", "4421")),
        ("birth, and an unknown way to gain it", changed("connected", "inherited").replace(&birth.to_string(), "1")),
        ("boot, and an unknown transport", changed("5e4d0000", "5e4d0001").replace("\"tcp\"", "\"quic\"")),
        ("birth, without a boot", format!("{{\"birth\":{}}}", birth + 1)),
        ("boot, without a birth", "{\"boot-id\":\"5e4d0001-0000-4000-8000-000000000001\"}".into()),
    ] {
        scene.entry(&[("stas", &mark), ("owner", "stas\n"), ("seqnum", "1000\n")]);
        assert_eq!(scene.owner(), Owner::None, "{what}");
        assert!(!scene.has_entry(), "{what}");
        assert_eq!(scene.names(), [""; 0], "{what}");
    }
}

/// A later version may write what this one does not know. Both run beside each other during an upgrade.
#[test]
fn an_entry_of_ours_that_may_be_about_this_controller_is_kept() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    let mark = scene.attribute("stas").unwrap();
    let changed = |from: &str, to: &str| {
        assert!(mark.contains(from), "{from} in {mark}");
        mark.replace(from, to)
    };
    let birth = format!("\"birth\":{}", scene.ctrl.inode);
    let boot = "\"boot-id\":\"5e4d0000-0000-4000-8000-000000000001\"";
    let ours = Owner::Stas(Gained::Connected);
    for (what, mark, owner) in [
        ("another field", changed("{", "{\"since\":7,"), ours.clone()),
        ("another order and white space", changed(&format!("{boot},{birth}"), &format!("{birth} , {boot}")), ours),
        ("an unknown way to gain it", changed("\"connected\"", "\"inherited\""), Owner::Unknown),
        ("a way to gain it with data", changed("\"connected\"", "{\"inherited\":\"nbft\"}"), Owner::Unknown),
        ("no way to gain it", changed("\"gained\":\"connected\",", ""), Owner::Unknown),
        ("an unknown transport", changed("\"tcp\"", "\"quic\""), Owner::Unknown),
        ("no address", format!("{{\"gained\":\"connected\",{boot},{birth}}}"), Owner::Unknown),
        (
            "an address that is text",
            format!("{{\"gained\":\"connected\",{boot},{birth},\"tid\":\"x\"}}"),
            Owner::Unknown,
        ),
        ("no boot", changed(&format!("{boot},"), ""), Owner::Unknown),
        ("a boot that is a number", changed(boot, "\"boot-id\":7"), Owner::Unknown),
        ("an empty boot", changed(boot, "\"boot-id\":\"\""), Owner::Unknown),
        ("no birth", changed(&format!("{birth},"), ""), Owner::Unknown),
        ("a birth that is text", changed(&birth, "\"birth\":\"seven\""), Owner::Unknown),
        ("nothing", String::new(), Owner::Unknown),
        ("an empty object", "{}".into(), Owner::Unknown),
        ("a list", "[]".into(), Owner::Unknown),
        ("no JSON", "connected".into(), Owner::Unknown),
        ("the beginning of a mark", mark.get(..40).unwrap().to_owned(), Owner::Unknown),
        (
            "more than an attribute holds",
            changed("{", &format!("{{\"more\":\"{}\",", "x".repeat(5000))),
            Owner::Unknown,
        ),
    ] {
        scene.entry(&[("stas", &mark), ("owner", "stas\n"), ("seqnum", "1000\n")]);
        assert_eq!(scene.owner(), owner, "{what}");
        assert_eq!(scene.registry.adopted(&scene.kernel()), owner, "{what}");
        assert_eq!(scene.attribute("stas").as_ref(), Some(&mark), "{what}: nothing is deleted or overwritten");
        assert_eq!(scene.attribute("owner").as_deref(), Some("stas\n"), "{what}");
    }
    fs::remove_file(scene.tree.path("run/nvme/registry/nvme3/stas")).unwrap();
    assert_eq!(scene.owner(), Owner::Unknown, "no mark at all");
    assert!(scene.has_entry());
    assert_eq!(scene.registry.connected(&scene.kernel()), Owner::Stas(Gained::Connected), "a new connection is ours");
}

#[test]
fn without_the_boot_id_of_this_host_an_entry_is_kept() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    fs::remove_file(scene.tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    let registry = Registry::new(&scene.tree.roots());
    assert_eq!(registry.owner(&scene.kernel()), Owner::Unknown);
    assert!(scene.has_entry());
    let later = scene.tree.controller(3, ADDRESS);
    assert_ne!(later.inode, scene.ctrl.inode);
    assert_eq!(registry.owner(&scene.kernel()), Owner::None, "another inode number is another controller in any boot");
    assert!(!scene.has_entry());
}

#[test]
fn a_recycled_number_inherits_nothing() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    scene.tree.controller(3, ADDRESS);
    assert_eq!(scene.owner(), Owner::None);
    assert!(!scene.has_entry());
}

#[test]
fn a_controller_that_shows_no_address_yet_is_recognised_by_its_birth() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    let unread = KernelController::unread(scene.ctrl, stas_nvme::Transport::Tcp);
    assert_eq!(scene.registry.owner(&unread), Owner::Stas(Gained::Connected));
}

#[test]
fn what_was_connected_replaces_a_stale_entry_of_another_owner() {
    let scene = Scene::new();
    scene.entry(&[("owner", "discoverd\n"), ("seqnum", "7\n"), ("private", "x\n")]);
    assert_eq!(scene.registry.connected(&scene.kernel()), Owner::Stas(Gained::Connected));
    assert_eq!(scene.attribute("private"), None);
    assert_eq!(scene.names(), ["nvme3"]);
}

#[test]
fn an_adopted_connection_is_claimed_and_another_owners_never() {
    let scene = Scene::new();
    assert_eq!(scene.registry.adopted(&scene.kernel()), Owner::Stas(Gained::Adopted));
    assert_eq!(scene.owner(), Owner::Stas(Gained::Adopted));

    let scene = Scene::new();
    scene.entry(&[("owner", "discoverd\n"), ("seqnum", "7\n")]);
    assert_eq!(scene.registry.adopted(&scene.kernel()), Owner::Other("discoverd".into()));
    assert_eq!(scene.attribute("owner").as_deref(), Some("discoverd\n"));
    assert_eq!(scene.names(), ["nvme3"]);
}

#[test]
fn a_claim_leaves_the_private_attributes_of_others_alone() {
    let scene = Scene::new();
    scene.entry(&[("seqnum", "7\n"), ("private", "x\n")]);
    assert_eq!(scene.registry.adopted(&scene.kernel()), Owner::Stas(Gained::Adopted));
    assert_eq!(scene.attribute("private").as_deref(), Some("x\n"));
    assert_eq!(scene.attribute("seqnum").as_deref(), Some("7\n"));
    assert_eq!(scene.names(), ["nvme3"]);
}

#[test]
fn the_entry_goes_with_its_controller_and_no_other_does() {
    let ours = |scene: &Scene| drop(scene.registry.connected(&scene.kernel()));
    let theirs = |scene: &Scene| scene.entry(&[("owner", "discoverd\n"), ("seqnum", "1000\n")]);
    let unnumbered = |scene: &Scene| scene.entry(&[("owner", "discoverd\n")]);
    type Case = (&'static str, fn(&Scene), bool, u64, bool);
    let unnumbered_ours = |scene: &Scene| scene.entry(&[("owner", "stas\n")]);
    let cases: [Case; 12] = [
        ("removed after the entry was made", ours, true, 1001, false),
        ("an earlier controller was removed", ours, true, 1000, true),
        ("an earlier controller was removed, and the number is in use", ours, false, 1000, true),
        ("removed, and the number is in use again", ours, false, 1001, false),
        ("another owner's controller was removed", theirs, true, 1001, false),
        ("an earlier controller was removed than another owner's", theirs, true, 1000, true),
        ("another owner's controller was removed, and the number is in use again", theirs, false, 1001, false),
        ("an earlier controller than another owner's, and the number is in use", theirs, false, 1000, true),
        ("an entry of ours that does not say when it was made", unnumbered_ours, true, 1001, false),
        ("an entry of ours that does not say it, and the number is in use", unnumbered_ours, false, 1001, true),
        ("an entry of another owner that does not say when it was made", unnumbered, true, 1001, true),
        ("no entry", |_| {}, true, 1001, false),
    ];
    for (what, entry, gone, seqnum, stays) in cases {
        let scene = Scene::new();
        entry(&scene);
        if gone {
            scene.gone();
        }
        scene.registry.removed(3, seqnum);
        assert_eq!(scene.has_entry(), stays, "{what}");
    }
}

#[test]
fn a_sweep_deletes_our_entries_of_what_is_gone() {
    let scene = Scene::new();
    let _ = scene.registry.connected(&scene.kernel());
    scene.registry.sweep();
    assert!(scene.has_entry(), "its controller exists");
    scene.tree.put("run/nvme/registry/nvme4/owner", "stas\n");
    scene.tree.put("run/nvme/registry/nvme5/owner", "discoverd\n");
    scene.tree.put("run/nvme/registry/.nvme6.tmp.abcdef/owner", "stas\n");
    scene.registry.sweep();
    assert_eq!(scene.names(), [".nvme6.tmp.abcdef", "nvme3", "nvme5"]);
}

#[test]
fn a_registry_that_cannot_be_written_is_reported_once() {
    let lines = LogLines::start();
    let scene = Scene::new();
    scene.tree.put("run/nvme", "no folder");
    for _ in 0..2 {
        assert_eq!(scene.registry.connected(&scene.kernel()), Owner::None);
        assert_eq!(scene.registry.adopted(&scene.kernel()), Owner::None);
    }
    let told = lines.text();
    assert_eq!(told.matches("connecting continues").count(), 1, "{told}");
}

#[test]
fn an_entry_that_was_replaced_while_it_was_being_deleted_is_put_back() {
    let scene = Scene::new();
    scene.entry(&[("owner", "discoverd\n")]);
    let asked = std::cell::Cell::new(0);
    scene.registry.delete(3, |_| {
        asked.set(asked.get() + 1);
        asked.get() == 1
    });
    assert_eq!(asked.get(), 2);
    assert_eq!(scene.attribute("owner").as_deref(), Some("discoverd\n"));
    assert_eq!(scene.names(), ["nvme3"]);
}
