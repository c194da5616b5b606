//! `controller=` and `exclude=`: `key=value` pairs that name one controller, or many.
//!
//! What an invalid pair of `controller=` causes depends on its key. A connection parameter is ignored. A part of the
//! identity makes the whole entry invalid: connecting to another controller than configured is worse than not
//! connecting. A key that is probably misspelled is ignored; if it may be a part of the identity, no controller is
//! removed because the file does not list it, and if it may be a secret, the controller is not connected. An `exclude=`
//! with an invalid pair is always refused: without the pair it would exclude more controllers than configured.

mod address;
mod controller;
mod exclusion;
mod fields;
mod pairs;

pub(crate) use controller::{Role, complain_of_duplicates, controller};
pub(crate) use exclusion::exclusion;

#[cfg(test)]
mod tests;
