//! The bus policies: which methods a user other than root may call.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bus_tests::PrivateBus;
use libstas::bus::{STAC_NAME, STAC_ROOT_NAME, STAF_NAME, STAF_ROOT_NAME};
use zbus::connection::Builder;

#[derive(Clone, Copy)]
enum User {
    Root,
    Nobody,
}

/// The bus name, the suffix of the interface name, the member, and its signature with arguments.
type Method = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The methods that only root may call.
const ROOT_ONLY: [Method; 3] = [
    (STAF_NAME, "", "get_published_pages", &["a(sssssss)", "0"]),
    (STAF_NAME, ".debug", "plan_reload", &["sa{sas}", "", "0"]),
    (STAC_NAME, ".debug", "plan_reload", &["sa{sas}", "", "0"]),
];

/// Calls a method with busctl as nobody or as root. Returns what busctl prints to stderr: the error of the bus or of the
/// service, or nothing.
async fn call(bus: &PrivateBus, user: User, method: Method) -> String {
    let address = format!("--address={}", bus.address());
    let call = move || {
        let (name, interface, member, arguments) = method;
        let mut command = match user {
            User::Root => Command::new("busctl"),
            User::Nobody => bus_tests::as_nobody("busctl"),
        };
        command.args([&address, "--timeout=10", "call", name, "/", &format!("{name}{interface}"), member]);
        command.args(arguments).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(call).await.unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_user_cannot_send_arguments_to_methods_that_only_root_may_call() {
    if !bus_tests::is_root() {
        eprintln!("skipped: only root may own the names and become another user");
        return;
    }
    let Some(bus) = PrivateBus::with_installed_policies() else { return };
    // Nothing is served: a call that the bus lets through is answered by UnknownInterface. Each name has a connection
    // of its own, because the bus applies the rules for all names of a connection.
    let serve =
        async |name| Builder::address(bus.address()).serve_at("/none", Nothing).name(name).build().await.unwrap();
    let _public = (serve(STAF_NAME).await, serve(STAC_NAME).await);
    let _root = (serve(STAF_ROOT_NAME).await, serve(STAC_ROOT_NAME).await);
    for method in ROOT_ONLY {
        let denied = call(&bus, User::Nobody, method).await;
        assert!(denied.contains("denied"), "{method:?}: {denied}");
        let passed = call(&bus, User::Root, method).await;
        assert!(passed.contains("Unknown"), "{method:?}: {passed}");
    }
    for name in [STAF_ROOT_NAME, STAC_ROOT_NAME] {
        let method = (name, "", "list_controllers", &["b", "true"][..]);
        let denied = call(&bus, User::Nobody, method).await;
        assert!(denied.contains("denied"), "{method:?}: {denied}");
        let passed = call(&bus, User::Root, method).await;
        assert!(passed.contains("Unknown"), "{method:?}: {passed}");
    }
    for name in [STAF_NAME, STAC_NAME] {
        let passed = call(&bus, User::Nobody, (name, "", "list_controllers", &["b", "true"])).await;
        assert!(passed.contains("Unknown"), "{name}: {passed}");
    }
}

/// Otherwise a user could receive these signals without reading them, and the bus would then send no more answers from
/// the connection for root.
#[tokio::test]
async fn only_root_receives_the_signals_from_the_names_for_root() {
    if !bus_tests::is_root() {
        eprintln!("skipped: only root may own the names and become another user");
        return;
    }
    let Some(bus) = PrivateBus::with_installed_policies() else { return };
    let serve = async |name| Builder::address(bus.address()).name(name).build().await.unwrap();
    for (public, root) in [(STAF_NAME, STAF_ROOT_NAME), (STAC_NAME, STAC_ROOT_NAME)] {
        let (public, root) = (serve(public).await, serve(root).await);
        let mut listener = bus_tests::as_nobody("dbus-monitor")
            .args(["--address", bus.address(), "type='signal',interface='org.nvmexpress.nothing'"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(listener.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        // It says which unique name it was given.
        heard.find(|line| line.contains("NameAcquired")).unwrap();
        let first = tokio::task::spawn_blocking(move || heard.find(|line| line.contains("member=From")).unwrap());
        while !first.is_finished() {
            // Until it listens.
            for (connection, member) in [(&root, "FromRoot"), (&public, "FromPublic")] {
                connection.emit_signal(None::<&str>, "/", "org.nvmexpress.nothing", member, &()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(first.await.unwrap().contains("FromPublic"));
        listener.kill().unwrap();
        listener.wait().unwrap();
    }
}

/// An interface without methods.
struct Nothing;

#[zbus::interface(name = "org.nvmexpress.nothing")]
impl Nothing {}
