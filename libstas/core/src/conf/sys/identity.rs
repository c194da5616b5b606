//! Reads and checks the values of sys.conf.

use std::path::Path;

use super::{SysConf, Value};
use crate::conf::complaints::quoted;
use crate::conf::types::Complaint;
use stas_nvme::secret::holds_a_secret;
use stas_nvme::{HostIdentity, NQN_MAX, Secret};

/// Why a name that contains a secret is refused: names are sent in clear text and shown.
const MISPLACED_SECRET: &str = "it contains a secret, which belongs in key=";

/// Longest symbolic name in bytes (TP8010, extended attribute 2).
const SYMNAME_MAX: usize = 256;

/// Why a host has no identity. Without an identity nothing can be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host has no valid {what}: {place}: {why}; `stasadm {command} -f {file}` makes one")]
pub struct IdentityError {
    /// Missing value: `NQN` or `ID`.
    what: &'static str,
    /// File in which it was looked for.
    place: String,
    /// What is wrong with the value.
    why: String,
    /// Command of stasadm that makes the value.
    command: &'static str,
    /// File into which stasadm should write the value.
    file: String,
}

impl SysConf {
    /// Reads the identity from sys.conf and the files that it refers to.
    ///
    /// `read` returns the content of a file: `None` if the file does not exist, an error text if it cannot be read.
    /// Secret and symbolic name may be absent. If one of them is invalid, it causes a complaint and is left out.
    ///
    /// # Errors
    /// [`IdentityError`] if there is no valid NQN or no valid ID.
    pub fn identity(
        &self,
        read: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<(HostIdentity, Vec<Complaint>), IdentityError> {
        let reader = Reader { file: &self.file, read };
        let needed = |what, command, usual: &str, value, valid: fn(&str) -> Result<String, String>| {
            let (place, text) = reader.get(value);
            let file = if let Value::File(_) = value { place.clone() } else { usual.to_owned() };
            let value = text.and_then(|text| valid(&text.ok_or("it is missing or empty")?));
            value.map_err(|why| IdentityError { what, place, why, command, file })
        };
        let mut complaints = Vec::new();
        let mut optional = |what: &str, value, valid: fn(&str) -> Result<String, String>| {
            let (file, text) = reader.get(value);
            let value = text.and_then(|text| text.as_deref().map(valid).transpose());
            value.unwrap_or_else(|why| {
                let text = format!("{what} is not used: {why}");
                complaints.push(Complaint { file, line: 0, error: true, text });
                None
            })
        };
        let key = match &self.key {
            Value::Literal(secret) => &Value::Literal(secret.reveal().to_owned()),
            Value::File(path) => &Value::File(path.clone()),
        };
        let identity = HostIdentity {
            nqn: needed("NQN", "hostnqn", "/etc/nvme/hostnqn", &self.nqn, valid_nqn)?,
            id: needed("ID", "hostid", "/etc/nvme/hostid", &self.id, valid_id)?,
            key: optional("the host's DH-HMAC-CHAP secret", key, valid_key).map(Secret::new),
            symname: self.symname.as_ref().and_then(|value| optional("the symbolic name", value, valid_symname)),
            boot_ids: Default::default(),
            kernel_ids: Default::default(),
        };
        Ok((identity, complaints))
    }
}

/// Reads values from sys.conf or from the file that it names.
struct Reader<'a, R> {
    file: &'a str,
    read: R,
}

impl<R: Fn(&str) -> Result<Option<String>, String>> Reader<'_, R> {
    /// Returns the file that contains a value, and the value. `None` if the value is absent or empty.
    fn get(&self, value: &Value) -> (String, Result<Option<String>, String>) {
        match value {
            Value::Literal(text) => (self.file.to_owned(), Ok(Some(text.clone()).filter(|text| !text.is_empty()))),
            Value::File(path) => {
                let place = Path::display(path).to_string();
                let text = (self.read)(&place).map_err(|why| format!("it cannot be read: {why}"));
                (place, text.map(|text| text.as_deref().and_then(first_word)))
            }
        }
    }
}

fn first_word(text: &str) -> Option<String> {
    text.trim_start_matches('\u{feff}').split_whitespace().next().map(str::to_owned)
}

/// Checks a host NQN (NVMe Base 2.0, 4.5). The kernel's option string takes no commas and spaces.
fn valid_nqn(text: &str) -> Result<String, String> {
    if text.len() > NQN_MAX {
        return Err(format!("it is {} bytes long, {NQN_MAX} are the most", text.len()));
    }
    if !text.starts_with("nqn.") {
        return Err(format!("{} does not start with nqn.", quoted(text)));
    }
    if text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(format!("{} holds a comma, a space or a control character", quoted(text)));
    }
    if holds_a_secret(text) {
        return Err(MISPLACED_SECRET.to_owned());
    }
    Ok(text.to_owned())
}

/// Checks a host ID: a UUID. Returns it in the form that the kernel takes.
fn valid_id(text: &str) -> Result<String, String> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) if !id.is_nil() => Ok(id.hyphenated().to_string()),
        Ok(_) => Err("it is all zeros".to_owned()),
        Err(_) => Err(format!("{} is not a UUID", quoted(text))),
    }
}

fn valid_key(text: &str) -> Result<String, String> {
    Secret::dhchap(text).map(|secret| secret.reveal().to_owned()).map_err(|why| why.to_string())
}

fn valid_symname(text: &str) -> Result<String, String> {
    if text.len() > SYMNAME_MAX {
        return Err(format!("it is {} bytes long, {SYMNAME_MAX} are the most", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("it holds a control character".to_owned());
    }
    if holds_a_secret(text) {
        return Err(MISPLACED_SECRET.to_owned());
    }
    Ok(text.to_owned())
}
