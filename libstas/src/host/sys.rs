//! The only place in this room where the compiler takes our word: calls whose safety it cannot see.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Waits for a descriptor in the current tokio runtime.
///
/// # Errors
/// When the runtime cannot wait for such a descriptor.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor must stay open, and `as_raw_fd` must name the same one, for as long as the AsyncFd
    // lives. An OwnedFd owns one open descriptor, never exchanges it, and closes it only when it is dropped; the
    // AsyncFd owns the OwnedFd.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
