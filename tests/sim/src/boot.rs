//! The firmware: connections from before the daemons were started, and its boot table (NBFT).

use std::collections::BTreeSet;
use std::sync::Arc;

use libstas::nvme::nbft::{BootTables, Discovery, Hfi, Nbft, Ssns};

use crate::kernel::Origin;
use crate::mutants::Bug;
use crate::names::{Daemon, Iface, Subsystem, Target, Via};
use crate::plan::Fault;
use crate::rng::Rng;
use crate::world::World;

/// The content of the boot table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The SSNS records, whose subsystems the firmware has connected.
    pub connected: BTreeSet<(Target, Subsystem, Via)>,
    /// The discovery records, with the interface of each.
    pub discovery: BTreeSet<(Target, Via)>,
}

impl Boot {
    /// A random boot table for this number of targets and subsystems.
    pub(crate) fn new(rng: &mut Rng, targets: usize, subsystems: usize) -> Self {
        let mut boot = Self::default();
        if rng.percent(70) {
            return boot;
        }
        for _ in 0..rng.below(3) {
            let place = (Target(rng.below(targets)), Subsystem(rng.below(subsystems)));
            let via = rng.percent(40).then_some(Iface::Eth0);
            if boot.lists(place.0, Some(place.1)) {
                continue;
            }
            boot.connected.insert((place.0, place.1, via));
        }
        for _ in 0..rng.below(3) {
            let via = [None, Some(Iface::Eth0), Some(Iface::Eth1)][rng.below(3)];
            boot.discovery.insert((Target(rng.below(targets)), via));
        }
        boot
    }

    /// True when an SSNS record lists that subsystem at that target.
    pub(crate) fn lists(&self, target: Target, subsystem: Option<Subsystem>) -> bool {
        self.connected.iter().any(|(at, each, _)| *at == target && Some(*each) == subsystem)
    }

    /// The table as the daemons read it.
    pub(crate) fn tables(&self) -> BootTables {
        if *self == Self::default() {
            return BootTables::default();
        }
        let hfi = |iface: &Iface| Hfi::new(number(*iface), iface.mac(), iface.address());
        let nbft = Nbft {
            hfi: Iface::ALL.iter().map(hfi).collect(),
            subsystem: (1..).zip(&self.connected).filter_map(ssns).collect(),
            discovery: (1..).zip(&self.discovery).filter_map(discovery).collect(),
            ..Nbft::default()
        };
        nbft.into()
    }
}

fn number(iface: Iface) -> u8 {
    1 + iface as u8
}

fn ssns((index, (target, subsystem, via)): (u16, &(Target, Subsystem, Via))) -> Option<Ssns> {
    let hfi = vec![number(via.unwrap_or(Iface::Eth0))];
    Some(Ssns { hfi, ..Ssns::new(index, target.address().parse().ok()?, subsystem.nqn()) })
}

fn discovery((index, (target, via)): (u8, &(Target, Via))) -> Option<Discovery> {
    Some(Discovery { hfi: via.map(number), ..Discovery::new(index, target.address().parse().ok()?) })
}

impl World {
    /// The firmware connects the subsystems that the host boots from.
    pub(crate) fn firmware_connects(&mut self) {
        for (target, subsystem, via) in self.plan.initial.boot.connected.clone() {
            self.connect_without_queue(&target.ioc(subsystem, via), 5, Origin::Firmware);
        }
    }

    /// A daemon reads the boot tables before each reading of its file. If it knows them already, all or half of them
    /// may be unreadable this time.
    pub(crate) fn boot_tables(&mut self, daemon: Daemon) -> Arc<BootTables> {
        if self.has_bug(Bug::BootIsNothingSpecial) {
            return Arc::default();
        }
        let unreadable = self.has(Fault::TablesUnreadable) && self.knows_the_tables(daemon);
        let which = self.streams.stream("tables").below(3);
        let boot = &self.plan.initial.boot;
        if unreadable {
            return match which {
                0 => Arc::default(),
                1 => Arc::new(Boot { discovery: BTreeSet::new(), ..boot.clone() }.tables()),
                _ => Arc::new(Boot { connected: BTreeSet::new(), ..boot.clone() }.tables()),
            };
        }
        Arc::new(boot.tables())
    }

    /// True when the daemon has saved everything that it has to know of the tables.
    fn knows_the_tables(&self, daemon: Daemon) -> bool {
        let boot = &self.plan.initial.boot;
        if self.has_bug(Bug::TablesForgotten) {
            return true;
        }
        match daemon {
            Daemon::Stafd => self
                .staf
                .core
                .as_ref()
                .is_some_and(|core| core.saved().boot.len() == boot.tables().discovery_controllers().len()),
            Daemon::Stacd => {
                let known = self.stac.core.as_ref().map(|core| core.saved().boot).unwrap_or_default();
                let booted = self.kernel.controllers.iter().filter(|each| boot.lists(each.target, each.subsystem));
                booted.map(|each| each.shown.tid()).all(|tid| known.iter().any(|saved| saved.ioc == tid))
            }
        }
    }
}
