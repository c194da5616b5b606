//! Inputs by which discovery controllers could be lost, or connected less securely than asked.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, Op, announced, interface, own_entry, referral, tls, unencrypted};
use libstas::core::Links;
use libstas::core::browse::BrowseEvent;
use libstas::nvme::log_page::{Entry, Subtype};
use stafd::finder::Event;

type Host = FakeHost<Finder>;

const ROOT: &str = "192.0.2.1";
const REFERRED: &str = "192.0.2.2";

fn referred() -> Entry {
    referral(REFERRED)
}

#[test]
fn a_referral_that_requires_tls_is_not_connected_in_clear_after_a_restart() {
    let mut host = Host::with(&[ROOT]).page(ROOT, vec![tls(referred())]).started();
    host.wait(60);
    assert_eq!(host.addresses(), [ROOT]);
    host.peer.unreadable = true;
    host.restart();
    host.wait(120);
    assert_eq!(host.addresses(), [ROOT]);
}

#[test]
fn a_withdrawn_referral_that_required_tls_is_not_connected_in_clear_after_a_restart() {
    let mut host = Host::with(&[ROOT]).page(ROOT, vec![tls(referred())]).started();
    host.wait(60);
    host.page_is(ROOT, vec![]);
    host.peer.unreadable = true;
    host.restart();
    host.wait(120);
    assert_eq!(host.addresses(), [ROOT]);
}

#[test]
fn the_strictest_of_several_referrals_decides_on_encryption() {
    for entries in [vec![tls(referred()), unencrypted(referred())], vec![unencrypted(referred()), tls(referred())]] {
        let mut host = Host::with(&[ROOT]).page(ROOT, entries).started();
        host.wait(60);
        assert_eq!(host.addresses(), [ROOT]);
    }
    for (one, other) in [(tls(referred()), unencrypted(referred())), (unencrypted(referred()), tls(referred()))] {
        let mut host = Host::with(&[ROOT, "192.0.2.9"]).page(ROOT, vec![one]).page("192.0.2.9", vec![other]).started();
        host.wait(60);
        assert_eq!(host.addresses(), [ROOT, "192.0.2.9"]);
    }
}

#[test]
fn a_known_referral_that_comes_back_with_another_subtype_keeps_its_discovery_controller() {
    for subtype in [Subtype::NVME, Subtype::DISCOVERY] {
        let mut host = Host::with(&[ROOT]).page(ROOT, vec![referral(REFERRED)]).started();
        host.wait(60);
        assert_eq!(host.addresses(), [ROOT, REFERRED]);
        host.page_is(ROOT, vec![own_entry(ROOT, true), Entry { subtype, ..referral(REFERRED) }]);
        host.wait(600);
        assert_eq!(host.gone.len(), 0, "{subtype:?}");
        host.page_is(ROOT, vec![own_entry(ROOT, true)]);
        host.wait(120);
        assert_eq!(host.addresses(), [ROOT], "{subtype:?}");
    }
}

const OWN_ADDRESS: &str = "192.0.2.77";

/// The interfaces of a host that has [`OWN_ADDRESS`].
fn links() -> Links {
    Links(vec![interface(1, "eth0", &[OWN_ADDRESS])])
}

fn hear(host: &mut Host, heard: BrowseEvent) {
    host.feed(Event::BrowseEvent(vec![heard]));
}

#[test]
fn an_announcement_does_not_make_this_host_connect_to_itself() {
    for address in [OWN_ADDRESS, "::ffff:192.0.2.77", "::ffff:127.0.0.1", "127.0.0.1", "::1"] {
        let mut host = Host::configured("");
        host.links = Some(links());
        host.start();
        hear(&mut host, announced("own", 1, address));
        hear(&mut host, announced("other", 1, ROOT));
        host.wait(60);
        assert_eq!(host.addresses(), [ROOT], "{address}");
    }
}

#[test]
fn only_a_configured_discovery_controller_refers_to_an_address_of_this_host() {
    for configured in [false, true] {
        for address in [OWN_ADDRESS, "127.0.0.1", "192.0.2.78"] {
            let mut host = if configured { Host::with(&[ROOT]) } else { Host::configured("") };
            host.links = Some(links());
            host = host.page(ROOT, vec![referral(address)]).started();
            if !configured {
                hear(&mut host, announced("x", 1, ROOT));
            }
            host.wait(60);
            let is_connected = host.addresses().contains(&address);
            assert_eq!(is_connected, configured || address == "192.0.2.78", "{address}, configured: {configured}");
            host.restart();
            host.wait(60);
            assert_eq!(host.addresses().contains(&address), is_connected, "{address}, configured: {configured}");
        }
    }
}

#[test]
fn a_controller_whose_address_has_become_one_of_this_host_can_be_wanted_again() {
    const REFERRED_TO: &str = "192.0.2.78";
    let mut host = Host::configured("").page(ROOT, vec![referral(REFERRED_TO)]);
    host.links = Some(links());
    host.start();
    hear(&mut host, announced("x", 1, ROOT));
    host.wait(60);
    host.set_links(Links(vec![interface(1, "eth0", &[REFERRED_TO])]));
    host.hold(Op::Disconnect);
    host.page_is(ROOT, Vec::new());
    host.wait(60);
    assert_eq!(host.held.len(), 1, "it is being disconnected");
    host.page_is(ROOT, vec![referral(REFERRED_TO)]);
    host.release(Op::Disconnect);
    host.wait(60);
    assert_eq!(host.addresses(), [ROOT, REFERRED_TO]);
}
