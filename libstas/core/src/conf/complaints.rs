//! Collects the complaints about one file: limited in number, sorted by line, and without secrets.

use std::collections::BTreeSet;
use std::fmt;

use super::types::{Complaint, Severity};
use stas_nvme::shown;

/// Maximum number of complaints about one file. Further ones are only counted.
const COMPLAINTS_MAX: usize = 100;
/// Maximum number of characters of the file that a complaint quotes.
const QUOTE_MAX: usize = 80;

/// The complaints about one file.
#[derive(Debug)]
pub(crate) struct Complaints {
    file: String,
    found: Vec<Complaint>,
    left_out: usize,
    /// Lines of `controller=` entries that may mean another controller than they say.
    doubtful: BTreeSet<usize>,
}

impl Complaints {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new(), left_out: 0, doubtful: BTreeSet::new() }
    }

    /// Reports a line or an entry that is refused.
    pub(crate) fn error(&mut self, line: usize, text: impl Into<String>) {
        self.add(line, Severity::Refused, text.into());
    }

    /// Reports a part of an entry that is unknown and ignored.
    pub(crate) fn unknown(&mut self, line: usize, text: impl Into<String>) {
        self.add(line, Severity::Unknown, text.into());
    }

    /// Records that a valid line may mean another controller than it says.
    pub(crate) fn mark_doubtful(&mut self, line: usize) {
        self.doubtful.insert(line);
    }

    /// True for a line that may mean another controller than it says.
    pub(crate) fn is_doubtful(&self, line: usize) -> bool {
        self.doubtful.contains(&line)
    }

    /// Reports a line that applies, but with another effect than written.
    pub(crate) fn warning(&mut self, line: usize, text: impl Into<String>) {
        self.add(line, Severity::Warning, text.into());
    }

    fn add(&mut self, line: usize, severity: Severity, text: String) {
        if self.found.len() < COMPLAINTS_MAX {
            self.found.push(Complaint { file: self.file.clone(), line, severity, text });
        } else {
            self.left_out += 1;
        }
    }

    /// Reports an unknown key or section. `text` is called only if the complaint is kept, because it is expensive.
    pub(crate) fn not_in_table(&mut self, line: usize, severity: Severity, text: impl FnOnce() -> String) {
        let text = if self.found.len() < COMPLAINTS_MAX { text() } else { String::new() };
        self.add(line, severity, text);
    }

    /// All complaints, sorted by line.
    pub(crate) fn into_vec(mut self) -> Vec<Complaint> {
        self.found.sort_by_key(|complaint| complaint.line);
        if self.left_out > 0 {
            let text = format!("{} more complaints are left out", self.left_out);
            self.found.push(Complaint { file: self.file, line: 0, severity: Severity::Refused, text });
        }
        self.found
    }
}

/// True if the text may contain a secret: it looks like one, or names a key that takes one.
pub(crate) fn may_hold_a_secret(text: &str) -> bool {
    let folded = text.to_ascii_lowercase();
    ["dhhc", "dhchap", "secret", "nvmetlskey"].iter().any(|word| folded.contains(word))
}

/// Text of the file for a complaint: short, on one line, and `***` if it may contain a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Hides the text.
    pub(crate) fn hidden() -> Self {
        Self("***".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Quotes text of the file for a complaint.
pub(crate) fn quoted(text: &str) -> Quoted {
    if may_hold_a_secret(text) {
        return Quoted::hidden();
    }
    let quotes = match text.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    };
    Quoted(shown(&quotes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_in_the_order_of_the_lines() {
        let mut complaints = Complaints::new("f");
        complaints.warning(3, "c");
        complaints.error(1, "a");
        let lines: Vec<_> = complaints.into_vec().iter().map(|complaint| complaint.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn a_file_of_rubbish_does_not_flood_the_log() {
        let mut complaints = Complaints::new("f");
        (1..=1_000_000).for_each(|line| complaints.error(line, "rubbish"));
        let complaints = complaints.into_vec();
        assert_eq!(complaints.len(), COMPLAINTS_MAX + 1);
        assert!(complaints.last().is_some_and(|last| last.text.contains("999900 more")), "{complaints:?}");
    }

    #[test]
    fn what_may_be_a_secret_is_not_quoted() {
        for text in ["DHHC-1:00:abc:", "dhhc-1", "x;dhchap_key=abc", "Secret=abc"] {
            assert_eq!(quoted(text).as_str(), "***");
        }
    }

    #[test]
    fn what_is_quoted_is_short_and_on_one_line() {
        assert_eq!(quoted("a\nb").as_str(), "\"a\\nb\"");
        assert!(quoted(&"é".repeat(1000)).as_str().chars().count() < 100);
    }
}
