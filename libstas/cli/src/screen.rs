//! The terminal on which an answer is shown, and texts that are shortened to its width.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};

use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Width of a terminal that does not tell it, in columns.
const USUAL_WIDTH: usize = 80;

/// How wide a line may be, and which characters it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Number of columns. `None`: nothing is shortened.
    pub width: Option<usize>,
    /// True if characters other than ASCII can be shown.
    pub utf8: bool,
}

impl Screen {
    /// A file, a pipe, or `--full`: nothing is shortened.
    pub const ENDLESS: Self = Self { width: None, utf8: false };

    /// Standard output. `full`: nothing is shortened, also on a terminal.
    #[must_use]
    pub fn of_stdout(full: bool) -> Self {
        let width = (!full && io::stdout().is_terminal()).then(|| {
            let columns = terminal_size_of(io::stdout()).map(|(Width(columns), _)| usize::from(columns));
            columns.filter(|columns| *columns > 0).unwrap_or(USUAL_WIDTH)
        });
        Self { width, utf8: has_utf8(|name| std::env::var(name).ok()) }
    }

    /// As this one, with lines that begin after `columns`.
    #[must_use]
    pub fn indented(self, columns: usize) -> Self {
        Self { width: self.width.map(|width| width.saturating_sub(columns)), ..self }
    }

    /// What stands for the characters that were left out.
    #[must_use]
    pub fn ellipsis(self) -> &'static str {
        if self.utf8 { "…" } else { ".." }
    }

    /// Shortens a text to the width, in its middle.
    #[must_use]
    pub fn fit(self, text: &str) -> String {
        match self.width {
            Some(width) if text.width() > width => Cut { width, ellipsis: self.ellipsis() }.around_the_middle(text),
            _ => text.to_owned(),
        }
    }

    /// Breaks a text between words into lines that fit. A longer word is shortened in its middle.
    #[must_use]
    pub fn wrap(self, text: &str) -> Vec<String> {
        let Some(width) = self.width else { return vec![text.to_owned()] };
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let word = self.fit(word);
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&word),
                Some(line) if line.width() + 1 + word.width() <= width => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
        }
        lines
    }

    /// Shortens the texts of a column to `width`. Texts that differ are shown differently: where the middle of several
    /// texts would look the same, the part in which they differ is shown. What still looks the same is not shortened.
    #[must_use]
    pub fn shorten(self, texts: &[&str], width: usize) -> Vec<String> {
        let cut = Cut { width, ellipsis: self.ellipsis() };
        let mut shown: BTreeMap<&str, String> = BTreeMap::new();
        for text in texts {
            let short = if text.width() > width { cut.around_the_middle(text) } else { (*text).to_owned() };
            shown.insert(text, short);
        }
        // The part begins before the difference. If texts still look the same, it begins elsewhere.
        for quarters_before in [2, 3, 1, 0] {
            for texts in alike(&shown) {
                for (text, difference) in differences(&texts) {
                    if text.width() > width {
                        shown.insert(text, cut.with_part(text, difference, quarters_before));
                    }
                }
            }
        }
        for text in alike(&shown).into_iter().flatten() {
            shown.insert(text, text.to_owned());
        }
        texts.iter().map(|text| shown.get(text).cloned().unwrap_or_default()).collect()
    }
}

/// True if the locale has UTF-8 (setlocale(3): the first of these variables that is set).
fn has_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The groups of different texts that are shown as the same text.
fn alike<'a>(shown: &BTreeMap<&'a str, String>) -> Vec<Vec<&'a str>> {
    let mut groups: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for (text, short) in shown {
        groups.entry(short).or_default().push(text);
    }
    groups.into_values().filter(|texts| texts.len() > 1).collect()
}

/// Each of the sorted texts with the number of characters that it has in common with the most similar one.
fn differences<'a>(texts: &[&'a str]) -> Vec<(&'a str, usize)> {
    let common = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let between: Vec<usize> = texts.windows(2).map(|pair| common(pair[0], pair[1])).collect();
    let before = std::iter::once(&0).chain(&between);
    let after = between.iter().chain([&0]);
    texts.iter().copied().zip(before.zip(after).map(|(before, after)| *before.max(after))).collect()
}

/// Shortens texts that are wider than `width`.
#[derive(Clone, Copy)]
struct Cut {
    width: usize,
    ellipsis: &'static str,
}

impl Cut {
    /// Keeps the begin and the end.
    fn around_the_middle(self, text: &str) -> String {
        let room = self.width.saturating_sub(self.ellipsis.width());
        let begin = room / 2;
        self.keep(text, &[take(text.chars(), begin), from_end(text, room - begin)])
    }

    /// Keeps the begin, the end, and a part around this character, with so many quarters of the part before it.
    fn with_part(self, text: &str, difference: usize, quarters_before: usize) -> String {
        let room = self.width.saturating_sub(2 * self.ellipsis.width());
        let (begin, end) = (room / 4, room / 4);
        let part = room - begin - end;
        let last_start = text.chars().count().saturating_sub(part);
        let start = difference.saturating_sub(part * quarters_before / 4).min(last_start);
        let part = take(text.chars().skip(start), part);
        self.keep(text, &[take(text.chars(), begin), start..start + part.end, from_end(text, end)])
    }

    /// Keeps these ranges of characters. A gap that is no wider than the ellipsis is kept, too.
    fn keep(self, text: &str, ranges: &[std::ops::Range<usize>]) -> String {
        let kept: BTreeSet<usize> = ranges.iter().cloned().flatten().collect();
        let (mut out, mut gap) = (String::new(), String::new());
        for (index, c) in text.chars().enumerate() {
            if !kept.contains(&index) {
                gap.push(c);
                continue;
            }
            out += self.in_place_of(&gap);
            gap.clear();
            out.push(c);
        }
        out + self.in_place_of(&gap)
    }

    fn in_place_of(self, gap: &str) -> &str {
        if gap.width() <= self.ellipsis.width() { gap } else { self.ellipsis }
    }
}

/// The range of the first characters that fit into so many columns.
fn take(characters: impl Iterator<Item = char>, columns: usize) -> std::ops::Range<usize> {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or_default();
        used <= columns
    };
    0..characters.take_while(fits).count()
}

/// The range of the last characters that fit into so many columns.
fn from_end(text: &str, columns: usize) -> std::ops::Range<usize> {
    let count = text.chars().count();
    count - take(text.chars().rev(), columns).end..count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCREEN: Screen = Screen { width: Some(80), utf8: true };

    #[test]
    fn the_middle_is_left_out() {
        let screen = |width| Screen { width: Some(width), utf8: true };
        assert_eq!(screen(9).fit("nqn.2014-08.org.example:disk1"), "nqn.…isk1");
        assert_eq!(screen(29).fit("nqn.2014-08.org.example:disk1"), "nqn.2014-08.org.example:disk1");
        assert_eq!(Screen { utf8: false, ..screen(9) }.fit("nqn.2014-08.org.example:disk1"), "nqn..isk1");
        assert_eq!(screen(8).fit("漢字漢字漢字"), "漢…漢字");
        assert_eq!(Screen::ENDLESS.fit(&"x".repeat(500)).len(), 500);
    }

    #[test]
    fn the_part_in_which_texts_differ_is_shown() {
        let nqn = |middle: &str| format!("nqn.2014-08.org.example:{}{middle}{}:data", "a".repeat(90), "b".repeat(90));
        let texts = [nqn("disk1"), nqn("disk2"), "nqn.short".to_owned()];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(SCREEN.shorten(&texts, 22), ["nqn.2…adisk1bbbb…:data", "nqn.2…adisk2bbbb…:data", "nqn.short"]);
    }

    #[test]
    fn a_long_line_is_broken_between_words() {
        let screen = Screen { width: Some(20), utf8: true };
        assert_eq!(screen.wrap("connection refused by the target"), ["connection refused", "by the target"]);
        assert_eq!(screen.wrap(&"x".repeat(30)), [format!("{}…{}", "x".repeat(9), "x".repeat(10))]);
        assert_eq!(screen.wrap(""), [""]);
    }

    #[test]
    fn the_locale_says_whether_there_is_utf8() {
        for (set, utf8) in [
            (&[("LANG", "en_US.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "")], true),
            (&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], true),
            (&[], false),
        ] {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(has_utf8(variable), utf8, "{set:?}");
        }
    }

    proptest! {
        #[test]
        fn different_texts_stay_different_and_fit_or_are_whole(
            texts in proptest::collection::vec("[ab…]{0,6}[x.]{0,40}[ab漢]{0,4}[x.]{0,40}[ab]{0,3}", 0..20), width in 12_usize..60,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let shown = SCREEN.shorten(&texts, width);
            for (text, short) in texts.iter().zip(&shown) {
                prop_assert!(short.width() <= width || short == text, "{short}");
                for (other, other_short) in texts.iter().zip(&shown) {
                    prop_assert_eq!(text == other, short == other_short);
                }
            }
        }
    }
}
