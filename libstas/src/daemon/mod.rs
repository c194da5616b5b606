//! The shell that both daemons share: event loop, signals, systemd, journal, saved state.
//!
//! | module | what it is about |
//! |---|---|
//! | [`arguments`] | the command line, and what must be there before anything starts |
//! | [`configuration`] | reading the files: what a missing and what an unreadable one means |
//! | `boot_tables` | what the firmware left: read with the configuration |
//! | [`journal`] | log lines, to the journal or to stdout, and their level |
//! | [`state`] | what survives a restart: read at start, written by a thread of its own |
//! | [`systemd`] | telling systemd: ready, reloading, stopping, status, alive |
//! | [`clock`] | CLOCK_BOOTTIME, to read and to sleep on |
//! | [`signals`] | reload and stop |
//! | [`debug`] | the debug interface on the bus |
//! | [`describe`] | members of the fleet as dictionaries of the bus |
//! | [`process_info`] | how the process is doing |
//! | [`event_loop`] | the one owner of a core: feeds it events, carries its effects out, answers questions |
//!
//! A daemon's `main` calls them in that order.

pub mod arguments;
mod boot_tables;
pub mod clock;
pub mod configuration;
pub mod debug;
pub mod describe;
pub mod event_loop;
pub mod journal;
pub mod process_info;
pub mod signals;
pub mod state;
pub mod systemd;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use arguments::{About, Arguments};
use journal::Journal;

/// How long the last lines of the log may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A number that differs from start to start: hosts that boot together shall not retry together.
#[must_use]
pub fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The life of a daemon's process, around what it does: command line, what must be there, log, async runtime, and
/// an end that waits for nobody.
///
/// Threads that hang in the kernel end with the process. Handlers of normal exit run, so that measurements of
/// coverage are written.
pub fn main(about: &About, work: impl AsyncFnOnce(Arguments, Journal) -> Result<(), Box<dyn Error>>) -> ! {
    let arguments = Arguments::parse(about);
    if let Err(missing) = arguments::check_host(about.name) {
        eprintln!("{}: {missing}", about.name);
        std::process::exit(1);
    }
    let journal = Journal::start(about.name, arguments.syslog, arguments.tron);
    // It lives as long as the process: dropping it would wait for its tasks.
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
    journal.flush(LAST_WORDS);
    std::process::exit(code)
}
