//! The daemons count what they do.

use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::DebugProxy;
use libstas::bus::metrics::{FAMILIES, Sample};
use libstas::daemon::signals::Signal;

use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

/// The value of a sample that has this label, or none.
fn value(samples: &[Sample], name: &str, label: &str) -> Option<f64> {
    let is_meant = |sample: &&Sample| {
        sample.name == name && (label.is_empty() || sample.labels.values().any(|value| value == label))
    };
    samples.iter().find(is_meant).map(|sample| sample.value)
}

#[tokio::test]
async fn connects_and_disconnects_are_counted_by_their_cause() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let write = |text: &str| fs::write(directory.path().join("stacd.conf"), text).unwrap();
    write(
        "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.a\n\
         controller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.b\n",
    );
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    until("both are connected", async || kernel.connected() == ["nqn.a", "nqn.b"]).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    until("both are counted", async || {
        let samples = debug.metrics().await.unwrap();
        value(&samples, "stas_controllers_connected", "") == Some(2.0)
    })
    .await;
    let samples = debug.metrics().await.unwrap();
    assert_eq!(value(&samples, "stas_connects_total", ""), Some(2.0));
    assert_eq!(value(&samples, "stas_queue_wait_seconds_count", ""), Some(2.0));
    assert_eq!(value(&samples, "stas_controllers", "connected"), Some(2.0));

    write("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.a\n");
    daemon.signals.send(Signal::Reload).await.unwrap();
    until("one is left", async || kernel.connected() == ["nqn.a"]).await;
    let samples = debug.metrics().await.unwrap();
    assert_eq!(value(&samples, "stas_disconnects_total", "removed"), Some(1.0));
    assert_eq!(value(&samples, "stas_disconnects_total", "gone"), Some(0.0));
    for sample in &samples {
        let family = FAMILIES.iter().find(|family| {
            family.kind.suffixes().iter().any(|suffix| sample.name == format!("{}{suffix}", family.name))
        });
        assert!(family.is_some(), "{}", sample.name);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_age_of_a_log_page_is_known_once_it_was_read() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.klingons"]);
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stafd(&client).await.unwrap();
    until("it was read", async || {
        value(&debug.metrics().await.unwrap(), "stas_log_page_age_seconds", "192.0.2.1").is_some_and(|age| age < 60.0)
    })
    .await;
    daemon.stop().await;
}
