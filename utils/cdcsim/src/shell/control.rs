//! The control socket: one request per line, one answer per line.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::ShellError;
use crate::control::{Reply, Request};

/// A request, and the channel for its answer.
#[derive(Debug)]
pub(super) struct ControlRequest {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 16 * 1024 * 1024;

/// The socket; its file is removed with it.
pub(super) struct Control {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    done: oneshot::Sender<()>,
}

impl Control {
    /// Creates the socket. Its mode lets only the simulator's own user connect.
    pub(super) fn open(path: &Path, requests: mpsc::Sender<ControlRequest>) -> Result<Self, ShellError> {
        let failed = || ShellError::io(format!("making the control socket {}", path.display()));
        // A socket without a listening process is replaced; one with a listening process belongs to another simulator.
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                let text = format!("{}: a simulator uses it already; choose another --control", path.display());
                return Err(ShellError::Configuration(text));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_socket(path) => {
                fs::remove_file(path).map_err(failed())?;
            }
            Err(_) => {}
        }
        // The socket gets its name only when it is private and listens: clients may use it as soon as it is visible.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = tempfile::Builder::new().prefix(".cdcsim-").make_in(folder, |path| UnixListener::bind(path));
        let made = made.map_err(failed())?;
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o600)).map_err(failed())?;
        let listener = made.persist_noclobber(path).map_err(|error| failed()(error.error))?;
        let (done, ended) = oneshot::channel();
        let task = tokio::spawn(accept(listener, requests, ended));
        Ok(Self { path: path.to_owned(), task, done })
    }

    /// Removes the socket after the last answer was written.
    pub(super) async fn close(self) {
        let _ = fs::remove_file(&self.path);
        drop(self.done);
        let _ = self.task.await;
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<ControlRequest>, mut ended: oneshot::Receiver<()>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut ended => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(clients.spawn(serve(stream, requests.clone()))),
                Err(error) => {
                    tracing::warn!("the control socket cannot accept: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
    // Idle clients are disconnected; waiting clients get their answer within this time.
    let rest = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), rest).await;
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<ControlRequest>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        match (&mut read).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                if requests.send(ControlRequest { request, reply }).await.is_err() {
                    return;
                }
                let Ok(answer) = answer.await else { return };
                answer
            }
            Err(error) => Reply::Error(format!("this is not a request: {error}")),
        };
        let Ok(mut answer) = serde_json::to_vec(&reply) else { return };
        answer.push(b'\n');
        if write.write_all(&answer).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A visible socket answers at once, and only to its owner.
    #[tokio::test]
    async fn a_socket_that_is_there_is_served_and_private() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("socket");
        for seen in 0..300 {
            let (found, control) = thread::scope(|scope| {
                let watcher = scope.spawn(|| {
                    while !path.exists() {}
                    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                    (mode, UnixStream::connect(&path).map(drop).map_err(|error| error.kind()))
                });
                let control = Control::open(&path, mpsc::channel(1).0).unwrap();
                (watcher.join().unwrap(), control)
            });
            assert_eq!(found, (0o600, Ok(())), "after {seen} that were right");
            control.close().await;
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays_what_it_is() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "mine").unwrap();
        let error = Control::open(&path, mpsc::channel(1).0).err().unwrap().to_string();
        assert!(error.contains("notes") && error.contains("File exists"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
