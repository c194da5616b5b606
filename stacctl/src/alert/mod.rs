//! `alert`: reports when a wanted subsystem has had no path for some time, and when it has one again.

mod outages;
mod unit_name;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use libstas::bus::{ControllerEvents, StacProxy, SystemdProxy};
use libstas::nvme::shown;
use stas_cli::client::{Daemon, Failure};
use stas_cli::output::print_to_reader;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zbus::Connection;

use crate::replace::replace;
use outages::{Change, Outages};

/// The template that is started when an outage starts, and the one for its end.
const TEMPLATES: [&str; 2] = ["stas-alert-down", "stas-alert-up"];
/// Minimum time between two questions to stacd: a storm of signals is one question.
const PACE: Duration = Duration::from_secs(1);

/// The options of `alert`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Alert {
    /// How long a subsystem must have had no path, in seconds
    #[arg(long, value_name = "S", default_value_t = 30)]
    after: u32,
    /// Also start the unit stas-alert-down@NQN or stas-alert-up@NQN
    #[arg(long)]
    start_units: bool,
}

/// Prints a line at the start and at the end of each outage, until the bus is lost or the user interrupts it.
///
/// # Errors
/// [`Failure::BusLost`], failures of calls to stacd except that it is not running, and of the output.
pub(crate) async fn alert(connection: &Connection, what: Alert) -> Result<String, Failure> {
    let failure = |error| Daemon::Stacd.failure(error);
    // Before the first look: what changes after it is signalled.
    let mut events = ControllerEvents::of_stacd(connection).await.map_err(failure)?;
    let systemd = SystemdProxy::new(connection).await.map_err(failure)?;
    let memory = Memory::of_unit();
    let mut outages = Outages::new(Duration::from_secs(what.after.into()), memory.load());
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let listed = async { StacProxy::of_stacd(connection).await?.list_controllers(true).await };
        match listed.await.map_err(failure) {
            Ok(listed) => {
                for (nqn, change) in outages.update(Instant::now(), &listed) {
                    if what.start_units {
                        start(&systemd, &nqn, &change).await;
                    }
                    // Save afterwards: if this program is killed before, the outage is reported twice, but never lost.
                    memory.save(outages.down());
                    if !print_to_reader(&format!("{}\n", line(&nqn, &change, what.after)))? {
                        return Ok(String::new());
                    }
                }
            }
            Err(Failure::NotRunning(_)) => outages.suspend(),
            Err(failure) => return Err(failure),
        }
        let deadline = outages.deadline();
        tokio::select! {
            event = events.next() => {
                event.ok_or(Failure::BusLost)?;
                sleep(PACE).await;
                while let Ok(event) = timeout(Duration::ZERO, events.next()).await {
                    event.ok_or(Failure::BusLost)?;
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            _ = &mut interrupted => return Ok(String::new()),
        }
    }
}

fn line(nqn: &str, change: &Change, after: u32) -> String {
    let text = match change {
        Change::Down(paths) => format!("{nqn}: no path for {after} s: {}", paths.join(", ")),
        Change::Up => format!("{nqn}: has a path again"),
        Change::NotWanted => format!("{nqn}: no longer wanted; it had no path"),
    };
    shown(&text).into_owned()
}

async fn start(systemd: &SystemdProxy<'_>, nqn: &str, change: &Change) {
    let [down, up] = TEMPLATES;
    let template = if matches!(change, Change::Down(_)) { down } else { up };
    let unit = unit_name::instance(template, nqn);
    if let Err(error) = systemd.start_unit(&unit, "replace").await {
        eprintln!("cannot start {unit}: {error}");
    }
}

/// The subsystems that are down, in a file: a restart of the unit neither repeats nor forgets an outage.
struct Memory(Option<PathBuf>);

impl Memory {
    /// The file in the runtime directory of the unit; none outside of one.
    fn of_unit() -> Self {
        let directory = std::env::var_os("RUNTIME_DIRECTORY").filter(|directory| !directory.is_empty());
        Self(directory.map(|directory| Path::new(&directory).join("down.json")))
    }

    fn load(&self) -> BTreeSet<String> {
        let Some(file) = &self.0 else { return BTreeSet::new() };
        let read = fs::read(file).map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        match read.and_then(|parsed| parsed) {
            Ok(down) => down,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                eprintln!("{}: {error}; outages that have not ended are reported again", file.display());
                BTreeSet::new()
            }
        }
    }

    fn save(&self, down: &BTreeSet<String>) {
        let Some(file) = &self.0 else { return };
        let bytes = serde_json::to_vec(down).unwrap_or_default();
        if let Err(error) = replace(file, &bytes) {
            eprintln!("cannot save {}: {error}; after a restart, outages are reported again", file.display());
        }
    }
}
