//! The pairs of one entry, each with the key that it means.

use super::pairs::{Part, parts};
use crate::conf::complaints::quoted;
use crate::conf::keys::{self, Key};
use crate::conf::near_miss::nearest;

/// The pairs of one entry.
#[derive(Debug, Default)]
pub(super) struct Words<'t> {
    found: Vec<(&'static Key, &'t str)>,
    /// What is no pair, or no pair with a known key, in words.
    pub(super) unknown: Vec<String>,
    /// A key asks for an encrypted connection that entries do not have.
    pub(super) secure_channel: bool,
    /// Keys that are given more than once.
    pub(super) twice: Vec<&'static str>,
}

impl<'t> Words<'t> {
    /// Takes an entry apart. Of a key that is given more than once, the last one counts.
    pub(super) fn read(entry: &'static str, text: &'t str) -> Self {
        let mut words = Self::default();
        for part in parts(text) {
            match part {
                Part::Other(other) => words.unknown.push(format!("{} is not key=value", shown(text, other))),
                Part::Pair(name, value) => match known(name) {
                    Some(key) => words.take(key, value),
                    None => {
                        words.secure_channel |= keys::asks_for_a_secure_channel(name, value);
                        words.unknown.push(unknown(entry, text, name));
                    }
                },
            }
        }
        words
    }

    fn take(&mut self, key: &'static Key, value: &'t str) {
        if let Some((_, before)) = self.found.iter_mut().find(|(known, _)| known.name == key.name) {
            self.twice.push(key.name);
            *before = value;
        } else {
            self.found.push((key, value));
        }
    }

    /// The value of a key, empty if it is not given.
    pub(super) fn get(&self, name: &str) -> &'t str {
        self.found.iter().find(|(key, _)| key.name == name).map_or("", |(_, value)| value)
    }

    /// All keys that are given, with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Key, &'t str)> {
        self.found.iter().copied()
    }

    /// True when there is no pair at all, not even one that is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.unknown.is_empty()
    }
}

fn all() -> impl Iterator<Item = &'static Key> {
    keys::IDENTITY.iter().chain(keys::PARAMETERS)
}

/// A key by its name in any case; `subsysnqn` is `nqn`.
fn known(name: &str) -> Option<&'static Key> {
    let name = if name.eq_ignore_ascii_case("subsysnqn") { "nqn" } else { name };
    all().find(|key| key.name.eq_ignore_ascii_case(name))
}

fn unknown(entry: &str, text: &str, name: &str) -> String {
    let hint = match nearest(name, all().map(|key| key.name)) {
        Some(meant) => format!("; {meant}= is probably meant"),
        None if ["controller", "exclude"].iter().any(|key| name.eq_ignore_ascii_case(key)) => {
            "; a line that starts with spaces continues the one above".to_owned()
        }
        None => String::new(),
    };
    format!("{} is not a key of {entry}{hint}", shown(text, name))
}

/// A part of an entry, unless there may be a secret in that entry.
fn shown(entry: &str, part: &str) -> String {
    if quoted(entry) == "***" { "***".to_owned() } else { quoted(part) }
}
