//! The output of `nvmet ls`: tables for people, JSON for programs. Neither contains keys.

mod json;
mod table;

use std::collections::BTreeSet;

use crate::actual::{Actual, Host, Key};
use crate::record::Record;

/// The forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for people
    Table,
    /// One JSON object for programs
    Json,
}

/// Lists everything that exists, including what other tools created.
#[must_use]
pub fn list(observed: &Actual, record: &Record, format: Format) -> String {
    match format {
        Format::Json => format!("{:#}", json::object(observed, record)),
        Format::Table => table::tables(observed, record),
    }
}

/// Which sides authenticate, without the keys.
fn keys(host: &Host) -> &'static str {
    match (&host.dhchap_key, &host.dhchap_ctrl_key) {
        (Key::Hidden, _) | (_, Key::Hidden) => "only root may see",
        (Key::Unset, _) => "none",
        (Key::Set(_), Key::Unset) => "host",
        (Key::Set(_), Key::Set(_)) => "host and target",
    }
}

fn exporting(observed: &Actual, nqn: &str) -> BTreeSet<u16> {
    observed.ports.iter().filter(|(_, port)| port.exports.contains(nqn)).map(|(id, _)| *id).collect()
}
