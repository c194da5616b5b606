//! Reads Python's notation (`repr`) of strings, numbers, constants, lists and dictionaries.
//!
//! The daemons answer with it in the attribute `dlpe`, as nvme-stas does.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const DEPTH: usize = 8;

/// Reads a value. `None` if the text is not one, or is nested too deeply.
#[must_use]
pub fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH)?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let deeper = depth.checked_sub(1)?;
        self.skip_space();
        match self.rest.chars().next()? {
            '{' => self.dictionary(deeper),
            '[' => self.list(deeper),
            '\'' | '"' => self.string().map(Value::String),
            _ => self.plain(),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        self.items('{', '}', |reader| {
            reader.skip_space();
            let key = reader.string()?;
            reader.skip_space();
            reader.take(':')?;
            members.insert(key, reader.value(depth)?);
            Some(())
        })?;
        Some(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.items('[', ']', |reader| {
            items.push(reader.value(depth)?);
            Some(())
        })?;
        Some(Value::Array(items))
    }

    fn items(&mut self, open: char, close: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        loop {
            self.skip_space();
            if self.take(close).is_some() {
                return Some(());
            }
            item(self)?;
            self.skip_space();
            if self.take(',').is_none() {
                return self.take(close);
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        self.take(quote)?;
        let mut text = String::new();
        loop {
            match self.next()? {
                c if c == quote => return Some(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        match self.next()? {
            't' => Some('\t'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            'x' => self.code(2),
            'u' => self.code(4),
            'U' => self.code(8),
            c @ ('\\' | '\'' | '"') => Some(c),
            _ => None,
        }
    }

    fn code(&mut self, digits: usize) -> Option<char> {
        let (code, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        char::from_u32(u32::from_str_radix(code, 16).ok()?)
    }

    /// A constant or a number.
    fn plain(&mut self) -> Option<Value> {
        let ends = |c: char| matches!(c, ',' | ':' | ']' | '}') || c.is_whitespace();
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "None" => Some(Value::Null),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            _ => word.parse::<Number>().ok().map(Value::Number),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let c = characters.next()?;
        self.rest = characters.as_str();
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use stas_bus::python;

    use super::*;

    #[test]
    fn a_log_page_entry_of_the_daemon_is_an_object() {
        let text = r#"{'portid': '1', 'subnqn': "it's", 'traddr': '\x1b\u202e\U000e0041\\'}"#;
        let entry = json!({"portid": "1", "subnqn": "it's", "traddr": "\u{1b}\u{202e}\u{e0041}\\"});
        assert_eq!(parse(text), Some(entry));
        assert_eq!(parse("None"), Some(Value::Null));
        assert_eq!(parse("[True, False, -7, {}, []]"), Some(json!([true, false, -7, {}, []])));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "{", "{'a'}", "{'a': }", "'a", "'\\q'", "'\\x4'", "{1: 2}", "None None", "nan", "'\\ud800'"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(1_000_000)), None);
    }

    proptest! {
        #[test]
        fn what_the_daemons_write_is_read_back(
            members in proptest::collection::btree_map(".{0,9}", ".{0,20}", 0..6), quotes in "['\"\\\\]{0,5}",
        ) {
            let value = json!([members, quotes, null, true]);
            prop_assert_eq!(parse(&python::value(&value)), Some(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String, odd in "[\\[\\]{}'\",: \\\\xuU0-9NoneTrue]{0,30}") {
            let _ = (parse(&text), parse(&odd));
        }
    }
}
