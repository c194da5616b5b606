//! The protection that connection parameters demand: what prevents a connection, and how demands are combined.

use super::Parameters;
use crate::log_page::Entry;
use crate::secret::{DhchapSecrets, Secret};
use crate::security::{Obstacle, Requirement, Tls};

impl Parameters {
    /// The DH-HMAC-CHAP secrets of a connection with these parameters. `None` without a usable one.
    #[must_use]
    pub fn dhchap_secrets(&self, host_key: Option<&Secret>) -> Option<DhchapSecrets> {
        DhchapSecrets::of(self.dhchap_secret.as_ref(), self.dhchap_ctrl_secret.as_ref(), host_key)
    }

    /// Why no connection may be made with these parameters.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        let secrets = [&self.dhchap_secret, &self.dhchap_ctrl_secret];
        match self.tls {
            Some(Tls::Required(Requirement::Configured)) => Some(Obstacle::Configured),
            Some(Tls::Required(Requirement::Listed)) => Some(Obstacle::Listed),
            Some(Tls::Required(Requirement::ListedTls12)) => Some(Obstacle::ListedTls12),
            Some(Tls::Required(Requirement::ListedUnknown)) => Some(Obstacle::ListedUnknown),
            Some(Tls::Required(Requirement::Firmware)) => Some(Obstacle::Firmware),
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
    pub fn listed_by(self, entry: &Entry) -> Self {
        match Requirement::of(entry) {
            Some(why) => self.encrypted(why),
            None => self,
        }
    }

    /// These parameters for a controller whose connection must be encrypted, for this reason.
    #[must_use]
    pub fn encrypted(mut self, why: Requirement) -> Self {
        self.tls = match self.tls {
            None => Some(Tls::Required(why)),
            Some(Tls::Prohibited) => Some(Tls::Contradictory),
            before => before,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_page::{AdrFam, EFlags, SecType, Subtype, TrType, Treq, Tsas};

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
