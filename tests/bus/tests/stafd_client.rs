//! stacd's client of stafd on a real bus: with this version, earlier and later ones, and the stafd of nvme-stas.
// Seven strings identify a controller; each is an argument of the D-Bus methods.
#![allow(clippy::unwrap_used, clippy::too_many_arguments)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::contract::wire::{Page, Published};
use libstas::bus::contract::{DcPage, Origin, PageState, RemovalReason, RemovedDc, StafdView, VERSION, dictionary};
use libstas::bus::{ControllerId, Dict, STAF_NAME, STAF_PATH, STAF_ROOT_NAME};
use libstas::core::Time;
use libstas::nvme::{DISCOVERY_NQN, Tid};
use stacd::connector::FetchError;
use stacd::shell::stafd_client::{StafdClient, Watched};
use tokio::sync::mpsc;
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, fdo};

const LIMIT: Duration = Duration::from_secs(10);

fn dict(pairs: &[(&str, &str)]) -> Dict {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The controller as stafd writes it, which is not the canonical form.
fn spelled() -> Dict {
    dict(&[
        ("transport", "tcp"),
        ("traddr", "2001:DB8::1"),
        ("trsvcid", "8009"),
        ("subsysnqn", DISCOVERY_NQN),
        ("host-traddr", ""),
        ("host-iface", ""),
        ("host-nqn", ""),
        ("device", "nvme0"),
    ])
}

fn tid() -> Tid {
    ControllerId::from_dict(&spelled()).tid().unwrap()
}

fn entry(subnqn: &str) -> Dict {
    dict(&[
        ("trtype", "tcp"),
        ("adrfam", "ipv6"),
        ("traddr", "2001:db8::9"),
        ("trsvcid", "4420"),
        ("subnqn", subnqn),
        ("subtype", "nvme"),
        ("treq", "not required"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("eflags", "4"),
    ])
}

fn names(page: &DcPage) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.subnqn.as_str()).collect()
}

/// The stafd of nvme-stas: it compares text, and has only the members of its first version.
struct Python;

impl Python {
    fn knows(parts: [&str; 7]) -> bool {
        let [transport, traddr, ..] = parts;
        transport == "tcp" && traddr == "2001:DB8::1"
    }
}

#[zbus::interface(name = "org.nvmexpress.staf")]
impl Python {
    #[zbus(name = "list_controllers")]
    fn list_controllers(&self, _detailed: bool) -> Vec<Dict> {
        vec![spelled()]
    }

    #[zbus(name = "get_log_pages")]
    fn get_log_pages(&self, a: &str, b: &str, c: &str, d: &str, e: &str, f: &str, g: &str) -> Vec<Dict> {
        if Self::knows([a, b, c, d, e, f, g]) { vec![entry("nqn.klingons")] } else { Vec::new() }
    }

    #[zbus(name = "get_all_log_pages")]
    fn get_all_log_pages(&self, _detailed: bool) -> String {
        let mut controller = serde_json::to_value(spelled()).unwrap();
        // It does not report an origin for this controller.
        controller["origin"] = serde_json::Value::Null;
        let mut unreadable = controller.clone();
        unreadable["traddr"] = "2001:db8::2".into();
        serde_json::json!([
            { "discovery-controller": controller, "log-pages": [entry("nqn.klingons")] },
            { "discovery-controller": unreadable, "log-pages": [entry("nqn.klingons"), { "trtype": "?" }, 7] },
            { "discovery-controller": { "transport": "carrier pigeon" }, "log-pages": [] },
            { "log-pages": [] },
            null,
        ])
        .to_string()
    }
}

/// The first released version of ours: without `get_published_pages`.
#[derive(Default)]
struct Released {
    refuses: AtomicBool,
    refreshed: AtomicBool,
}

#[zbus::interface(name = "org.nvmexpress.staf")]
impl Released {
    #[zbus(name = "get_all_log_pages")]
    fn get_all_log_pages(&self, _detailed: bool) -> String {
        format!("[{}]", published("nqn.klingons"))
    }

    #[zbus(name = "list_removed_controllers")]
    fn list_removed_controllers(&self) -> Vec<Dict> {
        let removed = |traddr: &str, reason: &str| {
            let mut dict = spelled();
            dict.extend(self::dict(&[("traddr", traddr), ("reason", reason)]));
            dict
        };
        let names = [("192.0.2.1", "aged out"), ("192.0.2.2", "excluded"), ("192.0.2.3", "stardate")];
        names.map(|(traddr, reason)| removed(traddr, reason)).into_iter().chain([Dict::new()]).collect()
    }

    #[zbus(name = "get_controller_log_pages")]
    fn get_controller_log_pages(&self, _a: &str, b: &str, _c: &str, _d: &str, _e: &str, _f: &str, _g: &str) -> String {
        let nqn = if self.refreshed.load(Ordering::Relaxed) { "nqn.refreshed" } else { "nqn.klingons" };
        if b.eq_ignore_ascii_case("2001:db8::1") { published(nqn) } else { "{}".to_owned() }
    }

    #[zbus(name = "refresh_log_pages")]
    fn refresh_log_pages(
        &self,
        _a: &str,
        _c: &str,
        _d: &str,
        _e: &str,
        _f: &str,
        _g: &str,
        _h: &str,
    ) -> fdo::Result<Vec<Dict>> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(fdo::Error::Failed("it is not connected".to_owned()));
        }
        self.refreshed.store(true, Ordering::Relaxed);
        Ok(Vec::new())
    }

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

    #[zbus(signal, name = "dc_removed")]
    async fn dc_removed(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

/// A stafd that publishes the contract, of this version or of a later one.
struct Current {
    version: u32,
    /// It leaves all pages out of the answer with all of them, as if they were too long.
    leaves_out: bool,
}

/// A view with a field that only the dictionaries lack.
fn current_view() -> StafdView {
    let page = DcPage {
        dc: tid(),
        state: PageState::Fresh,
        connected_since: Some(Time(Duration::new(12, 5))),
        origin: Origin::Referral,
        follows_configured: false,
        generation: None,
        entries: dictionary::unstated_page(tid(), &[entry("nqn.romulans")]).entries,
        unclear: Vec::new(),
    };
    let removed = RemovedDc { dc: tid(), reason: RemovalReason::Configuration };
    StafdView { dcs: vec![page], removed: Some(vec![removed]), is_complete: true, left_out: Vec::new() }
}

#[zbus::interface(name = "org.nvmexpress.staf")]
impl Current {
    #[zbus(name = "get_published_pages")]
    fn get_published_pages(&self, controllers: Vec<ControllerId>) -> Published {
        let mut published = Published { version: self.version, ..Published::of(&current_view()) };
        published.pages.retain(|page| controllers.is_empty() || controllers.contains(&page.controller));
        if self.leaves_out && controllers.is_empty() {
            let without = |page: DcPage| DcPage { state: PageState::Unknown, entries: Vec::new(), ..page };
            published.pages = current_view().dcs.into_iter().map(|page| Page::left_out_of(&without(page))).collect();
        }
        published
    }
}

/// A later stafd whose method has other types.
struct Reshaped;

#[zbus::interface(name = "org.nvmexpress.staf")]
impl Reshaped {
    #[zbus(name = "get_published_pages")]
    fn get_published_pages(&self, _controllers: Vec<ControllerId>) -> (u32, String) {
        (9, "stardate".to_owned())
    }

    #[zbus(name = "get_all_log_pages")]
    fn get_all_log_pages(&self, _detailed: bool) -> String {
        format!("[{}]", published("nqn.klingons"))
    }

    #[zbus(name = "list_removed_controllers")]
    fn list_removed_controllers(&self) -> Vec<Dict> {
        Vec::new()
    }

    #[zbus(name = "get_controller_log_pages")]
    fn get_controller_log_pages(&self, _a: &str, _b: &str, _c: &str, _d: &str, _e: &str, _f: &str, _g: &str) -> String {
        published("nqn.klingons")
    }
}

fn published(nqn: &str) -> String {
    let mut controller = spelled();
    controller.extend(dict(&[("log-page-state", "fresh"), ("connected-since", "12.000000005")]));
    serde_json::json!({ "discovery-controller": controller, "log-pages": [entry(nqn)] }).to_string()
}

async fn connect(bus: &PrivateBus) -> Connection {
    Builder::address(bus.address()).build().await.unwrap()
}

async fn serve<I: zbus::object_server::Interface>(bus: &PrivateBus, stafd: I) -> Connection {
    Builder::address(bus.address()).serve_at(STAF_PATH, stafd).name(STAF_NAME).build().await.unwrap()
}

#[tokio::test]
async fn everything_is_fetched_from_the_first_release() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Released::default()).await;
    let view = StafdClient::new(connect(&bus).await).fetch_all().await.unwrap();
    let [page] = view.dcs.as_slice() else { panic!("{view:?}") };
    assert_eq!((page.state, &page.dc), (PageState::Fresh, &tid()));
    assert_eq!(page.connected_since, Some(Time(Duration::new(12, 5))));
    assert_eq!(names(page), ["nqn.klingons"]);
    let removed = view.removed.unwrap();
    assert_eq!(
        removed.iter().map(|dc| (dc.dc.traddr.as_str(), dc.reason.spares_live())).collect::<Vec<_>>(),
        [("192.0.2.1", true), ("192.0.2.2", false), ("192.0.2.3", true)]
    );
}

#[tokio::test]
async fn the_contract_is_fetched_from_this_version() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Current { version: VERSION, leaves_out: false }).await;
    let client = StafdClient::new(connect(&bus).await);
    assert_eq!(client.fetch_all().await, Ok(current_view()));
    assert_eq!(client.fetch_page(&tid()).await, Ok(current_view().dcs.pop()));
    let unknown = ControllerId { traddr: "192.0.2.77".into(), ..ControllerId::of(&tid()) }.tid().unwrap();
    assert_eq!(client.fetch_page(&unknown).await, Ok(None));
}

/// A client that watches, and what it hears. There is no stafd yet.
async fn watching(bus: &PrivateBus) -> (StafdClient, mpsc::UnboundedReceiver<Watched>) {
    let (sender, mut heard) = mpsc::unbounded_channel();
    let client = StafdClient::new(connect(bus).await);
    tokio::spawn(client.clone().watch(move |watched| drop(sender.send(watched))));
    assert_eq!(next_of(&mut heard).await, Watched::Owner(None));
    (client, heard)
}

async fn next_of(heard: &mut mpsc::UnboundedReceiver<Watched>) -> Watched {
    tokio::time::timeout(LIMIT, heard.recv()).await.unwrap().unwrap()
}

/// Its old page would count as a new one.
#[tokio::test]
async fn a_stafd_with_the_contract_must_be_able_to_read_a_page_again() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Current { version: VERSION, leaves_out: false }).await;
    let client = StafdClient::new(connect(&bus).await);
    client.fetch_all().await.unwrap();
    assert!(client.refresh_page(&tid()).await.is_err());
}

/// Calls of other users do not delay those at that name.
#[tokio::test]
async fn the_contract_is_fetched_from_the_name_that_only_root_may_call() {
    let Some(bus) = PrivateBus::start() else { return };
    let (client, mut heard) = watching(&bus).await;
    let mut next = async || next_of(&mut heard).await;
    let current = Current { version: VERSION, leaves_out: false };
    let builder = Builder::address(bus.address()).serve_at(STAF_PATH, current).name(STAF_ROOT_NAME);
    let root = builder.build().await.unwrap();
    let public = serve(&bus, Released::default()).await;
    assert!(matches!(next().await, Watched::Owner(Some(_))));
    assert_eq!(client.fetch_all().await, Ok(current_view()));
    assert_eq!(client.fetch_page(&tid()).await, Ok(current_view().dcs.pop()));

    // An earlier version takes its place.
    for connection in [root, public] {
        connection.close().await.unwrap();
    }
    assert_eq!(next().await, Watched::Owner(None));
    assert!(client.fetch_all().await.is_err());
    let _stafd = serve(&bus, Released::default()).await;
    assert!(matches!(next().await, Watched::Owner(Some(_))));
    assert_eq!(names(&client.fetch_all().await.unwrap().dcs[0]), ["nqn.klingons"]);
}

#[tokio::test]
async fn pages_that_are_left_out_of_the_answer_prove_nothing_and_can_be_fetched_alone() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Current { version: VERSION, leaves_out: true }).await;
    let client = StafdClient::new(connect(&bus).await);
    let view = client.fetch_all().await.unwrap();
    assert_eq!((view.dcs[0].state, names(&view.dcs[0]).len()), (PageState::Unknown, 0));
    assert_eq!(view.left_out, [tid()]);
    assert_eq!(client.fetch_page(&tid()).await, Ok(current_view().dcs.pop()));
}

#[tokio::test]
async fn a_contract_of_a_later_version_lists_controllers_and_proves_nothing() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Current { version: VERSION + 1, leaves_out: false }).await;
    let client = StafdClient::new(connect(&bus).await);
    let view = client.fetch_all().await.unwrap();
    let one = client.fetch_page(&tid()).await.unwrap().unwrap();
    for page in [&view.dcs[0], &one] {
        assert_eq!((page.state, names(page)), (PageState::Unknown, vec!["nqn.romulans"]));
    }
    assert!(view.removed.unwrap().iter().all(|removed| removed.reason.spares_live()));
}

#[tokio::test]
async fn a_contract_of_another_shape_is_left_for_the_dictionaries() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Reshaped).await;
    let client = StafdClient::new(connect(&bus).await);
    let view = client.fetch_all().await.unwrap();
    assert_eq!((view.dcs[0].state, names(&view.dcs[0])), (PageState::Fresh, vec!["nqn.klingons"]));
    let page = client.fetch_page(&tid()).await.unwrap().unwrap();
    assert_eq!(names(&page), ["nqn.klingons"]);
}

#[tokio::test]
async fn everything_is_fetched_from_nvme_stas_and_nothing_is_made_up() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Python).await;
    let view = StafdClient::new(connect(&bus).await).fetch_all().await.unwrap();
    assert_eq!(view.removed, None);
    let [page, unreadable] = view.dcs.as_slice() else { panic!("{view:?}") };
    assert_eq!((page.state, page.connected_since), (PageState::Unstated, None));
    assert_eq!(names(page), ["nqn.klingons"]);
    assert_eq!(unreadable.state, PageState::Unknown, "an entry cannot be read: the page proves nothing");
    assert_eq!(names(unreadable), ["nqn.klingons"], "what is no log entry is left out");
}

#[tokio::test]
async fn one_page_is_fetched_from_the_first_release() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Released::default()).await;
    let client = StafdClient::new(connect(&bus).await);
    let page = client.fetch_page(&tid()).await.unwrap().unwrap();
    assert_eq!((page.state, names(&page)), (PageState::Fresh, vec!["nqn.klingons"]));
    client.refresh_page(&tid()).await.unwrap();
    let page = client.fetch_page(&tid()).await.unwrap().unwrap();
    assert_eq!(names(&page), ["nqn.refreshed"]);
    let unknown = ControllerId { traddr: "192.0.2.77".into(), ..ControllerId::of(&tid()) }.tid().unwrap();
    assert_eq!(client.fetch_page(&unknown).await.unwrap(), None);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_anew_is_an_error_and_no_old_page() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Released { refuses: true.into(), ..Released::default() }).await;
    let client = StafdClient::new(connect(&bus).await);
    assert_eq!(client.refresh_page(&tid()).await, Err(FetchError::Bus("it is not connected".to_owned())));
}

#[tokio::test]
async fn one_page_is_fetched_from_nvme_stas_in_its_own_spelling() {
    let Some(bus) = PrivateBus::start() else { return };
    let _stafd = serve(&bus, Python).await;
    let client = StafdClient::new(connect(&bus).await);
    assert_eq!(tid().traddr, "2001:db8::1");
    client.fetch_all().await.unwrap();
    for refresh in [false, true] {
        if refresh {
            client.refresh_page(&tid()).await.unwrap();
        }
        let page = client.fetch_page(&tid()).await.unwrap().unwrap();
        assert_eq!((page.state, names(&page)), (PageState::Unstated, vec!["nqn.klingons"]));
    }
    let unknown = ControllerId { traddr: "192.0.2.77".into(), ..ControllerId::of(&tid()) }.tid().unwrap();
    assert_eq!(client.fetch_page(&unknown).await.unwrap(), None);
}

#[tokio::test]
async fn without_stafd_there_is_an_error_and_no_empty_answer() {
    let Some(bus) = PrivateBus::start() else { return };
    let client = StafdClient::new(connect(&bus).await);
    assert!(client.fetch_all().await.is_err());
    assert!(client.fetch_page(&tid()).await.is_err());
}

#[tokio::test]
async fn stafd_is_seen_coming_speaking_and_going() {
    let Some(bus) = PrivateBus::start() else { return };
    let (_, mut heard) = watching(&bus).await;
    let mut next = async || next_of(&mut heard).await;

    let stafd = serve(&bus, Released::default()).await;
    let name = stafd.unique_name().unwrap().to_string();
    assert_eq!(next().await, Watched::Owner(Some(name)));

    let emitter = SignalEmitter::new(&stafd, STAF_PATH).unwrap();
    Released::log_pages_changed(&emitter, "tcp", "2001:DB8::1", "8009", DISCOVERY_NQN, "", "", "", "nvme0")
        .await
        .unwrap();
    assert_eq!(next().await, Watched::PageChanged(tid()));
    Released::log_pages_changed(&emitter, "carrier pigeon", "", "", "", "", "", "", "").await.unwrap();
    Released::dc_removed(&emitter).await.unwrap();
    assert_eq!(next().await, Watched::DcRemoved);

    // A signal of another program must not count as a signal of stafd.
    let stranger = connect(&bus).await;
    let emitter_of_stranger = SignalEmitter::new(&stranger, STAF_PATH).unwrap();
    Released::dc_removed(&emitter_of_stranger).await.unwrap();
    Released::log_pages_changed(&emitter, "tcp", "2001:DB8::2", "8009", DISCOVERY_NQN, "", "", "", "nvme0")
        .await
        .unwrap();
    assert!(matches!(next().await, Watched::PageChanged(other) if other.traddr == "2001:db8::2"));

    drop(emitter);
    stafd.close().await.unwrap();
    assert_eq!(next().await, Watched::Owner(None));
}
