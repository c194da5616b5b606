//! stacd's way to stafd: who owns its bus name, what it signals, and the calls that fetch what it knows.
//!
//! The other side may be the stafd of nvme-stas, which lacks some members: they are told from a failure by the
//! error's name. Every call has an end, and every fetch an answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libstas::bus::{CALL_TIMEOUT, ControllerId, Dict, STAF_NAME, StafProxy, key, next};
use libstas::core::OpId;
use libstas::daemon::describe;
use libstas::daemon::event_loop::Handle;
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;
use serde_json::Value;
use zbus::Connection;
use zbus::DBusError as _;
use zbus::fdo::{self, DBusProxy};

use crate::connector::{Connector, DcPage, Event, PageState, RemovedDc, StafdView};

/// A discovery controller answers within 60 s or not at all; stafd tells which.
pub const REFRESH_LIMIT: Duration = Duration::from_secs(90);

/// What is heard of stafd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Who owns its bus name, by unique name.
    Owner(Option<String>),
    /// That page has changed.
    PageChanged(Tid),
    /// A discovery controller was given up.
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

/// What can be asked of stafd.
#[derive(Clone, Debug)]
pub struct StafdClient {
    connection: Connection,
    /// How stafd spells its discovery controllers: nvme-stas compares text, not addresses.
    spelled: Arc<Mutex<BTreeMap<Tid, ControllerId>>>,
}

impl StafdClient {
    /// A client on that bus.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, spelled: Arc::default() }
    }

    /// Starts a full fetch; the answer is [`Event::AllFetched`].
    pub fn start_all(&self, op: OpId, connector: &Handle<Connector>) {
        let (client, connector) = (self.clone(), connector.clone());
        tokio::spawn(async move {
            let result = within(CALL_TIMEOUT, client.fetch_all()).await;
            connector.post(Event::AllFetched { op, result });
        });
    }

    /// Starts the fetch of one page; the answer is [`Event::PageFetched`].
    pub fn start_page(&self, op: OpId, dc: Tid, refresh: bool, connector: &Handle<Connector>) {
        let (client, connector) = (self.clone(), connector.clone());
        let limit = if refresh { REFRESH_LIMIT } else { CALL_TIMEOUT };
        tokio::spawn(async move {
            let result = within(limit, client.fetch_page(&dc, refresh)).await;
            connector.post(Event::PageFetched { op, result });
        });
    }

    /// Everything that stafd knows.
    ///
    /// The list of those given up comes second: a controller that is given up in between is in both answers, and one
    /// that is taken back in between is in neither. The other way round it would be given up here and kept there.
    ///
    /// # Errors
    /// stafd does not answer, or not in its own words.
    pub async fn fetch_all(&self) -> Result<StafdView, String> {
        let staf = self.proxy().await?;
        let json = staf.get_all_log_pages(true).await.map_err(text)?;
        let pages: Vec<Value> =
            serde_json::from_str(&json).map_err(|error| format!("its answer is no list: {error}"))?;
        let published: Vec<(ControllerId, DcPage)> = pages.iter().filter_map(parse_page).collect();
        let removed = match staf.list_removed_controllers().await {
            Ok(list) => Some(list.iter().filter_map(parse_removed).collect()),
            Err(error) if is_unknown(&error) => None,
            Err(error) => return Err(text(error)),
        };
        *self.spelled.lock().unwrap_or_else(PoisonError::into_inner) =
            published.iter().map(|(id, page)| (page.dc.clone(), id.clone())).collect();
        Ok(StafdView { dcs: published.into_iter().map(|(_, page)| page).collect(), removed })
    }

    /// One page, `None` when stafd knows no such discovery controller. With `refresh`, stafd has it read anew first,
    /// where it can.
    ///
    /// # Errors
    /// stafd does not answer, or the page could not be read anew.
    pub async fn fetch_page(&self, dc: &Tid, refresh: bool) -> Result<Option<DcPage>, String> {
        let staf = self.proxy().await?;
        let spelled = self.spelled.lock().unwrap_or_else(PoisonError::into_inner).get(dc).cloned();
        let id = spelled.unwrap_or_else(|| ControllerId::of(dc));
        if refresh {
            match staf.refresh_log_pages_of(&id).await {
                Err(error) if !is_unknown(&error) => return Err(text(error)),
                _ => {}
            }
        }
        match staf.controller_log_pages_of(&id).await {
            Ok(json) => {
                let page = serde_json::from_str(&json).map_err(|error| format!("its answer is no page: {error}"))?;
                Ok(parse_page(&page).map(|(_, page)| DcPage { dc: dc.clone(), ..page }))
            }
            Err(error) if is_unknown(&error) => fetch_page_of_nvme_stas(&staf, dc, &id).await,
            Err(error) => Err(text(error)),
        }
    }

    async fn proxy(&self) -> Result<StafProxy<'static>, String> {
        StafProxy::new(&self.connection).await.map_err(text)
    }

    /// Keeps in mind how stafd spells a controller.
    fn note(&self, id: ControllerId) -> Option<Tid> {
        let tid = id.tid().ok()?;
        self.spelled.lock().unwrap_or_else(PoisonError::into_inner).insert(tid.clone(), id);
        Some(tid)
    }

    /// Tells who owns stafd's name and what stafd signals, until the bus is gone.
    ///
    /// The owner comes first, and again whenever it changes.
    ///
    /// # Errors
    /// The bus does not let us listen.
    pub async fn watch(self, hear: impl Fn(Watched)) -> zbus::Result<()> {
        let bus = DBusProxy::new(&self.connection).await?;
        let mut owners = bus.receive_name_owner_changed_with_args(&[(0, STAF_NAME)]).await?;
        let staf = StafProxy::new(&self.connection).await?;
        let mut changes = staf.receive_log_pages_changed().await?;
        let mut losses = staf.receive_dc_removed().await?;
        hear(Watched::Owner(current_owner(&bus).await?));
        loop {
            tokio::select! {
                // An owner before what it says.
                biased;
                signal = next(&mut owners) => {
                    let Some(signal) = signal else { return Ok(()) };
                    if let Ok(args) = signal.args() {
                        hear(Watched::Owner(args.new_owner.as_ref().map(ToString::to_string)));
                    }
                }
                signal = next(&mut changes) => {
                    let Some(signal) = signal else { return Ok(()) };
                    if let Some(tid) = signal.args().ok().and_then(|args| self.note(args.controller_id())) {
                        hear(Watched::PageChanged(tid));
                    }
                }
                signal = next(&mut losses) => {
                    if signal.is_none() {
                        return Ok(());
                    }
                    hear(Watched::DcRemoved);
                }
            }
        }
    }
}

async fn current_owner(bus: &DBusProxy<'_>) -> zbus::Result<Option<String>> {
    match bus.get_name_owner(STAF_NAME.try_into()?).await {
        Ok(owner) => Ok(Some(owner.to_string())),
        Err(fdo::Error::NameHasNoOwner(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The stafd of nvme-stas answers with an empty list both for an empty page and for a controller it does not know.
async fn fetch_page_of_nvme_stas(staf: &StafProxy<'_>, dc: &Tid, id: &ControllerId) -> Result<Option<DcPage>, String> {
    let entries = staf.log_pages_of(id).await.map_err(text)?;
    if entries.is_empty() {
        let known = staf.list_controllers(false).await.map_err(text)?;
        if !known.iter().any(|dict| ControllerId::from_dict(dict) == *id) {
            return Ok(None);
        }
    }
    let entries = entries.iter().filter_map(parse_entry).collect();
    Ok(Some(DcPage { dc: dc.clone(), state: PageState::Unstated, connected_since: None, entries }))
}

/// An element of what `get_all_log_pages` answers. What names no controller is left out.
fn parse_page(published: &Value) -> Option<(ControllerId, DcPage)> {
    let controller = dictionary(published.get(key::DISCOVERY_CONTROLLER)?)?;
    let id = ControllerId::from_dict(&controller);
    let dc = id.tid().ok()?;
    let state = match controller.get(key::LOG_PAGE_STATE).map(String::as_str) {
        None => PageState::Unstated,
        Some("fresh") => PageState::Fresh,
        Some("never") => PageState::Never,
        // A word of a later version proves nothing either.
        Some(_) => PageState::Saved,
    };
    let connected_since = controller.get(key::CONNECTED_SINCE).and_then(|text| describe::parse_moment(text));
    let listed = published.get(key::LOG_PAGES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let entries = listed.iter().filter_map(dictionary).filter_map(|dict| parse_entry(&dict)).collect();
    Some((id, DcPage { dc, state, connected_since, entries }))
}

fn parse_removed(dict: &Dict) -> Option<RemovedDc> {
    let dc = ControllerId::from_dict(dict).tid().ok()?;
    let aged_out = dict.get(key::REASON).is_some_and(|reason| reason == "aged out");
    Some(RemovedDc { dc, aged_out })
}

fn parse_entry(dict: &Dict) -> Option<Entry> {
    Entry::from_dict(dict).inspect_err(|error| tracing::debug!("a log entry of stafd is left out: {error}")).ok()
}

/// A JSON object as a dictionary of strings; nvme-stas has a null here and there.
fn dictionary(value: &Value) -> Option<Dict> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Some(value.as_object()?.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

/// True when the other side lacks the member.
fn is_unknown(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod",
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::UnknownMethod(_)),
        _ => false,
    }
}

/// What stafd or the bus said, without the error's formal name where there is a text.
fn text(error: zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text,
        zbus::Error::FDO(error) => error.description().map_or_else(|| error.to_string(), str::to_owned),
        other => other.to_string(),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("stafd does not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(late)
}
