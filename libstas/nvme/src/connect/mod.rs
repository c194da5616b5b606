//! Input of a connection: the host's identity and the connection parameters. [`option_string`] makes the option string
//! for the running kernel ([`SupportedOptions`]).

mod answer;
mod host_id;
mod option_string;
mod reconnect_delay;
mod security;
mod supported_options;
#[cfg(test)]
mod tests;

pub use answer::{Answer, parse_answer};
pub use host_id::{host_id_for, host_ids_for};
pub use option_string::{DISCOVERY_KATO, OptionError, SecretLine, option_string};
pub use reconnect_delay::reconnect_delay;
pub use supported_options::{SupportedOptions, kernel_version};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tid;
use super::secret::Secret;
use super::security::Tls;

/// Identity of this host, from sys.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// Host NQN, at most 223 bytes.
    pub nqn: String,
    /// Host ID, a UUID.
    pub id: String,
    /// Default DH-HMAC-CHAP host secret. `None`: the host only authenticates itself to controllers with a configured
    /// secret.
    pub key: Option<Secret>,
    /// Symbolic name for registration with discovery controllers (TP8010).
    pub symname: Option<String>,
    /// Host IDs from the boot tables (NBFT), by host NQN.
    pub boot_ids: BTreeMap<String, Uuid>,
    /// A host NQN, and the host ID that the kernel's connections require for it: that of its connections with this NQN,
    /// or one that no connection with another NQN has.
    pub kernel_id: Option<(String, Uuid)>,
}

impl HostIdentity {
    /// A host with the mandatory parts only: no secret, no symbolic name, no boot tables.
    #[must_use]
    pub fn new(nqn: impl Into<String>, id: impl Into<String>) -> Self {
        Self { nqn: nqn.into(), id: id.into(), key: None, symname: None, boot_ids: BTreeMap::new(), kernel_id: None }
    }

    /// The host NQN for connecting a controller: that of its TID, otherwise the host's own.
    #[must_use]
    pub fn nqn_for<'a>(&'a self, tid: &'a Tid) -> &'a str {
        if tid.host_nqn.is_empty() { &self.nqn } else { &tid.host_nqn }
    }

    /// This identity, extended by the host ID of an existing kernel connection with `host_nqn`. `None` if that is the
    /// host ID for this NQN anyway, or if `host_id` is not a valid UUID.
    #[must_use]
    pub fn with_kernel_id(&self, host_nqn: &str, host_id: &str) -> Option<Self> {
        let id = Uuid::try_parse(host_id).ok().filter(|id| !id.is_nil())?;
        let is_other = host_id_for(host_nqn, self).is_some_and(|meant| meant != id);
        is_other.then(|| Self { kernel_id: Some((host_nqn.to_owned(), id)), ..self.clone() })
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An I/O controller: gives access to namespaces.
    Io,
    /// A discovery controller with a persistent connection: with keep-alive and asynchronous events.
    Discovery,
    /// A discovery controller without keep-alive support: it is connected, read and disconnected.
    Poll,
}

impl Purpose {
    /// True for a connection to a discovery controller.
    #[must_use]
    pub fn is_discovery(self) -> bool {
        self != Self::Io
    }
}

/// Parameters of one connection. `None` leaves the choice to the kernel. Secrets and the required protection are never
/// saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// NVMe/TCP header digest.
    pub hdr_digest: Option<bool>,
    /// NVMe/TCP data digest.
    pub data_digest: Option<bool>,
    /// Keep-alive timeout in seconds.
    pub kato: Option<u32>,
    /// Number of entries of each I/O queue.
    pub queue_size: Option<u32>,
    /// Number of I/O queues.
    pub nr_io_queues: Option<u32>,
    /// Number of additional write queues.
    pub nr_write_queues: Option<u32>,
    /// Number of additional poll queues.
    pub nr_poll_queues: Option<u32>,
    /// Seconds between two reconnect attempts of the kernel.
    pub reconnect_delay: Option<u32>,
    /// Seconds until the kernel removes a controller whose connection is lost. -1: never.
    pub ctrl_loss_tmo: Option<i32>,
    /// True: request that SQ flow control be disabled.
    pub disable_sqflow: Option<bool>,
    /// DH-HMAC-CHAP secret of this host for this controller.
    #[serde(skip)]
    pub dhchap_secret: Option<Secret>,
    /// DH-HMAC-CHAP secret that the controller must prove to know.
    #[serde(skip)]
    pub dhchap_ctrl_secret: Option<Secret>,
    /// Required protection of the connection. `None`: the log page decides.
    #[serde(skip)]
    pub tls: Option<Tls>,
}

impl Parameters {
    /// These parameters, with the values of `base` where a parameter is `None`.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        macro_rules! first {
            ($($field:ident),*) => { Self { $($field: self.$field.clone().or_else(|| base.$field.clone())),* } };
        }
        first!(
            hdr_digest,
            data_digest,
            kato,
            queue_size,
            nr_io_queues,
            nr_write_queues,
            nr_poll_queues,
            reconnect_delay,
            ctrl_loss_tmo,
            disable_sqflow,
            dhchap_secret,
            dhchap_ctrl_secret,
            tls
        )
    }
}
