//! Which known word was probably meant by an unknown one.

/// Longer words are not looked into.
const LONGEST: usize = 80;

/// The known word that is nearest, if one is near: a slip or two away, `_` and spaces being as good as `-`.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST {
        return None;
    }
    let folded = folded(word);
    let slips = |known: &&str| distance(&folded, &self::folded(known));
    let allowed = match folded.len() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let candidates = known.into_iter().map(|known| (slips(&known), known));
    candidates.filter(|(slips, _)| *slips <= allowed).min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

fn folded(word: &str) -> Vec<char> {
    word.to_lowercase().chars().map(|c| if c == '_' || c == ' ' { '-' } else { c }).collect()
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from the one to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&above, column + 1) + 1).min(at(&current, column) + 1);
            best = best.min(at(&above, column) + usize::from(a != b));
            let swapped = row > 0 && column > 0 && from.get(row - 1) == Some(b) && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
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

    #[test]
    fn distance_counts_slips() {
        let distance = |a: &str, b: &str| distance(&folded(a), &folded(b));
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
