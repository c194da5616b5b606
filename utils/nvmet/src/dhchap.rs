//! DH-HMAC-CHAP keys: checked when read, removed from messages of other programs.

use stas_nvme::Secret;

/// Replaces a key in all output; [`Secret`] prints the same.
pub const HIDDEN: &str = "***";

/// Base64 lengths of keys of 32, 48 and 64 bytes, each followed by its CRC-32 of 4 bytes.
const ENCODED_LENGTHS: [usize; 3] = [48, 72, 92];

/// A text that is not a key. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a DH-HMAC-CHAP key; valid is DHHC-1:HH:BASE64: with HH 00 to 03, as `nvme gen-dhchap-key` prints it")]
pub struct NotAKey;

/// Checks the interchange form of a key, `DHHC-1:hh:base64:` (NVMe Base 2.0, 8.13.5.8). The kernel checks the checksum.
///
/// # Errors
/// [`NotAKey`] if the prefix, the hash, the alphabet or the length is wrong.
pub fn parse(text: &str) -> Result<Secret, NotAKey> {
    let rest = text.strip_prefix("DHHC-1:").ok_or(NotAKey)?;
    let (hash, encoded) = rest.split_once(':').ok_or(NotAKey)?;
    let encoded = encoded.strip_suffix(':').ok_or(NotAKey)?;
    let known_hash = matches!(hash, "00" | "01" | "02" | "03");
    let body = encoded.trim_end_matches('=');
    let alphabet = body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let length = ENCODED_LENGTHS.contains(&encoded.len()) && encoded.len() - body.len() <= 2;
    (known_hash && alphabet && length).then(|| Secret::new(text)).ok_or(NotAKey)
}

/// Removes everything from a foreign message that looks like a key, or like the rest of one.
#[must_use]
pub fn redact(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find("DHHC-") {
        let (before, key) = rest.split_at(start);
        clean.push_str(before);
        clean.push_str(HIDDEN);
        let end = key.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',')).unwrap_or(key.len());
        rest = key.get(end..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfibC:";

    #[test]
    fn a_key_of_nvme_cli_is_taken_and_never_printed() {
        let secret = parse(KEY).unwrap();
        assert_eq!(secret.reveal(), KEY);
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn a_cut_key_is_refused() {
        for cut in 0..KEY.len() {
            assert_eq!(parse(&KEY[..cut]), Err(NotAKey), "{cut}");
        }
        assert_eq!(parse(&KEY.replace("1:00", "1:04")), Err(NotAKey));
        assert_eq!(parse(&KEY.replace("AAEC", "AA C")), Err(NotAKey));
    }

    #[test]
    fn a_key_in_a_foreign_message_is_blotted_out() {
        assert_eq!(redact(&format!("invalid value \"{KEY}\", expected u16")), "invalid value \"***\", expected u16");
        assert_eq!(redact(&format!("{KEY} {KEY}")), "*** ***");
        assert_eq!(redact("nothing here"), "nothing here");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            if let Ok(secret) = parse(&text) {
                prop_assert_eq!(secret.reveal(), text);
            }
        }

        #[test]
        fn no_key_passes_the_redaction(before in "[ -~]*", after in "[ -~]*") {
            let text = format!("{before} {KEY} {after}");
            prop_assert!(!redact(&text).contains("AAECAwQF"));
        }
    }
}
