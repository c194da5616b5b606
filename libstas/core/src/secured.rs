//! Remembers which controllers have a secret or TLS in the configuration, without the secrets.
//!
//! A controller can stay wanted although its `controller=` cannot be read: the line is damaged, or the host had another
//! NQN when it was connected. Then its secret is unknown, and no new connection is made until it is known again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use stas_nvme::secret::WITHHELD;
use stas_nvme::security::{Requirement, Tls};
use stas_nvme::{Parameters, Secret, Tid};

/// The controllers that the configuration secured when it last listed them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secured {
    /// Controllers with a DH-HMAC-CHAP secret.
    #[serde(default)]
    by_secret: BTreeSet<Tid>,
    /// Controllers with TLS.
    #[serde(default)]
    by_tls: BTreeSet<Tid>,
}

impl Secured {
    /// Takes the parameters with which the configuration lists a controller.
    pub fn note(&mut self, tid: &Tid, parameters: &Parameters) {
        let has_secret = parameters.dhchap_secret.is_some() || parameters.dhchap_ctrl_secret.is_some();
        let has_tls = parameters.tls.is_some_and(Tls::is_required);
        for (noted, is_so) in [(&mut self.by_secret, has_secret), (&mut self.by_tls, has_tls)] {
            match is_so {
                true => drop(noted.insert(tid.clone())),
                false => drop(noted.remove(tid)),
            }
        }
    }

    /// Forgets all controllers but these.
    pub fn retain(&mut self, is_known: impl Fn(&Tid) -> bool) {
        self.by_secret.retain(|tid| is_known(tid));
        self.by_tls.retain(|tid| is_known(tid));
    }

    /// Adds what the configuration last required to `parameters`. While the secret is unknown, or if TLS is required,
    /// no connection is made with the result.
    #[must_use]
    pub fn apply(&self, tid: &Tid, mut parameters: Parameters) -> Parameters {
        if self.by_secret.contains(tid) && parameters.dhchap_secret.is_none() {
            parameters.dhchap_secret = Some(Secret::new(WITHHELD));
        }
        if self.by_tls.contains(tid) {
            parameters.tls = Tls::stricter(parameters.tls, Some(Tls::Required(Requirement::Configured)));
        }
        parameters
    }
}
