//! The tool as users run it, on a dry tree: an ordinary directory in place of configfs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const SAMPLES: [&str; 4] = ["nvmet.conf", "large.conf", "auth.conf", "loop.conf"];

struct Tool {
    tree: TempDir,
}

impl Tool {
    fn new() -> Self {
        Self { tree: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvmet"));
        command.current_dir(self.tree.path()).arg("--configfs").arg(self.tree.path());
        command.args(arguments).output().unwrap()
    }

    /// The output of a command that must succeed.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && words.is_empty(), "{arguments:?}: {words}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error output of a command that must fail.
    fn complains(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.tree.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Every file and link under nvmet and nullb, with its content.
    fn target(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for root in ["nvmet", "nullb"] {
            walk(&self.tree.path().join(root), &mut found);
        }
        found
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().file_type() {
            kind if kind.is_dir() => walk(&path, found),
            kind if kind.is_symlink() => {
                let target = fs::read_link(&path).unwrap();
                found.insert(path, target.to_str().unwrap().to_owned());
            }
            _ => {
                let content = fs::read_to_string(&path).unwrap();
                found.insert(path, content);
            }
        }
    }
}

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).to_str().unwrap().to_owned()
}

#[test]
fn every_sample_is_made_found_made_and_removed() {
    for name in SAMPLES {
        let tool = Tool::new();
        tool.says(&["create", "-f", &sample(name)]);
        let made = tool.target();
        assert!(!made.is_empty());
        assert!(tool.says(&["create", "-f", &sample(name)]).contains("nothing to do"), "{name}");
        assert_eq!(tool.target(), made);
        tool.says(&["clean"]);
        assert!(tool.target().is_empty(), "{name}");
        assert!(!tool.tree.path().join("record.json").exists());
    }
}

#[test]
fn a_dry_run_changes_nothing_and_prints_what_a_real_run_does() {
    let tool = Tool::new();
    let script = tool.says(&["create", "--dry-run"]);
    assert_eq!(fs::read_dir(tool.tree.path()).unwrap().count(), 0);
    assert!(script.lines().any(|line| line == "modprobe null_blk nr_devices=0"));
    assert!(
        script.lines().any(|line| line.starts_with("echo 8009 > ") && line.ends_with("/nvmet/ports/1/addr_trsvcid"))
    );
    tool.says(&["create"]);
    for line in script.lines().filter_map(|line| line.strip_prefix("mkdir ")) {
        assert!(Path::new(line).is_dir(), "{line}");
    }
    let made = tool.target();
    let script = tool.says(&["--dry-run", "clean"]);
    assert_eq!(tool.target(), made);
    assert_eq!(script.lines().last(), Some("rmmod nvmet"));
}

#[test]
fn delete_replaces_one_target_by_another() {
    let tool = Tool::new();
    tool.says(&["create"]);
    let dry = tool.says(&["create", "--dry-run", "-d", "-f", &sample("loop.conf")]);
    assert!(dry.contains("rmdir ") && dry.contains("mkdir "));
    tool.says(&["create", "-d", "-f", &sample("loop.conf")]);
    let fresh = Tool::new();
    fresh.says(&["create", "-f", &sample("loop.conf")]);
    assert_eq!(tool.target().len(), fresh.target().len());
}

#[test]
fn what_the_file_does_not_name_stays_and_is_said() {
    let tool = Tool::new();
    tool.says(&["create"]);
    let words = tool.says(&["create", "-f", &tool.write("b.conf", "[[subsystem]]\nnqn = \"romulans\"\n")]);
    assert!(words.contains("note: kept from an earlier create: port 1, subsystem klingons"), "{words}");
    assert!(tool.says(&["ls"]).contains("klingons"));
}

#[test]
fn a_file_in_the_working_folder_comes_before_the_built_in_one() {
    let tool = Tool::new();
    assert!(tool.says(&["create", "--dry-run"]).starts_with("# configuration: the built-in nvmet.conf"));
    tool.write("nvmet.conf", "[[subsystem]]\nnqn = \"romulans\"\n");
    let words = tool.says(&["create"]);
    assert!(words.starts_with("configuration: nvmet.conf") && words.contains("subsystem romulans: create"));
}

#[test]
fn link_and_unlink_change_one_link() {
    let tool = Tool::new();
    tool.says(&["create"]);
    let full = tool.target();
    assert_eq!(tool.says(&["unlink", "-p", "1", "-s", "klingons"]), "port 1: stop exporting klingons\n");
    assert_eq!(tool.target().len(), full.len() - 1);
    assert_eq!(tool.says(&["unlink", "-p", "1", "-s", "klingons"]), "nothing to do: it is not linked\n");
    assert_eq!(tool.says(&["link", "-p", "1", "-s", "klingons"]), "port 1: export klingons\n");
    assert_eq!(tool.target(), full);
    assert!(tool.complains(&["link", "-p", "2", "-s", "klingons"]).contains("there is no port 2; there are: 1"));
}

#[test]
fn what_another_tool_created_in_place_of_ours_is_not_ours() {
    let tool = Tool::new();
    tool.says(&["create"]);
    let (port, aside) = (tool.tree.path().join("nvmet/ports/1"), tool.tree.path().join("aside"));
    // As after `nvmetcli clear` and `nvmetcli restore`: the same number, another directory.
    fs::rename(&port, &aside).unwrap();
    fs::create_dir(&port).unwrap();
    for group in ["subsystems", "referrals"] {
        fs::create_dir(port.join(group)).unwrap();
    }
    fs::remove_dir_all(&aside).unwrap();
    let said = tool.says(&["clean", "--dry-run"]);
    assert!(said.contains("note: nvmet/ports/1 was removed and created again by another program"), "{said}");
    assert!(tool.complains(&["create"]).contains("port 1 exists and was not made by nvmet"));
    tool.says(&["clean"]);
    assert!(port.exists());
    let left: Vec<PathBuf> = tool.target().into_keys().filter(|path| !path.ends_with("ports/1")).collect();
    assert!(left.iter().all(|path| path.to_string_lossy().contains("ports/1")), "{left:?}");
    assert!(tool.says(&["clean"]).contains("nothing to do"));
}

#[test]
fn no_output_holds_a_key() {
    let tool = Tool::new();
    let auth = sample("auth.conf");
    let mut outputs = vec![
        tool.says(&["create", "--dry-run", "-f", &auth]),
        tool.says(&["create", "-f", &auth]),
        tool.says(&["ls"]),
        tool.says(&["ls", "-o", "json"]),
        tool.says(&["create", "-d", "--dry-run", "-f", &auth]),
        fs::read_to_string(tool.tree.path().join("record.json")).unwrap(),
    ];
    let text = fs::read_to_string(&auth).unwrap();
    for (good, bad) in
        [("dhchap_key", "dhchap_kye"), (":\"\n", ":x\"\n"), ("= \"DHHC", "= DHHC"), ("id = 1", "id = \"\"")]
    {
        let broken = tool.write("broken.conf", &text.replace(good, bad));
        outputs.push(tool.complains(&["create", "-f", &broken]));
    }
    for output in outputs {
        assert!(!output.contains("DHHC") && !output.contains("AAsWISw3"), "{output}");
    }
}

#[test]
fn a_person_sees_which_side_has_a_key() {
    let tool = Tool::new();
    for (host, attributes) in [
        ("a-none", [("dhchap_key", ""), ("dhchap_ctrl_key", "")]),
        ("b-host", [("dhchap_key", "DHHC-1:00:x:"), ("dhchap_ctrl_key", "")]),
        ("c-both", [("dhchap_key", "DHHC-1:00:x:"), ("dhchap_ctrl_key", "DHHC-1:00:y:")]),
    ] {
        let folder = tool.tree.path().join("nvmet/hosts").join(host);
        fs::create_dir_all(&folder).unwrap();
        for (name, value) in attributes {
            fs::write(folder.join(name), format!("{value}\n")).unwrap();
        }
    }
    let listed = tool.says(&["ls"]);
    let keys =
        |host: &str| listed.lines().find(|line| line.contains(host)).unwrap().trim()[host.len()..].trim().to_owned();
    assert!(keys("a-none").starts_with("none "), "{listed}");
    assert!(keys("b-host").starts_with("host  "), "{listed}");
    assert!(keys("c-both").starts_with("host and target"), "{listed}");
}

#[test]
fn json_tells_who_made_what() {
    let tool = Tool::new();
    tool.says(&["create"]);
    fs::create_dir_all(tool.tree.path().join("nvmet/ports/9/subsystems")).unwrap();
    let object: serde_json::Value = serde_json::from_str(&tool.says(&["ls", "-o", "json"])).unwrap();
    let ours: Vec<_> = object["ports"].as_array().unwrap().iter().map(|port| (&port["id"], &port["ours"])).collect();
    assert_eq!(serde_json::json!(ours), serde_json::json!([[1, true], [9, false]]));
    assert_eq!(object["subsystems"][0]["namespaces"].as_array().unwrap().len(), 3);
}

#[test]
fn the_port_of_somebody_else_is_refused_and_untouched() {
    let tool = Tool::new();
    fs::create_dir_all(tool.tree.path().join("nvmet/ports/1/subsystems")).unwrap();
    assert!(tool.complains(&["create"]).contains("port 1 exists and was not made by nvmet"));
    assert!(tool.complains(&["create", "-d"]).contains("port 1 exists and was not made by nvmet"));
    tool.says(&["clean"]);
    assert!(tool.tree.path().join("nvmet/ports/1/subsystems").is_dir());
}

#[test]
fn a_given_device_must_be_there() {
    let tool = Tool::new();
    let disk = tool.tree.path().join("disk.img");
    let text = format!("[[subsystem]]\nnqn = \"a\"\n[[subsystem.namespace]]\ndevice = {disk:?}\n");
    let file = tool.write("a.conf", &text);
    assert!(tool.complains(&["create", "-f", &file]).contains("disk.img is neither a block device nor a file"));
    fs::write(&disk, [0; 4096]).unwrap();
    tool.says(&["create", "-f", &file]);
    tool.says(&["clean"]);
    assert_eq!(fs::read(&disk).unwrap(), [0; 4096]);
}

#[test]
fn ram_disks_are_loaded_by_number_and_size() {
    let tool = Tool::new();
    let text = "storage = \"brd\"\n[brd]\nsize_mib = 8\n[[subsystem]]\nnqn = \"a\"\nnamespaces = 20\n";
    let file = tool.write("a.conf", text);
    assert!(tool.says(&["create", "--dry-run", "-f", &file]).contains("modprobe brd rd_nr=20 rd_size=8192\n"));
    tool.says(&["create", "-f", &file]);
    assert!(tool.says(&["ls"]).contains("20: /dev/ram19"));
    let larger = tool.write("b.conf", &text.replace("20", "21"));
    assert!(tool.complains(&["create", "-f", &larger]).contains("21 RAM disks are needed, and brd has 20"));
    assert!(tool.says(&["create", "-d", "-f", &larger]).contains("module brd: load"));
}
