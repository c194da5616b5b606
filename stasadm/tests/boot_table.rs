//! Runs `stasadm nbft`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn stasadm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stasadm")).arg("nbft").args(arguments).output().unwrap()
}

/// A directory with the table of tests/vm/tables, where each byte is explained.
fn folder() -> (tempfile::TempDir, String) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vm/tables/nbft.hex")).unwrap();
    let mut bytes = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap()) {
        for (number, part) in line.split('"').enumerate() {
            // The first word of a line is its offset.
            let words = part.split_whitespace().skip(usize::from(number == 0));
            match number % 2 {
                0 => bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap())),
                _ => bytes.extend(part.bytes()),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("NBFT"), bytes).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_person_sees_host_interfaces_subsystems_and_discovery_controllers() {
    let (_folder, path) = folder();
    let output = stasadm(&["--path", &path]);
    let expected = format!(
        "{path}/NBFT
  host
    id              5b3a2c10-0000-4000-8000-00000000b007
    id_configured   true
    nqn             nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007
    nqn_configured  true
    primary         selected
  interfaces (HFI)
    INDEX  MAC                ADDRESS       GATEWAY      DNS                       DHCP         HOST NAME
    1      52:54:00:b0:07:01  192.0.2.1/24  192.0.2.254  192.0.2.53, 2001:db8::53  192.0.2.253  boothost
  subsystems (SSNS)
    INDEX  TRANSPORT  ADDRESS    SVCID  HFI  NSID  NAMESPACE                                  STATE      SECURITY  NQN
    1      tcp        192.0.2.2  4420   1    1     uuid.6b1d7c00-0000-4000-8000-000000000001  available  1         nqn.2014-08.org.nvmexpress:boot:root
  discovery controllers
    INDEX  ADDRESS                         HFI  SECURITY  NQN
    1      nvme+tcp://192.0.2.2:8009/      1    1
    2      nvme+tcp://[2001:db8::2]:8009/  1              nqn.2014-08.org.nvmexpress:boot:dc
  security profiles
    INDEX  AUTHENTICATION  CHANNEL    SECRET
    1      required        supported  https://bmc/redfish/v1/Keys/1
"
    );
    assert_eq!(text(&output.stdout), expected);
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_program_gets_json() {
    let (_folder, path) = folder();
    let file = format!("{path}/NBFT");
    for which in [&path, &file] {
        let output = stasadm(&["-p", which, "-o", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let table = &answer[0];
        assert_eq!(table["file"], json!(file));
        assert_eq!(table["host"]["nqn"], "nqn.2014-08.org.nvmexpress:uuid:5b3a2c10-0000-4000-8000-00000000b007");
        assert_eq!(table["hfi"][0]["mac"], "52:54:00:b0:07:01");
        assert_eq!(table["subsystem"][0]["traddr"], "192.0.2.2");
        assert_eq!(table["subsystem"][0]["extended"]["asqsz"], 32);
        assert_eq!(table["discovery"][1]["nqn"], "nqn.2014-08.org.nvmexpress:boot:dc");
        assert_eq!(table["security"][0]["dh_groups"], json!([1, 2]));
        assert_eq!(table["flaws"], json!([]));
    }
}

#[test]
fn a_host_without_a_table_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let output = stasadm(&["-p", path]);
    assert_eq!(text(&output.stdout), "no boot table (NBFT)\n");
    assert!(output.status.success());
    assert_eq!(text(&stasadm(&["-p", path, "-o", "json"]).stdout), "[]\n");
}

#[test]
fn a_corrupt_table_is_named_with_the_cause_beside_a_good_one() {
    let (folder, path) = folder();
    let good = fs::read(folder.path().join("NBFT")).unwrap();
    fs::write(folder.path().join("NBFT2"), &good[..500]).unwrap();
    let output = stasadm(&["-p", &path]);
    assert_eq!(output.status.code(), Some(1));
    let cause = "the header says that it has 912 bytes, and there are 500";
    assert_eq!(text(&output.stderr), format!("stasadm: {path}/NBFT2: {cause}\n"));
    let shown = text(&output.stdout);
    assert!(shown.starts_with(&format!("{path}/NBFT\n")), "{shown}");
    assert!(shown.ends_with(&format!("{path}/NBFT2\n  cannot be used: {cause}\n")), "{shown}");
}

#[test]
fn a_record_that_is_wrong_is_reported_beside_those_that_are_not() {
    let (folder, path) = folder();
    let file = folder.path().join("NBFT");
    let mut bytes = fs::read(&file).unwrap();
    // Change the transport of the subsystem, and the checksum, so that the sum of all bytes is 0 again.
    bytes[197] = 1;
    bytes[9] = bytes[9].wrapping_add(3).wrapping_sub(1);
    fs::write(&file, bytes).unwrap();
    let wrong = "SSNS descriptor 1: its transport type is 1; this program knows 3 (tcp); it is ignored";
    let output = stasadm(&["--path", &path]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.ends_with(&format!("\n  wrong: {wrong}\n")) && !shown.contains("(SSNS)"), "{shown}");
    assert!(shown.contains("nvme+tcp://192.0.2.2:8009/"), "{shown}");
    let answer: Value = serde_json::from_slice(&stasadm(&["--path", &path, "-o", "json"]).stdout).unwrap();
    assert_eq!(answer[0]["flaws"], json!([wrong]));
}

#[test]
fn what_cannot_be_read_is_named_with_the_cause() {
    let (folder, path) = folder();
    // No user can open a link that points to itself, not even root.
    std::os::unix::fs::symlink(folder.path().join("NBFT2"), folder.path().join("NBFT2")).unwrap();
    let output = stasadm(&["--path", &path, "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with(&format!("stasadm: cannot read {path}/NBFT2: ")), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer.as_array().unwrap().len(), 1, "the good one is shown");

    let nowhere = format!("{path}/NBFT2/tables");
    let output = stasadm(&["--path", &nowhere]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with(&format!("stasadm: cannot look for boot tables in {nowhere}: ")),
        "{output:?}"
    );
}
