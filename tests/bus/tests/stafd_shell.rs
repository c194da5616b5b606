//! stafd's shell and core on a real bus, with a host that does what it is asked: from the configuration to the log
//! page on the bus, through a reload, a stop and the next start.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::{ControllerId, STAF_NAME, STAF_PATH, StafDebugProxy, StafProxy, key, next, own_name};
use libstas::conf::stafd as conf;
use libstas::core::{
    ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, Dctype, Host, HostEffect, HostEvent, KernelController,
    Links, Look, ProbeOutcome,
};
use libstas::daemon::clock::BootClock;
use libstas::daemon::configuration::Files;
use libstas::daemon::event_loop::{EventLoop, Handle, doors};
use libstas::daemon::journal::Journal;
use libstas::daemon::signals::Signal;
use libstas::daemon::state::{Saver, StateFile};
use libstas::daemon::systemd::Systemd;
use libstas::nvme::log_page::{Entry, LogPage};
use libstas::nvme::supported::DiscoveryLidSpecific;
use libstas::nvme::{Tid, Transport};
use stafd::api::{Refreshes, Staf, StafDebug, announce};
use stafd::finder::{Event, Finder};
use stafd::shell::{DiscoveryHost, Done, StafdShell, configured};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zbus::Connection;
use zbus::connection::Builder;

const LIMIT: Duration = Duration::from_secs(20);

/// A kernel that connects whatever it is asked to, at once, and outlives the daemon.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<Look>>);

impl Kernel {
    fn connect(&self, tid: &Tid) -> CtrlRef {
        let mut look = self.0.lock().unwrap();
        let ctrl = CtrlRef { device: look.controllers.len() as u32, birth: look.controllers.len() as u64 + 1 };
        look.controllers.push(KernelController {
            ctrl,
            transport: Transport::Tcp,
            traddr: tid.traddr.clone(),
            trsvcid: tid.trsvcid.clone(),
            host_traddr: String::new(),
            host_iface: String::new(),
            src_addr: None,
            subsysnqn: tid.subsysnqn.clone(),
            hostnqn: tid.host_nqn.clone(),
            hostid: String::new(),
            cntrltype: CtrlType::Discovery,
            dctype: Dctype::Ddc,
            state: CtrlState::Live,
            kato: Some(30),
            model: "Linux".into(),
            serial: "1".into(),
        });
        ctrl
    }

    fn look(&self) -> Look {
        static ORDER: AtomicU64 = AtomicU64::new(1);
        let order = ORDER.fetch_add(1, Ordering::Relaxed);
        Look { order, seqnum: order, ..self.0.lock().unwrap().clone() }
    }
}

/// The host on top of it; each log page read has one entry more than the one before.
struct FakeHost {
    kernel: Kernel,
    finder: Handle<Finder>,
    reads: AtomicU64,
}

impl Host for FakeHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        let event = match effect {
            HostEffect::Look(op) => HostEvent::Looked { op, result: Ok(self.kernel.look()) },
            HostEffect::Probe { op, .. } => HostEvent::Probed { op, outcome: ProbeOutcome::Alive },
            HostEffect::Connect { op, request } => {
                let outcome = ConnectOutcome::Made(self.kernel.connect(&request.tid));
                let report = ConnectReport { outcome, look: self.kernel.look(), held: Duration::ZERO };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            HostEffect::HideSecrets(_) => return,
            other => panic!("not expected here: {other:?}"),
        };
        self.finder.post(Event::Host(event));
    }
}

impl DiscoveryHost for FakeHost {
    fn read_supported(&self, _: CtrlRef, done: Done<Option<DiscoveryLidSpecific>>) {
        done(Ok(None));
    }

    fn read_log_page(&self, _: CtrlRef, _: bool, done: Done<LogPage>) {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        let entries = (0..reads).map(entry).collect();
        done(Ok(LogPage { genctr: reads, recfmt: 0, entries, dropped: Vec::new() }));
    }
}

fn entry(number: u64) -> Entry {
    let subnqn = format!("nqn.klingon{number}");
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", "ipv4"),
        ("traddr", "192.0.2.9"),
        ("trsvcid", "4420"),
        ("subnqn", &subnqn),
        ("subtype", "nvme"),
        ("treq", "not required"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()).unwrap()
}

struct Daemon {
    signals: mpsc::Sender<Signal>,
    end: JoinHandle<bool>,
}

/// What stafd's main does, on another bus and another host.
async fn start(bus: &PrivateBus, directory: &Path, kernel: &Kernel) -> Daemon {
    let files = Files::read(&directory.join("stafd.conf"), &directory.join("sys.conf"), conf::parse).unwrap();
    let connection = Builder::address(bus.address()).build().await.unwrap();
    let (finder, doors) = doors();
    let refreshes = Arc::new(Refreshes::default());
    let journal = Journal::start("stafd", false, false);
    let state_file = StateFile::of_daemon_in(directory, "stafd", 1);
    let debug = StafDebug::new(finder.clone(), journal.clone(), state_file.path().to_owned());
    let server = connection.object_server();
    server.at(STAF_PATH, Staf::new(finder.clone(), Arc::clone(&refreshes))).await.unwrap();
    server.at(STAF_PATH, debug).await.unwrap();
    let name = own_name(&connection, STAF_NAME).await.unwrap();
    let core = Finder::new(state_file.load().unwrap_or_default(), 1);
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(connection.clone(), inbox));
    let first = configured(&files);
    let saver = Saver::start(state_file.clone()).unwrap();
    let shell = StafdShell {
        host: FakeHost { kernel: kernel.clone(), finder: finder.clone(), reads: AtomicU64::new(0) },
        finder: finder.clone(),
        connection: connection.clone(),
        announcements,
        refreshes,
        journal,
        files,
        state_file,
        saver: saver.clone(),
        stopped: false,
    };
    finder.post(Event::Host(HostEvent::Links(Arc::new(Links::default()))));
    let (signals, signal_door) = mpsc::channel(4);
    let event_loop = EventLoop::new(core, shell, BootClock::new().unwrap(), Systemd, doors);
    let end = tokio::spawn(async move {
        let result = event_loop.run(vec![first], signal_door, name.lost()).await;
        saver.finish(LIMIT) && result.is_ok() && connection.close().await.is_ok()
    });
    Daemon { signals, end }
}

fn etc() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
    put("sys.conf", "[Host]\nnqn=nqn.2014-08.org.nvmexpress:uuid:1\nid=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e\n");
    put(
        "stafd.conf",
        "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n",
    );
    directory
}

async fn connect(bus: &PrivateBus) -> Connection {
    Builder::address(bus.address()).build().await.unwrap()
}

#[tokio::test]
async fn a_configured_controller_is_connected_and_its_page_published_and_kept() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let client = connect(&bus).await;
    let staf = StafProxy::new(&client).await.unwrap();
    let mut changes = staf.receive_log_pages_changed().await.unwrap();

    let daemon = start(&bus, directory.path(), &kernel).await;
    let signal = tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
    let args = signal.args().unwrap();
    let id: ControllerId = args.controller_id();
    assert_eq!((id.traddr.as_str(), args.device.as_str()), ("192.0.2.1", "nvme0"));
    assert_eq!(staf.log_pages_of(&id).await.unwrap().len(), 1);
    let list = staf.list_controllers(true).await.unwrap();
    let [dc] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((dc["connected"].as_str(), dc[key::LOG_PAGE_STATE].as_str()), ("True", "fresh"));

    if std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0 {
        assert_eq!(staf.refresh_log_pages_of(&id).await.unwrap().len(), 2, "it was read anew");
    }

    daemon.signals.send(Signal::Stop).await.unwrap();
    assert!(tokio::time::timeout(LIMIT, daemon.end).await.unwrap().unwrap());
    assert!(staf.list_controllers(false).await.is_err(), "stafd is gone");

    // The page is there again at once, from before, and soon fresh; the connection is taken over.
    let daemon = start(&bus, directory.path(), &kernel).await;
    assert!(!staf.log_pages_of(&id).await.unwrap().is_empty());
    let fresh = async {
        while staf.list_controllers(true).await.unwrap().iter().any(|dc| dc[key::LOG_PAGE_STATE] != "fresh") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, fresh).await.unwrap();
    assert_eq!(kernel.look().controllers.len(), 1, "no second connection");
    daemon.signals.send(Signal::Stop).await.unwrap();
    assert!(daemon.end.await.unwrap());
}

#[tokio::test]
async fn a_reload_takes_new_settings_and_tells_what_changed() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let client = connect(&bus).await;
    let daemon = start(&bus, directory.path(), &kernel).await;
    let debug = StafDebugProxy::new(&client).await.unwrap();
    let properties = zbus::fdo::PropertiesProxy::new(&client, STAF_NAME, STAF_PATH).await.unwrap();
    let mut changes = properties.receive_properties_changed().await.unwrap();
    assert!(!debug.tron().await.unwrap());

    let more = "[Global]\ntron=true\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=192.0.2.2\n";
    fs::write(directory.path().join("stafd.conf"), more).unwrap();
    daemon.signals.send(Signal::Reload).await.unwrap();
    tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
    assert!(debug.tron().await.unwrap());
    let list = StafProxy::new(&client).await.unwrap().list_controllers(false).await.unwrap();
    assert_eq!(list.iter().map(|dc| dc["traddr"].as_str()).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);

    daemon.signals.send(Signal::Stop).await.unwrap();
    assert!(daemon.end.await.unwrap());
}

#[tokio::test]
async fn a_daemon_that_loses_the_bus_ends_with_its_state_saved() {
    let Some(mut bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let daemon = start(&bus, directory.path(), &kernel).await;
    bus.stop();
    assert!(!tokio::time::timeout(LIMIT, daemon.end).await.unwrap().unwrap());
    let state = fs::read_to_string(directory.path().join("state.json")).unwrap();
    assert!(state.contains("192.0.2.1"), "{state}");
}
