//! The terminals on which `systemctl reload` waits. systemd does not show the output of ExecReload= there.
//!
//! Only processes of root count: their owner may write to any terminal anyway.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::stat::{major, minor};

/// First and last major number of pseudo terminals (Linux, devices.txt: 136 to 143), each with 256 minor numbers.
const PTS_MAJOR: std::ops::RangeInclusive<u64> = 136..=143;
/// Major number of the consoles, whose minor numbers are those of /dev/ttyN and /dev/ttySN.
const TTY_MAJOR: u64 = 4;
/// First minor number of the serial ports.
const SERIAL: u64 = 64;

/// Writes a text once to each terminal on which root awaits the reload of a unit. Never waits: what a terminal does not
/// take at once is dropped. `root` is the root directory of the host.
pub(super) fn write_to_waiting(root: &Path, unit: &str, text: &str) {
    let mut terminals: Vec<u64> = waiting(root, unit);
    terminals.sort_unstable();
    terminals.dedup();
    for number in terminals {
        if let Some(mut terminal) = open(root, number) {
            // The reload must not fail because of a terminal.
            let _ = terminal.write_all(text.as_bytes());
        }
    }
}

/// The device numbers of the terminals of `systemctl` processes of root that reload this unit.
fn waiting(root: &Path, unit: &str) -> Vec<u64> {
    let Ok(processes) = fs::read_dir(root.join("proc")) else { return Vec::new() };
    processes.filter_map(|entry| terminal_of(&entry.ok()?.path(), unit)).collect()
}

fn terminal_of(process: &Path, unit: &str) -> Option<u64> {
    if !process.file_name()?.to_str()?.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let command = fs::read(process.join("cmdline")).ok()?;
    let words: Vec<&str> = command.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let program = Path::new(words.first()?).file_name()?;
    let reloads = |word: &&str| matches!(*word, "reload" | "reload-or-restart" | "try-reload-or-restart");
    let names = |word: &&str| word.strip_suffix(".service").unwrap_or(word) == unit;
    if program != "systemctl" || !words.iter().any(reloads) || !words.iter().any(names) {
        return None;
    }
    if real_uid(&process.join("status")) != Some(0) {
        return None;
    }
    // proc_pid_stat(5): the name in parentheses may contain spaces; tty_nr is the fifth field after it.
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let number: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()?;
    (number != 0).then_some(number)
}

fn real_uid(status: &Path) -> Option<u32> {
    let status = fs::read_to_string(status).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

/// The device file of a terminal.
fn path_of(number: u64) -> Option<PathBuf> {
    let (major, minor) = (major(number), minor(number));
    match major {
        _ if PTS_MAJOR.contains(&major) => {
            Some(format!("dev/pts/{}", (major - PTS_MAJOR.start()) * 256 + minor).into())
        }
        TTY_MAJOR if minor < SERIAL => Some(format!("dev/tty{minor}").into()),
        TTY_MAJOR => Some(format!("dev/ttyS{}", minor - SERIAL).into()),
        _ => None,
    }
}

/// Opens a terminal, if the device file has that number.
fn open(root: &Path, number: u64) -> Option<File> {
    let path = root.join(path_of(number)?);
    let file = OpenOptions::new().write(true).custom_flags(O_NOCTTY | O_NONBLOCK).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let is_that = metadata.file_type().is_char_device()
        && (major(metadata.rdev()), minor(metadata.rdev())) == (major(number), minor(number));
    is_that.then_some(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::stat::makedev;

    use super::*;

    fn process(root: &Path, id: &str, command: &[&str], uid: u32, tty: u64) {
        let place = root.join("proc").join(id);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("cmdline"), command.join("\0") + "\0").unwrap();
        fs::write(place.join("status"), format!("Name:\tsystemctl\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")).unwrap();
        fs::write(place.join("stat"), format!("{id} (odd ) name) S 1 2 3 {tty} 5 6\n")).unwrap();
    }

    #[test]
    fn only_a_reload_of_this_unit_by_root_on_a_terminal_counts() {
        let root = tempfile::tempdir().unwrap();
        let pts = makedev(136, 7);
        process(root.path(), "10", &["systemctl", "reload", "stacd"], 0, pts);
        process(
            root.path(),
            "11",
            &["/usr/bin/systemctl", "--no-block", "reload", "stafd.service", "stacd.service"],
            0,
            pts + 1,
        );
        process(root.path(), "12", &["systemctl", "reload", "stacd"], 1000, pts + 2);
        process(root.path(), "13", &["systemctl", "reload", "stafd"], 0, pts + 3);
        process(root.path(), "14", &["systemctl", "status", "stacd"], 0, pts + 4);
        process(root.path(), "15", &["vi", "reload", "stacd"], 0, pts + 5);
        process(root.path(), "16", &["systemctl", "reload", "stacd"], 0, 0);
        process(root.path(), "self", &["systemctl", "reload", "stacd"], 0, pts + 6);
        let mut found = waiting(root.path(), "stacd");
        found.sort_unstable();
        assert_eq!(found, [pts, pts + 1]);
    }

    #[test]
    fn a_terminal_is_known_by_its_number() {
        for (number, path) in [
            (makedev(136, 7), Some("dev/pts/7")),
            (makedev(137, 1), Some("dev/pts/257")),
            (makedev(4, 1), Some("dev/tty1")),
            (makedev(4, 64), Some("dev/ttyS0")),
            (makedev(1, 3), None),
        ] {
            assert_eq!(path_of(number).as_deref(), path.map(Path::new), "{number}");
        }
    }

    #[test]
    fn what_is_in_the_place_of_a_terminal_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let number = makedev(136, 7);
        let path = root.path().join(path_of(number).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        process(root.path(), "10", &["systemctl", "reload", "stacd"], 0, number);
        write_to_waiting(root.path(), "stacd", "lost\n");
        fs::write(&path, "precious").unwrap();
        write_to_waiting(root.path(), "stacd", "lost\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(open(root.path(), number).is_none(), "it has another number");
    }
}
