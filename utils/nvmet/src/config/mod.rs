//! Parses configurations: TOML text becomes a checked [`Desired`], or an error that says where and what would be right.

mod check;
mod disks;
mod endpoints;
mod expand;
mod file;
mod subsystems;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::desired::Desired;
use crate::dhchap::redact;

/// The configuration used without an argument and without ./nvmet.conf.
pub const BUILT_IN: &str = include_str!("../../nvmet.conf");

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// The path of the file.
        file: String,
        /// The error of the system.
        source: io::Error,
    },
    /// It has an error. The message repeats only the key, because the file may contain secrets.
    #[error("{file}:{line}: {key}: {problem}")]
    Wrong {
        /// The path of the file.
        file: String,
        /// The line number, starting at 1.
        line: usize,
        /// The key, or the table if it lacks a key.
        key: String,
        /// The error, and what would be right.
        problem: String,
    },
}

/// A mistake, before its file is known.
#[derive(Debug)]
struct Mistake {
    span: Range<usize>,
    key: Option<&'static str>,
    problem: String,
}

impl Mistake {
    fn at<T>(key: &'static str, value: &toml::Spanned<T>, problem: impl Into<String>) -> Self {
        Self { span: value.span(), key: Some(key), problem: problem.into() }
    }
}

/// Reads a configuration file.
///
/// # Errors
/// Returns [`ConfigError`] for the first mistake.
pub fn load(path: &Path) -> Result<Desired, ConfigError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { file: file.clone(), source })?;
    parse(&file, &text)
}

/// Parses a configuration; `file` is its name in errors.
///
/// # Errors
/// Returns [`ConfigError::Wrong`] for the first mistake.
pub fn parse(file: &str, text: &str) -> Result<Desired, ConfigError> {
    toml::from_str(text).map_err(unreadable).and_then(expand::expand).map_err(|mistake| locate(file, text, mistake))
}

fn unreadable(error: toml::de::Error) -> Mistake {
    Mistake { span: error.span().unwrap_or(0..0), key: None, problem: for_people(error.message()) }
}

fn locate(file: &str, text: &str, mistake: Mistake) -> ConfigError {
    let before = text.get(..mistake.span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let key = mistake.key.map_or_else(|| key_of_line(text.lines().nth(line - 1).unwrap_or("")), str::to_owned);
    ConfigError::Wrong { file: file.to_owned(), line, key, problem: redact(&mistake.problem) }
}

/// The key or the table of a line.
fn key_of_line(line: &str) -> String {
    let key = line.split_once('=').map_or(line, |(key, _)| key).trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-.[]\"".contains(c);
    if key.is_empty() || !key.chars().all(bare) { "syntax".to_owned() } else { redact(key) }
}

/// Rust's type names, in words for users.
const WORDS: [(&str, &str); 6] = [
    ("expected u16", "expected a whole number from 0 to 65535"),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected a boolean", "expected true or false"),
    ("expected a sequence", "expected a list in [ ], or a table in [[ ]]"),
    ("expected a string", "expected a text in quotes"),
    ("expected struct ", "expected the table "),
];

fn for_people(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    WORDS.iter().fold(message, |message, (rust, human)| message.replace(rust, human))
}

#[cfg(test)]
mod tests;
