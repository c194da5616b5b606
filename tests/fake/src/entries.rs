//! Short constructors for log page entries and configuration lines.

use libstas::conf::ControllerEntry;
use libstas::nvme::log_page::{EFlags, Entry, SecType, Treq, Tsas};
use libstas::nvme::{DISCOVERY_NQN, Parameters, Transport};

/// The address of [`line()`]; in tests of stacd also of stafd's discovery controller and of the subsystems on its page.
pub const TARGET: &str = "192.0.2.1";

/// A valid secret for DH-HMAC-CHAP.
pub const KEY: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

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

/// The same entry (NVMe/TCP) with that SECTYPE (2: TLS 1.3) and TREQ.
#[must_use]
pub fn secured(entry: Entry, sectype: u8, treq: u8) -> Entry {
    Entry { tsas: Tsas::Tcp { sectype: SecType(sectype) }, treq: Treq(treq), ..entry }
}

/// The same entry, which requires TLS.
#[must_use]
pub fn tls(entry: Entry) -> Entry {
    secured(entry, 2, 5)
}

/// The same entry, without TLS.
#[must_use]
pub fn unencrypted(entry: Entry) -> Entry {
    secured(entry, 0, 6)
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

/// The line `controller=…` of that subsystem at [`TARGET`] (NVMe/TCP, port 4420), with `more` at its end.
#[must_use]
pub fn line(nqn: &str, more: &str) -> String {
    format!("controller=transport=tcp;traddr={TARGET};trsvcid=4420;nqn={nqn}{more}\n")
}

/// A configuration file with these lines in `[Controllers]`.
#[must_use]
pub fn file(lines: &[String]) -> String {
    format!("[Controllers]\n{}", lines.concat())
}
