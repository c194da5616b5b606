//! stacd alone: its debug interface.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{DebugProxy, STAC_NAME, STAC_PATH, next};
use libstas::daemon::signals::Signal;

use crate::kernel::Kernel;
use crate::stage::{LIMIT, connect, etc, start_stacd};

#[tokio::test]
async fn trace_follows_the_configuration_and_the_administrator() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    let properties = zbus::fdo::PropertiesProxy::new(&client, STAC_NAME, STAC_PATH).await.unwrap();
    let mut changes = properties.receive_properties_changed().await.unwrap();
    let said = async || (debug.tron().await.unwrap(), debug.log_level().await.unwrap());
    assert_eq!(said().await, (false, "INFO".to_owned()));

    fs::write(directory.path().join("stacd.conf"), "[Global]\ntron=true\n").unwrap();
    daemon.signals.send(Signal::Reload).await.unwrap();
    for name in ["tron", "log_level"] {
        let told = tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
        assert!(told.args().unwrap().changed_properties().contains_key(name), "{told:?}");
    }
    assert_eq!(said().await, (true, "DEBUG".to_owned()));

    if bus_tests::is_root() {
        debug.set_tron(false).await.unwrap();
        assert_eq!(said().await, (false, "INFO".to_owned()));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_names_no_controller_is_answered_or_refused() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    let info = async |transport: &str, iface: &str| {
        debug.controller_info(transport, "192.0.2.1", "4420", "nqn.klingons", "", iface, "").await
    };
    assert_eq!(info("pigeon", "").await.unwrap(), "{}");
    assert_eq!(info("tcp", "").await.unwrap(), "{}", "nobody knows it");
    let error = info("tcp", &"x".repeat(1 << 20)).await.unwrap_err().to_string();
    assert!(error.contains("host-iface"), "{error}");
    daemon.stop().await;
}

#[tokio::test]
async fn it_tells_that_the_host_has_a_secret_and_not_which() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    let sys_conf = directory.path().join("sys.conf");
    let with_key = fs::read_to_string(&sys_conf).unwrap() + &format!("key={secret}\n");
    fs::write(&sys_conf, with_key).unwrap();
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let told = DebugProxy::of_stacd(&client).await.unwrap().process_info().await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&info["dhchap"], &info["hostnqn"]), (&"host".into(), &"nqn.2014-08.org.nvmexpress:uuid:1".into()));
    assert!(!told.contains("ia6zGodOr4SEG0Z"), "{told}");
    daemon.stop().await;
}
