//! Runs stasadm.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

const STASADM: &str = env!("CARGO_BIN_EXE_stasadm");
const NOBODY: u32 = 65534;

fn stasadm(arguments: &[&str]) -> Output {
    Command::new(STASADM).args(arguments).output().unwrap()
}

/// True if the test runs as root; otherwise prints that it is skipped.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: stasadm needs root privileges");
    }
    root
}

/// A directory, and the path of a sys.conf in it, as text.
fn scratch() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("sys.conf").to_str().unwrap().to_owned();
    (directory, conf)
}

fn done(arguments: &[&str]) {
    let output = stasadm(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}

/// The value of a key in a file with one section.
fn value(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")).map(str::to_owned))
}

#[test]
fn the_same_host_gets_the_same_nqn() {
    if !is_root() {
        return;
    }
    let (_directory, conf) = scratch();
    done(&["-c", &conf, "hostnqn"]);
    let first = value(&conf, "nqn").unwrap();
    let uuid = first.strip_prefix("nqn.2014-08.org.nvmexpress:uuid:").unwrap();
    assert_eq!(uuid.len(), 36);
    done(&["--conf-file", &conf, "hostnqn"]);
    if Path::new("/etc/machine-id").exists() {
        assert_eq!(value(&conf, "nqn").unwrap(), first);
    }
}

#[test]
fn the_id_goes_with_the_host_nqn_or_is_random_and_is_written_to_the_requested_file() {
    if !is_root() {
        return;
    }
    let (directory, conf) = scratch();
    fs::write(&conf, "[Host]\nnqn=nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000000a\n").unwrap();
    done(&["-c", &conf, "hostid"]);
    assert_eq!(value(&conf, "id").as_deref(), Some("00000000-0000-4000-8000-00000000000a"));
    fs::write(&conf, "[Host]\nnqn=nqn.2014-08.org.example:no-uuid\n").unwrap();
    let file = directory.path().join("nvme/hostid").to_str().unwrap().to_owned();
    done(&["-c", &conf, "hostid", "-f", &file]);
    let first = fs::read_to_string(&file).unwrap();
    assert_eq!(first.len(), 37);
    assert_eq!(value(&conf, "id"), Some(format!("file://{file}")));
    done(&["-c", &conf, "hostid", "--file", &file]);
    assert_ne!(fs::read_to_string(&file).unwrap(), first);
}

#[test]
fn a_missing_file_gets_the_value_that_is_configured() {
    if !is_root() {
        return;
    }
    const NQN: &str = "nqn.2014-08.org.example:configured";
    const ID: &str = "00000000-0000-4000-8000-00000000000a";
    for (command, key, configured) in [("hostnqn", "nqn", NQN), ("hostid", "id", ID)] {
        let (directory, conf) = scratch();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (file, elsewhere) = (path("nvme/value"), path("elsewhere"));
        for missing in [true, false] {
            fs::write(&conf, format!("[Host]\n{key}={configured}\n")).unwrap();
            match missing {
                true => assert!(!Path::new(&file).exists()),
                false => fs::write(&file, "\n").unwrap(),
            }
            done(&["-c", &conf, command, "-f", &file]);
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{configured}\n"), "{command}");
            assert_eq!(value(&conf, key), Some(format!("file://{file}")));
        }

        // It is replaced on request.
        done(&["-c", &conf, command, "-f", &file]);
        assert_ne!(fs::read_to_string(&file).unwrap(), format!("{configured}\n"), "{command}");

        // Another file that has the value counts as well. While that cannot be read, nothing is changed.
        fs::remove_file(&file).unwrap();
        let text = format!("[Host]\n{key}=file://{elsewhere}\n");
        fs::write(&conf, &text).unwrap();
        let output = stasadm(&["-c", &conf, command, "-f", &file]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains(&elsewhere));
        assert_eq!((fs::read_to_string(&conf).unwrap(), Path::new(&file).exists()), (text, false));
        fs::write(&elsewhere, format!("{configured}\n")).unwrap();
        done(&["-c", &conf, command, "-f", &file]);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{configured}\n"), "{command}");

        // An invalid value is replaced.
        fs::remove_file(&file).unwrap();
        fs::write(&conf, format!("[Host]\n{key}=nonsense\n")).unwrap();
        done(&["-c", &conf, command, "-f", &file]);
        assert_ne!(fs::read_to_string(&file).unwrap(), "nonsense\n");
    }
}

#[test]
fn the_symbolic_name_comes_and_goes() {
    if !is_root() {
        return;
    }
    let (_directory, conf) = scratch();
    done(&["-c", &conf, "set-symname", "Host 7 in the cellar"]);
    assert_eq!(value(&conf, "symname").as_deref(), Some("Host 7 in the cellar"));
    done(&["-c", &conf, "clear-symname"]);
    assert_eq!(value(&conf, "symname"), None);
}

#[test]
fn a_relative_file_is_referred_to_by_its_full_path() {
    if !is_root() {
        return;
    }
    let (directory, conf) = scratch();
    let directory = directory.path().canonicalize().unwrap();
    let mut command = Command::new(STASADM);
    let status = command.current_dir(&directory).args(["-c", &conf, "set-symname", "-f", "name", "here"]).status();
    assert!(status.unwrap().success());
    assert_eq!(value(&conf, "symname"), Some(format!("file://{}/name", directory.display())));
    assert_eq!(fs::read_to_string(directory.join("name")).unwrap(), "here\n");
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_the_configuration_stays() {
    if !is_root() {
        return;
    }
    let (directory, conf) = scratch();
    done(&["-c", &conf, "set-symname", "here"]);
    let file = directory.path().join("taken").to_str().unwrap().to_owned();
    fs::create_dir(&file).unwrap();
    let output = stasadm(&["-c", &conf, "set-symname", "-f", &file, "there"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("stasadm: ") && stderr.contains(&file), "{stderr}");
    assert_eq!(value(&conf, "symname").as_deref(), Some("here"));
}

#[test]
fn without_privileges_nothing_is_done_and_the_remedy_is_printed() {
    let mut command = Command::new(STASADM);
    command.args(["-c", "/tmp/nonexistent/sys.conf", "hostid"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY);
    }
    match command.output() {
        Ok(output) => {
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(
                String::from_utf8_lossy(&output.stderr),
                "stasadm: root privileges are needed to change /tmp/nonexistent/sys.conf: try again with sudo\n"
            );
        }
        Err(error) => println!("skipped: {STASADM} cannot be run without privileges: {error}"),
    }
}

#[test]
fn check_prints_each_complaint_with_its_line_and_the_status_is_that_of_the_worst() {
    let (directory, conf) = scratch();
    fs::write(&conf, "[Host]\nnqn=nqn.2014-08.org.example:a\nid=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e\n").unwrap();
    let stacd = directory.path().join("stacd.conf.new").to_str().unwrap().to_owned();
    let check = |text: &str| {
        fs::write(&stacd, text).unwrap();
        let mut command = Command::new(STASADM);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent").args(["-c", &conf, "check", &stacd]);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let line = "controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a";
    let (status, text) = check(&format!("[Controllers]\n{line}\n"));
    // A host without the module nvme-fabrics is warned of it.
    assert!(status < 2 && !text.contains(&stacd), "{text}");
    // The test environment has no stacd.
    assert!(text.contains("\nstacd: what a reload would do is not known: "), "{text}");

    let (status, text) = check(&format!("[Global]\nkatoo=3\n[Controllers]\n{line}\n"));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains(&format!("warning: {stacd}:2: katoo= is not a key of [Global]")), "{text}");

    let (status, text) = check("[Controllers]\ncontroller=transport=tcp\n");
    assert_eq!(status, 2, "{text}");
    let refused = format!("error: {stacd}:2: controller= is refused: it has no traddr\n");
    assert!(text.contains(&refused) && text.contains("\n1 error"), "{text}");

    let (status, text) = check("[Controllers]\ncontroller=transport=tcp;traddr=array.invalid;trsvcid=4420;nqn=nqn.a\n");
    assert_eq!(status, 1, "{text}");
    let unresolved =
        format!("warning: {stacd}:2: controller= is not connected: host name array.invalid cannot be resolved");
    assert!(text.contains(&unresolved), "{text}");
}

#[test]
fn check_refuses_a_file_whose_name_does_not_say_its_kind_and_reports_a_missing_one() {
    let (directory, conf) = scratch();
    let output = stasadm(&["-c", &conf, "check", "/etc/hosts"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stafd…, stacd… or sys…"));
    let missing = directory.path().join("stafd.conf").to_str().unwrap().to_owned();
    let output = stasadm(&["-c", &conf, "check", &missing]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("error: {missing} does not exist\n")));
}

#[test]
fn check_for_a_reload_never_fails_and_prints_nothing_here() {
    let output = stasadm(&["check", "--reload", "stacd"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn without_a_command_the_usage_is_shown() {
    let output = stasadm(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for word in ["Usage: stasadm [OPTIONS] [COMMAND]", "hostnqn", "hostid", "set-symname", "clear-symname"] {
        assert!(stderr.contains(word), "{stderr}");
    }
}

#[test]
fn the_version_is_that_of_the_project() {
    for option in ["-v", "--version"] {
        let output = stasadm(&[option]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("nvme-stas ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
