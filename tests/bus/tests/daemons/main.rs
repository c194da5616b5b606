//! The shells and cores of both daemons on a real bus, with a fake kernel.
#![allow(clippy::unwrap_used)]

mod both;
mod events;
mod json;
mod kernel;
mod metrics;
mod plan;
mod stacd;
mod stafd;
mod stage;
