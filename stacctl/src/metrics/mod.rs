//! `metrics`: what both daemons count, as OpenMetrics text.

mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use libstas::bus::metrics::{PATHS_CONNECTED, PATHS_WANTED, Sample, UP};
use libstas::bus::{DebugProxy, Dict, StacProxy, key};
use libstas::core::trust::Trust;
use libstas::nvme::shown;
use stas_cli::client::{Daemon, Failure};
use stas_cli::listing::is_wanted;
use zbus::Connection;

use crate::replace::replace;

/// The options of `metrics`.
#[derive(Clone, Debug, Args)]
pub struct Metrics {
    /// Write them to this file, which is replaced as a whole, instead of standard output
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Asks both daemons. A daemon that is not running is shown as down; it is no failure.
pub(crate) async fn metrics(connection: &Connection, what: &Metrics) -> Result<String, Failure> {
    let mut samples = of_daemon(Daemon::Stacd, DebugProxy::of_stacd(connection).await).await?;
    samples.extend(of_daemon(Daemon::Stafd, DebugProxy::of_stafd(connection).await).await?);
    let listed = async { StacProxy::of_stacd(connection).await?.list_controllers(true).await };
    match listed.await.map_err(|error| Daemon::Stacd.failure(error)) {
        Ok(listed) => samples.extend(subsystems(&listed)),
        Err(Failure::NotRunning(_)) => {}
        Err(failure) => return Err(failure),
    }
    let text = text::text(&samples);
    match &what.write {
        None => Ok(text),
        Some(file) => {
            replace(file, text.as_bytes())
                .map_err(|error| Failure::File { file: file.display().to_string(), error })?;
            Ok(String::new())
        }
    }
}

async fn of_daemon(daemon: Daemon, debug: zbus::Result<DebugProxy<'_>>) -> Result<Vec<Sample>, Failure> {
    let asked = async { debug?.metrics().await };
    let (up, mut samples) = match asked.await.map_err(|error| daemon.failure(error)) {
        Ok(samples) => (1.0, samples),
        Err(Failure::NotRunning(_)) => (0.0, Vec::new()),
        Err(failure) => return Err(failure),
    };
    samples.push(Sample::new(UP, &[], up));
    for sample in &mut samples {
        sample.labels.insert("daemon".to_owned(), daemon.name().to_owned());
    }
    Ok(samples)
}

/// The number of wanted and of connected paths of each subsystem. Paths that only announced discovery controllers list
/// are counted together: these can list other subsystems all the time, and each would be a new series.
fn subsystems(listed: &[Dict]) -> Vec<Sample> {
    let value = |path: &Dict, key: &str| path.get(key).cloned().unwrap_or_default();
    let announced_dc = Trust::AnnouncedDc.to_string();
    let mut paths: BTreeMap<(&str, String), (u32, u32)> = BTreeMap::new();
    for path in listed {
        let state = value(path, "state");
        if !is_wanted(&state) {
            continue;
        }
        let label = match value(path, key::TRUST) {
            trust if trust == announced_dc => (key::TRUST, trust),
            // Names that look the same are counted together: they would be one series.
            _ => (key::SUBSYSNQN, visible(&value(path, key::SUBSYSNQN))),
        };
        let (wanted, connected) = paths.entry(label).or_default();
        *wanted += 1;
        *connected += u32::from(state == "connected");
    }
    let samples = paths.into_iter().flat_map(|((label, text), (wanted, connected))| {
        let sample = |name, value: u32| Sample::new(name, &[(label, &text)], value.into());
        [sample(PATHS_WANTED, wanted), sample(PATHS_CONNECTED, connected)]
    });
    samples.collect()
}

/// A text as the value of a label, before its quotes and backslashes are escaped.
fn visible(text: &str) -> String {
    shown(text).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_wanted_does_not_count() {
        let path = |nqn: &str, state: &str| {
            Dict::from([("subsysnqn", nqn), ("state", state)].map(|(a, b)| (a.to_owned(), b.to_owned())))
        };
        let listed =
            [path("nqn.a", "connected"), path("nqn.a", "waiting"), path("nqn.a", "kept"), path("nqn.b", "excluded")];
        let samples = subsystems(&listed);
        assert_eq!(
            samples,
            [
                Sample::new(PATHS_WANTED, &[("subsysnqn", "nqn.a")], 2.0),
                Sample::new(PATHS_CONNECTED, &[("subsysnqn", "nqn.a")], 1.0),
            ]
        );
        let alike = subsystems(&[path("nqn.\u{202e}", "waiting"), path("nqn.\\u{202e}", "connected")]);
        assert_eq!(alike.iter().map(|sample| sample.value).collect::<Vec<_>>(), [2.0, 1.0]);
    }

    /// Any host can announce discovery controllers that list other names all the time: each name would be a new series.
    #[test]
    fn subsystems_that_only_announced_discovery_controllers_list_are_one_series() {
        let path = |nqn: &str, state: &str, trust: &str| {
            let pairs = [("subsysnqn", nqn), ("state", state), ("trust", trust)];
            Dict::from(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())))
        };
        let trusted = ["administrator", "firmware", "configured-dc"];
        let mut listed: Vec<Dict> = trusted.iter().map(|trust| path("nqn.a", "connected", trust)).collect();
        // An announced path to a subsystem with trusted paths raises no alarm about it.
        listed.push(path("nqn.a", "waiting", "announced-dc"));
        listed.extend((0..1000).map(|n| path(&format!("nqn.{n}"), "waiting", "announced-dc")));
        listed.push(path("nqn.b", "connected", "announced-dc"));
        listed.push(path("nqn.b", "kept", "announced-dc"));
        let announced = [("trust", "announced-dc")];
        assert_eq!(
            subsystems(&listed),
            [
                Sample::new(PATHS_WANTED, &[("subsysnqn", "nqn.a")], 3.0),
                Sample::new(PATHS_CONNECTED, &[("subsysnqn", "nqn.a")], 3.0),
                Sample::new(PATHS_WANTED, &announced, 1002.0),
                Sample::new(PATHS_CONNECTED, &announced, 1.0),
            ]
        );
    }
}
