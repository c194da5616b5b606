//! What happens to the finder, what it wants done, and what it shows.

use std::sync::Arc;

use libstas::bus::contract::{Origin, PageState, RemovalReason};
use libstas::conf::StafConf;
use libstas::core::browse::{Ask, Heard};
use libstas::core::fleet::MemberView;
use libstas::core::{CtrlRef, HostEffect, HostEvent, OpId, Time};
use libstas::nvme::dim::Task;
use libstas::nvme::log_page::LogPage;
use libstas::nvme::nbft::BootTables;
use libstas::nvme::supported::DiscoveryLidSpecific;
use libstas::nvme::{HostIdentity, Tid};
use serde::{Deserialize, Serialize};

/// What the administrator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// stafd.conf
    pub conf: StafConf,
    /// sys.conf
    pub identity: Arc<HostIdentity>,
}

/// What happens to the finder.
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
    /// The answer to [`Effect::ReadSupported`]; `None`: the page says nothing of discovery.
    SupportedRead {
        /// The operation that this answers.
        op: OpId,
        /// What it says; the error says why it could not be read.
        result: Result<Option<DiscoveryLidSpecific>, String>,
    },
    /// The answer to [`Effect::ReadLogPage`].
    LogPageRead {
        /// The operation that this answers.
        op: OpId,
        /// The page; the error says why it could not be read.
        result: Result<LogPage, String>,
    },
    /// The answer to [`Effect::Register`].
    Registered {
        /// The operation that this answers.
        op: OpId,
        /// The error says why this host is not registered.
        result: Result<(), NotRegistered>,
    },
    /// The browser heard announcements.
    Heard(Vec<Heard>),
    /// A D-Bus call wants that discovery controller's page to be read anew; answered by
    /// [`Effect::Refreshed`] with the same token.
    Refresh {
        /// Names the caller.
        token: u64,
        /// The discovery controller that is to be read.
        dc: Tid,
    },
    /// The daemon is asked to stop; answered by [`Effect::Stopped`].
    Stop,
}

/// A registration with a discovery controller (TP8010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRequest {
    /// The discovery controller, and as which host.
    pub tid: Tid,
    /// Register, or update what is registered.
    pub task: Task,
    /// Host ID and symbolic name.
    pub identity: Arc<HostIdentity>,
    /// Ask the controller first whether it is one that registers hosts: the kernel does not know.
    pub ask_type: bool,
}

/// Why a discovery controller has not registered this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRegistered {
    /// It keeps no register.
    NoRegister,
    /// The connection was lost before it answered.
    Lost,
    /// It was asked to.
    Failed {
        /// The cause, for the log.
        reason: String,
        /// It may work another time.
        again: bool,
    },
}

/// What the finder wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something of the host.
    Host(HostEffect),
    /// Read the supported-log-pages page. Answered by [`Event::SupportedRead`].
    ReadSupported {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// Of which controller.
        ctrl: CtrlRef,
    },
    /// Read the discovery log page. Answered by [`Event::LogPageRead`].
    ReadLogPage {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// Of which controller.
        ctrl: CtrlRef,
        /// Ask for port-local entries only.
        pleo: bool,
    },
    /// Make this host known to a discovery controller. Answered by [`Event::Registered`].
    Register {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// With which controller.
        ctrl: CtrlRef,
        /// What to say.
        request: Box<RegisterRequest>,
    },
    /// Ask the browser for announcements; it answers with [`Event::Heard`].
    Browse(Ask),
    /// Signal `log_pages_changed`.
    PagesChanged {
        /// The discovery controller that the page belongs to.
        dc: Tid,
        /// Its device, if it has one.
        ctrl: Option<CtrlRef>,
    },
    /// Signal `dc_removed`: the removed controllers have changed, or whether all that the configuration means is listed.
    DcRemoved,
    /// The answer to [`Event::Refresh`].
    Refreshed {
        /// The D-Bus call that waits for this.
        token: u64,
        /// The error says why the page could not be read.
        result: Result<(), String>,
    },
    /// Do what nvme-cli's udev rule would have done for a discovery controller that is not ours: restart
    /// `nvmf-connect@…` for it.
    NvmfConnect {
        /// The N of nvmeN.
        device: u32,
        /// Its host_traddr, or empty.
        host_traddr: String,
        /// Its host_iface, or empty.
        host_iface: String,
    },
    /// All that was to be done before the end is done: save and exit.
    Stopped,
}

/// A discovery controller that stafd removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The discovery controller.
    pub dc: Tid,
    /// Why it was removed.
    pub reason: RemovalReason,
    /// When it was removed.
    pub at: Time,
}

/// A discovery controller as the bus shows it.
#[derive(Clone, Debug)]
pub struct DcView<'a> {
    /// The connection and its state.
    pub member: MemberView<'a>,
    /// Which kind of source lists it.
    pub origin: Origin,
    /// More than an announcement lists it: the configuration, a boot table, or referrals from those.
    pub follows_configured: bool,
    /// Why it stays connected although its configuration was taken out; `None` for others.
    pub held: Option<String>,
    /// What its page proves.
    pub log_page_state: PageState,
    /// Its page, if any was ever read.
    pub log_page: Option<&'a LogPage>,
    /// Whether it has registered this host, and if not, why; `None`: it is not asked to.
    pub registration: Option<String>,
    /// Since when the kernel's present connection is up: names that connection.
    pub connected_since: Option<Time>,
    /// Whether it is announced by mDNS now; `None` when it never was.
    pub announced: Option<bool>,
    /// When it is given up, unless it is announced or connected before.
    pub given_up_at: Option<Time>,
    /// The record of a boot table that names it.
    pub boot_record: Option<&'a str>,
}
