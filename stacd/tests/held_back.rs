//! Controllers that the configuration keeps from being connected or removed are listed and logged.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, Op, file, io};
use libstas::core::HostEffect;
use libstas::core::fleet::Status;
use stacd::connector::IocView;

type Host = FakeHost<Connector>;

fn line(traddr: &str, nqn: &str) -> String {
    format!("controller=transport=tcp;traddr={traddr};trsvcid=4420;nqn={nqn}\n")
}

/// The address, state and reason that `ls` shows for a subsystem.
fn shown(host: &Host, nqn: &str) -> Option<(String, Status, String)> {
    let all = host.core.controllers().into_iter().chain(host.core.left_out());
    let mut of_it = all.filter(|ioc| ioc.member.tid.subsysnqn == nqn);
    let view = of_it.next()?;
    assert!(of_it.next().is_none(), "{nqn} is listed once");
    let IocView { member, kept_by_configuration, .. } = view;
    let reason = kept_by_configuration.or(member.reason).unwrap_or_default();
    Some((member.tid.traddr.clone(), member.status, reason))
}

#[test]
fn a_configured_controller_that_is_left_out_is_listed_with_the_reason() {
    let text = format!(
        "[Global]\nip-family=ipv4\n{}exclude=nqn=b\n",
        file(&[line("192.0.2.1", "a"), line("192.0.2.1", "b"), line("2001:db8::1", "c"), line("array.example", "d")])
    );
    let mut host = Host::configured(&text).started();
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a"]);
    assert_eq!(shown(&host, "a").unwrap().1, Status::Connected);
    let expected = |traddr: &str, status, reason: &str| Some((traddr.to_owned(), status, reason.to_owned()));
    assert_eq!(shown(&host, "b"), expected("192.0.2.1", Status::Excluded, "excluded by exclude= in stacd.conf:8"));
    assert_eq!(shown(&host, "c"), expected("2001:db8::1", Status::Excluded, "outside ip-family=ipv4"));
    let (traddr, status, reason) = shown(&host, "d").unwrap();
    assert_eq!((traddr.as_str(), status), ("array.example", Status::Unresolved));
    assert!(reason.starts_with("host name array.example cannot be resolved: "), "{reason}");
    assert_eq!(host.logged("configured in stacd.conf:5, but not connected: excluded by exclude= in stacd.conf:8"), 1);
    assert_eq!(host.logged("configured in stacd.conf:6, but not connected: outside ip-family=ipv4"), 1);
}

#[test]
fn a_failed_connect_names_the_line_of_a_controller_only_while_it_is_configured() {
    let first = line("192.0.2.9", "a");
    let mut host = Host::configured(&file(&[first.clone(), line("192.0.2.1", "b"), line("192.0.2.1", "b")]));
    host.dead.insert("192.0.2.1".into());
    let mut host = host.started();
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a"]);
    assert_eq!(host.logged("configured in stacd.conf:3, but not connected: "), 1);
    assert_eq!(host.logged("stacd.conf:4"), 0);
    host.stafd_with(&["b"], 60);
    host.wait(1.0);
    let before = host.log_records().count();
    host.configure(&file(&[first]));
    host.wait(120.0);
    let records: Vec<_> =
        host.log_records().skip(before).filter(|record| record.text.contains("not connected: ")).collect();
    assert!(
        !records.is_empty() && records.iter().all(|record| record.text.starts_with("not connected: ")),
        "{records:?}"
    );
}

#[test]
fn a_left_out_controller_is_logged_once_and_again_on_reload() {
    let text = format!("{}exclude=nqn=a\n", file(&[line("192.0.2.1", "a")]));
    let mut host = Host::configured(&text).started();
    host.wait(300.0);
    assert_eq!(host.logged("but not connected"), 1);
    host.configure(&text);
    host.wait(300.0);
    assert_eq!(host.logged("but not connected"), 2);
    host.configure(&file(&[line("192.0.2.1", "a")]));
    assert_eq!(shown(&host, "a").unwrap().1, Status::Connected);
    assert_eq!(host.logged("but not connected"), 2);
}

#[test]
fn an_excluded_controller_that_is_still_connected_is_listed_once() {
    let mut host = Host::configured(&file(&[line("192.0.2.1", "a")])).started();
    host.disconnect_refused = true;
    host.configure(&format!("{}exclude=nqn=a\n", file(&[line("192.0.2.1", "a")])));
    assert_eq!(shown(&host, "a").unwrap().1, Status::Removing);
}

#[test]
fn a_host_name_that_is_looked_up_is_listed_and_connected_when_it_resolves() {
    let mut host = Host::configured(&file(&[line("array.example", "a")]));
    host.hold(Op::Resolve);
    host.start();
    let looked_up = "host name array.example is being looked up".to_owned();
    assert_eq!(shown(&host, "a"), Some(("array.example".into(), Status::Unresolved, looked_up)));
    host.names.insert("array.example".into(), vec!["192.0.2.1"]);
    host.release(Op::Resolve);
    host.wait(1.0);
    assert_eq!(shown(&host, "a").unwrap().1, Status::Connected);
}

#[test]
fn a_host_name_whose_addresses_are_of_the_other_family_is_left_out_by_ip_family() {
    let text = format!("[Global]\nip-family=ipv6\n{}", file(&[line("array.example", "a")]));
    let mut host = Host::configured(&text);
    host.names.insert("array.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(1.0);
    let reason = "outside ip-family=ipv6".to_owned();
    assert_eq!(shown(&host, "a"), Some(("array.example".into(), Status::Excluded, reason)));
}

#[test]
fn a_line_that_cannot_be_read_holds_removals_back_and_says_so() {
    let mut host = Host::configured(&file(&[line("192.0.2.1", "a"), line("192.0.2.1", "b")])).started();
    let bad = format!("{}controler=transport=tcp\n", file(&[line("192.0.2.1", "a")]));
    assert_eq!(host.try_to_configure(&bad).len(), 1);
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    let hold = "stacd.conf:3 cannot be used and may mean it; correct that line, then `systemctl reload stacd`";
    assert_eq!(shown(&host, "b"), Some(("192.0.2.1".into(), Status::Connected, hold.into())));
    assert_eq!(shown(&host, "a").unwrap().2, "", "it is configured");
    let warning = format!("1 controller that is no longer configured is kept: {}: {hold}", io("192.0.2.1", "b"));
    assert_eq!(host.logged(&warning), 1, "{:?}", host.log_records().map(|record| &record.text).collect::<Vec<_>>());
    host.restart();
    host.wait(60.0);
    assert_eq!((host.nqns(), host.logged(&warning)), (vec!["a", "b"], 2), "a start reports it, too");
    assert_eq!(shown(&host, "b").unwrap().2, hold);
    host.configure(&file(&[line("192.0.2.1", "a")]));
    host.wait(1.0);
    assert_eq!(host.nqns(), ["a"]);
    assert_eq!(shown(&host, "b"), None);
}

#[test]
fn a_host_name_that_does_not_resolve_holds_removals_back_and_says_so() {
    let mut host = Host::configured(&file(&[line("192.0.2.1", "a"), line("192.0.2.1", "b")])).started();
    host.configure(&file(&[line("192.0.2.1", "a"), line("array.example", "c")]));
    host.wait(60.0);
    assert_eq!(host.nqns(), ["a", "b"]);
    let hold = "host name array.example (stacd.conf:3) has no known address and may mean it; make the name resolvable, \
                or correct that line, then `systemctl reload stacd`";
    assert_eq!(shown(&host, "b").unwrap().2, hold);
    assert_eq!(host.logged(&format!("is kept: {}: {hold}", io("192.0.2.1", "b"))), 1);
    host.names.insert("array.example".into(), vec!["192.0.2.9"]);
    host.wait(120.0);
    assert_eq!(host.nqns(), ["a", "c"], "the name means another controller");
}

#[test]
fn a_controller_that_a_log_page_lists_is_not_held_by_the_configuration() {
    let mut host = Host::configured(&file(&[line("192.0.2.1", "a")])).started();
    host.stafd_with(&["a"], 100);
    host.try_to_configure("[Controllers]\ncontroler=transport=tcp\n");
    host.wait(60.0);
    assert_eq!(shown(&host, "a").unwrap().2, "");
    assert_eq!(host.logged("no longer configured"), 0);
}

#[test]
fn a_controller_that_only_an_unreadable_line_keeps_takes_the_parameters_of_its_log_entry() {
    let listed = format!("[Global]\nqueue-size=16\n{}controller=oops\n", file(&[line("192.0.2.1", "a")]));
    let mut host = Host::configured("");
    host.try_to_configure(&listed);
    host.wait(1.0);
    let connected_with = |host: &Host| {
        let requests = host.host_effects().filter_map(|effect| match effect {
            HostEffect::Connect { request, .. } => Some(request.parameters.queue_size),
            _ => None,
        });
        requests.collect::<Vec<_>>()
    };
    assert_eq!(connected_with(&host), [Some(16)]);
    host.stafd_with(&["a"], 100);
    host.try_to_configure("[Global]\nqueue-size=32\n[Controllers]\ncontroller=oops\n");
    host.kernel.clear();
    host.send_snapshot();
    host.wait(60.0);
    assert_eq!(connected_with(&host), [Some(16), Some(32)]);
}

/// The line of a controller is removed while another line cannot be read, and its address is of a family that is not
/// used at that time. Later a log page lists the controller, and then no longer.
#[test]
fn an_unreadable_line_may_mean_a_controller_that_was_outside_ip_family() {
    for (family, outside, is_kept) in [("ipv6", true, true), ("ipv4+ipv6", false, true)] {
        let with = |global: &str, lines: &[String]| format!("[Global]\nip-family={global}\n{}", file(lines));
        let a = line("192.0.2.1", "a");
        let mut host = Host::configured(&with(family, std::slice::from_ref(&a))).started();
        host.stafd_with(&[], 100);
        host.wait(1.0);
        assert_eq!(host.nqns().is_empty(), outside, "{family}");
        host.try_to_configure(&with(family, &[a, "controler=oops\n".into()]));
        host.try_to_configure(&with(family, &["controler=oops\n".into()]));
        host.try_to_configure(&with("ipv4+ipv6", &["controler=oops\n".into()]));
        host.page_is(&["a", "b"]);
        host.wait(1.0);
        assert_eq!(host.nqns(), ["a", "b"], "{family}");
        host.page_is(&["b"]);
        host.wait(60.0);
        assert_eq!(host.nqns().contains(&"a"), is_kept, "{family}");
        host.configure(&with("ipv4+ipv6", &[]));
        host.wait(60.0);
        assert_eq!(host.nqns(), ["b"], "{family}: the file can be read and does not list it");
    }
}
