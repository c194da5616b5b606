//! Parses stafd.conf.

use super::entry::{Role, complain_of_duplicates, controller, exclusion};
use super::keys::{self, STAFD};
use super::parameters;
use super::settings::KeyedFile;
use super::types::{Complaint, FamilyOrder, Persistence, StafConf};
use super::value::Setting;

/// Parses stafd.conf. `file` is the file's name in complaints. An invalid line is reported and ignored; the other lines
/// apply. If the line may be a `controller=`, `lost_line` is its number.
#[must_use]
pub fn parse(text: &[u8], file: &str) -> (StafConf, Vec<Complaint>) {
    let mut settings = KeyedFile::read(text, file, STAFD);
    let (controllers, lost_line) =
        settings.controllers(|text, line, complaints| controller(text, line, Role::Discovery, STAFD, complaints));
    complain_of_duplicates(&controllers, &mut settings);
    let conf = StafConf {
        tron: settings.flag(&keys::TRON),
        parameters: parameters::global(&mut settings, STAFD),
        ignore_iface: settings.flag(&keys::IGNORE_IFACE),
        ip_family: FamilyOrder::of(settings.word(&keys::IP_FAMILY)),
        pleo: settings.word(&keys::PLEO) == "enabled",
        zeroconf: settings.word(&keys::ZEROCONF) == "enabled",
        max_announced: settings.maximum(&keys::MAX_ANNOUNCED),
        max_referrals: settings.maximum(&keys::MAX_REFERRALS),
        persistent_connections: persistent_connections(&mut settings),
        zeroconf_persistence: persistence(&mut settings),
        polls_without_epcsd: settings.word(&keys::EPCSD) == "poll",
        controllers,
        lost_line,
        exclusions: settings.entries(&[&keys::EXCLUDE, &keys::BLACKLIST], exclusion),
    };
    (conf, settings.into_complaints())
}

impl Default for StafConf {
    /// The settings of an empty file.
    fn default() -> Self {
        parse(b"", "").0
    }
}

/// Reads persistent-connections. Earlier versions had it in `[Global]`; its present section takes precedence.
fn persistent_connections(settings: &mut KeyedFile<'_>) -> bool {
    let old = settings.has(&keys::OLD_PERSISTENT_CONNECTIONS) && !settings.has(&keys::PERSISTENT_CONNECTIONS);
    settings.flag(if old { &keys::OLD_PERSISTENT_CONNECTIONS } else { &keys::PERSISTENT_CONNECTIONS })
}

fn persistence(settings: &mut KeyedFile<'_>) -> Persistence {
    match settings.value(&keys::ZEROCONF_PERSISTENCE) {
        Some(Setting::TimeSpan(span)) => span.duration().map_or(Persistence::Forever, Persistence::For),
        _ => Persistence::Forever,
    }
}
