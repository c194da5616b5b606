//! Types and ranges of values, and reading values.

use std::collections::BTreeSet;
use std::fmt;

pub use super::complaints::Quoted;
use super::complaints::quoted;
use super::time_span::{self, TimeSpan};

/// Type and range of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// `true` or `false`.
    Bool,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any of these words, joined by `+`.
    AnyOf(&'static [&'static str]),
    /// An integer in a range.
    Number {
        /// Smallest valid value.
        min: i64,
        /// Largest valid value.
        max: i64,
        /// Unit of the number, for messages: `seconds`, `queues`.
        of: &'static str,
    },
    /// A time span. Negative: forever.
    TimeSpan,
    /// `key=value;key=value...`
    Pairs,
    /// Text, or `file:///path`: the first word of that file.
    Source,
    /// Text that the caller checks. Contains its description for messages.
    Text(&'static str),
}

/// A value of a key, after reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Value of [`Values::Bool`].
    Bool(bool),
    /// Value of [`Values::OneOf`]: the word as spelled in the table.
    Word(&'static str),
    /// Value of [`Values::AnyOf`].
    Words(BTreeSet<&'static str>),
    /// Value of [`Values::Number`].
    Number(i64),
    /// Value of [`Values::TimeSpan`].
    TimeSpan(TimeSpan),
    /// Value of [`Values::Source`] that is in a file: absolute path.
    Path(String),
    /// Value of [`Values::Source`] that is not in a file, or of [`Values::Pairs`] or [`Values::Text`].
    Text(String),
}

/// Why a value is not valid. The text says which values are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Another type, or out of the range.
    #[error("{text} is not {expected}{}", if *.with_comment { "; a comment takes a line of its own" } else { "" })]
    Invalid {
        /// The value in the file.
        text: Quoted,
        /// The valid values.
        expected: Values,
        /// True if the value seems to end with a comment.
        with_comment: bool,
    },
    /// Malformed time span.
    #[error("{text} is not {}: {why}", Values::TimeSpan)]
    TimeSpan {
        /// The value in the file.
        text: Quoted,
        /// What is wrong with it.
        why: time_span::Error,
    },
}

impl Values {
    /// Reads a value, which is not empty.
    ///
    /// # Errors
    /// [`ValueError`] if the value has another type or is out of the range.
    pub fn read(self, text: &str) -> Result<Setting, ValueError> {
        let read = match self {
            Self::Bool if text.eq_ignore_ascii_case("true") => Some(Setting::Bool(true)),
            Self::Bool if text.eq_ignore_ascii_case("false") => Some(Setting::Bool(false)),
            Self::Bool => None,
            Self::OneOf(words) => word(text, words).map(Setting::Word),
            Self::AnyOf(words) => {
                text.split('+').map(|part| word(part.trim(), words)).collect::<Option<_>>().map(Setting::Words)
            }
            Self::Number { min, max, .. } => {
                text.parse().ok().filter(|number| (min..=max).contains(number)).map(Setting::Number)
            }
            Self::TimeSpan => match time_span::parse(text) {
                Ok(span) => Some(Setting::TimeSpan(span)),
                Err(why) => return Err(ValueError::TimeSpan { text: quoted(text), why }),
            },
            Self::Source => match text.strip_prefix("file://") {
                Some(path) => path.starts_with('/').then(|| Setting::Path(path.to_owned())),
                None => Some(Setting::Text(text.to_owned())),
            },
            Self::Pairs | Self::Text(_) => Some(Setting::Text(text.to_owned())),
        };
        read.ok_or_else(|| {
            let with_comment = text.contains([' ', '\t']) && text.contains('#');
            ValueError::Invalid { text: quoted(text), expected: self, with_comment }
        })
    }
}

impl Values {
    /// The valid words in a text that may also contain invalid ones. Empty unless this is [`Values::AnyOf`].
    pub(crate) fn valid_words(self, text: &str) -> BTreeSet<&'static str> {
        let Self::AnyOf(words) = self else { return BTreeSet::new() };
        text.split('+').filter_map(|part| word(part.trim(), words)).collect()
    }
}

fn word(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::OneOf(words) => match words.split_last() {
                Some((last, [])) => f.write_str(last),
                Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
                None => Ok(()),
            },
            Self::AnyOf(words) => write!(f, "any of {}, joined by +", words.join(", ")),
            Self::Number { min, max, of } => write!(f, "a whole number of {of} from {min} to {max}"),
            Self::TimeSpan => f.write_str("a time span (72hours, 1 day 12 hours, 90, -1 for no limit)"),
            Self::Pairs => f.write_str("key=value pairs, joined by ;"),
            Self::Source => f.write_str("a value or file:///path, with the path from the root"),
            Self::Text(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_in_any_case() {
        assert_eq!(Values::Bool.read("True"), Ok(Setting::Bool(true)));
        assert_eq!(Values::OneOf(&["keep", "disconnect"]).read("KEEP"), Ok(Setting::Word("keep")));
        assert_eq!(
            Values::AnyOf(&["tcp", "rdma"]).read("RDMA + tcp + rdma"),
            Ok(Setting::Words(["tcp", "rdma"].into()))
        );
    }

    #[test]
    fn a_number_is_whole_and_in_its_range() {
        let values = Values::Number { min: -1, max: 10, of: "seconds" };
        assert_eq!(values.read("-1"), Ok(Setting::Number(-1)));
        for text in ["-2", "11", "1.5", "1 s", "0x5", "NaN", "99999999999999999999"] {
            assert!(
                values.read(text).unwrap_err().to_string().contains("a whole number of seconds from -1 to 10"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        assert_eq!(Values::Bool.read("yes").unwrap_err().to_string(), "\"yes\" is not true or false");
        let words = Values::OneOf(&["a", "b", "c"]);
        assert_eq!(words.read("d").unwrap_err().to_string(), "\"d\" is not a, b or c");
        assert!(Values::AnyOf(&["tcp", "rdma"]).read("tcp+loop").unwrap_err().to_string().contains("any of tcp, rdma"));
        assert!(Values::TimeSpan.read("NaN").unwrap_err().to_string().contains("a number is missing"));
        assert!(Values::Source.read("file://etc/key").unwrap_err().to_string().contains("with the path from the root"));
        assert_eq!(Values::Pairs.to_string(), "key=value pairs, joined by ;");
        assert_eq!(Values::OneOf(&["only"]).to_string(), "only");
        assert_eq!(Values::Text("a name").to_string(), "a name");
    }

    #[test]
    fn a_source_is_a_value_or_a_file() {
        assert_eq!(Values::Source.read("file:///a/b"), Ok(Setting::Path("/a/b".to_owned())));
        assert_eq!(Values::Source.read("nqn.a"), Ok(Setting::Text("nqn.a".to_owned())));
        assert!(Values::Source.read("file://a/b").unwrap_err().to_string().contains("path from the root"));
    }

    #[test]
    fn a_comment_behind_a_value_is_pointed_at() {
        assert!(
            Values::Bool.read("true # why").unwrap_err().to_string().ends_with("a comment takes a line of its own")
        );
    }
}
