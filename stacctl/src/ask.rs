//! Answers commands by calls to the daemon.

use libstas::bus::{ControllerEvents, ControllerId, DebugProxy, StacProxy};
use serde_json::json;
use stas_cli::client::{self, Daemon, Failure};
use stas_cli::listing::Ls;
use stas_cli::output::{Format, OutputArgs};
use stas_cli::watch::watch;
use stas_cli::why::why;
use stas_cli::{kernel, schema, table};
use zbus::Connection;

use crate::arguments::Command;
use crate::{alert, metrics, tree, wait};

/// Calls the daemon and formats the answer.
pub(crate) async fn answer(connection: &Connection, command: Command) -> Result<String, Failure> {
    let asked = match command {
        Command::Tron => tron(connection, true).await,
        Command::Troff => tron(connection, false).await,
        Command::Status(output) => return status(connection, output).await,
        Command::Ls(what) => return ls(connection, what).await,
        Command::Why(what) => {
            let debug = DebugProxy::of_stacd(connection).await.map_err(|error| Daemon::Stacd.failure(error))?;
            return why(Daemon::Stacd, &debug, &what).await;
        }
        Command::Watch(what) => {
            let events = ControllerEvents::of_stacd(connection).await.map_err(|error| Daemon::Stacd.failure(error))?;
            return watch(events, what).await;
        }
        Command::Tree(what) => return tree::tree(connection, what).await,
        Command::Metrics(what) => return metrics::metrics(connection, &what).await,
        Command::Wait(what) => return wait::wait(connection, what).await,
        Command::Alert(what) => return alert::alert(connection, what).await,
    };
    asked.map_err(|error| Daemon::Stacd.failure(error))
}

async fn tron(connection: &Connection, tron: bool) -> zbus::Result<String> {
    client::set_tron(&DebugProxy::of_stacd(connection).await?, tron).await
}

async fn ls(connection: &Connection, what: Ls) -> Result<String, Failure> {
    let controllers = async { StacProxy::of_stacd(connection).await?.list_controllers(what.needs_detail()).await };
    what.answer(Daemon::Stacd, controllers.await.map_err(|error| Daemon::Stacd.failure(error))?)
}

async fn status(connection: &Connection, output: OutputArgs) -> Result<String, Failure> {
    let failure = |error| Daemon::Stacd.failure(error);
    let stac = StacProxy::of_stacd(connection).await.map_err(failure)?;
    let debug = DebugProxy::of_stacd(connection).await.map_err(failure)?;
    let mut status = Daemon::Stacd.json(&debug.process_info().await.map_err(failure)?)?;
    let mut controllers = Vec::new();
    for dict in stac.list_controllers(true).await.map_err(failure)? {
        let id = ControllerId::from_dict(&dict);
        let mut controller = json!(dict);
        client::merge(&mut controller, Daemon::Stacd.json(&debug.controller_info_of(&id).await.map_err(failure)?)?);
        controllers.push(controller);
    }
    if output.format() != Format::Python {
        kernel::add(&mut controllers);
    }
    client::merge(&mut status, json!({ "controllers": controllers }));
    Ok(output.render(&status, |status| schema::status(Daemon::Stacd, status), table::status))
}
