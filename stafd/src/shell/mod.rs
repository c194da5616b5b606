//! stafd's shell: executes the finder's effects on the real host and bus.

pub mod host;
pub mod nvme_cli;
pub mod registration;

use std::sync::Arc;
use std::time::Duration;

use libstas::bus::ControllerId;
use libstas::conf::StafConf;
use libstas::core::browse::BrowseCommand;
use libstas::core::daemon_core::DaemonCore as _;
use libstas::core::{AdminError, CtrlRef, Host, HostEffect};
use libstas::daemon::configuration::Files;
use libstas::daemon::describe;
use libstas::daemon::event_loop::{FollowUp, Handle, Shell};
use libstas::daemon::history::History;
use libstas::daemon::journal::{self, Journal};
use libstas::daemon::state::{Saver, StateFile};
use libstas::nvme::log_page::LogPage;
use libstas::nvme::supported::DiscoveryLidSpecific;
use tokio::sync::mpsc::UnboundedSender;

use crate::api::{self, Announcement, Refreshes};
use crate::finder::{Effect, Event, Finder, NotRegistered, RegisterRequest, Saved};

/// Limit for systemd to accept a job.
const SYSTEMD_LIMIT: Duration = Duration::from_secs(30);

/// A callback for the outcome of an admin command.
pub type Done<T> = Box<dyn FnOnce(Result<T, AdminError>) + Send>;

/// A host that can also send commands to discovery controllers.
pub trait DiscoveryHost: Host<Effect = HostEffect> {
    /// Starts to read the supported-log-pages page.
    fn read_supported(&self, ctrl: CtrlRef, done: Done<Option<DiscoveryLidSpecific>>);

    /// Sends a request to the mDNS browser; its events are sent to the finder.
    fn browse(&self, command: BrowseCommand);

    /// Starts to read the discovery log page, port-local entries only if `pleo`. `announced`: only mDNS announces the
    /// controller.
    fn read_log_page(&self, ctrl: CtrlRef, pleo: bool, announced: bool, done: Done<LogPage>);

    /// Starts to register this host.
    fn register(
        &self,
        ctrl: CtrlRef,
        request: RegisterRequest,
        done: Box<dyn FnOnce(Result<(), NotRegistered>) + Send>,
    );
}

/// What the finder's effects need.
#[derive(Debug)]
pub struct StafdShell<H> {
    /// The kernel and the network.
    pub host: H,
    /// Sends events to the core.
    pub finder: Handle<Finder>,
    /// The connection to the system bus that owns [`libstas::bus::STAF_ROOT_NAME`]. It is also used for calls to systemd:
    /// on the connection that owns [`libstas::bus::STAF_NAME`], answers would wait behind the calls of users.
    pub connection: zbus::Connection,
    /// Sends signals on the bus.
    pub announcements: UnboundedSender<Announcement>,
    /// What happened to each discovery controller.
    pub history: History,
    /// D-Bus callers that wait for a log page.
    pub refreshes: Arc<Refreshes>,
    /// The journal, or standard error.
    pub journal: Journal,
    /// The configuration file and its last good content.
    pub files: Files<StafConf>,
    /// The format of the saved state.
    pub state_file: StateFile,
    /// Writes the saved state.
    pub saver: Saver,
    /// True when the core has nothing left to do.
    pub stopped: bool,
}

impl<H: DiscoveryHost> Shell for StafdShell<H> {
    type Core = Finder;

    fn perform(&mut self, _: &Finder, effect: Effect) -> FollowUp {
        match effect {
            Effect::Host(HostEffect::Log(record, location)) => {
                self.history.note(&record);
                journal::log(&record, location);
            }
            Effect::Host(HostEffect::Save) => return FollowUp::Save,
            Effect::Host(effect) => self.host.start(effect),
            Effect::ReadSupported { op, ctrl } => {
                let finder = self.finder.clone();
                let done = move |result| finder.post(Event::SupportedRead { op, result });
                self.host.read_supported(ctrl, Box::new(done));
            }
            Effect::ReadLogPage { op, ctrl, pleo, announced } => {
                let finder = self.finder.clone();
                let done = move |result| finder.post(Event::LogPageRead { op, result });
                self.host.read_log_page(ctrl, pleo, announced, Box::new(done));
            }
            Effect::Register { op, ctrl, request } => {
                let finder = self.finder.clone();
                let done = move |result| finder.post(Event::Registered { op, result });
                self.host.register(ctrl, *request, Box::new(done));
            }
            Effect::Browse(command) => self.host.browse(command),
            Effect::PagesChanged { dc, ctrl } => {
                let device = ctrl.map_or_else(|| describe::NO_DEVICE.to_owned(), |ctrl| ctrl.to_string());
                self.announce(Announcement::PagesChanged { dc: ControllerId::of(&dc), device });
            }
            Effect::DcRemoved | Effect::CompletenessChanged => self.announce(Announcement::DcRemoved),
            Effect::Refreshed { token, result } => self.refreshes.answer(token, result),
            Effect::NvmfConnect { device, host_traddr, host_iface } => {
                let unit = nvme_cli::unit_name(device, &host_traddr, &host_iface);
                tokio::spawn(restart(self.connection.clone(), unit));
            }
            Effect::Stopped => self.stopped = true,
        }
        FollowUp::Done
    }

    fn handled(&mut self, finder: &Finder) {
        let listed = finder.statuses();
        for change in self.history.compare(listed, |tid| finder.listed_by(tid), |tid| finder.reconciler().reason(tid)) {
            self.announce(Announcement::Changed(Box::new(change)));
        }
    }

    fn reload(&mut self) -> Vec<Event> {
        self.files.read_again();
        if self.journal.tron() != self.files.conf().tron {
            self.journal.set_tron(self.files.conf().tron);
            self.announce(Announcement::TraceChanged);
        }
        vec![Finder::boot_tables(self.files.boot_tables()), Finder::configured(self.files.settings())]
    }

    fn stop(&mut self) -> Vec<Event> {
        vec![Event::Stop]
    }

    fn settled(&self, _: &Finder) -> bool {
        self.stopped
    }

    fn save(&mut self, finder: &Finder) {
        let encoded = self.state_file.encode_shortened(finder.saved(), self.files.text(), Saved::drop_pages);
        match encoded {
            Ok(bytes) => self.saver.save(bytes),
            Err(error) => tracing::error!("the state cannot be written as JSON: {error}"),
        }
    }

    fn status(&self, finder: &Finder) -> String {
        api::status(finder)
    }
}

impl<H> StafdShell<H> {
    fn announce(&self, announcement: Announcement) {
        // It fails if the bus connection is lost; the event loop notices that by itself.
        let _ = self.announcements.send(announcement);
    }
}

/// Restarts a unit for a discovery controller that stafd does not manage, as nvme-cli's rule would.
async fn restart(connection: zbus::Connection, unit: String) {
    match tokio::time::timeout(SYSTEMD_LIMIT, nvme_cli::restart_unit(&connection, &unit)).await {
        Ok(Ok(())) => tracing::debug!("{unit} is restarted"),
        Ok(Err(error)) => tracing::warn!("cannot restart {unit}: {error}"),
        Err(_) => tracing::warn!("cannot restart {unit}: systemd does not answer"),
    }
}
