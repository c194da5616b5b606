//! A log entry as a dictionary on the bus (compat: D-Bus).

use std::collections::BTreeMap;

use super::{AdrFam, EFlags, Entry, Subtype, TrType, Treq};

/// A dictionary that is no log entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry with {key} = {value:?}")]
pub struct DictionaryError {
    /// The key.
    pub key: &'static str,
    /// Its value; empty when it is absent.
    pub value: String,
}

impl Entry {
    /// The dictionary.
    #[must_use]
    pub fn to_dict(&self) -> BTreeMap<String, String> {
        [
            ("trtype", self.trtype.word()),
            ("adrfam", self.adrfam.word()),
            ("subtype", self.subtype.word()),
            ("treq", self.treq.word()),
            ("portid", self.portid.to_string()),
            ("cntlid", self.cntlid.to_string()),
            ("asqsz", self.asqsz.to_string()),
            ("eflags", self.eflags.0.to_string()),
            ("trsvcid", self.trsvcid.clone()),
            ("subnqn", self.subnqn.clone()),
            ("traddr", self.traddr.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Reads the dictionary. What names the controller must be there and make sense; the rest may be absent.
    ///
    /// # Errors
    /// Names the key and its value.
    pub fn from_dict(dict: &BTreeMap<String, String>) -> Result<Self, DictionaryError> {
        fn coded<T>(
            dict: &BTreeMap<String, String>,
            key: &'static str,
            read: impl Fn(&str) -> Option<T>,
        ) -> Result<T, DictionaryError> {
            let value = dict.get(key).map(String::as_str).unwrap_or_default();
            read(value.trim()).ok_or_else(|| DictionaryError { key, value: value.to_owned() })
        }
        let text = |key: &str| dict.get(key).map(|value| value.trim().to_owned()).unwrap_or_default();
        let number = |key: &str| dict.get(key).and_then(|value| value.trim().parse().ok()).unwrap_or_default();
        Ok(Self {
            trtype: coded(dict, "trtype", TrType::from_word)?,
            adrfam: coded(dict, "adrfam", AdrFam::from_word).unwrap_or(AdrFam::PCI),
            subtype: coded(dict, "subtype", Subtype::from_word)?,
            treq: coded(dict, "treq", Treq::from_word).unwrap_or(Treq(0)),
            portid: number("portid"),
            cntlid: number("cntlid"),
            asqsz: number("asqsz"),
            eflags: EFlags(number("eflags")),
            trsvcid: text("trsvcid"),
            subnqn: text("subnqn"),
            traddr: text("traddr"),
        })
    }
}
