//! Planning, pure: what is wanted and what is there become the steps between them. Nothing is read or changed here.
//!
//! A plan touches what the record says that we made, and makes what is missing. It refuses what would change anything
//! of somebody else's.

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

pub use clean::clean;
pub use create::create;
pub use link::{link, unlink};
pub use refusal::Refusal;

use crate::step::Step;

/// What is to be done, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each with its steps.
    pub actions: Vec<Action>,
    /// What the user should know and no step changes.
    pub notes: Vec<String>,
}

/// Some steps that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What they do, for people.
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

/// "1 namespace", "2 namespaces".
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
