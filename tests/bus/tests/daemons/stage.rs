//! Starts the daemons like their main functions, but on another bus and another host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::{
    BusError, Callers, Dict, OwnedName, STAC_NAME, STAC_PATH, STAC_ROOT_NAME, STAF_NAME, STAF_PATH, STAF_ROOT_NAME,
    key, own_name, public_at,
};
use libstas::core::daemon_core::DaemonCore as _;
use libstas::core::{HostEvent, Links};
use libstas::daemon::announce::announce;
use libstas::daemon::clock::BootClock;
use libstas::daemon::configuration::Files;
use libstas::daemon::event_loop::{EventLoop, Shell, channel};
use libstas::daemon::history::History;
use libstas::daemon::journal::Journal;
use libstas::daemon::process_info::ProcessInfo;
use libstas::daemon::signals::Signal;
use libstas::daemon::state::{Saver, StateFile};
use libstas::daemon::systemd::Systemd;
use stacd::connector::Connector;
use stacd::shell::stafd_client::StafdClient;
use stafd::finder::Finder;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zbus::Connection;
use zbus::connection::Builder;

use crate::kernel::{Kernel, StacdHost, StafdHost};

/// Longest wait for an expected event.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) signals: mpsc::Sender<Signal>,
    /// True if it ended on request.
    pub(crate) end: JoinHandle<bool>,
}

impl Daemon {
    pub(crate) async fn stop(self) {
        self.signals.send(Signal::Stop).await.unwrap();
        assert!(tokio::time::timeout(LIMIT, self.end).await.unwrap().unwrap());
    }
}

/// A directory with the files of both daemons: one discovery controller is configured.
pub(crate) fn etc() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
    put("sys.conf", "[Host]\nnqn=nqn.2014-08.org.nvmexpress:uuid:1\nid=3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e\n");
    put(
        "stafd.conf",
        "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n",
    );
    directory
}

/// Connects to the bus.
pub(crate) async fn connect(bus: &PrivateBus) -> Connection {
    Builder::address(bus.address()).build().await.unwrap()
}

/// The connection for a name that every user may call.
async fn public(bus: &PrivateBus) -> Connection {
    public_at(&bus.address().parse().unwrap()).await.unwrap()
}

/// The state and the reason of each controller in the answer to list_controllers.
pub(crate) type Listed = BTreeMap<String, (String, String)>;

/// Finds them, with this key of each controller as its name.
pub(crate) fn listed(controllers: Vec<Dict>, name: &str) -> Listed {
    let found = controllers.len();
    let text = |dict: &Dict, key: &str| dict.get(key).cloned().unwrap_or_default();
    let states = controllers.iter().map(|dict| (text(dict, name), (text(dict, "state"), text(dict, key::REASON))));
    let listed: Listed = states.collect();
    assert_eq!(listed.len(), found, "each is listed once: {controllers:?}");
    listed
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "waited in vain until {what}");
}

pub(crate) async fn start_stafd(bus: &PrivateBus, directory: &Path, kernel: &Kernel) -> Daemon {
    use stafd::api::{Refreshes, Staf, StafDebug, StafRoot};
    use stafd::finder::Event;
    use stafd::shell::StafdShell;

    let parse = libstas::conf::stafd::parse;
    let state_file = state_file(directory, "stafd");
    let files = Files::read(&directory.join("stafd.conf"), &directory.join("sys.conf"), parse, state_file.saved_conf())
        .unwrap();
    let connection = public(bus).await;
    let (finder, event_inbox) = channel();
    let refreshes = Arc::new(Refreshes::default());
    let journal = Journal::start("stafd", false, false);
    let history = History::default();
    let process = ProcessInfo::new(journal.clone(), state_file.path().to_owned());
    let server = connection.object_server();
    let root_connection = connect(bus).await;
    let callers = Callers::new(root_connection.clone());
    let debug = |callers| StafDebug::new(finder.clone(), process.clone(), history.clone(), callers);
    let root_server = root_connection.object_server();
    let root = StafRoot::new(finder.clone(), history.clone(), Arc::clone(&refreshes));
    root_server.at(STAF_PATH, root).await.unwrap();
    root_server.at(STAF_PATH, debug(Callers::only_root()).told_on(connection.clone())).await.unwrap();
    server.at(STAF_PATH, Staf::new(finder.clone(), history.clone(), callers.clone())).await.unwrap();
    server.at(STAF_PATH, debug(callers).told_on(root_connection.clone())).await.unwrap();
    own_name(&root_connection, STAF_ROOT_NAME).await.unwrap();
    let name = own_name(&connection, STAF_NAME).await.unwrap();
    let core = Finder::new(state_file.load().unwrap_or_default(), 1);
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(STAF_NAME, connection.clone(), root_connection.clone(), inbox));
    let first = vec![Finder::configured(files.settings()), Event::Host(HostEvent::Links(Arc::new(Links::default())))];
    let saver = Saver::start(state_file.clone()).unwrap();
    let shell = StafdShell {
        host: StafdHost(kernel.clone(), finder.clone()),
        finder,
        connection: connection.clone(),
        announcements,
        history,
        refreshes,
        journal,
        files,
        state_file,
        saver: saver.clone(),
        stopped: false,
    };
    run(
        EventLoop::new(core, shell, BootClock::new().unwrap(), Systemd, event_inbox),
        first,
        name,
        saver,
        [root_connection, connection],
    )
}

pub(crate) async fn start_stacd(bus: &PrivateBus, directory: &Path, kernel: &Kernel) -> Daemon {
    use stacd::api::{Stac, StacDebug};
    use stacd::connector::Event;
    use stacd::shell::StacdShell;

    let parse = libstas::conf::stacd::parse;
    let state_file = state_file(directory, "stacd");
    let files = Files::read(&directory.join("stacd.conf"), &directory.join("sys.conf"), parse, state_file.saved_conf())
        .unwrap();
    let connection = public(bus).await;
    let (connector, event_inbox) = channel();
    let journal = Journal::start("stacd", false, false);
    let history = History::default();
    let process = ProcessInfo::new(journal.clone(), state_file.path().to_owned());
    let client = connect(bus).await;
    for (served, callers, other) in
        [(&client, Callers::only_root(), &connection), (&connection, Callers::new(client.clone()), &client)]
    {
        let server = served.object_server();
        server.at(STAC_PATH, Stac::new(connector.clone(), history.clone(), callers.clone())).await.unwrap();
        let debug = StacDebug::new(connector.clone(), process.clone(), history.clone(), callers);
        server.at(STAC_PATH, debug.told_on(other.clone())).await.unwrap();
    }
    own_name(&client, STAC_ROOT_NAME).await.unwrap();
    let name = own_name(&connection, STAC_NAME).await.unwrap();
    let core = Connector::new(state_file.load().unwrap_or_default(), 1);
    let stafd = StafdClient::new(client.clone());
    let (watch, watched) = (stafd.clone(), connector.clone());
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(STAC_NAME, connection.clone(), client.clone(), inbox));
    tokio::spawn(watch.watch(move |heard| watched.post(Event::from(heard))));
    let first =
        vec![Connector::configured(files.settings()), Event::Host(HostEvent::Links(Arc::new(Links::default())))];
    let saver = Saver::start(state_file.clone()).unwrap();
    let shell = StacdShell {
        host: StacdHost(kernel.clone(), connector.clone()),
        connector,
        announcements,
        history,
        stafd,
        journal,
        files,
        state_file,
        saver: saver.clone(),
        stopped: false,
    };
    run(
        EventLoop::new(core, shell, BootClock::new().unwrap(), Systemd, event_inbox),
        first,
        name,
        saver,
        [client, connection],
    )
}

fn state_file(directory: &Path, kind: &'static str) -> StateFile {
    let runtime = directory.join(kind);
    fs::create_dir_all(&runtime).unwrap();
    StateFile::of_daemon_in(&runtime, kind, 1)
}

fn run<S>(
    event_loop: EventLoop<S, BootClock, Systemd>,
    first: Vec<<S::Core as libstas::core::Machine>::Event>,
    name: OwnedName,
    saver: Saver,
    connections: [Connection; 2],
) -> Daemon
where
    S: Shell + Send + 'static,
    S::Core: Send + Sync,
    <S::Core as libstas::core::Machine>::Event: Send,
    <S::Core as libstas::core::Machine>::Effect: Send,
{
    let (signals, signal_door) = mpsc::channel(4);
    let end = tokio::spawn(async move {
        let result: Result<(), BusError> = event_loop.run(first, signal_door, name.lost()).await;
        let mut closed = true;
        for connection in connections {
            closed &= connection.close().await.is_ok();
        }
        saver.finish(LIMIT) && result.is_ok() && closed
    });
    Daemon { signals, end }
}
