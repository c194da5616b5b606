//! A bus of the test's own, and the tool run on it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// Everybody may own every name and call everybody; nothing is started on demand.
const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// A running dbus-daemon; it goes with this value.
pub(crate) struct PrivateBus {
    daemon: Child,
    address: String,
    _configuration: tempfile::TempPath,
}

impl PrivateBus {
    /// Starts the bus; `None`, with the reason printed, where there is no dbus-daemon.
    pub(crate) fn start() -> Option<Self> {
        let configuration = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&configuration, CONFIGURATION).unwrap();
        let started = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address", "--config-file"])
            .arg(&configuration)
            .stdout(Stdio::piped())
            // As an ordinary user it grumbles about limits that it may not raise.
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = match started {
            Ok(daemon) => daemon,
            Err(error) => {
                println!("skipped: dbus-daemon cannot be started: {error}");
                return None;
            }
        };
        // It prints its address once it listens.
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { daemon, address: address.trim().to_owned(), _configuration: configuration })
    }

    /// Serves an object under a name for as long as the connection lives.
    pub(crate) async fn serve<A, B>(&self, name: &str, path: &str, main: A, debug: B) -> zbus::Connection
    where
        A: zbus::object_server::Interface,
        B: zbus::object_server::Interface,
    {
        let builder = zbus::connection::Builder::address(self.address.as_str());
        let builder = builder.serve_at(path, main).serve_at(path, debug);
        builder.name(name).build().await.unwrap()
    }

    /// A command that finds this bus where the system bus is looked for.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).env_remove("NO_COLOR");
        command
    }

    /// Runs a tool on this bus to its end, while the calling task's runtime goes on serving.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What the tool prints; it must succeed without complaint.
    pub(crate) async fn stdout(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments).await;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the commands of a transcript (`$ tool arguments`, then what it prints), each with the arguments `more`,
    /// and compares.
    pub(crate) async fn follow(&self, program: &str, more: &[&str], transcript: &str) {
        let mut commands = 0;
        for session in transcript.strip_prefix("$ ").unwrap().split("\n$ ") {
            let (command, expected) = session.split_once('\n').unwrap();
            let arguments: Vec<&str> = command.split(' ').skip(1).chain(more.iter().copied()).collect();
            let printed = self.stdout(program, &arguments).await;
            assert_eq!(printed.trim_end(), expected.trim_end(), "$ {command} {}", more.join(" "));
            commands += 1;
        }
        assert!(commands > 0);
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
