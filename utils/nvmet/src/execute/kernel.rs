//! Performs steps on the real kernel: one system call or one command each.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Executor, Failure, Outcome};
use crate::module::Module;
use crate::paths::Paths;
use crate::step::{Step, Value};

/// How long an unload waits for the last user of a module: udev opens disks that have just appeared or disappeared.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(2);
/// The polling interval: the kernel does not notify about reference counts.
const UNLOAD_LOOK: Duration = Duration::from_millis(20);

/// The kernel's configfs and modules.
#[derive(Debug)]
pub struct Kernel {
    paths: Paths,
}

impl Kernel {
    /// Creates an executor for the kernel with these paths.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    fn at(&self, path: PathBuf) -> PathBuf {
        self.paths.configfs.join(path)
    }

    fn unload(&self, module: Module) -> Result<Outcome, Failure> {
        let count = self.paths.sysfs.join("module").join(module.sysfs_name()).join("refcnt");
        let deadline = Instant::now() + UNLOAD_PATIENCE;
        while used(&count) && Instant::now() < deadline {
            sleep(UNLOAD_LOOK);
        }
        if used(&count) {
            return Ok(Outcome::Left(format!("module {} stays loaded: it is in use", module.name())));
        }
        match command("rmmod", &[module.name().to_owned()]) {
            Ok(()) => Ok(Outcome::Done),
            Err(Failure::Command(words)) => {
                Ok(Outcome::Left(format!("module {} stays loaded: {words}", module.name())))
            }
            Err(failure) => Err(failure),
        }
    }
}

impl Executor for Kernel {
    fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
        match step {
            Step::Load(module, parameters) => {
                command("modprobe", &[&[module.name().to_owned()], parameters.as_slice()].concat())?;
            }
            Step::Unload(module) => return self.unload(*module),
            Step::Make(item) => fs::create_dir(self.at(item.path()))?,
            Step::Remove(item) => fs::remove_dir(self.at(item.path()))?,
            Step::Set(item, attribute, value) => write(&self.at(item.path().join(attribute)), value)?,
            Step::Protect(item, attribute) => {
                fs::set_permissions(self.at(item.path().join(attribute)), Permissions::from_mode(0o600))?;
            }
            Step::Link(link) => symlink(self.at(link.target().path()), self.at(link.path()))?,
            Step::Unlink(link) => fs::remove_file(self.at(link.path()))?,
        }
        Ok(Outcome::Done)
    }
}

/// Writes an attribute in one call, as the kernel requires, without a line end.
fn write(path: &std::path::Path, value: &Value) -> io::Result<()> {
    let bytes = match value {
        Value::Plain(text) => text.as_bytes(),
        Value::Key(secret) => secret.reveal().as_bytes(),
        // An empty write does not reach the kernel's code. The kernel reads a single NUL as an empty text.
        Value::NoKey => b"\0",
    };
    let written = OpenOptions::new().write(true).open(path)?.write(bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

fn used(count: &std::path::Path) -> bool {
    fs::read_to_string(count).is_ok_and(|text| text.trim() != "0")
}

fn command(name: &str, arguments: &[String]) -> Result<(), Failure> {
    let output = match Command::new(name).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::Command(format!("{name} is not in PATH; the package kmod has it")));
        }
        Err(error) => return Err(Failure::Call(error)),
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Failure::Command(if words.is_empty() { output.status.to_string() } else { words }))
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Call(error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stas_nvme::Secret;

    use super::*;
    use crate::step::{Item, Link};

    /// A directory in place of configfs: the same system calls, without the effects of the kernel.
    fn kernel() -> (tempfile::TempDir, Kernel) {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: folder.path().join("sys"), ..Paths::new(Some(folder.path()), None) };
        for path in ["nvmet/ports", "nvmet/subsystems", "nvmet/hosts", "sys/module/brd"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        (folder, Kernel::new(&paths))
    }

    fn done(kernel: &Kernel, step: &Step) {
        assert_eq!(kernel.carry_out(step).unwrap(), Outcome::Done, "{step:?}");
    }

    #[test]
    fn each_step_is_one_call_and_its_opposite_undoes_it() {
        let (folder, kernel) = kernel();
        let at = |path: &str| folder.path().join("nvmet").join(path);
        let (port, subsystem) = (Item::Port(1), Item::Subsystem("a".into()));
        let link = Link::Export { port: 1, nqn: "a".into() };
        done(&kernel, &Step::Make(port.clone()));
        done(&kernel, &Step::Make(subsystem.clone()));
        fs::create_dir(at("ports/1/subsystems")).unwrap();
        done(&kernel, &Step::Link(link.clone()));
        assert_eq!(fs::read_link(at("ports/1/subsystems/a")).unwrap(), at("subsystems/a"));
        done(&kernel, &Step::Unlink(link));
        assert!(!at("ports/1/subsystems/a").is_symlink());
        done(&kernel, &Step::Remove(subsystem.clone()));
        assert!(!at("subsystems/a").exists());
        assert!(matches!(kernel.carry_out(&Step::Remove(subsystem)), Err(Failure::Call(_))));
    }

    #[test]
    fn a_key_is_written_once_and_then_only_root_may_read_it() {
        let (folder, kernel) = kernel();
        let host = Item::Host("h".into());
        done(&kernel, &Step::Make(host.clone()));
        let path = folder.path().join("nvmet/hosts/h/dhchap_key");
        fs::write(&path, "").unwrap();
        done(&kernel, &Step::Protect(host.clone(), "dhchap_key"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (value, bytes) in [
            (Value::Key(Secret::new("DHHC-1:00:x:")), b"DHHC-1:00:x:".as_slice()),
            (Value::Plain("plain".into()), b"plain"),
            (Value::NoKey, b"\0"),
        ] {
            fs::write(&path, "").unwrap();
            done(&kernel, &Step::Set(host.clone(), "dhchap_key", value));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_module_that_is_used_stays_and_that_is_reported() {
        let (folder, kernel) = kernel();
        fs::write(folder.path().join("sys/module/brd/refcnt"), "2\n").unwrap();
        let Outcome::Left(why) = kernel.carry_out(&Step::Unload(Module::Brd)).unwrap() else {
            panic!("it is in use");
        };
        assert_eq!(why, "module brd stays loaded: it is in use");
    }

    #[test]
    fn a_command_that_fails_is_reported_in_its_own_words() {
        let words = |name: &str, arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&each| each.to_owned()).collect();
            match command(name, &arguments) {
                Err(Failure::Command(words)) => words,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(words("sh", &["-c", "echo no  such thing >&2; exit 3"]), "no such thing");
        assert_eq!(words("sh", &["-c", "exit 3"]), "exit status: 3");
        assert!(words("no-such-program", &[]).contains("not in PATH"));
        assert!(command("true", &[]).is_ok());
    }
}
