//! Short constructors for the identities of controllers.

use libstas::nvme::{DISCOVERY_NQN, Tid, TidParts, Transport};

/// The NQN of the fake host.
pub const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";

/// Another host NQN for tests.
pub const RENAMED: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000002";

/// The discovery controller at that address (NVMe/TCP, port 8009, well-known NQN).
#[must_use]
pub fn dc(traddr: &str) -> Tid {
    at_port("8009", &io(traddr, DISCOVERY_NQN))
}

/// The I/O controller of that subsystem at that address (NVMe/TCP, port 4420).
#[must_use]
pub fn io(traddr: &str, nqn: &str) -> Tid {
    Tid::new(TidParts {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        trsvcid: "4420".into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: HOST.into(),
    })
}

/// The same TID, bound to that interface.
#[must_use]
pub fn on_iface(host_iface: &str, tid: &Tid) -> Tid {
    Tid::new(TidParts { host_iface: host_iface.into(), ..tid.parts().clone() })
}

/// The same TID, from that source address.
#[must_use]
pub fn from_address(host_traddr: &str, tid: &Tid) -> Tid {
    Tid::new(TidParts { host_traddr: host_traddr.into(), ..tid.parts().clone() })
}

/// The same TID with that port.
#[must_use]
pub fn at_port(trsvcid: &str, tid: &Tid) -> Tid {
    Tid::new(TidParts { trsvcid: trsvcid.into(), ..tid.parts().clone() })
}

/// The same TID with that host NQN.
#[must_use]
pub fn as_host(host_nqn: &str, tid: &Tid) -> Tid {
    Tid::new(TidParts { host_nqn: host_nqn.into(), ..tid.parts().clone() })
}
