//! The host NQN changes in any order of events: stafd and stacd read it at different times, pages come and go, daemons
//! are killed. Storage is disconnected only for a reason.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use fake_host::{Connector, FakeHost, HOST, RENAMED, TARGET, as_host, dc_page, entry};
use libstas::bus::contract::{DcPage, PageState};
use libstas::nvme::Tid;
use proptest::prelude::*;
use stacd::connector::{Event, RemovalReason, RemovedDc, StafdView};

const NQNS: [&str; 3] = [HOST, RENAMED, "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000000c"];
const SUBSYSTEMS: [&str; 4] = ["a", "b", "c", "d"];
/// The host ID, which stays the same whatever the host NQN is. The kernel accepts one host NQN for it.
const HOST_ID: &str = "00000000-0000-4000-8000-00000000000a";
/// After this many seconds without a change everything is as the log page and the host NQN say.
const SETTLES_WITHIN: u32 = 700;

/// What happens. The numbers are those of host NQNs and subsystems.
#[derive(Clone, Debug)]
enum Step {
    /// /etc/nvme/hostnqn gets another content.
    Renamed(usize),
    StacdReloads,
    StacdIsKilled,
    /// stafd starts, with the host NQN that the file has now.
    StafdStarts,
    StafdEnds,
    /// The target shows a subsystem to that host NQN, or hides it.
    Shown(usize, usize),
    TargetIsLost,
    TargetReturns,
    Waits(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..NQNS.len()).prop_map(Step::Renamed),
        2 => Just(Step::StacdReloads),
        2 => Just(Step::StacdIsKilled),
        3 => Just(Step::StafdStarts),
        1 => Just(Step::StafdEnds),
        5 => (0..NQNS.len(), 0..SUBSYSTEMS.len()).prop_map(|(nqn, subsystem)| Step::Shown(nqn, subsystem)),
        1 => Just(Step::TargetIsLost),
        1 => Just(Step::TargetReturns),
        4 => prop_oneof![0..2_000_u32, 2_000..120_000_u32].prop_map(Step::Waits),
    ]
}

fn dc(host_nqn: &str) -> Tid {
    as_host(host_nqn, &fake_host::dc(TARGET))
}

/// The host, its target, and what stafd has published.
struct World {
    host: FakeHost<Connector>,
    /// The subsystems that the target shows to each host NQN.
    shown: BTreeMap<&'static str, BTreeSet<&'static str>>,
    /// The host NQN of the running stafd.
    stafd: Option<&'static str>,
    /// What stafd last published for each host NQN.
    published: BTreeMap<&'static str, BTreeSet<&'static str>>,
    file: &'static str,
    owners: u32,
    /// Number of disconnects that were checked.
    checked: usize,
}

impl World {
    fn new() -> Self {
        let mut host = FakeHost::configured("");
        host.identity.id = HOST_ID.into();
        let host = host.started();
        let shown = NQNS.into_iter().map(|nqn| (nqn, SUBSYSTEMS.into())).collect();
        let (published, file) = (BTreeMap::new(), HOST);
        Self { host, shown, stafd: None, published, file, owners: 0, checked: 0 }
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Renamed(nqn) => self.file = NQNS[nqn],
            Step::StacdReloads => self.reload(),
            Step::StacdIsKilled => {
                self.host.identity.nqn = self.file.into();
                self.host.restart();
                if self.stafd.is_some() {
                    self.host.feed(Event::StafdOwner(Some(self.owner())));
                }
            }
            Step::StafdStarts => self.start_stafd(),
            Step::StafdEnds => {
                self.stafd = None;
                self.host.stafd_vanishes();
            }
            Step::Shown(nqn, subsystem) => {
                let (nqn, subsystem) = (NQNS[nqn], SUBSYSTEMS[subsystem]);
                let shown = self.shown.get_mut(nqn).unwrap();
                if !shown.remove(subsystem) {
                    shown.insert(subsystem);
                }
                if self.stafd == Some(nqn) {
                    let nqns: Vec<&str> = shown.iter().copied().collect();
                    self.published.insert(nqn, shown.clone());
                    self.host.page_is(&nqns);
                }
            }
            Step::TargetIsLost => self.host.lose(TARGET),
            Step::TargetReturns => self.host.reconnect(TARGET),
            Step::Waits(milliseconds) => self.host.wait(f64::from(milliseconds) / 1000.0),
        }
    }

    fn reload(&mut self) {
        self.host.identity.nqn = self.file.into();
        self.host.reload();
    }

    fn owner(&self) -> String {
        format!(":1.{}", self.owners)
    }

    fn start_stafd(&mut self) {
        let nqn = self.file;
        self.owners += 1;
        let shown = &self.shown[nqn];
        let page = dc_page(&dc(nqn), self.host.now, shown.iter().map(|name| entry(TARGET, name)).collect());
        let earlier = self.published.keys().filter(|other| **other != nqn);
        let removed = earlier.map(|other| RemovedDc { dc: dc(other), reason: RemovalReason::Configuration }).collect();
        self.published.insert(nqn, shown.clone());
        self.stafd = Some(nqn);
        let owner = self.owner();
        self.host.stafd_is(
            &owner,
            StafdView { dcs: vec![page], removed: Some(removed), is_complete: true, left_out: Vec::new() },
        );
    }

    /// The host NQNs of the connections, with the subsystem of each.
    fn connections(&self) -> BTreeSet<(String, String)> {
        self.host.kernel.iter().map(|kernel| (kernel.hostnqn.clone(), kernel.subsysnqn.clone())).collect()
    }

    /// Plays a step. A disconnect has a reason: the last page that was read with the host NQN of the connection does
    /// not list the subsystem, or it was connected with another host NQN when the step began, or is so when it ends.
    fn play_and_check(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let mut connections = self.connections();
        self.play(step);
        connections.extend(self.connections());
        for gone in &self.host.gone[self.checked..] {
            let name = gone.subsysnqn.as_str();
            let page = self.published.get(gone.hostnqn.as_str());
            let unlisted = page.is_some_and(|page| !page.contains(name));
            let replaced = connections.iter().any(|(nqn, other)| other == name && *nqn != gone.hostnqn);
            prop_assert!(unlisted || replaced, "{name} of {} is disconnected without a reason: {step:?}", gone.hostnqn);
        }
        self.checked = self.host.gone.len();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_host_whose_nqn_changes_loses_nothing_without_a_reason(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        world.start_stafd();
        for step in steps.iter().chain(&[Step::TargetReturns, Step::StafdStarts, Step::StacdReloads]) {
            world.play_and_check(step)?;
        }
        world.play_and_check(&Step::Waits(SETTLES_WITHIN * 1000))?;
        let wanted = &world.shown[world.file];
        let connected: BTreeSet<&str> = world.host.nqns_as(world.file).into_iter().collect();
        // What was connected under this NQN before, and is hidden from it now, is kept: it was never listed anew.
        prop_assert!(connected.is_superset(wanted), "connected as {}: {connected:?} of {wanted:?}", world.file);
        for other in world.host.kernel.iter().filter(|kernel| kernel.hostnqn != world.file) {
            prop_assert!(
                !wanted.contains(other.subsysnqn.as_str()),
                "{} is still connected as {}", other.subsysnqn, other.hostnqn
            );
        }
    }
}

#[test]
fn the_host_nqn_of_one_discovery_controller_changes_and_another_one_keeps_it() {
    // stafd was restarted with another host NQN, which the first target does not know. The connection to the second one
    // is live, and stafd keeps it.
    for spared in [RemovalReason::Configuration, RemovalReason::ReferralGone] {
        let mut host = FakeHost::<Connector>::configured("").started();
        let second = |nqn: &str| as_host(nqn, &fake_host::dc("192.0.2.2"));
        let page = |dc: &Tid, names: &[&str], now| {
            dc_page(dc, now, names.iter().map(|name| entry(&dc.traddr, name)).collect())
        };
        let view = |dcs, removed| StafdView { dcs, removed: Some(removed), is_complete: true, left_out: Vec::new() };
        let before = vec![page(&dc(HOST), &["a", "b"], host.now), page(&second(HOST), &["c"], host.now)];
        host.stafd_is(":1.1", view(before, Vec::new()));
        host.wait(60);
        assert_eq!(host.nqns(), ["a", "b", "c"]);
        let renamed = dc_page(&dc(RENAMED), host.now, Vec::new());
        let unread = DcPage { state: PageState::Never, ..renamed };
        let after = vec![unread, page(&second(HOST), &["c"], host.now)];
        host.stafd_is(":1.2", view(after, vec![RemovedDc { dc: dc(HOST), reason: spared }]));
        host.wait(600);
        assert_eq!(host.disconnected(), [""; 0]);
    }
}

#[test]
fn a_second_line_with_a_host_nqn_of_its_own_is_no_change_of_the_host_nqn() {
    const OTHER: &str = NQNS[2];
    let mut host = FakeHost::<Connector>::configured("").started();
    let second = as_host(OTHER, &fake_host::dc("192.0.2.2"));
    let page = |dc: &Tid, name: &str, now| dc_page(dc, now, vec![entry(&dc.traddr, name)]);
    let view = |dcs, removed| StafdView { dcs, removed: Some(removed), is_complete: true, left_out: Vec::new() };
    let a = page(&dc(HOST), "a", host.now);
    let c = page(&second, "c", host.now);
    host.stafd_is(":1.1", view(vec![a.clone(), page(&dc(OTHER), "b", host.now), c.clone()], Vec::new()));
    host.wait(60);
    assert_eq!(host.nqns(), ["a", "b", "c"]);
    // The line with the other host NQN is removed. That of the second discovery controller stays.
    let removed = RemovedDc { dc: dc(OTHER), reason: RemovalReason::Configuration };
    host.peer.view = Some(view(vec![a, c], vec![removed]));
    host.feed(Event::DcRemoved);
    host.wait(60);
    assert_eq!(host.disconnected(), ["b"]);
}

/// A host whose NQN in /etc/nvme was changed, and its host ID was not.
fn renamed_host() -> FakeHost<Connector> {
    let mut world = World::new();
    world.start_stafd();
    world.play(&Step::Waits(60_000));
    assert_eq!(world.host.nqns_as(HOST), SUBSYSTEMS);
    assert!(world.host.kernel.iter().all(|kernel| kernel.hostid == HOST_ID), "{:?}", world.host.kernel);
    [Step::Renamed(1), Step::StacdIsKilled, Step::StafdStarts, Step::Waits(60_000)].iter().for_each(|s| world.play(s));
    world.host
}

/// The host IDs of the connections with a host NQN.
fn host_ids<'a>(host: &'a FakeHost<Connector>, host_nqn: &str) -> BTreeSet<&'a str> {
    host.kernel.iter().filter(|kernel| kernel.hostnqn == host_nqn).map(|kernel| kernel.hostid.as_str()).collect()
}

#[test]
fn a_host_that_gets_another_nqn_and_keeps_its_id_is_connected_with_the_new_nqn() {
    let host = renamed_host();
    assert_eq!(host.nqns_as(RENAMED), SUBSYSTEMS);
    assert_eq!(host.nqns_as(HOST), [""; 0]);
    let ids = host_ids(&host, RENAMED);
    assert!(ids.len() == 1 && !ids.contains(HOST_ID), "{ids:?}");
    assert_eq!(host.logged("is in use with the host NQN"), 1);
}

#[test]
fn the_configured_host_id_is_used_again_when_no_connection_has_another_one() {
    let mut host = renamed_host();
    host.kernel.pop();
    host.wait(60);
    assert_eq!(host.nqns_as(RENAMED), SUBSYSTEMS);
    let ids = host_ids(&host, RENAMED);
    assert!(ids.len() == 1 && !ids.contains(HOST_ID), "the kernel takes only the ID that the others have: {ids:?}");
    host.kernel.clear();
    host.wait(600);
    assert_eq!(host.nqns_as(RENAMED), SUBSYSTEMS);
    assert_eq!(host_ids(&host, RENAMED), [HOST_ID].into());
    assert_eq!(host.logged("is in use with the host NQN"), 1);
}

#[test]
fn a_boot_disk_with_another_host_nqn_and_the_hosts_id_keeps_nothing_from_being_connected() {
    let mut world = World::new();
    let boot_disk = world.host.add(&as_host(NQNS[2], &fake_host::io("192.0.2.9", "boot")));
    world.host.ctrl(boot_disk).hostid = HOST_ID.into();
    world.host.restart();
    world.start_stafd();
    world.play(&Step::Waits(60_000));
    assert_eq!(world.host.nqns_as(HOST), SUBSYSTEMS);
    assert!(world.host.has(boot_disk));
    assert_eq!(world.host.logged("is in use with the host NQN"), 1);
}
