//! Owning a bus name, losing it, losing the bus, and identifying callers.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::{BusError, STAF_NAME, STAF_PATH, STAF_ROOT_NAME, StafProxy, own_name, require_root};
use zbus::connection::Builder;
use zbus::message::Header;
use zbus::{Connection, fdo};

const LIMIT: Duration = Duration::from_secs(10);

async fn connect(bus: &PrivateBus) -> Connection {
    let connection = Builder::address(bus.address()).build().await.unwrap();
    // Serve the object before the name is requested.
    let _ = connection.object_server();
    connection
}

#[tokio::test]
async fn a_name_that_another_has_is_refused_and_its_owner_named() {
    let Some(bus) = PrivateBus::start() else { return };
    let (first, second) = (connect(&bus).await, connect(&bus).await);
    let owned = own_name(&first, STAF_NAME).await.unwrap();
    let error = own_name(&second, STAF_NAME).await.unwrap_err();
    assert!(matches!(&error, BusError::NameTaken { pid: Some(pid), .. } if *pid == std::process::id()), "{error:?}");
    assert!(error.to_string().contains("another instance"), "{error}");
    drop(owned);
}

#[tokio::test]
async fn nobody_pushes_the_owner_aside() {
    let Some(bus) = PrivateBus::start() else { return };
    let (first, second) = (connect(&bus).await, connect(&bus).await);
    let owned = own_name(&first, STAF_NAME).await.unwrap();
    assert!(second.request_name(STAF_NAME).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(100), owned.lost()).await.is_err());
}

#[tokio::test]
async fn a_lost_name_is_noticed() {
    let Some(bus) = PrivateBus::start() else { return };
    let connection = connect(&bus).await;
    let owned = own_name(&connection, STAF_NAME).await.unwrap();
    connection.release_name(STAF_NAME).await.unwrap();
    let error = tokio::time::timeout(LIMIT, owned.lost()).await.unwrap();
    assert!(matches!(error, BusError::NameLost(_)), "{error:?}");
}

#[tokio::test]
async fn a_lost_bus_is_noticed() {
    let Some(mut bus) = PrivateBus::start() else { return };
    let connection = connect(&bus).await;
    let owned = own_name(&connection, STAF_NAME).await.unwrap();
    bus.stop();
    let error = tokio::time::timeout(LIMIT, owned.lost()).await.unwrap();
    assert!(matches!(error, BusError::Lost), "{error:?}");
}

struct Guarded;

#[zbus::interface(name = "org.nvmexpress.staf")]
impl Guarded {
    async fn enter(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<()> {
        require_root(connection, Some(&header), "enter").await
    }
}

#[tokio::test]
async fn the_bus_says_who_calls() {
    let Some(bus) = PrivateBus::start() else { return };
    let (server, client) = (connect(&bus).await, connect(&bus).await);
    server.object_server().at("/", Guarded).await.unwrap();
    let name = server.unique_name().unwrap().to_string();
    let answer = client.call_method(Some(name.as_str()), "/", Some(STAF_NAME), "Enter", &()).await;
    if bus_tests::is_root() {
        answer.unwrap();
    } else {
        assert!(answer.unwrap_err().to_string().contains("only root may enter"));
    }
}

/// The debug interface, as far as the choice of the name needs it.
struct Debug;

#[zbus::interface(name = "org.nvmexpress.staf.debug")]
impl Debug {
    #[zbus(property, name = "log_level")]
    fn log_level(&self) -> String {
        "INFO".to_owned()
    }
}

#[tokio::test]
async fn a_tool_calls_the_name_for_root_if_it_is_root_and_stafd_serves_its_interfaces_there() {
    let Some(bus) = PrivateBus::start() else { return };
    let (public, root, client) = (connect(&bus).await, connect(&bus).await, connect(&bus).await);
    let called = async || StafProxy::of_stafd(&client).await.unwrap().inner().destination().to_string();
    assert_eq!(called().await, STAF_NAME, "stafd is not running");
    public.object_server().at(STAF_PATH, Debug).await.unwrap();
    let _public = own_name(&public, STAF_NAME).await.unwrap();
    assert_eq!(called().await, STAF_NAME, "the stafd of nvme-stas");
    let _root = own_name(&root, STAF_ROOT_NAME).await.unwrap();
    assert_eq!(called().await, STAF_NAME, "an earlier stafd: there is nothing for tools at the name for root");
    root.object_server().at(STAF_PATH, Debug).await.unwrap();
    assert_eq!(called().await, if bus_tests::is_root() { STAF_ROOT_NAME } else { STAF_NAME });
}
