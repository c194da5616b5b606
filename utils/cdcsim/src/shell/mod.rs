//! The part that touches the world: sockets, signals, the clock, files.

mod client;
mod control;
mod lines;
mod listeners;
mod serve;

use std::path::{Path, PathBuf};

pub use client::ask;
pub use serve::serve;

/// Why it does not run, or a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// A file or socket, and what is wrong with it.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The configuration.
    #[error("{0}")]
    Configuration(String),
    /// The simulator's answer.
    #[error("{0}")]
    Refused(String),
}

impl ShellError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

/// Where the control socket is when nobody says so.
#[must_use]
pub fn default_control() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let system = Some(PathBuf::from("/run")).filter(|_| nix::unistd::geteuid().is_root());
    own.or(system).unwrap_or_else(|| Path::new("/tmp").to_owned()).join("cdcsim.sock")
}
