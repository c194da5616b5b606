//! stafd's D-Bus interfaces, called through the proxies of the tools: over a socket pair, with the real core and
//! without a host.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use libstas::bus::contract::{Origin, PageState, RemovedDc, VERSION};
use libstas::bus::{Callers, ControllerId, DebugProxy, Dict, STAF_NAME, STAF_PATH, StafProxy, key, next};
use libstas::conf::{ControllerEntry, Persistence, StafConf};
use libstas::core::Machine;
use libstas::daemon::announce::announce;
use libstas::daemon::clock::BootClock;
use libstas::daemon::event_loop::{EventLoop, FollowUp, Handle, Shell, channel};
use libstas::daemon::history::History;
use libstas::daemon::journal::Journal;
use libstas::daemon::process_info::ProcessInfo;
use libstas::daemon::systemd::Systemd;
use libstas::nvme::log_page::{Entry, LogPage};
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Parameters, Secret, Tid, TidParts, Transport};
use stafd::api::{Announcement, Refreshes, Staf, StafDebug, StafRoot};
use stafd::finder::{Effect, Event, Finder, RemovalReason, Removed, Saved, SavedDc, Settings};
use tokio::sync::mpsc;
use zbus::Connection;
use zbus::connection::Builder;

/// The path of the object for root. Both objects have the same connection here, and need different paths.
const ROOT_PATH: &str = "/root";

/// Executes no effects except the answers to callers.
struct NoHost(Arc<Refreshes>);

impl Shell for NoHost {
    type Core = Finder;

    fn perform(&mut self, _: &Finder, effect: Effect) -> FollowUp {
        if let Effect::Refreshed { token, result } = effect {
            self.0.answer(token, result);
        }
        FollowUp::Done
    }
    fn reload(&mut self) -> Vec<Event> {
        Vec::new()
    }
    fn stop(&mut self) -> Vec<Event> {
        Vec::new()
    }
    fn settled(&self, _: &Finder) -> bool {
        true
    }
    fn save(&mut self, _: &Finder) {}
    fn status(&self, _: &Finder) -> String {
        String::new()
    }
}

fn tid(traddr: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "8009".into(),
        subsysnqn: DISCOVERY_NQN.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: "nqn.2014-08.org.nvmexpress:uuid:1".into(),
    })
}

fn entry() -> Dict {
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", "ipv4"),
        ("traddr", "192.0.2.9"),
        ("trsvcid", "4420"),
        ("subnqn", "nqn.klingons"),
        ("subtype", "nvme"),
        ("treq", "not required"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("eflags", "0"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// One discovery controller is configured and has a saved page; another was removed.
fn saved() -> Saved {
    let page =
        LogPage { genctr: 7, recfmt: 0, entries: vec![Entry::from_dict(&entry()).unwrap()], dropped: Vec::new() };
    Saved {
        dcs: vec![SavedDc {
            dc: tid("192.0.2.1"),
            page: Some(page),
            referrals: Vec::new(),
            encrypted_only: Default::default(),
            booted: false,
            signal_removal: false,
            was_trusted: false,
        }],
        removed: vec![Removed {
            dc: tid("192.0.2.66"),
            reason: RemovalReason::ReferralGone,
            at: libstas::core::Time::default(),
            announced_only: false,
        }],
        ..Saved::default()
    }
}

fn configured() -> Event {
    let secret = Some(Secret::new("DHHC-1:00:hidden:"));
    let controller = ControllerEntry {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        is_name: false,
        trsvcid: "8009".into(),
        subsysnqn: String::new(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
        parameters: Parameters { dhchap_secret: secret.clone(), ..Parameters::default() },
        line: 1,
    };
    let conf = StafConf {
        parameters: Parameters::default(),
        zeroconf: false,
        zeroconf_persistence: Persistence::Forever,
        controllers: vec![controller],
        ..StafConf::default()
    };
    let identity =
        Arc::new(HostIdentity { key: secret, ..HostIdentity::new("nqn.2014-08.org.nvmexpress:uuid:1", "id") });
    Event::Configured(Box::new(Settings { conf, identity }))
}

struct Stage {
    client: Connection,
    finder: Handle<Finder>,
    announcements: mpsc::UnboundedSender<Announcement>,
    // Dropping these would end the loop or the served objects.
    _server: Connection,
    _signals: mpsc::Sender<libstas::daemon::signals::Signal>,
}

async fn start() -> Stage {
    start_with(saved()).await
}

async fn start_with(saved: Saved) -> Stage {
    let (handle, inbox) = channel();
    let refreshes = Arc::new(Refreshes::default());
    let event_loop = EventLoop::new(
        Finder::new(saved, 1),
        NoHost(Arc::clone(&refreshes)),
        BootClock::new().unwrap(),
        Systemd,
        inbox,
    );
    let (signal_sender, signals) = mpsc::channel(1);
    tokio::spawn(event_loop.run(vec![configured()], signals, std::future::pending::<()>()));

    let (ours, theirs) = UnixStream::pair().unwrap();
    let journal = Journal::start("stafd", false, false);
    let server = Builder::unix_stream(ours)
        .server(zbus::Guid::generate())
        .p2p()
        .serve_at(STAF_PATH, Staf::new(handle.clone(), History::default(), Callers::default()))
        .serve_at(ROOT_PATH, StafRoot::new(handle.clone(), History::default(), refreshes))
        .serve_at(
            STAF_PATH,
            StafDebug::new(
                handle.clone(),
                ProcessInfo::new(journal, "/run/stafd/state.json".into()),
                History::default(),
                Callers::default(),
            ),
        )
        .build();
    let client = Builder::unix_stream(theirs).p2p().build();
    let (server, client) = tokio::try_join!(server, client).unwrap();
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(STAF_NAME, server.clone(), server.clone(), inbox));
    Stage { client, finder: handle, announcements, _server: server, _signals: signal_sender }
}

fn id() -> ControllerId {
    ControllerId::of(&tid("192.0.2.1"))
}

#[tokio::test]
async fn controllers_are_listed_with_the_keys_of_nvme_stas() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let list = staf.list_controllers(false).await.unwrap();
    let expected = Dict::from(
        [
            ("device", "nvme?"),
            ("transport", "tcp"),
            ("traddr", "192.0.2.1"),
            ("trsvcid", "8009"),
            ("subsysnqn", DISCOVERY_NQN),
            ("host-traddr", ""),
            ("host-iface", ""),
            ("host-nqn", "nqn.2014-08.org.nvmexpress:uuid:1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    assert_eq!(list, [expected]);

    let detailed = staf.list_controllers(true).await.unwrap();
    let dc = detailed.first().unwrap();
    assert_eq!(dc.get(key::ORIGIN).unwrap(), "configured");
    assert_eq!(dc.get(key::LOG_PAGE_STATE).unwrap(), "saved");
    assert_eq!(dc.get("connected").unwrap(), "False");
    assert_eq!(dc.get("dhchap").unwrap(), "host");
    for key in
        ["hostid", "hostnqn", "model", "serial", "dctype", "cntrltype", "connect attempts", "retry connect timer"]
    {
        assert!(dc.contains_key(key), "{key} is missing in {dc:?}");
    }
}

#[tokio::test]
async fn log_pages_come_one_by_one_and_all_at_once() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    assert_eq!(staf.log_pages_of(&id()).await.unwrap(), [entry()]);

    let all: serde_json::Value = serde_json::from_str(&staf.get_all_log_pages(true).await.unwrap()).unwrap();
    let [one] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!(one["discovery-controller"]["log-page-state"], "saved");
    assert_eq!(one["log-pages"], serde_json::to_value([entry()]).unwrap());

    let same: serde_json::Value = serde_json::from_str(&staf.controller_log_pages_of(&id()).await.unwrap()).unwrap();
    assert_eq!(same["log-pages"], one["log-pages"]);
    assert_eq!(same["discovery-controller"]["traddr"], "192.0.2.1");
}

#[tokio::test]
async fn a_name_without_what_people_leave_out_is_enough() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let short = ControllerId {
        transport: "TCP".into(),
        traddr: "::ffff:192.0.2.1".into(),
        trsvcid: "8009".into(),
        ..ControllerId::default()
    };
    assert_eq!(staf.log_pages_of(&short).await.unwrap().len(), 1);
}

#[tokio::test]
async fn removed_controllers_are_published_with_the_reason() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let removed = staf.list_removed_controllers().await.unwrap();
    let [one] = removed.as_slice() else { panic!("{removed:?}") };
    assert_eq!(ControllerId::from_dict(one).tid().unwrap(), tid("192.0.2.66"));
    assert_eq!(one.get(key::REASON).unwrap(), "referral gone");
}

/// The first released stacd knows only the words `fresh` and `aged out`.
#[tokio::test]
async fn the_first_released_stacd_finds_what_it_reads() {
    let removed = |traddr: &str, reason| Removed {
        dc: tid(traddr),
        reason,
        at: libstas::core::Time::default(),
        announced_only: false,
    };
    let reasons = [
        ("192.0.2.60", RemovalReason::Configuration),
        ("192.0.2.61", RemovalReason::Excluded),
        ("192.0.2.62", RemovalReason::ReferralGone),
        ("192.0.2.63", RemovalReason::AgedOut),
        ("192.0.2.64", RemovalReason::Unknown),
    ];
    let reasons_of_saved = reasons.iter().map(|(traddr, reason)| removed(traddr, *reason)).collect();
    let world = start_with(Saved { removed: reasons_of_saved, ..saved() }).await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let listed = staf.list_removed_controllers().await.unwrap();
    let aged_out = |traddr: &str| listed.iter().find(|dict| dict["traddr"] == traddr).unwrap()["reason"] == "aged out";
    for (traddr, reason) in reasons {
        assert_eq!(aged_out(traddr), reason.spares_live(), "{reason:?}");
    }
    let all: serde_json::Value = serde_json::from_str(&staf.get_all_log_pages(true).await.unwrap()).unwrap();
    let [one] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!(one["discovery-controller"]["log-page-state"], "saved");
    let entries = one["log-pages"].as_array().unwrap();
    let dict: Dict = serde_json::from_value(entries[0].clone()).unwrap();
    assert_eq!(dict.keys().collect::<Vec<_>>(), entry().keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn the_contract_has_the_pages_and_the_removed_controllers() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let all = staf.get_published_pages(&[]).await.unwrap();
    assert_eq!(all.version, VERSION);
    let view = all.clone().view();
    let [page] = view.dcs.as_slice() else { panic!("{view:?}") };
    assert_eq!((&page.dc, page.state, page.origin), (&tid("192.0.2.1"), PageState::Saved, Origin::Configured));
    assert_eq!((page.connected_since, page.entries[0].to_dict()), (None, entry()));
    let removed = view.removed.unwrap();
    assert_eq!(removed, [RemovedDc { dc: tid("192.0.2.66"), reason: RemovalReason::ReferralGone }]);

    assert_eq!(staf.get_published_pages(&[id()]).await.unwrap(), all);
    let unknown = ControllerId { traddr: "192.0.2.2".into(), ..id() };
    let nonsense = ControllerId { transport: "pigeon".into(), ..id() };
    assert_eq!(staf.get_published_pages(&[unknown, nonsense]).await.unwrap().pages, []);
}

/// The bus would disconnect stafd if it sent all of these pages in one message.
#[tokio::test]
async fn pages_that_are_too_long_for_one_answer_are_left_out_and_can_be_requested_alone() {
    let mut state = saved();
    let [one] = state.dcs.as_slice() else { panic!("{state:?}") };
    let nqn = format!("nqn.2014-08.org.example:{}", "x".repeat(190));
    let page = LogPage { entries: vec![fake_host::entry("192.0.2.7", &nqn); 16_384], ..LogPage::default() };
    let large = |traddr: &str| SavedDc { dc: tid(traddr), page: Some(page.clone()), ..one.clone() };
    let large: Vec<SavedDc> = ["192.0.2.21", "192.0.2.22", "192.0.2.23"].map(large).into();
    state.dcs[0].referrals = large.iter().map(|dc| dc.dc.clone()).collect();
    state.dcs.extend(large);
    let world = start_with(state).await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let all = staf.get_published_pages(&[]).await.unwrap();
    let numbers: Vec<(usize, bool)> =
        all.pages.iter().map(|page| (page.entries.len(), page.left_out.unwrap_or_default())).collect();
    assert_eq!(numbers, [(1, false), (16_384, false), (0, true), (0, true)]);
    let view = all.view();
    assert_eq!((view.dcs[2].state, view.dcs[3].state), (PageState::Unknown, PageState::Unknown), "they prove nothing");
    for dc in view.left_out {
        let id = ControllerId::of(&dc);
        let page = staf.get_published_pages(&[id]).await.unwrap().pages.remove(0);
        assert_eq!((page.entries.len(), page.left_out), (16_384, None));
    }
    let error = staf.get_all_log_pages(true).await.unwrap_err().to_string();
    assert!(error.contains("LimitsExceeded") && error.contains("`stafctl dlp`"), "{error}");
}

#[tokio::test]
async fn a_request_for_pages_has_each_page_once_and_is_refused_if_it_is_longer_than_the_list_of_controllers() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let loose = ControllerId { host_iface: String::new(), ..id() };
    let twice = staf.get_published_pages(&[id(), id(), loose]).await.unwrap();
    assert_eq!(twice.pages.len(), 1);
    let error = staf.get_published_pages(&vec![id(); 1000]).await.unwrap_err().to_string();
    assert!(error.contains("1000 discovery controllers are requested, at most 65 are allowed"), "{error}");
}

#[tokio::test]
async fn nonsense_is_answered_and_breaks_nothing() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let debug = DebugProxy::of_stafd(&world.client).await.unwrap();
    let nonsense = [
        ControllerId::default(),
        ControllerId { transport: "🐦".into(), ..id() },
        ControllerId { traddr: "\u{0}'; drop table".replace('\u{0}', ""), ..id() },
        ControllerId { trsvcid: "-1".into(), ..id() },
        ControllerId { traddr: "fe80::1%".into(), ..id() },
    ];
    for id in nonsense {
        assert_eq!(staf.log_pages_of(&id).await.unwrap(), Vec::<BTreeMap<_, _>>::new(), "{id:?}");
        assert_eq!(staf.controller_log_pages_of(&id).await.unwrap(), "{}");
        assert_eq!(debug.controller_info_of(&id).await.unwrap(), "{}");
    }
    let huge = ControllerId { subsysnqn: "n".repeat(8 << 20), ..id() };
    let error = staf.log_pages_of(&huge).await.unwrap_err().to_string();
    assert!(error.contains("subsysnqn has 8388608 bytes"), "{error}");

    // Wrong argument types, and a method that does not exist.
    for (member, interface) in [("get_log_pages", "org.nvmexpress.staf"), ("no_such", "org.nvmexpress.staf")] {
        let call = world.client.call_method(None::<&str>, STAF_PATH, Some(interface), member, &(1u32, "x"));
        assert!(call.await.is_err(), "{member}");
    }
    assert_eq!(staf.list_controllers(false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_refresh_is_an_error() {
    if !nix_is_root() {
        eprintln!("skipped: only root may request that log pages are read again");
        return;
    }
    let world = start().await;
    let staf = StafProxy::builder(&world.client).path(ROOT_PATH).build().await.unwrap();
    let error = staf.refresh_log_pages_of(&id()).await.unwrap_err().to_string();
    assert!(error.contains("connected"), "{error}");
    let unknown = ControllerId { traddr: "192.0.2.2".into(), ..id() };
    let error = staf.refresh_log_pages_of(&unknown).await.unwrap_err().to_string();
    assert!(error.contains("no such discovery controller"), "{error}");
}

#[tokio::test]
async fn secrets_are_in_no_answer() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let debug = DebugProxy::of_stafd(&world.client).await.unwrap();
    let answers = [
        format!("{:?}", staf.list_controllers(true).await.unwrap()),
        staf.get_all_log_pages(true).await.unwrap(),
        debug.controller_info_of(&id()).await.unwrap(),
        debug.process_info().await.unwrap(),
    ];
    for answer in answers {
        assert!(answer.contains("\"host\""), "it is said that there is one: {answer}");
        assert!(!answer.contains("DHHC"), "{answer}");
    }
}

#[tokio::test]
async fn trace_is_switched_by_root_and_the_change_is_reported() {
    let world = start().await;
    let debug = DebugProxy::of_stafd(&world.client).await.unwrap();
    assert!(!debug.tron().await.unwrap());
    assert_eq!(debug.log_level().await.unwrap(), "INFO");
    let properties = zbus::fdo::PropertiesProxy::new(&world.client, "org.nvmexpress.staf", STAF_PATH).await.unwrap();
    let mut changes = properties.receive_properties_changed().await.unwrap();
    if !nix_is_root() {
        assert!(debug.set_tron(true).await.unwrap_err().to_string().contains("only root"));
        return;
    }
    debug.set_tron(true).await.unwrap();
    assert!(debug.tron().await.unwrap());
    assert_eq!(debug.log_level().await.unwrap(), "DEBUG");
    let mut changed = Vec::new();
    while changed.len() < 2 {
        let signal = next(&mut changes).await.unwrap();
        changed.extend(signal.args().unwrap().changed_properties.keys().map(|name| (*name).to_owned()));
    }
    changed.sort();
    assert_eq!(changed, ["log_level", "tron"]);
    debug.set_tron(false).await.unwrap();
}

#[tokio::test]
async fn changed_pages_and_lost_controllers_are_reported() {
    let world = start().await;
    let staf = StafProxy::new(&world.client).await.unwrap();
    let mut changes = staf.receive_log_pages_changed().await.unwrap();
    let mut losses = staf.receive_dc_removed().await.unwrap();
    let changed = Announcement::PagesChanged { dc: id(), device: "nvme4".into() };
    for announcement in [changed, Announcement::DcRemoved, Announcement::TraceChanged] {
        world.announcements.send(announcement).unwrap();
    }
    let signal = next(&mut changes).await.unwrap();
    let args = signal.args().unwrap();
    assert_eq!(args.controller_id(), id());
    assert_eq!(args.device, "nvme4");
    assert_eq!(signal.message().body().signature().to_string_no_parens(), "ssssssss");
    next(&mut losses).await.unwrap();
}

#[tokio::test]
async fn a_storm_of_calls_is_answered_call_by_call() {
    let world = start().await;
    let callers: Vec<_> = (0..400)
        .map(|number| {
            let client = world.client.clone();
            tokio::spawn(async move {
                let staf = StafProxy::new(&client).await.unwrap();
                for _ in 0..5 {
                    match number % 3 {
                        0 => assert_eq!(staf.list_controllers(true).await.unwrap().len(), 1),
                        1 => assert_eq!(staf.log_pages_of(&id()).await.unwrap().len(), 1),
                        _ => assert!(staf.get_all_log_pages(true).await.unwrap().contains("klingons")),
                    }
                }
            })
        })
        .collect();
    // The core answers other callers meanwhile.
    for _ in 0..50 {
        let asked = world.finder.ask(|finder, _| finder.deadline());
        tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap().unwrap();
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn introspection_shows_the_types_that_clients_of_nvme_stas_know() {
    let world = start().await;
    let xml = StafProxy::new(&world.client).await.unwrap().inner().introspect().await.unwrap();
    for part in [
        "<interface name=\"org.nvmexpress.staf\">",
        "<interface name=\"org.nvmexpress.staf.debug\">",
        "<method name=\"list_controllers\">",
        "<arg name=\"detailed\" type=\"b\" direction=\"in\"/>",
        "<arg name=\"controller_list\" type=\"aa{ss}\" direction=\"out\"/>",
        "<method name=\"get_log_pages\">",
        "<method name=\"get_all_log_pages\">",
        "<signal name=\"log_pages_changed\">",
        "<signal name=\"dc_removed\">",
        "<signal name=\"controller_added\">",
        "<signal name=\"controller_removed\">",
        "<signal name=\"controller_state_changed\">",
        "<arg name=\"new_state\" type=\"s\"/>",
        "A controller is no longer listed, for this cause.",
        "<property name=\"tron\" type=\"b\" access=\"readwrite\"",
        "<property name=\"log_level\" type=\"s\" access=\"read\"",
        "<method name=\"process_info\">",
        "<method name=\"controller_info\">",
    ] {
        assert!(xml.contains(part), "{part} is missing in {xml}");
    }
}

/// The owner of /proc/self is the user of this process.
fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
