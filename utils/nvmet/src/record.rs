//! The record of what the tool made, so that it cleans that and nothing else.
//!
//! It lies in /run, which goes with the kernel's target at a reboot. What is about to be made is written down first:
//! a tool that dies half-way leaves nothing that `nvmet clean` does not know.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::module::Module;
use crate::observed::Observed;
use crate::step::{Item, Step};

/// The version of the file's format.
const VERSION: u32 = 1;

/// What the tool made and has not removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Ports by number.
    pub ports: BTreeSet<u16>,
    /// Subsystems by NQN.
    pub subsystems: BTreeSet<String>,
    /// Hosts by NQN.
    pub hosts: BTreeSet<String>,
    /// Devices of `null_blk` by name.
    pub null_blk: BTreeSet<String>,
    /// Modules that were not loaded before.
    pub modules: BTreeSet<Module>,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("the record {0} of what was made cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// It is not ours.
    #[error("{0} is not a record of nvmet ({1}); move it away, then remove by hand what it spoke of")]
    Format(PathBuf, String),
    /// It cannot be written.
    #[error("the record {0} of what is made cannot be written: {1}; nothing was changed")]
    Write(PathBuf, io::Error),
}

impl Record {
    /// Reads the record. No file: nothing was made.
    ///
    /// # Errors
    /// [`RecordError`] if there is a file that is not a record, or cannot be read.
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

    /// Replaces the file as a whole; removes it if nothing is left to record.
    ///
    /// # Errors
    /// [`RecordError::Write`] with the cause.
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
        // It holds no secrets, and `nvmet ls` is for everybody.
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

    /// Adds what the steps are about to make.
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

    /// Forgets what is not there any more.
    pub fn retain_existing(&mut self, observed: &Observed) {
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
        record.retain_existing(&Observed::default());
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
