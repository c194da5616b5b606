//! The Linux host, with the admin commands that stafd needs beside it.

use libstas::core::{CtrlRef, Host, HostEffect, HostEvent};
use libstas::daemon::event_loop::Handle;
use libstas::host::Roots;
use libstas::host::admin::Admin;
use libstas::host::effects::{LinuxHost, Setup, StartError};
use libstas::nvme::log_page::{LSP_PLEO, LogPage};
use libstas::nvme::supported::DiscoveryLidSpecific;

use super::{DiscoveryHost, Done};
use crate::finder::{Event, Finder};

/// The host of a running stafd.
#[derive(Debug)]
pub struct StafdHost {
    linux: LinuxHost,
    admin: Admin,
}

impl StafdHost {
    /// Starts to watch the kernel; what happens is told to the finder.
    ///
    /// # Errors
    /// When the kernel cannot be watched.
    pub fn start(finder: Handle<Finder>) -> Result<Self, StartError> {
        let tell = move |event: HostEvent| finder.post(Event::Host(event));
        Ok(Self { linux: LinuxHost::start(Setup::default(), tell)?, admin: Admin::new(Roots::default()) })
    }
}

impl Host for StafdHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        self.linux.start(effect);
    }
}

impl DiscoveryHost for StafdHost {
    fn read_supported(&self, ctrl: CtrlRef, done: Done<Option<DiscoveryLidSpecific>>) {
        self.admin.read_supported_log_pages(ctrl, |result| {
            done(result.map(|pages| pages.discovery()).map_err(|error| error.to_string()));
        });
    }

    fn read_log_page(&self, ctrl: CtrlRef, pleo: bool, done: Done<LogPage>) {
        let lsp = if pleo { LSP_PLEO } else { 0 };
        self.admin.read_discovery_log(ctrl, lsp, |result| done(result.map_err(|error| error.to_string())));
    }
}
