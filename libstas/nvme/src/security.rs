//! Whether a connection must be encrypted. This version has no TLS: such a connection cannot be made.
//!
//! | SECTYPE | TREQ bits 1:0 | `tls=auto` | `tls=true` | `tls=false` |
//! |---|---|---|---|---|
//! | 0 | any | unencrypted | not connected | unencrypted |
//! | 1, 2, or unknown | not required | unencrypted | not connected | unencrypted |
//! | 1, 2, or unknown | required, not specified | not connected | not connected | not connected |
//!
//! SECTYPE 0 means that the host sets up a normal TCP connection (NVMe TCP Transport 1.0c). Some targets set TREQ to
//! required next to it.
//!
//! A controller that must not be connected unencrypted waits, with the reason. An existing connection is kept.

use super::log_page::{Entry, SecType, Treq, Tsas};
use super::{Parameters, Secret};

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
}

impl Parameters {
    /// Why no connection may be made with these parameters.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let secrets = [&self.dhchap_secret, &self.dhchap_ctrl_secret];
        match self.tls {
            Some(Tls::Required(Requirement::Configured)) => Some(Obstacle::Configured),
            Some(Tls::Required(Requirement::Listed)) => Some(Obstacle::Listed),
            Some(Tls::Required(Requirement::ListedTls12)) => Some(Obstacle::ListedTls12),
            Some(Tls::Required(Requirement::ListedUnknown)) => Some(Obstacle::ListedUnknown),
            Some(Tls::Required(Requirement::Before)) => Some(Obstacle::Before),
            Some(Tls::Contradictory) => Some(Obstacle::Contradictory),
            Some(Tls::Prohibited) | None => {
                secrets.into_iter().flatten().any(Secret::is_withheld).then_some(Obstacle::SecretWithheld)
            }
        }
    }

    /// Adds what another source demands of the same connection: it is as secure as either wants it.
    pub fn secure_like(&mut self, other: &Self) {
        self.tls = Tls::stricter(self.tls, other.tls);
        for (own, theirs) in
            [(&mut self.dhchap_secret, &other.dhchap_secret), (&mut self.dhchap_ctrl_secret, &other.dhchap_ctrl_secret)]
        {
            if own.is_none() {
                own.clone_from(theirs);
            }
        }
    }

    /// These parameters for a controller listed by this log page entry.
    #[must_use]
    pub fn listed_by(mut self, entry: &Entry) -> Self {
        if let Some(why) = Requirement::of(entry) {
            self.tls = match self.tls {
                None => Some(Tls::Required(why)),
                Some(Tls::Prohibited) => Some(Tls::Contradictory),
                before => before,
            };
        }
        self
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_page::{AdrFam, EFlags, Subtype, TrType};

    fn entry(sectype: u8, treq: u8) -> Entry {
        Entry {
            trtype: TrType::TCP,
            adrfam: AdrFam::IPV4,
            subtype: Subtype::NVME,
            treq: Treq(treq),
            portid: 1,
            cntlid: 0xffff,
            asqsz: 32,
            eflags: EFlags(0),
            trsvcid: "4420".into(),
            subnqn: "nqn.a".into(),
            traddr: "192.0.2.1".into(),
            tsas: Tsas::Tcp { sectype: SecType(sectype) },
        }
    }

    #[test]
    fn the_table_decides_which_entries_are_connected() {
        const NOT_SPECIFIED: u8 = 4;
        const REQUIRED: u8 = 5;
        const NOT_REQUIRED: u8 = 6;
        let is_true = Some(Tls::Required(Requirement::Configured));
        for (sectype, treq, auto, prohibited) in [
            (0, NOT_SPECIFIED, None, None),
            (0, REQUIRED, None, None),
            (2, NOT_REQUIRED, None, None),
            (1, NOT_REQUIRED, None, None),
            (2, NOT_SPECIFIED, Some(Obstacle::Listed), Some(Obstacle::Contradictory)),
            (2, REQUIRED, Some(Obstacle::Listed), Some(Obstacle::Contradictory)),
            (1, REQUIRED, Some(Obstacle::ListedTls12), Some(Obstacle::Contradictory)),
            (7, REQUIRED, Some(Obstacle::ListedUnknown), Some(Obstacle::Contradictory)),
        ] {
            let with = |tls| Parameters { tls, ..Parameters::default() }.listed_by(&entry(sectype, treq)).obstacle();
            assert_eq!(with(None), auto, "{sectype} {treq}");
            assert_eq!(with(Some(Tls::Prohibited)), prohibited, "{sectype} {treq}");
            assert_eq!(with(is_true), Some(Obstacle::Configured), "{sectype} {treq}");
        }
        let rdma = Entry { tsas: Tsas::Rdma { qptype: 1, prtype: 1, cms: 1, pkey: 0 }, ..entry(2, REQUIRED) };
        assert_eq!(Parameters::default().listed_by(&rdma).obstacle(), None);
    }

    #[test]
    fn a_secret_that_is_not_known_is_an_obstacle() {
        let withheld = Some(Secret::new(crate::secret::WITHHELD));
        for parameters in [
            Parameters { dhchap_secret: withheld.clone(), ..Parameters::default() },
            Parameters { dhchap_ctrl_secret: withheld, ..Parameters::default() },
        ] {
            assert_eq!(parameters.obstacle(), Some(Obstacle::SecretWithheld));
        }
    }
}
