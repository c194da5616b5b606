//! Rules for the whole source tree: dependencies, installation, the README. The tests check them; this library reads
//! the tree.

pub mod quotes;

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the tree.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_path_buf()
}

/// The text of a file; its path is relative to the top directory.
///
/// # Panics
/// Panics if the file cannot be read as text.
#[must_use]
pub fn read(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every source file below `folder` (both relative to the top directory), sorted. Built and downloaded files are left
/// out.
///
/// # Panics
/// Panics if a directory cannot be read.
#[must_use]
pub fn files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.as_ref().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(top().join(&folder)).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = folder.join(&name);
            if ["target", "vendor", ".build", "results", ".git", "__pycache__"].iter().any(|built| name == *built) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The Rust sources of the product: everything below a `src` folder but files that hold only tests.
#[must_use]
pub fn product_sources() -> Vec<PathBuf> {
    let folders = ["libstas", "stafd", "stacd", "stafctl", "stacctl", "stasadm", "utils"];
    folders
        .iter()
        .flat_map(files)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs"))
        .collect()
}
