//! The firmware's boot tables (NBFT), read at start and at each reload.
//!
//! A defect of a table is logged once and does not stop the daemon. If a valid table disappears or becomes unreadable,
//! its last content is kept: storage may depend on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stas_linux::nbft;
use stas_nvme::nbft::{BootTable, BootTables};

/// The boot tables of this host.
#[derive(Clone, Debug)]
pub(super) struct BootFiles {
    place: PathBuf,
    tables: Arc<BootTables>,
    /// The complaints that were logged last.
    logged: BTreeSet<String>,
}

impl BootFiles {
    /// Reads the tables in a folder for the first time.
    pub(super) fn read(place: &Path) -> Self {
        let mut files = Self { place: place.to_owned(), tables: Arc::default(), logged: BTreeSet::new() };
        files.read_again();
        files
    }

    /// Reads the tables again and logs new defects.
    pub(super) fn read_again(&mut self) {
        let mut wrong = BTreeSet::new();
        match nbft::read(&self.place) {
            Ok(found) => {
                let tables = found.into_iter().filter_map(|table| match table {
                    Ok(table) => {
                        let flaws = table.nbft.flaws.iter();
                        wrong.extend(flaws.map(|flaw| format!("the boot table {}: {flaw}", self.path(&table))));
                        Some(table)
                    }
                    Err(error) => {
                        let before = self.known(error.path());
                        let so = if before.is_some() { "its last content stays in force" } else { "it is ignored" };
                        wrong.insert(format!("the boot table cannot be used: {error}; {so}"));
                        before
                    }
                });
                let mut tables = BootTables(tables.collect());
                let vanished = self.tables.0.iter().filter(|before| tables.0.iter().all(|now| now.name != before.name));
                let vanished: Vec<BootTable> = vanished.cloned().collect();
                wrong.extend(vanished.iter().map(|table| {
                    format!("the boot table {} no longer exists; its last content stays in force", self.path(table))
                }));
                tables.0.extend(vanished);
                if tables != *self.tables {
                    self.tables = Arc::new(tables);
                }
            }
            Err(error) => {
                let place = self.place.display();
                wrong.insert(format!(
                    "cannot look for boot tables in {place}: {error}; the tables that were read before stay in force"
                ));
            }
        }
        for complaint in wrong.difference(&self.logged) {
            tracing::error!("{complaint}");
        }
        self.logged = wrong;
    }

    fn path(&self, table: &BootTable) -> String {
        self.place.join(&table.name).display().to_string()
    }

    fn known(&self, path: &Path) -> Option<BootTable> {
        let name = path.file_name()?.to_string_lossy();
        self.tables.0.iter().find(|table| table.name == name).cloned()
    }

    /// The tables in force.
    pub(super) fn tables(&self) -> Arc<BootTables> {
        Arc::clone(&self.tables)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use stas_nvme::nbft::shortest_table;

    use super::*;

    fn names(files: &BootFiles) -> Vec<String> {
        files.tables().0.iter().map(|table| table.name.clone()).collect()
    }

    #[test]
    fn a_corrupt_table_is_logged_once_and_ignored() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("NBFT1"), b"nonsense").unwrap();
        fs::write(folder.path().join("NBFT2"), shortest_table()).unwrap();
        let mut files = BootFiles::read(folder.path());
        assert_eq!(names(&files), ["NBFT2"]);
        let logged = files.logged.clone();
        assert_eq!(logged.len(), 1);
        assert!(logged.iter().all(|line| line.contains("/NBFT1: it has 8 bytes") && line.ends_with("it is ignored")));
        files.read_again();
        assert_eq!(files.logged, logged, "the same complaint is no news");
    }

    #[test]
    fn a_table_that_cannot_be_read_any_more_keeps_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("NBFT");
        fs::write(&path, shortest_table()).unwrap();
        let mut files = BootFiles::read(folder.path());
        let before = files.tables();
        files.read_again();
        assert!(Arc::ptr_eq(&before, &files.tables()));
        fs::write(&path, &shortest_table()[..90]).unwrap();
        files.read_again();
        assert_eq!(files.tables(), before);
        assert!(
            files.logged.iter().all(|line| line.ends_with("its last content stays in force")),
            "{:?}",
            files.logged
        );
    }

    #[test]
    fn a_table_that_is_not_there_any_more_keeps_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["NBFT1", "NBFT2"] {
            fs::write(folder.path().join(name), shortest_table()).unwrap();
        }
        let mut files = BootFiles::read(folder.path());
        fs::remove_file(folder.path().join("NBFT1")).unwrap();
        for _ in 0..2 {
            files.read_again();
            assert_eq!(names(&files), ["NBFT2", "NBFT1"]);
            let logged: Vec<&String> = files.logged.iter().collect();
            assert!(matches!(logged[..], [line] if line.contains("/NBFT1 no longer exists; its")), "{logged:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_listed_takes_no_table_away() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("tables");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("NBFT"), shortest_table()).unwrap();
        let mut files = BootFiles::read(&place);
        assert_eq!(names(&files), ["NBFT"]);
        fs::remove_dir_all(&place).unwrap();
        std::os::unix::fs::symlink(&place, &place).unwrap();
        files.read_again();
        assert_eq!(names(&files), ["NBFT"]);
        assert!(
            files.logged.iter().any(|line| line.contains("the tables that were read before stay in force")),
            "{:?}",
            files.logged
        );
    }
}
