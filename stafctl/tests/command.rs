//! Runs stafctl with a stand-in for stafd on a private bus.

#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::atomic::{AtomicBool, Ordering};

use libstas::bus::{Dict, STAF_NAME, STAF_PATH};
use stage::{Documented, Stage};
use zbus::{fdo, interface};

const STAFCTL: &str = env!("CARGO_BIN_EXE_stafctl");
const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:c4f7e2b6-9a3e-4a7e-9d50-0f8f0e0f6a11";

fn dict(members: &[(&str, &str)]) -> Dict {
    members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn controllers(detailed: bool) -> Vec<Dict> {
    let controller = |device, traddr, more: &[(&str, &str)]| {
        let mut controller = dict(&[
            ("device", device),
            ("transport", "tcp"),
            ("traddr", traddr),
            ("trsvcid", "8009"),
            ("subsysnqn", DISCOVERY),
            ("host-traddr", ""),
            ("host-iface", ""),
            ("host-nqn", HOST),
        ]);
        if detailed {
            controller.extend(dict(more));
        }
        controller
    };
    vec![
        controller(
            "nvme0",
            "::1",
            &[("state", "connected"), ("connected", "True"), ("origin", "configured"), ("model", "Linux")],
        ),
        controller(
            "nvme?",
            "192.0.2.1",
            &[
                ("state", "waiting"),
                ("connected", "False"),
                ("reason", "connection refused"),
                ("next attempt", "in 8 s"),
            ],
        ),
    ]
}

fn log_page() -> Vec<Dict> {
    let entry = |subtype, subnqn, traddr, eflags| {
        dict(&[
            ("subtype", subtype),
            ("subnqn", subnqn),
            ("traddr", traddr),
            ("eflags", eflags),
            ("trtype", "tcp"),
            ("adrfam", "ipv6"),
            ("trsvcid", "8009"),
            ("portid", "1"),
            ("cntlid", "65535"),
            ("asqsz", "32"),
            ("treq", "not specified"),
        ])
    };
    vec![
        entry("nvme", "nqn.1988-11.com.example:klingons", "::1", "0"),
        entry("referral", DISCOVERY, "2001:db8::7", "4"),
    ]
}

#[derive(Default)]
struct Stafd;

#[interface(name = "org.nvmexpress.staf")]
impl Stafd {
    #[zbus(name = "list_controllers")]
    fn list_controllers(&self, detailed: bool) -> Vec<Dict> {
        controllers(detailed)
    }

    // The seven strings of the identity are seven arguments.
    #[allow(clippy::too_many_arguments)]
    #[zbus(name = "get_log_pages")]
    fn get_log_pages(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> Vec<Dict> {
        let known = ["tcp", "::1", "8009", DISCOVERY, "", "", HOST];
        let asked = [transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn];
        if asked == known { log_page() } else { Vec::new() }
    }

    #[zbus(name = "get_all_log_pages")]
    fn get_all_log_pages(&self, detailed: bool) -> String {
        let pages = controllers(detailed).into_iter().zip([log_page(), Vec::new()]);
        let pages = pages.map(|(dc, page)| serde_json::json!({"discovery-controller": dc, "log-pages": page}));
        pages.collect::<serde_json::Value>().to_string()
    }
}

#[derive(Default)]
struct StafdDebug {
    tron: AtomicBool,
    locked: bool,
}

#[interface(name = "org.nvmexpress.staf.debug")]
impl StafdDebug {
    #[zbus(property, name = "tron")]
    fn tron(&self) -> bool {
        self.tron.load(Ordering::Relaxed)
    }

    #[zbus(property, name = "tron")]
    fn set_tron(&self, tron: bool) -> fdo::Result<()> {
        if self.locked {
            return Err(fdo::Error::AccessDenied("only root may switch trace".to_owned()));
        }
        self.tron.store(tron, Ordering::Relaxed);
        Ok(())
    }

    #[zbus(name = "process_info")]
    fn process_info(&self) -> String {
        serde_json::json!({"tron": self.tron(), "log-level": "INFO", "lane": {"queued": 1, "busy": null}}).to_string()
    }

    #[allow(clippy::too_many_arguments)]
    #[zbus(name = "controller_info")]
    fn controller_info(&self, _tr: &str, traddr: &str, _s: &str, _n: &str, _t: &str, _i: &str, _h: &str) -> String {
        if traddr == "::1" {
            r#"{"connect attempts": "1", "model": "Linux nvmet"}"#.to_owned()
        } else {
            "{}".to_owned()
        }
    }
}

/// A private bus with a stand-in for stafd.
async fn stand_in(debug: StafdDebug) -> Option<(Stage, zbus::Connection)> {
    let stage = Stage::empty()?;
    let served = stage.serve(STAF_NAME, STAF_PATH, Stafd, debug).await;
    Some((stage, served))
}

#[tokio::test]
async fn each_format_shows_what_the_daemon_knows() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    stage.follow(STAFCTL, &["-o", "table"], include_str!("expected/table")).await;
    stage.follow(STAFCTL, &["-o", "json"], include_str!("expected/json")).await;
    stage.follow(STAFCTL, &["--output=python"], include_str!("expected/python")).await;
}

#[tokio::test]
async fn json_is_what_its_manual_page_says() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    let (manual, json) = (Documented::read(), async |arguments: &[&str]| stage.json(STAFCTL, arguments).await);
    let detailed = ["CONTROLLER", "CONTROLLER IN DETAIL", "DISCOVERY CONTROLLER"];
    manual.check_each(&json(&["ls"]).await["controllers"], &["CONTROLLER"], &[]);
    manual.check_each(&json(&["ls", "-d"]).await["controllers"], &detailed, &[]);
    manual.check_each(&json(&["adlp"]).await["controllers"], &["CONTROLLER"], &["log_page"]);
    let pages = json(&["adlp", "-d"]).await;
    manual.check_each(&pages["controllers"], &detailed, &["log_page"]);
    manual.check_each(&pages["controllers"][0]["log_page"], &["LOG PAGE ENTRY"], &[]);
    manual.check_each(&json(&["dlp", "-a", "::1", "-q", HOST]).await["log_page"], &["LOG PAGE ENTRY"], &[]);
    let status = json(&["status"]).await;
    manual.check_each(&status["controllers"], &detailed, &["log_page"]);
    // The stand-in shows an attribute that is in no table.
    manual.check(&status["process"], &["PROCESS"], &["lane"]);
}

#[tokio::test]
async fn a_script_gets_the_notation_of_nvme_stas() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    stage.follow(STAFCTL, &[], include_str!("expected/python")).await;
}

/// What the tool prints on a terminal with 70 columns. `None`, with the reason printed, if none can be made.
async fn on_a_terminal(stage: &Stage, arguments: &str) -> Option<String> {
    let mut command = stage.command("script");
    command
        .args(["-qec", &format!("stty rows 40 cols 70; {STAFCTL} {arguments}"), "/dev/null"])
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null());
    match tokio::task::spawn_blocking(move || command.output()).await.unwrap() {
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap().replace('\r', "")),
        Err(error) => {
            println!("skipped: script, which makes a terminal, cannot be started: {error}");
            None
        }
    }
}

#[tokio::test]
async fn a_terminal_gets_a_table_that_fits_and_full_shows_everything() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    let Some(text) = on_a_terminal(&stage, "ls --no-legend").await else { return };
    let short = "nqn.2014-0…s.discovery";
    assert!(text.contains("connection refused; next attempt: in 8 s") && text.contains(short), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 70) && !text.contains("DEVICE"), "{text:?}");
    for full in ["ls --full", "dlp --full -a ::1 -q HOST", "adlp --full", "status --full"] {
        let text = on_a_terminal(&stage, &full.replace("HOST", HOST)).await.unwrap();
        assert!(text.contains(DISCOVERY) && !text.contains('…'), "{full}: {text}");
    }
}

#[tokio::test]
async fn the_short_and_the_long_options_of_nvme_stas_name_a_controller() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    let short = ["dlp", "-t", "tcp", "-a", "::1", "-s", "8009", "-w", "", "-f", "", "-q", HOST, "-n", DISCOVERY];
    let page = stage.stdout(STAFCTL, &short).await;
    assert!(page.contains("klingons"));
    let hostnqn = format!("--hostnqn={HOST}");
    let nqn = format!("--nqn={DISCOVERY}");
    let long =
        ["dlp", "--transport=tcp", "--traddr=::1", "--trsvcid=8009", "--host-traddr=", "--host-iface=", &hostnqn, &nqn];
    assert_eq!(stage.stdout(STAFCTL, &long).await, page);
    // Options may be abbreviated while they are unambiguous.
    assert_eq!(stage.stdout(STAFCTL, &["dlp", "--trad", "::1", "--hostnqn", HOST]).await, page);
}

#[tokio::test]
async fn trace_is_switched_and_read_back() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    assert_eq!(stage.stdout(STAFCTL, &["tron"]).await, "tron = True\n");
    assert!(stage.stdout(STAFCTL, &["status"]).await.contains("'tron': True"));
    assert_eq!(stage.stdout(STAFCTL, &["troff"]).await, "tron = False\n");
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_remedy() {
    let Some((stage, _served)) = stand_in(StafdDebug { locked: true, ..StafdDebug::default() }).await else { return };
    let output = stage.run(STAFCTL, &["tron"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "stafd refuses: only root may switch trace. Try again as root\n"
    );
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let Some((stage, _served)) = stand_in(StafdDebug::default()).await else { return };
    let mut command = stage.command(STAFCTL);
    command.arg("adlp").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut tool = command.spawn().unwrap();
    // The stand-in answers only when this task waits: the pipe is closed before the first byte.
    drop(tool.stdout.take());
    let output = tokio::task::spawn_blocking(move || tool.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[tokio::test]
async fn without_a_daemon_the_known_words_are_said() {
    let Some(stage) = Stage::empty() else { return };
    for arguments in
        [&["ls"][..], &["status"], &["tron"], &["troff"], &["dlp", "-a", "::1", "-q", "nqn.x"], &["adlp", "-d"]]
    {
        let output = stage.run(STAFCTL, arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "Unable to communicate with stafd over D-Bus. Is stafd running?\n",
            "{arguments:?}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_bus_the_known_words_come_first() {
    let mut command = std::process::Command::new(STAFCTL);
    let output = command.arg("ls").env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let mut lines = stderr.lines();
    assert_eq!(lines.next(), Some("Unable to communicate with stafd over D-Bus. Is stafd running?"));
    assert!(lines.next().unwrap().contains("/nonexistent/bus"), "{stderr}");
}

#[test]
fn without_a_command_the_usage_is_shown() {
    let output = std::process::Command::new(STAFCTL).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("Usage: stafctl [COMMAND]"), "{stderr}");
    for command in ["tron", "troff", "status", "ls", "dlp", "adlp"] {
        assert!(stderr.contains(&format!("\n  {command} ")), "{stderr}");
    }
}

#[test]
fn the_version_is_that_of_the_project() {
    for option in ["-v", "--version"] {
        let output = std::process::Command::new(STAFCTL).arg(option).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("nvme-stas ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn a_mistake_on_the_command_line_is_named() {
    for (arguments, named) in
        [(&["dlp"][..], "--traddr"), (&["dlp", "-a", "::1", "-t", "pcie"], "pcie"), (&["ls", "-o", "xml"], "xml")]
    {
        let output = std::process::Command::new(STAFCTL).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{arguments:?}");
    }
}
