//! The events of the connector, its effects, and the data that it shows.

use std::sync::Arc;
use std::time::Duration;

use libstas::bus::contract::{DcPage, Origin, StafdView};
use libstas::conf::StacConf;
use libstas::core::fleet::MemberView;
use libstas::core::{HostEffect, HostEvent, OpId};
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;
use libstas::nvme::nbft::BootTables;

/// The configuration files.
pub type Settings = libstas::core::daemon_core::Settings<StacConf>;

/// An event of the connector.
#[derive(Debug)]
pub enum Event {
    /// The firmware's boot tables were read. Comes before [`Event::Configured`], with which it takes effect; left out
    /// on hosts without tables.
    BootTables(Arc<BootTables>),
    /// The configuration was read. The first event, and repeated on each reload.
    Configured(Box<Settings>),
    /// An event of the host.
    Host(HostEvent),
    /// The deadline is reached.
    Tick,
    /// The unique name of the owner of stafd's bus name; `None` if it has no owner. Also sent at start.
    StafdOwner(Option<String>),
    /// stafd signals that a page has changed.
    PageChanged(Tid),
    /// stafd signals that it removed a discovery controller.
    DcRemoved,
    /// The answer to [`Effect::FetchAll`].
    AllFetched {
        /// The operation that this answers.
        op: OpId,
        /// What stafd publishes; the error says why it did not answer.
        result: Result<StafdView, FetchError>,
    },
    /// The answer to [`Effect::FetchPage`].
    PageFetched {
        /// The operation that this answers.
        op: OpId,
        /// The page; `None` if stafd does not have the discovery controller. The error says why stafd did not answer.
        result: Result<Option<DcPage>, FetchError>,
    },
    /// The daemon is asked to stop.
    Stop,
}

/// Why a fetch from stafd failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// stafd or the bus answered with an error. Contains its text.
    #[error("{0}")]
    Bus(String),
    /// The JSON of all pages is malformed. Contains the error of the parser.
    #[error("stafd's answer is not a list: {0}")]
    NotAList(String),
    /// The JSON of one page is malformed. Contains the error of the parser.
    #[error("stafd's answer is not a log page: {0}")]
    NotAPage(String),
    /// stafd has not answered within this time.
    #[error("stafd does not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// A request of the connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A request to the host.
    Host(HostEffect),
    /// Fetch all pages from stafd. Answered by [`Event::AllFetched`].
    FetchAll(OpId),
    /// Fetch one page from stafd. Answered by [`Event::PageFetched`].
    FetchPage {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The discovery controller that the page belongs to.
        dc: Tid,
        /// Let stafd read the page again from the discovery controller first, if stafd supports that.
        refresh: bool,
        /// True if only mDNS announces that discovery controller.
        announced: bool,
    },
    /// All work before the end is done: save and exit.
    Stopped,
}

impl From<HostEffect> for Effect {
    fn from(effect: HostEffect) -> Self {
        Self::Host(effect)
    }
}

/// The context of an event of the connector.
pub(super) type Context<'a> = libstas::core::Context<'a, &'a mut Vec<Effect>>;

/// An I/O controller, as D-Bus shows it.
#[derive(Clone, Debug)]
pub struct IocView<'a> {
    /// The connection and its state.
    pub member: MemberView<'a>,
    /// The log entry that lists it; `None` without one.
    pub dlpe: Option<&'a Entry>,
    /// Why it stays connected although it was removed from the configuration; `None` for others.
    pub kept_by_configuration: Option<String>,
    /// The kind of source that lists it.
    pub origin: Origin,
    /// The record of a boot table that lists it: such a controller is never disconnected.
    pub boot_record: Option<String>,
}
