//! An unprivileged user leaves so many answers unread that the bus takes no more messages of the daemons' public
//! connections.
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
use libstas::bus::{
    ControllerEvent, ControllerEvents, ControllerId, DebugProxy, STAC_NAME, STAC_PATH, STAF_NAME, STAF_PATH,
    STAF_ROOT_NAME, StacProxy, StafProxy,
};
use zbus::Connection;

use crate::attacker::{Attacker, Flood};
use crate::kernel::Kernel;
use crate::stage::{connect, etc, start_stacd, start_stafd, until};

/// Number of subsystems: enough to make the answers long.
const SUBSYSTEMS: usize = 1000;
/// How much of one connection the bus stores before it takes no more of its messages. The default is 127 MiB. A few
/// answers exceed it: on a slow machine, the daemons soon refuse the user further ones.
const LIMIT: &str = r#"<limit name="max_incoming_bytes">1000000</limit>"#;
/// Within this time, a bus that takes messages delivers the answer to a call.
const ANSWERED: Duration = Duration::from_secs(3);
/// Long enough for a few calls on a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// Asks both daemons like the tools. Returns how many controllers stafd and stacd list.
async fn ask(client: &Connection) -> zbus::Result<(usize, usize)> {
    let dcs = StafProxy::of_stafd(client).await?.list_controllers(true).await?;
    let iocs = StacProxy::of_stacd(client).await?.list_controllers(true).await?;
    DebugProxy::of_stafd(client).await?.process_info().await?;
    DebugProxy::of_stacd(client).await?.process_info().await?;
    Ok((dcs.len(), iocs.len()))
}

/// How often the signals until now have said that the subsystem is connected.
async fn connects(events: &mut ControllerEvents, subsystem: &str) -> usize {
    let mut connects = 0;
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let Some(ControllerEvent::StateChanged { controller, new, .. }) = event else { continue };
        connects += usize::from(controller["subsysnqn"] == subsystem && new == "connected");
    }
    connects
}

#[tokio::test]
async fn answers_that_a_user_does_not_read_delay_neither_stacd_nor_the_tools_of_root() {
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
    let public_stac = StacProxy::new(&client).await.unwrap();
    // On a connection of its own: while events are not taken, further answers on it are not received.
    let mut events = ControllerEvents::of_stacd(&connect(&bus).await).await.unwrap();
    let flood = Flood { connections: 20, calls: 100, length: 0, hold: 1000 };
    let services =
        [[STAF_NAME, STAF_PATH, STAF_NAME, "get_all_log_pages"], [STAC_NAME, STAC_PATH, STAC_NAME, "list_controllers"]];
    let Some(attacker) = Attacker::start(&bus, &flood, &services) else { return };
    let blocked = async || {
        let stafd = tokio::time::timeout(ANSWERED, public.list_controllers(false)).await.is_err();
        stafd && tokio::time::timeout(ANSWERED, public_stac.list_controllers(false)).await.is_err()
    };
    until("the bus takes no more answers of the daemons", blocked).await;
    offered.push(name(offered.len()));
    offer(&offered);
    staf.refresh_log_pages_of(&dc).await.unwrap();
    until("the new one is connected", async || kernel.connected().len() == 1 + offered.len()).await;
    let asked = tokio::time::timeout(SOON, ask(&client)).await.expect("the tools of root are answered");
    assert_eq!(asked.unwrap(), (1, offered.len()));
    until("root hears of the new one", async || connects(&mut events, &offered[SUBSYSTEMS]).await == 1).await;
    assert!(blocked().await, "the answers were read");
    drop(attacker);
    until("the bus takes answers again", async || !blocked().await).await;
    assert_eq!(connects(&mut events, &offered[SUBSYSTEMS]).await, 0, "root has heard it already");
    stacd.stop().await;
    stafd.stop().await;
}
