//! Rewriting sys.conf so that its owner finds it again: comments and order stay.

use std::ops::Range;

use crate::conf::ini::{self, Line, Problem};
use crate::conf::keys::HOST;

/// A value that sys.conf cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} cannot be set to {value:?}: {why}")]
pub struct InvalidValue {
    key: String,
    value: String,
    why: &'static str,
}

/// The text with `key=value` in `[Host]`: in place of the last line that sets it, else below the commented-out one,
/// else at the end of `[Host]`, which is made if there is none.
///
/// # Errors
/// The value is empty, holds a control character, or is longer than a line may be.
pub fn set_value(text: &str, key: &str, value: &str) -> Result<String, InvalidValue> {
    let value = value.trim();
    let invalid = |why| InvalidValue { key: key.to_owned(), value: value.chars().take(80).collect(), why };
    if value.is_empty() {
        return Err(invalid("it is empty"));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid("it holds a control character"));
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

/// The text without any line that sets `key` in `[Host]`. A commented-out one stays.
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

/// What a line is to someone who wants to change a key.
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
    fn of(line: Line<'_>) -> Self {
        match line {
            Line::Section(name) => Self::Section { host: name.eq_ignore_ascii_case(HOST) },
            Line::Problem(Problem::Section) => Self::Section { host: false },
            Line::Pair(key, _) => Self::Sets(key.to_ascii_lowercase()),
            Line::Continuation(_) | Line::Problem(Problem::Orphan) => Self::Continues,
            Line::Comment(text) => match text.split_once('=') {
                Some((key, _)) => Self::Mentions(key.trim().to_ascii_lowercase()),
                None => Self::Comment,
            },
            Line::Problem(_) => Self::Unreadable,
        }
    }
}

/// A file by its lines, seen with the parser's own eyes.
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

    /// The lines of each `[Host]`, without its header.
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

    /// Removes the lines that continue the one at `at`; comments and blank lines between them stay.
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

    /// The line of `[Host]` where a key is commented out.
    fn mentioning(&self, key: &str) -> Option<usize> {
        let mentions = Meaning::Mentions(key.to_ascii_lowercase());
        self.hosts().into_iter().flatten().find(|at| self.meanings.get(*at) == Some(&mentions))
    }

    /// Behind the last line of a section that holds something.
    fn end_of(&self, mut section: Range<usize>) -> usize {
        let start = section.start;
        let blank = |at: &usize| self.lines.get(*at).is_none_or(|line| line.trim_ascii().is_empty());
        section.rfind(|at| !blank(at)).map_or(start, |at| at + 1)
    }

    /// The spaces that a line starts with.
    fn indent(&self, at: usize) -> &str {
        let line = self.lines.get(at).map_or("", String::as_str);
        line.get(..line.len() - line.trim_ascii_start().len()).unwrap_or_default()
    }

    /// The spaces that a new line there has to start with: as many as the one above, so that it continues nothing and
    /// nothing continues it that did not continue that one.
    fn indent_at(&self, at: usize) -> &str {
        let meaning = |at: &usize| self.meanings.get(*at);
        let stops = |at: &usize| matches!(meaning(at), Some(Meaning::Section { .. }));
        let own = |at: &usize| matches!(meaning(at), Some(Meaning::Sets(_) | Meaning::Unreadable));
        let above = (0..at).rev().take_while(|at| !stops(at)).find(own);
        let line = above.or_else(|| (at..self.lines.len()).take_while(|at| !stops(at)).find(own));
        line.map_or("", |line| self.indent(line))
    }
}
