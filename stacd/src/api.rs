//! stacd on D-Bus: translates calls into questions to the core. It decides nothing.

// The seven strings that name a controller are seven arguments on the bus.
#![allow(clippy::too_many_arguments)]

use libstas::bus::{BadControllerId, ControllerId, Dict, STAC_PATH, key, require_root};
use libstas::cli::pprint;
use libstas::core::Time;
use libstas::daemon::describe;
use libstas::daemon::event_loop::{Handle, Stopped};
use libstas::daemon::process_info::ProcessInfo;
use serde::Serialize;
use zbus::fdo;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use crate::connector::{Connector, IocView};

/// `org.nvmexpress.stac`.
#[derive(Debug)]
pub struct Stac {
    connector: Handle<Connector>,
}

/// `org.nvmexpress.stac.debug`.
#[derive(Debug)]
pub struct StacDebug {
    connector: Handle<Connector>,
    process: ProcessInfo,
}

impl Stac {
    /// The object.
    #[must_use]
    pub fn new(connector: Handle<Connector>) -> Self {
        Self { connector }
    }
}

#[zbus::interface(name = "org.nvmexpress.stac", introspection_docs = false)]
#[allow(missing_docs)]
impl Stac {
    #[zbus(name = "list_controllers", out_args("controller_list"))]
    async fn list_controllers(&self, detailed: bool) -> fdo::Result<Vec<Dict>> {
        let list = move |connector: &Connector, now: Time| {
            connector.controllers().iter().map(|ioc| describe_ioc(ioc, connector, now, detailed)).collect()
        };
        self.connector.ask(list).await.map_err(stopping)
    }
}

impl StacDebug {
    /// The object.
    #[must_use]
    pub fn new(connector: Handle<Connector>, process: ProcessInfo) -> Self {
        Self { connector, process }
    }
}

#[zbus::interface(name = "org.nvmexpress.stac.debug", introspection_docs = false)]
#[allow(missing_docs)]
impl StacDebug {
    #[zbus(property, name = "tron")]
    fn tron(&self) -> bool {
        self.process.journal().tron()
    }

    #[zbus(property, name = "tron")]
    async fn set_tron(
        &self,
        tron: bool,
        #[zbus(header)] header: Option<Header<'_>>,
        #[zbus(connection)] connection: &zbus::Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<()> {
        require_root(connection, header.as_ref(), "switch trace on or off").await?;
        self.process.journal().set_tron(tron);
        self.log_level_changed(&emitter).await?;
        Ok(())
    }

    #[zbus(property, name = "log_level")]
    fn log_level(&self) -> String {
        self.process.journal().level().to_owned()
    }

    #[zbus(name = "process_info", out_args("info_json"))]
    async fn process_info(&self) -> fdo::Result<String> {
        let process = self.process.clone();
        let info = move |connector: &Connector, _: Time| {
            let identity = connector.settings().map(|settings| &*settings.identity);
            process.to_json(identity, status(connector))
        };
        json(&self.connector.ask(info).await.map_err(stopping)?)
    }

    #[zbus(name = "controller_info", out_args("info_json"))]
    async fn controller_info(
        &self,
        transport: String,
        traddr: String,
        trsvcid: String,
        subsysnqn: String,
        host_traddr: String,
        host_iface: String,
        host_nqn: String,
    ) -> fdo::Result<String> {
        let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
        let tid = match id.tid() {
            Ok(tid) => tid,
            Err(BadControllerId::Transport(_) | BadControllerId::Port(_)) => return Ok("{}".to_owned()),
            Err(error @ BadControllerId::TooLong { .. }) => return Err(fdo::Error::InvalidArgs(error.to_string())),
        };
        let describe = move |connector: &Connector, now: Time| {
            let meant = || connector.controllers().into_iter().find(|ioc| id.may_mean(ioc.member.tid));
            let ioc = connector.controller(&tid).or_else(meant)?;
            Some(describe_ioc(&ioc, connector, now, true))
        };
        json(&self.connector.ask(describe).await.map_err(stopping)?.unwrap_or_default())
    }
}

/// `12 I/O controllers, 12 connected`.
#[must_use]
pub fn status(connector: &Connector) -> String {
    describe::summary(connector.controllers().into_iter().map(|ioc| ioc.member), "I/O controller")
}

/// Tells that the configuration switched trace on or off.
///
/// # Errors
/// The bus is gone.
pub async fn tell_trace(connection: &zbus::Connection) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, STAC_PATH)?;
    let interface = connection.object_server().interface::<_, StacDebug>(STAC_PATH).await?;
    let debug = interface.get().await;
    debug.tron_changed(&emitter).await?;
    debug.log_level_changed(&emitter).await
}

fn describe_ioc(ioc: &IocView<'_>, connector: &Connector, now: Time, detailed: bool) -> Dict {
    if !detailed {
        return describe::basic(&ioc.member);
    }
    let identity = connector.settings().map(|settings| &*settings.identity);
    let mut dict = describe::detailed(&ioc.member, now, identity);
    let mut put = |key: &str, value: String| dict.insert(key.to_owned(), value);
    put(key::ORIGIN, ioc.origin.to_string());
    if let Some(record) = &ioc.boot_record {
        put(key::NBFT, record.clone());
    }
    let dlpe = ioc.dlpe.map(|entry| serde_json::to_value(entry.to_dict()).unwrap_or_default());
    put("dlpe", pprint::repr(&dlpe.unwrap_or_default()));
    put("dlpe.eflags.ncc", describe::python_bool(ioc.dlpe.is_some_and(|entry| entry.eflags.ncc())).to_owned());
    dict
}

fn json(value: &impl Serialize) -> fdo::Result<String> {
    serde_json::to_string(value).map_err(|error| fdo::Error::Failed(error.to_string()))
}

fn stopping(stopped: Stopped) -> fdo::Error {
    fdo::Error::Failed(stopped.to_string())
}
