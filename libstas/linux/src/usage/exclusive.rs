//! Opens a block device exclusively for a moment: the last new check before a disconnect. It is never made
//! periodically.
//!
//! A mount, an assembled volume or a process that opens a disk exclusively claims the block device, in any mount
//! namespace. The exclusive open then fails with EBUSY and disturbs nothing. An open that succeeds makes a simultaneous
//! mount fail, so the disconnect must follow immediately.
//!
//! Another path of a dm-multipath device is not opened exclusively, but read, at each check: the kernel does not show
//! whether it can carry I/O.
//!
//! The daemon itself is not allowed to open block devices. The program stas-in-use is allowed to do only this; systemd
//! starts one for each connection to [`SOCKET`]. It reads lines such as `nvme0n1 259:3` (open exclusively) and `nvme1n1
//! 259:4 read` (read the beginning) and answers each with one word. It is kept running while the daemon has I/O
//! controllers, because starting a unit takes longer than all other checks together.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

use crate::{activated, lock, thread};

/// The socket on which systemd starts stas-in-use.
pub const SOCKET: &str = "/run/nvme-stas/in-use.socket";

/// Time limit of an open. A longer open is considered hanging.
const LIMIT: Duration = Duration::from_secs(2);
/// Time limit for an answer. The program may have to be started first.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest line of the protocol in bytes.
const LINE: u64 = 256;

/// Number of bytes that are read from a device, and the alignment of the buffer. The kernel supports no larger logical
/// blocks.
const BLOCK: usize = 65_536;

/// What to do with a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Open it exclusively, and close it.
    Exclusive,
    /// Read its first bytes, past the page cache.
    Read,
}

/// Result of an exclusive open or of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It succeeded, and the device was closed again.
    Free,
    /// The device is held exclusively.
    Busy,
    /// The device no longer exists.
    Gone,
    /// It did not return in time.
    Hangs,
    /// It could not be tried, or the read failed. Contains the reason.
    Failed(String),
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Busy => f.write_str("busy"),
            Self::Gone => f.write_str("gone"),
            Self::Hangs => f.write_str("hangs"),
            Self::Failed(reason) => write!(f, "failed {reason}"),
        }
    }
}

impl Opened {
    /// Parses an answer. An unknown word is a failure.
    fn parse(line: &str) -> Self {
        match line {
            "free" => Self::Free,
            "busy" => Self::Busy,
            "gone" => Self::Gone,
            "hangs" => Self::Hangs,
            _ => Self::Failed(line.strip_prefix("failed ").unwrap_or("stas-in-use gave no answer").to_owned()),
        }
    }
}

/// Client of stas-in-use.
#[derive(Debug)]
pub(super) struct Opener {
    socket: Option<PathBuf>,
    stream: Mutex<Option<BufReader<UnixStream>>>,
    /// Opens devices if there is no socket: the daemon was not started by systemd.
    own: Devices,
}

impl Opener {
    pub(super) fn new(socket: Option<PathBuf>, dev: PathBuf) -> Self {
        Self { socket, stream: Mutex::default(), own: Devices::new(dev) }
    }

    /// Starts the program ahead of time.
    pub(super) fn warm_up(&self) {
        let mut stream = lock(&self.stream);
        if stream.as_ref().is_none_or(is_closed) {
            *stream = self.connect().ok().flatten();
        }
    }

    /// Opens a block device exclusively, or reads it, and closes it. `number` is its `major:minor`.
    pub(super) fn open(&self, name: &str, number: &str, how: How) -> Opened {
        let mut stream = lock(&self.stream);
        if let Some(answer) = stream.as_mut().and_then(|stream| ask(stream, name, number, how).ok()) {
            return answer;
        }
        // The program was never started or has ended: start it.
        *stream = None;
        match self.connect() {
            Ok(None) => self.own.open(name, number, how),
            Err(error) => Opened::Failed(format!("cannot connect to stas-in-use: {error}")),
            Ok(Some(mut fresh)) => match ask(&mut fresh, name, number, how) {
                Ok(answer) => {
                    *stream = Some(fresh);
                    answer
                }
                Err(error) => Opened::Failed(format!("stas-in-use does not answer: {error}")),
            },
        }
    }

    /// `None` if systemd does not listen.
    fn connect(&self) -> io::Result<Option<BufReader<UnixStream>>> {
        let Some(stream) = activated::connect(self.socket.as_deref())? else { return Ok(None) };
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Some(BufReader::new(stream)))
    }
}

/// True if the program has ended. It sends nothing without a request, so there is nothing to read.
fn is_closed(stream: &BufReader<UnixStream>) -> bool {
    let socket = stream.get_ref();
    let read = socket.set_nonblocking(true).and_then(|()| (&mut &*socket).read(&mut [0; 1]));
    let is_open = matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    !(is_open && socket.set_nonblocking(false).is_ok())
}

fn ask(stream: &mut BufReader<UnixStream>, name: &str, number: &str, how: How) -> io::Result<Opened> {
    let question = match how {
        How::Exclusive => format!("{name} {number}\n"),
        How::Read => format!("{name} {number} read\n"),
    };
    stream.get_mut().write_all(question.as_bytes())?;
    match line(stream)? {
        Some(answer) => Ok(Opened::parse(&answer)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads the next line of limited length. `None` at the end.
fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.take(LINE).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some(line.to_owned())),
        None if length == 0 => Ok(None),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a line has no end")),
    }
}

/// The program stas-in-use: answers each line of `questions` until the end of input.
///
/// # Errors
/// Fails if a line is too long or not text, or the daemon has closed the connection.
pub fn serve(questions: impl Read, mut answers: impl Write, dev: &Path) -> io::Result<()> {
    let devices = Devices::new(dev.to_owned());
    let mut questions = BufReader::new(questions);
    while let Some(question) = line(&mut questions)? {
        let answer = match question.split_once(' ') {
            Some((name, number)) => match number.strip_suffix(" read") {
                Some(number) => devices.open(name, number, How::Read),
                None => devices.open(name, number, How::Exclusive),
            },
            None => Opened::Failed("the question has no device number".to_owned()),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

/// The device nodes, and the opens that hang.
#[derive(Debug)]
struct Devices {
    dev: PathBuf,
    hanging: Arc<Mutex<BTreeSet<String>>>,
}

impl Devices {
    fn new(dev: PathBuf) -> Self {
        Self { dev, hanging: Arc::default() }
    }

    /// Opens the device on its own thread. A thread that hangs is abandoned; there is at most one for each device.
    fn open(&self, name: &str, number: &str, how: How) -> Opened {
        if !is_device_name(name) {
            return Opened::Failed(format!("{name:?} is no block device"));
        }
        if !lock(&self.hanging).insert(name.to_owned()) {
            return Opened::Hangs;
        }
        let (sender, answer) = mpsc::channel();
        let (hanging, node) = (self.hanging.clone(), self.dev.join(name));
        let (own_name, number) = (name.to_owned(), number.to_owned());
        let started = thread::spawn("exclusive", move || {
            let opened = open(&node, &number, how);
            lock(&hanging).remove(&own_name);
            // After the time limit there is no receiver any more.
            let _ = sender.send(opened);
        });
        if let Err(error) = started {
            lock(&self.hanging).remove(name);
            return Opened::Failed(format!("no thread can be started: {error}"));
        }
        answer.recv_timeout(LIMIT).unwrap_or(Opened::Hangs)
    }
}

/// True for a kernel name of a block device. It cannot lead outside /dev.
fn is_device_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn open(node: &Path, number: &str, how: How) -> Opened {
    let flags = match how {
        How::Exclusive => OFlag::O_EXCL,
        How::Read => OFlag::O_DIRECT,
    };
    let opened = File::options().read(true).custom_flags((flags | OFlag::O_NOFOLLOW).bits()).open(node);
    match opened.and_then(|file| Ok((file.metadata()?, file))) {
        Ok((found, file)) if is_block_device(&found, number) => match how {
            How::Exclusive => Opened::Free,
            How::Read => match read_block(&file) {
                Ok(()) => Opened::Free,
                Err(error) => Opened::Failed(format!("cannot read {}: {error}", node.display())),
            },
        },
        Ok(_) => Opened::Failed(format!("{} is not the block device {number}", node.display())),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBUSY) => Opened::Busy,
            Some(Errno::ENXIO | Errno::ENODEV) => Opened::Gone,
            _ => Opened::Failed(format!("cannot open {}: {error}", node.display())),
        },
    }
}

/// Reads the first bytes of the device. The kernel requires an aligned buffer.
fn read_block(file: &File) -> io::Result<()> {
    let mut buffer = vec![0; 2 * BLOCK];
    let start = buffer.as_ptr().align_offset(BLOCK);
    let aligned = buffer.get_mut(start..).and_then(|rest| rest.get_mut(..BLOCK)).ok_or(io::ErrorKind::OutOfMemory)?;
    match file.read_at(aligned, 0)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn is_block_device(found: &fs::Metadata, number: &str) -> bool {
    found.file_type().is_block_device() && format!("{}:{}", major(found.rdev()), minor(found.rdev())) == number
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn answers(questions: &str, dev: &Path) -> Vec<Opened> {
        let mut said = Vec::new();
        serve(questions.as_bytes(), &mut said, dev).unwrap();
        String::from_utf8(said).unwrap().lines().map(Opened::parse).collect()
    }

    #[test]
    fn each_question_gets_one_answer() {
        let dev = TempDir::new().unwrap();
        fs::write(dev.path().join("nvme0n1"), "").unwrap();
        let found = answers(
            "nvme0n1 259:3\n../etc/passwd 1:1\nnvme1n1 259:4\nnonsense\nnvme0n1 259:3 read\nnvme0n1 259:3 what\n",
            dev.path(),
        );
        assert_eq!(found.len(), 6);
        let words = [
            "not the block device 259:3",
            "no block device",
            "No such file",
            "no device number",
            "not the block device 259:3",
            "not the block device 259:3 what",
        ];
        for (answer, word) in found.iter().zip(words) {
            let Opened::Failed(reason) = answer else { panic!("{answer:?}") };
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn an_open_that_hangs_is_reported_and_not_tried_again_beside_itself() {
        let dev = TempDir::new().unwrap();
        // Opening a FIFO for reading waits for a writer.
        nix::unistd::mkfifo(&dev.path().join("nvme0n1"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let devices = Devices::new(dev.path().to_owned());
        let begin = Instant::now();
        assert_eq!(devices.open("nvme0n1", "259:3", How::Exclusive), Opened::Hangs);
        let first = begin.elapsed();
        assert!(first >= Duration::from_secs(2), "an open may take 2 s: {first:?}");
        assert!(first < ANSWER, "the daemon still waits for the answer: {first:?}");
        assert_eq!(devices.open("nvme0n1", "259:3", How::Exclusive), Opened::Hangs);
        let second = begin.elapsed().saturating_sub(first);
        assert!(second < Duration::from_secs(1), "the open that hangs is known: {second:?}");
        drop(File::options().write(true).open(dev.path().join("nvme0n1")).unwrap());
    }

    #[test]
    fn an_open_that_ends_in_time_is_answered_with_its_result() {
        let dev = TempDir::new().unwrap();
        let node = dev.path().join("nvme0n1");
        nix::unistd::mkfifo(&node, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1000));
            drop(File::options().write(true).open(node).unwrap());
        });
        let opened = Devices::new(dev.path().to_owned()).open("nvme0n1", "259:3", How::Exclusive);
        writer.join().unwrap();
        assert!(matches!(&opened, Opened::Failed(reason) if reason.contains("not the block device")), "{opened:?}");
    }

    /// A program that answers the first question of each connection with `answer` and ends.
    fn program(path: &Path, answer: &'static str) {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut questions = BufReader::new(stream);
                if line(&mut questions).unwrap().is_some() {
                    questions.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
    }

    #[test]
    fn a_program_that_has_ended_is_started_again() {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("socket");
        program(&socket, "busy\n");
        let opener = Opener::new(Some(socket), dir.path().to_owned());
        opener.warm_up();
        for _ in 0..3 {
            assert_eq!(opener.open("nvme0n1", "259:3", How::Read), Opened::Busy);
        }
        opener.warm_up();
        assert!(!is_closed(lock(&opener.stream).as_ref().unwrap()));
    }

    #[test]
    fn a_program_that_does_not_answer_proves_nothing() {
        let dir = TempDir::new().unwrap();
        for (n, answer) in ["", "what?\n", "free", "failed no rights\n"].into_iter().enumerate() {
            let socket = dir.path().join(n.to_string());
            program(&socket, answer);
            let opener = Opener::new(Some(socket), dir.path().to_owned());
            assert!(matches!(opener.open("nvme0n1", "259:3", How::Read), Opened::Failed(_)), "{answer:?}");
        }
    }

    #[test]
    fn without_the_unit_the_daemon_tries_itself() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("nvme0n1"), "").unwrap();
        for socket in [None, Some(dir.path().join("absent"))] {
            let opened = Opener::new(socket, dir.path().to_owned()).open("nvme0n1", "259:3", How::Exclusive);
            assert!(matches!(opened, Opened::Failed(reason) if reason.contains("is not the block device")));
        }
    }

    proptest! {
        #[test]
        fn any_question_and_any_answer_can_be_read(questions in "([ -~]{0,20}\n){0,4}", answer: String) {
            let dev = TempDir::new().unwrap();
            prop_assert_eq!(answers(&questions, dev.path()).len(), questions.lines().count());
            let _ = Opened::parse(&answer);
        }

        #[test]
        fn every_answer_is_read_back(reason in "[ -~]{1,60}") {
            for opened in [Opened::Free, Opened::Busy, Opened::Gone, Opened::Hangs, Opened::Failed(reason)] {
                prop_assert_eq!(Opened::parse(&opened.to_string()), opened);
            }
        }
    }
}
