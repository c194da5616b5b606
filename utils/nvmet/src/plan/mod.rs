//! Planning, without I/O: computes the steps from the actual state to the desired one.
//!
//! A plan changes only what we created according to the record, and creates what is missing. It is refused if it would
//! change anything else.

mod clean;
mod create;
mod host;
mod link;
mod modules;
mod null_blk;
mod port;
mod ram_disk;
mod refusal;
mod subsystem;

pub use clean::{clean, cleaned};
pub use create::create;
pub use link::{link, unlink};
pub use refusal::Refusal;

use crate::step::Step;

/// The actions to perform, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The actions, each with its steps.
    pub actions: Vec<Action>,
    /// Information for the user that no step changes.
    pub notes: Vec<String>,
}

/// Steps that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Describes the action to the user.
    pub says: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.actions.iter().flat_map(|action| &action.steps)
    }

    /// Adds an action, unless it has nothing to do.
    fn act(&mut self, says: impl Into<String>, steps: Vec<Step>) {
        if !steps.is_empty() {
            self.actions.push(Action { says: says.into(), steps });
        }
    }
}

/// A number with its noun: "1 namespace", "2 namespaces".
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
