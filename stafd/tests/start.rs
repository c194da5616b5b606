//! Starting stafd by hand where it cannot run.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

/// Without a system bus, so that it cannot get far.
fn stafd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stafd"));
    command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus").output().unwrap()
}

#[test]
fn what_is_missing_is_said_with_the_remedy() {
    let output = stafd(&["--conf-file", "/nonexistent/stafd.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    let expected = match (is_root(), Path::new("/dev/nvme-fabrics").exists()) {
        (false, _) => "stafd: stafd needs root privileges: it connects storage. Start it with `systemctl start stafd`",
        (true, false) => "stafd: /dev/nvme-fabrics does not exist: the kernel's NVMe-oF modules are not loaded",
        (true, true) => "/nonexistent/bus",
    };
    assert!(said.contains(expected), "{said}");
}

#[test]
fn the_version_is_that_of_the_project_and_a_mistake_is_reported() {
    let output = stafd(&["--version"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with(concat!(" ", env!("CARGO_PKG_VERSION"), "\n")));
    let output = stafd(&["--conf-fiel", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--conf-fiel"));
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}
