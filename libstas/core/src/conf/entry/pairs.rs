//! Splits `key=value;key=value # comment`.

/// The text between two `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// `key=value`, both trimmed.
    Pair(&'t str, &'t str),
    /// Text without `=`.
    Other(&'t str),
}

/// The parts of an entry, without its comment and without empty parts. Only the first `=` of a part separates.
pub(super) fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    without_comment(text).split(';').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        match part.split_once('=') {
            Some((key, value)) => Part::Pair(key.trim(), value.trim()),
            None => Part::Other(part),
        }
    })
}

/// Removes the comment. It starts at a `#` that is first or follows a space.
fn without_comment(text: &str) -> &str {
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        if character == '#' && before.is_whitespace() {
            return text.get(..at).unwrap_or_default();
        }
        before = character;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Part<'_>> {
        parts(text).collect()
    }

    #[test]
    fn a_pair_is_divided_at_its_first_equals_sign() {
        assert_eq!(read("dhchap-secret=DHHC-1:00:ab==:"), [Part::Pair("dhchap-secret", "DHHC-1:00:ab==:")]);
    }

    #[test]
    fn a_comment_behind_the_entry_is_not_part_of_it() {
        assert_eq!(
            read("transport=tcp;traddr=::1 # here"),
            [Part::Pair("transport", "tcp"), Part::Pair("traddr", "::1")]
        );
        assert_eq!(read("transport=tcp\t#;traddr=::1"), [Part::Pair("transport", "tcp")]);
        assert_eq!(read("# nothing"), []);
        assert_eq!(read("nqn=a#b"), [Part::Pair("nqn", "a#b")]);
    }

    #[test]
    fn spaces_and_empty_parts_do_not_count() {
        assert_eq!(read(" ; transport = tcp ;; traddr= ;"), [Part::Pair("transport", "tcp"), Part::Pair("traddr", "")]);
    }

    #[test]
    fn a_part_without_an_equals_sign_is_kept_apart() {
        assert_eq!(read("transport:tcp"), [Part::Other("transport:tcp")]);
    }
}
