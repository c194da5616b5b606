//! stafd at the name that only root may call: for stacd, and for the tools of root.

use std::sync::Arc;

use libstas::bus::contract::wire;
use libstas::bus::{Callers, ControllerId, Dict, require_root};
use libstas::core::Time;
use libstas::daemon::debug::stopping;
use libstas::daemon::event_loop::{Handle, Stopped};
use libstas::daemon::history::History;
use libstas::nvme::shown;
use zbus::fdo;
use zbus::message::Header;
use zbus::object_server::{ResponseDispatchNotifier as Answer, SignalEmitter};

use super::{Refreshes, Staf, ask_about, log_pages, published_pages};
use crate::finder::{Event, Finder, RefreshError};

/// The D-Bus interface `org.nvmexpress.staf` of the name `org.nvmexpress.staf.root`.
///
/// Its calls are answered concurrently, unlike those of [`super::Staf`]: reading a page can take a minute.
#[derive(Debug)]
pub struct StafRoot {
    staf: Staf,
    refreshes: Arc<Refreshes>,
}

impl StafRoot {
    /// Creates the D-Bus object. The shell answers `refreshes`.
    #[must_use]
    pub fn new(finder: Handle<Finder>, history: History, refreshes: Arc<Refreshes>) -> Self {
        Self { staf: Staf::new(finder, history, Callers::only_root()), refreshes }
    }
}

#[zbus::interface(name = "org.nvmexpress.staf", introspection_docs = true)]
#[allow(missing_docs)]
impl StafRoot {
    /// As at the name org.nvmexpress.staf.
    #[zbus(name = "list_controllers", out_args("controller_list"))]
    async fn list_controllers(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<Vec<Dict>>> {
        self.staf.list_controllers(detailed, header).await
    }

    /// As at the name org.nvmexpress.staf.
    #[zbus(name = "get_log_pages", out_args("log_pages"))]
    async fn get_log_pages(
        &self,
        transport: String,
        traddr: String,
        trsvcid: String,
        subsysnqn: String,
        host_traddr: String,
        host_iface: String,
        host_nqn: String,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<Vec<Dict>>> {
        let staf = &self.staf;
        staf.get_log_pages(transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn, header).await
    }

    /// As at the name org.nvmexpress.staf.
    #[zbus(name = "get_all_log_pages", out_args("log_pages_json"))]
    async fn get_all_log_pages(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<String>> {
        self.staf.get_all_log_pages(detailed, header).await
    }

    /// As at the name org.nvmexpress.staf.
    #[zbus(name = "get_controller_log_pages", out_args("log_pages_json"))]
    async fn get_controller_log_pages(
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
        let staf = &self.staf;
        staf.get_controller_log_pages(transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn, header)
            .await
    }

    /// As at the name org.nvmexpress.staf.
    #[zbus(name = "list_removed_controllers", out_args("controller_list"))]
    async fn list_removed_controllers(&self, #[zbus(header)] header: Header<'_>) -> fdo::Result<Answer<Vec<Dict>>> {
        self.staf.list_removed_controllers(header).await
    }

    /// Returns what stacd needs: the log pages of these controllers, or of all if the list is empty, and the removed
    /// controllers. If the pages together exceed 16 MiB, those that do not fit have the key `left-out` and no
    /// entries, those of announced discovery controllers first: request these alone. Its keys may change with the
    /// `version`; other programs should use get_all_log_pages.
    #[zbus(name = "get_published_pages", out_args("published"))]
    async fn get_published_pages(&self, controllers: Vec<ControllerId>) -> fdo::Result<wire::Published> {
        published_pages(&self.staf.finder, controllers).await
    }

    /// Reads the log page from the discovery controller again, and returns its entries.
    #[zbus(name = "refresh_log_pages", out_args("log_pages"))]
    async fn refresh_log_pages(
        &self,
        transport: String,
        traddr: String,
        trsvcid: String,
        subsysnqn: String,
        host_traddr: String,
        host_iface: String,
        host_nqn: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &zbus::Connection,
    ) -> fdo::Result<Vec<Dict>> {
        // Checked again, although the bus refuses other users: this causes network traffic.
        require_root(connection, Some(&header), "request that log pages are read again").await?;
        let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
        let Some(dc) = ask_about(&self.staf.finder, id, |dc, _, _| dc.member.tid.clone()).await? else {
            return Err(fdo::Error::Failed("there is no such discovery controller".to_owned()));
        };
        let (token, answer) = self.refreshes.add_caller();
        self.staf.finder.post(Event::Refresh { token, dc: dc.clone() });
        let failed = |why: RefreshError| fdo::Error::Failed(shown(&why.to_string()).into_owned());
        answer.await.map_err(|_| stopping(Stopped))?.map_err(failed)?;
        let pages = move |finder: &Finder, _: Time| finder.controller(&dc).map(|dc| log_pages(&dc));
        Ok(self.staf.finder.ask(pages).await.map_err(stopping)?.unwrap_or_default())
    }

    /// As from the name org.nvmexpress.staf, but only to stacd.
    #[zbus(signal, name = "log_pages_changed")]
    async fn log_pages_changed(
        emitter: &SignalEmitter<'_>,
        transport: &str,
        traddr: &str,
        trsvcid: &str,
        subsysnqn: &str,
        host_traddr: &str,
        host_iface: &str,
        host_nqn: &str,
        device: &str,
    ) -> zbus::Result<()>;

    /// As from the name org.nvmexpress.staf, but only to stacd.
    #[zbus(signal, name = "dc_removed")]
    async fn dc_removed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    /// As from the name org.nvmexpress.staf, but only to root.
    #[zbus(signal, name = "controller_added")]
    async fn controller_added(emitter: &SignalEmitter<'_>, controller: &Dict, cause: &str) -> zbus::Result<()>;

    /// As from the name org.nvmexpress.staf, but only to root.
    #[zbus(signal, name = "controller_removed")]
    async fn controller_removed(emitter: &SignalEmitter<'_>, controller: &Dict, cause: &str) -> zbus::Result<()>;

    /// As from the name org.nvmexpress.staf, but only to root.
    #[zbus(signal, name = "controller_state_changed")]
    async fn controller_state_changed(
        emitter: &SignalEmitter<'_>,
        controller: &Dict,
        old_state: &str,
        new_state: &str,
        cause: &str,
    ) -> zbus::Result<()>;
}
