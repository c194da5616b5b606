//! The parts that both daemons share: event loop, signals, systemd, journal, saved state.
//!
//! | module | what it is about |
//! |---|---|
//! | [`arguments`] | the command line, and the requirements on the host |
//! | [`conf_file`] | reads one configuration file |
//! | [`configuration`] | reads the files, and handles missing and unreadable ones |
//! | `boot_tables` | the firmware's boot tables, read with the configuration |
//! | [`journal`] | writes log lines to the journal or to stdout |
//! | [`state`] | the saved state: read at start, written by its own thread |
//! | [`systemd`] | reports to systemd: ready, reloading, stopping, status, watchdog |
//! | [`clock`] | reads CLOCK_BOOTTIME and sleeps on it |
//! | [`signals`] | reload and stop |
//! | [`debug`] | the debug interface on the bus |
//! | [`announce`] | sends the signals on both connections to the bus |
//! | [`answer`] | bounds the lists of controllers that are sent on the bus |
//! | [`describe`] | members of the fleet as dictionaries of the bus |
//! | [`history`] | what happened to each controller |
//! | [`process_info`] | the state of the process |
//! | [`event_loop`] | owns a core: passes events, executes effects, answers queries |
//!
//! A daemon's `main` uses them in this order.

pub mod announce;
pub mod answer;
pub mod arguments;
mod boot_tables;
pub mod clock;
pub mod conf_file;
pub mod configuration;
pub mod debug;
pub mod describe;
pub mod event_loop;
pub mod history;
pub mod journal;
pub mod metrics;
pub mod process_info;
pub mod signals;
pub mod state;
pub mod systemd;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use arguments::{About, Arguments};
use journal::Journal;

/// Time limit for writing the last lines of the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// A random number for each start, so that hosts that boot at the same time do not retry at the same time.
#[must_use]
pub fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Runs a daemon's process around `work`: command line, requirements, log, async runtime, and an end that does not wait
/// for threads.
///
/// Threads that hang in the kernel end with the process. Exit handlers run, so that coverage data are written.
pub fn main(about: &About, work: impl AsyncFnOnce(Arguments, Journal) -> Result<(), Box<dyn Error>>) -> ! {
    let arguments = Arguments::parse(about);
    if let Err(missing) = arguments::check_host(about.name) {
        eprintln!("{}: {missing}", about.name);
        std::process::exit(1);
    }
    let journal = Journal::start(about.name, arguments.syslog, arguments.tron);
    // The runtime must live as long as the process: dropping it would wait for its tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(work(arguments, journal.clone())),
        Err(error) => Err(error.to_string().into()),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            1
        }
    };
    journal.flush(FLUSH_LIMIT);
    std::process::exit(code)
}
