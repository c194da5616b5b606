//! stacd on D-Bus: translates calls into queries of the core. It decides nothing.

use libstas::bus::{Callers, ControllerId, Dict, key, python};
use libstas::conf::stacd;
use libstas::core::Time;
use libstas::core::plan::{Addresses, Planned};
use libstas::daemon::debug::{self, Debuggable, stopping};
use libstas::daemon::describe;
use libstas::daemon::event_loop::Handle;
use libstas::nvme::{HostIdentity, Tid};
use zbus::fdo;
use zbus::message::Header;
use zbus::object_server::ResponseDispatchNotifier as Answer;

use crate::connector::{Connector, IocView};

/// The D-Bus interface `org.nvmexpress.stac`.
#[derive(Debug)]
pub struct Stac {
    connector: Handle<Connector>,
    callers: Callers,
}

/// The D-Bus interface `org.nvmexpress.stac.debug`.
pub type StacDebug = debug::StacDebug<Connector>;

impl Stac {
    /// Creates the D-Bus object for a core.
    #[must_use]
    pub fn new(connector: Handle<Connector>) -> Self {
        Self { connector, callers: Callers::default() }
    }
}

#[zbus::interface(name = "org.nvmexpress.stac", introspection_docs = false)]
#[allow(missing_docs)]
impl Stac {
    #[zbus(name = "list_controllers", out_args("controller_list"))]
    async fn list_controllers(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> fdo::Result<Answer<Vec<Dict>>> {
        let place = self.callers.admit(connection, &header).await?;
        let list = move |connector: &Connector, now: Time| {
            let all = connector.controllers().into_iter().chain(connector.left_out());
            all.map(|ioc| describe_ioc(&ioc, connector, now, detailed)).collect()
        };
        Ok(place.answer(self.connector.ask(list).await.map_err(stopping)?))
    }
}

impl Debuggable for Connector {
    fn identity(&self) -> Option<&HostIdentity> {
        self.settings().map(|settings| &*settings.identity)
    }

    fn status(&self) -> String {
        status(self)
    }

    fn describe(&self, tid: &Tid, id: &ControllerId, now: Time) -> Option<Dict> {
        let mut all = self.controllers().into_iter().chain(self.left_out());
        let ioc = self.controller(tid).or_else(|| all.find(|ioc| id.may_mean(ioc.member.tid)))?;
        Some(describe_ioc(&ioc, self, now, true))
    }

    fn plan(&self, conf: &[u8], addresses: &Addresses, now: Time) -> Vec<Planned> {
        Connector::plan(self, now, stacd::parse(conf, "").0, addresses)
    }
}

/// The state in one line: `12 I/O controllers, 12 connected`, and how many more a bound of the configuration refuses.
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
    if let Some(reason) = &ioc.held {
        describe::held(&mut dict, reason);
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
