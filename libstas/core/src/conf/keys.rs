//! One table of all keys of all files, used for parsing, for suggestions and for the test of the shipped files.

use super::near_miss::nearest;
use super::value::Values;

/// One key of one file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name as in the documentation. Files may write it in any case.
    pub name: &'static str,
    /// Section of the key.
    pub section: &'static str,
    /// Type and range of its values.
    pub values: Values,
    /// Default as written in a file. Empty: the kernel decides, or there is no value.
    pub default: &'static str,
    /// Short description, never empty.
    pub doc: &'static str,
    /// Whether the key has an effect.
    pub status: KeyStatus,
}

/// Whether a key has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStatus {
    /// The key has an effect and is recommended.
    Current,
    /// The key has an effect, with a warning. Contains the key to use instead.
    Deprecated(&'static str),
    /// The key is ignored, with a warning. Contains the reason.
    Ignored(&'static str),
}

impl Key {
    /// True for the same key in the same section.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.section == other.section
    }

    const fn with_default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn void(self, why: &'static str) -> Self {
        Self { status: KeyStatus::Ignored(why), ..self }
    }

    const fn deprecated(self, instead: &'static str) -> Self {
        Self { status: KeyStatus::Deprecated(instead), ..self }
    }

    const fn of(self, section: &'static str) -> Self {
        Self { section, ..self }
    }
}

/// `[Global]` of stafd.conf and stacd.conf.
pub const GLOBAL: &str = "Global";
/// `[Service Discovery]` of stafd.conf.
pub const SERVICE_DISCOVERY: &str = "Service Discovery";
/// `[Discovery controller connection management]` of stafd.conf.
pub const DC_CONNECTIONS: &str = "Discovery controller connection management";
/// `[I/O controller connection management]` of stacd.conf.
pub const IOC_CONNECTIONS: &str = "I/O controller connection management";
/// `[Controllers]` of stafd.conf and stacd.conf.
pub const CONTROLLERS: &str = "Controllers";
/// `[Host]` of sys.conf.
pub const HOST: &str = "Host";
/// Pseudo section of the keys inside `controller=`.
pub const ENTRY: &str = "controller=";

const fn key(
    name: &'static str,
    section: &'static str,
    values: Values,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, section, values, default, doc, status: KeyStatus::Current }
}

const fn number(min: i64, max: i64, of: &'static str) -> Values {
    Values::Number { min, max, of }
}

/// Largest number that the kernel takes: signed, 32 bits (drivers/nvme/host/fabrics.c).
const KERNEL_MAX: i64 = i32::MAX as i64;
/// Largest keep-alive timeout in seconds: KATO has 32 bits and counts milliseconds (NVMe Base 2.0, 5.27.1.12).
const KATO_MAX: i64 = u32::MAX as i64 / 1000;
/// Maximum number of queues: queue identifiers have 16 bits (NVMe Base 2.0, 3.3.3).
const QUEUES_MAX: i64 = u16::MAX as i64;
/// Queue sizes that the kernel takes (NVMF_DEF_QUEUE_SIZE and the limits next to it).
const QUEUE_SIZE: Values = number(16, 1024, "entries");
const SWITCH: Values = Values::OneOf(&["enabled", "disabled"]);

pub(crate) const TRON: Key = key("tron", GLOBAL, Values::Bool, "false", "trace in the log");
pub(crate) const HDR_DIGEST: Key = key("hdr-digest", GLOBAL, Values::Bool, "false", "NVMe/TCP header digest");
pub(crate) const DATA_DIGEST: Key = key("data-digest", GLOBAL, Values::Bool, "false", "NVMe/TCP data digest");
pub(crate) const KATO: Key = key("kato", GLOBAL, number(1, KATO_MAX, "seconds"), "", "keep-alive timeout");
pub(crate) const QUEUE_SIZE_KEY: Key = key("queue-size", GLOBAL, QUEUE_SIZE, "", "entries of each queue");
pub(crate) const NR_IO_QUEUES: Key = key("nr-io-queues", GLOBAL, number(1, QUEUES_MAX, "queues"), "", "I/O queues");
pub(crate) const NR_WRITE_QUEUES: Key =
    key("nr-write-queues", GLOBAL, number(1, QUEUES_MAX, "queues"), "", "additional queues for writes");
pub(crate) const NR_POLL_QUEUES: Key =
    key("nr-poll-queues", GLOBAL, number(1, QUEUES_MAX, "queues"), "", "additional queues for polled I/O");
pub(crate) const RECONNECT_DELAY: Key = key(
    "reconnect-delay",
    GLOBAL,
    number(1, KERNEL_MAX, "seconds"),
    "",
    "time between two attempts of the kernel to reconnect",
);
pub(crate) const CTRL_LOSS_TMO: Key = key(
    "ctrl-loss-tmo",
    GLOBAL,
    number(-1, KERNEL_MAX, "seconds"),
    "",
    "time until the kernel gives up reconnecting; -1 means never",
);
pub(crate) const DISABLE_SQFLOW: Key =
    key("disable-sqflow", GLOBAL, Values::Bool, "", "submission queue flow control off");
pub(crate) const TLS: Key = key(
    "tls",
    GLOBAL,
    Values::OneOf(&["auto", "true", "false"]),
    "auto",
    "whether connections are encrypted (NVMe/TCP)",
);
pub(crate) const IGNORE_IFACE: Key =
    key("ignore-iface", GLOBAL, Values::Bool, "false", "leave the interface to the routing table");
pub(crate) const IP_FAMILY: Key = key(
    "ip-family",
    GLOBAL,
    Values::OneOf(&["ipv4", "ipv6", "ipv4+ipv6", "ipv6+ipv4"]),
    "ipv4+ipv6",
    "which addresses are used",
);
pub(crate) const PLEO: Key = key("pleo", GLOBAL, SWITCH, "enabled", "request port-local log entries only");
pub(crate) const ZEROCONF: Key =
    key("zeroconf", SERVICE_DISCOVERY, SWITCH, "enabled", "find discovery controllers by mDNS");
pub(crate) const MAX_ANNOUNCED: Key = key(
    "max-announced",
    SERVICE_DISCOVERY,
    number(1, KERNEL_MAX, "discovery controllers"),
    "64",
    "maximum number of connected discovery controllers that only mDNS announces",
);
pub(crate) const MAX_REFERRALS: Key = key(
    "max-referrals",
    SERVICE_DISCOVERY,
    number(1, KERNEL_MAX, "discovery controllers"),
    "64",
    "maximum number of referrals followed for one discovery controller",
);
pub(crate) const PERSISTENT_CONNECTIONS: Key = key(
    "persistent-connections",
    DC_CONNECTIONS,
    Values::Bool,
    "true",
    "keep connections to discovery controllers when stafd stops",
);
pub(crate) const ZEROCONF_PERSISTENCE: Key = key(
    "zeroconf-connections-persistence",
    DC_CONNECTIONS,
    Values::TimeSpan,
    "72hours",
    "how long a lost mDNS discovery controller is kept",
);
pub(crate) const EPCSD: Key = key(
    "epcsd",
    DC_CONNECTIONS,
    Values::OneOf(&["ignore", "poll"]),
    "ignore",
    "how to treat a discovery controller that lists itself without EPCSD",
);
pub(crate) const OLD_PERSISTENT_CONNECTIONS: Key = PERSISTENT_CONNECTIONS
    .of(GLOBAL)
    .deprecated("persistent-connections in [Discovery controller connection management]");
pub(crate) const DISCONNECT_SCOPE: Key = key(
    "disconnect-scope",
    IOC_CONNECTIONS,
    Values::OneOf(&["only-stas-connections", "all-connections-matching-disconnect-trtypes", "no-disconnect"]),
    "only-stas-connections",
    "which connections are disconnected when no longer wanted",
);
pub(crate) const DISCONNECT_TRTYPES: Key = key(
    "disconnect-trtypes",
    IOC_CONNECTIONS,
    Values::AnyOf(&["tcp", "rdma", "fc"]),
    "tcp",
    "the transports of the audit",
);
pub(crate) const CONNECT_ATTEMPTS_ON_NCC: Key = key(
    "connect-attempts-on-ncc",
    IOC_CONNECTIONS,
    number(0, KERNEL_MAX, "attempts"),
    "0",
    "attempts while the CDC reports no connectivity (NCC); 0 means no limit",
);
pub(crate) const MAX_PER_ANNOUNCED_DC: Key = key(
    "max-controllers-per-announced-dc",
    IOC_CONNECTIONS,
    number(1, KERNEL_MAX, "I/O controllers"),
    "4096",
    "maximum number of I/O controllers connected for one discovery controller that only mDNS announces",
);
pub(crate) const IN_USE: Key =
    key("in-use", IOC_CONNECTIONS, Values::OneOf(&["keep", "disconnect"]), "keep", "the last path to storage in use");
pub(crate) const CONTROLLER: Key = key("controller", CONTROLLERS, Values::Pairs, "", "a controller to connect to");
pub(crate) const EXCLUDE: Key = key("exclude", CONTROLLERS, Values::Pairs, "", "controllers never to connect to");
pub(crate) const BLACKLIST: Key = Key { name: "blacklist", ..EXCLUDE }.deprecated("exclude");

pub(crate) const NQN: Key = key("nqn", HOST, Values::Source, "file:///etc/nvme/hostnqn", "the host's NQN");
pub(crate) const ID: Key = key("id", HOST, Values::Source, "file:///etc/nvme/hostid", "the host's ID, a UUID");
pub(crate) const HOST_KEY: Key =
    key("key", HOST, Values::Source, "file:///etc/nvme/hostkey", "the host's DH-HMAC-CHAP secret");
pub(crate) const SYMNAME: Key = key("symname", HOST, Values::Source, "", "the host's symbolic name");

const NO_IO_QUEUES: &str = "discovery controllers have no I/O queues";

/// The keys of stafd.conf.
pub const STAFD: &[Key] = &[
    TRON,
    HDR_DIGEST,
    DATA_DIGEST,
    KATO.with_default("30"),
    QUEUE_SIZE_KEY,
    NR_IO_QUEUES.void(NO_IO_QUEUES),
    NR_WRITE_QUEUES.void(NO_IO_QUEUES),
    NR_POLL_QUEUES.void(NO_IO_QUEUES),
    RECONNECT_DELAY,
    CTRL_LOSS_TMO,
    DISABLE_SQFLOW,
    TLS,
    IGNORE_IFACE,
    IP_FAMILY,
    PLEO,
    OLD_PERSISTENT_CONNECTIONS,
    ZEROCONF,
    MAX_ANNOUNCED,
    MAX_REFERRALS,
    PERSISTENT_CONNECTIONS,
    ZEROCONF_PERSISTENCE,
    EPCSD,
    CONTROLLER,
    EXCLUDE,
    BLACKLIST,
];

/// The keys of stacd.conf.
pub const STACD: &[Key] = &[
    TRON,
    HDR_DIGEST,
    DATA_DIGEST,
    KATO,
    QUEUE_SIZE_KEY,
    NR_IO_QUEUES,
    NR_WRITE_QUEUES,
    NR_POLL_QUEUES,
    RECONNECT_DELAY,
    CTRL_LOSS_TMO,
    DISABLE_SQFLOW,
    TLS,
    IGNORE_IFACE,
    IP_FAMILY,
    DISCONNECT_SCOPE,
    DISCONNECT_TRTYPES,
    CONNECT_ATTEMPTS_ON_NCC,
    MAX_PER_ANNOUNCED_DC,
    IN_USE,
    CONTROLLER,
    EXCLUDE,
    BLACKLIST,
];

/// The keys of sys.conf.
pub const SYS: &[Key] = &[NQN, ID, HOST_KEY, SYMNAME];

/// The configuration files and their keys.
pub const FILES: &[(&str, &[Key])] = &[("stafd.conf", STAFD), ("stacd.conf", STACD), ("sys.conf", SYS)];

/// The connection parameters: keys of `[Global]`, and of `controller=` for a single controller.
pub const PARAMETERS: &[Key] = &[
    HDR_DIGEST,
    DATA_DIGEST,
    KATO,
    QUEUE_SIZE_KEY,
    NR_IO_QUEUES,
    NR_WRITE_QUEUES,
    NR_POLL_QUEUES,
    RECONNECT_DELAY,
    CTRL_LOSS_TMO,
    DISABLE_SQFLOW,
    TLS,
];

/// Keys of nvme-cli that ask for an encrypted connection and are not supported yet.
const SECURE_CHANNEL: &[&str] = &["tls-key", "tls-key-identity", "tls-keyring", "keyring", "concat"];

/// True for a key without effect that asks for an encrypted connection: an unsupported key, or a `tls` that is
/// misspelled or in the wrong place.
pub(crate) fn asks_for_a_secure_channel(name: &str, value: &str) -> bool {
    let folded = name.trim().replace('_', "-");
    let is_one = is_of_a_secure_channel(name);
    // `tos` is one character away from `tls`, but its value is never `true`.
    let is_nearly_one = || value.trim().eq_ignore_ascii_case("true") && nearest(&folded, [TLS.name]).is_some();
    let is_off = ["", "auto", "false"].iter().any(|off| value.trim().eq_ignore_ascii_case(off));
    !is_off && (is_one || is_nearly_one())
}

/// True for the name of a key for encrypted connections.
pub(crate) fn is_of_a_secure_channel(name: &str) -> bool {
    let folded = name.trim().replace('_', "-");
    SECURE_CHANNEL.iter().chain([&TLS.name]).any(|key| folded.eq_ignore_ascii_case(key))
}

/// What a misspelled key of `controller=` may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misspelled {
    /// A key that identifies the controller, or an unknown key that is similar to none: the entry may mean another
    /// controller.
    Identity,
    /// A key with a secret.
    Secret,
    /// A key that a connection does not need.
    Other,
}

impl Misspelled {
    /// What an unknown key may mean, given the known key that is nearest to it.
    pub(crate) fn of(nearest: Option<&str>) -> Self {
        match nearest {
            Some(meant) if SECRETS.contains(&meant) => Self::Secret,
            Some(meant) if !identifies(meant) => Self::Other,
            _ => Self::Identity,
        }
    }
}

/// The keys of `controller=` whose values are secrets.
pub(crate) const SECRETS: [&str; 2] = ["dhchap-secret", "dhchap-ctrl-secret"];

const SECRET: Values = Values::Text("a DH-HMAC-CHAP secret");

/// True for a key of [`IDENTITY`] that has no secret.
pub(crate) fn identifies(name: &str) -> bool {
    IDENTITY.iter().any(|key| key.name == name) && !SECRETS.contains(&name)
}

/// The keys that identify a controller in `controller=` and `exclude=`, and the secrets of `controller=`.
pub const IDENTITY: &[Key] = &[
    key("transport", ENTRY, Values::OneOf(&["tcp", "rdma", "fc", "loop"]), "", "the transport"),
    key("traddr", ENTRY, Values::Text("an address or a host name"), "", "the controller's address"),
    key("trsvcid", ENTRY, Values::Text("a port"), "", "its port"),
    key("nqn", ENTRY, Values::Text("an NQN"), "", "its subsystem NQN"),
    key("subsysnqn", ENTRY, Values::Text("an NQN"), "", "the same as nqn"),
    key("host-traddr", ENTRY, Values::Text("an address"), "", "this host's address"),
    key("host-iface", ENTRY, Values::Text("an interface"), "", "this host's interface"),
    key("host-nqn", ENTRY, Values::Text("an NQN"), "", "the NQN of this host"),
    key("dhchap-secret", ENTRY, SECRET, "", "this host's secret for it"),
    key("dhchap-ctrl-secret", ENTRY, SECRET, "", "its own secret"),
];
