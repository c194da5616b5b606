//! The TOML file: the identity of the controller, its members, its zones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;
use stas_nvme::{DISCOVERY_NQN, NQN_MAX};

use crate::world::{Identity, Type, World};
use crate::zoning::{Member, Zone, Zoning, ZoningError};

/// The content of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// The addresses to listen on. The first one is port 1.
    pub listen: Vec<SocketAddr>,
    /// The NQN of the controller.
    pub nqn: String,
    /// The type of the controller.
    #[serde(rename = "type")]
    pub dctype: Type,
    /// True if its log pages contain an entry for itself.
    pub itself: bool,
    /// True if it sends extended entries to hosts that request them.
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

/// Why a file is not usable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigurationError {
    /// It is not the expected TOML; the text says where.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A zone refers to a member that does not exist.
    #[error("{0}")]
    Zoning(#[from] ZoningError),
    /// A text that is not an NQN.
    #[error(
        "{0:?} is not an NQN: an NQN begins with nqn. and has at most {NQN_MAX} printable characters without a comma"
    )]
    Nqn(String),
}

impl Configuration {
    /// Parses the text of the file.
    ///
    /// # Errors
    /// Fails if the text has errors.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        Ok(toml::from_str(text)?)
    }

    /// The members and zones of the file.
    ///
    /// # Errors
    /// Fails if a zone refers to a member that does not exist.
    pub fn zoning(&self) -> Result<Zoning, ConfigurationError> {
        Ok(Zoning::new(self.member.clone(), self.zone.clone())?)
    }

    /// The initial state of the controller.
    ///
    /// # Errors
    /// Fails if the file has errors.
    pub fn world(&self) -> Result<World, ConfigurationError> {
        let nqn = checked_nqn(&self.nqn)?;
        let identity = Identity { nqn, dctype: self.dctype, lists_itself: self.itself, extended: self.extended };
        Ok(World::new(identity, self.zoning()?, self.generation))
    }
}

/// Checks an NQN of the controller itself. Members may have any text as NQN: hosts must tolerate that.
///
/// # Errors
/// Fails if the text is not an NQN.
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
        assert!(error("nqn = 'x'").to_string().contains("is not an NQN"));
        assert!(error("[member.m]\naddresses = ['here']").to_string().contains("is not a transport address"));
    }
}
