//! The configuration files, as far as the simulated world writes them.

use std::collections::BTreeSet;

use libstas::conf::{ControllerEntry, DisconnectScope, Exclusion, FamilyOrder, InUse, Persistence, StacConf, StafConf};
use libstas::nvme::{Parameters, Tid, Transport};

use crate::names::{Iface, Subsystem, Target, Via};

/// A queue size that the simulated kernel refuses.
pub(crate) const REFUSED_QUEUE_SIZE: u32 = 1;

/// A `controller=` line of stafd.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DcEntry {
    /// The discovery controller of a target, by its address.
    Address(Target, Via),
    /// The discovery controller behind a host name.
    Name(usize),
}

/// The content of stafd.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StafFile {
    /// controller=
    pub controllers: BTreeSet<DcEntry>,
    /// exclude= with a target's address
    pub excluded: BTreeSet<Target>,
    /// exclude= with an interface
    pub excluded_ifaces: BTreeSet<Iface>,
    /// ip-family=ipv6: every target has an IPv4 address.
    pub other_family: bool,
    /// True for a parameter in `[Global]` that the kernel refuses.
    pub refused_parameter: bool,
    /// True for an unreadable line that may have been a controller=.
    pub garbled: bool,
    /// persistent-connections
    pub persistent: bool,
    /// zeroconf
    pub zeroconf: bool,
    /// zeroconf-connections-persistence
    pub persistence: Persistence,
}

/// An `exclude=` of stacd.conf: an address, an NQN, or both.
pub type Excluded = (Option<Target>, Option<Subsystem>);

/// The content of stacd.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StacFile {
    /// controller=: target, subsystem, and the interface that the connection is bound to.
    pub controllers: BTreeSet<(Target, Subsystem, Via)>,
    /// exclude=
    pub excluded: BTreeSet<Excluded>,
    /// exclude= with an interface
    pub excluded_ifaces: BTreeSet<Iface>,
    /// ip-family=ipv6: every target has an IPv4 address.
    pub other_family: bool,
    /// disconnect-trtypes=rdma: every connection is a TCP one.
    pub other_trtypes: bool,
    /// ignore-iface
    pub ignore_iface: bool,
    /// True for a parameter in `[Global]` that the kernel refuses.
    pub refused_parameter: bool,
    /// True for an unreadable line that may have been a controller=.
    pub garbled: bool,
    /// disconnect-scope
    pub scope: DisconnectScope,
    /// in-use
    pub in_use: InUse,
}

/// The host name with that number.
#[must_use]
pub fn host_name(number: usize) -> String {
    format!("dc{number}.example")
}

impl Default for StafFile {
    fn default() -> Self {
        Self {
            controllers: BTreeSet::new(),
            excluded: BTreeSet::new(),
            excluded_ifaces: BTreeSet::new(),
            other_family: false,
            refused_parameter: false,
            garbled: false,
            persistent: true,
            zeroconf: false,
            persistence: Persistence::Forever,
        }
    }
}

impl Default for StacFile {
    fn default() -> Self {
        Self {
            controllers: BTreeSet::new(),
            excluded: BTreeSet::new(),
            excluded_ifaces: BTreeSet::new(),
            other_family: false,
            other_trtypes: false,
            ignore_iface: false,
            refused_parameter: false,
            garbled: false,
            scope: DisconnectScope::OnlyStas,
            in_use: InUse::Keep,
        }
    }
}

impl StafFile {
    /// The settings that the daemon reads from the file.
    #[must_use]
    pub fn conf(&self) -> StafConf {
        let mut conf = StafConf {
            zeroconf: self.zeroconf,
            zeroconf_persistence: self.persistence,
            persistent_connections: self.persistent,
            ..StafConf::default()
        };
        conf.lost_line = self.garbled.then_some(1);
        conf.controllers = self
            .controllers
            .iter()
            .map(|dc| match dc {
                DcEntry::Address(target, via) => entry(target.address(), false, "8009", String::new(), *via),
                DcEntry::Name(number) => entry(host_name(*number), true, "8009", String::new(), None),
            })
            .collect();
        let exclusion = |target: &Target| Exclusion { traddr: Some(target.address()), ..Exclusion::default() };
        conf.exclusions = self.excluded.iter().map(exclusion).chain(by_iface(&self.excluded_ifaces)).collect();
        conf.ip_family = family(self.other_family);
        conf.parameters.queue_size = self.refused_parameter.then_some(REFUSED_QUEUE_SIZE);
        conf
    }

    /// True for a controller that exclude= or ip-family= of the file excludes.
    #[must_use]
    pub fn excludes(&self, dc: &Tid) -> bool {
        self.other_family
            || self.excluded.iter().any(|target| target.address() == dc.traddr)
            || Iface::of(&dc.host_iface).is_some_and(|iface| self.excluded_ifaces.contains(&iface))
    }
}

impl StacFile {
    /// The settings that the daemon reads from the file.
    #[must_use]
    pub fn conf(&self) -> StacConf {
        let mut conf = StacConf { disconnect_scope: self.scope, in_use: self.in_use, ..StacConf::default() };
        conf.lost_line = self.garbled.then_some(1);
        conf.ignore_iface = self.ignore_iface;
        conf.disconnect_trtypes = [if self.other_trtypes { Transport::Rdma } else { Transport::Tcp }].into();
        conf.controllers = self
            .controllers
            .iter()
            .map(|(target, subsystem, via)| entry(target.address(), false, "4420", subsystem.nqn(), *via))
            .collect();
        let exclusion = |(target, subsystem): &Excluded| Exclusion {
            traddr: target.map(Target::address),
            subsysnqn: subsystem.map(Subsystem::nqn),
            ..Exclusion::default()
        };
        conf.exclusions = self.excluded.iter().map(exclusion).chain(by_iface(&self.excluded_ifaces)).collect();
        conf.ip_family = family(self.other_family);
        conf.parameters.queue_size = self.refused_parameter.then_some(REFUSED_QUEUE_SIZE);
        conf
    }

    /// True for a controller that exclude= of the file excludes.
    #[must_use]
    pub fn excludes(&self, ioc: &Tid) -> bool {
        let by_name = self.excluded.iter().any(|(target, subsystem)| {
            target.is_none_or(|target| target.address() == ioc.traddr)
                && subsystem.is_none_or(|subsystem| subsystem.nqn() == ioc.subsysnqn)
        });
        by_name || Iface::of(&ioc.host_iface).is_some_and(|iface| self.excluded_ifaces.contains(&iface))
    }

    /// True for a controller that exclude= or ip-family= of the file excludes.
    #[must_use]
    pub fn bars(&self, ioc: &Tid) -> bool {
        self.other_family || self.excludes(ioc)
    }

    /// True when unwanted connections are disconnected even if another program made them.
    #[must_use]
    pub fn audits(&self) -> bool {
        self.scope == DisconnectScope::AllMatchingTrtypes && !self.other_trtypes
    }

    /// The I/O controllers that the file lists.
    pub fn listed(&self) -> impl Iterator<Item = Tid> {
        self.controllers.iter().map(|(target, subsystem, via)| target.ioc(*subsystem, self.bound(*via)))
    }

    /// The interface that connections are bound to, if a source says this one.
    #[must_use]
    pub fn bound(&self, via: Via) -> Via {
        via.filter(|_| !self.ignore_iface)
    }
}

fn by_iface(ifaces: &BTreeSet<Iface>) -> impl Iterator<Item = Exclusion> {
    ifaces.iter().map(|iface| Exclusion { host_iface: Some(iface.name().into()), ..Exclusion::default() })
}

fn family(other: bool) -> FamilyOrder {
    if other { FamilyOrder::V6 } else { FamilyOrder::Both }
}

fn entry(traddr: String, is_name: bool, trsvcid: &str, subsysnqn: String, via: Via) -> ControllerEntry {
    ControllerEntry {
        transport: Transport::Tcp,
        traddr,
        is_name,
        trsvcid: trsvcid.into(),
        subsysnqn,
        host_traddr: String::new(),
        host_iface: via.map(Iface::name).unwrap_or_default().into(),
        host_nqn: String::new(),
        parameters: Parameters::default(),
        line: 1,
    }
}
