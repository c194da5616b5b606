//! The part with I/O: sockets, signals, the clock, files.

mod client;
mod control;
mod listeners;
mod serve;
mod sockets;

use std::path::{Path, PathBuf};

pub use client::ask;
pub use serve::serve;

/// Why the simulator does not run, or why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// An error of a file or socket.
    #[error("{what}: {error}")]
    Io {
        /// The failed operation.
        what: String,
        /// The error of the system.
        error: std::io::Error,
    },
    /// An error in the configuration.
    #[error("{0}")]
    Configuration(String),
    /// The simulator refused the request.
    #[error("{0}")]
    Refused(String),
}

impl ShellError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// The default path of the control socket.
#[must_use]
pub fn default_control() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let system = Some(PathBuf::from("/run")).filter(|_| nix::unistd::geteuid().is_root());
    own.or(system).unwrap_or_else(|| Path::new("/tmp").to_owned()).join("cdcsim.sock")
}
