//! The events of the finder, its effects, and the data that it shows.

use std::sync::Arc;

use libstas::bus::contract::{Origin, PageState, RemovalReason};
use libstas::conf::StafConf;
use libstas::core::browse::{BrowseCommand, BrowseEvent};
use libstas::core::fleet::MemberView;
use libstas::core::{AdminError, CtrlRef, HostEffect, HostEvent, OpId, Time};
use libstas::nvme::admin::DimTask;
use libstas::nvme::log_page::LogPage;
use libstas::nvme::nbft::BootTables;
use libstas::nvme::supported::DiscoveryLidSpecific;
use libstas::nvme::{HostIdentity, Tid};
use serde::{Deserialize, Serialize};

/// The configuration files.
pub type Settings = libstas::core::daemon_core::Settings<StafConf>;

/// An event of the finder.
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
    /// The answer to [`Effect::ReadSupported`].
    SupportedRead {
        /// The operation that this answers.
        op: OpId,
        /// The entry for the discovery log page, `None` if the page has none; the error says why it could not be read.
        result: Result<Option<DiscoveryLidSpecific>, AdminError>,
    },
    /// The answer to [`Effect::ReadLogPage`].
    LogPageRead {
        /// The operation that this answers.
        op: OpId,
        /// The page; the error says why it could not be read.
        result: Result<LogPage, AdminError>,
    },
    /// The answer to [`Effect::Register`].
    Registered {
        /// The operation that this answers.
        op: OpId,
        /// The error says why this host is not registered.
        result: Result<(), NotRegistered>,
    },
    /// The browser reports announcements.
    BrowseEvent(Vec<BrowseEvent>),
    /// A D-Bus call requests that the page of a discovery controller is read again; answered by [`Effect::Refreshed`]
    /// with the same token.
    Refresh {
        /// Identifies the caller.
        token: u64,
        /// The discovery controller to read.
        dc: Tid,
    },
    /// The daemon is to stop; answered by [`Effect::Stopped`].
    Stop,
}

/// A registration with a discovery controller (TP8010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRequest {
    /// The discovery controller, with the host NQN to register.
    pub tid: Tid,
    /// Register, or update the registration.
    pub task: DimTask,
    /// The host ID and symbolic name.
    pub identity: Arc<HostIdentity>,
    /// Read first whether the controller keeps a register: the kernel does not know its type.
    pub ask_type: bool,
}

/// Why a discovery controller has not registered this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRegistered {
    /// It keeps no register.
    NoRegister,
    /// The connection was lost before it answered.
    Lost,
    /// The registration failed.
    Failed {
        /// The cause, for the log.
        reason: RegisterError,
        /// True if a retry may succeed.
        again: bool,
    },
}

/// Why a registration failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A registration needs a host ID that is a UUID. Contains the host ID.
    #[error("the host ID {0:?} is not a UUID; see stasadm hostid")]
    HostId(String),
    /// The admin command failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Maximum size in memory in bytes of the log pages of all announced discovery controllers together. This is about two
/// pages of the maximum length ([`libstas::nvme::log_page::MAX_RECORDS`]), or 65,000 entries of usual length.
pub const ANNOUNCED_PAGES_MAX: usize = 32 << 20;

/// Why a log page could not be read, or is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The admin command failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Only mDNS announces the discovery controller, and the pages of all announced ones would exceed
    /// [`ANNOUNCED_PAGES_MAX`].
    #[error(
        "the log pages of the discovery controllers that only mDNS announces would need more than {} MiB of memory \
         together. To use this page, add a controller= line for this discovery controller to stafd.conf",
        ANNOUNCED_PAGES_MAX >> 20
    )]
    NoRoom,
}

/// Why a log page was not read for a caller that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The discovery controller was removed while the page was read.
    #[error("the discovery controller was removed")]
    GivenUp,
    /// There is no such discovery controller.
    #[error("there is no discovery controller {0}")]
    Unknown(Tid),
    /// The discovery controller is not connected.
    #[error("{0} is not connected")]
    NotConnected(Tid),
    /// The connection was lost while the page was read.
    #[error("the connection was lost")]
    Lost,
    /// The connection was lost while the page was read, and a new one was made.
    #[error("the connection was lost, and has been made again")]
    Reconnected,
    /// stafd ends.
    #[error("stafd is stopping")]
    Stopping,
    /// The page could not be read, or is not used.
    #[error(transparent)]
    Read(#[from] ReadFailure),
}

/// A request of the finder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A request to the host.
    Host(HostEffect),
    /// Read the supported-log-pages page. Answered by [`Event::SupportedRead`].
    ReadSupported {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The controller to read from.
        ctrl: CtrlRef,
    },
    /// Read the discovery log page. Answered by [`Event::LogPageRead`].
    ReadLogPage {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The controller to read from.
        ctrl: CtrlRef,
        /// Ask for port-local entries only.
        pleo: bool,
        /// True if only mDNS announces the discovery controller: its read may be refused while many others are read.
        announced: bool,
    },
    /// Register this host with a discovery controller. Answered by [`Event::Registered`].
    Register {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The controller to register with.
        ctrl: CtrlRef,
        /// The content of the registration.
        request: Box<RegisterRequest>,
    },
    /// A request to the mDNS browser; answered by [`Event::BrowseEvent`].
    Browse(BrowseCommand),
    /// Signal `log_pages_changed`.
    PagesChanged {
        /// The discovery controller that the page belongs to.
        dc: Tid,
        /// Its device, if it has one.
        ctrl: Option<CtrlRef>,
    },
    /// Signal `dc_removed`: the removed controllers have changed.
    DcRemoved,
    /// Signal `dc_removed`, so that stacd asks for everything: [`StafdView::is_complete`] has changed.
    ///
    /// [`StafdView::is_complete`]: libstas::bus::contract::StafdView::is_complete
    CompletenessChanged,
    /// The answer to [`Event::Refresh`].
    Refreshed {
        /// Identifies the waiting D-Bus call.
        token: u64,
        /// The error says why the page could not be read.
        result: Result<(), RefreshError>,
    },
    /// Do what nvme-cli's udev rule would have done for a discovery controller that stafd does not manage: restart its
    /// `nvmf-connect@…` unit.
    NvmfConnect {
        /// The N of nvmeN.
        device: u32,
        /// Its host_traddr, or empty.
        host_traddr: String,
        /// Its host_iface, or empty.
        host_iface: String,
    },
    /// All work before the end is done: save and exit.
    Stopped,
}

impl From<HostEffect> for Effect {
    fn from(effect: HostEffect) -> Self {
        Self::Host(effect)
    }
}

/// The context of an event of the finder.
pub(super) type Context<'a> = libstas::core::Context<'a, &'a mut Vec<Effect>>;

/// A discovery controller that stafd removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The discovery controller.
    pub dc: Tid,
    /// Why it was removed.
    pub reason: RemovalReason,
    /// When it was removed.
    pub at: Time,
    /// True if only announcements and announced discovery controllers listed it. Earlier versions did not save it: then
    /// more may have listed it.
    #[serde(default)]
    pub announced_only: bool,
}

/// A discovery controller, as D-Bus shows it.
#[derive(Clone, Debug)]
pub struct DcView<'a> {
    /// The connection and its state.
    pub member: MemberView<'a>,
    /// The kind of source that lists it.
    pub origin: Origin,
    /// True if more than an announcement lists it: the configuration, a boot table, or referrals from those.
    pub follows_configured: bool,
    /// Why it stays connected although it was removed from the configuration; `None` for others.
    pub kept_by_configuration: Option<String>,
    /// What its page proves.
    pub log_page_state: PageState,
    /// Its page, if any was ever read.
    pub log_page: Option<&'a LogPage>,
    /// Why the last read of its page failed; `None` after a success.
    pub log_page_failure: Option<&'a ReadFailure>,
    /// Whether it has registered this host, and if not, why; `None` if no registration is requested.
    pub registration: Option<String>,
    /// Since when the present kernel connection is up; identifies that connection.
    pub connected_since: Option<Time>,
    /// Whether it is announced by mDNS now; `None` if it never was.
    pub announced: Option<bool>,
    /// When it is removed, unless it is announced or connected before.
    pub given_up_at: Option<Time>,
    /// The record of a boot table that lists it.
    pub boot_record: Option<&'a str>,
}
