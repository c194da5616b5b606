//! Decodes a host's registration, as a discovery controller does.

use super::{
    EID, ENAME, ENTRY_HEAD_LEN, EVER, EXTENDED, HEADER_LEN, HOST, HOST_IDENTIFIER, Registration, SYMBOLIC_NAME,
    TRADDR_BASED,
};
use crate::log_page::{AdrFam, TrType};
use crate::wire::{array, trimmed, u8_at, u16_at, u32_at, u64_at};

/// Why the data are not a valid registration of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// The data end before or inside this field.
    #[error("the data ends before its field {0}")]
    Short(&'static str),
    /// A field has a value that is not allowed for a host.
    #[error("{field} is {value}")]
    Value {
        /// Name of the field as in the specification, for example `ENTFMT`.
        field: &'static str,
        /// The refused value.
        value: u64,
    },
    /// A text field is not printable ASCII.
    #[error("{0} is not printable ASCII")]
    Text(&'static str),
    /// The NQN of the entry differs from the NQN of the sending host.
    #[error("the entry's NQN is not that of the host that sends it")]
    OtherNqn,
    /// The mandatory host identifier attribute is missing.
    #[error("the host identifier is missing")]
    NoHostId,
}

impl Registration {
    /// Decodes the data of a command that registers one host with one extended entry.
    ///
    /// # Errors
    /// [`DimError`] if a field is missing or has a value that a host must not send.
    pub fn parse(data: &[u8]) -> Result<Self, DimError> {
        let length = need("TDL", u32_at(data, 0))?;
        let data = usize::try_from(length).ok().and_then(|length| data.get(..length)).ok_or(DimError::Short("TDL"))?;
        must("NUMENT", need("NUMENT", u64_at(data, 8))?, 1)?;
        must("ENTFMT", need("ENTFMT", u16_at(data, 16))?.into(), EXTENDED.into())?;
        must("ETYPE", need("ETYPE", u16_at(data, 18))?.into(), HOST.into())?;
        must("PORTLCL", need("PORTLCL", u8_at(data, 20))?.into(), 0)?;
        must("EKTYPE", need("EKTYPE", u16_at(data, 22))?.into(), TRADDR_BASED.into())?;
        let entry = data.get(HEADER_LEN..).unwrap_or_default();
        let tel = need("TEL", u32_at(entry, 1024))?;
        must("TEL", tel.into(), entry.len() as u64)?;
        let (host_id, symbolic_name) = attributes(entry)?;
        let host_nqn = text("EID", data, EID)?;
        if text("NQN", entry, (256, 256))? != host_nqn {
            return Err(DimError::OtherNqn);
        }
        Ok(Self {
            host_nqn,
            host_id: host_id.ok_or(DimError::NoHostId)?,
            name: text("ENAME", data, ENAME)?,
            version: text("EVER", data, EVER)?,
            symbolic_name,
            trtype: TrType(need("TRTYPE", u8_at(entry, 0))?),
            adrfam: AdrFam(need("ADRFAM", u8_at(entry, 1))?),
            traddr: text("TRADDR", entry, (512, 256))?,
        })
    }
}

type Attributes = (Option<[u8; 16]>, Option<String>);

/// Reads the attributes of the entry: host identifier and symbolic name. Others are ignored.
fn attributes(entry: &[u8]) -> Result<Attributes, DimError> {
    let (mut host_id, mut symbolic_name) = (None, None);
    let mut rest = entry.get(ENTRY_HEAD_LEN..).ok_or(DimError::Short("NUMEXAT"))?;
    for _ in 0..need("NUMEXAT", u16_at(entry, 1028))? {
        let (kind, length) = (need("EXATTYPE", u16_at(rest, 0))?, need("EXATLEN", u16_at(rest, 2))?);
        if length == 0 || length % 4 != 0 {
            return Err(DimError::Value { field: "EXATLEN", value: length.into() });
        }
        let end = 4 + usize::from(length);
        let value = rest.get(4..end).ok_or(DimError::Short("EXATVAL"))?;
        match kind {
            HOST_IDENTIFIER => {
                must("EXATLEN", length.into(), 16)?;
                host_id = array(value, 0);
            }
            SYMBOLIC_NAME => {
                symbolic_name = Some(text("EXATVAL", value, (0, value.len()))?).filter(|name| !name.is_empty());
            }
            _ => {}
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok((host_id, symbolic_name))
}

fn need<T>(field: &'static str, value: Option<T>) -> Result<T, DimError> {
    value.ok_or(DimError::Short(field))
}

fn must(field: &'static str, value: u64, only: u64) -> Result<(), DimError> {
    if value == only { Ok(()) } else { Err(DimError::Value { field, value }) }
}

fn text(field: &'static str, bytes: &[u8], (at, len): (usize, usize)) -> Result<String, DimError> {
    let bytes = trimmed(bytes.get(at..at + len).ok_or(DimError::Short(field))?);
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(bytes.iter().copied().map(char::from).collect())
    } else {
        Err(DimError::Text(field))
    }
}
