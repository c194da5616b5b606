//! The shell that both daemons share: event loop, signals, systemd, journal, saved state.
