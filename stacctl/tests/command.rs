//! Runs stacctl with a stand-in for stacd on a private bus.

#![allow(clippy::unwrap_used)]

#[path = "../../stafctl/tests/stage/mod.rs"]
mod stage;

use std::sync::atomic::{AtomicBool, Ordering};

use libstas::bus::{Dict, STAC_NAME, STAC_PATH};
use stage::Stage;
use zbus::interface;

const STACCTL: &str = env!("CARGO_BIN_EXE_stacctl");
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:c4f7e2b6-9a3e-4a7e-9d50-0f8f0e0f6a11";

fn dict(members: &[(&str, &str)]) -> Dict {
    members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Two paths to one subsystem, one of them kept because its storage is in use, and a controller that is not connected.
fn controllers(detailed: bool) -> Vec<Dict> {
    let controller = |device, iface, subsystem, more: &[(&str, &str)]| {
        let subsystem = format!("nqn.1988-11.com.example:{subsystem}");
        let mut controller = dict(&[
            ("device", device),
            ("transport", "tcp"),
            ("traddr", "2001:db8::7"),
            ("trsvcid", "4420"),
            ("subsysnqn", &subsystem),
            ("host-traddr", ""),
            ("host-iface", iface),
            ("host-nqn", HOST),
        ]);
        if detailed {
            controller.extend(dict(more));
        }
        controller
    };
    let kept = [("state", "kept"), ("connected", "True"), ("reason", "last path to /dev/nvme1n1, mounted on /srv")];
    let gone = [
        ("state", "given up"),
        ("connected", "False"),
        ("reason", "NCC, 3 attempts"),
        ("next attempt", "none"),
        ("dlpe.eflags.ncc", "True"),
    ];
    vec![
        controller("nvme1", "eth0", "klingons", &[("state", "connected"), ("connected", "True")]),
        controller("nvme2", "eth1", "klingons", &kept),
        controller("nvme?", "", "starfleet", &gone),
    ]
}

struct Stacd;

#[interface(name = "org.nvmexpress.stac")]
impl Stacd {
    #[zbus(name = "list_controllers")]
    fn list_controllers(&self, detailed: bool) -> Vec<Dict> {
        controllers(detailed)
    }
}

#[derive(Default)]
struct StacdDebug {
    tron: AtomicBool,
}

#[interface(name = "org.nvmexpress.stac.debug")]
impl StacdDebug {
    #[zbus(property, name = "tron")]
    fn tron(&self) -> bool {
        self.tron.load(Ordering::Relaxed)
    }

    #[zbus(property, name = "tron")]
    fn set_tron(&self, tron: bool) {
        self.tron.store(tron, Ordering::Relaxed);
    }

    #[zbus(name = "process_info")]
    fn process_info(&self) -> String {
        serde_json::json!({"tron": self.tron(), "log-level": "INFO"}).to_string()
    }

    // The seven strings of the identity are seven arguments.
    #[allow(clippy::too_many_arguments)]
    #[zbus(name = "controller_info")]
    fn controller_info(&self, _tr: &str, _a: &str, _s: &str, nqn: &str, _t: &str, iface: &str, _h: &str) -> String {
        let known = nqn.ends_with(":klingons") && iface == "eth0";
        if known { r#"{"connect attempts": "1"}"#.to_owned() } else { "{}".to_owned() }
    }
}

async fn stand_in() -> Option<(Stage, zbus::Connection)> {
    let stage = Stage::empty()?;
    let served = stage.serve(STAC_NAME, STAC_PATH, Stacd, StacdDebug::default()).await;
    Some((stage, served))
}

#[tokio::test]
async fn each_format_shows_what_the_daemon_knows() {
    let Some((stage, _served)) = stand_in().await else { return };
    stage.follow(STACCTL, &["-o", "table"], include_str!("expected/table")).await;
    stage.follow(STACCTL, &["-o", "json"], include_str!("expected/json")).await;
    stage.follow(STACCTL, &[], include_str!("expected/python")).await;
}

#[tokio::test]
async fn trace_is_switched_and_read_back() {
    let Some((stage, _served)) = stand_in().await else { return };
    assert_eq!(stage.stdout(STACCTL, &["tron"]).await, "tron = True\n");
    assert!(stage.stdout(STACCTL, &["status"]).await.contains("'tron': True"));
    assert_eq!(stage.stdout(STACCTL, &["troff"]).await, "tron = False\n");
}

#[tokio::test]
async fn without_a_daemon_the_known_words_are_said() {
    let Some(stage) = Stage::empty() else { return };
    for arguments in [&["ls"][..], &["status"], &["tron"], &["troff"]] {
        let output = stage.run(STACCTL, arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "Unable to communicate with stacd over D-Bus. Is stacd running?\n",
            "{arguments:?}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_command_the_usage_is_shown() {
    let output = std::process::Command::new(STACCTL).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("Usage: stacctl [COMMAND]"), "{stderr}");
    for command in ["tron", "troff", "status", "ls"] {
        assert!(stderr.contains(&format!("\n  {command} ")), "{stderr}");
    }
}

#[test]
fn the_version_is_that_of_the_project() {
    for option in ["-v", "--version"] {
        let output = std::process::Command::new(STACCTL).arg(option).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("nvme-stas ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
