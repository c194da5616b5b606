//! What stacd promises, told against a small kernel and a small stafd that do at once what they are asked.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use libstas::conf::{ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, StacConf};
use libstas::core::fleet::Status;
use libstas::core::{
    ConnectOutcome, ConnectReport, CtrlRef, CtrlState, CtrlType, HostEffect, HostEvent, KernelController, Level, Look,
    Machine, Notice, OpId, ProbeOutcome, Time, Uevent, UeventKind, Usage, reuse,
};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{DISCOVERY_NQN, HostIdentity, Parameters, Tid, TidParts, Transport};
use stacd::connector::{Connector, DcPage, Effect, Event, PageState, RemovedDc, Saved, Settings, StafdView};

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";

/// Another NQN that this host may have.
const RENAMED: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000002";

fn tid(traddr: &str, trsvcid: &str, nqn: &str) -> Tid {
    tid_as(HOST, traddr, trsvcid, nqn)
}

fn tid_as(host_nqn: &str, traddr: &str, trsvcid: &str, nqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: host_nqn.into(),
    })
}

fn dc() -> Tid {
    tid("192.0.2.1", "8009", DISCOVERY_NQN)
}

fn ioc(nqn: &str) -> Tid {
    tid("192.0.2.1", "4420", nqn)
}

fn entry(nqn: &str) -> Entry {
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", "ipv4"),
        ("traddr", "192.0.2.1"),
        ("trsvcid", "4420"),
        ("subnqn", nqn),
        ("subtype", "nvme"),
        ("treq", "not specified"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()).unwrap()
}

fn conf() -> StacConf {
    StacConf {
        tron: false,
        parameters: Parameters::default(),
        ignore_iface: false,
        ip_family: Default::default(),
        disconnect_scope: DisconnectScope::OnlyStas,
        disconnect_trtypes: [Transport::Tcp].into(),
        connect_attempts_on_ncc: None,
        in_use: InUse::Keep,
        controllers: Vec::new(),
        controller_lost: false,
        exclusions: Vec::new(),
    }
}

/// A kernel, a stafd and a clock around the connector.
struct World {
    connector: Connector,
    conf: StacConf,
    host_nqn: &'static str,
    now: Time,
    kernel: Vec<KernelController>,
    looks: u64,
    births: u64,
    stafd: Option<StafdView>,
    hold_full_fetches: Option<Vec<OpId>>,
    page_calls_fail: bool,
    in_use: Vec<String>,
    /// Looks for storage in use that do not return.
    checks: Option<Vec<OpId>>,
    /// Look-ups of names that the resolver does not answer yet; without it, it knows none.
    look_ups: Option<Vec<OpId>>,
    /// Nobody answers a probe.
    dead: bool,
    disconnected: Vec<String>,
    notices: Vec<Notice>,
    refreshed: usize,
}

impl World {
    fn new() -> Self {
        Self::with(Saved::default(), conf())
    }

    fn with(saved: Saved, conf: StacConf) -> Self {
        let mut world = Self {
            connector: Connector::new(saved, 7),
            conf,
            host_nqn: HOST,
            now: Time(Duration::from_secs(1000)),
            kernel: Vec::new(),
            looks: 0,
            births: 0,
            stafd: None,
            hold_full_fetches: None,
            page_calls_fail: false,
            in_use: Vec::new(),
            checks: None,
            look_ups: None,
            dead: false,
            disconnected: Vec::new(),
            notices: Vec::new(),
            refreshed: 0,
        };
        world.reload();
        world
    }

    fn reload(&mut self) {
        let identity = Arc::new(HostIdentity::new(self.host_nqn, "1"));
        let settings = Settings { conf: self.conf.clone(), identity };
        self.feed(Event::Configured(Box::new(settings)));
    }

    fn restart(mut self) -> Self {
        let saved = self.connector.saved();
        let text = serde_json::to_string(&saved).unwrap();
        self.connector = Connector::new(serde_json::from_str(&text).unwrap(), 8);
        self.reload();
        self
    }

    /// stafd appears with one discovery controller whose page has been fresh for so long.
    fn stafd_with(&mut self, nqns: &[&str], up_for: u64) {
        let since = Time(self.now.0 - Duration::from_secs(up_for));
        let page = DcPage {
            dc: dc(),
            state: PageState::Fresh,
            connected_since: Some(since),
            entries: nqns.iter().map(|nqn| entry(nqn)).collect(),
        };
        self.stafd = Some(StafdView { dcs: vec![page], removed: Some(Vec::new()) });
        self.feed(Event::StafdOwner(Some(":1.5".into())));
    }

    /// The page of stafd's first discovery controller changes, and stafd tells so.
    fn page_is(&mut self, nqns: &[&str]) {
        self.page_has(nqns.iter().map(|nqn| entry(nqn)).collect());
    }

    fn page_has(&mut self, entries: Vec<Entry>) {
        let page = &mut self.stafd.as_mut().unwrap().dcs[0];
        page.entries = entries;
        let dc = page.dc.clone();
        self.feed(Event::PageChanged(dc));
    }

    fn feed(&mut self, event: Event) {
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let mut out = Vec::new();
            self.connector.handle(self.now, event, &mut out);
            for effect in out {
                queue.extend(self.carry_out(effect));
            }
        }
    }

    fn look(&mut self) -> Look {
        self.looks += 1;
        Look::new(self.looks, self.births, self.kernel.clone())
    }

    fn add(&mut self, tid: &Tid) -> CtrlRef {
        self.births += 1;
        let device = (0..).find(|n| self.kernel.iter().all(|k| k.ctrl.device != *n)).unwrap();
        let ctrl = CtrlRef { device, birth: self.births };
        self.kernel.push(KernelController {
            cntrltype: CtrlType::Io,
            state: CtrlState::Live,
            kato: Some(5),
            ..KernelController::asked_for_by(tid, ctrl)
        });
        ctrl
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        let host = match effect {
            Effect::Host(host) => host,
            Effect::FetchAll(op) => {
                if let Some(held) = &mut self.hold_full_fetches {
                    held.push(op);
                    return None;
                }
                let result = self.stafd.clone().ok_or_else(|| "no answer".to_owned());
                return Some(Event::AllFetched { op, result });
            }
            Effect::FetchPage { op, .. } if self.page_calls_fail => {
                return Some(Event::PageFetched { op, result: Err("no answer".into()) });
            }
            Effect::FetchPage { op, dc, refresh } => {
                self.refreshed += usize::from(refresh);
                let view = self.stafd.clone()?;
                let fresh = |page: &DcPage| page.dc == dc && page.connected_since.is_some();
                if refresh && !view.dcs.iter().any(fresh) {
                    return Some(Event::PageFetched { op, result: Err("it is not connected".into()) });
                }
                return Some(Event::PageFetched { op, result: Ok(view.dcs.into_iter().find(|page| page.dc == dc)) });
            }
            Effect::Stopped => return None,
        };
        let event = match host {
            HostEffect::Look(op) => HostEvent::Looked { op, result: Ok(self.look()) },
            HostEffect::Probe { op, .. } if self.dead => {
                HostEvent::Probed { op, outcome: ProbeOutcome::Dead("refused".into()) }
            }
            HostEffect::Probe { op, .. } => HostEvent::Probed { op, outcome: ProbeOutcome::Alive },
            HostEffect::Connect { op, request } => {
                let before = self.look();
                let outcome =
                    match reuse::find(&before, &request.tid, &Default::default(), request.purpose.is_discovery()) {
                        Some(found) => ConnectOutcome::Found(found.ctrl),
                        None => ConnectOutcome::Made(self.add(&request.tid)),
                    };
                let report = ConnectReport { outcome, look: self.look(), held: Duration::from_millis(100) };
                HostEvent::Connected { op, report: Box::new(report) }
            }
            HostEffect::Disconnect { op, ctrl } => {
                if let Some(index) = self.kernel.iter().position(|kernel| kernel.ctrl == ctrl) {
                    let gone = self.kernel.remove(index);
                    self.births += 1;
                    self.disconnected.push(gone.subsysnqn);
                }
                HostEvent::Disconnected { op, result: Ok(()) }
            }
            HostEffect::CheckUse { op, .. } if self.checks.is_some() => {
                self.checks.as_mut()?.push(op);
                return None;
            }
            HostEffect::CheckUse { op, ctrl, .. } => {
                let nqn = self.kernel.iter().find(|k| k.ctrl == ctrl).map(|k| k.subsysnqn.clone()).unwrap_or_default();
                let usage = match self.in_use.contains(&nqn) {
                    true => Usage::LastPath("nvme0n1 is mounted on /srv".into()),
                    false => Usage::Free,
                };
                HostEvent::UseChecked { op, usage }
            }
            HostEffect::Resolve { op, .. } if self.look_ups.is_some() => {
                self.look_ups.as_mut()?.push(op);
                return None;
            }
            HostEffect::Resolve { op, .. } => HostEvent::Resolved { op, result: Err("no such name".into()) },
            HostEffect::HideSecrets(_) | HostEffect::Save => return None,
            HostEffect::Tell(notice) => {
                self.notices.push(notice);
                return None;
            }
        };
        Some(Event::Host(event))
    }

    /// Lets time pass, with all that is due in it.
    fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.connector.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn connected(&self) -> Vec<&str> {
        let mut nqns: Vec<_> = self.kernel.iter().map(|kernel| kernel.subsysnqn.as_str()).collect();
        nqns.sort_unstable();
        nqns
    }

    /// What is connected as that host.
    fn connected_as(&self, host_nqn: &str) -> Vec<&str> {
        let mut nqns: Vec<_> =
            self.kernel.iter().filter(|kernel| kernel.hostnqn == host_nqn).map(|kernel| &*kernel.subsysnqn).collect();
        nqns.sort_unstable();
        nqns
    }

    /// The host is started with that NQN; stafd, too, and its discovery controller lists these to such a host.
    fn restart_as(mut self, host_nqn: &'static str, nqns: &[&str]) -> Self {
        self.host_nqn = host_nqn;
        let mut world = self.restart();
        let page = DcPage {
            dc: tid_as(host_nqn, "192.0.2.1", "8009", DISCOVERY_NQN),
            state: PageState::Fresh,
            connected_since: Some(world.now),
            entries: nqns.iter().map(|nqn| entry(nqn)).collect(),
        };
        let other = if host_nqn == HOST { RENAMED } else { HOST };
        let removed = vec![RemovedDc { dc: tid_as(other, "192.0.2.1", "8009", DISCOVERY_NQN), aged_out: false }];
        world.stafd = Some(StafdView { dcs: vec![page], removed: Some(removed) });
        world.feed(Event::StafdOwner(Some(":1.7".into())));
        world.wait(600.0);
        world
    }

    fn status(&self, nqn: &str) -> Option<Status> {
        self.connector.controller(&ioc(nqn)).map(|view| view.member.status)
    }
}

#[test]
fn what_a_page_names_is_connected_at_once() {
    let mut world = World::new();
    world.stafd_with(&["a", "b", "c"], 0);
    assert_eq!(world.connected(), ["a", "b", "c"]);
    assert_eq!(world.status("a"), Some(Status::Connected));
    world.page_is(&["a", "b", "c", "d"]);
    assert_eq!(world.connected(), ["a", "b", "c", "d"]);
}

#[test]
fn what_a_page_of_the_same_connection_no_longer_names_goes_after_half_a_second_of_quiet() {
    let mut world = World::new();
    world.stafd_with(&["a", "b", "c"], 0);
    world.page_is(&["a", "b"]);
    world.wait(0.4);
    assert_eq!(world.connected(), ["a", "b", "c"]);
    world.wait(0.2);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn while_looking_for_storage_in_use_hangs_nothing_is_disconnected_and_it_is_told() {
    let mut world = World::new();
    world.stafd_with(&["a", "b", "c"], 100);
    world.checks = Some(Vec::new());
    world.page_is(&["a"]);
    world.wait(900.0);
    assert_eq!(world.connected(), ["a", "b", "c"]);
    let hanging = world.checks.take().unwrap();
    assert_eq!(hanging.len(), 1, "one look at a time");
    let told = world.notices.iter().filter(|notice| notice.text.contains("looking for storage in use hangs")).count();
    assert_eq!(told, 1);
    world.feed(Event::Host(HostEvent::UseChecked { op: hanging[0], usage: Usage::Free }));
    world.wait(60.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_subsystem_that_is_listed_with_an_address_that_leads_nowhere_is_still_listed() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let nowhere = |address: &str| Entry { traddr: address.into(), ..entry("b") };
    for address in ["0.0.0.0", "::", ""] {
        world.page_has(vec![entry("a"), nowhere(address)]);
        world.wait(60.0);
        assert_eq!(world.connected(), ["a", "b"], "{address:?}");
    }
    world.page_is(&["a"]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_restart_while_stafd_is_away_disconnects_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.stafd = None;
    let mut world = world.restart();
    world.feed(Event::StafdOwner(None));
    world.wait(600.0);
    assert_eq!(world.connected(), ["a", "b"]);
    assert!(world.disconnected.is_empty());
    assert_eq!(world.status("a"), Some(Status::Connected));
}

#[test]
fn a_vanished_stafd_disconnects_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.stafd = None;
    world.feed(Event::StafdOwner(None));
    world.wait(600.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn a_stafd_that_comes_back_empty_disconnects_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.stafd = Some(StafdView { dcs: Vec::new(), removed: Some(Vec::new()) });
    world.feed(Event::StafdOwner(None));
    world.feed(Event::StafdOwner(Some(":1.9".into())));
    world.wait(600.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn a_page_that_has_changed_and_cannot_be_fetched_proves_nothing_any_more() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let since = world.now;
    world.stafd.as_mut().unwrap().dcs[0].connected_since = Some(since);
    world.page_is(&["a"]);
    world.wait(20.0);
    // The rebooted target lists it again, and nobody gets to know.
    world.page_calls_fail = true;
    world.hold_full_fetches = Some(Vec::new());
    world.page_is(&["a", "b"]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn a_full_fetch_that_a_newer_page_has_overtaken_takes_nothing_away() {
    let mut world = World::new();
    world.stafd_with(&["a"], 100);
    world.hold_full_fetches = Some(Vec::new());
    world.feed(Event::DcRemoved);
    let before = world.stafd.clone().unwrap();
    world.page_is(&["a", "b"]);
    let op = world.hold_full_fetches.take().unwrap()[0];
    world.feed(Event::AllFetched { op, result: Ok(before) });
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn a_rebooted_target_that_exports_one_by_one_loses_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a", "b", "c"], 100);
    // The discovery controller is connected anew, and names more and more.
    let since = world.now;
    world.stafd.as_mut().unwrap().dcs[0].connected_since = Some(since);
    for names in [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]] {
        world.page_is(names);
        world.wait(1.0);
    }
    world.wait(60.0);
    assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
}

#[test]
fn absence_known_from_before_the_connection_counts_when_it_has_been_up_for_30_s() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let since = world.now;
    world.stafd.as_mut().unwrap().dcs[0].connected_since = Some(since);
    world.page_is(&["a"]);
    world.wait(29.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.wait(2.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_page_that_drops_everything_is_read_again_before_it_is_believed() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.page_is(&[]);
    world.wait(4.0);
    assert_eq!(world.refreshed, 0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.wait(3.0);
    assert_eq!(world.refreshed, 1);
    assert!(world.connected().is_empty());
}

#[test]
fn a_page_that_dropped_everything_by_mistake_costs_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.page_is(&[]);
    world.stafd.as_mut().unwrap().dcs[0].entries = vec![entry("a"), entry("b")];
    world.wait(60.0);
    assert!(world.disconnected.is_empty());
}

#[test]
fn storage_in_use_is_kept_and_said_once_until_it_is_free() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use.push("b".into());
    world.page_is(&["a"]);
    world.wait(300.0);
    assert_eq!(world.connected(), ["a", "b"]);
    assert_eq!(world.status("b"), Some(Status::Kept));
    let said = world.notices.iter().filter(|n| n.level == Level::Warning && n.text.contains("is kept")).count();
    assert_eq!(said, 1);
    world.in_use.clear();
    world.wait(61.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn storage_in_use_goes_when_the_administrator_says_so() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use.push("b".into());
    world.page_is(&["a"]);
    world.wait(5.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.conf.in_use = InUse::Disconnect;
    world.reload();
    world.wait(5.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn an_exclusion_reaches_an_existing_connection_in_use_or_not() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use.push("b".into());
    world.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    world.reload();
    assert_eq!(world.connected(), ["a"]);
    world.conf.exclusions.clear();
    world.reload();
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn an_exclusion_written_while_stacd_was_down_reaches_an_existing_connection() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    let world = world.restart();
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_configured_controller_goes_when_it_is_taken_out_and_no_other_is_touched() {
    let mut world = World::new();
    world.conf.controllers.push(configured("x"));
    world.reload();
    world.stafd_with(&["a"], 100);
    assert_eq!(world.connected(), ["a", "x"]);
    world.conf.controllers.clear();
    world.reload();
    world.wait(1.0);
    assert_eq!(world.connected(), ["a"]);
    assert_eq!(world.disconnected, ["x"]);
}

#[test]
fn what_was_taken_out_of_the_configuration_while_stacd_was_down_goes() {
    let mut world = World::new();
    world.conf.controllers.push(configured("x"));
    world.reload();
    world.conf.controllers.clear();
    let mut world = world.restart();
    world.wait(1.0);
    assert!(world.connected().is_empty());
}

#[test]
fn a_configuration_with_an_unreadable_controller_takes_none_away() {
    let mut world = World::new();
    world.conf.controllers.push(configured("x"));
    world.reload();
    world.conf.controllers.clear();
    world.conf.controller_lost = true;
    world.reload();
    world.wait(60.0);
    assert_eq!(world.connected(), ["x"]);
    let mut world = world.restart();
    world.wait(60.0);
    assert_eq!(world.connected(), ["x"]);
    world.conf.controller_lost = false;
    world.reload();
    world.wait(1.0);
    assert!(world.connected().is_empty());
}

#[test]
fn what_a_garbled_configuration_may_still_name_survives_the_end_of_its_log_entry_across_a_restart() {
    let mut world = World::new();
    world.conf.controllers.push(configured("a"));
    world.reload();
    world.stafd_with(&["a", "b"], 100);
    world.conf.controllers.clear();
    world.conf.controller_lost = true;
    let mut world = world.restart();
    world.stafd_with(&["b"], 100);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

fn configured(nqn: &str) -> ControllerEntry {
    ControllerEntry {
        transport: Transport::Tcp,
        traddr: "192.0.2.1".into(),
        is_name: false,
        trsvcid: "4420".into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
        parameters: Parameters::default(),
        line: 1,
    }
}

#[test]
fn under_no_disconnect_only_an_exclusion_disconnects() {
    let mut world = World::new();
    world.conf.disconnect_scope = DisconnectScope::Nothing;
    world.reload();
    world.stafd_with(&["a", "b", "c"], 100);
    world.page_is(&["a", "b"]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b", "c"]);
    world.conf.exclusions.push(Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() });
    world.reload();
    assert_eq!(world.connected(), ["a", "c"]);
    assert_eq!(world.status("c"), Some(Status::Kept));
    let mut world = world.restart();
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "c"]);
    world.conf.disconnect_scope = DisconnectScope::OnlyStas;
    world.reload();
    world.stafd_with(&["a"], 100);
    world.wait(5.0);
    assert_eq!(world.connected(), ["a"], "what is no longer kept goes");
}

#[test]
fn no_disconnect_holds_from_the_reload_on_for_what_was_about_to_go() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use.push("b".into());
    world.page_is(&["a"]);
    world.wait(5.0);
    world.conf.disconnect_scope = DisconnectScope::Nothing;
    world.reload();
    world.in_use.clear();
    // A look has what is kept checked again.
    let look = world.look();
    world.feed(Event::Host(HostEvent::Looked { op: OpId::UNASKED, result: Ok(look) }));
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn no_disconnect_holds_for_what_was_about_to_go_though_stafd_has_vanished_meanwhile() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use.push("b".into());
    world.page_is(&["a"]);
    world.wait(5.0);
    world.stafd = None;
    world.feed(Event::StafdOwner(None));
    world.conf.disconnect_scope = DisconnectScope::Nothing;
    world.reload();
    world.in_use.clear();
    let look = world.look();
    world.feed(Event::Host(HostEvent::Looked { op: OpId::UNASKED, result: Ok(look) }));
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
}

#[test]
fn somebody_elses_connection_stays_untouched_unless_it_is_audited() {
    let mut world = World::new();
    world.add(&ioc("stranger"));
    world.stafd_with(&["a"], 100);
    world.wait(120.0);
    assert_eq!(world.connected(), ["a", "stranger"]);
    world.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    world.reload();
    world.wait(120.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn the_audit_leaves_alone_what_the_kernel_has_not_filled_in_yet() {
    let mut world = World::new();
    world.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    world.reload();
    world.stafd_with(&["a"], 100);
    // stafd's connection, as it looks while it is being made.
    world.add(&dc());
    let made = world.kernel.last_mut().unwrap();
    (made.cntrltype, made.state) = (CtrlType::Unknown, CtrlState::Connecting);
    (made.subsysnqn, made.hostnqn) = (String::new(), String::new());
    world.wait(60.0);
    assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
}

#[test]
fn the_audit_does_not_go_by_a_page_that_a_rebooted_target_gave_in_its_first_second() {
    let mut world = World::new();
    world.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    world.reload();
    world.add(&ioc("b"));
    world.add(&ioc("stranger"));
    world.stafd_with(&["a"], 0);
    // b is exported a little later, and the event of that is lost.
    world.wait(10.0);
    world.stafd.as_mut().unwrap().dcs[0].entries = ["a", "b"].map(entry).into();
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
    assert_eq!(world.disconnected, ["stranger"]);
}

#[test]
fn the_audit_waits_until_stafd_has_told_everything() {
    let mut world = World::new();
    world.conf.disconnect_scope = DisconnectScope::AllMatchingTrtypes;
    world.reload();
    world.add(&ioc("stranger"));
    world.feed(Event::StafdOwner(None));
    world.wait(300.0);
    assert_eq!(world.connected(), ["stranger"]);
}

#[test]
fn an_existing_connection_is_taken_over_and_not_made_twice() {
    let mut world = World::new();
    world.add(&ioc("a"));
    world.stafd_with(&["a"], 0);
    assert_eq!(world.connected(), ["a"]);
    assert_eq!(world.status("a"), Some(Status::Connected));
}

#[test]
fn a_connection_removed_behind_our_back_is_made_again_within_two_seconds() {
    let mut world = World::new();
    world.stafd_with(&["a"], 0);
    world.wait(60.0);
    let device = world.kernel.remove(0).ctrl.device;
    world.births += 1;
    let event = Uevent { seqnum: world.births, device, kind: UeventKind::Remove };
    world.feed(Event::Host(HostEvent::Uevent(event)));
    world.wait(2.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_connection_whose_remove_event_was_lost_is_made_again_with_the_next_look() {
    let mut world = World::new();
    world.stafd_with(&["a"], 0);
    world.wait(60.0);
    world.kernel.clear();
    world.wait(62.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn unlink_and_link_in_quick_succession_ends_live() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    for _ in 0..10 {
        world.page_is(&["a"]);
        world.wait(0.1);
        world.page_is(&["a", "b"]);
        world.wait(0.1);
    }
    world.wait(5.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.page_is(&["a"]);
    world.wait(2.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn a_discovery_controller_that_the_administrator_removed_takes_its_own() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.stafd = Some(StafdView { dcs: Vec::new(), removed: Some(vec![RemovedDc { dc: dc(), aged_out: false }]) });
    world.feed(Event::DcRemoved);
    world.wait(1.0);
    assert!(world.connected().is_empty());
}

/// The administrator gives `dc()` another address: stafd shows a new one, without a page yet, in its place.
fn edited_in_place() -> (World, Tid) {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let moved = tid("192.0.2.77", "8009", DISCOVERY_NQN);
    let page = DcPage { dc: moved.clone(), state: PageState::Never, connected_since: None, entries: Vec::new() };
    world.stafd = Some(StafdView { dcs: vec![page], removed: Some(vec![RemovedDc { dc: dc(), aged_out: false }]) });
    world.feed(Event::DcRemoved);
    (world, moved)
}

#[test]
fn a_discovery_controller_that_is_edited_in_place_takes_nothing_before_its_new_self_is_read_and_connected() {
    let (mut world, moved) = edited_in_place();
    world.wait(3.0);
    assert_eq!(world.connected(), ["a", "b"]);
    let page = &mut world.stafd.as_mut().unwrap().dcs[0];
    (page.state, page.connected_since) = (PageState::Fresh, Some(world.now));
    page.entries = vec![Entry { traddr: "192.0.2.78".into(), ..entry("a") }];
    world.dead = true;
    world.feed(Event::PageChanged(moved));
    world.wait(2.0);
    assert_eq!(world.connected(), ["a", "b"], "the new path is not there yet");
    world.dead = false;
    world.wait(5.0);
    let paths: Vec<_> = world.kernel.iter().map(|kernel| kernel.traddr.as_str()).collect();
    assert_eq!(paths, ["192.0.2.78"]);
}

#[test]
fn a_new_discovery_controller_that_never_answers_puts_off_removals_for_ten_seconds_at_most() {
    let (mut world, _) = edited_in_place();
    world.wait(9.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.wait(3.0);
    assert!(world.connected().is_empty());
}

#[test]
fn new_discovery_controllers_without_end_do_not_put_off_removals_without_end() {
    let (mut world, _) = edited_in_place();
    for number in 0..30 {
        let dc = tid(&format!("198.51.100.{number}"), "8009", DISCOVERY_NQN);
        let page = DcPage { dc, state: PageState::Never, connected_since: None, entries: Vec::new() };
        world.stafd.as_mut().unwrap().dcs.push(page);
        world.feed(Event::DcRemoved);
        world.wait(1.0);
    }
    assert!(world.connected().is_empty());
}

#[test]
fn a_discovery_controller_that_aged_out_takes_only_what_is_not_live() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.kernel.iter_mut().find(|k| k.subsysnqn == "b").unwrap().state = CtrlState::Connecting;
    world.wait(61.0);
    world.stafd = Some(StafdView { dcs: Vec::new(), removed: Some(vec![RemovedDc { dc: dc(), aged_out: true }]) });
    world.feed(Event::DcRemoved);
    world.wait(2.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn an_empty_page_of_a_python_stafd_proves_nothing_before_that_owner_has_shown_entries() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let page = |nqns: &[&str]| DcPage {
        dc: dc(),
        state: PageState::Unstated,
        connected_since: None,
        entries: nqns.iter().map(|nqn| entry(nqn)).collect(),
    };
    world.feed(Event::StafdOwner(None));
    world.stafd = Some(StafdView { dcs: vec![page(&[])], removed: None });
    world.feed(Event::StafdOwner(Some(":1.77".into())));
    world.wait(120.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.stafd = Some(StafdView { dcs: vec![page(&["a", "b"])], removed: None });
    world.feed(Event::PageChanged(dc()));
    world.stafd = Some(StafdView { dcs: vec![page(&["a"])], removed: None });
    world.feed(Event::PageChanged(dc()));
    world.wait(1.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn what_is_said_for_an_answer_never_asked_for_changes_nothing() {
    let mut world = World::new();
    world.stafd_with(&["a"], 100);
    world.feed(Event::AllFetched { op: OpId(4711), result: Ok(StafdView::default()) });
    world.feed(Event::Host(HostEvent::Disconnected { op: OpId(4711), result: Ok(()) }));
    world.wait(60.0);
    assert_eq!(world.connected(), ["a"]);
}

/// A page that is read as another host says what that host may see.
#[test]
fn a_host_with_another_nqn_keeps_what_it_has_until_that_is_connected_under_the_new_one() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let world = world.restart_as(RENAMED, &["a"]);
    assert_eq!(world.connected_as(RENAMED), ["a"]);
    assert_eq!(world.connected_as(HOST), ["b"], "a was let go when it was up as the other host");
    let warning = world.notices.iter().find(|notice| notice.text.contains(HOST) && notice.text.contains(RENAMED));
    assert_eq!(warning.map(|notice| notice.level), Some(Level::Warning), "{:?}", world.notices);

    let world = world.restart_as(RENAMED, &["a"]);
    assert_eq!(world.connected_as(HOST), ["b"], "after another restart, too");

    let mut world = world.restart_as(RENAMED, &["a", "b"]);
    assert_eq!(world.connected_as(RENAMED), ["a", "b"]);
    assert!(world.connected_as(HOST).is_empty());
    world.page_is(&["a"]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a"], "what is taken back as the new host goes as ever");
}

#[test]
fn a_host_that_gets_its_nqn_back_loses_nothing_on_the_way() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let mut world = world.restart_as(RENAMED, &[]);
    assert_eq!(world.connected_as(HOST), ["a", "b"]);
    world.host_nqn = HOST;
    world.stafd = None;
    let mut world = world.restart();
    world.wait(600.0);
    let mut world = world.restart_as(HOST, &["a", "b"]);
    assert_eq!(world.connected_as(HOST), ["a", "b"]);
    assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
    world.page_is(&["a"]);
    world.wait(60.0);
    assert_eq!(world.connected(), ["a"], "once it was named, a page takes it as ever");
}

#[test]
fn an_exclusion_reaches_what_was_connected_under_another_nqn() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let mut world = world.restart_as(RENAMED, &[]);
    world.conf.exclusions = vec![Exclusion { subsysnqn: Some("b".into()), ..Exclusion::default() }];
    world.reload();
    world.wait(60.0);
    assert_eq!(world.connected_as(HOST), ["a"]);
}

fn excluded_by_name(nqn: Option<&str>) -> StacConf {
    let exclusion = Exclusion {
        traddr: Some("old.example".into()),
        is_name: true,
        subsysnqn: nqn.map(Into::into),
        ..Exclusion::default()
    };
    StacConf { exclusions: vec![exclusion], ..conf() }
}

#[test]
fn what_a_name_may_exclude_waits_until_the_name_is_looked_up() {
    for (answer, connected) in [
        (Ok(vec!["192.0.2.1".parse().unwrap()]), &["c"][..]),
        (Ok(vec!["192.0.2.77".parse().unwrap()]), &["a", "c"]),
        (Err("no such name".to_owned()), &["a", "c"]),
    ] {
        let mut world = World::new();
        world.look_ups = Some(Vec::new());
        world.conf = excluded_by_name(Some("a"));
        world.reload();
        world.wait(0.0);
        world.stafd_with(&["a", "c"], 100);
        assert_eq!(world.connected(), ["c"], "the exclusion cannot mean this one");
        let op = world.look_ups.as_mut().unwrap().pop().unwrap();
        world.feed(Event::Host(HostEvent::Resolved { op, result: answer.clone() }));
        assert_eq!(world.connected(), connected, "{answer:?}");
    }
}

#[test]
fn a_resolver_that_never_answers_holds_nothing_up_for_longer_than_half_a_minute() {
    let mut world = World::new();
    world.look_ups = Some(Vec::new());
    world.conf = excluded_by_name(None);
    world.reload();
    world.stafd_with(&["a"], 100);
    world.wait(29.0);
    assert!(world.connected().is_empty());
    world.wait(2.0);
    assert_eq!(world.connected(), ["a"]);
}

#[test]
fn what_was_connected_before_is_not_let_go_for_a_name_that_nobody_has_looked_up() {
    let mut world = World::new();
    world.stafd_with(&["a"], 100);
    world.look_ups = Some(Vec::new());
    world.conf = excluded_by_name(None);
    world.reload();
    world.wait(20.0);
    let mut world = world.restart();
    world.wait(20.0);
    assert_eq!(world.connected(), ["a"]);
    assert!(world.disconnected.is_empty());
}

#[test]
fn an_address_family_that_is_switched_off_spares_what_is_in_use() {
    for (scope, left) in [(DisconnectScope::OnlyStas, &["b"][..]), (DisconnectScope::Nothing, &["a", "b"])] {
        let mut world = World::new();
        world.stafd_with(&["a", "b"], 100);
        world.in_use = vec!["b".into()];
        world.conf.ip_family = FamilyOrder::V6;
        world.conf.disconnect_scope = scope;
        world.reload();
        world.wait(60.0);
        assert_eq!(world.connected(), left, "{scope:?}");
    }
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    world.in_use = vec!["b".into()];
    world.conf.ip_family = FamilyOrder::V6;
    let mut world = world.restart();
    world.wait(60.0);
    assert_eq!(world.connected(), ["b"], "written while stacd was down");
}

/// stafd need not tell that a connection was lost, or that a page could not be read again: no page has changed.
#[test]
fn absence_known_from_before_the_connection_counts_only_in_a_page_read_at_the_end_of_the_30_s() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let since = world.now;
    world.stafd.as_mut().unwrap().dcs[0].connected_since = Some(since);
    world.page_is(&["a"]);
    world.wait(5.0);
    let page = &mut world.stafd.as_mut().unwrap().dcs[0];
    (page.state, page.connected_since) = (PageState::Saved, None);
    world.wait(120.0);
    assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
    let since = world.now;
    let page = &mut world.stafd.as_mut().unwrap().dcs[0];
    (page.state, page.connected_since) = (PageState::Fresh, Some(since));
    world.page_is(&["a"]);
    world.wait(31.0);
    assert_eq!(world.connected(), ["a"]);
}

/// stafd alone was restarted after the host's NQN had changed.
#[test]
fn a_stafd_that_comes_back_with_another_host_nqn_takes_nothing_before_it_is_connected_under_that() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let renamed = |nqns: &[&str], since| DcPage {
        dc: tid_as(RENAMED, "192.0.2.1", "8009", DISCOVERY_NQN),
        state: PageState::Fresh,
        connected_since: Some(since),
        entries: nqns.iter().map(|nqn| entry(nqn)).collect(),
    };
    let removed = Some(vec![RemovedDc { dc: dc(), aged_out: false }]);
    world.stafd = Some(StafdView { dcs: vec![renamed(&[], world.now)], removed });
    world.feed(Event::StafdOwner(Some(":1.9".into())));
    world.wait(600.0);
    assert!(world.disconnected.is_empty(), "{:?}", world.disconnected);
    world.stafd.as_mut().unwrap().dcs = vec![renamed(&["a"], world.now)];
    world.feed(Event::PageChanged(tid_as(RENAMED, "192.0.2.1", "8009", DISCOVERY_NQN)));
    world.wait(60.0);
    assert_eq!((world.connected_as(HOST), world.connected_as(RENAMED)), (vec!["b"], vec!["a"]));
    // And stacd, too.
    let world = world.restart_as(RENAMED, &["a"]);
    assert_eq!((world.connected_as(HOST), world.connected_as(RENAMED)), (vec!["b"], vec!["a"]));
}

#[test]
fn a_stafd_that_gets_its_host_nqn_back_is_as_before() {
    let mut world = World::new();
    world.stafd_with(&["a", "b"], 100);
    let before = world.stafd.clone();
    let page = DcPage {
        dc: tid_as(RENAMED, "192.0.2.1", "8009", DISCOVERY_NQN),
        state: PageState::Fresh,
        connected_since: Some(world.now),
        entries: Vec::new(),
    };
    world.stafd = Some(StafdView { dcs: vec![page], removed: Some(vec![RemovedDc { dc: dc(), aged_out: false }]) });
    world.feed(Event::StafdOwner(Some(":1.9".into())));
    world.wait(60.0);
    world.stafd = before;
    world.stafd.as_mut().unwrap().dcs[0].connected_since = Some(world.now);
    world.feed(Event::StafdOwner(Some(":1.10".into())));
    world.wait(60.0);
    assert_eq!(world.connected(), ["a", "b"]);
    world.page_is(&["b"]);
    world.wait(2.0);
    assert_eq!(world.connected(), ["b"], "a page takes it as ever");
}
