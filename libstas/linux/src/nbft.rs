//! Reads the boot tables (NBFT) of the firmware: /sys/firmware/acpi/tables/NBFT*.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use stas_nvme::nbft::{BadTable, BootTable, parse};

/// Folder in which the kernel shows ACPI tables. Only root can read them.
pub const TABLES: &str = "/sys/firmware/acpi/tables";
/// Prefix of the file names: `NBFT`, followed by a number if there are several.
const NAME: &str = "NBFT";
/// Largest table in bytes. A larger file is an error.
const SIZE_MAX: u64 = 1 << 20;

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Path of the table.
        path: PathBuf,
        /// Error of the read.
        error: io::Error,
    },
    /// The table is not valid.
    #[error("{}: {error}", path.display())]
    Bad {
        /// Path of the table.
        path: PathBuf,
        /// Why the table is not valid.
        error: BadTable,
    },
}

impl TableError {
    /// Path of the table that could not be read or is not valid.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::Bad { path, .. } => path,
        }
    }
}

/// Reads all tables in a folder, or the only table if `place` is a file. Each table may fail separately. Most hosts
/// have no table.
///
/// # Errors
/// Fails if the folder cannot be listed. A folder that does not exist has no tables.
pub fn read(place: &Path) -> io::Result<Vec<Result<BootTable, TableError>>> {
    let paths = match fs::read_dir(place) {
        Ok(entries) => tables(entries)?,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => vec![place.to_owned()],
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(paths.into_iter().map(read_one).collect())
}

/// The paths of the tables, sorted by number.
fn tables(entries: fs::ReadDir) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_string_lossy().strip_prefix(NAME) {
            found.push((number.parse::<u32>().unwrap_or_default(), entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn read_one(path: PathBuf) -> Result<BootTable, TableError> {
    let mut bytes = Vec::new();
    let file = File::open(&path);
    match file.and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 <= SIZE_MAX => {}
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB");
            return Err(TableError::Unreadable { path, error });
        }
        Err(error) => return Err(TableError::Unreadable { path, error }),
    }
    match parse(&bytes) {
        Ok(nbft) => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            Ok(BootTable { name, nbft })
        }
        Err(error) => Err(TableError::Bad { path, error }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stas_nvme::nbft::shortest_table;

    use super::*;

    fn names(place: &Path) -> Vec<String> {
        let each = read(place).unwrap();
        each.into_iter().map(|table| table.map_or_else(|error| error.to_string(), |table| table.name)).collect()
    }

    #[test]
    fn all_tables_of_a_folder_are_read_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["NBFT10", "DSDT", "NBFT2", "NBFT", "data"] {
            fs::write(folder.path().join(name), shortest_table()).unwrap();
        }
        assert_eq!(names(folder.path()), ["NBFT", "NBFT2", "NBFT10"]);
    }

    #[test]
    fn a_host_without_acpi_or_without_a_table_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(names(&folder.path().join("missing")).is_empty());
    }

    #[test]
    fn one_file_can_be_read_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("saved.bin");
        fs::write(&file, shortest_table()).unwrap();
        assert_eq!(names(&file), ["saved.bin"]);
    }

    #[test]
    fn a_bad_table_is_reported_by_its_path_and_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("NBFT1"), &shortest_table()[..100]).unwrap();
        fs::write(folder.path().join("NBFT2"), shortest_table()).unwrap();
        fs::create_dir(folder.path().join("NBFT3")).unwrap();
        fs::write(folder.path().join("NBFT4"), vec![0; 2 << 20]).unwrap();
        let told = names(folder.path());
        assert!(told[0].ends_with("/NBFT1: it has 100 bytes; the header and the control descriptor alone have 128"));
        assert_eq!(told[1], "NBFT2");
        assert!(told[2].starts_with("cannot read ") && told[2].contains("/NBFT3: "), "{}", told[2]);
        assert!(told[3].ends_with("/NBFT4: it is longer than 1 MiB"), "{}", told[3]);
    }
}
