//! The stafd program.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libstas::bus::{CALL_TIMEOUT, Callers, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, for_root, own_name, public};
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
use libstas::linux::Roots;
use libstas::linux::admin::{Admin, SOCKET};
use stafd::api::{Refreshes, Staf, StafDebug, StafRoot};
use stafd::finder::Finder;
use stafd::shell::StafdShell;
use stafd::shell::host::StafdHost;
use tokio::sync::mpsc;

const ABOUT: About = About {
    name: "stafd",
    what: "Finds NVMe-oF discovery controllers, keeps a connection to each, and publishes their log pages on D-Bus.",
    more: "stafd finds discovery controllers in its configuration and in boot tables, by mDNS and through referrals. \
           stacd reads the log pages from stafd, and connects this host to the storage. Both run as services:\n\n  \
           systemctl enable --now stafd stacd   start them, now and at boot\n  \
           systemctl reload stafd               read the configuration again; connections stay\n  \
           stafctl ls                           show the discovery controllers, and why one is not connected\n  \
           journalctl -u stafd                  show its log\n\n\
           stafd.conf(5) explains every setting.",
    conf_file: "/etc/stas/stafd.conf",
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
    let state_file = StateFile::of_daemon("stafd", STATE_VERSION);
    let parse = libstas::conf::stafd::parse;
    let files = Files::read(&arguments.conf_file, Path::new(SYS_CONF), parse, state_file.saved_conf())?;
    journal.set_tron(arguments.tron || files.conf().tron);

    // systemd starts stas-admin meanwhile.
    let admin = Admin::new(Roots::default(), Some(SOCKET.into()));
    // The bus names first: they stop a second stafd. STAF_ROOT_NAME is requested before STAF_NAME: stacd looks for it
    // when STAF_NAME appears.
    let (finder, event_inbox) = channel();
    let refreshes = Arc::new(Refreshes::default());
    let (history, history_file) = HistoryFile::start(&state_file)?;
    let process = ProcessInfo::new(journal.clone(), state_file.path().to_owned());
    let root_connection = for_root(CALL_TIMEOUT).await?;
    let connection = public().await?;
    let callers = Callers::new(root_connection.clone());
    let debug = |callers| StafDebug::new(finder.clone(), process.clone(), history.clone(), callers);
    let root_server = root_connection.object_server();
    root_server.at(STAF_PATH, StafRoot::new(finder.clone(), history.clone(), Arc::clone(&refreshes))).await?;
    root_server.at(STAF_PATH, debug(Callers::only_root()).told_on(connection.clone())).await?;
    let server = connection.object_server();
    server.at(STAF_PATH, Staf::new(finder.clone(), history.clone(), callers.clone())).await?;
    server.at(STAF_PATH, debug(callers).told_on(root_connection.clone())).await?;
    let root_name = own_name(&root_connection, STAF_ROOT_NAME).await?;
    let name = own_name(&connection, STAF_NAME).await?;

    let core = Finder::new(state_file.load().unwrap_or_default(), seed());
    let (announcements, inbox) = mpsc::unbounded_channel();
    tokio::spawn(announce(STAF_NAME, connection, root_connection.clone(), inbox));
    let saver = Saver::start(state_file.clone())?;
    let first = vec![Finder::boot_tables(files.boot_tables()), Finder::configured(files.settings())];
    let shell = StafdShell {
        host: StafdHost::start(finder.clone(), admin)?,
        finder,
        connection: root_connection,
        announcements,
        history,
        refreshes,
        journal,
        files,
        state_file,
        saver: saver.clone(),
        stopped: false,
    };
    let lost = async {
        tokio::select! {
            error = name.lost() => error,
            error = root_name.lost() => error,
        }
    };
    let result = EventLoop::new(core, shell, BootClock::new()?, Systemd, event_inbox).run(first, signals, lost).await;

    if !saver.finish(LAST_SAVE) {
        tracing::warn!("the last state is not saved: the next start begins with an older one");
    }
    if !history_file.finish(LAST_SAVE) {
        tracing::warn!("the last events are not saved: after the next start, `stafctl why` does not know them");
    }
    Ok(result?)
}
