//! The command `cdcsim ctl`: one request, one answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::ShellError;
use crate::arguments::Format;
use crate::control::{Reply, Request};

/// Sends a request and prints the answer.
///
/// # Errors
/// Fails if no simulator runs there, or if it refuses.
pub fn ask(control: &Path, request: &Request, output: Format) -> Result<(), ShellError> {
    let place = control.display();
    let failed = || ShellError::io(format!("asking the simulator at {place} (is `cdcsim run` running?)"));
    let mut stream = UnixStream::connect(control).map_err(failed())?;
    let invalid = |error: serde_json::Error| ShellError::Configuration(format!("the simulator at {place}: {error}"));
    let mut line = serde_json::to_vec(request).map_err(invalid)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed())?;
    match serde_json::from_str(&answer).map_err(invalid)? {
        Reply::Error(error) => Err(ShellError::Refused(error)),
        Reply::Ok(value) => {
            let text = match output {
                Format::Json => format!("{value}\n"),
                Format::Text => shown(&value, 0),
            };
            std::io::stdout().write_all(text.as_bytes()).map_err(ShellError::io("writing the answer"))
        }
    }
}

/// Formats a value for people: one item per line, nested items indented, empty ones left out.
fn shown(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Null => String::new(),
        Value::Object(map) => map.iter().map(|(key, value)| entry(key, value, &indent, depth)).collect(),
        Value::Array(values) => {
            let parts: Vec<String> = values.iter().map(|value| shown(value, depth)).collect();
            let between = if values.iter().any(Value::is_object) { "\n" } else { "" };
            parts.join(between)
        }
        Value::String(text) => format!("{indent}{text}\n"),
        other => format!("{indent}{other}\n"),
    }
}

fn entry(key: &str, value: &Value, indent: &str, depth: usize) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        Value::Array(values) if values.is_empty() => String::new(),
        Value::Object(_) | Value::Array(_) => format!("{indent}{key}:\n{}", shown(value, depth + 1)),
        Value::String(text) => format!("{indent}{key}: {text}\n"),
        other => format!("{indent}{key}: {other}\n"),
    }
}
