//! Entries from which no controller can be made, and the controllers that they may mean.
//!
//! A discovery controller that has damaged one field of an entry still exports the subsystem. So every controller that
//! such an entry may mean counts as listed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::{self, Entry, EntryError, Field};
use crate::{DISCOVERY_NQN, Tid, Transport, tid};

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
    fn has_nqn_of(&self, tid: &Tid) -> bool {
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

/// Controllers that unclear entries may mean, arranged so that an entry is not compared with each of them: a page may
/// have thousands of both.
#[derive(Clone, Debug, Default)]
pub struct Candidates<'a> {
    nqns: BTreeSet<&'a str>,
    /// The ports at each address.
    ports: BTreeMap<String, BTreeSet<&'a str>>,
}

impl Candidates<'_> {
    /// True if the entry may mean one of these controllers ([`Unclear::may_mean`]).
    #[must_use]
    pub fn may_be_meant_by(&self, entry: &Unclear) -> bool {
        self.nqns.contains(entry.subnqn.as_str()) || self.is_one_at(entry)
    }

    fn is_one_at(&self, entry: &Unclear) -> bool {
        if entry.traddr.is_empty() || self.ports.is_empty() {
            return false;
        }
        let port = tid::parse_port(&entry.trsvcid).map(|port| port.to_string());
        let has_port = |ports: &BTreeSet<&str>| {
            port.as_ref().is_none_or(|port| ports.contains("") || ports.contains(port.as_str()))
        };
        let transports = [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop];
        let places: BTreeSet<String> = transports
            .into_iter()
            .map(|transport| place(transport, &tid::canonical_address(transport, &entry.traddr, "")))
            .collect();
        places.iter().filter_map(|place| self.ports.get(place)).any(has_port)
    }
}

/// An address as a key: those of different kinds have different keys.
fn place(transport: Transport, traddr: &str) -> String {
    match tid::parse_ip(traddr) {
        Some((ip, _)) => ip.to_string(),
        None => format!("{transport} {}", traddr.to_ascii_lowercase()),
    }
}

impl<'a> FromIterator<&'a Tid> for Candidates<'a> {
    fn from_iter<T: IntoIterator<Item = &'a Tid>>(tids: T) -> Self {
        let mut candidates = Self::default();
        for tid in tids {
            if !tid.subsysnqn.is_empty() {
                candidates.nqns.insert(&tid.subsysnqn);
            }
            let ports = candidates.ports.entry(place(tid.transport(), &tid.traddr)).or_default();
            ports.insert(&tid.trsvcid);
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TidParts;

    /// Every entry of the table with every controller.
    #[test]
    fn an_entry_means_one_of_several_controllers_if_it_means_it_alone() {
        let fc = "nn-0x10000090fae0b5f5:pn-0x10000090fae0b5f6";
        let addresses =
            ["", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "fe80::1%eth0", "fe80::1", fc, "NN-0x1:PN-0x2", "x"];
        let mut tids = Vec::new();
        let mut entries = Vec::new();
        for traddr in addresses {
            for trsvcid in ["", "8009", "4420", "none", "008009"] {
                for nqn in ["", "nqn.a", "nqn.b"] {
                    let parts = TidParts {
                        traddr: traddr.into(),
                        trsvcid: trsvcid.into(),
                        subsysnqn: nqn.into(),
                        ..TidParts::none(Transport::Tcp)
                    };
                    let transports = [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop];
                    tids.extend(transports.map(|transport| Tid::new(TidParts { transport, ..parts.clone() })));
                    entries.push(Unclear {
                        subnqn: nqn.into(),
                        traddr: traddr.into(),
                        trsvcid: trsvcid.into(),
                        is_damaged: false,
                    });
                }
            }
        }
        let mut meant = 0;
        for tid in &tids {
            let candidates: Candidates<'_> = [tid].into_iter().collect();
            for entry in &entries {
                let expected = entry.may_mean(tid);
                assert_eq!(candidates.may_be_meant_by(entry), expected, "{entry:?} {tid:?}");
                meant += usize::from(expected);
            }
        }
        assert!(meant > 1000, "{meant}");
        let all: Candidates<'_> = tids.iter().collect();
        for entry in &entries {
            assert_eq!(all.may_be_meant_by(entry), tids.iter().any(|tid| entry.may_mean(tid)), "{entry:?}");
        }
    }
}
