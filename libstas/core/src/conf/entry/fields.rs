//! The pairs of one entry, with their keys from the table.

use std::fmt;

use super::pairs::{Part, parts};
use crate::conf::complaints::{Quoted, may_hold_a_secret, quoted};
use crate::conf::keys::{self, Key, Misspelled};
use crate::conf::near_miss::nearest;
use stas_nvme::secret::{WITHHELD, holds_a_secret};

/// A part of an entry that is not a pair with a known key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownPart {
    #[error("{0} is not key=value")]
    NotAPair(Quoted),
    #[error("{name} is not a key of {entry}{hint}")]
    Key { name: Quoted, entry: &'static str, hint: Hint },
}

/// A value that is not a secret contains one. Contains the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} contains a secret; secrets belong in {own}= and {controllers}= (is a ; missing before one?)",
    own = keys::SECRETS[0],
    controllers = keys::SECRETS[1]
)]
pub(super) struct MisplacedSecret(&'static str);

/// What an unknown key was probably meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The most similar known key.
    Key(&'static str),
    /// A new entry: the line is indented and therefore continues the previous one.
    Continued,
    None,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(meant) => write!(f, "; {meant}= is probably meant"),
            Self::Continued => f.write_str("; a line that starts with spaces continues the one above"),
            Self::None => Ok(()),
        }
    }
}

/// The fields of one entry, each a key with a value.
#[derive(Debug, Default)]
pub(super) struct EntryFields<'t> {
    found: Vec<(&'static Key, &'t str)>,
    /// Complaints about parts that are not pairs, or have an unknown key.
    pub(super) unknown: Vec<UnknownPart>,
    /// True if the entry has a key that asks for an encrypted connection and that is not supported.
    pub(super) secure_channel: bool,
    /// True if the entry may mean another controller: it has an unknown part that may identify one, or two values for a
    /// key that identifies one.
    pub(super) is_doubtful: bool,
    /// True if a misspelled key may have a secret.
    pub(super) lacks_secret: bool,
    /// Keys that occur more than once.
    pub(super) twice: Vec<&'static str>,
    /// The place of a secret in a part that takes none. Without the secret the connection would be less secure than
    /// configured, and a name that contains the secret would be shown.
    misplaced_secret: Option<&'static str>,
}

impl<'t> EntryFields<'t> {
    /// Splits an entry into pairs. If a key occurs more than once, the last value counts.
    pub(super) fn read(entry: &'static str, text: &'t str) -> Self {
        let mut fields = Self::default();
        for part in parts(text) {
            fields.find_misplaced_secret(part);
            match part {
                Part::Other(other) => {
                    fields.is_doubtful = true;
                    fields.unknown.push(UnknownPart::NotAPair(shown(text, other)));
                }
                Part::Pair(name, value) => match known(name) {
                    Some(key) => fields.take(key, value),
                    None => {
                        fields.secure_channel |= keys::asks_for_a_secure_channel(name, value);
                        let meant = nearest(name, all().map(|key| key.name));
                        let misspelled = Misspelled::of(meant);
                        fields.is_doubtful |= misspelled == Misspelled::Identity && !keys::is_of_a_secure_channel(name);
                        fields.lacks_secret |= misspelled == Misspelled::Secret;
                        fields.unknown.push(unknown(entry, text, name, meant));
                    }
                },
            }
        }
        fields
    }

    fn find_misplaced_secret(&mut self, part: Part<'t>) {
        let is_secret = |text: &str| holds_a_secret(text) || text.contains(WITHHELD);
        let place = match part {
            Part::Other(other) => is_secret(other).then_some("a part without key="),
            Part::Pair(name, value) => match known(name) {
                Some(key) if keys::SECRETS.contains(&key.name) => None,
                Some(key) => is_secret(value).then_some(key.name),
                // Such a controller is not connected at all, and the value is not shown.
                None if keys::asks_for_a_secure_channel(name, value) => None,
                None => (is_secret(name) || is_secret(value)).then_some("a part with an unknown key"),
            },
        };
        self.misplaced_secret = self.misplaced_secret.or(place);
    }

    /// Why an entry with a misplaced secret is refused.
    pub(super) fn misplaced_secret(&self) -> Option<MisplacedSecret> {
        self.misplaced_secret.map(MisplacedSecret)
    }

    fn take(&mut self, key: &'static Key, value: &'t str) {
        if let Some((_, before)) = self.found.iter_mut().find(|(known, _)| known.name == key.name) {
            self.twice.push(key.name);
            self.is_doubtful |= *before != value && keys::identifies(key.name);
            *before = value;
        } else {
            self.found.push((key, value));
        }
    }

    /// The value of a key. Empty if the key is absent.
    pub(super) fn get(&self, name: &str) -> &'t str {
        self.found.iter().find(|(key, _)| key.name == name).map_or("", |(_, value)| value)
    }

    /// All keys of the entry, with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Key, &'t str)> {
        self.found.iter().copied()
    }

    /// True if the entry has no part, not even an invalid one.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.unknown.is_empty()
    }
}

fn all() -> impl Iterator<Item = &'static Key> {
    keys::IDENTITY.iter().chain(keys::PARAMETERS)
}

/// Finds a key by its name, case-insensitive. `subsysnqn` stands for `nqn`.
fn known(name: &str) -> Option<&'static Key> {
    let name = if name.eq_ignore_ascii_case("subsysnqn") { "nqn" } else { name };
    all().find(|key| key.name.eq_ignore_ascii_case(name))
}

fn unknown(entry: &'static str, text: &str, name: &str, meant: Option<&'static str>) -> UnknownPart {
    let hint = match meant {
        Some(meant) => Hint::Key(meant),
        None if ["controller", "exclude"].iter().any(|key| name.eq_ignore_ascii_case(key)) => Hint::Continued,
        None => Hint::None,
    };
    UnknownPart::Key { name: shown(text, name), entry, hint }
}

/// A part of an entry for a complaint: `***` if the entry may contain a secret.
fn shown(entry: &str, part: &str) -> Quoted {
    if may_hold_a_secret(entry) { Quoted::hidden() } else { quoted(part) }
}
