//! The record of what the tool created. Only this may be removed by `clean`.
//!
//! It is in /run, which is lost at a reboot like the kernel's target. Items are recorded before they are created: a
//! tool that is killed leaves nothing that `nvmet clean` does not know.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The inode numbers of the directories of these items, by path below the root of configfs. An item that another
    /// tool created later has the same name and another inode. An item without an inode number
    /// is identified by its name alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    inodes: BTreeMap<PathBuf, u64>,
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
                Step::Make(item) => {
                    match item {
                        Item::Port(id) => drop(self.ports.insert(*id)),
                        Item::Subsystem(nqn) => drop(self.subsystems.insert(nqn.clone())),
                        Item::Host(nqn) => drop(self.hosts.insert(nqn.clone())),
                        Item::NullBlk(name) => drop(self.null_blk.insert(name.clone())),
                        Item::Referral(..) | Item::Namespace(..) => {}
                    }
                    // The number of the new directory is known when it exists.
                    self.inodes.remove(&item.path());
                }
                Step::Load(module, _) => {
                    self.modules.insert(*module);
                }
                _ => {}
            }
        }
    }

    /// Drops items that another tool has removed and created again. Returns their paths below the root of configfs.
    pub fn drop_replaced(&mut self, observed: &Actual) -> Vec<PathBuf> {
        let replaced = |(path, inode): (&PathBuf, &u64)| {
            observed.inodes.get(path).is_some_and(|now| now != inode).then(|| path.clone())
        };
        let replaced: Vec<PathBuf> = self.inodes.iter().filter_map(replaced).collect();
        self.retain(|item| !replaced.contains(&item.path()));
        replaced
    }

    /// Drops items that no longer exist, and notes the inodes of the others.
    pub fn retain_existing(&mut self, observed: &Actual) {
        self.drop_replaced(observed);
        self.retain(|item| match item {
            Item::Port(id) => observed.ports.contains_key(id),
            Item::Subsystem(nqn) => observed.subsystems.contains_key(nqn),
            Item::Host(nqn) => observed.hosts.contains_key(nqn),
            Item::NullBlk(name) => observed.null_blk.contains_key(name),
            Item::Referral(..) | Item::Namespace(..) => false,
        });
        self.modules.retain(|module| observed.modules.contains(module));
        let found = self.items().into_iter().map(|item| item.path());
        self.inodes = found.filter_map(|path| Some((path.clone(), *observed.inodes.get(&path)?))).collect();
    }

    fn retain(&mut self, keep: impl Fn(&Item) -> bool) {
        self.ports.retain(|id| keep(&Item::Port(*id)));
        self.subsystems.retain(|nqn| keep(&Item::Subsystem(nqn.clone())));
        self.hosts.retain(|nqn| keep(&Item::Host(nqn.clone())));
        self.null_blk.retain(|name| keep(&Item::NullBlk(name.clone())));
        let kept: BTreeSet<PathBuf> = self.items().iter().map(Item::path).collect();
        self.inodes.retain(|path, _| kept.contains(path));
    }

    /// The recorded items in configfs.
    fn items(&self) -> Vec<Item> {
        let ports = self.ports.iter().map(|id| Item::Port(*id));
        let subsystems = self.subsystems.iter().cloned().map(Item::Subsystem);
        let hosts = self.hosts.iter().cloned().map(Item::Host);
        ports.chain(subsystems).chain(hosts).chain(self.null_blk.iter().cloned().map(Item::NullBlk)).collect()
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
    fn an_item_without_an_inode_number_is_identified_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let old = r#"{"version":1,"ports":[7],"subsystems":[],"hosts":[],"null_blk":[],"modules":[]}"#;
        fs::write(&path, old).unwrap();
        let mut record = Record::load(&path).unwrap();
        let seen = |inode| Actual {
            ports: [(7, crate::actual::Port::default())].into(),
            inodes: [(Item::Port(7).path(), inode)].into(),
            ..Actual::default()
        };
        assert!(record.drop_replaced(&seen(1)).is_empty());
        record.retain_existing(&seen(1));
        record.save(&path).unwrap();
        let mut record = Record::load(&path).unwrap();
        assert!(record.drop_replaced(&seen(1)).is_empty() && record.ports.contains(&7));
        assert_eq!(record.drop_replaced(&seen(2)), [Item::Port(7).path()]);
        assert!(record.is_empty());
        // What the tool itself creates again has another inode.
        record.claim(&[Step::Make(Item::Port(7))]);
        record.retain_existing(&seen(2));
        record.claim(&[Step::Remove(Item::Port(7)), Step::Make(Item::Port(7))]);
        record.retain_existing(&seen(3));
        assert!(record.drop_replaced(&seen(3)).is_empty() && record.ports.contains(&7));
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
