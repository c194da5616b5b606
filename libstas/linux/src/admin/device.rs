//! Executes one admin command on exactly one controller.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::stat::makedev;

use super::wire::Task;
use crate::Roots;
use crate::sysfs::{ControllerDir, inode};
use crate::unsafe_calls::{Data, admin_command};
use stas_core::{AdminError, CtrlRef, CtrlState, OsError};
use stas_nvme::admin::{Command, CommandError, TRANSFER_MAX};

/// Executes the commands of a task, up to the first that fails. `data` is sent to the controller. Returns the
/// controller's data.
pub(super) fn execute(roots: &Roots, ctrl: CtrlRef, task: Task, data: &[u8]) -> Result<Vec<u8>, AdminError> {
    let refused = || AdminError::Command(CommandError::Host(format!("{task:?} is not permitted")));
    let commands = task.commands(data.len()).ok_or_else(refused)?;
    let device = open(roots, ctrl)?;
    let mut answer = vec![0; task.answer_len()];
    if answer.is_empty() {
        commands.into_iter().try_for_each(|command| issue(&device, command, Data::Out(data)))?;
    } else {
        let parts = answer.chunks_mut(TRANSFER_MAX as usize).map(Data::In);
        commands.into_iter().zip(parts).try_for_each(|(command, part)| issue(&device, command, part))?;
    }
    Ok(answer)
}

fn issue(device: &File, command: Command, data: Data<'_>) -> Result<(), CommandError> {
    match admin_command(device, command, data) {
        Ok(status) if status.code() == 0 => Ok(()),
        Ok(status) => Err(CommandError::Status(status)),
        Err(error) => Err(CommandError::Host(error.to_string())),
    }
}

/// Opens the device node of a live controller.
fn open(roots: &Roots, ctrl: CtrlRef) -> Result<File, AdminError> {
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
    if is_same { Ok(file) } else { Err(gone()) }
}

/// Parses `major:minor`, for example `244:3`.
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::with_device;
    use super::*;
    use crate::fake_tree::FakeTree;

    /// The error of a command to a controller whose device is /dev/null, which executes none.
    fn outcome(tree: &FakeTree, ctrl: CtrlRef) -> AdminError {
        execute(&tree.roots(), ctrl, Task::Identify {}, &[]).unwrap_err()
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
    fn a_command_that_stafd_never_sends_is_refused_before_the_device_is_opened() {
        let tree = FakeTree::new();
        let ctrl = CtrlRef { device: 7, inode: 1 };
        let firmware = Task::GetLogPage { lid: 0x03, lsp: 0, offset: 0, len: 512 };
        let error = execute(&tree.roots(), ctrl, firmware, &[]).unwrap_err();
        assert!(error.to_string().ends_with("is not permitted"), "{error}");
    }

    proptest! {
        #[test]
        fn any_device_number_can_be_read(text in "\\PC*") {
            let _ = device_number(&text);
        }
    }
}
