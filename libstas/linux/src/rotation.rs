//! Tries a new DH-HMAC-CHAP secret at the target, and sets it in the kernel for an existing connection.
//!
//! A trial is a connect to the same subsystem that requests a discovery controller (option `discovery`). The kernel
//! then creates only the admin queue, authenticates, identifies the controller, and refuses it: `Subsystem … is not a
//! discovery controller` (EINVAL). No namespace appears in any case. A rejected secret ends the connect earlier, with
//! another error.
//!
//! The kernel also returns EINVAL for other causes, before it reaches the target. So EINVAL only counts if the same
//! trial without a secret ends with ENOKEY: the kernel has reached the target, and the target requires a secret.

use std::io;

use nix::errno::Errno;

use super::sysfs::ControllerDir;
use stas_core::effect::Rotated;
use stas_core::{ConnectError, CtrlState, OsError, RotationError};
use stas_nvme::Secret;
use stas_nvme::secret::DhchapSecrets;

/// The attributes with the secrets of the host and of the controller.
const HOST: &str = "dhchap_secret";
const CONTROLLER: &str = "dhchap_ctrl_secret";

/// Changes the secrets of a controller to `wanted` if it is reconnecting and the target accepts them. `trial` makes a
/// trial connect with these secrets, or without secrets, and disconnects the resulting controller.
///
/// # Errors
/// Fails if sysfs cannot be read. The kernel's secrets are unchanged.
pub(super) fn rotate(
    dir: &ControllerDir,
    wanted: &DhchapSecrets,
    mut trial: impl FnMut(Option<&DhchapSecrets>) -> Result<(), ConnectError>,
) -> io::Result<Rotated> {
    let Some(kernels) = read(dir)? else { return Ok(Rotated::Impossible) };
    let possible = possible(&kernels, wanted);
    let in_full = wanted.controller.is_none() || possible.controller.is_some();
    if possible == kernels {
        return Ok(if in_full { Rotated::Current } else { Rotated::Impossible });
    }
    if !is_reconnecting(dir) {
        return Ok(Rotated::Later);
    }
    let refusal = refusal(trial(Some(&possible))).or_else(|| no_proof(trial(None)));
    Ok(refusal.unwrap_or_else(|| write(dir, &kernels, &possible, in_full)))
}

/// Reads the kernel's secrets. `None` if the connection was made without secrets, or the kernel has no authentication.
fn read(dir: &ControllerDir) -> io::Result<Option<DhchapSecrets>> {
    let secret =
        |name| Ok::<_, io::Error>(dir.read(name)?.filter(|text| text != "none" && !text.is_empty()).map(Secret::new));
    let Some(host) = secret(HOST)? else { return Ok(None) };
    Ok(Some(DhchapSecrets { host, controller: secret(CONTROLLER)? }))
}

/// The kernel's secrets after the change. The kernel can replace an existing controller secret, but cannot add or
/// remove one.
fn possible(kernels: &DhchapSecrets, wanted: &DhchapSecrets) -> DhchapSecrets {
    let controller = kernels.controller.as_ref().map(|kernels| wanted.controller.as_ref().unwrap_or(kernels).clone());
    DhchapSecrets { host: wanted.host.clone(), controller }
}

/// Interprets the answer to a trial with secrets. `None` if the target seems to have accepted them.
fn refusal(answer: Result<(), ConnectError>) -> Option<Rotated> {
    let Err(error) = answer else { return Some(Rotated::Unknown(RotationError::Discovery)) };
    match error.errno().map(Errno::from_raw) {
        Some(Errno::EINVAL) => None,
        Some(Errno::ENOKEY | Errno::EKEYREJECTED | Errno::EKEYEXPIRED | Errno::EACCES | Errno::EIO) => {
            Some(Rotated::Refused(error))
        }
        _ => Some(Rotated::Unknown(error.into())),
    }
}

/// Interprets the answer to a trial without secrets. `None` if it proves that the trial with secrets reached the
/// target.
fn no_proof(answer: Result<(), ConnectError>) -> Option<Rotated> {
    let reason = match answer {
        Err(error) if error.errno().map(Errno::from_raw) == Some(Errno::ENOKEY) => return None,
        Err(error) => error.into(),
        Ok(()) => RotationError::Discovery,
    };
    Some(Rotated::Unknown(RotationError::NoProof(Box::new(reason))))
}

/// True while the kernel reconnects the controller. In any other state, or if the state cannot be read, its secrets
/// must not be changed.
fn is_reconnecting(dir: &ControllerDir) -> bool {
    dir.read("state").ok().flatten().is_some_and(|state| CtrlState::parse(&state).is_reconnecting())
}

/// Sets the accepted secrets in the kernel. Not while the controller is live: it would authenticate again immediately,
/// and hang if its connection is lost meanwhile.
fn write(dir: &ControllerDir, kernels: &DhchapSecrets, possible: &DhchapSecrets, in_full: bool) -> Rotated {
    if !is_reconnecting(dir) {
        return Rotated::Later;
    }
    let host = (possible.host != kernels.host).then_some((HOST, &possible.host));
    let controller = possible.controller.as_ref().filter(|_| possible.controller != kernels.controller);
    for (name, secret) in host.into_iter().chain(controller.map(|secret| (CONTROLLER, secret))) {
        match dir.write(name, secret.reveal()) {
            Ok(true) => {}
            Ok(false) => return Rotated::Unknown(RotationError::Gone),
            Err(error) => return Rotated::Unknown(RotationError::Write(OsError::new(error))),
        }
    }
    if in_full { Rotated::Written } else { Rotated::HostWritten }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fake_tree::FakeTree;
    use stas_core::CtrlRef;
    use stas_nvme::connect::OptionError;

    const OLD: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
    const NEW: &str = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
    const NEW2: &str = "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";

    fn secrets(host: &str, controller: Option<&str>) -> DhchapSecrets {
        DhchapSecrets { host: Secret::new(host), controller: controller.map(Secret::new) }
    }

    fn kernel(errno: Errno) -> ConnectError {
        ConnectError::Kernel { errno: errno as i32, explanation: format!("{errno:?}").as_str().into() }
    }

    /// A target with these secrets, as seen through the kernel's answers.
    fn target(has: DhchapSecrets) -> impl FnMut(Option<&DhchapSecrets>) -> Result<(), ConnectError> {
        move |tried| {
            let agrees = |tried: &DhchapSecrets| {
                tried.host == has.host && (tried.controller.is_none() || tried.controller == has.controller)
            };
            Err(kernel(match tried {
                None => Errno::ENOKEY,
                Some(tried) if agrees(tried) => Errno::EINVAL,
                Some(_) => Errno::EKEYREJECTED,
            }))
        }
    }

    /// A reconnecting controller with these secrets in the kernel.
    struct Scene {
        tree: FakeTree,
        ctrl: CtrlRef,
        dir: ControllerDir,
    }

    impl Scene {
        fn new(host: &str, controller: &str) -> Self {
            let tree = FakeTree::new();
            let ctrl = tree.controller(0, "");
            tree.set(ctrl, "state", "connecting");
            tree.set(ctrl, HOST, host);
            tree.set(ctrl, CONTROLLER, controller);
            let dir = ControllerDir::open(&tree.roots(), ctrl).unwrap().unwrap();
            Self { tree, ctrl, dir }
        }

        fn kernels(&self) -> (String, String) {
            let read = |name| fs::read_to_string(self.tree.path(format!("sys/class/nvme/{}/{name}", self.ctrl)));
            (read(HOST).unwrap().trim().to_owned(), read(CONTROLLER).unwrap().trim().to_owned())
        }
    }

    #[test]
    fn the_kernel_gets_the_wanted_secrets_only_if_the_target_takes_them() {
        let refused = || Rotated::Refused(kernel(Errno::EKEYREJECTED));
        // The kernel's secrets, the wanted ones, the target's; the expected outcome, the kernel's secrets afterwards.
        for (has, wanted, at_target, outcome, then) in [
            // The host's secret only.
            ((OLD, "none"), secrets(OLD, None), secrets(OLD, None), Rotated::Current, (OLD, "none")),
            ((OLD, "none"), secrets(NEW, None), secrets(OLD, None), refused(), (OLD, "none")),
            ((OLD, "none"), secrets(NEW, None), secrets(NEW, None), Rotated::Written, (NEW, "none")),
            ((OLD, "none"), secrets(NEW, None), secrets(NEW2, None), refused(), (OLD, "none")),
            // Both secrets; the controller's only.
            ((OLD, OLD), secrets(NEW, Some(NEW2)), secrets(OLD, Some(OLD)), refused(), (OLD, OLD)),
            ((OLD, OLD), secrets(NEW, Some(NEW2)), secrets(NEW, Some(OLD)), refused(), (OLD, OLD)),
            ((OLD, OLD), secrets(NEW, Some(NEW2)), secrets(NEW, Some(NEW2)), Rotated::Written, (NEW, NEW2)),
            ((OLD, OLD), secrets(OLD, Some(NEW)), secrets(OLD, Some(OLD)), refused(), (OLD, OLD)),
            ((OLD, OLD), secrets(OLD, Some(NEW)), secrets(OLD, Some(NEW)), Rotated::Written, (OLD, NEW)),
            // The kernel cannot remove the controller's secret: the trial uses the resulting secrets.
            ((OLD, OLD), secrets(OLD, None), secrets(OLD, None), Rotated::Current, (OLD, OLD)),
            ((OLD, OLD), secrets(NEW, None), secrets(NEW, None), refused(), (OLD, OLD)),
            ((OLD, OLD), secrets(NEW, None), secrets(NEW, Some(OLD)), Rotated::Written, (NEW, OLD)),
            // The kernel cannot add a controller secret.
            ((OLD, "none"), secrets(OLD, Some(NEW)), secrets(OLD, Some(NEW)), Rotated::Impossible, (OLD, "none")),
            ((OLD, "none"), secrets(NEW, Some(NEW2)), secrets(NEW, Some(NEW2)), Rotated::HostWritten, (NEW, "none")),
            ((OLD, "none"), secrets(NEW, Some(NEW2)), secrets(OLD, None), refused(), (OLD, "none")),
            // The connection was made without authentication.
            (("none", "none"), secrets(NEW, None), secrets(NEW, None), Rotated::Impossible, ("none", "none")),
        ] {
            let scene = Scene::new(has.0, has.1);
            let case = format!("{:?} to {:?}", has, (wanted.host.reveal(), &outcome));
            assert_eq!(rotate(&scene.dir, &wanted, target(at_target)).unwrap(), outcome, "{case}");
            assert_eq!(scene.kernels(), (then.0.to_owned(), then.1.to_owned()), "{case}");
        }
    }

    #[test]
    fn no_other_answer_of_the_kernel_says_that_the_secret_was_taken() {
        let err = |errno| Err(kernel(errno));
        // The answer to the trial with the new secret, and to the trial without a secret.
        for (with, without) in [
            (err(Errno::EINVAL), err(Errno::EINVAL)),
            (err(Errno::EINVAL), err(Errno::ECONNREFUSED)),
            (err(Errno::EINVAL), err(Errno::EKEYREJECTED)),
            (err(Errno::EINVAL), err(Errno::EIO)),
            (err(Errno::EINVAL), Err(ConnectError::Invalid(OptionError::Missing("traddr")))),
            (err(Errno::EINVAL), Ok(())),
            (Ok(()), err(Errno::ENOKEY)),
            (Err(ConnectError::Already), err(Errno::ENOKEY)),
            (Err(ConnectError::Invalid(OptionError::Missing("traddr"))), err(Errno::ENOKEY)),
            (err(Errno::ENOKEY), err(Errno::ENOKEY)),
            (err(Errno::EKEYREJECTED), err(Errno::ENOKEY)),
            (err(Errno::EIO), err(Errno::ENOKEY)),
            (err(Errno::ECONNREFUSED), err(Errno::ENOKEY)),
            (err(Errno::ETIMEDOUT), err(Errno::ENOKEY)),
            (err(Errno::ECONNRESET), err(Errno::ENOKEY)),
            (err(Errno::UnknownErrno), err(Errno::ENOKEY)),
        ] {
            let scene = Scene::new(OLD, "none");
            let case = format!("{with:?}, {without:?}");
            let answer = |tried: Option<&DhchapSecrets>| if tried.is_some() { with.clone() } else { without.clone() };
            let outcome = rotate(&scene.dir, &secrets(NEW, None), answer).unwrap();
            assert!(matches!(outcome, Rotated::Refused(_) | Rotated::Unknown(_)), "{case}: {outcome:?}");
            assert_eq!(scene.kernels().0, OLD, "{case}");
        }
    }

    #[test]
    fn a_controller_that_the_kernel_does_not_reconnect_keeps_its_secret_and_nothing_is_tried() {
        for state in ["live", "new", "deleting", "deleting (no IO)", "dead", "something new", ""] {
            let scene = Scene::new(OLD, "none");
            scene.tree.set(scene.ctrl, "state", state);
            let outcome = rotate(&scene.dir, &secrets(NEW, None), |_| panic!("{state}: nothing is tried")).unwrap();
            assert_eq!((outcome, scene.kernels().0.as_str()), (Rotated::Later, OLD), "{state}");
        }
        let scene = Scene::new(OLD, "none");
        scene.tree.unset(scene.ctrl, "state");
        let outcome = rotate(&scene.dir, &secrets(NEW, None), |_| panic!("nothing is tried")).unwrap();
        assert_eq!((outcome, scene.kernels().0.as_str()), (Rotated::Later, OLD));
    }

    /// Rotates a secret that the target accepts, while `happens` occurs during the trial.
    fn meanwhile(scene: &Scene, happens: impl Fn(&Scene)) -> Rotated {
        let mut target = target(secrets(NEW, Some(NEW2)));
        let outcome = rotate(&scene.dir, &secrets(NEW, Some(NEW2)), |tried| {
            if tried.is_none() {
                happens(scene);
            }
            target(tried)
        });
        outcome.unwrap()
    }

    #[test]
    fn a_controller_that_is_live_again_after_the_trial_keeps_its_secret() {
        let scene = Scene::new(OLD, OLD);
        let outcome = meanwhile(&scene, |scene| scene.tree.set(scene.ctrl, "state", "live"));
        assert_eq!((outcome, scene.kernels()), (Rotated::Later, (OLD.to_owned(), OLD.to_owned())));
    }

    #[test]
    fn a_controller_that_is_gone_after_the_trial_gives_its_secret_to_no_other_one() {
        let scene = Scene::new(OLD, OLD);
        assert_eq!(meanwhile(&scene, |scene| scene.tree.remove(scene.ctrl)), Rotated::Later);
        // Another controller has got its instance number.
        let scene = Scene::new(OLD, OLD);
        let recycled = |scene: &Scene| {
            let other = scene.tree.controller(0, "");
            for (name, value) in [("state", "connecting"), (HOST, OLD), (CONTROLLER, OLD)] {
                scene.tree.set(other, name, value);
            }
        };
        assert_eq!(meanwhile(&scene, recycled), Rotated::Later);
        assert_eq!(scene.kernels(), (OLD.to_owned(), OLD.to_owned()));
    }

    #[test]
    fn a_kernel_that_does_not_take_the_secret_is_reported() {
        use std::os::unix::fs::symlink;

        let scene = Scene::new(OLD, OLD);
        let full = |scene: &Scene| {
            scene.tree.unset(scene.ctrl, HOST);
            symlink("/dev/full", scene.tree.path(format!("sys/class/nvme/{}/{HOST}", scene.ctrl))).unwrap();
        };
        let Rotated::Unknown(reason) = meanwhile(&scene, full) else { panic!("it was not taken") };
        assert!(matches!(reason, RotationError::Write(_)), "{reason}");
        // Only the controller's secret fails: the next change sees what the kernel has.
        let scene = Scene::new(OLD, OLD);
        let gone = |scene: &Scene| scene.tree.unset(scene.ctrl, CONTROLLER);
        assert_eq!(meanwhile(&scene, gone), Rotated::Unknown(RotationError::Gone));
        scene.tree.set(scene.ctrl, CONTROLLER, OLD);
        assert_eq!(meanwhile(&scene, |_| {}), Rotated::Written);
        assert_eq!(scene.kernels(), (NEW.to_owned(), NEW2.to_owned()));
    }

    #[test]
    fn a_kernel_without_the_attributes_takes_no_secret() {
        let scene = Scene::new(OLD, OLD);
        scene.tree.unset(scene.ctrl, HOST);
        scene.tree.unset(scene.ctrl, CONTROLLER);
        let outcome = rotate(&scene.dir, &secrets(NEW, None), |_| panic!("nothing is tried")).unwrap();
        assert_eq!(outcome, Rotated::Impossible);
    }
}
