//! `tree`: host, interfaces, discovery controllers, subsystems and paths as a picture.

mod dot;
mod graph;
mod svg;
mod text;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use clap::{Args, ValueEnum};
use libstas::bus::{DebugProxy, Dict, StacProxy, StafProxy, key};
use libstas::core::CtrlRef;
use libstas::nvme::Transport;
use libstas::nvme::sysfs_address::SysfsAddress;
use serde_json::Value;
use stas_cli::client::{Daemon, Failure};
use stas_cli::screen::Screen;
use zbus::Connection;

use graph::Graph;
use topology::{Known, Topology};

/// The controllers of the kernel.
const CONTROLLERS: &str = "/sys/class/nvme";

/// The options of `tree`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Tree {
    /// Format of the picture
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: Form,
    /// Shorten nothing, also on a terminal
    #[arg(long)]
    full: bool,
}

/// The format of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines, for a terminal
    Text,
    /// The language of Graphviz
    Dot,
    /// A picture for a browser, in one file
    Svg,
}

/// Asks both daemons, and draws what they know. Without stafd, discovery controllers are missing.
pub(crate) async fn tree(connection: &Connection, what: Tree) -> Result<String, Failure> {
    let topology = Topology::of(known(connection).await?);
    Ok(match what.output {
        Form::Text => text::text(&topology, Screen::of_stdout(what.full)),
        Form::Dot => dot::dot(&Graph::of(&topology)),
        Form::Svg => svg::svg(&Graph::of(&topology)),
    })
}

async fn known(connection: &Connection) -> Result<Known, Failure> {
    let failure = |error| Daemon::Stacd.failure(error);
    let stac = StacProxy::of_stacd(connection).await.map_err(failure)?;
    let iocs = stac.list_controllers(true).await.map_err(failure)?;
    let debug = DebugProxy::of_stacd(connection).await.map_err(failure)?;
    let process = Daemon::Stacd.json(&debug.process_info().await.map_err(failure)?)?;
    let dcs = match discovery_controllers(connection).await {
        Ok(dcs) => Some(dcs),
        Err(Failure::NotRunning(_)) => None,
        Err(failure) => return Err(failure),
    };
    let all = iocs.iter().chain(dcs.iter().flatten().map(|(dc, _)| dc));
    let devices: BTreeSet<&str> = all.filter_map(|each| each.get(key::DEVICE)).map(String::as_str).collect();
    let interfaces = interfaces(Path::new(CONTROLLERS), &devices, &addresses_of_host());
    let host_nqn = process["hostnqn"].as_str().unwrap_or_default().to_owned();
    Ok(Known { host_nqn, iocs, dcs, interfaces })
}

async fn discovery_controllers(connection: &Connection) -> Result<Vec<(Dict, Vec<Dict>)>, Failure> {
    let asked = async { StafProxy::of_stafd(connection).await?.get_all_log_pages(true).await };
    let pages = Daemon::Stafd.json(&asked.await.map_err(|error| Daemon::Stafd.failure(error))?)?;
    let page = |page: &Value| {
        let entries = page[key::LOG_PAGES].as_array().into_iter().flatten().map(strings).collect();
        (strings(&page[key::DISCOVERY_CONTROLLER]), entries)
    };
    Ok(pages.as_array().into_iter().flatten().map(page).collect())
}

fn strings(object: &Value) -> Dict {
    let members = object.as_object().into_iter().flatten();
    members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The addresses of this host, each with its interface.
fn addresses_of_host() -> BTreeMap<IpAddr, String> {
    let mut addresses = BTreeMap::new();
    for each in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let address = each.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        if let Some(address) = address {
            addresses.insert(address, each.interface_name);
        }
    }
    addresses
}

/// The interface that each device uses, by the source address of its connection.
fn interfaces(
    controllers: &Path,
    devices: &BTreeSet<&str>,
    addresses: &BTreeMap<IpAddr, String>,
) -> BTreeMap<String, String> {
    let interface = |device: &&str| {
        // A name from the bus must not lead to another folder.
        CtrlRef::device_of(device)?;
        let address = fs::read_to_string(controllers.join(device).join("address")).ok()?;
        let interface = addresses.get(&SysfsAddress::parse(&address, Transport::Tcp).src_addr?)?;
        Some(((*device).to_owned(), interface.clone()))
    };
    devices.iter().filter_map(interface).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_source_address_of_a_connection_tells_its_interface() {
        let sysfs = tempfile::tempdir().unwrap();
        for (device, address) in [
            ("nvme0", "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.7\n"),
            ("nvme1", "traddr=fe80::1%eth1,trsvcid=4420,src_addr=fe80::7%eth1\n"),
            ("nvme2", "traddr=192.0.2.1,trsvcid=4420\n"),
        ] {
            fs::create_dir(sysfs.path().join(device)).unwrap();
            fs::write(sysfs.path().join(device).join("address"), address).unwrap();
        }
        let addresses = [("192.0.2.7", "eth0"), ("fe80::7", "eth1")];
        let addresses = addresses.map(|(ip, interface)| (ip.parse().unwrap(), interface.to_owned())).into();
        let devices = BTreeSet::from(["nvme0", "nvme1", "nvme2", "nvme3", "nvme?", "../nvme0", "nvme0/."]);
        let found = interfaces(sysfs.path(), &devices, &addresses);
        let expected = [("nvme0", "eth0"), ("nvme1", "eth1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found, expected.into());
    }

    #[test]
    fn the_addresses_of_this_host_have_their_interface() {
        let addresses = addresses_of_host();
        if let Some(interface) = addresses.get(&"127.0.0.1".parse::<IpAddr>().unwrap()) {
            assert_eq!(interface, "lo");
        }
    }
}
