//! Describes a configuration file by the comments of the shipped one.
//!
//! The file starts with a comment about itself, followed by `[Section]`s. In each section there is a comment `# key:
//! ...` for each key, and below it the commented-out key with its default, or examples.

use libstas::conf::keys::{self, Key, KeyStatus};

use crate::mdoc::{Page, literal, prose};

/// Generates the page of a file from its shipped text.
pub(crate) fn page(mut page: Page, name: &str, text: &str) -> Page {
    let mut blocks = text.split("\n\n").map(Block::of).peekable();
    page.section("SYNOPSIS");
    page.line(format_args!(".Pa /etc/stas/{}", literal(name)));
    page.section("DESCRIPTION");
    let mut paragraphs = Vec::new();
    while let Some(Block::Comment(comment)) = blocks.next_if(|block| matches!(block, Block::Comment(_))) {
        paragraphs.push(comment);
    }
    let paragraphs = paragraphs.join("\n\n");
    // The page omits paragraphs that concern only the file itself.
    let for_the_page = paragraphs.split("\n\n").filter(|text| !text.contains("remove the # before it"));
    page.text(&about(&for_the_page.collect::<Vec<_>>().join("\n\n")));

    let mut in_section = false;
    for block in blocks {
        match block {
            Block::Section(section) => {
                if in_section {
                    page.line(".El");
                }
                page.section(&section);
                page.line(".Bl -tag -width Ds");
                in_section = true;
            }
            Block::Key { key, comment, lines } => {
                // A key that may be repeated is shown with its examples, any other key with its default.
                let repeats = lines.len() > 1;
                let default = lines.first().filter(|_| !repeats).and_then(|line| line.split_once('='));
                page.line(format_args!(".It Ic {}={}", literal(&key), literal(default.map_or("", |(_, value)| value))));
                page.text(&comment);
                if repeats {
                    page.line(".Bd -literal -offset 2n");
                    lines.iter().for_each(|line| page.line(literal(line)));
                    page.line(".Ed");
                }
            }
            Block::Comment(comment) => page.text(&comment),
        }
    }
    if in_section {
        page.line(".El");
    }
    old_keys(&mut page, name);
    page
}

/// Keys that are still accepted or known, but should no longer be used.
fn old_keys(page: &mut Page, name: &str) {
    let keys = keys::FILES.iter().filter(|(file, _)| *file == name).flat_map(|(_, keys)| *keys);
    let old: Vec<(&Key, String)> = keys
        .filter_map(|key| match key.status {
            KeyStatus::Current => None,
            KeyStatus::Deprecated(instead) => Some((
                key,
                format!("Deprecated: it still takes effect, but each load logs a warning. Write `{instead}` instead."),
            )),
            KeyStatus::Ignored(why) => Some((key, format!("Ignored, with a warning: {why}."))),
        })
        .collect();
    if old.is_empty() {
        return;
    }
    page.section("OLD KEYS");
    page.line(".Bl -tag -width Ds");
    for (key, what) in old {
        page.line(format_args!(".It Ic {} No in Bq {}", literal(key.name), literal(key.section)));
        page.line(prose(&what));
    }
    page.line(".El");
}

/// The block that an empty line ends.
enum Block {
    Section(String),
    Key { key: String, comment: String, lines: Vec<String> },
    Comment(String),
}

impl Block {
    fn of(text: &str) -> Self {
        let text = text.trim_end();
        if let Some(section) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Self::Section(format!("[{section}]"));
        }
        let is_comment =
            |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        let comment: Vec<&str> = text.lines().take_while(is_comment).collect();
        let lines: Vec<String> =
            text.lines().skip(comment.len()).map(|line| line.trim_start_matches('#').to_owned()).collect();
        let comment: Vec<&str> = comment.iter().map(|line| line.trim_start_matches('#')).collect();
        let comment: Vec<&str> = comment.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let comment = comment.join("\n").replace("-\n", "-");
        match comment.split_once(": ") {
            Some((key, comment)) if !lines.is_empty() => {
                Self::Key { key: key.to_owned(), comment: first_up(comment), lines }
            }
            _ => Self::Comment(comment),
        }
    }
}

/// The comment about the file, without the name of the file at its start.
fn about(comment: &str) -> String {
    comment.split_once(": ").map_or_else(|| comment.to_owned(), |(_, text)| first_up(text))
}

fn first_up(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + characters.as_str()
}
