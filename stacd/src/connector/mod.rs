//! The core of stacd: decides which I/O controllers there are to be.

mod wire;

pub use wire::{DcPage, Effect, Event, IocView, PageState, RemovedDc, Settings, StafdView};
