//! /proc/self/mountinfo and /proc/swaps.

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor`; of no block device for file systems on several devices (btrfs).
    pub(super) device: String,
    /// Where.
    pub(super) point: String,
    /// What, in the words of whoever mounted it.
    source: String,
}

impl Mount {
    /// The devices that it was mounted from; bcachefs joins several by colons.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.source.split(':').filter(|source| source.starts_with("/dev/"))
    }
}

/// Reads mountinfo: `36 35 98:0 /root /point options [optional …] - type source options` (proc_pid_mountinfo(5)).
/// Lines that make no sense are left out.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let device = left.next()?.to_owned();
            let point = unescape(left.nth(1)?);
            let source = unescape(right.split(' ').nth(1)?);
            Some(Mount { device, point, source })
        })
        .collect()
}

/// Reads swaps: a heading, then a path first in each line.
pub(super) fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).map(unescape).collect()
}

/// Spaces, tabs, newlines and backslashes stand there as `\040` and the like.
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

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC*", lines in "([ -~\\\\]{0,30} - [ -~]{0,20}\n){0,4}") {
            let _ = (mounts(&text), swaps(&text), mounts(&lines));
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
