//! Steps on the real kernel: one system call or one command each.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Executor, Failure, Outcome};
use crate::module::Module;
use crate::place::Place;
use crate::step::{Step, Value};

/// How long an unload waits for the last user of a module: udev looks at disks that just appeared or went.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks; the kernel does not tell when a reference count changes.
const UNLOAD_LOOK: Duration = Duration::from_millis(20);

/// The kernel's configfs and modules.
#[derive(Debug)]
pub struct Kernel {
    place: Place,
}

impl Kernel {
    /// The kernel at that place.
    #[must_use]
    pub fn new(place: &Place) -> Self {
        Self { place: place.clone() }
    }

    fn at(&self, path: PathBuf) -> PathBuf {
        self.place.configfs.join(path)
    }

    fn unload(&self, module: Module) -> Result<Outcome, Failure> {
        let count = self.place.sysfs.join("module").join(module.sysfs_name()).join("refcnt");
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

/// Writes an attribute. The kernel takes what comes in one call, without a line end.
fn write(path: &std::path::Path, value: &Value) -> io::Result<()> {
    let bytes = match value {
        Value::Plain(text) => text.as_bytes(),
        Value::Key(secret) => secret.reveal().as_bytes(),
        // An empty write does not reach the kernel's code; a single NUL reads there as an empty text.
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
