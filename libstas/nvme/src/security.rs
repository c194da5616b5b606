//! Whether a connection must be encrypted. This version has no TLS: such a connection cannot be made.
//!
//! | SECTYPE | TREQ bits 1:0 | `tls=auto` | `tls=true` | `tls=false` |
//! |---|---|---|---|---|
//! | 0 | any | unencrypted | not connected | unencrypted |
//! | 1, 2, or unknown | not required | unencrypted | not connected | unencrypted |
//! | 1, 2, or unknown | required, not specified | not connected | not connected | not connected |
//!
//! SECTYPE 0 means that the host sets up a normal TCP connection (NVMe TCP Transport 1.0c). Some targets set TREQ to
//! required nevertheless.
//!
//! A controller that must not be connected unencrypted waits, with the reason. An existing connection is kept.

use super::log_page::{Entry, SecType, Treq, Tsas};

/// Required protection of a connection. If it is unset, the log page decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `tls=false`: no TLS.
    Prohibited,
    /// TLS is required, for this reason.
    Required(Requirement),
    /// `tls=false` is configured, but TLS is required.
    Contradictory,
}

impl Tls {
    /// The stricter of two demands on one connection.
    #[must_use]
    pub fn stricter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let rank = |tls: &Option<Self>| match tls {
            None => 0,
            Some(Self::Prohibited) => 1,
            Some(Self::Required(_) | Self::Contradictory) => 2,
        };
        if rank(&other) > rank(&one) { other } else { one }
    }

    /// True if the connection must be encrypted.
    #[must_use]
    pub fn is_required(self) -> bool {
        matches!(self, Self::Required(_) | Self::Contradictory)
    }
}

/// Why a connection must be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `tls=true` in the configuration.
    Configured,
    /// The log page entry names TLS 1.3.
    Listed,
    /// The log page entry names TLS 1.2, which no Linux kernel has.
    ListedTls12,
    /// The log page entry names a security type that is not known.
    ListedUnknown,
    /// The security profile of the firmware's boot table requires a secure channel.
    Firmware,
    /// The last connection was encrypted.
    Before,
}

/// Why no connection may be made with these parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// See [`Requirement::Configured`].
    #[error("TLS is required (tls=true), and this version has no TLS yet; it is not connected unencrypted")]
    Configured,
    /// See [`Requirement::Listed`].
    #[error("TLS is required, says its discovery controller, and this version has no TLS yet")]
    Listed,
    /// See [`Requirement::ListedTls12`].
    #[error("it requires TLS 1.2; the kernel has 1.3 only")]
    ListedTls12,
    /// See [`Requirement::ListedUnknown`].
    #[error("a secure channel is required, but none that this kernel has")]
    ListedUnknown,
    /// See [`Requirement::Firmware`].
    #[error("TLS is required, says the boot table (NBFT), and this version has no TLS yet")]
    Firmware,
    /// See [`Requirement::Before`].
    #[error(
        "TLS is required: its last connection was encrypted, and this version has no TLS yet. `nvme connect --tls` \
         connects it again; tls=false allows an unencrypted connection"
    )]
    Before,
    /// See [`Tls::Contradictory`].
    #[error("it requires TLS, and tls=false")]
    Contradictory,
    /// A DH-HMAC-CHAP secret is required, but not known.
    #[error("its DH-HMAC-CHAP secret is not known: the configuration file that it is in is missing or cannot be read")]
    SecretWithheld,
    /// The host's own DH-HMAC-CHAP secret is malformed or cannot be read.
    #[error(
        "the DH-HMAC-CHAP secret of this host (/etc/nvme/hostkey, or key= in sys.conf) is malformed or unreadable; \
         correct it, then `systemctl reload stafd stacd`"
    )]
    HostSecretUnusable,
}

impl Requirement {
    /// What a log page entry requires. `None`: encryption is not required.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let Tsas::Tcp { sectype } = entry.tsas else { return None };
        if entry.treq.secure_channel() == Treq::NOT_REQUIRED {
            return None;
        }
        match sectype {
            SecType::NONE => None,
            SecType::TLS => Some(Self::ListedTls12),
            SecType::TLS13 => Some(Self::Listed),
            _ => Some(Self::ListedUnknown),
        }
    }
}
