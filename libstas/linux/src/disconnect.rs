//! Disconnects exactly one controller.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::sysfs::ControllerDir;
use super::{Roots, registry};
use stas_core::{CtrlRef, DisconnectError, OsError};

/// How long EBUSY is retried if no check for storage in use is needed: some kernels return it until the first start of
/// a controller has ended.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// Time between two such retries. There is no event for the end of the start.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Deletes exactly this controller, unless another orchestrator owns it by now: the snapshot on which the decision to
/// disconnect was based may be older than its entry in the registry. `recheck` is the last step before each attempt.
/// With `once` there is only one attempt: after a refusal the storage must be checked for use again.
///
/// # Errors
/// [`DisconnectError::OtherOwner`], [`DisconnectError::UnknownOwner`], those of `recheck`, or as for [`disconnect`].
pub fn disconnect_unless_claimed(
    roots: &Roots,
    ctrl: CtrlRef,
    once: bool,
    recheck: impl Fn() -> Result<(), DisconnectError>,
) -> Result<(), DisconnectError> {
    let limit = if once { Duration::ZERO } else { BUSY_LIMIT };
    disconnect_if(roots, ctrl, limit, || match registry::recorded_owner(roots, ctrl.device) {
        Ok(Some(owner)) if owner != registry::NAME => Err(DisconnectError::OtherOwner { owner }),
        Ok(_) => recheck(),
        Err(error) => Err(DisconnectError::UnknownOwner(OsError::new(error))),
    })
}

/// Deletes exactly this controller. Returns when it is removed or being removed. May block for a minute: while its
/// queues are torn down, or while it reconnects.
///
/// # Errors
/// [`DisconnectError::Kernel`] if the kernel refuses it.
pub fn disconnect(roots: &Roots, ctrl: CtrlRef) -> Result<(), DisconnectError> {
    disconnect_if(roots, ctrl, BUSY_LIMIT, || Ok(()))
}

fn disconnect_if(
    roots: &Roots,
    ctrl: CtrlRef,
    busy_limit: Duration,
    is_allowed: impl Fn() -> Result<(), DisconnectError>,
) -> Result<(), DisconnectError> {
    let start = Instant::now();
    loop {
        is_allowed()?;
        match delete(roots, ctrl) {
            Ok(()) => return Ok(()),
            Err(error) if is_busy(&error) && start.elapsed() < busy_limit => std::thread::sleep(BUSY_PAUSE),
            Err(error) => return Err(DisconnectError::Kernel(OsError::new(error))),
        }
    }
}

/// Tries once. The open directory ensures that a later controller with the same number is not deleted.
fn delete(roots: &Roots, ctrl: CtrlRef) -> io::Result<()> {
    let Some(dir) = ControllerDir::open(roots, ctrl)? else { return Ok(()) };
    // A controller that is already being deleted has no such attribute any more.
    dir.write("delete_controller", "1")?;
    Ok(())
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EBUSY | Errno::EAGAIN | Errno::EINTR))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fake_tree::FakeTree;

    #[test]
    fn exactly_that_controller_is_deleted() {
        let tree = FakeTree::new();
        let one = tree.controller(0, "");
        let other = tree.controller(1, "");
        for ctrl in [one, other] {
            tree.set(ctrl, "delete_controller", "0");
        }
        assert_eq!(disconnect(&tree.roots(), one), Ok(()));
        assert!(fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap().starts_with('1'));
        assert!(fs::read_to_string(tree.path("sys/class/nvme/nvme1/delete_controller")).unwrap().starts_with('0'));
    }

    #[test]
    fn a_successor_with_the_same_number_is_left_alone() {
        let tree = FakeTree::new();
        let old = tree.controller(0, "");
        let new = tree.controller(0, "");
        tree.set(new, "delete_controller", "0");
        assert_eq!(disconnect(&tree.roots(), old), Ok(()));
        assert_eq!(fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap(), "0\n");
    }

    #[test]
    fn what_is_gone_already_is_a_success() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        assert_eq!(disconnect(&tree.roots(), ctrl), Ok(()), "somebody else is deleting it");
        tree.remove(ctrl);
        assert_eq!(disconnect(&tree.roots(), ctrl), Ok(()));
    }

    #[test]
    fn what_another_orchestrator_has_claimed_since_the_last_snapshot_is_left_alone() {
        for (owner, is_deleted) in
            [(None, true), (Some("stas\n"), true), (Some(""), true), (Some("discoverd\n"), false)]
        {
            let tree = FakeTree::new();
            let ctrl = tree.controller(0, "");
            tree.set(ctrl, "delete_controller", "0");
            if let Some(owner) = owner {
                tree.put("run/nvme/registry/nvme0/owner", owner);
            }
            let result = disconnect_unless_claimed(&tree.roots(), ctrl, true, || Ok(()));
            let written = fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap();
            assert_eq!(written.starts_with('1'), is_deleted, "{owner:?}");
            let refused = DisconnectError::OtherOwner { owner: "discoverd".into() };
            assert_eq!(result, if is_deleted { Ok(()) } else { Err(refused) }, "{owner:?}");
        }
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "delete_controller", "0");
        fs::create_dir_all(tree.path("run/nvme/registry/nvme0/owner")).unwrap();
        let result = disconnect_unless_claimed(&tree.roots(), ctrl, true, || Ok(()));
        assert!(matches!(result, Err(DisconnectError::UnknownOwner(_))), "{result:?}");
    }

    /// The storage may come into use between the check and the disconnect, and between two attempts.
    #[test]
    fn storage_that_has_come_into_use_is_kept() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "delete_controller", "0");
        let used = || Err(DisconnectError::InUse(Vec::new()));
        assert!(matches!(disconnect_unless_claimed(&tree.roots(), ctrl, true, used), Err(DisconnectError::InUse(_))));
        assert_eq!(fs::read_to_string(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap(), "0\n");
    }

    #[test]
    fn a_refusal_is_reported() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        fs::create_dir(tree.path("sys/class/nvme/nvme0/delete_controller")).unwrap();
        let error = disconnect(&tree.roots(), ctrl).unwrap_err();
        assert!(matches!(error, DisconnectError::Kernel(_)), "{error}");
    }
}
