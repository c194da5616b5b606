//! A private bus with a stand-in for the daemon, on which the tool is run.

mod documented;

use std::process::{Command, Output};

use bus_tests::PrivateBus;

pub(crate) use documented::Documented;

/// The environment in which a tool is run.
pub(crate) struct Stage {
    bus: PrivateBus,
}

impl Stage {
    /// Starts an empty bus; `None`, with the reason printed, without dbus-daemon.
    pub(crate) fn empty() -> Option<Self> {
        Some(Self { bus: PrivateBus::start()? })
    }

    /// Serves an object under a bus name while the returned connection exists.
    pub(crate) async fn serve<A, B>(&self, name: &str, path: &str, main: A, debug: B) -> zbus::Connection
    where
        A: zbus::object_server::Interface,
        B: zbus::object_server::Interface,
    {
        let builder = zbus::connection::Builder::address(self.bus.address());
        let builder = builder.serve_at(path, main).serve_at(path, debug);
        builder.name(name).build().await.unwrap()
    }

    /// A command that uses this bus as the system bus.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address()).env_remove("NO_COLOR").env("LC_ALL", "C");
        command
    }

    /// Runs a tool on this bus to its end, while the runtime of the calling task keeps serving.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The output of the tool, which must succeed without a message on standard error.
    pub(crate) async fn stdout(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments).await;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON object that the tool prints with `-o json`, after a check of its version.
    pub(crate) async fn json(&self, program: &str, arguments: &[&str]) -> serde_json::Value {
        let answer = self.stdout(program, &[arguments, &["-o", "json"]].concat()).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["schema_version"], 1);
        answer
    }

    /// Runs the commands of a transcript (`$ tool arguments`, then the output), each with the additional arguments
    /// `more`, and compares the output.
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
