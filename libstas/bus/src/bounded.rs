//! A socket to the bus through which other users cannot harm this process.
//!
//! Every user may send messages of up to 128 MiB to a public name. dbus-broker also delivers header fields that zbus
//! refuses: zbus would then close the connection. zbus keeps up to 64 unanswered messages in memory, and further ones
//! in tasks that wait until the bus takes their answers. While a user leaves answers unread, the bus takes none.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use zbus::Message;
use zbus::address::{Address, transport::Transport, transport::UnixSocket};
use zbus::connection::socket::{self, Split};
use zbus::export::async_trait::async_trait;

/// Maximum length of a received message, in bytes: the longest argument is a configuration file (plan_reload).
pub(crate) const LONGEST_MESSAGE: usize = 1024 * 1024;
/// Size of the receive buffer, in bytes: most messages fit into it, and are then received by one system call.
const BUFFER: usize = 4096;
/// Length of the part of a header that tells how long a message is.
const FIXED_HEADER: usize = 16;

/// Connects to the socket of a bus. `longest`: maximum length of a received message, in bytes.
///
/// # Errors
/// Fails if the bus cannot be reached, or its address is not that of a Unix domain socket.
pub(crate) async fn connect(address: &Address, longest: usize) -> zbus::Result<Bounded> {
    let Transport::Unix(unix) = address.transport() else { return Err(zbus::Error::Unsupported) };
    let stream = match unix.path() {
        UnixSocket::File(path) => UnixStream::connect(path).await,
        // tokio takes a path that begins with NUL as an abstract name.
        UnixSocket::Abstract(name) => {
            let path = [b"\0", name.as_bytes()].concat();
            UnixStream::connect(std::ffi::OsStr::from_bytes(&path)).await
        }
        _ => return Err(zbus::Error::Unsupported),
    };
    let stream = stream.map_err(|error| zbus::Error::Connection(Arc::new(error), Box::new(address.clone())))?;
    Ok(Bounded { stream, longest })
}

/// A connected socket. `longest`: maximum length of a received message, in bytes.
#[derive(Debug)]
pub(crate) struct Bounded {
    stream: UnixStream,
    longest: usize,
}

impl socket::Socket for Bounded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = tokio::io::split(self.stream);
        let write = Arc::new(Mutex::new(write));
        let stream = BufReader::with_capacity(BUFFER, read);
        Split::new(Reader { stream, longest: self.longest, writes: Arc::clone(&write) }, Writer(write))
    }
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: BufReader<ReadHalf<UnixStream>>,
    longest: usize,
    /// The sending half. It stays locked while a write waits for the bus; reads then wait, too.
    writes: Arc<Mutex<WriteHalf<UnixStream>>>,
}

#[async_trait]
impl socket::ReadHalf for Reader {
    /// Receives the next message that zbus accepts, and drops the others. Of a message that is too long, returns only
    /// the header: zbus then answers that the arguments are missing. Drops a message whose header is too long. Waits
    /// while the bus takes no answers.
    async fn receive_message(
        &mut self,
        sequence: u64,
        received: &mut Vec<u8>,
        descriptors: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        loop {
            self.fill(received, FIXED_HEADER).await?;
            drop(self.writes.lock().await);
            let lengths = Lengths::of(received);
            let length = lengths.header.saturating_add(lengths.body);
            let mut message: Vec<u8>;
            if length <= self.longest {
                self.fill(received, length).await?;
                message = received.drain(..length).collect();
            } else if lengths.header <= self.longest {
                self.fill(received, lengths.header).await?;
                message = received.drain(..lengths.header).collect();
                if let Some(body_length) = message.get_mut(4..8) {
                    body_length.fill(0);
                }
                self.skip(received, lengths.body).await?;
            } else {
                self.skip(received, length).await?;
                continue;
            }
            if let Ok(message) = Complete.receive_message(sequence, &mut message, descriptors).await {
                return Ok(message);
            }
        }
    }

    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.stream.read(buffer).await?, Vec::new()))
    }
}

impl Reader {
    /// Reads until `received` has `length` bytes.
    async fn fill(&mut self, received: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let begin = received.len();
        if begin < length {
            received.resize(length, 0);
            self.stream.read_exact(&mut received[begin..]).await?;
        }
        Ok(())
    }

    /// Drops the next `length` bytes, of which `received` contains the first.
    async fn skip(&mut self, received: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let at_hand = received.len().min(length);
        received.drain(..at_hand);
        let mut rest = (&mut self.stream).take((length - at_hand) as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        if rest.limit() > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Parses a message that is received completely, with zbus's own method of the trait.
#[derive(Debug)]
struct Complete;

#[async_trait]
impl socket::ReadHalf for Complete {
    async fn recvmsg(&mut self, _: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((0, Vec::new()))
    }
}

/// The lengths of the two parts of a message in bytes (D-Bus specification, Message Format).
struct Lengths {
    header: usize,
    body: usize,
}

impl Lengths {
    /// Reads the lengths from the first [`FIXED_HEADER`] bytes of a message.
    fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
            let number = if bytes.first() == Some(&b'B') { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
            number as usize
        };
        Self { header: FIXED_HEADER.saturating_add(number(12)).next_multiple_of(8), body: number(4) }
    }
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Mutex<WriteHalf<UnixStream>>>);

#[async_trait]
impl socket::WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.lock().await.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.lock().await.shutdown().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use zbus::connection::socket::{ReadHalf as _, Socket as _, WriteHalf as _};

    const LONGEST: usize = 1000;

    fn halves() -> (UnixStream, Reader, Writer) {
        let (bus, stream) = UnixStream::pair().unwrap();
        let (reader, writer) = Bounded { stream, longest: LONGEST }.split().take();
        (bus, reader, writer)
    }

    /// The bytes of a call with a string of this length as its argument.
    fn call(member: &str, length: usize) -> Vec<u8> {
        let message = Message::method_call("/", member).build(&"x".repeat(length)).unwrap();
        message.data().to_vec()
    }

    /// The member of the next message that is received, and the length of its body in bytes.
    async fn next(reader: &mut Reader) -> (String, usize) {
        let message = reader.receive_message(7, &mut Vec::new(), &mut Vec::new()).await.unwrap();
        (message.header().member().unwrap().to_string(), message.body().len())
    }

    #[tokio::test]
    async fn of_a_long_message_only_the_header_is_received() {
        let (mut bus, mut reader, _writer) = halves();
        let sent = [call("A", 10), call("Long", LONGEST), call("B", 20), call("Longer", 100 * LONGEST), call("C", 30)];
        bus.write_all(&sent.concat()).await.unwrap();
        for expected in [("A", 15), ("Long", 0), ("B", 25), ("Longer", 0), ("C", 35)] {
            let (member, length) = next(&mut reader).await;
            assert_eq!((member.as_str(), length), expected);
        }
    }

    #[tokio::test]
    async fn a_message_that_zbus_refuses_is_dropped() {
        let (mut bus, mut reader, _writer) = halves();
        let mut unknown_field = call("A", 10);
        unknown_field[FIXED_HEADER] = 200;
        let mut other_version = call("A", 10);
        other_version[3] = 9;
        let long_header = Message::method_call("/x".repeat(LONGEST), "A").build(&()).unwrap().data().to_vec();
        for bad in [unknown_field, other_version, long_header] {
            bus.write_all(&[bad, call("B", 20)].concat()).await.unwrap();
            assert_eq!(next(&mut reader).await, ("B".to_owned(), 25));
        }
    }

    #[tokio::test]
    async fn what_the_handshake_has_received_begins_the_first_message() {
        let (mut bus, mut reader, _writer) = halves();
        let both = [call("A", 10), call("B", 20)].concat();
        for split in [0, 5, FIXED_HEADER, 40, both.len()] {
            let (mut received, rest) = (both[..split].to_vec(), &both[split..]);
            bus.write_all(rest).await.unwrap();
            for expected in ["A", "B"] {
                let message = reader.receive_message(1, &mut received, &mut Vec::new()).await.unwrap();
                assert_eq!(message.header().member().unwrap().as_str(), expected, "{split}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_received_while_the_bus_takes_no_answers() {
        let (mut bus, mut reader, mut writer) = halves();
        let limit = std::time::Duration::from_secs(1);
        // Until the socket is full.
        while tokio::time::timeout(limit, writer.sendmsg(&[0; 65_536], &[])).await.is_ok() {}
        let fill = tokio::spawn(async move { while writer.sendmsg(&[0; 65_536], &[]).await.is_ok() {} });
        while reader.writes.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        bus.write_all(&call("A", 10)).await.unwrap();
        let mut received = Box::pin(next(&mut reader));
        assert!(tokio::time::timeout(limit, &mut received).await.is_err());
        let drain = async { while bus.read(&mut [0; 65_536]).await.is_ok_and(|length| length > 0) {} };
        tokio::select! {
            message = received => assert_eq!(message, ("A".to_owned(), 15)),
            () = drain => panic!("the other side has closed the socket"),
        }
        fill.abort();
    }

    #[tokio::test]
    async fn a_closed_socket_is_an_error() {
        let (bus, mut reader, _writer) = halves();
        drop(bus);
        assert!(reader.receive_message(1, &mut Vec::new(), &mut Vec::new()).await.is_err());
        let (mut bus, mut reader, _writer) = halves();
        bus.write_all(&call("A", 2 * LONGEST)[..LONGEST]).await.unwrap();
        drop(bus);
        assert!(reader.receive_message(1, &mut Vec::new(), &mut Vec::new()).await.is_err());
    }
}
