#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::*;

#[test]
fn the_list_of_controllers_is_what_scripts_parse() {
    let controllers = json!([
        {"device": "nvme0", "transport": "tcp", "traddr": "::1", "trsvcid": "8009", "host-iface": "", "host-traddr": "",
         "host-nqn": "nqn.2014-08.org.nvmexpress:uuid:c4f7e2b6-9a3e-4a7e-9d50-0f8f0e0f6a11",
         "subsysnqn": "nqn.2014-08.org.nvmexpress.discovery"},
        {"device": "nvme?", "transport": "tcp", "traddr": "192.0.2.1", "trsvcid": "8009"},
    ]);
    assert_eq!(
        pformat(&controllers),
        "[{'device': 'nvme0',
  'host-iface': '',
  'host-nqn': 'nqn.2014-08.org.nvmexpress:uuid:c4f7e2b6-9a3e-4a7e-9d50-0f8f0e0f6a11',
  'host-traddr': '',
  'subsysnqn': 'nqn.2014-08.org.nvmexpress.discovery',
  'traddr': '::1',
  'transport': 'tcp',
  'trsvcid': '8009'},
 {'device': 'nvme?', 'traddr': '192.0.2.1', 'transport': 'tcp', 'trsvcid': '8009'}]"
    );
}

#[test]
fn empty_containers_stay_short() {
    assert_eq!(pformat(&json!([])), "[]");
    assert_eq!(pformat(&json!({})), "{}");
    assert_eq!(pformat(&json!("")), "''");
    assert_eq!(pformat(&json!([{}, [], ""])), "[{}, [], '']");
}

#[test]
fn constants_and_numbers_are_those_of_python() {
    let values = json!([null, true, false, 0, -7, u64::MAX, 1.0, 0.1, 1e16, 1.5e300, 1e-5, 2.5e-7, 123456789012345.0]);
    assert_eq!(
        pformat(&values),
        "[None, True, False, 0, -7, 18446744073709551615, 1.0, 0.1, 1e+16, 1.5e+300, 1e-05, 2.5e-07, 123456789012345.0]"
    );
}

#[test]
fn floats_have_the_digits_of_python() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (100.0, "100.0"),
        (12.5, "12.5"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (9999999999999998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (1.25e22, "1.25e+22"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        // Halfway between two shortest representations: the even one.
        (-2231368259876851.3, "-2231368259876851.2"),
    ];
    for (float, expected) in cases {
        assert_eq!(pformat(&json!(float)), expected);
    }
}

#[test]
fn quotes_and_escapes_are_those_of_repr() {
    let cases = [
        ("it's", r#""it's""#),
        (r#"say "no""#, r#"'say "no"'"#),
        (r#"it's "no""#, r#"'it\'s "no"'"#),
        ("a\\b\tc\nd\re", r"'a\\b\tc\nd\re'"),
        ("\0\x1b\x7f\u{80}\u{a0}\u{ad}", r"'\x00\x1b\x7f\x80\xa0\xad'"),
        ("é…漢🦀", "'é…漢🦀'"),
        ("\u{200b}\u{2028}\u{e000}\u{feff}", r"'\u200b\u2028\ue000\ufeff'"),
        ("\u{e0041}\u{10ffff}", r"'\U000e0041\U0010ffff'"),
        ("e\u{301}", "'e\u{301}'"),
        ("\u{301}", "'\u{301}'"),
    ];
    for (text, expected) in cases {
        assert_eq!(pformat(&json!(text)), expected);
    }
}

#[test]
fn a_long_string_becomes_adjacent_literals_broken_between_words() {
    let words = "connection refused by the target ".repeat(5);
    assert_eq!(
        pformat(&json!({"reason": words.trim_end()})),
        "{'reason': 'connection refused by the target connection refused by the target connection refused by the target '
           'connection refused by the target connection refused by the target'}"
    );
    assert_eq!(
        pformat(&json!(words)),
        "('connection refused by the target connection refused by the target connection refused by the target connection '
 'refused by the target connection refused by the target ')"
    );
}

#[test]
fn a_long_string_breaks_behind_its_line_ends_and_long_words_stay_whole() {
    let word = "w".repeat(125);
    assert_eq!(pformat(&json!([word])), format!("['{word}']"));
    assert_eq!(
        pformat(&json!([format!("one\r\ntwo\u{2028}three {word}")])),
        format!("['one\\r\\n'\n 'two\\u2028'\n 'three '\n '{word}']")
    );
}

#[test]
fn the_closing_brackets_count_for_the_width() {
    // With a text of 106 characters, `{'key': '` and `'}]`, there are 119, 120 and 121 columns.
    for (length, lines) in [(106, 1), (107, 1), (108, 2)] {
        let value = json!([{"key": format!("{} x", "y".repeat(length - 2))}]);
        assert_eq!(pformat(&value).lines().count(), lines, "{length}");
    }
}

/// Characters that Python may treat specially: quotes, escapes, every kind of space and line end, combining, invisible,
/// private use and wide ones.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        20 => proptest::char::range('a', 'z'),
        8 => Just(' '),
        3 => proptest::char::range('\0', '\x7f'),
        1 => proptest::char::range('\u{80}', '\u{2ff}'),
        1 => proptest::sample::select(vec![
            '\'', '"', '\\', '\n', '\r', '\t', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x1f', '\u{85}', '\u{a0}',
            '\u{ad}', '\u{301}', '\u{600}', '\u{1680}', '\u{180e}', '\u{2003}', '\u{200b}', '\u{2028}', '\u{2029}',
            '\u{202e}', '\u{202f}', '\u{205f}', '\u{3000}', '漢', '\u{e000}', '\u{fe0f}', '\u{feff}', '\u{fffd}', '🦀',
            '\u{e0041}', '\u{e0100}', '\u{10fffd}',
        ]),
    ]
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(character(), 0..longest).prop_map(|characters| characters.into_iter().collect())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => (-1e18..1e18).prop_map(Value::from),
        1 => (-1e-3..1e-3).prop_map(Value::from),
        6 => text(12).prop_map(Value::from),
        4 => text(70).prop_map(Value::from),
        3 => text(300).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 7, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..7).prop_map(Value::from),
            proptest::collection::btree_map(text(20), inner, 0..7)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Output of a Python program for a JSON input. `None`, with a printed reason, if there is no Python.
fn python(program: &str, input: &Value) -> Option<Value> {
    let child = Command::new("python3")
        .args(["-c", program])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: python3 cannot be started: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn random_values_look_as_the_real_pprint_prints_them() {
    let mut runner = TestRunner::default();
    let values: Vec<Value> = (0..3000).map(|_| any_value().new_tree(&mut runner).unwrap().current()).collect();
    let program = "import json, pprint, sys\n\
        print(json.dumps([pprint.pformat(value, width=120) for value in json.load(sys.stdin)]))";
    let Some(expected) = python(program, &json!(values)) else { return };
    let expected: Vec<String> = serde_json::from_value(expected).unwrap();
    assert_eq!(expected.len(), values.len());
    for (value, expected) in values.iter().zip(expected) {
        assert_eq!(pformat(value), expected, "{value}");
    }
}

#[test]
fn python_agrees_on_what_is_printable() {
    // The characters of Unicode 3.2, which every version of both languages supports.
    let program = "import json, unicodedata\n\
        known = [c for c in range(0x110000) if unicodedata.ucd_3_2_0.category(chr(c)) not in ('Cn', 'Cs')]\n\
        print(json.dumps([[c, chr(c).isprintable()] for c in known]))";
    let Some(known) = python(program, &json!(null)) else { return };
    let known: Vec<(u32, bool)> = serde_json::from_value(known).unwrap();
    assert!(known.len() > 90_000);
    for (code, printable) in known {
        assert_eq!(repr::is_printable(char::from_u32(code).unwrap()), printable, "U+{code:04X}");
    }
}
