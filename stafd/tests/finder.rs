//! Tests of stafd with a host that answers every request at once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use fake_host::{FakeHost, Finder, HOST, Op, RENAMED, as_host, controller, dc, entry, interface, io, referral};
use libstas::conf::{Exclusion, FamilyOrder};
use libstas::core::fleet::Status;
use libstas::core::{AdminError, CtrlRef, Dctype, HostEvent, Links, Machine, UeventKind};
use libstas::nvme::Purpose;
use libstas::nvme::admin::{CommandError, DimTask};
use libstas::nvme::aen::DISCOVERY_LOG_CHANGED;
use libstas::nvme::connect::host_id_for;
use libstas::nvme::log_page::EntryError;
use stafd::finder::{Effect, Event, NotRegistered, RefreshError, RegisterRequest, RemovalReason};

type Host = FakeHost<Finder>;

fn page_state<'a>(host: &'a Host, traddr: &str) -> &'a str {
    host.core.controller(&dc(traddr)).unwrap().log_page_state.as_str()
}

/// How often `log_pages_changed` was signalled.
fn page_signals(host: &Host) -> usize {
    host.count(|effect| matches!(effect, Effect::PagesChanged { .. }))
}

/// Makes a connection of `nvme discover`, without keep-alive.
fn nvme_discover(host: &mut Host) {
    host.make(&dc("192.0.2.1"), Purpose::Poll);
}

/// The devices for which nvme-cli's unit was restarted.
fn nvmf_connects(host: &Host) -> Vec<u32> {
    let device = |effect: &Effect| if let Effect::NvmfConnect { device, .. } = effect { Some(*device) } else { None };
    host.effects.iter().filter_map(device).collect()
}

/// The answers to refresh calls.
fn refreshed(host: &Host) -> Vec<Result<(), RefreshError>> {
    let result =
        |effect: &Effect| if let Effect::Refreshed { result, .. } = effect { Some(result.clone()) } else { None };
    host.effects.iter().filter_map(result).collect()
}

fn registrations(host: &Host) -> impl Iterator<Item = (CtrlRef, &RegisterRequest)> {
    host.effects.iter().filter_map(|effect| match effect {
        Effect::Register { ctrl, request, .. } => Some((*ctrl, &**request)),
        _ => None,
    })
}

fn is_stopped(host: &Host) -> bool {
    host.effects.contains(&Effect::Stopped)
}

#[test]
fn a_configured_discovery_controller_is_connected_and_its_page_is_read_and_published() {
    let host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![entry("192.0.2.1", "a")]).started();
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
    assert_eq!(host.core.controller(&dc("192.0.2.1")).unwrap().log_page.unwrap().entries.len(), 1);
    assert_eq!(page_signals(&host), 1);
}

#[test]
fn an_event_has_the_page_read_again_and_only_a_changed_page_is_reported() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let (reads, signals) = (host.count_of(Op::ReadPage), page_signals(&host));
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!((host.count_of(Op::ReadPage), page_signals(&host)), (reads + 1, signals));
    host.peer.pages.insert("192.0.2.1".into(), vec![entry("192.0.2.1", "a")]);
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!((host.count_of(Op::ReadPage), page_signals(&host)), (reads + 2, signals + 1));
}

#[test]
fn an_event_of_a_device_that_serves_two_has_both_pages_read_again() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.1"]);
    host.conf.controllers[1].host_iface = "eth0".into();
    host.start();
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.peer.pages.insert("192.0.2.1".into(), vec![entry("192.0.2.1", "a")]);
    let signals = page_signals(&host);
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!(page_signals(&host), signals + 2);
    host.peer.pages.clear();
    host.wait(10.0);
    host.uevent(0, UeventKind::Connected);
    assert_eq!(page_signals(&host), signals + 4);
}

#[test]
fn a_storm_of_events_becomes_two_reads() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let reads = host.count_of(Op::ReadPage);
    host.hold(Op::ReadPage);
    for _ in 0..1000 {
        host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    }
    host.release(Op::ReadPage);
    assert_eq!(host.count_of(Op::ReadPage), reads + 2);
}

#[test]
fn a_storm_of_lost_events_becomes_two_reads() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let reads = host.count_of(Op::ReadPage);
    host.hold(Op::ReadPage);
    for _ in 0..1000 {
        host.now = host.now + Duration::from_millis(1);
        host.feed_host(HostEvent::Overrun);
        host.uevent(0, UeventKind::Connected);
    }
    host.release(Op::ReadPage);
    assert_eq!(host.count_of(Op::ReadPage), reads + 2);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
}

#[test]
fn a_dead_portal_never_reaches_the_lane_and_is_probed_with_back_off() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.66"]);
    host.dead.insert("192.0.2.66".into());
    host.start();
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    let view = host.core.controller(&dc("192.0.2.66")).unwrap();
    assert_eq!(view.member.status, Status::Waiting);
    assert_eq!(view.member.reason.as_deref(), Some("the target does not answer"));
    assert!(view.member.next_attempt.is_some());
    host.wait(600.0);
    assert!((8..30).contains(&host.count_of(Op::Probe)), "{} probes in 10 minutes", host.count_of(Op::Probe));
    assert_eq!(host.logged("the target does not answer"), 1);
    host.dead.clear();
    host.wait(73.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.66"]);
}

#[test]
fn an_existing_connection_is_taken_over_but_not_one_of_nvme_discover() {
    let mut host = Host::with(&["192.0.2.1"]);
    nvme_discover(&mut host);
    host.start();
    assert_eq!(host.kernel.len(), 2);
    let mut host = Host::with(&["192.0.2.1"]);
    host.add(&dc("192.0.2.1"));
    host.start();
    assert_eq!(host.kernel.len(), 1);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
}

#[test]
fn referrals_are_followed_without_loops_and_removed_with_their_last_referrer() {
    let mut host = Host::with(&["192.0.2.1"])
        .page("192.0.2.1", vec![referral("192.0.2.2"), referral("192.0.2.1")])
        .page("192.0.2.2", vec![referral("192.0.2.3"), referral("192.0.2.1")])
        .started();
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(host.core.controller(&dc("192.0.2.2")).unwrap().origin.as_str(), "referral");
    host.peer.pages.insert("192.0.2.1".into(), Vec::new());
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(7.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    let removed: Vec<_> = host.core.removed().iter().map(|removed| removed.reason).collect();
    assert_eq!(removed, [RemovalReason::ReferralGone, RemovalReason::ReferralGone]);
}

#[test]
fn an_endless_chain_of_referrals_is_followed_for_eight_steps() {
    let address = |number: usize| format!("192.0.2.{number}");
    let mut host = Host::with(&["192.0.2.1"]);
    host.links = Some(Links(vec![interface(1, "eth0", &[])]));
    for number in 1..200 {
        host = host.page(&address(number), vec![referral(&address(number + 1))]);
    }
    host.start();
    assert_eq!(host.kernel.len(), 9);
    assert!(!host.core.published().is_complete);
    let records: Vec<_> = host.log_records().filter(|record| record.text.contains("referrals in a row")).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].tid, Some(dc("192.0.2.9")));
    assert!(records[0].text.contains("192.0.2.10"), "{records:?}");
    // Existing members are kept when the chain to them becomes longer, also across a restart. A controller that no page
    // lists for a moment, like .2 here, begins a chain.
    host.restart();
    host.peer.pages.insert(address(1), vec![referral(&address(201))]);
    host.peer.pages.insert(address(201), vec![referral(&address(2))]);
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(60.0);
    let there: BTreeSet<String> = host.addresses().into_iter().map(str::to_owned).collect();
    assert_eq!(there, (1..=10).chain([201]).map(address).collect());
    // A configured controller begins a chain, too.
    host.conf.controllers.push(controller("192.0.2.10", "8009", ""));
    host.reload();
    host.wait(60.0);
    assert_eq!(host.kernel.len(), there.len() + 8);
}

#[test]
fn a_controller_removed_from_the_configuration_is_removed_and_no_other() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).started();
    let kept = host.kernel.iter().find(|kernel| kernel.traddr == "192.0.2.1").unwrap().ctrl;
    host.conf.controllers.pop();
    host.reload();
    host.wait(1.0);
    assert_eq!(host.ctrls(), [kept]);
    assert_eq!(host.core.removed()[0].reason, RemovalReason::Configuration);
    host.conf.controllers.push(controller("192.0.2.2", "8009", ""));
    host.reload();
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    assert!(host.core.removed().is_empty());
}

#[test]
fn a_controller_removed_while_stafd_was_down_is_removed_and_listed_as_removed() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).started();
    host.conf.controllers.pop();
    host.restart();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(host.core.removed()[0].dc, dc("192.0.2.2"));
}

#[test]
fn what_a_garbled_configuration_may_still_name_survives_the_end_of_its_referral_across_a_restart() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.conf.controllers.pop();
    host.conf.lost_line = Some(1);
    host.restart();
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(60.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.conf.lost_line = None;
    host.reload();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_disconnect_refused_before_a_restart_is_done_after_it() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).started();
    host.conf.controllers.pop();
    host.disconnect_refused = true;
    host.reload();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.restart();
    host.disconnect_refused = false;
    host.wait(3.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_controller_wanted_again_before_its_disconnect_is_read_again() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    host.disconnect_refused = true;
    host.conf.exclusions = [Exclusion { traddr: Some("192.0.2.1".into()), ..Exclusion::default() }].into();
    host.reload();
    host.conf.exclusions.clear();
    host.reload();
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
}

#[test]
fn what_a_name_may_exclude_waits_until_the_name_is_looked_up() {
    let mut host = Host::with(&["192.0.2.1"]);
    host.conf.exclusions =
        [Exclusion { traddr: Some("old.example".into()), is_name: true, ..Exclusion::default() }].into();
    host.hold(Op::Resolve);
    host.start();
    host.wait(29.0);
    assert!(host.addresses().is_empty());
    host.wait(2.0);
    assert_eq!(host.addresses(), ["192.0.2.1"], "no answer is an answer after half a minute");
    host.release(Op::Resolve);
    host.names.insert("old.example".into(), vec!["192.0.2.1"]);
    host.wait(120.0);
    assert!(host.addresses().is_empty(), "the name means it after all");
}

#[test]
fn stafd_publishes_whether_all_controllers_are_listed() {
    let signals = |host: &Host| host.count(|effect| *effect == Effect::CompletenessChanged);
    let mut host = Host::with(&["192.0.2.1"]).started();
    assert!(!host.core.published().is_complete, "announcements may not have been received yet");
    host.wait(11.0);
    assert!(host.core.published().is_complete);
    let before = signals(&host);
    host.conf.controllers.push(controller("dc.example", "8009", libstas::nvme::DISCOVERY_NQN));
    host.conf.controllers.last_mut().unwrap().is_name = true;
    host.reload();
    host.wait(60.0);
    assert!(!host.core.published().is_complete, "a name without a known address");
    assert_eq!(signals(&host), before + 1);
    host.names.insert("dc.example".into(), vec!["192.0.2.2"]);
    host.reload();
    host.wait(120.0);
    assert!(host.core.published().is_complete);
    assert_eq!(signals(&host), before + 2);
    host.conf.lost_line = Some(7);
    host.reload();
    host.wait(1.0);
    assert!(!host.core.published().is_complete, "a line that cannot be used");
}

#[test]
fn an_exclusion_wins_over_the_configuration_and_over_referrals() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).page("192.0.2.1", vec![referral("192.0.2.3")]).started();
    host.conf.exclusions =
        ["192.0.2.2", "192.0.2.3"].map(|a| Exclusion { traddr: Some(a.into()), ..Exclusion::default() }).into();
    host.reload();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert!(host.core.removed().iter().all(|removed| removed.reason == RemovalReason::Excluded));
}

#[test]
fn a_restart_keeps_connections_and_reads_the_pages_anew() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    let before = host.ctrls();
    host.restart();
    host.wait(60.0);
    assert_eq!(host.ctrls(), before);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
}

#[test]
fn a_page_that_cannot_be_read_proves_nothing_and_is_tried_again() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.peer.unreadable = true;
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.peer.unreadable = false;
    host.wait(75.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_reconnected_controller_is_another_connection_and_its_page_is_read_again() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let before = host.core.controller(&dc("192.0.2.1")).unwrap().connected_since;
    host.wait(10.0);
    let (reads, signals) = (host.count_of(Op::ReadPage), page_signals(&host));
    host.uevent(0, UeventKind::Connected);
    assert_eq!(host.count_of(Op::ReadPage), reads + 1);
    assert_eq!(page_signals(&host), signals + 1, "the first read of a connection is told");
    assert!(host.core.controller(&dc("192.0.2.1")).unwrap().connected_since > before);
}

#[test]
fn a_referral_missing_right_after_a_reboot_of_its_referrer_stays_for_30_s() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.wait(10.0);
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Connected);
    host.wait(29.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.wait(2.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_referral_that_its_rebooted_referrer_has_not_listed_yet_survives_a_restart() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.wait(10.0);
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Connected);
    host.restart();
    host.wait(29.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.wait(2.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_changed_name_is_added_first_and_the_old_address_goes_when_the_new_one_is_live() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(0.1);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.dead.insert("192.0.2.9".into());
    host.wait(70.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.names.remove("dc.example");
    host.dead.clear();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.9"]);
}

#[test]
fn a_name_whose_addresses_come_in_another_order_each_time_keeps_its_connection() {
    let mut host = Host::with(&["storage.example"]);
    host.names.insert("storage.example".into(), vec!["192.0.2.1", "192.0.2.2"]);
    host.start();
    host.wait(0.1);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    for order in [["192.0.2.2", "192.0.2.1"], ["192.0.2.1", "192.0.2.2"], ["192.0.2.2", "192.0.2.1"]] {
        host.names.insert("storage.example".into(), order.into());
        host.wait(90.0);
        assert_eq!((host.addresses(), host.count_of(Op::Connect)), (vec!["192.0.2.1"], 1));
    }
    // An address that is no longer in the answer is removed as usual.
    host.names.insert("storage.example".into(), vec!["192.0.2.3", "192.0.2.2"]);
    host.wait(90.0);
    assert_eq!(host.addresses(), ["192.0.2.3"]);
}

#[test]
fn a_restart_while_a_name_moves_keeps_the_old_address_until_the_new_one_is_live() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1", "192.0.2.9"]);
    host.start();
    host.wait(0.1);
    host.names.insert("dc.example".into(), vec!["192.0.2.9", "192.0.2.1"]);
    host.wait(70.0);
    host.restart();
    host.wait(70.0);
    assert_eq!((host.addresses(), host.count_of(Op::Connect)), (vec!["192.0.2.1"], 1), "the order alone is no move");
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.dead.insert("192.0.2.9".into());
    host.wait(70.0);
    host.restart();
    host.wait(70.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.dead.clear();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.9"]);
}

/// The state was saved during the move: it does not say which of the addresses is the new one.
#[test]
fn a_restart_during_a_move_keeps_all_live_addresses_until_the_name_is_looked_up() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(60.0);
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.dead.insert("192.0.2.9".into());
    host.wait(70.0);
    let saved = host.saved.clone();
    host.dead.clear();
    host.add(&dc("192.0.2.9"));
    host.names.remove("dc.example");
    host.kill_with(saved);
    host.start();
    host.wait(600.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.9"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.wait(600.0);
    assert_eq!(host.addresses(), ["192.0.2.9"]);
}

#[test]
fn a_restart_while_a_name_moves_to_another_family_keeps_the_old_address_too() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["2001:db8::1"]);
    host.start();
    host.wait(0.1);
    assert_eq!(host.addresses(), ["2001:db8::1"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.9"]);
    host.dead.insert("192.0.2.9".into());
    host.wait(70.0);
    host.restart();
    host.wait(70.0);
    assert_eq!(host.addresses(), ["2001:db8::1"]);
    host.dead.clear();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.9"]);
}

#[test]
fn two_of_one_name_each_keep_the_old_address_until_their_own_new_one_is_live() {
    let mut host = Host::with(&["storage.example", "storage.example"]);
    host.conf.controllers[1].trsvcid = "4420".into();
    host.names.insert("storage.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(0.1);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.1"]);
    host.dead.insert("4420".into());
    host.names.insert("storage.example".into(), vec!["192.0.2.2"]);
    host.wait(90.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"], "the one that cannot move stays where it is");
    host.dead.clear();
    host.wait(90.0);
    assert_eq!(host.addresses(), ["192.0.2.2", "192.0.2.2"]);
}

#[test]
fn an_address_that_becomes_a_name_keeps_its_connection_until_the_name_is_known() {
    let mut host = Host::with(&["192.0.2.1", "192.0.2.2"]).started();
    let before = host.ctrls();
    host.conf.controllers = vec![controller("192.0.2.2", "8009", ""), controller("dc.example", "8009", "")];
    host.reload();
    host.wait(60.0);
    assert_eq!(host.ctrls(), before);
    host.restart();
    host.wait(60.0);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.wait(120.0);
    assert_eq!(host.ctrls(), before);
    host.conf.controllers.remove(0);
    host.reload();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_finder_that_stops_wants_no_more_than_what_leads_to_the_end() {
    let mut host = Host::with(&["192.0.2.1", "dc.example"]);
    host.conf.persistent_connections = false;
    host.disconnect_refused = true;
    host.start();
    host.feed(Event::Stop);
    host.now = host.now + Duration::from_secs(100);
    host.feed(Event::Tick);
    assert!(is_stopped(&host));
    assert!(host.core.deadline().is_none_or(|at| at > host.now));
}

#[test]
fn foreign_controllers_get_what_the_overridden_udev_rule_would_have_done() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let stranger = host.add(&dc("192.0.2.99")).device;
    host.uevent(stranger, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(0.6);
    assert_eq!(nvmf_connects(&host), [stranger]);
}

#[test]
fn a_storm_of_foreign_events_restarts_the_unit_once_per_snapshot() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    let strangers = [host.add(&dc("192.0.2.98")).device, host.add(&dc("192.0.2.99")).device];
    for _ in 0..500 {
        for stranger in strangers {
            host.uevent(stranger, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
        }
    }
    host.wait(0.6);
    assert!((2..=4).contains(&nvmf_connects(&host).len()), "{} calls", nvmf_connects(&host).len());
    assert!(strangers.iter().all(|stranger| nvmf_connects(&host).contains(stranger)));
}

#[test]
fn a_refresh_is_answered_by_a_read_that_began_after_it() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    host.hold(Op::ReadPage);
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.feed(Event::Refresh { token: 1, dc: dc("192.0.2.1") });
    assert!(host.answer_held(Op::ReadPage));
    assert!(refreshed(&host).is_empty());
    assert!(host.answer_held(Op::ReadPage));
    assert_eq!(refreshed(&host), [Ok(())]);
    host.feed(Event::Refresh { token: 2, dc: dc("192.0.2.77") });
    assert!(refreshed(&host)[1].is_err());
}

#[test]
fn stopping_leaves_connections_unless_configured_otherwise() {
    let mut host = Host::with(&["192.0.2.1"]).started();
    host.feed(Event::Stop);
    assert!(is_stopped(&host));
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    let mut host = Host::with(&["192.0.2.1"]);
    host.conf.persistent_connections = false;
    host.start();
    host.feed(Event::Stop);
    assert!(is_stopped(&host));
    assert!(host.addresses().is_empty());
}

fn cdc(host: &Host) -> Vec<(DimTask, Option<&str>)> {
    registrations(host).map(|(_, request)| (request.task, request.identity.symname.as_deref())).collect()
}

#[test]
fn this_host_is_registered_with_a_cdc_on_each_connection_and_updated_when_its_name_changes() {
    let mut host = Host::with(&["192.0.2.1"]);
    host.dctype = Dctype::Cdc;
    host.start();
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    assert_eq!(cdc(&host), [(DimTask::Register, None)]);
    let registration = |host: &Host| host.core.controller(&dc("192.0.2.1")).unwrap().registration;
    assert_eq!(registration(&host).unwrap(), "registered");
    host.identity.symname = Some("rack 7".into());
    host.reload();
    assert_eq!(cdc(&host)[1..], [(DimTask::Update, Some("rack 7"))]);
    host.wait(10.0);
    host.uevent(0, UeventKind::Connected);
    assert_eq!(cdc(&host)[2..], [(DimTask::Register, Some("rack 7"))]);
}

#[test]
fn a_controller_without_a_register_gets_no_registration() {
    let host = Host::with(&["192.0.2.1"]).started();
    assert_eq!(host.count_of(Op::Register), 0);
    assert_eq!(host.core.controller(&dc("192.0.2.1")).unwrap().registration, None);
}

#[test]
fn a_cdc_that_does_not_register_this_host_is_used_all_the_same_and_asked_again_where_that_can_help() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]);
    host.dctype = Dctype::Cdc;
    let failed = |again| {
        Err(NotRegistered::Failed {
            reason: AdminError::from(CommandError::Host("internal error".into())).into(),
            again,
        })
    };
    // Each of the two discovery controllers is asked once. One refuses for now, the other for good.
    host.peer.register_answers = [failed(true), failed(false), failed(true), failed(true)].into();
    host.start();
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.wait(100.0);
    let first = registrations(&host).next().unwrap().0;
    assert_eq!(registrations(&host).filter(|(ctrl, _)| *ctrl == first).count(), 4);
    assert_eq!(host.count_of(Op::Register), 5);
    assert_eq!(host.logged("internal error"), 2, "one for each");
    let second = host.core.controller(&dc("192.0.2.2")).unwrap().registration.unwrap();
    assert_eq!(second, "not registered: internal error");
}

#[test]
fn an_answer_to_a_registration_on_an_earlier_connection_says_nothing_about_this_one() {
    let mut host = Host::with(&["192.0.2.1"]);
    host.dctype = Dctype::Ddc;
    host.hold(Op::Register);
    host.start();
    host.wait(10.0);
    host.uevent(0, UeventKind::Connected);
    assert_eq!(host.count_of(Op::Register), 1, "one at a time");
    host.release(Op::Register);
    assert_eq!(host.count_of(Op::Register), 2);
    assert_eq!(host.core.controller(&dc("192.0.2.1")).unwrap().registration.as_deref(), Some("registered"));
}

/// A discovery controller that refuses a keep-alive timeout, in its first poll.
fn ancient() -> Host {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![entry("192.0.2.9", "a")]);
    host.refuses_keep_alive = ["192.0.2.1".into()].into();
    host.start();
    host.wait(30.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(host.kernel[0].kato, Some(0));
    // Three connects with a timeout and one without; then the same once more.
    assert_eq!(host.count_of(Op::Connect), 6);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
    host
}

#[test]
fn a_controller_without_keep_alive_is_polled_every_15_minutes() {
    let mut host = ancient();
    host.wait(60.0);
    assert_eq!(host.addresses(), [""; 0]);
    let view = host.core.controller(&dc("192.0.2.1")).unwrap();
    assert_eq!(view.log_page.unwrap().entries.len(), 1, "what it said holds until the next poll");
    let (connects, reads) = (host.count_of(Op::Connect), host.count_of(Op::ReadPage));
    host.wait(700.0);
    assert_eq!(host.count_of(Op::Connect), connects, "it is left alone");
    host.peer.pages.insert("192.0.2.1".into(), vec![entry("192.0.2.9", "b")]);
    host.wait(200.0);
    assert!(host.count_of(Op::ReadPage) > reads);
    let view = host.core.controller(&dc("192.0.2.1")).unwrap();
    assert_eq!(view.log_page.unwrap().entries[0].subnqn, "b");
    assert_eq!(host.count_of(Op::Connect), connects + 2, "asked with keep-alive first, and at once without");
    assert_eq!(host.logged("polled every 15 minutes"), 1);
}

#[test]
fn a_controller_without_keep_alive_is_polled_on_a_kernel_that_does_not_show_the_timeout() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![entry("192.0.2.9", "a")]);
    host.refuses_keep_alive = ["192.0.2.1".into()].into();
    host.hides_kato = true;
    host.start();
    host.wait(90.0);
    assert_eq!(host.addresses(), [""; 0]);
    host.peer.pages.insert("192.0.2.1".into(), vec![entry("192.0.2.9", "b")]);
    host.wait(900.0);
    let view = host.core.controller(&dc("192.0.2.1")).unwrap();
    assert_eq!(view.log_page.unwrap().entries[0].subnqn, "b");
}

#[test]
fn a_temporary_refusal_does_not_cause_polling() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![entry("192.0.2.9", "a")]);
    host.refuses_keep_alive = ["192.0.2.1".into()].into();
    host.start();
    while host.kernel.is_empty() {
        host.wait(0.1);
    }
    assert_eq!(host.kernel[0].kato, Some(0));
    host.refuses_keep_alive.clear();
    host.wait(5.0);
    assert_eq!(host.kernel[0].kato, Some(30));
    assert!(!host.log_records().any(|record| record.text.contains("polled every")));
}

#[test]
fn a_polled_controller_that_accepts_keep_alive_stays_connected() {
    let mut host = ancient();
    host.refuses_keep_alive.clear();
    host.wait(1000.0);
    assert_eq!(host.kernel[0].kato, Some(30));
    host.wait(2000.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_poll_that_cannot_be_disconnected_stays_connected() {
    let mut host = ancient();
    host.disconnect_refused = true;
    host.wait(2000.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
}

#[test]
fn a_reload_polls_at_once() {
    let mut host = ancient();
    host.wait(60.0);
    assert_eq!(host.addresses(), [""; 0]);
    host.reload();
    host.wait(1.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_poll_that_a_restart_cuts_short_leaves_no_connection_behind() {
    let mut host = ancient();
    for _ in 0..3 {
        host.restart();
        host.wait(10.0);
    }
    host.wait(120.0);
    assert_eq!(host.addresses(), [""; 0]);
}

#[test]
fn after_a_restart_the_connection_of_nvme_discover_is_not_adopted() {
    let mut host = ancient();
    host.wait(60.0);
    nvme_discover(&mut host);
    host.restart();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_name_that_moves_on_before_the_move_is_done_keeps_the_address_that_is_live() {
    let mut host = Host::with(&["dc.example"]);
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(0.1);
    host.dead = ["192.0.2.8".into(), "192.0.2.9".into()].into();
    for answer in ["192.0.2.8", "192.0.2.9"] {
        host.names.insert("dc.example".into(), vec![answer]);
        host.wait(70.0);
        assert_eq!(host.addresses(), ["192.0.2.1"], "after the answer {answer}");
    }
    host.restart();
    host.wait(70.0);
    assert_eq!(host.addresses(), ["192.0.2.1"], "after a restart");
    host.dead.clear();
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.9"]);
}

#[test]
fn a_name_with_no_address_of_a_family_that_is_used_keeps_the_last_one() {
    let mut host = Host::with(&["dc.example"]);
    host.conf.ip_family = FamilyOrder::V4;
    host.names.insert("dc.example".into(), vec!["192.0.2.1"]);
    host.start();
    host.wait(0.1);
    host.names.insert("dc.example".into(), vec!["2001:db8::1"]);
    host.wait(130.0);
    host.restart();
    host.wait(130.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
    host.conf.ip_family = FamilyOrder::V6;
    host.reload();
    host.wait(10.0);
    assert_eq!(host.addresses(), ["2001:db8::1"]);
}

#[test]
fn a_referral_missing_after_a_reboot_stays_until_a_page_that_was_read_late_enough_does_not_list_it() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.wait(10.0);
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Connected);
    host.wait(5.0);
    host.peer.unreadable = true;
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"], "nothing was read since the first seconds");
    assert_eq!(page_state(&host, "192.0.2.1"), "saved");
    host.peer.unreadable = false;
    host.wait(75.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

#[test]
fn a_page_of_which_not_every_entry_can_be_read_proves_nothing() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.peer.pages.clear();
    host.peer.malformed = Some(EntryError::Blank);
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(120.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(page_state(&host, "192.0.2.1"), "saved", "stacd takes nothing away on such a page");
    host.peer.malformed = None;
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(7.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

/// All storage behind a page may depend on one referral.
#[test]
fn a_page_without_the_only_referral_is_read_again_before_it_is_believed() {
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![referral("192.0.2.2")]).started();
    host.wait(60.0);
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(4.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"]);
    host.peer.pages.insert("192.0.2.1".into(), vec![referral("192.0.2.2")]);
    host.wait(60.0);
    assert_eq!(host.addresses(), ["192.0.2.1", "192.0.2.2"], "for one page by mistake nothing goes");
    assert!(host.core.removed().is_empty());
    host.peer.pages.clear();
    host.uevent(0, UeventKind::Aen(DISCOVERY_LOG_CHANGED));
    host.wait(7.0);
    assert_eq!(host.addresses(), ["192.0.2.1"]);
}

/// The host was renamed, or its initramfs knows it by another NQN: the I/O controllers have the host ID with that one.
#[test]
fn connections_with_another_host_nqn_and_the_hosts_id_keep_no_discovery_controller_from_being_connected() {
    const HOST_ID: &str = "00000000-0000-4000-8000-00000000000a";
    let mut host = Host::with(&["192.0.2.1"]).page("192.0.2.1", vec![entry("192.0.2.1", "a")]);
    host.dctype = Dctype::Cdc;
    host.identity.id = HOST_ID.into();
    let before = host.add(&as_host(RENAMED, &io("192.0.2.1", "a")));
    host.ctrl(before).hostid = HOST_ID.into();
    let mut host = host.started();
    let of_dc = |host: &Host| {
        let dcs = host.kernel.iter().filter(|kernel| kernel.hostnqn == HOST);
        dcs.map(|kernel| kernel.hostid.clone()).collect::<Vec<_>>()
    };
    let ids = of_dc(&host);
    assert!(ids.len() == 1 && ids[0] != HOST_ID, "{ids:?}");
    assert_eq!(page_state(&host, "192.0.2.1"), "fresh");
    let (_, request) = registrations(&host).next().unwrap();
    let registered = host_id_for(HOST, &request.identity).unwrap().to_string();
    assert_eq!(registered, ids[0], "the registration has the host ID of the connection");
    assert_eq!(host.logged("is in use with the host NQN"), 1);
    host.kernel.clear();
    host.wait(60);
    assert_eq!(of_dc(&host), [HOST_ID]);
}
