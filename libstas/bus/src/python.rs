//! Formats strings, numbers and containers like Python's `repr`, and splits strings like Python.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// `repr(value)` on one line, with dictionaries sorted by key as in `pprint`.
#[must_use]
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// `repr` of a boolean.
#[must_use]
pub fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, item)) in sorted(members).into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_string(out, key);
                out.push_str(": ");
                write_value(out, item);
            }
            out.push('}');
        }
    }
}

/// Members sorted by key, by code point like Python strings (UTF-8 has the same order).
pub fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(key, _)| *key);
    members
}

/// `repr(text)`.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    out
}

fn write_string(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            _ if c == quote => out.extend(['\\', c]),
            _ if is_printable(c) => out.push(c),
            _ => write_escape(out, u32::from(c)),
        }
    }
    out.push(quote);
}

/// Writes the shortest of `\xNN`, `\uNNNN`, `\UNNNNNNNN` that can hold the code.
fn write_escape(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// `str.isprintable`: true unless the character is a control, format, surrogate, private use or unassigned code point,
/// or a separator other than the space.
///
/// The standard library's debug formatting uses the same categories. It escapes a character that follows another one
/// only if it belongs to them or is a quote.
#[must_use]
pub fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\x7f' => false,
        _ => {
            let behind_another = format!("x{c}");
            behind_another.escape_debug().eq(behind_another.chars())
        }
    }
}

fn write_number(out: &mut String, number: &Number) {
    let text = number.to_string();
    if number.is_f64() { write_float(out, &text) } else { out.push_str(&text) }
}

/// Writes a float like Python: without exponent from 0.0001 to 10^16, otherwise with an exponent that has a sign and at
/// least two digits.
///
/// The digits are those of `serde_json`: the shortest ones that are read back as the same number and, of two such
/// numbers, the even one, as in Python. The standard library takes the other one.
fn write_float(out: &mut String, text: &str) {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    // The value is 0.digits times ten to the power of `point`.
    let point = i32::try_from(whole.len()).unwrap_or(0) - i32::try_from(all.len() - significant.len()).unwrap_or(0)
        + exponent.parse::<i32>().unwrap_or(0);
    let digits = significant.trim_end_matches('0');
    out.push_str(sign);
    // Writing to a String cannot fail.
    let _ = match usize::try_from(point) {
        _ if digits.is_empty() => write!(out, "0.0"),
        Ok(point @ 1..=16) => match digits.split_at_checked(point) {
            Some((whole, "")) => write!(out, "{whole}.0"),
            Some((whole, fraction)) => write!(out, "{whole}.{fraction}"),
            None => write!(out, "{digits:0<point$}.0"),
        },
        _ if (-3..=0).contains(&point) => {
            let zeros = usize::try_from(-point).unwrap_or(0);
            write!(out, "0.{:0<zeros$}{digits}", "")
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let exponent = point - 1;
            write!(out, "{first}{dot}{rest}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
    };
}

/// `text.splitlines(True)`: lines including their line ends.
pub fn lines(text: &str) -> Vec<&str> {
    let ends_line =
        |c: char| matches!(c, '\n' | '\x0b' | '\x0c' | '\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((at, end)) = rest.char_indices().find(|(_, c)| ends_line(*c)) {
        let mut length = at + end.len_utf8();
        if end == '\r' && rest[length..].starts_with('\n') {
            length += 1;
        }
        let (line, behind) = rest.split_at(length);
        lines.push(line);
        rest = behind;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// `re.findall(r'\S*\s*', line)` without the empty match at the end: words, each with the space after it.
pub fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut in_space = false;
    for (at, c) in line.char_indices() {
        let space = is_space(c);
        if in_space && !space {
            words.push(&line[start..at]);
            start = at;
        }
        in_space = space;
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}

/// `str.isspace`: Unicode white space, and the four information separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}
