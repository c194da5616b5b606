//! What the log says about portals that do not answer, by a clock that the test drives.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fake_host::{Connector, FakeHost, Op};
use libstas::core::{HostEffect, HostEvent, Level, ProbeFailure, ProbeOutcome};
use stacd::connector::Effect;

type Host = FakeHost<Connector>;

const PORTALS: usize = 30;
const HOUR: f64 = 3600.0;

/// A stacd that is configured with one controller at each of 30 portals, of which none answers.
fn thirty_dead() -> Host {
    let lines = (1..=PORTALS).fold("[Controllers]\n".to_owned(), |mut lines, number| {
        let _ = writeln!(lines, "controller=transport=tcp;traddr=10.0.0.{number};trsvcid=4420;nqn=nqn.{number}");
        lines
    });
    let mut host = Host::configured(&lines);
    host.dead.insert("10.*".into());
    host
}

/// The log lines above debug level since the first `before` ones, by the address that they are about.
fn lines(host: &Host, before: usize) -> BTreeMap<String, Vec<String>> {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in host.log_records().skip(before).filter(|record| record.level > Level::Debug) {
        let address = record.tid.as_ref().map(|tid| tid.traddr.clone()).unwrap_or_default();
        lines.entry(address).or_default().push(record.text.clone());
    }
    lines
}

fn logged(host: &Host) -> usize {
    host.log_records().count()
}

#[test]
fn an_hour_of_thirty_dead_portals_is_one_line_for_each_and_one_for_each_change() {
    let mut host = thirty_dead();
    host.start();
    host.wait(HOUR);
    assert!(host.count_of(Op::Probe) > PORTALS * 50, "{} probes", host.count_of(Op::Probe));
    let first = lines(&host, 0);
    for number in 1..=PORTALS {
        let lines = &*first[&format!("10.0.0.{number}")];
        assert!(lines[0].contains("does not answer; retrying in ") && lines[0].contains("exponential"), "{lines:?}");
        // The verdict of the probe is tested by a connect, which fails with another reason.
        assert!(lines[1..].iter().all(|line| line.contains("no answer in time")) && lines.len() <= 2, "{lines:?}");
    }
    assert!(first.get("").is_none_or(|others| others.len() <= 2), "lines about no portal: {:#?}", first.get(""));

    // One of them comes back, is lost, and comes back again: a line for each change, and none about the others.
    let before = logged(&host);
    host.dead = (1..=PORTALS).filter(|number| *number != 7).map(|number| format!("10.0.0.{number}")).collect();
    host.wait(HOUR);
    host.lose("10.0.0.7");
    host.wait(HOUR);
    host.reconnect("10.0.0.7");
    host.wait(HOUR);
    let changes = lines(&host, before);
    assert_eq!(changes.keys().collect::<Vec<_>>(), ["10.0.0.7"], "{changes:#?}");
    let words = ["connected: nvme0, after ", "lost", "nvme0 is live"];
    assert_eq!(changes["10.0.0.7"].len(), words.len(), "{changes:#?}");
    for (line, word) in changes["10.0.0.7"].iter().zip(words) {
        assert!(line.contains(word), "{line:?} lacks {word:?}");
    }
}

#[test]
fn a_portal_that_fails_in_turns_is_one_line_for_each_reason() {
    let mut host = thirty_dead();
    host.hold(Op::Probe);
    host.start();
    // ARP gives up after three seconds, and so does the probe: which of them is first is chance.
    let mut turn = 0;
    let end = host.now.0.as_secs_f64() + HOUR;
    while host.now.0.as_secs_f64() < end {
        while let Some(Effect::Host(HostEffect::Probe { op, .. })) = host.take_held(Op::Probe) {
            turn += 1;
            let failure = [ProbeFailure::Silent, ProbeFailure::Unreachable, ProbeFailure::NoRoute][turn % 7 % 3];
            host.feed_host(HostEvent::Probed { op, outcome: ProbeOutcome::Dead(failure) });
        }
        host.wait(1.0);
    }
    assert!(turn > PORTALS * 50, "{turn} probes");
    for (address, lines) in lines(&host, 0) {
        let mut reasons: Vec<&str> = lines.iter().filter_map(|line| line.split(';').next()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(lines.len(), reasons.len(), "{address}: {lines:#?}");
    }
}
