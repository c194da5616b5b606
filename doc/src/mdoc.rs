//! The language of mdoc(7): macros and escapes.

use std::fmt::{Display, Write as _};

use clap::builder::StyledStr;

/// When the pages last changed in substance.
const DATE: &str = "November 20, 2026";

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    /// Title of a section that is written by hand, and the text that is inserted into it.
    inserted: (&'static str, String),
}

impl Page {
    /// Starts a page with its NAME section.
    pub(crate) fn new(name: &str, section: u8, what: Option<&StyledStr>) -> Self {
        let mut page = Self {
            inserted: ("", String::new()),
            text: ".\\\" Written by `make man`. Its sources are named in doc/src/lib.rs.\n".to_owned(),
        };
        page.line(format_args!(".Dd {DATE}"));
        page.line(format_args!(".Dt {} {section}", name.to_uppercase()));
        page.line(format_args!(".Os nvme\\-stas {}", env!("CARGO_PKG_VERSION")));
        page.section("NAME");
        page.line(format_args!(".Nm {}", literal(name)));
        page.line(format_args!(".Nd {}", prose(&phrase(&what.map(ToString::to_string).unwrap_or_default()))));
        page
    }

    /// Appends a line without escaping.
    pub(crate) fn line(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// Starts a section with this heading.
    pub(crate) fn section(&mut self, name: &str) {
        self.line(format_args!(".Sh {}", literal(name)));
    }

    /// Appends prose. An empty line ends a paragraph; indented lines are kept as they are.
    pub(crate) fn text(&mut self, text: &str) {
        let mut inside = Inside::Nothing;
        let mut gap = false;
        for line in text.lines() {
            if line.trim().is_empty() {
                gap = true;
                continue;
            }
            let indented = line.starts_with("  ");
            match (&inside, indented) {
                (Inside::Display, false) => {
                    self.line(".Ed");
                    self.line(".Pp");
                }
                (Inside::Prose, false) if gap => self.line(".Pp"),
                (Inside::Display, true) if gap => self.line(""),
                (Inside::Prose | Inside::Nothing, true) => self.line(".Bd -literal -offset 2n"),
                _ => {}
            }
            gap = false;
            if indented {
                self.line(literal(line.strip_prefix("  ").unwrap_or(line)));
                inside = Inside::Display;
            } else {
                self.line(prose(line));
                inside = Inside::Prose;
            }
        }
        if matches!(inside, Inside::Display) {
            self.line(".Ed");
        }
    }

    /// Completes the page with the sections that are written by hand. The text of [`Page::insert`] begins its section.
    pub(crate) fn finish(mut self, by_hand: &str) -> String {
        let (section, inserted) = &self.inserted;
        let heading = format!(".Sh {section}\n");
        self.text.push_str(&by_hand.replacen(&heading, &format!("{heading}{inserted}"), 1));
        self.text
    }

    /// Writes text that is inserted into a section which is written by hand.
    pub(crate) fn insert(&mut self, section: &'static str, write: impl FnOnce(&mut Self)) {
        let text = std::mem::take(&mut self.text);
        write(self);
        self.inserted = (section, std::mem::replace(&mut self.text, text));
    }
}

enum Inside {
    Nothing,
    Prose,
    Display,
}

/// Formats text that must appear exactly as typed.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::new();
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            _ => out.push(c),
        }
    }
    out
}

/// Formats prose: text between backticks is set in bold.
pub(crate) fn prose(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            // A space at the start of a line would break it.
            let words: Vec<String> = part.split(' ').map(|word| format!("\\%{}", literal(word))).collect();
            let blank = if part.starts_with(' ') { "\\ " } else { "" };
            out += &format!("\\fB{blank}{}\\fP", words.join(" ").trim_start_matches("\\% "));
        } else {
            let words: Vec<String> = part.split(' ').map(word).collect();
            out += &words.join(" ");
        }
    }
    if out.starts_with('\'') { format!("\\&{out}") } else { out }
}

/// Formats a word of prose. A word that looks like code is not hyphenated.
fn word(text: &str) -> String {
    let typed = text.trim_end_matches(['.', ',', ':', ';']).contains(['=', '/', ':', '-', '.']);
    format!("{}{}", if typed { "\\%" } else { "" }, literal(text).replace("\\(aq", "'"))
}

/// Turns a sentence into a phrase: NAME lines are short and start in lower case.
fn phrase(text: &str) -> String {
    let text = text.split(": ").next().unwrap_or(text);
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + characters.as_str().trim_end_matches('.')
}

/// A sentence ends with a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '?']) { text.to_owned() } else { format!("{text}.") }
}
