//! Runs stacctl with a stand-in for stacd on a private bus.

#![allow(clippy::unwrap_used)]

mod openmetrics;
#[path = "../../stafctl/tests/stage/mod.rs"]
mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use libstas::bus::metrics::{CONTROLLERS, PAGE_AGE, Sample};
use libstas::bus::{Dict, STAC_NAME, STAC_PATH};
use stage::{Documented, Stage};
use tokio::io::AsyncBufReadExt as _;
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

#[derive(Clone, Default)]
struct Stacd {
    /// The last controller is connected, too.
    all_connected: Arc<AtomicBool>,
    /// No call is answered.
    silent: Arc<AtomicBool>,
}

#[interface(name = "org.nvmexpress.stac")]
impl Stacd {
    #[zbus(name = "list_controllers")]
    async fn list_controllers(&self, detailed: bool) -> Vec<Dict> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut all = controllers(detailed);
        if self.all_connected.load(Ordering::Relaxed) {
            all[2].extend(dict(&[("state", "connected"), ("connected", "True")]));
        }
        all
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

    #[zbus(name = "metrics")]
    fn metrics(&self) -> Vec<Sample> {
        let bucket = |bound, count| Sample::new("stas_queue_wait_seconds_bucket", &[("le", bound)], count);
        vec![
            bucket("0.1", 2.0),
            bucket("+Inf", 3.0),
            Sample::new("stas_queue_wait_seconds_count", &[], 3.0),
            Sample::new("stas_queue_wait_seconds_sum", &[], 12.25),
            Sample::new("stas_connects_total", &[], 3.0),
            Sample::new(CONTROLLERS, &[("state", "given up"), ("reason", "ECONNREFUSED")], 1.0),
            Sample::new(PAGE_AGE, &[("traddr", "\"quoted\" \\ \n\u{1b}[2J")], 7.5),
        ]
    }

    /// The first is listed; another controller had its device before.
    #[zbus(name = "list_histories")]
    fn list_histories(&self) -> Vec<Dict> {
        let mut known = controllers(true);
        let mut gone = known[0].clone();
        gone.extend(dict(&[("subsysnqn", "nqn.1988-11.com.example:gone"), ("state", "removed")]));
        known.push(gone);
        known
    }

    #[allow(clippy::too_many_arguments)]
    #[zbus(name = "controller_history")]
    fn controller_history(
        &self,
        _tr: &str,
        _a: &str,
        _s: &str,
        nqn: &str,
        _t: &str,
        _i: &str,
        _h: &str,
    ) -> (String, Vec<Dict>) {
        let source = if nqn.ends_with(":gone") { "" } else { "controller= in stacd.conf, line 2" };
        let event = dict(&[("time", "2026-11-28T12:00:00Z"), ("event", "connected: nvme1")]);
        (source.to_owned(), vec![event])
    }
}

async fn stand_in() -> Option<(Stage, zbus::Connection)> {
    let stage = Stage::empty()?;
    let served = stage.serve(STAC_NAME, STAC_PATH, Stacd::default(), StacdDebug::default()).await;
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
async fn json_is_what_its_manual_page_says() {
    let Some((stage, _served)) = stand_in().await else { return };
    let (manual, json) = (Documented::read(), async |arguments: &[&str]| stage.json(STACCTL, arguments).await);
    let detailed = ["CONTROLLER", "CONTROLLER IN DETAIL", "I/O CONTROLLER"];
    manual.check_each(&json(&["ls"]).await["controllers"], &["CONTROLLER"], &[]);
    let listed = json(&["ls", "-d"]).await;
    manual.check_each(&listed["controllers"], &detailed, &[]);
    assert_eq!(
        (&listed["controllers"][2]["connected"], &listed["controllers"][2]["ncc"]),
        (&false.into(), &true.into())
    );
    let status = json(&["status"]).await;
    manual.check(&status["process"], &["PROCESS"], &[]);
    manual.check_each(&status["controllers"], &detailed, &[]);
    assert_eq!(status["controllers"][0]["connect_attempts"], 1);
    let story = json(&["why", "nvme1"]).await;
    manual.check_each(&story["controllers"], &["CONTROLLER", "STORY"], &["connected"]);
}

#[tokio::test]
async fn trace_is_switched_and_read_back() {
    let Some((stage, _served)) = stand_in().await else { return };
    assert_eq!(stage.stdout(STACCTL, &["tron"]).await, "tron = True\n");
    assert!(stage.stdout(STACCTL, &["status"]).await.contains("'tron': True"));
    assert_eq!(stage.stdout(STACCTL, &["troff"]).await, "tron = False\n");
}

#[tokio::test]
async fn ls_selects_checks_and_leaves_the_headings_out() {
    let Some((stage, _served)) = stand_in().await else { return };
    let rows = stage.stdout(STACCTL, &["ls", "klingons", "--no-legend", "-o", "table"]).await;
    assert!(rows.starts_with("nvme1 ") && rows.contains("\nnvme2 ") && !rows.contains("starfleet"), "{rows}");
    assert_eq!(stage.stdout(STACCTL, &["ls", "nothing", "--no-legend", "-o", "table"]).await, "");
    assert_eq!(stage.stdout(STACCTL, &["ls", "nothing", "-o", "table"]).await, "no controllers\n");
    let short = stage.stdout(STACCTL, &["ls", "nvme2", "--check"]).await;
    assert!(short.contains("'device': 'nvme2'") && !short.contains("'state'"), "{short}");
    let output = stage.run(STACCTL, &["ls", "--check"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("'device': 'nvme1'"));
    let down =
        "tcp 2001:db8::7 4420 nqn.1988-11.com.example:starfleet: given up: NCC, 3 attempts; next attempt: none\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), down);
}

#[tokio::test]
async fn why_tells_the_story_of_what_has_the_device_now_or_of_one_that_is_gone() {
    let Some((stage, _served)) = stand_in().await else { return };
    let name = "tcp 2001:db8::7 4420";
    assert_eq!(
        stage.stdout(STACCTL, &["why", "nvme1"]).await,
        format!(
            "nvme1  {name} eth0 nqn.1988-11.com.example:klingons\n  2026-11-28T12:00:00Z  connected: nvme1\n  now: \
             state: connected\n  now: source: controller= in stacd.conf, line 2\n"
        )
    );
    let gone = stage.stdout(STACCTL, &["why", "nqn.1988-11.com.example:gone", "-o", "json"]).await;
    let gone: serde_json::Value = serde_json::from_str(&gone).unwrap();
    assert_eq!(
        (&gone["controllers"][0]["state"], &gone["controllers"][0]["events"][0]["event"]),
        (&"removed".into(), &"connected: nvme1".into())
    );
    assert!(gone["controllers"][0]["source"].is_null() && gone["controllers"][1].is_null(), "{gone}");
    let output = stage.run(STACCTL, &["why", "nothing"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "no controller matches \"nothing\"\n");
}

#[tokio::test]
async fn tree_draws_the_same_picture_in_each_format() {
    let Some((stage, _served)) = stand_in().await else { return };
    let lines = stage.stdout(STACCTL, &["tree"]).await;
    let text = "\
host
|- interface eth0: 1 of 1 path connected
|- interface eth1: 0 of 1 path connected
|- subsystem nqn.1988-11.com.example:klingons: 1 of 2 paths connected
|  |- nvme1  tcp 2001:db8::7 4420 eth0: connected
|  `- nvme2  tcp 2001:db8::7 4420 eth1: kept: last path to /dev/nvme1n1, mounted on /srv
|- subsystem nqn.1988-11.com.example:starfleet: 0 of 1 path connected
|  `- -  tcp 2001:db8::7 4420: given up: NCC, 3 attempts
`- no discovery controllers: stafd is not running
";
    assert_eq!(lines, text);
    let dot = stage.stdout(STACCTL, &["tree", "-o", "dot"]).await;
    assert!(dot.starts_with("digraph nvme {") && dot.contains("klingons"), "{dot}");
    let svg = stage.stdout(STACCTL, &["tree", "-o", "svg"]).await;
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>") && svg.contains("starfleet"), "{svg}");
}

#[tokio::test]
async fn metrics_are_valid_and_say_which_daemon_is_down() {
    let Some((stage, _served)) = stand_in().await else { return };
    let text = stage.stdout(STACCTL, &["metrics"]).await;
    let values = openmetrics::check(&text);
    let value = |series: &str| values.get(series).copied();
    assert_eq!((value("stas_up{daemon=\"stacd\"}"), value("stas_up{daemon=\"stafd\"}")), (Some(1.0), Some(0.0)));
    assert_eq!(value("stas_connects_total{daemon=\"stacd\"}"), Some(3.0), "{text}");
    let klingons = "{subsysnqn=\"nqn.1988-11.com.example:klingons\"}";
    assert_eq!(value(&format!("stas_subsystem_paths_wanted{klingons}")), Some(1.0), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nvme-stas.prom");
    assert_eq!(stage.stdout(STACCTL, &["metrics", "--write", file.to_str().unwrap()]).await, "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
    let output = stage.run(STACCTL, &["metrics", "--write", "/nonexistent/x.prom"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("cannot write /nonexistent/x.prom: "), "{output:?}");
}

#[test]
fn text_that_is_not_openmetrics_is_refused() {
    let valid = "# TYPE a counter\n# HELP a A.\na_total{x=\"1\"} 1\n# EOF\n";
    assert_eq!(openmetrics::check(valid).len(), 1);
    let buckets = "# TYPE h histogram\nh_bucket{le=\"1.0\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 1\n# EOF\n";
    for invalid in [
        &valid.replace("# EOF\n", ""),
        &valid.replace("a_total", "a"),
        &valid.replace("# TYPE a counter\n", ""),
        &valid.replace("\"1\"", "\"1\\q\""),
        &valid.replace("\"1\"", "\"1"),
        &valid.replace("} 1", "} one"),
        &valid.replace("# EOF", "a_total{x=\"1\"} 2\n# EOF"),
        &valid.replace("# EOF", "# TYPE b gauge\na_total 2\n# EOF"),
        &buckets.to_owned(),
    ] {
        assert!(std::panic::catch_unwind(|| openmetrics::check(invalid)).is_err(), "{invalid}");
    }
}

#[tokio::test]
async fn without_daemons_metrics_say_just_that() {
    let Some(stage) = Stage::empty() else { return };
    let values = openmetrics::check(&stage.stdout(STACCTL, &["metrics"]).await);
    assert!(values.len() == 2 && values.values().all(|up| *up == 0.0), "{values:?}");
}

#[tokio::test]
async fn wait_returns_at_once_if_all_is_there_and_names_what_is_missing_at_the_timeout() {
    let Some((stage, served)) = stand_in().await else { return };
    let (klingons, starfleet) = ("nqn.1988-11.com.example:klingons", "nqn.1988-11.com.example:starfleet");
    assert_eq!(stage.stdout(STACCTL, &["wait", klingons]).await, "");
    let output = stage.run(STACCTL, &["wait", klingons, starfleet, "nqn.x", "--timeout", "0"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "tcp 2001:db8::7 4420 {starfleet}: given up: NCC, 3 attempts; next attempt: none\nnqn.x: no source lists it\n"
        )
    );
    drop(served);
}

#[tokio::test]
async fn wait_returns_when_a_signal_tells_of_the_connection() {
    let Some(stage) = Stage::empty() else { return };
    let (stacd, arguments) = (Stacd::default(), ["wait", "nqn.1988-11.com.example:starfleet"]);
    let served = stage.serve(STAC_NAME, STAC_PATH, stacd.clone(), StacdDebug::default()).await;
    let mut waiting = std::pin::pin!(stage.stdout(STACCTL, &arguments));
    let short = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(short, waiting.as_mut()).await.is_err(), "it is not connected");
    stacd.all_connected.store(true, Ordering::Relaxed);
    let body = (dict(&[("device", "nvme3")]), "queued", "connected", "");
    // It is not known when it listens: signals are sent until it has returned.
    loop {
        served.emit_signal(None::<&str>, STAC_PATH, STAC_NAME, "controller_state_changed", &body).await.unwrap();
        if let Ok(printed) = tokio::time::timeout(short, waiting.as_mut()).await {
            assert_eq!(printed, "");
            return;
        }
    }
}

#[tokio::test]
async fn wait_ends_in_time_although_stacd_does_not_answer() {
    let Some(stage) = Stage::empty() else { return };
    let stacd = Stacd::default();
    let served = stage.serve(STAC_NAME, STAC_PATH, stacd.clone(), StacdDebug::default()).await;
    let arguments = ["wait", "nqn.1988-11.com.example:starfleet", "--timeout", "5"];
    let silent =
        "Unable to communicate with stacd over D-Bus: it does not answer. `systemctl status stacd` tells how it is\n";
    let down =
        "tcp 2001:db8::7 4420 nqn.1988-11.com.example:starfleet: given up: NCC, 3 attempts; next attempt: none\n";
    let begin = std::time::Instant::now();
    let mut known = std::pin::pin!(stage.run(STACCTL, &arguments));
    // Long enough for the first answer.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), known.as_mut()).await;
    stacd.silent.store(true, Ordering::Relaxed);
    let body = (dict(&[("device", "nvme3")]), "queued", "connected", "");
    served.emit_signal(None::<&str>, STAC_PATH, STAC_NAME, "controller_state_changed", &body).await.unwrap();
    let (known, unknown) = tokio::join!(known, stage.run(STACCTL, &arguments));
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(String::from_utf8_lossy(&known.stderr), format!("{down}{silent}"));
    assert_eq!(String::from_utf8_lossy(&unknown.stderr), silent);
    assert_eq!((known.status.code(), unknown.status.code()), (Some(1), Some(1)));
}

#[tokio::test]
async fn wait_waits_for_stacd_itself() {
    let Some(stage) = Stage::empty() else { return };
    let klingons = "nqn.1988-11.com.example:klingons";
    let output = stage.run(STACCTL, &["wait", klingons, "--timeout", "0"]).await;
    assert_eq!(output.status.code(), Some(1));
    let not_running = format!("{klingons}: Unable to communicate with stacd over D-Bus. Is stacd running?\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), not_running);
    let arguments = ["wait", klingons];
    let waiting = stage.stdout(STACCTL, &arguments);
    let (_served, printed) =
        tokio::join!(stage.serve(STAC_NAME, STAC_PATH, Stacd::default(), StacdDebug::default()), waiting);
    assert_eq!(printed, "");
}

/// systemd, which notes the units that are started.
#[derive(Clone, Default)]
struct Systemd(Arc<Mutex<Vec<String>>>);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn start_unit(&self, name: String, _mode: &str) -> zbus::OwnedObjectPath {
        self.0.lock().unwrap().push(name);
        "/org/freedesktop/systemd1/job/1".try_into().unwrap()
    }
}

#[tokio::test]
async fn alert_tells_of_an_outage_once_also_over_a_restart_and_starts_a_unit_at_its_start_and_end() {
    let Some(stage) = Stage::empty() else { return };
    let (stacd, systemd) = (Stacd::default(), Systemd::default());
    let served = stage.serve(STAC_NAME, STAC_PATH, stacd.clone(), StacdDebug::default()).await;
    let path = "/org/freedesktop/systemd1";
    let _systemd = stage.serve("org.freedesktop.systemd1", path, systemd.clone(), StacdDebug::default()).await;
    let runtime = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = tokio::process::Command::from(stage.command(STACCTL));
        command.args(["alert", "--after", "0", "--start-units"]).env("RUNTIME_DIRECTORY", runtime.path());
        let mut child = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let starfleet = "nqn.1988-11.com.example:starfleet";
    let (mut child, mut lines) = start();
    let line = lines.next_line().await.unwrap().unwrap();
    let why = format!("tcp 2001:db8::7 4420 {starfleet}: given up: NCC, 3 attempts; next attempt: none");
    assert_eq!(line, format!("{starfleet}: no path for 0 s: {why}"));
    child.kill().await.unwrap();
    stacd.all_connected.store(true, Ordering::Relaxed);
    let (_child, mut lines) = start();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("{starfleet}: has a path again"));
    stacd.all_connected.store(false, Ordering::Relaxed);
    let body = (dict(&[("device", "nvme3")]), "connected", "waiting", "");
    served.emit_signal(None::<&str>, STAC_PATH, STAC_NAME, "controller_state_changed", &body).await.unwrap();
    assert!(lines.next_line().await.unwrap().unwrap().contains(": no path for 0 s: "));
    let unit = |name| format!("stas-alert-{name}@nqn.1988\\x2d11.com.example:starfleet.service");
    assert_eq!(*systemd.0.lock().unwrap(), [unit("down"), unit("up"), unit("down")]);
}

#[tokio::test]
async fn ls_names_devices_and_nqns_for_the_completion() {
    let Some((stage, _served)) = stand_in().await else { return };
    let klingons = "nqn.1988-11.com.example:klingons\n";
    let names = stage.stdout(STACCTL, &["ls", "--names"]).await;
    assert_eq!(names, format!("{klingons}nqn.1988-11.com.example:starfleet\nnvme1\nnvme2\n"));
    assert_eq!(stage.stdout(STACCTL, &["ls", "--names", "eth1"]).await, format!("{klingons}nvme2\n"));
}

#[tokio::test]
async fn watch_prints_each_signal_and_ends_quietly_when_its_reader_does_or_it_is_interrupted() {
    let Some((stage, served)) = stand_in().await else { return };
    for end in ["interrupt", "reader"] {
        let mut command = tokio::process::Command::from(stage.command(STACCTL));
        command.args(["watch", "-o", "json"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let signal = async || {
            let body =
                (dict(&[("device", "nvme7"), ("state", "connected")]), "queued", "connected", "connected: nvme7");
            served.emit_signal(None::<&str>, STAC_PATH, STAC_NAME, "controller_state_changed", &body).await.unwrap();
        };
        // It is not known when it listens: signals are sent until one has arrived.
        let line = loop {
            signal().await;
            if let Ok(line) = tokio::time::timeout(std::time::Duration::from_millis(50), lines.next_line()).await {
                break line.unwrap().unwrap();
            }
        };
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["event"], &event["new"]), (&"state-changed".into(), &"connected".into()), "{line}");
        match end {
            "interrupt" => {
                let id = child.id().unwrap().to_string();
                assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            }
            _ => drop(lines),
        }
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{end}: {output:?}");
    }
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
    for command in ["tron", "troff", "status", "ls", "tree", "metrics", "wait", "watch", "why", "alert"] {
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
