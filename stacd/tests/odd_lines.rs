//! Lines of stacd.conf that are misspelled, misplaced or contradictory: nothing is disconnected because of them, and
//! nothing is connected less securely.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost, KEY, TARGET, file, interface, line};
use libstas::core::{HostEffect, Links};

type Host = FakeHost<Connector>;

#[test]
fn an_entry_with_a_misspelled_interface_removes_nothing() {
    let mut host = Host::configured(&file(&[line("a", ";host-iface=eth1")]));
    host.links = Some(Links(vec![interface(2, "eth0", &["192.0.2.50"]), interface(3, "eth1", &["192.0.2.51"])]));
    host.start();
    host.wait(1);
    assert_eq!(host.paths(), [(TARGET, "eth1")]);
    for typo in ["host-ifac=eth1", "hostiface=eth1", "host_iface=eth1"] {
        assert_ne!(host.try_to_configure(&file(&[line("b", ""), line("a", &format!(";{typo}"))])), []);
        host.wait(60);
        assert_eq!(host.disconnected(), [""; 0], "{typo}");
    }
}

#[test]
fn a_part_that_may_identify_a_controller_removes_nothing() {
    let base = format!("controller=transport=tcp;traddr={TARGET}");
    let typos = [
        // Without = and with another key: the port would be 8009.
        format!("{base};trsvcid:4420;nqn=a"),
        format!("{base};4420;nqn=a"),
        format!("{base};port=4420;nqn=a"),
        format!("{base};traddr=192.0.2.7;trsvcid=4420;nqn=a"),
        format!("{base};trsvcid=4420;nqn=a;subsysnqn=b"),
        format!("{base};trsvcid=4420;nqn=a;host-nqn:nqn.2014-08.org.nvmexpress:uuid:2"),
        format!("{base};trsvcid=4420;nqn=a;interface=eth1"),
        // The file did not end with a newline when a line was appended.
        format!("{base};trsvcid=4420;nqn=a{}", line("b", "").trim_end()),
        format!("{base};nqn=a;trsvcid=4420{}", line("b", "").trim_end()),
    ];
    for typo in typos {
        let mut host = Host::configured(&file(&[line("a", ""), line("c", "")])).started();
        host.wait(1);
        assert_ne!(host.try_to_configure(&file(&[format!("{typo}\n")])), [], "{typo}");
        host.wait(60);
        assert_eq!(host.disconnected(), [""; 0], "{typo}");
        host.restart();
        host.wait(60);
        assert_eq!(host.disconnected(), [""; 0], "{typo}, after a restart");
    }
}

#[test]
fn a_part_that_identifies_no_controller_holds_no_removal_back() {
    for part in ["queue-siz=16", "dhchap_secret=x", "tls-keyring=x", "queue-size=16;queue-size=32"] {
        let mut host = Host::configured(&file(&[line("a", ""), line("c", "")])).started();
        host.wait(1);
        assert_ne!(host.try_to_configure(&file(&[line("a", &format!(";{part}"))])), [], "{part}");
        host.wait(60);
        assert_eq!(host.disconnected(), ["c"], "{part}");
    }
}

#[test]
fn a_misspelled_secret_is_no_connection_without_it() {
    for typo in ["dhchap_secret", "dhchap-secrt", "dhchap-ctrl_secret", "dhchap-ctrlsecret"] {
        let mut host = Host::configured("").started();
        assert_ne!(host.try_to_configure(&file(&[line("a", &format!(";{typo}={KEY}"))])), []);
        host.wait(60);
        let sent = host.count(|effect| {
            matches!(effect, stacd::connector::Effect::Host(HostEffect::Connect { request, .. })
            if request.parameters.dhchap_secret.is_none() && request.parameters.dhchap_ctrl_secret.is_none())
        });
        assert_eq!(sent, 0, "{typo}");
    }
}

#[test]
fn a_disconnect_scope_that_cannot_be_read_disconnects_nothing() {
    let scope = "[I/O controller connection management]\ndisconnect-scope=";
    let mut host = Host::configured(&format!("{scope}no-disconnect\n{}", file(&[line("a", "")]))).started();
    host.wait(1);
    assert_ne!(host.try_to_configure(&format!("{scope}no-disconect\n{}", file(&[]))), []);
    host.wait(60);
    assert_eq!(host.nqns(), ["a"]);
}

#[test]
fn a_controller_line_that_is_indented_below_another_key_keeps_what_it_may_mean() {
    for above in ["exclude=nqn=z", "blacklist=nqn=z", "nonsense=1"] {
        let mut host = Host::configured(&file(&[line("a", "")])).started();
        host.wait(1);
        assert_ne!(host.try_to_configure(&format!("[Controllers]\n{above}\n  {}", line("a", ""))), []);
        host.wait(60);
        assert_eq!(host.nqns(), ["a"], "{above}");
    }
}

#[test]
fn two_lines_for_one_controller_with_different_secrets_are_reported() {
    let mut host = Host::configured("").started();
    let complaints = host.try_to_configure(&file(&[line("a", ""), line("a", &format!(";dhchap-ctrl-secret={KEY}"))]));
    assert_ne!(complaints, []);
}

#[test]
fn a_typo_that_hides_the_disconnect_scope_disconnects_nothing() {
    let section = "[I/O controller connection management]\n";
    for typo in [
        format!("{section}disconect-scope=no-disconnect\n"),
        "[I/O controller conection management]\ndisconnect-scope=no-disconnect\n".to_owned(),
        format!("{section}disconnect-scope: no-disconnect\n"),
        format!("{section}sticky-connections=enabled\n"),
    ] {
        let mut host = Host::configured(&format!("{section}disconnect-scope=no-disconnect\n{}", file(&[]))).started();
        host.stafd_with(&["a", "b"], 100);
        host.wait(60);
        host.page_is(&["a"]);
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b"], "{typo}");
        assert_ne!(host.try_to_configure(&format!("{typo}{}", file(&[]))), []);
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b"], "{typo}");
        host.restart();
        host.stafd_with(&["a"], 300);
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b"], "{typo}, after a restart");
        host.configure(&format!("{section}disconnect-scope=only-stas-connections\n{}", file(&[])));
        host.wait(60);
        assert_eq!(host.nqns(), ["a"], "{typo}, corrected");
    }
}
