//! The shell that both daemons share: event loop, signals, systemd, journal, saved state.
//!
//! | module | what it is about |
//! |---|---|
//! | [`arguments`] | the command line, and what must be there before anything starts |
//! | [`configuration`] | reading the files: what a missing and what an unreadable one means |
//! | [`journal`] | log lines, to the journal or to stdout, and their level |
//! | [`state`] | what survives a restart: read at start, written by a thread of its own |
//! | [`systemd`] | telling systemd: ready, reloading, stopping, status, alive |
//! | [`clock`] | CLOCK_BOOTTIME, to read and to sleep on |
//! | [`signals`] | reload and stop |
//! | [`event_loop`] | the one owner of a core: feeds it events, carries its effects out, answers questions |
//!
//! A daemon's `main` calls them in that order.

pub mod arguments;
pub mod clock;
pub mod configuration;
pub mod event_loop;
pub mod journal;
pub mod signals;
pub mod state;
pub mod systemd;
