//! I/O controllers that must not be connected unencrypted.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, TARGET, dc_page, entry, io, secured};
use libstas::core::fleet::Status;
use libstas::core::{CtrlState, KernelController};
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;

fn started(conf: &str) -> FakeHost<Connector> {
    FakeHost::configured(conf).started()
}

fn state(host: &FakeHost<Connector>, nqn: &str) -> (Status, String) {
    let views = host.core.controllers();
    let view = views.iter().find(|view| view.member.tid.subsysnqn == nqn).unwrap();
    (view.member.status, view.member.reason.clone().unwrap_or_default())
}

/// Lets stafd list these entries.
fn list(host: &mut FakeHost<Connector>, entries: Vec<Entry>) {
    let page = dc_page(&fake_host::dc(TARGET), host.now, entries);
    let view = stacd::connector::StafdView {
        dcs: vec![page],
        removed: Some(Vec::new()),
        is_complete: true,
        left_out: Vec::new(),
    };
    host.stafd_is(":1.5", view);
}

#[test]
fn a_listed_subsystem_that_requires_tls_waits_with_the_reason_and_the_others_are_connected() {
    let mut host = started("");
    let entries = vec![
        secured(entry(TARGET, "nqn.required"), 2, 5),
        secured(entry(TARGET, "nqn.not-specified"), 2, 4),
        secured(entry(TARGET, "nqn.not-required"), 2, 6),
        secured(entry(TARGET, "nqn.plain"), 0, 4),
    ];
    list(&mut host, entries);
    host.wait(120);
    assert_eq!(host.nqns(), ["nqn.not-required", "nqn.plain"]);
    for nqn in ["nqn.required", "nqn.not-specified"] {
        let (status, reason) = state(&host, nqn);
        assert_eq!(status, Status::Waiting);
        assert!(reason.starts_with("TLS is required"), "{reason}");
    }
    assert_eq!(host.logged("TLS is required"), 2, "each once");
}

#[test]
fn a_controller_that_no_longer_requires_tls_is_connected() {
    let mut host = started("");
    list(&mut host, vec![secured(entry(TARGET, "nqn.a"), 2, 5)]);
    host.wait(5);
    assert_eq!(host.nqns(), [""; 0]);
    host.page_has(vec![secured(entry(TARGET, "nqn.a"), 2, 6)]);
    host.wait(5);
    assert_eq!(host.nqns(), ["nqn.a"]);
}

/// The kernel has an encrypted connection, made by hand.
fn encrypted(host: &mut FakeHost<Connector>, tid: &Tid) {
    let ctrl = host.add(tid);
    let kernel: &mut KernelController = host.ctrl(ctrl);
    kernel.encrypted = Some(true);
    kernel.state = CtrlState::Live;
    host.send_snapshot();
}

#[test]
fn an_encrypted_connection_that_is_lost_is_not_made_again_unencrypted_not_even_after_a_restart() {
    let conf = "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a\n";
    let mut host = started("");
    encrypted(&mut host, &io(TARGET, "nqn.a"));
    host.configure(conf);
    assert_eq!(state(&host, "nqn.a").0, Status::Connected);
    host.kernel.clear();
    host.send_snapshot();
    host.wait(120);
    host.restart();
    host.wait(120);
    assert_eq!(host.nqns(), [""; 0]);
    let (status, reason) = state(&host, "nqn.a");
    assert_eq!(status, Status::Waiting);
    assert!(reason.contains("its last connection was encrypted"), "{reason}");
    host.configure(&conf.replace("nqn=nqn.a", "nqn=nqn.a;tls=false"));
    host.wait(5);
    assert_eq!(host.nqns(), ["nqn.a"]);
}

#[test]
fn with_tls_configured_nothing_is_connected_and_nothing_is_disconnected() {
    let mut host = started("");
    list(&mut host, vec![entry(TARGET, "nqn.before")]);
    host.wait(5);
    let complaints = host.try_to_configure(
        "[Global]\ntls=true\n[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.9;trsvcid=4420;nqn=nqn.new\n",
    );
    assert!(complaints.iter().any(|complaint| complaint.line == 2 && complaint.severity.is_error()), "{complaints:?}");
    host.wait(120);
    assert_eq!(host.nqns(), ["nqn.before"]);
    assert!(state(&host, "nqn.new").1.contains("tls=true"));
}
