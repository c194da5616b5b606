//! Short constructors for log page entries and configuration lines.

use libstas::conf::ControllerEntry;
use libstas::nvme::log_page::{EFlags, Entry};
use libstas::nvme::{DISCOVERY_NQN, Parameters, Transport};

/// The log entry of a subsystem at that address (NVMe/TCP, port 4420).
///
/// # Panics
/// Panics if the entry is not valid on a page.
#[must_use]
pub fn entry(traddr: &str, nqn: &str) -> Entry {
    log_entry("nvme", traddr, "4420", nqn)
}

/// The log entry of a referral to the discovery controller at that address (NVMe/TCP, port 8009).
///
/// # Panics
/// Panics if the entry is not valid on a page.
#[must_use]
pub fn referral(traddr: &str) -> Entry {
    log_entry("referral", traddr, "8009", DISCOVERY_NQN)
}

/// The log entry of the discovery controller at that address for itself, with EPCSD set or clear.
///
/// # Panics
/// Panics if the entry is not valid on a page.
#[must_use]
pub fn own_entry(traddr: &str, epcsd: bool) -> Entry {
    let mut entry = log_entry("discovery", traddr, "8009", DISCOVERY_NQN);
    entry.eflags = if epcsd { EFlags::EPCSD } else { EFlags(0) };
    entry
}

fn log_entry(subtype: &str, traddr: &str, trsvcid: &str, nqn: &str) -> Entry {
    let pairs = [
        ("trtype", "tcp"),
        ("adrfam", if traddr.contains(':') { "ipv6" } else { "ipv4" }),
        ("subtype", subtype),
        ("treq", "not specified"),
        ("portid", "1"),
        ("cntlid", "65535"),
        ("asqsz", "32"),
        ("traddr", traddr),
        ("trsvcid", trsvcid),
        ("subnqn", nqn),
        ("eflags", "0"),
    ];
    Entry::from_dict(&pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()).unwrap()
}

/// The line `controller=transport=tcp;traddr=…;trsvcid=…;nqn=…`. An empty NQN is left out.
#[must_use]
pub fn controller(traddr: &str, trsvcid: &str, nqn: &str) -> ControllerEntry {
    ControllerEntry {
        transport: Transport::Tcp,
        traddr: traddr.into(),
        is_name: traddr.starts_with(char::is_alphabetic),
        trsvcid: trsvcid.into(),
        subsysnqn: nqn.into(),
        host_traddr: String::new(),
        host_iface: String::new(),
        host_nqn: String::new(),
        parameters: Parameters::default(),
        line: 1,
    }
}
