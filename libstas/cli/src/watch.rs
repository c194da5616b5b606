//! `watch`: prints each change of a daemon's controllers.

use std::io;
use std::os::fd::AsFd as _;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::client::Failure;
use super::output::{json_line, print_to_reader};
use super::time::seconds;
use super::{schema, table};
use stas_bus::{ControllerEvent, ControllerEvents, Dict, key};
use stas_nvme::shown;

/// The options of `watch`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Watch {
    /// Format of the events
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text")]
    output: EventFormat,
}

/// The format of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventFormat {
    /// A line made for reading
    Text,
    /// A JSON object on one line
    Json,
}

/// Prints the events until the user interrupts it, or the reader closes the pipe.
///
/// # Errors
/// [`Failure::BusLost`], or [`Failure::Output`] if an event cannot be printed.
pub async fn watch(mut events: ControllerEvents, what: Watch) -> Result<String, Failure> {
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut reader_gone = std::pin::pin!(reader_gone());
    loop {
        let event = tokio::select! {
            event = events.next() => event.ok_or(Failure::BusLost)?,
            _ = &mut interrupted => return Ok(String::new()),
            () = &mut reader_gone => return Ok(String::new()),
        };
        let now = Timestamp::now();
        let text = match what.output {
            EventFormat::Text => format!("{}\n", line(&event, now)),
            EventFormat::Json => json_line(&schema::event(object(&event, now))),
        };
        if !print_to_reader(&text)? {
            return Ok(String::new());
        }
    }
}

/// Waits until the reader of standard output is gone. Never returns if that is a file.
async fn reader_gone() {
    let (closed, is_closed) = oneshot::channel();
    // The thread ends with the process: nothing waits for it.
    std::thread::spawn(move || {
        let stdout = io::stdout();
        // Without a requested event only errors and a hang-up are reported.
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        if poll(&mut watched, PollTimeout::NONE).is_ok() {
            let _ = closed.send(());
        }
    });
    if is_closed.await.is_err() {
        std::future::pending().await
    }
}

fn line(event: &ControllerEvent, now: Timestamp) -> String {
    let of = |controller: &Dict, change: String, cause: &str| {
        let device = controller.get(key::DEVICE).map(String::as_str).filter(|device| *device != "nvme?").unwrap_or("-");
        let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
        shown(&format!("{device}  {change}  {}{cause}", table::controller_name(&json!(controller)))).into_owned()
    };
    let text = match event {
        ControllerEvent::Started => "the daemon was started".to_owned(),
        ControllerEvent::Stopped => "the daemon has stopped; connections stay".to_owned(),
        ControllerEvent::Added { controller, cause } => {
            let state = controller.get("state").map(String::as_str).unwrap_or_default();
            of(controller, format!("added ({state})"), cause)
        }
        ControllerEvent::Removed { controller, cause } => of(controller, "removed".to_owned(), cause),
        ControllerEvent::StateChanged { controller, old, new, cause } => {
            of(controller, format!("{old} -> {new}"), cause)
        }
    };
    format!("{}  {text}", seconds(now))
}

fn object(event: &ControllerEvent, now: Timestamp) -> Value {
    let time = now.to_string();
    match event {
        ControllerEvent::Started => json!({"time": time, "event": "started"}),
        ControllerEvent::Stopped => json!({"time": time, "event": "stopped"}),
        ControllerEvent::Added { controller, cause } => {
            json!({"time": time, "event": "added", "controller": controller, "cause": cause})
        }
        ControllerEvent::Removed { controller, cause } => {
            json!({"time": time, "event": "removed", "controller": controller, "cause": cause})
        }
        ControllerEvent::StateChanged { controller, old, new, cause } => json!({
            "time": time, "event": "state-changed", "controller": controller, "old": old, "new": new, "cause": cause,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(cause: &str) -> ControllerEvent {
        let members = [
            (key::DEVICE, "nvme3"),
            (key::TRANSPORT, "tcp"),
            (key::TRADDR, "192.0.2.1"),
            (key::TRSVCID, "4420"),
            (key::SUBSYSNQN, "nqn.x"),
            ("state", "connected"),
        ];
        ControllerEvent::StateChanged {
            controller: members.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            old: "queued".to_owned(),
            new: "connected".to_owned(),
            cause: cause.to_owned(),
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            line(&changed("connected: nvme3"), now),
            "1970-01-01T00:00:00Z  nvme3  queued -> connected  tcp 192.0.2.1 4420 nqn.x: connected: nvme3"
        );
        assert!(line(&changed(""), now).ends_with(" nqn.x"));
        assert!(!line(&changed("odd\n\u{1b}[2J"), now).contains(['\n', '\u{1b}']));
        assert!(line(&ControllerEvent::Stopped, now).contains("stopped"));
    }

    #[test]
    fn an_event_is_one_json_object() {
        let text = json_line(&schema::event(object(&changed("odd\n"), Timestamp::UNIX_EPOCH)));
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!((&value["schema_version"], &value["controller"]["trsvcid"]), (&json!(1), &json!(4420)));
        assert_eq!((&value["event"], &value["controller"]["device"]), (&json!("state-changed"), &json!("nvme3")));
        assert_eq!(
            (&value["old"], &value["new"], &value["cause"]),
            (&json!("queued"), &json!("connected"), &json!("odd\n"))
        );
    }
}
