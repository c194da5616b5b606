//! What the log says about discovery controllers that do not answer, by a clock that the test drives.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write as _;

use fake_host::{FakeHost, Finder, Op};
use libstas::core::Level;

const PORTALS: usize = 30;
const HOUR: f64 = 3600.0;

#[test]
fn an_hour_of_thirty_dead_discovery_controllers_is_one_line_for_each() {
    let lines = (1..=PORTALS).fold("[Controllers]\n".to_owned(), |mut lines, number| {
        let _ = writeln!(lines, "controller=transport=tcp;traddr=10.0.0.{number};trsvcid=8009");
        lines
    });
    let mut host = FakeHost::<Finder>::configured(&lines);
    host.dead.insert("10.*".into());
    host.start();
    host.wait(HOUR);
    assert!(host.count_of(Op::Probe) > PORTALS * 50, "{} probes", host.count_of(Op::Probe));
    let records: Vec<_> = host.log_records().filter(|record| record.level > Level::Debug).collect();
    for number in 1..=PORTALS {
        let address = format!("10.0.0.{number}");
        let about = |tid: &libstas::nvme::Tid| tid.traddr == address;
        let lines: Vec<_> = records.iter().filter(|record| record.tid.as_ref().is_some_and(about)).collect();
        assert!(lines[0].text.contains("does not answer; retrying in "), "{lines:?}");
        // The verdict of the probe is tested by a connect, which fails with another reason.
        assert!(lines[1..].iter().all(|line| line.text.contains("no answer in time")), "{lines:?}");
        assert!(lines.len() <= 2, "{lines:?}");
    }
    assert!(records.len() <= 2 * PORTALS + 2, "{records:#?}");
}
