//! Parses the attributes in /sys/class/nvme/nvmeN.

/// The text of an attribute, without its newline and the padding of identify strings. Control characters become
/// question marks: the text may contain any bytes from the target and may reach a terminal.
///
/// The kernel prints `(efault)` or `(null)` for values that it does not know before it has identified the controller.
pub(super) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if matches!(text, "(efault)" | "(null)") {
        return String::new();
    }
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_kernel_does_not_know_yet_is_empty() {
        assert_eq!(words(b"(efault)\n"), "");
        assert_eq!(words(b"(null)\n"), "");
        assert_eq!(words(b"Linux                                   \n"), "Linux");
    }

    #[test]
    fn control_characters_of_a_target_do_not_get_through() {
        assert_eq!(words(b"nqn.\x1b[2J\n"), "nqn.?[2J");
    }

    proptest! {
        #[test]
        fn any_bytes_become_words_without_control_characters(bytes: Vec<u8>) {
            prop_assert!(!words(&bytes).chars().any(char::is_control));
        }
    }
}
