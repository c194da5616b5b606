//! Asks the running daemons what a reload would do.

use std::collections::BTreeMap;

use libstas::bus::{ControllerId, DebugProxy, Dict, key, system};
use libstas::conf::redact::without_secrets;
use libstas::nvme::shown;
use stas_cli::client::Daemon;

use super::files::OwnFile;
use super::host::Addresses;

/// What a reload of the file's daemon would do, in lines. One line says why that is not known.
pub(super) fn plan(own: &OwnFile, addresses: &Addresses) -> String {
    let daemon = own.daemon();
    let name = daemon.name();
    match ask(daemon, &without_secrets(&own.content), addresses) {
        Ok(planned) => lines(name, &planned),
        Err(why) => format!("{name}: what a reload would do is not known: {}\n", shown(&why)),
    }
}

fn ask(daemon: Daemon, conf: &str, addresses: &Addresses) -> Result<Vec<Dict>, String> {
    let texts = |found: &Vec<std::net::IpAddr>| found.iter().map(ToString::to_string).collect::<Vec<String>>();
    let resolved = addresses.iter().filter_map(|(name, answer)| Some((name.clone(), texts(answer.as_ref().ok()?))));
    let resolved: BTreeMap<String, Vec<String>> = resolved.collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let failed = |error| {
        let failure = daemon.failure(error).to_string();
        failure.lines().next().unwrap_or_default().to_owned()
    };
    runtime.block_on(async {
        let connection = system().await.map_err(|error| error.to_string())?;
        let debug = match daemon {
            Daemon::Stafd => DebugProxy::of_stafd(&connection).await,
            Daemon::Stacd => DebugProxy::of_stacd(&connection).await,
        };
        debug.map_err(failed)?.plan_reload(conf, &resolved).await.map_err(failed)
    })
}

fn lines(daemon: &str, planned: &[Dict]) -> String {
    if planned.is_empty() {
        return format!("{daemon}: a reload would change nothing, there are no controllers\n");
    }
    let value = |dict: &Dict, key: &str| dict.get(key).map(|text| shown(text).into_owned()).unwrap_or_default();
    let mut planned: Vec<&Dict> = planned.iter().collect();
    // What is kept comes last.
    planned.sort_by_key(|dict| (rank(&value(dict, key::CHANGE)), value(dict, key::DEVICE)));
    let width = planned.iter().map(|dict| value(dict, key::CHANGE).len()).max().unwrap_or_default();
    let mut out = format!("{daemon}: a reload would\n");
    for dict in planned {
        let id = ControllerId::from_dict(dict);
        let device = match value(dict, key::DEVICE) {
            device if device == "nvme?" => String::new(),
            device => format!("{device} "),
        };
        let controller = id.tid().map_or_else(|_| id.traddr.clone(), |tid| tid.to_string());
        let (change, why) = (value(dict, key::CHANGE), value(dict, key::REASON));
        out += &format!("  {change:width$}  {device}{}: {why}\n", shown(&controller));
    }
    out
}

/// The order of the lines: what a reload changes comes first.
fn rank(change: &str) -> usize {
    let order = ["disconnect", "disconnect unless in use", "release", "drop", "connect", "retry", "keep"];
    order.iter().position(|word| *word == change).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(device: &str, nqn: &str, change: &str, why: &str) -> Dict {
        let members = [
            (key::TRANSPORT, "tcp"),
            (key::TRADDR, "192.0.2.1"),
            (key::TRSVCID, "4420"),
            (key::SUBSYSNQN, nqn),
            (key::DEVICE, device),
            (key::CHANGE, change),
            (key::REASON, why),
        ];
        members.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn what_changes_comes_before_what_is_kept() {
        let planned = [
            dict("nvme1", "nqn.a", "keep", "controller= in stacd.conf, line 2"),
            dict("nvme?", "nqn.b", "connect", "controller= in stacd.conf, line 3"),
            dict("nvme2", "nqn.c", "disconnect", "excluded"),
        ];
        assert_eq!(
            lines("stacd", &planned),
            "stacd: a reload would
  disconnect  nvme2 (tcp, 192.0.2.1, 4420, nqn.c): excluded
  connect     (tcp, 192.0.2.1, 4420, nqn.b): controller= in stacd.conf, line 3
  keep        nvme1 (tcp, 192.0.2.1, 4420, nqn.a): controller= in stacd.conf, line 2
"
        );
        assert_eq!(lines("stafd", &[]), "stafd: a reload would change nothing, there are no controllers\n");
    }
}
