//! The stacd program.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use libstas::bus::{Callers, STAC_NAME, STAC_PATH, STAC_ROOT_NAME, for_root, own_name, public};
use libstas::core::daemon_core::DaemonCore as _;
use libstas::daemon::announce::announce;
use libstas::daemon::arguments::{About, Arguments};
use libstas::daemon::clock::BootClock;
use libstas::daemon::configuration::{Files, SYS_CONF};
use libstas::daemon::event_loop::{EventLoop, channel};
use libstas::daemon::history::saved::HistoryFile;
use libstas::daemon::journal::Journal;
use libstas::daemon::process_info::ProcessInfo;
use libstas::daemon::state::{Saver, StateFile};
use libstas::daemon::systemd::Systemd;
use libstas::daemon::{seed, signals};
use libstas::linux::effects::{LinuxHost, Setup};
use libstas::linux::usage::exclusive::SOCKET;
use stacd::api::{Stac, StacDebug};
use stacd::connector::{Connector, Event};
use stacd::shell::StacdShell;
use stacd::shell::stafd_client::{REFRESH_LIMIT, StafdClient};
use tokio::sync::mpsc;

const ABOUT: About = About {
    name: "stacd",
    what: "Connects this host to the I/O controllers that its configuration and the discovery controllers of stafd list.",
    more: "stacd reads the log pages of the discovery controllers from stafd, and its own configuration. It connects \
           the I/O controllers in them, and disconnects those that are no longer listed. Both run as services:\n\n  \
           systemctl enable --now stafd stacd   start them, now and at boot\n  \
           systemctl reload stacd               read the configuration again; connections stay\n  \
           stacctl ls                           show the I/O controllers, and why one is not connected\n  \
           journalctl -u stacd                  show its log\n\n\
           stacd.conf(5) explains every setting.",
    conf_file: "/etc/stas/stacd.conf",
};

/// Must change when the format of the saved state changes incompatibly.
const STATE_VERSION: u32 = 1;
/// Time limit for the last save.
const LAST_SAVE: Duration = Duration::from_secs(2);

fn main() {
    libstas::daemon::main(&ABOUT, run)
}

async fn run(arguments: Arguments, journal: Journal) -> Result<(), Box<dyn Error>> {
    let signals = signals::listen()?;
    let state_file = StateFile::of_daemon("stacd", STATE_VERSION);
    let parse = libstas::conf::stacd::parse;
    let files = Files::read(&arguments.conf_file, Path::new(SYS_CONF), parse, state_file.saved_conf())?;
    journal.set_tron(arguments.tron || files.conf().tron);

    // The bus name first: it stops a second stacd.
    let (connector, event_inbox) = channel();
    let (history, history_file) = HistoryFile::start(&state_file)?;
    let process = ProcessInfo::new(journal.clone(), state_file.path().to_owned());
    // stafd's answers have a connection of their own: on the public one they would wait behind the calls of all users.
    let client = for_root(REFRESH_LIMIT).await?;
    let connection = public().await?;
    // Other users can prevent the answers on the public connection: the tools of root call this one.
    for (served, callers, other) in
        [(&client, Callers::only_root(), &connection), (&connection, Callers::new(client.clone()), &client)]
    {
        let server = served.object_server();
        server.at(STAC_PATH, Stac::new(connector.clone(), history.clone(), callers.clone())).await?;
        let debug = StacDebug::new(connector.clone(), process.clone(), history.clone(), callers);
        server.at(STAC_PATH, debug.told_on(other.clone())).await?;
    }
    let client_name = own_name(&client, STAC_ROOT_NAME).await?;
    let name = own_name(&connection, STAC_NAME).await?;

    let core = Connector::new(state_file.load().unwrap_or_default(), seed());
    let saver = Saver::start(state_file.clone())?;
    let stafd = StafdClient::new(client.clone());
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(STAC_NAME, connection, client, inbox));
    let first = vec![Connector::boot_tables(files.boot_tables()), Connector::configured(files.settings())];
    let events = connector.clone();
    let host_events = move |event| events.post(Event::Host(event));
    let shell = StacdShell {
        // The controllers of the first log page are probed. stas-net is started while stafd reads that page.
        host: LinuxHost::start(
            Setup { in_use_socket: Some(SOCKET.into()), probes_soon: true, ..Setup::default() },
            host_events,
        )?,
        connector: connector.clone(),
        announcements,
        history,
        stafd: stafd.clone(),
        journal,
        files,
        state_file,
        saver: saver.clone(),
        stopped: false,
    };
    let watch = async move {
        let ended = stafd.watch(move |watched| connector.post(Event::from(watched))).await;
        let error =
            ended.err().map_or_else(|| "the connection to the bus is lost".to_owned(), |error| error.to_string());
        format!("cannot listen to stafd: {error}")
    };
    let lost = async {
        tokio::select! {
            error = name.lost() => error.to_string(),
            error = client_name.lost() => error.to_string(),
            error = watch => error,
        }
    };
    let result = EventLoop::new(core, shell, BootClock::new()?, Systemd, event_inbox).run(first, signals, lost).await;

    if !saver.finish(LAST_SAVE) {
        tracing::warn!("the last state is not saved: the next start begins with an older one");
    }
    if !history_file.finish(LAST_SAVE) {
        tracing::warn!("the last events are not saved: after the next start, `stacctl why` does not know them");
    }
    Ok(result?)
}
