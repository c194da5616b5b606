//! The program as users run it: sockets, signals, `cdcsim ctl`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running simulator, stopped at the end of the test.
struct Simulator {
    child: Child,
    folder: TempDir,
    places: Vec<SocketAddr>,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdcsim"));
        command.arg("--control").arg(folder.path().join("socket")).arg("run").args(arguments);
        command.stdout(Stdio::piped()).stderr(fs::File::create(folder.path().join("log")).unwrap());
        let mut child = command.spawn().unwrap();
        let listeners = arguments.iter().filter(|argument| argument.starts_with("--listen")).count();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.take(listeners).map(|line| line.unwrap());
        let places = said.map(|line| line.strip_prefix("listening on ").unwrap().parse().unwrap()).collect();
        let simulator = Self { child, folder, places };
        simulator.wait("its control socket", || simulator.control().exists());
        simulator
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its output on standard error.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cdcsim"));
        command.arg("--control").arg(self.control()).arg("ctl").args(arguments).output().unwrap()
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[&["--output", "json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Connects, and initializes the connection.
    fn connect(&self, place: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = [0; 128];
        request[..8].copy_from_slice(&[0, 0, 128, 0, 128, 0, 0, 0]);
        stream.write_all(&request).unwrap();
        let mut response = [0; 128];
        stream.read_exact(&mut response).unwrap();
        assert_eq!(response[..8], [1, 0, 128, 0, 128, 0, 0, 0]);
        stream
    }

    fn wait(&self, what: &str, until: impl Fn() -> bool) {
        let begin = Instant::now();
        while !until() {
            assert!(begin.elapsed() < PATIENCE, "{what} does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_both_families_and_shows_who_is_there() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0", "--listen=[::1]:0"]);
    let streams: Vec<TcpStream> = simulator.places.iter().map(|place| simulator.connect(*place)).collect();
    let shown = simulator.ask(&["connections"]);
    let local: Vec<&str> = shown.as_array().unwrap().iter().map(|each| each["local"].as_str().unwrap()).collect();
    assert_eq!(local, simulator.places.iter().map(ToString::to_string).collect::<Vec<_>>());
    drop(streams);
    simulator.wait("the end of both", || simulator.ask(&["connections"]).as_array().unwrap().is_empty());
}

#[test]
fn it_vanishes_and_comes_back_at_the_same_place() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let place = simulator.places[0];
    let mut stream = simulator.connect(place);
    simulator.ask(&["vanish", "1"]);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(TcpStream::connect(place).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    simulator.wait("its return", || TcpStream::connect(place).is_ok());
    simulator.connect(place);
}

#[test]
fn it_comes_back_when_another_program_lets_go_of_its_place() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let place = simulator.places[0];
    simulator.ask(&["vanish", "1"]);
    let other = TcpListener::bind(place).unwrap();
    simulator.wait("its complaint", || simulator.log().contains(&format!("cannot listen on {place}: Address already")));
    drop(other);
    simulator.wait("its return", || TcpStream::connect(place).is_ok());
    simulator.connect(place);
}

#[test]
fn a_place_that_is_taken_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = other.local_addr().unwrap();
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdcsim"));
    command.arg("--control").arg(folder.path().join("socket")).arg("run").arg(format!("--listen={place}"));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("cdcsim: listening on {place}: Address already in use")), "{said}");
    assert!(!folder.path().join("socket").exists());
}

#[test]
fn one_that_is_announced_says_goodbye_and_ends() {
    let mut simulator = Simulator::start(&["--listen=127.0.0.1:0", "--announce=cdc of a test"]);
    assert!(simulator.ctl(&["stop"]).status.success());
    assert!(simulator.child.wait().unwrap().success());
    assert!(!simulator.control().exists());
    assert_eq!(simulator.log(), "");
}

#[test]
fn a_host_that_breaks_the_protocol_gets_the_reason_and_is_disconnected() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let mut stream = simulator.connect(simulator.places[0]);
    let mut again = [0; 128];
    again[..8].copy_from_slice(&[0, 0, 128, 0, 128, 0, 0, 0]);
    stream.write_all(&again).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!((answer[0], answer[8]), (3, 2), "C2HTermReq: a PDU that must not come now");
    simulator.wait("its end", || simulator.ask(&["connections"]).as_array().unwrap().is_empty());
}

#[test]
fn a_person_sees_what_is_there_and_nothing_that_is_not() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0", "--nqn=nqn.2014-08.org.example:cdc"]);
    let file = simulator.folder.path().join("zones.conf");
    let text = "[member.disk]\nnqn = 'klingons'\naddresses = ['192.0.2.1:4420']\n[zone.all]\nhosts = ['*']\nmembers = ['disk']\n";
    fs::write(&file, text).unwrap();
    let said = |arguments: &[&str]| {
        let output = simulator.ctl(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["load", file.to_str().unwrap()]), "");
    assert_eq!(said(&["connections"]), "");
    let expected = "\
listens: true
members:
  disk:
    addresses:
      192.0.2.1:4420
    epcsd: false
    kind: nvme
    ncc: false
    nqn: klingons
    port: 1
    tls: false
nqn: nqn.2014-08.org.example:cdc
type: cdc
zones:
  all:
    hosts:
      *
    members:
      disk
";
    assert_eq!(said(&["show"]), expected);
    assert_eq!(said(&["zone", "add", "none"]), "");
    assert_eq!(said(&["show"]), format!("{expected}  none:\n"));
    let page = said(&["page", "nqn.host"]);
    assert!(page.starts_with("adrfam: ipv4\n") && page.contains("\nsubnqn: klingons\n"), "{page}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_changes_nothing() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    simulator.ask(&["add", "disk", "--nqn", "klingons", "--address", "192.0.2.1:4420"]);
    let before = simulator.ask(&["show"]);
    let output = simulator.ctl(&["load", "/nonexistent/zones.conf"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nonexistent/zones.conf") && said.contains("No such file"), "{said}");
    assert_eq!(simulator.ask(&["show"]), before);
}

#[test]
fn requests_are_answered_line_by_line() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let mut stream = std::os::unix::net::UnixStream::connect(simulator.control()).unwrap();
    stream
        .write_all(
            b"{\"command\": \"hosts\"}\nnonsense\n{\"command\": \"set\", \"what\": {\"cntlid\": {\"cntlid\": 7}}}\n",
        )
        .unwrap();
    let mut answers = BufReader::new(stream).lines().map(|line| line.unwrap());
    assert_eq!(answers.next().unwrap(), r#"{"ok":[]}"#);
    assert!(answers.next().unwrap().starts_with(r#"{"error":"this is not a request"#));
    assert_eq!(answers.next().unwrap(), r#"{"ok":null}"#);
}

#[test]
fn what_is_refused_is_said_and_is_a_failure() {
    let simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let output = simulator.ctl(&["zone", "add", "all", "--member", "nobody"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "cdcsim: there is no member nobody; there are: none\n");
}

#[test]
fn a_second_one_does_not_take_the_control_socket_away() {
    let mut simulator = Simulator::start(&["--listen=127.0.0.1:0"]);
    let mut second = Command::new(env!("CARGO_BIN_EXE_cdcsim"));
    second.arg("--control").arg(simulator.control()).args(["run", "--listen=127.0.0.1:0"]);
    let output = second.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("a simulator uses it already"));
    // A killed simulator leaves its socket behind, which the next one replaces.
    simulator.child.kill().unwrap();
    simulator.child.wait().unwrap();
    assert!(simulator.control().exists());
    let mut third = second.stdout(Stdio::piped()).spawn().unwrap();
    simulator.wait("the third", || simulator.ctl(&["show"]).status.success());
    assert!(simulator.ctl(&["stop"]).status.success());
    assert!(third.wait().unwrap().success());
    assert!(!simulator.control().exists());
}

#[test]
fn a_file_that_is_wrong_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("zones.conf");
    fs::write(&file, "[zone.a]\nmembers = ['b']\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdcsim"));
    let output = command.arg("run").arg(&file).output().unwrap();
    assert!(!output.status.success());
    let expected = format!("cdcsim: {}: there is no member b; there are: none\n", file.display());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}
