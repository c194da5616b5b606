//! Sends admin commands to live controllers.
//!
//! A command to a controller that is reconnecting hangs until the controller is connected again or removed. So each
//! controller has its own thread while commands are pending, its commands are executed one after the other, and a
//! controller whose state is not `live` gets no command.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::stat::makedev;

use super::Roots;
use super::read_room::ReadRoom;
use super::sysfs::{ControllerDir, inode};
use super::thread;
use super::unsafe_calls::{Data, admin_command};
use stas_core::{AdminError, CtrlRef, CtrlState, CtrlType, Dctype, NoThread, OsError};
use stas_nvme::admin::{Command, CommandError, DimTask};
use stas_nvme::dim::Registration;
use stas_nvme::identify::{IdentifyController, Version};
use stas_nvme::log_page::{HEADER_LEN, LogPage, Reader, Step};
use stas_nvme::supported::{self, SupportedLogPages};

/// Controller types from Identify Controller, for kernels whose sysfs lacks these attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerKind {
    /// CNTRLTYPE: I/O, discovery or administrative controller. `CtrlType::Unknown` if not reported.
    pub cntrltype: CtrlType,
    /// DCTYPE: direct (DDC) or centralized (CDC) discovery controller. `Dctype::None` if not reported.
    pub dctype: Dctype,
}

/// A queued command. It gets an error if it cannot be executed.
type Job = Box<dyn FnOnce(Result<&Roots, AdminError>) + Send>;

/// Executes admin commands: one thread for each controller, one command at a time.
#[derive(Clone)]
pub struct Admin {
    roots: Roots,
    waiting: Arc<Mutex<HashMap<CtrlRef, VecDeque<Job>>>>,
    /// The memory limit for the pages of announced discovery controllers.
    room: ReadRoom,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let busy: Vec<CtrlRef> = lock(&self.waiting).keys().copied().collect();
        f.debug_struct("Admin").field("busy", &busy).finish()
    }
}

impl Admin {
    /// Starts no thread yet.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, waiting: Arc::default(), room: ReadRoom::default() }
    }

    /// Reads the discovery log page. `lsp` is 0 or [`stas_nvme::log_page::LSP_PLEO`]. `answer` is called once, on
    /// another thread, after the controller has answered. It is never called if the controller never answers. With
    /// `announced` (only mDNS announces the controller), a long read fails while other such reads take too much memory.
    pub fn read_discovery_log(
        &self,
        ctrl: CtrlRef,
        lsp: u8,
        announced: bool,
        answer: impl FnOnce(Result<LogPage, AdminError>) + Send + 'static,
    ) {
        let room = self.room.clone();
        self.submit(ctrl, answer, move |device| {
            let mut buffer = Vec::new();
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
                        let command = Command::get_log_page(stas_nvme::log_page::LID, reader.lsp(), offset, len);
                        reader.feed(device.read(command, &mut buffer));
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
        self.submit(ctrl, answer, |device| {
            let mut buffer = Vec::new();
            if !may_know_supported_log_pages(device.read(Command::identify_controller(), &mut buffer)?) {
                return Ok(None);
            }
            let len = u32::try_from(supported::LEN).unwrap_or(u32::MAX);
            let page = device.read(Command::get_log_page(supported::LID, 0, 0, len), &mut buffer)?;
            Ok(Some(SupportedLogPages::parse(page)?))
        });
    }

    /// Reads the type of a controller. `answer` as in [`Admin::read_discovery_log`].
    pub fn identify(&self, ctrl: CtrlRef, answer: impl FnOnce(Result<ControllerKind, AdminError>) + Send + 'static) {
        self.submit(ctrl, answer, |device| {
            let mut buffer = Vec::new();
            Ok(identity(device.read(Command::identify_controller(), &mut buffer)?))
        });
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
        self.submit(ctrl, answer, move |device| {
            let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
            Ok(device.issue(Command::discovery_information_management(task, len), Data::Out(&data))?)
        });
    }

    /// Queues a job after the pending jobs of the controller.
    fn submit<T: 'static>(
        &self,
        ctrl: CtrlRef,
        answer: impl FnOnce(Result<T, AdminError>) + Send + 'static,
        work: impl FnOnce(&Device) -> Result<T, AdminError> + Send + 'static,
    ) {
        let job = Box::new(move |roots: Result<&Roots, AdminError>| {
            answer(roots.and_then(|roots| Device::open(roots, ctrl)).and_then(|device| work(&device)));
        });
        let mut waiting = lock(&self.waiting);
        if let Some(queue) = waiting.get_mut(&ctrl) {
            queue.push_back(job);
            return;
        }
        waiting.insert(ctrl, VecDeque::from([job as Job]));
        drop(waiting);
        let (roots, waiting) = (self.roots.clone(), self.waiting.clone());
        let work = move || work_off(&waiting, ctrl, || Ok(&roots));
        if let Err(error) = thread::spawn(&format!("admin-{}", ctrl.device), work) {
            let error = NoThread(OsError::new(error));
            work_off(&self.waiting, ctrl, || Err(AdminError::NoThread(ctrl, error.clone())));
        }
    }
}

/// Executes the controller's queue until it is empty.
fn work_off<'a>(
    waiting: &Mutex<HashMap<CtrlRef, VecDeque<Job>>>,
    ctrl: CtrlRef,
    roots: impl Fn() -> Result<&'a Roots, AdminError>,
) {
    loop {
        let mut queues = lock(waiting);
        let Some(job) = queues.get_mut(&ctrl).and_then(VecDeque::pop_front) else {
            queues.remove(&ctrl);
            return;
        };
        drop(queues);
        job(roots());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open device node of exactly one controller.
struct Device(File);

impl Device {
    fn open(roots: &Roots, ctrl: CtrlRef) -> Result<Self, AdminError> {
        let failed = |error: io::Error| AdminError::Device(ctrl, OsError::new(error));
        let gone = || AdminError::Gone(ctrl);
        let dir = ControllerDir::open(roots, ctrl).map_err(failed)?.ok_or_else(gone)?;
        let state = CtrlState::parse(&dir.read("state").map_err(failed)?.ok_or_else(gone)?);
        if state != CtrlState::Live {
            return Err(AdminError::NotLive(ctrl, state));
        }
        let number = dir.read("dev").map_err(failed)?.ok_or_else(gone)?;
        let file = match File::open(roots.dev.join(ctrl.to_string())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
            // The controller is no longer live.
            Err(error) if error.raw_os_error() == Some(Errno::EWOULDBLOCK as i32) => {
                return Err(AdminError::NotLive(ctrl, CtrlState::Unknown));
            }
            Err(error) => return Err(failed(error)),
        };
        // Between the two opens, another controller may have got the same instance number and device number.
        let is_same = device_number(&number) == Some(file.metadata().map_err(failed)?.rdev())
            && inode(&roots.class(), ctrl.device).map_err(failed)? == Some(ctrl.inode);
        if is_same { Ok(Self(file)) } else { Err(gone()) }
    }

    /// Issues a command that transfers data to the host.
    fn read<'a>(&self, command: Command, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], CommandError> {
        buffer.clear();
        buffer.resize(usize::try_from(command.len).unwrap_or_default(), 0);
        self.issue(command, Data::In(buffer))?;
        Ok(buffer)
    }

    fn issue(&self, command: Command, data: Data<'_>) -> Result<(), CommandError> {
        match admin_command(&self.0, command, data) {
            Ok(status) if status.code() == 0 => Ok(()),
            Ok(status) => Err(CommandError::Status(status)),
            Err(error) => Err(CommandError::Host(error.to_string())),
        }
    }
}

/// Parses `major:minor`, for example `244:3`.
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
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
    use std::sync::mpsc;

    use proptest::prelude::*;

    use super::*;
    use crate::fake_tree::FakeTree;

    /// The error of reading a controller whose device is /dev/null, which takes no admin commands.
    fn outcome(tree: &FakeTree, ctrl: CtrlRef) -> AdminError {
        let (sender, receiver) = mpsc::channel();
        Admin::new(tree.roots()).identify(ctrl, move |result| sender.send(result).unwrap());
        receiver.recv().unwrap().unwrap_err()
    }

    fn with_device(tree: &FakeTree) -> CtrlRef {
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "dev", "1:3");
        std::os::unix::fs::symlink("/dev/null", tree.path("dev/nvme0")).unwrap();
        ctrl
    }

    #[test]
    fn a_command_goes_to_the_device_of_that_very_controller() {
        let tree = FakeTree::new();
        let ctrl = with_device(&tree);
        assert!(
            matches!(outcome(&tree, ctrl), AdminError::Command(CommandError::Host(_))),
            "it got as far as the ioctl"
        );
        tree.set(ctrl, "dev", "1:5");
        assert_eq!(outcome(&tree, ctrl), AdminError::Gone(ctrl));
    }

    #[test]
    fn a_device_that_is_not_there_is_a_controller_that_is_gone_and_any_other_trouble_is_reported() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "dev", "1:3");
        assert_eq!(outcome(&tree, ctrl), AdminError::Gone(ctrl));
        std::os::unix::fs::symlink("nvme0", tree.path("dev/nvme0")).unwrap();
        let error = outcome(&tree, ctrl);
        assert!(matches!(error, AdminError::Device(..)), "{error:?}");
        assert!(error.to_string().starts_with("cannot talk to nvme0: Too many levels"), "{error}");
    }

    #[test]
    fn a_controller_that_is_not_live_is_not_asked() {
        let tree = FakeTree::new();
        let ctrl = with_device(&tree);
        tree.set(ctrl, "state", "connecting");
        assert_eq!(outcome(&tree, ctrl), AdminError::NotLive(ctrl, CtrlState::Connecting));
    }

    #[test]
    fn a_successor_with_the_same_number_is_not_asked() {
        let tree = FakeTree::new();
        let ctrl = with_device(&tree);
        let successor = tree.controller(0, "");
        tree.set(successor, "dev", "1:3");
        assert_eq!(outcome(&tree, ctrl), AdminError::Gone(ctrl));
    }

    #[test]
    fn a_second_command_waits_for_the_first() {
        let admin = Admin::new(Roots::default());
        let ctrl = CtrlRef { device: 0, inode: 0 };
        let (first_runs, wait_for_first) = mpsc::channel();
        let (let_go, gate) = mpsc::channel::<()>();
        let (answers, received) = mpsc::channel();
        let answers_too = answers.clone();
        admin.submit(
            ctrl,
            move |_: Result<(), _>| {
                first_runs.send(()).unwrap();
                gate.recv().unwrap();
                answers.send(1).unwrap();
            },
            |_| Ok(()),
        );
        wait_for_first.recv().unwrap();
        admin.submit(ctrl, move |_: Result<(), _>| answers_too.send(2).unwrap(), |_| Ok(()));
        assert_eq!(lock(&admin.waiting).get(&ctrl).map(VecDeque::len), Some(1), "it waits");
        let_go.send(()).unwrap();
        assert_eq!(received.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_controller_that_hangs_holds_up_no_other() {
        let admin = Admin::new(Roots::default());
        let (let_go, gate) = mpsc::channel::<()>();
        admin.submit(
            CtrlRef { device: 0, inode: 0 },
            move |_: Result<(), _>| assert!(gate.recv().is_err()),
            |_| Ok(()),
        );
        let (answer, received) = mpsc::channel();
        admin.submit(CtrlRef { device: 1, inode: 0 }, move |_: Result<(), _>| answer.send(()).unwrap(), |_| Ok(()));
        received.recv().unwrap();
        drop(let_go);
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

        #[test]
        fn any_device_number_can_be_read(text in "\\PC*") {
            let _ = device_number(&text);
        }
    }
}
