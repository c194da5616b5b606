//! Connects a tool to its daemon, and explains failures.

use std::io;
use std::process::ExitCode;

use serde_json::Value;
use zbus::{Connection, fdo};

pub use super::daemon::Daemon;
use super::output;
use stas_bus::{BusError, DebugProxy};
use stas_nvme::shown;

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon's name has no owner on the bus. Scripts match this text.
    #[error("Unable to communicate with {0} over D-Bus. Is {0} running?")]
    NotRunning(&'static str),
    /// The bus cannot be reached.
    #[error("{}\n{error}", Failure::NotRunning(.daemon))]
    NoBus {
        /// Daemon of the tool: `stafd` or `stacd`.
        daemon: &'static str,
        /// Why the bus cannot be reached.
        error: BusError,
    },
    /// The daemon or the bus denies access.
    #[error("{daemon} refuses: {detail}. Try again as root")]
    Denied {
        /// Daemon of the tool: `stafd` or `stacd`.
        daemon: &'static str,
        /// Text of the D-Bus error.
        detail: String,
    },
    /// The daemon owns its name, but the call failed.
    #[error("Unable to communicate with {daemon} over D-Bus: {detail}. `systemctl status {daemon}` tells how it is")]
    Call {
        /// Daemon of the tool: `stafd` or `stacd`.
        daemon: &'static str,
        /// Text of the error.
        detail: String,
    },
    /// The answer is not valid JSON.
    #[error("the answer of {daemon} is not JSON: {error}")]
    NotJson {
        /// Daemon of the tool: `stafd` or `stacd`.
        daemon: &'static str,
        /// Error of the JSON parser.
        error: serde_json::Error,
    },
    /// Controllers that should be connected are not. Contains a line for each.
    #[error("{0}")]
    Down(String),
    /// No controller matches what the user named.
    #[error("no controller matches {0:?}")]
    NoMatch(String),
    /// The bus closed the connection.
    #[error("the connection to the D-Bus system bus is lost")]
    BusLost,
    /// A file cannot be written.
    #[error("cannot write {file}: {error}")]
    File {
        /// The file.
        file: String,
        /// Why it cannot be written.
        error: io::Error,
    },
    /// The answer cannot be written to stdout.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

impl Daemon {
    /// Connects to the bus, calls `work` and prints its result. Failures are printed on stderr.
    ///
    /// The exit code is 1 after a failure.
    pub fn ask(self, work: impl AsyncFnOnce(Connection) -> Result<String, Failure>) -> ExitCode {
        match self.answer(work).and_then(|answer| Ok(output::print(&answer)?)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{}", failure.to_string().lines().map(shown).collect::<Vec<_>>().join("\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn answer(self, work: impl AsyncFnOnce(Connection) -> Result<String, Failure>) -> Result<String, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let connection = stas_bus::system().await.map_err(|error| Failure::NoBus { daemon: self.name(), error })?;
            work(connection).await
        })
    }

    /// Explains a failed call to the user.
    #[must_use]
    pub fn failure(self, error: zbus::Error) -> Failure {
        let daemon = self.name();
        match &error {
            zbus::Error::FDO(fdo) => match fdo.as_ref() {
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Failure::NotRunning(daemon),
                fdo::Error::AccessDenied(detail) | fdo::Error::AuthFailed(detail) => {
                    let detail =
                        if is_denied_by_bus_policy(detail) { "only root may call this method" } else { detail };
                    Failure::Denied { daemon, detail: detail.trim_end_matches('.').to_owned() }
                }
                fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => {
                    Failure::Call { daemon, detail: "it does not answer".to_owned() }
                }
                other => Failure::Call { daemon, detail: other.to_string() },
            },
            zbus::Error::InputOutput(io) if io.kind() == io::ErrorKind::TimedOut => {
                Failure::Call { daemon, detail: "it does not answer".to_owned() }
            }
            other => Failure::Call { daemon, detail: other.to_string() },
        }
    }

    /// Parses an answer that contains JSON as a string.
    ///
    /// # Errors
    /// [`Failure::NotJson`] if it is not valid JSON.
    pub fn json(self, answer: &str) -> Result<Value, Failure> {
        serde_json::from_str(answer).map_err(|error| Failure::NotJson { daemon: self.name(), error })
    }
}

/// True if the policy of the bus has denied the call. These are the texts of dbus-daemon and dbus-broker, which do not
/// say that only root may call the method.
fn is_denied_by_bus_policy(detail: &str) -> bool {
    ["Rejected send message", "Sender is not authorized to send message"].iter().any(|text| detail.starts_with(text))
}

/// Switches a daemon's trace on or off. Returns the output of `tron` and `troff`.
///
/// # Errors
/// Fails if the daemon does not answer, or refuses.
pub async fn set_tron(debug: &DebugProxy<'_>, tron: bool) -> zbus::Result<String> {
    debug.set_tron(tron).await?;
    Ok(format!("tron = {}\n", if debug.tron().await? { "True" } else { "False" }))
}

/// Adds the members of `added` to `object`. If both have a member, that of `added` is kept.
///
/// Does nothing unless both values are objects.
pub fn merge(object: &mut Value, added: Value) {
    if let (Value::Object(object), Value::Object(added)) = (object, added) {
        object.extend(added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_whose_it_is_and_what_to_do() {
        let fdo = |error: fdo::Error| Daemon::Stafd.failure(zbus::Error::FDO(Box::new(error))).to_string();
        let text = || "text.".to_owned();
        assert_eq!(
            fdo(fdo::Error::ServiceUnknown(text())),
            "Unable to communicate with stafd over D-Bus. Is stafd running?"
        );
        assert_eq!(fdo(fdo::Error::NameHasNoOwner(text())), fdo(fdo::Error::ServiceUnknown(text())));
        assert_eq!(fdo(fdo::Error::AccessDenied(text())), "stafd refuses: text. Try again as root");
        assert_eq!(fdo(fdo::Error::AuthFailed(text())), "stafd refuses: text. Try again as root");
        // The answers of dbus-daemon and dbus-broker if the bus policy forbids the call.
        for bus in [
            "Rejected send message, 2 matched rules; type=\"method_call\", sender=\":1.9\" (uid=65534 pid=7 comm=\"x\")",
            "Sender is not authorized to send message",
        ] {
            let denied = fdo(fdo::Error::AccessDenied(bus.to_owned()));
            assert_eq!(denied, "stafd refuses: only root may call this method. Try again as root");
        }
        let silent =
            "Unable to communicate with stafd over D-Bus: it does not answer. `systemctl status stafd` tells how it is";
        for error in [fdo::Error::NoReply(text()), fdo::Error::Timeout(text()), fdo::Error::TimedOut(text())] {
            assert_eq!(fdo(error), silent);
        }
        assert!(fdo(fdo::Error::InvalidArgs(text())).contains("text."));
        let io = |kind: io::ErrorKind| Daemon::Stafd.failure(io::Error::from(kind).into()).to_string();
        assert_eq!(io(io::ErrorKind::TimedOut), silent);
        assert!(io(io::ErrorKind::BrokenPipe).starts_with("Unable to communicate with stafd over D-Bus: "));
    }
}
