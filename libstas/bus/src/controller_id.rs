//! Identifies and describes controllers on the bus.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zbus::Type;

use stas_nvme::tid::{self, UnknownTransport};
use stas_nvme::{Tid, TidParts};

/// `a{ss}`: one controller, or one entry of a log page. Sorted by key, as the output compatible with nvme-stas
/// requires.
pub type Dict = BTreeMap<String, String>;

/// Longest part of a [`ControllerId`] in bytes: the size of the fields of a discovery log page entry (NVMe Base 2.0,
/// Figure 265).
const PART_MAX: usize = 256;

/// The keys of a controller's dictionary.
pub mod key {
    /// `nvme3`, or `nvme?` for a controller without a device.
    pub const DEVICE: &str = "device";
    /// Transport: `tcp`, `rdma`, `fc` or `loop`.
    pub const TRANSPORT: &str = "transport";
    /// Transport address of the controller, for example `192.0.2.1`.
    pub const TRADDR: &str = "traddr";
    /// Transport service identifier: the port for tcp and rdma.
    pub const TRSVCID: &str = "trsvcid";
    /// NQN of the controller's subsystem.
    pub const SUBSYSNQN: &str = "subsysnqn";
    /// Source address of the connection. Empty: not set.
    pub const HOST_TRADDR: &str = "host-traddr";
    /// Network interface of the connection. Empty: not set.
    pub const HOST_IFACE: &str = "host-iface";
    /// Host NQN of the connection. Empty: the host's own.
    pub const HOST_NQN: &str = "host-nqn";
    /// The keys of a list without details.
    pub const BASIC: [&str; 8] = [TRANSPORT, TRADDR, TRSVCID, SUBSYSNQN, HOST_TRADDR, HOST_IFACE, HOST_NQN, DEVICE];
    /// Source that lists the controller: `configured`, `discovered`, `referral` or `nbft`.
    pub const ORIGIN: &str = "origin";
    /// How far the most trusted source is trusted: `administrator`, `firmware`, `configured-dc` or `announced-dc`.
    pub const TRUST: &str = "trust";
    /// State of a discovery controller's log page: `never`, `saved` or `fresh`.
    pub const LOG_PAGE_STATE: &str = "log-page-state";
    /// Why the last read of a discovery controller's log page failed.
    pub const LOG_PAGE_FAILURE: &str = "log-page-failure";
    /// stafd: `registered` if this host is registered with the discovery controller (TP8010), else the reason why not.
    pub const REGISTRATION: &str = "registration";
    /// For a discovery controller found by mDNS: `True` while it is announced, else `False`.
    pub const ANNOUNCED: &str = "announced";
    /// Time until a discovery controller that is neither announced nor connected is removed: `71h 59m 3s`.
    pub const GIVEN_UP_IN: &str = "given up in";
    /// Record of the firmware's boot table that names the controller: `NBFT, SSNS 1`.
    pub const NBFT: &str = "nbft";
    /// Start of a discovery controller's connection, in seconds on CLOCK_BOOTTIME. Identifies the connection.
    pub const CONNECTED_SINCE: &str = "connected-since";
    /// Start of the present state in UTC, as far as the daemon knows: `2026-11-28T12:00:00Z`.
    pub const SINCE: &str = "since";
    /// Owner of the connection in the registry of nvme-cli 3: `stas`, another orchestrator, or `unknown`.
    pub const OWNER: &str = "owner";
    /// Time of an event in UTC: `2026-11-28T12:00:00Z`.
    pub const TIME: &str = "time";
    /// What happened.
    pub const EVENT: &str = "event";
    /// What a reload would do: `connect`, `retry`, `disconnect`, `disconnect unless in use`, `drop`, `release` or
    /// `keep`.
    pub const CHANGE: &str = "change";
    /// Why a discovery controller was removed, or why a controller is not connected.
    pub const REASON: &str = "reason";
    /// In `get_all_log_pages`: dictionary of the discovery controller.
    pub const DISCOVERY_CONTROLLER: &str = "discovery-controller";
    /// In `get_all_log_pages`: list of the entries of its log page.
    pub const LOG_PAGES: &str = "log-pages";
}

/// The seven strings that identify a controller in calls and signals, in their order on the bus.
///
/// They are untrusted input: [`ControllerId::tid`] checks whether they identify a controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Type)]
pub struct ControllerId {
    /// Transport: `tcp`, `rdma`, `fc` or `loop`.
    pub transport: String,
    /// Transport address of the controller.
    pub traddr: String,
    /// Transport service identifier. Empty: the transport's default.
    pub trsvcid: String,
    /// NQN of the controller's subsystem.
    pub subsysnqn: String,
    /// Source address of the connection. Empty: not set.
    pub host_traddr: String,
    /// Network interface of the connection. Empty: not set.
    pub host_iface: String,
    /// Host NQN of the connection. Empty: the host's own.
    pub host_nqn: String,
}

/// Why the strings identify no controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadControllerId {
    /// The transport is unknown.
    #[error(transparent)]
    Transport(#[from] UnknownTransport),
    /// A string is longer than 256 bytes.
    #[error("{part} has {length} bytes, more than the {PART_MAX} that fit into a log page entry")]
    TooLong {
        /// Name of the part, for example `traddr`.
        part: &'static str,
        /// Length of the part in bytes.
        length: usize,
    },
    /// The port of a tcp or rdma controller is not a number from 1 to 65535.
    #[error("{0:?} is no port from 1 to 65535")]
    Port(String),
}

impl ControllerId {
    /// The strings that identify this controller.
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

    /// Takes the strings from a controller's dictionary. Absent ones are empty.
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

    /// The strings as entries of a controller's dictionary.
    #[must_use]
    pub fn to_dict(&self) -> Dict {
        self.parts().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The controller that the strings identify. An empty trsvcid means the transport's default.
    ///
    /// # Errors
    /// [`BadControllerId`] if the transport is unknown, a part is too long, or the port is not a port.
    pub fn tid(&self) -> Result<Tid, BadControllerId> {
        if let Some((part, value)) = self.parts().into_iter().find(|(_, value)| value.len() > PART_MAX) {
            return Err(BadControllerId::TooLong { part, length: value.len() });
        }
        let transport: stas_nvme::Transport = self.transport.parse()?;
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

    /// True if the strings may mean this controller: an empty string matches any value. Users may leave out parts that
    /// they need not know (the interface on which a controller was found, the host's own NQN).
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
    fn nonsense_is_refused() {
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
