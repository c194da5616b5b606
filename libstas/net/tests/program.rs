//! The program stas-net as systemd starts it: one process for each connection, which is its standard input.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stas_core::browse::{BrowseCommand, BrowseEvent};
use stas_core::{Portal, ProbeFailure, ProbeOutcome};
use stas_net::browser::Browser;
use stas_net::client::NetClient;
use stas_net::wire::{Record, Request, Role};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// How long a test waits for what is to happen.
const SOON: Duration = Duration::from_secs(30);

/// Plays systemd: Accept=yes.
struct Socket {
    dir: TempDir,
    processes: Arc<Mutex<Vec<Child>>>,
}

impl Socket {
    fn listen() -> Self {
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join("net")).unwrap();
        let processes = Arc::<Mutex<Vec<Child>>>::default();
        let started = processes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                started.lock().unwrap().push(start(stream.unwrap()));
            }
        });
        Self { dir, processes }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("net")
    }

    /// Kills all processes. Returns how many were still running.
    fn kill(&self) -> usize {
        let mut processes = self.processes.lock().unwrap();
        let running = processes.iter_mut().filter_map(|child| child.try_wait().unwrap().is_none().then_some(child));
        running.map(|child| child.kill().unwrap()).count()
    }

    fn started(&self) -> usize {
        self.processes.lock().unwrap().len()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.kill();
        for child in self.processes.lock().unwrap().iter_mut() {
            child.wait().unwrap();
        }
    }
}

fn start(stream: UnixStream) -> Child {
    let stdin = Stdio::from(OwnedFd::from(stream));
    Command::new(env!("CARGO_BIN_EXE_stas-net")).stdin(stdin).stdout(Stdio::null()).spawn().unwrap()
}

/// Waits for the end of a process.
fn ended(child: &mut Child) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it does not end");
}

async fn resolve(client: &NetClient, name: &str) -> Result<Vec<std::net::IpAddr>, String> {
    let (sender, answer) = oneshot::channel();
    client.resolve(name.to_owned(), move |result| drop(sender.send(result)));
    answer.await.unwrap().map_err(|error| error.to_string())
}

/// Accepts a connection and answers its ICReq with ICResp (NVMe/TCP Transport 1.0c, 3.6.2.2 and 3.6.2.3). The process
/// that probes may be killed meanwhile.
fn answer_icreq(listener: &std::net::TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut icresp = [0; 128];
    icresp[..5].copy_from_slice(&[1, 0, 128, 0, 128]);
    let answered = stream.read_exact(&mut [0; 128]).and_then(|()| stream.write_all(&icresp));
    let closed = answered.and_then(|()| stream.read(&mut [0]));
    drop(closed);
}

async fn probe(client: &NetClient, port: u16) -> ProbeOutcome {
    let (sender, answer) = oneshot::channel();
    let portal = Portal {
        traddr: "127.0.0.1".into(),
        trsvcid: port.to_string(),
        host_traddr: "127.0.0.1".into(),
        host_iface: "lo".into(),
    };
    client.probe(portal, move |outcome| drop(sender.send(outcome)));
    answer.await.unwrap()
}

#[tokio::test]
async fn names_are_resolved_and_portals_are_probed() {
    let socket = Socket::listen();
    let client = NetClient::start(socket.path());
    assert_eq!(resolve(&client, "192.0.2.1").await, Ok(vec!["192.0.2.1".parse().unwrap()]));
    let localhost = resolve(&client, "localhost").await.unwrap();
    assert!(localhost.iter().all(|address| address.is_loopback()), "{localhost:?}");
    let error = resolve(&client, "no-such-host.invalid").await.unwrap_err();
    // Without a name server, the resolver says that it could not look the name up.
    let expected = ["no-such-host.invalid has no address", "cannot look up no-such-host.invalid: "];
    assert!(expected.iter().any(|text| error.starts_with(text)), "{error}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = std::thread::spawn(move || answer_icreq(&listener));
    assert_eq!(probe(&client, port).await, ProbeOutcome::Alive);
    target.join().unwrap();
    assert_eq!(probe(&client, port).await, ProbeOutcome::Dead(ProbeFailure::Refused));
    assert_eq!(socket.started(), 2, "one process for names, one for probes");
}

#[tokio::test]
async fn under_repeated_kills_every_query_is_answered_and_most_with_the_truth() {
    let socket = Socket::listen();
    let client = NetClient::start(socket.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        loop {
            answer_icreq(&listener);
        }
    });
    let (mut alive, mut killed) = (0, 0);
    for round in 0..200 {
        match probe(&client, port).await {
            ProbeOutcome::Alive => alive += 1,
            ProbeOutcome::Unknown(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
        if round % 50 == 10 {
            killed += socket.kill();
        }
    }
    assert!(killed >= 2, "{killed} were killed");
    assert!(alive > 100, "{alive} of 200");
    let begin = Instant::now();
    while probe(&client, port).await != ProbeOutcome::Alive {
        assert!(begin.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn browsing_starts_anew_with_each_process() {
    let socket = Socket::listen();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let browser = Browser::start(socket.path(), move |batch| {
        let sender = sender.clone();
        async move { batch.into_iter().for_each(|event| drop(sender.send(event))) }
    });
    browser.request(BrowseCommand::Start);
    let mut next = async |wanted: fn(&BrowseEvent) -> bool| {
        let found = async { while !wanted(&heard.recv().await.unwrap()) {} };
        tokio::time::timeout(SOON, found).await.unwrap();
    };
    for _ in 0..2 {
        next(|event| *event == BrowseEvent::Restarted).await;
        assert_eq!(socket.kill(), 1);
        next(|event| *event == BrowseEvent::Interrupted).await;
    }
    next(|event| *event == BrowseEvent::Restarted).await;
}

#[test]
fn a_process_ends_with_its_connection() {
    for role in [None, Some(Role::Names), Some(Role::Probe), Some(Role::Mdns)] {
        let (ours, its) = UnixStream::pair().unwrap();
        let mut child = start(its);
        if let Some(role) = role {
            std::io::Write::write_all(&mut &ours, &Request::Role(role).frame().unwrap()).unwrap();
        }
        drop(ours);
        assert!(ended(&mut child), "{role:?}");
    }
}

#[test]
fn a_process_refuses_what_is_not_for_its_task() {
    let name = Request::Resolve { id: 1, name: "localhost".into() };
    let browse = Request::Browse(BrowseCommand::Start);
    let role = Request::Role;
    for records in [
        vec![name.clone()],
        vec![browse.clone()],
        vec![role(Role::Names), browse.clone()],
        vec![role(Role::Names), role(Role::Names)],
        vec![role(Role::Probe), name.clone()],
        vec![role(Role::Mdns), name],
    ] {
        let (ours, its) = UnixStream::pair().unwrap();
        let mut child = start(its);
        for record in &records {
            // It may have ended already.
            let _ = std::io::Write::write_all(&mut &ours, &record.frame().unwrap());
        }
        assert!(!ended(&mut child), "{records:?}");
    }
}
