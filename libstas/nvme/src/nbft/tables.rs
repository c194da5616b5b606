//! All tables of a host, and the queries of the daemons.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Demand, Mac, Nbft, Ssns};
use crate::{Tid, Transport, tid};

/// A table and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTable {
    /// File name of the table, for example `NBFT`.
    pub name: String,
    /// The decoded table.
    pub nbft: Nbft,
}

/// All tables of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTables(pub Vec<BootTable>);

/// Identifies an interface of a table among the interfaces of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootInterface {
    /// Hardware address. A VLAN, a bridge or a bond on the interface has the same one.
    pub mac: Mac,
    /// IP address that the firmware assigned.
    pub ip: Option<IpAddr>,
}

/// A discovery controller of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootController {
    /// Record of the table: `NBFT, discovery 1`.
    pub record: String,
    /// Transport of the connection, from the record's URI.
    pub transport: Transport,
    /// IP address of the discovery controller.
    pub traddr: IpAddr,
    /// Port of the discovery controller, in canonical form.
    pub trsvcid: String,
    /// NQN of the discovery controller. `None`: the well-known NQN.
    pub nqn: Option<String>,
    /// Host NQN of the connection, set by an administrator in the firmware. `None`: the host's own NQN.
    pub host_nqn: Option<String>,
    /// Interface of the connection. `None`: the host's routes decide.
    pub interface: Option<BootInterface>,
    /// True if its security profile requires a secure channel.
    #[serde(default)]
    pub requires_secure_channel: bool,
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
                requires_secure_channel: each.security.is_some_and(|index| nbft.requires_secure_channel(index)),
            })
        });
        controllers.collect()
    }

    /// The record of the subsystem to which this I/O controller leads, for example `NBFT, SSNS 1`. This host may have
    /// booted from it.
    #[must_use]
    pub fn record_of(&self, ioc: &Tid) -> Option<String> {
        self.0.iter().find_map(|BootTable { name, nbft }| {
            let same_host = nbft.boot_nqn().is_none_or(|nqn| ioc.host_nqn.is_empty() || nqn == ioc.host_nqn);
            let found = nbft.subsystem.iter().filter(|_| same_host).find(|each| each.is(ioc))?;
            Some(format!("{name}, SSNS {}", found.index))
        })
    }

    /// Host IDs of the tables, by host NQN. The kernel accepts only one host ID for each host NQN, and the initramfs
    /// has used this one.
    #[must_use]
    pub fn host_ids(&self) -> BTreeMap<String, Uuid> {
        let hosts = self.0.iter().filter_map(|table| table.nbft.host.as_ref());
        // The first table takes precedence.
        hosts.rev().filter_map(|host| Some((host.nqn.clone()?, host.id?))).collect()
    }
}

impl Nbft {
    /// The host NQN, if an administrator set it. No target knows the firmware's default NQN.
    fn boot_nqn(&self) -> Option<&str> {
        self.host.as_ref().filter(|host| host.nqn_configured)?.nqn.as_deref()
    }

    /// True if this security profile requires a secure channel, or demands something of it that is not known.
    fn requires_secure_channel(&self, index: u8) -> bool {
        let profile = self.security.iter().find(|profile| profile.index == index);
        profile.is_some_and(|profile| !matches!(profile.secure_channel, Demand::NotSupported | Demand::Supported))
    }

    fn interface(&self, index: u8) -> Option<BootInterface> {
        let hfi = self.hfi.iter().find(|hfi| hfi.index == index)?;
        Some(BootInterface { mac: hfi.mac?, ip: hfi.ip })
    }
}

impl Ssns {
    /// True if the I/O controller leads to this subsystem over the same transport, address and port.
    fn is(&self, ioc: &Tid) -> bool {
        ioc.transport() == self.transport
            && ioc.trsvcid == self.trsvcid
            && ioc.subsysnqn == self.nqn
            && tid::parse_ip(&ioc.traddr).is_some_and(|(ip, _)| ip == self.traddr)
    }
}
