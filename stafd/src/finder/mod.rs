//! The core of stafd: decides which discovery controllers there are and what is asked of them.

mod wire;

pub use wire::{DcView, Effect, Event, RemovalReason, Removed, Settings};
