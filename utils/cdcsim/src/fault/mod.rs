//! Faults on demand. A fault is active from the request until it is healed, was used the requested number of times, or
//! its time is over.

mod malformed;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use malformed::Malformation;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Subcommand)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Refuse new TCP connections; existing ones stay
    Refuse,
    /// Accept connections, but stop answering at the given step
    Silent {
        /// The first request that is not answered
        #[arg(value_enum)]
        before: Stage,
    },
    /// Reset the connection in the middle of a log page's data
    ResetLogPage {
        /// Number of bytes of the data that are sent before
        #[arg(long, default_value_t = 512)]
        after: u32,
    },
    /// Close the connection on an optional command
    Close {
        /// The command
        #[arg(value_enum)]
        on: Optional,
    },
    /// Report NVMe 1.3 as the version that it implements
    Old,
    /// Delay everything that is sent
    Delay {
        /// Milliseconds
        ms: u64,
    },
    /// Increment the generation counter (GENCTR) at each read of a log page's header
    Restless,
    /// Report another number of entries than the page has
    Numrec {
        /// The number
        count: u64,
    },
    /// Insert a malformed entry before the others
    Malformed {
        /// What is wrong with it
        #[arg(value_enum)]
        entry: Malformation,
    },
    /// Report an impossible length of the first extended entry, to hosts that request extended entries
    EntryLength {
        /// The length in bytes
        #[arg(default_value_t = 4)]
        len: u32,
    },
    /// Answer with a log page without entries
    Empty,
    /// Refuse to read log page 70h
    LogPageStatus {
        /// Status code type and code, such as 0x006; add 0x4000 for Do Not Retry
        status: StatusCode,
    },
    /// Send no event for a change
    DropEvents,
    /// Send two events for a change
    DuplicateEvents,
    /// Send events without pause and without a change
    Storm {
        /// Events for each connection in a second
        #[arg(default_value_t = 1000)]
        rate: u32,
    },
    /// Refuse Discovery Information Management
    RegisterStatus {
        /// Status code type and code, such as 0x12f; add 0x4000 for Do Not Retry
        status: StatusCode,
    },
    /// Refuse Connect
    ConnectStatus {
        /// Status code type and code, such as 0x184; add 0x4000 for Do Not Retry
        status: StatusCode,
    },
    /// Never answer Keep Alive
    IgnoreKeepAlive,
    /// Refuse Connect with a keep alive timeout, like controllers without persistent connections
    RefuseKeepAlive,
}

/// A command that a discovery controller need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Optional {
    /// Reading log page 00h, the supported log pages
    SupportedLogPages,
    /// Discovery Information Management
    Register,
}

/// The first thing that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The request to initialize the connection (and so a TLS handshake, too)
    Icresp,
    /// Connect
    Connect,
    /// Everything after Connect
    Command,
    /// Reading log page 70h, and nothing else
    LogPage,
}

/// A status code with its type and the Do Not Retry bit (NVMe Base 2.0, 3.3.3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusCode(pub u16);

/// The text is not the status of a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status is a number such as 0x006 (internal error) or 0x4006")]
pub struct NotAStatus;

impl std::str::FromStr for StatusCode {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => text.parse(),
        };
        // Success is not a fault, and bit 15 does not fit into a completion.
        let number = number.ok().filter(|number| number & 0x7ff != 0 && number & 0x8000 == 0);
        number.map(Self).ok_or(NotAStatus)
    }
}

/// An active fault with its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Active {
    /// The number used by `heal`.
    pub id: u32,
    /// The kind of fault.
    pub fault: Fault,
    /// The host that it is limited to; `None`: all hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How many times it can still be used; `None`: without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// When it ends, as time since the start; `None`: never by itself.
    #[serde(skip)]
    pub until: Option<Duration>,
}

impl Active {
    fn concerns(&self, host: Option<&str>) -> bool {
        self.host.is_none() || self.host.as_deref() == host
    }
}

/// All active faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    active: Vec<Active>,
    last: u32,
}

impl Faults {
    /// Adds a fault and returns its number.
    pub fn add(&mut self, fault: Fault, host: Option<String>, times: Option<u32>, until: Option<Duration>) -> u32 {
        self.last += 1;
        self.active.push(Active { id: self.last, fault, host, times, until });
        self.last
    }

    /// Ends one fault or all. Returns the number of ended faults.
    pub fn heal(&mut self, id: Option<u32>) -> usize {
        let before = self.active.len();
        self.active.retain(|active| id.is_some_and(|id| id != active.id));
        before - self.active.len()
    }

    /// The active faults.
    #[must_use]
    pub fn all(&self) -> &[Active] {
        &self.active
    }

    /// Ends faults whose time is over.
    pub fn expire(&mut self, now: Duration) {
        self.active.retain(|active| active.until.is_none_or(|until| now < until));
    }

    /// When the next fault ends by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.active.iter().filter_map(|active| active.until).min()
    }

    /// Uses the first fault for this host for which `pick` returns a value, and returns that value.
    pub fn take<T>(&mut self, host: Option<&str>, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let wanted = |active: &Active| if active.concerns(host) { pick(&active.fault) } else { None };
        let (at, found) = self.active.iter().enumerate().find_map(|(at, active)| Some((at, wanted(active)?)))?;
        if let Some(active) = self.active.get_mut(at)
            && let Some(times) = &mut active.times
        {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.active.remove(at);
            }
        }
        Some(found)
    }

    /// True if there is such a fault for this host. It is used once.
    pub fn strikes(&mut self, host: Option<&str>, fault: &Fault) -> bool {
        self.take(host, |each| (each == fault).then_some(())).is_some()
    }

    /// True if there is such a fault, without using it.
    #[must_use]
    pub fn is_there(&self, fault: &Fault) -> bool {
        self.active.iter().any(|active| active.fault == *fault)
    }

    /// True if there is a storm for any host.
    #[must_use]
    pub fn is_stormy(&self) -> bool {
        self.active.iter().any(|active| matches!(active.fault, Fault::Storm { .. }))
    }

    /// Events per second that a storm sends to this host.
    #[must_use]
    pub fn storm(&self, host: Option<&str>) -> Option<u32> {
        let rate = |active: &Active| match active.fault {
            Fault::Storm { rate } if active.concerns(host) && rate > 0 => Some(rate),
            _ => None,
        };
        self.active.iter().filter_map(rate).max()
    }
}
