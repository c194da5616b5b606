//! Inputs by which discovery controllers could be lost, or connected less securely than asked.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, own_entry, referral};
use libstas::nvme::log_page::{Entry, SecType, Subtype, Treq, Tsas};

type Host = FakeHost<Finder>;

const ROOT: &str = "192.0.2.1";
const REFERRED: &str = "192.0.2.2";

fn secured(sectype: u8, treq: u8) -> Entry {
    Entry { tsas: Tsas::Tcp { sectype: SecType(sectype) }, treq: Treq(treq), ..referral(REFERRED) }
}

fn tls() -> Entry {
    secured(2, 5)
}

fn clear() -> Entry {
    secured(0, 6)
}

#[test]
fn a_referral_that_requires_tls_is_not_connected_in_clear_after_a_restart() {
    let mut host = Host::with(&[ROOT]).page(ROOT, vec![tls()]).started();
    host.wait(60);
    assert_eq!(host.addresses(), [ROOT]);
    host.peer.unreadable = true;
    host.restart();
    host.wait(120);
    assert_eq!(host.addresses(), [ROOT]);
}

#[test]
fn a_withdrawn_referral_that_required_tls_is_not_connected_in_clear_after_a_restart() {
    let mut host = Host::with(&[ROOT]).page(ROOT, vec![tls()]).started();
    host.wait(60);
    host.page_is(ROOT, vec![]);
    host.peer.unreadable = true;
    host.restart();
    host.wait(120);
    assert_eq!(host.addresses(), [ROOT]);
}

#[test]
fn the_strictest_of_several_referrals_decides_on_encryption() {
    for entries in [vec![tls(), clear()], vec![clear(), tls()]] {
        let mut host = Host::with(&[ROOT]).page(ROOT, entries).started();
        host.wait(60);
        assert_eq!(host.addresses(), [ROOT]);
    }
    for (one, other) in [(tls(), clear()), (clear(), tls())] {
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
