//! The signals about controllers.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{ControllerEvent, ControllerEvents, ControllerId, DebugProxy};
use libstas::daemon::signals::Signal;

use crate::kernel::Kernel;
use crate::stage::{LIMIT, connect, etc, start_stacd, start_stafd};

/// The next event in one line.
async fn next(events: &mut ControllerEvents) -> String {
    match tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap() {
        ControllerEvent::Started => "started".into(),
        ControllerEvent::Stopped => "stopped".into(),
        ControllerEvent::Added { controller, cause } => format!("added {}: {cause}", controller["subsysnqn"]),
        ControllerEvent::Removed { controller, cause } => {
            format!("removed {} ({}): {cause}", controller["subsysnqn"], controller["device"])
        }
        ControllerEvent::StateChanged { controller, old, new, cause } => {
            assert_eq!(controller["state"], new);
            format!("{} ({}) {old} -> {new}: {cause}", controller["subsysnqn"], controller["device"])
        }
    }
}

/// The events up to one that begins with these words, without it.
async fn until(events: &mut ControllerEvents, words: &str) -> (Vec<String>, String) {
    let mut before = Vec::new();
    loop {
        let event = next(events).await;
        if event.starts_with(words) {
            return (before, event);
        }
        before.push(event);
    }
}

#[tokio::test]
async fn stacd_signals_each_change_of_a_controller_with_its_cause() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let write = |text: &str| fs::write(directory.path().join("stacd.conf"), text).unwrap();
    write("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.a\n");
    let client = connect(&bus).await;
    let mut events = ControllerEvents::of_stacd(&client).await.unwrap();
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    assert_eq!(next(&mut events).await, "started");
    let (before, added) = until(&mut events, "added").await;
    assert_eq!((before, added.as_str()), (vec![], "added nqn.a: controller= in stacd.conf, line 2"));
    let (_, connected) = until(&mut events, "nqn.a (nvme0)").await;
    assert!(connected.ends_with(" -> connected: connected: nvme0"), "{connected}");

    write("");
    daemon.signals.send(Signal::Reload).await.unwrap();
    let (_, removed) = until(&mut events, "removed").await;
    assert!(removed.starts_with("removed nqn.a (nvme0): "), "{removed}");
    assert!(removed.contains("controller= removed from stacd.conf (it was line 2)"), "{removed}");

    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    let known = debug.list_histories().await.unwrap();
    let [gone] = known.as_slice() else { panic!("{known:?}") };
    assert_eq!((gone["state"].as_str(), gone["device"].as_str()), ("removed", "nvme0"));
    let (source, story) = debug.controller_history_of(&ControllerId::from_dict(gone)).await.unwrap();
    let story: Vec<&str> = story.iter().map(|event| event["event"].as_str()).collect();
    assert_eq!(source, "");
    assert_eq!(
        story,
        [
            "listed: controller= in stacd.conf, line 2",
            "connected: nvme0",
            "disconnecting: controller= removed from stacd.conf (it was line 2)",
            "disconnected and removed",
        ]
    );
    daemon.stop().await;
    assert_eq!(next(&mut events).await, "stopped");
}

#[tokio::test]
async fn stafd_signals_each_change_of_a_discovery_controller() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let client = connect(&bus).await;
    let mut events = ControllerEvents::of_stafd(&client).await.unwrap();
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    let (_, added) = until(&mut events, "added").await;
    assert!(added.ends_with(": controller= in stafd.conf, line 4"), "{added}");
    let (_, connected) = until(&mut events, "nqn.2014-08.org.nvmexpress.discovery (nvme0)").await;
    assert!(connected.contains(" -> connected: "), "{connected}");
    daemon.stop().await;
}
