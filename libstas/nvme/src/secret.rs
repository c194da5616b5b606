//! Secrets: they are passed to the kernel and to nothing else.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

/// Placeholder for a secret that is not saved or not shown.
pub const WITHHELD: &str = "***";

/// How secrets start: a DH-HMAC-CHAP secret (NVMe Base 2.0, 8.13.5.8) and a TLS pre-shared key (NVMe TCP Transport 1.0,
/// 3.6.1.5).
const PREFIXES: [&str; 2] = ["DHHC-1:", "NVMeTLSkey-1:"];

/// What follows `DHHC-1:` where a message names the form of a secret.
const FORM: &str = "HH:BASE64:";

/// True if the text contains a secret in clear text, in any case. Such text is refused everywhere but in
/// `dhchap-secret=`, `dhchap-ctrl-secret=` and the host key.
#[must_use]
pub fn holds_a_secret(text: &str) -> bool {
    matches!(masked(text), Cow::Owned(_))
}

/// Replaces each secret in a text with `***`, for text that is shown or saved.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    if first_prefix(text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut rest = text;
    let mut masked = String::with_capacity(text.len());
    while let Some((start, prefix)) = first_prefix(rest) {
        let (before, secret) = rest.split_at(start);
        let (prefix, after) = secret.split_at(prefix);
        let end = after.find(|c: char| !is_of_a_secret(c)).unwrap_or(after.len());
        let (body, behind) = after.split_at(end);
        masked.push_str(before);
        if body.is_empty() || body == FORM {
            masked.push_str(prefix);
            masked.push_str(body);
        } else {
            masked.push_str(WITHHELD);
        }
        rest = behind;
    }
    masked.push_str(rest);
    if masked == text { Cow::Borrowed(text) } else { Cow::Owned(masked) }
}

/// Where the first prefix of a secret starts, and its length in bytes.
fn first_prefix(text: &str) -> Option<(usize, usize)> {
    let at = |prefix: &str| {
        let start = text.as_bytes().windows(prefix.len()).position(|w| w.eq_ignore_ascii_case(prefix.as_bytes()))?;
        Some((start, prefix.len()))
    };
    PREFIXES.into_iter().filter_map(at).min()
}

/// True for the characters of which the rest of a secret is made.
fn is_of_a_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | ':' | '-' | '_')
}

/// A DH-HMAC-CHAP secret. Debug, Display and Serialize print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that the caller has read from a trusted source.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// True if the secret is needed, but not known: the file that contains it is missing.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.0 == WITHHELD
    }

    /// The secret in clear text, for the kernel only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// The DH-HMAC-CHAP secrets of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhchapSecrets {
    /// The host's secret, by which it authenticates itself.
    pub host: Secret,
    /// The controller's secret. `None`: the controller need not authenticate itself.
    pub controller: Option<Secret>,
}

impl DhchapSecrets {
    /// The secrets of a connection. `host` is the secret configured for the connection; without it `host_key` is used.
    /// `None` if there is neither, or if the kernel would refuse one of the secrets.
    #[must_use]
    pub fn of(host: Option<&Secret>, controller: Option<&Secret>, host_key: Option<&Secret>) -> Option<Self> {
        let valid = |secret: &Secret| Secret::dhchap(secret.reveal()).ok();
        let host = valid(host.or(host_key)?)?;
        let controller = match controller {
            Some(secret) => Some(valid(secret)?),
            None => None,
        };
        Some(Self { host, controller })
    }
}

/// Why a text is not a DH-HMAC-CHAP secret. The error contains no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedSecret {
    /// The text is [`WITHHELD`].
    #[error("the secret is not known: the file that it is in is missing or cannot be read")]
    Withheld,
    /// The text does not start with `DHHC-1:`.
    #[error("expected DHHC-1:HH:BASE64: as printed by `nvme gen-dhchap-key`")]
    Form,
    /// HH is not one of 00 to 03.
    #[error("DHHC-1: is followed by 00:, 01:, 02: or 03:")]
    Hash,
    /// The third part is not base64.
    #[error("the third part of the secret is not base64")]
    Base64,
    /// The third part has the wrong length.
    #[error("the third part of the secret does not hold 32, 48 or 64 bytes and a checksum: something is missing")]
    Length,
    /// The checksum does not match: at least one character is wrong.
    #[error("the checksum of the secret is wrong: a character was mistyped")]
    Checksum,
}

impl Secret {
    /// Wraps a DH-HMAC-CHAP secret of the form `DHHC-1:HH:BASE64:` (NVMe Base 2.0, 8.13.5.8). A malformed secret is
    /// refused here, because the kernel would print it in its log.
    ///
    /// HH is the hash for which the secret was made, 00 for none. BASE64 contains the secret of 32, 48 or 64 bytes and
    /// its CRC-32, least significant byte first. As in the kernel, the last colon and the padding may be missing.
    ///
    /// # Errors
    /// [`MalformedSecret`] if the kernel would refuse the secret.
    pub fn dhchap(text: &str) -> Result<Self, MalformedSecret> {
        let text = text.trim();
        if text == WITHHELD {
            return Err(MalformedSecret::Withheld);
        }
        let rest = text.strip_prefix("DHHC-1:").ok_or(MalformedSecret::Form)?;
        let (hash, rest) = rest.split_once(':').ok_or(MalformedSecret::Hash)?;
        if !matches!(hash, "00" | "01" | "02" | "03") {
            return Err(MalformedSecret::Hash);
        }
        let bytes = base64(rest.strip_suffix(':').unwrap_or(rest)).ok_or(MalformedSecret::Base64)?;
        let (key, checksum) = bytes.split_last_chunk::<4>().ok_or(MalformedSecret::Length)?;
        if !matches!(key.len(), 32 | 48 | 64) {
            return Err(MalformedSecret::Length);
        }
        if crc32(key).to_le_bytes() != *checksum {
            return Err(MalformedSecret::Checksum);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Decodes base64 (RFC 4648, 4), with all of its padding or none.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0 && count < 6).then_some(bytes)
}

/// CRC-32 of IEEE 802.3, bit by bit: secrets are short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";

    #[test]
    fn a_secret_prints_as_stars_everywhere() {
        let secret = Secret::dhchap(GOOD).unwrap();
        assert_eq!(format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()), "*** *** \"***\"");
        assert_eq!(secret.reveal(), GOOD);
    }

    #[test]
    fn secrets_of_all_three_lengths_are_taken() {
        // The bytes 0, 1, 2... with their checksums.
        let of_32 = "DHHC-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
        let of_48 = "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
        let of_64 =
            "DHHC-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P4zODhA=:";
        for text in [of_32, of_48, of_64] {
            assert_eq!(Secret::dhchap(text).unwrap().reveal(), text);
        }
        assert!(Secret::dhchap(of_32.trim_end_matches(':')).is_ok());
        assert!(Secret::dhchap(of_64.trim_end_matches([':', '='])).is_ok());
    }

    #[test]
    fn the_checksum_is_that_of_ieee_802_3() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_malformed_secret_is_refused_and_not_logged() {
        use MalformedSecret::{Base64, Checksum, Form, Hash, Length, Withheld};
        let mistyped = GOOD.replacen("ia6z", "ia6y", 1);
        for (text, error) in [
            ("", Form),
            ("x", Form),
            (WITHHELD, Withheld),
            ("dhhc-1:00:AAAA:", Form),
            ("DHHC-1:", Hash),
            ("DHHC-1:04:AAAA:", Hash),
            ("DHHC-1:00:AAAAA:", Base64),
            ("DHHC-1:00:A=A=:", Base64),
            ("DHHC-1:00:AAA===:", Base64),
            ("DHHC-1:00:AA,A:", Base64),
            ("DHHC-1:00:AA:AA:", Base64),
            ("DHHC-1:00:AB==:", Base64),
            ("DHHC-1:00::", Length),
            ("DHHC-1:00:AAAA:", Length),
            ("DHHC-1:00:AAAAAAAA:", Length),
            (mistyped.as_str(), Checksum),
        ] {
            assert_eq!(Secret::dhchap(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands_and_the_form_of_one_is_not() {
        let tls = "NVMeTLSkey-1:01:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
        for (text, expected) in [
            (GOOD.to_owned(), "***"),
            (tls.to_owned(), "***"),
            (format!("nqn.x:{tls}"), "nqn.x:***"),
            (format!("nqn.x:dhchap-secret={GOOD};kato=5"), "nqn.x:dhchap-secret=***;kato=5"),
            (format!("\"{GOOD}\", \"{tls}\""), "\"***\", \"***\""),
            (GOOD.to_ascii_lowercase(), "***"),
            (format!("ü{GOOD}ü"), "ü***ü"),
        ] {
            assert!(holds_a_secret(&text), "{text}");
            assert_eq!(masked(&text), expected, "{text}");
        }
        for text in ["", "DHHC-1", "nqn.x:secret-lab", "a DHHC-1: b", &MalformedSecret::Form.to_string(), WITHHELD] {
            assert!(!holds_a_secret(text), "{text}");
            assert_eq!(masked(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_masked_text_holds_no_secret(before: String, after: String) {
            let once = masked(&format!("{before}{GOOD}{after}")).into_owned();
            proptest::prop_assert!(!once.contains("ia6zGod"), "{}", once);
            proptest::prop_assert!(!holds_a_secret(&once), "{}", once);
        }

        #[test]
        fn any_text_is_taken_or_refused(text: String) {
            let _ = Secret::dhchap(&text);
            let _ = Secret::dhchap(&format!("DHHC-1:00:{text}:"));
        }
    }
}
