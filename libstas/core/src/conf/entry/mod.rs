//! `controller=` and `exclude=`: `key=value` pairs that name one controller, or many.
//!
//! If a pair of `controller=` cannot be read, a connection parameter is ignored, but a part of the identity makes the
//! whole entry refused: connecting to another controller than configured is worse than not connecting. A key that is
//! probably a misspelled one is ignored, but of the identity it keeps what the line may mean: nothing is removed
//! because of the file. A misspelled secret makes the controller wait. An `exclude=` with such a pair is always
//! refused: without the pair it would exclude more controllers than configured.

mod address;
mod controller;
mod exclusion;
mod fields;
mod pairs;

pub(crate) use controller::{Role, complain_of_duplicates, controller};
pub(crate) use exclusion::exclusion;

#[cfg(test)]
mod tests;
