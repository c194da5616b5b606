//! The INI dialect: splits a file into sections and pairs without interpreting them.
//!
//! `[Section]`; `key=value`, with optional spaces around `=`; a line that starts with `#` or `;` is a comment; a line
//! that is indented deeper than its key continues it. Repeated sections and keys are kept in order, with their lines.

/// Longest line that is read, in bytes.
pub const LINE_MAX: usize = 16 << 10;

/// Why a line could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The line is longer than [`LINE_MAX`]. Length in bytes.
    TooLong(usize),
    /// The line is not UTF-8.
    NotUtf8,
    /// The line contains a control character.
    Control,
    /// A `[` without `]`, or with nothing between them.
    Section,
    /// The line is neither a section nor `key=value`.
    NoValue,
    /// The line continues a key whose own line cannot be read.
    Orphan,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "the line is {bytes} bytes long, at most {LINE_MAX} are read"),
            Self::NotUtf8 => f.write_str("the line is not UTF-8 text"),
            Self::Control => f.write_str("the line contains a control character"),
            Self::Section => f.write_str("a section is written [Name]"),
            Self::NoValue => f.write_str("the line is neither [Section] nor key=value"),
            Self::Orphan => f.write_str("the line is indented, so it continues the one above, which cannot be read"),
        }
    }
}

/// What one line of a file contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLine<'t> {
    /// An empty line or a comment: the text after `#` or `;`, empty if it is not UTF-8.
    Comment(&'t str),
    /// `[name]`
    Section(&'t str),
    /// `key=value`, both trimmed.
    Pair(&'t str, &'t str),
    /// Continues the value of the pair above.
    Continuation(&'t str),
    /// The line cannot be read.
    Problem(Problem),
}

/// What a continuation line would continue.
#[derive(Clone, Copy, Debug)]
enum Above {
    Nothing,
    Key { indent: usize },
    Unreadable { indent: usize },
}

/// Splits a text into its lines, in order: the N-th item is line N, counted from 1.
pub fn lines(text: &[u8]) -> impl Iterator<Item = SourceLine<'_>> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut above = Above::Nothing;
    text.split(|byte| *byte == b'\n').map(move |line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (read, next) = classify(line, above);
        above = next;
        read
    })
}

fn classify(line: &[u8], above: Above) -> (SourceLine<'_>, Above) {
    let content = line.trim_ascii_start();
    let indent = line.len() - content.len();
    if let [] | [b'#' | b';', ..] = content {
        let behind = content.get(1..).unwrap_or_default();
        return (SourceLine::Comment(std::str::from_utf8(behind).unwrap_or_default().trim()), above);
    }
    let content = match text_of(content) {
        Ok(content) => content,
        Err(problem) => return (SourceLine::Problem(problem), Above::Unreadable { indent }),
    };
    if content.starts_with('[') {
        return match section_name(content) {
            Some(name) => (SourceLine::Section(name), Above::Nothing),
            None => (SourceLine::Problem(Problem::Section), Above::Unreadable { indent }),
        };
    }
    match above {
        Above::Key { indent: key } if indent > key => (SourceLine::Continuation(content), above),
        Above::Unreadable { indent: key } if indent > key => (SourceLine::Problem(Problem::Orphan), above),
        _ => match content.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                (SourceLine::Pair(key.trim(), value.trim()), Above::Key { indent })
            }
            _ => (SourceLine::Problem(Problem::NoValue), Above::Unreadable { indent }),
        },
    }
}

fn text_of(content: &[u8]) -> Result<&str, Problem> {
    if content.len() > LINE_MAX {
        return Err(Problem::TooLong(content.len()));
    }
    let text = std::str::from_utf8(content).map_err(|_| Problem::NotUtf8)?;
    match text.chars().any(|character| character.is_control() && character != '\t') {
        true => Err(Problem::Control),
        false => Ok(text.trim()),
    }
}

/// The name in `[name]`. Text after the `]` is ignored.
fn section_name(content: &str) -> Option<&str> {
    let (name, _) = content.strip_prefix('[')?.split_once(']')?;
    Some(name.trim()).filter(|name| !name.is_empty())
}

/// The section to which a pair belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionHeader<'t> {
    /// The pair is before the first section.
    Nowhere,
    /// The line of the section header cannot be read.
    Unreadable,
    /// `[name]`
    In(&'t str),
}

/// A section and its pairs. Sections with the same name are not merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'t> {
    /// Name of the section, if it has a readable one.
    pub place: SectionHeader<'t>,
    /// Line of the section header, counted from 1. 0 for pairs before the first section.
    pub line: usize,
    /// Pairs of the section, in order. Repeated keys are kept.
    pub pairs: Vec<Pair<'t>>,
}

/// `key=value` and its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'t> {
    /// Line of the key, counted from 1.
    pub line: usize,
    /// Key as written in the file, in any case.
    pub key: &'t str,
    /// The value on the line of the key.
    pub value: &'t str,
    /// Continuation lines: line number and text.
    pub more: Vec<(usize, &'t str)>,
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'t> {
    /// Sections in order. The first has the pairs before any section header.
    pub sections: Vec<Section<'t>>,
    /// Lines that cannot be read, with their line numbers. They do not affect the other lines.
    pub problems: Vec<(usize, Problem)>,
}

/// Reads a whole file.
#[must_use]
pub fn parse(text: &[u8]) -> Document<'_> {
    let mut problems = Vec::new();
    let mut sections = Vec::new();
    let mut section = Section { place: SectionHeader::Nowhere, line: 0, pairs: Vec::new() };
    for (line, content) in (1..).zip(lines(text)) {
        let place = match content {
            SourceLine::Comment(_) => continue,
            SourceLine::Pair(key, value) => {
                section.pairs.push(Pair { line, key, value, more: Vec::new() });
                continue;
            }
            SourceLine::Continuation(value) => {
                if let Some(pair) = section.pairs.last_mut() {
                    pair.more.push((line, value));
                }
                continue;
            }
            SourceLine::Problem(problem) => {
                problems.push((line, problem));
                if problem != Problem::Section {
                    continue;
                }
                SectionHeader::Unreadable
            }
            SourceLine::Section(name) => SectionHeader::In(name),
        };
        sections.push(std::mem::replace(&mut section, Section { place, line, pairs: Vec::new() }));
    }
    sections.push(section);
    Document { sections, problems }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(usize, String, Vec<String>)> {
        let document = parse(text.as_bytes());
        assert_eq!(document.problems, [], "{text}");
        let pairs = document.sections.into_iter().flat_map(|section| section.pairs);
        pairs
            .map(|pair| {
                let values = std::iter::once(pair.value).chain(pair.more.into_iter().map(|(_, value)| value));
                (pair.line, pair.key.to_owned(), values.map(str::to_owned).collect())
            })
            .collect()
    }

    fn problems(text: &[u8]) -> Vec<(usize, Problem)> {
        parse(text).problems
    }

    fn keys(text: &[u8]) -> Vec<String> {
        parse(text).sections.iter().flat_map(|section| &section.pairs).map(|pair| pair.key.to_owned()).collect()
    }

    #[test]
    fn spaces_around_the_equals_sign_do_not_count() {
        assert_eq!(pairs("[A]\nkey \t=  a value \r\n"), [(2, "key".into(), vec!["a value".into()])]);
    }

    #[test]
    fn only_the_first_equals_sign_divides() {
        assert_eq!(pairs("[A]\nkey=a=b=="), [(2, "key".into(), vec!["a=b==".into()])]);
    }

    #[test]
    fn a_comment_starts_with_a_hash_or_a_semicolon_and_may_be_indented() {
        assert_eq!(pairs("# a\n; b\n[A]\n   # c\n\t;d=e\n"), []);
    }

    #[test]
    fn a_comment_may_hold_any_bytes_and_be_of_any_length() {
        let long = [b"# ".to_vec(), vec![b'x'; 1 << 20], b"\n# \xff\x00\n[A]\nkey=1\n".to_vec()].concat();
        assert_eq!(problems(&long), []);
        assert_eq!(keys(&long), ["key"]);
    }

    #[test]
    fn keys_repeat_in_order_and_keep_their_lines() {
        let found = pairs("[A]\nc=1\n\nd=2\nc=3\n");
        assert_eq!(
            found.iter().map(|(line, key, _)| (*line, key.as_str())).collect::<Vec<_>>(),
            [(2, "c"), (4, "d"), (5, "c")]
        );
    }

    #[test]
    fn a_line_indented_deeper_than_its_key_continues_it() {
        let found = pairs("[A]\nc=1\n  2\n\n  # between\n  3=4\nd=5\n");
        assert_eq!(
            found,
            [(2, "c".into(), vec!["1".into(), "2".into(), "3=4".into()]), (7, "d".into(), vec!["5".into()])]
        );
    }

    #[test]
    fn a_file_that_is_indented_as_a_whole_has_no_continuations() {
        assert_eq!(pairs("[A]\n  c=1\n  d=2\n e=3").len(), 3);
    }

    #[test]
    fn a_section_is_one_however_far_it_is_indented() {
        let document = parse(b"[A]\nc=1\n    [B]\nd=2\n");
        let places: Vec<_> = document.sections.iter().map(|section| section.place).collect();
        assert_eq!(places, [SectionHeader::Nowhere, SectionHeader::In("A"), SectionHeader::In("B")]);
    }

    #[test]
    fn what_follows_a_section_on_its_line_does_not_count() {
        assert_eq!(parse(b"[ A b ] # note\n").sections[1].place, SectionHeader::In("A b"));
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_first_section() {
        assert_eq!(parse("\u{feff}[A]\n".as_bytes()).sections[1].place, SectionHeader::In("A"));
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_that_line() {
        let long = vec![b'x'; 1 << 20];
        let text = [b"[A]\na=\xff\nb=1\nkey=".as_slice(), &long, b"\nc=2\nd=\x001\nword\ne=3\n=4"].concat();
        assert_eq!(
            problems(&text),
            [
                (2, Problem::NotUtf8),
                (4, Problem::TooLong((1 << 20) + 4)),
                (6, Problem::Control),
                (7, Problem::NoValue),
                (9, Problem::NoValue)
            ]
        );
        assert_eq!(keys(&text), ["b", "c", "e"]);
    }

    #[test]
    fn continuation_lines_of_an_unreadable_line_are_ignored() {
        let text = b"[A]\nexclude=1\ncontroller=\xff\n  2\nkato=3\n";
        assert_eq!(problems(text), [(3, Problem::NotUtf8), (4, Problem::Orphan)]);
        assert!(parse(text).sections.iter().flat_map(|section| &section.pairs).all(|pair| pair.more.is_empty()));
    }

    #[test]
    fn keys_below_an_unreadable_section_do_not_fall_to_the_one_above() {
        let document = parse(b"[A]\na=1\n[B\nb=2\n[]\nc=3\n");
        assert_eq!(document.problems, [(3, Problem::Section), (5, Problem::Section)]);
        let places: Vec<_> = document.sections.iter().map(|section| (section.place, section.pairs.len())).collect();
        let unreadable = (SectionHeader::Unreadable, 1);
        assert_eq!(places, [(SectionHeader::Nowhere, 0), (SectionHeader::In("A"), 1), unreadable, unreadable]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>) {
            let count = text.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!(lines(&text).count() <= count);
            let document = parse(&text);
            prop_assert!(document.problems.iter().all(|(line, _)| (1..=count).contains(line)));
        }

        #[test]
        fn what_is_written_is_read_back(
            written in prop::collection::vec(("[A-Za-z][a-z/ -]{0,10}[a-z]", prop::collection::vec(
                ("[a-z][a-z-]{0,10}", "([!-~]([ -~]{0,20}[!-~])?)?", prop::collection::vec("[a-zA-Z0-9][!-~]{0,10}", 0..3)),
                0..5
            )), 0..4)
        ) {
            let mut text = String::new();
            for (name, pairs) in &written {
                text += &format!("\n# about {name}\n[{name}]\n");
                for (key, value, more) in pairs {
                    text += &format!("{key} = {value}\n");
                    more.iter().for_each(|line| text += &format!("   {line}\n; a note\n"));
                }
            }
            let document = parse(text.as_bytes());
            prop_assert_eq!(&document.problems, &[]);
            prop_assert_eq!(document.sections.len(), written.len() + 1);
            for (read, (name, pairs)) in document.sections.iter().skip(1).zip(&written) {
                prop_assert_eq!(read.place, SectionHeader::In(name.as_str()));
                let read: Vec<_> = read.pairs.iter().map(|pair| {
                    (pair.key.to_owned(), pair.value.to_owned(), pair.more.iter().map(|(_, text)| (*text).to_owned()).collect::<Vec<_>>())
                }).collect();
                prop_assert_eq!(&read, pairs);
            }
        }
    }
}
