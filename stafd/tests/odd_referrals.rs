//! Referrals that are spelt differently, damaged, or of another transport.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{FakeHost, Finder, referral};
use libstas::bus::contract::PageState;
use libstas::nvme::log_page::{Entry, EntryError, TrType};

type Host = FakeHost<Finder>;

const FC: &str = "nn-0x10000090fa942779:pn-0x20000090fa942779";
const FC_HOST: &str = "nn-0x10000090fa000001:pn-0x20000090fa000001";

/// A stafd with that `controller=`, whose discovery controller has a page with these entries.
fn with(controller: &str, traddr: &str, entries: Vec<Entry>) -> Host {
    let mut host = Host::configured(&format!("[Global]\npleo=disabled\n[Controllers]\ncontroller={controller}\n"));
    host.peer.pages.insert(traddr.into(), entries);
    let mut host = host.started();
    host.wait(60);
    host
}

#[test]
fn a_referral_inherits_what_fits_it_of_the_host_side() {
    let fc = |traddr: &str| Entry { trtype: TrType::FC, trsvcid: "none".into(), ..referral(traddr) };
    let over_fc = format!("transport=fc;traddr={FC};host-traddr={FC_HOST}");
    for (controller, traddr, refers_to, expected) in [
        (over_fc.as_str(), FC, referral("192.0.2.2"), ("192.0.2.2", "8009", "")),
        (
            &over_fc,
            FC,
            fc("nn-0x10000090fa942779:pn-0x20000090fa000002"),
            ("nn-0x10000090fa942779:pn-0x20000090fa000002", "", FC_HOST),
        ),
        (
            "transport=tcp;traddr=192.0.2.1;host-traddr=192.0.2.9",
            "192.0.2.1",
            referral("2001:db8::2"),
            ("2001:db8::2", "8009", ""),
        ),
        (
            "transport=tcp;traddr=192.0.2.1;host-traddr=192.0.2.9",
            "192.0.2.1",
            referral("192.0.2.2"),
            ("192.0.2.2", "8009", "192.0.2.9"),
        ),
        ("transport=tcp;traddr=fe80::1%eth0", "fe80::1%eth0", referral("fe80::2%ens9"), ("fe80::2%eth0", "8009", "")),
    ] {
        let host = with(controller, traddr, vec![refers_to]);
        let found = host.kernel.iter().find(|kernel| kernel.traddr == expected.0);
        let found = found.map(|kernel| (&*kernel.traddr, &*kernel.trsvcid, &*kernel.host_traddr));
        assert_eq!(found, Some(expected), "{controller}");
        assert_eq!(host.kernel.len(), 2, "{controller}");
    }
}

#[test]
fn a_restart_finds_the_fibre_channel_referral_connected() {
    let to = "nn-0x10000090fa942779:pn-0x20000090fa000002";
    let entry = Entry { trtype: TrType::FC, trsvcid: "none".into(), ..referral(to) };
    let mut host = with(&format!("transport=fc;traddr={FC};host-traddr={FC_HOST}"), FC, vec![entry]);
    let before = host.ctrls();
    for _ in 0..3 {
        host.restart();
        host.wait(60);
    }
    assert_eq!((host.ctrls(), host.gone.len()), (before, 0));
}

#[test]
fn a_referral_with_a_damaged_port_keeps_its_discovery_controller() {
    for port in ["", "0", "none", "65536"] {
        let mut host = with("transport=tcp;traddr=192.0.2.1", "192.0.2.1", vec![referral("192.0.2.2")]);
        assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
        let damaged = Entry { trsvcid: port.into(), ..referral("192.0.2.2") };
        host.peer.pages.insert("192.0.2.1".into(), vec![damaged]);
        host.start();
        host.wait(4000);
        assert_eq!((host.addresses(), host.gone.len()), (vec!["192.0.2.1", "192.0.2.2"], 0), "{port:?}");
        assert!(host.logged("trsvcid") > 0, "{port:?}");
        host.peer.pages.insert("192.0.2.1".into(), Vec::new());
        host.start();
        host.wait(60);
        assert_eq!(host.addresses(), ["192.0.2.1"], "{port:?}");
    }
}

#[test]
fn a_page_with_an_unreadable_entry_is_published_with_what_the_entry_may_mean() {
    let mut host = with("transport=tcp;traddr=192.0.2.1", "192.0.2.1", Vec::new());
    host.peer.malformed = Some(EntryError::NoNqn);
    host.start();
    host.wait(60);
    let page = host.core.published().dcs.remove(0);
    assert_eq!((page.state, page.unclear.len()), (PageState::Fresh, 1));
    host.peer.malformed = Some(EntryError::Blank);
    host.start();
    host.wait(60);
    let page = host.core.published().dcs.remove(0);
    assert_eq!((page.state, page.unclear.len()), (PageState::Saved, 0), "a part of the page is missing");
}
