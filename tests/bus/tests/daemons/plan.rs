//! The daemons say what a reload would do, and do nothing of it.

use std::collections::BTreeMap;
use std::fs;

use bus_tests::PrivateBus;
use libstas::bus::{DebugProxy, Dict, key};
use libstas::daemon::signals::Signal;

use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

fn line(traddr: &str, nqn: &str) -> String {
    format!("controller=transport=tcp;traddr={traddr};trsvcid=4420;nqn={nqn}\n")
}

/// Each controller as `NQN CHANGE: REASON`.
fn lines(planned: &[Dict]) -> Vec<String> {
    let line = |dict: &Dict| format!("{} {}: {}", dict["subsysnqn"], dict[key::CHANGE], dict[key::REASON]);
    let mut lines: Vec<String> = planned.iter().map(line).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn stacd_says_what_a_reload_would_do_and_then_does_it() {
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let write = |text: &str| fs::write(directory.path().join("stacd.conf"), text).unwrap();
    let [a, b, c] = ["nqn.a", "nqn.b", "nqn.c"].map(|nqn| line("192.0.2.9", nqn));
    write(&format!("[Controllers]\n{a}{b}{c}"));
    let daemon = start_stacd(&bus, directory.path(), &kernel).await;
    until("all are connected", async || kernel.connected() == ["nqn.a", "nqn.b", "nqn.c"]).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stacd(&client).await.unwrap();
    let new = format!("[Controllers]\n{a}{}exclude=nqn=nqn.c\n", line("array", "nqn.d"));
    let names = BTreeMap::from([("array".to_owned(), vec!["192.0.2.10".to_owned()])]);
    let planned = debug.plan_reload(&new, &names).await;
    if !bus_tests::is_root() {
        assert!(planned.unwrap_err().to_string().contains("only root"));
        return;
    }
    let planned = planned.unwrap();
    assert_eq!(
        lines(&planned),
        [
            "nqn.a keep: controller= in stacd.conf, line 2",
            "nqn.b disconnect unless in use: controller= removed from stacd.conf (it was line 3)",
            "nqn.c disconnect: excluded by exclude= in stacd.conf, line 4",
            "nqn.d connect: controller= in stacd.conf, line 3",
        ]
    );
    // A host name without an address may mean the controller that is missing.
    let unresolved = lines(&debug.plan_reload(&new, &BTreeMap::new()).await.unwrap());
    assert!(
        unresolved[1].starts_with("nqn.b keep: host name array (stacd.conf:3) has no known address"),
        "{unresolved:?}"
    );
    assert_eq!(kernel.connected(), ["nqn.a", "nqn.b", "nqn.c"]);

    write(&format!("[Controllers]\n{a}{}exclude=nqn=nqn.c\n", line("192.0.2.10", "nqn.d")));
    daemon.signals.send(Signal::Reload).await.unwrap();
    until("it is as planned", async || kernel.connected() == ["nqn.a", "nqn.d"]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn stafd_says_what_a_reload_would_do() {
    if !bus_tests::is_root() {
        return;
    }
    let Some(bus) = PrivateBus::start() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    let daemon = start_stafd(&bus, directory.path(), &kernel).await;
    until("it is connected", async || kernel.connected().len() == 1).await;
    let client = connect(&bus).await;
    let debug = DebugProxy::of_stafd(&client).await.unwrap();
    let new = "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.2\n";
    let planned = debug.plan_reload(new, &BTreeMap::new()).await.unwrap();
    let mut found: Vec<String> =
        planned.iter().map(|dict| format!("{} {}: {}", dict["traddr"], dict[key::CHANGE], dict[key::REASON])).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "192.0.2.1 disconnect: controller= removed from stafd.conf (it was line 4)",
            "192.0.2.2 connect: controller= in stafd.conf, line 4",
        ]
    );
    assert_eq!(kernel.connected().len(), 1);
    daemon.stop().await;
}
