//! Answers commands by calls to the daemon.

use std::path::Path;

use libstas::bus::{ControllerEvents, ControllerId, DebugProxy, StafProxy, key};
use serde_json::{Value, json};
use stas_cli::client::{self, Daemon, Failure};
use stas_cli::listing::Ls;
use stas_cli::output::{Format, Listing, OutputArgs};
use stas_cli::watch::watch;
use stas_cli::why::why;
use stas_cli::{kernel, schema, table};
use zbus::Connection;

use crate::arguments::{Command, Controller};
use crate::host_nqn;

/// Calls the daemon and formats the answer.
pub(crate) async fn answer(connection: &Connection, command: Command) -> Result<String, Failure> {
    let asked = match command {
        Command::Tron => tron(connection, true).await,
        Command::Troff => tron(connection, false).await,
        Command::Status(output) => return status(connection, output).await,
        Command::Ls(what) => return ls(connection, what).await,
        Command::Why(what) => {
            let debug = DebugProxy::of_stafd(connection).await.map_err(|error| Daemon::Stafd.failure(error))?;
            return why(Daemon::Stafd, &debug, &what).await;
        }
        Command::Watch(what) => {
            let events = ControllerEvents::of_stafd(connection).await.map_err(|error| Daemon::Stafd.failure(error))?;
            return watch(events, what).await;
        }
        Command::Dlp(controller) => dlp(connection, controller).await,
        Command::Adlp(listing) => return adlp(connection, listing).await,
    };
    asked.map_err(|error| Daemon::Stafd.failure(error))
}

async fn tron(connection: &Connection, tron: bool) -> zbus::Result<String> {
    client::set_tron(&DebugProxy::of_stafd(connection).await?, tron).await
}

async fn ls(connection: &Connection, what: Ls) -> Result<String, Failure> {
    let controllers = async { StafProxy::of_stafd(connection).await?.list_controllers(what.needs_detail()).await };
    what.answer(Daemon::Stafd, controllers.await.map_err(|error| Daemon::Stafd.failure(error))?)
}

async fn dlp(connection: &Connection, controller: Controller) -> zbus::Result<String> {
    let output = controller.output;
    let page = StafProxy::of_stafd(connection).await?.log_pages_of(&controller.id()).await?;
    Ok(output.render(&json!(page), schema::log_page, table::log_page))
}

impl Controller {
    fn id(self) -> ControllerId {
        ControllerId {
            transport: self.transport.to_string(),
            traddr: self.traddr,
            trsvcid: self.trsvcid.unwrap_or_else(|| self.transport.default_trsvcid().to_owned()),
            subsysnqn: self.nqn,
            host_traddr: self.host_traddr,
            host_iface: self.host_iface,
            host_nqn: self.hostnqn.unwrap_or_else(default_host_nqn),
        }
    }
}

fn default_host_nqn() -> String {
    host_nqn::of(Path::new(host_nqn::SYS_CONF)).unwrap_or_else(|complaint| {
        eprintln!("stafctl: {complaint}. Name the host NQN with -q");
        String::new()
    })
}

async fn adlp(connection: &Connection, listing: Listing) -> Result<String, Failure> {
    let asked = async { StafProxy::of_stafd(connection).await?.get_all_log_pages(listing.needs_detail()).await };
    let mut pages = Daemon::Stafd.json(&asked.await.map_err(|error| Daemon::Stafd.failure(error))?)?;
    if listing.detailed && listing.output.format() != Format::Python {
        let pages = pages.as_array_mut().into_iter().flatten();
        kernel::add(pages.filter_map(|page| page.get_mut(key::DISCOVERY_CONTROLLER)));
    }
    let table = if listing.detailed { table::all_log_pages_in_detail } else { table::all_log_pages };
    let json = |pages: &Value| schema::all_log_pages(Daemon::Stafd, listing.detail(), pages);
    Ok(listing.output.render(&pages, json, table))
}

async fn status(connection: &Connection, output: OutputArgs) -> Result<String, Failure> {
    let failure = |error| Daemon::Stafd.failure(error);
    let staf = StafProxy::of_stafd(connection).await.map_err(failure)?;
    let debug = DebugProxy::of_stafd(connection).await.map_err(failure)?;
    let mut status = Daemon::Stafd.json(&debug.process_info().await.map_err(failure)?)?;
    let mut controllers = Vec::new();
    for dict in staf.list_controllers(true).await.map_err(failure)? {
        let id = ControllerId::from_dict(&dict);
        let mut controller = json!(dict);
        controller["log_pages"] = json!(staf.log_pages_of(&id).await.map_err(failure)?);
        let info = Daemon::Stafd.json(&debug.controller_info_of(&id).await.map_err(failure)?)?;
        client::merge(&mut controller, info);
        controllers.push(controller);
    }
    if output.format() != Format::Python {
        kernel::add(&mut controllers);
    }
    client::merge(&mut status, json!({ "controllers": controllers }));
    Ok(output.render(&status, |status| schema::status(Daemon::Stafd, status), table::status))
}
