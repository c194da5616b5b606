//! Optional commands: if a discovery controller drops the connection on such a command, the command is not sent to it
//! again.
//!
//! A command that failed is suspected of this until a later log page read shows that the connection has survived. If
//! the connection is lost before that, the command is not sent again. The kernel's own optional commands (Set Features
//! for events) are outside our control.

use std::collections::BTreeSet;
use std::fmt;

/// A command that a discovery controller need not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Command {
    /// Get Log Page, LID 00h: the supported log pages.
    SupportedLogPages,
    /// Discovery Information Management.
    Register,
}

impl Command {
    /// The consequence of not sending it, for the log.
    pub(super) fn consequence(self) -> &'static str {
        match self {
            Self::SupportedLogPages => "its discovery log page is read with the entries of all ports",
            Self::Register => "this host is not registered with it",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SupportedLogPages => "Get Log Page 00h (supported log pages)",
            Self::Register => "Discovery Information Management",
        })
    }
}

/// The optional commands of one discovery controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Optional {
    suspected: BTreeSet<Command>,
    blocked: BTreeSet<Command>,
}

impl Optional {
    /// True unless the command ended an earlier connection.
    pub(super) fn allows(&self, command: Command) -> bool {
        !self.blocked.contains(&command)
    }

    /// The command failed, perhaps because the connection was lost.
    pub(super) fn failed(&mut self, command: Command) {
        self.suspected.insert(command);
    }

    /// The connection has survived the commands, or is being ended by this daemon.
    pub(super) fn survived(&mut self) {
        self.suspected.clear();
    }

    /// The connection was lost. Returns the commands that are not sent any more.
    pub(super) fn lost(&mut self) -> BTreeSet<Command> {
        let blocked = std::mem::take(&mut self.suspected);
        self.blocked.extend(&blocked);
        blocked
    }
}
