//! Python's `pprint.pprint(value, width=120)`, byte for byte: the layout that scripts for nvme-stas parse.
//!
//! The rules, from the Python 3 library reference and Python's behaviour:
//! - A value that fits on the rest of its line is written as by `repr`.
//! - A dictionary or list that does not fit has one member on each line, one column deeper. Keys are sorted.
//! - A string that does not fit becomes adjacent literals, split after line ends, then between words.
//! - Width is counted in characters (code points), including those that must follow on the same line, such as `}]`.

use serde_json::Value;

use stas_bus::python as repr;

/// Line width that nvme-stas uses, in characters.
const WIDTH: usize = 120;

/// Formats a value like `pprint`, without a final newline.
#[must_use]
pub fn pformat(value: &Value) -> String {
    let mut printer = Printer { out: String::new() };
    printer.value(value, Position { column: 0, tail: 0, outermost: true });
    printer.out
}

/// Position of a value in the output.
#[derive(Clone, Copy)]
struct Position {
    /// Column of its first character.
    column: usize,
    /// Number of characters that must follow it on its last line.
    tail: usize,
    /// True for the printed value itself, false for values inside it.
    outermost: bool,
}

struct Printer {
    out: String,
}

impl Printer {
    fn value(&mut self, value: &Value, position: Position) {
        let flat = repr::value(value);
        if width(&flat) + position.column + position.tail <= WIDTH {
            self.out.push_str(&flat);
            return;
        }
        match value {
            Value::Array(items) if !items.is_empty() => self.list(items, position),
            Value::Object(members) if !members.is_empty() => self.dictionary(members, position),
            Value::String(text) if !text.is_empty() => self.string(text, position),
            _ => self.out.push_str(&flat),
        }
    }

    fn list(&mut self, items: &[Value], position: Position) {
        let column = position.column + 1;
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            let last = index + 1 == items.len();
            // The last item is followed by `]` and the tail of the list, the others by a comma.
            let tail = if last { position.tail + 1 } else { 1 };
            self.value(item, Position { column, tail, outermost: false });
            if !last {
                self.out.push(',');
                self.new_line(column);
            }
        }
        self.out.push(']');
    }

    fn dictionary(&mut self, members: &serde_json::Map<String, Value>, position: Position) {
        let column = position.column + 1;
        let members = repr::sorted(members);
        self.out.push('{');
        for (index, (key, value)) in members.iter().enumerate() {
            let last = index + 1 == members.len();
            let key = repr::string(key);
            self.out.push_str(&key);
            self.out.push_str(": ");
            let tail = if last { position.tail + 1 } else { 1 };
            self.value(value, Position { column: column + width(&key) + 2, tail, outermost: false });
            if !last {
                self.out.push(',');
                self.new_line(column);
            }
        }
        self.out.push('}');
    }

    fn string(&mut self, text: &str, mut position: Position) {
        // Inside brackets, adjacent literals are read as one value. The outermost string needs parentheses.
        if position.outermost {
            position.column += 1;
            position.tail += 1;
        }
        let literals = literals(text, position);
        let brackets = position.outermost && literals.len() > 1;
        if brackets {
            self.out.push('(');
        }
        for (index, literal) in literals.iter().enumerate() {
            if index > 0 {
                self.new_line(position.column);
            }
            self.out.push_str(literal);
        }
        if brackets {
            self.out.push(')');
        }
    }

    fn new_line(&mut self, column: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', column));
    }
}

/// Splits a long string into literals: one for each line, and several for a line that is too long.
fn literals(text: &str, position: Position) -> Vec<String> {
    let room = WIDTH.saturating_sub(position.column);
    let last_room = room.saturating_sub(position.tail);
    let mut literals = Vec::new();
    let lines = repr::lines(text);
    for (index, line) in lines.iter().enumerate() {
        let last_line = index + 1 == lines.len();
        let whole = repr::string(line);
        if width(&whole) <= if last_line { last_room } else { room } {
            literals.push(whole);
            continue;
        }
        let words = repr::words(line);
        let mut current = String::new();
        for (index, word) in words.iter().enumerate() {
            let ends_it = last_line && index + 1 == words.len();
            let candidate = format!("{current}{word}");
            if width(&repr::string(&candidate)) <= if ends_it { last_room } else { room } {
                current = candidate;
                continue;
            }
            if !current.is_empty() {
                literals.push(repr::string(&current));
            }
            // A single word that is too long is not split.
            current = (*word).to_owned();
        }
        if !current.is_empty() {
            literals.push(repr::string(&current));
        }
    }
    literals
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
