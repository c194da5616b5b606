//! The mounts of all mount namespaces with at least one process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::tables::{Mount, mounts};

/// Number of bytes of a mountinfo that identify a mount namespace: its first lines begin with mount IDs, which are
/// unique across mount namespaces.
const HEAD: usize = 512;
/// Limits of one search. Beyond them, only the exclusive open finds a mount.
const PROCESSES: usize = 16_384;
const NAMESPACES: usize = 1024;
const MOUNTINFO: u64 = 4 << 20;

/// Reads the mounts of this process, then those of processes in other mount namespaces.
///
/// # Errors
/// Fails if the mounts of this process cannot be read. A process that ends meanwhile or hides its mounts is skipped.
pub(super) fn of_all_namespaces(proc: &Path) -> io::Result<Vec<Mount>> {
    let own = proc.join("self/mountinfo");
    let mut seen = BTreeSet::new();
    let mut found = match mounts_of(&own, &mut seen) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", own.display()))),
    };
    let processes = fs::read_dir(proc)?.filter_map(Result::ok).filter(|entry| is_process(&entry.file_name()));
    for process in processes.take(PROCESSES) {
        if seen.len() >= NAMESPACES {
            break;
        }
        if let Ok(Some(others)) = mounts_of(&process.path().join("mountinfo"), &mut seen) {
            let process = process.file_name().into_string().ok();
            found.extend(others.into_iter().map(|mount| Mount { process: process.clone(), ..mount }));
        }
    }
    Ok(found)
}

fn is_process(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// Reads one mountinfo. `None` if its mount namespace was already read.
fn mounts_of(path: &Path, seen: &mut BTreeSet<Vec<u8>>) -> io::Result<Option<Vec<Mount>>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    if !seen.insert(bytes.clone()) {
        return Ok(None);
    }
    file.take(MOUNTINFO).read_to_end(&mut bytes)?;
    // A mount point may contain any bytes.
    Ok(Some(mounts(&String::from_utf8_lossy(&bytes))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fake_tree::FakeTree;

    fn points(tree: &FakeTree) -> Vec<String> {
        of_all_namespaces(&tree.roots().proc).unwrap().into_iter().map(|mount| mount.point).collect()
    }

    #[test]
    fn each_mount_namespace_is_read_once() {
        let tree = FakeTree::new();
        let host = "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 259:0 / /srv rw - vfat /dev/nvme0n1 rw\n";
        for process in ["self", "1", "77"] {
            tree.put(format!("proc/{process}/mountinfo"), host);
        }
        let container = "90 80 254:0 / / rw - ext4 /dev/vda rw\n91 90 259:1 / /data rw - vfat /dev/nvme0n2 rw\n";
        tree.put("proc/78/mountinfo", container);
        tree.put("proc/driver/mountinfo", "1 1 1:1 / /no rw - ext4 /dev/no rw\n");
        fs::create_dir_all(tree.path("proc/79")).unwrap();
        assert_eq!(points(&tree), ["/", "/srv", "/", "/data"]);
    }

    #[test]
    fn a_mountinfo_that_is_longer_than_its_head_is_read_to_its_end() {
        let tree = FakeTree::new();
        let line = |n: u32| format!("{n} 1 259:{n} / /mount-point-{n} rw,relatime - vfat /dev/nvme0n{n} rw\n");
        tree.put("proc/self/mountinfo", &(0..100).map(line).collect::<String>());
        assert_eq!(points(&tree).len(), 100);
    }

    #[test]
    fn without_the_mounts_of_this_process_nothing_is_known() {
        let tree = FakeTree::new();
        fs::create_dir_all(tree.path("proc")).unwrap();
        assert!(of_all_namespaces(&tree.roots().proc).unwrap_err().to_string().contains("self/mountinfo"));
    }
}
