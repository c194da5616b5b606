//! What the firmware left: connections that were there before the daemons, and its boot table (NBFT).

use std::collections::BTreeSet;
use std::sync::Arc;

use libstas::nvme::Transport;
use libstas::nvme::nbft::{Availability, BootTable, BootTables, Discovery, Hfi, Mac, Nbft, Ssns};

use crate::dice::Dice;
use crate::kernel::Maker;
use crate::names::{Iface, Subsystem, Target, Via};
use crate::sabotage::Bug;
use crate::world::World;

/// What the boot table says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The SSNS records: the firmware has connected those.
    pub connected: BTreeSet<(Target, Subsystem, Via)>,
    /// The discovery records, with the interface that each names.
    pub discovery: BTreeSet<(Target, Via)>,
}

impl Boot {
    /// What a seed makes of so many targets and subsystems.
    pub(crate) fn new(dice: &mut Dice, targets: usize, subsystems: usize) -> Self {
        let mut boot = Self::default();
        if dice.percent(70) {
            return boot;
        }
        for _ in 0..dice.below(3) {
            let place = (Target(dice.below(targets)), Subsystem(dice.below(subsystems)));
            let via = dice.percent(40).then_some(Iface::Eth0);
            if boot.names(place.0, Some(place.1)) {
                continue;
            }
            boot.connected.insert((place.0, place.1, via));
        }
        for _ in 0..dice.below(3) {
            let via = [None, Some(Iface::Eth0), Some(Iface::Eth1)][dice.below(3)];
            boot.discovery.insert((Target(dice.below(targets)), via));
        }
        boot
    }

    /// True when an SSNS record names that.
    pub(crate) fn names(&self, target: Target, subsystem: Option<Subsystem>) -> bool {
        self.connected.iter().any(|(at, each, _)| *at == target && Some(*each) == subsystem)
    }

    /// The table as the daemons read it.
    pub(crate) fn tables(&self) -> BootTables {
        if *self == Self::default() {
            return BootTables::default();
        }
        let hfi = |iface: &Iface| Hfi {
            index: number(*iface),
            transport: Transport::Tcp,
            pci_sbdf: 0,
            mac: Some(Mac(iface.mac())),
            vlan: None,
            ip: Some(iface.address()),
            prefix: 24,
            ip_origin: 0,
            gateway: None,
            default_route: false,
            route_metric: 0,
            dns: Vec::new(),
            dhcp: false,
            dhcp_server: None,
            host_name: None,
        };
        let nbft = Nbft {
            hfi: Iface::ALL.iter().map(hfi).collect(),
            subsystem: (1..).zip(&self.connected).filter_map(ssns).collect(),
            discovery: (1..).zip(&self.discovery).filter_map(discovery).collect(),
            ..Nbft::default()
        };
        BootTables(vec![BootTable { name: "NBFT".into(), nbft }])
    }
}

fn number(iface: Iface) -> u8 {
    1 + iface as u8
}

fn ssns((index, (target, subsystem, via)): (u16, &(Target, Subsystem, Via))) -> Option<Ssns> {
    Some(Ssns {
        index,
        transport: Transport::Tcp,
        traddr: target.address().parse().ok()?,
        trsvcid: "4420".into(),
        nqn: subsystem.nqn(),
        port_id: 0,
        nsid: 1,
        nid: None,
        hfi: vec![number(via.unwrap_or(Iface::Eth0))],
        discovery: None,
        security: None,
        non_bootable: false,
        dhcp_root_path: false,
        separate_discovery: false,
        discovered: false,
        availability: Availability::Available,
        header_digest: false,
        data_digest: false,
        extended: None,
    })
}

fn discovery((index, (target, via)): (u8, &(Target, Via))) -> Option<Discovery> {
    Some(Discovery {
        index,
        uri: format!("nvme+tcp://{}:8009/", target.address()),
        transport: Transport::Tcp,
        traddr: target.address().parse().ok()?,
        trsvcid: "8009".into(),
        nqn: None,
        hfi: via.map(number),
        security: None,
    })
}

impl World {
    /// The firmware connects what it boots from.
    pub(crate) fn boots(&mut self) {
        for (target, subsystem, via) in self.plan.land.boot.connected.clone() {
            self.connect_beside(&target.ioc(subsystem, via), 5, Maker::Firmware);
        }
    }

    /// A daemon reads the boot tables, as it does before each reading of its file.
    pub(crate) fn boot_tables(&self) -> Arc<BootTables> {
        match self.has_bug(Bug::BootIsNothingSpecial) {
            true => Arc::default(),
            false => Arc::new(self.plan.land.boot.tables()),
        }
    }
}
