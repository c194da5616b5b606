//! Entries from which no controller can be made, and the controllers that they may mean.
//!
//! A discovery controller that has damaged one field of an entry still exports the subsystem. So every controller that
//! such an entry may mean counts as listed.

use serde::{Deserialize, Serialize};

use super::entry::{self, Entry, EntryError, Field};
use crate::{DISCOVERY_NQN, Tid, tid};

/// The readable part of an entry from which no controller can be made. A text is empty if it cannot be read or
/// identifies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unclear {
    /// The NQN. If it contains a NUL: the text before the NUL.
    pub subnqn: String,
    /// The transport address. Empty if the NQN already identifies the controller.
    pub traddr: String,
    /// The port. Empty if the NQN already identifies the controller.
    pub trsvcid: String,
    /// True if a field is damaged: the entry may be the changed form of any other entry. False if the entry is readable
    /// and states that there is no path to the controller now (no address, a transport that this host does not have).
    pub is_damaged: bool,
}

impl Unclear {
    /// The readable part of an entry whose bytes cannot be decoded.
    #[must_use]
    pub(super) fn of_bytes(bytes: &[u8], flaw: &EntryError) -> Self {
        let [trsvcid, subnqn, traddr] = entry::text_fields(bytes);
        Self::of_fields(subnqn, traddr, trsvcid, flaw)
    }

    /// The readable part of an entry that can be decoded, but names no controller.
    #[must_use]
    pub fn of_entry(entry: &Entry, flaw: &EntryError) -> Self {
        Self::of_fields(entry.subnqn.as_bytes(), entry.traddr.as_bytes(), entry.trsvcid.as_bytes(), flaw)
    }

    /// The NQN of an entry that can be read, but has the subtype of another kind of controller. `None` if it has no NQN
    /// that identifies a controller.
    #[must_use]
    pub fn of_other_subtype(entry: &Entry) -> Option<Self> {
        let says_which = !entry.subnqn.is_empty() && entry.subnqn != DISCOVERY_NQN;
        says_which.then(|| Self { subnqn: entry.subnqn.clone(), ..Self::default() })
    }

    /// The readable part of the text fields of an entry.
    #[must_use]
    pub fn of_fields(subnqn: &[u8], traddr: &[u8], trsvcid: &[u8], flaw: &EntryError) -> Self {
        let text = |field, bytes| entry::text(field, bytes);
        let (nqn, is_sound) = match text(Field::Subnqn, subnqn) {
            Ok(nqn) => (nqn, true),
            Err(EntryError::Nul { before }) => (before, false),
            Err(_) => (String::new(), false),
        };
        // The well-known NQN does not identify a discovery controller.
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

    /// True if the entry may mean this controller: by its NQN, or by its address if the NQN identifies no controller.
    #[must_use]
    pub fn may_mean(&self, tid: &Tid) -> bool {
        self.has_nqn_of(tid) || self.is_at(tid)
    }

    /// True if the entry has the NQN of this controller.
    #[must_use]
    pub fn has_nqn_of(&self, tid: &Tid) -> bool {
        !self.subnqn.is_empty() && self.subnqn == tid.subsysnqn
    }

    /// True if the NQN of the entry identifies no controller and its address is that of this controller.
    #[must_use]
    pub fn is_at(&self, tid: &Tid) -> bool {
        if self.traddr.is_empty() {
            return false;
        }
        let same_address = match (tid::parse_ip(&self.traddr), tid::parse_ip(&tid.traddr)) {
            // The scope is an interface of the target: not compared.
            (Some((one, _)), Some((other, _))) => one == other,
            (None, None) => tid::canonical_address(tid.transport(), &self.traddr, "").eq_ignore_ascii_case(&tid.traddr),
            _ => false,
        };
        let port = tid::parse_port(&self.trsvcid).map(|port| port.to_string());
        let same_port = port.is_none_or(|port| tid.trsvcid.is_empty() || port == tid.trsvcid);
        same_address && same_port
    }
}
