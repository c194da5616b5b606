//! Reads a file by its table of keys, and complains about everything else in it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::complaints::{Complaints, quoted};
use super::ini::{self, SectionHeader};
use super::keys::{self, Key, KeyStatus};
use super::near_miss::nearest;
use super::types::{Complaint, Severity};
use super::value::{Setting, Values};

/// One value in a file. Empty: the default applies.
#[derive(Clone, Copy, Debug)]
struct Given<'t> {
    key: &'static Key,
    line: usize,
    text: &'t str,
    /// True if the value is on a continuation line of its key.
    continues: bool,
}

/// A configuration file, read by its table of keys.
#[derive(Debug)]
pub(crate) struct KeyedFile<'t> {
    text: &'t [u8],
    keys: &'static [Key],
    given: Vec<Given<'t>>,
    complaints: Complaints,
    /// The first line that may have been a `controller=` and could not be read.
    lost_line: Option<usize>,
    /// The first line with an unsupported key that asks for an encrypted connection.
    secure_channel: Option<usize>,
}

impl<'t> KeyedFile<'t> {
    /// Reads a file. Anything that is not in the table causes one complaint and is ignored.
    pub(crate) fn read(text: &'t [u8], file: &str, keys: &'static [Key]) -> Self {
        let document = ini::parse(text);
        let complaints = Complaints::new(file);
        let mut settings = Self { text, keys, given: Vec::new(), complaints, lost_line: None, secure_channel: None };
        for (line, problem) in document.problems {
            settings.note_unreadable_line(line);
            settings.complaints.error(line, format!("{problem}; it is ignored"));
        }
        for section in document.sections {
            match section.place {
                SectionHeader::Unreadable => section.pairs.iter().for_each(|pair| settings.note_security(pair)),
                SectionHeader::Nowhere => section.pairs.iter().for_each(|pair| {
                    let severity = settings.note_ignored_controller(pair);
                    settings.note_security(pair);
                    let text = || format!("{}= stands before the first [Section]; it is ignored", plain(pair.key));
                    settings.complaints.not_in_table(pair.line, severity, text);
                }),
                SectionHeader::In(name) => match section_of(keys, name) {
                    Some(known) => section.pairs.into_iter().for_each(|pair| settings.take(known, pair)),
                    None => {
                        let mut severity = Severity::Unknown;
                        for pair in &section.pairs {
                            severity = severity.max(settings.note_ignored_controller(pair));
                            settings.note_security(pair);
                        }
                        settings.complaints.not_in_table(section.line, severity, || unknown_section(keys, name));
                    }
                },
            }
        }
        settings.complain_of_status();
        settings
    }

    fn take(&mut self, section: &'static str, pair: ini::Pair<'t>) {
        let Some(key) = in_section(self.keys, section).find(|key| key.name.eq_ignore_ascii_case(pair.key)) else {
            let severity = self.note_ignored_controller(&pair);
            self.note_security(&pair);
            self.complaints.not_in_table(pair.line, severity, || unknown_key(self.keys, section, pair.key));
            return;
        };
        self.note_ignored_controllers_below(&pair);
        self.given.push(Given { key, line: pair.line, text: pair.value, continues: false });
        let more = pair.more.into_iter();
        self.given.extend(more.map(|(line, text)| Given { key, line, text, continues: true }));
    }

    /// Warns once about each key that is deprecated or has no effect, even if it occurs several times.
    fn complain_of_status(&mut self) {
        for key in self.keys {
            let Some(first) = self.given.iter().find(|given| given.key.is(key)) else { continue };
            let text = match key.status {
                KeyStatus::Current => continue,
                KeyStatus::Deprecated(instead) => format!("is deprecated; write {instead} instead"),
                KeyStatus::Ignored(why) => format!("is ignored: {why}"),
            };
            self.complaints.warning(first.line, format!("[{}] {}= {text}", key.section, key.name));
        }
    }

    /// True if the file contains the key.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.given.iter().any(|given| given.key.is(key))
    }

    /// True if the file gives the key a value, valid or not.
    pub(crate) fn has_value(&self, key: &Key) -> bool {
        self.last(key).is_some_and(|given| !given.text.is_empty())
    }

    /// The last line of the file that begins the key.
    fn last(&self, key: &Key) -> Option<&Given<'t>> {
        self.given.iter().rfind(|given| given.key.is(key) && !given.continues)
    }

    /// The lines that begin no key of the table, with their numbers: misspelled, misplaced, indented and unreadable
    /// ones, and section headers. Without comments.
    pub(crate) fn other_lines(&self) -> impl Iterator<Item = (usize, Cow<'t, str>)> {
        let keys: BTreeSet<usize> =
            self.given.iter().filter(|given| !given.continues).map(|given| given.line).collect();
        let lines = (1..).zip(ini::lines(self.text).zip(self.text.split(|byte| *byte == b'\n')));
        let others = lines.filter(move |(line, (content, _))| {
            !matches!(content, ini::SourceLine::Comment(_)) && !keys.contains(line)
        });
        others.map(|(line, (_, bytes))| (line, String::from_utf8_lossy(bytes)))
    }

    /// The first line with an unsupported key that asks for an encrypted connection.
    pub(crate) fn secure_channel(&self) -> Option<usize> {
        self.secure_channel
    }

    /// The line that sets the key. 0 if the file does not.
    pub(crate) fn line(&self, key: &Key) -> usize {
        self.last(key).map_or(0, |given| given.line)
    }

    /// Complains about a line that applies, but with another effect than written.
    pub(crate) fn warning(&mut self, line: usize, text: String) {
        self.complaints.warning(line, text);
    }

    /// Complains about a line that is ignored.
    pub(crate) fn error(&mut self, line: usize, text: String) {
        self.complaints.error(line, text);
    }

    /// The value of a key that takes one value: the last value in the file, else the default. `None` if the key has no
    /// default.
    pub(crate) fn value(&mut self, key: &Key) -> Option<Setting> {
        let key = self.keys.iter().find(|known| known.is(key))?;
        let default = || Some(key.default).filter(|text| !text.is_empty()).and_then(|text| key.values.read(text).ok());
        let last = self.last(key).copied();
        for extra in self.given.iter().filter(|given| given.key.is(key) && given.continues) {
            let text = format!(
                "the line is indented, so it continues [{}] {}=, which has one value; it is ignored, start the line \
                 without spaces",
                key.section, key.name
            );
            self.complaints.warning(extra.line, text);
        }
        let Some(Given { line, text, .. }) = last.filter(|given| !given.text.is_empty()) else { return default() };
        let error = match key.values.read(text) {
            Ok(setting) => return Some(setting),
            Err(error) => error,
        };
        if let Some((_, safe)) = SAFE_WORDS.iter().find(|(safe, _)| key.is(safe)) {
            self.complaints.error(line, format!("[{}] {}: {error}; it is treated as {safe}", key.section, key.name));
            return Some(Setting::Word(safe));
        }
        match key.values {
            // The default may be a word that is not in the file: use the valid words instead.
            Values::AnyOf(_) => {
                let valid = key.values.valid_words(text);
                let used = match valid.len() {
                    0 => "none of its words is valid, so no value is used".to_owned(),
                    _ => format!("only {} is used", valid.iter().copied().collect::<Vec<_>>().join("+")),
                };
                self.complaints.warning(line, format!("[{}] {}: {error}; {used}", key.section, key.name));
                Some(Setting::Words(valid))
            }
            _ => {
                let default_words = match key.default {
                    "" => "its default".to_owned(),
                    words => format!("the default {words}"),
                };
                let text = format!("[{}] {}: {error}; {default_words} is used", key.section, key.name);
                self.complaints.warning(line, text);
                default()
            }
        }
    }

    /// As [`KeyedFile::value`], for a key with [`super::value::Values::Bool`].
    pub(crate) fn flag(&mut self, key: &Key) -> bool {
        matches!(self.value(key), Some(Setting::Bool(true)))
    }

    /// As [`KeyedFile::value`], for a key with [`super::value::Values::Number`] that has a default.
    pub(crate) fn maximum(&mut self, key: &Key) -> usize {
        match self.value(key) {
            Some(Setting::Number(number)) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => usize::MAX,
        }
    }

    /// As [`KeyedFile::value`], for a key with [`super::value::Values::OneOf`].
    pub(crate) fn word(&mut self, key: &Key) -> &'static str {
        if let Some(Setting::Word(word)) = self.value(key) { word } else { "" }
    }

    /// Reads all values of keys that may repeat, in the order of the file. `read` returns `None` for a value that is
    /// refused.
    pub(crate) fn entries<E>(
        &mut self,
        keys: &[&Key],
        mut read: impl FnMut(&str, usize, &mut Complaints) -> Option<E>,
    ) -> Vec<E> {
        let given = self.given.iter().filter(|given| keys.iter().any(|key| given.key.is(key)));
        given.filter_map(|given| read(given.text, given.line, &mut self.complaints)).collect()
    }

    /// Reads all `controller=`. The second value is the first line that is a `controller=`, or may have been one, and
    /// could not be read.
    pub(crate) fn controllers<E>(
        &mut self,
        mut read: impl FnMut(&str, usize, &mut Complaints) -> Option<E>,
    ) -> (Vec<E>, Option<usize>) {
        let mut lost = self.lost_line;
        let controllers = self.entries(&[&keys::CONTROLLER], |text, line, complaints| {
            let entry = read(text, line, complaints);
            if (entry.is_none() || complaints.is_doubtful(line)) && !text.is_empty() {
                lost = lost.into_iter().chain([line]).min();
            }
            entry
        });
        (controllers, lost)
    }

    /// Records a line that may be a `controller=` and cannot be read.
    fn note_unreadable_line(&mut self, line: usize) {
        self.lost_line = self.lost_line.into_iter().chain([line]).min();
    }

    /// Records that an ignored pair may be a `controller=`. Returns the severity of its complaint.
    fn note_ignored_controller(&mut self, pair: &ini::Pair<'_>) -> Severity {
        self.note_ignored_controllers_below(pair);
        if !may_be_controller(pair.key) {
            return Severity::Unknown;
        }
        self.note_unreadable_line(pair.line);
        Severity::Refused
    }

    /// Records indented `controller=` lines: they continue the key above them, so their controllers are not listed.
    fn note_ignored_controllers_below(&mut self, pair: &ini::Pair<'_>) {
        let is_one = |text: &str| text.split_once('=').is_some_and(|(key, _)| may_be_controller(key.trim()));
        if let Some((line, _)) = pair.more.iter().find(|(_, text)| is_one(text)) {
            self.note_unreadable_line(*line);
        }
    }

    /// Records a line without effect that asks for encrypted connections.
    fn note_security(&mut self, pair: &ini::Pair<'_>) {
        if keys::asks_for_a_secure_channel(pair.key, pair.value) {
            self.secure_channel.get_or_insert(pair.line);
        }
    }

    /// The complaints about the file, sorted by line.
    pub(crate) fn into_complaints(self) -> Vec<Complaint> {
        self.complaints.into_vec()
    }
}

/// What an invalid value means, if not the default: a connection is never less secure than configured, the invalid word
/// may mean `no-disconnect`, and a log page does not list less than configured.
const SAFE_WORDS: [(Key, &str); 3] =
    [(keys::TLS, "true"), (keys::DISCONNECT_SCOPE, NO_DISCONNECT), (keys::PLEO, "disabled")];

/// The value of `disconnect-scope` that disconnects nothing.
pub(super) const NO_DISCONNECT: &str = "no-disconnect";

/// True if the key is `controller`, or was probably meant to be.
fn may_be_controller(key: &str) -> bool {
    // Without a `=` after `controller` (`controller: transport=tcp`), the parser splits at the `=` of `transport=`.
    let first_word = key.split(|c: char| c == ':' || c.is_whitespace()).next().unwrap_or(key);
    [key, first_word].iter().any(|word| nearest(word, [keys::CONTROLLER.name]).is_some())
}

/// A key for a complaint: without quotes if it is a plain word.
fn plain(key: &str) -> String {
    let quotes = quoted(key);
    match quotes.as_str().trim_matches('"') {
        bare if bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') => bare.to_owned(),
        _ => quotes.to_string(),
    }
}

fn in_section(keys: &'static [Key], section: &str) -> impl Iterator<Item = &'static Key> {
    keys.iter().filter(move |key| key.section == section)
}

/// Finds a section of the table by its name. Case and the number of spaces are ignored.
fn section_of(keys: &'static [Key], name: &str) -> Option<&'static str> {
    let words = |text: &str| text.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let name = words(name);
    keys.iter().map(|key| key.section).find(|section| words(section) == name)
}

fn unknown_section(keys: &'static [Key], name: &str) -> String {
    let elsewhere = || keys::FILES.iter().find(|(_, keys)| section_of(keys, name).is_some());
    let hint = if let Some(meant) = nearest(name, keys.iter().map(|key| key.section)) {
        format!("; [{meant}] is probably meant")
    } else if let Some((file, _)) = elsewhere() {
        format!("; it is one of {file}")
    } else {
        String::new()
    };
    format!("[{}] is not a section of this file, and all its keys are ignored{hint}", plain_section(name))
}

fn plain_section(name: &str) -> String {
    quoted(name).as_str().trim_matches('"').to_owned()
}

fn unknown_key(keys: &'static [Key], section: &str, name: &str) -> String {
    let named = |key: &&Key| key.name.eq_ignore_ascii_case(name) && key.status == KeyStatus::Current;
    let near = |section: &str| {
        nearest(name, in_section(keys, section).filter(|key| key.status == KeyStatus::Current).map(|key| key.name))
    };
    let current = || keys.iter().filter(|key| key.status == KeyStatus::Current);
    let elsewhere = || keys::FILES.iter().find(|(_, keys)| keys.iter().any(|key| named(&key)));
    let hint = if let Some(key) = keys.iter().find(named) {
        format!("; it belongs in [{}]", key.section)
    } else if keys::IDENTITY.iter().any(|key| named(&key)) {
        "; it belongs on a controller= line".to_owned()
    } else if let Some((file, _)) = elsewhere() {
        format!("; it is a key of {file}")
    } else if let Some(meant) = near(section) {
        format!("; {meant}= is probably meant")
    } else if let Some(meant) = nearest(name, current().map(|key| key.name)) {
        let section = current().find(|key| key.name == meant).map_or("", |key| key.section);
        format!("; {meant}= of [{section}] is probably meant")
    } else {
        String::new()
    };
    format!("{}= is not a key of [{section}] and is ignored{hint}", plain(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::conf::keys::{KATO, STACD, STAFD, TRON};

    fn complaints(text: &str) -> Vec<String> {
        let settings = KeyedFile::read(text.as_bytes(), "f", STAFD);
        settings.into_complaints().iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn complaint(text: &str) -> String {
        let found = complaints(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn the_last_of_several_values_counts_even_from_a_section_that_repeats() {
        let mut settings = KeyedFile::read(b"[Global]\nkato=1\n[Controllers]\n[GLOBAL]\nKATO=2", "f", STAFD);
        assert_eq!(settings.value(&KATO), Some(Setting::Number(2)));
        assert_eq!(settings.into_complaints(), []);
    }

    #[test]
    fn a_bad_value_is_one_warning_with_section_key_and_value_and_the_default_is_used() {
        let mut settings = KeyedFile::read(b"[Global]\n\nkato=soon", "f", STAFD);
        assert_eq!(settings.value(&KATO), Some(Setting::Number(30)));
        let found = settings.into_complaints();
        assert_eq!(found.len(), 1);
        assert!(!found[0].severity.is_error());
        assert_eq!(
            found[0].to_string(),
            "f:3: [Global] kato: \"soon\" is not a whole number of seconds from 1 to 4294967; the default 30 is used"
        );
    }

    #[test]
    fn an_empty_value_is_the_default() {
        let mut settings = KeyedFile::read(b"[Global]\nkato=9\nkato=\n", "f", STAFD);
        assert_eq!(settings.value(&KATO), Some(Setting::Number(30)));
        assert_eq!(settings.into_complaints(), []);
        assert_eq!(KeyedFile::read(b"[Global]\nkato=", "f", STACD).value(&KATO), None);
    }

    #[test]
    fn a_second_line_of_a_single_value_is_pointed_at() {
        let mut settings = KeyedFile::read(b"[Global]\nkato=9\n  tron=true\n", "f", STAFD);
        assert_eq!(settings.value(&KATO), Some(Setting::Number(9)));
        assert!(!settings.flag(&TRON));
        let found = settings.into_complaints();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 3);
        assert!(found[0].text.contains("start the line without spaces"), "{found:?}");
    }

    #[test]
    fn an_unknown_section_is_one_error_however_much_it_holds() {
        let found = complaint("[Nonsense]\nkato=1\ntron=2\n");
        assert_eq!(found, "f:1: [Nonsense] is not a section of this file, and all its keys are ignored");
    }

    #[test]
    fn a_section_that_is_nearly_right_or_of_another_file_is_reported() {
        assert!(complaint("[Contrllers]").ends_with("[Controllers] is probably meant"));
        assert!(complaint("[i/o controller connection management]").ends_with("it is one of stacd.conf"));
        assert!(complaint("[Host]").ends_with("it is one of sys.conf"));
    }

    #[test]
    fn sections_and_keys_are_taken_in_any_case() {
        assert_eq!(complaints("[global]\nKato=1\n[SERVICE   DISCOVERY]\nZeroConf=enabled"), [""; 0]);
    }

    #[test]
    fn an_unknown_key_is_one_error_that_knows_better() {
        for (text, hint) in [
            ("[Global]\nkatoo=1", "katoo= is not a key of [Global] and is ignored; kato= is probably meant"),
            ("[Global]\nhdr_digest=true", "hdr-digest= is probably meant"),
            ("[Global]\nzeroconf=enabled", "it belongs in [Service Discovery]"),
            ("[Controllers]\ntron=true", "it belongs in [Global]"),
            ("[Global]\nin-use=keep", "it is a key of stacd.conf"),
            ("[Global]\ntransport=tcp", "it belongs on a controller= line"),
            ("[Global]\nzerocnf=enabled", "zeroconf= of [Service Discovery] is probably meant"),
            ("[Global]\nnonsense=1", "nonsense= is not a key of [Global] and is ignored"),
        ] {
            let found = complaint(text);
            assert!(found.starts_with("f:2: ") && found.ends_with(hint), "{found}");
        }
    }

    #[test]
    fn a_key_before_any_section_is_an_error() {
        assert_eq!(complaint("kato=1"), "f:1: kato= stands before the first [Section]; it is ignored");
    }

    #[test]
    fn a_key_that_is_a_secret_is_not_shown() {
        assert!(
            complaint("[Global]\nDHHC-1:00:abcdef==").starts_with("f:2: ***= is not"),
            "{:?}",
            complaints("[Global]\nDHHC-1:00:abcdef==")
        );
    }

    #[test]
    fn a_deprecated_or_void_key_is_one_warning_however_often() {
        let found = complaint("[Controllers]\nblacklist=transport=fc\nblacklist=transport=loop\n");
        assert_eq!(found, "f:2: [Controllers] blacklist= is deprecated; write exclude instead");
        let found = complaint("[Global]\nnr-io-queues=4\n");
        assert_eq!(found, "f:2: [Global] nr-io-queues= is ignored: discovery controllers have no I/O queues");
    }

    #[test]
    fn every_default_is_a_value_of_its_key() {
        for (file, keys) in keys::FILES {
            for key in *keys {
                assert!(key.default.is_empty() || key.values.read(key.default).is_ok(), "{file} {}", key.name);
                assert!(!key.doc.is_empty());
            }
        }
    }

    #[test]
    fn no_key_is_in_a_table_twice() {
        for (file, keys) in keys::FILES {
            for (index, key) in keys.iter().enumerate() {
                assert!(!keys[..index].iter().any(|other| other.is(key)), "{file} {}", key.name);
            }
        }
    }
}
