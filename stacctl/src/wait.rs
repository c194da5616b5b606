//! Waits until subsystems have a live connection.

use std::time::Duration;

use libstas::bus::{ControllerEvents, Dict, StacProxy};
use serde_json::json;
use stas_cli::client::{Daemon, Failure};
use stas_cli::table;
use tokio::time::{Instant, timeout, timeout_at};
use zbus::{Connection, fdo};

use crate::arguments::Wait;

/// The time that stacd has for its first answer, even if the timeout is shorter: `--timeout 0` checks once.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Returns when each subsystem has a live connection.
///
/// # Errors
/// [`Failure::Down`] after the timeout. Other failures of the bus and of stacd at once, except that it is not running.
pub(crate) async fn wait(connection: &Connection, wait: Wait) -> Result<String, Failure> {
    let begin = Instant::now();
    let deadline = begin + Duration::from_secs(wait.timeout.into());
    let silent = || Daemon::Stacd.failure(fdo::Error::NoReply(String::new()).into());
    let first = async {
        // Subscribe before the first query: later changes then arrive as signals.
        let events = ControllerEvents::of_stacd(connection).await.map_err(|error| Daemon::Stacd.failure(error))?;
        Ok((events, missing(connection, &wait.nqns).await?))
    };
    let first = timeout_at(deadline.max(begin + FIRST_ANSWER), first).await;
    let (mut events, mut missing_now) = first.unwrap_or_else(|_| Err(silent()))?;
    while !missing_now.is_empty() {
        match timeout_at(deadline, events.next()).await {
            Ok(Some(_)) => while let Ok(Some(_)) = timeout(Duration::ZERO, events.next()).await {},
            Ok(None) => return Err(Failure::BusLost),
            Err(_) => return Err(Failure::Down(missing_now.join("\n"))),
        }
        match timeout_at(deadline, missing(connection, &wait.nqns)).await {
            Ok(answer) => missing_now = answer?,
            // Report the last known state, and that stacd did not answer the last query.
            Err(_) => return Err(Failure::Down(format!("{}\n{}", missing_now.join("\n"), silent()))),
        }
    }
    Ok(String::new())
}

/// The subsystems without a live connection, with the states of their controllers, in lines.
async fn missing(connection: &Connection, nqns: &[String]) -> Result<Vec<String>, Failure> {
    let listed = async { StacProxy::of_stacd(connection).await?.list_controllers(true).await };
    let listed = match listed.await.map_err(|error| Daemon::Stacd.failure(error)) {
        Ok(listed) => listed,
        Err(failure @ Failure::NotRunning(_)) => {
            return Ok(nqns.iter().map(|nqn| format!("{nqn}: {failure}")).collect());
        }
        Err(failure) => return Err(failure),
    };
    Ok(nqns.iter().flat_map(|nqn| missing_paths(&listed, nqn)).collect())
}

/// Why a subsystem has no live connection. Empty if it has one.
fn missing_paths(listed: &[Dict], nqn: &str) -> Vec<String> {
    let paths: Vec<&Dict> = listed.iter().filter(|path| path.get("subsysnqn").is_some_and(|of| of == nqn)).collect();
    let is_live = |path: &&Dict| path.get("connected").is_some_and(|connected| connected == "True");
    if paths.iter().any(is_live) {
        return Vec::new();
    }
    if paths.is_empty() {
        return vec![format!("{nqn}: no source lists it")];
    }
    paths.iter().map(|path| table::controller_line(&json!(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(nqn: &str, connected: &str, more: &[(&str, &str)]) -> Dict {
        let members = [("subsysnqn", nqn), ("connected", connected), ("transport", "tcp"), ("traddr", "192.0.2.1")];
        members.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_live_path_is_enough_and_otherwise_each_path_says_why() {
        let waiting = [("state", "waiting"), ("reason", "connection refused"), ("next attempt", "in 8 s")];
        let listed = [
            path("nqn.a", "True", &[("state", "connected")]),
            path("nqn.a", "False", &waiting),
            path("nqn.b", "False", &waiting),
            path("nqn.b", "False", &[("state", "queued")]),
        ];
        assert!(missing_paths(&listed, "nqn.a").is_empty());
        assert_eq!(
            missing_paths(&listed, "nqn.b"),
            ["tcp 192.0.2.1 nqn.b: waiting: connection refused; next attempt: in 8 s", "tcp 192.0.2.1 nqn.b: queued",]
        );
        assert_eq!(missing_paths(&listed, "nqn.c"), ["nqn.c: no source lists it"]);
    }
}
