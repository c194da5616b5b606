//! How the process is doing, for people who look for a fault: `process_info` on the bus.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::journal::Journal;
use crate::bus::python::python_bool;
use crate::host::Roots;
use crate::host::fabrics::Fabrics;
use crate::nvme::HostIdentity;
use crate::nvme::connect::SupportedOptions;

/// What there is to tell, whatever the core knows.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    journal: Journal,
    state_file: PathBuf,
    /// The options that the kernel takes, once it has told them.
    options: Arc<OnceLock<SupportedOptions>>,
}

impl ProcessInfo {
    /// Starts to ask the kernel what it can do. The answer may have to wait for a connect that somebody else has
    /// under way; until it is there, nothing is said about it.
    #[must_use]
    pub fn new(journal: Journal, state_file: PathBuf) -> Self {
        let options = Arc::new(OnceLock::new());
        let answer = Arc::clone(&options);
        let ask = move || {
            if let Ok(supported) = Fabrics::new(&Roots::default()).supported() {
                let _ = answer.set(supported);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("options".to_owned()).spawn(ask) {
            tracing::debug!("cannot start a thread: {error}");
        }
        Self { journal, state_file, options }
    }

    /// The log.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The keys of nvme-stas and some more; the host's secret is not among them.
    #[must_use]
    pub fn to_json(&self, identity: Option<&HostIdentity>, status: String) -> Map<String, Value> {
        let mut info = Map::new();
        let mut put = |key: &str, value: Value| info.insert(key.to_owned(), value);
        put("tron", self.journal.tron().into());
        put("log-level", self.journal.level().into());
        put("version", env!("CARGO_PKG_VERSION").into());
        put("pid", std::process::id().into());
        put("status", status.into());
        put("last known config file", self.state_file.display().to_string().into());
        if let Some(identity) = identity {
            put("hostnqn", identity.nqn.clone().into());
            put("hostid", identity.id.clone().into());
            put("symname", identity.symname.clone().into());
            if identity.key.is_some() {
                put("dhchap", "host".into());
            }
        }
        if let Some(options) = self.options.get() {
            let takes = |option: &str| python_bool(options.has(option));
            put("kernel support.TP8013", takes("discovery").into());
            put("kernel support.host_iface", takes("host_iface").into());
        }
        info
    }
}
