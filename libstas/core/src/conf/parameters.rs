//! Connection parameters of `[Global]` and of one controller.

use super::keys::{self, Key, KeyStatus};
use super::settings::KeyedFile;
use super::value::Setting;
use stas_nvme::Parameters;
use stas_nvme::security::{Requirement, Tls};

/// Reads the connection parameters of `[Global]`.
pub(crate) fn global(settings: &mut KeyedFile<'_>, keys: &[Key]) -> Parameters {
    let mut parameters = Parameters::default();
    for key in keys.iter().filter(|key| key.status == KeyStatus::Current && is_parameter(key.name)) {
        if let Some(setting) = settings.value(key) {
            set(&mut parameters, key.name, &setting);
        }
    }
    if let Some(line) = settings.secure_channel() {
        parameters.tls = Some(REQUIRED);
        settings.error(line, format!("TLS is required for all controllers of this file: {NO_TLS}"));
    } else if parameters.tls == Some(REQUIRED) {
        let line = settings.line(&keys::TLS);
        settings.error(line, format!("[Global] tls: it is required for all controllers of this file: {NO_TLS}"));
    }
    parameters
}

/// `tls=true`, or a value that is treated like it.
pub(crate) const REQUIRED: Tls = Tls::Required(Requirement::Configured);
/// Consequence of required TLS in this version, for complaints.
pub(crate) const NO_TLS: &str = "this version does not support TLS, so nothing is connected: it would not be encrypted";

fn is_parameter(name: &str) -> bool {
    keys::PARAMETERS.iter().any(|key| key.section == keys::GLOBAL && key.name == name)
}

/// Sets the parameter with the name of the key.
pub(crate) fn set(parameters: &mut Parameters, name: &str, setting: &Setting) {
    match *setting {
        Setting::Bool(on) => match name {
            "hdr-digest" => parameters.hdr_digest = Some(on),
            "data-digest" => parameters.data_digest = Some(on),
            "disable-sqflow" => parameters.disable_sqflow = Some(on),
            _ => {}
        },
        Setting::Word("true") if name == "tls" => parameters.tls = Some(REQUIRED),
        Setting::Word("false") if name == "tls" => parameters.tls = Some(Tls::Prohibited),
        Setting::Number(number) if name == "ctrl-loss-tmo" => parameters.ctrl_loss_tmo = i32::try_from(number).ok(),
        Setting::Number(number) => {
            let number = u32::try_from(number).ok();
            match name {
                "kato" => parameters.kato = number,
                "queue-size" => parameters.queue_size = number,
                "nr-io-queues" => parameters.nr_io_queues = number,
                "nr-write-queues" => parameters.nr_write_queues = number,
                "nr-poll-queues" => parameters.nr_poll_queues = number,
                "reconnect-delay" => parameters.reconnect_delay = number,
                _ => {}
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_the_table_is_one_that_can_be_set() {
        for key in keys::PARAMETERS {
            let mut parameters = Parameters::default();
            for text in ["true", "20"] {
                if let Ok(setting) = key.values.read(text) {
                    set(&mut parameters, key.name, &setting);
                }
            }
            assert_ne!(parameters, Parameters::default(), "{}", key.name);
        }
    }

    #[test]
    fn both_ends_of_every_range_fit() {
        for key in keys::PARAMETERS {
            let super::super::value::Values::Number { min, max, .. } = key.values else { continue };
            for number in [min, max] {
                let mut parameters = Parameters::default();
                set(&mut parameters, key.name, &Setting::Number(number));
                assert_ne!(parameters, Parameters::default(), "{}={number}", key.name);
            }
        }
    }
}
