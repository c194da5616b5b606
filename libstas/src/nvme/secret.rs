//! Secrets that never leave: they reach the kernel's option string and nothing else.

use std::fmt;

use serde::{Serialize, Serializer};

/// A DH-HMAC-CHAP secret. Debug, Display and Serialize print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that the caller has read from a trusted place.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the kernel alone.
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

/// A text that is no DH-HMAC-CHAP secret. It never says what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no DH-HMAC-CHAP secret: it must be DHHC-1:HH:BASE64: as `nvme gen-dhchap-key` prints it")]
pub struct MalformedSecret;

impl Secret {
    /// Wraps a DH-HMAC-CHAP secret of the form `DHHC-1:HH:BASE64:` (NVMe-oF, in-band authentication; TP8006), so that
    /// a malformed one is refused here and not printed by the kernel.
    ///
    /// # Errors
    /// When it has another form: HH is a hash identifier 00 to 03, BASE64 a key of 32, 48 or 64 bytes with its CRC-32.
    pub fn dhchap(text: &str) -> Result<Self, MalformedSecret> {
        let mut parts = text.trim().split(':');
        let (Some("DHHC-1"), Some(hash), Some(key), Some(""), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedSecret);
        };
        let digits = key.trim_end_matches('=');
        let base64 = key.len().is_multiple_of(4)
            && key.len() - digits.len() <= 2
            && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
        let bytes = digits.len() * 3 / 4;
        if matches!(hash, "00" | "01" | "02" | "03") && base64 && matches!(bytes, 36 | 52 | 68) {
            Ok(Self(text.trim().to_owned()))
        } else {
            Err(MalformedSecret)
        }
    }
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
    fn what_is_no_secret_is_refused_without_being_told() {
        for bad in
            ["", "DHHC-1:", "DHHC-1:00:short:", "DHHC-1:09:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:", "x"]
        {
            assert_eq!(Secret::dhchap(bad), Err(MalformedSecret), "{bad}");
        }
        assert!(Secret::dhchap(&format!("{GOOD}x")).is_err());
        assert!(Secret::dhchap(&GOOD.replace('6', ",")).is_err());
    }
}
