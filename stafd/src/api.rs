//! stafd on D-Bus: translates calls into queries of the core, and its effects into signals. It decides nothing.

// Seven strings identify a controller; each is an argument of the D-Bus methods.
#![allow(clippy::too_many_arguments)]

mod root;

pub use root::StafRoot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use libstas::bus::contract::{StafdView, dictionary, wire};
use libstas::bus::metrics::{PAGE_AGE, Sample};
use libstas::bus::python::python_bool;
use libstas::bus::{Callers, ControllerId, Dict, STAC_ROOT_NAME, STAF_PATH, STAF_ROOT_NAME, key};
use libstas::core::Time;
use libstas::core::daemon_core::DaemonCore as _;
use libstas::core::trust::Trust;
use libstas::daemon::announce::Announce;
use libstas::daemon::answer;
use libstas::daemon::debug::{self, Debuggable, json, stopping, tid_of};
use libstas::daemon::describe;
use libstas::daemon::event_loop::Handle;
use libstas::daemon::history::{History, StateChange};
use libstas::daemon::metrics;
use libstas::nvme::{Tid, shown};
use serde::Serialize;
use tokio::sync::oneshot;
use zbus::message::Header;
use zbus::names::BusName;
use zbus::object_server::{ResponseDispatchNotifier as Answer, SignalEmitter};
use zbus::{Connection, fdo};

use crate::finder::{DcView, Finder, RefreshError};

/// Maximum number of unknown discovery controllers in a request for pages: stacd may ask for some that were just
/// removed.
const UNKNOWN_MAX: usize = 64;

/// Maximum length of an answer with all pages, in bytes. An answer to a request that names its controllers has no
/// limit: stacd requests one at a time. The bus disconnects a daemon that sends more than its `max_message_size`, in
/// dbus-daemon 32 MiB. Any host can announce discovery controllers with large pages.
const ANSWER_MAX: usize = 16 << 20;

/// Approximate length of an entry in an answer without its three strings, in bytes.
const ENTRY_OVERHEAD: usize = 400;

/// The D-Bus interface `org.nvmexpress.staf`. Its calls are answered one after the other.
#[derive(Debug)]
pub struct Staf {
    finder: Handle<Finder>,
    history: History,
    callers: Callers,
}

/// The D-Bus interface `org.nvmexpress.staf.debug`.
pub type StafDebug = debug::StafDebug<Finder>;

/// One discovery controller and its page, in the JSON answers.
#[derive(Serialize)]
struct PublishedJson {
    #[serde(rename = "discovery-controller")]
    controller: Dict,
    #[serde(rename = "log-pages")]
    log_pages: Vec<Dict>,
}

impl Staf {
    /// Creates the D-Bus object.
    #[must_use]
    pub fn new(finder: Handle<Finder>, history: History, callers: Callers) -> Self {
        Self { finder, history, callers }
    }

    /// Queries one discovery controller; `None` if no controller has that name.
    async fn ask_about<R: Send + 'static>(
        &self,
        id: ControllerId,
        question: impl FnOnce(&DcView<'_>, &Finder, Time) -> R + Send + 'static,
    ) -> fdo::Result<Option<R>> {
        ask_about(&self.finder, id, question).await
    }
}

#[zbus::interface(name = "org.nvmexpress.staf", introspection_docs = true, spawn = false)]
#[allow(missing_docs)]
impl Staf {
    /// Returns the discovery controllers that stafd connects or keeps, and those that its configuration leaves out.
    /// With `detailed`, each dictionary has more keys. If the list would be longer than 16 MiB, discovery controllers
    /// that depend on mDNS alone have only the keys that identify them, and their state. Fails with `LimitsExceeded` if
    /// the list is still longer than 24 MiB.
    #[zbus(name = "list_controllers", out_args("controller_list"))]
    async fn list_controllers(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<Vec<Dict>>> {
        let permit = self.callers.admit(&header).await?;
        let history = self.history.clone();
        let list = move |finder: &Finder, now: Time| {
            let all = finder.controllers().into_iter().chain(finder.left_out());
            all.map(|dc| describe_since(&dc, finder, &history, now, detailed)).collect()
        };
        Ok(permit.answer(answer::list(self.finder.ask(list).await.map_err(stopping)?)?))
    }

    /// Returns the entries of the last log page of a discovery controller. Empty if the controller is unknown, or no
    /// page was read.
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
        let permit = self.callers.admit(&header).await?;
        let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
        Ok(permit.answer(self.ask_about(id, |dc, _, _| log_pages(dc)).await?.unwrap_or_default()))
    }

    /// Returns all discovery controllers with their log pages, as JSON: an array of objects with the members
    /// `discovery-controller` and `log-pages`. With `detailed`, each controller has the keys of the detailed list.
    /// Fails with `LimitsExceeded` if all pages together are too long for an answer (16 MiB): use get_log_pages then.
    #[zbus(name = "get_all_log_pages", out_args("log_pages_json"))]
    async fn get_all_log_pages(
        &self,
        detailed: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<Answer<String>> {
        let permit = self.callers.admit(&header).await?;
        let history = self.history.clone();
        let list = move |finder: &Finder, now: Time| {
            let publish = |dc: DcView<'_>| PublishedJson {
                controller: describe_since(&dc, finder, &history, now, detailed),
                log_pages: log_pages(&dc),
            };
            let all = finder.controllers();
            fits(&all).then(|| all.into_iter().map(publish).collect::<Vec<_>>())
        };
        let Some(all) = self.finder.ask(list).await.map_err(stopping)? else {
            let text = format!(
                "all log pages together are longer than {} MiB, which is too long for the bus; request the page of each \
                 discovery controller (get_log_pages, `stafctl dlp`)",
                ANSWER_MAX >> 20
            );
            return Err(fdo::Error::LimitsExceeded(text));
        };
        Ok(permit.answer(json(&all)?))
    }

    /// Returns a discovery controller and its log page from the same moment, as JSON: an object as in get_all_log_pages
    /// with `detailed`. It is empty if the controller is unknown.
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
        let permit = self.callers.admit(&header).await?;
        let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
        let history = self.history.clone();
        let publish = move |dc: &DcView<'_>, finder: &Finder, now| PublishedJson {
            controller: describe_since(dc, finder, &history, now, true),
            log_pages: log_pages(dc),
        };
        let published = self.ask_about(id, publish).await?;
        Ok(permit.answer(published.map_or_else(|| Ok("{}".to_owned()), |published| json(&published))?))
    }

    /// Returns the discovery controllers that stafd has removed, each with the `reason`: `configuration`, `excluded`,
    /// `referral gone` or `aged out`.
    #[zbus(name = "list_removed_controllers", out_args("controller_list"))]
    async fn list_removed_controllers(&self, #[zbus(header)] header: Header<'_>) -> fdo::Result<Answer<Vec<Dict>>> {
        let permit = self.callers.admit(&header).await?;
        let list = |finder: &Finder, _: Time| {
            finder.removed().into_iter().map(|removed| dictionary::of_removed(&removed.published())).collect()
        };
        Ok(permit.answer(self.finder.ask(list).await.map_err(stopping)?))
    }

    /// As at the name org.nvmexpress.staf.root, for earlier versions of stacd. The bus lets only root call it.
    #[zbus(name = "get_published_pages", out_args("published"))]
    async fn get_published_pages(&self, controllers: Vec<ControllerId>) -> fdo::Result<wire::Published> {
        published_pages(&self.finder, controllers).await
    }

    /// Always fails. It is a method of the name org.nvmexpress.staf.root.
    #[zbus(name = "refresh_log_pages", out_args("log_pages"))]
    async fn refresh_log_pages(
        &self,
        _transport: &str,
        _traddr: &str,
        _trsvcid: &str,
        _subsysnqn: &str,
        _host_traddr: &str,
        _host_iface: &str,
        _host_nqn: &str,
    ) -> fdo::Result<Vec<Dict>> {
        // For an earlier stacd, an unknown method means that no stafd of this version can read a page again: it would
        // take the old page for a new one.
        Err(fdo::Error::NotSupported(format!("call it at the name {STAF_ROOT_NAME}")))
    }

    /// The log page of a discovery controller was read for the first time, has changed, or is stale; or there is a new
    /// discovery controller that does not depend on mDNS alone. A page is stale if the connection was lost, a reported
    /// change was not read within 0.4 s, or a removed controller is used again.
    /// The strings identify the controller; `device` is its device (`nvme?` without one).
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

    /// At least one discovery controller was removed. list_removed_controllers returns the reason.
    #[zbus(signal, name = "dc_removed")]
    async fn dc_removed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

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

impl Debuggable for Finder {
    fn status(&self) -> String {
        status(self)
    }

    fn describe(&self, tid: &Tid, id: &ControllerId, now: Time) -> Option<Dict> {
        let left_out = || self.left_out().into_iter().find(|dc| id.may_mean(dc.member.tid));
        let dc = best_match(self, tid, id).or_else(left_out)?;
        Some(describe_dc(&dc, self, now, true))
    }

    fn metrics(&self, now: Time) -> Vec<Sample> {
        let fleet = &self.reconciler().fleet;
        let mut samples = metrics::samples(self.statuses(), |tid| fleet.reason_kind(tid), fleet.counters());
        let (announced, others): (Vec<_>, Vec<_>) =
            self.pages_read().partition(|(tid, _)| fleet.is_announced_only(tid));
        samples.extend(others.into_iter().map(|(tid, at)| {
            let id = ControllerId::of(tid);
            // All of its identity: monitoring refuses two values with the same labels.
            let labels = [
                (key::TRANSPORT, id.transport.as_str()),
                (key::TRADDR, &id.traddr),
                (key::TRSVCID, &id.trsvcid),
                (key::SUBSYSNQN, &id.subsysnqn),
                (key::HOST_TRADDR, &id.host_traddr),
                (key::HOST_IFACE, &id.host_iface),
                (key::HOST_NQN, &id.host_nqn),
            ];
            Sample::new(PAGE_AGE, &labels, now.since(at).as_secs_f64())
        }));
        // One value for all announced ones: any host can announce new ones all the time, and each would be a new
        // series.
        samples.extend(announced.into_iter().map(|(_, at)| at).min().map(|oldest| {
            let trust = Trust::AnnouncedDc.to_string();
            Sample::new(PAGE_AGE, &[(key::TRUST, &trust)], now.since(oldest).as_secs_f64())
        }));
        samples
    }
}

/// The state in one line: `3 discovery controllers, 2 connected`, and how many more are refused because of a
/// configured limit.
#[must_use]
pub fn status(finder: &Finder) -> String {
    let members = finder.controllers().into_iter().map(|dc| dc.member);
    describe::summary(members, "discovery controller", finder.refused())
}

async fn published_pages(finder: &Handle<Finder>, controllers: Vec<ControllerId>) -> fdo::Result<wire::Published> {
    finder.ask(move |finder: &Finder, _: Time| published(finder, &controllers)).await.map_err(stopping)?
}

async fn ask_about<R: Send + 'static>(
    finder: &Handle<Finder>,
    id: ControllerId,
    question: impl FnOnce(&DcView<'_>, &Finder, Time) -> R + Send + 'static,
) -> fdo::Result<Option<R>> {
    let Some(tid) = tid_of(&id)? else { return Ok(None) };
    let ask = move |finder: &Finder, now: Time| Some(question(&best_match(finder, &tid, &id)?, finder, now));
    finder.ask(ask).await.map_err(stopping)
}

/// The discovery controller with that TID, otherwise the first that the strings may mean.
fn best_match<'a>(finder: &'a Finder, tid: &Tid, id: &ControllerId) -> Option<DcView<'a>> {
    finder.controller(tid).or_else(|| finder.controllers().into_iter().find(|dc| id.may_mean(dc.member.tid)))
}

/// The approximate length of a page in an answer, in bytes.
fn length(dc: &DcView<'_>) -> usize {
    let entries = dc.log_page.into_iter().flat_map(|page| &page.entries);
    let entries = entries.map(|entry| ENTRY_OVERHEAD + entry.subnqn.len() + entry.traddr.len() + entry.trsvcid.len());
    entries.sum::<usize>() + dc.unclear_entries().count() * ENTRY_OVERHEAD
}

/// True if the pages of these discovery controllers fit into one answer.
fn fits(dcs: &[DcView<'_>]) -> bool {
    dcs.iter().map(length).sum::<usize>() <= ANSWER_MAX
}

/// What is published to stacd: the pages of the `requested` controllers, each once, or of all if none is requested. If
/// the answer with all of them would be longer than [`ANSWER_MAX`], pages are left out.
///
/// # Errors
/// `InvalidArgs` if many more controllers are requested than there are: the search would block the event loop.
fn published(finder: &Finder, requested: &[ControllerId]) -> fdo::Result<wire::Published> {
    if requested.is_empty() {
        let mut left = ANSWER_MAX;
        // The trusted pages first: pages of announced controllers must not use up the answer.
        let mut controllers = finder.controllers();
        controllers.sort_by_key(DcView::is_announced_only);
        let page = |dc: &DcView<'_>| match left.checked_sub(length(dc)) {
            Some(rest) => {
                left = rest;
                wire::Page::of(&dc.published())
            }
            None => wire::Page::left_out_of(&dc.published_without_page()),
        };
        let pages = controllers.iter().map(page).collect();
        return Ok(wire::Published { pages, ..wire::Published::of(&finder.published_without_controllers()) });
    }
    let (number, existing) = (requested.len(), finder.controllers().len());
    let limit = existing + UNKNOWN_MAX;
    if number > limit {
        let text = format!(
            "{number} discovery controllers are requested, at most {limit} are allowed ({existing} exist); without any, \
             all are sent"
        );
        return Err(fdo::Error::InvalidArgs(text));
    }
    // Remove duplicates before copying: a page may have many entries.
    let found = requested.iter().filter_map(|id| Some(best_match(finder, &id.tid().ok()?, id)?.member.tid.clone()));
    let found: BTreeSet<Tid> = found.collect();
    let dcs = found.iter().filter_map(|tid| Some(finder.controller(tid)?.published())).collect();
    Ok(wire::Published::of(&StafdView { dcs, ..finder.published_without_controllers() }))
}

/// As [`describe_dc`]; with `detailed` also the time since when it is in its state.
fn describe_since(dc: &DcView<'_>, finder: &Finder, history: &History, now: Time, detailed: bool) -> Dict {
    let mut dict = describe_dc(dc, finder, now, detailed);
    if detailed {
        describe::since(&mut dict, history.since(dc.member.tid));
    }
    dict
}

fn describe_dc(dc: &DcView<'_>, finder: &Finder, now: Time, detailed: bool) -> Dict {
    if !detailed {
        return describe::basic(&dc.member);
    }
    let identity = finder.settings().map(|settings| &*settings.identity);
    let mut dict = describe::detailed(&dc.member, now, identity);
    dict.insert(key::ORIGIN.to_owned(), dc.origin.to_string());
    dict.insert(key::LOG_PAGE_STATE.to_owned(), dc.log_page_state.sent(!dc.unclear().is_empty()).to_string());
    if let Some(failure) = dc.log_page_failure {
        dict.insert(key::LOG_PAGE_FAILURE.to_owned(), shown(&failure.to_string()).into_owned());
    }
    if let Some(reason) = &dc.kept_by_configuration {
        describe::mark_kept(&mut dict, reason);
    }
    if let Some(registration) = &dc.registration {
        dict.insert(key::REGISTRATION.to_owned(), shown(registration).into_owned());
    }
    if let Some(record) = dc.boot_record {
        dict.insert(key::NBFT.to_owned(), record.to_owned());
    }
    if let Some(announced) = dc.announced {
        dict.insert(key::ANNOUNCED.to_owned(), python_bool(announced).to_owned());
    }
    if let Some(at) = dc.given_up_at {
        dict.insert(key::GIVEN_UP_IN.to_owned(), describe::span(at.since(now)));
    }
    if let Some(since) = dc.connected_since {
        dict.insert(key::CONNECTED_SINCE.to_owned(), dictionary::moment(since));
    }
    dict
}

fn log_pages(dc: &DcView<'_>) -> Vec<Dict> {
    dc.log_page.map(|page| page.entries.iter().map(|entry| entry.to_dict()).collect()).unwrap_or_default()
}

/// D-Bus callers that wait for a log page to be read.
#[derive(Debug, Default)]
pub struct Refreshes(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    callers: BTreeMap<u64, oneshot::Sender<Result<(), RefreshError>>>,
}

impl Refreshes {
    /// Adds a caller. Returns its token, and the receiver of the answer.
    fn add_caller(&self) -> (u64, oneshot::Receiver<Result<(), RefreshError>>) {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops callers that have disconnected.
        waiting.callers.retain(|_, caller| !caller.is_closed());
        waiting.last += 1;
        let token = waiting.last;
        waiting.callers.insert(token, sender);
        (token, answer)
    }

    /// Sends the core's answer to the caller.
    pub fn answer(&self, token: u64, result: Result<(), RefreshError>) {
        let caller = self.0.lock().unwrap_or_else(PoisonError::into_inner).callers.remove(&token);
        if let Some(caller) = caller {
            // The caller may have disconnected.
            let _ = caller.send(result);
        }
    }
}

/// A D-Bus signal to send. It is unrelated to announcements by mDNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The signal `log_pages_changed`.
    PagesChanged {
        /// The discovery controller that the page belongs to.
        dc: ControllerId,
        /// The device of the discovery controller, or `nvme?`.
        device: String,
    },
    /// The signal `dc_removed`.
    DcRemoved,
    /// A signal about a discovery controller.
    Changed(Box<StateChange>),
    /// The configuration switched the trace on or off.
    TraceChanged,
}

impl Announce for Announcement {
    async fn tell_all(&self, public: &Connection) -> zbus::Result<()> {
        tell(public, None, self).await
    }

    async fn tell_root(&self, root: &Connection) -> zbus::Result<()> {
        // What only stacd needs is sent to stacd alone.
        let destination = match self {
            Self::PagesChanged { .. } | Self::DcRemoved => Some(STAC_ROOT_NAME.try_into()?),
            Self::Changed(_) | Self::TraceChanged => None,
        };
        tell(root, destination, self).await
    }
}

/// Sends a signal to one destination, or to all subscribers.
async fn tell(
    connection: &Connection,
    destination: Option<BusName<'_>>,
    announcement: &Announcement,
) -> zbus::Result<()> {
    let mut emitter = SignalEmitter::new(connection, STAF_PATH)?;
    if let Some(destination) = destination {
        emitter = emitter.set_destination(destination);
    }
    match announcement {
        Announcement::PagesChanged { dc, device } => {
            Staf::log_pages_changed(
                &emitter,
                &dc.transport,
                &dc.traddr,
                &dc.trsvcid,
                &dc.subsysnqn,
                &dc.host_traddr,
                &dc.host_iface,
                &dc.host_nqn,
                device,
            )
            .await
        }
        Announcement::DcRemoved => Staf::dc_removed(&emitter).await,
        Announcement::Changed(change) => send_change(&emitter, change).await,
        Announcement::TraceChanged => StafDebug::tell_trace(connection, STAF_PATH).await,
    }
}

/// Sends the signal for a change of a controller.
async fn send_change(emitter: &SignalEmitter<'_>, change: &StateChange) -> zbus::Result<()> {
    let (controller, cause) = (describe::changed(change), shown(&change.cause));
    match (change.old, change.new) {
        (None, _) => Staf::controller_added(emitter, &controller, &cause).await,
        (Some(_), None) => Staf::controller_removed(emitter, &controller, &cause).await,
        (Some(old), Some(new)) => {
            let (old, new) = (old.to_string(), new.to_string());
            Staf::controller_state_changed(emitter, &controller, &old, &new, &cause).await
        }
    }
}
