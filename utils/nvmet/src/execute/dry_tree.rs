//! Performs steps on a dry tree: an ordinary directory, in which this module does what the kernel would do.
//!
//! It lets users try a configuration, and the tool, without the kernel modules and without privileges. It creates the
//! directories and attributes that the kernel creates, and refuses to remove what is not empty. It checks no further
//! rules.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Executor, Failure, Outcome};
use crate::module::Module;
use crate::paths::Paths;
use crate::step::{Item, Step, Value};

/// An ordinary directory in place of configfs and sysfs.
#[derive(Debug)]
pub struct DryTree {
    paths: Paths,
}

impl DryTree {
    /// Creates an executor for the dry tree with these paths.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    fn at(&self, path: PathBuf) -> PathBuf {
        self.paths.configfs.join(path)
    }

    fn load(&self, module: Module, parameters: &[String]) -> io::Result<()> {
        fs::create_dir_all(self.paths.sysfs.join("module").join(module.sysfs_name()))?;
        match module {
            Module::Nvmet => ["ports", "subsystems", "hosts"]
                .into_iter()
                .try_for_each(|name| fs::create_dir_all(self.paths.configfs.join("nvmet").join(name))),
            Module::NullBlk => fs::create_dir_all(self.paths.configfs.join("nullb")),
            Module::Brd => self.load_brd(parameters),
            _ => Ok(()),
        }
    }

    fn load_brd(&self, parameters: &[String]) -> io::Result<()> {
        let value = |name| parameters.iter().find_map(|word| word.strip_prefix(name)?.parse::<u32>().ok()).unwrap_or(0);
        for number in 0..value("rd_nr=") {
            let disk = self.paths.sysfs.join(format!("block/ram{number}"));
            fs::create_dir_all(&disk)?;
            fs::write(disk.join("size"), (u64::from(value("rd_size=")) * 2).to_string())?;
        }
        Ok(())
    }

    fn unload(&self, module: Module) -> io::Result<()> {
        if module == Module::Brd {
            fs::remove_dir_all(self.paths.sysfs.join("block"))?;
        }
        fs::remove_dir(self.paths.sysfs.join("module").join(module.sysfs_name()))
    }
}

impl Executor for DryTree {
    fn carry_out(&self, step: &Step) -> Result<Outcome, Failure> {
        match step {
            Step::Load(module, parameters) => self.load(*module, parameters)?,
            Step::Unload(module) => self.unload(*module)?,
            Step::Make(item) => make(&self.at(item.path()), item)?,
            Step::Remove(item) => remove(&self.at(item.path()), item)?,
            Step::Set(item, attribute, value) => fs::write(self.at(item.path().join(attribute)), text(value))?,
            Step::Protect(item, attribute) => protect(&self.at(item.path().join(attribute)))?,
            Step::Link(link) => symlink(self.at(link.target().path()), self.at(link.path()))?,
            Step::Unlink(link) => fs::remove_file(self.at(link.path()))?,
        }
        Ok(Outcome::Done)
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Plain(text) => text,
        Value::Key(secret) => secret.reveal(),
        Value::NoKey => "",
    }
}

/// Creates the file, readable only by its owner, before the key is written.
fn protect(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// The directories that the kernel creates inside.
fn groups(item: &Item) -> &'static [&'static str] {
    match item {
        Item::Port(_) => &["subsystems", "referrals"],
        Item::Subsystem(_) => &["namespaces", "allowed_hosts"],
        Item::Referral(..) | Item::Namespace(..) | Item::Host(_) | Item::NullBlk(_) => &[],
    }
}

fn make(path: &Path, item: &Item) -> io::Result<()> {
    fs::create_dir(path)?;
    groups(item).iter().try_for_each(|group| fs::create_dir(path.join(group)))
}

fn remove(path: &Path, item: &Item) -> io::Result<()> {
    for group in groups(item) {
        if fs::read_dir(path.join(group))?.next().is_some() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
    }
    fs::remove_dir_all(path)
}
