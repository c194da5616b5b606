//! Reads and checks the values of sys.conf.

use std::fmt;
use std::path::Path;

use super::{SysConf, Value};
use crate::conf::complaints::{Quoted, quoted};
use crate::conf::types::{Complaint, Severity};
use stas_nvme::secret::{MalformedSecret, WITHHELD, holds_a_secret};
use stas_nvme::{HostIdentity, NQN_MAX, Secret};

/// Longest symbolic name in bytes (TP8010, extended attribute 2).
const SYMNAME_MAX: usize = 256;

/// Why a host has no identity. Without an identity nothing can be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host has no valid {what}: {place}: {why}; `stasadm {command} -f {file}` creates one")]
pub struct IdentityError {
    /// Missing value: `NQN` or `ID`.
    what: &'static str,
    /// File in which it was looked for.
    place: String,
    /// What is wrong with the value.
    why: WrongValue,
    /// Command of stasadm that makes the value.
    command: &'static str,
    /// File into which stasadm should write the value.
    file: String,
}

/// What is wrong with a value of the identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongValue {
    /// The file of the value cannot be read. Contains the error of the read, as text.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// There is no value.
    #[error("it is missing or empty")]
    Missing,
    /// The value is too long.
    #[error("it is {bytes} bytes long, at most {most} are allowed")]
    TooLong {
        /// The length of the value.
        bytes: usize,
        /// The largest valid length.
        most: usize,
    },
    /// The NQN has another form than NVM Express prescribes.
    #[error("{0} does not start with nqn.")]
    NotNqn(Quoted),
    /// The NQN cannot be an option of the kernel.
    #[error("{0} contains a comma, a space or a control character")]
    Separator(Quoted),
    /// The ID is the nil UUID.
    #[error("it is all zeros")]
    NilId,
    /// The ID is not a UUID.
    #[error("{0} is not a UUID")]
    NotUuid(Quoted),
    /// The secret is malformed.
    #[error(transparent)]
    Secret(#[from] MalformedSecret),
    /// A name contains a secret: names are sent in clear text and shown.
    #[error("it contains a secret, which belongs in key=")]
    MisplacedSecret,
    /// The symbolic name contains a control character.
    #[error("it contains a control character")]
    ControlCharacter,
}

/// A value without which a host has no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// The host NQN.
    Nqn,
    /// The host ID.
    Id,
}

impl SysConf {
    /// Source of a value.
    #[must_use]
    pub fn source(&self, needed: Needed) -> &Value {
        match needed {
            Needed::Nqn => &self.nqn,
            Needed::Id => &self.id,
        }
    }

    /// The value that sys.conf sets itself, or by another file than the default one. `None` if it sets none, or sets an
    /// invalid value itself. `read` is as for [`SysConf::identity`].
    ///
    /// # Errors
    /// [`IdentityError`] if sys.conf sets a file that has no valid value now: it may have one later.
    pub fn own_value<E: fmt::Display>(
        &self,
        needed: Needed,
        read: impl Fn(&str) -> Result<Option<String>, E>,
    ) -> Result<Option<String>, IdentityError> {
        let source = self.source(needed);
        if source == Self::default().source(needed) {
            return Ok(None);
        }
        match (self.value_of(needed, &Reader { file: &self.file, read }), source) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(_), Value::Literal(_)) => Ok(None),
            (Err(error), Value::File(_)) => Err(error),
        }
    }

    fn value_of<E: fmt::Display>(
        &self,
        needed: Needed,
        reader: &Reader<'_, impl Fn(&str) -> Result<Option<String>, E>>,
    ) -> Result<String, IdentityError> {
        type Valid = fn(&str) -> Result<String, WrongValue>;
        let (what, command, usual, valid): (_, _, _, Valid) = match needed {
            Needed::Nqn => ("NQN", "hostnqn", "/etc/nvme/hostnqn", valid_nqn),
            Needed::Id => ("ID", "hostid", "/etc/nvme/hostid", valid_id),
        };
        let source = self.source(needed);
        let (place, text) = reader.get(source);
        let file = if let Value::File(_) = source { place.clone() } else { usual.to_owned() };
        let value = text.and_then(|text| valid(&text.ok_or(WrongValue::Missing)?));
        value.map_err(|why| IdentityError { what, place, why, command, file })
    }

    /// Reads the identity from sys.conf and the files that it refers to.
    ///
    /// `read` returns the content of a file: `None` if the file does not exist, an error if it cannot be read. Secret
    /// and symbolic name may be absent. If one of them is invalid, it causes a complaint. An invalid symbolic name is
    /// left out. An invalid secret becomes [`WITHHELD`]: controllers without a secret of their own are not connected.
    ///
    /// # Errors
    /// [`IdentityError`] if there is no valid NQN or no valid ID.
    pub fn identity<E: fmt::Display>(
        &self,
        read: impl Fn(&str) -> Result<Option<String>, E>,
    ) -> Result<(HostIdentity, Vec<Complaint>), IdentityError> {
        let reader = Reader { file: &self.file, read };
        let mut complaints = Vec::new();
        let mut optional = |value, valid: fn(&str) -> Result<String, WrongValue>, what: &str, instead: Option<&str>| {
            let (file, text) = reader.get(value);
            let value = text.and_then(|text| text.as_deref().map(valid).transpose());
            value.unwrap_or_else(|why| {
                let text = format!("{what}: {why}");
                complaints.push(Complaint { file, line: 0, severity: Severity::Refused, text });
                instead.map(str::to_owned)
            })
        };
        let no_key = "the host's DH-HMAC-CHAP secret is not valid";
        let no_symname = "the symbolic name is not used";
        let key = match &self.key {
            Value::Literal(secret) => &Value::Literal(secret.reveal().to_owned()),
            Value::File(path) => &Value::File(path.clone()),
        };
        let identity = HostIdentity {
            nqn: self.value_of(Needed::Nqn, &reader)?,
            id: self.value_of(Needed::Id, &reader)?,
            key: optional(key, valid_key, no_key, Some(WITHHELD)).map(Secret::new),
            symname: self.symname.as_ref().and_then(|value| optional(value, valid_symname, no_symname, None)),
            boot_ids: Default::default(),
            kernel_id: None,
        };
        Ok((identity, complaints))
    }
}

/// Reads values from sys.conf or from the file that it names.
struct Reader<'a, R> {
    file: &'a str,
    read: R,
}

impl<E: fmt::Display, R: Fn(&str) -> Result<Option<String>, E>> Reader<'_, R> {
    /// Returns the file that contains a value, and the value. `None` if the value is absent or empty.
    fn get(&self, value: &Value) -> (String, Result<Option<String>, WrongValue>) {
        match value {
            Value::Literal(text) => (self.file.to_owned(), Ok(Some(text.clone()).filter(|text| !text.is_empty()))),
            Value::File(path) => {
                let place = Path::display(path).to_string();
                let text = (self.read)(&place).map_err(|why| WrongValue::Unreadable(why.to_string()));
                (place, text.map(|text| text.as_deref().and_then(first_word)))
            }
        }
    }
}

fn first_word(text: &str) -> Option<String> {
    text.trim_start_matches('\u{feff}').split_whitespace().next().map(str::to_owned)
}

/// Checks a host NQN (NVMe Base 2.0, 4.5). The kernel's option string takes no commas and spaces.
fn valid_nqn(text: &str) -> Result<String, WrongValue> {
    if text.len() > NQN_MAX {
        return Err(WrongValue::TooLong { bytes: text.len(), most: NQN_MAX });
    }
    if !text.starts_with("nqn.") {
        return Err(WrongValue::NotNqn(quoted(text)));
    }
    if text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(WrongValue::Separator(quoted(text)));
    }
    if holds_a_secret(text) {
        return Err(WrongValue::MisplacedSecret);
    }
    Ok(text.to_owned())
}

/// Checks a host ID: a UUID. Returns it in the form that the kernel takes.
fn valid_id(text: &str) -> Result<String, WrongValue> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) if !id.is_nil() => Ok(id.hyphenated().to_string()),
        Ok(_) => Err(WrongValue::NilId),
        Err(_) => Err(WrongValue::NotUuid(quoted(text))),
    }
}

fn valid_key(text: &str) -> Result<String, WrongValue> {
    Ok(Secret::dhchap(text)?.reveal().to_owned())
}

fn valid_symname(text: &str) -> Result<String, WrongValue> {
    if text.len() > SYMNAME_MAX {
        return Err(WrongValue::TooLong { bytes: text.len(), most: SYMNAME_MAX });
    }
    if text.chars().any(char::is_control) {
        return Err(WrongValue::ControlCharacter);
    }
    if holds_a_secret(text) {
        return Err(WrongValue::MisplacedSecret);
    }
    Ok(text.to_owned())
}
