//! What happens to the connector, what it wants done, and what it shows.

use std::sync::Arc;

use libstas::bus::contract::{DcPage, Origin, StafdView};
use libstas::conf::StacConf;
use libstas::core::fleet::MemberView;
use libstas::core::{HostEffect, HostEvent, OpId};
use libstas::nvme::log_page::Entry;
use libstas::nvme::nbft::BootTables;
use libstas::nvme::{HostIdentity, Tid};

/// What the administrator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// stacd.conf
    pub conf: StacConf,
    /// sys.conf
    pub identity: Arc<HostIdentity>,
}

/// What happens to the connector.
#[derive(Debug)]
pub enum Event {
    /// The firmware's boot tables were read. Comes before [`Event::Configured`], with which it takes effect; a host
    /// without one need not be told.
    BootTables(Arc<BootTables>),
    /// The configuration was read: the first event of all, and again on each reload.
    Configured(Box<Settings>),
    /// The host tells something.
    Host(HostEvent),
    /// The deadline has come.
    Tick,
    /// The owner of stafd's bus name: its unique name, `None` when there is none. Comes at start, too.
    StafdOwner(Option<String>),
    /// stafd says that a page has changed.
    PageChanged(Tid),
    /// stafd says that it gave a discovery controller up.
    DcRemoved,
    /// The answer to [`Effect::FetchAll`].
    AllFetched {
        /// The operation that this answers.
        op: OpId,
        /// What stafd publishes; the error says why it did not answer.
        result: Result<StafdView, String>,
    },
    /// The answer to [`Effect::FetchPage`].
    PageFetched {
        /// The operation that this answers.
        op: OpId,
        /// The page, `None` when stafd knows no such discovery controller; the error says why it did not answer.
        result: Result<Option<DcPage>, String>,
    },
    /// The daemon is asked to stop.
    Stop,
}

/// What the connector wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something of the host.
    Host(HostEffect),
    /// Ask stafd for everything. Answered by [`Event::AllFetched`].
    FetchAll(OpId),
    /// Ask stafd for one page. Answered by [`Event::PageFetched`].
    FetchPage {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The discovery controller that the page belongs to.
        dc: Tid,
        /// Have stafd read it anew from the discovery controller first, where stafd can.
        refresh: bool,
    },
    /// All that was to be done before the end is done: save and exit.
    Stopped,
}

/// An I/O controller as the bus shows it.
#[derive(Clone, Debug)]
pub struct IocView<'a> {
    /// The connection and its state.
    pub member: MemberView<'a>,
    /// The log entry that names it, if one does.
    pub dlpe: Option<&'a Entry>,
    /// Why it stays connected although its configuration was taken out; `None` for others.
    pub held: Option<String>,
    /// Which kind of source lists it.
    pub origin: Origin,
    /// The record of a boot table that names it: it is never disconnected.
    pub boot_record: Option<String>,
}
