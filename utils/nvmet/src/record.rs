//! The record of what the tool created. Only this may be removed by `clean`.
//!
//! It is in /run, which is lost at a reboot like the kernel's target. Items are recorded before they are created: a
//! tool that is killed leaves nothing that `nvmet clean` does not know.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::actual::Actual;
use crate::module::Module;
use crate::step::{Item, Step};

/// The version of the file's format.
const VERSION: u32 = 1;

/// The items that the tool created and has not removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The numbers of ports.
    pub ports: BTreeSet<u16>,
    /// The NQNs of subsystems.
    pub subsystems: BTreeSet<String>,
    /// The NQNs of hosts.
    pub hosts: BTreeSet<String>,
    /// The names of `null_blk` devices.
    pub null_blk: BTreeSet<String>,
    /// The modules that the tool has loaded.
    pub modules: BTreeSet<Module>,
}

/// Why the record is not usable.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("the record {0} of what was made cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// It is not a record of nvmet.
    #[error("{0} is not a record of nvmet ({1}); move it away, then remove by hand what it lists")]
    Format(PathBuf, String),
    /// It cannot be written.
    #[error("the record {0} of what is made cannot be written: {1}; nothing was changed")]
    Write(PathBuf, io::Error),
}

impl Record {
    /// Reads the record. A missing file means that nothing was created.
    ///
    /// # Errors
    /// Returns [`RecordError`] if the file is not a record, or cannot be read.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RecordError::Read(path.to_owned(), error)),
        };
        let record: Self =
            serde_json::from_str(&text).map_err(|error| RecordError::Format(path.to_owned(), error.to_string()))?;
        if record.version != VERSION {
            return Err(RecordError::Format(path.to_owned(), format!("version {}", record.version)));
        }
        Ok(record)
    }

    /// Replaces the whole file, or removes it if the record is empty.
    ///
    /// # Errors
    /// Returns [`RecordError::Write`] with the cause.
    pub fn save(&self, path: &Path) -> Result<(), RecordError> {
        self.write(path).map_err(|error| RecordError::Write(path.to_owned(), error))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        if self.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // It contains no secrets, and every user may run `nvmet ls`.
        let readable = Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(folder)?;
        serde_json::to_writer_pretty(&file, &Self { version: VERSION, ..self.clone() })?;
        writeln!(file)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// True if nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Self { version: 0, ..self.clone() } == Self::default()
    }

    /// Adds the items that the steps will create.
    pub fn claim<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        for step in steps {
            match step {
                Step::Make(Item::Port(id)) => {
                    self.ports.insert(*id);
                }
                Step::Make(Item::Subsystem(nqn)) => {
                    self.subsystems.insert(nqn.clone());
                }
                Step::Make(Item::Host(nqn)) => {
                    self.hosts.insert(nqn.clone());
                }
                Step::Make(Item::NullBlk(name)) => {
                    self.null_blk.insert(name.clone());
                }
                Step::Load(module, _) => {
                    self.modules.insert(*module);
                }
                _ => {}
            }
        }
    }

    /// Drops items that no longer exist.
    pub fn retain_existing(&mut self, observed: &Actual) {
        self.ports.retain(|id| observed.ports.contains_key(id));
        self.subsystems.retain(|nqn| observed.subsystems.contains_key(nqn));
        self.hosts.retain(|nqn| observed.hosts.contains_key(nqn));
        self.null_blk.retain(|name| observed.null_blk.contains_key(name));
        self.modules.retain(|module| observed.modules.contains(module));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::default();
        record.claim(&[Step::Make(Item::Port(7)), Step::Load(Module::NvmetTcp, vec![])]);
        record.save(&path).unwrap();
        let loaded = Record::load(&path).unwrap();
        assert_eq!((loaded.ports, loaded.modules), (record.ports, record.modules));
    }

    #[test]
    fn an_empty_record_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut record = Record::default();
        record.claim(&[Step::Make(Item::Port(7))]);
        record.save(&path).unwrap();
        record.retain_existing(&Actual::default());
        record.save(&path).unwrap();
        record.save(&path).unwrap();
        assert!(!path.exists());
        assert!(Record::load(&path).unwrap().is_empty());
    }

    #[test]
    fn a_strange_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for text in ["", "{}", r#"{"version":9,"ports":[],"subsystems":[],"hosts":[],"null_blk":[],"modules":[]}"#] {
            fs::write(&path, text).unwrap();
            let error = Record::load(&path).unwrap_err().to_string();
            assert!(error.contains("record.json"), "{error}");
        }
    }
}
