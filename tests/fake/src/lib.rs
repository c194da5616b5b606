//! The fake host: the kernel, the network, the clock and the peers around one core, for the tests of both daemons.
//!
//! A test takes five lines: configure, describe the surroundings, start, cause an event, check the kernel.
//!
//! ```
//! # #[cfg(feature = "finder")] {
//! use fake_host::{Finder, FakeHost, entry};
//!
//! let mut host = FakeHost::<Finder>::configured("[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1\n");
//! host.peer.pages.insert("192.0.2.1".into(), vec![entry("192.0.2.9", "nqn.a")]);
//! host.start();
//! host.wait(60);
//! assert_eq!(host.addresses(), ["192.0.2.1"]);
//! # }
//! ```
//!
//! The host answers each effect at once and successfully, unless the test says otherwise:
//!
//! | the test wants | it writes |
//! |---|---|
//! | an address, port or interface that does not answer | `host.dead.insert("192.0.2.1".into())` (`10.*` is a prefix) |
//! | a connection that fails | `host.lose("192.0.2.1")`, or `host.kernel[0].state = …` and `host.send_snapshot()` |
//! | a kernel event | `host.uevent(device, UeventKind::…)` |
//! | an answer that comes late or never | `host.hold(Op::CheckUse)`; later `host.release(Op::CheckUse)` |
//! | an answer of its own | `host.hold(…)`, `host.next_held()`, `host.feed(event)` |
//! | storage in use | `host.in_use.insert("nqn.a".into())` |
//! | a host name | `host.names.insert("dc.example".into(), vec!["192.0.2.1"])` |
//! | a connection that was made by hand | `host.add(&tid)`, or `host.add_owned(&tid, owner)` |
//! | a reload, a restart | `host.configure("…")`, or edit `host.conf` and `host.reload()`; `host.restart()` |
//! | a restart with an older state | `let saved = host.saved.clone()`, later `host.kill_with(saved)` and `host.start()` |
//! | what was done | `host.nqns()`, `host.disconnected()`, `host.logged("is kept")`, `host.count(\|effect\| …)` |
//!
//! `host.peer` is what the core reads from: the discovery controllers of stafd (`DiscoveryControllers`), the stafd
//! of stacd (`Stafd`). A core that is no daemon implements `Core` in its test.

#![allow(clippy::unwrap_used, clippy::panic)] // A test that meets the unexpected fails.

#[cfg(feature = "connector")]
mod connector;
mod entries;
#[cfg(feature = "finder")]
mod finder;
mod host;
mod network;
mod start;
mod states;
mod tids;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use libstas::conf::Complaint;
use libstas::core::daemon_core::DaemonCore;
use libstas::core::{
    CtrlRef, CtrlState, Dctype, HostEffect, HostEvent, KernelController, Level, Links, LogRecord, Machine, Time,
    Uevent, UeventKind,
};
use libstas::nvme::HostIdentity;
use libstas::nvme::nbft::BootTables;

#[cfg(feature = "connector")]
pub use connector::{Stafd, dc_page};
pub use entries::{KEY, TARGET, controller, entry, file, line, own_entry, referral, secured, tls, unencrypted};
#[cfg(feature = "finder")]
pub use finder::DiscoveryControllers;
pub use host::{mounted, other_owner};
pub use network::{announced, interface};
#[cfg(feature = "connector")]
pub use stacd::connector::Connector;
#[cfg(feature = "finder")]
pub use stafd::finder::Finder;
pub use start::Program;
pub use states::{earlier_state, lacking};
pub use tids::{HOST, RENAMED, as_host, at_port, dc, from_address, io, on_iface};

/// A kind of effect whose answers can be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// A snapshot of the kernel's controllers.
    Snapshot,
    /// A probe of a portal.
    Probe,
    /// A write to /dev/nvme-fabrics.
    Connect,
    /// A disconnect by the kernel.
    Disconnect,
    /// The check for storage in use.
    CheckUse,
    /// The resolution of a host name.
    Resolve,
    /// A change of DH-HMAC-CHAP secrets.
    RotateSecrets,
    /// stafd: the supported-log-pages page.
    ReadSupported,
    /// stafd: the discovery log page.
    ReadPage,
    /// stafd: the registration with a discovery controller.
    Register,
    /// stacd: everything that stafd publishes.
    FetchAll,
    /// stacd: one page that stafd publishes.
    FetchPage,
}

/// A core that a [`FakeHost`] can surround.
pub trait Core: Machine<Event: Debug, Effect: Clone + Debug> + Sized {
    /// The type of its configuration.
    type Conf: Clone;
    /// The peer that it reads from.
    type Peer: Default;

    /// The event for settings that were read.
    fn settings(conf: &Self::Conf, identity: Arc<HostIdentity>) -> Self::Event;

    /// Wraps an event of the host.
    fn host_event(event: HostEvent) -> Self::Event;

    /// The host's part of an effect.
    fn host_effect(effect: &Self::Effect) -> Option<&HostEffect>;

    /// The kind of an effect of the core itself; `None` if it has no answer.
    fn own_op(_effect: &Self::Effect) -> Option<Op> {
        None
    }

    /// Answers an effect of the core itself.
    fn answer(_host: &mut FakeHost<Self>, _effect: Self::Effect) -> Option<Self::Event> {
        None
    }

    /// Its state to be saved, as JSON. Empty if it saves nothing.
    fn save(&self) -> String {
        String::new()
    }
}

/// The core of a daemon: it has a configuration file and a saved state.
pub trait Daemon: Core + DaemonCore<Conf = <Self as Core>::Conf> {
    /// The core with that saved state (JSON, or empty for none).
    fn restored(saved: &str, seed: u64) -> Self;
}

/// A host around one core. It executes each effect at once; time passes only in [`FakeHost::wait`].
#[derive(Debug)]
pub struct FakeHost<C: Core> {
    /// The core under test.
    pub core: C,
    /// Its configuration; it takes effect with [`FakeHost::reload`].
    pub conf: C::Conf,
    /// This host's identity; it takes effect with [`FakeHost::reload`].
    pub identity: HostIdentity,
    /// The firmware's boot tables, on a host that has any; they take effect with [`FakeHost::reload`].
    pub tables: Option<BootTables>,
    /// The peer that the core reads from.
    pub peer: C::Peer,
    /// The present time.
    pub now: Time,
    /// The kernel's controllers.
    pub kernel: Vec<KernelController>,
    /// The state that the daemon saved last ([`HostEffect::Save`]), as JSON. Empty if it has saved nothing.
    pub saved: String,
    /// The network interfaces; unknown until [`FakeHost::set_links`].
    pub links: Option<Links>,
    /// Host names and their addresses.
    pub names: BTreeMap<String, Vec<&'static str>>,
    /// Addresses, ports and interfaces that do not answer: `192.0.2.1`, `4420`, `eth0`; `10.*` is a prefix.
    pub dead: BTreeSet<String>,
    /// If true, the test fails when a write to a dead address reaches the kernel: the probe must prevent it.
    pub probe_keeps_off: bool,
    /// Addresses of discovery controllers that refuse a keep-alive timeout.
    pub refuses_keep_alive: BTreeSet<String>,
    /// True for a kernel before 5.13: sysfs does not show the keep-alive timeout.
    pub hides_kato: bool,
    /// Subsystems whose storage is in use.
    pub in_use: BTreeSet<String>,
    /// True if the kernel refuses every disconnect.
    pub disconnect_refused: bool,
    /// True if the resolver reports a temporary error.
    pub resolver_fails: bool,
    /// True if the ownership registry cannot be written.
    pub registry_is_read_only: bool,
    /// The DCTYPE of controllers connected from now on.
    pub dctype: Dctype,
    /// The sequence number of the newest kernel event.
    pub seqnum: u64,
    /// Number of snapshots taken so far.
    pub snapshots: u64,
    /// Every effect so far, in order.
    pub effects: Vec<C::Effect>,
    /// The controllers that were disconnected, in order.
    pub gone: Vec<KernelController>,
    /// Effects whose answers are held back, in order.
    pub held: VecDeque<C::Effect>,
    holding: BTreeSet<Op>,
}

impl<C: Core> FakeHost<C> {
    /// Creates a host around a core; nothing has happened yet.
    pub fn around(core: C, conf: C::Conf) -> Self {
        Self {
            core,
            conf,
            identity: HostIdentity::new(HOST, "1"),
            tables: None,
            peer: C::Peer::default(),
            now: Time(Duration::from_secs(1000)),
            kernel: Vec::new(),
            saved: String::new(),
            links: None,
            names: BTreeMap::new(),
            dead: BTreeSet::new(),
            probe_keeps_off: false,
            refuses_keep_alive: BTreeSet::new(),
            hides_kato: false,
            in_use: BTreeSet::new(),
            disconnect_refused: false,
            resolver_fails: false,
            registry_is_read_only: false,
            dctype: Dctype::None,
            seqnum: 0,
            snapshots: 0,
            effects: Vec::new(),
            gone: Vec::new(),
            held: VecDeque::new(),
            holding: BTreeSet::new(),
        }
    }

    /// Sends the core an event, executes its effects and sends it the answers, until there are no more effects.
    pub fn feed(&mut self, event: C::Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let mut out = Vec::new();
            self.core.handle(self.now, event, &mut out);
            // Once for all requests of one event: there may be hundreds.
            if out.iter().any(|effect| C::host_effect(effect) == Some(&HostEffect::Save)) {
                self.saved = self.core.save();
            }
            for effect in out {
                self.effects.push(effect.clone());
                if self.is_held(&effect) {
                    self.held.push_back(effect);
                } else {
                    queue.extend(self.carry_out(effect));
                }
            }
        }
    }

    /// Sends the core an event of the host.
    pub fn feed_host(&mut self, event: HostEvent) {
        self.feed(C::host_event(event));
    }

    /// Lets this many seconds pass, with all deadlines in them.
    ///
    /// # Panics
    /// Panics if the core returns the same deadline endlessly.
    pub fn wait(&mut self, seconds: impl Into<f64>) {
        let end = self.now + Duration::from_secs_f64(seconds.into());
        let mut turns = 0;
        while let Some(at) = self.core.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed(C::TICK);
            turns += 1;
            assert!(turns < 100_000, "the deadline {at:?} is never met");
        }
        self.now = end;
    }

    /// Sends the configuration and the identity to the core.
    pub fn reload_settings(&mut self) {
        self.feed(C::settings(&self.conf, Arc::new(self.identity.clone())));
    }

    /// Changes the network interfaces.
    pub fn set_links(&mut self, links: Links) {
        self.links = Some(links.clone());
        self.feed_host(HostEvent::Links(Arc::new(links)));
    }

    /// Sends a kernel event.
    pub fn uevent(&mut self, device: u32, kind: UeventKind) {
        self.seqnum += 1;
        let event = Uevent { seqnum: self.seqnum, device, kind };
        self.feed_host(HostEvent::Uevent(event));
    }

    /// Holds back the answers to effects of this kind.
    pub fn hold(&mut self, op: Op) {
        self.holding.insert(op);
    }

    /// Answers the effects of this kind that are held back, oldest first. Later ones are answered at once.
    pub fn release(&mut self, op: Op) {
        self.holding.remove(&op);
        while self.answer_held(op) {}
    }

    /// Answers the oldest effect of this kind that is held back; false if there is none.
    pub fn answer_held(&mut self, op: Op) -> bool {
        let Some(effect) = self.take_held(op) else { return false };
        if let Some(event) = self.carry_out(effect) {
            self.feed(event);
        }
        true
    }

    /// Removes and returns the oldest effect of this kind that is held back: the test may answer it.
    pub fn take_held(&mut self, op: Op) -> Option<C::Effect> {
        let index = self.held.iter().position(|effect| Self::op(effect) == Some(op))?;
        self.held.remove(index)
    }

    /// Removes and returns the oldest effect of any kind that is held back.
    pub fn next_held(&mut self) -> Option<C::Effect> {
        self.held.pop_front()
    }

    fn op(effect: &C::Effect) -> Option<Op> {
        C::host_effect(effect).map_or_else(|| C::own_op(effect), host::op)
    }

    fn is_held(&self, effect: &C::Effect) -> bool {
        Self::op(effect).is_some_and(|op| self.holding.contains(&op))
    }

    /// The addresses of the kernel's controllers, sorted.
    pub fn addresses(&self) -> Vec<&str> {
        self.sorted(|kernel| kernel.traddr.as_str())
    }

    /// The subsystem NQNs of the kernel's controllers, sorted.
    pub fn nqns(&self) -> Vec<&str> {
        self.sorted(|kernel| kernel.subsysnqn.as_str())
    }

    /// The subsystem NQNs of the controllers that are connected with that host NQN, sorted.
    pub fn nqns_as(&self, host_nqn: &str) -> Vec<&str> {
        let mut nqns: Vec<_> =
            self.kernel.iter().filter(|kernel| kernel.hostnqn == host_nqn).map(|kernel| &*kernel.subsysnqn).collect();
        nqns.sort_unstable();
        nqns
    }

    /// The address and interface of each of the kernel's controllers, sorted.
    pub fn paths(&self) -> Vec<(&str, &str)> {
        self.sorted(|kernel| (kernel.traddr.as_str(), kernel.host_iface.as_str()))
    }

    /// The kernel's controllers, in the order in which they were created.
    pub fn ctrls(&self) -> Vec<CtrlRef> {
        self.kernel.iter().map(|kernel| kernel.ctrl).collect()
    }

    /// True if the kernel has that controller.
    pub fn has(&self, ctrl: CtrlRef) -> bool {
        self.kernel.iter().any(|kernel| kernel.ctrl == ctrl)
    }

    fn sorted<'a, K: Ord>(&'a self, key: impl Fn(&'a KernelController) -> K) -> Vec<K> {
        let mut keys: Vec<K> = self.kernel.iter().map(key).collect();
        keys.sort_unstable();
        keys
    }

    /// The subsystem NQNs that were disconnected, in order.
    pub fn disconnected(&self) -> Vec<&str> {
        self.gone.iter().map(|kernel| kernel.subsysnqn.as_str()).collect()
    }

    /// The number of effects so far for which `which` is true.
    pub fn count(&self, which: impl Fn(&C::Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| which(effect)).count()
    }

    /// The number of effects of this kind so far.
    pub fn count_of(&self, op: Op) -> usize {
        self.count(|effect| Self::op(effect) == Some(op))
    }

    /// The effects on the host so far.
    pub fn host_effects(&self) -> impl Iterator<Item = &HostEffect> {
        self.effects.iter().filter_map(C::host_effect)
    }

    /// All log lines so far.
    pub fn log_records(&self) -> impl Iterator<Item = &LogRecord> {
        self.host_effects()
            .filter_map(|effect| if let HostEffect::Log(record, _) = effect { Some(record) } else { None })
    }

    /// The number of log lines above debug level that contain this text.
    pub fn logged(&self, words: &str) -> usize {
        self.log_records().filter(|record| record.level > Level::Debug && record.text.contains(words)).count()
    }

    /// The target at that address stops answering, and the kernel loses its connections.
    pub fn lose(&mut self, traddr: &str) {
        self.dead.insert(traddr.into());
        for kernel in self.kernel.iter_mut().filter(|kernel| kernel.traddr == traddr) {
            kernel.state = CtrlState::Connecting;
        }
        self.send_snapshot();
    }

    /// The target at that address answers again, and the kernel has restored its connections.
    pub fn reconnect(&mut self, traddr: &str) {
        self.dead.remove(traddr);
        let mut devices = Vec::new();
        for kernel in self.kernel.iter_mut().filter(|kernel| kernel.traddr == traddr && !kernel.is_live()) {
            kernel.state = CtrlState::Live;
            devices.push(kernel.ctrl.device);
        }
        for device in devices {
            self.uevent(device, UeventKind::Connected);
        }
    }
}

impl<C: Daemon> FakeHost<C> {
    /// Creates a daemon that has never run, with that configuration file. It is not started yet.
    ///
    /// # Panics
    /// Panics if the file has errors.
    pub fn configured(text: &str) -> Self {
        let (conf, complaints) = C::parse(text.as_bytes(), "the file");
        assert!(complaints.is_empty(), "{complaints:?}");
        Self::around(C::restored("", 3), conf)
    }

    /// Starts the daemon, or makes it read its configuration, identity and boot tables again.
    pub fn start(&mut self) {
        self.reload();
        if let Some(links) = self.links.clone() {
            self.set_links(links);
        }
    }

    /// The same as [`FakeHost::start`], as the end of a chain of calls.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Makes the daemon read its configuration, identity and boot tables again.
    pub fn reload(&mut self) {
        if let Some(tables) = self.tables.clone() {
            self.feed(C::boot_tables(Arc::new(tables)));
        }
        self.reload_settings();
    }

    /// Writes the configuration file, which takes effect when it is read. Returns the complaints.
    pub fn write(&mut self, text: &str) -> Vec<Complaint> {
        let (conf, complaints) = C::parse(text.as_bytes(), "the file");
        self.conf = conf;
        complaints
    }

    /// Writes the configuration file and reloads.
    ///
    /// # Panics
    /// Panics if the file has errors.
    pub fn configure(&mut self, text: &str) {
        let complaints = self.write(text);
        assert!(complaints.is_empty(), "{complaints:?}");
        self.reload();
    }

    /// Writes a configuration file that may have errors, and reloads. Returns the complaints.
    pub fn try_to_configure(&mut self, text: &str) -> Vec<Complaint> {
        let complaints = self.write(text);
        self.reload();
        complaints
    }

    /// Kills the daemon. The next one has the state that it saved last, which may be older than what it knew.
    pub fn kill(&mut self) {
        self.kill_with(self.saved.clone());
    }

    /// Kills the daemon, with this as its last saved state.
    pub fn kill_with(&mut self, saved: String) {
        self.core = C::restored(&saved, 4);
        self.saved = saved;
        self.held.clear();
    }

    /// Kills the daemon, and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }
}
