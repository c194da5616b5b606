//! nvmet.py: the command line of nvme-stas 2.x, on a dry tree.

#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A file as nvme-stas 2.x ships it: the names are of this test.
const OLD_FILE: &str = "
# Config file format: Python
{
    'ports': [
        {'id': 1, 'adrfam': 'ipv6', 'traddr': '::', 'trsvcid': 8009, 'trtype': 'tcp',
         'referrals': [{'adrfam': 'ipv4', 'traddr': '127.0.0.1', 'trsvcid': 4420, 'trtype': 'tcp', 'portid': 2}]},
        {'id': 2, 'trsvcid': 4420, 'trtype': 'loop'},
    ],
    'subsystems': [
        {'subsysnqn': 'nqn.2014-08.com.example:one', 'port': 1, 'namespaces': [1, 3]},
        {'subsysnqn': 'nqn.2014-08.com.example:two', 'port': 2, 'namespaces': [1],
         'allowed_hosts': [{'nqn': 'nqn.2014-08.org.nvmexpress:uuid:46ba5037-7ce5-41fa-9452-48477bf00080',
                            'key': 'DHHC-1:00:2kx1hDTUPdvwtxHYUXFRl8pzn5hYZH7K3Z77IYM4hNN6/fQT:'}]},
    ]
}
";

/// Runs nvmet.py in utils/nvmet as the testing guide does, with a dry tree in place of configfs.
fn run(tree: &TempDir, arguments: &[&str]) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_nvmet")).parent().unwrap();
    let path = env::join_paths([built.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())));
    let folder = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(Path::new(folder).join("nvmet.py"));
    command.current_dir(folder).env("PATH", path.unwrap()).args(arguments);
    command.arg(format!("--configfs={}", tree.path().display())).output().unwrap()
}

fn says(tree: &TempDir, arguments: &[&str]) -> String {
    let output = run(tree, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaint.is_empty(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn names(tree: &TempDir, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(tree.path().join("nvmet").join(folder)).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn attribute(tree: &TempDir, path: &str) -> String {
    fs::read_to_string(tree.path().join("nvmet").join(path)).unwrap().trim().to_owned()
}

#[test]
fn the_commands_of_the_testing_guide_are_understood() {
    let tree = tempfile::tempdir().unwrap();
    says(&tree, &["create"]);
    assert_eq!(names(&tree, "ports/1/subsystems").len(), 3);
    assert!(says(&tree, &["ls"]).contains("klingons"));
    says(&tree, &["unlink", "-p", "1", "-s", "klingons"]);
    assert!(!names(&tree, "ports/1/subsystems").contains(&"klingons".to_owned()));
    says(&tree, &["link", "-p", "1", "-s", "klingons"]);
    assert!(names(&tree, "ports/1/subsystems").contains(&"klingons".to_owned()));
    says(&tree, &["clean"]);
    assert!(names(&tree, "subsystems").is_empty());
}

#[test]
fn d_prints_the_steps_and_deletes_nothing() {
    let tree = tempfile::tempdir().unwrap();
    says(&tree, &["create"]);
    for command in [&["create", "-d"][..], &["clean", "-d"], &["unlink", "-d", "-p", "1", "-s", "klingons"]] {
        says(&tree, command);
        assert_eq!(names(&tree, "ports/1/subsystems").len(), 3, "{command:?}");
    }
}

#[test]
fn a_file_of_nvme_stas_2_is_converted() {
    let tree = tempfile::tempdir().unwrap();
    let file = tree.path().join("old.conf");
    fs::write(&file, OLD_FILE).unwrap();
    says(&tree, &["create", "-f", file.to_str().unwrap()]);
    assert_eq!(names(&tree, "ports"), ["1", "2"]);
    assert_eq!(attribute(&tree, "ports/1/addr_trsvcid"), "8009");
    assert_eq!(attribute(&tree, "ports/2/addr_trtype"), "loop");
    assert_eq!(attribute(&tree, "ports/1/referrals/0/addr_portid"), "2");
    assert_eq!(names(&tree, "ports/1/subsystems"), ["nqn.2014-08.com.example:one"]);
    assert_eq!(names(&tree, "subsystems/nqn.2014-08.com.example:one/namespaces"), ["1", "3"]);
    let (two, host) =
        ("nqn.2014-08.com.example:two", "nqn.2014-08.org.nvmexpress:uuid:46ba5037-7ce5-41fa-9452-48477bf00080");
    assert_eq!(names(&tree, &format!("subsystems/{two}/allowed_hosts")), [host]);
    assert!(attribute(&tree, &format!("hosts/{host}/dhchap_key")).starts_with("DHHC-1:00:"));
    says(&tree, &["clean"]);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_name() {
    let tree = tempfile::tempdir().unwrap();
    let file = tree.path().join("odd.conf");
    for (text, expected) in
        [("{'ports': [{}], 'subsystems': []}", "KeyError: 'id'"), ("prot = 1\n", "prot"), ("[1]", ":1: ")]
    {
        fs::write(&file, text).unwrap();
        let output = run(&tree, &["create", "-f", file.to_str().unwrap()]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && complaint.contains("odd.conf") && complaint.contains(expected),
            "{text}: {complaint}"
        );
    }
    let missing = run(&tree, &["create", "-f", "/nonexistent/nvmet.conf"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent/nvmet.conf"));
}
