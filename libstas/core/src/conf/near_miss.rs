//! Suggests the known word that was probably meant by an unknown one.

use strsim::damerau_levenshtein;

/// Longest word that gets a suggestion, in bytes: the cost of a comparison grows with the square of the length.
const LONGEST: usize = 80;

/// Returns the nearest known word with at most one or two errors (insertion, deletion, replacement, swap of neighbours;
/// none in words of one or two characters). `_` and spaces count as `-`.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST {
        return None;
    }
    let folded = folded(word);
    let length = folded.chars().count();
    let allowed = match length {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    // Words of other lengths need more errors. They are skipped, because the comparison is expensive.
    let known = known.into_iter().filter(|known| known.chars().count().abs_diff(length) <= allowed);
    let candidates = known.map(|known| (damerau_levenshtein(&folded, &self::folded(known)), known));
    candidates.filter(|(slips, _)| *slips <= allowed).min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

fn folded(word: &str) -> String {
    word.to_lowercase().replace(['_', ' '], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["kato", "tron", "hdr-digest", "ctrl-loss-tmo", "I/O controller connection management"];

    #[test]
    fn a_slip_is_understood() {
        for (word, meant) in [
            ("kto", "kato"),
            ("KATO", "kato"),
            ("tron ", "tron"),
            ("torn", "tron"),
            ("hdr_digest", "hdr-digest"),
            ("hrd-digets", "hdr-digest"),
            ("ctrl-loss-timo", "ctrl-loss-tmo"),
            ("IO controller connection management", "I/O controller connection management"),
        ] {
            assert_eq!(nearest(word, KNOWN), Some(meant), "{word}");
        }
    }

    #[test]
    fn another_word_is_not_guessed_at() {
        for word in ["", "t", "to", "data", "persistent", "nonsense", &"kato".repeat(1000)] {
            assert_eq!(nearest(word, KNOWN), None, "{word}");
        }
    }
}
