//! stafd alone: from the configuration to the log page on the bus, through a reload, a stop and the next start.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{ControllerId, DebugProxy, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, StafProxy, key, next};
use libstas::daemon::signals::Signal;
use libstas::nvme::DISCOVERY_NQN;

use crate::kernel::Kernel;
use crate::stage::{LIMIT, Listed, connect, etc, listed, start_stafd, until};

#[tokio::test]
async fn a_configured_controller_is_connected_and_its_page_published_and_kept() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons"]);
    let client = connect(&bus).await;
    let staf = StafProxy::new(&client).await.unwrap();
    let mut changes = staf.receive_log_pages_changed().await.unwrap();

    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    let signal = tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
    let args = signal.args().unwrap();
    let id: ControllerId = args.controller_id();
    assert_eq!((id.traddr.as_str(), args.device.as_str()), ("192.0.2.1", "nvme0"));
    assert_eq!(staf.log_pages_of(&id).await.unwrap().len(), 1);
    let list = staf.list_controllers(true).await.unwrap();
    let [dc] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((dc["connected"].as_str(), dc[key::LOG_PAGE_STATE].as_str()), ("True", "fresh"));

    if bus_tests::is_root() {
        kernel.offer(&["nqn.klingons", "nqn.starfleet"]);
        let root = StafProxy::at(&client, STAF_ROOT_NAME).await.unwrap();
        assert!(
            staf.refresh_log_pages_of(&id).await.is_err(),
            "an earlier stacd must not take the old page for a new one"
        );
        assert_eq!(root.refresh_log_pages_of(&id).await.unwrap().len(), 2, "it was read anew");
    }

    daemon.stop().await;
    assert!(staf.list_controllers(false).await.is_err(), "stafd is gone");

    // The saved page is published at once, and the fresh one soon after; the connection is adopted.
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    assert!(!staf.log_pages_of(&id).await.unwrap().is_empty());
    let fresh = async || staf.list_controllers(true).await.unwrap().iter().all(|dc| dc[key::LOG_PAGE_STATE] == "fresh");
    until("the page is fresh", fresh).await;
    assert_eq!(kernel.connected(), [DISCOVERY_NQN], "no second connection");
    daemon.stop().await;
}

#[tokio::test]
async fn a_reload_takes_new_settings_and_tells_what_changed() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let client = connect(&bus).await;
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    let debug = DebugProxy::of_stafd(&client).await.unwrap();
    let properties = zbus::fdo::PropertiesProxy::new(&client, STAF_NAME, STAF_PATH).await.unwrap();
    let mut changes = properties.receive_properties_changed().await.unwrap();
    assert!(!debug.tron().await.unwrap());

    let more = "[Global]\ntron=true\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\ncontroller=transport=tcp;traddr=192.0.2.2\n";
    fs::write(directory.path().join("stafd.conf"), more).unwrap();
    daemon.signals.send(Signal::Reload).await.unwrap();
    tokio::time::timeout(LIMIT, next(&mut changes)).await.unwrap().unwrap();
    assert!(debug.tron().await.unwrap());
    let list = StafProxy::new(&client).await.unwrap().list_controllers(false).await.unwrap();
    assert_eq!(list.iter().map(|dc| dc["traddr"].as_str()).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);

    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_loses_the_bus_ends_with_its_state_saved() {
    let Some(mut bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    bus.stop();
    assert!(!tokio::time::timeout(LIMIT, daemon.end).await.unwrap().unwrap());
    let state = fs::read_to_string(directory.path().join("stafd/state.json")).unwrap();
    assert!(state.contains("192.0.2.1"), "{state}");
}

#[tokio::test]
async fn the_list_says_why_a_controller_is_not_connected_or_kept() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let write = |text: &str| fs::write(directory.path().join("stafd.conf"), text).unwrap();
    let line = |traddr: &str| format!("controller=transport=tcp;traddr={traddr}\n");
    let head =
        "[Global]\nip-family=ipv4\n[Service Discovery]\nzeroconf=disabled\n[Controllers]\nexclude=traddr=192.0.2.3\n";
    let (a, b) = (line("192.0.2.1"), line("192.0.2.2"));
    let left_out = [line("192.0.2.3"), line("2001:db8::1"), line("dc.invalid")].concat();
    write(&format!("{head}{a}{b}{left_out}"));
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let staf = StafProxy::new(&client).await.unwrap();
    let list = async || listed(staf.list_controllers(true).await.unwrap(), "traddr");

    let unresolved = "host name dc.invalid cannot be resolved: dc.invalid has no address";
    let mut expected = Listed::from([
        ("192.0.2.1".into(), ("connected".into(), String::new())),
        ("192.0.2.2".into(), ("connected".into(), String::new())),
        ("192.0.2.3".into(), ("excluded".into(), "excluded by exclude= in stafd.conf:6".into())),
        ("2001:db8::1".into(), ("excluded".into(), "outside ip-family=ipv4".into())),
        ("dc.invalid".into(), ("unresolved".into(), unresolved.into())),
    ]);
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;

    // A host name that does not resolve, then a line that cannot be read, may mean the controller that is missing.
    write(&format!("{head}{a}{left_out}"));
    daemon.signals.send(Signal::Reload).await.unwrap();
    let name = "host name dc.invalid (stafd.conf:10) has no known address and may mean it; make the name resolvable, or \
                correct that line, then `systemctl reload stafd`";
    expected.insert("192.0.2.2".into(), ("kept".into(), name.into()));
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;

    write(&format!("{head}{a}controler=transport=tcp\n"));
    daemon.signals.send(Signal::Reload).await.unwrap();
    let bad = "stafd.conf:8 cannot be used and may mean it; correct that line, then `systemctl reload stafd`";
    let expected = Listed::from([
        ("192.0.2.1".into(), ("connected".into(), String::new())),
        ("192.0.2.2".into(), ("kept".into(), bad.into())),
    ]);
    until(&format!("the list is {expected:?}"), async || list().await == expected).await;
    assert_eq!(kernel.connected().len(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_answered_and_the_next_one_is_received() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let call = async |length: usize| {
        let text = "x".repeat(length);
        client.call_method(Some(STAF_NAME), STAF_PATH, Some(STAF_NAME), "list_controllers", &text).await
    };
    for length in [100, 2_000_000, 3_000_000, 30_000_000] {
        let error = call(length).await.unwrap_err().to_string();
        assert!(error.contains("InvalidArgs"), "{length}: {error}");
    }
    let staf = StafProxy::new(&client).await.unwrap();
    assert_eq!(staf.list_controllers(false).await.unwrap().len(), 1);
    stafd.stop().await;
}
