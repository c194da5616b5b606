//! The Linux host with the admin commands that stafd needs.

use libstas::core::browse::BrowseCommand;
use libstas::core::{AdminError, CtrlRef, Dctype, Host, HostEffect, HostEvent};
use libstas::daemon::event_loop::Handle;
use libstas::linux::admin::Admin;
use libstas::linux::effects::{LinuxHost, Setup, StartError};
use libstas::net::SOCKET;
use libstas::net::browser::Browser;
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
    /// Starts watching the kernel; events are sent to the finder. `admin` executes the admin commands.
    ///
    /// # Errors
    /// Fails if the kernel cannot be watched.
    pub fn start(finder: Handle<Finder>, admin: Admin) -> Result<Self, StartError> {
        let events = finder.clone();
        let browser = Browser::start(SOCKET.into(), move |heard| {
            let events = events.clone();
            async move {
                events.post(Event::BrowseEvent(heard));
                // Wait until the core has handled the events: untrusted input must not fill its queue.
                let _ = events.ask(|_, _| ()).await;
            }
        });
        let tell = move |event: HostEvent| finder.post(Event::Host(event));
        Ok(Self { linux: LinuxHost::start(Setup::default(), tell)?, admin, browser })
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
            done(result.map(|pages| pages.and_then(|pages| pages.discovery())));
        });
    }

    fn browse(&self, command: BrowseCommand) {
        self.browser.request(command);
    }

    fn read_log_page(&self, ctrl: CtrlRef, pleo: bool, announced: bool, done: Done<LogPage>) {
        let lsp = if pleo { LSP_PLEO } else { 0 };
        self.admin.read_discovery_log(ctrl, lsp, announced, done);
    }

    fn register(
        &self,
        ctrl: CtrlRef,
        request: RegisterRequest,
        done: Box<dyn FnOnce(Result<(), NotRegistered>) + Send>,
    ) {
        register(&self.admin, ctrl, request, done);
    }
}

/// Registers with the controller, if it keeps a register.
fn register(
    admin: &Admin,
    ctrl: CtrlRef,
    request: RegisterRequest,
    done: impl FnOnce(Result<(), NotRegistered>) + Send + 'static,
) {
    if request.ask_type {
        let then = admin.clone();
        return admin.identify(ctrl, move |identity| match identity.map(|identity| identity.dctype) {
            Ok(Dctype::None) => done(Err(NotRegistered::NoRegister)),
            Ok(_) => register_at_once(&then, ctrl, &request, done),
            Err(error) => done(Err(failed(error))),
        });
    }
    register_at_once(admin, ctrl, &request, done);
}

fn register_at_once(
    admin: &Admin,
    ctrl: CtrlRef,
    request: &RegisterRequest,
    done: impl FnOnce(Result<(), NotRegistered>) + Send + 'static,
) {
    match registration::of_this_host(request) {
        Ok(content) => admin.manage_discovery_information(ctrl, request.task, &content, |result| {
            done(result.map_err(failed));
        }),
        Err(reason) => done(Err(NotRegistered::Failed { reason, again: false })),
    }
}

/// Classifies the error of an admin command. A lost connection may mean that the controller does not support the
/// command. A temporary error is retried.
fn failed(error: AdminError) -> NotRegistered {
    let again = match &error {
        AdminError::Command(CommandError::Status(status)) if status.is_connection_lost() => {
            return NotRegistered::Lost;
        }
        AdminError::Command(CommandError::Status(status)) => status.is_worth_a_retry(),
        AdminError::Command(CommandError::Host(_)) | AdminError::Device(..) | AdminError::NoThread(..) => true,
        _ => false,
    };
    NotRegistered::Failed { reason: error.into(), again }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, mpsc};

    use libstas::linux::sysfs::inode;
    use libstas::nvme::admin::{DimTask, Status};
    use libstas::nvme::{HostIdentity, Tid, TidParts, Transport};

    use super::*;
    use libstas::linux::Roots;

    fn request(host_id: &str, ask_type: bool) -> RegisterRequest {
        let host_nqn = "nqn.2014-08.org.example:h";
        let tid = TidParts {
            transport: Transport::Tcp,
            traddr: "192.0.2.1".into(),
            trsvcid: "8009".into(),
            subsysnqn: "nqn.2014-08.org.nvmexpress.discovery".into(),
            host_traddr: String::new(),
            host_iface: String::new(),
            host_nqn: host_nqn.into(),
        };
        let identity = Arc::new(HostIdentity::new(host_nqn, host_id));
        RegisterRequest { tid: Tid::new(tid), task: DimTask::Register, identity, ask_type }
    }

    /// The outcome of a registration with a controller whose state cannot be read.
    fn registered(request: RegisterRequest) -> Result<(), NotRegistered> {
        let folder = tempfile::tempdir().unwrap();
        let [sys, dev] = ["sys", "dev"].map(|name| folder.path().join(name));
        let roots = Roots { sys, dev, ..Roots::default() };
        fs::create_dir_all(roots.sys.join("class/nvme/nvme0")).unwrap();
        symlink("state", roots.sys.join("class/nvme/nvme0/state")).unwrap();
        let inode = inode(&roots.sys.join("class/nvme"), 0).unwrap().unwrap();
        let (sender, outcome) = mpsc::channel();
        register(&Admin::new(roots, None), CtrlRef { device: 0, inode }, request, move |result| {
            sender.send(result).unwrap()
        });
        outcome.recv().unwrap()
    }

    #[test]
    fn a_controller_that_cannot_be_talked_to_is_asked_again() {
        for ask_type in [false, true] {
            let result = registered(request("5b3a2c10-0000-4000-8000-00000000b007", ask_type));
            let Err(NotRegistered::Failed { reason, again: true }) = result else { panic!("{result:?}") };
            assert!(reason.to_string().starts_with("cannot talk to nvme0: "), "{reason}");
        }
    }

    #[test]
    fn a_host_without_a_valid_id_registers_nowhere_and_the_remedy_is_logged() {
        let result = registered(request("seven", false));
        let Err(NotRegistered::Failed { reason, again: false }) = result else { panic!("{result:?}") };
        assert_eq!(reason.to_string(), "the host ID \"seven\" is not a UUID; see stasadm hostid");
    }

    #[test]
    fn what_the_controller_refuses_for_good_is_not_asked_again() {
        let ctrl = CtrlRef { device: 0, inode: 1 };
        let again = |error| matches!(failed(error), NotRegistered::Failed { again: true, .. });
        assert!(again(AdminError::Command(CommandError::Status(Status(0x0006)))), "an internal error");
        assert!(!again(AdminError::Command(CommandError::Status(Status(0x0001)))), "it does not know the command");
        assert!(again(AdminError::Command(CommandError::Host("EINTR".into()))));
        assert!(!again(AdminError::Gone(ctrl)), "another connection registers afresh");
        assert_eq!(failed(AdminError::Command(CommandError::Status(Status(0x0371)))), NotRegistered::Lost);
    }
}
