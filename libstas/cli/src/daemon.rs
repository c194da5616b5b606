//! The daemons that the tools know.

use clap::ValueEnum;

/// A daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Daemon {
    /// The discovery daemon
    Stafd,
    /// The connector daemon
    Stacd,
}

impl Daemon {
    /// The name of the daemon, and of its unit.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stafd => "stafd",
            Self::Stacd => "stacd",
        }
    }
}
