//! The meaning of a failed step, and what to do about it.

use nix::libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENXIO, EPERM, EPROTONOSUPPORT,
};

use super::Failure;
use crate::step::{Item, Link, Step};

/// Advice for the operator; `None` if the cause is enough.
pub(super) fn advice(step: &Step, failure: &Failure) -> Option<String> {
    let error = match failure {
        Failure::Call(error) => error.raw_os_error()?,
        Failure::Command(_) => return of_module(step),
    };
    let words = match (step, error) {
        (_, EPERM) => "run it as root",
        (Step::Make(_), EACCES) => "run it as root",
        (Step::Make(Item::Host(_) | Item::Port(_) | Item::Subsystem(_)), ENOENT) => {
            "is configfs mounted? mount -t configfs none /sys/kernel/config"
        }
        (Step::Make(Item::NullBlk(_)), ENOENT) => {
            "this null_blk cannot be configured; it needs Linux 4.14 and configfs"
        }
        (Step::Make(_), EEXIST) => "another program made it at the same moment; run nvmet again",
        (Step::Remove(_), EBUSY) => "something still links to it or uses it; `nvmet ls` shows what",
        (Step::Set(Item::Host(_), attribute, _), ENOENT | EACCES) if attribute.starts_with("dhchap") => {
            "this kernel's target does not support authentication (CONFIG_NVME_TARGET_AUTH)"
        }
        (Step::Set(Item::Host(_), _, _), EINVAL) => {
            "the kernel does not accept the key; create one with `nvme gen-dhchap-key`"
        }
        (Step::Set(Item::Namespace(..), "enable", _), ENOENT) => {
            "there is no such device; if it is a null_blk device, it needs Linux 5.19, which names it as configfs does"
        }
        (Step::Set(Item::Port(_) | Item::Referral(..), _, _), EACCES) => {
            "the port is listening; `nvmet create -d` creates it again"
        }
        (Step::Link(Link::Export { .. }), other) => return of_port(other).map(str::to_owned),
        _ => return None,
    };
    Some(words.to_owned())
}

/// A port starts to listen with its first link, so a wrong address fails there.
fn of_port(error: i32) -> Option<&'static str> {
    Some(match error {
        EADDRINUSE => "another program listens at the address of the port; give it another trsvcid or traddr",
        EADDRNOTAVAIL => "this machine does not have the address of the port; correct traddr",
        ENODEV => "no device of this machine has the address of the port; rdma needs an RDMA NIC or rdma_rxe",
        ENOENT | ENXIO => "no fc port of this machine has the address of the port; nvme-fcloop creates one for tests",
        EPROTONOSUPPORT | EINVAL => "the kernel refuses the address of the port; `dmesg` says why",
        _ => return None,
    })
}

fn of_module(step: &Step) -> Option<String> {
    let Step::Load(module, _) = step else { return None };
    Some(format!(
        "install the package that holds the module {} for this kernel (or build it: {})",
        module.name(),
        module.build_option()
    ))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::module::Module;
    use crate::step::Value;

    fn of(step: Step, errno: i32) -> Option<String> {
        advice(&step, &Failure::Call(io::Error::from_raw_os_error(errno)))
    }

    #[test]
    fn what_the_kernel_refuses_comes_with_what_to_do() {
        let port = || Item::Port(1);
        let host = || Item::Host("h".into());
        let set = |item, attribute| Step::Set(item, attribute, Value::Plain("1".into()));
        let export = || Step::Link(Link::Export { port: 1, nqn: "a".into() });
        for (step, errno, words) in [
            (Step::Make(port()), EPERM, "as root"),
            (Step::Make(port()), EACCES, "as root"),
            (Step::Make(port()), ENOENT, "mount -t configfs"),
            (Step::Make(Item::NullBlk("n".into())), ENOENT, "Linux 4.14"),
            (Step::Make(host()), EEXIST, "run nvmet again"),
            (Step::Remove(port()), EBUSY, "`nvmet ls` shows what"),
            (set(host(), "dhchap_key"), ENOENT, "CONFIG_NVME_TARGET_AUTH"),
            (set(host(), "dhchap_key"), EINVAL, "nvme gen-dhchap-key"),
            (set(Item::Namespace("a".into(), 1), "enable"), ENOENT, "no such device"),
            (set(port(), "addr_traddr"), EACCES, "`nvmet create -d`"),
            (export(), EADDRINUSE, "another trsvcid or traddr"),
            (export(), EADDRNOTAVAIL, "correct traddr"),
            (export(), ENODEV, "rdma_rxe"),
            (export(), ENXIO, "nvme-fcloop"),
            (export(), EINVAL, "`dmesg` says why"),
        ] {
            let said = of(step.clone(), errno).unwrap_or_default();
            assert!(said.contains(words), "{step:?} and {errno} gave: {said}");
        }
        assert_eq!(of(export(), ENOENT), of(export(), ENXIO));
        for (step, errno) in [(export(), EBUSY), (Step::Remove(port()), ENOENT), (Step::Unload(Module::Brd), EBUSY)] {
            assert_eq!(of(step, errno), None);
        }
    }

    #[test]
    fn a_module_that_is_missing_is_named_with_its_build_option() {
        let failure = Failure::Command("modprobe: FATAL: not found".into());
        for module in Module::ALL {
            let said = advice(&Step::Load(module, Vec::new()), &failure).unwrap_or_default();
            assert!(said.contains(module.name()) && said.contains("CONFIG_"), "{said}");
        }
        assert_eq!(advice(&Step::Unload(Module::Brd), &failure), None);
    }
}
