//! stacd's shell: executes the connector's effects on the real host and bus.

pub mod stafd_client;

use libstas::conf::StacConf;
use libstas::core::daemon_core::DaemonCore as _;
use libstas::core::{Host, HostEffect};
use libstas::daemon::configuration::Files;
use libstas::daemon::event_loop::{FollowUp, Handle, Shell};
use libstas::daemon::history::History;
use libstas::daemon::journal::{self, Journal};
use libstas::daemon::state::{Saver, StateFile};

use crate::api::{self, Announcement};
use crate::connector::{Connector, Effect, Event, Saved};
use stafd_client::StafdClient;
use tokio::sync::mpsc::UnboundedSender;

/// What the connector's effects need.
#[derive(Debug)]
pub struct StacdShell<H> {
    /// The kernel and the network.
    pub host: H,
    /// Sends events to the core.
    pub connector: Handle<Connector>,
    /// Sends signals on the bus.
    pub announcements: UnboundedSender<Announcement>,
    /// What happened to each I/O controller.
    pub history: History,
    /// The client of stafd.
    pub stafd: StafdClient,
    /// The journal, or standard error.
    pub journal: Journal,
    /// The configuration file and its last good content.
    pub files: Files<StacConf>,
    /// The format of the saved state.
    pub state_file: StateFile,
    /// Writes the saved state.
    pub saver: Saver,
    /// True when the core has nothing left to do.
    pub stopped: bool,
}

impl<H: Host<Effect = HostEffect>> Shell for StacdShell<H> {
    type Core = Connector;

    fn perform(&mut self, _: &Connector, effect: Effect) -> FollowUp {
        match effect {
            Effect::Host(HostEffect::Log(record, location)) => {
                self.history.note(&record);
                journal::log(&record, location);
            }
            Effect::Host(HostEffect::Save) => return FollowUp::Save,
            Effect::Host(effect) => self.host.start(effect),
            Effect::FetchAll(op) => self.stafd.start_all(op, &self.connector),
            Effect::FetchPage { op, dc, refresh, announced } => {
                self.stafd.start_page(op, dc, refresh, announced, &self.connector);
            }
            Effect::Stopped => self.stopped = true,
        }
        FollowUp::Done
    }

    fn handled(&mut self, connector: &Connector) {
        let listed = connector.statuses();
        for change in
            self.history.compare(listed, |tid| connector.listed_by(tid), |tid| connector.reconciler().reason(tid))
        {
            self.announce(Announcement::Changed(Box::new(change)));
        }
    }

    fn reload(&mut self) -> Vec<Event> {
        self.files.read_again();
        if self.journal.tron() != self.files.conf().tron {
            self.journal.set_tron(self.files.conf().tron);
            self.announce(Announcement::TraceChanged);
        }
        vec![Connector::boot_tables(self.files.boot_tables()), Connector::configured(self.files.settings())]
    }

    fn stop(&mut self) -> Vec<Event> {
        vec![Event::Stop]
    }

    fn settled(&self, _: &Connector) -> bool {
        self.stopped
    }

    fn save(&mut self, connector: &Connector) {
        let shorten = |saved: &mut Saved, _: usize| saved.drop_repeated();
        let encoded = self.state_file.encode_shortened(connector.saved(), self.files.text(), shorten);
        match encoded {
            Ok(bytes) => self.saver.save(bytes),
            Err(error) => tracing::error!("the state cannot be written as JSON: {error}"),
        }
    }

    fn status(&self, connector: &Connector) -> String {
        api::status(connector)
    }
}

impl<H> StacdShell<H> {
    fn announce(&self, announcement: Announcement) {
        // It fails if the bus connection is lost; the event loop notices that by itself.
        let _ = self.announcements.send(announcement);
    }
}
