//! Fabric zoning: members (subsystems, referrals, discovery controllers), hosts, and zones that bring them together. A
//! host sees the members of every zone that it is in.
//!
//! A change tells whose view it changed: these hosts get the next generation of the page, and an event; nobody else
//! does.

mod member;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use libstas::nvme::log_page::Entry;
use serde::{Deserialize, Serialize};

pub use member::{Address, AddressError, Kind, Member};

/// The host that stands for all hosts.
pub const EVERY_HOST: &str = "*";

/// Hosts, and the members that they see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// NQNs of hosts; `*` is every host.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
    /// Names of members.
    #[serde(default)]
    pub members: BTreeSet<String>,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoningError {
    /// No member has this name.
    #[error("there is no member {name}; there are: {known}")]
    NoMember {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No zone has this name.
    #[error("there is no zone {name}; there are: {known}")]
    NoZone {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A zone does not have what is to be taken from it.
    #[error("zone {zone} has no {what}")]
    NotInZone {
        /// The zone.
        zone: String,
        /// The host or member.
        what: String,
    },
    /// A member that is there already.
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
    /// All of it at once.
    ///
    /// # Errors
    /// When a zone names a member that is not there.
    pub fn new(members: BTreeMap<String, Member>, zones: BTreeMap<String, Zone>) -> Result<Self, ZoningError> {
        let zoning = Self { members, zones };
        for name in zoning.zones.values().flat_map(|zone| &zone.members) {
            zoning.must_have(name)?;
        }
        Ok(zoning)
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// The zones.
    #[must_use]
    pub fn zones(&self) -> &BTreeMap<String, Zone> {
        &self.zones
    }

    /// The members that a host sees, in the order of their names.
    pub fn seen_by(&self, host: &str) -> impl Iterator<Item = &Member> {
        let zones = self.zones.values().filter(|zone| zone.hosts.contains(EVERY_HOST) || zone.hosts.contains(host));
        let names: BTreeSet<&String> = zones.flat_map(|zone| &zone.members).collect();
        names.into_iter().filter_map(|name| self.members.get(name))
    }

    /// The entries of the log page that a host reads.
    #[must_use]
    pub fn entries(&self, host: &str) -> Vec<Entry> {
        self.seen_by(host).flat_map(Member::entries).collect()
    }

    /// Describes a member.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn add_member(&mut self, name: &str, member: Member) -> Result<(), ZoningError> {
        if self.members.contains_key(name) {
            return Err(ZoningError::Taken(name.to_owned()));
        }
        self.members.insert(name.to_owned(), member);
        Ok(())
    }

    /// Forgets a member, in its zones too.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove_member(&mut self, name: &str) -> Result<(), ZoningError> {
        self.must_have(name)?;
        self.members.remove(name);
        for zone in self.zones.values_mut() {
            zone.members.remove(name);
        }
        Ok(())
    }

    /// A member, to be changed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn member_mut(&mut self, name: &str) -> Result<&mut Member, ZoningError> {
        let known = names(&self.members);
        self.members.get_mut(name).ok_or_else(|| ZoningError::NoMember { name: name.to_owned(), known })
    }

    /// Adds hosts and members to a zone, and makes it if it is not there.
    ///
    /// # Errors
    /// When a member is not there.
    pub fn add_to_zone(&mut self, zone: &str, hosts: &[String], members: &[String]) -> Result<(), ZoningError> {
        members.iter().try_for_each(|name| self.must_have(name))?;
        let zone = self.zones.entry(zone.to_owned()).or_default();
        zone.hosts.extend(hosts.iter().cloned());
        zone.members.extend(members.iter().cloned());
        Ok(())
    }

    /// Takes hosts and members from a zone; without any, the zone as a whole.
    ///
    /// # Errors
    /// When the zone is not there, or does not have one of them. Nothing is changed then.
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
