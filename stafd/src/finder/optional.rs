//! Optional commands: if a discovery controller drops the connection on such a command, the command is not sent to it
//! again.
//!
//! A command that failed is suspected of this until a later log page read shows that the connection has survived. If
//! the connection is lost before that, this counts as a loss. After [`Command::losses_max`] losses without a success in
//! between, the command is not sent again. The kernel's own optional commands (Set Features for events) are outside our
//! control.

use std::collections::{BTreeMap, BTreeSet};
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

    /// After how many lost connections in a row the command is not sent again.
    ///
    /// Each loss costs a reconnect of several seconds. Log page 00h comes first on a connection, and without it the
    /// page only lists more, so one loss is enough. A registration may be lost by chance: all hosts register when a CDC
    /// restarts, and without it the CDC does not list this host's storage.
    fn losses_max(self) -> u32 {
        match self {
            Self::SupportedLogPages => 1,
            Self::Register => 3,
        }
    }

    /// How often the connection was lost, and what ends the block, for the log.
    pub(super) fn block(self) -> &'static str {
        match self {
            Self::SupportedLogPages => ", which is not sent to it again",
            Self::Register => {
                " 3 times in a row, so the command is not sent to it again before `systemctl reload stafd`"
            }
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
    /// How many connections were lost after the command since it last succeeded or was allowed again.
    losses: BTreeMap<Command, u32>,
}

impl Optional {
    /// True unless the command ended earlier connections.
    pub(super) fn allows(&self, command: Command) -> bool {
        self.losses.get(&command).is_none_or(|losses| *losses < command.losses_max())
    }

    /// The command succeeded, or is to be tried again.
    pub(super) fn allow_again(&mut self, command: Command) {
        self.losses.remove(&command);
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
        let suspected = std::mem::take(&mut self.suspected);
        for command in &suspected {
            *self.losses.entry(*command).or_default() += 1;
        }
        suspected.into_iter().filter(|command| !self.allows(*command)).collect()
    }
}
