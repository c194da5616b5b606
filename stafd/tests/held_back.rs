//! Controllers that the configuration keeps from being connected or removed are listed, logged, and not published to
//! stacd.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, dc};
use libstas::core::fleet::Status;
use stafd::finder::RemovalReason;

type Host = FakeHost<Finder>;

fn file(addresses: &[&str], more: &str) -> String {
    let lines: String = addresses.iter().map(|traddr| format!("controller=transport=tcp;traddr={traddr}\n")).collect();
    format!("[Service Discovery]\nzeroconf=disabled\n[Controllers]\n{lines}{more}")
}

/// The state and reason that `ls` shows for the discovery controller at that address.
fn shown(host: &Host, traddr: &str) -> Option<(Status, String)> {
    let all = host.core.controllers().into_iter().chain(host.core.left_out());
    let mut of_it = all.filter(|view| view.member.tid.traddr == traddr);
    let view = of_it.next()?;
    assert!(of_it.next().is_none(), "{traddr} is listed once");
    let reason = view.kept_by_configuration.or(view.member.reason).unwrap_or_default();
    Some((view.member.status, reason))
}

#[test]
fn a_configured_controller_that_is_left_out_is_listed_and_not_published() {
    let text = file(&["192.0.2.1", "192.0.2.2", "dc.example"], "exclude=traddr=192.0.2.2\n");
    let host = Host::configured(&text).started();
    assert_eq!(shown(&host, "192.0.2.1").unwrap().0, Status::Connected);
    let excluded = "excluded by exclude= in stafd.conf:7".to_owned();
    assert_eq!(shown(&host, "192.0.2.2"), Some((Status::Excluded, excluded)));
    assert_eq!(shown(&host, "dc.example").unwrap().0, Status::Unresolved);
    assert_eq!(host.logged("configured in stafd.conf:5, but not connected: excluded by exclude= in stafd.conf:7"), 1);
    let published = host.core.published();
    assert_eq!(published.dcs.iter().map(|page| page.dc.traddr.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
}

#[test]
fn a_discovery_controller_that_becomes_excluded_is_published_as_removed() {
    let mut host = Host::configured(&file(&["192.0.2.1", "192.0.2.2"], "")).started();
    host.configure(&file(&["192.0.2.1", "192.0.2.2"], "exclude=traddr=192.0.2.2\n"));
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(shown(&host, "192.0.2.2").unwrap().0, Status::Excluded);
    let published = host.core.published();
    assert_eq!(published.dcs.len(), 1);
    let removed = published.removed.unwrap();
    assert_eq!((&removed[0].dc, removed[0].reason), (&dc("192.0.2.2"), RemovalReason::Excluded));
}

#[test]
fn a_line_that_cannot_be_read_holds_removals_back_and_says_so() {
    let mut host = Host::configured(&file(&["192.0.2.1", "192.0.2.2"], "")).started();
    host.try_to_configure(&file(&["192.0.2.1"], "controler=transport=tcp\n"));
    host.wait(60.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    let hold = "stafd.conf:5 cannot be used and may mean it; correct that line, then `systemctl reload stafd`";
    assert_eq!(shown(&host, "192.0.2.2"), Some((Status::Connected, hold.into())));
    assert_eq!(host.logged(&format!("is kept: {}: {hold}", dc("192.0.2.2"))), 1);
    host.configure(&file(&["192.0.2.1"], ""));
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}
