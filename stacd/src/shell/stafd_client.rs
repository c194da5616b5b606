//! stacd's D-Bus client of stafd: watches the owner of its bus name and its signals, and fetches its pages.
//!
//! The other side may be the stafd of nvme-stas or an earlier version of ours, which lack some methods. The name of the
//! D-Bus error distinguishes that from a failure. Every call has a time limit, and every fetch is answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libstas::bus::contract::{DcPage, StafdView, VERSION, dictionary, wire};
use libstas::bus::{CALL_TIMEOUT, ControllerId, LogPagesChanged, STAF_NAME, STAF_ROOT_NAME, StafProxy, next};
use libstas::core::OpId;
use libstas::daemon::event_loop::Handle;
use libstas::nvme::Tid;
use serde_json::Value;
use tokio::sync::Semaphore;
use zbus::Connection;
use zbus::DBusError as _;
use zbus::fdo::{self, DBusProxy};

use crate::connector::{Connector, Event, FetchError};

/// Time limit of a request to read a page again. Longer than the 60 s within which stafd reports success or failure.
pub const REFRESH_LIMIT: Duration = Duration::from_secs(90);

/// Maximum number of pages that are fetched at the same time: many can change at once, and each can have 16 MiB.
const PAGES_IN_FLIGHT: usize = 8;
/// The same for pages of discovery controllers that only mDNS announces. The others do not wait for them.
const ANNOUNCED_PAGES_IN_FLIGHT: usize = 2;

/// An event of stafd on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The unique name of the owner of stafd's bus name; `None` if it has no owner.
    Owner(Option<String>),
    /// A page has changed.
    PageChanged(Tid),
    /// A discovery controller was removed.
    DcRemoved,
}

impl From<Watched> for Event {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::Owner(owner) => Self::StafdOwner(owner),
            Watched::PageChanged(dc) => Self::PageChanged(dc),
            Watched::DcRemoved => Self::DcRemoved,
        }
    }
}

/// The client of stafd.
#[derive(Clone, Debug)]
pub struct StafdClient {
    connection: Connection,
    /// The bus name that is called, with the value of `owners` when it was found out: it may differ for another owner.
    name: Arc<tokio::sync::Mutex<Option<(u64, &'static str)>>>,
    /// True if stafd's last full answer had the format of the contract.
    has_contract: Arc<AtomicBool>,
    /// The exact strings that stafd uses for its discovery controllers: nvme-stas compares text, not addresses.
    wire_ids: Arc<Mutex<BTreeMap<Tid, ControllerId>>>,
    /// Limits the number of pages in flight.
    permits: Arc<Semaphore>,
    /// The same for announced discovery controllers.
    announced_permits: Arc<Semaphore>,
    /// Number of reported owners of stafd's name. A fetch that waits for its turn fails if it changes.
    owners: Arc<AtomicU64>,
}

impl StafdClient {
    /// Creates a client on a bus.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let permits = |number| Arc::new(Semaphore::new(number));
        Self {
            connection,
            name: Arc::default(),
            has_contract: Arc::default(),
            wire_ids: Arc::default(),
            permits: permits(PAGES_IN_FLIGHT),
            announced_permits: permits(ANNOUNCED_PAGES_IN_FLIGHT),
            owners: Arc::default(),
        }
    }

    /// Starts a full fetch; the answer is [`Event::AllFetched`].
    pub fn start_all(&self, op: OpId, connector: &Handle<Connector>) {
        let (client, connector) = (self.clone(), connector.clone());
        tokio::spawn(async move {
            let result = within(CALL_TIMEOUT, client.fetch_all()).await;
            connector.post(Event::AllFetched { op, result });
        });
    }

    /// Starts the fetch of one page; the answer is [`Event::PageFetched`]. `announced`: only mDNS announces the
    /// discovery controller.
    pub fn start_page(&self, op: OpId, dc: Tid, refresh: bool, announced: bool, connector: &Handle<Connector>) {
        let (client, connector) = (self.clone(), connector.clone());
        tokio::spawn(async move {
            let result = client.fetch_in_turn(&dc, refresh, announced).await;
            connector.post(Event::PageFetched { op, result });
        });
    }

    /// Fetches a page when few others are in flight. The time limits do not include the wait for that.
    async fn fetch_in_turn(&self, dc: &Tid, refresh: bool, announced: bool) -> Result<Option<DcPage>, FetchError> {
        if refresh {
            within(REFRESH_LIMIT, self.refresh_page(dc)).await?;
        }
        let owner = self.owners.load(Ordering::Relaxed);
        let _permit = if announced { &self.announced_permits } else { &self.permits }.acquire().await;
        if owner != self.owners.load(Ordering::Relaxed) {
            return Err(FetchError::Bus("stafd was restarted".to_owned()));
        }
        within(CALL_TIMEOUT, self.fetch_page(dc)).await
    }

    /// Fetches everything that stafd publishes.
    ///
    /// # Errors
    /// Fails if stafd does not answer, or not in a known format.
    pub async fn fetch_all(&self) -> Result<StafdView, FetchError> {
        let staf = self.proxy().await?;
        let view = match staf.get_published_pages(&[]).await {
            Ok(published) => decode(published),
            Err(error) if is_unknown(&error) || is_unreadable(&error) => {
                self.has_contract.store(false, Ordering::Relaxed);
                return self.fetch_all_dictionaries().await;
            }
            Err(error) => return Err(failed(error)),
        };
        self.has_contract.store(true, Ordering::Relaxed);
        self.set_wire_ids(view.dcs.iter().map(|page| (page.dc.clone(), ControllerId::of(&page.dc))));
        Ok(view)
    }

    /// Fetches everything from a stafd without the contract: nvme-stas, or an earlier version of ours.
    ///
    /// The removed controllers are fetched second. A controller that is removed between both calls is then in both
    /// answers, and a controller that is added again between them is in neither. In the other order, the controller
    /// that is added again would be in both, and would count as removed although stafd has it.
    async fn fetch_all_dictionaries(&self) -> Result<StafdView, FetchError> {
        let staf = self.public_proxy().await?;
        let json = staf.get_all_log_pages(true).await.map_err(failed)?;
        let pages: Vec<Value> = serde_json::from_str(&json).map_err(|error| FetchError::NotAList(error.to_string()))?;
        let published: Vec<(ControllerId, DcPage)> = pages.iter().filter_map(dictionary::page).collect();
        let removed = match staf.list_removed_controllers().await {
            Ok(list) => Some(list.iter().filter_map(dictionary::removed).collect()),
            Err(error) if is_unknown(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        self.set_wire_ids(published.iter().map(|(id, page)| (page.dc.clone(), id.clone())));
        Ok(StafdView { dcs: published.into_iter().map(|(_, page)| page).collect(), removed, ..StafdView::default() })
    }

    /// Lets stafd read a page again from the discovery controller. The stafd of nvme-stas cannot: its page counts as
    /// current.
    ///
    /// # Errors
    /// Fails if stafd does not answer, or could not read the page.
    pub async fn refresh_page(&self, dc: &Tid) -> Result<(), FetchError> {
        match self.proxy().await?.refresh_log_pages_of(&self.wire_id(dc)).await {
            Ok(_) => Ok(()),
            Err(error) if is_unknown(&error) && !self.has_contract.load(Ordering::Relaxed) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Fetches one page; `None` if stafd does not have the discovery controller.
    ///
    /// # Errors
    /// Fails if stafd does not answer.
    pub async fn fetch_page(&self, dc: &Tid) -> Result<Option<DcPage>, FetchError> {
        let staf = self.proxy().await?;
        let id = self.wire_id(dc);
        let page = match staf.get_published_pages(std::slice::from_ref(&id)).await {
            Ok(published) => decode(published).dcs.into_iter().next(),
            Err(error) if is_unknown(&error) || is_unreadable(&error) => {
                fetch_dictionary(&self.public_proxy().await?, dc, &id).await?
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(page.map(|page| DcPage { dc: dc.clone(), ..page }))
    }

    /// The strings that stafd uses for one of its controllers.
    fn wire_id(&self, dc: &Tid) -> ControllerId {
        let wire_id = self.wire_ids.lock().unwrap_or_else(PoisonError::into_inner).get(dc).cloned();
        wire_id.unwrap_or_else(|| ControllerId::of(dc))
    }

    /// Replaces the stored strings of stafd's controllers.
    fn set_wire_ids(&self, wire_ids: impl Iterator<Item = (Tid, ControllerId)>) {
        *self.wire_ids.lock().unwrap_or_else(PoisonError::into_inner) = wire_ids.collect();
    }

    async fn proxy(&self) -> Result<StafProxy<'static>, FetchError> {
        let owners = self.owners.load(Ordering::Relaxed);
        let mut known = self.name.lock().await;
        let name = match *known {
            Some((of, name)) if of == owners => name,
            _ => known.insert((owners, self.find_name().await.map_err(failed)?)).1,
        };
        StafProxy::at(&self.connection, name).await.map_err(failed)
    }

    async fn public_proxy(&self) -> Result<StafProxy<'static>, FetchError> {
        StafProxy::new(&self.connection).await.map_err(failed)
    }

    /// Finds out which name to call. An earlier stafd has only [`STAF_NAME`]. [`STAF_ROOT_NAME`] is called if the same
    /// process owns it.
    async fn find_name(&self) -> zbus::Result<&'static str> {
        let bus = DBusProxy::new(&self.connection).await?;
        let process = async |name: &'static str| match bus.get_connection_unix_process_id(name.try_into()?).await {
            Ok(process) => Ok(Some(process)),
            Err(fdo::Error::NameHasNoOwner(_)) => Ok(None),
            Err(error) => Err(zbus::Error::from(error)),
        };
        let root = process(STAF_ROOT_NAME).await?;
        let is_same = root.is_some() && root == process(STAF_NAME).await?;
        Ok(if is_same { STAF_ROOT_NAME } else { STAF_NAME })
    }

    /// Stores the strings of one of stafd's controllers.
    fn note(&self, id: ControllerId) -> Option<Tid> {
        let tid = id.tid().ok()?;
        self.wire_ids.lock().unwrap_or_else(PoisonError::into_inner).insert(tid.clone(), id);
        Some(tid)
    }

    /// Reports the owner of stafd's name and stafd's signals, until the bus connection is lost.
    ///
    /// The owner is reported first, and again whenever it changes.
    ///
    /// # Errors
    /// Fails if the bus refuses to send these signals.
    pub async fn watch(self, hear: impl Fn(Watched)) -> zbus::Result<()> {
        let bus = DBusProxy::new(&self.connection).await?;
        let mut owners = bus.receive_name_owner_changed_with_args(&[(0, STAF_NAME)]).await?;
        let staf = StafProxy::new(&self.connection).await?;
        let mut public_changes = staf.receive_log_pages_changed().await?;
        let mut public_losses = staf.receive_dc_removed().await?;
        let root = StafProxy::at(&self.connection, STAF_ROOT_NAME).await?;
        let mut changes = root.receive_log_pages_changed().await?;
        let mut losses = root.receive_dc_removed().await?;
        let hear = |watched: Watched| {
            if matches!(watched, Watched::Owner(_)) {
                self.owners.fetch_add(1, Ordering::Relaxed);
            }
            hear(watched);
        };
        hear(Watched::Owner(current_owner(&bus).await?));
        // A stafd with the name for root sends these signals on both connections: after the first one from the root
        // connection, those from the public one are ignored. The bus is not asked which kind of stafd it is: the answer
        // would wait behind signals that this loop does not take meanwhile.
        let mut is_root_heard = false;
        loop {
            tokio::select! {
                // Report a new owner before its signals.
                biased;
                signal = next(&mut owners) => {
                    let Some(signal) = signal else { return Ok(()) };
                    is_root_heard = false;
                    if let Ok(args) = signal.args() {
                        hear(Watched::Owner(args.new_owner.as_ref().map(ToString::to_string)));
                    }
                }
                signal = next(&mut changes) => {
                    let Some(signal) = signal else { return Ok(()) };
                    is_root_heard = true;
                    self.page_changed(&signal).map(&hear);
                }
                signal = next(&mut losses) => {
                    if signal.is_none() {
                        return Ok(());
                    }
                    is_root_heard = true;
                    hear(Watched::DcRemoved);
                }
                signal = next(&mut public_changes) => {
                    let Some(signal) = signal else { return Ok(()) };
                    if !is_root_heard {
                        self.page_changed(&signal).map(&hear);
                    }
                }
                signal = next(&mut public_losses) => {
                    if signal.is_none() {
                        return Ok(());
                    }
                    if !is_root_heard {
                        hear(Watched::DcRemoved);
                    }
                }
            }
        }
    }

    fn page_changed(&self, signal: &LogPagesChanged) -> Option<Watched> {
        self.note(signal.args().ok()?.controller_id()).map(Watched::PageChanged)
    }
}

async fn current_owner(bus: &DBusProxy<'_>) -> zbus::Result<Option<String>> {
    match bus.get_name_owner(STAF_NAME.try_into()?).await {
        Ok(owner) => Ok(Some(owner.to_string())),
        Err(fdo::Error::NameHasNoOwner(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Decodes the contract. Logs if its version is newer than ours.
fn decode(published: wire::Published) -> StafdView {
    if published.version > VERSION {
        tracing::debug!(
            "stafd publishes version {} of the contract, this stacd knows {VERSION}: nothing is disconnected because \
             of its log pages",
            published.version
        );
    }
    published.view()
}

/// Fetches one page from a stafd without the contract.
async fn fetch_dictionary(staf: &StafProxy<'_>, dc: &Tid, id: &ControllerId) -> Result<Option<DcPage>, FetchError> {
    match staf.controller_log_pages_of(id).await {
        Ok(json) => {
            let page = serde_json::from_str(&json).map_err(|error| FetchError::NotAPage(error.to_string()))?;
            Ok(dictionary::page(&page).map(|(_, page)| page))
        }
        Err(error) if is_unknown(&error) => fetch_page_of_nvme_stas(staf, dc, id).await,
        Err(error) => Err(failed(error)),
    }
}

/// Fetches one page from the stafd of nvme-stas, which returns an empty list both for an empty page and for an unknown
/// controller.
async fn fetch_page_of_nvme_stas(
    staf: &StafProxy<'_>,
    dc: &Tid,
    id: &ControllerId,
) -> Result<Option<DcPage>, FetchError> {
    let entries = staf.log_pages_of(id).await.map_err(failed)?;
    if entries.is_empty() {
        let known = staf.list_controllers(false).await.map_err(failed)?;
        if !known.iter().any(|dict| ControllerId::from_dict(dict) == *id) {
            return Ok(None);
        }
    }
    Ok(Some(dictionary::unstated_page(dc.clone(), &entries)))
}

/// True if the other side does not have the method.
fn is_unknown(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod",
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::UnknownMethod(_)),
        _ => false,
    }
}

/// True if the method of the other side has other argument types.
fn is_unreadable(error: &zbus::Error) -> bool {
    !matches!(error, zbus::Error::MethodError(..) | zbus::Error::FDO(_) | zbus::Error::InputOutput(_))
}

/// The error of stafd or the bus: its text, or its D-Bus name if it has no text.
fn failed(error: zbus::Error) -> FetchError {
    FetchError::Bus(match error {
        zbus::Error::MethodError(_, Some(text), _) => text,
        zbus::Error::FDO(error) => error.description().map_or_else(|| error.to_string(), str::to_owned),
        other => other.to_string(),
    })
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(FetchError::Timeout(limit)))
}
