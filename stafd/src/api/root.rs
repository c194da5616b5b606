//! stafd at the name that only root may call: what stacd needs.

use std::sync::Arc;

use libstas::bus::contract::wire;
use libstas::bus::{ControllerId, Dict, require_root};
use libstas::core::Time;
use libstas::daemon::debug::stopping;
use libstas::daemon::event_loop::{Handle, Stopped};
use libstas::nvme::shown;
use zbus::fdo;
use zbus::message::Header;

use super::{Refreshes, ask_about, log_pages, published_pages};
use crate::finder::{Event, Finder, RefreshError};

/// The D-Bus interface `org.nvmexpress.staf` of the name `org.nvmexpress.staf.root`.
///
/// Its calls are answered concurrently, unlike those of [`super::Staf`]: reading a page can take a minute.
#[derive(Debug)]
pub struct StafRoot {
    finder: Handle<Finder>,
    refreshes: Arc<Refreshes>,
}

impl StafRoot {
    /// Creates the D-Bus object. The shell answers `refreshes`.
    #[must_use]
    pub fn new(finder: Handle<Finder>, refreshes: Arc<Refreshes>) -> Self {
        Self { finder, refreshes }
    }
}

#[zbus::interface(name = "org.nvmexpress.staf", introspection_docs = true)]
#[allow(missing_docs)]
impl StafRoot {
    /// Returns what stacd needs: the log pages of these controllers, or of all if the list is empty, and the removed
    /// controllers. If the pages together exceed 16 MiB, those that do not fit have the key `left-out` and no
    /// entries, those of announced discovery controllers first: request these alone. Its keys may change with the
    /// `version`; other programs should use get_all_log_pages.
    #[zbus(name = "get_published_pages", out_args("published"))]
    async fn get_published_pages(&self, controllers: Vec<ControllerId>) -> fdo::Result<wire::Published> {
        published_pages(&self.finder, controllers).await
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
        let Some(dc) = ask_about(&self.finder, id, |dc, _, _| dc.member.tid.clone()).await? else {
            return Err(fdo::Error::Failed("there is no such discovery controller".to_owned()));
        };
        let (token, answer) = self.refreshes.add_caller();
        self.finder.post(Event::Refresh { token, dc: dc.clone() });
        let failed = |why: RefreshError| fdo::Error::Failed(shown(&why.to_string()).into_owned());
        answer.await.map_err(|_| stopping(Stopped))?.map_err(failed)?;
        let pages = move |finder: &Finder, _: Time| finder.controller(&dc).map(|dc| log_pages(&dc));
        Ok(self.finder.ask(pages).await.map_err(stopping)?.unwrap_or_default())
    }
}
