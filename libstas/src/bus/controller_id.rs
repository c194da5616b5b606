//! How a controller is named and described on the bus.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zbus::Type;

use crate::nvme::tid::{self, UnknownTransport};
use crate::nvme::{Tid, TidParts};

/// `a{ss}`: one controller, or one entry of a log page. Sorted, as the compatible output wants it.
pub type Dict = BTreeMap<String, String>;

/// Longest part of a [`ControllerId`] in bytes: the fields of a discovery log page entry have 256
/// (NVMe Base 2.0, Figure 265).
pub const PART_MAX: usize = 256;

/// The keys of a controller's dictionary.
pub mod key {
    /// `nvme3`, or `nvme?` while there is none.
    pub const DEVICE: &str = "device";
    /// tcp, rdma, fc, loop.
    pub const TRANSPORT: &str = "transport";
    /// Transport address.
    pub const TRADDR: &str = "traddr";
    /// Transport service identifier.
    pub const TRSVCID: &str = "trsvcid";
    /// Subsystem NQN.
    pub const SUBSYSNQN: &str = "subsysnqn";
    /// Source address.
    pub const HOST_TRADDR: &str = "host-traddr";
    /// Network interface.
    pub const HOST_IFACE: &str = "host-iface";
    /// Host NQN.
    pub const HOST_NQN: &str = "host-nqn";
    /// `configured`, `discovered` or `referral`.
    pub const ORIGIN: &str = "origin";
    /// `never`, `saved` or `fresh`: where a discovery controller's log page comes from.
    pub const LOG_PAGE_STATE: &str = "log-page-state";
    /// stafd: `registered` with the discovery controller (TP8010), or why not.
    pub const REGISTRATION: &str = "registration";
    /// Whether a discovery controller that was found by mDNS is announced now: `True` or `False`.
    pub const ANNOUNCED: &str = "announced";
    /// How long a discovery controller that is neither announced nor connected is still kept: `71h 59m 3s`.
    pub const GIVEN_UP_IN: &str = "given up in";
    /// The record of the firmware's boot table that names a controller: `NBFT, SSNS 1`.
    pub const NBFT: &str = "nbft";
    /// Seconds on CLOCK_BOOTTIME since which a discovery controller's connection is up: it names that connection.
    pub const CONNECTED_SINCE: &str = "connected-since";
    /// Why a discovery controller was given up, or why a controller is not connected.
    pub const REASON: &str = "reason";
    /// In `get_all_log_pages`: the discovery controller.
    pub const DISCOVERY_CONTROLLER: &str = "discovery-controller";
    /// In `get_all_log_pages`: its entries.
    pub const LOG_PAGES: &str = "log-pages";
}

/// The seven strings that name a controller in calls and signals, in their order on the bus.
///
/// They come from anybody: [`ControllerId::tid`] says whether they can name a controller at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Type)]
pub struct ControllerId {
    /// Transport type.
    pub transport: String,
    /// Transport address: an IP address, or an FC address (`nn-…:pn-…`).
    pub traddr: String,
    /// Transport service identifier: the port of TCP and RDMA, empty for other transports.
    pub trsvcid: String,
    /// Subsystem NQN.
    pub subsysnqn: String,
    /// Source address, or empty.
    pub host_traddr: String,
    /// Network interface, or empty.
    pub host_iface: String,
    /// Host NQN, or empty.
    pub host_nqn: String,
}

/// Why seven strings name no controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadControllerId {
    /// The first one is not a transport.
    #[error(transparent)]
    Transport(#[from] UnknownTransport),
    /// One is longer than any such value can be.
    #[error("{part} has {length} bytes, more than the {PART_MAX} that fit into a log page entry")]
    TooLong {
        /// The name of the field, as in a D-Bus dictionary.
        part: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// tcp and rdma have ports.
    #[error("{0:?} is no port from 1 to 65535")]
    Port(String),
}

impl ControllerId {
    /// The strings that name this controller.
    #[must_use]
    pub fn of(tid: &Tid) -> Self {
        let parts = tid.parts().clone();
        Self {
            transport: parts.transport.as_str().to_owned(),
            traddr: parts.traddr,
            trsvcid: parts.trsvcid,
            subsysnqn: parts.subsysnqn,
            host_traddr: parts.host_traddr,
            host_iface: parts.host_iface,
            host_nqn: parts.host_nqn,
        }
    }

    /// The strings as they stand in a controller's dictionary; absent ones are empty.
    #[must_use]
    pub fn from_dict(dict: &Dict) -> Self {
        let part = |key: &str| dict.get(key).cloned().unwrap_or_default();
        Self {
            transport: part(key::TRANSPORT),
            traddr: part(key::TRADDR),
            trsvcid: part(key::TRSVCID),
            subsysnqn: part(key::SUBSYSNQN),
            host_traddr: part(key::HOST_TRADDR),
            host_iface: part(key::HOST_IFACE),
            host_nqn: part(key::HOST_NQN),
        }
    }

    /// The seven strings as entries of a controller's dictionary.
    #[must_use]
    pub fn to_dict(&self) -> Dict {
        self.parts().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The controller that they name; an empty trsvcid means the transport's default.
    ///
    /// # Errors
    /// An unknown transport, a part that is too long to be one, or something else where a port must be.
    pub fn tid(&self) -> Result<Tid, BadControllerId> {
        if let Some((part, value)) = self.parts().into_iter().find(|(_, value)| value.len() > PART_MAX) {
            return Err(BadControllerId::TooLong { part, length: value.len() });
        }
        let transport: crate::nvme::Transport = self.transport.parse()?;
        let trsvcid = if self.trsvcid.is_empty() { transport.default_trsvcid() } else { &self.trsvcid };
        if transport.is_ip() && tid::parse_port(trsvcid).is_none() {
            return Err(BadControllerId::Port(trsvcid.to_owned()));
        }
        Ok(Tid::new(TidParts {
            transport,
            traddr: self.traddr.clone(),
            trsvcid: trsvcid.to_owned(),
            subsysnqn: self.subsysnqn.clone(),
            host_traddr: self.host_traddr.clone(),
            host_iface: self.host_iface.clone(),
            host_nqn: self.host_nqn.clone(),
        }))
    }

    /// Whether these strings may mean that controller: an empty one leaves it open. People leave out what they
    /// need not know (the interface that a controller was found on, the host's own NQN).
    #[must_use]
    pub fn may_mean(&self, tid: &Tid) -> bool {
        let Ok(wanted) = self.tid() else { return false };
        let (wanted, tid) = (wanted.parts(), tid.parts());
        let open_or_equal = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
        wanted.transport == tid.transport
            && wanted.traddr == tid.traddr
            && wanted.trsvcid == tid.trsvcid
            && open_or_equal(&wanted.subsysnqn, &tid.subsysnqn)
            && open_or_equal(&wanted.host_traddr, &tid.host_traddr)
            && open_or_equal(&wanted.host_iface, &tid.host_iface)
            && open_or_equal(&wanted.host_nqn, &tid.host_nqn)
    }

    fn parts(&self) -> [(&'static str, &str); 7] {
        [
            (key::TRANSPORT, &self.transport),
            (key::TRADDR, &self.traddr),
            (key::TRSVCID, &self.trsvcid),
            (key::SUBSYSNQN, &self.subsysnqn),
            (key::HOST_TRADDR, &self.host_traddr),
            (key::HOST_IFACE, &self.host_iface),
            (key::HOST_NQN, &self.host_nqn),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> ControllerId {
        ControllerId {
            transport: "tcp".into(),
            traddr: "::ffff:192.0.2.1".into(),
            subsysnqn: "nqn.2014-08.org.nvmexpress.discovery".into(),
            ..ControllerId::default()
        }
    }

    #[test]
    fn addresses_are_canonical_and_the_port_has_its_default() {
        let tid = id().tid().unwrap();
        assert_eq!(tid.traddr, "192.0.2.1");
        assert_eq!(tid.trsvcid, "8009");
    }

    #[test]
    fn nonsense_is_told_apart() {
        let bad = ControllerId { transport: "carrier pigeon".into(), ..id() };
        assert!(matches!(bad.tid(), Err(BadControllerId::Transport(_))));
        for port in ["0", "65536", "none"] {
            let bad = ControllerId { trsvcid: port.into(), ..id() };
            assert_eq!(bad.tid(), Err(BadControllerId::Port(port.into())));
            assert_eq!(ControllerId { transport: "fc".into(), ..bad }.tid().unwrap().trsvcid, "");
        }
        let huge = ControllerId { host_iface: "x".repeat(1 << 20), ..id() };
        assert_eq!(huge.tid(), Err(BadControllerId::TooLong { part: "host-iface", length: 1 << 20 }));
    }

    #[test]
    fn a_dictionary_without_a_key_has_it_empty() {
        let dict = Dict::from([("transport".into(), "fc".into()), ("device".into(), "nvme1".into())]);
        let id = ControllerId::from_dict(&dict);
        assert_eq!(id, ControllerId { transport: "fc".into(), ..ControllerId::default() });
    }

    #[test]
    fn what_people_leave_out_is_left_open() {
        let full = ControllerId { host_iface: "eth0".into(), host_nqn: "nqn.host".into(), ..id() };
        let tid = full.tid().unwrap();
        assert!(id().may_mean(&tid));
        assert!(full.may_mean(&tid));
        assert!(!ControllerId { host_iface: "eth1".into(), ..id() }.may_mean(&tid));
        assert!(!ControllerId { traddr: String::new(), ..id() }.may_mean(&tid));
    }

    proptest! {
        #[test]
        fn whatever_names_a_controller_survives_the_bus(
            transport in "tcp|rdma|fc|loop", traddr in ".{0,40}", trsvcid in "[1-9][0-9]{0,3}", subsysnqn in ".{0,60}",
            host_traddr in ".{0,40}", host_iface in ".{0,15}", host_nqn in ".{0,60}",
        ) {
            let id = ControllerId { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn };
            let tid = id.tid().unwrap();
            let again = ControllerId::of(&tid);
            prop_assert_eq!(ControllerId::from_dict(&again.to_dict()), again.clone());
            prop_assert_eq!(again.tid().unwrap(), tid);
        }
    }
}
