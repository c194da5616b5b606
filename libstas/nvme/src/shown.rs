//! Escapes untrusted text before it is shown: names of targets, announcements, files, arguments of callers.
//!
//! Everything that reaches a log line, a message on D-Bus or a terminal goes through [`shown`]. A name that identifies
//! a controller stays unchanged where programs compare it.

use std::borrow::Cow;

use super::secret::masked;

/// Escapes control characters, bidirectional controls and invisible characters as `\u{202e}`, and masks secrets. The
/// result is one line.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    let text = masked(text);
    if text.chars().all(is_visible) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_visible(c) { escaped.push(c) } else { escaped.extend(c.escape_default()) }
    }
    Cow::Owned(escaped)
}

/// True for the space and for characters that a reader sees where they stand. False for control, format (among them the
/// bidirectional controls), private use and unassigned characters, for other separators, and for characters that are
/// usually not drawn.
#[must_use]
pub fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\x7f' => false,
        _ if is_drawn_as_nothing(c) => false,
        _ => {
            // The standard library escapes a character that follows another one only if it belongs to these categories.
            let behind_another = format!("x{c}");
            behind_another.escape_debug().eq(behind_another.chars())
        }
    }
}

/// True for letters, marks and symbols without a picture: those of Default_Ignorable_Code_Point (Unicode 16, 5.21) that
/// are not format characters, and the empty Braille pattern.
fn is_drawn_as_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of each kind, with its escape.
    const UNSEEN: [(char, &str); 18] = [
        ('\n', "\\n"),
        ('\t', "\\t"),
        ('\x1b', "\\u{1b}"),
        ('\x7f', "\\u{7f}"),
        ('\u{85}', "\\u{85}"),
        ('\u{9b}', "\\u{9b}"),
        ('\u{a0}', "\\u{a0}"),
        ('\u{ad}', "\\u{ad}"),
        ('\u{61c}', "\\u{61c}"),
        ('\u{3164}', "\\u{3164}"),
        ('\u{200b}', "\\u{200b}"),
        ('\u{200f}', "\\u{200f}"),
        ('\u{2028}', "\\u{2028}"),
        ('\u{202e}', "\\u{202e}"),
        ('\u{2066}', "\\u{2066}"),
        ('\u{fe0f}', "\\u{fe0f}"),
        ('\u{feff}', "\\u{feff}"),
        ('\u{e0041}', "\\u{e0041}"),
    ];

    #[test]
    fn bidirectional_invisible_and_control_characters_are_escaped() {
        for (c, escape) in UNSEEN {
            assert_eq!(shown(&format!("nqn.a{c}b")), format!("nqn.a{escape}b"));
        }
    }

    #[test]
    fn what_a_reader_sees_stays_and_is_not_copied() {
        for text in ["", "nqn.2014-08.org.example:a", "Größe 漢字 عربي e\u{301} 🦀", "a\\b \"c\""] {
            assert!(matches!(shown(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_secret_in_a_name_is_masked() {
        let text = "nqn.x:dhchap-secret=DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:\u{202e}";
        assert_eq!(shown(text), "nqn.x:dhchap-secret=***\\u{202e}");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_of_visible_characters(text: String) {
            let line = shown(&text);
            prop_assert!(line.chars().all(is_visible));
            prop_assert_eq!(shown(&line), line.clone());
        }
    }
}
