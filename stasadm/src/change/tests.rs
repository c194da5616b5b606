#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const COMMENTED: &str = "\
# Who this host is.
[Host]
# nqn: a text that starts with nqn.
nqn=nqn.2014-08.org.example:old

# symname=
";

/// Creates a directory with a sys.conf.
fn with_conf(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("sys.conf");
    fs::write(&conf, text).unwrap();
    (directory, conf)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_value_takes_the_place_of_the_old_one_and_comments_stay() {
    let (_directory, conf) = with_conf(COMMENTED);
    Change::set("nqn", "nqn.new".into(), None).apply(&conf).unwrap();
    let expected = COMMENTED.replace("nqn.2014-08.org.example:old", "nqn.new");
    assert_eq!(fs::read_to_string(&conf).unwrap(), expected);
}

#[test]
fn a_value_with_a_file_of_its_own_is_referred_to() {
    let (directory, conf) = with_conf(COMMENTED);
    let file = directory.path().join("nvme/hostnqn");
    Change::set("nqn", "nqn.new".into(), Some(file.clone())).apply(&conf).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "nqn.new\n");
    let text = fs::read_to_string(&conf).unwrap();
    assert!(text.contains(&format!("\nnqn=file://{}\n", file.display())), "{text}");
    let (sys, complaints) = sys::parse(text.as_bytes(), "sys.conf");
    assert_eq!((sys.nqn, complaints.len()), (sys::Value::File(file), 0));
}

#[test]
fn files_that_are_missing_are_made_readable() {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("etc/stas/sys.conf");
    let file = directory.path().join("etc/nvme/hostid");
    Change::set("id", "x".into(), Some(file.clone())).apply(&conf).unwrap();
    assert_eq!(fs::read_to_string(&conf).unwrap(), format!("[Host]\nid=file://{}\n", file.display()));
    assert_eq!((mode(&conf), mode(&file)), (0o644, 0o644));
}

#[test]
fn a_guarded_file_stays_guarded_and_a_link_stays_a_link() {
    let (directory, conf) = with_conf(COMMENTED);
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o600)).unwrap();
    let link = directory.path().join("link.conf");
    std::os::unix::fs::symlink("sys.conf", &link).unwrap();
    Change::set("id", "x".into(), None).apply(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&conf), 0o600);
    assert!(fs::read_to_string(&conf).unwrap().contains("\nid=x\n"));
}

/// Applies a change on another thread: it may block.
fn applied(conf: &Path) -> Result<(), String> {
    let (conf, (sender, result)) = (conf.to_owned(), mpsc::channel());
    thread::spawn(move || sender.send(Change::set("id", "x".into(), None).apply(&conf)));
    let result = result.recv_timeout(Duration::from_secs(20)).map_err(|_| "it blocks".to_owned())?;
    result.map_err(|failure| failure.to_string())
}

/// Every user may open the directory and the file for reading, and lock what is open.
#[test]
fn a_lock_that_every_user_can_hold_blocks_nothing() {
    let (directory, conf) = with_conf(COMMENTED);
    for path in [directory.path(), conf.as_path()] {
        fs::write(&conf, COMMENTED).unwrap();
        let held = fs::File::open(path).unwrap();
        held.lock().unwrap();
        assert_eq!(applied(&conf), Ok(()), "{}", path.display());
    }
}

#[test]
fn the_wait_for_the_lock_of_a_run_that_hangs_ends_with_an_error() {
    let (directory, conf) = with_conf(COMMENTED);
    let path = directory.path().join(".sys.conf.lock");
    let held = fs::File::create(&path).unwrap();
    held.lock().unwrap();
    let error = applied(&conf).unwrap_err();
    assert!(error.contains("/.sys.conf.lock (waited 5 s)") && error.contains("lslocks"), "{error}");
    // A change that changes nothing needs no lock: the file system may be read-only.
    let text = fs::read_to_string(&conf).unwrap();
    Change::set("nqn", "nqn.2014-08.org.example:old".into(), None).apply(&conf).unwrap();
    assert_eq!(fs::read_to_string(&conf).unwrap(), text);
    drop(held);
    assert_eq!(applied(&conf), Ok(()), "a lock file that a killed run has left");
    assert!(!path.exists());
}

#[test]
fn nothing_is_left_beside_the_files() {
    let (directory, conf) = with_conf(COMMENTED);
    let file = directory.path().join("name");
    Change::set("symname", "here".into(), Some(file)).apply(&conf).unwrap();
    let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["name", "sys.conf"]);
}

#[test]
fn clearing_removes_the_key_and_what_is_not_there_stays_away() {
    let (directory, conf) = with_conf("[Host]\nsymname=here\nid=x\n");
    Change::clear("symname").apply(&conf).unwrap();
    assert_eq!(fs::read_to_string(&conf).unwrap(), "[Host]\nid=x\n");
    let none = directory.path().join("none.conf");
    Change::clear("symname").apply(&none).unwrap();
    assert!(!none.exists());
}

#[test]
fn commands_that_run_side_by_side_do_not_undo_each_other() {
    let (_directory, conf) = with_conf(COMMENTED);
    for round in 0..50 {
        std::thread::scope(|scope| {
            for key in ["nqn", "id", "symname"] {
                let change = Change::set(key, format!("{key}-{round}"), None);
                let conf = &conf;
                scope.spawn(move || change.apply(conf).unwrap());
            }
        });
        let text = fs::read_to_string(&conf).unwrap();
        for key in ["nqn", "id", "symname"] {
            assert!(text.contains(&format!("\n{key}={key}-{round}\n")), "{text}");
        }
    }
}

#[test]
fn a_symbolic_name_that_could_not_be_read_back_is_refused() {
    let with_file = || Some(PathBuf::from("/x"));
    assert!(Change::set_symname("My Host 7", None).is_ok());
    assert!(Change::set_symname(" host7 ", with_file()).is_ok());
    assert!(Change::set_symname(&"x".repeat(256), None).is_ok());
    let cases = [
        (" ", None, "clear-symname"),
        (&"x".repeat(257), None, "256"),
        ("a\nb", None, "control"),
        ("My Host 7", with_file(), "-f"),
    ];
    for (name, file, word) in cases {
        let complaint = Change::set_symname(name, file).unwrap_err().to_string();
        assert!(complaint.contains(word), "{complaint}");
    }
}

#[test]
fn what_goes_wrong_names_the_file() {
    let (directory, conf) = with_conf(COMMENTED);
    let same = Change::set("nqn", "nqn.new".into(), Some(conf.clone())).apply(&conf).unwrap_err();
    assert!(matches!(same, Failure::SameFile(_)));
    assert_eq!(fs::read_to_string(&conf).unwrap(), COMMENTED);

    let below_a_file = conf.join("sys.conf");
    let complaint = Change::clear("symname").apply(&below_a_file).unwrap_err().to_string();
    assert!(complaint.contains(&below_a_file.display().to_string()), "{complaint}");

    fs::write(&conf, b"[Host]\nsymname=\xff\n").unwrap();
    let complaint = Change::clear("symname").apply(&conf).unwrap_err().to_string();
    assert!(complaint.starts_with("cannot read") && complaint.contains("UTF-8"), "{complaint}");
    drop(directory);
}

#[test]
fn a_broken_link_is_an_error_and_is_kept() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    symlink("not-mounted/sys.conf", at("sys.conf")).unwrap();
    symlink("not-mounted/hostnqn", at("hostnqn")).unwrap();
    symlink("not-mounted", at("folder")).unwrap();
    let set = |file| Change::set("nqn", "nqn.new".into(), file);
    let broken = |conf: &str, file: Option<&str>, link: &str| {
        let error = set(file.map(at)).apply(&at(conf)).unwrap_err().to_string();
        let link = format!("the link {} is broken: its target not-mounted", at(link).display());
        assert!(error.contains(&link) && error.contains("mount the file system"), "{error}");
    };
    broken("sys.conf", None, "sys.conf");
    broken("new.conf", Some("hostnqn"), "hostnqn");
    broken("new.conf", Some("folder/hostnqn"), "folder");
    for name in ["sys.conf", "hostnqn", "folder"] {
        assert!(at(name).is_symlink(), "{name}");
    }
    // Links to existing files are followed.
    fs::write(at("there"), "old\n").unwrap();
    symlink("there", at("link")).unwrap();
    set(Some(at("link"))).apply(&at("new.conf")).unwrap();
    assert_eq!(fs::read_to_string(at("there")).unwrap(), "nqn.new\n");
}
