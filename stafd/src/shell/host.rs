//! The Linux host, with the admin commands that stafd needs beside it.

use libstas::core::browse::Ask;
use libstas::core::{CtrlRef, Dctype, Host, HostEffect, HostEvent};
use libstas::daemon::event_loop::Handle;
use libstas::host::Roots;
use libstas::host::admin::{Admin, AdminError};
use libstas::host::effects::{LinuxHost, Setup, StartError};
use libstas::host::mdns::Browser;
use libstas::nvme::admin::CommandError;
use libstas::nvme::log_page::{LSP_PLEO, LogPage};
use libstas::nvme::supported::DiscoveryLidSpecific;

use super::{DiscoveryHost, Done, registration};
use crate::finder::{Event, Finder, NotRegistered, RegisterRequest};

/// The host of a running stafd.
#[derive(Debug)]
pub struct StafdHost {
    linux: LinuxHost,
    admin: Admin,
    browser: Browser,
}

impl StafdHost {
    /// Starts to watch the kernel; what happens is told to the finder.
    ///
    /// # Errors
    /// When the kernel cannot be watched.
    pub fn start(finder: Handle<Finder>) -> Result<Self, StartError> {
        let hearing = finder.clone();
        let browser = Browser::start(move |heard| {
            let hearing = hearing.clone();
            async move {
                hearing.post(Event::Heard(heard));
                // More is heard when the core has had its turn: strangers cannot pile up work before it.
                let _ = hearing.ask(|_, _| ()).await;
            }
        });
        let tell = move |event: HostEvent| finder.post(Event::Host(event));
        Ok(Self { linux: LinuxHost::start(Setup::default(), tell)?, admin: Admin::new(Roots::default()), browser })
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

    fn browse(&self, ask: Ask) {
        self.browser.ask(ask);
    }

    fn read_log_page(&self, ctrl: CtrlRef, pleo: bool, done: Done<LogPage>) {
        let lsp = if pleo { LSP_PLEO } else { 0 };
        self.admin.read_discovery_log(ctrl, lsp, |result| done(result.map_err(|error| error.to_string())));
    }

    fn register(
        &self,
        ctrl: CtrlRef,
        request: RegisterRequest,
        done: Box<dyn FnOnce(Result<(), NotRegistered>) + Send>,
    ) {
        if !request.ask_type {
            register(&self.admin, ctrl, &request, done);
            return;
        }
        let admin = self.admin.clone();
        self.admin.identify(ctrl, move |identity| match identity {
            Ok(identity) if identity.dctype == Dctype::None => done(Err(NotRegistered::NoRegister)),
            Ok(_) => register(&admin, ctrl, &request, done),
            Err(error) => done(Err(failed(&error))),
        });
    }
}

fn register(
    admin: &Admin,
    ctrl: CtrlRef,
    request: &RegisterRequest,
    done: impl FnOnce(Result<(), NotRegistered>) + Send + 'static,
) {
    match registration::of_this_host(request) {
        Ok(said) => admin.manage_discovery_information(ctrl, request.task, &said, |result| {
            done(result.map_err(|error| failed(&error)));
        }),
        Err(reason) => done(Err(NotRegistered::Failed { reason, again: false })),
    }
}

/// Asked again is what may have been a passing trouble of the discovery controller; a lost connection brings a new one,
/// which registers afresh.
fn failed(error: &AdminError) -> NotRegistered {
    let again = match error {
        AdminError::Command(CommandError::Status(status)) => status.is_worth_a_retry(),
        AdminError::Command(CommandError::Host(_)) | AdminError::Device(..) => true,
        _ => false,
    };
    NotRegistered::Failed { reason: error.to_string(), again }
}
