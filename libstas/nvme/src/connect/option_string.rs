//! The option string that is written to /dev/nvme-fabrics: `nqn=…,transport=tcp,traddr=…`.
//!
//! An option that the kernel or the transport does not know makes the whole connect fail, and a value with a comma
//! would become two options. So the string contains only options that both know. A value that cannot be passed is
//! refused here, where the error can name it.

use std::fmt;
use std::ops::RangeInclusive;

use super::{HostIdentity, Parameters, Purpose, SupportedOptions, host_id_for, reconnect_delay};
use crate::secret::MalformedSecret;
use crate::security::Obstacle;
use crate::tid::{parse_ip, parse_link_local};
use crate::{DISCOVERY_NQN, Secret, Tid, Transport};

/// Keep-alive timeout in seconds of a discovery controller if none is configured. A non-zero keep-alive timeout
/// requests a persistent connection (NVMe Base 2.1, 3.1.3.3). Without it there are no asynchronous events.
pub const DISCOVERY_KATO: u32 = 30;
/// Longest NQN that the kernel takes, in bytes. The specification allows 223.
const KERNEL_NQN_MAX: usize = 222;
/// Longest option string that the kernel takes, in bytes: one page.
const LINE_MAX: usize = 4096;
/// Queue sizes that the kernel takes, in entries.
const QUEUE_SIZE: RangeInclusive<u32> = 16..=1024;
/// Values of the kernel's signed numbers that are greater than zero.
const POSITIVE: RangeInclusive<u32> = 1..=i32::MAX as u32;

/// An option string. It may contain secrets: Debug and Display show them as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretLine {
    options: Vec<(&'static str, Value)>,
    left_out: Vec<&'static str>,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Flag,
    Text(String),
    Secret(Secret),
}

impl SecretLine {
    /// The option string with its secrets, for the kernel only.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.join(Secret::reveal)
    }

    /// Requested options that are not in the string because this kernel does not know them.
    #[must_use]
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    fn join<'a>(&'a self, show: impl Fn(&'a Secret) -> &'a str) -> String {
        let option = |(name, value): &'a (&'static str, Value)| match value {
            Value::Flag => (*name).to_owned(),
            Value::Text(text) => format!("{name}={text}"),
            Value::Secret(secret) => format!("{name}={}", show(secret)),
        };
        self.options.iter().map(option).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for SecretLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(|_| "***"))
    }
}

impl fmt::Debug for SecretLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why no option string can be made. Retrying is useless before the configuration changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// An option that the transport requires is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value contains a comma or a control character: the kernel would read the rest as the next option.
    #[error("{option} is {value:?}: the kernel takes no commas and no control characters in it")]
    Separator {
        /// Name of the kernel option.
        option: &'static str,
        /// The refused value.
        value: String,
    },
    /// A value is not an IP address.
    #[error("{option} is {value:?}, which is no IP address")]
    NotAnAddress {
        /// Name of the kernel option: `traddr` or `host_traddr`.
        option: &'static str,
        /// The refused value.
        value: String,
    },
    /// A link-local address without an interface: it exists on every link.
    #[error("traddr {0} is link-local: say on which interface, as {0}%INTERFACE or by host-iface")]
    NoScope(String),
    /// A number is outside the range that the kernel takes.
    #[error("{option} is {value}; the kernel takes {least} to {most}")]
    Range {
        /// Name of the kernel option.
        option: &'static str,
        /// The refused value.
        value: u32,
        /// Smallest value that the kernel takes.
        least: u32,
        /// Largest value that the kernel takes.
        most: u32,
    },
    /// An NQN is longer than the kernel takes.
    #[error("{option} has {len} bytes; the kernel takes {KERNEL_NQN_MAX}")]
    NqnTooLong {
        /// Name of the kernel option: `nqn` or `hostnqn`.
        option: &'static str,
        /// Length of the NQN in bytes.
        len: usize,
    },
    /// The host ID is not a UUID.
    #[error("the host ID {0:?} is no UUID; `stasadm hostid` creates one")]
    HostId(String),
    /// A secret is malformed: the kernel would refuse it and print it in its log.
    #[error("{option}: {error}")]
    Secret {
        /// Name of the kernel option.
        option: &'static str,
        /// What is wrong with the secret.
        error: MalformedSecret,
    },
    /// The controller must authenticate itself, but the kernel requests that only if the host authenticates itself,
    /// too.
    #[error("dhchap-ctrl-secret needs a dhchap-secret, or a key of the host in sys.conf")]
    ControllerSecretAlone,
    /// The connection would be less secure than required.
    #[error(transparent)]
    Insecure(#[from] Obstacle),
    /// The kernel does not know the option: it is too old, or was built without it.
    #[error("this kernel does not take {0}")]
    Unsupported(&'static str),
    /// The option string is longer than the kernel takes. Length in bytes.
    #[error("the options of the connection have {0} bytes; the kernel takes {LINE_MAX}")]
    TooLong(usize),
}

/// Makes the option string for one connection.
///
/// It never requests a duplicate of an existing connection. A parameter of zero leaves the choice to the kernel, as in
/// nvme-stas.
///
/// # Errors
/// [`OptionError`] if this kernel cannot be told all that the connection requires.
pub fn option_string(
    tid: &Tid,
    parameters: &Parameters,
    identity: &HostIdentity,
    purpose: Purpose,
    supported: &SupportedOptions,
) -> Result<SecretLine, OptionError> {
    if let Some(obstacle) = parameters.obstacle() {
        return Err(obstacle.into());
    }
    let mut line = OptionLine { options: Vec::new(), left_out: Vec::new(), transport: tid.transport(), supported };
    line.controller(tid)?;
    line.host(tid, identity)?;
    if purpose.is_discovery() {
        // The kernel recognises the well-known NQN without this flag (TP8013).
        line.flag("discovery", tid.subsysnqn != DISCOVERY_NQN);
    }
    let spread = host_id_for(identity.nqn_for(tid), identity).filter(|_| purpose.is_discovery());
    let parameters = &Parameters {
        reconnect_delay: parameters.reconnect_delay.or(spread.map(reconnect_delay)),
        ..parameters.clone()
    };
    line.parameters(parameters, purpose)?;
    line.secrets(parameters, identity)?;
    line.done()
}

/// Which transports take an option (`allowed_opts` of the kernel's drivers).
fn taken_by(option: &str, transport: Transport) -> bool {
    use Transport::{Fc, Loop, Rdma, Tcp};
    match option {
        "trsvcid" | "nr_write_queues" | "nr_poll_queues" => matches!(transport, Tcp | Rdma),
        "host_traddr" | "reconnect_delay" | "ctrl_loss_tmo" => matches!(transport, Tcp | Rdma | Fc),
        "host_iface" | "hdr_digest" | "data_digest" => transport == Tcp,
        // The loop driver takes these two, but a queue within the host gains nothing from them.
        "queue_size" | "nr_io_queues" => transport != Loop,
        _ => true,
    }
}

struct OptionLine<'a> {
    options: Vec<(&'static str, Value)>,
    left_out: Vec<&'static str>,
    transport: Transport,
    supported: &'a SupportedOptions,
}

impl OptionLine<'_> {
    fn controller(&mut self, tid: &Tid) -> Result<(), OptionError> {
        self.need("nqn", &tid.subsysnqn)?;
        self.nqn("nqn", &tid.subsysnqn)?;
        self.text("transport", tid.transport().as_str())?;
        if tid.transport() != Transport::Loop {
            self.need("traddr", &tid.traddr)?;
        }
        self.text("traddr", self.address(tid)?)?;
        if self.transport.is_ip() {
            // Without a port the kernel would take the default port of discovery controllers.
            self.need("trsvcid", &tid.trsvcid)?;
        }
        self.text("trsvcid", &tid.trsvcid)
    }

    /// The transport address. A link-local address must have a scope.
    fn address<'t>(&self, tid: &'t Tid) -> Result<&'t str, OptionError> {
        if self.transport.is_ip() {
            if parse_ip(&tid.traddr).is_none() {
                return Err(OptionError::NotAnAddress { option: "traddr", value: tid.traddr.clone() });
            }
            if let Some((_, None)) = parse_link_local(&tid.traddr) {
                return Err(OptionError::NoScope(tid.traddr.clone()));
            }
        }
        Ok(&tid.traddr)
    }

    fn host(&mut self, tid: &Tid, identity: &HostIdentity) -> Result<(), OptionError> {
        if self.transport == Transport::Fc {
            self.need("host_traddr", &tid.host_traddr)?;
        }
        if self.transport.is_ip() && !tid.host_traddr.is_empty() && parse_ip(&tid.host_traddr).is_none() {
            return Err(OptionError::NotAnAddress { option: "host_traddr", value: tid.host_traddr.clone() });
        }
        self.text("host_traddr", &tid.host_traddr)?;
        self.text("host_iface", &tid.host_iface)?;
        let host_nqn = identity.nqn_for(tid);
        self.need("hostnqn", host_nqn)?;
        self.nqn("hostnqn", host_nqn)?;
        let host_id = host_id_for(host_nqn, identity).ok_or_else(|| OptionError::HostId(identity.id.clone()))?;
        self.text("hostid", &host_id.hyphenated().to_string())
    }

    fn parameters(&mut self, parameters: &Parameters, purpose: Purpose) -> Result<(), OptionError> {
        let kato = parameters.kato.filter(|kato| *kato > 0);
        let kato = match purpose {
            Purpose::Io => kato,
            Purpose::Discovery => kato.or(Some(DISCOVERY_KATO)),
            // Without the option the timeout of a discovery controller is zero.
            Purpose::Poll => None,
        };
        self.number("keep_alive_tmo", kato, POSITIVE)?;
        self.number("queue_size", parameters.queue_size, QUEUE_SIZE)?;
        if !purpose.is_discovery() {
            // A discovery controller has no I/O queues.
            self.number("nr_io_queues", parameters.nr_io_queues, POSITIVE)?;
            self.number("nr_write_queues", parameters.nr_write_queues, POSITIVE)?;
            self.number("nr_poll_queues", parameters.nr_poll_queues, POSITIVE)?;
        }
        self.number("reconnect_delay", parameters.reconnect_delay, POSITIVE)?;
        if let Some(seconds) = parameters.ctrl_loss_tmo {
            self.text("ctrl_loss_tmo", &seconds.to_string())?;
        }
        self.flag("hdr_digest", parameters.hdr_digest == Some(true));
        self.flag("data_digest", parameters.data_digest == Some(true));
        self.flag("disable_sqflow", parameters.disable_sqflow == Some(true));
        Ok(())
    }

    fn secrets(&mut self, parameters: &Parameters, identity: &HostIdentity) -> Result<(), OptionError> {
        let own = parameters.dhchap_secret.as_ref();
        match own.or(identity.key.as_ref()) {
            // Default key of a host whose kernel has no authentication: the target decides whether it requires it.
            Some(_) if own.is_none() && !self.supported.has("dhchap_secret") => self.left_out.push("dhchap_secret"),
            Some(secret) => self.secret("dhchap_secret", secret)?,
            None if parameters.dhchap_ctrl_secret.is_some() => return Err(OptionError::ControllerSecretAlone),
            None => {}
        }
        match &parameters.dhchap_ctrl_secret {
            Some(secret) => self.secret("dhchap_ctrl_secret", secret),
            None => Ok(()),
        }
    }

    fn done(self) -> Result<SecretLine, OptionError> {
        let line = SecretLine { options: self.options, left_out: self.left_out };
        match line.reveal().len() {
            len if len > LINE_MAX => Err(OptionError::TooLong(len)),
            _ => Ok(line),
        }
    }

    fn takes(&self, option: &str) -> bool {
        taken_by(option, self.transport) && self.supported.has(option)
    }

    /// Appends an option that the transport takes, or notes it as left out if the kernel does not know it.
    fn push(&mut self, option: &'static str, value: Value) {
        if self.takes(option) {
            self.options.push((option, value));
        } else if taken_by(option, self.transport) {
            self.left_out.push(option);
        }
    }

    fn need(&self, option: &'static str, value: &str) -> Result<(), OptionError> {
        if value.is_empty() { Err(OptionError::Missing(option)) } else { Ok(()) }
    }

    fn text(&mut self, option: &'static str, value: &str) -> Result<(), OptionError> {
        if value.is_empty() {
            return Ok(());
        }
        if value.chars().any(|c| c == ',' || c.is_control()) {
            return Err(OptionError::Separator { option, value: value.to_owned() });
        }
        self.push(option, Value::Text(value.to_owned()));
        Ok(())
    }

    fn nqn(&mut self, option: &'static str, value: &str) -> Result<(), OptionError> {
        if value.len() > KERNEL_NQN_MAX {
            return Err(OptionError::NqnTooLong { option, len: value.len() });
        }
        self.text(option, value)
    }

    fn number(
        &mut self,
        option: &'static str,
        value: Option<u32>,
        range: RangeInclusive<u32>,
    ) -> Result<(), OptionError> {
        match value {
            None | Some(0) => {}
            Some(value) if range.contains(&value) => self.push(option, Value::Text(value.to_string())),
            Some(value) => {
                let (least, most) = (*range.start(), *range.end());
                return Err(OptionError::Range { option, value, least, most });
            }
        }
        Ok(())
    }

    fn flag(&mut self, option: &'static str, set: bool) {
        if set {
            self.push(option, Value::Flag);
        }
    }

    fn secret(&mut self, option: &'static str, secret: &Secret) -> Result<(), OptionError> {
        if !self.supported.has(option) {
            return Err(OptionError::Unsupported(option));
        }
        let secret = Secret::dhchap(secret.reveal()).map_err(|error| OptionError::Secret { option, error })?;
        self.push(option, Value::Secret(secret));
        Ok(())
    }
}
