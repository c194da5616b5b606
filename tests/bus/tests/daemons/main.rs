//! Shells and cores of both daemons on a real bus, with a kernel that does what it is asked.
#![allow(clippy::unwrap_used)]

mod both;
mod kernel;
mod stacd;
mod stafd;
mod stage;
