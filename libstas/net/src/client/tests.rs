use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::wire::{Frames, RECORD_MAX, Record};
use log_lines::LogLines;

/// What a false stas-net does with a request.
#[derive(Clone, Debug)]
enum Act {
    /// Answers truthfully: each name has the address 192.0.2.1, each portal is alive.
    Answer,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Says nothing, and keeps the connection.
    Hang,
    /// Closes the connection.
    Die,
}

/// A false stas-net: the acts are for the requests in their order, on whichever connection; the last one repeats.
struct Program {
    dir: TempDir,
    /// The requests of all connections.
    seen: Arc<Mutex<Vec<Request>>>,
    listening: JoinHandle<()>,
}

impl Program {
    fn start(acts: &[Act]) -> Self {
        let dir = TempDir::new().unwrap();
        let seen = Arc::default();
        let listening = listen(dir.path(), acts.to_vec(), Arc::clone(&seen));
        Self { dir, seen, listening }
    }

    fn client(&self) -> NetClient {
        NetClient::start(self.dir.path().join("net"))
    }

    /// How many connections there were.
    fn connections(&self) -> usize {
        self.seen.lock().unwrap().iter().filter(|request| matches!(request, Request::Role(_))).count()
    }

    fn requests(&self) -> usize {
        let all = self.seen.lock().unwrap().len();
        all - self.connections()
    }
}

fn listen(dir: &Path, acts: Vec<Act>, seen: Arc<Mutex<Vec<Request>>>) -> JoinHandle<()> {
    let listener = UnixListener::bind(dir.join("net")).unwrap();
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, acts.clone(), seen.clone()));
        }
    })
}

async fn serve(mut stream: UnixStream, acts: Arc<Mutex<VecDeque<Act>>>, seen: Arc<Mutex<Vec<Request>>>) {
    use tokio::io::AsyncReadExt;
    let mut frames = Frames::default();
    loop {
        while let Some(request) = frames.next_record::<Request>().unwrap() {
            seen.lock().unwrap().push(request.clone());
            let report = match request {
                Request::Role(_) => continue,
                Request::Resolve { id, .. } => Report::Resolved { id, result: Ok(vec![address()]) },
                Request::Probe { id, .. } => Report::Probed { id, verdict: Verdict::Alive },
                other => panic!("{other:?}"),
            };
            let act = {
                let mut acts = acts.lock().unwrap();
                let act = acts.pop_front().unwrap();
                if acts.is_empty() {
                    acts.push_back(act.clone());
                }
                act
            };
            match act {
                Act::Answer => stream.write_all(&report.frame().unwrap()).await.unwrap(),
                Act::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
                Act::Hang => {}
                Act::Die => return,
            }
        }
        if stream.read_buf(frames.buffer()).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn portal() -> Portal {
    let (traddr, trsvcid) = ("192.0.2.1".into(), "4420".into());
    Portal { traddr, trsvcid, host_traddr: String::new(), host_iface: String::new() }
}

fn resolving(client: &NetClient) -> oneshot::Receiver<Result<Vec<IpAddr>, ResolveError>> {
    let (sender, answer) = oneshot::channel();
    client.resolve("array.example".into(), move |result| drop(sender.send(result)));
    answer
}

async fn resolve(client: &NetClient) -> Result<Vec<IpAddr>, ResolveError> {
    resolving(client).await.unwrap()
}

async fn probe(client: &NetClient) -> ProbeOutcome {
    let (sender, answer) = oneshot::channel();
    client.probe(portal(), move |outcome| drop(sender.send(outcome)));
    answer.await.unwrap()
}

fn is_unknown(outcome: &ProbeOutcome) -> bool {
    matches!(outcome, ProbeOutcome::Unknown(_))
}

#[tokio::test]
async fn each_role_has_a_process_of_its_own_that_answers_many_queries() {
    let program = Program::start(&[Act::Answer]);
    let client = program.client();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(program.connections(), 0, "none is started before it is needed");
    for _ in 0..3 {
        assert_eq!(resolve(&client).await, Ok(vec![address()]));
        assert_eq!(probe(&client).await, ProbeOutcome::Alive);
    }
    assert_eq!((program.connections(), program.requests()), (2, 6));
}

#[tokio::test]
async fn a_process_that_is_started_ahead_of_time_answers_the_probes() {
    let program = Program::start(&[Act::Answer]);
    let client = program.client();
    client.warm_up_probes();
    while program.connections() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.warm_up_probes();
    assert_eq!(probe(&client).await, ProbeOutcome::Alive);
    assert_eq!((program.connections(), program.requests()), (1, 1));
}

#[tokio::test]
async fn without_stas_net_each_query_is_answered_at_once_and_that_is_logged_once() {
    let log = LogLines::start();
    let dir = TempDir::new().unwrap();
    let client = NetClient::start(dir.path().join("net"));
    for _ in 0..3 {
        let error = resolve(&client).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot look up array.example: stas-net "), "{error}");
        assert!(is_unknown(&probe(&client).await));
    }
    let said = log.text();
    assert_eq!(said.matches("no host names at present").count(), 1, "{said}");
    assert_eq!(said.matches("no probes at present").count(), 1, "{said}");
    assert!(said.contains("systemctl status stas-net.socket"), "{said}");

    // As soon as it can be reached, it answers.
    let seen = Arc::default();
    let _listening = listen(dir.path(), vec![Act::Answer], Arc::clone(&seen));
    while resolve(&client).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while is_unknown(&probe(&client).await) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_query_that_is_lost_with_its_process_is_asked_once_more() {
    let program = Program::start(&[Act::Die, Act::Answer]);
    let client = program.client();
    assert_eq!(resolve(&client).await, Ok(vec![address()]));
    assert_eq!((program.connections(), program.requests()), (2, 2));
}

#[tokio::test]
async fn a_query_that_ends_the_process_each_time_is_not_asked_for_ever() {
    let program = Program::start(&[Act::Die]);
    let client = program.client();
    assert!(resolve(&client).await.is_err());
    assert_eq!(program.requests(), 2);
}

/// A process that lies cannot do more than one that is absent.
#[tokio::test]
async fn whatever_stas_net_sends_instead_of_an_answer_ends_the_connection_and_every_query_is_answered() {
    let frame = |report: Report| report.frame().unwrap();
    let unasked = frame(Report::Resolved { id: 77, result: Ok(vec![address()]) });
    let other_kind = frame(Report::Probed { id: 1, verdict: Verdict::Alive });
    let other_role = frame(Report::Mdns(Vec::new()));
    let too_long = u32::try_from(RECORD_MAX + 1).unwrap().to_be_bytes().to_vec();
    let nonsense = [&8_u32.to_be_bytes()[..], b"nonsense"].concat();
    for bytes in [unasked, other_kind, other_role, too_long, nonsense, vec![0xff; 100]] {
        let log = LogLines::start();
        let program = Program::start(&[Act::Send(bytes.clone()), Act::Send(bytes.clone()), Act::Answer]);
        let client = program.client();
        assert!(resolve(&client).await.is_err(), "{bytes:?}");
        assert_eq!(program.connections(), 2, "{bytes:?}");
        assert_eq!(log.text().matches("no host names at present").count(), 1, "{}", log.text());
        while resolve(&client).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Paused time: time limits take no time.
#[tokio::test(start_paused = true)]
async fn a_process_that_hangs_is_left_and_its_queries_are_answered() {
    let program = Program::start(&[Act::Hang]);
    let client = program.client();
    assert!(is_unknown(&probe(&client).await));
    assert_eq!((program.connections(), program.requests()), (2, 2));
}

#[tokio::test]
async fn queries_beyond_the_bounds_are_answered_too() {
    let program = Program::start(&[Act::Hang]);
    let client = program.client();
    let mut answers: Vec<_> = (0..2 * UNSENT + 2 * UNANSWERED).map(|_| resolving(&client)).collect();
    let refused = answers.last_mut().unwrap().await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("too many requests"), "{refused}");
    while program.requests() < UNANSWERED {
        tokio::task::yield_now().await;
    }
    assert_eq!(program.requests(), UNANSWERED, "stas-net has no more to do at a time");
    program.listening.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_is_let_go_and_another_one_is_started_when_needed() {
    let log = LogLines::start();
    let program = Program::start(&[Act::Answer]);
    let client = program.client();
    assert_eq!(probe(&client).await, ProbeOutcome::Alive);
    tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
    assert_eq!(probe(&client).await, ProbeOutcome::Alive);
    assert_eq!(program.connections(), 2);
    assert_eq!(log.text(), "", "this is nothing to report");
}

#[tokio::test]
async fn addresses_are_of_single_hosts_in_one_form_and_each_comes_once() {
    let all = ["::ffff:192.0.2.1", "192.0.2.1", "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255", "::1"];
    let addresses = all.map(|address| address.parse().unwrap()).to_vec();
    let expected = vec![address(), "::1".parse().unwrap()];
    assert_eq!(unique("array", addresses), Ok(expected));
    let none = unique("array", vec!["0.0.0.0".parse().unwrap()]).unwrap_err();
    assert_eq!(none, ResolveError::NoAddress("array".into()));
}
