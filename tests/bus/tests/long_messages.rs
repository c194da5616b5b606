//! An unprivileged user sends the daemons messages of 31 MiB; dbus-daemon delivers at most 32 MiB. This test has a
//! process of its own, because it measures memory.
#![allow(clippy::unwrap_used)]

// This test needs a part of what the other tests need.
#[allow(dead_code)]
mod attacker;
#[allow(dead_code)]
#[path = "daemons/kernel.rs"]
mod kernel;
#[allow(dead_code)]
#[path = "daemons/stage.rs"]
mod stage;

use bus_tests::PrivateBus;
use libstas::bus::{STAC_NAME, STAC_PATH, STAF_NAME, STAF_PATH, StafProxy};

use crate::attacker::{Attacker, Flood};
use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

/// Connections, messages on each, and the length of each in bytes.
const CONNECTIONS: usize = 4;
const MESSAGES: usize = 8;
const LENGTH: usize = 31 * 1024 * 1024;
/// Maximum growth of both daemons together, in bytes.
const GROWTH: usize = 16_000_000;

/// The largest resident memory that this process has had since the last call, in bytes.
fn most_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn long_messages_do_not_fill_the_memory() {
    if !bus_tests::is_root() {
        eprintln!("skipped: only root may own the names and become another user");
        return;
    }
    let Some(bus) = PrivateBus::with_installed_policies() else { return };
    let (directory, kernel) = (etc(), Kernel::default());
    kernel.offer(&["nqn.2014-08.org.nvmexpress:scene:one"]);
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("all are connected", async || kernel.connected().len() == 2).await;
    let client = connect(&bus).await;
    let staf = StafProxy::new(&client).await.unwrap();
    most_resident();
    let before = most_resident();
    let flood = Flood { connections: CONNECTIONS, calls: MESSAGES, length: LENGTH, hold: 1 };
    let services =
        [[STAF_NAME, STAF_PATH, STAF_NAME, "get_all_log_pages"], [STAC_NAME, STAC_PATH, STAC_NAME, "list_controllers"]];
    let Some(attacker) = Attacker::start(&bus, &flood, &services) else { return };
    let sent = tokio::task::spawn_blocking(move || attacker.end()).await.unwrap();
    assert_eq!(staf.list_controllers(false).await.unwrap().len(), 1);
    let grown = most_resident().saturating_sub(before);
    println!("{sent} messages of {LENGTH} bytes; {grown} bytes more");
    assert!(sent >= CONNECTIONS * MESSAGES, "{sent}");
    assert!(grown < GROWTH, "{grown} bytes");
    stacd.stop().await;
    stafd.stop().await;
}
