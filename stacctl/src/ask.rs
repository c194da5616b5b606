//! Answers commands by calls to the daemon.

use libstas::bus::{ControllerId, DebugProxy, StacProxy};
use serde_json::{Value, json};
use stas_cli::client::{self, Failure};
use stas_cli::output::{Format, OutputArgs, render};
use stas_cli::table;
use zbus::Connection;

use crate::STACD;
use crate::arguments::{Command, Listing};

/// Calls the daemon and formats the answer.
pub(crate) async fn answer(connection: &Connection, command: Command) -> Result<String, Failure> {
    let asked = match command {
        Command::Tron => tron(connection, true).await,
        Command::Troff => tron(connection, false).await,
        Command::Status(output) => return status(connection, output).await,
        Command::Ls(listing) => ls(connection, listing).await,
    };
    asked.map_err(|error| STACD.failure(error))
}

async fn tron(connection: &Connection, tron: bool) -> zbus::Result<String> {
    let debug = DebugProxy::of_stacd(connection).await?;
    debug.set_tron(tron).await?;
    Ok(client::tron_text(debug.tron().await?))
}

async fn ls(connection: &Connection, listing: Listing) -> zbus::Result<String> {
    let format = listing.output.format();
    // The short dictionaries may lack the state that the table shows.
    let detailed = listing.detailed || format == Format::Table;
    let controllers = json!(StacProxy::new(connection).await?.list_controllers(detailed).await?);
    let table = if listing.detailed { table::controllers_in_detail } else { table::controllers };
    Ok(render(format, &controllers, table))
}

async fn status(connection: &Connection, output: OutputArgs) -> Result<String, Failure> {
    let failure = |error| STACD.failure(error);
    let stac = StacProxy::new(connection).await.map_err(failure)?;
    let debug = DebugProxy::of_stacd(connection).await.map_err(failure)?;
    let mut status = STACD.json(&debug.process_info().await.map_err(failure)?)?;
    let mut controllers: Vec<Value> = Vec::new();
    for dict in stac.list_controllers(true).await.map_err(failure)? {
        let id = ControllerId::from_dict(&dict);
        let mut controller = json!(dict);
        client::merge(&mut controller, STACD.json(&debug.controller_info_of(&id).await.map_err(failure)?)?);
        controllers.push(controller);
    }
    client::merge(&mut status, json!({ "controllers": controllers }));
    Ok(render(output.format(), &status, table::status))
}
