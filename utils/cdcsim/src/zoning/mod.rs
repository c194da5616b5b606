//! Fabric zoning: members (subsystems, referrals, discovery controllers), hosts, and zones that connect them. A host
//! sees the members of every zone that contains it.
//!
//! A change returns the hosts whose view it has changed. Only these hosts get the next generation of the page, and an
//! event.

mod member;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stas_nvme::log_page::Entry;

pub use member::{Address, AddressError, Kind, Member};

/// Stands for all hosts in a zone.
pub const EVERY_HOST: &str = "*";

/// A zone: hosts, and the members that they see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The NQNs of hosts; `*` is every host.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
    /// The names of members.
    #[serde(default)]
    pub members: BTreeSet<String>,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoningError {
    /// No member has this name.
    #[error("there is no member {name}; there are: {known}")]
    NoMember {
        /// The requested name.
        name: String,
        /// The existing names.
        known: String,
    },
    /// No zone has this name.
    #[error("there is no zone {name}; there are: {known}")]
    NoZone {
        /// The requested name.
        name: String,
        /// The existing names.
        known: String,
    },
    /// The zone does not contain the host or member to be removed.
    #[error("zone {zone} has no {what}")]
    NotInZone {
        /// The name of the zone.
        zone: String,
        /// The host or member.
        what: String,
    },
    /// A member with this name exists already.
    #[error("there is a member {0} already; remove it first")]
    Taken(String),
}

/// Members and zones, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zoning {
    members: BTreeMap<String, Member>,
    zones: BTreeMap<String, Zone>,
}

impl Zoning {
    /// Creates members and zones.
    ///
    /// # Errors
    /// Fails if a zone refers to a member that does not exist.
    pub fn new(members: BTreeMap<String, Member>, zones: BTreeMap<String, Zone>) -> Result<Self, ZoningError> {
        let zoning = Self { members, zones };
        for name in zoning.zones.values().flat_map(|zone| &zone.members) {
            zoning.must_have(name)?;
        }
        Ok(zoning)
    }

    /// The members, by name.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// The zones, by name.
    #[must_use]
    pub fn zones(&self) -> &BTreeMap<String, Zone> {
        &self.zones
    }

    /// The members that a host sees, ordered by name.
    pub fn seen_by(&self, host: &str) -> impl Iterator<Item = &Member> {
        let zones = self.zones.values().filter(|zone| zone.hosts.contains(EVERY_HOST) || zone.hosts.contains(host));
        let names: BTreeSet<&String> = zones.flat_map(|zone| &zone.members).collect();
        names.into_iter().filter_map(|name| self.members.get(name))
    }

    /// The entries of a host's log page.
    #[must_use]
    pub fn entries(&self, host: &str) -> Vec<Entry> {
        self.seen_by(host).flat_map(Member::entries).collect()
    }

    /// Adds a member.
    ///
    /// # Errors
    /// Fails if the name exists already.
    pub fn add_member(&mut self, name: &str, member: Member) -> Result<(), ZoningError> {
        if self.members.contains_key(name) {
            return Err(ZoningError::Taken(name.to_owned()));
        }
        self.members.insert(name.to_owned(), member);
        Ok(())
    }

    /// Removes a member, also from its zones.
    ///
    /// # Errors
    /// Fails if the name does not exist.
    pub fn remove_member(&mut self, name: &str) -> Result<(), ZoningError> {
        self.must_have(name)?;
        self.members.remove(name);
        for zone in self.zones.values_mut() {
            zone.members.remove(name);
        }
        Ok(())
    }

    /// Returns a member to be changed.
    ///
    /// # Errors
    /// Fails if the name does not exist.
    pub fn member_mut(&mut self, name: &str) -> Result<&mut Member, ZoningError> {
        let known = names(&self.members);
        self.members.get_mut(name).ok_or_else(|| ZoningError::NoMember { name: name.to_owned(), known })
    }

    /// Adds hosts and members to a zone, which is created if it does not exist.
    ///
    /// # Errors
    /// Fails if a member does not exist.
    pub fn add_to_zone(&mut self, zone: &str, hosts: &[String], members: &[String]) -> Result<(), ZoningError> {
        members.iter().try_for_each(|name| self.must_have(name))?;
        let zone = self.zones.entry(zone.to_owned()).or_default();
        zone.hosts.extend(hosts.iter().cloned());
        zone.members.extend(members.iter().cloned());
        Ok(())
    }

    /// Removes hosts and members from a zone; without any, removes the zone.
    ///
    /// # Errors
    /// Fails if the zone does not exist, or does not contain one of them. Then nothing is changed.
    pub fn take_from_zone(&mut self, name: &str, hosts: &[String], members: &[String]) -> Result<(), ZoningError> {
        let known = names(&self.zones);
        let no_zone = || ZoningError::NoZone { name: name.to_owned(), known };
        let zone = self.zones.get_mut(name).ok_or_else(no_zone)?;
        let missing = hosts.iter().find(|host| !zone.hosts.contains(*host));
        if let Some(what) = missing.or_else(|| members.iter().find(|member| !zone.members.contains(*member))) {
            return Err(ZoningError::NotInZone { zone: name.to_owned(), what: what.clone() });
        }
        if hosts.is_empty() && members.is_empty() {
            self.zones.remove(name);
        } else {
            zone.hosts.retain(|host| !hosts.contains(host));
            zone.members.retain(|member| !members.contains(member));
        }
        Ok(())
    }

    fn must_have(&self, name: &str) -> Result<(), ZoningError> {
        let known = || ZoningError::NoMember { name: name.to_owned(), known: names(&self.members) };
        if self.members.contains_key(name) { Ok(()) } else { Err(known()) }
    }
}

fn names<T>(map: &BTreeMap<String, T>) -> String {
    if map.is_empty() { "none".to_owned() } else { map.keys().cloned().collect::<Vec<_>>().join(", ") }
}
