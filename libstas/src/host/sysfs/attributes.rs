//! The words of the attributes in /sys/class/nvme/nvmeN.

use crate::core::{CtrlType, Dctype};

/// The text of an attribute: without the line's end and the padding of the identify strings. What a target sent
/// there may be any bytes: none of them reaches a terminal as a control character.
///
/// Before the kernel has identified a controller it prints `(efault)` or `(null)` for what it does not know yet.
pub(super) fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if matches!(text, "(efault)" | "(null)") {
        return String::new();
    }
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Attribute `cntrltype`; before the kernel has identified the controller it says `reserved`.
pub(super) fn cntrltype(text: &str) -> CtrlType {
    match text {
        "io" => CtrlType::Io,
        "discovery" => CtrlType::Discovery,
        "admin" => CtrlType::Admin,
        _ => CtrlType::Unknown,
    }
}

/// Attribute `dctype`.
pub(super) fn dctype(text: &str) -> Dctype {
    match text {
        "ddc" => Dctype::Ddc,
        "cdc" => Dctype::Cdc,
        _ => Dctype::None,
    }
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
        assert_eq!(cntrltype("reserved"), CtrlType::Unknown);
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
