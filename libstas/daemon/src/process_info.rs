//! The state of the process, for troubleshooting: `process_info` on the bus.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::journal::Journal;
use stas_bus::python::python_bool;
use stas_linux::Roots;
use stas_linux::fabrics::Fabrics;
use stas_nvme::HostIdentity;
use stas_nvme::connect::SupportedOptions;

/// The part of `process_info` that does not depend on the core.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    journal: Journal,
    state_file: PathBuf,
    /// Options that the kernel supports. Empty until the kernel has answered.
    options: Arc<OnceLock<SupportedOptions>>,
}

impl ProcessInfo {
    /// Starts a thread that reads the kernel's supported options. The kernel may answer only after another program's
    /// connect has ended; until then, the answer to `process_info` does not contain them.
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

    /// The daemon's log, of which `process_info` shows the level.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The keys of nvme-stas and some more, without the host's secret.
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
