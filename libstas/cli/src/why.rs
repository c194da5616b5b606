//! `why`: the history of a controller, the source that lists it, and what is next.

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Daemon, Failure};
use super::listing::matches;
use super::output::{Format, FormatArg, render};
use super::{schema, table};
use stas_bus::{ControllerId, DebugProxy, Dict, key};
use stas_nvme::shown;

/// The options of `why`.
#[derive(Clone, Debug, Args)]
pub struct Why {
    /// Device, NQN, address, or the controller as the log names it, or a part of one of these
    #[arg(value_name = "CONTROLLER")]
    pub controller: String,
    /// The format of the story.
    #[command(flatten)]
    pub format: FormatArg,
}

/// Asks a daemon for the stories of the controllers that match.
///
/// # Errors
/// [`Failure::NoMatch`] if no controller matches, or a failure of the calls.
pub async fn why(daemon: Daemon, debug: &DebugProxy<'_>, what: &Why) -> Result<String, Failure> {
    let failure = |error| daemon.failure(error);
    let mut known = debug.list_histories().await.map_err(failure)?;
    known.retain(|controller| matches(controller, &what.controller));
    // The kernel reuses instance numbers: prefer the controller that has this number now.
    if known.iter().any(|controller| state_of(controller) != "removed") && what.controller.starts_with("nvme") {
        known.retain(|controller| state_of(controller) != "removed");
    }
    if known.is_empty() {
        return Err(Failure::NoMatch(what.controller.clone()));
    }
    let mut stories = Vec::new();
    for controller in known {
        let id = ControllerId::from_dict(&controller);
        let (source, events) = debug.controller_history_of(&id).await.map_err(failure)?;
        let info = daemon.json(&debug.controller_info_of(&id).await.map_err(failure)?)?;
        stories.push(story(&controller, &source, &info, &events));
    }
    let stories = Value::Array(stories);
    // Without a terminal the story is for reading, too: nvme-stas has no such command.
    let format = what.format.output.unwrap_or(Format::Table);
    Ok(render(format, &stories, schema::stories, text))
}

fn state_of(controller: &Dict) -> &str {
    controller.get("state").map(String::as_str).unwrap_or_default()
}

/// The story of one controller.
fn story(controller: &Dict, source: &str, info: &Value, events: &[Dict]) -> Value {
    let mut story: Map<String, Value> = controller.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    for key in ["state", key::REASON, "next attempt", "connect attempts"] {
        if let Some(value) = info.get(key) {
            story.insert(key.to_owned(), value.clone());
        }
    }
    if !source.is_empty() {
        story.insert("source".to_owned(), json!(source));
    }
    story.insert("events".to_owned(), json!(events));
    Value::Object(story)
}

fn text(stories: &Value) -> String {
    let stories = stories.as_array().into_iter().flatten().map(story_text);
    stories.collect::<Vec<_>>().join("\n")
}

fn story_text(story: &Value) -> String {
    let value = |key: &str| story.get(key).and_then(Value::as_str).map(|text| shown(text).into_owned());
    let device = value(key::DEVICE).filter(|device| device != "nvme?").map(|device| format!("{device}  "));
    let mut out = format!("{}{}\n", device.unwrap_or_default(), shown(&table::controller_name(story)));
    for event in story.get("events").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| event.get(key).and_then(Value::as_str).map(|text| shown(text).into_owned());
        out += &format!("  {}  {}\n", part(key::TIME).unwrap_or_default(), part(key::EVENT).unwrap_or_default());
    }
    let now = [("state", "state"), ("source", "source"), ("reason", key::REASON), ("next attempt", "next attempt")];
    for (word, key) in now {
        if let Some(value) = value(key) {
            out += &format!("  now: {word}: {value}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_reported_in_order_and_ends_with_what_is_next() {
        let dict = |members: &[(&str, &str)]| -> Dict {
            members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let controller = dict(&[
            (key::DEVICE, "nvme?"),
            (key::TRANSPORT, "tcp"),
            (key::TRADDR, "192.0.2.1"),
            (key::TRSVCID, "4420"),
            (key::SUBSYSNQN, "nqn.x"),
            ("state", "waiting"),
        ]);
        let events = [
            dict(&[("time", "2026-11-28T12:00:00Z"), ("event", "listed: controller= in stacd.conf, line 2")]),
            dict(&[("time", "2026-11-28T12:00:01Z"), ("event", "not connected: connection refused")]),
        ];
        let info = json!({"state": "waiting", "reason": "connection refused", "next attempt": "in 8 s"});
        let stories = json!([story(&controller, "controller= in stacd.conf, line 2", &info, &events)]);
        assert_eq!(
            text(&stories),
            "tcp 192.0.2.1 4420 nqn.x
  2026-11-28T12:00:00Z  listed: controller= in stacd.conf, line 2
  2026-11-28T12:00:01Z  not connected: connection refused
  now: state: waiting
  now: source: controller= in stacd.conf, line 2
  now: reason: connection refused
  now: next attempt: in 8 s
"
        );
    }
}
