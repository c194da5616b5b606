//! The debug interfaces `org.nvmexpress.staf.debug` and `org.nvmexpress.stac.debug`: the same for both daemons.

// A controller is identified by seven string arguments on the bus.
#![allow(clippy::too_many_arguments)]

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use zbus::fdo;
use zbus::message::Header;
use zbus::object_server::{ResponseDispatchNotifier as Answer, SignalEmitter};

use super::event_loop::{Handle, Stopped};
use super::history::History;
use super::process_info::ProcessInfo;
use super::{answer, describe};
use stas_bus::metrics::Sample;
use stas_bus::{BadControllerId, Callers, ControllerId, Dict};
use stas_core::daemon_core::DaemonCore;
use stas_core::plan::{Addresses, plan};
use stas_core::{Machine, Time};
use stas_nvme::{Tid, shown};

/// Queries of the debug interface to a daemon's core.
pub trait Debuggable: DaemonCore<Event: Send> + Send + 'static {
    /// Counts the controllers: `12 I/O controllers, 12 connected`.
    fn status(&self) -> String;

    /// Describes the controller with this TID, otherwise the first controller that `id` may mean. `None` if there is
    /// none.
    fn describe(&self, tid: &Tid, id: &ControllerId, now: Time) -> Option<Dict>;

    /// The metrics of the daemon.
    fn metrics(&self, now: Time) -> Vec<Sample>;
}

macro_rules! debug_interface {
    ($(#[$doc:meta])* $name:ident, $interface:tt) => {
        $(#[$doc])*
        pub struct $name<C: Machine> {
            core: Handle<C>,
            process: ProcessInfo,
            history: History,
            callers: Callers,
            other: Option<zbus::Connection>,
        }

        impl<C: Machine> fmt::Debug for $name<C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl<C: Debuggable> $name<C> {
            /// Creates the object for a core and its process.
            #[must_use]
            pub fn new(core: Handle<C>, process: ProcessInfo, history: History, callers: Callers) -> Self {
                Self { core, process, history, callers, other: None }
            }

            /// Signals on this connection, too, that a caller switched trace on or off. It must serve such an object at
            /// the same path.
            #[must_use]
            pub fn told_on(self, other: zbus::Connection) -> Self {
                Self { other: Some(other), ..self }
            }

            /// Signals that the configuration switched trace on or off.
            ///
            /// # Errors
            /// Fails if the bus is lost, or the object is not at this path.
            pub async fn tell_trace(connection: &zbus::Connection, path: &str) -> zbus::Result<()> {
                let emitter = SignalEmitter::new(connection, path)?;
                let interface = connection.object_server().interface::<_, Self>(path).await?;
                let debug = interface.get().await;
                debug.tron_changed(&emitter).await?;
                debug.log_level_changed(&emitter).await
            }
        }

        #[zbus::interface(name = $interface, introspection_docs = true, spawn = false)]
        #[allow(missing_docs)]
        impl<C: Debuggable> $name<C> {
            /// Whether trace is on: the daemon logs every step. Only root may set it. A reload sets it to the value in
            /// the configuration file.
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
                self.callers.require_root(connection, header.as_ref(), "switch trace on or off").await?;
                self.process.journal().set_tron(tron);
                self.log_level_changed(&emitter).await?;
                if let Some(other) = self.other.clone() {
                    let path = emitter.path().to_string();
                    // The answer does not wait for the other connection: the bus may take no messages of it.
                    tokio::spawn(async move {
                        if let Err(error) = Self::tell_trace(&other, &path).await {
                            tracing::warn!("cannot send a signal on D-Bus: {error}");
                        }
                    });
                }
                Ok(())
            }

            /// The log level: `DEBUG` while trace is on, otherwise `INFO`.
            #[zbus(property, name = "log_level")]
            fn log_level(&self) -> String {
                self.process.journal().level().to_owned()
            }

            /// Returns the state of the daemon's process and the host's identity, as a JSON object.
            #[zbus(name = "process_info", out_args("info_json"))]
            async fn process_info(
                &self,
                #[zbus(header)] header: Header<'_>,
            ) -> fdo::Result<Answer<String>> {
                let permit = self.callers.admit(&header).await?;
                Ok(permit.answer(process_info(&self.core, &self.process).await?))
            }

            /// Returns the keys of the detailed list for one controller, as a JSON object. It is empty if the
            /// controller is unknown.
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
                #[zbus(header)] header: Header<'_>,
            ) -> fdo::Result<Answer<String>> {
                let permit = self.callers.admit(&header).await?;
                let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
                Ok(permit.answer(controller_info(&self.core, id).await?))
            }

            /// Returns the metrics: numbers of controllers, and what the daemon has done since its start. Each sample
            /// has a name, labels and a value.
            #[zbus(name = "metrics", out_args("samples"))]
            async fn metrics(
                &self,
                #[zbus(header)] header: Header<'_>,
            ) -> fdo::Result<Answer<Vec<Sample>>> {
                let permit = self.callers.admit(&header).await?;
                Ok(permit.answer(self.core.ask(|core: &C, now: Time| core.metrics(now)).await.map_err(stopping)?))
            }

            /// Returns the controllers whose history is known, also removed ones.
            #[zbus(name = "list_histories", out_args("controller_list"))]
            async fn list_histories(
                &self,
                #[zbus(header)] header: Header<'_>,
            ) -> fdo::Result<Answer<Vec<Dict>>> {
                let permit = self.callers.admit(&header).await?;
                let all = self.history.controllers().iter().map(describe::remembered).collect();
                Ok(permit.answer(answer::list(all)?))
            }

            /// Returns which source lists a controller, and what happened to it, the oldest event first.
            #[zbus(name = "controller_history", out_args("source", "events"))]
            async fn controller_history(
                &self,
                transport: String,
                traddr: String,
                trsvcid: String,
                subsysnqn: String,
                host_traddr: String,
                host_iface: String,
                host_nqn: String,
                #[zbus(header)] header: Header<'_>,
            ) -> fdo::Result<(String, Vec<Dict>)> {
                let _permit = self.callers.admit(&header).await?;
                let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
                let Some(tid) = tid_of(&id)? else { return Ok(Default::default()) };
                let events = self.history.of(&tid).iter().map(describe::event).collect();
                let source = self.core.ask(move |core: &C, _: Time| source(core, &tid)).await.map_err(stopping)?;
                Ok((source.map(|source| shown(&source).into_owned()).unwrap_or_default(), events))
            }

            /// Returns what a reload would do if the daemon's configuration file had the content `conf`: the
            /// controllers, each with `change` and `reason`. Nothing is carried out. `addresses` contains the addresses
            /// of the host names in the file. Only root may call it, because it takes computing time.
            #[zbus(name = "plan_reload", out_args("controller_list"))]
            async fn plan_reload(
                &self,
                conf: String,
                addresses: BTreeMap<String, Vec<String>>,
                #[zbus(header)] header: Header<'_>,
                #[zbus(connection)] connection: &zbus::Connection,
            ) -> fdo::Result<Vec<Dict>> {
                self.callers.require_root(connection, Some(&header), "ask what a reload would do").await?;
                plan_reload(&self.core, conf, addresses).await
            }
        }
    };
}

debug_interface!(
    /// `org.nvmexpress.staf.debug`
    StafDebug,
    "org.nvmexpress.staf.debug"
);
debug_interface!(
    /// `org.nvmexpress.stac.debug`
    StacDebug,
    "org.nvmexpress.stac.debug"
);

async fn process_info<C: Debuggable>(core: &Handle<C>, process: &ProcessInfo) -> fdo::Result<String> {
    let process = process.clone();
    let info =
        move |core: &C, _: Time| process.to_json(core.settings().map(|settings| &*settings.identity), core.status());
    json(&core.ask(info).await.map_err(stopping)?)
}

async fn controller_info<C: Debuggable>(core: &Handle<C>, id: ControllerId) -> fdo::Result<String> {
    let Some(tid) = tid_of(&id)? else { return Ok("{}".to_owned()) };
    let info = move |core: &C, now: Time| core.describe(&tid, &id, now);
    json(&core.ask(info).await.map_err(stopping)?.unwrap_or_default())
}

/// Which source lists a controller, or why it is kept. `None` if it is not listed.
fn source<C: DaemonCore>(core: &C, tid: &Tid) -> Option<String> {
    core.statuses().any(|listed| listed.tid == tid).then(|| core.listed_by(tid))
}

async fn plan_reload<C: Debuggable>(
    core: &Handle<C>,
    conf: String,
    addresses: BTreeMap<String, Vec<String>>,
) -> fdo::Result<Vec<Dict>> {
    let parsed = |texts: Vec<String>| texts.iter().filter_map(|text| text.parse().ok()).collect();
    let addresses: Addresses = addresses.into_iter().map(|(name, texts)| (name, parsed(texts))).collect();
    // Planning takes time: only the copy is made in the event loop.
    let (copy, now) = core.ask(|core: &C, now: Time| (core.clone(), now)).await.map_err(stopping)?;
    let planning = tokio::task::spawn_blocking(move || plan(&copy, now, C::parse(conf.as_bytes(), "").0, &addresses));
    let planned = planning.await.map_err(|error| fdo::Error::Failed(error.to_string()))?;
    Ok(planned.iter().map(describe::planned).collect())
}

/// Converts the strings to a TID. `None` if the transport or the port is unknown.
///
/// # Errors
/// Fails if a string is too long for its field.
pub fn tid_of(id: &ControllerId) -> fdo::Result<Option<Tid>> {
    match id.tid() {
        Ok(tid) => Ok(Some(tid)),
        Err(BadControllerId::Transport(_) | BadControllerId::Port(_)) => Ok(None),
        Err(error @ BadControllerId::TooLong { .. }) => Err(fdo::Error::InvalidArgs(error.to_string())),
    }
}

/// Serializes a value as JSON.
///
/// # Errors
/// Fails if the value has no JSON form.
pub fn json(value: &impl Serialize) -> fdo::Result<String> {
    serde_json::to_string(value).map_err(|error| fdo::Error::Failed(error.to_string()))
}

/// The D-Bus error of a call while the daemon stops.
#[must_use]
pub fn stopping(stopped: Stopped) -> fdo::Error {
    fdo::Error::Failed(stopped.to_string())
}
