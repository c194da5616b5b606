//! An unprivileged user sends both daemons many calls and reads no answer. FLOOD is its duration in seconds. This test has
//! a process of its own: it measures time and memory.
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

use std::time::{Duration, Instant};

use bus_tests::PrivateBus;
use libstas::bus::{ControllerId, STAC_NAME, STAC_PATH, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, StafProxy};

use crate::attacker::{Attacker, Flood};
use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

/// The attacker opens this many connections to the bus, and sends this many calls on each.
const CONNECTIONS: usize = 100;
const CALLS: usize = 100;
/// Seconds for which it keeps the connections open before it begins again.
const HOLD: u64 = 2;
/// Subsystems before the flood.
const SUBSYSTEMS: usize = 1000;
/// Time between two new subsystems during the flood.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum growth of both daemons together, in bytes: 16 MB each.
const GROWTH: usize = 32_000_000;

/// Long enough for a call by root behind those that the attacker has left, on a slow machine.
const ANSWERED: Duration = Duration::from_secs(10);

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_flood_of_calls_neither_delays_stacd_nor_fills_the_memory() {
    if !bus_tests::is_root() {
        eprintln!("skipped: only root may own the names and become another user");
        return;
    }
    let Some(bus) = PrivateBus::with_installed_policies() else { return };
    let seconds = std::env::var("FLOOD").ok().map(|seconds| seconds.parse().unwrap());
    // Without FLOOD, this machine may be slow and busy.
    let (span, limit) = (Duration::from_secs(seconds.unwrap_or(6)), if seconds.is_some() { 1 } else { 2 });
    let (directory, kernel) = (etc(), Kernel::default());
    let name = |number| format!("nqn.2014-08.org.nvmexpress:scene:{number}");
    let mut offered: Vec<String> = (0..SUBSYSTEMS).map(name).collect();
    let offer = |offered: &[String]| kernel.offer(&offered.iter().map(String::as_str).collect::<Vec<_>>());
    offer(&offered);
    let stafd = start_stafd(&bus, directory.path(), &kernel).await;
    let stacd = start_stacd(&bus, directory.path(), &kernel).await;
    until("all are connected", async || kernel.connected().len() == 1 + SUBSYSTEMS).await;
    let client = connect(&bus).await;
    let staf = StafProxy::at(&client, STAF_ROOT_NAME).await.unwrap();
    let dcs = StafProxy::new(&client).await.unwrap().list_controllers(false).await.unwrap();
    let dc = ControllerId::from_dict(dcs.first().unwrap());
    let before = resident();
    let flood = Flood { connections: CONNECTIONS, calls: CALLS, length: 0, hold: HOLD };
    let services =
        [[STAF_NAME, STAF_PATH, STAF_NAME, "get_all_log_pages"], [STAC_NAME, STAC_PATH, STAC_NAME, "list_controllers"]];
    let Some(attacker) = Attacker::start(&bus, &flood, &services) else { return };
    let begun = Instant::now();
    let (mut delays, mut most) = (Vec::new(), 0);
    while begun.elapsed() < span {
        offered.push(name(offered.len()));
        offer(&offered);
        let changed = Instant::now();
        staf.refresh_log_pages_of(&dc).await.unwrap();
        until("the new one is connected", async || kernel.connected().len() == 1 + offered.len()).await;
        delays.push(changed.elapsed());
        most = most.max(resident());
        tokio::time::sleep(PAUSE).await;
    }
    delays.sort();
    let (median, last) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    let grown = most.saturating_sub(before);
    let sent = attacker.end();
    // The calls of connections that have left the bus are still waiting.
    let ended = Instant::now();
    let public = StafProxy::new(&client).await.unwrap();
    assert_eq!(public.list_controllers(false).await.unwrap().len(), 1);
    let answered = ended.elapsed();
    println!(
        "{sent} calls in {span:?}; changed page to connected: median {median:?}, at most {last:?}; {grown} bytes more; \
         a call after it: {answered:?}"
    );
    assert!(sent >= CONNECTIONS * CALLS, "{sent}");
    assert!(median < Duration::from_secs(limit), "{delays:?}");
    assert!(grown < GROWTH, "{grown} bytes");
    assert!(answered < ANSWERED, "{answered:?}");
    stacd.stop().await;
    stafd.stop().await;
}
