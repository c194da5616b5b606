//! The administrator's files, as far as the simulated world writes them.

use std::collections::BTreeSet;

use libstas::conf::{ControllerEntry, DisconnectScope, Exclusion, InUse, Persistence, StacConf, StafConf};
use libstas::nvme::{Parameters, Tid, Transport};

use crate::names::{Iface, Subsystem, Target, Via};

/// What `controller=` of stafd.conf names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Portal {
    /// The discovery controller of a target, by its address.
    Address(Target, Via),
    /// The discovery controller behind a host name.
    Name(usize),
}

/// stafd.conf
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StafFile {
    /// controller=
    pub controllers: BTreeSet<Portal>,
    /// exclude= with a target's address
    pub excluded: BTreeSet<Target>,
    /// A line that may have been a controller= cannot be read.
    pub garbled: bool,
    /// persistent-connections
    pub persistent: bool,
    /// zeroconf
    pub zeroconf: bool,
    /// zeroconf-connections-persistence
    pub persistence: Persistence,
}

/// What `exclude=` of stacd.conf names: an address, an NQN, or both.
pub type Excluded = (Option<Target>, Option<Subsystem>);

/// stacd.conf
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StacFile {
    /// controller=: which subsystem at which target, by which way.
    pub controllers: BTreeSet<(Target, Subsystem, Via)>,
    /// exclude=
    pub excluded: BTreeSet<Excluded>,
    /// A line that may have been a controller= cannot be read.
    pub garbled: bool,
    /// disconnect-scope
    pub scope: DisconnectScope,
    /// in-use
    pub in_use: InUse,
}

/// The host name of that number.
#[must_use]
pub fn host_name(number: usize) -> String {
    format!("dc{number}.example")
}

impl StafFile {
    /// What the daemon makes of it.
    #[must_use]
    pub fn conf(&self) -> StafConf {
        let mut conf = StafConf {
            zeroconf: self.zeroconf,
            zeroconf_persistence: self.persistence,
            persistent_connections: self.persistent,
            ..StafConf::default()
        };
        conf.controller_lost = self.garbled;
        conf.controllers = self
            .controllers
            .iter()
            .map(|portal| match portal {
                Portal::Address(target, via) => entry(target.address(), false, "8009", String::new(), *via),
                Portal::Name(number) => entry(host_name(*number), true, "8009", String::new(), None),
            })
            .collect();
        let exclusion = |target: &Target| Exclusion { traddr: Some(target.address()), ..Exclusion::default() };
        conf.exclusions = self.excluded.iter().map(exclusion).collect();
        conf
    }

    /// True for what it excludes.
    #[must_use]
    pub fn excludes(&self, dc: &Tid) -> bool {
        self.excluded.iter().any(|target| target.address() == dc.traddr)
    }
}

impl StacFile {
    /// What the daemon makes of it.
    #[must_use]
    pub fn conf(&self) -> StacConf {
        let mut conf = StacConf { disconnect_scope: self.scope, in_use: self.in_use, ..StacConf::default() };
        conf.controller_lost = self.garbled;
        conf.disconnect_trtypes = [Transport::Tcp].into();
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
        conf.exclusions = self.excluded.iter().map(exclusion).collect();
        conf
    }

    /// True for what it excludes.
    #[must_use]
    pub fn excludes(&self, ioc: &Tid) -> bool {
        self.excluded.iter().any(|(target, subsystem)| {
            target.is_none_or(|target| target.address() == ioc.traddr)
                && subsystem.is_none_or(|subsystem| subsystem.nqn() == ioc.subsysnqn)
        })
    }

    /// True for a subsystem that it excludes there.
    #[must_use]
    pub fn bars(&self, target: Target, subsystem: Subsystem) -> bool {
        self.excluded
            .iter()
            .any(|(at, each)| at.is_none_or(|at| at == target) && each.is_none_or(|each| each == subsystem))
    }

    /// The I/O controllers that it names.
    pub fn named(&self) -> impl Iterator<Item = Tid> {
        self.controllers.iter().map(|(target, subsystem, via)| target.ioc(*subsystem, *via))
    }
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
