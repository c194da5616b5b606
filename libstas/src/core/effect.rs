//! What the cores ask of the host, and what the host tells the cores.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{CtrlRef, Links, Look, OpId};
use crate::nvme::secret::DhchapSecrets;
use crate::nvme::{HostIdentity, Parameters, Purpose, Tid, Transport};

/// Where a TCP reachability probe goes to and comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Portal {
    /// Transport address: an IP address, or an FC address (`nn-…:pn-…`).
    pub traddr: String,
    /// Transport service identifier: the port of TCP and RDMA, empty for other transports.
    pub trsvcid: String,
    /// Source address, or empty.
    pub host_traddr: String,
    /// Interface, or empty.
    pub host_iface: String,
}

impl Portal {
    /// The portal of a TCP controller; other transports have none to probe.
    #[must_use]
    pub fn of(tid: &Tid) -> Option<Self> {
        (tid.transport() == Transport::Tcp).then(|| Self {
            traddr: tid.traddr.clone(),
            trsvcid: tid.trsvcid.clone(),
            host_traddr: tid.host_traddr.clone(),
            host_iface: tid.host_iface.clone(),
        })
    }
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It answers (with an ICResp, where a handshake was asked for).
    Alive,
    /// Timeout, refused, unreachable: the text says which.
    Dead(String),
    /// A local error says nothing about the other side.
    Unknown(String),
    /// It was not made: the other daemon waits for nothing.
    Skipped,
}

/// One connection that the kernel is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The controller, by the address that is to be connected.
    pub tid: Tid,
    /// The connection parameters, secrets included.
    pub parameters: Parameters,
    /// The host NQN and host ID that it is connected with.
    pub identity: Arc<HostIdentity>,
    /// Whether it is connected for discovery or for I/O.
    pub purpose: Purpose,
    /// Connections that are not adopted for it, although they serve it.
    pub passed_over: BTreeSet<CtrlRef>,
}

impl ConnectRequest {
    /// The DH-HMAC-CHAP secrets that go with it, if it has a usable one.
    #[must_use]
    pub fn secrets(&self) -> Option<DhchapSecrets> {
        DhchapSecrets::of(&self.parameters, self.identity.key.as_ref())
    }

    /// The same request with these secrets, or without any.
    #[must_use]
    pub fn with_secrets(&self, secrets: Option<&DhchapSecrets>) -> Self {
        let mut request = self.clone();
        request.identity = Arc::new(HostIdentity { key: None, ..HostIdentity::clone(&self.identity) });
        request.parameters.dhchap_secret = secrets.map(|secrets| secrets.host.clone());
        request.parameters.dhchap_ctrl_secret = secrets.and_then(|secrets| secrets.controller.clone());
        request
    }
}

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The kernel has such a connection already, though no look shows which (EALREADY).
    #[error("the kernel says that it is connected already")]
    Already,
    /// The kernel's answer, in words for a person.
    #[error("{reason}")]
    Kernel {
        /// The errno of the write to /dev/nvme-fabrics.
        errno: i32,
        /// What it means.
        reason: String,
    },
    /// The request cannot be put into words for the kernel (a comma in a value, a bad secret): no use to try again
    /// before the configuration changes.
    #[error("{0}")]
    Invalid(String),
}

impl ConnectError {
    /// The kernel's errno, where it was the kernel that said no.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Already | Self::Invalid(_) => None,
        }
    }
}

/// What came of a connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The write made this controller.
    Made(CtrlRef),
    /// The look before the write found one that serves.
    Found(CtrlRef),
    /// No connection serves the controller, and none was made.
    Failed(ConnectError),
}

/// The answer to [`HostEffect::Connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectReport {
    /// What came of it.
    pub outcome: ConnectOutcome,
    /// The look after the write (the one before it, if nothing was written).
    pub look: Look,
    /// How long the write held the host's connect lane.
    pub held: Duration,
}

/// Whether a controller's namespaces can be spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Nothing is lost without it.
    Free,
    /// It is the last live path to storage in use: the text says which and by whom (`nvme0n1 is mounted on /srv`).
    LastPath(String),
    /// It could not be found out: the text says why. Treated as in use.
    Unknown(String),
}

/// What came of a change of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The kernel has them already.
    Current,
    /// The target took them, and the kernel has them now.
    Written,
    /// The target took the host's, and the kernel has it now. It takes no secret of the controller for a connection that
    /// was made without one.
    HostWritten,
    /// They differ, and the kernel is not reconnecting the controller: it keeps those that it has.
    Later,
    /// The target does not take them; the text says why. The kernel keeps those that it has.
    Refused(String),
    /// It could not be found out; the text says why. The kernel keeps those that it has.
    Unknown(String),
    /// The connection was made without authentication: the kernel takes no secret for it.
    Impossible,
}

/// A kernel event about a controller: a hint, for sysfs is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    /// Its sequence number.
    pub seqnum: u64,
    /// The N of nvmeN.
    pub device: u32,
    /// What it says.
    pub kind: UeventKind,
}

/// What a kernel event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UeventKind {
    /// A controller was added.
    Add,
    /// A controller was removed.
    Remove,
    /// NVME_AEN: an asynchronous event in the format of completion dword 0 (NVMe Base 2.0, Figure 145).
    Aen(u32),
    /// NVME_EVENT=connected: the kernel has (re-)connected it.
    Connected,
    /// NVME_EVENT=rediscover: a discovery controller was re-connected, all that it said is to be read again.
    Rediscover,
    /// An event that changes nothing here.
    Other,
}

/// What is asked of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEffect {
    /// Look at all controllers, their states included; answered by [`HostEvent::Looked`].
    Look(OpId),
    /// See whether a portal answers, within 3 s; with `handshake` also by ICReq and ICResp. Answered by
    /// [`HostEvent::Probed`].
    Probe {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The address and port that are tried.
        portal: Portal,
        /// Exchange ICReq and ICResp too.
        handshake: bool,
        /// Skip it if the other daemon waits for no connection: then a dead portal holds nothing up.
        only_if_others_wait: bool,
    },
    /// Take the host's connect lane, look, and unless a connection serves already make one. Answered by
    /// [`HostEvent::Connected`].
    Connect {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// What to make.
        request: Box<ConnectRequest>,
    },
    /// Disconnect exactly that controller. Answered by [`HostEvent::Disconnected`].
    Disconnect {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The connection, by its device number and its birth.
        ctrl: CtrlRef,
    },
    /// Find out whether storage in use hangs off it alone. Answered by [`HostEvent::UseChecked`].
    CheckUse {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The connection, by its device number and its birth.
        ctrl: CtrlRef,
        /// Controllers that are on their way out: they are no other path, whatever sysfs says of them yet.
        leaving: Vec<CtrlRef>,
    },
    /// Look a host name up. Answered by [`HostEvent::Resolved`].
    Resolve {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The host name, as the configuration has it.
        name: String,
    },
    /// Record in the registry that a connection without an owner is ours now. No answer: the next snapshot shows it.
    Claim(CtrlRef),
    /// Compare the DH-HMAC-CHAP secrets that the kernel has for that controller with those of the request. If they differ
    /// and the kernel is reconnecting the controller, try at the target whether it takes the request's, by a connect that
    /// makes no namespace; if it does, give them to the kernel. Answered by [`HostEvent::SecretsRotated`].
    RotateSecrets {
        /// The operation; the event that answers bears the same ID.
        op: OpId,
        /// The connection, by its device number and its birth.
        ctrl: CtrlRef,
        /// Where to, and with what.
        request: Box<ConnectRequest>,
    },
    /// Make its secrets in sysfs unreadable for all but root. No answer.
    HideSecrets(CtrlRef),
    /// Write this to the log. No answer.
    Tell(Notice),
    /// What the core knows has changed: save it soon. No answer.
    Save,
}

/// What the host tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The answer to [`HostEffect::Look`]; the shell may also look by itself, with [`OpId::UNASKED`].
    Looked {
        /// The operation that this answers.
        op: OpId,
        /// What there is; the error says why sysfs could not be read.
        result: Result<Look, String>,
    },
    /// The kernel said something.
    Uevent(Uevent),
    /// Kernel events were lost.
    Overrun,
    /// The answer to [`HostEffect::Probe`].
    Probed {
        /// The operation that this answers.
        op: OpId,
        /// What came of it.
        outcome: ProbeOutcome,
    },
    /// The answer to [`HostEffect::Connect`].
    Connected {
        /// The operation that this answers.
        op: OpId,
        /// What came of it.
        report: Box<ConnectReport>,
    },
    /// The answer to [`HostEffect::Disconnect`].
    Disconnected {
        /// The operation that this answers.
        op: OpId,
        /// The error says why the kernel would not.
        result: Result<(), String>,
    },
    /// The answer to [`HostEffect::CheckUse`].
    UseChecked {
        /// The operation that this answers.
        op: OpId,
        /// What was found.
        usage: Usage,
    },
    /// The answer to [`HostEffect::Resolve`].
    Resolved {
        /// The operation that this answers.
        op: OpId,
        /// Its addresses in the resolver's order; the error says why there are none.
        result: Result<Vec<IpAddr>, String>,
    },
    /// The answer to [`HostEffect::RotateSecrets`].
    SecretsRotated {
        /// The operation that this answers.
        op: OpId,
        /// What came of it.
        outcome: Rotated,
        /// How long it held the host's connect path.
        held: Duration,
    },
    /// The network interfaces as they are now; the first one comes at start.
    Links(Arc<Links>),
    /// A route was added or changed.
    RouteAdded,
}

/// How loud a [`Notice`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with tron.
    Debug,
    /// Something happened as it should.
    Info,
    /// Something is not as it should be, and is being dealt with.
    Warning,
    /// Something is wrong, and somebody has to act.
    Error,
}

/// One line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The priority of the journal entry.
    pub level: Level,
    /// The controller that this is about, if it is about one.
    pub tid: Option<Tid>,
    /// The connection that this is about, if there is one.
    pub ctrl: Option<CtrlRef>,
    /// What happened, what will be done about it and when.
    pub text: String,
}
