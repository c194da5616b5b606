//! Which daemon a tool asks.

/// The daemon of a tool: `stafd` or `stacd`.
#[derive(Clone, Copy, Debug)]
pub struct Daemon(pub &'static str);
