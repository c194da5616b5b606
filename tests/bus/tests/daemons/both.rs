//! stafd and stacd together: the entries of a discovery controller are connected, and the end of a daemon disconnects
//! nothing.

use bus_tests::PrivateBus;
use libstas::bus::{ControllerId, DebugProxy, STAF_ROOT_NAME, StacProxy, StafProxy, key};
use libstas::nvme::DISCOVERY_NQN;

use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

const ALL: [&str; 3] = [DISCOVERY_NQN, "nqn.klingons", "nqn.starfleet"];

#[tokio::test]
async fn what_is_listed_is_connected_and_described() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons", "nqn.starfleet"]);
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("both are connected", async || kernel.connected() == ALL).await;

    let client = connect(&bus).await;
    let stac = StacProxy::new(&client).await.unwrap();
    let connected = async || {
        let list = stac.list_controllers(true).await.unwrap();
        list.len() == 2 && list.iter().all(|ioc| ioc["connected"] == "True")
    };
    until("stacd says so", connected).await;
    let list = stac.list_controllers(true).await.unwrap();
    let klingons = list.iter().find(|ioc| ioc["subsysnqn"] == "nqn.klingons").unwrap();
    assert_eq!(klingons[key::ORIGIN], "discovered");
    assert_eq!(klingons["dlpe.eflags.ncc"], "False");
    assert!(klingons["dlpe"].starts_with("{'adrfam': 'ipv4', "), "{}", klingons["dlpe"]);

    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    let info = debug.controller_info_of(&ControllerId::from_dict(klingons)).await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&info).unwrap()["subsysnqn"], "nqn.klingons");
    let process = debug.process_info().await.unwrap();
    assert!(process.contains("2 I/O controllers, 2 connected"), "{process}");
    stacd.stop().await;
    stafd.stop().await;
}

#[tokio::test]
async fn an_end_of_either_takes_no_connection_along() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons", "nqn.starfleet"]);
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("both are connected", async || kernel.connected() == ALL).await;

    stafd.stop().await;
    stacd.stop().await;
    assert_eq!(kernel.connected(), ALL);

    // Without stafd, stacd keeps the connections and what it knows of them.
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let stac = StacProxy::new(&client).await.unwrap();
    until("they are taken over", async || stac.list_controllers(false).await.unwrap().len() == 2).await;
    assert_eq!(kernel.connected(), ALL);

    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let reads = kernel.reads();
    until("the page is read", async || kernel.reads() > reads).await;
    assert_eq!(kernel.connected(), ALL);
    stacd.stop().await;
    stafd.stop().await;
}

#[tokio::test]
async fn one_that_is_no_longer_listed_goes_and_the_other_stays() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons", "nqn.starfleet"]);
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("both are connected", async || kernel.connected() == ALL).await;
    let client = connect(&bus).await;
    let staf = StafProxy::new(&client).await.unwrap();
    kernel.offer(&["nqn.starfleet"]);
    let dcs = staf.list_controllers(false).await.unwrap();
    let root = StafProxy::at(&client, STAF_ROOT_NAME).await.unwrap();
    if root.refresh_log_pages_of(&ControllerId::from_dict(dcs.first().unwrap())).await.is_err() {
        eprintln!("skipped: only root may request that log pages are read again");
        return;
    }
    until("it is gone", async || kernel.connected() == [DISCOVERY_NQN, "nqn.starfleet"]).await;
    stacd.stop().await;
    stafd.stop().await;
}
