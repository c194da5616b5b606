//! Typed client proxies, one for each interface.
//!
//! The member names are those of nvme-stas. Properties are not cached: a client reads once and ends.

// The seven strings that identify a controller are seven arguments on the bus, and the types of a signal are named
// after the signal as spelled there.
#![allow(clippy::too_many_arguments, non_camel_case_types)]

use std::collections::BTreeMap;

use zbus::Connection;
use zbus::fdo::DBusProxy;

use super::metrics::Sample;
use super::{
    ControllerId, Dict, STAC_NAME, STAC_PATH, STAC_ROOT_NAME, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, contract::wire,
};

/// stafd: discovery controllers and their log pages.
#[zbus::proxy(
    interface = "org.nvmexpress.staf",
    default_service = "org.nvmexpress.staf",
    default_path = "/org/nvmexpress/staf"
)]
pub trait Staf {
    /// The discovery controllers of stafd, as dictionaries.
    #[zbus(name = "list_controllers")]
    fn list_controllers(&self, detailed: bool) -> zbus::Result<Vec<Dict>>;

    /// The entries of one controller's discovery log page. Empty for an unknown controller.
    #[zbus(name = "get_log_pages")]
    fn get_log_pages(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> zbus::Result<Vec<Dict>>;

    /// All log pages, as JSON: a list of `{"discovery-controller": {...}, "log-pages": [{...}]}`.
    #[zbus(name = "get_all_log_pages")]
    fn get_all_log_pages(&self, detailed: bool) -> zbus::Result<String>;

    /// The discovery controllers that stafd removed, each with its `reason`. Not in nvme-stas.
    #[zbus(name = "list_removed_controllers")]
    fn list_removed_controllers(&self) -> zbus::Result<Vec<Dict>>;

    /// One controller and its log page, from the same moment: an element of the answer to `get_all_log_pages(true)`,
    /// `{}` for an unknown controller. Not in nvme-stas.
    #[zbus(name = "get_controller_log_pages")]
    fn get_controller_log_pages(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> zbus::Result<String>;

    /// The pages of the given controllers, or of all if none is given, and all removed ones: the contract between the
    /// daemons. Root only. Not in nvme-stas.
    #[zbus(name = "get_published_pages")]
    fn get_published_pages(&self, controllers: &[ControllerId]) -> zbus::Result<wire::Published>;

    /// Reads the log page from the controller and returns it. Only at [`super::STAF_ROOT_NAME`]. Not in nvme-stas.
    #[zbus(name = "refresh_log_pages")]
    fn refresh_log_pages(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> zbus::Result<Vec<Dict>>;

    /// A discovery log page was read for the first time, has changed, or is stale.
    #[zbus(signal, name = "log_pages_changed")]
    fn log_pages_changed(
        &self,
        transport: String,
        traddr: String,
        trsvcid: String,
        subsysnqn: String,
        host_traddr: String,
        host_iface: String,
        host_nqn: String,
        device: String,
    ) -> zbus::Result<()>;

    /// One or more discovery controllers were removed.
    #[zbus(signal, name = "dc_removed")]
    fn dc_removed(&self) -> zbus::Result<()>;
}

impl StafProxy<'_> {
    /// Creates a proxy for a tool: at the name that `tool_name` chooses.
    ///
    /// # Errors
    /// As `tool_name`.
    pub async fn of_stafd(connection: &Connection) -> zbus::Result<StafProxy<'static>> {
        Self::at(connection, tool_name(connection, &STAFD).await?).await
    }

    /// Creates a proxy for stafd at one of its names. `StafProxy::new` uses [`STAF_NAME`].
    ///
    /// # Errors
    /// Errors of creating a proxy.
    pub async fn at(connection: &Connection, name: &'static str) -> zbus::Result<StafProxy<'static>> {
        StafProxy::builder(connection).destination(name).build().await
    }

    /// Calls [`StafProxy::get_log_pages`] for a controller.
    ///
    /// # Errors
    /// Errors of the call.
    pub async fn log_pages_of(&self, id: &ControllerId) -> zbus::Result<Vec<Dict>> {
        self.get_log_pages(
            &id.transport,
            &id.traddr,
            &id.trsvcid,
            &id.subsysnqn,
            &id.host_traddr,
            &id.host_iface,
            &id.host_nqn,
        )
        .await
    }

    /// Calls [`StafProxy::get_controller_log_pages`] for a controller.
    ///
    /// # Errors
    /// Errors of the call.
    pub async fn controller_log_pages_of(&self, id: &ControllerId) -> zbus::Result<String> {
        self.get_controller_log_pages(
            &id.transport,
            &id.traddr,
            &id.trsvcid,
            &id.subsysnqn,
            &id.host_traddr,
            &id.host_iface,
            &id.host_nqn,
        )
        .await
    }

    /// Calls [`StafProxy::refresh_log_pages`] for a controller.
    ///
    /// # Errors
    /// Errors of the call, also if the controller is not connected.
    pub async fn refresh_log_pages_of(&self, id: &ControllerId) -> zbus::Result<Vec<Dict>> {
        self.refresh_log_pages(
            &id.transport,
            &id.traddr,
            &id.trsvcid,
            &id.subsysnqn,
            &id.host_traddr,
            &id.host_iface,
            &id.host_nqn,
        )
        .await
    }
}

pub use self::{
    dc_removedStream as DcRemovedStream, log_pages_changed as LogPagesChanged,
    log_pages_changedStream as LogPagesChangedStream,
};

impl log_pages_changedArgs<'_> {
    /// The discovery controller whose log page has changed.
    #[must_use]
    pub fn controller_id(&self) -> ControllerId {
        ControllerId {
            transport: self.transport.clone(),
            traddr: self.traddr.clone(),
            trsvcid: self.trsvcid.clone(),
            subsysnqn: self.subsysnqn.clone(),
            host_traddr: self.host_traddr.clone(),
            host_iface: self.host_iface.clone(),
            host_nqn: self.host_nqn.clone(),
        }
    }
}

/// stacd: I/O controllers.
#[zbus::proxy(
    interface = "org.nvmexpress.stac",
    default_service = "org.nvmexpress.stac",
    default_path = "/org/nvmexpress/stac"
)]
pub trait Stac {
    /// The I/O controllers of stacd, as dictionaries.
    #[zbus(name = "list_controllers")]
    fn list_controllers(&self, detailed: bool) -> zbus::Result<Vec<Dict>>;
}

impl StacProxy<'_> {
    /// Creates a proxy for a tool: at the name that `tool_name` chooses.
    ///
    /// # Errors
    /// As `tool_name`.
    pub async fn of_stacd(connection: &Connection) -> zbus::Result<StacProxy<'static>> {
        StacProxy::builder(connection).destination(tool_name(connection, &STACD).await?).build().await
    }
}

/// The debug interface of stafd and stacd.
#[zbus::proxy(assume_defaults = false)]
pub trait Debug {
    /// True while trace is on: the daemon logs at level `DEBUG`.
    #[zbus(property(emits_changed_signal = "false"), name = "tron")]
    fn tron(&self) -> zbus::Result<bool>;

    /// Switches trace on or off. Root only.
    #[zbus(property, name = "tron")]
    fn set_tron(&self, tron: bool) -> zbus::Result<()>;

    /// The log level: `DEBUG` or `INFO`.
    #[zbus(property(emits_changed_signal = "false"), name = "log_level")]
    fn log_level(&self) -> zbus::Result<String>;

    /// The state of the daemon's process, as JSON.
    #[zbus(name = "process_info")]
    fn process_info(&self) -> zbus::Result<String>;

    /// All data of one controller, as JSON. `{}` for an unknown controller.
    #[zbus(name = "controller_info")]
    fn controller_info(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> zbus::Result<String>;

    /// The controllers whose history is known, each with its last device and its state (`removed` if it is no longer
    /// listed). Not in nvme-stas.
    #[zbus(name = "list_histories")]
    fn list_histories(&self) -> zbus::Result<Vec<Dict>>;

    /// Which source lists a controller (empty: none), and what happened to it: `time` and `event` of each event, the
    /// oldest first. Not in nvme-stas.
    #[zbus(name = "controller_history")]
    fn controller_history(
        &self,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
    ) -> zbus::Result<(String, Vec<Dict>)>;

    /// The metrics of the daemon. Not in nvme-stas.
    #[zbus(name = "metrics")]
    fn metrics(&self) -> zbus::Result<Vec<Sample>>;

    /// What a reload would do if the daemon's own file had this content: the controllers, each with `change` and
    /// `reason`. `addresses` are those of the host names in it; a missing name cannot be resolved. Nothing is carried
    /// out. Root only. Not in nvme-stas.
    #[zbus(name = "plan_reload")]
    fn plan_reload(&self, conf: &str, addresses: &BTreeMap<String, Vec<String>>) -> zbus::Result<Vec<Dict>>;
}

impl DebugProxy<'_> {
    /// Creates a proxy for stafd's debug interface, for a tool: at the name that `tool_name` chooses.
    ///
    /// # Errors
    /// As `tool_name`.
    pub async fn of_stafd(connection: &Connection) -> zbus::Result<DebugProxy<'static>> {
        Self::at(connection, &STAFD, tool_name(connection, &STAFD).await?).await
    }

    /// As [`DebugProxy::of_stafd`], for stacd.
    ///
    /// # Errors
    /// As `tool_name`.
    pub async fn of_stacd(connection: &Connection) -> zbus::Result<DebugProxy<'static>> {
        Self::at(connection, &STACD, tool_name(connection, &STACD).await?).await
    }

    async fn at(connection: &Connection, daemon: &Names, name: &'static str) -> zbus::Result<DebugProxy<'static>> {
        let interface = format!("{}.debug", daemon.public);
        DebugProxy::builder(connection).destination(name).path(daemon.path).interface(interface).build().await
    }

    /// Calls [`DebugProxy::controller_history`] for a controller.
    ///
    /// # Errors
    /// Errors of the call.
    pub async fn controller_history_of(&self, id: &ControllerId) -> zbus::Result<(String, Vec<Dict>)> {
        self.controller_history(
            &id.transport,
            &id.traddr,
            &id.trsvcid,
            &id.subsysnqn,
            &id.host_traddr,
            &id.host_iface,
            &id.host_nqn,
        )
        .await
    }

    /// Calls [`DebugProxy::controller_info`] for a controller.
    ///
    /// # Errors
    /// Errors of the call.
    pub async fn controller_info_of(&self, id: &ControllerId) -> zbus::Result<String> {
        self.controller_info(
            &id.transport,
            &id.traddr,
            &id.trsvcid,
            &id.subsysnqn,
            &id.host_traddr,
            &id.host_iface,
            &id.host_nqn,
        )
        .await
    }
}

/// The names of a daemon.
#[derive(Debug)]
struct Names {
    /// The name for all users, also that of its interface.
    public: &'static str,
    /// The name that only root may call.
    root: &'static str,
    path: &'static str,
}

const STAFD: Names = Names { public: STAF_NAME, root: STAF_ROOT_NAME, path: STAF_PATH };
const STACD: Names = Names { public: STAC_NAME, root: STAC_ROOT_NAME, path: STAC_PATH };

/// The name at which a tool calls a daemon. For a tool that runs as root, it is the name for root, because other users
/// cannot prevent the answers there. It is the name for all users if the daemon does not serve the debug interface at
/// the name for root: nvme-stas 2.x does not own that name, and earlier builds of this project serve less there.
///
/// # Errors
/// Fails if the bus or the daemon does not answer.
async fn tool_name(connection: &Connection, daemon: &Names) -> zbus::Result<&'static str> {
    // The bus is asked for the user, because it decides by the user who may call the name for root.
    let Some(own) = connection.unique_name() else { return Ok(daemon.public) };
    let user = DBusProxy::new(connection).await?.get_connection_unix_user(own.clone().into()).await?;
    if user != 0 {
        return Ok(daemon.public);
    }
    match DebugProxy::at(connection, daemon, daemon.root).await?.log_level().await {
        Ok(_) => Ok(daemon.root),
        Err(zbus::Error::FDO(_) | zbus::Error::MethodError(..)) => Ok(daemon.public),
        Err(error) => Err(error),
    }
}

/// systemd's manager interface, used to start units.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Systemd {
    /// Queues a restart (or a start, if the unit is not running). Returns the job without waiting for its end.
    #[zbus(name = "RestartUnit")]
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<zbus::OwnedObjectPath>;

    /// Queues a start. Returns the job without waiting for its end.
    #[zbus(name = "StartUnit")]
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<zbus::OwnedObjectPath>;
}
