//! The plans of `nvmet link` and `nvmet unlink`.

use super::{Plan, Refusal, port};
use crate::actual::Actual;
use crate::step::{Link, Step};

/// Exports a subsystem on a port.
///
/// # Errors
/// Returns [`Refusal`] if the port or the subsystem does not exist.
pub fn link(observed: &Actual, id: u16, nqn: &str) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    if !is_linked(observed, id, nqn)? {
        let export = Link::Export { port: id, nqn: nqn.to_owned() };
        plan.act(format!("port {id}: export {nqn}"), vec![Step::Link(export)]);
    }
    Ok(plan)
}

/// Stops exporting a subsystem on a port. Hosts lose the path through this port at once.
///
/// # Errors
/// Returns [`Refusal`] if the port or the subsystem does not exist.
pub fn unlink(observed: &Actual, id: u16, nqn: &str) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    if is_linked(observed, id, nqn)? {
        plan.act(format!("port {id}: stop exporting {nqn}"), vec![port::unlink(id, nqn)]);
    }
    Ok(plan)
}

fn is_linked(observed: &Actual, id: u16, nqn: &str) -> Result<bool, Refusal> {
    let port = observed.ports.get(&id).ok_or_else(|| Refusal::NoPort(id, listed(observed.ports.keys())))?;
    if observed.subsystems.contains_key(nqn) {
        Ok(port.exports.contains(nqn))
    } else {
        Err(Refusal::NoSubsystem(nqn.to_owned(), listed(observed.subsystems.keys())))
    }
}

fn listed(names: impl Iterator<Item = impl ToString>) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
