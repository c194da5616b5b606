//! All tables of a host, and what the daemons want to know of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Mac, Nbft, Ssns};
use crate::nvme::{Tid, Transport, tid};

/// A table and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTable {
    /// The name of its file: `NBFT`.
    pub name: String,
    /// What it says.
    pub nbft: Nbft,
}

/// All tables of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTables(pub Vec<BootTable>);

/// How an interface of the table is found among those of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootInterface {
    /// Its hardware address; a VLAN, a bridge or a bond on it has the same.
    pub mac: Mac,
    /// The address that the firmware gave it.
    pub ip: Option<IpAddr>,
}

/// A discovery controller of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootController {
    /// Which record: `NBFT, discovery 1`.
    pub record: String,
    /// Transport.
    pub transport: Transport,
    /// Address.
    pub traddr: IpAddr,
    /// Port.
    pub trsvcid: String,
    /// Its NQN; `None` is the well-known one.
    pub nqn: Option<String>,
    /// As whom: the host NQN that an administrator gave the firmware; `None` is the host's own.
    pub host_nqn: Option<String>,
    /// From where; `None`: the routes decide.
    pub interface: Option<BootInterface>,
}

impl BootTables {
    /// The discovery controllers of all tables.
    #[must_use]
    pub fn discovery_controllers(&self) -> Vec<BootController> {
        let controllers = self.0.iter().flat_map(|BootTable { name, nbft }| {
            nbft.discovery.iter().map(move |each| BootController {
                record: format!("{name}, discovery {}", each.index),
                transport: each.transport,
                traddr: each.traddr,
                trsvcid: each.trsvcid.clone(),
                nqn: each.nqn.clone(),
                host_nqn: nbft.boot_nqn().map(str::to_owned),
                interface: each.hfi.and_then(|index| nbft.interface(index)),
            })
        });
        controllers.collect()
    }

    /// The record of the subsystem that this I/O controller leads to: the firmware told of it, so this host may have
    /// booted from it. `NBFT, SSNS 1`.
    #[must_use]
    pub fn record_of(&self, ioc: &Tid) -> Option<String> {
        self.0.iter().find_map(|BootTable { name, nbft }| {
            let same_host = nbft.boot_nqn().is_none_or(|nqn| ioc.host_nqn.is_empty() || nqn == ioc.host_nqn);
            let found = nbft.subsystem.iter().filter(|_| same_host).find(|each| each.is(ioc))?;
            Some(format!("{name}, SSNS {}", found.index))
        })
    }

    /// Host IDs that go with host NQNs of the tables. The kernel takes but one ID with an NQN, and the initramfs has
    /// used this one.
    #[must_use]
    pub fn host_ids(&self) -> BTreeMap<String, Uuid> {
        let hosts = self.0.iter().filter_map(|table| table.nbft.host.as_ref());
        // The first table's word counts.
        hosts.rev().filter_map(|host| Some((host.nqn.clone()?, host.id?))).collect()
    }
}

impl Nbft {
    /// The host NQN that an administrator gave the firmware. Its own default is nothing that a target was told.
    fn boot_nqn(&self) -> Option<&str> {
        self.host.as_ref().filter(|host| host.nqn_configured)?.nqn.as_deref()
    }

    fn interface(&self, index: u8) -> Option<BootInterface> {
        let hfi = self.hfi.iter().find(|hfi| hfi.index == index)?;
        Some(BootInterface { mac: hfi.mac?, ip: hfi.ip })
    }
}

impl Ssns {
    /// True when that I/O controller leads to this subsystem in the way of this record.
    fn is(&self, ioc: &Tid) -> bool {
        ioc.transport() == self.transport
            && ioc.trsvcid == self.trsvcid
            && ioc.subsysnqn == self.nqn
            && tid::parse_ip(&ioc.traddr).is_some_and(|(ip, _)| ip == self.traddr)
    }
}
