//! Connects to a program that systemd starts through a socket: it has rights that the daemon does not have.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects to the program. `None` if there is no `socket`, or systemd does not listen there: the units are not
/// installed, or the daemon was not started by systemd.
///
/// # Errors
/// Fails if systemd refuses the connection for another reason.
pub(crate) fn connect(socket: Option<&Path>) -> io::Result<Option<UnixStream>> {
    let Some(socket) = socket else { return Ok(None) };
    match UnixStream::connect(socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}
