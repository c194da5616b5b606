//! The plan of a run, decided beforehand by the seed: the initial world, and the actions with their times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::conf::{DisconnectScope, InUse, Persistence};
use libstas::core::Dctype;

use crate::boot::Boot;
use crate::files::{DcEntry, Excluded, StacFile, StafFile};
use crate::kernel;
use crate::keys;
use crate::mdns_actions::{self, MdnsAction};
use crate::names::{Daemon, Iface, Subsystem, Target, Via};
use crate::rng::Rng;
use crate::wider;

/// The initial world.
#[derive(Clone, Debug)]
pub struct InitialWorld {
    /// The targets, by their numbers.
    pub targets: Vec<InitialTarget>,
    /// Number of subsystems.
    pub subsystems: usize,
    /// The targets of the host names.
    pub names: Vec<Target>,
    /// True if each host name has a stale address, too, which comes first.
    pub stale_addresses: bool,
    /// stafd.conf
    pub staf: StafFile,
    /// stacd.conf
    pub stac: StacFile,
    /// The targets whose discovery controllers are announced, and the interfaces of each.
    pub announced: BTreeMap<Target, BTreeSet<Iface>>,
    /// The connections and boot table of the firmware.
    pub boot: Boot,
    /// Subsystems with storage in use.
    pub in_use: BTreeSet<Subsystem>,
    /// The subsystem from which the host runs while its storage is in use: swap is on it.
    pub system: Option<Subsystem>,
    /// The kernel gives up a connection that has been down for this long.
    pub ctrl_loss: Duration,
    /// True if the kernel gives up a connection at once when the target refuses it (since 6.10).
    pub refusal_is_final: bool,
    /// The DH-HMAC-CHAP key of host and targets; 0: none.
    pub key: u8,
}

/// The initial state of a target.
#[derive(Clone, Debug)]
pub struct InitialTarget {
    /// The subsystems that it exports and lists.
    pub exports: BTreeSet<Subsystem>,
    /// The subsystems of other targets that its discovery controller lists.
    pub zoned: BTreeSet<(Target, Subsystem)>,
    /// The targets that its discovery controller refers to.
    pub refers: BTreeSet<Target>,
    /// The kind of its discovery controller.
    pub dctype: Dctype,
}

/// An action at a fixed time.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its time since the beginning of the run.
    pub at: Duration,
    /// The action to perform.
    pub what: What,
}

/// A change of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// controller= in stafd.conf: added, or removed if it was there.
    Dc(DcEntry),
    /// exclude= in stafd.conf: added or removed.
    ExcludeDc(Target),
    /// An unreadable line in stafd.conf: added or removed.
    GarbleStaf,
    /// zeroconf= in stafd.conf: enabled, or disabled if it was enabled.
    Zeroconf,
    /// zeroconf-connections-persistence= in stafd.conf.
    Persistence(Persistence),
    /// controller= in stacd.conf: added or removed.
    Controller(Target, Subsystem, Via),
    /// exclude= in stacd.conf: added or removed.
    Exclude(Excluded),
    /// An unreadable line in stacd.conf: added or removed.
    GarbleStac,
    /// disconnect-scope in stacd.conf.
    Scope(DisconnectScope),
    /// in-use in stacd.conf.
    InUse(InUse),
    /// exclude= with an interface: added or removed.
    ExcludeIface(Daemon, Iface),
    /// ip-family=ipv6, which excludes every target of this world; or ipv4+ipv6 again.
    Family(Daemon),
    /// disconnect-trtypes=rdma in stacd.conf, which matches no connection of this world; or tcp again.
    Trtypes,
    /// A parameter in `[Global]` that the kernel refuses: added or removed.
    Parameters(Daemon),
    /// ignore-iface in stacd.conf: true, or false if it was true.
    IgnoreIface,
}

impl Edit {
    /// The daemon whose file is changed.
    #[must_use]
    pub fn file_of(&self) -> Daemon {
        match self {
            Self::Dc(_) | Self::ExcludeDc(_) | Self::GarbleStaf | Self::Zeroconf | Self::Persistence(_) => {
                Daemon::Stafd
            }
            Self::ExcludeIface(daemon, _) | Self::Family(daemon) | Self::Parameters(daemon) => *daemon,
            _ => Daemon::Stacd,
        }
    }
}

/// The way in which a target fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It resets its connections and refuses new ones.
    Refuses,
    /// Packets to it are lost.
    Drops,
    /// It accepts TCP connections and sends nothing.
    Mute,
    /// It reboots: connections are reset, new ones are refused, then it exports its subsystems one by one.
    Reboots,
}

/// The defect of a log page entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The address is this one.
    Address(&'static str),
    /// The port is this one.
    Port(&'static str),
    /// The NQN is this one.
    Nqn(&'static str),
    /// The subtype is one that no specification defines.
    Subtype,
    /// The transport type is one that no specification defines.
    Trtype,
}

impl Defect {
    /// Defects of the address and the port. The last one is another spelling of the same port.
    pub const OF_ADDRESS: [Self; 6] = [
        Self::Address("0.0.0.0"),
        Self::Address(""),
        Self::Port(""),
        Self::Port("none"),
        Self::Port("65536"),
        Self::Port("04420"),
    ];

    /// Defects of a referral. Its NQN identifies no discovery controller.
    pub const OF_REFERRAL: [Self; 8] = [
        Self::Address("0.0.0.0"),
        Self::Address(""),
        Self::Port(""),
        Self::Port("none"),
        Self::Port("65536"),
        Self::Port("08009"),
        Self::Subtype,
        Self::Trtype,
    ];

    /// Other defects.
    pub const OTHERS: [Self; 4] =
        [Self::Nqn(""), Self::Nqn("nqn.2014-08.org.nvmexpress.discovery"), Self::Subtype, Self::Trtype];
}

/// What an entry of a log page lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryOf {
    /// A subsystem at the target itself.
    Subsystem(Subsystem),
    /// The discovery controller of another target.
    Dc(Target),
}

/// A fault that lasts for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Half of a daemon's add and remove events are lost, without an overrun.
    EventsLost(Daemon),
    /// Events reach a daemon up to 300 ms late.
    EventsLate(Daemon),
    /// A daemon receives its events twice.
    EventsDoubled(Daemon),
    /// A daemon's event socket is full: events are lost, and the daemon is told so.
    EventsOverrun(Daemon),
    /// A daemon cannot read sysfs.
    SnapshotsFail(Daemon),
    /// A daemon's snapshots take up to 5 s.
    SnapshotsSlow(Daemon),
    /// Probes fail with local errors.
    ProbesUnknown,
    /// Probes take 20 s.
    ProbesHang,
    /// Probes say the opposite of what is true: the program that probes was taken over.
    ProbesLie,
    /// Log pages cannot be read.
    ReadsFail,
    /// A read of a log page takes up to 80 s.
    ReadsHang,
    /// Calls between the daemons fail.
    BusFails,
    /// The bus takes up to 3 s for a message.
    BusSlow,
    /// Host names cannot be resolved.
    ResolverFails,
    /// The kernel refuses to disconnect.
    DisconnectRefused,
    /// A disconnect takes up to 45 s.
    DisconnectHangs,
    /// The check for storage in use fails.
    UseUnknown,
    /// The connect path takes 1 to 4 s longer.
    ConnectPathSlow,
    /// Announcements, goodbyes and queries are lost.
    MulticastLost,
    /// A daemon's state cannot be saved.
    SavesFail(Daemon),
    /// Known boot tables cannot be read, all of them or some of their records.
    TablesUnreadable,
}

/// An action of the administrator, a target or the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The administrator edits a file, and reloads the daemon if true.
    Edits(Edit, bool),
    /// The administrator edits a file and reloads, and after that time reverts the edit and reloads again.
    EditsAndReverts(Edit, Duration),
    /// systemctl reload
    Reloads(Daemon),
    /// systemctl stop, and start after that time.
    Restarts(Daemon, Duration),
    /// kill -9; systemd starts it again after that time.
    Kills(Daemon, Duration),
    /// kill -9, and the saved state is deleted or garbled before the next start.
    KillsAndLosesState(Daemon, Duration),
    /// SIGSTOP, and SIGCONT after that time.
    Freezes(Daemon, Duration),
    /// The host is suspended for that time.
    Suspends(Duration),
    /// nvme disconnect of one of the present controllers.
    DisconnectsByHand(usize),
    /// Another orchestrator records itself in the registry as the owner of an existing I/O controller, even of one that
    /// has an owner.
    OtherClaims(usize),
    /// Another orchestrator disconnects one of its controllers.
    OtherDisconnects(usize),
    /// nvme connect of a subsystem.
    ConnectsByHand(Target, Subsystem, Via),
    /// nvme connect to a discovery controller, not followed by a disconnect.
    ConnectsDcByHand(Target, Via),
    /// nvme discover: a short connection without keep-alive.
    Discovers(Target),
    /// A file system is mounted, or unmounted if it was mounted.
    Mounts(Subsystem),
    /// A target starts or stops exporting a subsystem.
    Exports(Target, Subsystem),
    /// A target stops and starts exporting a subsystem this many times, at this interval.
    Storm(Target, Subsystem, usize, Duration),
    /// A discovery controller starts or stops listing a subsystem of another target.
    Zones(Target, (Target, Subsystem)),
    /// A discovery controller lists nothing for that time.
    ListsNothing(Target, Duration),
    /// The log entry of a subsystem is wrong in this way for that time.
    DamagesEntry(Target, EntryOf, Defect, Duration),
    /// A discovery controller starts or stops referring to another one.
    Refers(Target, Target),
    /// /etc/nvme/hostid gets another content. The daemons notice that when they read their configuration.
    ReplacesHostId(u8),
    /// The DH-HMAC-CHAP key of the host and that of the targets are changed, the second one after that time.
    ChangesKeys {
        /// The number of the key; 0: none.
        key: u8,
        /// True if the host is changed first.
        host_first: bool,
        /// The time between the two.
        apart: Duration,
    },
    /// A target fails in this way for that time.
    Fails(Target, Outage, Duration),
    /// A target drops all its connections, and accepts new ones at once.
    DropsConnections(Target),
    /// An action of an announced discovery controller.
    MdnsAction(MdnsAction),
    /// A host name points to another target.
    MovesName(usize, Target),
    /// A route is added.
    RouteAdded,
    /// The routes use the other interface from now on: new connections that are bound to none use it.
    RoutesChange,
    /// A fault lasts for that time.
    Fault(Fault, Duration),
}

/// A run: everything that the seed decides beforehand. Delays are decided during the run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed that has decided the plan.
    pub seed: u64,
    /// The initial world.
    pub initial: InitialWorld,
    /// The actions, ordered by time.
    pub actions: Vec<Action>,
    /// From this time on there are no faults.
    pub faults_end: Duration,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "plan");
        let initial = initial_world(&mut rng, seed);
        let count = 1 + rng.below(28);
        let mut actions = announced_early(&initial, seed);
        actions.extend(wider::actions(&initial, seed));
        actions.extend(wider::further_actions(&initial, seed));
        actions.extend(wider::latest_actions(&initial, seed));
        actions.extend(wider::actions_of_stas_net(seed));
        actions.extend(wider::changes_of_routes(&initial, seed));
        let mut at = rng.ms(0, 4000);
        for _ in 0..count {
            let what = what(&mut rng, &initial);
            actions.extend(during(&mut rng, at, &what));
            actions.push(Action { at, what });
            at += match rng.below(10) {
                0..=4 => rng.ms(0, 400),
                5..=8 => rng.ms(400, 8_000),
                _ => rng.ms(8_000, 45_000),
            };
        }
        let quiet = actions.iter().map(Action::end).max().unwrap_or_default();
        actions.extend(keys::actions(&initial, seed, quiet));
        actions.sort_by_key(|action| action.at);
        let faults_end = actions.iter().map(Action::end).max().unwrap_or_default() + Duration::from_secs(1);
        Self { seed, initial, actions, faults_end }
    }
}

impl Plan {
    /// The same plan, with that fault around every third action.
    #[must_use]
    pub fn leaning_to(mut self, fault: Fault) -> Self {
        let around: Vec<Duration> = self.actions.iter().step_by(3).map(|action| action.at).collect();
        for at in around {
            let what = What::Fault(fault, Duration::from_secs(4));
            self.actions.push(Action { at: at.saturating_sub(Duration::from_millis(20)), what });
        }
        self.actions.sort_by_key(|action| action.at);
        self.faults_end = self.actions.iter().map(Action::end).max().unwrap_or_default() + Duration::from_secs(1);
        self
    }
}

impl Action {
    /// When the action and its effects are over.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at + Self::lasts(&self.what)
    }

    /// How long the effects of an action last.
    pub(crate) fn lasts(what: &What) -> Duration {
        match what {
            // A read that begins at the end may hang, and so may its answer.
            What::Fault(Fault::ReadsHang, time) => *time + Duration::from_secs(165),
            What::Fault(Fault::MulticastLost, time) => *time + Duration::from_secs(40),
            What::Fault(Fault::DisconnectHangs, time) => *time + kernel::HANGING_DISCONNECT,
            What::Restarts(_, time)
            | What::Kills(_, time)
            | What::KillsAndLosesState(_, time)
            | What::Freezes(_, time)
            | What::EditsAndReverts(_, time)
            | What::ListsNothing(_, time)
            | What::DamagesEntry(_, _, _, time)
            | What::Fault(_, time) => *time,
            // The subsystems are exported one by one.
            What::Fails(_, _, time) => *time + Duration::from_secs(10),
            What::MdnsAction(action) => action.lasts(),
            What::Storm(_, _, times, apart) => *apart * u32::try_from(2 * times).unwrap_or(0),
            What::Discovers(_) => Duration::from_secs(3),
            // The daemons may notice the loss when the kernel has almost reconnected.
            What::DropsConnections(_) => kernel::RECONNECT_DELAY + Duration::from_secs(2),
            What::ChangesKeys { apart, .. } => *apart,
            _ => Duration::ZERO,
        }
    }
}

/// While a target is neither announced nor connected, stafd may be restarted.
fn during(rng: &mut Rng, at: Duration, what: &What) -> Option<Action> {
    let What::MdnsAction(MdnsAction::Fails { time, .. }) = what else { return None };
    let at = at + rng.between(Duration::ZERO, *time);
    let away = rng.ms(50, 3_000);
    match rng.below(4) {
        0 => Some(Action { at, what: What::Restarts(Daemon::Stafd, away) }),
        1 => Some(Action { at, what: What::Kills(Daemon::Stafd, away) }),
        _ => None,
    }
}

/// Discovery controllers that are announced long before they answer.
fn announced_early(initial: &InitialWorld, seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed, "early");
    let mut actions = Vec::new();
    for target in initial.announced.keys() {
        if rng.percent(20) {
            let how = [Outage::Refuses, Outage::Drops, Outage::Mute][rng.below(3)];
            actions.push(Action { at: Duration::ZERO, what: What::Fails(*target, how, rng.ms(2_000, 120_000)) });
        }
    }
    actions
}

fn initial_world(rng: &mut Rng, seed: u64) -> InitialWorld {
    let count = 1 + rng.below(4);
    let subsystems = 1 + rng.below(5);
    let targets: Vec<InitialTarget> = (0..count)
        .map(|me| {
            let any = |rng: &mut Rng, percent| (0..count).filter(|_| rng.percent(percent)).map(Target).collect();
            let refers: BTreeSet<Target> = any(rng, 25);
            InitialTarget {
                exports: (0..subsystems).filter(|_| rng.percent(60)).map(Subsystem).collect(),
                zoned: BTreeSet::new(),
                refers: refers.into_iter().filter(|other| other.0 != me).collect(),
                dctype: [Dctype::None, Dctype::None, Dctype::Ddc, Dctype::Cdc][rng.below(4)],
            }
        })
        .collect();
    let mut targets = targets;
    let exports: Vec<(Target, Subsystem)> = targets
        .iter()
        .enumerate()
        .flat_map(|(number, site)| site.exports.iter().map(move |subsystem| (Target(number), *subsystem)))
        .collect();
    for (number, site) in targets.iter_mut().enumerate() {
        site.zoned = exports.iter().filter(|(at, _)| at.0 != number && rng.percent(12)).copied().collect();
    }
    let names = (0..1 + rng.below(2)).map(|_| Target(rng.below(count))).collect::<Vec<_>>();
    let mut controllers: BTreeSet<DcEntry> = BTreeSet::new();
    for number in 0..count {
        if number == 0 || rng.percent(50) {
            controllers.insert(DcEntry::Address(Target(number), via(rng, 15)));
        }
    }
    if rng.percent(25) {
        controllers.insert(DcEntry::Name(0));
    }
    let staf = StafFile { controllers, persistent: rng.percent(85), ..StafFile::default() };
    let mut stac = StacFile {
        controllers: BTreeSet::new(),
        scope: scope(rng),
        in_use: if rng.percent(15) { InUse::Disconnect } else { InUse::Keep },
        ..StacFile::default()
    };
    for _ in 0..rng.below(3) {
        stac.controllers.insert((Target(rng.below(count)), Subsystem(rng.below(subsystems)), via(rng, 30)));
    }
    let boot = Boot::new(&mut Rng::new(seed, "boot"), count, subsystems);
    for (target, subsystem, _) in &boot.connected {
        targets[target.0].exports.insert(*subsystem);
    }
    let mut in_use: BTreeSet<Subsystem> = (0..subsystems).filter(|_| rng.percent(25)).map(Subsystem).collect();
    let system = system(&mut Rng::new(seed, "system"), subsystems);
    in_use.extend(system);
    let mut initial = InitialWorld {
        targets,
        subsystems,
        names,
        stale_addresses: Rng::new(seed, "stale addresses").percent(30),
        staf,
        stac,
        announced: BTreeMap::new(),
        boot,
        in_use,
        system,
        ctrl_loss: if rng.percent(30) { Duration::from_secs(25) } else { Duration::from_secs(600) },
        refusal_is_final: rng.percent(60),
        key: keys::initial(seed),
    };
    announce(&mut Rng::new(seed, "announced"), &mut initial);
    initial
}

/// A third of the hosts have swap on one of the subsystems. [`What::Mounts`] turns it off and on.
fn system(rng: &mut Rng, subsystems: usize) -> Option<Subsystem> {
    rng.percent(33).then(|| Subsystem(rng.below(subsystems)))
}

/// Announces some discovery controllers, most of which are not configured.
fn announce(rng: &mut Rng, initial: &mut InitialWorld) {
    initial.staf.zeroconf = rng.percent(90);
    initial.staf.persistence = mdns_actions::persistence(rng);
    if rng.percent(45) {
        return;
    }
    for target in (0..initial.targets.len()).map(Target) {
        if rng.percent(40) {
            continue;
        }
        let on = match rng.below(20) {
            0..=11 => [Iface::Eth0].into(),
            12..=15 => [Iface::Eth1].into(),
            _ => Iface::ALL.into(),
        };
        initial.announced.insert(target, on);
        let configured = rng.percent(25);
        initial.staf.controllers.retain(|dc| configured || !matches!(dc, DcEntry::Address(at, _) if *at == target));
    }
}

/// Bound to eth0, with a probability of this percentage.
fn via(rng: &mut Rng, percent: usize) -> Via {
    rng.percent(percent).then_some(Iface::Eth0)
}

pub(crate) fn scope(rng: &mut Rng) -> DisconnectScope {
    match rng.below(10) {
        0 => DisconnectScope::Nothing,
        1 | 2 => DisconnectScope::AllMatchingTrtypes,
        _ => DisconnectScope::OnlyStas,
    }
}

fn what(rng: &mut Rng, initial: &InitialWorld) -> What {
    let target = Target(rng.below(initial.targets.len()));
    let other = Target(rng.below(initial.targets.len()));
    let subsystem = Subsystem(rng.below(initial.subsystems));
    let daemon = Daemon::BOTH[rng.below(2)];
    let name = rng.below(initial.names.len());
    if !initial.announced.is_empty() && rng.percent(30) {
        return mdns_actions::action(rng, initial);
    }
    match rng.below(100) {
        0..=11 => {
            let edit = edit(rng, (target, subsystem, name));
            What::Edits(edit, rng.percent(85))
        }
        12..=16 => {
            let edit = edit(rng, (target, subsystem, name));
            let longest = if rng.percent(50) { 60 } else { 1200 };
            What::EditsAndReverts(edit, rng.ms(1, longest))
        }
        17 => What::Reloads(daemon),
        18..=21 => What::Restarts(daemon, rng.ms(50, 4_000)),
        22..=26 => {
            let away = if rng.percent(80) { rng.ms(100, 2_000) } else { rng.ms(2_000, 60_000) };
            if rng.percent(80) { What::Kills(daemon, away) } else { What::KillsAndLosesState(daemon, away) }
        }
        27..=28 => What::Freezes(daemon, rng.ms(50, 40_000)),
        29 => What::Suspends(rng.ms(1_000, 7_200_000)),
        30..=32 => What::DisconnectsByHand(rng.below(16)),
        33..=34 => What::ConnectsByHand(target, subsystem, None),
        35 => What::ConnectsDcByHand(target, None),
        36 => What::Discovers(target),
        37..=40 => What::Mounts(subsystem),
        41..=53 => What::Exports(target, subsystem),
        54..=56 => What::Storm(target, subsystem, 1 + rng.below(6), rng.ms(1, 900)),
        57..=61 => What::Zones(target, (other, subsystem)),
        62..=63 => What::ListsNothing(target, rng.ms(1, 20_000)),
        64..=67 if target != other => What::Refers(target, other),
        64..=77 => {
            let how = [Outage::Refuses, Outage::Drops, Outage::Mute, Outage::Reboots][rng.below(4)];
            let time = if rng.percent(75) { rng.ms(20, 12_000) } else { rng.ms(12_000, 60_000) };
            What::Fails(target, how, time)
        }
        78..=80 => What::DropsConnections(target),
        81 => What::MovesName(name, target),
        82 => What::RouteAdded,
        _ => {
            let time = if rng.percent(70) { rng.ms(100, 8_000) } else { rng.ms(8_000, 60_000) };
            What::Fault(fault(rng, daemon), time)
        }
    }
}

fn edit(rng: &mut Rng, (target, subsystem, name): (Target, Subsystem, usize)) -> Edit {
    match rng.below(20) {
        0..=3 => Edit::Dc(DcEntry::Address(target, via(rng, 15))),
        4 => Edit::Dc(DcEntry::Name(name)),
        5..=6 => Edit::ExcludeDc(target),
        7 => Edit::GarbleStaf,
        8..=11 => Edit::Controller(target, subsystem, via(rng, 30)),
        12..=15 => Edit::Exclude(match rng.below(3) {
            0 => (Some(target), None),
            1 => (None, Some(subsystem)),
            _ => (Some(target), Some(subsystem)),
        }),
        16 => Edit::GarbleStac,
        17..=18 => Edit::Scope(scope(rng)),
        _ => Edit::InUse(if rng.percent(50) { InUse::Disconnect } else { InUse::Keep }),
    }
}

fn fault(rng: &mut Rng, daemon: Daemon) -> Fault {
    let faults = [
        Fault::EventsLost(daemon),
        Fault::EventsLate(daemon),
        Fault::EventsDoubled(daemon),
        Fault::EventsOverrun(daemon),
        Fault::SnapshotsFail(daemon),
        Fault::SnapshotsSlow(daemon),
        Fault::ProbesUnknown,
        Fault::ProbesHang,
        Fault::ReadsFail,
        Fault::ReadsHang,
        Fault::BusFails,
        Fault::BusSlow,
        Fault::ResolverFails,
        Fault::DisconnectRefused,
        Fault::UseUnknown,
        Fault::ConnectPathSlow,
        Fault::SavesFail(daemon),
        Fault::MulticastLost,
        Fault::TablesUnreadable,
    ];
    faults[rng.below(faults.len())]
}
