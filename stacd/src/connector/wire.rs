//! What happens to the connector, what it wants done, and what it shows.

use std::sync::Arc;

use libstas::conf::StacConf;
use libstas::core::fleet::MemberView;
use libstas::core::{HostEffect, HostEvent, OpId, Time};
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

/// How good a discovery controller's page is: the bus key `log-page-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// It was never read.
    Never,
    /// It is from before the present connection.
    Saved,
    /// It was read on the present connection.
    Fresh,
    /// The other side has no such key: a Python stafd.
    Unstated,
}

/// One discovery controller and its page, as stafd publishes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcPage {
    /// The discovery controller.
    pub dc: Tid,
    /// How good its page is.
    pub state: PageState,
    /// Since when its present connection is up (bus key `connected-since`): names that connection.
    pub connected_since: Option<Time>,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// A discovery controller that stafd gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedDc {
    /// Which.
    pub dc: Tid,
    /// True when it aged out: it then takes no live I/O controller with it.
    pub aged_out: bool,
}

/// All that stafd publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StafdView {
    /// Its discovery controllers.
    pub dcs: Vec<DcPage>,
    /// What it gave up; `None` when it does not say (a Python stafd).
    pub removed: Option<Vec<RemovedDc>>,
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
        /// Which.
        op: OpId,
        /// What stafd publishes; the error says why it did not answer.
        result: Result<StafdView, String>,
    },
    /// The answer to [`Effect::FetchPage`].
    PageFetched {
        /// Which.
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
        /// Names it.
        op: OpId,
        /// Whose.
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
    /// Its connection.
    pub member: MemberView<'a>,
    /// The log entry that names it, if one does.
    pub dlpe: Option<&'a Entry>,
    /// `configured` or `discovered`; `nbft` if only a boot table names it.
    pub origin: &'static str,
    /// The record of a boot table that names it: it is never disconnected.
    pub boot_record: Option<String>,
}
