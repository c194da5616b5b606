//! Looks quoted log lines up in the sources: a line is known if the string literals of the product can yield it.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::{product_sources, read};

/// The messages of the product: its string literals, split at their placeholders.
#[derive(Debug)]
pub struct Messages {
    literals: Vec<Vec<String>>,
    /// The results of earlier look-ups.
    known: RefCell<HashMap<String, bool>>,
}

impl Messages {
    /// Reads the string literals of all product sources.
    ///
    /// # Panics
    /// Panics if a file cannot be read.
    #[must_use]
    pub fn of_the_product() -> Self {
        let mut found: Vec<Vec<String>> = Vec::new();
        for path in product_sources() {
            let text = read(path);
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            found.extend(literals(product).iter().map(|literal| pieces(literal)));
        }
        found.retain(|pieces| is_message(pieces) || joins(pieces));
        found.sort();
        found.dedup();
        Self { literals: found, known: RefCell::default() }
    }

    /// The text between two placeholders, for all messages.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.literals.iter().flatten().map(String::as_str)
    }

    /// True if the messages can yield this text.
    #[must_use]
    pub fn contain(&self, text: &str) -> bool {
        if let Some(known) = self.known.borrow().get(text) {
            return *known;
        }
        // The same text inside itself proves nothing.
        self.known.borrow_mut().insert(text.to_owned(), false);
        let known = self.literals.iter().any(|pieces| self.is_yielded_by(text, pieces));
        self.known.borrow_mut().insert(text.to_owned(), known);
        known
    }

    fn is_yielded_by(&self, text: &str, pieces: &[String]) -> bool {
        let ([first, .., last] | [first @ last]) = pieces else { return false };
        let fits = text.starts_with(first.as_str()) && text.ends_with(last.as_str());
        fits && pieces.iter().all(|piece| text.contains(piece.as_str()))
            && self.matches(&text[first.len()..], &pieces[1..])
    }

    /// True if `text` is a value, then the first of `pieces`, then a value, and so on.
    fn matches(&self, text: &str, pieces: &[String]) -> bool {
        let [piece, rest @ ..] = pieces else { return text.is_empty() };
        if rest.is_empty() {
            return text.strip_suffix(piece.as_str()).is_some_and(|value| self.is_value(value));
        }
        let mut ends = text.match_indices(piece.as_str()).map(|(at, _)| at);
        ends.any(|at| self.is_value(&text[..at]) && self.matches(&text[at + piece.len()..], rest))
    }

    /// True for what a placeholder may stand for: a name, a number, an address, or another message.
    fn is_value(&self, text: &str) -> bool {
        let is_tid =
            text.starts_with('(') && text.ends_with(')') && text.matches('(').count() == 1 && text.contains(", ");
        !text.contains(' ') || is_tid || self.contain(text)
    }
}

/// True if a literal has a word.
fn is_message(pieces: &[String]) -> bool {
    let words = pieces.iter().flat_map(|piece| piece.split(|c: char| !c.is_ascii_alphabetic()));
    words.into_iter().any(|word| word.len() >= 2)
}

/// True for a literal without words that joins messages, such as `{}: {}` and ` [{}]`.
fn joins(pieces: &[String]) -> bool {
    let text = pieces.concat();
    text.chars().all(|c| ":;,()[] ".contains(c)) && text.contains([':', ';', ',', '(', '['])
}

/// Splits a format string at its placeholders. A literal that begins or ends with a blank or a punctuation mark
/// continues another message.
fn pieces(literal: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut characters = literal.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '{' if characters.next_if_eq(&'{').is_none() => {
                characters.by_ref().find(|c| *c == '}');
                // Two placeholders side by side are one.
                if pieces.len() == 1 || pieces.last().is_some_and(|piece| !piece.is_empty()) {
                    pieces.push(String::new());
                }
            }
            c => {
                characters.next_if(|next| c == '}' && *next == '}');
                pieces.last_mut().into_iter().for_each(|piece| piece.push(c));
            }
        }
    }
    if literal.starts_with([' ', ':', ';', ',']) {
        pieces.insert(0, String::new());
    }
    if literal.ends_with(' ') {
        pieces.push(String::new());
    }
    pieces
}

/// The string literals of a Rust source, without comments. Raw strings are left out: no message is one.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, from) = rest.split_at(at);
        rest = if from.starts_with("//") {
            from.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(character) = ["'\"'", "'\\''", "'\\\"'", "'\\\\'"].iter().find(|c| from.starts_with(**c)) {
            &from[character.len()..]
        } else if !from.starts_with('"') {
            &from[1..]
        } else if let Some(hashes) = raw(before) {
            let end = format!("\"{hashes}");
            from[1..].split_once(&end).map_or("", |(_, after)| after)
        } else {
            let (literal, after) = literal(&from[1..]);
            found.push(literal);
            after
        };
    }
    found
}

/// The hashes of a raw string that begins behind this text.
fn raw(before: &str) -> Option<String> {
    let name = before.trim_end_matches('#');
    let is_raw =
        name.ends_with('r') && !name.trim_end_matches('r').ends_with(|c: char| c.is_alphanumeric() || c == '_');
    is_raw.then(|| "#".repeat(before.len() - name.len()))
}

/// Reads a literal behind its quote. Returns it without escapes, and what follows it.
fn literal(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (out, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((at, '\n')) => {
                    let line = &text[at + 1..];
                    let indentation = line.len() - line.trim_start().len();
                    characters = text[at + 1 + indentation..].char_indices();
                    let (more, after) = literal(characters.as_str());
                    return (out + &more, after);
                }
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, escaped)) => out.push(escaped),
                None => {}
            },
            c => out.push(c),
        }
    }
    (out, "")
}
