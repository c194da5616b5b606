//! Sends admin commands to live controllers.
//!
//! A command to a controller that is reconnecting hangs until the controller is connected again or removed. So each
//! controller has its own thread while commands are pending, its commands are executed one after the other, and a
//! controller whose state is not `live` gets no command.
//!
//! The kernel accepts admin commands only from a process with CAP_SYS_ADMIN, which gives far more rights than that. The
//! daemon does not have it. The program stas-admin does; systemd starts one for each connection to [`SOCKET`]. It
//! executes the three commands that the daemon needs, and returns the controller's data without parsing them.
//!
//! | module | what it is about |
//! |---|---|
//! | `client` | asks stas-admin to execute a command |
//! | [`program`] | the program stas-admin |
//! | `wire` | the records between the two |
//! | `device` | executes a command |
//! | `queues` | one thread for each controller |

mod client;
mod device;
pub mod program;
mod queues;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use super::Roots;
use super::read_room::ReadRoom;
use client::Client;
use queues::Queues;
use stas_core::{AdminError, CtrlRef, CtrlType, Dctype};
use stas_nvme::admin::DimTask;
use stas_nvme::dim::Registration;
use stas_nvme::identify::{IdentifyController, Version};
use stas_nvme::log_page::{HEADER_LEN, LID, LogPage, Reader, Step};
use stas_nvme::supported::{self, SupportedLogPages};
use wire::Task;

/// The socket on which systemd starts stas-admin.
pub const SOCKET: &str = "/run/nvme-stas/admin.socket";

/// Controller types from Identify Controller, for kernels whose sysfs lacks these attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerKind {
    /// CNTRLTYPE: I/O, discovery or administrative controller. `CtrlType::Unknown` if not reported.
    pub cntrltype: CtrlType,
    /// DCTYPE: direct (DDC) or centralized (CDC) discovery controller. `Dctype::None` if not reported.
    pub dctype: Dctype,
}

/// Executes admin commands: one thread for each controller, one command at a time.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Arc<Client>,
    queues: Queues,
    /// The memory limit for the pages of announced discovery controllers.
    room: ReadRoom,
}

impl Admin {
    /// Connects to stas-admin, so that it is started. With `None`, or if systemd does not listen at the socket, this
    /// process executes the commands itself.
    #[must_use]
    pub fn new(roots: Roots, socket: Option<PathBuf>) -> Self {
        let client = Arc::new(Client::new(roots, socket));
        client.warm_up();
        Self { client, queues: Queues::default(), room: ReadRoom::default() }
    }

    /// Reads the discovery log page. `lsp` is 0 or [`stas_nvme::log_page::LSP_PLEO`]. `answer` is called once, on
    /// another thread, after the controller has answered. It may never be called if the controller never answers. With
    /// `announced` (only mDNS announces the controller), a long read fails while other such reads take too much memory.
    pub fn read_discovery_log(
        &self,
        ctrl: CtrlRef,
        lsp: u8,
        announced: bool,
        answer: impl FnOnce(Result<LogPage, AdminError>) + Send + 'static,
    ) {
        let room = self.room.clone();
        self.submit(ctrl, answer, move |client| {
            let mut held = room.begin();
            let mut reader = Reader::new(lsp);
            loop {
                match reader.next() {
                    Step::Done(result) => return Ok(result?),
                    Step::Read { offset, len } => {
                        // The first entries are read: the reader has dropped those of an earlier attempt.
                        if offset == HEADER_LEN as u64 {
                            held.restart();
                        }
                        if announced && !held.take(len as usize) {
                            return Err(AdminError::NoRoom);
                        }
                        let part = Task::GetLogPage { lid: LID, lsp: reader.lsp(), offset, len };
                        match client.execute(ctrl, part, &[]) {
                            Ok(bytes) => reader.feed(Ok(&bytes)),
                            Err(AdminError::Command(error)) => reader.feed(Err(error)),
                            Err(error) => return Err(error),
                        }
                    }
                }
            }
        });
    }

    /// Reads the Supported Log Pages page. The result is `None` for a controller before NVMe 2.0: it does not know the
    /// page and may close the connection on the request. `answer` as in [`Admin::read_discovery_log`].
    pub fn read_supported_log_pages(
        &self,
        ctrl: CtrlRef,
        answer: impl FnOnce(Result<Option<SupportedLogPages>, AdminError>) + Send + 'static,
    ) {
        self.submit(ctrl, answer, move |client| {
            if !may_know_supported_log_pages(&client.execute(ctrl, Task::Identify {}, &[])?) {
                return Ok(None);
            }
            let len = u32::try_from(supported::LEN).unwrap_or(u32::MAX);
            let page = client.execute(ctrl, Task::GetLogPage { lid: supported::LID, lsp: 0, offset: 0, len }, &[])?;
            Ok(Some(SupportedLogPages::parse(&page)?))
        });
    }

    /// Reads the type of a controller. `answer` as in [`Admin::read_discovery_log`].
    pub fn identify(&self, ctrl: CtrlRef, answer: impl FnOnce(Result<ControllerKind, AdminError>) + Send + 'static) {
        self.submit(ctrl, answer, move |client| Ok(identity(&client.execute(ctrl, Task::Identify {}, &[])?)));
    }

    /// Registers this host with a discovery controller, updates the registration or removes it (TP8010). `answer` as in
    /// [`Admin::read_discovery_log`].
    pub fn manage_discovery_information(
        &self,
        ctrl: CtrlRef,
        task: DimTask,
        registration: &Registration,
        answer: impl FnOnce(Result<(), AdminError>) + Send + 'static,
    ) {
        let data = registration.encode();
        let task = Task::ManageDiscoveryInformation { task: task.number() };
        self.submit(ctrl, answer, move |client| client.execute(ctrl, task, &data).map(drop));
    }

    /// Queues a job after the pending jobs of the controller.
    fn submit<T: 'static>(
        &self,
        ctrl: CtrlRef,
        answer: impl FnOnce(Result<T, AdminError>) + Send + 'static,
        work: impl FnOnce(&Client) -> Result<T, AdminError> + Send + 'static,
    ) {
        let client = self.client.clone();
        self.queues.submit(ctrl, move |thread| {
            answer(thread.map_err(|error| AdminError::NoThread(ctrl, error)).and_then(|()| work(&client)));
        });
    }
}

/// True if the Identify Controller data report NVMe 2.0 or later, which defines log page 00h.
fn may_know_supported_log_pages(answer: &[u8]) -> bool {
    IdentifyController::parse(answer).is_ok_and(|identify| identify.version >= Version::V2_0)
}

fn identity(answer: &[u8]) -> ControllerKind {
    ControllerKind { cntrltype: CtrlType::of(answer), dctype: Dctype::of(answer) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fake_tree::FakeTree;

    /// A live controller whose device is /dev/null, which executes no admin commands.
    pub(super) fn with_device(tree: &FakeTree) -> CtrlRef {
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "dev", "1:3");
        std::os::unix::fs::symlink("/dev/null", tree.path("dev/nvme0")).unwrap();
        ctrl
    }

    #[test]
    fn the_identity_is_read_at_its_places() {
        let mut answer = vec![0; 4096];
        assert_eq!(identity(&answer), ControllerKind { cntrltype: CtrlType::Unknown, dctype: Dctype::None });
        *answer.get_mut(111).unwrap() = 2;
        *answer.get_mut(1806).unwrap() = 2;
        assert_eq!(identity(&answer), ControllerKind { cntrltype: CtrlType::Discovery, dctype: Dctype::Cdc });
        *answer.get_mut(1806).unwrap() = 1;
        assert_eq!(identity(&answer).dctype, Dctype::Ddc);
        for (number, cntrltype) in [(1, CtrlType::Io), (3, CtrlType::Admin), (4, CtrlType::Unknown)] {
            *answer.get_mut(111).unwrap() = number;
            assert_eq!(identity(&answer).cntrltype, cntrltype);
        }
    }

    #[test]
    fn the_supported_log_pages_are_asked_for_from_nvme_2_0_on() {
        for (version, asked) in [(0, false), (0x0001_0300, false), (0x0001_0400, false), (0x0002_0000, true)] {
            let identify = IdentifyController { version: Version(version), ..IdentifyController::default() };
            assert_eq!(may_know_supported_log_pages(&identify.encode()), asked, "{version:#x}");
        }
        assert!(!may_know_supported_log_pages(&[]));
    }

    proptest! {
        #[test]
        fn any_answer_to_identify_can_be_read(answer: Vec<u8>) {
            let _ = identity(&answer);
        }
    }
}
