//! The TOML file: who the controller is, its members, its zones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use libstas::nvme::{DISCOVERY_NQN, NQN_MAX};
use serde::Deserialize;

use crate::world::{Identity, Type, World};
use crate::zoning::{Member, Zone, Zoning, ZoningError};

/// What the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// Where it listens. The first one is port 1.
    pub listen: Vec<SocketAddr>,
    /// Its NQN.
    pub nqn: String,
    /// Its type.
    #[serde(rename = "type")]
    pub dctype: Type,
    /// Its pages have an entry for itself.
    pub itself: bool,
    /// It has extended entries, for hosts that ask for them.
    pub extended: bool,
    /// The generation counter at the start.
    pub generation: u64,
    /// The members, by name.
    pub member: BTreeMap<String, Member>,
    /// The zones, by name.
    pub zone: BTreeMap<String, Zone>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            nqn: DISCOVERY_NQN.to_owned(),
            dctype: Type::Cdc,
            itself: true,
            extended: true,
            generation: 1,
            member: BTreeMap::new(),
            zone: BTreeMap::new(),
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigurationError {
    /// It is not the TOML that is expected; the text says where.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A zone names what is not there.
    #[error("{0}")]
    Zoning(#[from] ZoningError),
    /// An NQN that is none.
    #[error("{0:?} is no NQN: it begins with nqn. and has at most {NQN_MAX} printable characters, no comma among them")]
    Nqn(String),
}

impl Configuration {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        Ok(toml::from_str(text)?)
    }

    /// Members and zones.
    ///
    /// # Errors
    /// When a zone names a member that is not there.
    pub fn zoning(&self) -> Result<Zoning, ConfigurationError> {
        Ok(Zoning::new(self.member.clone(), self.zone.clone())?)
    }

    /// The controller as it starts.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn world(&self) -> Result<World, ConfigurationError> {
        let nqn = checked_nqn(&self.nqn)?;
        let identity = Identity { nqn, dctype: self.dctype, lists_itself: self.itself, extended: self.extended };
        Ok(World::new(identity, self.zoning()?, self.generation))
    }
}

/// An NQN for the controller itself. Members may have any: hosts must bear with that.
///
/// # Errors
/// When it is none.
pub fn checked_nqn(nqn: &str) -> Result<String, ConfigurationError> {
    let is_nqn = nqn.starts_with("nqn.")
        && nqn.len() <= NQN_MAX
        && nqn.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if is_nqn { Ok(nqn.to_owned()) } else { Err(ConfigurationError::Nqn(nqn.to_owned())) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_makes_a_world() {
        let world = Configuration::parse(include_str!("../cdcsim.conf")).unwrap().world().unwrap();
        assert!(!world.zoning().members().is_empty() && !world.zoning().zones().is_empty());
    }

    #[test]
    fn a_file_that_says_nothing_is_a_controller_without_members() {
        let world = Configuration::parse("").unwrap().world().unwrap();
        assert_eq!((&world.identity, world.zoning().members().len()), (&Identity::default(), 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| Configuration::parse(text).and_then(|it| it.world()).map(|_| ()).unwrap_err();
        assert!(error("typ = 'cdc'").to_string().contains("unknown field `typ`"));
        let text = error("[zone.z]\nmembers = ['nobody']").to_string();
        assert_eq!(text, "there is no member nobody; there are: none");
        assert!(error("nqn = 'x'").to_string().contains("no NQN"));
        assert!(error("[member.m]\naddresses = ['here']").to_string().contains("no transport address"));
    }
}
