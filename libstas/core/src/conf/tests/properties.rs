//! Properties that hold for any text.

use proptest::prelude::*;

use super::{stac, staf};
use crate::conf::keys::{self, Key, KeyStatus};
use crate::conf::value::Values;
use crate::conf::{Complaint, StacConf, StafConf, stacd, stafd};

/// A line of a file, valid or damaged by people or machines.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(keys::STAFD.iter().chain(keys::STACD).map(|key| key.name).collect::<Vec<_>>());
    let section =
        prop::sample::select(keys::STAFD.iter().chain(keys::STACD).map(|key| key.section).collect::<Vec<_>>());
    prop_oneof![
        section.prop_map(|section| format!("[{section}]").into_bytes()),
        (key, "[ -~]{0,20}|true|4|transport=tcp;traddr=::1")
            .prop_map(|(key, value)| format!("{key}={value}").into_bytes()),
        "[ -~]{0,30}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(line(), 0..20).prop_map(|lines| lines.join(&b'\n'))
}

/// A valid value of a key, sometimes its default.
fn value(key: &'static Key) -> BoxedStrategy<String> {
    match key.values {
        Values::Bool => any::<bool>().prop_map(|on| on.to_string()).boxed(),
        // tls=true causes a complaint: this version has no TLS.
        Values::OneOf(_) if key.name == "tls" => {
            prop::sample::select(&["auto", "false"]).prop_map(str::to_owned).boxed()
        }
        Values::OneOf(words) => prop::sample::select(words).prop_map(str::to_owned).boxed(),
        Values::AnyOf(words) => {
            prop::sample::subsequence(words, 1..=words.len()).prop_map(|words| words.join("+")).boxed()
        }
        Values::Number { min, max, .. } => (min..=max).prop_map(|number| number.to_string()).boxed(),
        Values::TimeSpan => (0_u32..1000, 0_u32..60).prop_map(|(h, m)| format!("{h}h{m}m")).boxed(),
        Values::Pairs | Values::Source | Values::Text(_) => Just("transport=tcp;nqn=a".to_owned()).boxed(),
    }
}

/// Every key of a file with a value, in the order of the table.
fn assignments(keys: &'static [Key]) -> impl Strategy<Value = Vec<(&'static Key, String)>> {
    let one = |key: &'static Key| value(key).prop_map(move |value| (key, value));
    let keys = keys.iter().filter(|key| key.status == KeyStatus::Current && key.name != "controller");
    keys.map(one).collect::<Vec<_>>()
}

fn written(assignments: &[(&'static Key, String)]) -> String {
    assignments.iter().map(|(key, value)| format!("[{}]\n{} = {value}\n", key.section, key.name)).collect()
}

fn are_in_order(complaints: &[Complaint], text: &[u8]) -> bool {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    let of_lines: Vec<usize> = complaints.iter().map(|complaint| complaint.line).filter(|line| *line > 0).collect();
    of_lines.is_sorted() && of_lines.iter().all(|line| *line <= lines)
}

proptest! {
    #[test]
    fn any_bytes_give_settings(text: Vec<u8>) {
        let (_, complaints) = stafd::parse(&text, "f");
        prop_assert!(are_in_order(&complaints, &text));
        let (_, complaints) = stacd::parse(&text, "f");
        prop_assert!(are_in_order(&complaints, &text));
    }

    #[test]
    fn any_lines_give_settings(text in text()) {
        let (_, complaints) = stafd::parse(&text, "f");
        prop_assert!(are_in_order(&complaints, &text));
        let (_, complaints) = stacd::parse(&text, "f");
        prop_assert!(are_in_order(&complaints, &text));
    }

    #[test]
    fn every_allowed_value_is_taken_without_complaint(
        of_stafd in assignments(keys::STAFD), of_stacd in assignments(keys::STACD)
    ) {
        staf(&written(&of_stafd));
        stac(&written(&of_stacd));
    }

    #[test]
    fn numbers_and_switches_are_read_back(
        kato in 1_u32..=4_294_967, size in 16_u32..=1024, loss in -1_i32.., digest: bool, zeroconf: bool, hours in 0_u64..10_000
    ) {
        let switch = if zeroconf { "enabled" } else { "disabled" };
        let conf = staf(&format!(
            "[Global]\nkato={kato}\nqueue-size={size}\nctrl-loss-tmo={loss}\nhdr-digest={digest}\n\
             [Service Discovery]\nzeroconf={switch}\n\
             [Discovery controller connection management]\nzeroconf-connections-persistence={hours} hours\n"
        ));
        let parameters = conf.parameters;
        prop_assert_eq!(
            (parameters.kato, parameters.queue_size, parameters.ctrl_loss_tmo, parameters.hdr_digest, conf.zeroconf),
            (Some(kato), Some(size), Some(loss), Some(digest), zeroconf)
        );
        let span = std::time::Duration::from_secs(hours * 3600);
        prop_assert_eq!(conf.zeroconf_persistence, crate::conf::Persistence::For(span));
    }

    #[test]
    fn what_is_unknown_never_disturbs_what_is_known(
        known in assignments(keys::STACD),
        unknown in prop::collection::vec(("x-[a-z-]{1,20}", "[ -~]{0,30}"), 1..8),
        at in prop::collection::vec(any::<prop::sample::Index>(), 8)
    ) {
        let clean = stac(&written(&known));
        let mut lines: Vec<String> = written(&known).lines().map(str::to_owned).collect();
        for ((key, value), at) in unknown.iter().zip(&at) {
            lines.insert(at.index(lines.len() + 1), format!("{key}={value}"));
        }
        let (conf, complaints) = stacd::parse(lines.join("\n").as_bytes(), "f");
        prop_assert_eq!(complaints.len(), unknown.len());
        prop_assert!(complaints.iter().all(|complaint| complaint.severity.is_error()));
        let without_lines = |conf: StacConf| {
            let exclusions = conf.exclusions.into_iter().map(|exclusion| crate::conf::Exclusion { line: 0, ..exclusion });
            StacConf { exclusions: exclusions.collect(), ..conf }
        };
        prop_assert_eq!(without_lines(conf), without_lines(clean));
    }
}

#[test]
fn overlong_and_non_utf_8_lines_are_ignored_alone() {
    let long = "x".repeat(1 << 20);
    let text = [format!("[Global]\nkato=1\nkato={long}\n").as_bytes(), b"tron=\xff\xfe\nhdr-digest=true\n"].concat();
    let (conf, complaints) = stafd::parse(&text, "f");
    assert_eq!((conf.parameters.kato, conf.tron, conf.parameters.hdr_digest), (Some(1), false, Some(true)));
    let told: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "f:3: the line is 1048581 bytes long, at most 16384 are read; it is ignored",
            "f:4: the line is not UTF-8 text; it is ignored"
        ]
    );
}

#[test]
fn invalid_input_of_a_megabyte_causes_at_most_a_hundred_log_lines() {
    let text = "[Global]\n".to_owned() + &"rubbish=1\n".repeat(100_000);
    let (conf, complaints) = stafd::parse(text.as_bytes(), "f");
    assert_eq!(conf, StafConf::default());
    assert_eq!(complaints.len(), 101);
}
