//! Rewrites sys.conf in place: comments and the order of lines are kept.

use std::ops::Range;

use crate::conf::ini::{self, Problem, SourceLine};
use crate::conf::keys::{HOST, HOST_KEY};
use stas_nvme::secret::{holds_a_secret, masked};

/// sys.conf cannot contain this value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} cannot be set to {:?}: {why}", masked(.value))]
pub struct InvalidValue {
    key: String,
    value: String,
    why: &'static str,
}

/// Sets `key=value` in `[Host]`: replaces the last line that sets the key, else inserts after the line where the key is
/// commented out, else at the end of `[Host]`. Adds `[Host]` if it does not exist.
///
/// # Errors
/// [`InvalidValue`] if the value is empty, contains a control character or a misplaced secret, or makes the line too
/// long.
pub fn set_value(text: &str, key: &str, value: &str) -> Result<String, InvalidValue> {
    let value = value.trim();
    let invalid = |why| InvalidValue { key: key.to_owned(), value: value.chars().take(80).collect(), why };
    if value.is_empty() {
        return Err(invalid("it is empty"));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid("it contains a control character"));
    }
    if key != HOST_KEY.name && holds_a_secret(value) {
        return Err(invalid("it contains a secret, which belongs in key="));
    }
    let new = format!("{key}={value}");
    if new.len() > ini::LINE_MAX {
        return Err(invalid("it is too long"));
    }
    let mut file = File::read(text);
    if let Some(at) = file.setting(key).pop() {
        file.remove_continued(at);
        let indent = file.indent(at).to_owned();
        file.lines.splice(at..=at, [indent + &new]);
    } else if let Some(section) = file.hosts().pop() {
        let at = match file.mentioning(key) {
            Some(commented) => commented + 1,
            None => file.end_of(section),
        };
        let indent = file.indent_at(at).to_owned();
        file.lines.insert(at, indent + &new);
    } else {
        if !file.lines.is_empty() {
            file.lines.push(String::new());
        }
        file.lines.extend([format!("[{HOST}]"), new]);
    }
    Ok(file.write())
}

/// Removes every line that sets `key` in `[Host]`. Commented-out lines are kept.
#[must_use]
pub fn clear_value(text: &str, key: &str) -> String {
    let mut file = File::read(text);
    let set = file.setting(key);
    if set.is_empty() {
        return text.to_owned();
    }
    for at in set.into_iter().rev() {
        file.remove_continued(at);
        file.lines.remove(at);
        file.meanings.remove(at);
    }
    file.write()
}

/// Role of a line when a key is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Section { host: bool },
    Sets(String),
    Continues,
    Mentions(String),
    Unreadable,
    Comment,
}

impl Meaning {
    fn of(line: SourceLine<'_>) -> Self {
        match line {
            SourceLine::Section(name) => Self::Section { host: name.eq_ignore_ascii_case(HOST) },
            SourceLine::Problem(Problem::Section) => Self::Section { host: false },
            SourceLine::Pair(key, _) => Self::Sets(key.to_ascii_lowercase()),
            SourceLine::Continuation(_) | SourceLine::Problem(Problem::Orphan) => Self::Continues,
            SourceLine::Comment(text) => match text.split_once('=') {
                Some((key, _)) => Self::Mentions(key.trim().to_ascii_lowercase()),
                None => Self::Comment,
            },
            SourceLine::Problem(_) => Self::Unreadable,
        }
    }
}

/// The lines of a file, as the parser reads them.
struct File {
    lines: Vec<String>,
    meanings: Vec<Meaning>,
    end: &'static str,
}

impl File {
    fn read(text: &str) -> Self {
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            meanings: ini::lines(text.as_bytes()).map(Meaning::of).collect(),
            end: if text.contains("\r\n") { "\r\n" } else { "\n" },
        }
    }

    fn write(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), self.end]).collect()
    }

    /// The line ranges of all `[Host]` sections, without their headers.
    fn hosts(&self) -> Vec<Range<usize>> {
        let is_header = |at: &usize| matches!(self.meanings.get(*at), Some(Meaning::Section { .. }));
        let headers = self.meanings.iter().enumerate().filter(|(_, line)| **line == Meaning::Section { host: true });
        let end = |at: usize| (at + 1..self.lines.len()).find(is_header).unwrap_or(self.lines.len());
        headers.map(|(at, _)| at + 1..end(at)).collect()
    }

    /// The lines that set a key in `[Host]`.
    fn setting(&self, key: &str) -> Vec<usize> {
        let sets = Meaning::Sets(key.to_ascii_lowercase());
        self.hosts().into_iter().flatten().filter(|at| self.meanings.get(*at) == Some(&sets)).collect()
    }

    /// Removes the continuation lines of the line at `at`. Comments and blank lines between them are kept.
    fn remove_continued(&mut self, at: usize) {
        let others = self.meanings.iter().enumerate().skip(at + 1);
        let passed =
            others.take_while(|(_, line)| matches!(line, Meaning::Continues | Meaning::Comment | Meaning::Mentions(_)));
        let more: Vec<usize> = passed.filter(|(_, line)| **line == Meaning::Continues).map(|(at, _)| at).collect();
        for at in more.into_iter().rev() {
            self.lines.remove(at);
            self.meanings.remove(at);
        }
    }

    /// The first line of `[Host]` where the key is commented out.
    fn mentioning(&self, key: &str) -> Option<usize> {
        let mentions = Meaning::Mentions(key.to_ascii_lowercase());
        self.hosts().into_iter().flatten().find(|at| self.meanings.get(*at) == Some(&mentions))
    }

    /// Position after the last line of a section that is not blank.
    fn end_of(&self, mut section: Range<usize>) -> usize {
        let start = section.start;
        let blank = |at: &usize| self.lines.get(*at).is_none_or(|line| line.trim_ascii().is_empty());
        section.rfind(|at| !blank(at)).map_or(start, |at| at + 1)
    }

    /// Leading white space of a line.
    fn indent(&self, at: usize) -> &str {
        let line = self.lines.get(at).map_or("", String::as_str);
        line.get(..line.len() - line.trim_ascii_start().len()).unwrap_or_default()
    }

    /// Leading white space of a new line at this position: that of the key above. So the new line continues no key, and
    /// takes no continuation line from the key above.
    fn indent_at(&self, at: usize) -> &str {
        let meaning = |at: &usize| self.meanings.get(*at);
        let stops = |at: &usize| matches!(meaning(at), Some(Meaning::Section { .. }));
        let own = |at: &usize| matches!(meaning(at), Some(Meaning::Sets(_) | Meaning::Unreadable));
        let above = (0..at).rev().take_while(|at| !stops(at)).find(own);
        let line = above.or_else(|| (at..self.lines.len()).take_while(|at| !stops(at)).find(own));
        line.map_or("", |line| self.indent(line))
    }
}
