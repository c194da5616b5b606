//! Requests of the cores to the host (effects), and reports of the host to the cores (events).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connect_error::{ConnectError, RotationError};
use super::probe::ProbeOutcome;
use super::trust::Urgency;
use super::usage::Usage;
use super::{CtrlRef, DisconnectError, Links, OpId, ResolveError, Snapshot, SnapshotError};
use stas_nvme::secret::DhchapSecrets;
use stas_nvme::{HostIdentity, Parameters, Purpose, Tid, Transport};

/// The two ends of a TCP reachability probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The portal of a TCP controller; `None` for other transports, which are not probed.
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

/// A request to connect one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The controller, with the address to connect to.
    pub tid: Tid,
    /// The connection parameters, including secrets.
    pub parameters: Parameters,
    /// The host NQN and host ID to connect with.
    pub identity: Arc<HostIdentity>,
    /// Whether the connection is for discovery or for I/O.
    pub purpose: Purpose,
    /// Connections that are not adopted for it, although they serve it.
    pub passed_over: BTreeSet<CtrlRef>,
}

impl ConnectRequest {
    /// The DH-HMAC-CHAP secrets of the request; `None` without a usable one.
    #[must_use]
    pub fn secrets(&self) -> Option<DhchapSecrets> {
        self.parameters.dhchap_secrets(self.identity.key.as_ref())
    }

    /// Returns the same request with these secrets, or without any.
    #[must_use]
    pub fn with_secrets(&self, secrets: Option<&DhchapSecrets>) -> Self {
        let mut request = self.clone();
        request.identity = Arc::new(HostIdentity { key: None, ..HostIdentity::clone(&self.identity) });
        request.parameters.dhchap_secret = secrets.map(|secrets| secrets.host.clone());
        request.parameters.dhchap_ctrl_secret = secrets.and_then(|secrets| secrets.controller.clone());
        request
    }
}

/// The outcome of a connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The write created this controller.
    Made(CtrlRef),
    /// The snapshot before the write shows a connection that serves the controller; nothing was written.
    Found(CtrlRef),
    /// No connection serves the controller, and none was made.
    Failed(ConnectError),
}

/// The answer to [`HostEffect::Connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectReport {
    /// The outcome of the connect.
    pub outcome: ConnectOutcome,
    /// The snapshot taken after the write, or before it if nothing was written.
    pub snapshot: Snapshot,
    /// How long the write blocked the connect path of the host.
    pub blocked_for: Duration,
}

/// The outcome of a change of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The kernel has these secrets already.
    Current,
    /// The target accepted them, and they were written to the kernel.
    Written,
    /// The target accepted the host secret, and it was written to the kernel. The kernel takes no controller secret for
    /// a connection that was made without one.
    HostWritten,
    /// They differ, but the kernel is not reconnecting the controller: its secrets are left as they are.
    Later,
    /// The target refused them. The kernel's secrets are left as they are.
    Refused(ConnectError),
    /// The check failed. The kernel's secrets are left as they are.
    Unknown(RotationError),
    /// The connection was made without authentication: the kernel takes no secret for it.
    Impossible,
}

/// A kernel event about a controller. It is a hint; sysfs is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    /// The sequence number of the kernel (SEQNUM).
    pub seqnum: u64,
    /// The N of nvmeN.
    pub device: u32,
    /// The kind of event.
    pub kind: UeventKind,
}

/// The kind of a kernel event.
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
    /// NVME_EVENT=rediscover: a discovery controller was reconnected, so its log page must be read again.
    Rediscover,
    /// An event that changes nothing here.
    Other,
}

/// A request to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEffect {
    /// Take a snapshot of all controllers. Answered by [`HostEvent::SnapshotTaken`].
    TakeSnapshot(OpId),
    /// Probe a portal by a TCP connect, ICReq and ICResp; at most 3 s. Answered by [`HostEvent::Probed`].
    Probe {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The address and port to probe.
        portal: Portal,
        /// Skip the probe if the other daemon has no connection waiting: then a dead portal delays nothing.
        only_if_others_wait: bool,
    },
    /// Wait for the connect path of the host, take a snapshot, and make a connection unless one serves already.
    /// Answered by [`HostEvent::Connected`].
    Connect {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The connection to make.
        request: Box<ConnectRequest>,
    },
    /// Announce that this daemon waits for a connection of this urgency; `None`: it waits for none. While it waits, the
    /// other daemon makes no connection that is less urgent. No answer.
    WaitFor(Option<Urgency>),
    /// Disconnect exactly that controller. Answered by [`HostEvent::Disconnected`].
    Disconnect {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The connection, by its instance number and its inode number.
        ctrl: CtrlRef,
        /// True if its end may take storage away. If it is true and `recheck_use` is `None`, the disconnect fails with
        /// [`DisconnectError::CarriesSystem`] when this host may run from the controller.
        ends_use: bool,
        /// If it is set, the checks that open no device are repeated right before the only attempt: the storage may
        /// have come into use since [`HostEffect::CheckUse`]. Contains the controllers that do not count as other
        /// paths.
        recheck_use: Option<Vec<CtrlRef>>,
    },
    /// Check whether the controller is the last path to storage in use. Answered by [`HostEvent::UseChecked`].
    CheckUse {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The connection, by its instance number and its inode number.
        ctrl: CtrlRef,
        /// Controllers that do not count as another path, whatever state sysfs shows: those being disconnected, and, if
        /// `ctrl` does not depend on mDNS alone, those that do.
        not_counted: Vec<CtrlRef>,
    },
    /// Resolve a host name. Answered by [`HostEvent::Resolved`].
    Resolve {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The host name, as written in the configuration.
        name: String,
    },
    /// Record in the registry that a connection without an owner is ours from now on. No answer: the next snapshot
    /// shows it.
    Claim(CtrlRef),
    /// Compare the DH-HMAC-CHAP secrets that the kernel has for that controller with those of the request. If they
    /// differ and the kernel is reconnecting the controller, test at the target whether it accepts the secrets of the
    /// request, by a connect that creates no namespace. If it does, write them to the kernel. Answered by
    /// [`HostEvent::SecretsRotated`].
    RotateSecrets {
        /// The operation; the event that answers has the same ID.
        op: OpId,
        /// The connection, by its instance number and its inode number.
        ctrl: CtrlRef,
        /// The target, and the secrets to write.
        request: Box<ConnectRequest>,
    },
    /// Make the secrets of the controller in sysfs unreadable for everyone but root. No answer.
    HideSecrets(CtrlRef),
    /// Write this to the log. No answer.
    Log(LogRecord, CodeLocation),
    /// The state to be saved has changed: save it soon. No answer.
    Save,
}

/// A report of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The answer to [`HostEffect::TakeSnapshot`]. Also sent by the shell on its own, with [`OpId::UNSOLICITED`].
    SnapshotTaken {
        /// The operation that this answers.
        op: OpId,
        /// The snapshot; the error says why sysfs could not be read.
        result: Result<Snapshot, SnapshotError>,
    },
    /// An event of the kernel.
    Uevent(Uevent),
    /// Kernel events were lost.
    Overrun,
    /// The answer to [`HostEffect::Probe`].
    Probed {
        /// The operation that this answers.
        op: OpId,
        /// The outcome of the probe.
        outcome: ProbeOutcome,
    },
    /// The answer to [`HostEffect::Connect`].
    Connected {
        /// The operation that this answers.
        op: OpId,
        /// The outcome, with the snapshot.
        report: Box<ConnectReport>,
    },
    /// The answer to [`HostEffect::Disconnect`].
    Disconnected {
        /// The operation that this answers.
        op: OpId,
        /// The error says why the kernel refused.
        result: Result<(), DisconnectError>,
    },
    /// The answer to [`HostEffect::CheckUse`].
    UseChecked {
        /// The operation that this answers.
        op: OpId,
        /// The result of the check.
        usage: Usage,
    },
    /// The answer to [`HostEffect::Resolve`].
    Resolved {
        /// The operation that this answers.
        op: OpId,
        /// The addresses in the resolver's order; the error says why there are none.
        result: Result<Vec<IpAddr>, ResolveError>,
    },
    /// The answer to [`HostEffect::RotateSecrets`].
    SecretsRotated {
        /// The operation that this answers.
        op: OpId,
        /// The outcome of the change.
        outcome: Rotated,
        /// How long the trial blocked the connect path of the host.
        blocked_for: Duration,
    },
    /// The network interfaces. Sent at start and after each change.
    Links(Arc<Links>),
    /// A route was added or changed.
    RouteAdded,
}

/// The severity of a [`LogRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details, shown only with tron.
    Debug,
    /// An event of normal operation.
    Info,
    /// A problem that the daemon handles by itself.
    Warning,
    /// A problem that the administrator has to solve.
    Error,
}

/// The code that wrote a log line.
pub type CodeLocation = &'static std::panic::Location<'static>;

/// One log line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The priority of the journal entry.
    pub level: Level,
    /// The controller concerned; `None` if it concerns no single controller.
    pub tid: Option<Tid>,
    /// The connection concerned; `None` if there is none.
    pub ctrl: Option<CtrlRef>,
    /// What happened, and what the daemon does next and when.
    pub text: String,
}
