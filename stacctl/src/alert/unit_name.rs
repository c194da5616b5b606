//! Names of template instances.

/// Longest name of a unit in bytes (systemd.unit(5)).
const NAME_MAX: usize = 255;

/// The instance of a template for a text, escaped as `systemd-escape` does. `template` is the part before the `@`. A
/// text that is too long for the name of a unit is cut.
pub(super) fn instance(template: &str, text: &str) -> String {
    const SUFFIX: &str = ".service";
    let mut name = format!("{template}@");
    for (index, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'/' => "-".to_owned(),
            b'.' if index == 0 => "\\x2e".to_owned(),
            b':' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            other => format!("\\x{other:02x}"),
        };
        if name.len() + escaped.len() + SUFFIX.len() > NAME_MAX {
            break;
        }
        name += &escaped;
    }
    name + SUFFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_as_systemd_does() {
        for (text, escaped) in [
            ("nqn.2014-08.org.example:a_B9", "nqn.2014\\x2d08.org.example:a_B9"),
            ("a/b c", "a-b\\x20c"),
            (".a", "\\x2ea"),
            ("\\ä$", "\\x5c\\xc3\\xa4\\x24"),
        ] {
            assert_eq!(instance("x", text), format!("x@{escaped}.service"));
        }
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        for text in ["-".repeat(223), "a".repeat(300)] {
            let name = instance("stas-alert-down", &text);
            assert!(name.len() <= NAME_MAX && name.len() > NAME_MAX - 4, "{}", name.len());
            assert!(name.ends_with("\\x2d.service") || name.ends_with("aa.service"), "{name}");
        }
        assert!(
            instance("stas-alert-down", &format!("nqn.2014-08.org.nvmexpress:uuid:{}", "0".repeat(36))).len() < 255
        );
    }
}
