//! An unprivileged user leaves so many answers unread that the bus takes no more messages of stafd's public connection.
//! This test has a process of its own: other tests would wait for it.
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

use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::{ControllerId, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, StafProxy};

use crate::attacker::{Attacker, Flood};
use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

/// Number of subsystems: enough to make the answers long.
const SUBSYSTEMS: usize = 1000;
/// How much of one connection the bus stores before it takes no more of its messages. The default is 127 MiB.
const LIMIT: &str = r#"<limit name="max_incoming_bytes">8000000</limit>"#;
/// Within this time, a bus that takes messages delivers the answer to a call.
const ANSWERED: Duration = Duration::from_secs(3);

#[tokio::test]
async fn answers_that_a_user_does_not_read_do_not_delay_stacd() {
    if !bus_tests::is_root() {
        eprintln!("skipped: only root may own the names and become another user");
        return;
    }
    let Some(bus) = PrivateBus::with_installed_policies_and(LIMIT) else { return };
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
    let public = StafProxy::new(&client).await.unwrap();
    let dcs = public.list_controllers(false).await.unwrap();
    let dc = ControllerId::from_dict(dcs.first().unwrap());
    let flood = Flood { connections: 20, calls: 100, length: 0, hold: 1000 };
    let Some(attacker) = Attacker::start(&bus, &flood, &[[STAF_NAME, STAF_PATH, STAF_NAME, "get_all_log_pages"]])
    else {
        return;
    };
    let blocked = async || tokio::time::timeout(ANSWERED, public.list_controllers(false)).await.is_err();
    until("the bus takes no more answers of stafd", blocked).await;
    offered.push(name(offered.len()));
    offer(&offered);
    staf.refresh_log_pages_of(&dc).await.unwrap();
    until("the new one is connected", async || kernel.connected().len() == 1 + offered.len()).await;
    assert!(blocked().await, "the answers were read");
    drop(attacker);
    until("the bus takes answers again", async || !blocked().await).await;
    stacd.stop().await;
    stafd.stop().await;
}
