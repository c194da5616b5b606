//! A daemon that is started by hand where it cannot run.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A daemon's program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of the daemon.
    pub name: &'static str,
    /// The path of its executable.
    pub path: &'static str,
}

impl Program {
    /// Runs it without a system bus, so that it cannot get far.
    fn run(self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path);
        command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus").output().unwrap()
    }

    /// Checks that it names what is missing, and the remedy.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn says_what_is_missing(self) {
        let name = self.name;
        let output = self.run(&["--conf-file", &format!("/nonexistent/{name}.conf")]);
        assert_eq!(output.status.code(), Some(1));
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let expected = match (is_root, Path::new("/dev/nvme-fabrics").exists()) {
            (false, _) => &format!(
                "{name}: {name} needs root privileges: it connects storage. Start it with `systemctl start {name}`"
            ),
            (true, false) => {
                &format!("{name}: /dev/nvme-fabrics does not exist: the kernel's NVMe-oF modules are not loaded")
            }
            (true, true) => "/nonexistent/bus",
        };
        assert!(said.contains(expected), "{said}");
    }

    /// Checks that it prints the version of the project, and names an unknown option.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn says_its_version_and_reports_a_mistake(self) {
        let output = self.run(&["--version"]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().ends_with(concat!(" ", env!("CARGO_PKG_VERSION"), "\n")));
        let output = self.run(&["--conf-fiel", "x"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("--conf-fiel"));
    }
}
