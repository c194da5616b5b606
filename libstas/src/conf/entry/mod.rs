//! `controller=` and `exclude=`: `key=value` pairs that name a controller, or many.
//!
//! A pair that cannot be used costs `controller=` that pair, if it is a connection parameter, or all of it, if it says
//! who is meant: connecting somewhere else than was written is worse than not connecting. `exclude=` is refused as a
//! whole: without the pair it would exclude more than was written.

mod address;
mod controller;
mod exclusion;
mod pairs;
mod words;

pub(crate) use controller::{Role, controller};
pub(crate) use exclusion::exclusion;

#[cfg(test)]
mod tests;
