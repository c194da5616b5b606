//! States that earlier versions saved, compared with what the present daemons make of them.

use serde_json::Value;

/// The state as JSON, with the service identifiers of Fibre Channel in today's form.
///
/// # Panics
/// Panics if the text is not JSON.
#[must_use]
pub fn earlier_state(text: &str) -> Value {
    let mut state = serde_json::from_str(text).unwrap();
    make_canonical(&mut state);
    state
}

fn make_canonical(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("transport").is_some_and(|transport| transport == "fc") {
                fields.insert("trsvcid".into(), "".into());
            }
            fields.values_mut().for_each(make_canonical);
        }
        Value::Array(values) => values.iter_mut().for_each(make_canonical),
        _ => {}
    }
}

/// What `new` lacks of `old`: a field, an element of a list, or a value. Each is named by its path, which begins with
/// `path`.
#[must_use]
pub fn lacking(path: &str, old: &Value, new: &Value) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let field = |(key, value): (&String, &Value)| match new.get(key) {
                Some(now) => lacking(&format!("{path}.{key}"), value, now),
                None => vec![format!("{path}.{key}")],
            };
            old.iter().flat_map(field).collect()
        }
        (Value::Array(old), Value::Array(new)) => {
            let is_there = |value: &&Value| new.iter().any(|now| lacking("", value, now).is_empty());
            old.iter().filter(|value| !is_there(value)).map(|value| format!("{path}: {value}")).collect()
        }
        _ if old == new => Vec::new(),
        _ => vec![format!("{path}: {old} is {new}")],
    }
}
