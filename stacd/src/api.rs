//! stacd on D-Bus: translates calls into queries of the core. It decides nothing.

use libstas::bus::metrics::Sample;
use libstas::bus::{Callers, ControllerId, Dict, STAC_PATH, key, python};
use libstas::core::Time;
use libstas::core::daemon_core::DaemonCore as _;
use libstas::daemon::announce::Announce;
use libstas::daemon::answer;
use libstas::daemon::debug::{self, Debuggable, stopping};
use libstas::daemon::describe;
use libstas::daemon::event_loop::Handle;
use libstas::daemon::history::{History, StateChange};
use libstas::daemon::metrics;
use libstas::nvme::{Tid, shown};
use zbus::fdo;
use zbus::message::Header;
use zbus::object_server::{ResponseDispatchNotifier as Answer, SignalEmitter};

use crate::connector::{Connector, IocView};

/// The D-Bus interface `org.nvmexpress.stac`. Its calls are answered one after the other.
#[derive(Debug)]
pub struct Stac {
    connector: Handle<Connector>,
    history: History,
    callers: Callers,
}

/// The D-Bus interface `org.nvmexpress.stac.debug`.
pub type StacDebug = debug::StacDebug<Connector>;

impl Stac {
    /// Creates the D-Bus object for a core.
    #[must_use]
    pub fn new(connector: Handle<Connector>, history: History, callers: Callers) -> Self {
        Self { connector, history, callers }
    }
}

#[zbus::interface(name = "org.nvmexpress.stac", introspection_docs = true, spawn = false)]
#[allow(missing_docs)]
impl Stac {
    /// Returns the I/O controllers that stacd connects or keeps, and those that its configuration leaves out. With
    /// `detailed`, each dictionary has more keys. If the list would be longer than 16 MiB, controllers that only
    /// announced discovery controllers list have only the keys that identify them, and their state. Fails with
    /// `LimitsExceeded` if the list is still longer than 24 MiB.
    #[zbus(name = "list_controllers", out_args("controller_list"))]
    async fn list_controllers(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<Vec<Dict>>> {
        let permit = self.callers.admit(&header).await?;
        let history = self.history.clone();
        let list = move |connector: &Connector, now: Time| {
            let all = connector.controllers().into_iter().chain(connector.left_out());
            let describe = |ioc: IocView<'_>| {
                let mut dict = describe_ioc(&ioc, connector, now, detailed);
                if detailed {
                    describe::since(&mut dict, history.since(ioc.member.tid));
                }
                dict
            };
            all.map(describe).collect()
        };
        Ok(permit.answer(answer::list(self.connector.ask(list).await.map_err(stopping)?)?))
    }

    /// A controller is listed now. `controller` has the strings that identify it, its device (`nvme?` without one) and
    /// its `state` as in list_controllers; `cause` is the source that lists it.
    #[zbus(signal, name = "controller_added")]
    async fn controller_added(emitter: &SignalEmitter<'_>, controller: &Dict, cause: &str) -> zbus::Result<()>;

    /// A controller is no longer listed, for this cause. `device` is its last one.
    #[zbus(signal, name = "controller_removed")]
    async fn controller_removed(emitter: &SignalEmitter<'_>, controller: &Dict, cause: &str) -> zbus::Result<()>;

    /// The state of a controller has changed, or its device in the same state. `cause` is empty if nothing is known
    /// beyond the states.
    #[zbus(signal, name = "controller_state_changed")]
    async fn controller_state_changed(
        emitter: &SignalEmitter<'_>,
        controller: &Dict,
        old_state: &str,
        new_state: &str,
        cause: &str,
    ) -> zbus::Result<()>;
}

impl Debuggable for Connector {
    fn status(&self) -> String {
        status(self)
    }

    fn describe(&self, tid: &Tid, id: &ControllerId, now: Time) -> Option<Dict> {
        let mut all = self.controllers().into_iter().chain(self.left_out());
        let ioc = self.controller(tid).or_else(|| all.find(|ioc| id.may_mean(ioc.member.tid)))?;
        Some(describe_ioc(&ioc, self, now, true))
    }

    fn metrics(&self, _: Time) -> Vec<Sample> {
        let fleet = &self.reconciler().fleet;
        metrics::samples(self.statuses(), |tid| fleet.reason_kind(tid), fleet.counters())
    }
}

/// The state in one line: `12 I/O controllers, 12 connected`, and how many more are refused because of a configured
/// limit.
#[must_use]
pub fn status(connector: &Connector) -> String {
    let members = connector.controllers().into_iter().map(|ioc| ioc.member);
    describe::summary(members, "I/O controller", connector.refused())
}

fn describe_ioc(ioc: &IocView<'_>, connector: &Connector, now: Time, detailed: bool) -> Dict {
    if !detailed {
        return describe::basic(&ioc.member);
    }
    let identity = connector.settings().map(|settings| &*settings.identity);
    let mut dict = describe::detailed(&ioc.member, now, identity);
    if let Some(reason) = &ioc.kept_by_configuration {
        describe::mark_kept(&mut dict, reason);
    }
    let mut put = |key: &str, value: String| dict.insert(key.to_owned(), value);
    put(key::ORIGIN, ioc.origin.to_string());
    if let Some(record) = &ioc.boot_record {
        put(key::NBFT, record.clone());
    }
    let dlpe = ioc.dlpe.map(|entry| serde_json::to_value(entry.to_dict()).unwrap_or_default());
    put("dlpe", python::value(&dlpe.unwrap_or_default()));
    put("dlpe.eflags.ncc", python::python_bool(ioc.dlpe.is_some_and(|entry| entry.eflags.ncc())).to_owned());
    dict
}

/// A signal to send on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// A signal about an I/O controller.
    Changed(Box<StateChange>),
    /// The configuration switched the trace on or off.
    TraceChanged,
}

impl Announce for Announcement {
    async fn tell_all(&self, public: &zbus::Connection) -> zbus::Result<()> {
        tell(public, self).await
    }

    async fn tell_root(&self, root: &zbus::Connection) -> zbus::Result<()> {
        tell(root, self).await
    }
}

async fn tell(connection: &zbus::Connection, announcement: &Announcement) -> zbus::Result<()> {
    match announcement {
        Announcement::Changed(change) => send_change(&SignalEmitter::new(connection, STAC_PATH)?, change).await,
        Announcement::TraceChanged => StacDebug::tell_trace(connection, STAC_PATH).await,
    }
}

/// Sends the signal for a change of a controller.
async fn send_change(emitter: &SignalEmitter<'_>, change: &StateChange) -> zbus::Result<()> {
    let (controller, cause) = (describe::changed(change), shown(&change.cause));
    match (change.old, change.new) {
        (None, _) => Stac::controller_added(emitter, &controller, &cause).await,
        (Some(_), None) => Stac::controller_removed(emitter, &controller, &cause).await,
        (Some(old), Some(new)) => {
            let (old, new) = (old.to_string(), new.to_string());
            Stac::controller_state_changed(emitter, &controller, &old, &new, &cause).await
        }
    }
}
