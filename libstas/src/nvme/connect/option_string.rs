//! The option string that is written to /dev/nvme-fabrics: `nqn=…,transport=tcp,traddr=…`.
//!
//! One option that the kernel or the transport does not know fails the whole connect, and a value with a comma would
//! become two options. So only what both take goes in, and what cannot be put into words is refused here, where the
//! message can say which value it is.

use std::fmt;
use std::ops::RangeInclusive;

use super::{HostIdentity, Parameters, Purpose, SupportedOptions, host_id_for, reconnect_delay};
use crate::nvme::secret::MalformedSecret;
use crate::nvme::security::Obstacle;
use crate::nvme::tid::{parse_ip, parse_link_local};
use crate::nvme::{DISCOVERY_NQN, Secret, Tid, Transport};

/// Keep-alive timeout in seconds of a discovery controller for which none is set. A host asks for a persistent
/// connection by a keep-alive timeout that is not zero (NVMe Base 2.1, 3.1.3.3); without it there are no events.
pub const DISCOVERY_KATO: u32 = 30;
/// The kernel wants NQNs to be shorter than the 223 bytes that the specification allows.
const KERNEL_NQN_MAX: usize = 222;
/// The kernel takes at most one page.
const LINE_MAX: usize = 4096;
/// Entries of a queue that the kernel takes.
const QUEUE_SIZE: RangeInclusive<u32> = 16..=1024;
/// The kernel reads signed numbers.
const POSITIVE: RangeInclusive<u32> = 1..=i32::MAX as u32;

/// An option string. It may carry secrets: Debug and Display show them as `***`.
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
    /// The string itself, for the kernel alone.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.join(Secret::reveal)
    }

    /// What was asked for and is not in it, because this kernel does not know the option.
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

/// Why a connection cannot be put into words for the kernel. No use to try again before the configuration changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The transport cannot do without it.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value that the kernel would take for the next option.
    #[error("{option} is {value:?}: the kernel takes no commas and no control characters in it")]
    Separator {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Something else where an IP address must be.
    #[error("{option} is {value:?}, which is no IP address")]
    NotAnAddress {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// An address that exists on every link.
    #[error("traddr {0} is link-local: say on which interface, as {0}%INTERFACE or by host-iface")]
    NoScope(String),
    /// A number that the kernel refuses.
    #[error("{option} is {value}; the kernel takes {least} to {most}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: u32,
        /// The least that is taken.
        least: u32,
        /// The most that is taken.
        most: u32,
    },
    /// A name that is longer than the kernel takes.
    #[error("{option} has {len} bytes; the kernel takes {KERNEL_NQN_MAX}")]
    NqnTooLong {
        /// The option.
        option: &'static str,
        /// Its length.
        len: usize,
    },
    /// The host ID is no UUID.
    #[error("the host ID {0:?} is no UUID; `stasadm hostid` makes one")]
    HostId(String),
    /// A secret that the kernel would refuse, and print in its log.
    #[error("{option}: {error}")]
    Secret {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        error: MalformedSecret,
    },
    /// The controller is to prove itself, but the kernel asks it only while the host proves itself too.
    #[error("dhchap-ctrl-secret needs a dhchap-secret, or a key of the host in sys.conf")]
    ControllerSecretAlone,
    /// The connection would be less secure than it must be.
    #[error(transparent)]
    Insecure(#[from] Obstacle),
    /// The kernel is too old, or built without it.
    #[error("this kernel does not take {0}")]
    Unsupported(&'static str),
    /// Longer than the kernel takes.
    #[error("the options of the connection have {0} bytes; the kernel takes {LINE_MAX}")]
    TooLong(usize),
}

/// Makes the option string for one connection.
///
/// It never asks for a duplicate of an existing connection. A zero among the parameters leaves the choice to the
/// kernel, as in nvme-stas.
///
/// # Errors
/// What cannot be put into words for this kernel.
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
    let mut line = Line { options: Vec::new(), left_out: Vec::new(), transport: tid.transport(), supported };
    line.controller(tid)?;
    line.host(tid, identity)?;
    if purpose.is_discovery() {
        // The kernel knows the well-known NQN by itself (TP8013).
        line.flag("discovery", tid.subsysnqn != DISCOVERY_NQN);
    }
    let spread = host_id_for(host_nqn(tid, identity), identity).filter(|_| purpose.is_discovery());
    let parameters = &Parameters {
        reconnect_delay: parameters.reconnect_delay.or(spread.map(reconnect_delay)),
        ..parameters.clone()
    };
    line.parameters(parameters, purpose)?;
    line.secrets(parameters, identity)?;
    line.done()
}

/// As whom the host connects there.
fn host_nqn<'a>(tid: &'a Tid, identity: &'a HostIdentity) -> &'a str {
    if tid.host_nqn.is_empty() { &identity.nqn } else { &tid.host_nqn }
}

/// Which transports take an option (`allowed_opts` of the kernel's drivers).
fn taken_by(option: &str, transport: Transport) -> bool {
    use Transport::{Fc, Loop, Rdma, Tcp};
    match option {
        "trsvcid" | "nr_write_queues" | "nr_poll_queues" => matches!(transport, Tcp | Rdma),
        "host_traddr" | "reconnect_delay" | "ctrl_loss_tmo" => matches!(transport, Tcp | Rdma | Fc),
        "host_iface" | "hdr_digest" | "data_digest" => transport == Tcp,
        // The loop driver would take these two, but a queue within the host gains nothing from them.
        "queue_size" | "nr_io_queues" => transport != Loop,
        _ => true,
    }
}

struct Line<'a> {
    options: Vec<(&'static str, Value)>,
    left_out: Vec<&'static str>,
    transport: Transport,
    supported: &'a SupportedOptions,
}

impl Line<'_> {
    fn controller(&mut self, tid: &Tid) -> Result<(), OptionError> {
        self.need("nqn", &tid.subsysnqn)?;
        self.nqn("nqn", &tid.subsysnqn)?;
        self.text("transport", tid.transport().as_str())?;
        if tid.transport() != Transport::Loop {
            self.need("traddr", &tid.traddr)?;
        }
        self.text("traddr", self.address(tid)?)?;
        if self.transport.is_ip() {
            // Without a port the kernel takes that of a discovery controller.
            self.need("trsvcid", &tid.trsvcid)?;
        }
        self.text("trsvcid", &tid.trsvcid)
    }

    /// The transport address. A link-local one has a scope, unless nothing says on which interface it is.
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
        let host_nqn = host_nqn(tid, identity);
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
            // Left out, it is zero for a discovery controller.
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
            // The default key of a host whose kernel has no authentication: the target decides whether it wants that.
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

    /// Appends an option that the transport takes, if the kernel does too.
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
