//! The option string that is written to /dev/nvme-fabrics, and what is read back.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};

use super::secret::MalformedSecret;
use super::{DISCOVERY_NQN, HostIdentity, NQN_MAX, Parameters, Secret, Tid, Transport};

/// The options that the kernel takes: reading /dev/nvme-fabrics lists them from 5.17.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedOptions(BTreeSet<String>);

/// Options that every kernel with NVMe-oF takes, and from which version on there are more.
const BY_VERSION: [((u32, u32), &[&str]); 5] = [
    (
        (4, 15),
        &[
            "transport",
            "traddr",
            "trsvcid",
            "nqn",
            "queue_size",
            "nr_io_queues",
            "reconnect_delay",
            "ctrl_loss_tmo",
            "keep_alive_tmo",
            "hostnqn",
            "host_traddr",
            "hostid",
            "duplicate_connect",
        ],
    ),
    ((5, 3), &["disable_sqflow", "hdr_digest", "data_digest", "nr_write_queues", "nr_poll_queues", "tos"]),
    ((5, 14), &["host_iface"]),
    ((5, 16), &["discovery"]),
    ((6, 0), &["dhchap_secret", "dhchap_ctrl_secret"]),
];

impl SupportedOptions {
    /// Reads the kernel's list (`instance,cntlid,transport,…` or `transport=%s,…`).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let name = |option: &str| option.split('=').next().unwrap_or_default().trim().to_owned();
        Self(text.split(',').map(name).filter(|name| !name.is_empty()).collect())
    }

    /// What a kernel takes that does not list its options.
    #[must_use]
    pub fn of_kernel(major: u32, minor: u32) -> Self {
        let known = BY_VERSION.iter().filter(|(since, _)| (major, minor) >= *since);
        Self(known.flat_map(|(_, options)| options.iter().map(|option| (*option).to_owned())).collect())
    }

    /// True when the kernel takes that option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}

/// The option string. It may carry secrets: Debug shows them as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectLine(Vec<(&'static str, Value)>);

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Flag,
    Text(String),
    Secret(Secret),
}

impl ConnectLine {
    /// The string for the kernel alone.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.join(|secret| secret.reveal().to_owned())
    }

    fn join(&self, secret: impl Fn(&Secret) -> String) -> String {
        let option = |(name, value): &(&str, Value)| match value {
            Value::Flag => (*name).to_owned(),
            Value::Text(text) => format!("{name}={text}"),
            Value::Secret(hidden) => format!("{name}={}", secret(hidden)),
        };
        self.0.iter().map(option).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for ConnectLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(ToString::to_string))
    }
}

impl fmt::Debug for ConnectLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why no option string can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The kernel takes commas for separators.
    #[error(
        "{option} contains a comma or a control character ({value:?}), which the kernel's connect interface cannot take"
    )]
    Separator {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Longer than an NQN may be.
    #[error("{option} has {len} bytes, {NQN_MAX} are the most for an NQN")]
    NqnTooLong {
        /// The option.
        option: &'static str,
        /// Its length.
        len: usize,
    },
    /// The kernel would refuse the secret, and print it.
    #[error("{option}: {error}")]
    Secret {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        error: MalformedSecret,
    },
    /// The kernel is too old for what the controller needs.
    #[error("this kernel does not take the option {0}, without which the controller cannot be reached as configured")]
    Unsupported(&'static str),
}

/// Which transports take an option, by the kernel's own tables; an option that a transport does not know fails the
/// whole connect.
fn taken_by(option: &str, transport: Transport) -> bool {
    use Transport::{Fc, Loop, Rdma, Tcp};
    match option {
        "trsvcid" => matches!(transport, Tcp | Rdma),
        "host_traddr" => matches!(transport, Tcp | Rdma | Fc),
        "host_iface" | "hdr_digest" | "data_digest" | "tos" => transport == Tcp,
        "nr_write_queues" | "nr_poll_queues" => matches!(transport, Tcp | Rdma),
        "queue_size" | "nr_io_queues" => transport != Loop,
        "reconnect_delay" | "ctrl_loss_tmo" | "disable_sqflow" => transport != Loop,
        _ => true,
    }
}

/// Makes the option string for one connection.
///
/// # Errors
/// When a value cannot be put into words for the kernel, or the kernel lacks an option that decides where the
/// connection goes.
pub fn connect_line(
    tid: &Tid,
    parameters: &Parameters,
    identity: &HostIdentity,
    discovery: bool,
    supported: &SupportedOptions,
) -> Result<ConnectLine, LineError> {
    let host_nqn = if tid.host_nqn.is_empty() { &identity.nqn } else { &tid.host_nqn };
    for (option, nqn) in [("nqn", &tid.subsysnqn), ("hostnqn", host_nqn)] {
        if nqn.len() > NQN_MAX {
            return Err(LineError::NqnTooLong { option, len: nqn.len() });
        }
    }
    let mut line = Line { options: Vec::new(), transport: tid.transport(), supported };
    line.text("nqn", &tid.subsysnqn)?;
    line.text("transport", tid.transport().as_str())?;
    line.text("traddr", &tid.traddr)?;
    line.text("trsvcid", &tid.trsvcid)?;
    line.must("host_traddr", &tid.host_traddr)?;
    line.must("host_iface", &tid.host_iface)?;
    line.text("hostnqn", host_nqn)?;
    line.text("hostid", &host_id_for(host_nqn, identity))?;
    if discovery {
        line.flag("discovery", tid.subsysnqn != DISCOVERY_NQN);
    } else {
        line.number("nr_io_queues", parameters.nr_io_queues);
        line.number("nr_write_queues", parameters.nr_write_queues);
        line.number("nr_poll_queues", parameters.nr_poll_queues);
    }
    line.number("keep_alive_tmo", parameters.kato);
    line.number("queue_size", parameters.queue_size);
    line.number("reconnect_delay", parameters.reconnect_delay);
    line.number("ctrl_loss_tmo", parameters.ctrl_loss_tmo);
    line.flag("hdr_digest", parameters.hdr_digest == Some(true));
    line.flag("data_digest", parameters.data_digest == Some(true));
    line.flag("disable_sqflow", parameters.disable_sqflow == Some(true));
    let host_secret = parameters.dhchap_secret.as_ref().or(identity.key.as_ref());
    line.secret("dhchap_secret", host_secret)?;
    line.secret("dhchap_ctrl_secret", parameters.dhchap_ctrl_secret.as_ref().filter(|_| host_secret.is_some()))?;
    Ok(ConnectLine(line.options))
}

struct Line<'a> {
    options: Vec<(&'static str, Value)>,
    transport: Transport,
    supported: &'a SupportedOptions,
}

impl Line<'_> {
    fn takes(&self, option: &str) -> bool {
        taken_by(option, self.transport) && self.supported.has(option)
    }

    fn text(&mut self, option: &'static str, value: &str) -> Result<(), LineError> {
        if value.is_empty() || !self.takes(option) {
            return Ok(());
        }
        if value.chars().any(|c| c == ',' || c.is_control()) {
            return Err(LineError::Separator { option, value: value.to_owned() });
        }
        self.options.push((option, Value::Text(value.to_owned())));
        Ok(())
    }

    /// An option without which the connection would go another way than the administrator wants.
    fn must(&mut self, option: &'static str, value: &str) -> Result<(), LineError> {
        if !value.is_empty() && taken_by(option, self.transport) && !self.supported.has(option) {
            return Err(LineError::Unsupported(option));
        }
        self.text(option, value)
    }

    fn number<N: fmt::Display>(&mut self, option: &'static str, value: Option<N>) {
        if let Some(value) = value.filter(|_| self.takes(option)) {
            self.options.push((option, Value::Text(value.to_string())));
        }
    }

    fn flag(&mut self, option: &'static str, set: bool) {
        if set && self.takes(option) {
            self.options.push((option, Value::Flag));
        }
    }

    fn secret(&mut self, option: &'static str, secret: Option<&Secret>) -> Result<(), LineError> {
        let Some(secret) = secret else { return Ok(()) };
        if !self.supported.has(option) {
            return Err(LineError::Unsupported(option));
        }
        let secret = Secret::dhchap(secret.reveal()).map_err(|error| LineError::Secret { option, error })?;
        self.options.push((option, Value::Secret(secret)));
        Ok(())
    }
}

/// From 6.5 the kernel wants host NQN and host ID to map one to one: a host NQN other than the host's own gets an ID
/// of its own, the same one each time: the first 16 bytes of SHA-256 over the host's ID and that NQN, as a UUID.
fn host_id_for(host_nqn: &str, identity: &HostIdentity) -> String {
    if host_nqn == identity.nqn {
        return identity.id.clone();
    }
    let digest = Sha256::new().chain_update(&identity.id).chain_update(host_nqn).finalize();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The kernel's answer to a connect: `instance=3,cntlid=1`. Gives back the instance, the N of nvmeN.
#[must_use]
pub fn parse_answer(answer: &str) -> Option<u32> {
    answer.trim().split(',').find_map(|part| part.trim().strip_prefix("instance=")?.parse().ok())
}

/// What an error of the connect write means.
#[must_use]
pub fn explain(errno: i32) -> &'static str {
    match errno {
        1 => "the kernel does not permit it; is the daemon root?",
        2 => "no such address or interface (ENOENT)",
        5 => "the controller answered with an error (EIO); the kernel's log says which",
        6 => "no such device or address (ENXIO)",
        11 => "the controller asks to try again later (EAGAIN)",
        12 => "the kernel is out of memory",
        16 => "the device is busy (EBUSY)",
        19 => {
            "the kernel has no such transport (ENODEV); load its module (modprobe nvme-tcp, nvme-rdma, nvme-fc, nvme-loop)"
        }
        22 => "the kernel refuses the parameters (EINVAL); its log says which",
        99 => "the source address is not on this host (EADDRNOTAVAIL)",
        101 => "network unreachable",
        104 => "the controller closed the connection (ECONNRESET)",
        110 => "no answer in time (ETIMEDOUT)",
        111 => "connection refused",
        113 => "no route to host",
        114 => "it is connected already (EALREADY)",
        126 => "authentication is required, but no key is configured (ENOKEY)",
        127 => "the key has expired (EKEYEXPIRED)",
        129 => "authentication failed: the key was rejected (EKEYREJECTED)",
        _ => "the kernel could not connect it",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
