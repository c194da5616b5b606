//! `make install` and `make uninstall`: which files they install and remove.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tree::{files, read, top};

const PROGRAMS: [&str; 11] = [
    "sbin/stafd",
    "sbin/stacd",
    "bin/stafctl",
    "bin/stacctl",
    "bin/stasadm",
    "bin/nvmet",
    "bin/cdcsim",
    "lib/nvme-stas/stas-admin",
    "lib/nvme-stas/stas-in-use",
    "lib/nvme-stas/stas-udev-rule",
    "lib/nvme-stas/stas-net",
];

const UNITS: [&str; 15] = [
    "stafd.service",
    "stacd.service",
    "stas-config.target",
    "stas-config@.service",
    "stas-admin.socket",
    "stas-admin@.service",
    "stas-in-use.socket",
    "stas-in-use@.service",
    "stas-net.socket",
    "stas-net@.service",
    "stas-metrics.service",
    "stas-metrics.timer",
    "stas-alert.service",
    "stas-alert-down@.service",
    "stas-alert-up@.service",
];

/// A copy of the files that `make install` reads, with dummy programs, and a directory to install to.
struct Host {
    tree: TempDir,
    destination: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { tree: TempDir::new().unwrap(), destination: TempDir::new().unwrap() };
        let sources = ["systemd", "etc", "doc", "utils/nvmet", "utils/cdcsim"]
            .iter()
            .filter(|folder| top().join(folder).exists());
        for path in sources.flat_map(files).chain(["Makefile", "README.md", "LICENSE"].map(PathBuf::from)) {
            host.write(&path, &fs::read(top().join(&path)).unwrap());
        }
        for program in PROGRAMS {
            let name = program.split('/').next_back().unwrap();
            host.write(&Path::new("built").join(name), format!("{name}\n").as_bytes());
        }
        host
    }

    /// Writes a file of the tree that is installed from.
    fn write(&self, path: &Path, text: &[u8]) {
        let path = self.tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn make(&self, arguments: &[&str]) -> String {
        let mut make = Command::new("make");
        // The test may itself run under make.
        let directories = ["DESTDIR", "PREFIX", "SYSCONFDIR", "SBINDIR", "BINDIR", "LIBEXECDIR"];
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"].iter().chain(&directories) {
            make.env_remove(variable);
        }
        make.arg("-C").arg(self.tree.path()).arg("--no-print-directory").args(arguments);
        let output =
            make.arg("BIN=built").arg(format!("DESTDIR={}", self.destination.path().display())).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "make {arguments:?}: {said}");
        said
    }

    /// The files that are installed, as paths from the root of the host.
    fn installed(&self) -> BTreeSet<String> {
        let root = self.destination.path();
        files(root).iter().map(|path| format!("/{}", path.strip_prefix(root).unwrap().display())).collect()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.destination.path().join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// The names of the files in a folder of the tree that have one of these extensions.
fn names(folder: &str, extensions: &[&str]) -> Vec<String> {
    let there = top().join(folder).exists();
    let files = if there { files(folder) } else { Vec::new() };
    let wanted = files.into_iter().filter(|path| {
        path.parent() == Some(Path::new(folder)) && path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x))
    });
    wanted.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn expected(prefix: &str) -> BTreeSet<String> {
    let mut expected: BTreeSet<String> = PROGRAMS.iter().map(|program| format!("{prefix}/{program}")).collect();
    for unit in UNITS {
        expected.insert(format!("{prefix}/lib/systemd/system/{unit}"));
    }
    for policy in ["org.nvmexpress.staf.conf", "org.nvmexpress.stac.conf"] {
        expected.insert(format!("{prefix}/share/dbus-1/system.d/{policy}"));
    }
    expected.insert(format!("{prefix}/lib/tmpfiles.d/nvme-stas.conf"));
    expected.insert(format!("{prefix}/lib/systemd/system-preset/50-nvme-stas.preset"));
    for document in ["README.md", "LICENSE", "nvme-stas.rules.yml"] {
        expected.insert(format!("{prefix}/share/doc/nvme-stas/{document}"));
    }
    for name in names("etc/stas", &["conf"]) {
        expected.insert(format!("/etc/stas/{name}"));
        expected.insert(format!("{prefix}/share/nvme-stas/etc/{name}"));
    }
    for tool in ["nvmet", "cdcsim"] {
        for name in names(&format!("utils/{tool}"), &["conf"]) {
            expected.insert(format!("{prefix}/share/nvme-stas/{tool}/{name}"));
        }
    }
    for tool in ["stafctl", "stacctl", "stasadm", "nvmet"] {
        expected.insert(format!("{prefix}/share/bash-completion/completions/{tool}"));
        expected.insert(format!("{prefix}/share/zsh/site-functions/_{tool}"));
        expected.insert(format!("{prefix}/share/fish/vendor_completions.d/{tool}.fish"));
    }
    for section in ["1", "5", "7", "8"] {
        for name in names("doc/man", &[section]) {
            expected.insert(format!("{prefix}/share/man/man{section}/{name}"));
        }
    }
    expected
}

#[test]
fn install_places_what_is_listed_and_nothing_else() {
    let host = Host::new();
    host.make(&["install"]);
    assert_eq!(host.installed(), expected("/usr"));
    for program in PROGRAMS {
        let path = host.path(&format!("/usr/{program}"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o755, "{program}");
    }
}

#[test]
fn uninstall_leaves_no_file() {
    let host = Host::new();
    host.make(&["install"]);
    host.make(&["uninstall"]);
    assert_eq!(host.installed(), BTreeSet::new());
}

/// The directories may be set to directories that others use, too.
#[test]
fn uninstall_and_purge_delete_only_what_was_installed() {
    let shared = ["LIBEXECDIR=/usr/libexec", "DATADIR=/usr/share", "DOCDIR=/usr/share/doc", "SYSCONFDIR=/etc"];
    let theirs =
        ["/usr/libexec/other", "/usr/share/other", "/usr/share/doc/other", "/usr/share/nvmet/other", "/etc/other"];
    for removal in ["uninstall", "purge"] {
        let host = Host::new();
        for path in theirs {
            fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
            fs::write(host.path(path), "").unwrap();
        }
        host.make(&[&["install"][..], &shared].concat());
        assert!(host.installed().contains("/usr/libexec/stas-net"));
        host.make(&[&[removal][..], &shared].concat());
        assert_eq!(host.installed(), theirs.map(String::from).into(), "{removal}");
    }
}

#[test]
fn purge_deletes_state_claims_and_edited_configuration_of_this_project_alone() {
    let host = Host::new();
    host.make(&["install"]);
    let theirs = ["/run/nvme/registry/nvme4/owner", "/etc/nvme/hostnqn"];
    let put = |path: &str, text: &str| {
        fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
        fs::write(host.path(path), text).unwrap();
    };
    put("/etc/stas/stafd.conf", "# edited\n");
    for path in ["/var/cache/stafd/state", "/var/cache/stacd/state", "/run/nvme-stas/lock", "/run/stafd/x"] {
        put(path, "");
    }
    put("/run/nvme/registry/nvme3/owner", "stas\n");
    put("/run/nvme/registry/nvme3/stas", "{}\n");
    put("/run/udev/rules.d/70-nvmf-autoconnect.rules", "# Made by stafd when it starts, and removed when it stops.\n");
    put(theirs[0], "discoverd\n");
    put(theirs[1], "nqn\n");
    let said = host.make(&["purge"]);
    assert!(!said.contains("stays"), "{said}");
    assert_eq!(host.installed(), theirs.map(String::from).into());
}

#[test]
fn purge_keeps_a_udev_rule_that_stafd_has_not_made() {
    let host = Host::new();
    let rule = "/run/udev/rules.d/70-nvmf-autoconnect.rules";
    fs::create_dir_all(host.path(rule).parent().unwrap()).unwrap();
    fs::write(host.path(rule), "# an administrator's\n").unwrap();
    host.make(&["purge"]);
    assert_eq!(host.installed(), BTreeSet::from([rule.to_owned()]));
}

#[test]
fn the_units_start_what_was_installed() {
    let host = Host::new();
    host.make(&["install", "PREFIX=/opt/stas"]);
    for (unit, program) in [
        ("stafd.service", "sbin/stafd"),
        ("stacd.service", "sbin/stacd"),
        ("stas-config@.service", "bin/stasadm"),
        ("stas-admin@.service", "lib/nvme-stas/stas-admin"),
        ("stas-in-use@.service", "lib/nvme-stas/stas-in-use"),
        ("stas-net@.service", "lib/nvme-stas/stas-net"),
    ] {
        let text = host.text(&format!("/opt/stas/lib/systemd/system/{unit}"));
        let starts = |line: &str| line.split_whitespace().next() == Some(&format!("ExecStart=/opt/stas/{program}"));
        assert!(text.lines().any(starts), "{unit}");
        assert!(!text.contains("=/usr/") && !text.contains("/usr/lib/nvme-stas"), "{unit}");
        assert!(host.path(&format!("/opt/stas/{program}")).exists());
    }
    // The bus looks for policies in two places only.
    assert!(host.path("/etc/dbus-1/system.d/org.nvmexpress.staf.conf").exists());
    host.make(&["uninstall", "PREFIX=/opt/stas"]);
    assert_eq!(host.installed(), BTreeSet::new());
}

#[test]
fn directories_of_another_distribution_are_honoured() {
    let host = Host::new();
    let fedora =
        ["SBINDIR=/usr/bin", "LIBEXECDIR=/usr/libexec/nvme-stas", "UNITDIR=/lib/systemd/system", "DOCDIR=/usr/doc"];
    host.make(&[&["install"][..], &fedora].concat());
    let installed = host.installed();
    for path in ["/usr/bin/stafd", "/usr/libexec/nvme-stas/stas-in-use", "/usr/doc/README.md"] {
        assert!(installed.contains(path), "{path}");
    }
    assert!(!installed.iter().any(|path| path.starts_with("/usr/sbin") || path.starts_with("/usr/lib/nvme-stas")));
    let mut started = 0;
    for unit in UNITS {
        let text = host.text(&format!("/lib/systemd/system/{unit}"));
        for command in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            let program = command.split(' ').next().unwrap().trim_start_matches(':');
            assert!(host.path(program).exists(), "{unit}: {program}");
            started += 1;
        }
    }
    assert_eq!(started, 10);
    host.make(&[&["uninstall"][..], &fedora].concat());
    assert_eq!(host.installed(), BTreeSet::new());
}

#[test]
fn an_upgrade_keeps_edited_configuration_and_lays_the_new_default_beside_it() {
    let host = Host::new();
    let (ours, default) = ("/etc/stas/stafd.conf", Path::new("etc/stas/stafd.conf"));
    host.write(default, b"# first\n");
    host.make(&["install"]);
    fs::write(host.path(ours), "# edited\n").unwrap();
    // The same default once more is no news.
    host.make(&["install"]);
    assert!(!host.path("/etc/stas/stafd.conf.new").exists());
    host.write(default, b"# second\n");
    let said = host.make(&["install"]);
    assert!(said.contains("stafd.conf: yours stays; the new default is stafd.conf.new"), "{said}");
    assert_eq!(host.text(ours), "# edited\n");
    assert_eq!(host.text("/etc/stas/stafd.conf.new"), "# second\n");
    let said = host.make(&["uninstall"]);
    assert!(said.contains("stafd.conf: edited, stays"), "{said}");
    assert_eq!(host.installed(), BTreeSet::from([ours.to_owned()]));
    assert_eq!(host.text(ours), "# edited\n");
}

#[test]
fn an_upgrade_replaces_configuration_that_nobody_edited() {
    let host = Host::new();
    host.write(Path::new("etc/stas/stafd.conf"), b"# first\n");
    host.make(&["install"]);
    host.write(Path::new("etc/stas/stafd.conf"), b"# second\n");
    host.make(&["install"]);
    assert_eq!(host.text("/etc/stas/stafd.conf"), "# second\n");
    assert!(!host.path("/etc/stas/stafd.conf.new").exists());
}

/// A default in the place of a lost file would remove all controllers that were configured.
#[test]
fn an_upgrade_does_not_replace_configuration_that_is_missing() {
    let host = Host::new();
    host.make(&["install"]);
    let ours = "/etc/stas/stacd.conf";
    fs::remove_file(host.path(ours)).unwrap();
    for _ in 0..2 {
        let said = host.make(&["install"]);
        assert!(said.contains("stacd.conf: missing, and not created"), "{said}");
        assert!(!host.path(ours).exists());
        assert_eq!(host.text("/etc/stas/stacd.conf.new"), read(Path::new("etc/stas/stacd.conf")));
    }
    host.make(&["uninstall"]);
    assert_eq!(host.installed(), BTreeSet::new());
}

/// Its file system may not be mounted.
#[test]
fn an_upgrade_never_replaces_a_link() {
    let host = Host::new();
    host.write(Path::new("etc/stas/stacd.conf"), b"# first\n");
    host.make(&["install"]);
    let ours = host.path("/etc/stas/stacd.conf");
    let target = host.path("/srv/stacd.conf");
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::remove_file(&ours).unwrap();
    std::os::unix::fs::symlink(&target, &ours).unwrap();
    host.make(&["install"]);
    assert_eq!(fs::read_link(&ours).unwrap(), target, "its target is missing");
    fs::write(&target, "# first\n").unwrap();
    host.write(Path::new("etc/stas/stacd.conf"), b"# second\n");
    host.make(&["install"]);
    assert_eq!(fs::read_link(&ours).unwrap(), target, "its target is an old default");
    assert_eq!(host.text("/etc/stas/stacd.conf.new"), "# second\n");
}

#[test]
fn configuration_of_another_package_counts_as_edited() {
    let host = Host::new();
    host.write(Path::new("etc/stas/stacd.conf"), b"# ours\n");
    fs::create_dir_all(host.path("/etc/stas")).unwrap();
    fs::write(host.path("/etc/stas/stacd.conf"), "# theirs\n").unwrap();
    host.make(&["install"]);
    assert_eq!(host.text("/etc/stas/stacd.conf"), "# theirs\n");
    assert_eq!(host.text("/etc/stas/stacd.conf.new"), "# ours\n");
}

#[test]
fn every_manual_page_that_a_unit_names_is_there() {
    let pages: BTreeSet<String> = ["1", "5", "8"].iter().flat_map(|section| names("doc/man", &[section])).collect();
    for path in files("systemd") {
        for line in read(&path).lines().filter_map(|line| line.strip_prefix("Documentation=")) {
            for page in line.split(' ').filter_map(|page| page.strip_prefix("man:")) {
                let file = page.replace('(', ".").replace(')', "");
                assert!(pages.contains(&file), "{}: doc/man/{file} is not there", path.display());
            }
        }
    }
}
