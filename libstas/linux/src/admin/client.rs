//! Asks stas-admin to execute a command. The threads of all controllers share one connection.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::device;
use super::wire::{self, Answer, Failure, Request, Task};
use crate::{Roots, activated, lock, thread};
use stas_core::{AdminError, CtrlRef, OsError};
use stas_nvme::admin::CommandError;

/// Time limit for an answer. The kernel ends a command after 60 s, unless the controller is reconnecting. After this time
/// stas-admin is considered hanging.
const ANSWER: Duration = Duration::from_secs(600);
/// Time limit for writing a request.
const WRITE: Duration = Duration::from_secs(5);
/// Maximum number of times that a command is sent. stas-admin may have ended before it read the command.
const TRIES: u32 = 2;

/// Client of stas-admin.
#[derive(Debug)]
pub(super) struct Client {
    roots: Roots,
    socket: Option<PathBuf>,
    link: Mutex<Option<Arc<Link>>>,
    answer: Duration,
}

impl Client {
    pub(super) fn new(roots: Roots, socket: Option<PathBuf>) -> Self {
        Self { roots, socket, link: Mutex::default(), answer: ANSWER }
    }

    /// Starts the program ahead of time.
    pub(super) fn warm_up(&self) {
        // An error is reported by the first command.
        let _ = self.link();
    }

    /// Executes a command. `data` is sent to the controller. Returns the controller's data.
    pub(super) fn execute(&self, ctrl: CtrlRef, task: Task, data: &[u8]) -> Result<Vec<u8>, AdminError> {
        let failed = |text: String| AdminError::Device(ctrl, OsError::new(text));
        for _ in 0..TRIES {
            let link = match self.link() {
                Ok(Some(link)) => link,
                Ok(None) => return self.execute_here(ctrl, task, data),
                Err(error) => return Err(failed(format!("cannot connect to stas-admin: {error}"))),
            };
            match link.ask(ctrl, task, data, self.answer) {
                Ok(result) => return result.map_err(|failure| failure.of(ctrl)),
                Err(Lost::Silent) => {
                    self.give_up(&link);
                    return Err(failed("stas-admin does not answer".to_owned()));
                }
                Err(Lost::Ended) => self.give_up(&link),
            }
        }
        Err(failed("stas-admin has ended or gave no valid answer, twice (see `journalctl -t stas-admin`)".to_owned()))
    }

    /// Executes a command in this process, which may lack the capability.
    fn execute_here(&self, ctrl: CtrlRef, task: Task, data: &[u8]) -> Result<Vec<u8>, AdminError> {
        let hint = "stas-admin.socket is not active (systemctl start stas-admin.socket)";
        device::execute(&self.roots, ctrl, task, data).map_err(|error| match error {
            error if self.socket.is_none() => error,
            AdminError::Command(CommandError::Host(text)) => CommandError::Host(format!("{text}; {hint}")).into(),
            AdminError::Device(ctrl, error) => AdminError::Device(ctrl, OsError::new(format!("{error}; {hint}"))),
            error => error,
        })
    }

    /// The connection, which is made if there is none. `None` if systemd does not listen.
    fn link(&self) -> io::Result<Option<Arc<Link>>> {
        let mut current = lock(&self.link);
        if current.as_ref().is_none_or(|link| link.has_ended()) {
            *current = activated::connect(self.socket.as_deref())?.map(Link::start).transpose()?;
        }
        Ok(current.clone())
    }

    /// Closes the connection, so that stas-admin ends. The commands of other threads are sent again.
    fn give_up(&self, link: &Arc<Link>) {
        link.end();
        let mut current = lock(&self.link);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            *current = None;
        }
    }
}

/// Why a connection gave no answer.
enum Lost {
    /// The connection has ended.
    Ended,
    /// There was no answer in time.
    Silent,
}

/// The controller's data, or why there are none.
type Arrived = Result<Vec<u8>, Failure>;

/// A connection to stas-admin.
#[derive(Debug)]
struct Link {
    stream: UnixStream,
    /// The number of the next request. Locked while a request is written.
    next_id: Mutex<u64>,
    /// The requests without an answer. `None` after the end of the connection.
    waiting: Mutex<Option<HashMap<u64, mpsc::Sender<Arrived>>>>,
}

impl Link {
    /// Starts a thread that reads the answers.
    fn start(stream: UnixStream) -> io::Result<Arc<Self>> {
        stream.set_write_timeout(Some(WRITE))?;
        let answers = stream.try_clone()?;
        let link = Arc::new(Self { stream, next_id: Mutex::default(), waiting: Mutex::new(Some(HashMap::new())) });
        let own = link.clone();
        thread::spawn("admin-answers", move || {
            own.receive(answers);
            own.end();
        })?;
        Ok(link)
    }

    fn receive(&self, answers: UnixStream) {
        let mut answers = BufReader::new(answers);
        while let Ok(Some((Answer { id, error }, data))) = wire::read(&mut answers) {
            let Some(asked) = lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&id)) else { return };
            // The thread that asked may have given up.
            let _ = asked.send(error.map_or(Ok(data), Err));
        }
    }

    fn has_ended(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    /// Ends the connection. The threads that wait for an answer get [`Lost::Ended`].
    fn end(&self) {
        *lock(&self.waiting) = None;
        // Fails if the other side has closed it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn ask(&self, ctrl: CtrlRef, task: Task, data: &[u8], limit: Duration) -> Result<Arrived, Lost> {
        let (sender, answer) = mpsc::channel();
        {
            let mut next_id = lock(&self.next_id);
            let id = *next_id;
            *next_id += 1;
            lock(&self.waiting).as_mut().ok_or(Lost::Ended)?.insert(id, sender);
            let request = Request { id, ctrl, task };
            wire::write(&mut &self.stream, &request, data).map_err(|_| Lost::Ended)?;
        }
        match answer.recv_timeout(limit) {
            Ok(Ok(data)) if data.len() != task.answer_len() => Err(Lost::Ended),
            Ok(arrived) => Ok(arrived),
            Err(RecvTimeoutError::Timeout) => Err(Lost::Silent),
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Ended),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::super::program::serve;
    use super::super::tests::with_device;
    use super::*;
    use crate::fake_tree::FakeTree;

    const IDENTIFY: Task = Task::Identify {};

    /// A client, and the socket that it connects to.
    fn client(tree: &FakeTree) -> (Client, UnixListener) {
        let socket = tree.path("run/admin.socket");
        let listener = UnixListener::bind(&socket).unwrap();
        (Client::new(tree.roots(), Some(socket)), listener)
    }

    /// Reads the next request of a connection.
    fn request(stream: &mut impl BufRead) -> Request {
        wire::read::<Request>(stream).unwrap().unwrap().0
    }

    fn answer(stream: &UnixStream, id: u64, data: &[u8]) {
        wire::write(&mut &*stream, &Answer { id, error: None }, data).unwrap();
    }

    #[test]
    fn the_program_executes_what_the_client_asks_for_until_the_client_is_gone() {
        let tree = FakeTree::new();
        let ctrl = with_device(&tree);
        let gone = CtrlRef { device: 8, inode: 1 };
        let (client, listener) = client(&tree);
        client.warm_up();
        let (stream, _) = listener.accept().unwrap();
        let roots = tree.roots();
        let program = std::thread::spawn(move || serve(stream.try_clone().unwrap(), stream, &roots));
        let error = client.execute(ctrl, IDENTIFY, &[]).unwrap_err();
        assert!(matches!(&error, AdminError::Command(CommandError::Host(text)) if text.contains("ioctl")), "{error}");
        assert_eq!(client.execute(gone, IDENTIFY, &[]), Err(AdminError::Gone(gone)));
        tree.set(ctrl, "state", "connecting");
        assert!(matches!(client.execute(ctrl, IDENTIFY, &[]), Err(AdminError::NotLive(..))));
        // All of that on one connection.
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        lock(&client.link).take().unwrap().end();
        program.join().unwrap().unwrap();
    }

    #[test]
    fn a_program_that_gets_another_request_ends() {
        for bytes in ["\0\0\0\u{1}\0\0\0\0{", "GET / HTTP/1.1\r\n\r\n"] {
            serve(bytes.as_bytes(), io::sink(), &Roots::default()).unwrap_err();
        }
        let smart = Task::GetLogPage { lid: 0x02, lsp: 0, offset: 0, len: 512 };
        let mut bytes = Vec::new();
        wire::write(&mut bytes, &Request { id: 0, ctrl: CtrlRef { device: 0, inode: 0 }, task: smart }, &[]).unwrap();
        let error = serve(bytes.as_slice(), io::sink(), &Roots::default()).unwrap_err();
        assert!(error.to_string().ends_with("is not permitted"), "{error}");
    }

    #[test]
    fn answers_may_come_in_any_order() {
        let tree = FakeTree::new();
        let (client, listener) = client(&tree);
        let ask = |device| client.execute(CtrlRef { device, inode: 0 }, IDENTIFY, &[]).unwrap();
        std::thread::scope(|scope| {
            let asked = [0, 1, 2].map(|device| scope.spawn(move || ask(device)));
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let requests = [(); 3].map(|()| request(&mut reader));
            for Request { id, ctrl, .. } in requests.into_iter().rev() {
                answer(&stream, id, &[u8::try_from(ctrl.device).unwrap(); 4096]);
            }
            for (device, asked) in (0..).zip(asked) {
                assert_eq!(asked.join().unwrap(), [device; 4096]);
            }
        });
    }

    /// Plays a program that ends after `before`, and another one that answers.
    fn after_a_loss(before: impl FnOnce(UnixStream) + Send) -> Result<Vec<u8>, AdminError> {
        let tree = FakeTree::new();
        let (client, listener) = client(&tree);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                before(listener.accept().unwrap().0);
                let (stream, _) = listener.accept().unwrap();
                let Request { id, .. } = request(&mut BufReader::new(&stream));
                answer(&stream, id, &[7; 4096]);
            });
            client.execute(CtrlRef { device: 0, inode: 0 }, IDENTIFY, &[])
        })
    }

    #[test]
    fn a_command_that_is_lost_with_the_program_is_sent_again() {
        let ends = |stream: UnixStream| assert_eq!(request(&mut BufReader::new(&stream)).task, IDENTIFY);
        let never_reads = drop::<UnixStream>;
        let too_short = |stream: UnixStream| {
            let id = request(&mut BufReader::new(&stream)).id;
            answer(&stream, id, &[0; 4095]);
        };
        let unasked = |stream: UnixStream| {
            let id = request(&mut BufReader::new(&stream)).id;
            answer(&stream, id + 1, &[0; 4096]);
        };
        let garbage = |stream: UnixStream| {
            let _ = request(&mut BufReader::new(&stream));
            io::Write::write_all(&mut &stream, &[0xff; 64]).unwrap();
        };
        for result in [
            after_a_loss(ends),
            after_a_loss(never_reads),
            after_a_loss(too_short),
            after_a_loss(unasked),
            after_a_loss(garbage),
        ] {
            assert_eq!(result, Ok(vec![7; 4096]));
        }
    }

    #[test]
    fn a_program_that_ends_again_and_again_is_an_error() {
        let tree = FakeTree::new();
        let (client, listener) = client(&tree);
        let ctrl = CtrlRef { device: 0, inode: 0 };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..TRIES).for_each(|_| drop(listener.accept().unwrap())));
            let error = client.execute(ctrl, IDENTIFY, &[]).unwrap_err();
            assert!(error.to_string().contains("stas-admin has ended"), "{error}");
        });
    }

    #[test]
    fn a_program_that_hangs_is_given_up_and_the_next_command_starts_another_one() {
        let tree = FakeTree::new();
        let (mut client, listener) = client(&tree);
        client.answer = Duration::from_millis(1);
        let ctrl = CtrlRef { device: 0, inode: 0 };
        let error = client.execute(ctrl, IDENTIFY, &[]).unwrap_err();
        assert!(error.to_string().contains("stas-admin does not answer"), "{error}");
        let (mut hanging, _) = listener.accept().unwrap();
        io::copy(&mut hanging, &mut io::sink()).unwrap(); // until the client has closed it
        client.warm_up();
        listener.accept().unwrap();
    }

    #[test]
    fn without_the_socket_the_client_itself_executes_and_says_what_is_missing() {
        let tree = FakeTree::new();
        let ctrl = with_device(&tree);
        for (socket, has_hint) in [(None, false), (Some(tree.path("run/nothing.socket")), true)] {
            let client = Client::new(tree.roots(), socket);
            client.warm_up();
            let error = client.execute(ctrl, IDENTIFY, &[]).unwrap_err().to_string();
            assert!(error.contains("ioctl"), "{error}");
            assert_eq!(error.contains("systemctl start stas-admin.socket"), has_hint, "{error}");
        }
        std::fs::remove_file(tree.path("dev/nvme0")).unwrap();
        std::os::unix::fs::symlink("nvme0", tree.path("dev/nvme0")).unwrap();
        let client = Client::new(tree.roots(), Some(tree.path("run/nothing.socket")));
        let error = client.execute(ctrl, IDENTIFY, &[]).unwrap_err().to_string();
        assert!(error.starts_with("cannot talk to nvme0: Too many levels"), "{error}");
        assert!(error.ends_with("(systemctl start stas-admin.socket)"), "{error}");
        let file = Client::new(tree.roots(), Some("/x".repeat(200).into()));
        let error = file.execute(ctrl, IDENTIFY, &[]).unwrap_err().to_string();
        assert!(error.contains("cannot connect to stas-admin"), "{error}");
    }
}
