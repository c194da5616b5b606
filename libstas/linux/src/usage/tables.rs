//! Parses mountinfo, /proc/swaps and /proc/locks.

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor`. A file system on several devices (btrfs) has a number of its own that is not a block device's.
    pub(super) device: String,
    /// Mount point, seen from the root of the process whose mountinfo was read.
    pub(super) point: String,
    /// Type of the file system.
    pub(super) kind: String,
    /// Mounted device, as named in the mount call.
    pub(super) source: String,
    /// A process in the mount namespace. `None`: the mount namespace of this process.
    pub(super) process: Option<String>,
}

impl Mount {
    /// The mounted devices. bcachefs joins several with colons.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.source.split(':').filter(|source| source.starts_with("/dev/"))
    }
}

/// Parses mountinfo: `36 35 98:0 /root /point options [optional …] - type source options` (proc_pid_mountinfo(5)).
/// Invalid lines are skipped.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let device = left.next()?.to_owned();
            let point = unescape(left.nth(1)?);
            let mut right = right.split(' ');
            let (kind, source) = (right.next()?.to_owned(), unescape(right.next()?));
            Some(Mount { device, point, kind, source, process: None })
        })
        .collect()
}

/// Parses /proc/swaps: a heading, then lines that start with a path.
pub(super) fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).map(unescape).collect()
}

/// An inode with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockedInode {
    /// Device number of its file system (major, minor). For a device node this is devtmpfs.
    pub(super) device: (u64, u64),
    /// Inode number in that file system.
    pub(super) inode: u64,
}

/// Parses /proc/locks: `1: OFDLCK ADVISORY  READ -1 00:06:1234 100 100`, with hexadecimal device numbers
/// (proc_locks(5)). Shared BSD locks are skipped: udev takes them on every block device for a moment.
pub(super) fn locks(text: &str) -> Vec<LockedInode> {
    text.lines().filter_map(lock).collect()
}

fn lock(line: &str) -> Option<LockedInode> {
    // A line with an arrow is a process that waits for the lock in the line above.
    let mut words = line.split_ascii_whitespace().skip(1).filter(|word| *word != "->");
    let (kind, mode) = (words.next()?, words.nth(1)?);
    match (kind, mode) {
        ("OFDLCK" | "POSIX", _) | ("FLOCK", "WRITE") => {}
        _ => return None,
    }
    let mut numbers = words.nth(1)?.split(':');
    let mut hexadecimal = || u64::from_str_radix(numbers.next()?, 16).ok();
    let device = (hexadecimal()?, hexadecimal()?);
    Some(LockedInode { device, inode: numbers.next()?.parse().ok()? })
}

/// Decodes octal escapes: `\040` and the like stand for spaces, tabs, newlines and backslashes.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let digits = str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(octal.unwrap_or(*first));
        rest = tail.get(if octal.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mounts_are_read_with_and_without_optional_fields() {
        let text = "100 26 259:3 / /mnt/a rw,relatime shared:95 master:1 - ext4 /dev/nvme0n1 rw,stripe=4\n\
                    101 26 0:44 /sub /mnt/with\\040space rw - btrfs /dev/nvme0n2 rw\n\
                    nonsense\n\
                    102 26 0:23 / /sys rw - sysfs sysfs rw\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 3);
        let found: Vec<_> =
            mounts.iter().map(|m| (m.device.as_str(), m.point.as_str(), m.sources().collect::<Vec<_>>())).collect();
        assert_eq!(found.first().unwrap(), &("259:3", "/mnt/a", vec!["/dev/nvme0n1"]));
        assert_eq!(found.get(1).unwrap(), &("0:44", "/mnt/with space", vec!["/dev/nvme0n2"]));
        assert_eq!(found.get(2).unwrap(), &("0:23", "/sys", vec![]));
    }

    #[test]
    fn a_file_system_on_several_devices_has_several_sources() {
        let mounts = mounts("1 1 0:50 / /b rw - bcachefs /dev/nvme0n1:/dev/nvme1n1 rw\n");
        assert_eq!(mounts.first().unwrap().sources().collect::<Vec<_>>(), ["/dev/nvme0n1", "/dev/nvme1n1"]);
    }

    #[test]
    fn swaps_are_read_without_the_heading() {
        let text = "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/nvme0n2    partition\t65532\t\t0\t\t-2\n/swap\\040file  file 1 0 -3\n";
        assert_eq!(swaps(text), ["/dev/nvme0n2", "/swap file"]);
        assert_eq!(swaps(""), [""; 0]);
    }

    #[test]
    fn locks_are_read_without_the_shared_ones_of_udev() {
        let text = "1: OFDLCK ADVISORY  READ  -1 00:06:412 100 101\n\
                    2: FLOCK  ADVISORY  WRITE 77 00:06:413 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 78 00:1c:414 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 79 00:06:415 0 EOF\n\
                    4: POSIX  ADVISORY  WRITE 80 103:0a:416 0 EOF\n\
                    5: LEASE  ACTIVE    READ 81 00:06:417 0 EOF\n\
                    nonsense\n";
        let found: Vec<_> = locks(text).iter().map(|lock| (lock.device, lock.inode)).collect();
        assert_eq!(found, [((0, 6), 412), ((0, 6), 413), ((0, 0x1c), 414), ((0x103, 10), 416)]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC*", lines in "([ -~\\\\]{0,30} - [ -~]{0,20}\n){0,4}") {
            let _ = (mounts(&text), swaps(&text), locks(&text), mounts(&lines), locks(&lines));
        }

        #[test]
        fn what_is_escaped_is_read_back(point in "/[ -~\n\t]{0,30}") {
            let escaped: String = point.chars().map(|c| match c {
                ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", c as u32),
                c => c.to_string(),
            }).collect();
            let mounts = mounts(&format!("1 1 8:1 / {escaped} rw - ext4 /dev/sda1 rw\n"));
            prop_assert_eq!(&mounts.first().unwrap().point, &point);
        }
    }
}
