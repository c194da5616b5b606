//! The schema of `-o json` has every attribute that the daemons answer with.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{DebugProxy, Dict, StacProxy, StafProxy};
use serde_json::{Map, Value, json};
use stas_cli::client::Daemon;
use stas_cli::schema::{self, Attribute, DISCOVERY, Detail, ENTRY, IDENTITY, IO, PROCESS, STATE};

use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

fn check<'a>(keys: impl IntoIterator<Item = &'a String>, tables: &[&[Attribute]]) {
    for key in keys {
        assert!(tables.iter().copied().flatten().any(|attribute| attribute.key == key.as_str()), "{key}");
    }
}

#[tokio::test]
async fn every_attribute_of_the_daemons_has_a_name_and_a_type_in_json() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons"]);
    fs::write(directory.path().join("stacd.conf"), "[Controllers]\ncontroller=transport=tcp;traddr=array;nqn=nqn.x\n")
        .unwrap();
    let client = connect(&bus).await;
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("both are connected", async || kernel.connected().len() == 2).await;
    let staf = StafProxy::new(&client).await.unwrap();
    let dcs = staf.list_controllers(true).await.unwrap();
    let iocs: Vec<Dict> = StacProxy::new(&client).await.unwrap().list_controllers(true).await.unwrap();
    dcs.iter().for_each(|dc| check(dc.keys(), &[IDENTITY, STATE, DISCOVERY]));
    iocs.iter().for_each(|ioc| check(ioc.keys(), &[IDENTITY, STATE, IO]));
    let pages: Vec<Value> = serde_json::from_str(&staf.get_all_log_pages(false).await.unwrap()).unwrap();
    check(pages[0]["log-pages"][0].as_object().unwrap().keys(), &[ENTRY]);
    for debug in [DebugProxy::of_stafd(&client).await.unwrap(), DebugProxy::of_stacd(&client).await.unwrap()] {
        let process: Map<String, Value> = serde_json::from_str(&debug.process_info().await.unwrap()).unwrap();
        check(process.keys(), &[PROCESS]);
    }

    let dcs = schema::controllers(Daemon::Stafd, Detail::All, &json!(dcs));
    assert!(
        dcs["controllers"][0]["connected"] == true && dcs["controllers"][0]["connected_since"].is_number(),
        "{dcs}"
    );
    let iocs = schema::controllers(Daemon::Stacd, Detail::All, &json!(iocs));
    let listed = iocs["controllers"].as_array().unwrap().iter().find(|ioc| ioc["subsysnqn"] == "nqn.klingons").unwrap();
    assert_eq!((&listed["dlpe"]["subnqn"], &listed["dlpe"]["trsvcid"]), (&json!("nqn.klingons"), &listed["trsvcid"]));
    stafd.stop().await;
    stacd.stop().await;
}
