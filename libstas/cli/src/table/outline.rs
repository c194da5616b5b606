//! Displays any JSON object as indented lines: `key  value`.

use serde_json::{Map, Value};

use stas_nvme::shown;

/// Displays the members: first those with a plain value, aligned, then those with members of their own.
pub(super) fn members(members: &Map<String, Value>, indent: &str) -> String {
    let (plain, nested): (Vec<_>, Vec<_>) = members.iter().partition(|(_, value)| is_plain(value));
    let width = plain.iter().map(|(key, _)| shown(key).chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for (key, value) in plain {
        let line = format!("{indent}{:width$}  {}", shown(key), scalar(value));
        out += line.trim_end();
        out.push('\n');
    }
    for (key, value) in nested {
        out += &format!("{indent}{}\n{}", shown(key), body(value, &format!("{indent}  ")));
    }
    out
}

fn body(value: &Value, indent: &str) -> String {
    match value {
        Value::Object(object) => members(object, indent),
        Value::Array(items) => {
            let mut out = String::new();
            for item in items {
                // A dash starts an item with several lines.
                let text = body(item, &format!("{indent}  "));
                out += &format!("{indent}- {}", text.trim_start());
            }
            out
        }
        plain => format!("{indent}{}\n", scalar(plain)),
    }
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        _ => true,
    }
}

/// Formats a value on one line.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => shown(text).into_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(object) if object.is_empty() => "none".to_owned(),
        other => shown(&other.to_string()).into_owned(),
    }
}
