//! stacd alone: its debug interface.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{DebugProxy, STAC_NAME, STAC_PATH, STAC_ROOT_NAME, StacProxy, next};
use libstas::daemon::signals::Signal;

use crate::kernel::Kernel;
use crate::stage::{LIMIT, Listed, connect, etc, listed, start_stacd, until};

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
        let change = tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
        assert!(change.args().unwrap().changed_properties().contains_key(name), "{change:?}");
    }
    assert_eq!(said().await, (true, "DEBUG".to_owned()));

    if bus_tests::is_root() {
        // Root calls the name for root. The signal also goes to the listeners of the public name.
        debug.set_tron(false).await.unwrap();
        assert_eq!(said().await, (false, "INFO".to_owned()));
        assert_eq!(debug.inner().destination().as_str(), STAC_ROOT_NAME);
        for name in ["tron", "log_level"] {
            let change = tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
            assert!(change.args().unwrap().changed_properties().contains_key(name), "{change:?}");
        }
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
    let error = info("tcp", &"x".repeat(1 << 19)).await.unwrap_err().to_string();
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
    let answer = DebugProxy::of_stacd(&client).await.unwrap().process_info().await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&info["dhchap"], &info["hostnqn"]), (&"host".into(), &"nqn.2014-08.org.nvmexpress:uuid:1".into()));
    assert!(!answer.contains("ia6zGodOr4SEG0Z"), "{answer}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_list_says_why_a_controller_is_not_connected_or_kept() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let write = |text: &str| fs::write(directory.path().join("stacd.conf"), text).unwrap();
    let line = |traddr: &str, nqn: &str| format!("controller=transport=tcp;traddr={traddr};trsvcid=4420;nqn={nqn}\n");
    let head = "[Global]\nip-family=ipv4\n[Controllers]\nexclude=nqn=nqn.x\n";
    let (a, b) = (line("192.0.2.9", "nqn.a"), line("192.0.2.9", "nqn.b"));
    let left_out = [line("192.0.2.9", "nqn.x"), line("2001:db8::9", "nqn.six"), line("array.invalid", "nqn.name")];
    let left_out = left_out.concat();
    write(&format!("{head}{a}{b}{left_out}"));
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let stac = StacProxy::new(&client).await.unwrap();
    let list = async || listed(stac.list_controllers(true).await.unwrap(), "subsysnqn");

    let unresolved = "host name array.invalid cannot be resolved: array.invalid has no address";
    let mut expected = Listed::from([
        ("nqn.a".into(), ("connected".into(), String::new())),
        ("nqn.b".into(), ("connected".into(), String::new())),
        ("nqn.x".into(), ("excluded".into(), "excluded by exclude= in stacd.conf:4".into())),
        ("nqn.six".into(), ("excluded".into(), "outside ip-family=ipv4".into())),
        ("nqn.name".into(), ("unresolved".into(), unresolved.into())),
    ]);
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;

    // A host name that does not resolve, then a line that cannot be read, may mean the controller that is missing.
    write(&format!("{head}{a}{left_out}"));
    daemon.signals.send(Signal::Reload).await.unwrap();
    let name = "host name array.invalid (stacd.conf:8) has no known address and may mean it; make the name resolvable, \
                or correct that line, then `systemctl reload stacd`";
    expected.insert("nqn.b".into(), ("kept".into(), name.into()));
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;

    write(&format!("{head}{a}controler=transport=tcp\n"));
    daemon.signals.send(Signal::Reload).await.unwrap();
    let bad = "stacd.conf:6 cannot be used and may mean it; correct that line, then `systemctl reload stacd`";
    let expected = Listed::from([
        ("nqn.a".into(), ("connected".into(), String::new())),
        ("nqn.b".into(), ("kept".into(), bad.into())),
    ]);
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;
    assert_eq!(kernel.connected(), ["nqn.a", "nqn.b"]);
    daemon.stop().await;
}
