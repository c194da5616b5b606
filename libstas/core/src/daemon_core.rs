//! The common interface of both cores: the shells, the plan of a reload and the tests use it.

use std::sync::Arc;

use super::Machine;
use super::conf::Complaint;
use super::effect::{HostEffect, HostEvent};
use super::fleet::Listed;
use super::reconciler::{ClaimPayload, Reconciler};
use stas_nvme::nbft::BootTables;
use stas_nvme::{HostIdentity, Tid};

/// The configuration files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings<C> {
    /// The content of the daemon's own file.
    pub conf: C,
    /// The host identity of sys.conf.
    pub identity: Arc<HostIdentity>,
}

/// The core of a daemon.
pub trait DaemonCore: Machine + Clone {
    /// The content of its configuration file.
    type Conf;
    /// What a source says about a controller that it lists.
    type Claim: ClaimPayload;

    /// Reads its configuration file. `file` is the name for the complaints.
    fn parse(text: &[u8], file: &str) -> (Self::Conf, Vec<Complaint>);

    /// The event that passes the configuration files to the core.
    fn configured(settings: Settings<Self::Conf>) -> Self::Event;

    /// The event that passes the boot tables to the core. It must precede [`DaemonCore::configured`].
    fn boot_tables(tables: Arc<BootTables>) -> Self::Event;

    /// Wraps an event of the host.
    fn host_event(event: HostEvent) -> Self::Event;

    /// Unwraps a request to the host. `None` for other effects.
    fn host_effect(effect: &Self::Effect) -> Option<&HostEffect>;

    /// The settings in force; `None` before the first configuration.
    fn settings(&self) -> Option<&Settings<Self::Conf>>;

    /// The reconciler: the sources, and the members of the fleet.
    fn reconciler(&self) -> &Reconciler<Self::Claim>;

    /// The state of each controller that is shown.
    fn statuses(&self) -> impl Iterator<Item = Listed<'_>>;

    /// Which sources list a controller, or why it is kept although none does.
    fn listed_by(&self, tid: &Tid) -> String;
}
