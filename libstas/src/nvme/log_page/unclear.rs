//! What an entry may mean of which no controller can be made.
//!
//! A discovery controller that has broken one field of an entry still exports the subsystem. So what such an entry may
//! mean counts as listed.

use serde::{Deserialize, Serialize};

use super::entry::{self, Entry, Field, Flaw};
use crate::nvme::{DISCOVERY_NQN, Tid, tid};

/// An entry of which no controller can be made, as far as it can be read. Empty texts are what cannot be read, or says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unclear {
    /// The NQN. With bytes behind a NUL: the NQN before it.
    pub subnqn: String,
    /// The transport address, where the NQN does not tell which controller is meant.
    pub traddr: String,
    /// The port, likewise.
    pub trsvcid: String,
    /// True when a field is damaged: the entry may be the new form of any other entry. False when it says clearly that
    /// there is no way to the controller now (no address, a transport that this host does not have).
    pub is_damaged: bool,
}

impl Unclear {
    /// What is left of an entry whose bytes cannot be read as one.
    #[must_use]
    pub(super) fn of_bytes(bytes: &[u8], flaw: &Flaw) -> Self {
        let [trsvcid, subnqn, traddr] = entry::text_fields(bytes);
        Self::of_fields(subnqn, traddr, trsvcid, flaw)
    }

    /// What is left of an entry that is readable and names no controller.
    #[must_use]
    pub fn of_entry(entry: &Entry, flaw: &Flaw) -> Self {
        Self::of_fields(entry.subnqn.as_bytes(), entry.traddr.as_bytes(), entry.trsvcid.as_bytes(), flaw)
    }

    /// What is left of the text fields of an entry.
    #[must_use]
    pub fn of_fields(subnqn: &[u8], traddr: &[u8], trsvcid: &[u8], flaw: &Flaw) -> Self {
        let text = |field, bytes| entry::text(field, bytes);
        let (nqn, is_sound) = match text(Field::Subnqn, subnqn) {
            Ok(nqn) => (nqn, true),
            Err(Flaw::Nul { before }) => (before, false),
            Err(_) => (String::new(), false),
        };
        // The well-known NQN names no certain discovery controller.
        let says_which = !nqn.is_empty() && nqn != DISCOVERY_NQN;
        let otherwise = |field, bytes| match says_which && is_sound {
            true => String::new(),
            false => text(field, bytes).unwrap_or_default(),
        };
        Self {
            traddr: otherwise(Field::Traddr, traddr),
            trsvcid: otherwise(Field::Trsvcid, trsvcid),
            subnqn: if says_which { nqn } else { String::new() },
            is_damaged: flaw.is_damage() || !is_sound,
        }
    }

    /// True when the entry may mean that controller: by its NQN; where the NQN does not tell, by its address.
    #[must_use]
    pub fn may_mean(&self, tid: &Tid) -> bool {
        self.has_nqn_of(tid) || self.is_at(tid)
    }

    /// True when the entry has the NQN of that controller.
    #[must_use]
    pub fn has_nqn_of(&self, tid: &Tid) -> bool {
        !self.subnqn.is_empty() && self.subnqn == tid.subsysnqn
    }

    /// True when the NQN of the entry does not tell which controller it means, and its address is that of the controller.
    #[must_use]
    pub fn is_at(&self, tid: &Tid) -> bool {
        if self.traddr.is_empty() {
            return false;
        }
        let same_address = match (tid::parse_ip(&self.traddr), tid::parse_ip(&tid.traddr)) {
            // Its scope is an interface of the target.
            (Some((one, _)), Some((other, _))) => one == other,
            (None, None) => tid::canonical_address(tid.transport(), &self.traddr, "").eq_ignore_ascii_case(&tid.traddr),
            _ => false,
        };
        let port = tid::parse_port(&self.trsvcid).map(|port| port.to_string());
        let same_port = port.is_none_or(|port| tid.trsvcid.is_empty() || port == tid.trsvcid);
        same_address && same_port
    }
}
