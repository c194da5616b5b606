use serde_json::json;

use super::*;

#[test]
fn nothing_is_said_in_words() {
    let nothing = json!([]);
    assert_eq!(controllers(&nothing, Screen::ENDLESS), "no controllers");
    assert_eq!(controllers_in_detail(&nothing, Screen::ENDLESS), "no controllers");
    assert_eq!(log_page(&nothing, Screen::ENDLESS), "no entries");
    assert_eq!(all_log_pages(&nothing, Screen::ENDLESS), "no discovery controllers");
    assert_eq!(all_log_pages_in_detail(&nothing, Screen::ENDLESS), "no discovery controllers");
    assert_eq!(status(&json!({"tron": false, "controllers": []}), Screen::ENDLESS), "tron  false\n\nno controllers");
}

#[test]
fn a_python_daemon_tells_no_state_and_the_connection_speaks_for_it() {
    let answer = json!([
        {"device": "nvme0", "traddr": "192.0.2.1", "connected": "True"},
        {"device": "nvme1", "traddr": "192.0.2.2", "connected": "False"},
        {"device": "nvme?", "traddr": "192.0.2.3"},
    ]);
    assert_eq!(
        controllers(&answer, Screen::ENDLESS),
        "\
DEVICE  STATE          ADDRESS
nvme0   connected      192.0.2.1
nvme1   not connected  192.0.2.2
-       not connected  192.0.2.3
"
    );
}

#[test]
fn below_a_row_is_why_and_what_comes_next() {
    let answer = json!([
        {"device": "nvme?", "state": "waiting", "reason": "connection refused", "next attempt": "in 8 s"},
        {"device": "nvme?", "state": "queued", "next attempt": "now"},
        {"device": "nvme4", "state": "kept", "reason": "nvme4n1 is mounted on /srv"},
        {"device": "nvme4", "state": "connected", "alias of": "(tcp, 192.0.2.1, 4420, nqn.x)"},
    ]);
    assert_eq!(
        controllers(&answer, Screen::ENDLESS),
        "\
DEVICE  STATE
-       waiting
        connection refused; next attempt: in 8 s
-       queued
        next attempt: now
nvme4   kept
        nvme4n1 is mounted on /srv
nvme4   connected
        same device as (tcp, 192.0.2.1, 4420, nqn.x)
"
    );
}

#[test]
fn a_name_from_the_network_cannot_break_the_table() {
    let answer = json!([{"device": "nvme0", "subsysnqn": "nqn.x\nnvme9 \u{1b}[31m漢"}, {"device": "nvme1"}]);
    assert_eq!(
        controllers(&answer, Screen::ENDLESS),
        "\
DEVICE  STATE      NQN
nvme0   connected  nqn.x\\nnvme9 \\u{1b}[31m漢
nvme1   connected
"
    );
}

#[test]
fn answers_of_another_shape_do_no_harm() {
    for answer in [json!(null), json!("text"), json!([1, null, [], "x"]), json!({"controllers": 7})] {
        assert_eq!(controllers(&answer, Screen::ENDLESS), "no controllers");
        assert_eq!(log_page(&answer, Screen::ENDLESS), "no entries");
        assert_eq!(all_log_pages(&answer, Screen::ENDLESS), "no discovery controllers");
    }
    assert_eq!(status(&json!("odd\u{7}"), Screen::ENDLESS), "\"odd\\u0007\"");
    assert_eq!(status(&json!({"controllers": 7}), Screen::ENDLESS), "\nno controllers");
}

#[test]
fn a_log_page_tells_how_connections_are_secured() {
    let page = json!([
        {"traddr": "192.0.2.1", "sectype": "tls13", "treq": "5"},
        {"traddr": "192.0.2.2", "sectype": "tls13", "treq": "6"},
        {"traddr": "192.0.2.3", "sectype": "tls", "treq": "not specified"},
        {"traddr": "192.0.2.4", "sectype": "none", "treq": "not required"},
        {"traddr": "192.0.2.5", "sectype": "7", "treq": "required"},
        {"traddr": "192.0.2.6", "treq": "disable sqflow"},
        {"traddr": "192.0.2.7", "treq": "3"},
        {"traddr": "192.0.2.8", "treq": "8"},
    ]);
    assert_eq!(
        log_page(&page, Screen::ENDLESS),
        "\
ADDRESS    SECURITY              TREQ
192.0.2.1  TLS 1.3 required      required, disable sqflow
192.0.2.2  TLS 1.3 not required  not required, disable sqflow
192.0.2.3  TLS 1.2
192.0.2.4                        not required
192.0.2.5  sectype 7 required    required
192.0.2.6                        disable sqflow
192.0.2.7                        3
192.0.2.8                        8
"
    );
}

#[test]
fn flags_are_words() {
    for (eflags, words) in [("0", ""), ("1", "duplicate"), ("6", "epcsd,ncc"), ("12", "ncc,0x8"), ("odd", "odd")] {
        assert_eq!(flags(eflags), words);
    }
}

#[test]
fn an_outline_indents_what_has_members() {
    let answer = json!({
        "tron": true, "a longer key": "x", "empty": {}, "none": [], "list": ["a", 1],
        "nested": {"deep": {"key": null}, "items": [{"n": 1, "m": [{"k": 2}]}, {"n": 3}, 4]},
    });
    assert_eq!(
        outline::members(answer.as_object().unwrap_or(&Map::new()), ""),
        "\
a longer key  x
empty         none
list          a, 1
none          none
tron          true
nested
  deep
    key  -
  items
    - n  1
      m
        - k  2
    - n  3
    - 4
"
    );
}

/// Controllers with NQNs of 223 bytes that differ in one character somewhere.
fn many(count: usize) -> Value {
    let controller = |number: usize| {
        let (at, digits) = (30 + number % 180, format!("{number:03}"));
        let nqn = format!("nqn.2014-08.org.example:{}{digits}{}", "a".repeat(at - 24), "a".repeat(220 - at));
        json!({
            "device": format!("nvme{number}"), "transport": "tcp", "traddr": format!("2001:db8:1234:5678:9abc:def0:1234:{number:x}"),
            "trsvcid": "4420", "state": "reconnecting", "connected": "False", "host-iface": "enp129s0f0np0", "subsysnqn": nqn,
            "reason": "the kernel is re-establishing the connection, which was lost when the target closed it",
        })
    };
    (0..count).map(controller).collect()
}

#[test]
fn a_table_fits_the_terminal_and_different_controllers_stay_different() {
    let answer = many(300);
    for width in [80, 90, 100, 132, 200, 320] {
        let screen = Screen { width: Some(width), utf8: true };
        let table = controllers(&answer, screen);
        assert!(table.lines().all(|line| line.width() <= width), "{width}:\n{table}");
        let cell = |line: &str, column: usize| line.split_whitespace().nth(column).map(str::to_owned);
        for column in [3, 6] {
            let shown: std::collections::BTreeSet<_> =
                table.lines().filter(|line| line.starts_with("nvme")).map(|line| cell(line, column)).collect();
            assert_eq!(shown.len(), 300, "{width}, column {column}");
        }
        let paragraph = answer[0]["reason"].as_str().unwrap_or_default();
        let words: Vec<&str> =
            table.lines().filter(|line| line.starts_with(' ')).flat_map(str::split_whitespace).collect();
        assert!(words.join(" ").starts_with(paragraph), "nothing of a reason is left out");
    }
    let full = controllers(&answer, Screen::ENDLESS);
    assert!(full.contains(answer[299]["subsysnqn"].as_str().unwrap_or("-")) && !full.contains('…'));
}

#[test]
fn a_table_that_fits_is_not_shortened() {
    let answer = json!([{"device": "nvme0", "traddr": "192.0.2.1", "subsysnqn": "nqn.2014-08.org.example:disk1"}]);
    let screen = Screen { width: Some(80), utf8: false };
    assert_eq!(controllers(&answer, screen), controllers(&answer, Screen::ENDLESS));
}

#[test]
fn the_columns_that_are_widest_are_shortened_first() {
    for (widths, room, shrunk) in [
        (vec![5, 9, 40], 60, vec![5, 9, 40]),
        (vec![5, 9, 40], 50, vec![5, 9, 36]),
        (vec![5, 30, 40], 55, vec![5, 25, 25]),
        (vec![5, 12, 40], 10, vec![5, 12, 8]),
    ] {
        let mut narrower = widths.clone();
        grid::shrink(&mut narrower, room);
        assert_eq!(narrower, shrunk, "{widths:?} in {room}");
    }
}

#[test]
fn a_row_has_its_block_device_and_what_is_wrong_with_the_path() {
    let namespace = |device: &str, ana_state: Value| json!({"device": device, "nsid": 1, "bytes": 21_474_836_480_u64, "ana_state": ana_state});
    let two = json!([namespace("nvme1n1", json!("optimized")), namespace("nvme1n2", json!("inaccessible"))]);
    let answer = json!([
        {"device": "nvme1", "state": "connected", "since": "2026-11-28T11:00:00Z", "namespaces": two},
        {"device": "nvme2", "state": "connected", "namespaces": [namespace("nvme2n1", json!(null))]},
        {"device": "nvme3", "state": "reconnecting", "namespaces": [], "since": "2026-11-28T12:00:00Z",
         "reason": "the connection was lost", "gives up at": "2026-11-28T12:10:00Z"},
    ]);
    assert_eq!(
        controllers(&answer, Screen::ENDLESS),
        "\
DEVICE  STATE         NAMESPACE
nvme1   connected     nvme1n1 +1
        nvme1n2 is inaccessible on this path (ANA)
nvme2   connected     nvme2n1
nvme3   reconnecting
        the connection was lost; since 2026-11-28T12:00:00Z; the kernel gives up at about 2026-11-28T12:10:00Z
"
    );
    let detail = controllers_in_detail(&answer, Screen::ENDLESS);
    let nvme1 = "  namespaces  nvme1n1 (NSID 1, 20.0 GiB, optimized), nvme1n2 (NSID 1, 20.0 GiB, inaccessible)\n";
    assert!(detail.contains(nvme1) && detail.contains("nvme2n1 (NSID 1, 20.0 GiB)\n"), "{detail}");
}

#[test]
fn a_size_has_the_largest_prefix_that_leaves_a_number() {
    for (bytes, text) in [
        (0, "0.0 KiB"),
        (512, "0.5 KiB"),
        (1 << 20, "1.0 MiB"),
        ((1 << 20) - 1024, "1023.0 KiB"),
        (1_500_000_000_000, "1.3 TiB"),
        (u64::MAX, "15.9 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}
