//! Parses stacd.conf.

use std::collections::BTreeSet;

use super::entry::{Role, complain_of_duplicates, controller, exclusion};
use super::keys::{self, STACD};
use super::parameters;
use super::scope;
use super::settings::KeyedFile;
use super::types::{Complaint, FamilyOrder, InUse, StacConf};
use super::value::Setting;
use stas_nvme::Transport;

/// Minimum number of connect attempts on a controller with NCC: with one attempt its result could not change anything.
const ATTEMPTS_MIN: u32 = 2;

/// Parses stacd.conf. `file` is the file's name in complaints. An invalid line is reported and ignored; the other lines
/// apply. If the line may be a `controller=`, `lost_line` is its number.
#[must_use]
pub fn parse(text: &[u8], file: &str) -> (StacConf, Vec<Complaint>) {
    let mut settings = KeyedFile::read(text, file, STACD);
    let (controllers, lost_line) =
        settings.controllers(|text, line, complaints| controller(text, line, Role::Io, STACD, complaints));
    complain_of_duplicates(&controllers, &mut settings);
    let conf = StacConf {
        tron: settings.flag(&keys::TRON),
        parameters: parameters::global(&mut settings, STACD),
        ignore_iface: settings.flag(&keys::IGNORE_IFACE),
        ip_family: FamilyOrder::of(settings.word(&keys::IP_FAMILY)),
        disconnect_scope: scope::read(&mut settings),
        disconnect_trtypes: disconnect_trtypes(&mut settings),
        connect_attempts_on_ncc: connect_attempts_on_ncc(&mut settings),
        max_per_announced_dc: settings.maximum(&keys::MAX_PER_ANNOUNCED_DC),
        in_use: match settings.word(&keys::IN_USE) {
            "disconnect" => InUse::Disconnect,
            _ => InUse::Keep,
        },
        controllers,
        lost_line,
        exclusions: settings.entries(&[&keys::EXCLUDE, &keys::BLACKLIST], exclusion),
    };
    (conf, settings.into_complaints())
}

impl Default for StacConf {
    /// The settings of an empty file.
    fn default() -> Self {
        parse(b"", "").0
    }
}

fn disconnect_trtypes(settings: &mut KeyedFile<'_>) -> BTreeSet<Transport> {
    match settings.value(&keys::DISCONNECT_TRTYPES) {
        Some(Setting::Words(words)) => words.iter().filter_map(|word| word.parse().ok()).collect(),
        _ => BTreeSet::new(),
    }
}

fn connect_attempts_on_ncc(settings: &mut KeyedFile<'_>) -> Option<u32> {
    match settings.value(&keys::CONNECT_ATTEMPTS_ON_NCC) {
        Some(Setting::Number(attempts)) if attempts > 0 => u32::try_from(attempts).ok().map(|n| n.max(ATTEMPTS_MIN)),
        _ => None,
    }
}
