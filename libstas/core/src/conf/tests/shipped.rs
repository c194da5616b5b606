//! Checks that the files in etc/stas agree with the table of keys.

use crate::conf::keys::{self, Key, KeyStatus};
use crate::conf::value::Values;
use crate::conf::{StacConf, StafConf, stacd, stafd, sys};

const STAFD: &str = include_str!("../../../../../etc/stas/stafd.conf");
const STACD: &str = include_str!("../../../../../etc/stas/stacd.conf");
const SYS: &str = include_str!("../../../../../etc/stas/sys.conf");

fn text_of(file: &str) -> &'static str {
    match file {
        "stafd.conf" => STAFD,
        "stacd.conf" => STACD,
        "sys.conf" => SYS,
        _ => panic!("{file} is not shipped"),
    }
}

/// `#key=value`: a commented-out key, without its `#`. In prose the `#` is followed by a space.
fn commented(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()) && rest.contains('='))
}

/// The line `#controller=` stays a comment: it shows that there is none by default, and a warning reports an empty one.
fn uncommented(text: &str) -> String {
    let line = |line| commented(line).filter(|pair| *pair != "controller=").unwrap_or(line).to_owned() + "\n";
    text.lines().map(line).collect()
}

/// The keys of a shipped file: section, prose, and `key=value` of each.
fn documented(text: &'static str) -> Vec<(&'static str, String, &'static str)> {
    let (mut section, mut prose, mut found) = ("", String::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some(pair) = commented(line) {
            found.push((section, prose.clone(), pair));
        } else if line.is_empty() {
            prose.clear();
        } else {
            prose.push_str(line.trim_start_matches(['#', ' ']));
            prose.push(' ');
        }
    }
    found
}

fn current(keys: &'static [Key]) -> impl Iterator<Item = &'static Key> {
    keys.iter().filter(|key| key.status == KeyStatus::Current)
}

#[test]
fn the_shipped_files_are_all_defaults_without_complaint() {
    assert_eq!(stafd::parse(STAFD.as_bytes(), "f"), (StafConf::default(), Vec::new()));
    assert_eq!(stacd::parse(STACD.as_bytes(), "f"), (StacConf::default(), Vec::new()));
    assert_eq!(sys::parse(SYS.as_bytes(), "sys.conf"), (sys::SysConf::default(), Vec::new()));
}

#[test]
fn uncommented_they_are_all_defaults_without_complaint_but_for_the_examples_of_controllers() {
    let (conf, complaints) = stafd::parse(uncommented(STAFD).as_bytes(), "stafd.conf");
    assert_eq!(complaints, []);
    assert_eq!((conf.controllers.len(), conf.exclusions.len()), (4, 2));
    assert_eq!(StafConf { controllers: Vec::new(), exclusions: Vec::new(), ..conf }, StafConf::default());

    let (conf, complaints) = stacd::parse(uncommented(STACD).as_bytes(), "stacd.conf");
    assert_eq!(complaints, []);
    assert_eq!((conf.controllers.len(), conf.exclusions.len()), (3, 3));
    assert_eq!(StacConf { controllers: Vec::new(), exclusions: Vec::new(), ..conf }, StacConf::default());

    assert_eq!(sys::parse(uncommented(SYS).as_bytes(), "sys.conf"), (sys::SysConf::default(), Vec::new()));
}

/// The testing guide of nvme-stas 2.x edits the shipped files with `sed '/^#tron=false/a tron=true'` and
/// `sed '/^#controller=$/a controller=…'`.
#[test]
fn the_sed_commands_of_the_testing_guide_find_their_lines() {
    fn append(text: &str, found: impl Fn(&str) -> bool, added: &str) -> String {
        text.lines().map(|line| if found(line) { format!("{line}\n{added}\n") } else { format!("{line}\n") }).collect()
    }
    let traced = |text| append(text, |line| line.starts_with("#tron=false"), "tron=true");
    let text = append(&traced(STAFD), |line| line == "#controller=", "controller=transport=tcp;traddr=localhost");
    let (conf, complaints) = stafd::parse(text.as_bytes(), "stafd.conf");
    assert_eq!((complaints, conf.tron, conf.controllers.len()), (Vec::new(), true, 1));
    let line = "controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2014-08.com.example:one";
    let text = append(&traced(STACD), |each| each == "#controller=", line);
    let (conf, complaints) = stacd::parse(text.as_bytes(), "stacd.conf");
    assert_eq!((complaints, conf.tron, conf.controllers.len()), (Vec::new(), true, 1));
}

#[test]
fn every_key_stands_once_in_its_section_with_its_default() {
    for (file, keys) in keys::FILES {
        let documented = documented(text_of(file));
        for key in current(keys) {
            let pairs: Vec<_> = documented
                .iter()
                .filter(|(section, _, pair)| *section == key.section && pair.split('=').next() == Some(key.name))
                .map(|(_, _, pair)| *pair)
                .collect();
            if key.values == Values::Pairs {
                assert!(!pairs.is_empty(), "{file}: {}", key.name);
            } else {
                assert_eq!(pairs, [format!("{}={}", key.name, key.default)], "{file}");
            }
        }
    }
}

#[test]
fn nothing_is_documented_that_is_no_key() {
    for (file, keys) in keys::FILES {
        for (section, _, pair) in documented(text_of(file)) {
            let name = pair.split('=').next();
            assert!(current(keys).any(|key| key.section == section && name == Some(key.name)), "{file}: {pair}");
        }
    }
}

#[test]
fn the_prose_names_the_key_its_values_its_default_and_an_example() {
    for (file, keys) in keys::FILES {
        let documented = documented(text_of(file));
        for key in current(keys) {
            let start = format!("{}: ", key.name);
            let (_, prose, _) = documented
                .iter()
                .find(|(section, prose, _)| *section == key.section && prose.starts_with(&start))
                .unwrap_or_else(|| panic!("{file}: no prose starts with {start}"));
            let mut words: Vec<String> = match key.values {
                Values::Bool => vec!["true".into(), "false".into()],
                Values::OneOf(words) | Values::AnyOf(words) => words.iter().map(|word| (*word).to_owned()).collect(),
                Values::Number { min, max, .. } => vec![format!("{min} to {max}")],
                Values::TimeSpan => vec!["time span".into(), "-1".into()],
                Values::Pairs => vec!["Examples:".into()],
                Values::Source | Values::Text(_) => Vec::new(),
            };
            if key.default.is_empty() {
                words.push("y default".into());
            }
            if key.values != Values::Pairs {
                words.push(format!("Example: {}=", key.name));
            }
            for word in words {
                assert!(prose.contains(&word), "{file}: {} does not tell {word:?}: {prose}", key.name);
            }
        }
    }
}

#[test]
fn every_example_in_the_prose_is_a_value_of_its_key() {
    for (file, keys) in keys::FILES {
        for key in current(keys).filter(|key| key.values != Values::Pairs) {
            let all: String = documented(text_of(file)).into_iter().map(|(_, prose, _)| prose).collect();
            let start = format!("Example: {}=", key.name);
            let example = all.split(&start).nth(1).unwrap_or_else(|| panic!("{file}: {start}"));
            let one_line = text_of(file).lines().find_map(|line| line.split(&start).nth(1)).unwrap_or(example).trim();
            assert!(key.values.read(one_line).is_ok(), "{file}: {}={one_line}", key.name);
            assert_ne!(one_line, key.default, "{file}: the example of {} changes nothing", key.name);
        }
    }
}

#[test]
fn the_keys_of_controller_and_exclude_are_documented() {
    for (text, keys) in [(STAFD, keys::STAFD), (STACD, keys::STACD)] {
        let documented = documented(text);
        let prose = |name: &str| {
            let start = format!("{name}: ");
            documented
                .iter()
                .find(|(_, prose, _)| prose.starts_with(&start))
                .map(|(_, prose, _)| prose.clone())
                .unwrap()
        };
        let controller = prose("controller");
        for key in keys::IDENTITY.iter().filter(|key| key.name != "subsysnqn") {
            assert!(controller.contains(key.name), "{}", key.name);
        }
        for key in keys::PARAMETERS {
            let here = keys.iter().find(|here| here.is(key)).unwrap();
            assert_eq!(controller.contains(key.name), here.status == KeyStatus::Current, "{}", key.name);
        }
        for name in ["transport", "traddr", "trsvcid", "nqn", "host-iface", "host-nqn"] {
            assert!(prose("exclude").contains(name), "{name}");
        }
    }
}
